-- Tables and charts as jsonb.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- NULL, without asking
SELECT calls AS before FROM vl_last_usage() \gset
SELECT vl_table(NULL) IS NULL AS no_table, vl_chart(NULL) IS NULL AS no_chart,
       vl_table(NULL, 'no such model', '{"no": "option"}') IS NULL AS nothing_is_read;
SELECT calls - :before AS calls FROM vl_last_usage();

-- nano was not trained for them
SELECT pg_temp.fails(format($$SELECT vl_%s(pg_temp.pic('receipt 1'))$$, task))
  FROM unnest(ARRAY['table', 'chart']) AS task;
SELECT task, vl_table(image, options => '{"on_error": "null"}') IS NULL AS forgiven, r.error_code
  FROM picture, unnest(ARRAY['table', 'chart']) AS task, vl_run(task, image) r
 WHERE name = 'receipt 1';

-- errors of the request
SELECT pg_temp.fails(sql)
  FROM unnest(ARRAY[$$SELECT vl_table('x', 'no such model')$$,
                    $$SELECT vl_chart('x', options => '{"tempature": 1}')$$,
                    $$SELECT vl_table('x', 'tiny', '{"stop": "]"}')$$,
                    $$SELECT vl_run('chart', 'x', model => 'tiny', options => '{"stop": ["]"]}')$$,
                    $$SELECT vl_run('table', 'x', 'the first one')$$,
                    $$SELECT vl_run('table', 'x', fields => '["a"]')$$]) AS sql;
-- of the image
SELECT pg_temp.fails($$SELECT vl_table('no picture', 'tiny')$$);
SELECT vl_chart('no picture', 'tiny', '{"on_error": "null"}') IS NULL AS forgiven;

-- A model of random weights writes nonsense of the right shape, or does not come to an end.
CREATE FUNCTION pg_temp.is_table(v jsonb) RETURNS boolean LANGUAGE sql AS $$
  SELECT v ?& '{columns,rows}' AND (SELECT count(*) = 2 FROM jsonb_object_keys(v))
     AND jsonb_array_length(v->'columns') > 0
     AND NOT jsonb_path_exists(v, 'strict $.columns[*] ? (@.type() != "string")')
     AND NOT EXISTS (SELECT FROM jsonb_array_elements(v->'rows') AS r
                      WHERE jsonb_array_length(r) <> jsonb_array_length(v->'columns')
                         OR jsonb_path_exists(r, 'strict $[*] ? (@.type() != "string" && @ != null)')) $$;
CREATE FUNCTION pg_temp.is_chart(v jsonb) RETURNS boolean LANGUAGE sql AS $$
  SELECT v ?& '{title,series}' AND (SELECT count(*) = 2 FROM jsonb_object_keys(v))
     AND jsonb_typeof(v->'title') IN ('string', 'null') AND jsonb_typeof(v->'series') = 'array'
     AND NOT jsonb_path_exists(v, 'strict $.series[*] ? (@.name.type() != "string")')
     AND NOT jsonb_path_exists(v, 'strict $.series[*].points[*] ? (@.y.type() != "number"
                                                || (@.x.type() != "number" && @.x.type() != "string"))') $$;
SELECT pg_temp.is_table('{"columns": ["a", "b"], "rows": [["1", null]]}') AS is_table,
       pg_temp.is_table('{"columns": ["a", "b"], "rows": [["1"]]}') AS is_none,
       pg_temp.is_chart('{"title": null, "series": [{"name": "a", "points": [{"x": "1", "y": 2}]}]}') AS is_chart,
       pg_temp.is_chart('{"title": null, "series": [{"name": "a", "points": [{"x": "1", "y": "2"}]}]}') AS is_none;

CREATE TEMP TABLE answer AS
SELECT name, seed, task, r.value, r.error_code, r.finish_reason
  FROM (SELECT name, image FROM picture ORDER BY name LIMIT 3) p, generate_series(1, 8) AS seed,
       unnest(ARRAY['table', 'chart']) AS task,
       vl_run(task, image, model => 'tiny',
              options => format('{"max_tokens": 120, "temperature": 1.5, "seed": %s}', seed)::jsonb) r;
SELECT task, count(*) AS answers,
       bool_and(error_code IS NOT DISTINCT FROM 'VL004' OR error_code IS NOT DISTINCT FROM 'VL005' OR
                error_code IS NULL AND finish_reason = 'stop') AS as_they_should_end,
       bool_and(error_code <> 'VL005' OR task = 'table') IS NOT FALSE AS only_tables_are_misshapen
  FROM answer GROUP BY task ORDER BY task;
-- the functions give what vl_run tells, with rows filled up
BEGIN;
SELECT count(*) FILTER (WHERE a.error_code IS NULL) = count(v) AS answered,
       bool_and(CASE a.task WHEN 'table' THEN pg_temp.is_table(v) ELSE pg_temp.is_chart(v) END)
         IS NOT FALSE AS right_shape,
       bool_and(v->'columns' = a.value::jsonb->'columns' AND
                jsonb_array_length(v->'rows') = jsonb_array_length(a.value::jsonb->'rows') OR
                v = a.value::jsonb) IS NOT FALSE AS the_same
  FROM answer a JOIN picture p USING (name),
       LATERAL (SELECT format('{"max_tokens": 120, "temperature": 1.5, "seed": %s, "on_error": "null"}', seed)::jsonb
                AS options) o,
       LATERAL (SELECT CASE a.task WHEN 'table' THEN vl_table(image, 'tiny', options)
                       ELSE vl_chart(image, 'tiny', options) END AS v) f;
COMMIT;
SELECT pg_temp.fails($$SELECT vl_table(pg_temp.pic('receipt 1'), 'tiny', '{"max_tokens": 3}')$$);
