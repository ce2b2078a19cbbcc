/*
 * test_kv.c
 *		Pages of keys and values: the budget, names, the order of eviction, failing memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kv.h"

/* Plain attention: a row is 2 x (4 + 4) numbers, a page 3 x 64 rows of fp32 */
static const dsv_language_config shape = {
	.layers = 3, .heads = 2, .kv_heads = 2, .head_dim = 4, .v_dim = 4,
};
#define PAGE_BYTES ((size_t) 3 * 64 * 16 * 4)

/* Allocator that counts what is held and fails when `left` calls have succeeded */
typedef struct counter
{
	int			held;
	int			left;			/* calls that succeed; -1: all */
} counter;

static void *
count_alloc(void *ud, size_t size)
{
	counter    *c = ud;
	void	   *p;

	if (c->left == 0)
		return NULL;
	c->left -= c->left > 0;
	p = malloc(size);
	c->held += p != NULL;
	return p;
}

static void
count_free(void *ud, void *ptr)
{
	((counter *) ud)->held--;
	free(ptr);
}

typedef struct fixture
{
	counter		counter;
	dsv_mem		mem;
	dsv_error	err;
	dsv_kv		kv;
} fixture;

static fixture *
open_pool(size_t budget)
{
	fixture    *f = calloc(1, sizeof(*f));

	f->counter.left = -1;
	f->mem = (dsv_mem) {count_alloc, count_free, &f->counter};
	assert_int_equal(dsv_kv_init(&f->kv, &shape, KERN_F32, budget, &f->mem, &f->err), DSV_OK);
	return f;
}

static void
close_pool(fixture *f)
{
	dsv_kv_free(&f->kv);
	assert_int_equal(f->counter.held, 0);
	free(f);
}

/* Two buckets are shared by all names */
static dsv_kv_name
name_of(int i)
{
	dsv_kv_name name = {{0}};

	name.hash[0] = (uint8_t) (i % 2);
	name.hash[31] = (uint8_t) i;
	return name;
}

static void
publish(fixture *f, int page, int i)
{
	dsv_kv_name name = name_of(i);

	dsv_kv_publish(&f->kv, page, &name);
}

static int
acquire(fixture *f, int i)
{
	dsv_kv_name name = name_of(i);

	return dsv_kv_acquire(&f->kv, &name);
}

static void
take(fixture *f, int n, int *out)
{
	assert_int_equal(dsv_kv_take(&f->kv, n, out, &f->err), DSV_OK);
}

static void
test_sizes(void **state)
{
	dsv_language_config mla = {.layers = 2, .mla = true, .kv_rank = 10, .rope = 6, .heads = 99};
	fixture    *f = open_pool(4 * PAGE_BYTES);
	int			page[2];

	assert_int_equal(dsv_kv_row(&shape), 16);
	assert_int_equal(dsv_kv_page_bytes(&shape, KERN_F32), PAGE_BYTES);
	assert_int_equal(dsv_kv_page_bytes(&shape, KERN_BF16), PAGE_BYTES / 2);
	assert_int_equal(dsv_kv_row(&mla), 16);
	assert_int_equal(dsv_kv_page_bytes(&mla, KERN_F32), 2 * 64 * 16 * 4);

	take(f, 2, page);
	assert_int_equal((uintptr_t) f->kv.pages[page[0]].data % 64, 0);
	for (int i = 0; i < 2; i++)
		memset(f->kv.pages[page[i]].data, i, PAGE_BYTES);
	assert_ptr_equal(dsv_kv_layer(&f->kv, page[1], 0), f->kv.pages[page[1]].data);
	assert_ptr_equal((char *) dsv_kv_layer(&f->kv, page[1], 2) + 64 * 16 * 4,
					 (char *) f->kv.pages[page[1]].data + PAGE_BYTES);
	close_pool(f);
}

static void
test_budget(void **state)
{
	fixture    *f = open_pool(4 * PAGE_BYTES - 1);
	int			page[4];

	assert_int_equal(f->kv.max_pages, 3);
	assert_int_equal(dsv_kv_take(&f->kv, 4, page, &f->err), DSV_BUDGET);
	assert_non_null(strstr(f->err.detail, "needs 48 kB, 36 of 36 kB are free"));
	assert_int_equal(f->kv.in_use, 0);
	take(f, 3, page);
	assert_int_equal(f->kv.npages, 3);
	assert_int_equal(dsv_kv_take(&f->kv, 1, page + 3, &f->err), DSV_BUDGET);
	dsv_kv_release(&f->kv, page[1]);
	take(f, 1, page + 3);
	assert_int_equal(page[3], page[1]);
	assert_int_equal(f->kv.in_use, 3);
	take(f, 0, NULL);
	close_pool(f);

	f = open_pool(PAGE_BYTES - 1);
	assert_int_equal(acquire(f, 1), -1);
	take(f, 0, NULL);
	assert_int_equal(dsv_kv_take(&f->kv, 1, page, &f->err), DSV_BUDGET);
	close_pool(f);
}

static void
test_names(void **state)
{
	fixture    *f = open_pool(8 * PAGE_BYTES);
	int			page[4];
	int			again;

	assert_int_equal(acquire(f, 0), -1);
	take(f, 4, page);
	for (int i = 0; i < 3; i++)
		publish(f, page[i], i);
	/* the name is taken: page 3 stays anonymous; page 0 keeps its first name */
	publish(f, page[3], 2);
	publish(f, page[0], 9);
	assert_false(f->kv.pages[page[3]].published);
	assert_int_equal(acquire(f, 9), -1);

	/* found while in use, and again when nobody uses it */
	assert_int_equal(acquire(f, 2), page[2]);
	assert_int_equal(f->kv.in_use, 4);
	dsv_kv_release(&f->kv, page[2]);
	dsv_kv_release(&f->kv, page[2]);
	assert_int_equal(f->kv.in_use, 3);
	assert_int_equal(acquire(f, 2), page[2]);
	assert_int_equal(f->kv.in_use, 4);

	/* an anonymous page goes to the free list and comes back without a name */
	dsv_kv_release(&f->kv, page[3]);
	take(f, 1, &again);
	assert_int_equal(again, page[3]);
	assert_false(f->kv.pages[again].published);
	publish(f, again, 3);
	assert_int_equal(acquire(f, 3), again);
	close_pool(f);
}

/* Free pages first, then new memory, then the page that nobody has used for longest */
static void
test_eviction(void **state)
{
	fixture    *f = open_pool(4 * PAGE_BYTES);
	int			page[4];
	int			fresh[3];

	take(f, 3, page);
	for (int i = 0; i < 3; i++)
		publish(f, page[i], i);
	for (int i = 0; i < 3; i++)
		dsv_kv_release(&f->kv, page[i]);
	/* 0 was used again: 1 is the oldest now, 2 in the middle */
	assert_int_equal(acquire(f, 0), page[0]);
	dsv_kv_release(&f->kv, page[0]);
	take(f, 1, fresh);
	assert_int_equal(f->kv.npages, 4);
	take(f, 1, fresh + 1);
	assert_int_equal(fresh[1], page[1]);
	assert_int_equal(acquire(f, 1), -1);
	/* out of the middle of the list, and what is in use is never evicted */
	assert_int_equal(acquire(f, 2), page[2]);
	take(f, 1, fresh + 2);
	assert_int_equal(fresh[2], page[0]);
	assert_int_equal(acquire(f, 0), -1);
	assert_int_equal(dsv_kv_take(&f->kv, 1, page + 3, &f->err), DSV_BUDGET);
	dsv_kv_release(&f->kv, page[2]);
	assert_int_equal(f->kv.oldest, page[2]);
	assert_int_equal(f->kv.newest, page[2]);
	take(f, 1, page + 3);
	assert_int_equal(page[3], page[2]);
	assert_int_equal(f->kv.oldest, -1);
	assert_int_equal(f->kv.newest, -1);
	close_pool(f);
}

static void
test_no_memory(void **state)
{
	fixture    *f = open_pool(6 * PAGE_BYTES);
	int			page[4];
	int			more[4];

	/* the third page cannot be had: the two before go back */
	f->counter.left = 2;
	assert_int_equal(dsv_kv_take(&f->kv, 3, page, &f->err), DSV_NOMEM);
	assert_int_equal(f->kv.in_use, 0);
	assert_int_equal(f->kv.npages, 2);
	take(f, 2, page);

	/* without memory a cached page is given up though the budget is not spent */
	publish(f, page[0], 0);
	dsv_kv_release(&f->kv, page[0]);
	take(f, 1, more);
	assert_int_equal(more[0], page[0]);
	assert_int_equal(acquire(f, 0), -1);
	assert_int_equal(dsv_kv_take(&f->kv, 1, more + 1, &f->err), DSV_NOMEM);
	f->counter.left = -1;
	take(f, 4, more);
	close_pool(f);
}

static void
test_every_allocation_fails_once(void **state)
{
	dsv_code	code = DSV_NOMEM;

	for (int n = 0; code != DSV_OK; n++)
	{
		counter		c = {0, n};
		dsv_mem		mem = {count_alloc, count_free, &c};
		dsv_error	err = {0};
		dsv_kv		kv;
		int			page[2];

		code = dsv_kv_init(&kv, &shape, KERN_F32, 2 * PAGE_BYTES, &mem, &err);
		if (code == DSV_OK)
		{
			code = dsv_kv_take(&kv, 2, page, &err);
			dsv_kv_free(&kv);
		}
		assert_true(code == DSV_OK || (code == DSV_NOMEM && err.code == DSV_NOMEM));
		assert_int_equal(c.held, 0);
		assert_true(n < 10);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_every_allocation_fails_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
