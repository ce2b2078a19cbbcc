/*
 * infer.c
 *		Prompt, memo, engine, result.
 *
 * Between steps no frame of the engine is on the stack, so interrupts may be processed
 * there; inside a step the poll callback only looks.  Whatever is raised on the way, the
 * sequence is released.
 */
#include "infer.h"

#include <math.h>

#include "backend_engine.h"
#include "guc.h"
#include "mb/pg_wchar.h"
#include "memo.h"
#include "progress.h"
#include "utils/builtins.h"

/* A millisecond or a few of hashing */
#define DIGEST_PIECE ((Size) 1024 * 1024)

bool
ParseTask(const char *name, dsv_task *task)
{
	for (int i = 0; i < DSV_TASK_COUNT; i++)
		if (strcmp(name, dsv_task_name(i)) == 0)
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
	ReadOptions(options, task, &call->options);
}

char *
Utf8Argument(FunctionCallInfo fcinfo, int arg)
{
	text	   *t = PG_GETARG_TEXT_PP(arg);

	return ToUtf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* ---- results ---- */

/* With a zero byte behind them */
static void *
copy_bytes(const void *bytes, Size len, MemoryContext context)
{
	char	   *copy = MemoryContextAlloc(context, len + 1);

	if (len > 0)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

InferResult *
CopyInferResult(const InferResult *result, MemoryContext context)
{
	InferResult *copy = MemoryContextAlloc(context, sizeof(*copy));

	*copy = *result;
	copy->text = copy_bytes(result->text, result->len, context);
	copy->logprobs = copy_bytes(result->logprobs, result->ntokens * sizeof(float), context);
	copy->ends = copy_bytes(result->ends, result->ntokens * sizeof(int32), context);
	copy->images = copy_bytes(result->images, result->nimages * sizeof(dsv_image_info), context);
	copy->candidates = copy_bytes(result->candidates, result->ncandidates * sizeof(dsv_candidate), context);
	return copy;
}

void
FreeInferResult(InferResult *result)
{
	pfree(result->text);
	pfree(result->logprobs);
	pfree(result->ends);
	pfree(result->images);
	pfree(result->candidates);
	pfree(result);
}

Size
InferResultSize(const InferResult *result)
{
	return sizeof(*result) + result->len + result->ntokens * (sizeof(float) + sizeof(int32)) +
		result->nimages * sizeof(dsv_image_info) + result->ncandidates * sizeof(dsv_candidate) + 128;
}

static InferResult *
row_error_result(BackendModel *backend, const VlError *error)
{
	InferResult empty = {.error = *error, .text = ""};

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
		.ends = (int32 *) r->ends,
		.nimages = r->nimages,
		.images = (dsv_image_info *) r->images,
		.ncandidates = r->ncandidates,
		.candidates = (dsv_candidate *) r->candidates,
		.oriented = !call->options.image.ignore_exif && !call->options.image.reference_decode,
	};

	strlcpy(result.digest, dsv_model_get_info(GetBackendModel(backend))->digest, sizeof(result.digest));
	return CopyInferResult(&result, CurrentMemoryContext);
}

/* ---- the prompt ---- */

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

/* The next "{n}" in s, or NULL; *after is set behind it.  What is no int counts as INT_MAX. */
static const char *
find_placeholder(const char *s, int *n, const char **after)
{
	for (s = strchr(s, '{'); s != NULL; s = strchr(s + 1, '{'))
	{
		size_t		digits = strspn(s + 1, "0123456789");

		if (digits == 0 || s[1 + digits] != '}')
			continue;
		*n = digits < 9 ? atoi(s + 1) : INT_MAX;
		*after = s + digits + 2;
		return s;
	}
	return NULL;
}

/* Whether the caller's text says where the images stand; then each must stand exactly once. */
static bool
check_placeholders(const InferCall *call)
{
	bool	   *placed = palloc0(call->nimages * sizeof(bool));
	const char *from = call->prompt;
	int			count = 0;
	int			n;

	while (find_placeholder(from, &n, &from) != NULL)
	{
		if (n < 1 || n > call->nimages)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the prompt names image {%d}, but the number of images is %d",
							n, call->nimages)));
		if (placed[n - 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the prompt names image {%d} twice", n)));
		placed[n - 1] = true;
		count++;
	}
	if (count > 0 && count < call->nimages)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the prompt names %d of %d images", count, call->nimages),
				 errhint("Name each image once, or none: then all stand in front.")));
	return count > 0;
}

/* The caller's text with the images at its placeholders */
static void
add_placed_text(const InferCall *call, PromptParts *p)
{
	const char *from = call->prompt;
	const char *after;
	const char *at;
	int			n;

	while ((at = find_placeholder(from, &n, &after)) != NULL)
	{
		add_text(p, DSV_PART_TEXT, from, at - from);
		add_image(p, call->images[n - 1]);
		from = after;
	}
	add_text(p, DSV_PART_TEXT, from, strlen(from));
}

static void
build_parts(const InferCall *call, const char *task_prompt, PromptParts *p)
{
	const char *user = call->prompt != NULL ? call->prompt : "";
	bool		placed = call->place_images && check_placeholders(call);
	dsv_part	task[3];
	int			ntask = dsv_task_parts(task_prompt, user, strlen(user), task);

	/* an image comes with one text; the task has three parts at most */
	p->parts = palloc((call->nimages * 2 + 4) * sizeof(dsv_part));
	p->images = palloc(call->nimages * sizeof(dsv_bytes));
	p->nparts = p->nimages = 0;
	for (int i = 0; i < call->nimages && !placed; i++)
	{
		add_image(p, call->images[i]);
		add_text(p, DSV_PART_SPECIAL, "\n", 1);
	}
	for (int i = 0; i < ntask; i++)
	{
		if (placed && task[i].kind == DSV_PART_TEXT)
			add_placed_text(call, p);
		else
			add_text(p, task[i].kind, task[i].text, task[i].len);
	}
}

/* The image's length and digests of its pieces, between which a cancel is heard. */
static void
append_digest(StringInfo s, const bytea *image)
{
	const char *data = VARDATA_ANY(image);
	Size		len = VARSIZE_ANY_EXHDR(image);

	appendStringInfo(s, "%zu:", len);
	for (Size at = 0; at < len; at += DIGEST_PIECE)
	{
		char		hex[65];

		CHECK_FOR_INTERRUPTS();
		dsv_sha256_hex(data + at, Min(len - at, DIGEST_PIECE), hex);
		appendStringInfoString(s, hex);
	}
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
	if (call->schema != NULL)
		appendStringInfo(&s, "schema %zu:%s ", strlen(call->schema), call->schema);
	for (int i = 0; i < call->ncandidates; i++)
		appendStringInfo(&s, "candidate %zu:%s ", strlen(call->candidates[i]), call->candidates[i]);
	AppendOptionsKey(&s, &call->options);
	for (int i = 0; i < call->nimages; i++)
		append_digest(&s, call->images[i]);
	dsv_sha256_hex(s.data, s.len, key->hex);
	pfree(s.data);
}

/* ---- the run ---- */

/* Returns row errors, raises others. */
static VlError
row_error(const dsv_error *err)
{
	VlError		error;

	if (err->code == DSV_CANCELED)
		RaiseCancel();
	VlErrorFromEngine(&error, err);
	if (!VlErrorIsRow(&error))
		VlErrorReport(&error, ERROR);
	return error;
}

static void
log_usage(const InferCall *call, const dsv_usage *u)
{
	if (!SettingLogUsage)
		return;
	ereport(LOG,
			(errmsg("dsvl2: task \"%s\" by model \"%s\"", dsv_task_name(call->task), call->model->name),
			 errdetail("%d tokens of prompt (%d of images, %d cached), %d of answer, %d tiles; "
					   "image %.1f ms, vision %.1f ms, prefill %.1f ms, decode %.1f ms.",
					   u->prompt_tokens, u->image_tokens, u->cached_tokens, u->output_tokens, u->tiles,
					   u->decode_image_ms, u->vision_ms, u->prefill_ms, u->decode_ms),
			 errhidestmt(true)));
}

/* Steps are short and leave the engine in order, so that interrupts are processed between them. */
static InferResult *
run_sequence(const InferCall *call, BackendModel *backend, dsv_engine *engine, dsv_sequence *seq)
{
	dsv_error	err;

	PollWatch(seq);
	Counters.inferences++;
	Counters.images += call->nimages;
	while (dsv_sequence_state(seq) < DSV_STATE_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (dsv_engine_step(engine, &err) != DSV_OK)
		{
			VlError		error = row_error(&err);

			return row_error_result(backend, &error);
		}
	}
	return sequence_result(call, backend, seq);
}

static dsv_grammar *
compile_schema(const InferCall *call)
{
	dsv_grammar *grammar;
	dsv_error	err;

	if (call->schema == NULL)
		return NULL;
	if (dsv_grammar_from_schema(call->schema, strlen(call->schema), NULL, &grammar, &err) != DSV_OK)
		ReportEngineError(&err);
	return grammar;
}

static InferResult *
run_request(const InferCall *call, BackendModel *backend, dsv_request *request)
{
	dsv_engine *engine = GetBackendEngine(backend);
	dsv_grammar *grammar = compile_schema(call);
	dsv_sequence *volatile seq = NULL;
	InferResult *result;

	request->grammar = grammar;

	PollStart(call->options.timeout_ms);
	ProgressStart(dsv_task_name(call->task), call->model->name);
	PG_TRY();
	{
		dsv_sequence *submitted;
		dsv_error	err;

		if (dsv_engine_submit(engine, request, &submitted, &err) == DSV_OK)
		{
			seq = submitted;
			result = run_sequence(call, backend, engine, submitted);
		}
		else
		{
			VlError		error = row_error(&err);

			result = row_error_result(backend, &error);
		}
	}
	PG_FINALLY();
	{
		PollEnd();
		ProgressEnd();
		dsv_sequence_release(seq);
		dsv_grammar_free(grammar);
	}
	PG_END_TRY();
	return result;
}

/* The candidates as the model would write them */
static dsv_bytes *
prefixed_candidates(const InferCall *call, const char *prefix)
{
	dsv_bytes  *texts = palloc(call->ncandidates * sizeof(dsv_bytes) + 1);

	for (int i = 0; i < call->ncandidates; i++)
	{
		char	   *s = psprintf("%s%s", prefix, call->candidates[i]);

		texts[i] = (dsv_bytes) {s, strlen(s)};
	}
	return texts;
}

static InferResult *
compute(const InferCall *call, BackendModel *backend, const char *task_prompt)
{
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
	request.candidates = prefixed_candidates(call, dsv_model_get_info(GetBackendModel(backend))->answers.prefix);
	request.ncandidates = call->ncandidates;

	result = run_request(call, backend, &request);
	if (result->error.sqlerrcode == 0)
	{
		Counters.input_tokens += result->usage.prompt_tokens;
		Counters.output_tokens += result->usage.output_tokens;
		RememberUsage(call, result);
		log_usage(call, &result->usage);
	}
	return result;
}

static InferResult *
not_trained(const InferCall *call, BackendModel *backend)
{
	VlError		error;

	VlErrorSet(&error, ERRCODE_VL_EMPTY,
			   psprintf("model \"%s\" was not trained for the task \"%s\"", call->model->name,
						dsv_task_name(call->task)),
			   "Register a published DeepSeek-VL2 model with vl_register_model(name, path).");
	return row_error_result(backend, &error);
}

InferResult *
Infer(const InferCall *call)
{
	BackendModel *backend = OpenBackendModel(call->model);
	const char *task_prompt = dsv_model_task_prompt(GetBackendModel(backend), call->task);
	const InferResult *known;
	InferResult *result;
	MemoKey		key;

	Counters.calls++;
	if (task_prompt == NULL)
		return not_trained(call, backend);
	/* before the key is made: other instructions may round otherwise */
	dsv_cpu_set(SettingCpuLevel);
	make_key(call, backend, task_prompt, &key);
	known = MemoFind(&key);
	if (known != NULL)
	{
		Counters.memo_hits++;
		result = CopyInferResult(known, CurrentMemoryContext);
		result->from_memo = true;
		return result;
	}
	result = compute(call, backend, task_prompt);
	MemoStore(&key, result);
	return result;
}

/* ---- what functions do with a result ---- */

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_blank(const InferResult *result)
{
	for (Size i = 0; i < result->len; i++)
		if (!is_space(result->text[i]))
			return false;
	return true;
}

/* Weights that make no numbers */
static bool
none_is_possible(const InferResult *result)
{
	for (int i = 0; i < result->ncandidates; i++)
		if (isfinite(result->candidates[i].logprob))
			return false;
	return true;
}

/* A truncated page must never look like a short page; a free answer may be cut. */
bool
FindRowError(const InferCall *call, const InferResult *result, VlError *error)
{
	bool		is_free = call->task == DSV_TASK_ASK || call->task == DSV_TASK_DESCRIBE;

	*error = result->error;
	if (error->sqlerrcode != 0)
		return true;
	if (result->finish == DSV_FINISH_LENGTH && !is_free)
		VlErrorSet(error, ERRCODE_VL_TRUNCATED,
				   psprintf("the answer was cut off after %d tokens", result->ntokens),
				   "Raise the option \"max_tokens\" or the setting dsvl2.max_tokens.");
	else if (call->ncandidates == 0 && is_blank(result))
		VlErrorSet(error, ERRCODE_VL_EMPTY, "the model gave an empty answer", "");
	else if (call->ncandidates > 0 && none_is_possible(result))
		VlErrorSet(error, ERRCODE_VL_EMPTY, "the model gave none of the answers a probability", "");
	return error->sqlerrcode != 0;
}

void
ReportRowError(const InferCall *call, const InferResult *result, const VlError *error)
{
	Counters.row_errors++;
	if (call->options.on_error == ON_ERROR_ERROR)
		VlErrorReport(error, ERROR);
	else if (call->options.on_error == ON_ERROR_WARNING && !result->from_memo)
		VlErrorReport(error, WARNING);
}

float4
AnswerScore(const InferResult *result, Size from, Size to)
{
	double		sum = 0;
	int			n = 0;

	for (int i = 0; i < result->ntokens; i++)
	{
		Size		start = i > 0 ? result->ends[i - 1] : 0;

		if (start < to && result->ends[i] > from)
		{
			sum += result->logprobs[i];
			n++;
		}
	}
	return (float4) exp(sum / Max(n, 1));
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

text *
TrimmedAnswer(const InferResult *result)
{
	const char *from = result->text;
	const char *to = from + result->len;

	while (from < to && is_space(*from))
		from++;
	while (from < to && is_space(to[-1]))
		to--;
	return AnswerText(from, to - from);
}
