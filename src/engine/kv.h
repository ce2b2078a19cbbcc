/*
 * kv.h
 *		Pages of keys and values, named by what they hold.
 *
 * A page is DSV_KV_PAGE positions of every layer.  What a layer keeps of a position, its row, is
 * for plain attention the keys and values of all kv heads; for MLA the latent | rotary key.  MLA's
 * rows stand one after the other, while plain attention reads a head's keys as columns and its
 * values as rows: keys [kv_heads][head_dim][DSV_KV_PAGE], then values
 * [kv_heads][DSV_KV_PAGE][head_dim].  A page is
 * in use (referenced by sequences), cached (full, published under the hash of everything
 * up to its end, referenced by none: the least recently used goes first), or free.  A
 * published page is never written again.  Memory is taken page by page at admission, up
 * to the budget, and kept.
 */
#ifndef DSV_KV_H
#define DSV_KV_H

#include "../kernels/kernels.h"
#include "config.h"
#include "mem.h"

#define DSV_KV_PAGE 64

typedef struct dsv_kv_name
{
	uint8_t		hash[32];
} dsv_kv_name;

typedef struct dsv_kv_page
{
	void	   *data;			/* [layers][DSV_KV_PAGE * row] */
	void	   *to_free;
	int			refs;
	bool		published;
	dsv_kv_name name;
	int			bucket_next;	/* hash chain of published pages, -1 ends */
	int			older;			/* least-recently-used list of cached pages, or the free list */
	int			newer;
} dsv_kv_page;

typedef struct dsv_kv
{
	dsv_mem		mem;
	int			layers;
	int			row;			/* numbers a position and layer */
	kern_dtype	dtype;
	size_t		page_bytes;
	int			max_pages;		/* budget / page_bytes */
	int			npages;			/* with memory */
	int			in_use;
	dsv_kv_page *pages;			/* [max_pages] */
	int		   *buckets;		/* [nbuckets] */
	int			nbuckets;		/* power of two */
	int			free_head;
	int			oldest;			/* cached */
	int			newest;
} dsv_kv;

/* Numbers that one layer keeps of a position. */
int			dsv_kv_row(const dsv_language_config *config);
size_t		dsv_kv_page_bytes(const dsv_language_config *config, kern_dtype dtype);

/* Takes the page table only.  A budget below one page makes a pool that gives none.
 * Errors: NOMEM. */
dsv_code	dsv_kv_init(dsv_kv *kv, const dsv_language_config *config, kern_dtype dtype, size_t budget,
						const dsv_mem *mem, dsv_error *err);
void		dsv_kv_free(dsv_kv *kv);

/* A published page of that name, referenced once more; -1 if there is none. */
int			dsv_kv_acquire(dsv_kv *kv, const dsv_kv_name *name);

/* n fresh pages into out, or none.  Errors: BUDGET, NOMEM. */
dsv_code	dsv_kv_take(dsv_kv *kv, int n, int *out, dsv_error *err);

/* Names a full page; when the name is taken already, the page stays anonymous. */
void		dsv_kv_publish(dsv_kv *kv, int page, const dsv_kv_name *name);
void		dsv_kv_release(dsv_kv *kv, int page);

/* What a page holds of a layer */
static inline void *
dsv_kv_layer(const dsv_kv *kv, int page, int layer)
{
	return (char *) kv->pages[page].data +
		(size_t) layer * DSV_KV_PAGE * kv->row * kern_dtype_size(kv->dtype);
}

#endif
