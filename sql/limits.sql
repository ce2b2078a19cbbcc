-- dsvl2.max_calls_per_statement ends a statement that computes too much.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
\set SHOW_CONTEXT never
-- n different calls, each computed
CREATE FUNCTION pg_temp.ask(n int) RETURNS text LANGUAGE sql VOLATILE AS
  $$SELECT vl_ask(pg_temp.pic('gray.png'), 'question ' || n, 'tiny', '{"max_tokens": 1}')$$;
SET dsvl2.max_calls_per_statement = 3;

SELECT count(pg_temp.ask(n)) FROM generate_series(1, 3) n;
SELECT count(pg_temp.ask(n)) FROM generate_series(1, 4) n;
\set VERBOSITY sqlstate
SELECT count(pg_temp.ask(n)) FROM generate_series(1, 4) n;
\set VERBOSITY default
-- the next statement begins anew, in the same transaction too
BEGIN;
SELECT count(pg_temp.ask(n)) FROM generate_series(1, 3) n;
SELECT count(pg_temp.ask(n)) FROM generate_series(4, 6) n;
-- what the memo knows is free
SELECT count(pg_temp.ask(n % 6 + 1)) FROM generate_series(1, 100) n;
COMMIT;
-- so is what has no picture to look at
SELECT count(vl_ask(decode(to_hex(n + 100), 'hex'), 'x', 'tiny', '{"on_error": "null"}')) FROM generate_series(1, 9) n;

-- functions, triggers and COPY count for the statement that called them
DO $$BEGIN PERFORM pg_temp.ask(n) FROM generate_series(1, 2) n; PERFORM pg_temp.ask(n) FROM generate_series(3, 4) n; END$$;
CREATE TEMP TABLE asked (n int, answer text);
CREATE FUNCTION pg_temp.answer() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN NEW.answer := pg_temp.ask(NEW.n); RETURN NEW; END$$;
CREATE TRIGGER answer BEFORE INSERT ON asked FOR EACH ROW EXECUTE FUNCTION pg_temp.answer();
INSERT INTO asked SELECT generate_series(1, 3);
INSERT INTO asked SELECT generate_series(1, 4);
COPY asked (n) FROM STDIN;
1
2
3
4
\.
SELECT count(*), count(answer) FROM asked;
-- an error that is caught does not let more pass
DO $$
BEGIN
  FOR n IN 1 .. 5 LOOP
    BEGIN
      PERFORM pg_temp.ask(n);
      RAISE WARNING '% passed', n;
    EXCEPTION WHEN configuration_limit_exceeded THEN
      RAISE WARNING '% ended', n;
    END;
  END LOOP;
END$$;
-- each FETCH is a statement
BEGIN;
DECLARE c CURSOR FOR SELECT pg_temp.ask(n) IS NOT NULL AS answered FROM generate_series(1, 20) n;
FETCH 3 FROM c;
FETCH 3 FROM c;
FETCH 4 FROM c;
ROLLBACK;
-- streams count as they start
SELECT count(*) FROM generate_series(1, 4) n, LATERAL
  (SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'stream ' || n, 'tiny', '{"max_tokens": 1}')) s;

SELECT count(*) FROM vl_ask_batch(array_fill(pg_temp.pic('gray.png'), ARRAY[4]),
                                  ARRAY['batch 1', 'batch 2', 'batch 3', 'batch 4'], 'tiny', '{"max_tokens": 1}');

-- 0 is no limit, and the limit is for superusers to set
SET dsvl2.max_calls_per_statement = 0;
SELECT count(pg_temp.ask(n)) FROM generate_series(1, 4) n;
CREATE ROLE regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SET dsvl2.max_calls_per_statement = 1;
RESET ROLE;
ALTER ROLE regress_dsvl2_user SET dsvl2.max_calls_per_statement = 1;
DROP ROLE regress_dsvl2_user;
