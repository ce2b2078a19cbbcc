/*
 * fn_model.c
 *		Models by name: vl_register_model, vl_drop_model, vl_alias, vl_verify_model, vl_prewarm,
 *		vl_unload, and vl_default_model and vl_model_is_mapped for the view vl_models.
 *
 * A path is opened with the server's rights, so registering asks for what reading a
 * server file asks for; using a registered model asks for nothing.
 */
#include "compat.h"

#include "backend_engine.h"
#include "catalog/pg_authid.h"
#include "error_report.h"
#include "guc.h"
#include "model_pack.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(vl_register_model);
PG_FUNCTION_INFO_V1(vl_drop_model);
PG_FUNCTION_INFO_V1(vl_alias);
PG_FUNCTION_INFO_V1(vl_verify_model);
PG_FUNCTION_INFO_V1(vl_prewarm);
PG_FUNCTION_INFO_V1(vl_unload);
PG_FUNCTION_INFO_V1(vl_default_model);
PG_FUNCTION_INFO_V1(vl_model_is_mapped);

static void
check_may_manage(const char *what)
{
	if (!superuser() && !has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s", what),
				 errdetail("Only roles with privileges of the role \"pg_read_server_files\" may %s.", what)));
}

static char *
name_argument(FunctionCallInfo fcinfo, int arg)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(arg));

	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("model name must be 1 to %d bytes long", NAMEDATALEN - 1)));
	return name;
}

static char *
absolute_folder(const char *path)
{
	char	   *folder;

	/* to be looked up as it is: "$sharedir/.." is no path that could be shortened */
	if (strncmp(path, "$sharedir/", strlen("$sharedir/")) == 0)
		return pstrdup(path);
	if (is_absolute_path(path))
		folder = pstrdup(path);
	else if (SettingModelDir[0] != '\0')
		folder = psprintf("%s/%s", SettingModelDir, path);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("path \"%s\" is not absolute", path),
				 errhint("Give an absolute path, or set dsvl2.model_dir.")));
	canonicalize_path(folder);
	return folder;
}

static dsv_quant
quant_argument(FunctionCallInfo fcinfo, int arg)
{
	char	   *word = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	dsv_quant	quant;

	if (!dsv_quant_parse(word, &quant))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("quantisation \"%s\" is not supported", word),
				 errhint("Use \"bf16\" (the weights as they are published), \"q8\" or \"q4\".")));
	return quant;
}

static dsv_model_info
look_at(const char *path)
{
	dsv_model  *model = OpenFolder(path);
	dsv_model_info info = *dsv_model_get_info(model);

	dsv_model_close(model);
	return info;
}

static void
raise_name_taken(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("model \"%s\" already exists", name),
			 errhint("Drop it with vl_drop_model() first, or choose another name.")));
}

/* vl_register_model(name, path, quant): a folder as it is or packed; or a packed file */
Datum
vl_register_model(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0);
	dsv_quant	quant = quant_argument(fcinfo, 2);
	char	   *path;
	dsv_model_info info;
	const char *args[7] = {name};

	check_may_manage("register models");
	path = absolute_folder(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	info = look_at(ModelFolder(path));
	/* before a long work for nothing; what is registered meanwhile is noticed below */
	if (FindModel(ExtensionSchema(fcinfo), name) != NULL)
		raise_name_taken(name);
	if (info.packed && quant != DSV_QUANT_BF16 && quant != info.quant)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("file \"%s\" is packed as \"%s\"", path, dsv_quant_name(info.quant))));
	if (!info.packed && quant != DSV_QUANT_BF16)
	{
		args[6] = pstrdup(info.digest);
		info = look_at(PackModel(name, ModelFolder(path), args[6], quant));
	}

	args[1] = path;
	args[2] = dsv_quant_name(info.quant);
	args[3] = info.digest;
	args[4] = psprintf(INT64_FORMAT, (int64) info.parameters);
	args[5] = psprintf(INT64_FORMAT, (int64) info.bytes);
	if (WriteCatalog(ExtensionSchema(fcinfo),
					 "INSERT INTO %1$s.vl_model (name, path, quant, digest, parameters, bytes, source) "
					 "SELECT $1, $2, $3, $4, $5::pg_catalog.int8, $6::pg_catalog.int8, $7 "
					 "WHERE NOT EXISTS (SELECT FROM %1$s.vl_model_alias "
					 "WHERE alias OPERATOR(pg_catalog.=) $1) ON CONFLICT DO NOTHING", 7, args) == 0)
		raise_name_taken(name);
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* vl_verify_model(name): raises when its files are damaged */
Datum
vl_verify_model(PG_FUNCTION_ARGS)
{
	ModelEntry *entry = ResolveModel(ExtensionSchema(fcinfo), text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char	   *file = ModelFile(entry);
	dsv_model_info info = look_at(file);

	/* first what names the damaged tensor */
	if (info.packed)
		VerifyPackedFile(entry->name, file);
	if (!entry->builtin && strcmp(info.digest, entry->digest) != 0)
		RaiseOtherFiles(entry);
	PG_RETURN_VOID();
}

/* vl_drop_model(name): a model with its aliases, or an alias alone */
Datum
vl_drop_model(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo, 0);
	const char *args[1] = {name};
	Oid			schema = ExtensionSchema(fcinfo);

	check_may_manage("drop models");
	if (WriteCatalog(schema, "DELETE FROM %s.vl_model_alias WHERE alias OPERATOR(pg_catalog.=) $1", 1, args) == 0)
	{
		if (ResolveModel(schema, name)->builtin)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("model \"%s\" comes with dsvl2 and cannot be dropped", name)));
		WriteCatalog(schema, "DELETE FROM %s.vl_model WHERE name OPERATOR(pg_catalog.=) $1", 1, args);
	}
	UnloadBackendModels(name, NULL);
	PG_RETURN_VOID();
}

/* vl_alias(alias, model): makes or moves a name for a model */
Datum
vl_alias(PG_FUNCTION_ARGS)
{
	char	   *alias = name_argument(fcinfo, 0);
	Oid			schema = ExtensionSchema(fcinfo);
	const char *args[2] = {alias, NULL};

	check_may_manage("create aliases of models");
	args[1] = ResolveModel(schema, name_argument(fcinfo, 1))->name;
	if (WriteCatalog(schema,
					 "INSERT INTO %1$s.vl_model_alias (alias, model) SELECT $1, $2 "
					 "WHERE NOT EXISTS (SELECT FROM %1$s.vl_model WHERE name OPERATOR(pg_catalog.=) $1) "
					 "ON CONFLICT (alias) DO UPDATE SET model = EXCLUDED.model", 2, args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" is the name of a model", alias)));
	PG_RETURN_VOID();
}

/* vl_prewarm(model): bytes of the files, read once */
Datum
vl_prewarm(PG_FUNCTION_ARGS)
{
	ModelEntry *entry = ResolveModel(ExtensionSchema(fcinfo), PG_ARGISNULL(0) ? NULL :
									 text_to_cstring(PG_GETARG_TEXT_PP(0)));
	int64_t		bytes = 0;
	dsv_error	err;

	if (dsv_model_prewarm(GetBackendModel(OpenBackendModel(entry)), &InterruptPoll, &bytes, &err) != DSV_OK)
		ReportHelperError(&err);
	PG_RETURN_INT64(bytes);
}

/* vl_unload(): closes the models of this session and ends its threads */
Datum
vl_unload(PG_FUNCTION_ARGS)
{
	int			kept;
	int			closed = UnloadBackendModels(NULL, &kept);

	if (kept > 0)
		ereport(NOTICE,
				(errmsg_plural("%d model is at work and will be closed afterwards",
							   "%d models are at work and will be closed afterwards", kept, kept),
				 errhint("Close the cursors that read their answers.")));
	PG_RETURN_INT32(closed);
}

/* For the view: dsvl2.default_model, which is unknown to SQL before the library is loaded */
Datum
vl_default_model(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(SettingDefaultModel));
}

Datum
vl_model_is_mapped(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(BackendModelIsOpen(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}
