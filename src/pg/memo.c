/*
 * memo.c
 *		Results that the transaction remembers, the oldest dropped first.
 */
#include "memo.h"

#include "access/xact.h"
#include "guc.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct MemoEntry
{
	MemoKey		key;			/* hash key, first */
	dlist_node	age;			/* oldest first */
	Size		bytes;
	InferResult *result;
} MemoEntry;

SessionCounters Counters;

static MemoryContext context;	/* child of TopTransactionContext */
static HTAB *entries;			/* NULL = no memo yet */
static dlist_head by_age;
static Size total_bytes;

static void
forget(XactEvent event, void *arg)
{
	/* TopTransactionContext takes the memory with it */
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_PARALLEL_COMMIT || event == XACT_EVENT_PARALLEL_ABORT)
	{
		entries = NULL;
		total_bytes = 0;
	}
}

void
RegisterMemoCallbacks(void)
{
	RegisterXactCallback(forget, NULL);
}

static void
create_memo(void)
{
	HASHCTL		ctl = {.keysize = sizeof(MemoKey), .entrysize = sizeof(MemoEntry)};

	context = AllocSetContextCreate(TopTransactionContext, "dsvl2 memo", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = context;
	entries = hash_create("dsvl2 memo", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&by_age);
	total_bytes = 0;
}

const InferResult *
MemoFind(const MemoKey *key)
{
	MemoEntry  *entry;

	if (entries == NULL || SettingMemoSize == 0)
		return NULL;
	entry = hash_search(entries, key, HASH_FIND, NULL);
	return entry != NULL ? entry->result : NULL;
}

static void
drop(MemoEntry *entry)
{
	total_bytes -= entry->bytes;
	dlist_delete(&entry->age);
	FreeInferResult(entry->result);
	hash_search(entries, &entry->key, HASH_REMOVE, NULL);
}

void
MemoStore(const MemoKey *key, const InferResult *result)
{
	Size		limit = (Size) SettingMemoSize * 1024;
	Size		bytes = InferResultSize(result) + sizeof(MemoEntry);
	MemoEntry  *entry;
	bool		found;

	if (bytes > limit || !IsTransactionState())
		return;
	if (entries == NULL)
		create_memo();
	while (total_bytes + bytes > limit)
		drop(dlist_head_element(MemoEntry, age, &by_age));
	{
		InferResult *copy = CopyInferResult(result, context);

		entry = hash_search(entries, key, HASH_ENTER, &found);
		if (found)
		{
			FreeInferResult(entry->result);
			total_bytes -= entry->bytes;
			dlist_delete(&entry->age);
		}
		entry->result = copy;
		entry->bytes = bytes;
		total_bytes += bytes;
		dlist_push_tail(&by_age, &entry->age);
	}
}
