-- eval.sql: tables, prompts and scores of the benchmarks, in the schema dsvl2_eval.
--
-- The prompts and scores are those of VLMEvalKit, whose TSV files are read: what it asks of a
-- model, and how it counts an answer, is written at each function.  To be run with the schema of
-- the extension in search_path; eval/run does all of it.

CREATE SCHEMA IF NOT EXISTS dsvl2_eval;
SET search_path = dsvl2_eval, public;
SET client_min_messages = warning;

-- score of the paper: DeepSeek-VL2 (arXiv:2412.10302); NULL where it is not known here
CREATE TABLE IF NOT EXISTS benchmark (
    name        text PRIMARY KEY,
    files       text NOT NULL,          -- names of TSV files that hold it, a regular expression
    metric      text NOT NULL,          -- what score() counts
    task        text NOT NULL,          -- of vl_run
    suffix      text NOT NULL,          -- behind the question
    scale       real NOT NULL           -- a mean of 1 is printed as this
);
CREATE TABLE IF NOT EXISTS paper (
    benchmark text NOT NULL REFERENCES benchmark,
    split     text NOT NULL,            -- '' = the whole file
    tiny      real,
    small     real,
    base      real,
    PRIMARY KEY (benchmark, split)
);
CREATE TABLE IF NOT EXISTS run (
    id         int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    benchmark  text NOT NULL REFERENCES benchmark,
    file       text NOT NULL,
    model      text NOT NULL,
    options    jsonb NOT NULL,
    started    timestamptz NOT NULL DEFAULT now(),
    finished   timestamptz
);
CREATE TABLE IF NOT EXISTS image (
    run    int NOT NULL REFERENCES run ON DELETE CASCADE,
    key    text NOT NULL,
    images bytea[] NOT NULL,
    PRIMARY KEY (run, key)
);
-- images do not compress
ALTER TABLE image ALTER COLUMN images SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS item (
    run         int NOT NULL REFERENCES run ON DELETE CASCADE,
    id          int NOT NULL,
    key         text NOT NULL,          -- "index" of the file
    grp         text NOT NULL,          -- items that count together (rolled options), else key
    image       text NOT NULL,          -- key of the image
    split       text,
    category    text,
    prompt      text NOT NULL,
    truths      text[] NOT NULL,
    choices     jsonb,                  -- letter -> text
    truth_box   box,                    -- pixels, or 0..1 of the sides
    answer      text,
    error_code  text,
    score       real,
    ms          double precision,
    PRIMARY KEY (run, id)
);

-- VLMEvalKit's suffix for short answers
INSERT INTO benchmark VALUES
    ('DocVQA',   '^DocVQA',          'anls',     'ask',    E'\nAnswer the question using a single word or phrase.', 100),
    ('ChartQA',  '^ChartQA',         'relaxed',  'ask',    E'\nAnswer the question using a single word or phrase.', 100),
    ('TextVQA',  '^TextVQA',         'vqa',      'ask',    E'\nAnswer the question using a single word or phrase.', 100),
    ('OCRBench', '^OCRBench(_MINI)?\.', 'contains', 'ask', '', 1000),
    ('MMBench',  '^MMBench_.*_EN',   'circular', 'ask',    '', 100),
    ('RefCOCO',  '^RefCOCO',         'iou',      'ground', '', 100)
ON CONFLICT DO NOTHING;

-- Tables 4 and 6 of the paper; it has no figure of the development split of MMBench
INSERT INTO paper VALUES
    ('DocVQA', '', 88.9, 92.3, 93.3),
    ('ChartQA', '', 81.0, 84.5, 86.0),
    ('TextVQA', '', 80.7, 83.4, 84.2),
    ('OCRBench', '', 809, 834, 811),
    ('RefCOCO', 'RefCOCO_val', 84.7, 93.9, 95.1),
    ('RefCOCO', 'RefCOCO_testA', 87.8, 95.3, 96.7),
    ('RefCOCO', 'RefCOCO_testB', 78.4, 91.3, 92.7),
    ('RefCOCO', 'RefCOCO+_val', 75.9, 89.4, 91.2),
    ('RefCOCO', 'RefCOCO+_testA', 83.9, 92.9, 94.9),
    ('RefCOCO', 'RefCOCO+_testB', 67.4, 84.8, 87.4),
    ('RefCOCO', 'RefCOCOg_val', 73.8, 92.6, 92.8),
    ('RefCOCO', 'RefCOCOg_test', 83.9, 92.6, 92.9)
ON CONFLICT DO NOTHING;

-- ---- reading the files ----

-- A Python list of strings as it is printed, or a single text
CREATE OR REPLACE FUNCTION answer_list(literal text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN literal !~ '^\s*\[.*\]\s*$' THEN ARRAY[literal]
           ELSE ARRAY(SELECT regexp_replace(coalesce(m[1], m[2], m[3]), '\\(.)', '\1', 'g')
                        FROM regexp_matches(literal,
                             $re$'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s,\[\]'"][^,\]]*)$re$, 'g') m)
           END
$$;

-- The letters A, B, ... that the row fills, in order
CREATE OR REPLACE FUNCTION row_choices(r jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(l, r ->> l) FROM unnest(string_to_array('A,B,C,D,E,F,G,H', ',')) l
     WHERE coalesce(r ->> l, '') <> ''
$$;

-- How VLMEvalKit puts a question: the options of a multiple choice behind it, a hint in front
CREATE OR REPLACE FUNCTION row_prompt(b benchmark, r jsonb, suffix text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE b.metric
           WHEN 'circular' THEN
               coalesce('Hint: ' || nullif(r ->> 'hint', '') || E'\n', '') ||
               'Question: ' || (r ->> 'question') || E'\nOptions:\n' ||
               (SELECT string_agg(key || '. ' || value || E'\n', '' ORDER BY key)
                  FROM jsonb_each_text(row_choices(r))) ||
               'Please select the correct answer from the options above. ' || E'\n'
           ELSE (r ->> 'question') || coalesce(suffix, b.suffix)
           END
$$;

CREATE OR REPLACE FUNCTION numbers(s text) RETURNS double precision[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(m[1]::double precision)
      FROM regexp_matches(s, '([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)', 'g') m
$$;

-- x1 y1 x2 y2 of a referring expression: its own columns, else four numbers in "answer"
CREATE OR REPLACE FUNCTION row_box(r jsonb) RETURNS box LANGUAGE sql IMMUTABLE AS $$
    SELECT box(point(n[1], n[2]), point(n[3], n[4]))
      FROM (SELECT CASE WHEN r ? 'bbox_x1' THEN ARRAY[(r ->> 'bbox_x1')::float8, (r ->> 'bbox_y1')::float8,
                                                     (r ->> 'bbox_x2')::float8, (r ->> 'bbox_y2')::float8]
                        ELSE numbers(coalesce(r ->> 'answer', r ->> 'bbox')) END) AS v(n)
     WHERE cardinality(n) >= 4
$$;

-- RefCOCO's file says "RefCOCO+ testA" in its category
CREATE OR REPLACE FUNCTION row_split(b benchmark, r jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN b.metric = 'iou' AND nullif(r ->> 'split', '') IS NULL
                THEN regexp_replace(regexp_replace(btrim(r ->> 'category'), '\s+test([ab])$', '_test\1', 'i'),
                                    '\s+', '_', 'g')
                ELSE nullif(r ->> 'split', '') END
$$;

-- Reads the rows of a loaded file (a table of text columns) into a new run.  An "image" of 64
-- characters or fewer names the row whose image it is; circular items that the file does not
-- hold yet (index + 1,000,000 and so on) are made by rolling the options.
CREATE OR REPLACE FUNCTION import(source regclass, benchmark_name text, file text, model text,
                                  options jsonb, at_most int, suffix text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    b       benchmark;
    new_run int;
BEGIN
    SELECT * INTO STRICT b FROM benchmark WHERE name = benchmark_name;
    INSERT INTO run (benchmark, file, model, options) VALUES (b.name, file, model, options)
        RETURNING id INTO new_run;
    CREATE TEMPORARY TABLE loaded (pos int, r jsonb, image text) ON COMMIT DROP;
    EXECUTE format('INSERT INTO loaded SELECT row_number() OVER (), to_jsonb(s) - ''image'', s.image FROM %s s',
                   source);
    IF at_most > 0 THEN
        DELETE FROM loaded l WHERE pos > at_most AND NOT EXISTS
            (SELECT FROM loaded o WHERE o.pos <= at_most AND o.image = l.r ->> 'index');
    END IF;
    INSERT INTO image
        SELECT new_run, r ->> 'index', ARRAY(SELECT decode(i, 'base64') FROM unnest(answer_list(image)) i)
          FROM loaded WHERE length(image) > 64;
    INSERT INTO item
        SELECT new_run, pos, r ->> 'index', r ->> 'index',
               CASE WHEN length(image) > 64 THEN r ->> 'index' ELSE image END,
               row_split(b, r), r ->> 'category', row_prompt(b, r, suffix),
               answer_list(coalesce(r ->> 'answer', '')), row_choices(r),
               CASE b.metric WHEN 'iou' THEN row_box(r) END
          FROM loaded WHERE at_most <= 0 OR pos <= at_most;
    IF b.metric = 'circular' THEN
        UPDATE item SET grp = ((key::bigint) % 1000000)::text WHERE run = new_run;
        PERFORM roll_options(new_run);
    END IF;
    DROP TABLE loaded;
    RETURN new_run;
END
$$;

-- Every item whose group has one member gets its options rolled: "A" moves on by one each time,
-- and the answer with it.
CREATE OR REPLACE FUNCTION roll_options(the_run int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO item (run, id, key, grp, image, split, category, prompt, truths, choices)
    SELECT i.run, m.top + (row_number() OVER ())::int, (i.key::bigint + k * 1000000)::text, i.grp, i.image,
           i.split, i.category,
           split_part(i.prompt, E'\nOptions:\n', 1) || E'\nOptions:\n' ||
           (SELECT string_agg(key || '. ' || value || E'\n', '' ORDER BY key) FROM jsonb_each_text(c.rolled)) ||
           'Please select the correct answer from the options above. ' || E'\n',
           ARRAY[chr(65 + (ascii(i.truths[1]) - 65 + k) % c.n)], c.rolled
      FROM item i
      CROSS JOIN (SELECT max(id) AS top FROM item WHERE run = the_run) m
      CROSS JOIN LATERAL generate_series(1, (SELECT count(*)::int - 1 FROM jsonb_object_keys(i.choices))) k
      CROSS JOIN LATERAL (
          SELECT count(*)::int AS n,
                 jsonb_object_agg(chr(65 + (ascii(key) - 65 + k) % (SELECT count(*)::int FROM jsonb_object_keys(i.choices))),
                                  value) AS rolled
            FROM jsonb_each_text(i.choices)) c
     WHERE i.run = the_run AND (SELECT count(*) FROM item o WHERE o.run = the_run AND o.grp = i.grp) = 1
$$;

-- ---- scores: 0 to 1 an item ----

-- As Python's float(), a percentage as its hundredth; NULL for what is no number
CREATE OR REPLACE FUNCTION as_number(s text) RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN s ~ '^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*%*$'
                THEN btrim(s, E'% \t\n')::double precision / CASE WHEN s ~ '%$' THEN 100 ELSE 1 END END
$$;

-- ChartQA (arXiv:2203.10244, section 5.1): numbers within 5 %, other answers equal
CREATE OR REPLACE FUNCTION relaxed(answer text, truths text[]) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT max(CASE WHEN as_number(answer) IS NOT NULL AND as_number(t) <> 0
                    THEN (abs(as_number(answer) - as_number(t)) <= 0.05 * abs(as_number(t)))::int
                    ELSE (lower(btrim(answer)) = lower(t))::int END)::real
      FROM unnest(truths) t
$$;

-- Contractions that the VQA metric writes alike; other apostrophes stay
CREATE OR REPLACE FUNCTION contraction(word text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce((SELECT c FROM unnest(string_to_array(
        'ain''t aren''t can''t could''ve couldn''t couldn''t''ve didn''t doesn''t don''t hadn''t hadn''t''ve hasn''t '
        'haven''t he''d he''d''ve he''s how''d how''ll how''s isn''t it''d it''d''ve it''ll ma''am mightn''t '
        'mightn''t''ve might''ve mustn''t must''ve needn''t not''ve o''clock oughtn''t shan''t she''d''ve should''ve '
        'shouldn''t shouldn''t''ve somebody''d''ve somebody''ll somebody''s someone''d someone''d''ve someone''ll '
        'someone''s something''d something''d''ve something''ll that''s there''d there''d''ve there''re there''s '
        'they''d they''d''ve they''ll they''re they''ve ''twas wasn''t we''d''ve we''ve weren''t what''ll what''re '
        'what''s what''ve when''s where''d where''s where''ve who''d who''d''ve who''ll who''s who''ve why''ll '
        'why''re why''s won''t would''ve wouldn''t wouldn''t''ve y''all y''all''ll y''all''d''ve you''d you''d''ve '
        'you''ll you''re you''ve', ' ')) c
        WHERE replace(c, '''', '') = replace(word, '''', '') LIMIT 1), word)
$$;

-- VQA (arXiv:1505.00468) before answers are compared: punctuation, articles, numerals, contractions
CREATE OR REPLACE FUNCTION vqa_normal(s text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    t      text := btrim(translate(s, E'\n\t', '  '));
    o      text := t;
    commas boolean := t ~ '\d,\d';
    p      text;
BEGIN
    FOREACH p IN ARRAY regexp_split_to_array(E';/[]"{}()=+\\_->`<@,?!', '') LOOP
        o := replace(o, p, CASE WHEN commas OR strpos(t, p || ' ') > 0 OR strpos(t, ' ' || p) > 0
                                THEN '' ELSE ' ' END);
    END LOOP;
    o := regexp_replace(o, '(?<!\d)\.(?!\d)', '', 'g');
    RETURN coalesce((SELECT string_agg(contraction(coalesce(n.digit, w.word)), ' ' ORDER BY w.ord)
                       FROM regexp_split_to_table(lower(o), '\s+') WITH ORDINALITY w(word, ord)
                       LEFT JOIN (VALUES ('none', '0'), ('zero', '0'), ('one', '1'), ('two', '2'), ('three', '3'),
                                         ('four', '4'), ('five', '5'), ('six', '6'), ('seven', '7'),
                                         ('eight', '8'), ('nine', '9'), ('ten', '10')) n(numeral, digit)
                         ON n.numeral = w.word
                      WHERE w.word NOT IN ('', 'a', 'an', 'the')), '');
END
$$;

-- TextVQA: the mean, over leaving out one of the people asked, of min(1, agreeing others / 3)
CREATE OR REPLACE FUNCTION vqa(answer text, truths text[]) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    WITH t AS (SELECT n, vqa_normal(t) = vqa_normal(answer) AS agrees
                 FROM unnest(truths) WITH ORDINALITY u(t, n))
    SELECT avg(least(1.0, (SELECT count(*) FROM t o WHERE o.n <> t.n AND o.agrees) / 3.0))::real FROM t
$$;

-- OCRBench (arXiv:2305.07895): some truth is part of the answer; formulas without blanks
CREATE OR REPLACE FUNCTION contains(answer text, truths text[], category text) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT max(CASE WHEN category = 'Handwritten Mathematical Expression Recognition'
                    THEN (strpos(translate(answer, E' \n', ''), translate(btrim(t), E' \n', '')) > 0)::int
                    ELSE (strpos(lower(translate(btrim(answer), E'\n', ' ')),
                                 lower(translate(btrim(t), E'\n', ' '))) > 0)::int END)::real
      FROM unnest(truths) t
$$;

-- The letter that an answer means: one letter stands in it, among its last words, or "answer is X",
-- or the text of one option alone is part of it.  NULL when it cannot be told; nobody is asked.
CREATE OR REPLACE FUNCTION chosen(answer text, choices jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    WITH words AS (SELECT regexp_split_to_array(btrim(translate(answer, '.()[],:;!*#{}', '              ')), '\s+') AS w),
         letters AS (SELECT key, array_position(w, key) AS at, cardinality(w) AS n
                       FROM words, jsonb_object_keys(choices) key WHERE key = ANY (w)),
         named AS (SELECT upper((regexp_match(answer, '(?:correct\s+)?answer\s+is\s+\**([A-D])\**', 'i'))[1]) AS key),
         texts AS (SELECT key FROM jsonb_each_text(choices) c
                    WHERE strpos(lower(answer), lower(value)) > 0
                      AND length(answer) <= 2 * (SELECT sum(length(value)) FROM jsonb_each_text(choices)))
    SELECT coalesce((SELECT min(key) FROM letters WHERE at - 1 > n - 5 HAVING (SELECT count(*) FROM letters) = 1),
                    (SELECT key FROM named WHERE choices ? key),
                    (SELECT min(key) FROM texts HAVING count(*) = 1))
$$;

CREATE OR REPLACE FUNCTION iou(a box, b box) RETURNS real LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN a IS NULL OR b IS NULL OR a # b IS NULL OR area(a) + area(b) = 0 THEN 0
                ELSE (area(a # b) / (area(a) + area(b) - area(a # b)))::real END
$$;

-- Of a grounding answer in the model's markup: is its first box right?
CREATE OR REPLACE FUNCTION grounded(answer text, truth box, picture bytea) RETURNS real LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT (iou(region, CASE WHEN (truth[0])[0] <= 1.5 AND (truth[0])[1] <= 1.5
                                              THEN box(point((truth[0])[0] * i.width, (truth[0])[1] * i.height),
                                                       point((truth[1])[0] * i.width, (truth[1])[1] * i.height))
                                              ELSE truth END) > 0.5)::int::real
                       FROM vl_image_info(picture) i, vl_parse_boxes(answer, i.width, i.height)
                      ORDER BY ord LIMIT 1), 0)
$$;

CREATE OR REPLACE FUNCTION score_item(metric text, i item, picture bytea) RETURNS real LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN i.answer IS NULL THEN 0 ELSE
           CASE metric
           WHEN 'anls' THEN vl_anls(i.answer, i.truths)
           WHEN 'relaxed' THEN relaxed(i.answer, i.truths)
           WHEN 'vqa' THEN vqa(i.answer, i.truths)
           WHEN 'contains' THEN contains(i.answer, i.truths, i.category)
           WHEN 'circular' THEN coalesce((chosen(i.answer, i.choices) = i.truths[1])::int, 0)::real
           WHEN 'iou' THEN grounded(i.answer, i.truth_box, picture)
           END END
$$;

-- ---- asking ----

-- Answers what is not answered yet, committing every few items: an interrupted run goes on.
CREATE OR REPLACE PROCEDURE ask(the_run int) LANGUAGE plpgsql AS $$
DECLARE
    b       benchmark;
    r       run;
    i       item;
    files   bytea[];
    started timestamptz;
    total   int;
    done    int := 0;
BEGIN
    SELECT * INTO STRICT r FROM run WHERE id = the_run;
    SELECT * INTO STRICT b FROM benchmark WHERE name = r.benchmark;
    SELECT count(*) INTO total FROM item WHERE run = the_run AND score IS NULL;
    LOOP
        SELECT * INTO i FROM item WHERE run = the_run AND score IS NULL ORDER BY id LIMIT 1;
        EXIT WHEN NOT FOUND;
        SELECT images INTO files FROM image WHERE run = the_run AND key = i.image;
        started := clock_timestamp();
        IF cardinality(files) = 1 THEN
            SELECT value, v.error_code INTO i.answer, i.error_code
              FROM vl_run(b.task, files[1], i.prompt, model => r.model, options => r.options) v;
        ELSIF cardinality(files) > 1 THEN
            i.answer := vl_ask_multi(files, i.prompt, r.model, r.options || '{"on_error": "null"}');
            i.error_code := CASE WHEN i.answer IS NULL THEN 'error' END;
        ELSE
            i.error_code := 'no image';
        END IF;
        -- VLMEvalKit takes the period off an answer of this family
        i.answer := rtrim(i.answer, '.');
        UPDATE item SET answer = i.answer, error_code = i.error_code,
               score = score_item(b.metric, i, files[1]),
               ms = 1000 * extract(epoch FROM clock_timestamp() - started)
         WHERE run = the_run AND id = i.id;
        done := done + 1;
        IF done % 50 = 0 THEN
            COMMIT;
            RAISE NOTICE '% of % answered', done, total;
        END IF;
    END LOOP;
    UPDATE run SET finished = clock_timestamp() WHERE id = the_run;
END
$$;

-- The table that eval/run prints.  A group counts when all its items are right.
CREATE OR REPLACE VIEW result AS
WITH groups AS (
    SELECT i.run, i.grp, min(i.split) AS split, min(i.category) AS category,
           CASE WHEN b.metric = 'circular' THEN min(i.score) ELSE avg(i.score) END AS score,
           count(i.error_code) AS errors, count(*) AS items
      FROM item i JOIN run r ON r.id = i.run JOIN benchmark b ON b.name = r.benchmark
     WHERE i.score IS NOT NULL
     GROUP BY i.run, i.grp, b.metric),
parts AS (
    SELECT run, '' AS split, score, errors, items FROM groups
    UNION ALL
    SELECT run, split, score, errors, items FROM groups WHERE split IS NOT NULL)
SELECT r.id AS run, b.name AS benchmark, p.split, r.model, b.metric,
       round((avg(p.score) * b.scale)::numeric, CASE WHEN b.scale = 1000 THEN 0 ELSE 1 END) AS score,
       sum(p.items) AS questions, sum(p.errors) AS errors, w.tiny, w.small, w.base
  FROM parts p
  JOIN run r ON r.id = p.run
  JOIN benchmark b ON b.name = r.benchmark
  LEFT JOIN paper w ON w.benchmark = b.name AND w.split = p.split
 GROUP BY r.id, b.name, p.split, r.model, b.metric, b.scale, w.tiny, w.small, w.base;
