-- What a query would have computed, and what the planner is told about calls.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SET jit = off;
SET max_parallel_workers_per_gather = 0;
SET dsvl2.default_model = 'tiny';
-- a model that no test ever asks
SELECT vl_register_model('fresh', :'srcdir' || '/test/golden/variant-b');
CREATE TEMP TABLE scan AS
  SELECT n AS id, CASE WHEN n % 4 = 0 THEN 'receipt' ELSE 'other' END AS kind, p.name, p.image
    FROM (SELECT *, row_number() OVER (ORDER BY name) AS k FROM picture
           WHERE name IN ('gray.png', 'two_tiles.png', 'page.png', 'exif6.jpg')) p,
         generate_series(1, 1000) n
   WHERE n % 4 + 1 = p.k;
ALTER TABLE scan ADD PRIMARY KEY (id);
CREATE TEMP TABLE payment AS SELECT n AS id, n % 7 AS amount, n AS scan FROM generate_series(1, 50) n;
ANALYZE scan, payment;
CREATE FUNCTION pg_temp.inferences() RETURNS bigint LANGUAGE sql AS 'SELECT inferences FROM vl_last_usage()';
CREATE FUNCTION pg_temp.calls(query text) RETURNS TABLE (rows bigint, calls bigint) LANGUAGE sql AS
  'SELECT rows, calls FROM vl_estimate(query)';

-- nothing is known of answers and times before a first call
SET client_min_messages = notice;
SELECT rows, calls, output_tokens, seconds FROM vl_estimate('SELECT vl_describe(image, ''fresh'') FROM scan');
SET client_min_messages = warning;
-- pictures are: their headers are read
SELECT e.image_tokens, sum(v.image_tokens) AS exactly
  FROM vl_estimate('SELECT vl_ask(image, ''x'') FROM scan WHERE id <= 4') e,
       picture p, vl_run('ask', p.image, 'x', options => '{"max_tokens": 1}') v
 WHERE p.name IN ('gray.png', 'two_tiles.png', 'page.png', 'exif6.jpg') GROUP BY 1;
SELECT e.image_tokens = 4 * v.image_tokens AS option_counts
  FROM vl_estimate('SELECT vl_ask(image, ''x'', options => ''{"tiles": 1}'') FROM scan WHERE id <= 4') e,
       vl_run('ask', pg_temp.pic('page.png'), 'x', options => '{"tiles": 1, "max_tokens": 1}') v;

-- measured once, answers and times are known
SELECT vl_unload() > 0 AS unloaded;
SELECT count(vl_run('ask', image, 'x', options => '{"max_tokens": 20}')) FROM scan WHERE id <= 4;
SELECT rows, calls, output_tokens BETWEEN 1 AND 20 * calls AS has_tokens, seconds > 0 AS has_time
  FROM vl_estimate('SELECT vl_ask(image, ''x'') FROM scan');
SELECT output_tokens FROM vl_estimate('SELECT vl_ask(image, ''x'', options => ''{"max_tokens": 2}'') FROM scan');
-- ten times the rows take ten times as long; a second question to the same pictures less than a first
SELECT round((b.seconds / a.seconds)::numeric, 2) AS ratio, c.calls, c.seconds < 2 * a.seconds AS tiles_are_there
  FROM vl_estimate('SELECT vl_ask(image, ''x'') FROM scan LIMIT 100') a,
       vl_estimate('SELECT vl_ask(image, ''x'') FROM scan') b,
       vl_estimate('SELECT vl_ask(image, ''x''), vl_ask(image, ''y'') FROM scan LIMIT 100') c;

-- none of it is computed, nor is the query run
SELECT pg_temp.inferences() AS before \gset
SELECT * FROM pg_temp.calls('DELETE FROM scan WHERE vl_ask(image, ''x'') = ''y''');
SELECT * FROM pg_temp.calls('UPDATE scan SET kind = vl_ask(image, ''x'') WHERE id <= 100');
SELECT * FROM pg_temp.calls('INSERT INTO scan (id, kind) SELECT id + 1000, vl_ask(image, ''x'') FROM scan RETURNING vl_ask(image, ''y'')');
SELECT count(*), count(DISTINCT kind) FROM scan;
-- not even where the planner wants to know what a constant call gives
SELECT format('SELECT * FROM scan WHERE name = vl_ask(%L::bytea, ''x'')', image) AS constant
  FROM picture WHERE name = 'gray.png' \gset
SELECT calls FROM pg_temp.calls(:'constant');
CREATE FUNCTION pg_temp.gray() RETURNS text LANGUAGE sql STABLE AS $$SELECT vl_ask(pg_temp.pic('gray.png'), 'x')$$;
SELECT rows FROM pg_temp.calls('SELECT * FROM scan WHERE name = pg_temp.gray()');
SELECT pg_temp.inferences() = :before AS nothing_computed;
SELECT count(*) FROM scan WHERE name = pg_temp.gray();
SELECT pg_temp.inferences() - :before AS computed;

-- conditions on pictures may all hold; cheap ones count as the planner thinks
SELECT * FROM pg_temp.calls('SELECT id FROM scan WHERE vl_ask(image, ''x'') = ''y''');
SELECT * FROM pg_temp.calls('SELECT id FROM scan WHERE vl_ask(image, ''x'') = ''y'' AND kind = ''receipt''');
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''y'') FROM scan WHERE vl_ask(image, ''x'') = ''y'' AND id <= 100');
-- LIMIT: of answers as many as it wants, of conditions all that it may need
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM scan LIMIT 10');
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM scan OFFSET 5 LIMIT 10');
SELECT * FROM pg_temp.calls('SELECT id FROM scan WHERE vl_ask(image, ''x'') = ''y'' LIMIT 10');
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM scan ORDER BY id DESC LIMIT 10');
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM scan ORDER BY 1 LIMIT 10');
-- the memo answers what is asked twice
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x''), vl_ask(image, ''x'') || ''!'' FROM scan WHERE vl_ask(image, ''x'') = ''y''');
SELECT * FROM pg_temp.calls('SELECT (vl_run(''ask'', image, ''x'')).* FROM scan');
SELECT * FROM pg_temp.calls('SELECT s.id, vl_ask(s.image, ''x'') FROM scan s, generate_series(1, 100) g WHERE vl_ask(s.image, ''x'') = ''y''');
SELECT * FROM pg_temp.calls('SELECT vl_ask((SELECT image FROM scan WHERE id = 1), ''x'') FROM generate_series(1, 100)');
SELECT * FROM pg_temp.calls('SELECT p.id, s.id FROM payment p JOIN scan s ON vl_ask(s.image, ''x'') = p.amount::text');
SELECT calls FROM pg_temp.calls('SELECT 1 FROM payment p JOIN scan s ON s.id = p.scan WHERE vl_ask(s.image, ''x'') = p.amount::text');
-- what depends on a row of each table is asked for each pair
SELECT * FROM pg_temp.calls('SELECT vl_ask(s.image, ''is it '' || p.amount) FROM payment p, scan s WHERE s.id <= 10');
-- places
SELECT * FROM pg_temp.calls('SELECT count(vl_ask(image, ''x'')) FROM scan');
SELECT * FROM pg_temp.calls('SELECT kind, max(vl_ask(image, ''x'')) FILTER (WHERE vl_ask(image, ''y'') = ''y'') FROM scan GROUP BY kind');
SELECT calls FROM pg_temp.calls('SELECT kind FROM scan GROUP BY kind HAVING max(vl_ask(image, ''x'')) = ''y''');
SELECT calls FROM pg_temp.calls('SELECT vl_ask(image, ''x''), count(*) FROM scan GROUP BY 1');
SELECT * FROM pg_temp.calls('SELECT b.label FROM scan s, vl_boxes(s.image, ''dog'') b WHERE s.id <= 10');
SELECT * FROM pg_temp.calls('SELECT id, (SELECT count(*) FROM vl_boxes(s.image, ''dog'')) FROM scan s WHERE id <= 10');
SELECT calls FROM pg_temp.calls('SELECT id FROM payment p WHERE EXISTS (SELECT FROM scan s WHERE s.id = p.scan AND vl_ask(s.image, ''x'') = ''y'')');
SELECT calls FROM pg_temp.calls('SELECT id, (SELECT vl_ask(image, ''x'') FROM scan s WHERE s.id = p.scan) FROM payment p');
SELECT calls FROM pg_temp.calls('SELECT id FROM payment p WHERE (SELECT vl_ask(image, ''x'') FROM scan s WHERE s.id = p.scan) = ''y''');
SELECT calls FROM pg_temp.calls('SELECT id, (SELECT max(vl_ask(image, ''x'')) FROM scan s WHERE s.id % 7 = p.amount) FROM payment p');
SELECT calls FROM pg_temp.calls('SELECT id FROM payment p WHERE id NOT IN (SELECT id FROM scan WHERE vl_ask(image, ''x'') = ''y'')');
SELECT calls FROM pg_temp.calls('WITH w AS MATERIALIZED (SELECT vl_ask(image, ''x'') AS a FROM scan) SELECT * FROM w UNION ALL SELECT * FROM w');
SELECT calls FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM scan UNION ALL SELECT vl_ask(image, ''x'') FROM scan WHERE id <= 100');
SELECT calls FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM scan EXCEPT SELECT amount::text FROM payment');
SELECT * FROM pg_temp.calls('SELECT rank() OVER (ORDER BY vl_ask(image, ''x'')) FROM scan');
SELECT * FROM pg_temp.calls('VALUES (vl_ask(''\x00'', ''x'')), (vl_ask(''\x00'', ''y''))');
SELECT * FROM pg_temp.calls('SELECT vl_ask_multi(ARRAY[a.image, b.image], ''x'') FROM scan a, scan b WHERE a.id = 1 AND b.id <= 10');
SELECT calls FROM pg_temp.calls('SELECT vl_ask_stream(image, ''x'') FROM scan');
-- of a batch each picture is an inference, of a map each row of its query
SELECT * FROM pg_temp.calls('SELECT * FROM vl_ask_batch(ARRAY[''\x00'', ''\x01'', ''\x02'']::bytea[], ''x'')');
SELECT * FROM pg_temp.calls('SELECT b.value FROM vl_ask_batch(ARRAY(SELECT image FROM scan WHERE id <= 10), ''x'') b');
SELECT calls FROM pg_temp.calls('SELECT b.value FROM scan s, vl_ask_batch(ARRAY[s.image, s.image], ''x'') b WHERE s.id <= 10');
SELECT m.calls, m.image_tokens = s.image_tokens AS same_tokens, abs(m.seconds / s.seconds - 1) < 0.01 AS same_time
  FROM vl_estimate('SELECT * FROM vl_map(''SELECT id, image FROM scan WHERE id <= 100'', prompt => ''x'')') m,
       vl_estimate('SELECT vl_ask(image, ''x'') FROM scan WHERE id <= 100') s;
SELECT calls FROM pg_temp.calls('SELECT * FROM vl_map(''SELECT id, image, vl_ask(image, ''''y'''') FROM scan WHERE id <= 100'')');
SELECT pg_temp.fails('SELECT vl_estimate(''SELECT * FROM vl_map(''''SELECT nothing'''')'')');
SELECT * FROM pg_temp.calls('SELECT vl_image_info(image) FROM scan');
SELECT * FROM vl_estimate('SELECT 1');
CREATE TEMP VIEW answers AS SELECT id, vl_ask(image, 'x') AS answer FROM scan;
SELECT * FROM pg_temp.calls('SELECT answer FROM answers WHERE id <= 100');
SELECT * FROM pg_temp.calls('SELECT id FROM answers');
CREATE TEMP TABLE part (id int, image bytea) PARTITION BY RANGE (id);
CREATE TEMP TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TEMP TABLE part2 PARTITION OF part FOR VALUES FROM (100) TO (200);
INSERT INTO part SELECT id, image FROM scan WHERE id < 150;
ANALYZE part;
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM part');
SELECT * FROM pg_temp.calls('SELECT vl_ask(image, ''x'') FROM part WHERE id < 50');

-- three pictures in one prompt are not cut into tiles
SELECT a.image_tokens > b.image_tokens * 2 / 3 AS fewer
  FROM vl_estimate('SELECT vl_ask_multi(ARRAY[image, image], ''x'') FROM scan WHERE id = 2') a,
       vl_estimate('SELECT vl_ask_multi(ARRAY[image, image, image], ''x'') FROM scan WHERE id = 2') b;
-- what cannot be known
SET client_min_messages = notice;
SELECT calls, image_tokens, seconds FROM vl_estimate('SELECT vl_run(name, image, ''x'') FROM scan');
SELECT calls, image_tokens, seconds FROM vl_estimate('SELECT vl_ask(image, ''x'', name) FROM scan');
SELECT calls, seconds FROM vl_estimate('SELECT vl_ask_batch(array_agg(image), ''x'') FROM scan');
SELECT calls, seconds FROM vl_estimate('SELECT vl_map(''TABLE '' || name) FROM scan');
SET client_min_messages = warning;

-- errors are those of the query
\set SHOW_CONTEXT never
SELECT vl_estimate('SELECT 1; SELECT 2');
SELECT vl_estimate('');
SELECT vl_estimate('SELECT nothing FROM scan');
SELECT vl_estimate('SELEC 1');
SELECT vl_estimate('VACUUM scan');
SELECT vl_estimate('SELECT $1');
SELECT vl_estimate('SELECT vl_ask(image, ''x'', ''none'') FROM scan');
SELECT vl_estimate('SELECT vl_ask(image, ''x'', options => ''{"max_token": 1}'') FROM scan');
SELECT vl_estimate(NULL) IS NULL AS nothing;
-- so are the privileges
CREATE ROLE regress_dsvl2_user;
CREATE TEMP VIEW pictures AS SELECT image FROM scan;
GRANT SELECT ON pictures TO regress_dsvl2_user;
-- the size of pictures is told to those who may read the table; to others pictures have one tile
CREATE FUNCTION pg_temp.tokens() RETURNS bigint LANGUAGE sql AS
  $$SELECT image_tokens FROM vl_estimate('SELECT vl_describe(image, ''fresh'') FROM pictures')$$;
SELECT pg_temp.tokens() AS tokens \gset
SET ROLE regress_dsvl2_user;
SELECT pg_temp.tokens() < :tokens AS fewer;
SELECT pg_temp.fails('SELECT * FROM vl_estimate(''SELECT vl_ask(image, ''''x'''') FROM scan'')');
SELECT pg_temp.fails('SELECT * FROM vl_estimate(''DELETE FROM picture'')');
RESET ROLE;
GRANT SELECT (image) ON scan TO regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SELECT pg_temp.tokens() = :tokens AS all_of_them;
RESET ROLE;
-- and row security hides them
CREATE TEMP TABLE hidden AS SELECT * FROM scan;
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON hidden TO regress_dsvl2_user;
ANALYZE hidden;
SET ROLE regress_dsvl2_user;
SELECT calls, image_tokens FROM vl_estimate('SELECT vl_describe(image, ''fresh'') FROM hidden');
RESET ROLE;
-- a policy that asks a model counts, but is not computed either
CREATE POLICY asked ON hidden USING (vl_ask(image, 'x', 'fresh') IS NOT NULL);
SELECT pg_temp.inferences() AS before \gset
SET ROLE regress_dsvl2_user;
SELECT calls FROM vl_estimate('SELECT vl_describe(image, ''fresh'') FROM hidden');
SELECT pg_temp.inferences() = :before AS nothing_computed;
RESET ROLE;
-- one that closes the model does not change what is found
ALTER POLICY asked ON hidden USING (true);
SET ROLE regress_dsvl2_user;
SELECT image_tokens / calls AS mean FROM vl_estimate('SELECT vl_describe(image, ''fresh'') FROM hidden') \gset
RESET ROLE;
CREATE FUNCTION pg_temp.close_models() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
  PERFORM vl_unload();
  PERFORM vl_count_tokens('x', model => 'tiny');
  RETURN true;
END$$;
ALTER POLICY asked ON hidden USING (pg_temp.close_models());
SET ROLE regress_dsvl2_user;
SELECT image_tokens / calls - :mean AS difference FROM vl_estimate('SELECT vl_describe(image, ''fresh'') FROM hidden');
RESET ROLE;
DROP TABLE hidden;
DROP OWNED BY regress_dsvl2_user;
DROP ROLE regress_dsvl2_user;
-- what the planner evaluated for an estimate, and got no answer from, is evaluated anew afterwards
CREATE FUNCTION pg_temp.has_answer(name text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
  $$BEGIN RETURN vl_prob(pg_temp.pic(name), 'x') IS NOT NULL; END$$;
CREATE FUNCTION pg_temp.receipt_has_answer() RETURNS boolean STABLE LANGUAGE plpgsql AS
  $$BEGIN RETURN pg_temp.has_answer('receipt 1'); END$$;
SELECT calls FROM vl_estimate('SELECT * FROM scan WHERE kind = pg_temp.receipt_has_answer()::text');
SELECT pg_temp.receipt_has_answer();

-- ---- what the planner is told ----

-- cheap conditions go first, measured or not, wherever they are written
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS
  $$BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END$$;
SELECT pg_temp.plan($$SELECT id FROM scan WHERE vl_ask(image, 'x') = 'y' AND kind ~ 'rec' AND id % 2 = 0$$);
SELECT pg_temp.plan($$SELECT id FROM scan WHERE vl_ask(image, 'x', 'nano') = 'y' AND kind ~ 'rec' AND id % 2 = 0$$);
-- the cost is what was measured: a call of 'ask' takes other time than its declared one
CREATE FUNCTION pg_temp.cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
  RETURN plan #>> '{0,Plan,Total Cost}';
END$$;
SELECT pg_temp.cost('SELECT vl_describe(image, ''fresh'') FROM scan WHERE id = 1') BETWEEN 2500 AND 2510 AS declared,
       abs(pg_temp.cost('SELECT vl_ask(image, ''x'') FROM scan') - pg_temp.cost('SELECT vl_describe(image, ''fresh'') FROM scan')) > 1
         AS measured,
       pg_temp.cost('SELECT vl_ask(image, ''x'') FROM scan') >= 100 * 1000 AS not_below_a_millisecond;
-- unknown models and models that are known at run time only do not hinder the planner
SELECT pg_temp.cost('SELECT vl_ask(image, ''x'', ''none'') FROM scan WHERE id = 1') BETWEEN 2500 AND 2510 AS unknown,
       pg_temp.cost('SELECT vl_ask(image, ''x'', name) FROM scan WHERE id = 1') BETWEEN 2500 AND 2510 AS no_constant;
-- rows of boxes
CREATE FUNCTION pg_temp.rows(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
  RETURN plan #>> '{0,Plan,Plan Rows}';
END$$;
SELECT pg_temp.rows('SELECT * FROM vl_boxes(''\x'', ''dog'')') AS one,
       pg_temp.rows('SELECT * FROM vl_boxes(''\x'', ARRAY[''dog''])') AS one_in_array,
       pg_temp.rows('SELECT * FROM vl_boxes(''\x'', ARRAY[''dog'', ''cat'', ''bird''])') AS three,
       pg_temp.rows('SELECT * FROM vl_ask_batch(ARRAY[''\x'', ''\x'']::bytea[], ''x'')') AS batch;
-- a condition on a picture holds for three of ten
CREATE FUNCTION pg_temp.is(image bytea, statement text, model text DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS boolean AS '$libdir/dsvl2', 'vl_ask' LANGUAGE C STABLE SUPPORT vl_support;
SELECT pg_temp.rows('SELECT * FROM scan WHERE pg_temp.is(image, ''x'')') AS "is",
       pg_temp.rows('SELECT * FROM scan WHERE NOT pg_temp.is(image, ''x'')') AS is_not;
-- every function that asks a model has it
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_extension e ON e.extname = 'dsvl2' AND p.pronamespace = e.extnamespace
 WHERE p.procost = 1000000 AND p.prosupport = 0;
SELECT vl_drop_model('fresh');
