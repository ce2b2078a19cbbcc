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
