/*
 * fn_stream.c
 *		vl_ask_stream: an answer row by row, while the model writes it.
 *
 * A value-per-call function: each row is computed when the executor asks for it, so a
 * LIMIT or a closed cursor ends the work, and between two FETCHes nothing is done for the
 * stream.  The rows together are vl_ask's answer to the byte: white space in front of it
 * is dropped, white space that may turn out to be its end is held back.
 */
#include "compat.h"

#include "funcapi.h"
#include "infer_job.h"
#include "tcop/tcopprot.h"

/* For pq_flush_if_writable() alone: headers of Kerberos and OpenSSL need not be installed. */
#undef ENABLE_GSS
#undef USE_OPENSSL
#include "libpq/libpq.h"

PG_FUNCTION_INFO_V1(vl_ask_stream);

typedef struct Stream
{
	InferCall	call;
	InferJob   *job;			/* NULL at the end */
	Size		shown;			/* bytes of the text that rows have shown, or that are dropped */
	bool		begun;			/* there was a row */
} Stream;

/* Rows that wait in the send buffer are of no use to a client that reads along. */
static void
send_rows(void)
{
	if (whereToSendOutput == DestRemote)
		pq_flush_if_writable();
}

/* The next row, from what is there already; NULL when more must be written first. */
static text *
take_piece(Stream *stream)
{
	Size		len;
	const char *s = InferText(stream->job, &len);
	Size		from = stream->shown;

	while (len > from && IsAnswerSpace(s[len - 1]))
		len--;
	while (!stream->begun && from < len && IsAnswerSpace(s[from]))
		from++;
	if (from == len)
		return NULL;
	stream->begun = true;
	stream->shown = len;
	return AnswerText(s + from, len - from);
}

static void
end_stream(Stream *stream)
{
	InferResult *result = FinishInfer(stream->job);
	VlError		error;

	stream->job = NULL;
	if (FindRowError(&stream->call, result, &error))
		ReportRowError(&stream->call, result, &error);
	else
		ReportTruncation(result);
}

static text *
next_piece(Stream *stream)
{
	text	   *piece;

	if (stream->job == NULL)
		return NULL;
	send_rows();
	while ((piece = take_piece(stream)) == NULL && !InferIsDone(stream->job))
		StepInfer(&stream->job, 1);
	RestInfer();
	if (piece == NULL)
		end_stream(stream);
	return piece;
}

static Stream *
start_stream(FunctionCallInfo fcinfo, MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	Stream	   *stream = palloc0(sizeof(*stream));

	ReadCall(fcinfo, DSV_TASK_ASK, 2, &stream->call);
	SetImage(&stream->call, PG_GETARG_BYTEA_PP(0));
	stream->call.prompt = Utf8Argument(fcinfo, 1);
	stream->job = StartInfer(&stream->call, false);
	stream->call.images = NULL;
	MemoryContextSwitchTo(caller);
	return stream;
}

/* vl_ask_stream(image, prompt, model, options): no rows for NULLs */
Datum
vl_ask_stream(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	text	   *piece = NULL;

	if (SRF_IS_FIRSTCALL())
	{
		funcctx = SRF_FIRSTCALL_INIT();
		if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
			funcctx->user_fctx = start_stream(fcinfo, funcctx->multi_call_memory_ctx);
	}
	funcctx = SRF_PERCALL_SETUP();
	if (funcctx->user_fctx != NULL)
		piece = next_piece(funcctx->user_fctx);
	if (piece == NULL)
		SRF_RETURN_DONE(funcctx);
	SRF_RETURN_NEXT(funcctx, PointerGetDatum(piece));
}
