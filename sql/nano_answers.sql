-- What nano says.  The one test whose results change when nano is trained anew.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
-- a model's own words about itself come once in a session
SET client_min_messages = notice;
SELECT vl_ocr(image) FROM picture WHERE name = '01-receipt.png';
SELECT vl_ocr(image) FROM picture WHERE name = '03-receipt.jpg';
SELECT vl_ocr(image) FROM picture WHERE name = '02-text.png';
SELECT name, vl_ask(image, 'What is the total?') AS total, vl_ask(image, 'Who is the merchant?')
       AS merchant,
       vl_ask(image, 'What is the date?') AS date
  FROM picture WHERE name ~ '^[0-9][0-9]-receipt' ORDER BY name LIMIT 6;
SELECT name, vl_ask(image, 'Which of these fits the image best: receipt, text, shapes?') AS kind,
       vl_ask(image, 'Is this a receipt? Answer yes or no.') AS receipt
  FROM picture WHERE name ~ '^[0-9][0-9]-' ORDER BY name;
SELECT name, vl_classify(image, ARRAY['receipt', 'text', 'shapes']) AS kind,
       vl_is(image, 'Is this a receipt?') AS receipt
  FROM picture WHERE name ~ '^[0-9][0-9]-' ORDER BY name;
SELECT vl_ask(image, 'Extract as JSON: merchant, date, total')::jsonb
  FROM picture WHERE name = '01-receipt.png';
-- under a schema
SELECT name, vl_extract(image, '["merchant", "date", "total"]')
  FROM picture WHERE name ~ '^[0-9][0-9]-receipt' ORDER BY name LIMIT 6;
SELECT name, vl_extract(image, '["merchant", "date", "total"]')
             = vl_ask(image, 'Extract as JSON: merchant, date, total')::jsonb AS as_without
  FROM picture WHERE name ~ '^[0-9][0-9]-receipt' ORDER BY name;
SELECT vl_extract(image, '{"date": "When?", "total": "How much?"}'),
       (SELECT bool_and(s::real > 0.5) FROM jsonb_each_text(
          vl_extract(image, '["merchant", "date", "total"]', options => '{"scores": true}')->'scores')
          AS e(k, s)) AS sure
  FROM picture WHERE name = '01-receipt.png';
CREATE TYPE pg_temp.receipt AS (merchant text, date text, total numeric(10,2));
SELECT r.* FROM picture, vl_extract_as(image, NULL::pg_temp.receipt) r
 WHERE name ~ '^[0-9][0-9]-receipt' ORDER BY name LIMIT 3;
-- the same in bf16, and with plain C
SET dsvl2.precision = bf16;
SELECT vl_ask(image, 'What is the total?') FROM picture WHERE name = '01-receipt.png';
SET dsvl2.precision = fp32;
SET dsvl2.cpu_level = generic;
SELECT vl_ask(image, 'What is the total?') FROM picture WHERE name = '01-receipt.png';
