-- NULL in, NULL out, and no model runs for it.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
\set receipt '''receipt 1'''
SELECT vl_ocr(NULL), vl_ocr(NULL, 'markdown'), vl_ocr(pg_temp.pic(:receipt), NULL);
SELECT vl_ask(NULL, 'Total?'), vl_ask(pg_temp.pic(:receipt), NULL), vl_ask(NULL, NULL);
SELECT vl_ask_multi(NULL, 'Total?'), vl_ask_multi(ARRAY[pg_temp.pic(:receipt)], NULL),
       vl_ask_multi(ARRAY[pg_temp.pic(:receipt), NULL], 'Total?');
SELECT vl_describe(NULL);
SELECT vl_run(NULL, NULL) IS NULL AS run, vl_run('ocr', NULL) IS NULL AS no_image,
       vl_run('ask', pg_temp.pic(:receipt), NULL) IS NULL AS no_prompt;
SELECT vl_ground(NULL, 'total'), vl_ground(pg_temp.pic(:receipt), NULL),
       vl_ground_answer(NULL, 'Total?'), vl_ground_answer(pg_temp.pic(:receipt), NULL);
SELECT * FROM vl_boxes(NULL, 'total');
SELECT * FROM vl_boxes(pg_temp.pic(:receipt), NULL::text);
SELECT * FROM vl_boxes(NULL, ARRAY['total']);
SELECT * FROM vl_boxes(pg_temp.pic(:receipt), NULL::text[]);
SELECT * FROM vl_boxes(pg_temp.pic(:receipt), ARRAY[NULL, NULL]::text[]);
SELECT * FROM vl_boxes(pg_temp.pic(:receipt), '{}'::text[]);
SELECT * FROM vl_points(NULL, 'total');
SELECT * FROM vl_points(pg_temp.pic(:receipt), NULL);
SELECT * FROM vl_parse_boxes(NULL, 10, 10);
SELECT * FROM vl_parse_boxes('text', NULL, 10);
SELECT vl_image_info(NULL) IS NULL AS info;
SELECT vl_count_tokens(NULL), vl_count_tokens(NULL, pg_temp.pic(:receipt));
SELECT vl_register_model(NULL, '/'), vl_register_model('x', NULL),
       vl_register_model('x', '/', NULL),
       vl_drop_model(NULL), vl_alias(NULL, 'nano'), vl_alias('x', NULL);
-- none of this asked a model
SELECT calls, inferences, memo_hits, images, row_errors, task, model, total_ms FROM vl_last_usage();

-- NULL as the model or as the options is what leaving them out is
SELECT vl_ocr(image, 'text', NULL, NULL) = vl_ocr(image) AS same FROM picture WHERE name = :receipt;
-- and a null in the options is what leaving the option out is
SELECT vl_ocr(image, options => '{"max_tokens": null, "stop": null, "system": null,
                                  "temperature": null, "scores": null}') = vl_ocr(image) AS same
  FROM picture WHERE name = :receipt;
-- but not where it could be taken for a value
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"on_error": null}')$$);
-- a NULL in a column costs nothing and disturbs nobody
SELECT name, vl_ocr(CASE WHEN name = :receipt THEN image END) IS NOT NULL AS answered
  FROM picture WHERE name IN (:receipt, 'text 1') ORDER BY name;
SELECT inferences FROM vl_last_usage();
