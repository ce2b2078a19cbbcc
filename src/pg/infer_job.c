/*
 * infer_job.c
 *		From the memo through the engine to a result, step by step.
 *
 * Between steps no frame of the engine is on the stack, so interrupts may be processed
 * there; inside a step the poll callback only looks.  A sequence is paused but for the
 * steps that are meant for it, so that a stream which nobody reads costs no work; it
 * keeps its keys and values, though.  All that a job holds outside its own memory is given
 * back by one callback of its memory context, whatever the reason for its end.
 */
#include "infer_job.h"

#include "backend_engine.h"
#include "fuse.h"
#include "grammar_cache.h"
#include "guc.h"
#include "memo.h"
#include "progress.h"
#include "rates.h"
#include "stat.h"
#include "utils/memutils.h"

bool		InferSuppressed;

struct InferJob
{
	MemoryContext context;		/* its own */
	MemoryContextCallback callback;
	const InferCall *call;		/* may be gone when the callback runs */
	TimestampTz started;
	int64		left_us;		/* until timeout_ms, with has_timeout */
	bool		has_timeout;
	dsv_cpu_level cpu_level;
	char		digest[65];		/* of the model */
	MemoKey		key;
	StatName	stat_name;
	int			sqlerrcode;		/* what ends it before it is finished; 0 = its caller does */
	bool		counted;		/* in vl_stat */

	/* what the callback gives back */
	BackendModel *backend;		/* pinned */
	CachedGrammar *grammar;
	dsv_sequence *seq;

	dsv_engine *engine;			/* of seq */
	InferResult *result;		/* known without the sequence: from the memo, or a row error */
	bool		remember;		/* the result, in the memo */
};

/* ---- what vl_stat_activity shows ---- */

static const InferJob *shown;

static void
show(const InferJob *job)
{
	dsv_progress progress;

	if (shown == job)
		return;
	shown = job;
	ProgressStart(dsv_task_name(job->call->task), job->call->model->name, job->started);
	if (job->seq == NULL)
		return;
	dsv_sequence_progress(job->seq, &progress);
	ProgressUpdate(&progress);
}

void
RestInfer(void)
{
	if (shown != NULL)
		ProgressEnd();
	shown = NULL;
}

/* ---- the end ---- */

/* Of a job that ends early, what was computed counts all the same. */
static void
count_early_end(InferJob *job)
{
	static const dsv_usage nothing;
	const dsv_result *r = job->seq != NULL ? dsv_sequence_result(job->seq) : NULL;

	if (!job->counted)
		StatCount(&job->stat_name, job->sqlerrcode, false, r != NULL ? r->nimages : 0,
				  r != NULL ? &r->usage : &nothing);
}

/* For vl_last_usage, likewise */
static void
count_tokens(dsv_sequence *seq)
{
	const dsv_usage *usage = &dsv_sequence_result(seq)->usage;

	if (usage->output_tokens == 0 && dsv_sequence_state(seq) != DSV_STATE_DONE)
		return;
	Counters.input_tokens += usage->prompt_tokens;
	Counters.output_tokens += usage->output_tokens;
}

static void
give_back(void *arg)
{
	InferJob   *job = arg;

	if (shown == job)
		RestInfer();
	count_early_end(job);
	if (job->seq != NULL)
	{
		count_tokens(job->seq);
		dsv_sequence_release(job->seq);
	}
	ReleaseGrammar(job->grammar);
	if (job->backend != NULL)
		UnpinBackendModel(job->backend);
}

/* Ends a job in whatever state it is. */
static void
abandon(InferJob *job)
{
	MemoryContextDelete(job->context);
}

/* ---- the start ---- */

static InferJob *
create_job(const InferCall *call)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "dsvl2 call", ALLOCSET_SMALL_SIZES);
	InferJob   *job = MemoryContextAllocZero(context, sizeof(*job));

	job->context = context;
	job->callback = (MemoryContextCallback) {give_back, job};
	MemoryContextRegisterResetCallback(context, &job->callback);
	job->call = call;
	job->started = GetCurrentTimestamp();
	job->has_timeout = call->options.timeout_ms > 0;
	job->left_us = (int64) call->options.timeout_ms * 1000;
	StatNameCall(&job->stat_name, call);
	/* until it has started; an error will say what it is, but not the end of the session */
	job->sqlerrcode = ERRCODE_QUERY_CANCELED;
	return job;
}

static void
set_row_error(InferJob *job, const VlError *error)
{
	InferResult empty = {.error = *error, .text = ""};

	strlcpy(empty.digest, job->digest, sizeof(empty.digest));
	job->result = CopyInferResult(&empty, job->context);
}

/* Takes a row error as the result, raises others. */
static void
fail(InferJob *job, const dsv_error *err, const EngineWatch *watch)
{
	VlError		error;

	if (err->code == DSV_CANCELED)
		RaiseCancel(watch);
	VlErrorFromEngine(&error, err);
	job->sqlerrcode = error.sqlerrcode;
	if (!VlErrorIsRow(&error))
		VlErrorReport(&error, ERROR);
	set_row_error(job, &error);
}

/* Nothing is asked, so that nothing is counted. */
static void
suppress(InferJob *job)
{
	VlError		error;

	VlErrorSet(&error, ERRCODE_VL_EMPTY, "nothing is computed for an estimate", "");
	set_row_error(job, &error);
	job->counted = true;
}

static void
not_trained(InferJob *job)
{
	VlError		error;

	VlErrorSet(&error, ERRCODE_VL_EMPTY,
			   psprintf("model \"%s\" was not trained for the task \"%s\"", job->call->model->name,
						dsv_task_name(job->call->task)),
			   "Register a published DeepSeek-VL2 model with vl_register_model(name, path).");
	set_row_error(job, &error);
}

/* dsv_engine_submit, watched */
static dsv_code
submit_request(InferJob *job, const dsv_request *request, EngineWatch *watch, dsv_error *err)
{
	TimestampTz begin = GetCurrentTimestamp();
	dsv_code	code;

	show(job);
	if (job->has_timeout)
		watch->deadline = begin + job->left_us;
	WatchEngine(watch);
	code = dsv_engine_submit(job->engine, request, &job->seq, err);
	WatchEngine(NULL);
	job->left_us -= GetCurrentTimestamp() - begin;
	return code;
}

/* False when there is no room and it may wait */
static bool
submit(InferJob *job, const dsv_model_info *info, const char *task_prompt, bool may_wait)
{
	const InferCall *call = job->call;
	EngineWatch watch = {0};
	InferRequest request;
	dsv_error	err;
	dsv_code	code;

	job->remember = true;
	BuildInferRequest(call, info, task_prompt, &request);
	if (call->schema != NULL)
	{
		job->grammar = AcquireGrammar(call->schema, &err);
		if (job->grammar == NULL)
		{
			fail(job, &err, &watch);
			return true;
		}
		request.request.grammar = GetGrammar(job->grammar);
	}
	code = submit_request(job, &request.request, &watch, &err);
	if (may_wait && (code == DSV_BUDGET || code == DSV_LIMIT))
		return false;
	if (code != DSV_OK)
	{
		fail(job, &err, &watch);
		return true;
	}
	dsv_sequence_pause(job->seq, true);
	Counters.inferences++;
	Counters.images += call->nimages;
	CountForFuse();
	return true;
}

static bool
start(InferJob *job, bool may_wait)
{
	const InferCall *call = job->call;
	BackendModel *backend;
	const dsv_model *model;
	const dsv_model_info *info;
	const char *task_prompt;
	const InferResult *known;

	if (InferSuppressed)
	{
		suppress(job);
		return true;
	}
	backend = OpenBackendModel(call->model);
	model = GetBackendModel(backend);
	info = dsv_model_get_info(model);
	task_prompt = dsv_model_task_prompt(model, call->task);
	strlcpy(job->digest, info->digest, sizeof(job->digest));
	if (task_prompt == NULL)
	{
		not_trained(job);
		return true;
	}
	/* before the key is made: other instructions may round otherwise */
	dsv_cpu_set(SettingCpuLevel);
	job->cpu_level = dsv_cpu_current();
	MakeInferKey(call, info, task_prompt, job->key.hex);
	known = MemoFind(&job->key);
	if (known != NULL)
	{
		Counters.memo_hits++;
		job->result = CopyInferResult(known, job->context);
		job->result->from_memo = true;
		return true;
	}
	CheckFuse();
	/* pinned only now: an engine that others use keeps its settings */
	job->engine = GetBackendEngine(backend);
	PinBackendModel(backend);
	job->backend = backend;
	return submit(job, info, task_prompt, may_wait);
}

InferJob *
StartInfer(const InferCall *call, bool may_wait)
{
	InferJob   *job = create_job(call);
	MemoryContext caller = MemoryContextSwitchTo(job->context);
	volatile bool started = false;

	Counters.calls++;
	PG_TRY();
	{
		started = start(job, may_wait);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		job->sqlerrcode = geterrcode();
		abandon(job);
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	job->sqlerrcode = 0;
	if (started)
		return job;
	Counters.calls--;
	job->counted = true;
	abandon(job);
	return NULL;
}

/* ---- steps ---- */

bool
InferIsDone(const InferJob *job)
{
	return job->result != NULL || dsv_sequence_state(job->seq) >= DSV_STATE_DONE;
}

/* Lets the jobs of that engine run, or none; returns whether any of them has a timeout. */
static bool
let_run(InferJob *const *jobs, int n, const dsv_engine *engine, bool run)
{
	bool		timeouts = false;

	for (int i = 0; i < n; i++)
		if (!InferIsDone(jobs[i]) && jobs[i]->engine == engine)
		{
			dsv_sequence_pause(jobs[i]->seq, !run);
			timeouts |= jobs[i]->has_timeout;
		}
	return timeouts;
}

/* The nearest end of a timeout, 0 = none */
static TimestampTz
first_deadline(InferJob *const *jobs, int n, TimestampTz now)
{
	TimestampTz first = 0;

	for (int i = 0; i < n; i++)
		if (jobs[i]->has_timeout && !InferIsDone(jobs[i]) &&
			(first == 0 || now + jobs[i]->left_us < first))
			first = now + jobs[i]->left_us;
	return first;
}

static void
spend(InferJob *const *jobs, int n, const dsv_engine *engine, int64 us)
{
	for (int i = 0; i < n; i++)
		if (jobs[i]->engine == engine)
			jobs[i]->left_us -= us;
}

static void
set_error_code(InferJob *const *jobs, int n, int sqlerrcode)
{
	for (int i = 0; i < n; i++)
		jobs[i]->sqlerrcode = sqlerrcode;
}

void
StepInfer(InferJob *const *jobs, int n)
{
	EngineWatch watch = {0};
	TimestampTz begin = 0;
	dsv_engine *engine;
	dsv_error	err;
	dsv_code	code;
	int			first = 0;

	if (InterruptPending)
	{
		RestInfer();
		set_error_code(jobs, n, ERRCODE_QUERY_CANCELED);
		CHECK_FOR_INTERRUPTS();
		set_error_code(jobs, n, 0);
	}
	while (first < n && InferIsDone(jobs[first]))
		first++;
	if (first == n)
		return;
	show(jobs[first]);
	engine = jobs[first]->engine;
	watch.seq = jobs[first]->seq;
	dsv_cpu_set(jobs[first]->cpu_level);
	if (let_run(jobs, n, engine, true))
	{
		begin = GetCurrentTimestamp();
		watch.deadline = first_deadline(jobs, n, begin);
	}
	WatchEngine(&watch);
	code = dsv_engine_step(engine, &err);
	WatchEngine(NULL);
	let_run(jobs, n, engine, false);
	if (begin != 0)
		spend(jobs, n, engine, GetCurrentTimestamp() - begin);
	if (code == DSV_OK)
		return;
	if (code == DSV_CANCELED)
		set_error_code(jobs, n, ERRCODE_QUERY_CANCELED);
	for (int i = 0; i < n; i++)
		if (jobs[i]->result == NULL && dsv_sequence_state(jobs[i]->seq) == DSV_STATE_FAILED)
		{
			RestInfer();
			fail(jobs[i], &err, &watch);
		}
}

/* ---- the result ---- */

const char *
InferText(InferJob *job, Size *len)
{
	const dsv_result *r;

	if (job->result != NULL)
	{
		*len = job->result->len;
		return job->result->text;
	}
	r = dsv_sequence_result(job->seq);
	*len = r->len;
	return r->text;
}

static InferResult *
sequence_result(const InferJob *job)
{
	const dsv_result *r = dsv_sequence_result(job->seq);
	const CallOptions *options = &job->call->options;
	InferResult result = {
		.text = (char *) r->text,
		.len = r->len,
		.finish = r->finish,
		.usage = r->usage,
		.ntokens = r->ntokens,
		.logprobs = (float *) r->logprobs,
		.forced = (bool *) r->forced,
		.ends = (int32 *) r->ends,
		.nimages = r->nimages,
		.images = (dsv_image_info *) r->images,
		.ncandidates = r->ncandidates,
		.candidates = (dsv_candidate *) r->candidates,
		.oriented = !options->image.ignore_exif && !options->image.reference_decode,
	};

	strlcpy(result.digest, job->digest, sizeof(result.digest));
	return CopyInferResult(&result, CurrentMemoryContext);
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

InferResult *
FinishInfer(InferJob *job)
{
	InferResult *result;
	VlError		error;

	if (job->result != NULL)
		result = CopyInferResult(job->result, CurrentMemoryContext);
	else
	{
		result = sequence_result(job);
		RememberUsage(job->call, result);
		RatesRecord(job->call, &result->usage);
		log_usage(job->call, &result->usage);
	}
	if (!job->counted)
	{
		FindRowError(job->call, result, &error);
		StatCount(&job->stat_name, error.sqlerrcode, result->from_memo, result->nimages, &result->usage);
		job->counted = true;
	}
	if (job->remember)
		MemoStore(&job->key, result);
	abandon(job);
	return result;
}

InferResult *
Infer(const InferCall *call)
{
	InferJob   *job = StartInfer(call, false);
	InferResult *result;

	PG_TRY();
	{
		while (!InferIsDone(job))
			StepInfer(&job, 1);
		result = FinishInfer(job);
	}
	PG_CATCH();
	{
		abandon(job);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return result;
}
