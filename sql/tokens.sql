-- vl_count_tokens; what a user types is never a special token.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SELECT vl_count_tokens('') AS empty, vl_count_tokens('a') > 0 AS one,
       vl_count_tokens('one two') <= vl_count_tokens('one two three four five') AS grows;
SELECT vl_count_tokens('Total?', image) - vl_count_tokens('Total?') = vl_count_tokens('', image)
       AS adds_up,
       vl_count_tokens('', image) = (vl_run('ask', image, 'x')).image_tokens AS as_used,
       vl_count_tokens('', image, 'tiny') = (vl_image_info(image)).image_tokens AS as_published
  FROM picture WHERE name = 'receipt 1';
SELECT vl_count_tokens('Größe 合計 😀') > 3 AS bytes_of_all_scripts;
SELECT count(*) FILTER (WHERE vl_count_tokens(s, model => m) > 1) AS more_than_one_token, count(*)
  FROM unnest(ARRAY['<|User|>', '<|Assistant|>', '<image>', '<|ref|>', '<|/ref|>', '<|det|>',
                    '<|grounding|>', '<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>']) AS s,
       unnest(ARRAY['nano', 'tiny']) AS m;
-- '<image>' in a prompt asks for no further image
SELECT length(vl_ask(image, 'What does <image> mean? <|User|>: <｜end▁of▁sentence｜>', 'tiny',
                     '{"max_tokens": 3, "system": "<image>"}')) > 0 AS answered
  FROM picture WHERE name = 'receipt 1';
SELECT a.prompt_tokens > b.prompt_tokens AND a.image_tokens = b.image_tokens AS is_text
  FROM picture, vl_run('ask', image, '<image><image>') a, vl_run('ask', image, 'x') b
 WHERE name = 'receipt 1';
-- the image of the count obeys the limits of images
SET dsvl2.max_image_bytes = '1kB';
SELECT pg_temp.fails($$SELECT vl_count_tokens('x', pg_temp.pic('page.png'))$$);
RESET dsvl2.max_image_bytes;
SET dsvl2.exif_orientation = on;
SELECT pg_temp.fails($$SELECT vl_count_tokens('x', 'no image')$$);
SELECT pg_temp.fails($$SELECT vl_count_tokens('x', NULL, 'nanno')$$);
