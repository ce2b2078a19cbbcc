-- vl_is, vl_prob, vl_classify, vl_classify_scores.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
CREATE TEMP TABLE scan AS SELECT name, image
  FROM picture WHERE name IN ('receipt 1', 'receipt 2', 'text 1', 'gray.png');
ANALYZE scan;
\set labels 'ARRAY[''receipt'', ''text: a page of words'', ''shapes'']'

-- NULL in, NULL or nothing out, and no model runs for it
SELECT computed FROM pg_temp.spent($$
  SELECT vl_is(NULL, 'Is this a receipt?'), vl_is(image, NULL), vl_prob(NULL, 'x'), vl_prob(image, NULL),
         vl_classify(NULL, ARRAY['a']), vl_classify(image, NULL) FROM scan$$);
SELECT vl_is(image, NULL) IS NULL AND vl_prob(image, NULL) IS NULL AND vl_classify(image, NULL) IS NULL
       AS all_null, (SELECT count(*) FROM vl_classify_scores(image, NULL)) AS rows
  FROM scan WHERE name = 'receipt 1';
SELECT * FROM vl_classify_scores(NULL, ARRAY['a']);

-- the four agree with each other, by either model
SELECT model, name, vl_is(image, statement, model) = (p >= 0.5) AS is_prob, p BETWEEN 0 AND 1 AS bounded,
       kind = ANY (ARRAY['receipt', 'text', 'shapes']) AS a_label, kind = best.label AS is_first
  FROM scan, (VALUES ('nano', 'Is this a receipt?'), ('tiny', 'it is raining')) AS v(model, statement),
       LATERAL vl_prob(image, statement, model) AS p,
       LATERAL vl_classify(image, :labels, model) AS kind,
       LATERAL (SELECT label FROM vl_classify_scores(image, :labels, model) WHERE rank = 1) AS best
 ORDER BY model, name;
SELECT model, count(*), abs(sum(score) - 1) < 1e-5 AS sum_is_1,
       array_agg(rank ORDER BY score DESC, rank) AS ranks,
       array_agg(label ORDER BY label) AS labels
  FROM scan, (VALUES ('nano'), ('tiny')) AS m(model), vl_classify_scores(image, :labels, model)
 GROUP BY model, name ORDER BY model, name;

-- one inference for all that ask the same, with abstain or without
SELECT computed, remembered FROM pg_temp.spent($$
  SELECT vl_is(image, 'Is this a receipt?'), vl_prob(image, 'Is this a receipt?'),
         vl_is(image, 'Is this a receipt?', options => '{"abstain": 0.5}'),
         (vl_run('is', image, 'Is this a receipt?')).score FROM scan$$);
SELECT computed, remembered FROM pg_temp.spent($$
  SELECT vl_classify(image, ARRAY['a: x', 'b']), s.score, (vl_run('classify', image,
         fields => '["a: x", "b"]')).value FROM scan, vl_classify_scores(image, ARRAY['a: x', 'b']) s$$);
-- a description is part of the question, and so is the order
SELECT computed FROM pg_temp.spent($$
  SELECT vl_classify(image, ARRAY['a', 'b']), vl_classify(image, ARRAY['a: y', 'b']),
         vl_classify(image, ARRAY['b', 'a']) FROM scan WHERE name = 'gray.png'$$);
-- no answer is written
SELECT output_tokens, prompt_tokens > 0 AS prompt, task FROM vl_last_usage();

-- abstain: NULL when the lead is smaller
SELECT vl_is(image, s, 'tiny', jsonb_build_object('abstain', lead - 0.0001)) IS NULL AS below,
       vl_is(image, s, 'tiny', jsonb_build_object('abstain', lead + 0.0001)) IS NULL AS above,
       vl_prob(image, s, 'tiny', '{"abstain": 1}') = p AS prob_never_abstains,
       (r).value IS NULL AS run_abstains, abs((r).score - greatest(p, 1 - p)) < 1e-6 AS run_score
  FROM scan, (VALUES ('it is raining')) AS v(s), LATERAL vl_prob(image, s, 'tiny') AS p,
       LATERAL abs(p - (1 - p)) AS lead,
       LATERAL vl_run('is', image, s, model => 'tiny', options => '{"abstain": 1}') AS r
 WHERE name = 'gray.png';
SELECT vl_classify(image, :labels, 'tiny', jsonb_build_object('abstain', lead - 0.0001)) IS NULL AS below,
       vl_classify(image, :labels, 'tiny', jsonb_build_object('abstain', lead + 0.0001)) IS NULL AS above
  FROM scan, LATERAL (SELECT max(score) FILTER (WHERE rank = 1) - max(score) FILTER (WHERE rank = 2)
                        FROM vl_classify_scores(image, :labels, 'tiny', '{"abstain": 1}')) AS s(lead)
 WHERE name = 'gray.png';
SELECT pg_temp.fails($$SELECT vl_is('\x', 'x', options => '{"abstain": 1.5}')$$);
SELECT pg_temp.fails($$SELECT vl_is('\x', 'x', options => '{"abstain": "yes"}')$$);
SELECT pg_temp.fails($$SELECT vl_ask('\x', 'x', options => '{"abstain": 0.5}')$$);

-- options of answers that are written
SELECT pg_temp.fails(format($$SELECT vl_is('\x', 'x', options => '{%s}')$$, option))
  FROM unnest(ARRAY['"temperature": 0', '"max_tokens": 5', '"top_p": 0.5', '"seed": 1', '"stop": "x"',
                    '"repetition_penalty": 1', '"no_repeat_ngram": 2']) AS option;
SELECT pg_temp.fails($$SELECT vl_classify('\x', ARRAY['a'], options => '{"seed": 1}')$$);
SELECT vl_is(image, 'x', 'tiny', '{"temperature": null, "tiles": 1, "system": "Be brief."}') IS NOT NULL
  FROM scan WHERE name = 'gray.png';

-- labels
SELECT pg_temp.fails(format($$SELECT vl_classify('\x', %L::text[])$$, labels))
  FROM (VALUES (ARRAY['a', NULL]), (ARRAY['a', '']), (ARRAY['a', ' : described']), (ARRAY['a', 'b', 'a']),
               (ARRAY['a', 'a: described']), (ARRAY['größer', ' größer ']), ('{}'),
               (ARRAY(SELECT 'label ' || n FROM generate_series(1, 1025) n))) AS v(labels);
SELECT label, rank FROM vl_classify_scores(pg_temp.pic('gray.png'), ARRAY[' alone: with a description ']);
SELECT label FROM vl_classify_scores(pg_temp.pic('gray.png'),
  ARRAY['ratio 3:4', 'a:b: two colons: here', 'tail:', '収据', '<|Assistant|>', 'it''s "quoted"'])
 ORDER BY label COLLATE "C";
SELECT count(*), count(DISTINCT label), abs(sum(score) - 1) < 1e-4 AS sum_is_1, min(rank), max(rank),
       bool_and(score >= 0) AS scores
  FROM vl_classify_scores(pg_temp.pic('gray.png'), ARRAY(SELECT 'k' || n FROM generate_series(1, 300) n));

-- errors of a row obey on_error, the others do not
SELECT pg_temp.fails($$SELECT vl_is('\x', 'x')$$), pg_temp.fails($$SELECT vl_classify('\x', ARRAY['a'])$$);
SELECT vl_is('\x', 'x', options => '{"on_error": "null"}'),
       vl_prob('\x', 'x', options => '{"on_error": "null"}'),
       vl_classify('\x', ARRAY['a'], options => '{"on_error": "null"}');
SELECT * FROM vl_classify_scores('\x', ARRAY['a'], options => '{"on_error": "null"}');
SELECT regexp_replace(pg_temp.fails($$SELECT vl_classify(pg_temp.pic('gray.png'),
  ARRAY['a', 'b: ' || repeat('very ', 5000)])$$), '\d+ tokens', 'N tokens', 'g');
SELECT regexp_replace(pg_temp.fails($$SELECT vl_classify(pg_temp.pic('gray.png'),
  ARRAY['a', repeat('very ', 800)], 'tiny')$$), '\d+ tokens', 'N tokens', 'g');
SELECT pg_temp.fails($$SELECT vl_is(pg_temp.pic('page.png'), 'x', 'tiny',
  '{"timeout_ms": 5, "on_error": "null"}')$$);

-- vl_run
SELECT r.task, r.value IN ('yes', 'no') AS yes_or_no, abs(r.score - greatest(p, 1 - p)) < 1e-6 AS score, r.truncated,
       r.output_tokens, r.error_code
  FROM scan, vl_run('is', image, 'Is this a receipt?') r, vl_prob(image, 'Is this a receipt?') p
 WHERE name = 'receipt 1';
SELECT r.task, r.value = s.label AS value, r.score = s.score AS score
  FROM scan, vl_run('classify', image, fields => '["receipt", "text"]') r,
       vl_classify_scores(image, ARRAY['receipt', 'text']) s
 WHERE name = 'receipt 1' AND s.rank = 1;
SELECT value, score, error_code, error FROM vl_run('is', '\x', 'x');
SELECT vl_run('is', '\x') IS NULL AS no_statement, vl_run('classify', '\x') IS NULL AS no_labels;
SELECT pg_temp.fails(format($$SELECT vl_run('classify', '\x', fields => %L)$$, fields))
  FROM (VALUES ('[]'), ('{"a": "b"}'), ('"a"'), ('["a", null]'), ('["a", 1]'), ('["a", "a"]')) AS v(fields);
SELECT pg_temp.fails($$SELECT vl_run('classify', '\x', 'which?', '["a"]')$$);
SELECT pg_temp.fails($$SELECT vl_run('is', '\x', 'x', '["a"]')$$);
