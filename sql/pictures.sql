-- TIFF, WebP and PDF; pages; pictures cut, turned and drawn on.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
INSERT INTO picture
SELECT file, pg_read_binary_file(folder || file)
  FROM (VALUES (:'srcdir' || '/test/fuzz/seeds/image/')) AS f(folder), pg_ls_dir(folder) AS file
 WHERE file ~ '\.(tif|webp|pdf)$';
CREATE FUNCTION pg_temp.ask(image bytea, options jsonb DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE AS
$$SELECT vl_ask(image, 'Total?', 'tiny', '{"max_tokens": 8, "tiles": 1}' || options)$$;

-- what they are
SELECT name, i.format, i.width, i.height, i.exif_orientation AS exif, i.pages
  FROM picture, vl_image_info(image) i
 WHERE name ~ '\.(tif|webp|pdf)$' AND name <> 'encrypted.pdf' ORDER BY name COLLATE "C";
-- every kind reaches a model, and says what its first page says as a file of its own
SELECT name, length(pg_temp.ask(image, '{"page": 1}')) > 0 AS answered,
       pg_temp.ask(image, '{"page": 1}') = pg_temp.ask((SELECT p.image FROM vl_pages(o.image) p
                                                         WHERE page = 1)) AS same
  FROM picture o
 WHERE name ~ '\.(tif|webp|pdf)$' AND name <> 'encrypted.pdf' ORDER BY name COLLATE "C";

-- a document is not its first page
SELECT pg_temp.fails($$SELECT pg_temp.ask(pg_temp.pic('two_pages.tif'))$$);
SELECT pg_temp.fails($$SELECT vl_count_tokens('Total?', pg_temp.pic('two_pages.tif'))$$);
SELECT pg_temp.fails($$SELECT vl_ask_multi(ARRAY[pg_temp.pic('gray.png'),
                                                  pg_temp.pic('indexed_two_pages.pdf')], 'x')$$);
SELECT pg_temp.ask(pg_temp.pic('two_pages.tif'), '{"on_error": "null"}') IS NULL AS forgiven;
SELECT r.error_code, r.error
  FROM vl_run('ask', pg_temp.pic('two_pages.tif'), 'Total?', model => 'tiny') r;
-- page: which one
SELECT pg_temp.ask(image, '{"page": 1}') <> pg_temp.ask(image, '{"page": 2}') AS differ,
       pg_temp.ask(image, '{"page": 2}') = pg_temp.ask(image, '{"page": 2}') AS repeats
  FROM picture WHERE name = 'two_pages.tif';
SELECT pg_temp.ask(image, '{"page": 1}') = pg_temp.ask(image) AS only_page
  FROM picture WHERE name = 'gray.png';
SELECT pg_temp.fails($$SELECT pg_temp.ask(pg_temp.pic('two_pages.tif'), '{"page": 3}')$$);
SELECT pg_temp.fails($$SELECT pg_temp.ask(pg_temp.pic('gray.png'), '{"page": 2}')$$);
SELECT pg_temp.fails($$SELECT pg_temp.ask('\x', '{"page": 0}')$$);
SELECT pg_temp.fails($$SELECT pg_temp.ask('\x', '{"page": "last"}')$$);
SELECT pg_temp.fails($$SELECT pg_temp.ask('\x', '{"pages": 1}')$$);
-- boxes of a page are in pixels of that page
SELECT g->'width' AS width, g->'height' AS height
  FROM vl_ground(pg_temp.pic('two_pages.tif'), 'total', 'tiny',
                 '{"page": 2, "stop": ["a", "e", "i", "n", "t"]}') g;

-- what is no scan is not supported, whatever on_error says
SELECT pg_temp.fails($$SELECT vl_image_info(pg_temp.pic('encrypted.pdf'))$$);
SELECT pg_temp.fails($$SELECT pg_temp.ask(pg_temp.pic('encrypted.pdf'), '{"on_error": "null"}')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_pages(convert_to(replace(encode(
  pg_temp.pic('dct.pdf'), 'escape'), '/I Do', '(a)Tj'), 'UTF8'))$$);
-- what the readers say about damage is their own affair
SELECT name, pg_temp.fails(format('SELECT pg_temp.ask(%L::bytea)', substr(image, 1, 100)))
       ~ '^VL001: (could not|WebP image is truncated)' AS damaged
  FROM picture WHERE name IN ('dct.pdf', 'gray_none.tif', 'lossy.webp') ORDER BY name COLLATE "C";

-- vl_pages
SELECT name, p.page, i.format, i.width, i.height, i.exif_orientation AS exif, i.pages
  FROM picture o, vl_pages(o.image) p, vl_image_info(p.image) i
 WHERE name IN ('two_pages.tif', 'indexed_two_pages.pdf', 'dct.pdf', 'flate_png.pdf', 'exif6.jpg',
                'lossy.webp', 'page.png')
 ORDER BY name COLLATE "C", page;
-- what has no pages comes back as it is
SELECT bool_and(p.image = o.image) AS same
  FROM picture o, vl_pages(o.image) p WHERE name IN ('exif6.jpg', 'page.png', 'lossy.webp');
-- as a row source with LIMIT, in a SELECT list, of NULL
SELECT page FROM vl_pages(pg_temp.pic('two_pages.tif')) LIMIT 1;
SELECT (vl_pages(image)).page FROM picture WHERE name = 'two_pages.tif';
SELECT count(*) FROM vl_pages(NULL);
SELECT pg_temp.fails($$SELECT * FROM vl_pages('\x')$$);

-- vl_crop: pixels of the stored picture, whatever the order of the corners
CREATE FUNCTION pg_temp.size(image bytea) RETURNS text LANGUAGE sql IMMUTABLE AS
'SELECT concat_ws('' '', format, width || '' x '' || height, exif_orientation) FROM vl_image_info(image)';
SELECT pg_temp.size(image) AS stored, pg_temp.size(vl_crop(image, '(10,20),(60,40)')) AS cut,
       pg_temp.size(vl_crop(image, '(60,40),(10,20)', 0, 'jpeg')) AS jpeg,
       pg_temp.size(vl_crop(image, '(10,20),(60,40)', 0.1)) AS wider,
       pg_temp.size(vl_crop(image, '(190,140),(1000,1000)')) AS corner,
       pg_temp.size(vl_crop(image, '(0,0),(1000,1000)')) AS whole
  FROM picture WHERE name = 'exif6.jpg';
-- a cut of a cut is a cut
SELECT vl_crop(vl_crop(image, '(10,20),(60,40)'), '(5,5),(15,15)') =
       vl_crop(image, '(15,25),(25,35)') AS same
  FROM picture WHERE name = 'rgb.png';
SELECT vl_crop(image, region => box(point(2, 2), point(9, 9)), format => 'jpeg') IS NULL AS cut,
       vl_crop(image, NULL) IS NULL AS of_null
  FROM picture WHERE name = 'rgb.png';
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(61,0),(99,10)')$$);
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(5,5),(5,5)')$$);
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(0,0),(5,5)', -0.5)$$);
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(0,0),(Infinity,5)')$$);
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(0,0),(5,5)', 'NaN')$$);
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(0,0),(5,5)', 0, 'gif')$$);
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('two_pages.tif'), '(0,0),(5,5)')$$);

-- vl_rotate: clockwise, of the upright picture
SELECT turns, pg_temp.size(vl_rotate(image, turns)) AS turned
  FROM picture, unnest(ARRAY[-1, 0, 1, 2, 3, 4, 2147483647, -2147483648]) AS turns
 WHERE name = 'exif6.jpg';
SELECT vl_rotate(vl_rotate(image, 1), -1) = vl_rotate(image, 0) AS back,
       vl_rotate(vl_rotate(image, 2), 2) = vl_rotate(image, 4) AS around,
       vl_rotate(image, 1) = vl_rotate(image, 3) AS same
  FROM picture WHERE name = 'rgb.png';
SELECT name, pg_temp.size(vl_rotate(image, 1)) AS turned
  FROM picture WHERE name IN ('g4.tif', 'lossless_alpha_exif8.webp', 'dct.pdf') ORDER BY name COLLATE "C";

-- vl_annotate: what vl_ground gives, what vl_ground_answer gives, rows, points
CREATE TEMP TABLE marks (what text, boxes jsonb);
INSERT INTO marks VALUES
  ('vl_ground', '{"width": 210, "height": 220, "malformed": false, "boxes": [{"label": "total", "px": [30, 150, 180, 170], "norm": [143, 681, 857, 772], "score": 0.9}]}'),
  ('boxes alone', '[{"label": "total", "px": [30, 150, 180, 170], "score": 0.9}]'),
  ('corners', '[{"label": "total", "x1": 30, "y1": 150, "x2": 180, "y2": 170, "score": 0.9}]'),
  ('other corners first', '[{"label": "total", "px": [180, 170, 30, 150], "score": 0.9}]'),
  ('no score', '[{"label": "total", "px": [30, 150, 180, 170]}]'),
  ('norm', '[{"norm": [0, 0, 999, 999]}]'),
  ('px', '[{"px": [0, 0, 210, 220]}]'),
  ('spans', '{"text": "a b", "spans": [{"label": "no score", "boxes": [{"px": [30, 150, 180, 170]}]}]}'),
  ('point', '[{"label": "here", "px": [50, 60]}]'),
  ('point of a box', '[{"label": "here", "px": [50, 60, 50, 60]}]'),
  ('point of a row', '[{"label": "here", "at": "(50,60)"}]'),
  ('nothing', '[]'), ('no boxes', '{"boxes": []}');
CREATE TEMP TABLE annotated AS
  SELECT what, vl_annotate(pg_temp.pic('receipt 1'), boxes) AS image FROM marks;
SELECT what, pg_temp.size(image) = pg_temp.size(pg_temp.pic('receipt 1')) AS same_size,
       (SELECT string_agg(b.what, ', ' ORDER BY b.what COLLATE "C") FROM annotated b
         WHERE b.image = a.image AND b.what <> a.what) AS same_as
  FROM annotated a ORDER BY what COLLATE "C";
SELECT image = vl_rotate(pg_temp.pic('receipt 1'), 0) AS only_upright FROM annotated WHERE what = 'nothing';
-- rows of vl_boxes and vl_points become such boxes by themselves
SELECT vl_annotate(pg_temp.pic('rgb.png'), jsonb_agg(b)) =
       vl_annotate(pg_temp.pic('rgb.png'), '[{"label": "x", "px": [6, 4, 30, 21]}]') AS same
  FROM vl_parse_boxes('<|ref|>x<|/ref|><|det|>[[100, 100, 500, 500]]<|/det|>', 61, 43) b;
-- boxes are of the stored picture, the result is upright
SELECT pg_temp.size(vl_annotate(image, '{"width": 203, "height": 149, "boxes": []}')) AS upright
  FROM picture WHERE name = 'exif6.jpg';
SELECT vl_annotate(pg_temp.pic('rgb.png'), NULL) IS NULL AS of_null;
SELECT pg_temp.fails(format('SELECT vl_annotate(pg_temp.pic(%L), %L)', 'rgb.png', boxes))
  FROM unnest(ARRAY['1', '"a"', '{}', '{"boxes": {}}', '[1]', '[{"px": [1, 2, 3]}]', '[{"label": "a"}]',
                    '[{"px": [1, 2, 3, "4"]}]', '[{"px": [1, 2, 3, 1e400]}]',
                    '[{"px": [1, 2, 3, 4]}, {"at": "(1,"}]',
                    '{"width": 100, "height": 43, "boxes": []}']::text[]) AS boxes;
SELECT pg_temp.fails($$SELECT vl_annotate(pg_temp.pic('rgb.png'),
  (SELECT jsonb_agg('{"px": [1, 1]}'::jsonb) FROM generate_series(1, 1001)))$$);
-- characters of other scripts, of none, and those of another encoding's tables
SELECT count(DISTINCT vl_annotate(pg_temp.pic('receipt 1'),
         jsonb_build_array(jsonb_build_object('label', label, 'px', '[20, 90, 90, 120]'::jsonb))))
  FROM unnest(ARRAY['sum', 'сумма', 'σύνολο', 'Größe', '合計', E'a\nb', repeat('long ', 100)]) AS label;

-- limits hold for all of them
SET dsvl2.max_image_pixels = 100;
SELECT pg_temp.fails($$SELECT vl_crop(pg_temp.pic('rgb.png'), '(0,0),(5,5)')$$);
SELECT pg_temp.fails($$SELECT vl_rotate(pg_temp.pic('dct.pdf'), 1)$$);
SELECT pg_temp.fails($$SELECT * FROM vl_pages(pg_temp.pic('two_pages.tif'))$$);
RESET dsvl2.max_image_pixels;
SET dsvl2.max_image_bytes = 100;
SELECT pg_temp.fails($$SELECT vl_annotate(pg_temp.pic('rgb.png'), '[]')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_pages(pg_temp.pic('dct.pdf'))$$);
RESET dsvl2.max_image_bytes;

-- immutable: in a generated column, in an index; in parallel workers
CREATE TEMP TABLE thumb (image bytea, head bytea GENERATED ALWAYS AS (vl_crop(image, '(0,0),(8,8)')) STORED);
CREATE INDEX ON thumb (sha256(vl_rotate(image, 2)));
INSERT INTO thumb SELECT image FROM picture WHERE name IN ('rgb.png', 'g4.tif', 'flate_objstm.pdf');
SELECT pg_temp.size(head) FROM thumb;
SELECT proname, provolatile, proisstrict, proparallel FROM pg_proc
 WHERE proname IN ('vl_crop', 'vl_rotate', 'vl_annotate', 'vl_pages') ORDER BY proname;
