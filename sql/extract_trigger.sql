-- vl_extract_trigger: columns that are filled from a row's picture.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
CREATE SCHEMA regress_dsvl2_trigger;
SET search_path = regress_dsvl2_trigger, public;

-- ---- arguments ----

CREATE DOMAIN picture_file AS bytea;
CREATE TYPE shop AS (merchant text, total numeric);
CREATE TYPE mood AS ENUM ('happy', 'so so');
CREATE DOMAIN shop_with_name AS shop CHECK ((VALUE).merchant <> '');
CREATE TABLE bad (id int, scan bytea, merchant text, merchant_status text, merchant_error text,
                  dropped text, total numeric(10,2), page text, page_status int,
                  twice text GENERATED ALWAYS AS (merchant || merchant) STORED,
                  other bytea GENERATED ALWAYS AS (scan) STORED);
ALTER TABLE bad DROP COLUMN dropped;

-- what an insert says under a trigger with these arguments
CREATE FUNCTION pg_temp.with_arguments(VARIADIC arguments text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  said text;
BEGIN
  EXECUTE 'CREATE TRIGGER t BEFORE INSERT ON bad FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('
    || (SELECT coalesce(string_agg(quote_literal(a), ', ' ORDER BY i), '')
          FROM unnest(arguments) WITH ORDINALITY AS x(a, i) WHERE a IS NOT NULL) || ')';
  said := pg_temp.fails('INSERT INTO bad (id) VALUES (1)');
  DROP TRIGGER t ON bad;
  RETURN said;
END $$;
CREATE FUNCTION pg_temp.with_fields(fields text, options text DEFAULT NULL) RETURNS text LANGUAGE sql
  AS $$SELECT pg_temp.with_arguments('scan', fields, options)$$;

SELECT pg_temp.with_arguments(NULL);
SELECT pg_temp.with_arguments('scan');
SELECT pg_temp.with_arguments('scan', '{"merchant": "merchant"}', '{}', '{}');
-- the image
SELECT pg_temp.with_arguments('scam', '{"merchant": "merchant"}');
SELECT pg_temp.with_arguments('Scan', '{"merchant": "merchant"}');
SELECT pg_temp.with_arguments('dropped', '{"merchant": "merchant"}');
SELECT pg_temp.with_arguments('merchant', '{"total": "total"}');
SELECT pg_temp.with_arguments('other', '{"merchant": "merchant"}');
-- fields
SELECT fields, pg_temp.with_fields(fields) AS said
  FROM unnest(ARRAY['{"merchand": "merchant"}', '{"nothing like it": "merchant"}', '{"dropped": "x"}',
                    '{"twice": "merchant"}', '{"scan": "merchant"}', '{"page": "text"}',
                    '{"merchant": "merchant", "merchant_status": "status"}',
                    '{"merchant_status": "status", "merchant": "merchant"}',
                    '{"merchant": 1}', '{"merchant": ""}', '{"merchant": {"type": "string"}}',
                    '{"merchant": "total", "total": "total"}', '{"total": "total: numbr"}', '{}',
                    '["merchant"]', '{"merchant"', '{"merchant": "merchant"} x']) AS fields;
-- types
SELECT type, pg_temp.with_fields(type) AS said
  FROM unnest(ARRAY['shopp', 'integer', 'mood', 'shop[]', 'bad', '', 'no_schema.shop', 'picture_file']) type;
-- options
SELECT options, pg_temp.with_fields('{"merchant": "merchant"}', options) AS said
  FROM unnest(ARRAY['{"max_token": 1}', '{"max_tokens": "many"}', '{"model": 1}', '{"model": "none"}',
                    '{"on_error": "ignore"}', '{"stop": "x"}', '{"columns": {"a": "b"}}', '[]', '1', '{',
                    '{"model": null, "columns": null, "max_tokens": 100}']) options;
SELECT options, pg_temp.with_fields('shop', options) AS said
  FROM unnest(ARRAY['{"columns": {"merchant": "page"}}', '{"columns": {"merchant": "shop"}}',
                    '{"columns": {"merchand": "merchant"}}', '{"columns": {"merchant": 1}}',
                    '{"columns": ["merchant"]}', '{"columns": {"merchant": "total"}}',
                    '{"columns": {}}', '{"on_error": "null"}']) options;
SELECT pg_temp.with_fields('shop_with_name'), pg_temp.with_fields(' regress_dsvl2_trigger.shop ');

-- when it is fired
CREATE FUNCTION pg_temp.fired(what text, event text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  said text;
BEGIN
  EXECUTE format('CREATE TRIGGER t %s EXECUTE FUNCTION vl_extract_trigger(''scan'', ''shop'')', what);
  said := pg_temp.fails(event);
  DROP TRIGGER t ON bad;
  RETURN said;
END $$;
INSERT INTO bad (id) VALUES (0);
SELECT pg_temp.fired('AFTER INSERT ON bad FOR EACH ROW', 'INSERT INTO bad (id) VALUES (1)');
SELECT pg_temp.fired('BEFORE INSERT ON bad', 'INSERT INTO bad (id) VALUES (1)');
SELECT pg_temp.fired('BEFORE DELETE ON bad FOR EACH ROW', 'DELETE FROM bad');
SELECT pg_temp.fired('BEFORE TRUNCATE ON bad', 'TRUNCATE bad');
SELECT pg_temp.fails('SELECT vl_extract_trigger()');
SELECT id, merchant, merchant_status FROM bad ORDER BY id;

-- ---- what it writes ----

CREATE TABLE receipt (id int PRIMARY KEY, scan bytea, merchant text, total numeric, total_status text,
                      total_error text, scan_status text, scan_error text, note text);
CREATE TRIGGER fields BEFORE INSERT OR UPDATE OF scan ON receipt
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"merchant": "merchant", "total": "total"}',
                                                   '{"on_error": "null"}');
-- the same picture, question and schema are one inference in a transaction
BEGIN;
INSERT INTO receipt (id, scan, merchant, scan_error)
VALUES (1, pg_temp.pic('receipt 1'), 'is overwritten', 'this too'), (2, pg_temp.pic('receipt 2'), NULL, NULL),
       (3, 'no picture', 'is overwritten', NULL), (4, NULL, 'is overwritten', NULL)
RETURNING id, merchant IS NOT DISTINCT FROM 'is overwritten' AS kept, scan_status, left(scan_error, 5) AS error;
SELECT inferences AS before FROM vl_last_usage() \gset
SELECT r.id, r.merchant IS NOT DISTINCT FROM e->>'merchant' AS same_merchant,
       r.total IS NOT DISTINCT FROM (e->>'total')::numeric AS same_total,
       total_status = CASE WHEN r.total IS NULL THEN 'null' ELSE 'ok' END AS right_status, total_error
  FROM receipt r, vl_extract(r.scan, '["merchant: text", "total: number"]') AS e
 WHERE id < 3 ORDER BY id;
SELECT inferences - :before AS asked FROM vl_last_usage();
COMMIT;
SELECT id, merchant, total, total_status, left(total_error, 7) AS total_error, scan_status,
       scan_error = total_error AS the_same
  FROM receipt WHERE id > 2 ORDER BY id;

-- ---- updates ----

SELECT inferences AS before, calls AS calls FROM vl_last_usage() \gset
-- another column, the same picture, and a picture that is only written again
UPDATE receipt SET note = 'x';
UPDATE receipt SET scan = scan, merchant = 'by hand' WHERE id < 3;
UPDATE receipt SET scan = scan || ''::bytea WHERE id < 3;
UPDATE receipt SET scan = NULL WHERE id = 4;
SELECT id, merchant, scan_status, note FROM receipt WHERE id <> 3 ORDER BY id;
SELECT inferences - :before AS asked, calls - :calls AS calls FROM vl_last_usage();
-- another picture
UPDATE receipt SET scan = pg_temp.pic('receipt 1') WHERE id > 1;
SELECT a.id, a.merchant IS DISTINCT FROM 'by hand' AS read, a.total IS NOT DISTINCT FROM b.total AS same_total,
       a.scan_status, a.scan_error
  FROM receipt a JOIN receipt b ON b.id = 4 ORDER BY a.id;
SELECT inferences - :before AS asked, calls - :calls AS calls FROM vl_last_usage();
UPDATE receipt SET scan = 'broken' WHERE id = 2;
SELECT merchant, total, total_status, left(scan_error, 7) AS error, scan_status, note FROM receipt WHERE id = 2;
UPDATE receipt SET scan = NULL WHERE id = 2;
SELECT merchant, total, total_status, left(scan_error, 7) AS error, scan_status, note FROM receipt WHERE id = 2;
-- the same picture once more: take its status away
UPDATE receipt SET scan = scan, scan_status = NULL, note = 'again' WHERE id = 1;
SELECT merchant IS DISTINCT FROM 'by hand' AS read, scan_status, note FROM receipt WHERE id = 1;
-- large pictures, which are stored apart
CREATE TABLE large (LIKE receipt);
ALTER TABLE large ALTER scan SET STORAGE EXTERNAL;
CREATE TRIGGER fields BEFORE INSERT OR UPDATE ON large
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"total": "total"}', '{"on_error": "null"}');
INSERT INTO large (id, scan) SELECT 1, pg_temp.pic('receipt 1') || convert_to(repeat('x', 5000), 'UTF8');
SELECT total_status, scan_status FROM large;
SELECT calls AS calls FROM vl_last_usage() \gset
UPDATE large SET note = 'x';
UPDATE large SET scan = scan;
UPDATE large SET scan = scan || ''::bytea;
SELECT calls - :calls AS calls FROM vl_last_usage();
UPDATE large SET scan = overlay(scan PLACING 'y'::bytea FROM length(scan) - 3);
SELECT calls - :calls AS calls, l.scan_status FROM vl_last_usage(), large l;

-- ---- on_error ----

CREATE TABLE strict (id int, scan bytea, merchant text, merchant_status text, merchant_error text);
CREATE TRIGGER fields BEFORE INSERT ON strict
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"merchant": "merchant"}');
SELECT left(pg_temp.fails($$INSERT INTO strict VALUES (1, NULL), (2, 'no picture')$$), 5) AS fails;
SELECT count(*) FROM strict;
SET dsvl2.on_error = 'null';
INSERT INTO strict VALUES (2, 'no picture');
SET dsvl2.on_error = 'warning';
\set VERBOSITY sqlstate
INSERT INTO strict VALUES (3, 'no picture');
\set VERBOSITY default
RESET dsvl2.on_error;
SELECT id, merchant, merchant_status, left(merchant_error, 5) AS error FROM strict ORDER BY id;
-- a picture that is too large, an answer that is cut off, a task nobody taught the model
SET dsvl2.max_image_bytes = 100;
SELECT pg_temp.fails($$INSERT INTO strict VALUES (4, pg_temp.pic('receipt 1'))$$);
RESET dsvl2.max_image_bytes;
SET dsvl2.max_tokens = 2;
SELECT pg_temp.fails($$INSERT INTO strict VALUES (5, pg_temp.pic('receipt 1'))$$);
RESET dsvl2.max_tokens;
-- errors that are not the row's own end the statement whatever on_error says
SET dsvl2.on_error = 'null';
SET dsvl2.default_model = 'no such model';
SELECT pg_temp.fails($$INSERT INTO strict VALUES (6, NULL)$$);
RESET dsvl2.default_model;
RESET dsvl2.on_error;

-- ---- values that a column's type refuses ----

-- of the answer nothing is known but that it is a string
CREATE DOMAIN word AS text NOT NULL;
CREATE DOMAIN nothing AS text CHECK (VALUE IS NULL);
CREATE TYPE words AS (address word, merchant word, kind word);
CREATE TABLE choosy (id int, scan bytea, address uuid, address_status text, address_error text,
                     merchant text, merchant_status text, kind nothing, kind_error text, scan_status text,
                     scan_error text);
CREATE TRIGGER fields BEFORE INSERT ON choosy
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', 'words', '{"on_error": "null"}');
INSERT INTO choosy (id, scan) VALUES (1, pg_temp.pic('receipt 1'));
SELECT address, address_status, regexp_replace(address_error, ': ".*"$', ': "..."') AS address_error
  FROM choosy;
SELECT merchant IS NOT NULL AS merchant, merchant_status, kind, kind_error, scan_status,
       scan_error = address_error AS the_first_error
  FROM choosy;
-- on_error again
DROP TRIGGER fields ON choosy;
CREATE TRIGGER fields BEFORE INSERT ON choosy
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', 'words');
SELECT regexp_replace(pg_temp.fails($$INSERT INTO choosy (id, scan) VALUES (2, pg_temp.pic('receipt 1'))$$),
                      ': ".*"$', ': "..."') AS fails;
-- a CHECK that breaks down, other than by refusing, is no row error
CREATE FUNCTION break() RETURNS boolean LANGUAGE plpgsql AS
  $$BEGIN RAISE insufficient_privilege USING MESSAGE = 'broken'; END$$;
CREATE DOMAIN breaks AS text CHECK (VALUE IS NULL OR break());
CREATE TABLE breaking (scan bytea, merchant text, address text, kind breaks);
CREATE TRIGGER fields BEFORE INSERT ON breaking
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', 'words', '{"on_error": "null"}');
SELECT pg_temp.fails($$INSERT INTO breaking (scan) VALUES (pg_temp.pic('receipt 1'))$$);
INSERT INTO breaking DEFAULT VALUES;
SELECT count(*) FROM choosy;

-- long names of several bytes a letter: the error is cut between letters
CREATE SCHEMA "regress_dsvl2_größte_größe";
CREATE DOMAIN "regress_dsvl2_größte_größe"."ééééééééééééééééééééééééééééééé" AS text
  CONSTRAINT "ööööööööööööööööööööööööööööööö" CHECK (VALUE IS NULL);
CREATE TYPE one_word AS (merchant word);
CREATE TABLE long_names (scan bytea, scan_error text, "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüü"
                         "regress_dsvl2_größte_größe"."ééééééééééééééééééééééééééééééé");
CREATE TRIGGER fields BEFORE INSERT ON long_names FOR EACH ROW EXECUTE FUNCTION
  vl_extract_trigger('scan', 'one_word', '{"columns": {"merchant": "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüü"},
                                           "on_error": "null"}');
INSERT INTO long_names (scan) VALUES (pg_temp.pic('receipt 1'));
SELECT octet_length(scan_error) AS bytes, convert_from(textsend(scan_error), 'UTF8') AS error FROM long_names;

-- ---- types ----

-- the column's type is the field's, unless the label says another; a question is about the column
CREATE TABLE typed (id int, scan bytea, merchant varchar(40), total numeric(10,2), items int, day date,
                    at timestamp, member boolean, kind mood, tags text[], raw jsonb, cost money,
                    shop shop, label varchar(3), scan_status text);
CREATE TRIGGER fields BEFORE INSERT ON typed
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{
    "merchant": "merchant", "total": "What is the grand total?", "items": "items", "day": "date",
    "at": "at", "member": "member", "kind": "kind", "tags": "tags", "raw": "raw: string[] - all the words",
    "cost": "cost: integer", "shop": "shop", "label": "label: (a|b) - either"}',
    '{"on_error": "warning", "max_tokens": 500}');
INSERT INTO typed (id, scan) VALUES (1, pg_temp.pic('receipt 1'));
SELECT scan_status IN ('ok', 'error') AS done, raw IS NULL OR jsonb_typeof(raw) = 'array' AS raw,
       label IS NULL OR label IN ('a', 'b') AS label
  FROM typed;

-- a type for the fields, and columns with other names and types
CREATE TABLE renamed (total text, file picture_file, vendor text, file_status text, shop shop);
CREATE TRIGGER fields BEFORE INSERT ON renamed
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('file', 'shop', '{"columns": {"merchant": "vendor"}}');
BEGIN;
INSERT INTO renamed (file) VALUES (pg_temp.pic('receipt 1'));
SELECT inferences AS before FROM vl_last_usage() \gset
SELECT vendor IS NOT DISTINCT FROM e.merchant AS vendor, r.total IS NOT DISTINCT FROM e.total::text AS total,
       file_status
  FROM renamed r, vl_extract_as(file, NULL::shop) e;
SELECT inferences - :before AS asked FROM vl_last_usage();
COMMIT;
-- the table changes under the trigger
ALTER TABLE renamed DROP COLUMN total;
SELECT pg_temp.fails($$INSERT INTO renamed (file) VALUES (NULL)$$);
ALTER TABLE renamed ADD COLUMN total real;
INSERT INTO renamed (file) VALUES (pg_temp.pic('receipt 1'));
SELECT vendor IS NOT DISTINCT FROM e.merchant AS vendor, r.total IS NOT DISTINCT FROM e.total::real AS total
  FROM renamed r, vl_extract_as(file, NULL::shop) e ORDER BY r.total NULLS LAST LIMIT 1;

-- ---- the rest of the server ----

-- partitions with their columns in another order
CREATE TABLE parted (id int, scan bytea, merchant text, scan_status text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (scan_status text, gone int, merchant text, scan bytea, id int);
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
CREATE TRIGGER fields BEFORE INSERT OR UPDATE OF scan ON parted
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"merchant": "merchant"}', '{"on_error": "null"}');
INSERT INTO parted (id, scan)
VALUES (1, pg_temp.pic('receipt 1')), (2, pg_temp.pic('receipt 1')), (1, 'x'), (2, 'x');
SELECT tableoid::regclass, count(DISTINCT merchant) < 2 AS same, scan_status FROM parted
 GROUP BY 1, 3 ORDER BY 1, 3;
SELECT count(DISTINCT merchant) < 2 AS same FROM parted;

-- generated columns are computed afterwards; ON CONFLICT has read the picture before
CREATE TABLE tagged (id int PRIMARY KEY, scan bytea, total_status text, total numeric, scan_status text,
                     upper_status text GENERATED ALWAYS AS (upper(scan_status)) STORED);
CREATE TRIGGER fields BEFORE INSERT OR UPDATE OF scan ON tagged
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"total": "total"}', '{"on_error": "null"}');
INSERT INTO tagged (id, scan) VALUES (1, pg_temp.pic('receipt 1'));
SELECT scan_status, upper_status FROM tagged;
SELECT inferences AS before FROM vl_last_usage() \gset
INSERT INTO tagged (id, scan) VALUES (1, pg_temp.pic('receipt 2'))
  ON CONFLICT (id) DO UPDATE SET scan = excluded.scan RETURNING upper_status;
SELECT inferences - :before AS asked FROM vl_last_usage();
INSERT INTO tagged (id, scan) VALUES (1, 'x')
  ON CONFLICT (id) DO UPDATE SET scan = excluded.scan RETURNING upper_status;
INSERT INTO tagged (id, scan) VALUES (1, pg_temp.pic('receipt 2')) ON CONFLICT DO NOTHING;
SELECT total, total_status, upper_status FROM tagged;
MERGE INTO tagged t USING (VALUES (1), (2)) AS v(id) ON v.id = t.id
 WHEN MATCHED THEN UPDATE SET scan = pg_temp.pic('receipt 1')
 WHEN NOT MATCHED THEN INSERT (id, scan) VALUES (v.id, pg_temp.pic('receipt 1'));
SELECT id, upper_status FROM tagged ORDER BY id;

-- two triggers on a table, each with its columns; a WHEN condition
CREATE TABLE pair (front bytea, back bytea, total numeric, front_status text, merchant text, back_status text);
CREATE TRIGGER a BEFORE INSERT ON pair FOR EACH ROW WHEN (NEW.front IS NOT NULL)
  EXECUTE FUNCTION vl_extract_trigger('front', '{"total": "total"}', '{"on_error": "null"}');
CREATE TRIGGER b BEFORE INSERT ON pair FOR EACH ROW
  EXECUTE FUNCTION vl_extract_trigger('back', '{"merchant": "merchant"}', '{"on_error": "null"}');
INSERT INTO pair (front, back, front_status) VALUES
  (pg_temp.pic('receipt 1'), 'x', NULL), ('x', pg_temp.pic('receipt 1'), NULL), (NULL, NULL, 'untouched');
SELECT front_status, back_status, total IS NOT NULL AND front_status <> 'ok' AS wrong FROM pair;

-- what row security checks is the row as it was filled
CREATE TABLE secured (scan bytea, merchant text, scan_status text);
CREATE TRIGGER fields BEFORE INSERT ON secured
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"merchant": "merchant"}', '{"on_error": "null"}');
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY good ON secured WITH CHECK (scan_status = 'ok');
CREATE ROLE regress_dsvl2_clerk;
GRANT USAGE ON SCHEMA regress_dsvl2_trigger TO regress_dsvl2_clerk;
GRANT INSERT ON secured TO regress_dsvl2_clerk;
SET ROLE regress_dsvl2_clerk;
INSERT INTO secured (scan, scan_status) VALUES (pg_temp.pic('receipt 1'), 'bad');
SELECT pg_temp.fails($$INSERT INTO secured (scan, scan_status) VALUES ('x', 'ok')$$);
RESET ROLE;
SELECT scan_status FROM secured;
-- a type of the same name elsewhere in the search path does not say what is filled
CREATE TYPE only_merchant AS (merchant text);
CREATE TABLE guarded (scan bytea, merchant text, paid boolean DEFAULT false NOT NULL);
CREATE TRIGGER fields BEFORE INSERT ON guarded
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', 'only_merchant', '{"on_error": "null"}');
GRANT INSERT (scan) ON guarded TO regress_dsvl2_clerk;
SET ROLE regress_dsvl2_clerk;
CREATE TYPE pg_temp.only_merchant AS (paid boolean);
INSERT INTO guarded (scan) VALUES ('x');
DROP TYPE pg_temp.only_merchant;
BEGIN;
SET LOCAL search_path = '';
INSERT INTO regress_dsvl2_trigger.guarded (scan) VALUES ('x');
COMMIT;
RESET ROLE;
SELECT merchant, paid FROM guarded;

-- savepoints and subtransactions around it
BEGIN;
SAVEPOINT s;
\set VERBOSITY sqlstate
INSERT INTO strict VALUES (10, 'x');
\set VERBOSITY default
ROLLBACK TO s;
INSERT INTO strict VALUES (11, NULL);
DO $$ BEGIN
  INSERT INTO strict VALUES (12, 'x');
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'caught %', SQLSTATE;
END $$;
COMMIT;
SELECT id FROM strict WHERE id >= 10;

-- with a model of random weights: what its type takes, or VL004
CREATE TABLE random (scan bytea, total int, tags text[], scan_status text, scan_error text);
CREATE TRIGGER fields BEFORE INSERT ON random
  FOR EACH ROW EXECUTE FUNCTION vl_extract_trigger('scan', '{"total": "total", "tags": "tags"}',
    '{"model": "tiny", "on_error": "null", "max_tokens": 60}');
INSERT INTO random (scan) SELECT image FROM picture ORDER BY name LIMIT 6;
SELECT count(*) AS pictures,
       count(*) FILTER (WHERE scan_status = 'ok' OR scan_error LIKE 'VL004: %') AS right_ones
  FROM random;

SET client_min_messages = error;
DROP SCHEMA regress_dsvl2_trigger, "regress_dsvl2_größte_größe" CASCADE;
DROP ROLE regress_dsvl2_clerk;
