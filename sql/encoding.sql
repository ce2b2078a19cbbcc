-- A database in LATIN1: prompts and answers are converted, or refused.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SELECT vl_count_tokens('Größe £5') AS tokens, pg_temp.pic('receipt 1') AS receipt,
       pg_temp.pic('gray.png') AS gray \gset
SELECT vl_ask(pg_temp.pic('gray.png'), 'Total?', 'tiny', '{"max_tokens": 40}')
       ~ '[^\u0001-\u00ff]' AS beyond_latin1;
\set home :DBNAME
CREATE DATABASE regress_dsvl2_latin1 ENCODING 'LATIN1' LOCALE_PROVIDER libc
  LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_dsvl2_latin1
SET client_encoding = 'UTF8';
SET client_min_messages = warning;
CREATE EXTENSION dsvl2;
SELECT vl_register_model('tiny', :'srcdir' || '/test/golden/tiny-like');
CREATE TEMP TABLE picture AS SELECT :'receipt'::bytea AS image;
SELECT octet_length('Größe £5'::text), vl_count_tokens('Größe £5') = :tokens
       AS same_tokens_as_in_utf8;
SELECT length(vl_ask(image, 'Größe £5',
                     options => '{"system": "Prüfer", "stop": "§", "max_tokens": 5}')) > 0 AS answered
  FROM picture;
SELECT label, x1 FROM vl_parse_boxes('<|ref|>Größe<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>', 999, 999);
-- names of fields and enums
CREATE TYPE maß AS ENUM ('groß');
CREATE TABLE maße ("Größe" maß, "§" boolean NOT NULL);
COMMENT ON COLUMN maße."§" IS 'Prüfung';
SELECT vl_schema_of('maße');
SELECT COALESCE("Größe", 'groß'), "§" IS NOT NULL AS answered
  FROM vl_extract_as(:'gray', NULL::maße, 'tiny');
SELECT k FROM jsonb_object_keys(vl_extract(:'gray', '["Größe: groß|klein", "£: integer"]', 'tiny')) k;
SELECT bool_or(label = 'größer') AS has_label, count(*)
  FROM picture, vl_classify_scores(image, ARRAY['größer: über £5', 'kleiner']);
-- names in messages, as they were typed
SELECT vl_extract(:'gray', '["Größe: Stück"]');
SELECT vl_ocr(image, model => 'größer') FROM picture;
SELECT vl_ocr(image, options => '{"größe": 1}') FROM picture;
SELECT string_agg(piece, '') = vl_ask(image, 'Read all the text in the image.') AS streams_the_same
  FROM picture, LATERAL (SELECT vl_ask_stream(image, 'Read all the text in the image.') AS piece) s
 GROUP BY image;
SELECT vl_classify(image, ARRAY['größer', 'größer: über £5']) FROM picture;
-- an answer that the database cannot hold is an error of the conversion
SELECT vl_ask(:'gray'::bytea, 'Total?', 'tiny', '{"max_tokens": 40}');
\echo :LAST_ERROR_SQLSTATE
SELECT length(vl_ocr(image)) > 0 AS still_answers FROM picture;
\c :home
DROP DATABASE regress_dsvl2_latin1;
