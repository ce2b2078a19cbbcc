/*
 * planner_support.c
 *		vl_support: what the planner asks about inference functions.
 *
 * The cost of a call is what such calls took lately; as long as none was measured it is the
 * function's declared one.  Either is so high that conditions without pictures run first.
 */
#include "compat.h"

#include "call_shape.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "rates.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

PG_FUNCTION_INFO_V1(vl_support);

/* In units of cpu_operator_cost, so that an operator takes 25 ns */
#define OPERATORS_PER_MS 40000

/* A call that takes less is still none to be made before anything else. */
#define MIN_OPERATORS 40000

/* Share of pictures that a condition holds for.  Conditions are mostly written to pick some. */
#define CONDITION_SELECTIVITY 0.3

/* Rows for each element of an array that is asked about */
static const struct
{
	const char *argument;
	int			rows;
}			arrays[] = {
	{"phrases", 5},				/* as ROWS of vl_boxes(image, phrase) */
	{"images", 1},				/* vl_ask_batch */
	{"labels", 1},				/* vl_classify_scores */
};

static bool
call_cost(SupportRequestCost *request)
{
	FuncExpr   *call = (FuncExpr *) request->node;
	ModelEntry *model;
	dsv_task	task;
	char	   *name;
	Rates		rates;

	if (call == NULL || !IsA(call, FuncExpr))
		return false;
	if (!FindTask(call, &task) || !FindModelName(call, &name))
		return false;
	model = FindModel(get_func_namespace(call->funcid), name);
	if (model == NULL || !RatesFind(model->digest, task, &rates))
		return false;
	request->startup = 0;
	request->per_tuple = Max(RateOf(rates.call_ms) * OPERATORS_PER_MS, MIN_OPERATORS) * cpu_operator_cost;
	return true;
}

static bool
result_rows(SupportRequestRows *request)
{
	FuncExpr   *call = (FuncExpr *) request->node;

	if (call == NULL || !IsA(call, FuncExpr))
		return false;
	for (int i = 0; i < lengthof(arrays); i++)
	{
		int			at = FindArgument(call, arrays[i].argument);

		if (at < 0)
			continue;
		request->rows = EstimateArrayLength(request->root, list_nth(call->args, at)) * arrays[i].rows;
		return true;
	}
	return false;
}

/* NULL: the planner does as with any function */
Datum
vl_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);
	bool		answered = false;

	if (IsA(request, SupportRequestCost))
		answered = call_cost((SupportRequestCost *) request);
	else if (IsA(request, SupportRequestRows))
		answered = result_rows((SupportRequestRows *) request);
	else if (IsA(request, SupportRequestSelectivity))
	{
		((SupportRequestSelectivity *) request)->selectivity = CONDITION_SELECTIVITY;
		answered = true;
	}
	PG_RETURN_POINTER(answered ? request : NULL);
}
