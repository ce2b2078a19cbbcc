/*
 * backend_engine.c
 *		Open models, their engines, and what the engine may call: memory and the poll.
 *
 * A call that is suspended between two rows of a stream keeps its model pinned.  Whatever
 * would close a pinned model only marks it: no later call finds it, and the last pin
 * closes it.
 *
 * The engine never sees an error of PostgreSQL: its allocator returns NULL, its poll looks
 * at flags.  Threads are joined before the backend leaves shared memory.
 */
#include "backend_engine.h"

#include "error_report.h"
#include "guc.h"
#include "model_pack.h"
#include "progress.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

/* Two, so that comparing two models in one query does not reopen them row by row */
#define MAX_OPEN 2

/* What a backend keeps of the engine's scratch between calls.  nano needs no more; what larger
 * models need is soon taken again beside the time of a call. */
#define REST_SCRATCH ((size_t) 8 << 20)

struct BackendModel
{
	MemoryContext context;		/* NULL = free slot */
	dsv_mem		mem;
	char		name[NAMEDATALEN];
	char	   *path;			/* as stored in the catalog */
	dsv_model  *model;
	dsv_engine *engine;			/* NULL until something is computed */
	int			precision;		/* of the engine */
	int			activations;
	int			kv_memory;
	uint64		last_used;
	int			pins;
	bool		doomed;			/* to be closed by the last pin */
};

static BackendModel open_models[MAX_OPEN];
static uint64 use_counter;

/* ---- what the engine is given ---- */

void *
ContextAlloc(void *ud, size_t size)
{
	if (size > MaxAllocHugeSize)
		return NULL;
	return MemoryContextAllocExtended((MemoryContext) ud, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

void
ContextFree(void *ud, void *ptr)
{
	pfree(ptr);
}

static EngineWatch *watched;

static bool
poll_flags(void *ud)
{
	return QueryCancelPending || ProcDiePending;
}

const dsv_poll InterruptPoll = {poll_flags, NULL};

void
ReportHelperError(const dsv_error *err)
{
	if (err->code == DSV_CANCELED)
	{
		CHECK_FOR_INTERRUPTS();
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement due to user request")));
	}
	ReportEngineError(err);
}

/* Looks at flags and a clock, nothing that could raise an error through the engine. */
static bool
poll_interrupts(void *ud)
{
	if (watched == NULL)
		return false;
	if (watched->seq != NULL)
	{
		dsv_progress progress;

		dsv_sequence_progress(watched->seq, &progress);
		ProgressUpdate(&progress);
	}
	if (QueryCancelPending || ProcDiePending)
		return true;
	if (watched->deadline != 0 && GetCurrentTimestamp() >= watched->deadline)
		watched->timed_out = true;
	return watched->timed_out;
}

void
WatchEngine(EngineWatch *watch)
{
	if (watch != NULL)
		pgstat_report_wait_start(InferenceWaitEvent());
	else
		pgstat_report_wait_end();
	watched = watch;
}

void
RaiseCancel(const EngineWatch *watch)
{
	if (!watch->timed_out)
		CHECK_FOR_INTERRUPTS();
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 watch->timed_out ? errmsg("canceling inference due to option \"timeout_ms\"") :
			 errmsg("canceling inference due to user request")));
	pg_unreachable();
}

/* ---- opening and closing ---- */

static void
stop_workers(int code, Datum arg)
{
	dsv_shutdown();
}

void
StopWorkersAtExit(void)
{
	static bool registered = false;

	if (registered)
		return;
	before_shmem_exit(stop_workers, 0);
	registered = true;
}

static void
close_slot(BackendModel *slot)
{
	dsv_engine_destroy(slot->engine);
	dsv_model_close(slot->model);
	MemoryContextDelete(slot->context);
	memset(slot, 0, sizeof(*slot));
}

/* False when it is pinned: then it will be closed later, and is no longer found. */
static bool
close_or_doom(BackendModel *slot)
{
	slot->doomed = slot->pins > 0;
	if (slot->doomed)
		return false;
	close_slot(slot);
	return true;
}

void
PinBackendModel(BackendModel *backend)
{
	backend->pins++;
}

void
UnpinBackendModel(BackendModel *backend)
{
	if (--backend->pins > 0)
		return;
	if (backend->doomed)
		close_slot(backend);
	else
		dsv_engine_rest(backend->engine, REST_SCRATCH);
}

int
UnloadBackendModels(const char *name, int *kept)
{
	int			closed = 0;
	int			pinned = 0;

	for (int i = 0; i < MAX_OPEN; i++)
	{
		BackendModel *s = &open_models[i];

		if (s->context == NULL || (name != NULL && strcmp(s->name, name) != 0))
			continue;
		if (close_or_doom(s))
			closed++;
		else
			pinned++;
	}
	if (name == NULL)
		dsv_shutdown();
	if (kept != NULL)
		*kept = pinned;
	return closed;
}

bool
BackendModelIsOpen(const char *name)
{
	for (int i = 0; i < MAX_OPEN; i++)
		if (open_models[i].context != NULL && strcmp(open_models[i].name, name) == 0)
			return true;
	return false;
}

dsv_model *
OpenFolder(const char *folder)
{
	dsv_error	err;
	dsv_model  *model;

	if (dsv_model_open(folder, NULL, &model, &err) != DSV_OK)
		ReportEngineError(&err);
	return model;
}

/* The model's own words, once a session */
static void
say_notice(const ModelEntry *entry, const dsv_model_info *info)
{
	static char said[8][NAMEDATALEN];
	char		notice[512];
	int			i;

	if (info->notice == NULL)
		return;
	for (i = 0; i < lengthof(said) && said[i][0] != '\0'; i++)
		if (strcmp(said[i], entry->name) == 0)
			return;
	if (i < lengthof(said))
		strlcpy(said[i], entry->name, NAMEDATALEN);
	CopyEngineText(notice, sizeof(notice), info->notice);
	ereport(NOTICE,
			(errmsg_internal("%s", notice),
			 errhint("Register a published DeepSeek-VL2 model with vl_register_model(name, path) and "
					 "name it in dsvl2.default_model.")));
}

void
RaiseOtherFiles(const ModelEntry *entry)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the files of model \"%s\" are not those that were registered", entry->name),
			 errhint("Drop the model with vl_drop_model() and register it again.")));
	pg_unreachable();
}

/* The files are those that were registered; what comes with dsvl2 changes with it. */
static void
check_digest(const ModelEntry *entry, BackendModel *slot)
{
	const dsv_model_info *info = dsv_model_get_info(slot->model);

	if (entry->builtin || strcmp(info->digest, entry->digest) == 0)
		return;
	close_slot(slot);
	RaiseOtherFiles(entry);
}

/* A free slot, or the one that was not used for longest */
static BackendModel *
slot_to_use(const ModelEntry *entry)
{
	BackendModel *slot = NULL;

	for (int i = 0; i < MAX_OPEN; i++)
	{
		BackendModel *s = &open_models[i];

		if (s->pins == 0 && (slot == NULL || s->last_used < slot->last_used))
			slot = s;
	}
	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot open model \"%s\" while %d others are at work", entry->name, MAX_OPEN),
				 errhint("Close the cursors that read answers of other models.")));
	return slot;
}

static BackendModel *
open_slot(const ModelEntry *entry)
{
	BackendModel *slot;
	BackendModel opened = {0};
	dsv_error	err;

	StopWorkersAtExit();
	slot = slot_to_use(entry);
	if (slot->context != NULL)
		close_slot(slot);
	/* what can be raised is raised before the slot is in use */
	opened.context = AllocSetContextCreate(CurrentMemoryContext, "dsvl2 model", ALLOCSET_DEFAULT_SIZES);
	opened.mem = (dsv_mem) {ContextAlloc, ContextFree, opened.context};
	strlcpy(opened.name, entry->name, NAMEDATALEN);
	opened.path = MemoryContextStrdup(opened.context, entry->path);
	if (dsv_model_open(ModelFile(entry), &opened.mem, &opened.model, &err) != DSV_OK)
		ReportEngineError(&err);
	MemoryContextSetParent(opened.context, TopMemoryContext);
	*slot = opened;
	check_digest(entry, slot);
	return slot;
}

BackendModel *
OpenBackendModel(const ModelEntry *entry)
{
	BackendModel *slot = NULL;

	for (int i = 0; i < MAX_OPEN; i++)
	{
		BackendModel *s = &open_models[i];

		if (s->context == NULL || s->doomed || strcmp(s->name, entry->name) != 0)
			continue;
		/* dropped and registered anew since */
		if (strcmp(s->path, entry->path) != 0 ||
			(!entry->builtin && strcmp(dsv_model_get_info(s->model)->digest, entry->digest) != 0))
			close_or_doom(s);
		else
			slot = s;
	}
	if (slot == NULL)
		slot = open_slot(entry);
	slot->last_used = ++use_counter;
	say_notice(entry, dsv_model_get_info(slot->model));
	return slot;
}

dsv_model *
GetBackendModel(BackendModel *backend)
{
	return backend->model;
}

/* An engine computes in one number format from its start. */
static bool
other_format(const BackendModel *backend)
{
	return backend->precision != SettingPrecision || backend->activations != SettingActivations;
}

dsv_engine *
GetBackendEngine(BackendModel *backend)
{
	dsv_engine_options options = {
		.mem = &backend->mem,
		.poll = {poll_interrupts, NULL},
		.threads = SettingThreads,
		.precision = SettingPrecision,
		.activations = SettingActivations,
		.kv_memory = (size_t) SettingKvMemory * 1024 * 1024,
		/* a step, and so what a cancel may have to wait for, stays short */
		.prefill_rows = 1024,
	};
	dsv_error	err;

	if (backend->engine != NULL && backend->pins > 0 && other_format(backend))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("cannot change %s while model \"%s\" is at work",
						backend->precision != SettingPrecision ? "dsvl2.precision" : "dsvl2.activations",
						backend->name),
				 errhint("Close the cursors that read its answers.")));
	/* other memory can wait until nothing is in it */
	if (backend->engine != NULL && backend->pins == 0 &&
		(other_format(backend) || backend->kv_memory != SettingKvMemory))
	{
		dsv_engine_destroy(backend->engine);
		backend->engine = NULL;
	}
	dsv_cpu_set(SettingCpuLevel);
	if (backend->engine != NULL)
	{
		dsv_engine_set_threads(backend->engine, SettingThreads);
		return backend->engine;
	}
	if (dsv_engine_create(backend->model, &options, &backend->engine, &err) != DSV_OK)
		ReportEngineError(&err);
	backend->precision = SettingPrecision;
	backend->activations = SettingActivations;
	backend->kv_memory = SettingKvMemory;
	return backend->engine;
}
