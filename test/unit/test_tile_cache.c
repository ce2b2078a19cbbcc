/*
 * test_tile_cache.c
 *		Names, budget, least recently used, claims given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tile_cache.h"

#define COUNT 10

static dsv_kv_name
name(int n)
{
	dsv_kv_name result = {{0}};

	memcpy(result.hash, &n, sizeof(n));
	return result;
}

/* Claims and fills tile n with rows of value n */
static int
keep(dsv_tile_cache *cache, int n)
{
	float		rows[COUNT];
	dsv_kv_name nm = name(n);
	int			slot = dsv_tile_cache_claim(cache, &nm);

	for (int i = 0; i < COUNT; i++)
		rows[i] = (float) n;
	if (slot >= 0)
		dsv_tile_cache_fill(cache, slot, rows);
	return slot;
}

static bool
has(dsv_tile_cache *cache, int n)
{
	dsv_kv_name nm = name(n);
	const float *rows = dsv_tile_cache_find(cache, &nm);

	if (rows != NULL)
		for (int i = 0; i < COUNT; i++)
			assert_true(rows[i] == (float) n);
	return rows != NULL;
}

static void
make(dsv_tile_cache *cache, int slots)
{
	dsv_error	err;

	assert_int_equal(dsv_tile_cache_init(cache, COUNT, slots * COUNT * sizeof(float), &dsv_mem_libc, &err),
					 DSV_OK);
}

static void
test_least_recently_used(void **state)
{
	dsv_tile_cache cache;

	make(&cache, 3);
	for (int n = 1; n <= 3; n++)
		assert_true(keep(&cache, n) >= 0);
	assert_true(has(&cache, 1));
	keep(&cache, 4);
	assert_true(has(&cache, 1));
	assert_false(has(&cache, 2));
	assert_true(has(&cache, 3));
	assert_true(has(&cache, 4));
	assert_int_equal(dsv_tile_cache_bytes(&cache), 3 * COUNT * sizeof(float));
	dsv_tile_cache_free(&cache);
}

static void
test_claims(void **state)
{
	dsv_tile_cache cache;
	dsv_kv_name one = name(1);
	dsv_kv_name two = name(2);
	dsv_kv_name three = name(3);
	int			a;
	int			b;

	make(&cache, 2);
	a = dsv_tile_cache_claim(&cache, &one);
	b = dsv_tile_cache_claim(&cache, &two);
	assert_true(a >= 0 && b >= 0 && a != b);
	/* one claim a name; claimed slots are not taken away, and not found */
	assert_int_equal(dsv_tile_cache_claim(&cache, &one), -1);
	assert_int_equal(dsv_tile_cache_claim(&cache, &three), -1);
	assert_false(has(&cache, 1));
	dsv_tile_cache_fill(&cache, a, NULL);
	assert_false(has(&cache, 1));
	assert_int_equal(dsv_tile_cache_claim(&cache, &three), a);
	dsv_tile_cache_free(&cache);
}

static void
test_no_budget(void **state)
{
	dsv_tile_cache cache;

	make(&cache, 0);
	assert_int_equal(keep(&cache, 1), -1);
	assert_false(has(&cache, 1));
	assert_int_equal(dsv_tile_cache_bytes(&cache), 0);
	dsv_tile_cache_free(&cache);
}

/* Memory for the first call only: the table, no slot */
static void *
alloc_once(void *ud, size_t size)
{
	int		   *calls = ud;

	return (*calls)++ == 0 ? malloc(size) : NULL;
}

static void *
alloc_never(void *ud, size_t size)
{
	return NULL;
}

static void
free_any(void *ud, void *ptr)
{
	free(ptr);
}

static void
test_no_memory(void **state)
{
	int			calls = 0;
	dsv_mem		once = {alloc_once, free_any, &calls};
	dsv_mem		never = {alloc_never, free_any, NULL};
	dsv_tile_cache cache;
	dsv_error	err;

	assert_int_equal(dsv_tile_cache_init(&cache, COUNT, 1000, &never, &err), DSV_NOMEM);
	assert_int_equal(dsv_tile_cache_init(&cache, COUNT, 1000, &once, &err), DSV_OK);
	assert_int_equal(keep(&cache, 1), -1);
	assert_false(has(&cache, 1));
	dsv_tile_cache_free(&cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_least_recently_used),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_no_budget),
		cmocka_unit_test(test_no_memory),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("tile_cache", tests, NULL, NULL);
}
