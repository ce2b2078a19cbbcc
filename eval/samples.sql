-- samples.sql: benchmark files in VLMEvalKit's form made of nano's sample pictures, to prove the
-- path from a TSV to a score.  They say nothing of a model.  Needs the table scans (file, scan) and
-- the variables samples (the JSON text) and dir (where the files go).

CREATE TEMPORARY TABLE question AS
SELECT row_number() OVER () AS n, s.file, s.kind, s.width, s.height, s.lines, q.task, q.prompt, q.answer,
       encode(c.scan, 'base64') AS image
  FROM jsonb_to_recordset(:'samples'::jsonb) AS s(file text, kind text, width int, height int, lines jsonb,
                                                  questions jsonb)
  JOIN scans c USING (file)
 CROSS JOIN LATERAL jsonb_to_recordset(s.questions) AS q(task text, prompt text, answer text)
 ORDER BY s.file;

-- a Python list, with quotes as Python prints them
CREATE FUNCTION pg_temp.py(variadic t text[]) RETURNS text LANGUAGE sql AS $$
    SELECT '[' || string_agg(CASE WHEN a ~ '''' THEN '"' || replace(a, '"', '\"') || '"' ELSE '''' || a || '''' END,
                             ', ') || ']' FROM unnest(t) a
$$;

CREATE TEMPORARY VIEW docvqa AS
SELECT n AS index, image, prompt AS question, pg_temp.py(answer, upper(answer)) AS answer
  FROM question WHERE task IN ('ask.total', 'ask.merchant', 'ask.date');

-- one copy of each picture: later questions name the first one's row
CREATE TEMPORARY VIEW chartqa AS
SELECT n AS index, prompt AS question, answer,
       CASE WHEN n = first THEN image ELSE first::text END AS image,
       CASE WHEN n % 2 = 0 THEN 'test_human' ELSE 'test_augmented' END AS split
  FROM (SELECT *, min(n) OVER (PARTITION BY file) AS first FROM question
         WHERE task IN ('ask.total', 'ask.subtotal', 'ask.tax') AND answer ~ '^[0-9.]+$') q;

CREATE TEMPORARY VIEW textvqa AS
SELECT n AS index, image, prompt AS question,
       pg_temp.py(VARIADIC array_fill(answer, ARRAY[9]) || ARRAY['something else']) AS answer
  FROM question WHERE task = 'ask.merchant';

CREATE TEMPORARY VIEW ocrbench AS
SELECT n AS index, image, prompt AS question, pg_temp.py(split_part(answer, E'\n', 1)) AS answer,
       CASE WHEN kind = 'receipt' THEN 'Doc-oriented VQA' ELSE 'Regular Text Recognition' END AS category
  FROM question WHERE task = 'ocr';

CREATE TEMPORARY VIEW mmbench AS
SELECT n AS index, 'What is this?' AS question, NULL AS hint, 'a receipt' AS "A", 'lines of text' AS "B",
       'coloured shapes' AS "C", CASE kind WHEN 'receipt' THEN 'A' WHEN 'text' THEN 'B' ELSE 'C' END AS answer,
       kind AS category, image
  FROM question WHERE task = 'classify';

CREATE TEMPORARY VIEW refcoco AS
SELECT n AS index, lines -> 0 ->> 'text' AS question, lines -> 0 ->> 'box' AS answer, 'RefCOCO val' AS category,
       width, height, (lines -> 0 -> 'box' ->> 0)::int / 999.0 * width AS bbox_x1,
       (lines -> 0 -> 'box' ->> 1)::int / 999.0 * height AS bbox_y1,
       (lines -> 0 -> 'box' ->> 2)::int / 999.0 * width AS bbox_x2,
       (lines -> 0 -> 'box' ->> 3)::int / 999.0 * height AS bbox_y2, image
  FROM question WHERE task = 'ocr' AND jsonb_array_length(lines) > 0;

\set to :dir '/DocVQA_SAMPLES.tsv'
\o :to
COPY (SELECT * FROM docvqa) TO STDOUT (FORMAT csv, DELIMITER E'\t', HEADER true);
\set to :dir '/ChartQA_SAMPLES.tsv'
\o :to
COPY (SELECT * FROM chartqa) TO STDOUT (FORMAT csv, DELIMITER E'\t', HEADER true);
\set to :dir '/TextVQA_SAMPLES.tsv'
\o :to
COPY (SELECT * FROM textvqa) TO STDOUT (FORMAT csv, DELIMITER E'\t', HEADER true);
\set to :dir '/OCRBench.tsv'
\o :to
COPY (SELECT * FROM ocrbench) TO STDOUT (FORMAT csv, DELIMITER E'\t', HEADER true);
\set to :dir '/MMBench_SAMPLES_EN.tsv'
\o :to
COPY (SELECT * FROM mmbench) TO STDOUT (FORMAT csv, DELIMITER E'\t', HEADER true);
\set to :dir '/RefCOCO.tsv'
\o :to
COPY (SELECT * FROM refcoco) TO STDOUT (FORMAT csv, DELIMITER E'\t', HEADER true);
\o
