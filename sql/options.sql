-- Every option: what it does, and what it refuses.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SET dsvl2.memo_size = 0;
-- the model with random weights shows every change of its input or its way of decoding
CREATE FUNCTION pg_temp.run(options jsonb, name text DEFAULT 'gray.png') RETURNS vl_result
LANGUAGE sql STABLE AS
$$SELECT vl_run('ask', pg_temp.pic(name), 'Total?', model => 'tiny',
                options => '{"max_tokens": 16, "scores": true}' || options)$$;
CREATE FUNCTION pg_temp.same(a vl_result, b vl_result) RETURNS boolean LANGUAGE sql IMMUTABLE AS
'SELECT a.value = b.value AND a.logprobs = b.logprobs';
CREATE TEMP TABLE plain AS SELECT pg_temp.run('{}') AS run;
SELECT pg_temp.same(pg_temp.run('{}'), plain.run) AS repeats FROM plain;

-- max_tokens
SELECT (pg_temp.run('{"max_tokens": 1}')).output_tokens,
       (pg_temp.run('{"max_tokens": 7}')).output_tokens;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"max_tokens": 0}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"max_tokens": 1.5}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"max_tokens": 1e100}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"max_tokens": "5"}')$$);

-- temperature, seed, top_p
SELECT pg_temp.same(pg_temp.run('{"temperature": 0}'), plain.run) AS greedy,
       pg_temp.same(pg_temp.run('{"temperature": 2, "seed": 1}'), plain.run) AS as_greedy,
       pg_temp.same(pg_temp.run('{"temperature": 2, "seed": 1}'),
                    pg_temp.run('{"temperature": 2, "seed": 1}')) AS seed_repeats,
       pg_temp.same(pg_temp.run('{"temperature": 2, "seed": 1}'),
                    pg_temp.run('{"temperature": 2, "seed": 2}')) AS as_another_seed,
       (pg_temp.run('{"temperature": 2, "top_p": 0.000001}')).value = (plain.run).value
              AS top_p_leaves_the_best
  FROM plain;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"temperature": -0.5}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"temperature": "hot"}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"top_p": 1.1}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"seed": -1}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"seed": 0.5}')$$);

-- repetition_penalty, no_repeat_ngram
SELECT pg_temp.same(pg_temp.run('{"repetition_penalty": 1}'), plain.run) AS one_is_off,
       pg_temp.same(pg_temp.run('{"max_tokens": 60, "repetition_penalty": 10}'),
                    pg_temp.run('{"max_tokens": 60}')) AS as_without
  FROM plain;
SELECT pg_temp.same(pg_temp.run('{"no_repeat_ngram": 0}'), plain.run) AS zero_is_off,
       pg_temp.same(pg_temp.run('{"max_tokens": 60, "no_repeat_ngram": 1}'),
                    pg_temp.run('{"max_tokens": 60}')) AS as_without
  FROM plain;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"repetition_penalty": 0}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"no_repeat_ngram": -1}')$$);

-- stop: the first of the strings ends the answer, and is no part of it
SELECT r.finish_reason, starts_with((plain.run).value, r.value) AS is_start,
       length(r.value) < length((plain.run).value) AS shorter
  FROM plain, pg_temp.run(jsonb_build_object('stop',
                            substr((plain.run).value, length((plain.run).value) / 2, 3))) r;
SELECT pg_temp.same(pg_temp.run('{"stop": []}'), plain.run) AS empty_list,
       pg_temp.same(pg_temp.run('{"stop": "nowhere to be found"}'), plain.run) AS absent
  FROM plain;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"stop": ""}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"stop": 5}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"stop": {"a": 1}}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"stop": ["a", ["b"]]}')$$);
SELECT pg_temp.fails(format($$SELECT vl_ocr('\x', options => %L)$$,
                            jsonb_build_object('stop', array_fill('x'::text, ARRAY[1000]))));

-- on_error: sql/errors.sql shows more of it
SELECT vl_ocr('\x', options => '{"on_error": "null"}') IS NULL AS forgiven;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"on_error": "ignore"}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"on_error": true}')$$);

-- exif: a picture that is stored on its side
SELECT pg_temp.same(pg_temp.run('{"exif": true}', 'exif6.jpg'), pg_temp.run('{}', 'exif6.jpg'))
       AS on_by_default,
       pg_temp.same(pg_temp.run('{"exif": false}', 'exif6.jpg'), pg_temp.run('{}', 'exif6.jpg'))
              AS as_without,
       pg_temp.same(pg_temp.run('{"exif": false}'), plain.run) AS no_matter_for_others
  FROM plain;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"exif": "no"}')$$);

-- reference_decode: transparency and orientation as the reference implementation sees them
SELECT pg_temp.same(pg_temp.run('{"reference_decode": true}', 'rgba.png'),
                    pg_temp.run('{}', 'rgba.png')) AS transparent,
       pg_temp.same(pg_temp.run('{"reference_decode": true}', 'exif6.jpg'),
                    pg_temp.run('{"exif": false}', 'exif6.jpg')) AS on_its_side,
       pg_temp.same(pg_temp.run('{"reference_decode": true}'), plain.run) AS no_matter_for_others
  FROM plain;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"reference_decode": 1}')$$);

-- tiles: at most so many beside the view of the whole
SELECT n, r.tiles <= n + 1 AS obeyed, r.image_tokens < full_run.image_tokens AS fewer_tokens
  FROM pg_temp.run('{"max_tokens": 1}', 'two_tiles.png') AS full_run, generate_series(1, 2) AS n,
       pg_temp.run(jsonb_build_object('tiles', n, 'max_tokens', 1), 'two_tiles.png') r
 ORDER BY n;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"tiles": 0}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"tiles": 2000}')$$);

-- system
SELECT r.prompt_tokens > (plain.run).prompt_tokens AS longer_prompt, pg_temp.same(r, plain.run)
       AS as_without
  FROM plain, pg_temp.run('{"system": "You are a careful reader."}') r;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"system": 5}')$$);

-- scores
SELECT cardinality((pg_temp.run('{}')).logprobs),
       (pg_temp.run('{"scores": false}')).logprobs IS NULL AS none;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"scores": "yes"}')$$);

-- timeout_ms: sql/errors.sql shows that it strikes; 0 is none
SELECT pg_temp.same(pg_temp.run('{"timeout_ms": 0}'), plain.run) AS none,
       pg_temp.same(pg_temp.run('{"timeout_ms": 600000}'), plain.run) AS in_time
  FROM plain;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"timeout_ms": -1}')$$);

-- what is no option, and what no options are
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"max_token": 5}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"Temperature": 1}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"": 1}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"frequency_of_light": 1}')$$);
SELECT pg_temp.fails(format($$SELECT length(vl_ocr('\x', options => '{"%s": 1}'))$$,
                            repeat('tiles', 60)))
       LIKE '22023: unknown option "tilestiles%' AS long_name;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '[]')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '5')$$);
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => 'null')$$);
-- every function reads them
SELECT f, pg_temp.fails(format('SELECT * FROM %s', f))
  FROM unnest(ARRAY[
    $$vl_ask('\x', 'x', options => '{"sead": 1}')$$,
    $$vl_ask_multi(ARRAY['\x'::bytea], 'x', options => '{"sead": 1}')$$,
    $$vl_describe('\x', options => '{"sead": 1}')$$,
    $$vl_run('ocr', '\x', options => '{"sead": 1, "on_error": "null"}')$$,
    $$vl_ground('\x', 'x', options => '{"sead": 1}')$$,
    $$vl_ground_answer('\x', 'x', options => '{"sead": 1}')$$,
    $$vl_boxes('\x', 'x', options => '{"sead": 1}')$$,
    $$vl_boxes('\x', ARRAY['x'], options => '{"sead": 1}')$$,
    $$vl_points('\x', 'x', options => '{"sead": 1}')$$]) AS f;
