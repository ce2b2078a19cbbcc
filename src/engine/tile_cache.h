/*
 * tile_cache.h
 *		What the tower made of a tile, kept for the next question about the same picture.
 *
 * A prompt's cached pages end at a multiple of 64 positions, mostly inside the picture:
 * without its tiles' rows the tower would have to run again for the rest.  A slot is
 * claimed at admission (memory is taken there, the least recently used slot goes when the
 * budget is spent), filled by the step that ran the tower, and found by name afterwards.
 */
#ifndef DSV_TILE_CACHE_H
#define DSV_TILE_CACHE_H

#include "kv.h"

typedef struct dsv_tile_slot
{
	dsv_kv_name name;
	float	   *rows;			/* [count] */
	void	   *to_free;
	bool		filled;
	bool		claimed;		/* by a sequence that has yet to fill it */
	uint64_t	used;			/* clock of the last use */
} dsv_tile_slot;

typedef struct dsv_tile_cache
{
	dsv_mem		mem;
	size_t		count;			/* numbers a tile: tokens x hidden */
	int			max_slots;
	int			nslots;			/* with memory */
	dsv_tile_slot *slots;
	uint64_t	clock;
} dsv_tile_cache;

/* Takes the table of slots only.  A budget below one tile makes a cache that keeps nothing.
 * Errors: NOMEM. */
dsv_code	dsv_tile_cache_init(dsv_tile_cache *cache, size_t count, size_t budget, const dsv_mem *mem,
								dsv_error *err);
void		dsv_tile_cache_free(dsv_tile_cache *cache);

/* Rows [count] of that name, or NULL; good until the next claim. */
const float *dsv_tile_cache_find(dsv_tile_cache *cache, const dsv_kv_name *name);

/* A slot for a tile that the tower will run, or -1: nothing free, no memory, or the name is
 * there already. */
int			dsv_tile_cache_claim(dsv_tile_cache *cache, const dsv_kv_name *name);

/* Gives a claimed slot its rows; NULL gives it back. */
void		dsv_tile_cache_fill(dsv_tile_cache *cache, int slot, const float *rows);

size_t		dsv_tile_cache_bytes(const dsv_tile_cache *cache);

#endif
