-- What scripts/demo shows: run with psql -e, so that every statement is printed before its
-- answer.  Variable: samples, the folder of the sample scans as the server sees it.
-- No statement depends on what the model answers: other samples and weights will do.

\pset null '(null)'
\pset footer off

\echo
\echo '== The extension, and a table of scanned receipts'
\echo
CREATE EXTENSION dsvl2;
\echo
CREATE TABLE scans (
  id    int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  file  text,
  scan  bytea
);
\echo
INSERT INTO scans (file, scan)
SELECT file, pg_read_binary_file(:'samples' || '/' || file)
  FROM pg_ls_dir(:'samples') AS file
 WHERE file ~ '\.(png|jpg)$'
 ORDER BY file;

\echo
\echo '== What is really printed on them, so that you see the mistakes'
\echo
CREATE TABLE truth AS
SELECT s.id, j ->> 'kind' AS kind, j ->> 'text' AS text,
       j #>> '{facts,merchant}' AS merchant, j #>> '{facts,total}' AS total
  FROM jsonb_array_elements(pg_read_file(:'samples' || '/samples.json')::jsonb) AS j
  JOIN scans s ON s.file = j ->> 'file';

\echo
\echo '== NOTE: all answers below are those of nano, the small model that comes with dsvl2.'
\echo '==       It was made for demonstrations and tests, it reads one font, and it MAKES'
\echo '==       MISTAKES.  The same SQL runs the published DeepSeek-VL2 models; the README'
\echo '==       says how to register one.'
\echo
\echo '-- A scan about which nano has nothing to say shall be NULL; the default is an error.'
\echo
SET dsvl2.on_error = 'null';
\timing on

\echo
\echo '-- OCR: the text of one receipt (nano reads; mistakes are to be expected)'
\echo
SELECT vl_ocr(s.scan) AS "nano reads", t.text AS "really printed"
  FROM scans s JOIN truth t USING (id)
 WHERE t.kind = 'receipt'
 ORDER BY id LIMIT 1;

\echo
\echo '-- Questions: who sold it, and for how much?'
\echo
SELECT s.file,
       vl_ask(s.scan, 'What is the merchant?') AS "nano: merchant", t.merchant AS printed,
       vl_ask(s.scan, 'What is the total?')    AS "nano: total",    t.total    AS printed
  FROM scans s JOIN truth t USING (id)
 WHERE t.kind = 'receipt'
 ORDER BY id LIMIT 3;

\echo
\echo '-- Decisions: one of several labels, yes or no; scored, so the answer is always one of them'
\echo
SELECT vl_classify(scan, ARRAY['receipt', 'text', 'shapes']) AS "nano: kind", count(*),
       count(*) FILTER (WHERE vl_is(scan, 'Is this a receipt?')) AS "nano: is a receipt"
  FROM scans GROUP BY 1 ORDER BY 1;

\echo
\echo '-- Extraction: a row of your own type; a value that the type refuses cannot be written'
\echo
CREATE TYPE receipt AS (merchant text, total numeric(10,2));
\echo
SELECT s.file, r.merchant AS "nano: merchant", r.total AS "nano: total"
  FROM scans s, vl_extract_as(s.scan, NULL::receipt) AS r
 WHERE s.file ~ 'receipt' AND r.total > 100
 ORDER BY s.file LIMIT 5;

\echo
\echo '-- A join: which payments of the books have a receipt?  (A total that nano misreads'
\echo '-- finds none.)'
\echo
\timing off
CREATE TABLE payments AS
SELECT 100 + id AS payment, merchant, total::numeric AS amount
  FROM truth WHERE kind = 'receipt' ORDER BY id DESC LIMIT 5;
\timing on
\echo
SELECT p.payment, p.merchant, p.amount, s.file AS "receipt that nano finds"
  FROM payments p
  LEFT JOIN scans s ON vl_ask(s.scan, 'What is the total?') = p.amount::text
 ORDER BY p.payment;

\echo
\echo '-- Many images at once: what cannot be read is a row, not the end of the statement'
\echo
SELECT key, value AS "nano: total", error_code, error
  FROM vl_map($$ (SELECT file, scan FROM scans WHERE file ~ 'receipt' ORDER BY file LIMIT 3)
                 UNION ALL VALUES ('broken.png', '\x89504e47'::bytea) $$,
              prompt => 'What is the total?');

\echo
\echo '-- A trigger: columns that fill themselves in when a scan arrives'
\echo
\timing off
CREATE TABLE inbox (scan bytea, merchant text, total numeric(10,2), scan_status text, scan_error text);
\echo
CREATE TRIGGER read_receipt BEFORE INSERT OR UPDATE OF scan ON inbox FOR EACH ROW
  EXECUTE FUNCTION vl_extract_trigger('scan', '{"merchant": "merchant", "total": "total"}',
                                      '{"on_error": "null"}');
\timing on
\echo
INSERT INTO inbox (scan)
(SELECT scan FROM scans WHERE file ~ 'receipt' ORDER BY id DESC LIMIT 3)
UNION ALL VALUES ('not a picture'::bytea);
\echo
SELECT merchant AS "nano: merchant", total AS "nano: total", scan_status, scan_error FROM inbox;
\timing off

\echo
\echo '-- The models this server knows'
\echo
SELECT name, parameters, quantisation, pg_size_pretty(bytes) AS size, mapped, "default"
  FROM vl_models;
