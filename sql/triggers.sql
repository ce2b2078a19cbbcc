-- Models in triggers, functions and queries.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
CREATE TEMP TABLE receipt (id int PRIMARY KEY, scan bytea, page text, total text, error text);
CREATE FUNCTION pg_temp.read_receipt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  r vl_result;
BEGIN
  r := vl_run('ocr', NEW.scan);
  NEW.page := r.value;
  NEW.error := r.error_code;
  NEW.total := vl_ask(NEW.scan, 'Total?', options => '{"on_error": "null"}');
  RETURN NEW;
END $$;
CREATE TRIGGER read_receipt BEFORE INSERT OR UPDATE OF scan ON receipt
  FOR EACH ROW EXECUTE FUNCTION pg_temp.read_receipt();
INSERT INTO receipt (id, scan) VALUES
  (1, pg_temp.pic('receipt 1')), (2, pg_temp.pic('receipt 2')), (3, 'no picture'), (4, NULL);
SELECT id, page = vl_ocr(scan) AS page_is_read, total = vl_ask(scan, 'Total?')
       AS total_is_read, error
  FROM receipt WHERE id < 3 ORDER BY id;
SELECT id, page IS NULL AS no_page, total IS NULL AS no_total, error
  FROM receipt WHERE id > 2 ORDER BY id;
-- an update of another column asks nobody, one of the picture does
SELECT inferences AS before FROM vl_last_usage() \gset
UPDATE receipt SET error = NULL WHERE id = 3;
SELECT inferences - :before AS asked FROM vl_last_usage();
UPDATE receipt SET scan = pg_temp.pic('receipt 1') WHERE id = 3;
SELECT inferences - :before AS asked FROM vl_last_usage();
SELECT a.page = b.page AS same_page, a.error FROM receipt a, receipt b WHERE a.id = 3 AND b.id = 1;
-- a trigger that raises keeps the row out
CREATE FUNCTION pg_temp.must_be_readable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM vl_ocr(NEW.scan);
  RETURN NEW;
END $$;
CREATE TRIGGER a_must_be_readable BEFORE INSERT ON receipt
  FOR EACH ROW EXECUTE FUNCTION pg_temp.must_be_readable();
SELECT pg_temp.fails($$INSERT INTO receipt (id, scan) VALUES (5, 'GIF89a and so on')$$);
SELECT count(*) FROM receipt;

-- a join on contents; the cheap condition comes first
CREATE TEMP TABLE known (total text, what text);
INSERT INTO known SELECT DISTINCT total, 'known' FROM receipt WHERE id IN (1, 2);
SELECT r.id, r.total = k.total AS right_one, k.what
  FROM receipt r JOIN known k ON k.total = vl_ask(r.scan, 'Total?')
 WHERE r.scan IS NOT NULL ORDER BY 1;
EXPLAIN (COSTS OFF) SELECT id FROM receipt WHERE vl_ask(scan, 'Total?') = 'x' AND error IS NULL;
SELECT count(*) FROM receipt WHERE vl_ask(scan, 'Total?') IS NOT NULL AND id < 0;
-- aggregates, windows, LATERAL, CTEs, prepared statements, materialized views
SELECT count(*), count(DISTINCT vl_ask(scan, 'Total?')) = count(DISTINCT total) AS same
  FROM receipt WHERE scan IS NOT NULL;
SELECT id, count(*) OVER (PARTITION BY vl_ask(scan, 'Total?'))
           = count(*) OVER (PARTITION BY total) AS same
  FROM receipt WHERE scan IS NOT NULL ORDER BY id;
SELECT id, r.task, r.error_code
  FROM receipt LEFT JOIN LATERAL vl_run('ocr', scan) r ON true ORDER BY id;
WITH read AS MATERIALIZED (SELECT id, vl_ocr(scan) AS page FROM receipt WHERE id = 1)
SELECT count(*) = (SELECT count(*)
  FROM receipt, string_to_table(page, E'\n') WHERE id = 1) AS same_lines
  FROM read, string_to_table(page, E'\n');
PREPARE ask(text) AS SELECT vl_ask(scan, $1) IS NOT NULL AS answered FROM receipt WHERE id = 1;
EXECUTE ask('Total?');
EXECUTE ask('merchant?');
EXECUTE ask(NULL);
CREATE TABLE regress_dsvl2_scan AS SELECT id, scan FROM receipt WHERE id = 1;
CREATE MATERIALIZED VIEW regress_dsvl2_page AS SELECT id, vl_ocr(scan) AS page
  FROM regress_dsvl2_scan;
REFRESH MATERIALIZED VIEW regress_dsvl2_page;
SELECT p.page = r.page AS same FROM regress_dsvl2_page p JOIN receipt r USING (id);
DROP TABLE regress_dsvl2_scan CASCADE;
-- STABLE is not enough for an index or a generated column
SELECT pg_temp.fails('CREATE INDEX ON receipt (vl_ocr(scan))');
SELECT pg_temp.fails('ALTER TABLE receipt ADD COLUMN read text GENERATED ALWAYS
       AS (vl_ocr(scan)) STORED');
