-- Models: registering, naming, dropping, and who may.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
\set golden :srcdir '/test/golden'
SELECT name, aliases, quantisation, digest
       ~ '^[0-9a-f]{64}$' AS has_digest, parameters > 1000000 AS has_parameters,
       bytes > 1000000 AS has_bytes, mapped, "default", builtin
  FROM vl_models WHERE name = 'nano' \gx

-- by an absolute path; the same files have the same digest, whatever the name
SELECT vl_register_model('small', :'golden' || '/small-like');
SELECT vl_register_model(name => 'base', path => :'golden' || '/base-like/', quant => 'bf16');
SELECT vl_register_model('again', :'golden' || '/../golden/small-like');
SELECT name, quantisation, parameters > 0 AS has_parameters, mapped, "default", builtin,
       registered_by = current_user AS by_me, now() - registered_at < '1 hour' AS lately,
       substr(path, length(:'srcdir') + 1) AS path
  FROM vl_models WHERE name IN ('small', 'base', 'again') ORDER BY name;
SELECT a.digest = b.digest AS same_files, a.digest = c.digest AS other_files
  FROM vl_models a, vl_models b, vl_models c
 WHERE a.name = 'small' AND b.name = 'again' AND c.name = 'base';

-- each of them answers, and repeats
SET dsvl2.memo_size = 0;
SELECT m, length(vl_ask(image, 'Total?', m, '{"max_tokens": 5}')) > 0 AS answers,
       vl_ask(image, 'Total?', m, '{"max_tokens": 5}')
         = vl_ask(image, 'Total?', m, '{"max_tokens": 5}') AS repeats
  FROM picture, unnest(ARRAY['small', 'base', 'tiny', 'again']) AS m
   WHERE picture.name = 'gray.png';
SELECT vl_ask(image, 'Total?', 'small', '{"max_tokens": 5}')
       = vl_ask(image, 'Total?', 'again', '{"max_tokens": 5}') AS same
  FROM picture WHERE name = 'gray.png';
RESET dsvl2.memo_size;
-- some are open now, until they are unloaded
SELECT count(*) > 0 AS mapped FROM vl_models WHERE mapped;
SELECT vl_unload() > 0 AS unloaded;
SELECT count(*) FROM vl_models WHERE mapped;
SELECT vl_unload();
SELECT vl_prewarm('small') = bytes AS all_of_it FROM vl_models WHERE name = 'small';
SELECT name FROM vl_models WHERE mapped;
SELECT vl_prewarm() = vl_prewarm('nano') AS default_model;
SELECT pg_temp.fails($$SELECT vl_prewarm('smal')$$);

-- names
SELECT pg_temp.fails(format($$SELECT vl_register_model('small', %L)$$, :'golden' || '/base-like'));
SELECT pg_temp.fails(format($$SELECT vl_register_model('nano', %L)$$, :'golden' || '/base-like'));
SELECT pg_temp.fails(format($$SELECT vl_register_model('', %L)$$, :'golden' || '/base-like'));
SELECT pg_temp.fails($$SELECT vl_register_model(repeat('x', 64), '/')$$);
SELECT vl_register_model('A name, "quoted"; ☃', :'golden' || '/base-like');
SELECT length(vl_ask(image, 'Total?', 'A name, "quoted"; ☃', '{"max_tokens": 3}')) > 0
       AS answers FROM picture WHERE name = 'gray.png';
SELECT vl_drop_model('A name, "quoted"; ☃');

-- aliases: a second name, which can be moved
SELECT vl_alias('reader', 'small');
SELECT vl_alias('alias of alias', 'reader');
SELECT name, aliases FROM vl_models WHERE aliases <> '{}' ORDER BY name;
SELECT (vl_run('ask', image, 'x', model => 'reader', options => '{"max_tokens": 1}')).model
  FROM picture WHERE name = 'gray.png';
SELECT vl_alias('reader', 'base');
SELECT name, aliases FROM vl_models WHERE aliases <> '{}' ORDER BY name;
SELECT (vl_run('ask', image, 'x', model => 'reader', options => '{"max_tokens": 1}')).model
  FROM picture WHERE name = 'gray.png';
SET dsvl2.default_model = 'reader';
SELECT name FROM vl_models WHERE "default";
RESET dsvl2.default_model;
SELECT pg_temp.fails($$SELECT vl_alias('nano', 'base')$$);
SELECT pg_temp.fails($$SELECT vl_alias('other', 'bass')$$);
SELECT pg_temp.fails($$SELECT vl_alias('', 'base')$$);
SELECT pg_temp.fails(format($$SELECT vl_register_model('reader', %L)$$, :'golden' || '/base-like'));
-- dropping an alias leaves the model; dropping a model takes its aliases with it
SELECT vl_drop_model('alias of alias');
SELECT vl_drop_model('base');
SELECT name, aliases FROM vl_models ORDER BY name;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'reader')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'base')$$);
SELECT pg_temp.fails($$SELECT vl_drop_model('base')$$);
SELECT pg_temp.fails($$SELECT vl_drop_model('nano')$$);
SELECT vl_drop_model('again');

-- a name that is given away again means the new files
SELECT vl_prewarm('small') > 0 AS open;
SELECT digest AS before FROM vl_models WHERE name = 'small' \gset
SELECT vl_drop_model('small');
SELECT vl_register_model('small', :'golden' || '/base-like');
SELECT r.model_digest = m.digest AS as_registered, r.model_digest <> :'before' AS as_before
  FROM picture p, vl_models m,
       vl_run('ask', image, 'x', model => 'small', options => '{"max_tokens": 1}') r
 WHERE p.name = 'gray.png' AND m.name = 'small';
SELECT vl_drop_model('small');
-- what a transaction takes back was not
BEGIN;
SELECT vl_register_model('brief', :'golden' || '/base-like');
SELECT length(vl_ask(image, 'x', 'brief', '{"max_tokens": 1}')) > 0 AS answers
  FROM picture WHERE name = 'gray.png';
ROLLBACK;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'brief')$$);

-- paths and formats
SELECT pg_temp.fails($$SELECT vl_register_model('bad', 'relative/path')$$);
SELECT pg_temp.fails($$SELECT vl_register_model('bad', '')$$);
SELECT pg_temp.fails($$SELECT vl_register_model('bad', '/dev/null')$$);
SELECT replace(pg_temp.fails(format($$SELECT vl_register_model('bad', %L)$$,
                                    :'golden' || '/grounding')), :'golden', '...') AS fails;
SELECT pg_temp.fails($$SELECT vl_register_model('bad', '/', 'q4')$$);
SELECT pg_temp.fails($$SELECT vl_register_model('bad', '/', 'BF16')$$);

SELECT pg_temp.fails($$SELECT vl_register_model('bad', '$sharedir/../x')$$)
       LIKE '%/../x/config.json%' AS below_the_share_directory;

-- an ordinary role uses models and does not manage them, not even through a grant
CREATE ROLE regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SELECT name, path IS NULL AS path_hidden FROM vl_models ORDER BY name;
SELECT (vl_run('ask', image, 'x', model => 'tiny', options => '{"max_tokens": 1}')).model
  FROM picture WHERE name = 'gray.png';
SELECT vl_unload() > 0 AS own_session;
SELECT pg_temp.fails(f) FROM unnest(ARRAY[
  $$SELECT vl_register_model('x', '/')$$, $$SELECT vl_drop_model('tiny')$$,
  $$SELECT vl_alias('x', 'tiny')$$,
  $$SELECT vl_prewarm()$$, $$SELECT * FROM vl_model$$, $$DELETE FROM vl_model$$]) AS f;
RESET ROLE;
GRANT EXECUTE ON FUNCTION vl_register_model, vl_drop_model, vl_alias TO regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SELECT pg_temp.fails(f) FROM unnest(ARRAY[
  $$SELECT vl_register_model('x', '/')$$, $$SELECT vl_drop_model('tiny')$$,
  $$SELECT vl_alias('x', 'tiny')$$]) AS f;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION vl_register_model, vl_drop_model, vl_alias FROM regress_dsvl2_user;
-- who may read the server's files may manage them
GRANT pg_read_server_files TO regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SELECT vl_register_model('mine', :'golden' || '/base-like');
SELECT vl_alias('my reader', 'mine');
SELECT name, aliases, path IS NULL AS path_hidden FROM vl_models WHERE name = 'mine';
SELECT vl_drop_model('mine');
RESET ROLE;
DROP ROLE regress_dsvl2_user;
SELECT name, aliases FROM vl_models ORDER BY name;
