-- Every class of error: its SQLSTATE, what on_error does to it, and that the session goes on.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- VL001: what is no picture, and what is a broken one
CREATE TEMP TABLE bad (what text, image bytea);
INSERT INTO bad VALUES
  ('empty', ''), ('one byte', '\xff'), ('text', 'To whom it may concern'),
  ('GIF', 'GIF89a and so on'), ('BMP', '\x424d000000000000'),
  ('HEIC', '\x0000001866747970686569630000000068656963'),
  ('AVIF', '\x0000001c66747970617669660000000061766966'),
  ('SVG', '<svg xmlns="http://www.w3.org/2000/svg"/>'),
  ('JPEG signature', '\xffd8ffe000104a464946'), ('PNG signature', '\x89504e470d0a1a0a'),
  ('truncated JPEG', pg_temp.pic('truncated.jpg')), ('truncated PNG', pg_temp.pic('truncated.png')),
  ('zeros', decode(repeat('00', 1000), 'hex'));
SELECT what, pg_temp.fails(format('SELECT vl_ocr(%L::bytea)', image)) FROM bad;
SELECT what, r.error_code, r.error, r.value FROM bad, vl_run('ocr', image) r
 WHERE pg_temp.fails(format('SELECT vl_ocr(%L::bytea)', image))
        NOT LIKE r.error_code || ': ' || r.error || '%';

-- what the decoder says about damage is its own affair
SELECT pg_temp.fails($$
         SELECT vl_ocr(overlay(pg_temp.pic('page.png') PLACING '\x0000000000' FROM 500))$$)
       LIKE 'VL001: could not decode PNG image%' AS damaged;

-- VL002
SET dsvl2.max_image_bytes = 100;
SELECT pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('odd1x1.jpg'))$$);
RESET dsvl2.max_image_bytes;
SET dsvl2.max_image_pixels = 100;
SELECT pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('tiny20x30.png'))$$);
RESET dsvl2.max_image_pixels;
-- a header that announces two thousand million pixels
SELECT pg_temp.fails($$
         SELECT vl_ocr('\x89504e470d0a1a0a0000000d49484452000075300001000008020000009a768270')$$)
       ~ '^VL00[12]: ' AS bomb;

-- VL003
SELECT regexp_replace(pg_temp.fails(f), '\d+ tokens', 'N tokens', 'g') AS fails
  FROM unnest(ARRAY[
    $$SELECT vl_ask(pg_temp.pic('receipt 1'), repeat('why? ', 10000))$$,
    $$SELECT vl_ask_multi(array_fill(pg_temp.pic('receipt 1'), ARRAY[100]), 'x')$$]) AS f;
-- VL004
SELECT pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('receipt 1'), options => '{"max_tokens": 2}')$$);
SELECT pg_temp.fails($$
  SELECT vl_ocr(pg_temp.pic('receipt 1'), 'markdown', 'tiny', '{"max_tokens": 2}')$$);
-- VL006
SELECT pg_temp.fails($$SELECT vl_describe(pg_temp.pic('receipt 1'))$$);
SELECT pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('receipt 1'), 'markdown')$$);
SELECT vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 4}') AS answer
  FROM picture WHERE name = 'gray.png' \gset
SELECT pg_temp.fails(format($$SELECT vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', %L)$$,
                            jsonb_build_object('stop', left(:'answer', 1))));

-- they obey on_error; 22, 42 and 57 do not
SELECT what, vl_ocr(image, options => '{"on_error": "null"}') IS NULL AS forgiven
  FROM bad WHERE what IN ('GIF', 'text');
SELECT vl_ocr(image, options => '{"on_error": "warning"}') IS NULL AS forgiven
  FROM bad WHERE what = 'GIF';
SELECT vl_ocr(pg_temp.pic('receipt 1'),
              options => '{"on_error": "warning", "max_tokens": 2}') IS NULL AS forgiven;
SELECT vl_describe(pg_temp.pic('receipt 1'), options => '{"on_error": "warning"}') IS NULL
       AS forgiven;
SELECT vl_ask_multi(ARRAY[image, image], 'x', options => '{"on_error": "warning"}') IS NULL
       AS forgiven
  FROM bad WHERE what = 'GIF';
SELECT what, vl_ocr(image, options => '{"on_error": "null"}') IS NOT NULL AS answered
  FROM (SELECT * FROM bad WHERE what IN ('GIF', 'text')
        UNION ALL SELECT 'a receipt', pg_temp.pic('receipt 1')) AS mixed;
-- an error that was forgiven is counted
SELECT row_errors > 0 AS counted FROM vl_last_usage();
SELECT pg_temp.fails($$SELECT vl_ocr('\x', 'html', options => '{"on_error": "null"}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'none', options => '{"on_error": "null"}')$$);
SET dsvl2.on_error = 'null';
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'none')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"nothing": "null"}')$$);
RESET dsvl2.on_error;

-- 42704
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'nanno')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => 'a model of another name')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', model => '')$$);
-- 58P01
SELECT pg_temp.fails($$SELECT vl_register_model('bad', '/nonexistent/folder')$$);

-- 53400: memory that the server's owner allows
SET dsvl2.kv_memory = '1MB';
SELECT pg_temp.fails($$
  SELECT vl_ask(pg_temp.pic('two_tiles.png'), 'Total?', 'tiny',
                '{"max_tokens": 2000, "on_error": "null"}')$$);
RESET dsvl2.kv_memory;

-- 57014: by the option and by the server; on_error has no say
SET dsvl2.cpu_level = generic;
SET dsvl2.threads = 1;
SET dsvl2.memo_size = 0;
SELECT pg_temp.fails($$
  SELECT vl_ocr(pg_temp.pic('page.png'), options => '{"timeout_ms": 5, "on_error": "null"}')$$);
SELECT pg_temp.fails($$SELECT *
  FROM vl_run('ocr', pg_temp.pic('page.png'), options => '{"timeout_ms": 5}')$$);
BEGIN;
SET LOCAL statement_timeout = '20ms';
SELECT vl_ask_multi(array_agg(image), 'Which?', options => '{"on_error": "null"}')
  FROM picture WHERE name IN ('page.png', 'wide.jpg', 'tall.png', 'shapes.jpg');
SELECT 1;
ROLLBACK;
RESET dsvl2.cpu_level;
RESET dsvl2.threads;
RESET dsvl2.memo_size;
SELECT length(vl_ocr(pg_temp.pic('receipt 1'))) > 0 AS session_goes_on;

-- a transaction outlives what its blocks catch, and keeps what it wrote
BEGIN;
CREATE TEMP TABLE log (id int GENERATED ALWAYS AS IDENTITY, said text);
DO $$
DECLARE
  b bad;
BEGIN
  FOR b IN SELECT * FROM bad WHERE what IN ('GIF', 'truncated PNG')
      UNION ALL SELECT 'a receipt', pg_temp.pic('receipt 1') LOOP
    BEGIN
      PERFORM vl_ocr(b.image);
      INSERT INTO log (said) VALUES (b.what || ' was read');
    EXCEPTION WHEN SQLSTATE 'VL001' THEN
      INSERT INTO log (said) VALUES (b.what || ': ' || SQLERRM);
    END;
  END LOOP;
END $$;
SAVEPOINT s;
SELECT vl_ocr('\x');
ROLLBACK TO s;
SELECT length(vl_ocr(pg_temp.pic('receipt 1'))) > 0 AS still_answers;
COMMIT;
SELECT said FROM log ORDER BY id;
-- a cursor that is closed half way, and a query that stops early
BEGIN;
DECLARE c CURSOR FOR SELECT name, length(vl_ocr(image)) > 0 AS answered
  FROM picture WHERE name IN ('receipt 1', 'receipt 2') ORDER BY name;
FETCH 1 FROM c;
CLOSE c;
COMMIT;
SELECT length(vl_ocr(image)) > 0 AS answered FROM picture WHERE name LIKE 'receipt %' LIMIT 1;
