/*
 * fn_extract.c
 *		vl_extract, vl_extract_as, vl_extract_rows, vl_schema_of.
 */
#include "compat.h"

#include "access/htup_details.h"
#include "fields.h"
#include "funcapi.h"
#include "infer.h"
#include "json_value.h"
#include "type_schema.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(vl_extract);
PG_FUNCTION_INFO_V1(vl_extract_as);
PG_FUNCTION_INFO_V1(vl_extract_rows);
PG_FUNCTION_INFO_V1(vl_schema_of);

/* Runs the call, read with its model and options; NULL after a row error that on_error forgives. */
static InferResult *
extract(InferCall *call, bytea *image, const FieldPlan *plan)
{
	SetImage(call, image);
	SetExtraction(call, plan);
	return InferOrReport(call);
}

/* ---- vl_extract ---- */

static const char *
skip_space(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* Behind a string, number, word, array or object of a well-formed JSON text */
static const char *
skip_value(const char *s)
{
	int			depth = 0;

	do
	{
		if (*s == '"')
			while (*++s != '"')
				s += *s == '\\';
		else if (*s == '{' || *s == '[')
			depth++;
		else if (*s == '}' || *s == ']')
			depth--;
		else if (depth == 0)
			return s + strcspn(s, " \t\r\n,]}");
		s++;
	} while (depth > 0);
	return s;
}

typedef struct Span
{
	const char *from;
	const char *to;
} Span;

/* The next member of an object.  *at is its brace, then what stands behind each member. */
static bool
next_member(const char **at, Span *key, Span *value)
{
	key->from = skip_space(*at + 1);
	if (**at == '}' || *key->from == '}')
		return false;
	key->to = skip_value(key->from);
	value->from = skip_space(skip_space(key->to) + 1);
	value->to = skip_value(value->from);
	*at = skip_space(value->to);
	return true;
}

static void
append_score(StringInfo s, const InferResult *result, Span value)
{
	float4		score = AnswerScore(result, value.from - result->text, value.to - result->text);

	appendStringInfoString(s, DatumGetCString(DirectFunctionCall1(float4out, Float4GetDatum(score))));
}

/* {"merchant": 0.98, "total": 0.7}; of an answer that is no object, one number */
static void
append_scores(StringInfo s, const InferResult *result)
{
	const char *at = skip_space(result->text);
	const char *comma = "";
	Span		key;
	Span		value;

	if (*at != '{')
	{
		append_score(s, result, (Span) {at, skip_value(at)});
		return;
	}
	appendStringInfoChar(s, '{');
	while (next_member(&at, &key, &value))
	{
		appendStringInfo(s, "%s%.*s:", comma, (int) (key.to - key.from), key.from);
		append_score(s, result, value);
		comma = ",";
	}
	appendStringInfoChar(s, '}');
}

/* vl_extract(image, fields, model, options) */
Datum
vl_extract(PG_FUNCTION_ARGS)
{
	InferCall	call;
	FieldPlan	plan;
	InferResult *result;
	StringInfoData s;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ReadCall(fcinfo, DSV_TASK_EXTRACT, 2, &call);
	PlanFields(PG_GETARG_JSONB_P(1), &plan);
	result = extract(&call, PG_GETARG_BYTEA_PP(0), &plan);
	if (result == NULL)
		PG_RETURN_NULL();
	if (!call.options.scores)
		PG_RETURN_JSONB_P(AnswerJsonb(result->text, result->len));
	initStringInfo(&s);
	appendStringInfo(&s, "{\"value\":%s,\"scores\":", result->text);
	append_scores(&s, result);
	appendStringInfoChar(&s, '}');
	PG_RETURN_JSONB_P(AnswerJsonb(s.data, s.len));
}

/* ---- typed results ---- */

/* The datum of an answer, or false after an error that on_error forgives */
static bool
typed_answer(const InferCall *call, const InferResult *result, const TypePlan *plan,
			 JsonbValue *value, Datum *datum)
{
	VlError		error;
	bool		isnull;

	if (TypeDatum(plan, value, datum, &isnull, &error))
		return !isnull;
	ReportRowError(call, result, &error);
	return false;
}

/* vl_extract_as(image, template, model, options) */
Datum
vl_extract_as(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	TypePlan   *row;
	InferCall	call;
	FieldPlan	plan;
	InferResult *result;
	JsonbValue	value;
	Datum		datum;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	row = type != RECORDOID ? PlanType(type, -1, NULL) : NULL;
	if (row == NULL || !PlanIsRow(row))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s is not a composite type", format_type_be(type)),
				 errhint("The second argument names the type, as in vl_extract_as(image, NULL::receipt).")));
	ReadCall(fcinfo, DSV_TASK_EXTRACT, 2, &call);
	RowFields(row, &plan);
	result = extract(&call, PG_GETARG_BYTEA_PP(0), &plan);
	if (result == NULL)
		PG_RETURN_NULL();
	JsonbToJsonbValue(AnswerJsonb(result->text, result->len), &value);
	if (!typed_answer(&call, result, row, &value, &datum))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(datum);
}

/* ---- vl_extract_rows ---- */

/* The answer is an object of one field, named after what is listed: an array of rows. */
static void
plan_rows(const TypePlan *row, char *list, FieldPlan *plan)
{
	FieldList	fields;
	FieldPlan	columns;

	FieldsBegin(&fields);
	FieldsAdd(&fields, list, psprintf("{\"type\":\"array\",\"items\":%s}", TypeSchema(row, false, NULL)));
	FieldsEnd(&fields, plan);
	RowFields(row, &columns);
	plan->names = psprintf("%s (%s)", plan->names, columns.names);
}

/* All rows or none: a list with holes must not look like a short list. */
static void
put_rows(const InferCall *call, const InferResult *result, const TypePlan *row, const char *list,
		 Tuplestorestate *store)
{
	Jsonb	   *answer = AnswerJsonb(result->text, result->len);
	JsonbValue *rows = FindMember(&answer->root, list);
	HeapTupleData *tuples;
	int			n;

	if (rows == NULL || rows->type != jbvBinary)
		elog(ERROR, "the answer has no list \"%s\"", list);
	n = JsonContainerSize(rows->val.binary.data);
	tuples = palloc0(n * sizeof(HeapTupleData) + 1);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(rows->val.binary.data, i);
		Datum		datum;

		CHECK_FOR_INTERRUPTS();
		if (!typed_answer(call, result, row, value, &datum))
			return;
		tuples[i].t_data = DatumGetHeapTupleHeader(datum);
		tuples[i].t_len = HeapTupleHeaderGetDatumLength(tuples[i].t_data);
	}
	for (int i = 0; i < n; i++)
		tuplestore_puttuple(store, &tuples[i]);
}

/* vl_extract_rows(image, list, model, options) AS x(item text, ...) */
Datum
vl_extract_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *list = PG_ARGISNULL(1) ? "rows" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	TypePlan   *row;
	InferCall	call;
	FieldPlan	plan;
	InferResult *result;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) || rsinfo->expectedDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("vl_extract_rows needs a column definition list"),
				 errhint("Call it in FROM: vl_extract_rows(image, 'line items') "
						 "AS x(item text, price numeric).")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	ReadCall(fcinfo, DSV_TASK_EXTRACT, 2, &call);
	row = PlanRow(rsinfo->setDesc);
	plan_rows(row, list, &plan);
	result = extract(&call, PG_GETARG_BYTEA_PP(0), &plan);
	if (result != NULL)
		put_rows(&call, result, row, list, rsinfo->setResult);
	return (Datum) 0;
}

/* ---- vl_schema_of ---- */

/* vl_schema_of(regtype) */
Datum
vl_schema_of(PG_FUNCTION_ARGS)
{
	Oid			type = PG_GETARG_OID(0);
	char	   *schema;

	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type with OID %u does not exist", type)));
	schema = TypeSchema(PlanType(type, -1, NULL), false, NULL);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(schema));
}
