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
 ORDER BY id LIMIT 5;

\echo
\echo '-- A filter: which of the scans are receipts of more than 100?'
\echo
SELECT id, file, vl_ask(scan, 'What is the total?') AS "nano: total"
  FROM scans
 WHERE vl_ask(scan, 'Is this a receipt? Answer yes or no.') = 'yes'
   AND vl_ask(scan, 'What is the total?') ~ '^[0-9]{3,}\.[0-9]{2}$'
 ORDER BY id;

\echo
\echo '-- A join: which payments of the books have a receipt?  (A total that nano misreads'
\echo '-- finds none.)'
\echo
\timing off
CREATE TABLE payments AS
SELECT 100 + id AS payment, merchant, total::numeric AS amount
  FROM truth WHERE kind = 'receipt';
\timing on
\echo
SELECT p.payment, p.merchant, p.amount, s.file AS "receipt that nano finds"
  FROM payments p
  LEFT JOIN scans s ON vl_ask(s.scan, 'What is the total?') = p.amount::text
 ORDER BY p.payment;

\echo
\echo '-- A trigger: fields that fill themselves in when a scan arrives'
\echo
\timing off
CREATE TABLE inbox (scan bytea, merchant text, total text);
\echo
CREATE FUNCTION read_receipt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.merchant := vl_ask(NEW.scan, 'What is the merchant?');
  NEW.total    := vl_ask(NEW.scan, 'What is the total?');
  RETURN NEW;
END
$$;
\echo
CREATE TRIGGER read_receipt BEFORE INSERT OR UPDATE OF scan ON inbox
  FOR EACH ROW EXECUTE FUNCTION read_receipt();
\timing on
\echo
INSERT INTO inbox (scan)
SELECT s.scan FROM scans s JOIN truth t USING (id)
 WHERE t.kind = 'receipt' ORDER BY id DESC LIMIT 3;
\echo
SELECT merchant AS "nano: merchant", total AS "nano: total" FROM inbox;
\timing off

\echo
\echo '-- The models this server knows'
\echo
SELECT name, parameters, quantisation, pg_size_pretty(bytes) AS size, mapped, "default"
  FROM vl_models;
