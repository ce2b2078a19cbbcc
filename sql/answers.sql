-- vl_ocr, vl_ask, vl_ask_multi, vl_describe and vl_run.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- nano reads a receipt; what needs no sense is asked of random weights about a picture that stays
\set receipt 'receipt 1'
\set other 'gray.png'

-- a call repeats, whether its arguments are by position or by name
SELECT vl_ocr(image) IS NOT NULL AS answered,
       vl_ocr(image) = vl_ocr(image, 'text') AS text_is_default,
       vl_ocr(image) = vl_ocr(image => image, options => '{}') AS by_name
  FROM picture WHERE name = :'receipt';
BEGIN;
CREATE TEMP TABLE once AS SELECT vl_ocr(image) AS answer FROM picture WHERE name = :'receipt';
COMMIT;
SELECT vl_ocr(image) = answer AS repeats FROM picture, once WHERE name = :'receipt';
DROP TABLE once;

-- modes
SELECT a.value <> b.value AS modes_differ
  FROM picture, vl_run('ocr', image, model => 'tiny', options => '{"max_tokens": 8}') a,
       vl_run('markdown', image, model => 'tiny', options => '{"max_tokens": 8}') b
 WHERE name = 'gray.png';
SELECT pg_temp.fails($$SELECT vl_ocr('\x', 'html')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', 'TEXT')$$);

-- vl_run tells what the short functions answer
SELECT r.value = vl_ocr(image) AS same_value, r.task, r.model, m.digest = r.model_digest
       AS same_digest,
       r.finish_reason, r.truncated, r.score > 0 AND r.score <= 1 AS has_score, r.logprobs,
       r.prompt_tokens > r.image_tokens AND r.image_tokens > 0 AS has_tokens,
       r.cached_tokens >= 0 AND r.cached_tokens < r.prompt_tokens AS has_cached_tokens,
       r.output_tokens > 0 AS has_output, r.tiles > 0 AS has_tiles,
       LEAST(r.decode_image_ms, r.vision_ms, r.prefill_ms, r.decode_ms) >= 0 AS has_times,
       r.error_code, r.error
  FROM picture, vl_run('ocr', image) r, vl_models m
 WHERE picture.name = :'other' AND m.name = 'nano' \gx
SELECT r.task, r.model, r.value = vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 5}') AS same_value
  FROM picture, vl_run('ask', image, 'Total?', model => 'tiny', options => '{"max_tokens": 5}') r
 WHERE name = :'other';
SELECT r.task, r.value = vl_describe(image, 'tiny', '{"max_tokens": 5}') AS same_value
  FROM picture, vl_run('describe', image, model => 'tiny', options => '{"max_tokens": 5}') r
 WHERE name = :'other';
SELECT t.task, r.task = t.task AS same_task, r.output_tokens
  FROM picture,
       (VALUES ('ocr', NULL), ('markdown', NULL), ('describe', NULL), ('ask', 'Total?'),
               ('ground', 'total'), ('ground_answer', 'Total?')) AS t(task, prompt),
       vl_run(t.task, image, t.prompt, model => 'tiny', options => '{"max_tokens": 2}') r
 WHERE name = :'other';
-- the task itself may be a column
SELECT (vl_run(NULL, image)).task FROM picture WHERE name = :'receipt';
SELECT pg_temp.fails($$SELECT vl_run('orc', '\x')$$);
SELECT pg_temp.fails($$SELECT vl_run('summarise the page', '\x')$$);
SELECT pg_temp.fails($$SELECT vl_run('ocr', '\x', 'Total?')$$);
SELECT pg_temp.fails($$SELECT vl_run('ocr', '\x', fields => '["total"]')$$);

-- how an answer ends
SELECT r.finish_reason, r.truncated, r.output_tokens
  FROM picture, vl_run('ask', image, 'Total?', model => 'tiny', options => '{"max_tokens": 3}') r
 WHERE name = :'other';
SELECT r.finish_reason, r.truncated, r.value NOT LIKE '%e%' AS cut_before_it
  FROM picture, vl_run('ask', image, 'Total?', model => 'tiny',
                       options => '{"max_tokens": 200, "stop": ["no such string", "e"]}') r
 WHERE name = :'other';
SELECT r.finish_reason, r.truncated FROM picture, vl_run('ask', image, 'Total?') r
 WHERE name = :'receipt';
-- a page that is cut off is no page for vl_ocr, but vl_run shows what there is
SELECT r.finish_reason, r.truncated, r.value IS NOT NULL AS has_value, r.error_code
  FROM picture, vl_run('ocr', image, options => '{"max_tokens": 3}') r WHERE name = :'receipt';

-- scores: a logarithm for each token
SELECT cardinality(r.logprobs) = r.output_tokens AS one_a_token, 0 >= ALL (r.logprobs)
       AS no_more_than_0,
       abs(r.score - exp((SELECT avg(l) FROM unnest(r.logprobs) l))) < 1e-5 AS score_is_their_mean
  FROM picture, vl_run('ask', image, 'Total?', options => '{"scores": true}') r
   WHERE name = :'receipt';

-- row errors are columns of vl_run, whatever on_error says
SELECT r.value, r.task, r.model, r.finish_reason, r.truncated, r.score, r.logprobs, r.output_tokens,
       r.error_code, r.error
  FROM vl_run('ocr', '\x00112233', options => '{"on_error": "error", "scores": true}') r \gx

-- a free answer that was cut off is given, with a notice
SELECT vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 3}') IS NOT NULL AS answered
  FROM picture WHERE name = :'other';
SET client_min_messages = notice;
SELECT vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 3}') IS NOT NULL AS answered
  FROM picture WHERE name = :'other';
SELECT vl_describe(image, 'tiny', '{"max_tokens": 3}') IS NOT NULL AS answered
  FROM picture WHERE name = :'other';
SET client_min_messages = warning;

-- several images; where they stand matters, and their order
CREATE TEMP TABLE pair AS
  SELECT array_agg(image ORDER BY name) AS images
    FROM picture WHERE name IN (:'other', 'receipt.png');
CREATE FUNCTION pg_temp.multi(images bytea[], prompt text) RETURNS text LANGUAGE sql STABLE AS
  $$SELECT vl_ask_multi(images, prompt, 'tiny', '{"max_tokens": 12}')$$;
SELECT pg_temp.multi(images, 'Which?') = pg_temp.multi(images, 'Which?') AS repeats,
       pg_temp.multi(images, '{1} or {2}?') <> pg_temp.multi(images, '{2} or {1}?')
              AS order_matters,
       pg_temp.multi(images, '{1} or {2}?') <> pg_temp.multi(images, 'or ?') AS place_matters,
       pg_temp.multi(images, '{2} or {1}?')
         = pg_temp.multi(ARRAY[images[2], images[1]], '{1} or {2}?') AS numbers_count_from_one
  FROM pair;
SELECT pg_temp.multi(images[1:1], 'Total?')
       = vl_ask(images[1], 'Total?', 'tiny', '{"max_tokens": 12}') AS one_image_is_vl_ask
  FROM pair;
SELECT length(pg_temp.multi(images || images, 'Which is a receipt?')) > 0 AS four_images FROM pair;
-- braces that are no numbers are text; so are those of vl_ask
SELECT length(pg_temp.multi(images, '{} {x} {1 } {-1} {1,2}')) > 0 AS answered FROM pair;
SELECT length(vl_ask(images[1], 'is {1} or {2} in {it}?', 'tiny', '{"max_tokens": 3}')) > 0
       AS answered FROM pair;
SELECT pg_temp.fails('SELECT pg_temp.multi(images, ''{1}'') FROM pair');
SELECT pg_temp.fails('SELECT pg_temp.multi(images, ''{1} {2} {3}'') FROM pair');
SELECT pg_temp.fails('SELECT pg_temp.multi(images, ''{1} {1} {2}'') FROM pair');
SELECT pg_temp.fails('SELECT pg_temp.multi(images[1:1], ''{2}'') FROM pair');
SELECT pg_temp.fails('SELECT pg_temp.multi(images, ''{0} {1}'') FROM pair');
SELECT pg_temp.fails('SELECT pg_temp.multi(images, ''{1} {99999999999999999999}'') FROM pair');
SELECT pg_temp.fails('SELECT vl_ask_multi(''{}'', ''Total?'')');
-- an array of two dimensions is its elements
SELECT pg_temp.multi(ARRAY[ARRAY[images[1]], ARRAY[images[2]]], 'Which?')
       = pg_temp.multi(images, 'Which?') AS same
  FROM pair;

-- prompts of all kinds
SELECT length(vl_ask(image, '', 'tiny', '{"max_tokens": 3}')) > 0 AS empty,
       length(vl_ask(image, E' \n ', 'tiny', '{"max_tokens": 3}')) > 0 AS blank,
       length(vl_ask(image, 'Größe? 合計?', 'tiny', '{"max_tokens": 3}')) > 0 AS other_scripts
  FROM picture WHERE name = :'other';
