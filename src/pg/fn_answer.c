/*
 * fn_answer.c
 *		vl_ocr, vl_ask, vl_ask_multi, vl_describe, vl_run.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "decide.h"
#include "funcapi.h"
#include "infer.h"
#include "memo.h"
#include "task_call.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(vl_ocr);
PG_FUNCTION_INFO_V1(vl_ask);
PG_FUNCTION_INFO_V1(vl_ask_multi);
PG_FUNCTION_INFO_V1(vl_describe);
PG_FUNCTION_INFO_V1(vl_run);

/* The answer as text, or NULL after a row error that on_error forgives */
static Datum
answer(FunctionCallInfo fcinfo, const InferCall *call)
{
	InferResult *result = InferOrReport(call);

	if (result == NULL)
		PG_RETURN_NULL();
	ReportTruncation(result);
	PG_RETURN_TEXT_P(TrimmedAnswer(result));
}

static Datum
answer_one(FunctionCallInfo fcinfo, InferCall *call, char *prompt)
{
	SetImage(call, PG_GETARG_BYTEA_PP(0));
	call->prompt = prompt;
	return answer(fcinfo, call);
}

/* vl_ocr(image, mode, model, options) */
Datum
vl_ocr(PG_FUNCTION_ARGS)
{
	InferCall	call;
	char	   *mode;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	mode = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (strcmp(mode, "text") != 0 && strcmp(mode, "markdown") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown mode \"%s\"", mode),
				 errhint("The modes are \"text\" and \"markdown\".")));
	ReadCall(fcinfo, strcmp(mode, "text") == 0 ? DSV_TASK_OCR : DSV_TASK_OCR_MARKDOWN, 2, &call);
	return answer_one(fcinfo, &call, NULL);
}

/* vl_ask(image, prompt, model, options) */
Datum
vl_ask(PG_FUNCTION_ARGS)
{
	InferCall	call;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ReadCall(fcinfo, DSV_TASK_ASK, 2, &call);
	return answer_one(fcinfo, &call, Utf8Argument(fcinfo, 1));
}

/* vl_describe(image, model, options) */
Datum
vl_describe(PG_FUNCTION_ARGS)
{
	InferCall	call;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ReadCall(fcinfo, DSV_TASK_DESCRIBE, 1, &call);
	return answer_one(fcinfo, &call, NULL);
}

/* vl_ask_multi(images, prompt, model, options): a NULL element makes the answer NULL, as a NULL
 * image does */
Datum
vl_ask_multi(PG_FUNCTION_ARGS)
{
	InferCall	call;
	Datum	   *elements;
	bool	   *nulls;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ReadCall(fcinfo, DSV_TASK_ASK, 2, &call);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), BYTEAOID, -1, false, TYPALIGN_INT, &elements, &nulls,
					  &call.nimages);
	if (call.nimages == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("vl_ask_multi needs at least one image")));
	call.images = palloc(call.nimages * sizeof(bytea *));
	for (int i = 0; i < call.nimages; i++)
	{
		if (nulls[i])
			PG_RETURN_NULL();
		call.images[i] = DatumGetByteaPP(elements[i]);
	}
	call.prompt = Utf8Argument(fcinfo, 1);
	call.place_images = true;
	return answer(fcinfo, &call);
}

/* ---- vl_run ---- */

static Datum
logprob_array(const InferResult *result)
{
	Datum	   *values = palloc(result->ntokens * sizeof(Datum) + 1);

	for (int i = 0; i < result->ntokens; i++)
		values[i] = Float4GetDatum(result->logprobs[i]);
	return PointerGetDatum(construct_array(values, result->ntokens, FLOAT4OID, sizeof(float4), true,
										   TYPALIGN_INT));
}

/* Columns of the composite type vl_result, in its order */
enum
{
	R_VALUE,
	R_TASK,
	R_MODEL,
	R_DIGEST,
	R_FINISH,
	R_TRUNCATED,
	R_SCORE,
	R_LOGPROBS,
	R_PROMPT_TOKENS,
	R_IMAGE_TOKENS,
	R_CACHED_TOKENS,
	R_OUTPUT_TOKENS,
	R_TILES,
	R_IMAGE_MS,
	R_VISION_MS,
	R_PREFILL_MS,
	R_DECODE_MS,
	R_MEMO,
	R_ERROR_CODE,
	R_ERROR,
	R_COLUMNS
};

/* What was chosen, and its probability even where the choice is withheld */
static void
put_choice(const InferCall *call, const InferResult *r, const VlError *error, Datum *values, bool *nulls)
{
	nulls[R_VALUE] = nulls[R_SCORE] = error->sqlerrcode != 0;
	if (error->sqlerrcode == 0)
	{
		float4	   *scores = CandidateScores(call, r);
		int			best = BestCandidate(call, scores, &nulls[R_VALUE]);

		values[R_VALUE] = PointerGetDatum(CandidateName(call, best));
		values[R_SCORE] = Float4GetDatum(scores[best]);
	}
}

/* error: what the other functions would raise.  A truncated value is there beside it. */
static Datum
result_row(FunctionCallInfo fcinfo, const InferCall *call, const InferResult *r, const VlError *error)
{
	bool		answered = r->error.sqlerrcode == 0;
	Datum		values[R_COLUMNS] = {0};
	bool		nulls[R_COLUMNS] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "vl_run must return a row");
	values[R_TASK] = CStringGetTextDatum(dsv_task_name(call->task));
	values[R_MODEL] = CStringGetTextDatum(call->model->name);
	values[R_DIGEST] = CStringGetTextDatum(r->digest);
	values[R_MEMO] = BoolGetDatum(r->from_memo);
	values[R_TRUNCATED] = BoolGetDatum(r->finish == DSV_FINISH_LENGTH);
	values[R_PROMPT_TOKENS] = Int32GetDatum(r->usage.prompt_tokens);
	values[R_IMAGE_TOKENS] = Int32GetDatum(r->usage.image_tokens);
	values[R_CACHED_TOKENS] = Int32GetDatum(r->usage.cached_tokens);
	values[R_OUTPUT_TOKENS] = Int32GetDatum(r->usage.output_tokens);
	values[R_TILES] = Int32GetDatum(r->usage.tiles);
	values[R_IMAGE_MS] = Float8GetDatum(r->usage.decode_image_ms);
	values[R_VISION_MS] = Float8GetDatum(r->usage.vision_ms);
	values[R_PREFILL_MS] = Float8GetDatum(r->usage.prefill_ms);
	values[R_DECODE_MS] = Float8GetDatum(r->usage.decode_ms);
	nulls[R_VALUE] = nulls[R_FINISH] = !answered;
	nulls[R_LOGPROBS] = !answered || !call->options.scores;
	nulls[R_SCORE] = r->ntokens == 0;
	nulls[R_ERROR_CODE] = nulls[R_ERROR] = error->sqlerrcode == 0;
	if (!nulls[R_VALUE])
		values[R_VALUE] = PointerGetDatum(TrimmedAnswer(r));
	if (!nulls[R_FINISH])
		values[R_FINISH] = CStringGetTextDatum(dsv_finish_name(r->finish));
	if (!nulls[R_LOGPROBS])
		values[R_LOGPROBS] = logprob_array(r);
	if (!nulls[R_SCORE])
		values[R_SCORE] = Float4GetDatum(AnswerScore(r, 0, r->len));
	if (call->ncandidates > 0)
		put_choice(call, r, error, values, nulls);
	if (!nulls[R_ERROR])
	{
		values[R_ERROR_CODE] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
		values[R_ERROR] = CStringGetTextDatum(error->message);
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* vl_run(task, image, prompt, fields, model, options): row errors are columns */
Datum
vl_run(PG_FUNCTION_ARGS)
{
	InferCall	call;
	InferResult *result;
	VlError		error;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ReadCall(fcinfo, TaskByName(text_to_cstring(PG_GETARG_TEXT_PP(0))), 4, &call);
	SetTaskArguments(&call, PG_ARGISNULL(2) ? NULL : Utf8Argument(fcinfo, 2),
					 PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3));
	call.no_logprobs = false;	/* the column score */
	if ((call.prompt == NULL && TaskNeedsPrompt(call.task)) || (PG_ARGISNULL(3) && TaskNeedsFields(call.task)))
		PG_RETURN_NULL();
	SetImage(&call, PG_GETARG_BYTEA_PP(1));
	result = Infer(&call);
	if (FindRowError(&call, result, &error))
		Counters.row_errors++;
	return result_row(fcinfo, &call, result, &error);
}
