/*
 * model_catalog.c
 *		Reading and writing of vl_model and vl_model_alias.
 */
#include "model_catalog.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "guc.h"
#include "near_miss.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Columns of vl_model and vl_model_alias, in the order of the install script */
enum
{
	MODEL_NAME = 1,
	MODEL_PATH,
	MODEL_QUANT,
	MODEL_DIGEST,
	MODEL_BUILTIN,
	MODEL_SOURCE,
};

enum
{
	ALIAS_NAME = 1,
	ALIAS_MODEL,
};

#define SHARE_PREFIX "$sharedir/"

Oid
ExtensionSchema(FunctionCallInfo fcinfo)
{
	return get_func_namespace(fcinfo->flinfo->fn_oid);
}

/* Table or view of the extension */
static Oid
extension_relation(Oid schema, const char *name)
{
	Oid			relid = get_relname_relid(name, schema);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" of extension dsvl2 does not exist", name),
				 errhint("Drop the extension and create it again.")));
	return relid;
}

char *
ModelFolder(const char *stored)
{
	char		share[MAXPGPATH];

	if (strncmp(stored, SHARE_PREFIX, strlen(SHARE_PREFIX)) != 0)
		return pstrdup(stored);
	get_share_path(my_exec_path, share);
	return psprintf("%s/%s", share, stored + strlen(SHARE_PREFIX));
}

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Calls visit for each row of a table until it returns true; at plan time there may be no
 * active snapshot. */
static bool
scan_table(Oid relid, bool (*visit) (HeapTuple tuple, TupleDesc desc, void *state), void *state)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(ActiveSnapshotSet() ? GetActiveSnapshot() :
											GetTransactionSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = visit(tuple, RelationGetDescr(rel), state);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return found;
}

typedef struct Lookup
{
	const char *name;
	char	   *target;			/* of an alias */
	ModelEntry *entry;
	NearMiss	near;
} Lookup;

static bool
match_alias(HeapTuple tuple, TupleDesc desc, void *state)
{
	Lookup	   *lookup = state;
	char	   *alias = text_column(tuple, desc, ALIAS_NAME);

	NearMissTry(&lookup->near, alias);
	if (strcmp(alias, lookup->name) != 0)
		return false;
	lookup->target = text_column(tuple, desc, ALIAS_MODEL);
	return true;
}

static bool
match_model(HeapTuple tuple, TupleDesc desc, void *state)
{
	Lookup	   *lookup = state;
	char	   *name = text_column(tuple, desc, MODEL_NAME);
	bool		isnull;

	NearMissTry(&lookup->near, name);
	if (strcmp(name, lookup->name) != 0)
		return false;
	lookup->entry = palloc(sizeof(ModelEntry));
	lookup->entry->name = name;
	lookup->entry->path = text_column(tuple, desc, MODEL_PATH);
	lookup->entry->quant = text_column(tuple, desc, MODEL_QUANT);
	lookup->entry->digest = text_column(tuple, desc, MODEL_DIGEST);
	lookup->entry->source = text_column(tuple, desc, MODEL_SOURCE);
	lookup->entry->builtin = DatumGetBool(heap_getattr(tuple, MODEL_BUILTIN, desc, &isnull));
	return true;
}

/* Fills entry, or leaves it NULL and the name as the aliases have it. */
static void
look_up(Oid schema, const char *name, Lookup *lookup)
{
	memset(lookup, 0, sizeof(*lookup));
	lookup->name = name != NULL ? name : SettingDefaultModel;
	NearMissStart(&lookup->near, lookup->name);
	if (scan_table(extension_relation(schema, "vl_model_alias"), match_alias, lookup))
		lookup->name = lookup->target;
	scan_table(extension_relation(schema, "vl_model"), match_model, lookup);
}

ModelEntry *
FindModel(Oid schema, const char *name)
{
	Lookup		lookup;

	look_up(schema, name, &lookup);
	return lookup.entry;
}

ModelEntry *
ResolveModel(Oid schema, const char *name)
{
	Lookup		lookup;

	look_up(schema, name, &lookup);
	if (lookup.entry == NULL)
	{
		char	   *hint = NearMissHint(&lookup.near);

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist", lookup.name),
				 name == NULL ? errdetail("It is the value of dsvl2.default_model.") : 0,
				 errhint("%s", hint != NULL ? hint : "See the view vl_models, and vl_register_model().")));
	}
	return lookup.entry;
}

uint64
WriteCatalog(Oid schema, const char *format, int nargs, const char *const *args)
{
	Oid			types[8];
	Datum		values[8];
	char		nulls[8];
	/* one writer at a time, up to its commit: a name must not become an alias too */
	Relation	rel = table_open(extension_relation(schema, "vl_model"), ShareRowExclusiveLock);
	Oid			owner = rel->rd_rel->relowner;
	char	   *sql = psprintf(format, quote_identifier(get_namespace_name(schema)));
	Oid			user;
	int			context;
	uint64		rows;

	Assert(nargs <= lengthof(types));
	table_close(rel, NoLock);
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		values[i] = args[i] != NULL ? CStringGetTextDatum(args[i]) : (Datum) 0;
		nulls[i] = args[i] != NULL ? ' ' : 'n';
	}
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not write the catalog of models");
	rows = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	return rows;
}
