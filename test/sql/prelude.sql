\set ECHO none
-- What every regression test starts with: the extension, pictures by name, a second model
-- whose weights are random and never change, functions that show an error and count inferences.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS dsvl2;

CREATE TEMP TABLE picture (name text PRIMARY KEY, image bytea NOT NULL);
INSERT INTO picture
SELECT file, pg_read_binary_file(folder || file)
  FROM (VALUES (:'srcdir' || '/models/nano/samples/'),
               (:'srcdir' || '/test/golden/cases/images/'),
               (:'srcdir' || '/test/golden/preprocess/decode/')) AS f(folder),
       pg_ls_dir(folder) AS file
 WHERE file ~ '\.(png|jpg)$' AND file !~ '\.rgb\.png$'
    ON CONFLICT DO NOTHING;
-- names that outlive the samples: 'receipt 1', 'receipt 2', 'text 1'
INSERT INTO picture
SELECT kind || ' ' || n, image
  FROM (SELECT k[1] AS kind, image,
               row_number() OVER (PARTITION BY k[1] ORDER BY name COLLATE "C") AS n
          FROM picture, regexp_match(name, '^[0-9][0-9]-(receipt|text)\.') AS k
         WHERE k IS NOT NULL) AS sample
 WHERE n <= 2;
GRANT SELECT ON picture TO PUBLIC;
ANALYZE picture;

CREATE FUNCTION pg_temp.pic(name text) RETURNS bytea LANGUAGE sql STABLE STRICT AS
  'SELECT p.image FROM picture p WHERE p.name = $1';

-- SQLSTATE, message, detail, hint
CREATE FUNCTION pg_temp.fails(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  code text; message text; detail text; hint text;
BEGIN
  EXECUTE sql;
  RETURN 'no error';
EXCEPTION WHEN OTHERS OR query_canceled THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
    detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN concat_ws(E'\n', code || ': ' || message, 'DETAIL: ' || NULLIF(detail, ''),
    'HINT: ' || NULLIF(hint, ''));
END $$;

-- how many calls of a statement a model had to answer, how many the memo did, and tokens written
CREATE FUNCTION pg_temp.spent(sql text, OUT computed bigint, OUT remembered bigint, OUT tokens bigint)
LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT * INTO before FROM vl_last_usage();
  EXECUTE sql;
  SELECT u.inferences - before.inferences, u.memo_hits - before.memo_hits,
         u.total_output_tokens - before.total_output_tokens
    INTO computed, remembered, tokens FROM vl_last_usage() u;
END $$;

SELECT count(vl_register_model('tiny', :'srcdir' || '/test/golden/tiny-like')) AS registered
 WHERE NOT EXISTS (SELECT FROM vl_models WHERE name = 'tiny') \gset
\set ECHO all
