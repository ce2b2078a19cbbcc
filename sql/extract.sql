-- Fields of images: what may be asked, what comes back, what is refused.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
CREATE SCHEMA regress_extract;
SET search_path = regress_extract, public;
-- by the model with random weights: it means nothing, but it obeys
CREATE FUNCTION pg_temp.said(fields jsonb, options jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql STABLE AS
  $$ SELECT vl_extract(pg_temp.pic('gray.png'), fields, 'tiny', '{"max_tokens": 200}' || options) $$;
CREATE TYPE pair AS (a smallint, b boolean);

-- ---- NULL ----

SELECT vl_extract(NULL, '["total"]') IS NULL AS no_image, vl_extract(image, NULL) IS NULL AS no_fields,
       vl_run('extract', image) IS NULL AS run_without_fields,
       vl_extract_as(NULL, NULL::pair) IS NULL AS no_image_as,
       vl_extract(image, '["total"]', NULL, NULL) IS NOT NULL AS default_model
  FROM picture WHERE name = 'receipt 1';
SELECT * FROM vl_extract_rows(NULL) AS x(a text);

-- ---- what is asked ----

-- nano reads names, as it was taught; jsonb has the shortest key first
CREATE FUNCTION pg_temp.prompt_tokens(fields jsonb, model text) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT r.prompt_tokens
    FROM vl_run('extract', pg_temp.pic('gray.png'), fields => $1, model => $2,
                options => '{"max_tokens": 1}') r $$;
CREATE FUNCTION pg_temp.ask_tokens(question text, model text) RETURNS integer LANGUAGE sql STABLE AS $$
  SELECT r.prompt_tokens
    FROM vl_run('ask', pg_temp.pic('gray.png'), $1, model => $2, options => '{"max_tokens": 1}') r $$;
SELECT fields, pg_temp.prompt_tokens(fields::jsonb, 'nano')
               = pg_temp.ask_tokens('Extract as JSON: ' || names, 'nano') AS asked
  FROM (VALUES
    ('["merchant", "date", "total"]', 'merchant, date, total'),
    ('[" merchant - who sold: it", "date : text", "total: number - with tax"]', 'merchant, date, total'),
    ('{"merchant": "Who sold it?", "date": "When?", "total": "How much?"}', 'date, total, merchant'),
    ('{"required": ["merchant"], "properties": {"total": {"type": "null"}, "date": {"type": "null"},
       "merchant": {"type": "null"}}}', 'merchant, date, total'),
    ('{"anyOf": [{"type": "null"}]}', '{"anyOf": [{"type": "null"}]}')) AS f(fields, names);
-- the others read a schema
SELECT label, pg_temp.prompt_tokens(jsonb_build_array(label), 'tiny')
              = pg_temp.ask_tokens(E'Extract information from this image as JSON, null for what it does not '
                  'show. The JSON follows this JSON Schema:\n{"type":"object","properties":{"a b":' || schema
                  || '},"required":["a b"],"additionalProperties":false}', 'tiny') AS asked
  FROM (VALUES
    ('a b', '{"type":["string","number","null"]}'),
    (' a b :  TEXT', '{"type":["string","null"]}'),
    ('a b:int - how many: 1-2 - or more', '{"type":["integer","null"],"description":"how many: 1-2 - or more"}'),
    ('a b - ', '{"type":["string","number","null"],"description":""}'),
    ('a b:bool', '{"type":["boolean","null"]}'),
    ('a b:date', '{"type":["string","null"],"format":"date"}'),
    ('a b:time', '{"type":["string","null"],"format":"time"}'),
    ('a b:timestamp', '{"type":["string","null"],"format":"date-time"}'),
    ('a b:numeric[]', '{"type":["array","null"],"items":{"type":"number"}}'),
    ('a b: red| "dark" blue', '{"enum":["red","\"dark\" blue",null]}'),
    ('a b: (red|blue) [] - x', '{"type":["array","null"],"items":{"enum":["red","blue"]},"description":"x"}')
    ) AS l(label, schema);
SELECT pg_temp.prompt_tokens('{"a b": "Is it \"so\"?"}', 'tiny')
       = pg_temp.prompt_tokens('["a b - Is it \"so\"?"]', 'tiny') AS question_is_description;

-- ---- what comes back ----

-- for any picture and any dice: a value of the type, or null
CREATE FUNCTION pg_temp.is(v jsonb, types text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
  $$ SELECT jsonb_typeof(v) = ANY (string_to_array(types, '|')) $$;
CREATE TEMP TABLE answer AS
SELECT said->'a' AS a, said->'b' AS b, said->'c' AS c, said->'d' AS d, said->'e' AS e, said
  FROM generate_series(1, 12) AS seed,
       pg_temp.said('["a: integer", "b: boolean", "c: red|green|\"x\"", "d", "e: (1|2)[]"]',
                    jsonb_build_object('temperature', 5, 'seed', seed, 'on_error', 'null')) AS said;
SELECT count(said) > 3 AS answered, bool_and((SELECT count(*) FROM jsonb_object_keys(said)) = 5) AS fields,
       bool_and(pg_temp.is(a, 'number|null') AND position('.' in a::text) = 0) AS a,
       bool_and(pg_temp.is(b, 'boolean|null')) AS b,
       bool_and(c IN ('"red"', '"green"', '"\"x\""', 'null')) AS c,
       bool_and(pg_temp.is(d, 'string|number|null')) AS d,
       bool_and(pg_temp.is(e, 'null') OR e <@ '["1", "2"]') AS e
  FROM answer WHERE said IS NOT NULL;
-- a schema that leaves no choice
SELECT pg_temp.said('{"type": "object", "required": ["<|EOT|> \"é\"", "n"], "properties": {
                        "n": {"const": -12.5}, "<|EOT|> \"é\"": {"const": {"a": [1, null, "\\\n\u0001ü"]}}}}');
SELECT pg_temp.said('{"enum": [[true]]}'), pg_temp.said('{"type": "null"}'),
       pg_temp.said('{"type": "object", "properties": {}}'),
       pg_temp.said('{"$ref": "#/$defs/a", "$defs": {"a": {"const": "there"}}}');
SELECT pg_temp.said('{"enum": [1, 1]}');
-- a map that asks for the words of JSON Schema
SELECT k FROM jsonb_object_keys(pg_temp.said('{"type": "Which type?", "enum": "Which?"}',
                                             '{"seed": 2, "temperature": 5, "max_tokens": 1000}')) k;

-- ---- scores ----

SELECT said->'value' = pg_temp.said(fields) AS same_value, jsonb_object_agg(k, s > 0 AND s < 1) AS scores
  FROM (SELECT '["a: integer", "b: boolean", "c, \"x\": red|green"]'::jsonb) AS f(fields),
       pg_temp.said(fields, '{"scores": true}') said, jsonb_each_text(said->'scores') AS e(k, score),
       CAST(score AS real) AS s
 GROUP BY 1;
SELECT pg_temp.said('{"type": "object", "required": ["a", "b", "c"], "properties": {
                        "a": {"const": "}\", \"b\": \\"}, "b": {"const": [[], {"x": "]"}]}, "c": {"const": 1}}}',
                    '{"scores": true}');
SELECT pg_temp.said('{"enum": [["a", 1]]}', '{"scores": true}'),
       pg_temp.said('{"type": "object", "properties": {}}', '{"scores": true}');
-- of a field: its tokens' alone
SELECT abs((said->'scores'->>'a')::real - exp(avg(l))) < 1e-5 AS geometric_mean
  FROM pg_temp.said('["a: yes|no"]', '{"scores": true}') said,
       vl_run('extract', pg_temp.pic('gray.png'), fields => '["a: yes|no"]', model => 'tiny',
              options => '{"scores": true}') r, unnest(r.logprobs) l
 WHERE l < 0 GROUP BY said;

-- ---- rows ----

CREATE TEMP TABLE list AS
SELECT seed, x.*
  FROM generate_series(1, 8) AS seed,
       ROWS FROM (vl_extract_rows(pg_temp.pic('gray.png'), 'line items', 'tiny',
                                  jsonb_build_object('temperature', 5, 'seed', seed, 'on_error', 'null',
                                                     'max_tokens', 300))
                  AS (item varchar(3), qty smallint, price numeric(5,2), ok boolean))
         WITH ORDINALITY AS x(item, qty, price, ok, n);
SELECT count(*) > 3 AS rows, max(n) > 1 AS several, bool_and(length(item) <= 3) AS item FROM list;
-- they are the array of an answer
CREATE TYPE list_row AS (item varchar(3), qty smallint, price numeric(5,2), ok boolean);
CREATE TABLE listing ("line items" list_row[] NOT NULL);
SELECT count(*) > 0 AS lists, bool_and(a."line items" = rows) AS same
  FROM (SELECT seed, array_agg(ROW(item, qty, price, ok)::list_row ORDER BY n) AS rows
          FROM list GROUP BY seed) AS l,
       vl_extract_as(pg_temp.pic('gray.png'), NULL::listing, 'tiny',
                     jsonb_build_object('temperature', 5, 'seed', seed, 'on_error', 'null',
                                        'max_tokens', 300)) a;
SELECT count(*) FROM vl_extract_rows(pg_temp.pic('gray.png'), 'x', 'tiny', '{"max_tokens": 5, "on_error": "null"}')
                     AS x(a text);

-- ---- where it is called ----

-- a row's columns are one inference
SELECT inferences AS before FROM vl_last_usage() \gset
SELECT (vl_extract_as(pg_temp.pic('gray.png'), NULL::pair, 'tiny')).* \gset said_
SELECT inferences - :before AS computed FROM vl_last_usage();
SELECT p.a IS NOT DISTINCT FROM NULLIF(:'said_a', '')::smallint AS same
  FROM vl_extract_as(pg_temp.pic('gray.png'), NULL::pair, 'tiny') p;
DO $$
DECLARE
  p pair;
  n integer;
BEGIN
  p := vl_extract_as(pg_temp.pic('gray.png'), p, 'tiny');
  SELECT count(*) INTO n
    FROM vl_extract_rows(pg_temp.pic('gray.png'), 'x', 'tiny', '{"on_error": "null", "max_tokens": 9}')
         AS x(a boolean);
  RAISE WARNING 'row % null, rows %', CASE WHEN p IS NULL THEN 'is' ELSE 'is not' END, n >= 0;
END $$;
-- in a parallel query
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE TABLE many AS SELECT image FROM picture WHERE name = 'gray.png';
SELECT count(*) AS typed FROM many, vl_extract_as(image, NULL::pair, 'tiny') p;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
-- vl_run gives the text
SELECT r.value::jsonb = pg_temp.said('["a: integer"]') AS same, r.task, r.error_code
  FROM vl_run('extract', pg_temp.pic('gray.png'), fields => '["a: integer"]', model => 'tiny',
              options => '{"max_tokens": 200}') r;

-- ---- errors ----

SELECT f, pg_temp.fails(format('SELECT pg_temp.said(%L)', f))
  FROM unnest(ARRAY['"total"', '1', 'null', '[]', '{}', '[1]', '[["a"]]', '["a", "b", " a"]', '[""]',
                    '[": int"]', '[" - x"]', '["a:"]', '["a: nmber"]', '["a: b: text"]',
                    '["total: integer[][]"]', '["a: []"]', '["a: x|"]',
                    '["a: |"]', '["a: x|(y)"]', '["a: (x)"]', '{"a": 1}', '{"a": "x", "b": null}', '{"": "x"}',
                    '{"a": {"type": "number"}}', '{"type": ["number"], "x": 1}', '{"properties": {"a": 1}}',
                    '{"type": "object", "allOf": []}', '{"type": "number", "minimum": 2, "maximum": 1}',
                    '{"enum": []}', '{"$ref": "#/a"}', '{"$ref": "http://localhost/"}']) AS f;
SELECT left(pg_temp.fails(format('SELECT pg_temp.said(%L)', repeat('{"properties": {"a": ', 200) || '{}'
                                 || repeat('}}', 200))), 6) AS deep;
SELECT pg_temp.fails($$SELECT pg_temp.said('["a"]', '{"stop": "x"}')$$);
SELECT pg_temp.fails($$SELECT vl_extract('\x', '["a"]', 'none')$$);
SELECT pg_temp.fails($$SELECT vl_extract('\x', '["a"]')$$);
SELECT pg_temp.fails($$SELECT vl_extract_rows('\x')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_extract_rows('\x')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_extract_rows('\x') AS x(a text, b json)$$);
SELECT pg_temp.fails($$SELECT vl_run('extract', '\x', 'Total?', fields => '["a"]')$$);
SELECT pg_temp.fails($$SELECT vl_run('extract', '\x', fields => '[]')$$);

-- rows: they obey on_error, and vl_run has them as columns
SELECT pg_temp.fails($$SELECT pg_temp.said('["a", "b", "c"]', '{"max_tokens": 2}')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_extract_rows(pg_temp.pic('gray.png'), 'x', 'tiny', '{"max_tokens": 2}')
                                     AS x(a text)$$);
SELECT pg_temp.said('["a", "b", "c"]', '{"max_tokens": 2, "on_error": "null"}') IS NULL AS forgiven,
       pg_temp.said('{"enum": []}', '{"on_error": "null"}') IS NULL AS forgiven,
       vl_extract_as('\x', NULL::pair, options => '{"on_error": "null"}') IS NULL AS forgiven;
SELECT pg_temp.said('{"enum": []}', '{"on_error": "warning"}');
SELECT r.error_code, r.error, r.value
  FROM vl_run('extract', pg_temp.pic('gray.png'), fields => '{"enum": []}', model => 'tiny') r;
SELECT r.error_code, r.truncated, r.value IS NULL AS nothing
  FROM vl_run('extract', pg_temp.pic('gray.png'), fields => '["a", "b"]', model => 'tiny',
              options => '{"max_tokens": 4}') r;
DROP SCHEMA regress_extract CASCADE;
