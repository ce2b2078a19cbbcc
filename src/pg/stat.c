/*
 * stat.c
 *		Counters in shared memory, and the functions behind the view vl_stat.
 *
 * Counting takes the lock of the hash table in shared mode and then the entry's spinlock, some
 * twenty additions long.  Only a new entry, a reset and a look at all of them at once take
 * more.
 */
#include "stat.h"

#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "guc.h"
#include "shmem.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(vl_stat);
PG_FUNCTION_INFO_V1(vl_stat_reset);

typedef struct StatKey
{
	Oid			database;
	Oid			role;
	int			task;
	char		model[NAMEDATALEN];
} StatKey;

/* Columns of the view, in its order */
enum
{
	COUNT_CALLS,
	COUNT_MEMO_HITS,
	COUNT_VL001,
	COUNT_VL002,
	COUNT_VL003,
	COUNT_VL004,
	COUNT_VL005,
	COUNT_VL006,
	COUNT_FAILED,
	COUNT_CANCELED,
	COUNT_IMAGES,
	COUNT_TILES,
	COUNT_CACHED_TILES,
	COUNT_PROMPT_TOKENS,
	COUNT_CACHED_TOKENS,
	COUNT_OUTPUT_TOKENS,
	COUNTS
};

enum
{
	TIME_IMAGE,
	TIME_VISION,
	TIME_PREFILL,
	TIME_DECODE,
	TIMES
};

typedef struct StatCounters
{
	int64		counts[COUNTS];
	double		ms[TIMES];
} StatCounters;

typedef struct StatEntry
{
	StatKey		key;			/* hash key, first */
	slock_t		lock;
	TimestampTz last_used;
	StatCounters counters;
} StatEntry;

/* What is not in an entry; under the lock of the hash table */
typedef struct StatShared
{
	TimestampTz reset;
	StatCounters rest;			/* of entries that had to go */
} StatShared;

static StatShared *shared;		/* NULL when not preloaded */
static HTAB *entries;

/* ---- memory ---- */

Size
StatMemorySize(void)
{
	return add_size(sizeof(StatShared), hash_estimate_size(SettingStatMax, sizeof(StatEntry)));
}

void
AttachStatMemory(void)
{
	HASHCTL		ctl = {.keysize = sizeof(StatKey), .entrysize = sizeof(StatEntry)};
	bool		found;

	shared = ShmemInitStruct("dsvl2 stat", sizeof(StatShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(StatShared));
		shared->reset = GetCurrentTimestamp();
	}
	entries = ShmemInitHash("dsvl2 stat entries", SettingStatMax, SettingStatMax, &ctl,
							HASH_ELEM | HASH_BLOBS);
}

/* ---- counting ---- */

static void
add(StatCounters *to, const StatCounters *from)
{
	for (int i = 0; i < COUNTS; i++)
		to->counts[i] += from->counts[i];
	for (int i = 0; i < TIMES; i++)
		to->ms[i] += from->ms[i];
}

static void
make_room(void)
{
	StatEntry  *oldest = NULL;
	StatEntry  *entry;
	HASH_SEQ_STATUS all;

	hash_seq_init(&all, entries);
	while ((entry = hash_seq_search(&all)) != NULL)
		if (oldest == NULL || entry->last_used < oldest->last_used)
			oldest = entry;
	add(&shared->rest, &oldest->counters);
	hash_search(entries, &oldest->key, HASH_REMOVE, NULL);
}

/* Under the exclusive lock */
static StatEntry *
enter(const StatKey *key)
{
	StatEntry  *entry;
	bool		found;

	if (hash_search(entries, key, HASH_FIND, NULL) == NULL)
		while (hash_get_num_entries(entries) >= SettingStatMax)
			make_room();
	entry = hash_search(entries, key, HASH_ENTER, &found);
	if (!found)
	{
		SpinLockInit(&entry->lock);
		memset(&entry->counters, 0, sizeof(entry->counters));
		entry->last_used = 0;
	}
	return entry;
}

static void
count(const StatName *name, const StatCounters *counters)
{
	LWLock	   *lock = GetSharedLock(STAT_LOCK);
	TimestampTz now = GetCurrentTimestamp();
	StatKey		key;
	StatEntry  *entry;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.role = name->role;
	key.task = name->task;
	strlcpy(key.model, name->model, sizeof(key.model));
	LWLockAcquire(lock, LW_SHARED);
	entry = hash_search(entries, &key, HASH_FIND, NULL);
	if (entry == NULL)
	{
		LWLockRelease(lock);
		LWLockAcquire(lock, LW_EXCLUSIVE);
		entry = enter(&key);
	}
	SpinLockAcquire(&entry->lock);
	add(&entry->counters, counters);
	entry->last_used = now;
	SpinLockRelease(&entry->lock);
	LWLockRelease(lock);
}

static int
column_of_error(int sqlerrcode)
{
	switch (sqlerrcode)
	{
		case ERRCODE_VL_IMAGE:
			return COUNT_VL001;
		case ERRCODE_VL_IMAGE_SIZE:
			return COUNT_VL002;
		case ERRCODE_VL_CONTEXT:
			return COUNT_VL003;
		case ERRCODE_VL_TRUNCATED:
			return COUNT_VL004;
		case ERRCODE_VL_SCHEMA:
			return COUNT_VL005;
		case ERRCODE_VL_EMPTY:
			return COUNT_VL006;
		case ERRCODE_QUERY_CANCELED:
			return COUNT_CANCELED;
		default:
			return COUNT_FAILED;
	}
}

void
StatNameCall(StatName *name, const InferCall *call)
{
	/* who asked, whatever function they asked through */
	name->role = GetOuterUserId();
	name->task = call->task;
	strlcpy(name->model, call->model->name, sizeof(name->model));
}

void
StatCount(const StatName *name, int sqlerrcode, bool from_memo, int nimages, const dsv_usage *u)
{
	StatCounters c = {.counts[COUNT_CALLS] = 1};

	if (shared == NULL)
		return;
	if (sqlerrcode != 0)
		c.counts[column_of_error(sqlerrcode)] = 1;
	if (from_memo)
		c.counts[COUNT_MEMO_HITS] = 1;
	else
	{
		c.counts[COUNT_IMAGES] = nimages;
		c.counts[COUNT_TILES] = u->tiles;
		c.counts[COUNT_CACHED_TILES] = u->cached_tiles;
		c.counts[COUNT_PROMPT_TOKENS] = u->prompt_tokens;
		c.counts[COUNT_CACHED_TOKENS] = u->cached_tokens;
		c.counts[COUNT_OUTPUT_TOKENS] = u->output_tokens;
		c.ms[TIME_IMAGE] = u->decode_image_ms;
		c.ms[TIME_VISION] = u->vision_ms;
		c.ms[TIME_PREFILL] = u->prefill_ms;
		c.ms[TIME_DECODE] = u->decode_ms;
	}
	count(name, &c);
}

/* ---- looking ---- */

/* key NULL: the rest */
static void
put_entry(ReturnSetInfo *rsinfo, const StatKey *key, const StatCounters *counters, TimestampTz reset)
{
	Datum		values[4 + COUNTS + TIMES + 1] = {0};
	bool		nulls[4 + COUNTS + TIMES + 1] = {false};
	char		model[NAMEDATALEN];
	int			n = 4;

	if (key != NULL)
	{
		/* another database's encoding may be another */
		if (key->database == MyDatabaseId)
			strlcpy(model, key->model, sizeof(model));
		else
			CopyEngineText(model, sizeof(model), key->model);
		values[0] = ObjectIdGetDatum(key->database);
		values[1] = ObjectIdGetDatum(key->role);
		values[2] = CStringGetTextDatum(dsv_task_name(key->task));
		values[3] = CStringGetTextDatum(model);
	}
	else
		memset(nulls, true, 4);
	for (int i = 0; i < COUNTS; i++)
		values[n++] = Int64GetDatum(counters->counts[i]);
	for (int i = 0; i < TIMES; i++)
		values[n++] = Float8GetDatum(counters->ms[i]);
	values[n++] = TimestampTzGetDatum(reset);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* A copy of all entries and of the rest, so that nothing is looked up under the lock */
static StatEntry *
copy_entries(int *n, StatShared *rest)
{
	LWLock	   *lock = GetSharedLock(STAT_LOCK);
	StatEntry  *copies = palloc(SettingStatMax * sizeof(StatEntry));
	HASH_SEQ_STATUS all;
	StatEntry  *entry;

	*n = 0;
	LWLockAcquire(lock, LW_SHARED);
	*rest = *shared;
	hash_seq_init(&all, entries);
	while ((entry = hash_seq_search(&all)) != NULL)
	{
		SpinLockAcquire(&entry->lock);
		copies[(*n)++] = *entry;
		SpinLockRelease(&entry->lock);
	}
	LWLockRelease(lock);
	return copies;
}

/* Rows of others, and the rest, are for members of pg_read_all_stats */
Datum
vl_stat(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		sees_all = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	StatShared	rest;
	StatEntry  *copies;
	int			n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (shared == NULL)
	{
		SayNotPreloaded();
		return (Datum) 0;
	}
	copies = copy_entries(&n, &rest);
	for (int i = 0; i < n; i++)
		if (sees_all || has_privs_of_role(GetUserId(), copies[i].key.role))
			put_entry(rsinfo, &copies[i].key, &copies[i].counters, rest.reset);
	if (sees_all && rest.rest.counts[COUNT_CALLS] > 0)
		put_entry(rsinfo, NULL, &rest.rest, rest.reset);
	return (Datum) 0;
}

Datum
vl_stat_reset(PG_FUNCTION_ARGS)
{
	HASH_SEQ_STATUS all;
	StatEntry  *entry;

	if (shared == NULL)
	{
		SayNotPreloaded();
		PG_RETURN_VOID();
	}
	LWLockAcquire(GetSharedLock(STAT_LOCK), LW_EXCLUSIVE);
	hash_seq_init(&all, entries);
	while ((entry = hash_seq_search(&all)) != NULL)
		hash_search(entries, &entry->key, HASH_REMOVE, NULL);
	memset(&shared->rest, 0, sizeof(shared->rest));
	shared->reset = GetCurrentTimestamp();
	LWLockRelease(GetSharedLock(STAT_LOCK));
	PG_RETURN_VOID();
}
