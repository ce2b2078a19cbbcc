#include "tile_cache.h"

#include <string.h>

/* More would make the linear search for a name noticeable */
#define MAX_SLOTS 256

dsv_code
dsv_tile_cache_init(dsv_tile_cache *cache, size_t count, size_t budget, const dsv_mem *mem, dsv_error *err)
{
	size_t		most = budget / (count * sizeof(float));

	memset(cache, 0, sizeof(*cache));
	cache->mem = *mem;
	cache->count = count;
	cache->max_slots = most < MAX_SLOTS ? (int) most : MAX_SLOTS;
	cache->slots = dsv_alloc_zero(mem, cache->max_slots, sizeof(*cache->slots));
	if (cache->slots == NULL)
		return dsv_fail_nomem(err, cache->max_slots * sizeof(*cache->slots));
	return DSV_OK;
}

void
dsv_tile_cache_free(dsv_tile_cache *cache)
{
	for (int i = 0; i < cache->nslots; i++)
		dsv_free(&cache->mem, cache->slots[i].to_free);
	dsv_free(&cache->mem, cache->slots);
	memset(cache, 0, sizeof(*cache));
}

static dsv_tile_slot *
find(dsv_tile_cache *cache, const dsv_kv_name *name)
{
	for (int i = 0; i < cache->nslots; i++)
	{
		dsv_tile_slot *s = &cache->slots[i];

		if ((s->filled || s->claimed) && memcmp(&s->name, name, sizeof(*name)) == 0)
			return s;
	}
	return NULL;
}

const float *
dsv_tile_cache_find(dsv_tile_cache *cache, const dsv_kv_name *name)
{
	dsv_tile_slot *s = find(cache, name);

	if (s == NULL || !s->filled)
		return NULL;
	s->used = ++cache->clock;
	return s->rows;
}

/* New memory while the budget lasts, then the slot that nobody has used for longest. */
static dsv_tile_slot *
room(dsv_tile_cache *cache)
{
	dsv_tile_slot *oldest = NULL;

	for (int i = 0; i < cache->nslots; i++)
	{
		dsv_tile_slot *s = &cache->slots[i];

		if (s->claimed)
			continue;
		if (!s->filled)
			return s;
		if (oldest == NULL || s->used < oldest->used)
			oldest = s;
	}
	if (cache->nslots < cache->max_slots)
	{
		dsv_tile_slot *s = &cache->slots[cache->nslots];

		s->rows = dsv_alloc_aligned(&cache->mem, cache->count * sizeof(float), &s->to_free);
		if (s->rows != NULL)
		{
			cache->nslots++;
			return s;
		}
	}
	return oldest;
}

int
dsv_tile_cache_claim(dsv_tile_cache *cache, const dsv_kv_name *name)
{
	dsv_tile_slot *s = find(cache, name) == NULL ? room(cache) : NULL;

	if (s == NULL)
		return -1;
	s->name = *name;
	s->filled = false;
	s->claimed = true;
	return (int) (s - cache->slots);
}

void
dsv_tile_cache_fill(dsv_tile_cache *cache, int slot, const float *rows)
{
	dsv_tile_slot *s = &cache->slots[slot];

	s->claimed = false;
	s->filled = rows != NULL;
	if (rows == NULL)
		return;
	memcpy(s->rows, rows, cache->count * sizeof(float));
	s->used = ++cache->clock;
}

size_t
dsv_tile_cache_bytes(const dsv_tile_cache *cache)
{
	return cache->nslots * cache->count * sizeof(float);
}
