/*
 * fn_trigger.c
 *		vl_extract_trigger: columns of a row filled with what its picture says, before it is stored.
 *
 * The arguments and the table's columns are put together once a statement, in a TriggerPlan that
 * hangs on the trigger's FmgrInfo: the executor makes that anew for each statement and each
 * partition, and holds a lock under which no column changes.  What a row needs is palloc'd in
 * the executor's per-tuple context, which is reset before the next row.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fields.h"
#include "infer.h"
#include "json_value.h"
#include "near_miss.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "type_schema.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(vl_extract_trigger);

#define ARGUMENTS_HINT \
	"The arguments are the name of the image column, a JSON map from columns to fields or the name of a " \
	"composite type, and perhaps a JSON object of options."

/* A column to be filled; attribute numbers, 0 = there is no such column */
typedef struct Target
{
	int			column;
	int			status;
	int			error;
	char	   *field;			/* key in the answer, in the server's encoding */
	TypePlan   *type;			/* of the column */
} Target;

typedef struct TriggerPlan
{
	InferCall	call;			/* but for the image */
	FieldPlan	fields;
	int			image;
	int			image_status;
	int			image_error;
	int			ntargets;
	Target	   *targets;
} TriggerPlan;

/* ---- columns ---- */

/* Attribute number, or 0 */
static int
find_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return i + 1;
	}
	return 0;
}

/* of: what the columns are of, for the message */
static int
get_column(TupleDesc desc, const char *name, const char *of)
{
	int			column = find_column(desc, name);
	NearMiss	near;
	char	   *hint;

	if (column != 0)
		return column;
	NearMissStart(&near, name);
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			NearMissTry(&near, NameStr(TupleDescAttr(desc, i)->attname));
	hint = NearMissHint(&near);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of %s does not exist", name, of),
			 hint != NULL ? errhint("%s", hint) : 0));
	return 0;
}

/* A column that can be read and written here: generated ones are computed after the triggers. */
static int
table_column(Relation rel, const char *name)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			column = get_column(desc, name, psprintf("relation \"%s\"", RelationGetRelationName(rel)));

	if (TupleDescAttr(desc, column - 1)->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" of relation \"%s\" is a generated column", name,
						RelationGetRelationName(rel))));
	return column;
}

static void
check_type(Relation rel, int column, Oid wanted, bool domain_too)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), column - 1);
	Oid			type = domain_too ? getBaseType(att->atttypid) : att->atttypid;

	if (type != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" must have type %s, not %s", NameStr(att->attname),
						RelationGetRelationName(rel), format_type_be(wanted), format_type_be(att->atttypid))));
}

/* The text column NAME_status or NAME_error, or 0 */
static int
companion(Relation rel, const char *column, const char *suffix)
{
	char	   *name = psprintf("%s_%s", column, suffix);

	if (find_column(RelationGetDescr(rel), name) == 0)
		return 0;
	check_type(rel, table_column(rel, name), TEXTOID, false);
	return find_column(RelationGetDescr(rel), name);
}

static void
check_unique(const TriggerPlan *plan, const Target *t, const char *column)
{
	bool		twice = t->column == plan->image || t->column == plan->image_status ||
		t->column == plan->image_error;

	for (int i = 0; i < plan->ntargets && !twice; i++)
	{
		const Target *other = &plan->targets[i];

		twice = t->column == other->column || t->column == other->status || t->column == other->error ||
			t->status == other->column || t->error == other->column;
	}
	if (twice)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("column \"%s\" would be filled twice", column),
				 errdetail("It is the image, another field\'s column, or the status or error of one.")));
}

static Target *
add_target(TriggerPlan *plan, Relation rel, const char *column, char *field)
{
	Target	   *t = &plan->targets[plan->ntargets];
	Form_pg_attribute att;

	t->column = table_column(rel, column);
	t->status = companion(rel, column, "status");
	t->error = companion(rel, column, "error");
	t->field = field;
	check_unique(plan, t, column);
	att = TupleDescAttr(RelationGetDescr(rel), t->column - 1);
	t->type = PlanAnyType(att->atttypid, att->atttypmod, pstrdup(column));
	plan->ntargets++;
	return t;
}

/* ---- the arguments ---- */

static Jsonb *
parse_object(const char *json, const char *what)
{
	Jsonb	   *object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s of vl_extract_trigger must be a JSON object", what),
				 errhint(ARGUMENTS_HINT)));
	return object;
}

static Jsonb *
without_key(Jsonb *object, const char *key)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(object), CStringGetTextDatum(key)));
}

/* The third argument is the options jsonb of other functions with two keys more, which are taken
 * out of it. */
static Jsonb *
read_third(const char *json, char **model, Jsonb **columns)
{
	Jsonb	   *options = parse_object(json, "the options");
	JsonbValue *v = FindMember(&options->root, "model");

	if (v != NULL && v->type != jbvNull)
	{
		if (v->type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be a string", "model")));
		*model = StringOfValue(v);
	}
	v = FindMember(&options->root, "columns");
	if (v != NULL && v->type != jbvNull)
	{
		if (!IsObjectValue(v))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be a map from the type's attributes to columns", "columns")));
		*columns = JsonbValueToJsonb(v);
	}
	return without_key(without_key(options, "model"), "columns");
}

/*
 * What a column asks for.  A value whose name is one word is a label, "name: type - description";
 * any other is a question, and the field has the column's name.
 */
static void
read_value(const char *column, const char *value, FieldLabel *label)
{
	size_t		word = strcspn(value, " \t\r\n:");
	const char *next = value + word + strspn(value + word, " \t\r\n");

	if (word > 0 && (*next == '\0' || *next == ':' || strncmp(next, "- ", 2) == 0))
		ParseLabel(value, label);
	else
		*label = (FieldLabel) {.name = pstrdup(column), .description = pstrdup(value)};
}

/* All keys of a map must be columns. */
static void
check_keys(Jsonb *map, TupleDesc desc, const char *of)
{
	JsonbIterator *it = JsonbIteratorInit(&map->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_KEY)
			get_column(desc, StringOfValue(&v), of);
}

/* {"column": "field or question", ...}, asked in the order of the columns, as jsonb keeps none */
static void
plan_map(TriggerPlan *plan, Relation rel, const char *json)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Jsonb	   *map = parse_object(json, "the fields");
	FieldList	list;

	if (JB_ROOT_COUNT(map) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fields must not be empty")));
	check_keys(map, desc, psprintf("relation \"%s\"", RelationGetRelationName(rel)));
	plan->targets = palloc0(desc->natts * sizeof(Target));
	FieldsBegin(&list);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		JsonbValue *v = att->attisdropped ? NULL : FindMember(&map->root, NameStr(att->attname));
		FieldLabel	label;
		Target	   *t;

		if (v == NULL)
			continue;
		if (v->type != jbvString || v->val.string.len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the value of the column \"%s\" must be a string, its field or question",
							NameStr(att->attname))));
		read_value(NameStr(att->attname), StringOfValue(v), &label);
		t = add_target(plan, rel, NameStr(att->attname), label.name);
		FieldsAdd(&list, label.name, label.schema != NULL ? label.schema :
				  TypeSchema(t->type, !att->attnotnull, label.description));
	}
	FieldsEnd(&list, &plan->fields);
}

/*
 * A name without a schema is one of the table's own schema: by the search path, whoever inserts
 * could say what is filled, with a temporary type for one.
 */
static Oid
find_type(Relation rel, const char *name)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));
	Oid			schema = RelationGetNamespace(rel);
	Oid			type;

	if (list_length(names) > 1)
		return typenameTypeId(NULL, makeTypeNameFromNameList(names));
	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(strVal(linitial(names))),
						   ObjectIdGetDatum(schema));
	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type \"%s.%s\" does not exist", get_namespace_name(schema), strVal(linitial(names))),
				 errhint("A name without a schema is looked up in the schema of the table.")));
	return type;
}

/* The attributes of a composite type; they are the fields, and the columns have their names, or
 * those that `columns` (may be NULL) gives them. */
static void
plan_type(TriggerPlan *plan, Relation rel, const char *name, Jsonb *columns)
{
	Oid			type = find_type(rel, name);
	TypePlan   *row = PlanType(type, -1, NULL);
	TupleDesc	desc;

	if (!PlanIsRow(row))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("type %s is not a composite type", format_type_be(type)),
				 errhint(ARGUMENTS_HINT)));
	RowFields(row, &plan->fields);
	desc = lookup_rowtype_tupdesc_domain(type, -1, false);
	if (columns != NULL)
		check_keys(columns, desc, psprintf("type %s", format_type_be(type)));
	plan->targets = palloc0(desc->natts * sizeof(Target));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		char	   *field = pstrdup(NameStr(att->attname));
		JsonbValue *v = columns != NULL ? FindMember(&columns->root, field) : NULL;

		if (att->attisdropped || att->attgenerated != '\0' || att->attidentity != '\0')
			continue;
		if (v != NULL && v->type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be a map from the type's attributes to columns", "columns")));
		add_target(plan, rel, v != NULL ? StringOfValue(v) : field, field);
	}
	ReleaseTupleDesc(desc);
}

static TriggerPlan *
make_plan(FunctionCallInfo fcinfo, const TriggerData *data)
{
	Trigger    *trigger = data->tg_trigger;
	Relation	rel = data->tg_relation;
	TriggerPlan *plan = palloc0(sizeof(*plan));
	Jsonb	   *options = NULL;
	Jsonb	   *columns = NULL;
	char	   *model = NULL;
	const char *fields;

	if (trigger->tgnargs < 2 || trigger->tgnargs > 3)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("vl_extract_trigger takes two or three arguments, not %d", trigger->tgnargs),
				 errhint(ARGUMENTS_HINT)));
	if (trigger->tgnargs == 3)
		options = read_third(trigger->tgargs[2], &model, &columns);
	plan->image = table_column(rel, trigger->tgargs[0]);
	check_type(rel, plan->image, BYTEAOID, true);
	plan->image_status = companion(rel, trigger->tgargs[0], "status");
	plan->image_error = companion(rel, trigger->tgargs[0], "error");
	fields = trigger->tgargs[1] + strspn(trigger->tgargs[1], " \t\r\n");
	if (*fields != '{' && *fields != '[')
		plan_type(plan, rel, fields, columns);
	else if (columns == NULL)
		plan_map(plan, rel, fields);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is for the attributes of a type", "columns"),
				 errhint("A map of fields names the columns itself.")));
	plan->call.model = ResolveModel(ExtensionSchema(fcinfo), model);
	ReadOptions(options, DSV_TASK_EXTRACT, &plan->call.options);
	SetExtraction(&plan->call, &plan->fields);
	return plan;
}

static TriggerPlan *
get_plan(FunctionCallInfo fcinfo, const TriggerData *data)
{
	FmgrInfo   *finfo = fcinfo->flinfo;

	if (finfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(finfo->fn_mcxt);

		finfo->fn_extra = make_plan(fcinfo, data);
		MemoryContextSwitchTo(old);
	}
	return finfo->fn_extra;
}

/* ---- the row ---- */

/* What is written over the new row */
typedef struct NewRow
{
	Datum	   *values;
	bool	   *nulls;
	bool	   *replace;
} NewRow;

static void
put(NewRow *row, int column, Datum value, bool isnull)
{
	if (column == 0)
		return;
	row->values[column - 1] = value;
	row->nulls[column - 1] = isnull;
	row->replace[column - 1] = true;
}

static void
put_text(NewRow *row, int column, const char *s)
{
	put(row, column, s != NULL && column != 0 ? CStringGetTextDatum(s) : (Datum) 0, s == NULL);
}

/* status NULL: there is no picture */
static void
put_status(NewRow *row, int status_column, int error_column, const char *status, const VlError *error)
{
	put_text(row, status_column, error != NULL ? "error" : status);
	put_text(row, error_column, error == NULL ? NULL :
			 psprintf("%s: %s", unpack_sql_state(error->sqlerrcode), error->message));
}

/* Nothing is known of any field, for want of a picture (error NULL) or of an answer. */
static void
put_nothing(NewRow *row, const TriggerPlan *plan, const VlError *error)
{
	for (int i = 0; i < plan->ntargets; i++)
	{
		const Target *t = &plan->targets[i];

		put(row, t->column, (Datum) 0, true);
		put_status(row, t->status, t->error, NULL, error);
	}
	put_status(row, plan->image_status, plan->image_error, NULL, error);
}

/* Errors in values (classes 22 and 23), as opposed to a cancel or a lack of memory */
static bool
is_value_error(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION;
}

/*
 * A column's datum.  Input functions raise what they refuse, so that they run in a subtransaction;
 * nothing is written in it, so it costs next to nothing.  False with *error (VL005) when the
 * column's type refuses the value.
 */
static bool
convert(const Target *t, const char *column, JsonbValue *value, Datum *datum, bool *isnull, VlError *error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool converted = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		converted = TypeDatum(t->type, value, datum, isnull, error);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (!is_value_error(edata->sqlerrcode))
			ReThrowError(edata);
		VlErrorSet(error, ERRCODE_VL_SCHEMA, psprintf("column \"%s\": %s", column, edata->message), "");
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return converted;
}

/* Reads the columns out of an answer; every one that refuses its value is an error of its own. */
static void
put_answer(NewRow *row, const TriggerPlan *plan, const InferCall *call, const InferResult *result,
		   TupleDesc desc)
{
	Jsonb	   *answer = AnswerJsonb(result->text, result->len);
	VlError		first = {0};

	for (int i = 0; i < plan->ntargets; i++)
	{
		const Target *t = &plan->targets[i];
		JsonbValue	missing = {.type = jbvNull};
		JsonbValue *value = FindMember(&answer->root, t->field);
		VlError		error;
		Datum		datum;
		bool		isnull;

		if (convert(t, NameStr(TupleDescAttr(desc, t->column - 1)->attname), value != NULL ? value : &missing,
					&datum, &isnull, &error))
		{
			put(row, t->column, datum, isnull);
			put_status(row, t->status, t->error, isnull ? "null" : "ok", NULL);
			continue;
		}
		ReportRowError(call, result, &error);
		put(row, t->column, (Datum) 0, true);
		put_status(row, t->status, t->error, NULL, &error);
		if (first.sqlerrcode == 0)
			first = error;
	}
	put_status(row, plan->image_status, plan->image_error, "ok", first.sqlerrcode != 0 ? &first : NULL);
}

static void
read_image(NewRow *row, const TriggerPlan *plan, bytea *image, TupleDesc desc)
{
	InferCall	call = plan->call;
	InferResult *result;
	VlError		error;

	SetImage(&call, image);
	result = Infer(&call);
	if (FindRowError(&call, result, &error))
	{
		ReportRowError(&call, result, &error);
		put_nothing(row, plan, &error);
	}
	else
		put_answer(row, plan, &call, result, desc);
}

static HeapTuple
fill(const TriggerPlan *plan, HeapTuple tuple, TupleDesc desc)
{
	NewRow		row = {
		.values = palloc0(desc->natts * sizeof(Datum)),
		.nulls = palloc0(desc->natts * sizeof(bool)),
		.replace = palloc0(desc->natts * sizeof(bool)),
	};
	bool		isnull;
	Datum		image = heap_getattr(tuple, plan->image, desc, &isnull);

	if (isnull)
		put_nothing(&row, plan, NULL);
	else
		read_image(&row, plan, DatumGetByteaPP(image), desc);
	return heap_modify_tuple(tuple, desc, row.values, row.nulls, row.replace);
}

/* ---- whether there is anything to do ---- */

/* An update that does not touch a large picture hands on the pointer to it. */
static bool
same_toast_pointer(Datum a, Datum b)
{
	struct varlena *x = (struct varlena *) DatumGetPointer(a);
	struct varlena *y = (struct varlena *) DatumGetPointer(b);

	return VARATT_IS_EXTERNAL_ONDISK(x) && VARATT_IS_EXTERNAL_ONDISK(y) &&
		memcmp(x, y, VARSIZE_EXTERNAL(x)) == 0;
}

/* The picture is another one, or its status was taken away to have it read again. */
static bool
asks_again(const TriggerPlan *plan, const TriggerData *data, TupleDesc desc)
{
	bool		was_null;
	bool		is_null;
	Datum		was = heap_getattr(data->tg_trigtuple, plan->image, desc, &was_null);
	Datum		is = heap_getattr(data->tg_newtuple, plan->image, desc, &is_null);

	if (was_null || is_null)
		return was_null != is_null;
	if (plan->image_status != 0 &&
		!heap_attisnull(data->tg_trigtuple, plan->image_status, desc) &&
		heap_attisnull(data->tg_newtuple, plan->image_status, desc))
		return true;
	return !same_toast_pointer(was, is) && !datum_image_eq(was, is, false, -1);
}

static void
check_fired(FunctionCallInfo fcinfo)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("vl_extract_trigger must be called as a trigger")));
	if (!TRIGGER_FIRED_BEFORE(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		(!TRIGGER_FIRED_BY_INSERT(data->tg_event) && !TRIGGER_FIRED_BY_UPDATE(data->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("vl_extract_trigger must be fired BEFORE INSERT OR UPDATE FOR EACH ROW")));
}

static void
say_where(void *arg)
{
	TriggerData *data = arg;

	errcontext("trigger \"%s\" on relation \"%s\"", data->tg_trigger->tgname,
			   RelationGetRelationName(data->tg_relation));
}

static HeapTuple
run_trigger(FunctionCallInfo fcinfo, TriggerData *data)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	TriggerPlan *plan = get_plan(fcinfo, data);

	if (!TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		return fill(plan, data->tg_trigtuple, desc);
	if (!asks_again(plan, data, desc))
		return data->tg_newtuple;
	return fill(plan, data->tg_newtuple, desc);
}

/* vl_extract_trigger(image column, fields or type, options) */
Datum
vl_extract_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	ErrorContextCallback where = {.callback = say_where, .arg = data, .previous = error_context_stack};
	HeapTuple	tuple;

	check_fired(fcinfo);
	error_context_stack = &where;
	tuple = run_trigger(fcinfo, data);
	error_context_stack = where.previous;
	return PointerGetDatum(tuple);
}
