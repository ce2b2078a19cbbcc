-- Every setting: its effect, and who may change it.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SELECT c.name, s.boot_val AS "default", c.unit, c.context, c.setting = s.setting AS told
  FROM vl_config() c JOIN pg_settings s USING (name);
SELECT name FROM vl_config() WHERE description IS NULL OR description !~ '\.$' OR detail !~ '\.$';
SET dsvl2.thread = 1;
SET dsvl2.threads = 65;
SET dsvl2.on_error = 'ignore';
SELECT pg_temp.fails('SET dsvl2.kv_memory = 0')
       LIKE '22023: 0 MB is outside the valid range%' AS too_small;

CREATE FUNCTION pg_temp.run(options jsonb DEFAULT NULL, name text DEFAULT 'gray.png')
RETURNS vl_result LANGUAGE sql STABLE AS
$$SELECT vl_run('ask', pg_temp.pic(name), 'Total?', model => 'tiny',
                options => COALESCE(options, '{"max_tokens": 8, "scores": true}'))$$;

-- default_model
SELECT (vl_run('ocr', pg_temp.pic('receipt 1'))).model;
SET dsvl2.default_model = 'tiny';
SELECT (vl_run('ocr', pg_temp.pic('gray.png'), options => '{"max_tokens": 1}')).model;
SELECT name, "default" FROM vl_models ORDER BY name;
SET dsvl2.default_model = 'tinny';
SELECT pg_temp.fails($$SELECT vl_ocr('\x')$$);
SELECT name, "default" FROM vl_models ORDER BY name;
SET dsvl2.default_model = '';
SELECT pg_temp.fails($$SELECT vl_ocr('\x')$$);
RESET dsvl2.default_model;

-- model_dir
SELECT pg_temp.fails($$SELECT vl_register_model('other', 'test/golden/small-like')$$);
SET dsvl2.model_dir = :'srcdir';
SELECT vl_register_model('other', 'test/golden/small-like');
SELECT path = :'srcdir' || '/test/golden/small-like' AS stored_as_absolute
  FROM vl_models WHERE name = 'other';
RESET dsvl2.model_dir;
-- which is why it may be reset
SELECT (vl_run('ocr', pg_temp.pic('gray.png'), model => 'other',
               options => '{"max_tokens": 1}')).model;
SELECT vl_drop_model('other');

-- max_tokens; the option goes first
SET dsvl2.max_tokens = 2;
SELECT (pg_temp.run('{}')).output_tokens, (pg_temp.run('{}')).finish_reason,
       (pg_temp.run('{"max_tokens": 4}')).output_tokens;
SELECT pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('receipt 1'))$$);
SET dsvl2.max_tokens = 0;
SELECT (vl_run('ocr', pg_temp.pic('receipt 1'))).finish_reason;
RESET dsvl2.max_tokens;

-- precision
CREATE TEMP TABLE fp32 AS SELECT (pg_temp.run()).*;
SET dsvl2.precision = bf16;
SELECT r.logprobs = fp32.logprobs AS same, abs(r.logprobs[1] - fp32.logprobs[1]) < 1 AS near
  FROM fp32, pg_temp.run() r;
RESET dsvl2.precision;

-- threads: the result does not depend on them
SET dsvl2.threads = 1;
SELECT r.logprobs = fp32.logprobs AS same FROM fp32, pg_temp.run() r;
SELECT vl_unload() > 0 AS unloaded;
SELECT r.logprobs = fp32.logprobs AS same FROM fp32, pg_temp.run() r;
SELECT value FROM vl_build_info() WHERE name = 'worker threads';
SET dsvl2.threads = 3;
SELECT r.logprobs = fp32.logprobs AS same FROM fp32, pg_temp.run() r;
SELECT value FROM vl_build_info() WHERE name = 'worker threads';
RESET dsvl2.threads;

-- cpu_level
SET dsvl2.cpu_level = generic;
SELECT value FROM vl_build_info() WHERE name = 'instruction set';
SELECT r.value = fp32.value AS same, abs(r.logprobs[1] - fp32.logprobs[1]) < 0.001 AS near
  FROM fp32, pg_temp.run() r;
SET dsvl2.cpu_level = auto;
SELECT a.value = b.value AS best_by_default
  FROM vl_build_info() a, vl_build_info() b
 WHERE a.name = 'instruction set' AND b.name = 'instruction set of the machine';
RESET dsvl2.cpu_level;

-- kv_memory
SET dsvl2.kv_memory = '1MB';
SELECT pg_temp.fails($$
  SELECT vl_ask(pg_temp.pic('two_tiles.png'), 'Total?', 'tiny',
                '{"max_tokens": 2000, "on_error": "null"}')$$);
RESET dsvl2.kv_memory;
SELECT length(vl_ask(pg_temp.pic('two_tiles.png'), 'Total?', 'tiny', '{"max_tokens": 2}')) > 0
       AS answered;
SELECT r.logprobs = fp32.logprobs AS same FROM fp32, pg_temp.run() r;

-- on_error: the option goes first
SET dsvl2.on_error = 'null';
SELECT vl_ocr('\x') IS NULL AS forgiven;
SELECT pg_temp.fails($$SELECT vl_ocr('\x', options => '{"on_error": "error"}')$$);
SET dsvl2.on_error = 'warning';
SELECT vl_ocr('\x') IS NULL AS forgiven;
SELECT vl_ocr('\x', options => '{"on_error": "null"}') IS NULL AS forgiven;
RESET dsvl2.on_error;

-- memo_size: sql/memo.sql shows the memo
SET dsvl2.memo_size = 0;
SELECT (a).memo, (b).memo FROM (SELECT pg_temp.run() AS a, pg_temp.run() AS b) r;
RESET dsvl2.memo_size;
SELECT (a).memo, (b).memo FROM (SELECT pg_temp.run() AS a, pg_temp.run() AS b) r;

-- limits of images
SET dsvl2.max_image_bytes = 10000;
SELECT vl_image_info(pg_temp.pic('page.png')) IS NOT NULL AS still_known;
SELECT length(pg_temp.pic('page.png')) > 10000 AS larger;
SELECT regexp_replace(pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('page.png'))$$), 'is \d+', 'is N');
SELECT length(vl_ask(pg_temp.pic('odd1x1.jpg'), 'x', 'tiny', '{"max_tokens": 1}')) > 0
       AS smaller_one;
RESET dsvl2.max_image_bytes;
SET dsvl2.max_image_pixels = 100000;
SELECT pg_temp.fails($$SELECT vl_ocr(pg_temp.pic('page.png'))$$);
SELECT length(vl_ask(pg_temp.pic('gray.png'), 'x', 'tiny', '{"max_tokens": 1}')) > 0 AS smaller_one;
RESET dsvl2.max_image_pixels;

-- exif_orientation; the option goes first
CREATE TEMP TABLE upright AS SELECT (pg_temp.run(name => 'exif6.jpg')).*;
SET dsvl2.exif_orientation = off;
SELECT r.logprobs = upright.logprobs AS same FROM upright, pg_temp.run(name => 'exif6.jpg') r;
SELECT r.logprobs = upright.logprobs AS same
  FROM upright, pg_temp.run('{"max_tokens": 8, "scores": true, "exif": true}', 'exif6.jpg') r;
RESET dsvl2.exif_orientation;

-- log_usage: the server's log tells what was computed; here the client asks for it too
SET client_min_messages = log;
\set VERBOSITY terse
SET dsvl2.log_usage = on;
SELECT (pg_temp.run()).output_tokens;
SET dsvl2.log_usage = off;
SELECT (pg_temp.run()).output_tokens;
RESET dsvl2.log_usage;
\set VERBOSITY default
SET client_min_messages = warning;

-- what guards the server is for superusers, the rest for everybody
CREATE ROLE regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SELECT name, context,
       pg_temp.fails(format('SET %s = %L', name,
                            CASE setting WHEN 'off' THEN 'on' ELSE setting END))
  FROM vl_config();
SELECT r.model, length(r.value) > 0 AS answered FROM vl_run('ocr', pg_temp.pic('receipt 1')) r;
RESET ROLE;
RESET ALL;
SET client_min_messages = warning;
-- a privilege can be given
GRANT SET ON PARAMETER dsvl2.max_image_pixels TO regress_dsvl2_user;
SET ROLE regress_dsvl2_user;
SET dsvl2.max_image_pixels = 5000000;
SHOW dsvl2.max_image_pixels;
RESET ROLE;
REVOKE SET ON PARAMETER dsvl2.max_image_pixels FROM regress_dsvl2_user;
DROP ROLE regress_dsvl2_user;
-- a function may carry its own
ALTER FUNCTION pg_temp.run SET dsvl2.max_tokens = 3;
SELECT (pg_temp.run('{}')).output_tokens;
