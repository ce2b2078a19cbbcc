/*
 * type_schema.c
 *		PostgreSQL types as JSON Schemas, and values of such answers as datums.
 *
 * The schema says all of a type (bounds, digits, lengths, labels, the calendar), so that the
 * type's input function has nothing left to refuse.  Only the constraints of domains are beyond
 * a schema: they are asked, not left to the domain's input function to raise.  So no error has
 * to be caught; a subtransaction for that could not be had in a parallel query.
 */
#include "type_schema.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "json_value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* of a number, on either side of its point, that a schema can bound */
#define MAX_DIGITS 15

typedef enum TypeKind
{
	KIND_SCALAR,				/* by the type's input function */
	KIND_ENUM,					/* the same, but its schema is a list of labels */
	KIND_ARRAY,
	KIND_ROW,
	KIND_DOMAIN,
} TypeKind;

typedef struct PlannedColumn
{
	TypePlan   *plan;			/* NULL: not extracted, always NULL */
	char	   *name;
	char	   *comment;		/* or NULL */
	bool		not_null;
} PlannedColumn;

struct TypePlan
{
	TypeKind	kind;
	Oid			type;
	int32		typmod;
	const char *path;			/* column, for messages, or NULL */
	bool		any;			/* PlanAnyType's */
	/* scalar, enum */
	const char *json_type;		/* NULL: the schema says nothing of it */
	StringInfoData keywords;	/* scalar: behind the type, each with a comma in front; enum: labels */
	Oid			input;
	Oid			ioparam;
	/* array: its elements; domain: what it is of, with all domains taken off */
	TypePlan   *inner;
	/* domain */
	bool		not_null;
	DomainConstraintRef constraints;
	/* row */
	TupleDesc	desc;
	PlannedColumn *columns;		/* [desc->natts] */
};

/* ---- scalar types ---- */

/* 10^exponent, written out */
static void
append_ten_to(StringInfo s, int exponent)
{
	appendStringInfoString(s, exponent < 0 ? "0." : "1");
	for (int i = abs(exponent); i > (exponent < 0); i--)
		appendStringInfoChar(s, '0');
	if (exponent < 0)
		appendStringInfoChar(s, '1');
}

/* numeric(precision, scale): no more digits than it has, and none that it would round away; where
 * a schema cannot say so, its numbers have fewer digits anyway. */
static void
plan_numeric(TypePlan *plan)
{
	int			precision = ((plan->typmod - VARHDRSZ) >> 16) & 0xffff;
	int			scale = (((plan->typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	StringInfo	s = &plan->keywords;

	plan->json_type = plan->typmod >= 0 && scale <= 0 ? "integer" : "number";
	if (plan->typmod < 0)
		return;
	if (precision - scale <= MAX_DIGITS)
	{
		appendStringInfoString(s, ",\"exclusiveMinimum\":-");
		append_ten_to(s, precision - scale);
		appendStringInfoString(s, ",\"exclusiveMaximum\":");
		append_ten_to(s, precision - scale);
	}
	if (scale != 0 && scale > -MAX_DIGITS && scale <= MAX_DIGITS)
	{
		appendStringInfoString(s, ",\"multipleOf\":");
		append_ten_to(s, -scale);
	}
}

static void
plan_integer(TypePlan *plan, int64 least, int64 most)
{
	plan->json_type = "integer";
	appendStringInfo(&plan->keywords, ",\"minimum\":" INT64_FORMAT ",\"maximum\":" INT64_FORMAT, least, most);
}

static void
plan_string(TypePlan *plan, const char *format)
{
	plan->json_type = "string";
	if (format != NULL)
		appendStringInfo(&plan->keywords, ",\"format\":\"%s\"", format);
}

static void
plan_text(TypePlan *plan)
{
	plan_string(plan, NULL);
	if (plan->typmod >= (int32) VARHDRSZ)
		appendStringInfo(&plan->keywords, ",\"maxLength\":%d", plan->typmod - (int32) VARHDRSZ);
}

static void
plan_enum(TypePlan *plan)
{
	Relation	pg_enum = table_open(EnumRelationId, AccessShareLock);
	Relation	index = index_open(EnumTypIdSortOrderIndexId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	plan->kind = KIND_ENUM;
	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(plan->type));
	scan = systable_beginscan_ordered(pg_enum, index, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		if (plan->keywords.len > 0)
			appendStringInfoChar(&plan->keywords, ',');
		escape_json(&plan->keywords, NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(pg_enum, AccessShareLock);
	if (plan->keywords.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s has no labels to extract", format_type_be(plan->type))));
}

static void
refuse_type(const TypePlan *plan)
{
	const char *type = format_type_be(plan->type);

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 plan->path != NULL ?
			 errmsg("column \"%s\" has type %s, which cannot be extracted", plan->path, type) :
			 errmsg("type %s cannot be extracted", type),
			 errhint("Text, numbers, boolean, date, time, timestamp and enums can, and arrays, "
					 "composite types and domains of these.")));
}

static void
plan_scalar(TypePlan *plan)
{
	plan->kind = KIND_SCALAR;
	switch (plan->type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			plan_text(plan);
			break;
		case INT2OID:
			plan_integer(plan, PG_INT16_MIN, PG_INT16_MAX);
			break;
		case INT4OID:
			plan_integer(plan, PG_INT32_MIN, PG_INT32_MAX);
			break;
		case INT8OID:
			plan_integer(plan, PG_INT64_MIN, PG_INT64_MAX);
			break;
		case NUMERICOID:
			plan_numeric(plan);
			break;
		case FLOAT4OID:
		case FLOAT8OID:
			plan->json_type = "number";
			break;
		case BOOLOID:
			plan->json_type = "boolean";
			break;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			plan_string(plan, plan->type == DATEOID ? "date" : "date-time");
			break;
		case TIMEOID:
			plan_string(plan, "time");
			break;
		default:
			if (type_is_enum(plan->type))
				plan_enum(plan);
			else if (!plan->any)
				refuse_type(plan);
	}
	getTypeInputInfo(plan->type, &plan->input, &plan->ioparam);
}

/* ---- types made of types ---- */

static TypePlan *plan_type(Oid type, int32 typmod, const char *path, bool any);

static TypePlan *
start_plan(Oid type, int32 typmod, const char *path, bool any)
{
	TypePlan   *plan = palloc0(sizeof(*plan));

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	plan->type = type;
	plan->typmod = typmod;
	plan->path = path;
	plan->any = any;
	initStringInfo(&plan->keywords);
	return plan;
}

static void
plan_domain(TypePlan *plan)
{
	int32		typmod = plan->typmod;
	Oid			base = getBaseTypeAndTypmod(plan->type, &typmod);
	ListCell   *lc;

	plan->kind = KIND_DOMAIN;
	plan->inner = plan_type(base, typmod, plan->path, plan->any);
	InitDomainConstraintRef(plan->type, &plan->constraints, CurrentMemoryContext, true);
	foreach(lc, plan->constraints.constraints)
		if (((DomainConstraintState *) lfirst(lc))->constrainttype == DOM_CONSTRAINT_NOTNULL)
			plan->not_null = true;
}

static void
plan_columns(TypePlan *plan, TupleDesc desc)
{
	bool		any = false;

	plan->kind = KIND_ROW;
	plan->desc = BlessTupleDesc(desc);
	plan->columns = palloc0(desc->natts * sizeof(PlannedColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		PlannedColumn *column = &plan->columns[i];

		if (att->attisdropped || att->attgenerated != '\0' || att->attidentity != '\0')
			continue;
		any = true;
		column->name = NameStr(att->attname);
		column->not_null = att->attnotnull;
		if (OidIsValid(att->attrelid))
			column->comment = GetComment(att->attrelid, RelationRelationId, att->attnum);
		column->plan = plan_type(att->atttypid, att->atttypmod, plan->path == NULL ? column->name :
								 psprintf("%s.%s", plan->path, column->name), plan->any);
	}
	if (!any)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s has no columns to extract", format_type_be(plan->type))));
}

static TypePlan *
plan_type(Oid type, int32 typmod, const char *path, bool any)
{
	TypePlan   *plan = start_plan(type, typmod, path, any);
	Oid			element = get_element_type(type);

	if (get_typtype(type) == TYPTYPE_DOMAIN)
		plan_domain(plan);
	else if (type_is_rowtype(type) && type != RECORDOID)
		plan_columns(plan, lookup_rowtype_tupdesc_copy(type, typmod));
	else if (OidIsValid(element) && get_array_type(element) == type)
	{
		plan->kind = KIND_ARRAY;
		plan->inner = plan_type(element, typmod, path, any);
	}
	else
		plan_scalar(plan);
	return plan;
}

TypePlan *
PlanType(Oid type, int32 typmod, const char *path)
{
	return plan_type(type, typmod, path, false);
}

TypePlan *
PlanAnyType(Oid type, int32 typmod, const char *path)
{
	return plan_type(type, typmod, path, true);
}

TypePlan *
PlanRow(TupleDesc desc)
{
	TypePlan   *plan = start_plan(RECORDOID, -1, NULL, false);

	plan_columns(plan, CreateTupleDescCopy(desc));
	return plan;
}

bool
PlanIsRow(const TypePlan *plan)
{
	return (plan->kind == KIND_DOMAIN ? plan->inner : plan)->kind == KIND_ROW;
}

/* ---- schemas ---- */

static void
list_columns(const TypePlan *plan, FieldList *list)
{
	FieldsBegin(list);
	for (int i = 0; i < plan->desc->natts; i++)
	{
		const PlannedColumn *c = &plan->columns[i];

		if (c->plan != NULL)
			FieldsAdd(list, c->name, TypeSchema(c->plan, !c->not_null, c->comment));
	}
}

char *
TypeSchema(const TypePlan *plan, bool nullable, const char *description)
{
	const char *json_type = plan->kind == KIND_ARRAY ? "array" : plan->json_type;
	StringInfoData s;
	FieldList	list;

	if (plan->kind == KIND_DOMAIN)
		return TypeSchema(plan->inner, nullable && !plan->not_null, description);
	if (plan->kind == KIND_ROW)
	{
		list_columns(plan, &list);
		return FieldsSchema(&list, nullable, description);
	}
	if (plan->kind == KIND_SCALAR && plan->json_type == NULL)
		return OpenSchema(description);
	initStringInfo(&s);
	if (plan->kind == KIND_ENUM)
		appendStringInfo(&s, "{\"enum\":[%s%s]", plan->keywords.data, nullable ? ",null" : "");
	else
		appendStringInfo(&s, nullable ? "{\"type\":[\"%s\",\"null\"]%s" : "{\"type\":\"%s\"%s",
						 json_type, plan->keywords.data);
	AppendDescription(&s, description);
	if (plan->kind == KIND_ARRAY)
		appendStringInfo(&s, ",\"items\":%s", TypeSchema(plan->inner, false, NULL));
	appendStringInfoChar(&s, '}');
	return s.data;
}

void
RowFields(const TypePlan *row, FieldPlan *plan)
{
	FieldList	list;

	list_columns(row->kind == KIND_DOMAIN ? row->inner : row, &list);
	FieldsEnd(&list, plan);
}

/* ---- datums ---- */

static bool
refuse_value(const TypePlan *plan, const char *why, VlError *error)
{
	VlErrorSet(error, ERRCODE_VL_SCHEMA,
			   plan->path != NULL ? psprintf("column \"%s\": %s", plan->path, why) : why, "");
	return false;
}

static char *
json_text(JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(value);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

static bool
scalar_datum(const TypePlan *plan, JsonbValue *value, Datum *datum, VlError *error)
{
	char	   *s;

	if (plan->type == JSONBOID || plan->type == JSONOID)
		s = json_text(value);
	else if (value->type == jbvString)
		s = StringOfValue(value);
	else if (value->type == jbvNumeric)
		s = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	else if (value->type == jbvBool)
		s = value->val.boolean ? "true" : "false";
	else
		return refuse_value(plan, "the value is not a scalar", error);
	*datum = OidInputFunctionCall(plan->input, s, plan->ioparam, plan->typmod);
	return true;
}

static bool
array_datum(const TypePlan *plan, JsonbValue *value, Datum *datum, VlError *error)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	Datum	   *elements;
	bool	   *nulls;
	int			n = 0;
	int			lower = 1;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	if (!IsArrayValue(value))
		return refuse_value(plan, "the value is not an array", error);
	elements = palloc(JsonContainerSize(value->val.binary.data) * sizeof(Datum) + 1);
	nulls = palloc(JsonContainerSize(value->val.binary.data) * sizeof(bool) + 1);
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			if (!TypeDatum(plan->inner, &v, &elements[n], &nulls[n], error))
				return false;
			n++;
		}
	get_typlenbyvalalign(plan->inner->type, &typlen, &typbyval, &typalign);
	*datum = PointerGetDatum(n == 0 ? construct_empty_array(plan->inner->type) :
							 construct_md_array(elements, nulls, 1, &n, &lower, plan->inner->type,
												typlen, typbyval, typalign));
	return true;
}

static bool
row_datum(const TypePlan *plan, JsonbValue *value, Datum *datum, VlError *error)
{
	int			natts = plan->desc->natts;
	Datum	   *values = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));

	if (!IsObjectValue(value))
		return refuse_value(plan, "the value is not an object", error);
	for (int i = 0; i < natts; i++)
	{
		const PlannedColumn *c = &plan->columns[i];
		JsonbValue	missing = {.type = jbvNull};
		JsonbValue *v;

		nulls[i] = true;
		if (c->plan == NULL)
			continue;
		v = FindMember(value->val.binary.data, c->name);
		if (!TypeDatum(c->plan, v != NULL ? v : &missing, &values[i], &nulls[i], error))
			return false;
	}
	*datum = HeapTupleGetDatum(heap_form_tuple(plan->desc, values, nulls));
	return true;
}

static bool
check_domain(const TypePlan *plan, Datum datum, bool isnull, VlError *error)
{
	ExprContext *econtext = CreateStandaloneExprContext();
	const char *violated = NULL;
	ListCell   *lc;

	econtext->domainValue_datum = datum;
	econtext->domainValue_isNull = isnull;
	foreach(lc, plan->constraints.constraints)
	{
		DomainConstraintState *con = lfirst(lc);

		if (con->constrainttype == DOM_CONSTRAINT_NOTNULL ? isnull :
			!ExecCheck(con->check_exprstate, econtext))
		{
			violated = con->name;
			break;
		}
	}
	FreeExprContext(econtext, true);
	return violated == NULL ||
		refuse_value(plan, psprintf("value for domain %s violates constraint \"%s\"",
									format_type_be(plan->type), violated), error);
}

bool
TypeDatum(const TypePlan *plan, JsonbValue *value, Datum *datum, bool *isnull, VlError *error)
{
	check_stack_depth();
	*isnull = value->type == jbvNull;
	*datum = (Datum) 0;
	if (plan->kind == KIND_DOMAIN)
		return TypeDatum(plan->inner, value, datum, isnull, error) &&
			check_domain(plan, *datum, *isnull, error);
	if (*isnull)
		return true;
	if (plan->kind == KIND_ROW)
		return row_datum(plan, value, datum, error);
	if (plan->kind == KIND_ARRAY)
		return array_datum(plan, value, datum, error);
	return scalar_datum(plan, value, datum, error);
}
