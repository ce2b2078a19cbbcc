-- vl_stat: what was computed for whom.  test/t/010_stat.pl has sessions side by side.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SELECT vl_stat_reset();
SELECT count(*) FROM vl_stat;
CREATE FUNCTION pg_temp.ask(name text, options jsonb DEFAULT '{"max_tokens": 3}') RETURNS text LANGUAGE sql VOLATILE AS
  $$SELECT vl_ask(pg_temp.pic(name), 'x', 'tiny', options)$$;

-- a new picture, the same with another question, a call that is remembered
SELECT vl_unload() >= 0 AS nothing_is_cached;
SELECT count(vl_ask(image, 'x', 'tiny', '{"max_tokens": 3}')) FROM picture WHERE name = 'two_tiles.png';
SELECT count(vl_ask(image, 'y', 'tiny', '{"max_tokens": 3}')) FROM picture WHERE name = 'two_tiles.png';
SELECT count(vl_ask(image, 'z', 'tiny', '{"max_tokens": 3}')) FROM picture, generate_series(1, 2)
 WHERE name = 'two_tiles.png';
SELECT datname = current_database() AS here, usename = current_user AS me, task, model, calls, memo_hits,
       images, tiles, cached_tiles, output_tokens
  FROM vl_stat \gx
SELECT cached_tokens > 0 AND cached_tokens < prompt_tokens AS has_prefix, image_ms > 0 AS has_image,
       vision_ms > 0 AS has_vision, prefill_ms > 0 AS has_prefill, decode_ms > 0 AS has_decode,
       abs(total_ms - image_ms - vision_ms - prefill_ms - decode_ms) < 0.001 AS total_is_sum,
       stats_reset BETWEEN now() - interval '1 hour' AND now() AS has_reset
  FROM vl_stat \gx

-- errors by class; those that end a statement are told apart by whether somebody wanted it
SELECT vl_stat_reset();
SET dsvl2.on_error = 'null';
SELECT vl_ask('\x00', 'x', 'tiny') AS vl001;
SET dsvl2.max_image_pixels = 1000;
SELECT pg_temp.ask('page.png') AS vl002;
RESET dsvl2.max_image_pixels;
SELECT vl_ask(pg_temp.pic('gray.png'), repeat('word ', 100000), 'tiny') AS vl003;
SELECT vl_ocr(pg_temp.pic('gray.png'), model => 'tiny', options => '{"max_tokens": 2}') AS vl004;
SELECT (vl_run('ocr', pg_temp.pic('gray.png'), model => 'tiny', options => '{"max_tokens": 1}')).error_code;
SELECT pg_temp.ask('gray.png', jsonb_build_object('stop', left(pg_temp.ask('gray.png'), 1))) AS vl006;
SET dsvl2.kv_memory = '1MB';
SELECT left(pg_temp.fails($$SELECT pg_temp.ask('two_tiles.png', '{"max_tokens": 2000}')$$), 5) AS failed;
RESET dsvl2.kv_memory;
SELECT left(pg_temp.fails($$SELECT pg_temp.ask('page.png', '{"max_tokens": 2000, "timeout_ms": 1}')$$), 5) AS canceled;
RESET dsvl2.on_error;
SELECT left(pg_temp.fails($$SELECT vl_ask('\x00', 'x', 'tiny')$$), 5) AS vl001;
-- what is refused before a call begins is none
SELECT left(pg_temp.fails($$SELECT pg_temp.ask('gray.png', '{"max_token": 1}')$$), 5) AS refused,
       vl_ask(NULL, 'x', 'tiny') IS NULL AS nothing_asked;
SELECT task, model, calls, vl001, vl002, vl003, vl004, vl005, vl006, failed, canceled
  FROM vl_stat ORDER BY task COLLATE "C";
-- a remembered error is an error, too
SELECT vl_stat_reset();
SELECT count(vl_ask('\x00', 'x', 'tiny', '{"on_error": "null"}')) FROM generate_series(1, 3);
SELECT calls, memo_hits, vl001, images FROM vl_stat;

-- a stream that nobody reads to its end counts with what it took
SELECT vl_stat_reset();
SELECT count(*) FROM (SELECT vl_ask_stream(pg_temp.pic('gray.png'), 'x', 'tiny', '{"max_tokens": 100}') LIMIT 1) s;
SELECT calls, output_tokens < 100 AS stopped, prefill_ms > 0 AS has_prefill, failed, canceled FROM vl_stat;

-- of a batch each picture counts, of a map each row
SELECT vl_stat_reset();
SELECT count(*) FROM vl_ask_batch(ARRAY(SELECT image FROM picture WHERE name IN ('gray.png', 'page.png', 'exif6.jpg')) || '\x00'::bytea,
                                  'batch', 'tiny', '{"max_tokens": 3}');
SELECT count(*) FROM vl_map($$SELECT name, image FROM picture WHERE name IN ('gray.png', 'page.png')$$,
                            'describe', model => 'tiny', options => '{"max_tokens": 3}');
SELECT task, calls, memo_hits, images, vl001 FROM vl_stat ORDER BY task COLLATE "C";

-- roles: the one that asked, even through a function of another
SELECT vl_stat_reset();
CREATE ROLE regress_dsvl2_one;
CREATE ROLE regress_dsvl2_two;
CREATE ROLE regress_dsvl2_definer;
CREATE FUNCTION public.definer_ask(image bytea) RETURNS text LANGUAGE sql SECURITY DEFINER AS
  $$SELECT vl_ask(image, 'x', 'tiny', '{"max_tokens": 3}')$$;
ALTER FUNCTION public.definer_ask OWNER TO regress_dsvl2_definer;
SET ROLE regress_dsvl2_one;
SELECT public.definer_ask(image) IS NOT NULL AS answered FROM picture WHERE name = 'gray.png';
SET ROLE regress_dsvl2_two;
SELECT vl_ask(image, 'x', 'tiny', '{"max_tokens": 3}') IS NOT NULL AS answered
  FROM picture WHERE name = 'gray.png';
-- each sees itself
SELECT usename, calls FROM vl_stat;
SELECT pg_temp.fails('SELECT vl_stat_reset()');
RESET ROLE;
GRANT regress_dsvl2_one TO regress_dsvl2_two;
SET ROLE regress_dsvl2_two;
SELECT usename, calls FROM vl_stat ORDER BY 1;
RESET ROLE;
GRANT pg_read_all_stats TO regress_dsvl2_definer;
SET ROLE regress_dsvl2_definer;
SELECT usename, calls FROM vl_stat ORDER BY 1;
RESET ROLE;
DROP FUNCTION public.definer_ask;
DROP ROLE regress_dsvl2_one, regress_dsvl2_two, regress_dsvl2_definer;
-- of roles that are gone the counters stay
SELECT usename, sum(calls) FROM vl_stat GROUP BY 1;
