-- vl_ask_stream: rows while the answer is written.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- what is streamed is computed; the memo has a part of its own below
SET dsvl2.memo_size = 0;
CREATE FUNCTION pg_temp.streamed(image bytea, prompt text, model text DEFAULT NULL,
                                 options jsonb DEFAULT NULL, OUT answer text, OUT rows bigint,
                                 OUT empty bigint)
LANGUAGE sql AS
$$SELECT string_agg(p, ''), count(p), count(*) FILTER (WHERE p = '')
    FROM (SELECT vl_ask_stream(image, prompt, model, options) AS p) s$$;

-- the rows together are the answer
SELECT count(*) AS pictures, bool_and(s.answer = vl_ask(image, 'Read all the text in the image.')) AS same,
       sum(s.empty) AS empty
  FROM picture, pg_temp.streamed(image, 'Read all the text in the image.') s
 WHERE name ~ '^(receipt|text) ';
SELECT t.options, s.answer = vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', t.options) AS same,
       s.rows > 3 AS several, s.empty
  FROM (VALUES ('{"max_tokens": 100}'::jsonb),
               ('{"max_tokens": 100, "temperature": 2, "seed": 5}'),
               ('{"max_tokens": 100, "stop": ["e", "tion"]}'),
               ('{"max_tokens": 100, "temperature": 1.5, "seed": 1, "stop": [" a", "in", "er"]}'),
               ('{"max_tokens": 100, "system": "Be brief.", "repetition_penalty": 1.3}')) AS t(options),
       pg_temp.streamed(pg_temp.pic('gray.png'), 'Total?', 'tiny', t.options) s;
-- whole characters, no white space around, of sampled answers in many scripts
SELECT count(*) AS answers, bool_and(s.answer IS NOT DISTINCT FROM
         vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', o.options)) AS same
  FROM generate_series(1, 20) AS seed,
       LATERAL (SELECT jsonb_build_object('max_tokens', 30, 'temperature', 3, 'seed', seed,
                                          'on_error', 'null')) AS o(options),
       pg_temp.streamed(pg_temp.pic('gray.png'), 'Total?', 'tiny', o.options) s;

-- LIMIT stops the work; in FROM, the server takes all rows before it shows the first
SELECT computed, tokens < 20 AS few, tokens >= 3 AS decoded
  FROM pg_temp.spent($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny',
                                            '{"max_tokens": 200}') LIMIT 3$$);
SELECT computed, tokens
  FROM pg_temp.spent($$SELECT * FROM vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny',
                                                   '{"max_tokens": 200}') LIMIT 3$$);

-- two at once
SELECT string_agg(a, '') = vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}') AS first,
       string_agg(b, '') = vl_ask(pg_temp.pic('two_tiles.png'), 'Date?', 'tiny', '{"max_tokens": 40}') AS second
  FROM (SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}') AS a,
               vl_ask_stream(pg_temp.pic('two_tiles.png'), 'Date?', 'tiny', '{"max_tokens": 40}') AS b) s;

-- NULL and nothing
SELECT count(*) FROM (SELECT vl_ask_stream(NULL, 'Total?')
                      UNION ALL SELECT vl_ask_stream(pg_temp.pic('gray.png'), NULL)) s;
-- row errors obey on_error, others do not
SELECT pg_temp.fails($$SELECT vl_ask_stream('\x00', 'Total?')$$);
SELECT vl_ask_stream('\x00', 'Total?', options => '{"on_error": "null"}');
SELECT vl_ask_stream('\x00', 'Total?', options => '{"on_error": "warning"}');
SELECT pg_temp.fails($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'nonesuch')$$);
SELECT pg_temp.fails($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', options => '{"sead": 1}')$$);
SELECT pg_temp.fails($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), repeat('word ', 100000), 'tiny')$$)
       LIKE 'VL003:%' AS too_long;
SET client_min_messages = notice;
SELECT count(vl_ask_stream) > 0 AS rows
  FROM vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 9}');
SET client_min_messages = warning;

-- a complete answer is remembered, and a remembered one is one row
SET dsvl2.memo_size = '1MB';
BEGIN;
SELECT computed, tokens, remembered
  FROM pg_temp.spent($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 30}')$$);
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 30}')$$);
SELECT count(*), string_agg(s.p, '') = vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 30}') AS same
  FROM (SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 30}') AS p) s;
-- one that was not read to its end is not
SELECT computed
  FROM pg_temp.spent($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Date?', 'tiny', '{"max_tokens": 30}') LIMIT 1$$);
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT vl_ask(pg_temp.pic('gray.png'), 'Date?', 'tiny', '{"max_tokens": 30}')$$);
COMMIT;
SET dsvl2.memo_size = 0;

-- cursors: between two fetches anything may happen
SELECT vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}') AS whole \gset
CREATE FUNCTION pg_temp.rest(c refcursor) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  piece text;
  pieces text := '';
BEGIN
  LOOP
    FETCH c INTO piece;
    EXIT WHEN NOT FOUND;
    pieces := pieces || piece;
  END LOOP;
  RETURN pieces;
END $$;
SET client_min_messages = notice;
BEGIN;
DECLARE c CURSOR FOR SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}');
FETCH 1 FROM c \gset first_
-- the same model, with other instructions, and no token of the stream meanwhile
SET LOCAL dsvl2.cpu_level = 'generic';
SELECT computed, tokens
  FROM pg_temp.spent($$SELECT vl_ask(pg_temp.pic('two_tiles.png'), 'Total?', 'tiny', '{"max_tokens": 5}')$$);
FETCH 1 FROM c \gset second_
RESET dsvl2.cpu_level;
-- its number format cannot change
SAVEPOINT s;
SET dsvl2.precision = 'bf16';
SELECT vl_ask(pg_temp.pic('two_tiles.png'), 'Total?', 'tiny', '{"max_tokens": 5}');
ROLLBACK TO s;
-- other models, as long as there is room for them
SELECT count(vl_ask(pg_temp.pic('gray.png'), 'Total?')) AS by_nano;
SELECT vl_register_model('small', :'srcdir' || '/test/golden/small-like');
DECLARE d CURSOR FOR SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'small', '{"max_tokens": 20}');
FETCH 1 FROM d \gset other_
SAVEPOINT s;
SELECT vl_ask(pg_temp.pic('gray.png'), 'Total?');
ROLLBACK TO s;
CLOSE d;
SELECT count(vl_ask(pg_temp.pic('gray.png'), 'Total?')) AS by_nano;
-- unloading waits, dropping too
SELECT vl_unload();
SELECT vl_unload();
FETCH 1 FROM c \gset third_
SELECT length(vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 5}')) > 0 AS opened_anew;
SAVEPOINT s;
SELECT vl_drop_model('tiny');
FETCH 1 FROM c \gset fourth_
ROLLBACK TO s;
SELECT :'first_vl_ask_stream' || :'second_vl_ask_stream' || :'third_vl_ask_stream' || :'fourth_vl_ask_stream'
       || pg_temp.rest('c') = :'whole' AS same;
CLOSE c;
SELECT vl_unload();
ROLLBACK;
SET client_min_messages = warning;
-- a rollback to a savepoint takes no row back
BEGIN;
DECLARE c CURSOR FOR SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}');
SAVEPOINT s;
FETCH 1 FROM c \gset first_
ROLLBACK TO s;
SELECT :'first_vl_ask_stream' || pg_temp.rest('c') = :'whole' AS same;
COMMIT;
-- one that outlives its transaction is read to its end when that commits
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}');
FETCH 1 FROM c \gset first_
COMMIT;
SELECT :'first_vl_ask_stream' || pg_temp.rest('c') = :'whole' AS same;
CLOSE c;
-- open streams hold memory that others may want
SET dsvl2.kv_memory = '3MB';
BEGIN;
DECLARE c CURSOR FOR SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 400}');
MOVE 2 FROM c;
SELECT left(pg_temp.fails($$SELECT vl_ask(pg_temp.pic('two_tiles.png'), 'Date?', 'tiny', '{"max_tokens": 400}')$$), 6) AS state;
CLOSE c;
SELECT length(vl_ask(pg_temp.pic('two_tiles.png'), 'Date?', 'tiny', '{"max_tokens": 400}')) > 0 AS answered;
COMMIT;
RESET dsvl2.kv_memory;
-- timeout_ms is time that is worked for the stream
BEGIN;
DECLARE c CURSOR FOR SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny',
                                          '{"max_tokens": 60, "timeout_ms": 1500}');
FETCH 1 FROM c \gset first_
SELECT FROM pg_sleep(1.6);
SELECT :'first_vl_ask_stream' || pg_temp.rest('c') = :'whole' AS same;
COMMIT;
SELECT pg_temp.fails($$SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny',
                                            '{"max_tokens": 4000, "timeout_ms": 1}')$$);

-- PL/pgSQL leaves a stream, and catches its errors
DO $$
DECLARE
  piece text;
  n int := 0;
BEGIN
  FOR piece IN SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}') LOOP
    n := n + 1;
    EXIT WHEN n = 3;
  END LOOP;
  BEGIN
    FOR piece IN SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 60}') LOOP
      n := n / 0;
    END LOOP;
  EXCEPTION WHEN division_by_zero THEN
    RAISE WARNING 'caught after % rows', n;
  END;
END $$;
-- nothing is left at work
SET client_min_messages = notice;
SELECT vl_unload() > 0 AS closed;
