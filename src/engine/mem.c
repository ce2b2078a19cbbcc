#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* madvise */
#endif

#include "mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *
libc_alloc(void *ud, size_t size)
{
	(void) ud;
	return malloc(size);
}

static void
libc_free(void *ud, void *ptr)
{
	(void) ud;
	free(ptr);
}

const dsv_mem dsv_mem_libc = {libc_alloc, libc_free, NULL};

void *
dsv_alloc(const dsv_mem *mem, size_t count, size_t size)
{
	size_t		bytes;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > (size_t) PTRDIFF_MAX)
		return NULL;
	if (mem == NULL)
		mem = &dsv_mem_libc;
	return mem->alloc(mem->ud, bytes > 0 ? bytes : 1);
}

void *
dsv_alloc_zero(const dsv_mem *mem, size_t count, size_t size)
{
	void	   *p = dsv_alloc(mem, count, size);

	if (p != NULL)
		memset(p, 0, count * size);
	return p;
}

char *
dsv_strdup(const dsv_mem *mem, const char *s)
{
	size_t		n = strlen(s) + 1;
	char	   *p = dsv_alloc(mem, n, 1);

	if (p != NULL)
		memcpy(p, s, n);
	return p;
}

void
dsv_free(const dsv_mem *mem, void *ptr)
{
	if (ptr == NULL)
		return;
	if (mem == NULL)
		mem = &dsv_mem_libc;
	mem->free(mem->ud, ptr);
}

bool
dsv_reserve(const dsv_mem *mem, void **ptr, size_t *cap, size_t need, size_t size)
{
	size_t		grown = *cap + *cap / 2 + 16;
	void	   *p;

	if (need <= *cap)
		return true;
	if (grown < need)
		grown = need;
	p = dsv_alloc(mem, grown, size);
	if (p == NULL)
		return false;
	if (*cap > 0)
		memcpy(p, *ptr, *cap * size);
	dsv_free(mem, *ptr);
	*ptr = p;
	*cap = grown;
	return true;
}

void *
dsv_arena_take(dsv_arena *arena, size_t count, size_t size)
{
	size_t		at = arena->used;

	arena->used += (count * size + 63) / 64 * 64;
	return arena->base != NULL ? arena->base + at : NULL;
}

void *
dsv_alloc_aligned(const dsv_mem *mem, size_t size, void **to_free)
{
	char	   *p = size <= (size_t) PTRDIFF_MAX - 64 ? dsv_alloc(mem, size + 64, 1) : NULL;

	*to_free = p;
	return p != NULL ? p + (64 - (uintptr_t) p % 64) % 64 : NULL;
}

void
dsv_prefer_huge_pages(void *block, size_t size)
{
#ifdef MADV_HUGEPAGE
	uintptr_t	page = (uintptr_t) sysconf(_SC_PAGESIZE);
	uintptr_t	begin = ((uintptr_t) block + page - 1) / page * page;
	uintptr_t	end = ((uintptr_t) block + size) / page * page;

	/* only whole pages of the block: what else is on its first and last is not ours */
	if (begin < end)
		(void) madvise((void *) begin, end - begin, MADV_HUGEPAGE);
#endif
}

bool
dsv_tokens_add(const dsv_mem *mem, dsv_tokens *list, int32_t id, size_t times)
{
	void	   *ids = list->ids;

	if (!dsv_reserve(mem, &ids, &list->cap, list->n + times, sizeof(int32_t)))
		return false;
	list->ids = ids;
	while (times-- > 0)
		list->ids[list->n++] = id;
	return true;
}

bool
dsv_text_add(const dsv_mem *mem, dsv_text *text, const void *data, size_t len)
{
	void	   *s = text->s;

	if (!dsv_reserve(mem, &s, &text->cap, text->len + len + 1, 1))
		return false;
	text->s = s;
	if (len > 0)
		memcpy(text->s + text->len, data, len);
	text->len += len;
	text->s[text->len] = '\0';
	return true;
}
