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
SELECT t AS task, vl_table(image, options => '{"on_error": "null"}') IS NULL AS forgiven, r.error_code
  FROM picture, unnest(ARRAY['table', 'chart']) AS t, vl_run(t, image) r
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
SELECT left(pg_temp.fails($$SELECT vl_table('no picture', 'tiny')$$), 5) AS fails;
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

-- sampled so that some of them do
CREATE TEMP TABLE answer AS
SELECT r.task, o.options, r.value, r.error_code, r.finish_reason
  FROM unnest(ARRAY['table', 'chart']) AS t, unnest(ARRAY[1, 4, 9, 15, 27, 30]) AS seed,
       LATERAL (SELECT format('{"max_tokens": 400, "temperature": 4, "repetition_penalty": 0.3, "seed": %s,
                                "on_error": "null"}', seed)::jsonb AS options) o,
       vl_run(t, pg_temp.pic('receipt 1'), model => 'tiny', options => o.options) r;
SELECT task, count(*) AS answers,
       bool_and(CASE WHEN error_code IS NULL THEN finish_reason = 'stop'
                ELSE error_code = 'VL004' OR error_code = 'VL005' AND task = 'table' END) AS as_they_should_end
  FROM answer GROUP BY task ORDER BY task;
-- the functions give what vl_run tells, with the rows of tables filled up
CREATE TEMP TABLE shaped AS
SELECT a.*, CASE task WHEN 'table' THEN vl_table(pg_temp.pic('receipt 1'), 'tiny', options)
            ELSE vl_chart(pg_temp.pic('receipt 1'), 'tiny', options) END AS v
  FROM answer a;
SELECT count(v) > 0 AS some_ended FROM shaped;
SELECT count(*) AS wrong
  FROM shaped
 WHERE CASE WHEN error_code IS NOT NULL THEN v IS NOT NULL
            WHEN task = 'chart' THEN NOT pg_temp.is_chart(v) OR v <> value::jsonb
            ELSE NOT pg_temp.is_table(v) OR v->'columns' <> value::jsonb->'columns' OR
                 (SELECT jsonb_agg(coalesce((SELECT jsonb_agg(c ORDER BY i)
                                               FROM jsonb_array_elements(r) WITH ORDINALITY AS x(c, i)
                                              WHERE c <> 'null'), '[]') ORDER BY n)
                    FROM jsonb_array_elements(v->'rows') WITH ORDINALITY AS y(r, n))
                 IS DISTINCT FROM NULLIF(value::jsonb->'rows', '[]') END;
SELECT pg_temp.fails($$SELECT vl_table(pg_temp.pic('receipt 1'), 'tiny', '{"max_tokens": 3}')$$);
