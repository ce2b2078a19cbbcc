/*
 * mem.h
 *		Memory through the caller's dsv_mem, and the arena that one admission takes.
 *
 * An arena is measured first and taken in one piece: the same layout function runs
 * with base == NULL to add up sizes and then with memory behind it, so the figure
 * that dsv_engine_memory() reports cannot differ from what is taken.
 */
#ifndef DSV_MEM_H
#define DSV_MEM_H

#include "error.h"

/* NULL on failure or when count * size overflows; mem may be NULL (libc). */
void	   *dsv_alloc(const dsv_mem *mem, size_t count, size_t size);
void	   *dsv_alloc_zero(const dsv_mem *mem, size_t count, size_t size);
char	   *dsv_strdup(const dsv_mem *mem, const char *s);
void		dsv_free(const dsv_mem *mem, void *ptr);	/* NULL is fine */

/*
 * Room for `need` elements in a growing array; *ptr and *cap are updated, content is
 * kept, growth is by half.  False when out of memory: nothing has changed then.
 */
bool		dsv_reserve(const dsv_mem *mem, void **ptr, size_t *cap, size_t need, size_t size);

typedef struct dsv_arena
{
	char	   *base;			/* NULL: only measuring */
	size_t		used;			/* bytes, each piece rounded up to 64 */
} dsv_arena;

/* 64-byte aligned (base must be); NULL while measuring. */
void	   *dsv_arena_take(dsv_arena *arena, size_t count, size_t size);

/* Memory of `size` bytes that begins at a multiple of 64. */
void	   *dsv_alloc_aligned(const dsv_mem *mem, size_t size, void **to_free);

/* Asks for pages of 2 MB in a block that is read as a whole again and again: streaming through it then
 * does not wait for addresses.  Advice only. */
void		dsv_prefer_huge_pages(void *block, size_t size);

/* Growing list of token ids. */
typedef struct dsv_tokens
{
	int32_t    *ids;
	size_t		n;
	size_t		cap;
} dsv_tokens;

/* Growing bytes, always zero-terminated once something was added. */
typedef struct dsv_text
{
	char	   *s;
	size_t		len;
	size_t		cap;
} dsv_text;

bool		dsv_tokens_add(const dsv_mem *mem, dsv_tokens *list, int32_t id, size_t times);
bool		dsv_text_add(const dsv_mem *mem, dsv_text *text, const void *data, size_t len);

#endif
