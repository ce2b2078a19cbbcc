-- Boxes: reading the model's markup, and the functions that ask for it.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
CREATE FUNCTION pg_temp.parse(answer text, OUT ord int, OUT label text, OUT region box)
RETURNS SETOF record LANGUAGE sql IMMUTABLE AS
  'SELECT ord, label, region FROM vl_parse_boxes(answer, 999, 999)';
-- the markup of an answer, in pixels of a picture
SELECT * FROM vl_parse_boxes('<|ref|>total<|/ref|><|det|>[[100, 200, 300, 400]]<|/det|>',
                             1000, 500);
SELECT * FROM vl_parse_boxes('<|ref|>giraffe<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>',
                             640, 480);
-- several boxes of one label, several labels, text between
SELECT * FROM pg_temp.parse('a <|ref|>cat<|/ref|><|det|>[[1, 2, 3, 4], [500, 500, 600, 700]]<|/det|>' ||
                            ' and a <|ref|>dog<|/ref|><|det|>[[0,0,999,999]]<|/det|>.');
-- points
SELECT ord, label, region, x1, y1, x2, y2
  FROM vl_parse_boxes('<|ref|>nose<|/ref|><|det|>[[500, 250]]<|/det|>', 999, 999);
-- an order that is no order gives the same region
SELECT region, x1, y1, x2, y2
  FROM vl_parse_boxes('<|ref|>x<|/ref|><|det|>[[300, 400, 100, 200]]<|/det|>', 999, 999);
-- no markup, no rows
SELECT * FROM vl_parse_boxes('', 10, 10);
SELECT * FROM vl_parse_boxes('The total is 12.50, see [[1, 2, 3, 4]].', 10, 10);
-- what cannot be read is left out, with a notice; the rest is not lost
SET client_min_messages = notice;
SELECT * FROM pg_temp.parse('<|ref|>a<|/ref|><|det|>[[1, 2, 3]]<|/det|>');
SELECT * FROM pg_temp.parse('<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7<|/det|>');
SELECT * FROM pg_temp.parse('<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|><|ref|>b<|/ref|><|det|>[[5, 6');
SELECT * FROM pg_temp.parse('<|ref|>a<|/ref|><|det|>[[1, 2, 3, x]]<|/det|>');
SELECT * FROM pg_temp.parse('<|ref|>a<|/ref|><|det|>[[1e9, 2, 3, 4]]<|/det|>');
SELECT * FROM pg_temp.parse('<|ref|>a<|/ref|><|det|>__import__("os")<|/det|>');
SELECT * FROM pg_temp.parse('<|ref|>a');
SELECT * FROM pg_temp.parse('<|det|>[[1, 2, 3, 4]]<|/det|>');
SELECT count(*) FROM pg_temp.parse(repeat('<|ref|>', 10000) || repeat('<|det|>[[', 10000));
SELECT count(*), max(ord) FROM pg_temp.parse(repeat('<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>', 1000));
SET client_min_messages = warning;
SELECT pg_temp.fails($$SELECT * FROM vl_parse_boxes('', 0, 10)$$);
SELECT pg_temp.fails($$SELECT * FROM vl_parse_boxes('', 10, -1)$$);

-- boxes are boxes: operators, GiST, joins
CREATE TEMP TABLE found AS
  SELECT p.id, b.ord, b.label, b.region
    FROM (VALUES (1, '<|ref|>signature<|/ref|><|det|>[[100, 800, 400, 900]]<|/det|>' ||
                     '<|ref|>stamp<|/ref|><|det|>[[350, 850, 500, 950]]<|/det|>'),
                 (2, '<|ref|>signature<|/ref|><|det|>[[100, 100, 400, 200]]<|/det|>')) AS p(id, answer),
         pg_temp.parse(p.answer) b;
CREATE INDEX found_region ON found USING gist (region);
SELECT id, label FROM found WHERE region && box(point(0, 700), point(999, 999)) ORDER BY id, ord;
SELECT id, label FROM found WHERE region @> box(point(120, 120), point(130, 130));
SELECT a.id, a.label, b.label, a.region # b.region AS common
  FROM found a JOIN found b ON a.id = b.id AND a.ord < b.ord AND a.region && b.region;
SELECT label, area(region), center(region) FROM found WHERE id = 2;
SELECT label FROM found WHERE id = 1 AND region ~= box(point(100, 800), point(400, 900));

-- a model that was not trained for it says so
SELECT pg_temp.fails($$SELECT vl_ground(pg_temp.pic('gray.png'), 'total')$$);
SELECT pg_temp.fails($$SELECT vl_ground_answer(pg_temp.pic('gray.png'), 'Total?')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_boxes(pg_temp.pic('gray.png'), 'total')$$);
SELECT pg_temp.fails($$SELECT * FROM vl_boxes(pg_temp.pic('gray.png'), ARRAY['total'])$$);
SELECT pg_temp.fails($$SELECT * FROM vl_points(pg_temp.pic('gray.png'), 'total')$$);
-- which obeys on_error
SET dsvl2.on_error = 'warning';
SELECT vl_ground(pg_temp.pic('gray.png'), 'total') IS NULL AS forgiven;
SELECT vl_ground_answer(pg_temp.pic('gray.png'), 'Total?',
                        options => '{"on_error": "null"}') IS NULL AS forgiven;
SELECT * FROM vl_boxes(pg_temp.pic('gray.png'), 'total');
SELECT * FROM vl_boxes(pg_temp.pic('gray.png'), ARRAY['total', 'date'],
                       options => '{"on_error": "null"}');
SELECT * FROM vl_points('\x', 'total', options => '{"on_error": "null"}');
RESET dsvl2.on_error;

-- the random model answers with noise, in which there are no boxes
SELECT g->'width' AS width, g->'height' AS height, g->'malformed' AS malformed, g->'boxes' AS boxes
  FROM vl_ground(pg_temp.pic('gray.png'), 'total', 'tiny', '{"stop": ["a", "e", "i", "n", "t"]}') g;
SELECT g->'width' AS width, g->'height' AS height, length(g->>'text') > 0 AS has_text, g->'spans'
       AS spans
  FROM vl_ground_answer(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"stop": ["a", "e", "n"]}') g;
SELECT * FROM vl_boxes(pg_temp.pic('gray.png'), ARRAY['total', 'date'],
                       'tiny', '{"stop": ["a", "e", "i", "n", "t"]}');
SELECT * FROM vl_points(pg_temp.pic('gray.png'), 'total',
                        'tiny', '{"stop": ["a", "e", "i", "n", "t"]}');
SELECT pg_temp.fails($$
  SELECT vl_ground(pg_temp.pic('gray.png'), 'total', 'tiny', '{"max_tokens": 2}')$$);

-- a call leaves nothing in the query's memory
SELECT x.n, sum(c.used_bytes) < 3000000 AS flat
  FROM (SELECT count(*) AS n FROM generate_series(1, 20000) i, vl_parse_boxes('x' || i, 9, 9)) x,
       pg_backend_memory_contexts c
 WHERE c.name = 'ExecutorState' GROUP BY x.n;
