-- vl_image_info: what is known of a picture without a model.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SELECT name, i.format, i.width, i.height, i.exif_orientation AS exif, i.pages, i.tiles_w, i.tiles_h,
       i.image_tokens
  FROM picture, vl_image_info(image) i
 WHERE name !~ '^[0-9][0-9]-|^receipt |^text ' AND name NOT IN ('empty.jpg', 'text.jpg')
 ORDER BY name COLLATE "C";
-- the tiles are those of the published models, of the picture as it is to be seen
SELECT (vl_image_info(image)).sha256 = encode(sha256(image), 'hex') AS same_digest
  FROM picture WHERE name = 'page.png';
-- settings do not change what an index may have stored
SET dsvl2.exif_orientation = off;
SET dsvl2.max_image_bytes = '1kB';
SET dsvl2.max_image_pixels = 1;
SELECT i.width, i.height, i.exif_orientation
  FROM picture, vl_image_info(image) i WHERE name = 'exif6.jpg';
SELECT i.width, i.height FROM picture, vl_image_info(image) i WHERE name = 'page.png';
RESET dsvl2.exif_orientation;
RESET dsvl2.max_image_bytes;
RESET dsvl2.max_image_pixels;

SELECT pg_temp.fails($$SELECT vl_image_info('')$$);
SELECT pg_temp.fails($$SELECT vl_image_info('plain text')$$);
SELECT pg_temp.fails($$SELECT vl_image_info('\x25504446')$$);
-- headers alone are read: a damaged end is found by whoever needs the pixels
SELECT i.format, i.width, i.height
  FROM picture, vl_image_info(image) i WHERE name = 'truncated.png';
SELECT pg_temp.fails($$SELECT vl_ocr(image) FROM picture WHERE name = 'truncated.png'$$);

-- a generated column, an index, a check
CREATE TEMP TABLE scan (
  id int PRIMARY KEY, image bytea,
  width int GENERATED ALWAYS AS ((vl_image_info(image)).width) STORED,
  CHECK ((vl_image_info(image)).format IN ('jpeg', 'png')));
CREATE INDEX scan_pixels ON scan (((vl_image_info(image)).width * (vl_image_info(image)).height));
INSERT INTO scan VALUES (1, pg_temp.pic('page.png')), (2, pg_temp.pic('odd1x1.jpg')), (3, NULL);
SELECT id, width FROM scan ORDER BY id;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF)
SELECT id FROM scan WHERE (vl_image_info(image)).width * (vl_image_info(image)).height = 1;
SELECT id FROM scan WHERE (vl_image_info(image)).width * (vl_image_info(image)).height = 1;
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT pg_temp.fails($$INSERT INTO scan VALUES (4, 'no image')$$);

-- every kind of picture reaches a model
SELECT name, length(vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 2, "tiles": 1}')) > 0
       AS answered
  FROM picture
 WHERE name IN ('bilevel.png', 'cmyk.jpg', 'exif6.jpg', 'gray.jpg', 'gray16.png', 'gray_alpha.png',
                'odd1x1.jpg', 'palette4bit.png', 'palette_transparent.png', 'progressive.jpg',
                'restart.jpg', 'rgba.png')
 ORDER BY name COLLATE "C";
-- facts are found by parallel workers, answers by the leader
CREATE TABLE regress_dsvl2_scan WITH (parallel_workers = 2) AS
  SELECT name, image FROM picture WHERE name IN ('page.png', 'wide.jpg', 'receipt 1');
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT name FROM regress_dsvl2_scan WHERE (vl_image_info(image)).width > 1000;
SELECT name FROM regress_dsvl2_scan WHERE (vl_image_info(image)).width > 1000 ORDER BY name;
EXPLAIN (COSTS OFF) SELECT vl_ocr(image)
  FROM regress_dsvl2_scan WHERE (vl_image_info(image)).width < 1000;
SELECT length(vl_ocr(image)) > 0 AS answered
  FROM regress_dsvl2_scan WHERE (vl_image_info(image)).width < 1000;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE regress_dsvl2_scan;

-- from a large object
SELECT lo_from_bytea(0, pg_temp.pic('receipt 1')) AS lo \gset
SELECT vl_ocr(lo_get(:lo)) = vl_ocr(pg_temp.pic('receipt 1')) AS same;
SELECT lo_unlink(:lo);
