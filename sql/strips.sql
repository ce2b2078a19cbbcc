-- vl_ocr_strips: long pages, strip by strip.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- a receipt of 210 x 1584 pixels; nano shows 210 x 420 at once
CREATE TEMP TABLE page AS
  SELECT pg_read_binary_file(:'srcdir' || '/test/pictures/long.png') AS image;

-- no rows, without asking
SELECT calls AS before FROM vl_last_usage() \gset
SELECT count(*) FROM vl_ocr_strips(NULL);
SELECT count(*) FROM vl_ocr_strips('x', NULL, 'no such model');
SELECT calls - :before AS calls FROM vl_last_usage();

\set quick '{"max_tokens": 1, "on_error": "null"}'
-- where it is cut: strips are equal, cover the page, and share what was asked for
SELECT o AS overlap, strip, region
  FROM page, unnest(ARRAY[0, 0.1, 0.5]) AS o, vl_ocr_strips(image, o::real, options => :'quick')
 ORDER BY 1, 2;
SELECT tiles, count(*) AS strips, min(height(region)) AS height
  FROM page, unnest(ARRAY[1, 2, 3]) AS tiles,
       vl_ocr_strips(image, 0, options => :'quick' || jsonb_build_object('tiles', tiles))
 GROUP BY tiles ORDER BY tiles;
SELECT count(*) AS strips FROM page, vl_ocr_strips(image, model => 'tiny', options => :'quick');

-- what fits is one strip, and what vl_ocr says
SELECT strip, region, text = vl_ocr(pg_temp.pic('receipt 1')) AS the_same
  FROM vl_ocr_strips(pg_temp.pic('receipt 1'));
-- without an overlap each strip is a picture of its own; the memo knows it again
BEGIN;
SELECT count(*) AS strips, bool_and(text = vl_ocr(vl_crop(image, region))) AS the_same
  FROM page, vl_ocr_strips(image, 0);
SELECT inferences AS before FROM vl_last_usage() \gset
SELECT count(*) AS strips FROM page, vl_ocr_strips(image, 0);
SELECT inferences - :before AS asked FROM vl_last_usage();
COMMIT;
-- with one, lines go, but none comes
SELECT count(*) AS strips,
       bool_and(NOT EXISTS (SELECT string_to_table(text, E'\n') EXCEPT ALL
                            SELECT string_to_table(vl_ocr(vl_crop(image, region)), E'\n'))) AS nothing_new,
       bool_and(strip > 1 OR starts_with(vl_ocr(vl_crop(image, region)), text)) AS starts_with_the_first
  FROM page, vl_ocr_strips(image, 0.3);
-- the most that strips can share
SELECT count(*) AS strips, count(text) AS texts FROM page, vl_ocr_strips(image, 0.5);

-- pictures that lie on their side: cut as they are seen, regions as they are stored
CREATE FUNCTION pg_temp.lying(orientation int, turns int) RETURNS bytea LANGUAGE sql AS $$
  SELECT '\xffd8ffe10022457869660000'::bytea || '\x4d4d002a00000008000101120003000000010000'::bytea
         || '\x000000000000'::bytea || substr(vl_rotate(jpeg, turns), 3)
    FROM page, vl_crop(image, box(point(0, 0), point(210, 1584)), 0, 'jpeg') AS jpeg $$;
CREATE FUNCTION pg_temp.lie(orientation int, turns int) RETURNS bytea LANGUAGE sql AS
  $$SELECT set_byte(pg_temp.lying(orientation, turns), 31, orientation)$$;
SELECT orientation, i.width, i.height, i.exif_orientation, strip, region
  FROM (VALUES (1, 0), (3, 2), (6, 3), (8, 1)) AS v(orientation, turns), pg_temp.lie(orientation, turns) AS image,
       vl_image_info(image) AS i, vl_ocr_strips(image, 0, options => :'quick')
 WHERE strip IN (1, 4) ORDER BY orientation, strip;
SELECT count(*) AS strips, bool_and(text = vl_ocr(vl_crop(image, region))) AS the_same
  FROM pg_temp.lie(6, 3) AS image, vl_ocr_strips(image, 0);
-- as they are stored, when that is wanted: a wide picture is not cut
SELECT strip, region FROM vl_ocr_strips(pg_temp.lie(6, 3), options => :'quick' || jsonb '{"exif": false}');

-- errors
SELECT pg_temp.fails(format('SELECT vl_ocr_strips(''x'', %s)', o))
  FROM unnest(ARRAY['-0.01', '0.51', '''NaN''']) AS o;
SELECT pg_temp.fails($$SELECT vl_ocr_strips('x', options => '{"overlap": 0.1}')$$);
SELECT pg_temp.fails($$SELECT vl_ocr_strips('x', model => 'no such model')$$);
SELECT left(pg_temp.fails($$SELECT vl_ocr_strips('no picture')$$), 5) AS fails;
SELECT count(*) FROM vl_ocr_strips('no picture', options => '{"on_error": "null"}');
-- a strip that is cut off is not a short one; others are there
SELECT pg_temp.fails($$SELECT vl_ocr_strips(image, options => '{"max_tokens": 2}') FROM page$$);
SELECT strip, region IS NOT NULL AS placed, text
  FROM page, vl_ocr_strips(image, options => '{"max_tokens": 2, "on_error": "null"}');
\set VERBOSITY sqlstate
SELECT count(*) AS strips, count(text) AS texts
  FROM page, vl_ocr_strips(image, options => '{"max_tokens": 2, "on_error": "warning"}');
\set VERBOSITY default
-- damage that only shows when the picture is decoded
SELECT regexp_replace(pg_temp.fails($$SELECT vl_ocr_strips(substr(image, 1, length(image) - 3000)) FROM page$$),
                      ':.*', '') AS fails;
SELECT count(*) FROM page, vl_ocr_strips(substr(image, 1, length(image) - 3000), options => '{"on_error": "null"}');
