/*
 * fn_table.c
 *		vl_table, vl_chart.
 *
 * The answers obey a schema.  It makes a table a list of columns and a list of rows of texts, but
 * it cannot count: that a row has as many cells as there are columns is looked at afterwards.
 */
#include "table.h"

#include "fields.h"
#include "json_value.h"

PG_FUNCTION_INFO_V1(vl_table);
PG_FUNCTION_INFO_V1(vl_chart);

static const char table_schema[] =
"{\"type\":\"object\",\"properties\":{"
"\"columns\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":1},"
"\"rows\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}},"
"\"required\":[\"columns\",\"rows\"],\"additionalProperties\":false}";

static const char chart_schema[] =
"{\"type\":\"object\",\"properties\":{"
"\"title\":{\"type\":[\"string\",\"null\"]},"
"\"series\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
"\"name\":{\"type\":\"string\"},"
"\"points\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
"\"x\":{\"type\":[\"string\",\"number\"]},\"y\":{\"type\":\"number\"}},"
"\"required\":[\"x\",\"y\"],\"additionalProperties\":false}}},"
"\"required\":[\"name\",\"points\"],\"additionalProperties\":false}}},"
"\"required\":[\"title\",\"series\"],\"additionalProperties\":false}";

void
SetShape(InferCall *call)
{
	if (call->task != DSV_TASK_TABLE && call->task != DSV_TASK_CHART)
		return;
	if (call->options.nstop > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the option \"stop\" cannot be used for a table or chart"),
				 errdetail("An answer that stops early would not be what its schema says.")));
	call->schema = call->task == DSV_TASK_TABLE ? table_schema : chart_schema;
	call->no_logprobs = true;
}

/* ---- cells ---- */

static JsonbContainer *
member(Jsonb *object, const char *key)
{
	return FindMember(&object->root, key)->val.binary.data;
}

/* Copies a row of the answer, with nulls behind it; false when it has too many cells. */
static bool
push_row(JsonbParseState **state, JsonbContainer *row, int ncolumns)
{
	int			ncells = JsonContainerSize(row);
	JsonbIterator *it = JsonbIteratorInit(row);
	JsonbIteratorToken token;
	JsonbValue	v;

	if (ncells > ncolumns)
		return false;
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_END_ARRAY)
			for (int i = ncells; i < ncolumns; i++)
				pushJsonbValue(state, WJB_ELEM, &(JsonbValue) {.type = jbvNull});
		pushJsonbValue(state, token, token == WJB_ELEM ? &v : NULL);
	}
	return true;
}

static Jsonb *
square_table(Jsonb *table, VlError *error)
{
	JsonbContainer *columns = member(table, "columns");
	int			ncolumns = JsonContainerSize(columns);
	JsonbIterator *it = JsonbIteratorInit(member(table, "rows"));
	JsonbIteratorToken token;
	JsonbParseState *state = NULL;
	JsonbValue	v;
	int			nrows = 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &(JsonbValue) {.type = jbvString, .val.string = {7, "columns"}});
	pushJsonbValue(&state, WJB_VALUE, &(JsonbValue) {.type = jbvBinary, .val.binary = {0, columns}});
	pushJsonbValue(&state, WJB_KEY, &(JsonbValue) {.type = jbvString, .val.string = {4, "rows"}});
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			pushJsonbValue(&state, token, NULL);
		else if (nrows++, !push_row(&state, v.val.binary.data, ncolumns))
		{
			VlErrorSet(error, ERRCODE_VL_SCHEMA,
					   psprintf("row %d of the table has %d cells, but there are %d columns", nrows,
								JsonContainerSize(v.val.binary.data), ncolumns), "");
			return NULL;
		}
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* NULL with *error for a table with a row that is too long */
static Jsonb *
shaped_answer(const InferCall *call, const InferResult *result, VlError *error)
{
	Jsonb	   *answer = AnswerJsonb(result->text, result->len);

	return call->task == DSV_TASK_TABLE ? square_table(answer, error) : answer;
}

bool
FindShapeError(const InferCall *call, const InferResult *result, VlError *error)
{
	return call->task == DSV_TASK_TABLE && shaped_answer(call, result, error) == NULL;
}

/* ---- functions ---- */

static Datum
shaped(FunctionCallInfo fcinfo, dsv_task task)
{
	InferCall	call;
	InferResult *result;
	VlError		error;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ReadCall(fcinfo, task, 1, &call);
	SetImage(&call, PG_GETARG_BYTEA_PP(0));
	SetShape(&call);
	result = InferOrReport(&call);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(shaped_answer(&call, result, &error));
}

/* vl_table(image, model, options) */
Datum
vl_table(PG_FUNCTION_ARGS)
{
	return shaped(fcinfo, DSV_TASK_TABLE);
}

/* vl_chart(image, model, options) */
Datum
vl_chart(PG_FUNCTION_ARGS)
{
	return shaped(fcinfo, DSV_TASK_CHART);
}
