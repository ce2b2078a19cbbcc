/*
 * fn_map.c
 *		vl_map: one task over the rows of a query, several calls in flight.
 *
 * The query runs inside the calling one as a subplan would: with the caller's rights and
 * snapshot, row by row as rows are wanted, its resources owned by the caller's portal.
 * (A cursor of SPI would be a portal of its own, which a rollback to a savepoint or the
 * commit of a holdable cursor may drop before its reader.)  It is ended when its rows are,
 * or when the caller's executor is shut down; after an error the portal's end frees it.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "infer_rows.h"
#include "parser/parse_coerce.h"
#include "task_call.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(vl_map);

typedef struct Map
{
	DestReceiver receiver;		/* first: the query's rows come here */
	InferCall	call;			/* what the rows have in common */
	InferRows  *rows;
	char	   *sql;
	QueryDesc  *query;			/* NULL when it has ended */
	ExprContext *econtext;		/* of the calling query */
	FmgrInfo	key_out;
	FmgrInfo	prompt_out;
	bool		has_prompts;	/* a third column */
	InferRow   *into;			/* where the next row goes; NULL when it has come */
} Map;

/* ---- the query's text ---- */

static void
add_context(void *arg)
{
	const char *sql = arg;

	if (!PointIntoQuery(sql))
		errcontext("query of vl_map \"%s\"", sql);
}

static void
refuse_query(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the query of vl_map must be a single SELECT that changes nothing")));
}

/* Column i of the query's, from 1, and the function that writes it out */
static void
find_output(TupleDesc desc, int i, FmgrInfo *out)
{
	Oid			function;
	bool		is_varlena;

	getTypeOutputInfo(TupleDescAttr(desc, i - 1)->atttypid, &function, &is_varlena);
	fmgr_info(function, out);
}

static void
check_columns(Map *map, TupleDesc desc)
{
	if (desc->natts < 2 || desc->natts > 3)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg_plural("the query of vl_map returns %d column", "the query of vl_map returns %d columns",
							   desc->natts, desc->natts),
				 errdetail("It must return a key, an image, and perhaps a prompt.")));
	if (getBaseType(TupleDescAttr(desc, 1)->atttypid) != BYTEAOID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the second column of the query of vl_map is of type %s, not bytea",
						format_type_be(TupleDescAttr(desc, 1)->atttypid))));
	find_output(desc, 1, &map->key_out);
	map->has_prompts = desc->natts == 3;
	if (!map->has_prompts)
		return;
	if (TypeCategory(getBaseType(TupleDescAttr(desc, 2)->atttypid)) != TYPCATEGORY_STRING)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the third column of the query of vl_map is of type %s, not text",
						format_type_be(TupleDescAttr(desc, 2)->atttypid))));
	find_output(desc, 3, &map->prompt_out);
}

static PlannedStmt *
plan_query(Map *map)
{
	List	   *parsed = pg_parse_query(map->sql);
	List	   *rewritten;
	Query	   *query;
	PlannedStmt *plan;

	if (list_length(parsed) != 1)
		refuse_query();
	rewritten = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, parsed), map->sql, NULL, 0, NULL);
	if (list_length(rewritten) != 1)
		refuse_query();
	query = linitial_node(Query, rewritten);
	if (query->commandType != CMD_SELECT)
		refuse_query();
	check_columns(map, ExecCleanTypeFromTL(query->targetList));
	plan = pg_plan_query(query, map->sql, 0, NULL);
	if (!CommandIsReadOnly(plan))
		refuse_query();
	return plan;
}

/* ---- the query's rows ---- */

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Map		   *map = (Map *) self;
	InferRow   *row = map->into;
	MemoryContext caller = MemoryContextSwitchTo(row->context);

	slot_getallattrs(slot);
	if (!slot->tts_isnull[0])
		row->key = OutputFunctionCall(&map->key_out, slot->tts_values[0]);
	row->asked = !slot->tts_isnull[1] && !(map->has_prompts && slot->tts_isnull[2]);
	if (row->asked)
	{
		row->call = map->call;
		if (map->has_prompts)
		{
			char	   *prompt = OutputFunctionCall(&map->prompt_out, slot->tts_values[2]);

			SetTaskPrompt(&row->call, ToUtf8(prompt, strlen(prompt)));
		}
		MemoryContextSwitchTo(row->input);
		SetImage(&row->call, DatumGetByteaPCopy(slot->tts_values[1]));
	}
	map->into = NULL;
	MemoryContextSwitchTo(caller);
	return true;
}

static void
receive_nothing(DestReceiver *self)
{
}

static void
receive_start(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
end_query(Datum arg)
{
	Map		   *map = (Map *) DatumGetPointer(arg);
	QueryDesc  *query = map->query;

	if (query == NULL)
		return;
	map->query = NULL;
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

static bool
next_row(void *source, InferRow *row)
{
	Map		   *map = source;
	ErrorContextCallback context = {error_context_stack, add_context, map->sql};

	map->into = row;
	error_context_stack = &context;
	PushActiveSnapshot(map->query->snapshot);
	RunExecutor(map->query, 1);
	PopActiveSnapshot();
	error_context_stack = context.previous;
	if (map->into == NULL)
		return true;
	UnregisterExprContextCallback(map->econtext, end_query, PointerGetDatum(map));
	end_query(PointerGetDatum(map));
	return false;
}

static void
start_query(Map *map, ExprContext *econtext)
{
	ErrorContextCallback context = {error_context_stack, add_context, map->sql};
	PlannedStmt *plan;

	error_context_stack = &context;
	plan = plan_query(map);
	map->receiver = (DestReceiver) {receive, receive_start, receive_nothing, receive_nothing, DestNone};
	map->query = CreateQueryDesc(plan, map->sql, GetActiveSnapshot(), InvalidSnapshot, &map->receiver,
								 NULL, NULL, 0);
	ExecutorStart(map->query, 0);
	error_context_stack = context.previous;
	map->econtext = econtext;
	RegisterExprContextCallback(econtext, end_query, PointerGetDatum(map));
}

/* ---- the function ---- */

/* Current context: that of all calls */
static Map *
start_map(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Map		   *map = palloc0(sizeof(*map));

	map->sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ReadCall(fcinfo, TaskByName(text_to_cstring(PG_GETARG_TEXT_PP(1))), 4, &map->call);
	SetTaskArguments(&map->call, PG_ARGISNULL(2) ? NULL : Utf8Argument(fcinfo, 2),
					 PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
	start_query(map, rsinfo->econtext);
	if (map->has_prompts && map->call.prompt != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("vl_map has a prompt, and its query returns prompts")));
	if (map->has_prompts && !TaskNeedsPrompt(map->call.task))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the task \"%s\" takes no prompt", dsv_task_name(map->call.task)),
				 errdetail("The query of vl_map returns three columns.")));
	if (!map->has_prompts && map->call.prompt == NULL && TaskNeedsPrompt(map->call.task))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the task \"%s\" needs a prompt", dsv_task_name(map->call.task)),
				 errhint("Give vl_map a prompt, or let its query return prompts as a third column.")));
	if (PG_ARGISNULL(3) && TaskNeedsFields(map->call.task))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the task \"%s\" needs fields", dsv_task_name(map->call.task))));
	map->rows = StartInferRows(map->call.options.in_flight, next_row, map);
	return map;
}

/* vl_map(query, task, prompt, fields, model, options) */
Datum
vl_map(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	Map		   *map;
	InferRow   *row = NULL;
	Datum		key;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;

		funcctx = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &funcctx->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "vl_map must return rows");
		BlessTupleDesc(funcctx->tuple_desc);
		if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
			funcctx->user_fctx = start_map(fcinfo);
		MemoryContextSwitchTo(caller);
	}
	funcctx = SRF_PERCALL_SETUP();
	map = funcctx->user_fctx;
	if (map != NULL)
		row = NextInferRow(map->rows);
	if (row == NULL)
		SRF_RETURN_DONE(funcctx);
	key = row->key != NULL ? CStringGetTextDatum(row->key) : (Datum) 0;
	SRF_RETURN_NEXT(funcctx, InferRowTuple(row, funcctx->tuple_desc, key, row->key == NULL));
}
