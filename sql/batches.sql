-- vl_ask_batch and vl_map: many calls, several in flight.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- what is asked is computed; the memo has a part of its own below
SET dsvl2.memo_size = 0;
CREATE TEMP TABLE scan AS
SELECT row_number() OVER (ORDER BY name COLLATE "C")::int AS id, name, image
  FROM picture WHERE name ~ '^(receipt|text|scene) [12]' OR name ~ '^1[0-3]-' OR name IN ('gray.png', 'two_tiles.png');

-- ---- vl_ask_batch ----

-- a row for each image, in order, and what vl_ask answers, however many are in flight
CREATE TEMP TABLE alone AS
SELECT id, m AS model, vl_ask(image, 'Read all the text.', m, o.options) AS answer, o.options
  FROM scan, (VALUES ('nano'), ('tiny')) AS model(m),
       (VALUES ('{"max_tokens": 20, "on_error": "null"}'::jsonb),
               ('{"max_tokens": 20, "on_error": "null", "temperature": 1.5, "seed": 3}')) AS o(options)
 WHERE m = 'tiny' OR o.options->'seed' IS NULL;
SELECT i.n AS in_flight, count(*) = (SELECT count(*) FROM alone) AS complete,
       count(*) FILTER (WHERE b.value IS DISTINCT FROM COALESCE(a.answer, '')) AS different
  FROM (VALUES (1), (3), (64)) AS i(n), (SELECT DISTINCT model, options FROM alone) AS c
 CROSS JOIN (SELECT array_agg(image ORDER BY id) AS images FROM scan) AS s
 CROSS JOIN LATERAL vl_ask_batch(s.images, 'Read all the text.', c.model,
                                 c.options || jsonb_build_object('in_flight', i.n)) WITH ORDINALITY AS b
  JOIN alone a ON a.id = b.ord AND a.model = c.model AND a.options = c.options
 WHERE b.ord = b.ordinality
 GROUP BY i.n ORDER BY i.n;
SELECT computed > 0 AS computed, remembered
  FROM pg_temp.spent($$SELECT * FROM vl_ask_batch(ARRAY(SELECT image FROM scan), 'Total?',
                                                  options => '{"max_tokens": 1}')$$);
-- a prompt for each
SELECT bool_and(b.value = vl_ask(s.image, s.name, 'tiny', '{"max_tokens": 10}')) AS same, count(*) = (SELECT count(*) FROM scan) AS all
  FROM (SELECT array_agg(image ORDER BY id) AS images, array_agg(name ORDER BY id) AS prompts FROM scan) AS a,
       vl_ask_batch(a.images, a.prompts, 'tiny', '{"max_tokens": 10}') AS b
  JOIN scan s ON s.id = b.ord;
-- many about one picture
SELECT bool_and(b.value = vl_ask(pg_temp.pic('two_tiles.png'), 'Question ' || b.ord, 'tiny', '{"max_tokens": 10}'))
       AS same
  FROM vl_ask_batch(array_fill(pg_temp.pic('two_tiles.png'), ARRAY[9]),
                    ARRAY(SELECT 'Question ' || n FROM generate_series(1, 9) n), 'tiny',
                    '{"max_tokens": 10, "in_flight": 4}') AS b;

-- errors are rows, whatever on_error says; NULLs are, too
SET dsvl2.max_image_pixels = 100000;
SELECT ord, value IS NOT NULL AS answered, error_code, error, output_tokens, truncated
  FROM vl_ask_batch(ARRAY[pg_temp.pic('gray.png'), '\x00', NULL, '\x89504e47', pg_temp.pic('two_tiles.png'),
                          pg_temp.pic('gray.png'), pg_temp.pic('gray.png')],
                    ARRAY['Total?', 'Total?', 'Total?', NULL, 'Total?', repeat('word ', 100000), NULL],
                    'tiny', '{"max_tokens": 5, "on_error": "error"}');
RESET dsvl2.max_image_pixels;
SELECT count(*) AS none FROM vl_ask_batch(NULL, 'Total?');
SELECT count(*) AS none FROM vl_ask_batch(ARRAY[pg_temp.pic('gray.png')], NULL::text);
SELECT count(*) AS none FROM vl_ask_batch('{}', 'Total?');
SELECT count(*) AS none FROM vl_ask_batch('{}', ARRAY[]::text[]);
-- requests are refused
SELECT pg_temp.fails($$SELECT vl_ask_batch(ARRAY['\x00', '\x00']::bytea[], ARRAY['Total?'])$$);
SELECT pg_temp.fails($$SELECT vl_ask_batch(ARRAY['\x00']::bytea[], 'Total?', 'nonesuch')$$);
SELECT pg_temp.fails($$SELECT vl_ask_batch(ARRAY['\x00']::bytea[], 'Total?', options => '{"in_flights": 2}')$$);
SELECT pg_temp.fails($$SELECT vl_ask_batch(ARRAY['\x00']::bytea[], 'Total?', options => '{"in_flight": 0}')$$);
SELECT pg_temp.fails($$SELECT vl_ask_batch(ARRAY['\x00']::bytea[], 'Total?', options => '{"in_flight": 65}')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_ask_batch(array_fill(pg_temp.pic('gray.png'), ARRAY[4]), 'Total?', 'tiny',
                                                  '{"max_tokens": 4000, "timeout_ms": 1}')$$);

-- what finds no room waits for others; what finds none alone is refused
SET dsvl2.kv_memory = '4MB';
SELECT count(*), count(value) AS answered, count(DISTINCT error_code) AS errors
  FROM scan, vl_ask_batch(ARRAY[image, image, image, image], ARRAY['a', 'b', 'c', 'd'], 'tiny',
                          '{"max_tokens": 400}')
 WHERE name IN ('gray.png', 'two_tiles.png');
SELECT left(pg_temp.fails($$SELECT * FROM vl_ask_batch(array_fill(pg_temp.pic('gray.png'), ARRAY[3]), 'Total?', 'tiny',
                                                       '{"max_tokens": 4000}')$$), 6) AS state;
RESET dsvl2.kv_memory;

-- LIMIT: no more than what is in flight was begun
SELECT computed <= 3 AS few
  FROM pg_temp.spent($$SELECT vl_ask_batch(array_fill(pg_temp.pic('gray.png'), ARRAY[20]),
                                           ARRAY(SELECT n::text FROM generate_series(1, 20) n), 'tiny',
                                           '{"max_tokens": 5, "in_flight": 2}') LIMIT 1$$);
-- answers are remembered, and found
SET dsvl2.memo_size = '1MB';
BEGIN;
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT * FROM vl_ask_batch(array_fill(pg_temp.pic('gray.png'), ARRAY[3]), ARRAY['a', 'b', 'c'],
                                                  'tiny', '{"max_tokens": 5}')$$);
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT * FROM vl_ask_batch(array_fill(pg_temp.pic('gray.png'), ARRAY[3]), ARRAY['b', 'd', 'a'],
                                                  'tiny', '{"max_tokens": 5}')$$);
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT vl_ask(pg_temp.pic('gray.png'), 'd', 'tiny', '{"max_tokens": 5}')$$);
COMMIT;
SET dsvl2.memo_size = 0;

-- ---- vl_map ----

-- a row for each row, in order, whose key joins back
SELECT i.n AS in_flight, count(*) = (SELECT count(*) FROM scan) AS complete,
       count(*) FILTER (WHERE m.value IS DISTINCT FROM a.answer) AS different,
       bool_and(m.ordinality = s.id) AS in_order
  FROM (VALUES (1), (3), (16)) AS i(n),
       vl_map('SELECT id, image FROM scan ORDER BY id', prompt => 'Read all the text.', model => 'tiny',
              options => jsonb_build_object('max_tokens', 20, 'in_flight', i.n)) WITH ORDINALITY AS m
  JOIN scan s ON s.id = m.key::int
  JOIN alone a ON a.id = s.id AND a.model = 'tiny' AND a.options = '{"max_tokens": 20, "on_error": "null"}'
 GROUP BY i.n ORDER BY i.n;
-- prompts of the rows
SELECT count(*) = (SELECT count(*) FROM scan) AS all, bool_and(m.value = vl_ask(s.image, s.name, 'tiny', '{"max_tokens": 7}')) AS same
  FROM vl_map('SELECT name, image, name FROM scan', model => 'tiny', options => '{"max_tokens": 7}') m
  JOIN scan s ON s.name = m.key;
-- other tasks
SELECT t.task, count(*), bool_and(m.value IS NOT DISTINCT FROM r.value) AS same,
       bool_and(m.error_code IS NOT DISTINCT FROM r.error_code AND m.error IS NOT DISTINCT FROM r.error) AS same_error,
       bool_and(m.output_tokens = r.output_tokens AND m.truncated = r.truncated) AS same_figures
  FROM (VALUES ('ocr', NULL), ('markdown', NULL), ('describe', NULL), ('ground', 'total'),
               ('ground_answer', 'Total?')) AS t(task, prompt),
       vl_map('SELECT id, image FROM scan WHERE id < 4', t.task, t.prompt, model => 'tiny',
              options => '{"max_tokens": 6}') m
  JOIN scan s ON s.id = m.key::int,
       vl_run(t.task, s.image, t.prompt, model => 'tiny', options => '{"max_tokens": 6}') r
 GROUP BY t.task ORDER BY t.task;
-- keys of any type
SELECT key, output_tokens
  FROM vl_map($$SELECT k, pg_temp.pic('gray.png') FROM (VALUES (ROW(1, 'a b')), (NULL)) AS v(k)$$,
              prompt => 'Total?', model => 'tiny', options => '{"max_tokens": 2}');
SELECT key FROM vl_map($$SELECT '{"a": [1]}'::jsonb, NULL::bytea$$, 'ocr');
CREATE DOMAIN pg_temp.photo AS bytea;
CREATE DOMAIN pg_temp.words AS varchar(20);
SELECT key, value, error_code
  FROM vl_map($$SELECT DATE '2024-02-29', '\x00'::pg_temp.photo, 'Total?'::pg_temp.words$$);
-- bad rows are rows, NULLs are
SELECT key, value IS NOT NULL AS answered, error_code, error, output_tokens, truncated
  FROM vl_map($$VALUES (1, pg_temp.pic('gray.png'), 'Total?'), (2, '\x00', 'Total?'), (3, NULL, 'Total?'),
                       (4, pg_temp.pic('gray.png'), NULL), (5, pg_temp.pic('gray.png'), repeat('word ', 100000)),
                       (6, pg_temp.pic('gray.png'), 'Total?')$$, model => 'tiny', options => '{"max_tokens": 5}');
SELECT count(*) AS none FROM vl_map(NULL) a, vl_map('SELECT 1', NULL) b;
SELECT count(*) AS none FROM vl_map('SELECT id, image FROM scan WHERE false', 'ocr');

-- what the query must be
SELECT q, pg_temp.fails(format('SELECT * FROM vl_map(%L, %L)', q, 'ocr')) AS says FROM (VALUES
  (''), ('SELECT'), ('SELECT 1'), ('SELECT 1, 2'), ('SELECT 1, ''\x00''::bytea, 3'),
  ('SELECT 1, ''\x00''::bytea, ''x'', 4'), ('SELECT 1; SELECT 2'), ('SELEC'), ('SELECT nix FROM scan'),
  ('SELECT id, image FROM nonesuch'), ('SELECT $1, image FROM scan'),
  ('INSERT INTO scan (id) VALUES (0) RETURNING id, image'), ('SELECT id, image FROM scan FOR UPDATE'),
  ('WITH d AS (DELETE FROM scan RETURNING id, image) SELECT * FROM d'), ('EXPLAIN SELECT 1'),
  ('SELECT id, image INTO TEMP x FROM scan'), ('DECLARE c CURSOR FOR SELECT 1'),
  ('SELECT 1 / (id - 2), image FROM scan')) AS v(q);
SELECT count(*) > 8 AS all_there FROM scan;
-- and what goes with it
SELECT call, pg_temp.fails('SELECT * FROM ' || call) AS says FROM (VALUES
  ($$vl_map('SELECT id, image FROM scan')$$),
  ($$vl_map('SELECT id, image, name FROM scan', prompt => 'Total?')$$),
  ($$vl_map('SELECT id, image, name FROM scan', 'ocr')$$),
  ($$vl_map('SELECT id, image FROM scan', 'ocr', 'Total?')$$),
  ($$vl_map('SELECT id, image FROM scan', 'orc')$$),
  ($$vl_map('SELECT id, image FROM scan', 'ask', 'Total?', '["total"]')$$),
  ($$vl_map('SELECT id, image FROM scan', 'ask', 'Total?', model => 'nonesuch')$$),
  ($$vl_map('SELECT id, image FROM scan', 'ask', 'Total?', options => '{"inflight": 1}')$$)) AS v(call);
-- with the caller's rights
CREATE ROLE regress_dsvl2_map;
CREATE TABLE secret AS SELECT id, image FROM scan WHERE id = 1;
CREATE TABLE open AS TABLE secret;
GRANT SELECT ON open TO regress_dsvl2_map;
SET ROLE regress_dsvl2_map;
SELECT pg_temp.fails($$SELECT * FROM vl_map('SELECT id, image FROM secret', 'ocr')$$);
SELECT key FROM vl_map('SELECT id, image FROM open', 'ocr', model => 'tiny', options => '{"max_tokens": 1}');
RESET ROLE;
DROP TABLE secret, open;
DROP ROLE regress_dsvl2_map;

-- it sees what the calling statement sees
CREATE TEMP TABLE read (id int, image bytea, answer text);
BEGIN;
INSERT INTO read SELECT id, image FROM scan WHERE id < 4;
INSERT INTO read (id)
SELECT (vl_map('SELECT id, image FROM read', 'ocr', model => 'tiny',
               options => '{"max_tokens": 3, "in_flight": 1}')).key::int + 100;
SELECT count(*) FROM read;
ROLLBACK;
-- calls within calls
SELECT m.key, m.value = vl_ask(s.image, vl_ask(s.image, 'Date?', 'tiny', '{"max_tokens": 4}'), 'tiny', '{"max_tokens": 4}') AS same
  FROM vl_map($$SELECT key::int, image, value FROM vl_map('SELECT id, image FROM scan WHERE id < 4', 'ask', 'Date?',
                       model => 'tiny', options => '{"max_tokens": 4}') m JOIN scan ON id = key::int ORDER BY 1$$,
              model => 'tiny', options => '{"max_tokens": 4, "in_flight": 2}') m
  JOIN scan s ON s.id = m.key::int;
SELECT m.key, m.value = vl_ask(s.image, vl_ask(s.image, 'Date?', 'tiny', '{"max_tokens": 4}'), 'tiny', '{"max_tokens": 4}') AS same
  FROM vl_map($$SELECT id, image, vl_ask(image, 'Date?', 'tiny', '{"max_tokens": 4}') FROM scan WHERE id < 4 ORDER BY id$$,
              model => 'tiny', options => '{"max_tokens": 4, "in_flight": 3}') m
  JOIN scan s ON s.id = m.key::int;

-- LIMIT stops the query, too
CREATE SEQUENCE pg_temp.pulled;
SELECT (vl_map('SELECT nextval(''pg_temp.pulled''), image FROM scan, generate_series(1, 100)', 'ocr',
               model => 'tiny', options => '{"max_tokens": 1, "in_flight": 4}')).key LIMIT 2;
SELECT currval('pg_temp.pulled') <= 8 AS few;
-- cursors
BEGIN;
DECLARE c CURSOR FOR
 SELECT (vl_map('SELECT id, image FROM scan ORDER BY id', 'ocr', model => 'tiny',
                options => '{"max_tokens": 3, "in_flight": 4}')).key;
SAVEPOINT s;
FETCH 2 FROM c;
SAVEPOINT t;
SELECT 1 / 0;
ROLLBACK TO s;
FETCH 2 FROM c;
SELECT length(vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 3}')) > 0 AS other
  FROM scan WHERE id = 1;
DROP TABLE scan;
ROLLBACK TO s;
FETCH 2 FROM c;
CLOSE ALL;
DECLARE c CURSOR WITH HOLD FOR
 SELECT (vl_map('SELECT id, image FROM scan ORDER BY id LIMIT 6', 'ocr', model => 'tiny',
                options => '{"max_tokens": 3, "in_flight": 4}')).key;
FETCH 2 FROM c;
COMMIT;
FETCH ALL FROM c;
CLOSE c;
-- nothing is left at work
SET client_min_messages = notice;
SELECT vl_unload() > 0 AS closed;
