/*
 * infer.c
 *		Prompt, memo, engine, result.
 *
 * Between steps no frame of the engine is on the stack, so interrupts may be processed
 * there; inside a step the poll callback only looks.  Whatever is raised on the way, the
 * sequence is released.
 */
#include "infer.h"

#include "backend_engine.h"
#include "guc.h"
#include "mb/pg_wchar.h"
#include "memo.h"
#include "near_miss.h"
#include "progress.h"
#include "utils/array.h"
#include "utils/builtins.h"

static const char *const task_names[DSV_TASK_COUNT] = {
	[DSV_TASK_OCR] = "ocr",
	[DSV_TASK_OCR_MARKDOWN] = "markdown",
	[DSV_TASK_DESCRIBE] = "describe",
	[DSV_TASK_ASK] = "ask",
	[DSV_TASK_GROUND] = "ground",
	[DSV_TASK_GROUND_ANSWER] = "ground_answer",
};

const char *
TaskName(dsv_task task)
{
	return task_names[task];
}

bool
ParseTask(const char *name, dsv_task *task)
{
	for (int i = 0; i < DSV_TASK_COUNT; i++)
		if (strcmp(name, task_names[i]) == 0)
		{
			*task = i;
			return true;
		}
	return false;
}

void
ReadCall(FunctionCallInfo fcinfo, dsv_task task, int model_arg, InferCall *call)
{
	Jsonb	   *options = PG_ARGISNULL(model_arg + 1) ? NULL : PG_GETARG_JSONB_P(model_arg + 1);

	memset(call, 0, sizeof(*call));
	call->task = task;
	call->model = ResolveModel(ExtensionSchema(fcinfo), PG_ARGISNULL(model_arg) ? NULL :
							   text_to_cstring(PG_GETARG_TEXT_PP(model_arg)));
	ReadOptions(options, &call->options);
}

char *
Utf8Argument(FunctionCallInfo fcinfo, int arg)
{
	text	   *t = PG_GETARG_TEXT_PP(arg);

	return ToUtf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* ---- results ---- */

InferResult *
CopyInferResult(const InferResult *result, MemoryContext context)
{
	InferResult *copy = MemoryContextAlloc(context, sizeof(*copy));

	*copy = *result;
	copy->text = MemoryContextAlloc(context, result->len + 1);
	memcpy(copy->text, result->text, result->len);
	copy->text[result->len] = '\0';
	copy->logprobs = MemoryContextAlloc(context, result->ntokens * sizeof(float) + 1);
	memcpy(copy->logprobs, result->logprobs, result->ntokens * sizeof(float));
	copy->images = MemoryContextAlloc(context, result->nimages * sizeof(dsv_image_info) + 1);
	memcpy(copy->images, result->images, result->nimages * sizeof(dsv_image_info));
	return copy;
}

void
FreeInferResult(InferResult *result)
{
	pfree(result->text);
	pfree(result->logprobs);
	pfree(result->images);
	pfree(result);
}

Size
InferResultSize(const InferResult *result)
{
	return sizeof(*result) + result->len + result->ntokens * sizeof(float) +
		result->nimages * sizeof(dsv_image_info) + 128;
}

static InferResult *
row_error_result(const InferCall *call, BackendModel *backend, const VlError *error)
{
	InferResult empty = {.error = *error, .text = "", .logprobs = NULL};

	strlcpy(empty.digest, dsv_model_get_info(GetBackendModel(backend))->digest, sizeof(empty.digest));
	return CopyInferResult(&empty, CurrentMemoryContext);
}

static InferResult *
sequence_result(const InferCall *call, BackendModel *backend, dsv_sequence *seq)
{
	const dsv_result *r = dsv_sequence_result(seq);
	InferResult result = {
		.text = (char *) r->text,
		.len = r->len,
		.finish = r->finish,
		.usage = r->usage,
		.ntokens = r->ntokens,
		.logprobs = (float *) r->logprobs,
		.nimages = r->nimages,
		.images = (dsv_image_info *) r->images,
		.oriented = !call->options.image.ignore_exif && !call->options.image.reference_decode,
	};

	strlcpy(result.digest, dsv_model_get_info(GetBackendModel(backend))->digest, sizeof(result.digest));
	return CopyInferResult(&result, CurrentMemoryContext);
}

/* ---- the prompt ---- */

/* Number n of a "{n}" at s, or 0; *after is set behind it */
static int
placeholder(const char *s, const char **after)
{
	char	   *end;
	long		n;

	if (s[0] != '{' || s[1] < '1' || s[1] > '9')
		return 0;
	n = strtol(s + 1, &end, 10);
	if (*end != '}' || n > 10000)
		return 0;
	*after = end + 1;
	return (int) n;
}

typedef struct PromptParts
{
	dsv_part   *parts;
	int			nparts;
	dsv_bytes  *images;			/* in the order of their parts */
	int			nimages;
} PromptParts;

static void
add_image(PromptParts *p, const bytea *image)
{
	p->parts[p->nparts++] = (dsv_part) {DSV_PART_IMAGE, NULL, 0};
	p->images[p->nimages++] = (dsv_bytes) {VARDATA_ANY(image), VARSIZE_ANY_EXHDR(image)};
}

static void
add_text(PromptParts *p, dsv_part_kind kind, const char *s, size_t len)
{
	if (len > 0)
		p->parts[p->nparts++] = (dsv_part) {kind, s, len};
}

/* The prompt with images at its placeholders; false when there is none.  Each image must stand
 * exactly once. */
static bool
place_images(const InferCall *call, PromptParts *p)
{
	bool	   *placed = palloc0(call->nimages * sizeof(bool) + 1);
	const char *from = call->prompt;
	const char *s;
	const char *after;

	for (s = from; *s != '\0';)
	{
		int			n = placeholder(s, &after);

		if (n == 0)
		{
			s++;
			continue;
		}
		if (n > call->nimages)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the prompt names image {%d}, but there are %d", n, call->nimages)));
		if (placed[n - 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the prompt names image {%d} twice", n)));
		placed[n - 1] = true;
		add_text(p, DSV_PART_TEXT, from, s - from);
		add_image(p, call->images[n - 1]);
		from = s = after;
	}
	if (p->nimages == 0)
		return false;
	add_text(p, DSV_PART_TEXT, from, s - from);
	if (p->nimages < call->nimages)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the prompt names %d of %d images", p->nimages, call->nimages),
				 errhint("Name each image once, or none: then all stand in front.")));
	return true;
}

static void
build_parts(const InferCall *call, const char *task_prompt, PromptParts *p)
{
	dsv_part	task[3];
	int			ntask;

	/* a placeholder takes three bytes, and gives an image and a text */
	p->parts = palloc((call->nimages * 2 + 8) * sizeof(dsv_part));
	p->images = palloc(call->nimages * sizeof(dsv_bytes) + 1);
	p->nparts = p->nimages = 0;
	if (call->place_images && place_images(call, p))
		return;
	for (int i = 0; i < call->nimages; i++)
	{
		add_image(p, call->images[i]);
		add_text(p, DSV_PART_SPECIAL, "\n", 1);
	}
	ntask = dsv_task_parts(task_prompt, call->prompt != NULL ? call->prompt : "",
						   call->prompt != NULL ? strlen(call->prompt) : 0, task);
	for (int i = 0; i < ntask; i++)
		p->parts[p->nparts++] = task[i];
}

/* Everything that decides the answer; strings go in with their length. */
static void
make_key(const InferCall *call, BackendModel *backend, const char *task_prompt, MemoKey *key)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "%s %d %d %d %d ", dsv_model_get_info(GetBackendModel(backend))->digest,
					 call->task, SettingPrecision, (int) dsv_cpu_current(), call->place_images);
	appendStringInfo(&s, "%zu:%s ", strlen(task_prompt), task_prompt);
	if (call->prompt != NULL)
		appendStringInfo(&s, "%zu:%s ", strlen(call->prompt), call->prompt);
	AppendOptionsKey(&s, &call->options);
	for (int i = 0; i < call->nimages; i++)
	{
		char		hex[65];

		dsv_sha256_hex(VARDATA_ANY(call->images[i]), VARSIZE_ANY_EXHDR(call->images[i]), hex);
		appendStringInfoString(&s, hex);
	}
	dsv_sha256_hex(s.data, s.len, key->hex);
	pfree(s.data);
}

/* ---- the run ---- */

/* Row errors are returned, others raised. */
static bool
take_row_error(const dsv_error *err, VlError *error)
{
	if (err->code == DSV_CANCELED)
		RaiseCancel();
	VlErrorFromEngine(error, err);
	if (!VlErrorIsRow(error))
		VlErrorReport(error, ERROR);
	return true;
}

static void
log_usage(const InferCall *call, const dsv_usage *u)
{
	if (!SettingLogUsage)
		return;
	ereport(LOG,
			(errmsg("dsvl2: %s with model \"%s\": %d + %d tokens (%d of images, %d cached), %d tiles, "
					"image %.1f ms, vision %.1f ms, prefill %.1f ms, decode %.1f ms",
					TaskName(call->task), call->model->name, u->prompt_tokens, u->output_tokens,
					u->image_tokens, u->cached_tokens, u->tiles, u->decode_image_ms, u->vision_ms,
					u->prefill_ms, u->decode_ms)));
}

static InferResult *
run_sequence(const InferCall *call, BackendModel *backend, dsv_engine *engine, const dsv_request *request)
{
	dsv_sequence *volatile seq = NULL;
	InferResult *volatile result = NULL;

	PG_TRY();
	{
		dsv_sequence *submitted;
		dsv_error	err;
		VlError		error;

		PollStart(call->options.timeout_ms);
		ProgressPhase("image");
		if (dsv_engine_submit(engine, request, &submitted, &err) != DSV_OK)
		{
			take_row_error(&err, &error);
			result = row_error_result(call, backend, &error);
		}
		else
		{
			seq = submitted;
			PollWatch(seq);
			Counters.inferences++;
			Counters.images += call->nimages;
			while (dsv_sequence_state(seq) < DSV_STATE_DONE)
			{
				CHECK_FOR_INTERRUPTS();
				if (dsv_engine_step(engine, &err) != DSV_OK)
					take_row_error(&err, &error);
			}
			result = sequence_result(call, backend, seq);
		}
	}
	PG_FINALLY();
	{
		PollEnd();
		dsv_sequence_release(seq);
	}
	PG_END_TRY();
	return result;
}

static InferResult *
compute(const InferCall *call, BackendModel *backend, const char *task_prompt)
{
	dsv_engine *engine = GetBackendEngine(backend);
	dsv_turn	turns[2];
	dsv_part	system_part;
	dsv_request request = {
		.turns = turns,
		.image = call->options.image,
		.sampling = call->options.sampling,
		.stop = call->options.stop,
		.nstop = call->options.nstop,
		.max_tokens = call->options.max_tokens,
		.keep_special = call->task == DSV_TASK_GROUND || call->task == DSV_TASK_GROUND_ANSWER,
	};
	PromptParts p;
	InferResult *result;

	build_parts(call, task_prompt, &p);
	if (call->options.system != NULL)
	{
		system_part = (dsv_part) {DSV_PART_TEXT, call->options.system, strlen(call->options.system)};
		turns[request.nturns++] = (dsv_turn) {DSV_ROLE_SYSTEM, &system_part, 1};
	}
	turns[request.nturns++] = (dsv_turn) {DSV_ROLE_USER, p.parts, p.nparts};
	request.images = p.images;
	request.nimages = p.nimages;

	ProgressStart(TaskName(call->task), call->model->name);
	PG_TRY();
	{
		result = run_sequence(call, backend, engine, &request);
	}
	PG_FINALLY();
	{
		ProgressEnd();
	}
	PG_END_TRY();
	Counters.input_tokens += result->usage.prompt_tokens;
	Counters.output_tokens += result->usage.output_tokens;
	log_usage(call, &result->usage);
	return result;
}

InferResult *
Infer(const InferCall *call, bool *from_memo)
{
	BackendModel *backend = OpenBackendModel(call->model);
	const char *task_prompt = dsv_model_task_prompt(GetBackendModel(backend), call->task);
	const InferResult *known;
	InferResult *result;
	MemoKey		key;

	if (from_memo != NULL)
		*from_memo = false;
	Counters.calls++;
	if (task_prompt == NULL)
	{
		VlError		error;

		VlErrorSet(&error, ERRCODE_VL_EMPTY, psprintf("model \"%s\" was not trained for the task \"%s\"",
													  call->model->name, TaskName(call->task)));
		strlcpy(error.hint, "Register a published DeepSeek-VL2 model with vl_register_model(name, path).",
				sizeof(error.hint));
		return row_error_result(call, backend, &error);
	}
	dsv_cpu_set(SettingCpuLevel);
	make_key(call, backend, task_prompt, &key);
	known = MemoFind(&key);
	if (known != NULL)
	{
		Counters.memo_hits++;
		if (from_memo != NULL)
			*from_memo = true;
		return CopyInferResult(known, CurrentMemoryContext);
	}
	result = compute(call, backend, task_prompt);
	MemoStore(&key, result);
	RememberUsage(call, result);
	return result;
}

/* ---- what functions do with a result ---- */

void
ReportRowError(const InferCall *call, const VlError *error)
{
	Counters.row_errors++;
	if (call->options.on_error == ON_ERROR_ERROR)
		VlErrorReport(error, ERROR);
	else if (call->options.on_error == ON_ERROR_WARNING)
		VlErrorReport(error, WARNING);
}

static bool
is_blank(const InferResult *result)
{
	for (Size i = 0; i < result->len; i++)
		if (strchr(" \t\r\n", result->text[i]) == NULL)
			return false;
	return true;
}

/* A truncated page must never look like a short page; a free answer may be cut, with a NOTICE. */
bool
AnswerIsGood(const InferCall *call, const InferResult *result, VlError *error)
{
	*error = result->error;
	if (error->sqlerrcode != 0)
		return false;
	if (result->finish == DSV_FINISH_LENGTH)
	{
		if (call->task == DSV_TASK_ASK || call->task == DSV_TASK_DESCRIBE)
			ereport(NOTICE,
					(errmsg("the answer was cut off after %d tokens", result->ntokens),
					 errhint("Raise the option \"max_tokens\"; vl_run() tells it as a column.")));
		else
		{
			VlErrorSet(error, ERRCODE_VL_TRUNCATED,
					   psprintf("the answer was cut off after %d tokens", result->ntokens));
			strlcpy(error->hint, "Raise the option \"max_tokens\" or the setting dsvl2.max_tokens.",
					sizeof(error->hint));
			return false;
		}
	}
	if (is_blank(result))
	{
		VlErrorSet(error, ERRCODE_VL_EMPTY, "the model gave an empty answer");
		return false;
	}
	return true;
}

text *
AnswerText(const char *utf8, Size len)
{
	StringInfoData s;
	char	   *converted;

	initStringInfo(&s);
	for (Size i = 0; i < len; i++)
		if (utf8[i] == '\0')
			appendStringInfoString(&s, "\xEF\xBF\xBD");
		else
			appendStringInfoCharMacro(&s, utf8[i]);
	converted = pg_any_to_server(s.data, s.len, PG_UTF8);
	return cstring_to_text(converted);
}
