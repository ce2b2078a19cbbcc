#include "kv.h"

#include <string.h>

int
dsv_kv_row(const dsv_language_config *c)
{
	return c->mla ? c->kv_rank + c->rope : c->kv_heads * (c->head_dim + c->v_dim);
}

size_t
dsv_kv_page_bytes(const dsv_language_config *c, kern_dtype dtype)
{
	return (size_t) c->layers * DSV_KV_PAGE * dsv_kv_row(c) * kern_dtype_size(dtype);
}

static int
bucket_of(const dsv_kv *kv, const dsv_kv_name *name)
{
	uint32_t	h;

	memcpy(&h, name->hash, sizeof(h));
	return (int) (h & (uint32_t) (kv->nbuckets - 1));
}

dsv_code
dsv_kv_init(dsv_kv *kv, const dsv_language_config *config, kern_dtype dtype, size_t budget,
			const dsv_mem *mem, dsv_error *err)
{
	size_t		most;

	memset(kv, 0, sizeof(*kv));
	kv->mem = *mem;
	kv->layers = config->layers;
	kv->row = dsv_kv_row(config);
	kv->dtype = dtype;
	kv->page_bytes = dsv_kv_page_bytes(config, dtype);
	most = budget / kv->page_bytes;
	kv->max_pages = most < 1 << 20 ? (int) most : 1 << 20;
	kv->free_head = kv->oldest = kv->newest = -1;
	for (kv->nbuckets = 16; kv->nbuckets < kv->max_pages; kv->nbuckets *= 2)
		;
	kv->pages = dsv_alloc_zero(mem, kv->max_pages, sizeof(*kv->pages));
	kv->buckets = dsv_alloc(mem, kv->nbuckets, sizeof(int));
	if (kv->pages == NULL || kv->buckets == NULL)
	{
		dsv_kv_free(kv);
		return dsv_fail_nomem(err, (size_t) kv->max_pages * sizeof(*kv->pages));
	}
	for (int i = 0; i < kv->nbuckets; i++)
		kv->buckets[i] = -1;
	return DSV_OK;
}

void
dsv_kv_free(dsv_kv *kv)
{
	for (int i = 0; i < kv->npages; i++)
		dsv_free(&kv->mem, kv->pages[i].to_free);
	dsv_free(&kv->mem, kv->pages);
	dsv_free(&kv->mem, kv->buckets);
	memset(kv, 0, sizeof(*kv));
}

/* ---- the list of cached pages, oldest first ---- */

static void
cached_append(dsv_kv *kv, int page)
{
	dsv_kv_page *p = &kv->pages[page];

	p->older = kv->newest;
	p->newer = -1;
	if (kv->newest >= 0)
		kv->pages[kv->newest].newer = page;
	else
		kv->oldest = page;
	kv->newest = page;
}

static void
cached_remove(dsv_kv *kv, int page)
{
	dsv_kv_page *p = &kv->pages[page];

	if (p->older >= 0)
		kv->pages[p->older].newer = p->newer;
	else
		kv->oldest = p->newer;
	if (p->newer >= 0)
		kv->pages[p->newer].older = p->older;
	else
		kv->newest = p->older;
}

static void
unpublish(dsv_kv *kv, int page)
{
	int		   *at = &kv->buckets[bucket_of(kv, &kv->pages[page].name)];

	while (*at != page)
		at = &kv->pages[*at].bucket_next;
	*at = kv->pages[page].bucket_next;
	kv->pages[page].published = false;
}

static int
find(const dsv_kv *kv, const dsv_kv_name *name)
{
	for (int i = kv->buckets[bucket_of(kv, name)]; i >= 0; i = kv->pages[i].bucket_next)
		if (memcmp(&kv->pages[i].name, name, sizeof(*name)) == 0)
			return i;
	return -1;
}

int
dsv_kv_acquire(dsv_kv *kv, const dsv_kv_name *name)
{
	int			page = find(kv, name);

	if (page < 0)
		return -1;
	if (kv->pages[page].refs++ == 0)
	{
		cached_remove(kv, page);
		kv->in_use++;
	}
	return page;
}

/* A page from the free list, new memory, or the oldest cached one; -1 out of memory. */
static int
take_one(dsv_kv *kv)
{
	int			page = kv->free_head;

	if (page >= 0)
		kv->free_head = kv->pages[page].older;
	else
	{
		dsv_kv_page *p = &kv->pages[kv->npages];

		if (kv->npages < kv->max_pages)
		{
			p->data = dsv_alloc_aligned(&kv->mem, kv->page_bytes, &p->to_free);
			if (p->data != NULL)
			{
				dsv_prefer_huge_pages(p->data, kv->page_bytes);
				page = kv->npages++;
			}
		}
		if (page < 0 && kv->oldest >= 0)
		{
			page = kv->oldest;
			cached_remove(kv, page);
			unpublish(kv, page);
		}
		if (page < 0)
			return -1;
	}
	kv->pages[page].refs = 1;
	kv->in_use++;
	return page;
}

dsv_code
dsv_kv_take(dsv_kv *kv, int n, int *out, dsv_error *err)
{
	if (n > kv->max_pages - kv->in_use)
	{
		dsv_fail(err, DSV_BUDGET, "not enough memory for keys and values");
		dsv_detail(err, "The request needs %zu kB, %zu of %zu kB are free.",
				   n * kv->page_bytes / 1024,
				   (size_t) (kv->max_pages - kv->in_use) * kv->page_bytes / 1024,
				   (size_t) kv->max_pages * kv->page_bytes / 1024);
		return DSV_BUDGET;
	}
	for (int i = 0; i < n; i++)
	{
		out[i] = take_one(kv);
		if (out[i] < 0)
		{
			while (i-- > 0)
				dsv_kv_release(kv, out[i]);
			return dsv_fail_nomem(err, kv->page_bytes);
		}
	}
	return DSV_OK;
}

void
dsv_kv_publish(dsv_kv *kv, int page, const dsv_kv_name *name)
{
	dsv_kv_page *p = &kv->pages[page];
	int			bucket = bucket_of(kv, name);

	if (p->published || find(kv, name) >= 0)
		return;
	p->name = *name;
	p->published = true;
	p->bucket_next = kv->buckets[bucket];
	kv->buckets[bucket] = page;
}

void
dsv_kv_release(dsv_kv *kv, int page)
{
	dsv_kv_page *p = &kv->pages[page];

	if (--p->refs > 0)
		return;
	kv->in_use--;
	if (p->published)
		cached_append(kv, page);
	else
	{
		p->older = kv->free_head;
		kv->free_head = page;
	}
}
