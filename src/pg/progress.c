/*
 * progress.c
 *		Slots in shared memory, and the function behind the view vl_stat_activity.
 */
#include "progress.h"

#include "catalog/pg_authid.h"
#include "error_report.h"
#include "funcapi.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A slot is written by its backend alone, under its spinlock: a few stores each time */
typedef struct ProgressSlot
{
	slock_t		lock;
	int			pid;			/* 0 = idle */
	Oid			role;
	Oid			database;
	TimestampTz started;
	TimestampTz phase_started;
	int64		phase_done;		/* done when the phase began, or was taken up again */
	int64		done;
	int64		total;
	int			output_tokens;
	char		task[16];
	char		phase[16];
	char		model[NAMEDATALEN];
} ProgressSlot;

static ProgressSlot *slots;		/* [MaxBackends], NULL when not preloaded */

Size
ProgressMemorySize(void)
{
	return mul_size(MaxBackends, sizeof(ProgressSlot));
}

void
AttachProgressMemory(void)
{
	bool		found;

	slots = ShmemInitStruct("dsvl2 progress", ProgressMemorySize(), &found);
	if (!found)
	{
		memset(slots, 0, ProgressMemorySize());
		for (int i = 0; i < MaxBackends; i++)
			SpinLockInit(&slots[i].lock);
	}
}

static ProgressSlot *
my_slot(void)
{
	if (slots == NULL || MyBackendSlot < 0 || MyBackendSlot >= MaxBackends)
		return NULL;
	return &slots[MyBackendSlot];
}

static void
clear_my_slot(int code, Datum arg)
{
	ProgressEnd();
}

void
ProgressStart(const char *task, const char *model, TimestampTz started)
{
	static bool registered = false;
	ProgressSlot *slot = my_slot();
	TimestampTz now = GetCurrentTimestamp();

	if (slot == NULL)
		return;
	if (!registered)
	{
		before_shmem_exit(clear_my_slot, 0);
		registered = true;
	}
	SpinLockAcquire(&slot->lock);
	slot->pid = MyProcPid;
	slot->role = GetSessionUserId();
	slot->database = MyDatabaseId;
	slot->started = started;
	slot->phase_started = now;
	slot->phase_done = slot->done = slot->total = 0;
	slot->output_tokens = 0;
	strlcpy(slot->task, task, sizeof(slot->task));
	strlcpy(slot->phase, "image", sizeof(slot->phase));
	strlcpy(slot->model, model, sizeof(slot->model));
	SpinLockRelease(&slot->lock);
}

static void
update(const char *phase, int64 done, int64 total, int output_tokens)
{
	ProgressSlot *slot = my_slot();
	bool		begins;
	TimestampTz now;

	if (slot == NULL)
		return;
	/* nobody else writes the slot, so reading it needs no lock */
	begins = strcmp(slot->phase, phase) != 0;
	now = begins ? GetCurrentTimestamp() : 0;
	SpinLockAcquire(&slot->lock);
	if (begins)
	{
		strlcpy(slot->phase, phase, sizeof(slot->phase));
		slot->phase_started = now;
		slot->phase_done = done;
	}
	slot->done = done;
	slot->total = total;
	slot->output_tokens = output_tokens;
	SpinLockRelease(&slot->lock);
}

void
ProgressUpdate(const dsv_progress *progress)
{
	static const char *const phases[] = {
		[DSV_STATE_WAITING] = "image",
		[DSV_STATE_VISION] = "vision",
		[DSV_STATE_PREFILL] = "prefill",
		[DSV_STATE_DECODE] = "decode",
		[DSV_STATE_DONE] = "done",
		[DSV_STATE_FAILED] = "failed",
	};

	update(phases[progress->state], progress->done, progress->total, progress->output_tokens);
}

void
ProgressStep(const char *phase, int64 done, int64 total)
{
	update(phase, done, total, 0);
}

void
ProgressEnd(void)
{
	ProgressSlot *slot = my_slot();

	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->lock);
	slot->pid = 0;
	SpinLockRelease(&slot->lock);
}

PG_FUNCTION_INFO_V1(vl_stat_activity);

/* What is left of the phase, as fast as it went; of a decode at most, since the answer may end
 * before max_tokens.  NULL while there is nothing to go by. */
static Datum
eta(const ProgressSlot *slot, bool *isnull)
{
	Interval   *left;
	TimestampTz spent = GetCurrentTimestamp() - slot->phase_started;
	int64		done = slot->done - slot->phase_done;

	*isnull = done <= 0 || slot->total < slot->done;
	if (*isnull)
		return (Datum) 0;
	left = palloc0(sizeof(Interval));
	left->time = (TimeOffset) ((double) spent / done * (slot->total - slot->done));
	return IntervalPGetDatum(left);
}

/* Rows of others show what they do to members of pg_read_all_stats only, as pg_stat_activity does. */
Datum
vl_stat_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (slots == NULL)
	{
		SayNotPreloaded();
		return (Datum) 0;
	}
	for (int i = 0; i < MaxBackends; i++)
	{
		ProgressSlot copy;
		Datum		values[11] = {0};
		bool		nulls[11] = {false};
		char		model[NAMEDATALEN];

		SpinLockAcquire(&slots[i].lock);
		copy = slots[i];
		SpinLockRelease(&slots[i].lock);
		if (copy.pid == 0)
			continue;
		/* another database's encoding may be another */
		if (copy.database == MyDatabaseId)
			strlcpy(model, copy.model, sizeof(model));
		else
			CopyEngineText(model, sizeof(model), copy.model);
		values[0] = Int32GetDatum(copy.pid);
		values[1] = ObjectIdGetDatum(copy.database);
		values[2] = ObjectIdGetDatum(copy.role);
		if (has_privs_of_role(GetUserId(), copy.role) ||
			has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		{
			values[3] = CStringGetTextDatum(copy.task);
			values[4] = CStringGetTextDatum(model);
			values[5] = CStringGetTextDatum(copy.phase);
			values[6] = Int64GetDatum(copy.done);
			values[7] = Int64GetDatum(copy.total);
			values[8] = Int32GetDatum(copy.output_tokens);
			values[9] = TimestampTzGetDatum(copy.started);
			values[10] = eta(&copy, &nulls[10]);
		}
		else
			memset(nulls + 3, true, 8);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
