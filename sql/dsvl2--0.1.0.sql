/* dsvl2--0.1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION dsvl2" to load this file. \quit

-- ---- models ----

-- src/pg/model_catalog.c knows the order of the first columns
CREATE TABLE @extschema@.vl_model (
    name          text PRIMARY KEY,
    path          text NOT NULL,
    quant         text NOT NULL,
    digest        text NOT NULL,
    builtin       boolean NOT NULL DEFAULT false,
    source        text,         -- digest of the folder that it was packed from
    parameters    bigint NOT NULL,
    bytes         bigint NOT NULL,
    registered_by name NOT NULL DEFAULT session_user,
    registered_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE @extschema@.vl_model_alias (
    alias text PRIMARY KEY,
    model text NOT NULL REFERENCES @extschema@.vl_model ON UPDATE CASCADE ON DELETE CASCADE
);

SELECT pg_catalog.pg_extension_config_dump('@extschema@.vl_model', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.vl_model_alias', '');

CREATE FUNCTION @extschema@.vl_register_model(name text, path text, quant text DEFAULT 'bf16')
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.vl_drop_model(name text)
RETURNS void AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.vl_alias(alias text, model text)
RETURNS void AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.vl_prewarm(model text DEFAULT NULL)
RETURNS bigint AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_unload()
RETURNS integer AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

REVOKE ALL ON FUNCTION @extschema@.vl_register_model(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vl_drop_model(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vl_alias(text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.vl_prewarm(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.vl_register_model(text, text, text) TO pg_read_server_files;
GRANT EXECUTE ON FUNCTION @extschema@.vl_drop_model(text) TO pg_read_server_files;
GRANT EXECUTE ON FUNCTION @extschema@.vl_alias(text, text) TO pg_read_server_files;
GRANT EXECUTE ON FUNCTION @extschema@.vl_prewarm(text) TO pg_read_server_files;

CREATE FUNCTION @extschema@.vl_model_is_mapped(name text)
RETURNS boolean AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_default_model()
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

CREATE VIEW @extschema@.vl_models AS
SELECT m.name,
       ARRAY(SELECT a.alias FROM @extschema@.vl_model_alias a WHERE a.model = m.name ORDER BY a.alias)
         AS aliases,
       m.parameters, m.quant AS quantisation, m.digest, m.bytes,
       @extschema@.vl_model_is_mapped(m.name) AS mapped,
       m.name = d.model OR EXISTS (SELECT FROM @extschema@.vl_model_alias a
                                    WHERE a.alias = d.model AND a.model = m.name) AS "default",
       CASE WHEN pg_catalog.pg_has_role('pg_read_server_files', 'USAGE') THEN m.path END AS path,
       m.builtin, m.registered_by, m.registered_at
  FROM @extschema@.vl_model m, @extschema@.vl_default_model() AS d(model);

GRANT SELECT ON @extschema@.vl_models TO PUBLIC;

-- with all types, so that no function that stood in this schema before can be meant
SELECT @extschema@.vl_register_model('nano'::pg_catalog.text,
                                     '$sharedir/dsvl2/nano'::pg_catalog.text,
                                     'bf16'::pg_catalog.text);
UPDATE @extschema@.vl_model SET builtin = true WHERE name = 'nano';

-- ---- answers ----

CREATE FUNCTION @extschema@.vl_ocr(image bytea, mode text DEFAULT 'text', model text DEFAULT NULL,
                                   options jsonb DEFAULT NULL)
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_ask(image bytea, prompt text, model text DEFAULT NULL,
                                   options jsonb DEFAULT NULL)
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_ask_multi(images bytea[], prompt text, model text DEFAULT NULL,
                                         options jsonb DEFAULT NULL)
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_describe(image bytea, model text DEFAULT NULL,
                                        options jsonb DEFAULT NULL)
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE TYPE @extschema@.vl_result AS (
    value           text,
    task            text,
    model           text,
    model_digest    text,
    finish_reason   text,
    truncated       boolean,
    score           real,
    logprobs        real[],
    prompt_tokens   integer,
    image_tokens    integer,
    cached_tokens   integer,
    output_tokens   integer,
    tiles           integer,
    decode_image_ms double precision,
    vision_ms       double precision,
    prefill_ms      double precision,
    decode_ms       double precision,
    memo            boolean,
    error_code      text,
    error           text
);

CREATE FUNCTION @extschema@.vl_run(task text, image bytea, prompt text DEFAULT NULL,
                                   fields jsonb DEFAULT NULL, model text DEFAULT NULL,
                                   options jsonb DEFAULT NULL)
RETURNS @extschema@.vl_result AS 'MODULE_PATHNAME'
LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

-- ---- decisions ----

CREATE FUNCTION @extschema@.vl_is(image bytea, statement text, model text DEFAULT NULL,
                                  options jsonb DEFAULT NULL)
RETURNS boolean AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_prob(image bytea, statement text, model text DEFAULT NULL,
                                    options jsonb DEFAULT NULL)
RETURNS real AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_classify(image bytea, labels text[], model text DEFAULT NULL,
                                        options jsonb DEFAULT NULL)
RETURNS text AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_classify_scores(image bytea, labels text[], model text DEFAULT NULL,
                                               options jsonb DEFAULT NULL)
RETURNS TABLE (label text, score real, rank integer)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 10 PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.vl_is(bytea, text, text, jsonb) IS
  'whether a statement is true of an image';
COMMENT ON FUNCTION @extschema@.vl_prob(bytea, text, text, jsonb) IS
  'probability that a statement is true of an image';
COMMENT ON FUNCTION @extschema@.vl_classify(bytea, text[], text, jsonb) IS
  'the one of several labels that fits an image best';
COMMENT ON FUNCTION @extschema@.vl_classify_scores(bytea, text[], text, jsonb) IS
  'how well each of several labels fits an image';

-- ---- extraction ----

CREATE FUNCTION @extschema@.vl_extract(image bytea, fields jsonb, model text DEFAULT NULL,
                                       options jsonb DEFAULT NULL)
RETURNS jsonb AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_extract_as(image bytea, template anyelement, model text DEFAULT NULL,
                                          options jsonb DEFAULT NULL)
RETURNS anyelement AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_extract_rows(image bytea, list text DEFAULT NULL,
                                            model text DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 10 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_schema_of(type regtype)
RETURNS jsonb AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.vl_extract(bytea, jsonb, text, jsonb) IS
  'fields of an image as jsonb: a list of fields, a map of questions, or a JSON Schema';
COMMENT ON FUNCTION @extschema@.vl_extract_as(bytea, anyelement, text, jsonb) IS
  'columns of a composite type, read from an image';
COMMENT ON FUNCTION @extschema@.vl_extract_rows(bytea, text, text, jsonb) IS
  'rows of a list in an image, with the columns of the column definition list';
COMMENT ON FUNCTION @extschema@.vl_schema_of(regtype) IS
  'the JSON Schema by which vl_extract_as reads values of a type';

-- ---- tables and charts ----

CREATE FUNCTION @extschema@.vl_table(image bytea, model text DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS jsonb AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_chart(image bytea, model text DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS jsonb AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.vl_table(bytea, text, jsonb) IS
  'table in an image: names of columns, and rows of cells';
COMMENT ON FUNCTION @extschema@.vl_chart(bytea, text, jsonb) IS
  'data of a chart in an image: title, and series of points';

-- ---- long pages ----

CREATE FUNCTION @extschema@.vl_ocr_strips(image bytea, overlap real DEFAULT 0.1, model text DEFAULT NULL,
                                          options jsonb DEFAULT NULL)
RETURNS TABLE (strip integer, region box, "text" text)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 5 PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.vl_ocr_strips(bytea, real, text, jsonb) IS
  'text of a long page, read strip by strip: what each strip says that the one above does not';

-- ---- places ----

CREATE FUNCTION @extschema@.vl_ground(image bytea, phrase text, model text DEFAULT NULL,
                                      options jsonb DEFAULT NULL)
RETURNS jsonb AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_ground_answer(image bytea, prompt text, model text DEFAULT NULL,
                                             options jsonb DEFAULT NULL)
RETURNS jsonb AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_boxes(image bytea, phrase text, model text DEFAULT NULL,
                                     options jsonb DEFAULT NULL)
RETURNS TABLE (ord integer, label text, region box, x1 integer, y1 integer, x2 integer, y2 integer,
               score real)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 5 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_boxes(image bytea, phrases text[], model text DEFAULT NULL,
                                     options jsonb DEFAULT NULL)
RETURNS TABLE (ord integer, label text, region box, x1 integer, y1 integer, x2 integer, y2 integer,
               score real)
AS 'MODULE_PATHNAME', 'vl_boxes_many' LANGUAGE C STABLE COST 1000000 ROWS 10 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_points(image bytea, phrase text, model text DEFAULT NULL,
                                      options jsonb DEFAULT NULL)
RETURNS TABLE (ord integer, label text, at point, score real)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 5 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_parse_boxes(answer text, width integer, height integer)
RETURNS TABLE (ord integer, label text, region box, x1 integer, y1 integer, x2 integer, y2 integer,
               score real)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT ROWS 5 PARALLEL SAFE;

-- ---- streams and batches ----

CREATE FUNCTION @extschema@.vl_ask_stream(image bytea, prompt text, model text DEFAULT NULL,
                                          options jsonb DEFAULT NULL)
RETURNS SETOF text AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 100 PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.vl_ask_stream(bytea, text, text, jsonb) IS
  'answer to a question about an image, row by row while it is written';

CREATE FUNCTION @extschema@.vl_ask_batch(images bytea[], prompt text, model text DEFAULT NULL,
                                         options jsonb DEFAULT NULL)
RETURNS TABLE (ord integer, value text, error_code text, error text, output_tokens integer,
               truncated boolean)
AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 1000000 ROWS 10 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_ask_batch(images bytea[], prompts text[], model text DEFAULT NULL,
                                         options jsonb DEFAULT NULL)
RETURNS TABLE (ord integer, value text, error_code text, error text, output_tokens integer,
               truncated boolean)
AS 'MODULE_PATHNAME', 'vl_ask_batch_many' LANGUAGE C STABLE COST 1000000 ROWS 10 PARALLEL RESTRICTED;

COMMENT ON FUNCTION @extschema@.vl_ask_batch(bytea[], text, text, jsonb) IS
  'answers to a question about each of several images, a row for each';
COMMENT ON FUNCTION @extschema@.vl_ask_batch(bytea[], text[], text, jsonb) IS
  'answers to a question about each of several images, each with its own question';

CREATE FUNCTION @extschema@.vl_map(query text, task text DEFAULT 'ask', prompt text DEFAULT NULL,
                                   fields jsonb DEFAULT NULL, model text DEFAULT NULL,
                                   options jsonb DEFAULT NULL)
RETURNS TABLE (key text, value text, error_code text, error text, output_tokens integer,
               truncated boolean)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE COST 1000000 ROWS 1000 PARALLEL UNSAFE;

COMMENT ON FUNCTION @extschema@.vl_map(text, text, text, jsonb, text, jsonb) IS
  'a task over the rows (key, image[, prompt]) of a query, a row for each';

-- ---- triggers ----

CREATE FUNCTION @extschema@.vl_extract_trigger()
RETURNS trigger AS 'MODULE_PATHNAME' LANGUAGE C;

COMMENT ON FUNCTION @extschema@.vl_extract_trigger() IS
  'fills columns with what the image of a row says, BEFORE INSERT OR UPDATE OF the image';

-- ---- pictures ----

CREATE FUNCTION @extschema@.vl_crop(image bytea, region box, margin real DEFAULT 0,
                                    format text DEFAULT 'png')
RETURNS bytea AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT COST 10000 PARALLEL SAFE;

CREATE FUNCTION @extschema@.vl_rotate(image bytea, quarter_turns integer)
RETURNS bytea AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT COST 10000 PARALLEL SAFE;

CREATE FUNCTION @extschema@.vl_annotate(image bytea, boxes jsonb)
RETURNS bytea AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT COST 10000 PARALLEL SAFE;

CREATE FUNCTION @extschema@.vl_pages(image bytea)
RETURNS TABLE (page integer, image bytea)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT COST 10000 ROWS 10 PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.vl_crop(bytea, box, real, text) IS
  'a region of an image, in pixels of the stored image, as PNG or JPEG';
COMMENT ON FUNCTION @extschema@.vl_rotate(bytea, integer) IS
  'an image upright and turned clockwise by quarter turns';
COMMENT ON FUNCTION @extschema@.vl_annotate(bytea, jsonb) IS
  'an image with boxes, points and labels drawn, as PNG';
COMMENT ON FUNCTION @extschema@.vl_pages(bytea) IS
  'the pages of a TIFF or PDF document, each as an image of its own';

-- ---- metrics ----

CREATE FUNCTION @extschema@.vl_anls(answer text, truths text[])
RETURNS real AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT COST 100 PARALLEL SAFE;

CREATE FUNCTION @extschema@.vl_cer(answer text, truth text)
RETURNS real AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT COST 100 PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.vl_anls(text, text[]) IS
  'likeness of an answer to the nearest of several truths, 0 to 1, as DocVQA is scored';
COMMENT ON FUNCTION @extschema@.vl_cer(text, text) IS 'edits that lead to the truth, for each of its characters';

-- ---- helpers and observation ----

CREATE FUNCTION @extschema@.vl_image_info(image bytea, OUT format text, OUT width integer,
    OUT height integer, OUT exif_orientation integer, OUT pages integer, OUT tiles_w integer,
    OUT tiles_h integer, OUT image_tokens integer, OUT sha256 text)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION @extschema@.vl_count_tokens(prompt text, image bytea DEFAULT NULL,
                                            model text DEFAULT NULL)
RETURNS integer AS 'MODULE_PATHNAME' LANGUAGE C STABLE COST 100 PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_last_usage(OUT calls bigint, OUT inferences bigint,
    OUT memo_hits bigint, OUT images bigint, OUT input_tokens bigint, OUT total_output_tokens bigint,
    OUT row_errors bigint, OUT task text, OUT model text, OUT prompt_tokens integer,
    OUT image_tokens integer, OUT cached_tokens integer, OUT output_tokens integer, OUT tiles integer,
    OUT decode_image_ms double precision, OUT vision_ms double precision,
    OUT prefill_ms double precision, OUT decode_ms double precision, OUT total_ms double precision)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_build_info(OUT name text, OUT value text)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_config(OUT name text, OUT setting text, OUT unit text,
    OUT context text, OUT description text, OUT detail text)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION @extschema@.vl_stat_activity(OUT pid integer, OUT datid oid, OUT usesysid oid,
    OUT task text, OUT model text, OUT phase text, OUT done bigint, OUT total bigint,
    OUT output_tokens integer, OUT started timestamptz, OUT eta interval)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE VIEW @extschema@.vl_stat_activity AS
SELECT a.pid, d.datname, r.rolname AS usename, a.task, a.model, a.phase, a.done, a.total,
       a.output_tokens, a.started, a.eta
  FROM @extschema@.vl_stat_activity() a
  LEFT JOIN pg_catalog.pg_database d ON d.oid = a.datid
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid;

GRANT SELECT ON @extschema@.vl_stat_activity TO PUBLIC;

-- ---- packed models ----

CREATE FUNCTION @extschema@.vl_verify_model(name text)
RETURNS void AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

REVOKE ALL ON FUNCTION @extschema@.vl_verify_model(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.vl_verify_model(text) TO pg_read_server_files;

COMMENT ON FUNCTION @extschema@.vl_verify_model(text) IS
  'reads the files of a model and raises an error when they are damaged';
-- ---- counters ----

CREATE FUNCTION @extschema@.vl_stat(OUT datid oid, OUT usesysid oid, OUT task text, OUT model text,
    OUT calls bigint, OUT memo_hits bigint, OUT vl001 bigint, OUT vl002 bigint, OUT vl003 bigint,
    OUT vl004 bigint, OUT vl005 bigint, OUT vl006 bigint, OUT failed bigint, OUT canceled bigint,
    OUT images bigint, OUT tiles bigint, OUT cached_tiles bigint, OUT prompt_tokens bigint,
    OUT cached_tokens bigint, OUT output_tokens bigint, OUT image_ms double precision,
    OUT vision_ms double precision, OUT prefill_ms double precision, OUT decode_ms double precision,
    OUT stats_reset timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION @extschema@.vl_stat_reset()
RETURNS void AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;

REVOKE ALL ON FUNCTION @extschema@.vl_stat_reset() FROM PUBLIC;

CREATE VIEW @extschema@.vl_stat AS
SELECT d.datname, r.rolname AS usename, s.task, s.model, s.calls, s.memo_hits,
       s.vl001, s.vl002, s.vl003, s.vl004, s.vl005, s.vl006, s.failed, s.canceled,
       s.images, s.tiles, s.cached_tiles, s.prompt_tokens, s.cached_tokens, s.output_tokens,
       s.image_ms, s.vision_ms, s.prefill_ms, s.decode_ms,
       s.image_ms + s.vision_ms + s.prefill_ms + s.decode_ms AS total_ms, s.stats_reset
  FROM @extschema@.vl_stat() s
  LEFT JOIN pg_catalog.pg_database d ON d.oid = s.datid
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.usesysid;

GRANT SELECT ON @extschema@.vl_stat TO PUBLIC;

COMMENT ON VIEW @extschema@.vl_stat IS
  'what roles had computed, by task and model, since stats_reset; times in milliseconds';
COMMENT ON FUNCTION @extschema@.vl_stat() IS 'what the view vl_stat shows';
COMMENT ON FUNCTION @extschema@.vl_stat_reset() IS 'sets all counters of vl_stat to 0';

-- ---- estimates ----

CREATE FUNCTION @extschema@.vl_estimate(query text, OUT rows bigint, OUT calls bigint,
    OUT image_tokens bigint, OUT output_tokens bigint, OUT seconds double precision)
AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.vl_support(internal)
RETURNS internal AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION @extschema@.vl_estimate(text) IS
  'inferences, tokens and time that a query would take, without running it';
COMMENT ON FUNCTION @extschema@.vl_support(internal) IS 'what the planner asks about inference functions';

ALTER FUNCTION @extschema@.vl_ask_batch(bytea[], text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ask_batch(bytea[], text[], text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_map(text, text, text, jsonb, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ocr(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ask(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ask_multi(bytea[], text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ask_stream(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_describe(bytea, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_run(text, bytea, text, jsonb, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ground(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ground_answer(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_boxes(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_boxes(bytea, text[], text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_points(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_is(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_prob(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_classify(bytea, text[], text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_classify_scores(bytea, text[], text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_extract(bytea, jsonb, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_extract_as(bytea, anyelement, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_extract_rows(bytea, text, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_table(bytea, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_chart(bytea, text, jsonb) SUPPORT @extschema@.vl_support;
ALTER FUNCTION @extschema@.vl_ocr_strips(bytea, real, text, jsonb) SUPPORT @extschema@.vl_support;

-- ---- what \df+ and \d+ say ----

COMMENT ON TABLE @extschema@.vl_model IS 'registered models; see the view vl_models';
COMMENT ON TABLE @extschema@.vl_model_alias IS 'second names of models';
COMMENT ON VIEW @extschema@.vl_models IS 'registered models';
COMMENT ON VIEW @extschema@.vl_stat_activity IS 'running inference calls of all sessions';
COMMENT ON TYPE @extschema@.vl_result IS 'answer of vl_run with all that is known about it; times in milliseconds';
COMMENT ON FUNCTION @extschema@.vl_register_model(text, text, text) IS
  'checks a folder with a published model, or a packed one, and gives it a name';
COMMENT ON FUNCTION @extschema@.vl_drop_model(text) IS 'forgets a model with its aliases, or an alias';
COMMENT ON FUNCTION @extschema@.vl_alias(text, text) IS 'gives a model a second name, or moves that name';
COMMENT ON FUNCTION @extschema@.vl_prewarm(text) IS 'reads the weights of a model into memory; bytes';
COMMENT ON FUNCTION @extschema@.vl_unload() IS 'closes the models of this session and ends its threads';
COMMENT ON FUNCTION @extschema@.vl_model_is_mapped(text) IS 'whether this session has the model open';
COMMENT ON FUNCTION @extschema@.vl_default_model() IS 'value of dsvl2.default_model';
COMMENT ON FUNCTION @extschema@.vl_ocr(bytea, text, text, jsonb) IS 'text of an image';
COMMENT ON FUNCTION @extschema@.vl_ask(bytea, text, text, jsonb) IS 'answer to a question about an image';
COMMENT ON FUNCTION @extschema@.vl_ask_multi(bytea[], text, text, jsonb) IS
  'answer to a question about several images, which {1}, {2} ... stand for';
COMMENT ON FUNCTION @extschema@.vl_describe(bytea, text, jsonb) IS 'description of an image';
COMMENT ON FUNCTION @extschema@.vl_run(text, bytea, text, jsonb, text, jsonb) IS
  'any task, with row errors, tokens and times as columns';
COMMENT ON FUNCTION @extschema@.vl_ground(bytea, text, text, jsonb) IS 'where a phrase is in an image, as jsonb';
COMMENT ON FUNCTION @extschema@.vl_ground_answer(bytea, text, text, jsonb) IS
  'answer whose words are tied to boxes in the image';
COMMENT ON FUNCTION @extschema@.vl_boxes(bytea, text, text, jsonb) IS
  'boxes of a phrase, in pixels of the stored image';
COMMENT ON FUNCTION @extschema@.vl_boxes(bytea, text[], text, jsonb) IS
  'boxes of several phrases, in pixels of the stored image';
COMMENT ON FUNCTION @extschema@.vl_points(bytea, text, text, jsonb) IS
  'points of a phrase, in pixels of the stored image';
COMMENT ON FUNCTION @extschema@.vl_parse_boxes(text, integer, integer) IS
  'boxes in a model''s own markup, without a model';
COMMENT ON FUNCTION @extschema@.vl_image_info(bytea) IS 'format, size, tiles and digest of an image';
COMMENT ON FUNCTION @extschema@.vl_count_tokens(text, bytea, text) IS 'tokens of a prompt and an image';
COMMENT ON FUNCTION @extschema@.vl_last_usage() IS 'counters of this session and its last inference';
COMMENT ON FUNCTION @extschema@.vl_build_info() IS 'versions of dsvl2 and its libraries, instruction set';
COMMENT ON FUNCTION @extschema@.vl_config() IS 'settings of dsvl2';
COMMENT ON FUNCTION @extschema@.vl_stat_activity() IS 'what the view vl_stat_activity shows';
