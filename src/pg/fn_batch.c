/*
 * fn_batch.c
 *		vl_ask_batch: questions about many images, decoded together.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "infer_rows.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(vl_ask_batch);
PG_FUNCTION_INFO_V1(vl_ask_batch_many);

typedef struct Batch
{
	InferCall	call;			/* what the rows have in common */
	InferRows  *rows;
	Datum	   *images;
	bool	   *image_nulls;
	int			n;
	char	   *prompt;			/* of all rows, or NULL: each has its own */
	Datum	   *prompts;
	bool	   *prompt_nulls;
	int			next;			/* from 0 */
	int			returned;
} Batch;

static bool
next_row(void *source, InferRow *row)
{
	Batch	   *batch = source;
	int			i = batch->next;
	MemoryContext caller;

	if (i == batch->n)
		return false;
	batch->next++;
	row->asked = !batch->image_nulls[i] && (batch->prompt != NULL || !batch->prompt_nulls[i]);
	if (!row->asked)
		return true;
	row->call = batch->call;
	row->call.prompt = batch->prompt;
	if (batch->prompt == NULL)
	{
		text	   *prompt = DatumGetTextPP(batch->prompts[i]);

		row->call.prompt = ToUtf8(VARDATA_ANY(prompt), VARSIZE_ANY_EXHDR(prompt));
	}
	caller = MemoryContextSwitchTo(row->input);
	SetImage(&row->call, DatumGetByteaPP(batch->images[i]));
	MemoryContextSwitchTo(caller);
	return true;
}

/* Current context: that of all calls */
static Batch *
start_batch(FunctionCallInfo fcinfo, bool many)
{
	Batch	   *batch = palloc0(sizeof(*batch));
	int			nprompts;

	ReadCall(fcinfo, DSV_TASK_ASK, 2, &batch->call);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), BYTEAOID, -1, false, TYPALIGN_INT, &batch->images,
					  &batch->image_nulls, &batch->n);
	if (!many)
		batch->prompt = Utf8Argument(fcinfo, 1);
	else
	{
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &batch->prompts,
						  &batch->prompt_nulls, &nprompts);
		if (nprompts != batch->n)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("number of prompts (%d) and number of images (%d) differ", nprompts, batch->n)));
	}
	batch->rows = StartInferRows(batch->call.options.in_flight, next_row, batch);
	return batch;
}

static Datum
ask_batch(FunctionCallInfo fcinfo, bool many)
{
	FuncCallContext *funcctx;
	Batch	   *batch;
	InferRow   *row = NULL;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;

		funcctx = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &funcctx->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "vl_ask_batch must return rows");
		BlessTupleDesc(funcctx->tuple_desc);
		if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
			funcctx->user_fctx = start_batch(fcinfo, many);
		MemoryContextSwitchTo(caller);
	}
	funcctx = SRF_PERCALL_SETUP();
	batch = funcctx->user_fctx;
	if (batch != NULL)
		row = NextInferRow(batch->rows);
	if (row == NULL)
		SRF_RETURN_DONE(funcctx);
	SRF_RETURN_NEXT(funcctx, InferRowTuple(row, funcctx->tuple_desc, Int32GetDatum(++batch->returned), false));
}

/* vl_ask_batch(images, prompt, model, options): no rows for NULLs */
Datum
vl_ask_batch(PG_FUNCTION_ARGS)
{
	return ask_batch(fcinfo, false);
}

/* vl_ask_batch(images, prompts, model, options) */
Datum
vl_ask_batch_many(PG_FUNCTION_ARGS)
{
	return ask_batch(fcinfo, true);
}
