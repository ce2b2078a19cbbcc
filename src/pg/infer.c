/*
 * infer.c
 *		Both ends of a call: from SQL arguments to the engine's request, from a result to an
 *		answer.  What is between is infer_job.c.
 */
#include "infer.h"

#include <math.h>

#include "guc.h"
#include "mb/pg_wchar.h"
#include "memo.h"
#include "table.h"
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

void
SetImage(InferCall *call, bytea *image)
{
	call->images = palloc(sizeof(bytea *));
	call->images[0] = image;
	call->nimages = 1;
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
	if (result->logprobs != NULL)
		copy->logprobs = copy_bytes(result->logprobs, result->ntokens * sizeof(float), context);
	copy->forced = copy_bytes(result->forced, result->ntokens * sizeof(bool), context);
	copy->ends = copy_bytes(result->ends, result->ntokens * sizeof(int32), context);
	copy->images = copy_bytes(result->images, result->nimages * sizeof(dsv_image_info), context);
	copy->candidates = copy_bytes(result->candidates, result->ncandidates * sizeof(dsv_candidate), context);
	return copy;
}

void
FreeInferResult(InferResult *result)
{
	pfree(result->text);
	if (result->logprobs != NULL)
		pfree(result->logprobs);
	pfree(result->forced);
	pfree(result->ends);
	pfree(result->images);
	pfree(result->candidates);
	pfree(result);
}

Size
InferResultSize(const InferResult *result)
{
	return sizeof(*result) + result->len + result->ntokens * (sizeof(float) + sizeof(bool) + sizeof(int32)) +
		result->nimages * sizeof(dsv_image_info) + result->ncandidates * sizeof(dsv_candidate) + 128;
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
void
MakeInferKey(const InferCall *call, const dsv_model_info *info, const char *task_prompt, char hex[65])
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, "%s %d %d %d %d %d ", info->digest,
					 call->task, SettingPrecision, SettingActivations, (int) dsv_cpu_current(), call->place_images);
	appendStringInfo(&s, "%zu:%s ", strlen(task_prompt), task_prompt);
	if (call->prompt != NULL)
		appendStringInfo(&s, "%zu:%s ", strlen(call->prompt), call->prompt);
	if (call->schema != NULL)
		appendStringInfo(&s, "schema %d %zu:%s ", call->no_logprobs, strlen(call->schema), call->schema);
	for (int i = 0; i < call->ncandidates; i++)
		appendStringInfo(&s, "candidate %zu:%s ", strlen(call->candidates[i]), call->candidates[i]);
	AppendOptionsKey(&s, &call->options);
	for (int i = 0; i < call->nimages; i++)
		append_digest(&s, call->images[i]);
	dsv_sha256_hex(s.data, s.len, hex);
	pfree(s.data);
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

void
BuildInferRequest(const InferCall *call, const dsv_model_info *info, const char *task_prompt, InferRequest *out)
{
	dsv_request *request = &out->request;
	PromptParts p;

	*request = (dsv_request) {
		.turns = out->turns,
		.image = call->options.image,
		.sampling = call->options.sampling,
		.stop = call->options.stop,
		.nstop = call->options.nstop,
		.max_tokens = call->options.max_tokens,
		.no_logprobs = call->no_logprobs,
		.keep_special = call->task == DSV_TASK_GROUND || call->task == DSV_TASK_GROUND_ANSWER,
	};
	build_parts(call, task_prompt, &p);
	if (call->options.system != NULL)
	{
		out->system_part = (dsv_part) {DSV_PART_TEXT, call->options.system, strlen(call->options.system)};
		out->turns[request->nturns++] = (dsv_turn) {DSV_ROLE_SYSTEM, &out->system_part, 1};
	}
	out->turns[request->nturns++] = (dsv_turn) {DSV_ROLE_USER, p.parts, p.nparts};
	request->images = p.images;
	request->nimages = p.nimages;
	request->candidates = prefixed_candidates(call, info->answers.prefix);
	request->ncandidates = call->ncandidates;
}

/* ---- what functions do with a result ---- */

bool
IsAnswerSpace(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_blank(const InferResult *result)
{
	for (Size i = 0; i < result->len; i++)
		if (!IsAnswerSpace(result->text[i]))
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
	else
		(void) FindShapeError(call, result, error);
	return error->sqlerrcode != 0;
}

void
ReportTruncation(const InferResult *result)
{
	if (result->finish == DSV_FINISH_LENGTH && !result->from_memo)
		ereport(NOTICE,
				(errmsg("the answer was cut off after %d tokens", result->ntokens),
				 errhint("Raise the option \"max_tokens\" or the setting dsvl2.max_tokens.")));
}

void
ReportRowError(const InferCall *call, const InferResult *result, const VlError *error)
{
	if (InferSuppressed)
		return;
	Counters.row_errors++;
	if (call->options.on_error == ON_ERROR_ERROR)
		VlErrorReport(error, ERROR);
	else if (call->options.on_error == ON_ERROR_WARNING && !result->from_memo)
		VlErrorReport(error, WARNING);
}

InferResult *
InferOrReport(const InferCall *call)
{
	InferResult *result = Infer(call);
	VlError		error;

	if (!FindRowError(call, result, &error))
		return result;
	ReportRowError(call, result, &error);
	return NULL;
}

float4
AnswerScore(const InferResult *result, Size from, Size to)
{
	double		sum = 0;
	int			n = 0;

	for (int i = 0; i < result->ntokens; i++)
	{
		Size		start = i > 0 ? result->ends[i - 1] : 0;

		if (start < to && result->ends[i] > from && !result->forced[i])
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

	while (from < to && IsAnswerSpace(*from))
		from++;
	while (from < to && IsAnswerSpace(to[-1]))
		to--;
	return AnswerText(from, to - from);
}
