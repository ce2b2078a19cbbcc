/*
 * call_shape.c
 *		Reads the arguments of calls in parse and plan trees.
 */
#include "call_shape.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "infer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define PREFIX "vl_"

/* Functions that are not called after their task */
static const struct
{
	const char *function;
	dsv_task	task;
}			others[] = {
	{"vl_boxes", DSV_TASK_GROUND},
	{"vl_points", DSV_TASK_GROUND},
	{"vl_prob", DSV_TASK_IS},
};

bool
IsInferenceCall(const Node *node, Oid schema)
{
	Oid			function;
	Oid			support;

	if (!IsA(node, FuncExpr))
		return false;
	function = ((const FuncExpr *) node)->funcid;
	support = get_func_support(function);
	return OidIsValid(support) && get_func_namespace(function) == schema &&
		get_func_namespace(support) == schema && strcmp(get_func_name(support), "vl_support") == 0;
}

int
FindArgument(const FuncExpr *call, const char *name)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(call->funcid));
	int			found = -1;
	Oid		   *types;
	char	  **names;
	char	   *modes;

	if (!HeapTupleIsValid(tuple))
		return -1;
	get_func_arg_info(tuple, &types, &names, &modes);
	ReleaseSysCache(tuple);
	/* a result's columns come behind the arguments */
	for (int i = 0; names != NULL && i < list_length(call->args) && found < 0; i++)
		if (strcmp(names[i], name) == 0)
			found = i;
	return found;
}

/* What a constant argument says, NULL when it is NULL or there is none; false when it is no constant */
static bool
constant_text(const FuncExpr *call, const char *name, char **value)
{
	int			at = FindArgument(call, name);
	Const	   *c;

	*value = NULL;
	if (at < 0)
		return true;
	c = list_nth(call->args, at);
	if (!IsA(c, Const))
		return false;
	if (!c->constisnull)
		*value = TextDatumGetCString(c->constvalue);
	return true;
}

bool
FindModelName(const FuncExpr *call, char **name)
{
	return constant_text(call, "model", name);
}

/* The longest of the tasks whose name the function's begins with */
static bool
task_by_name(const char *function, dsv_task *task)
{
	size_t		best = 0;

	for (int i = 0; i < lengthof(others); i++)
		if (strcmp(function, others[i].function) == 0)
		{
			*task = others[i].task;
			return true;
		}
	if (strncmp(function, PREFIX, strlen(PREFIX)) != 0)
		return false;
	for (int i = 0; i < DSV_TASK_COUNT; i++)
	{
		const char *name = dsv_task_name(i);
		size_t		len = strlen(name);

		if (len > best && strncmp(function + strlen(PREFIX), name, len) == 0)
		{
			best = len;
			*task = i;
		}
	}
	return best > 0;
}

bool
FindTask(const FuncExpr *call, dsv_task *task)
{
	char	   *word;

	if (!constant_text(call, "task", &word))
		return false;
	if (word != NULL)
		return ParseTask(word, task);
	if (!constant_text(call, "mode", &word))
		return false;
	/* "text" is what vl_ocr does by its name */
	if (word != NULL && ParseTask(word, task))
		return true;
	return task_by_name(get_func_name(call->funcid), task);
}
