/*
 * rates.c
 *		Means by model and task, in shared memory or, without, in the backend's own.
 */
#include "rates.h"

#include "shmem.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

/* More than the tasks of a handful of models */
#define SLOTS 64

/* An event weighs this much when the next one of its kind comes: half of a mean is the last ten */
#define DECAY 0.93

typedef struct RateSlot
{
	char		digest[65];		/* of the model; empty = free */
	dsv_task	task;
	uint64		last_used;
	Rates		rates;
} RateSlot;

typedef struct RateTable
{
	uint64		uses;
	RateSlot	slots[SLOTS];
} RateTable;

static RateTable own;
static RateTable *table = &own;

Size
RatesMemorySize(void)
{
	return sizeof(RateTable);
}

void
AttachRatesMemory(void)
{
	bool		found;

	table = ShmemInitStruct("dsvl2 rates", sizeof(RateTable), &found);
	if (!found)
		memset(table, 0, sizeof(RateTable));
}

static void
lock_table(LWLockMode mode)
{
	if (table != &own)
		LWLockAcquire(GetSharedLock(RATES_LOCK), mode);
}

static void
unlock_table(void)
{
	if (table != &own)
		LWLockRelease(GetSharedLock(RATES_LOCK));
}

static RateSlot *
find_slot(const char *digest, dsv_task task)
{
	for (int i = 0; i < SLOTS; i++)
		if (table->slots[i].task == task && strcmp(table->slots[i].digest, digest) == 0)
			return &table->slots[i];
	return NULL;
}

static RateSlot *
enter_slot(const char *digest, dsv_task task)
{
	RateSlot   *slot = &table->slots[0];

	for (int i = 1; i < SLOTS; i++)
		if (table->slots[i].last_used < slot->last_used)
			slot = &table->slots[i];
	memset(slot, 0, sizeof(*slot));
	strlcpy(slot->digest, digest, sizeof(slot->digest));
	slot->task = task;
	return slot;
}

static void
add(RateMean *mean, double sum, double weight)
{
	/* what a cache had says nothing about what computing costs */
	if (weight <= 0)
		return;
	mean->sum = mean->sum * DECAY + sum;
	mean->weight = mean->weight * DECAY + weight;
}

void
RatesRecord(const InferCall *call, const dsv_usage *u)
{
	RateSlot   *slot;
	Rates	   *r;

	lock_table(LW_EXCLUSIVE);
	slot = find_slot(call->model->digest, call->task);
	if (slot == NULL)
		slot = enter_slot(call->model->digest, call->task);
	slot->last_used = ++table->uses;
	r = &slot->rates;
	add(&r->call_ms, u->decode_image_ms + u->vision_ms + u->prefill_ms + u->decode_ms, 1);
	add(&r->image_ms, u->decode_image_ms, call->nimages);
	add(&r->tile_ms, u->vision_ms, u->tiles);
	add(&r->prompt_ms, u->prefill_ms, u->prompt_tokens - u->cached_tokens);
	add(&r->answer_ms, u->decode_ms, u->output_tokens);
	add(&r->image_tiles, u->tiles + u->cached_tiles, call->nimages);
	add(&r->image_tokens, u->image_tokens, call->nimages);
	add(&r->text_tokens, u->prompt_tokens - u->image_tokens, 1);
	add(&r->answer_tokens, u->output_tokens, 1);
	unlock_table();
}

bool
RatesFind(const char *digest, dsv_task task, Rates *out)
{
	RateSlot   *slot;

	lock_table(LW_SHARED);
	slot = find_slot(digest, task);
	if (slot != NULL)
		*out = slot->rates;
	unlock_table();
	return slot != NULL;
}
