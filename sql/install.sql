-- What the extension consists of, and who may use what.
\getenv srcdir PG_ABS_SRCDIR
\set prelude :srcdir '/test/sql/prelude.sql'
\i :prelude
SELECT p.oid::regprocedure AS function
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'dsvl2'
 ORDER BY p.oid::regprocedure::text COLLATE "C";

SELECT c.relkind, c.relname
  FROM pg_class c
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'dsvl2'
 ORDER BY 2;

-- every function that runs a model: stable, dear, called on NULL, in the leader only
SELECT proname, provolatile, procost, proisstrict, proparallel, prosecdef
  FROM pg_proc
 WHERE proname LIKE 'vl\_%' AND 'options' = ANY (proargnames)
 ORDER BY oid::regprocedure::text COLLATE "C";

-- the others
SELECT proname, provolatile, procost, proisstrict, proparallel, prosecdef
  FROM pg_proc
 WHERE proname LIKE 'vl\_%' AND 'options' <> ALL (COALESCE(proargnames, '{}'))
 ORDER BY proname;

-- the model and the options are always last, and may be left out
SELECT count(*) FILTER (WHERE pg_get_function_arguments(oid) ~
                        'model text DEFAULT NULL::text, options jsonb DEFAULT NULL::jsonb$')
                               AS right,
       count(*)
  FROM pg_proc
 WHERE proname LIKE 'vl\_%' AND 'options' = ANY (proargnames);

-- an ordinary role runs models, but does not manage them
CREATE ROLE regress_dsvl2_user;
SELECT p.proname, has_function_privilege('regress_dsvl2_user', p.oid, 'EXECUTE') AS public,
       has_function_privilege('pg_read_server_files', p.oid, 'EXECUTE') AS file_reader
  FROM pg_proc p
 WHERE proname LIKE 'vl\_%'
 ORDER BY 2, 1, p.oid;
SELECT relname, has_table_privilege('regress_dsvl2_user', oid, 'SELECT') AS can_select,
       has_table_privilege('regress_dsvl2_user', oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
              AS can_write
  FROM pg_class
 WHERE relname LIKE 'vl\_%' AND relkind IN ('r', 'v')
 ORDER BY 1;
DROP ROLE regress_dsvl2_user;

-- the models that users register belong to a dump, the one that comes with dsvl2 does not
SELECT extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'dsvl2';

SELECT name, value <> '' AS has_value FROM vl_build_info() ORDER BY name COLLATE "C";
SELECT b.value = e.extversion AS library_is_of_this_version
  FROM vl_build_info() b, pg_extension e
 WHERE b.name = 'dsvl2' AND e.extname = 'dsvl2';

-- nobody asks a model at the moment
SELECT * FROM vl_stat_activity;

-- any schema will do, at creation
SELECT pg_temp.fails('ALTER EXTENSION dsvl2 SET SCHEMA pg_catalog');
DROP EXTENSION dsvl2;
CREATE SCHEMA "Regress dsvl2";
-- nothing that stands there before is taken for the extension's
CREATE FUNCTION "Regress dsvl2".vl_register_model(text, text) RETURNS text LANGUAGE sql
  AS 'SELECT (1 / 0)::text';
CREATE EXTENSION dsvl2 SCHEMA "Regress dsvl2";
DROP FUNCTION "Regress dsvl2".vl_register_model(text, text);
SELECT pg_temp.fails($$SELECT vl_ocr('\x')$$);
SELECT length("Regress dsvl2".vl_ocr(image)) > 0 AS answered FROM picture WHERE name = 'receipt 1';
SELECT name, "default" FROM "Regress dsvl2".vl_models;
SELECT "Regress dsvl2".vl_alias('other', 'nano');
SELECT name, aliases FROM "Regress dsvl2".vl_models;
SELECT (x).model FROM (SELECT "Regress dsvl2".vl_run('ocr', image, model => 'other') AS x
                         FROM picture WHERE name = 'receipt 1') AS r;
DROP EXTENSION dsvl2;
DROP SCHEMA "Regress dsvl2";
CREATE EXTENSION dsvl2;
