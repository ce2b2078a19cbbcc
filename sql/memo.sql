-- The same call in a transaction is computed once.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- what the answers are is no matter here
SET dsvl2.on_error = 'null';
CREATE TEMP TABLE scan AS SELECT name, image
  FROM picture WHERE name IN ('receipt 1', 'receipt 2', 'text 1');
ANALYZE scan;

SELECT computed, remembered FROM pg_temp.spent('SELECT vl_ocr(image) FROM scan');
-- a condition and a column
SELECT computed, remembered FROM pg_temp.spent($$SELECT vl_ask(image, 'Total?')
  FROM scan WHERE vl_ask(image, 'Total?') IS NOT NULL$$);
-- the columns of a row
SELECT computed FROM pg_temp.spent($$SELECT (vl_run('ask', image, 'merchant?')).*
  FROM scan WHERE name = 'receipt 1'$$);
-- vl_run and the short functions are one
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT vl_ask(image, 'Total?'), (vl_run('ask', image, 'Total?')).value
    FROM scan$$);
SELECT a.memo, b.memo FROM scan, vl_run('ocr', image) a, vl_run('ocr', image) b
 WHERE name = 'receipt 1';
-- the same picture in other rows
SELECT computed, remembered FROM pg_temp.spent($$SELECT vl_ocr(image)
  FROM scan, generate_series(1, 5) WHERE name = 'receipt 1'$$);
-- constants are evaluated by the planner and again by the executor
SELECT format('SELECT 1 FROM scan WHERE vl_ask(%L::bytea, ''Total?'') = name', image) AS constant
  FROM scan WHERE name = 'receipt 1' \gset
SELECT computed, remembered > 0 AS remembered FROM pg_temp.spent(:'constant');
-- a join by what pictures show
SET enable_nestloop = off;
SET enable_mergejoin = off;
SELECT computed, remembered > 0 AS remembered
  FROM pg_temp.spent($$SELECT vl_ask(a.image, 'Total?'), b.name FROM scan a
                         JOIN scan b ON vl_ask(a.image, 'Total?') = vl_ask(b.image, 'Total?')$$);
RESET enable_nestloop;
RESET enable_mergejoin;
-- a hash join evaluates the call when it hashes and again when it compares rows of equal hashes,
-- a merge join when it sorts and when it compares, a nested loop for each pair
CREATE FUNCTION pg_temp.uses(node text, sql text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || sql INTO plan;
  RETURN plan::text ~ ('"Node Type": "' || node || '"');
END $$;
CREATE FUNCTION pg_temp.joined(jointype text, OUT used boolean, OUT computed bigint, OUT remembered_others boolean)
LANGUAGE plpgsql AS $$
DECLARE
  sql text := 'SELECT a.name FROM scan a JOIN scan b ON vl_ask(a.image, ''Join?'', ''tiny'', ''{"max_tokens": 3}'')
                                                     = vl_ask(b.image, ''Join?'', ''tiny'', ''{"max_tokens": 3}'')';
  s record;
BEGIN
  PERFORM set_config('enable_hashjoin', (jointype = 'Hash Join')::text, true),
          set_config('enable_mergejoin', (jointype = 'Merge Join')::text, true),
          set_config('enable_nestloop', (jointype = 'Nested Loop')::text, true);
  used := pg_temp.uses(jointype, sql);
  s := pg_temp.spent(sql);
  computed := s.computed;
  remembered_others := s.remembered >= s.computed;
END $$;
SELECT * FROM pg_temp.joined('Hash Join');
SELECT * FROM pg_temp.joined('Merge Join');
SELECT * FROM pg_temp.joined('Nested Loop');
-- looking at a plan with a constant call computes it, and running it in the same transaction does not
BEGIN;
SELECT computed FROM pg_temp.spent('EXPLAIN ' || :'constant');
SELECT computed, remembered > 0 AS remembered FROM pg_temp.spent(:'constant');
COMMIT;
-- a prepared statement is planned for any parameter
SET plan_cache_mode = force_generic_plan;
PREPARE ask(text) AS SELECT count(*) FROM scan
  WHERE vl_ask(image, $1, 'tiny', '{"max_tokens": 3}') = vl_ask(image, $1, 'tiny', '{"max_tokens": 3}') || '';
BEGIN;
SELECT computed, remembered FROM pg_temp.spent($$EXECUTE ask('Total?')$$);
SELECT computed, remembered FROM pg_temp.spent($$EXECUTE ask('Total?')$$);
COMMIT;
DEALLOCATE ask;
RESET plan_cache_mode;
-- grouping, sorting and a condition on groups
SELECT computed, remembered > 0 AS remembered
  FROM pg_temp.spent($$SELECT vl_ask(image, 'Kind?', 'tiny', '{"max_tokens": 3}'), count(*) FROM scan GROUP BY 1
    HAVING max(vl_ask(image, 'Kind?', 'tiny', '{"max_tokens": 3}')) IS NOT NULL
     ORDER BY vl_ask(image, 'Kind?', 'tiny', '{"max_tokens": 3}')$$);
-- a table expression that is read twice, a lateral call beside it, and both arms of a union
SELECT computed FROM pg_temp.spent($$
  WITH w AS NOT MATERIALIZED (SELECT name, vl_ask(image, 'With?', 'tiny', '{"max_tokens": 3}') AS answer FROM scan)
  SELECT 1 FROM w a JOIN w b USING (name), scan s,
       LATERAL vl_run('ask', s.image, 'With?', model => 'tiny', options => '{"max_tokens": 3}') r
   WHERE a.answer = b.answer
  UNION ALL SELECT 1 FROM w WHERE answer IS NOT NULL$$);
-- what an update asks before, writes, and gives back
CREATE TEMP TABLE answered AS SELECT name, image, NULL::text AS answer FROM scan;
SELECT computed, remembered FROM pg_temp.spent($$UPDATE answered SET answer = vl_ask(image, 'Set?', 'tiny', '{"max_tokens": 3}')
   WHERE vl_ask(image, 'Set?', 'tiny', '{"max_tokens": 3}') IS NOT NULL
  RETURNING vl_ask(image, 'Set?', 'tiny', '{"max_tokens": 3}')$$);
-- an index over what a call gave is asked with one call, however many rows it finds
CREATE INDEX ON answered (answer);
SET enable_seqscan = off;
SELECT computed FROM pg_temp.spent($$SELECT 1 FROM answered
  WHERE answer = (SELECT vl_ask(image, 'Index?', 'tiny', '{"max_tokens": 3}') FROM scan WHERE name = 'text 1')$$);
RESET enable_seqscan;
-- a subtransaction that fails does not forget
SELECT computed
  FROM pg_temp.spent($$SELECT vl_ocr(image), pg_temp.fails('SELECT vl_ocr(''\x'')'), vl_ocr(image)
                         FROM scan WHERE name = 'receipt 1'$$);
-- errors of rows are remembered as well
SELECT computed, remembered
  FROM pg_temp.spent($$SELECT vl_ocr('\x00', options => '{"on_error": "null"}')
    FROM generate_series(1, 3)$$);

-- what makes a difference is no repetition
SELECT computed, remembered FROM pg_temp.spent($$
  SELECT vl_ask(image, 'Total?'), vl_ask(image, 'total?'), vl_ocr(image),
         vl_ask(image, 'Total?', options => '{"max_tokens": 99}'),
         vl_ask(image, 'Total?', options => '{"system": "x"}'),
         vl_ask(image, 'Total?', options => '{"stop": "x"}'),
         vl_ask(image, 'Total?', options => '{"temperature": 1}'),
         vl_ask(image, 'Total?', options => '{"temperature": 1, "seed": 1}'),
         vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 1}')
    FROM scan WHERE name = 'receipt 1'$$);
SELECT computed, remembered FROM pg_temp.spent($$
  SELECT vl_ask_multi(ARRAY[a.image, b.image], 'x'), vl_ask_multi(ARRAY[b.image, a.image], 'x')
    FROM scan a, scan b WHERE a.name = 'text 1' AND b.name = 'receipt 1'$$);
-- what makes none is
SELECT vl_alias('little', 'nano');
SELECT computed, remembered FROM pg_temp.spent($$
  SELECT vl_ask(image, 'Total?'), vl_ask(image, 'Total?', 'nano'),
         vl_ask(image, 'Total?', 'little'),
         vl_ask(image, 'Total?', options => '{"on_error": "null"}'),
         vl_ask(image, 'Total?', options => '{"scores": true}'),
         vl_ask(image, 'Total?', options => '{"timeout_ms": 99999}'),
         vl_ask(image || '', 'Total?')
    FROM scan WHERE name = 'receipt 1'$$);
SELECT vl_drop_model('little');

-- a transaction forgets at its end, whatever the end is
BEGIN;
SELECT computed, remembered FROM pg_temp.spent('SELECT vl_ocr(image) FROM scan WHERE name = ''receipt 1''');
SELECT computed, remembered FROM pg_temp.spent('SELECT vl_ocr(image) FROM scan WHERE name = ''receipt 1''');
COMMIT;
BEGIN;
SELECT computed, remembered FROM pg_temp.spent('SELECT vl_ocr(image) FROM scan WHERE name = ''receipt 1''');
ROLLBACK;
SELECT computed, remembered FROM pg_temp.spent('SELECT vl_ocr(image) FROM scan WHERE name = ''receipt 1''');

-- memo_size = 0 turns it off
SET dsvl2.memo_size = 0;
SELECT computed, remembered FROM pg_temp.spent('SELECT vl_ocr(image), vl_ocr(image)
  FROM scan WHERE name = ''receipt 1''');
-- a small one keeps the newest
SET dsvl2.memo_size = '3kB';
BEGIN;
SELECT computed, remembered FROM pg_temp.spent($$
  SELECT vl_ask(image, 'Total?', 'tiny', jsonb_build_object('max_tokens', n))
    FROM picture, generate_series(1, 9) n
                                 WHERE name = 'gray.png' ORDER BY n$$);
SELECT computed, remembered FROM pg_temp.spent($$SELECT vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 9}')
  FROM picture WHERE name = 'gray.png'$$);
SELECT computed, remembered FROM pg_temp.spent($$SELECT vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 1}')
  FROM picture WHERE name = 'gray.png'$$);
COMMIT;
RESET dsvl2.memo_size;

-- without a model nothing is computed, and the last inference is told
SELECT computed, remembered FROM pg_temp.spent('SELECT vl_image_info(image), vl_count_tokens(name, image) FROM scan');
SELECT vl_unload() > 0 AS forgotten;
SELECT vl_ask(image, 'Total?') IS NOT NULL AS answered FROM scan WHERE name = 'receipt 1';
SELECT u.task, u.model, u.prompt_tokens > u.image_tokens AS has_prompt, u.image_tokens > 0
       AS has_image,
       u.cached_tokens >= 0 AS has_cached, u.output_tokens > 0 AS has_output, u.tiles > 0
              AS has_tiles,
       u.total_ms > 0 AND abs(u.total_ms - u.decode_image_ms - u.vision_ms - u.prefill_ms
                              - u.decode_ms) < 0.001 AS total_is_sum,
       u.calls >= u.inferences + u.memo_hits AS adds_up, u.images >= u.inferences AS has_images,
       u.input_tokens > u.prompt_tokens AND u.total_output_tokens > u.output_tokens AS has_totals
  FROM vl_last_usage() u \gx
