/*
 * image_util.h
 *		What the tests of pictures share: files, a picture from a file, an allocator that
 *		counts and fails at will, a poll that cancels at will.
 */
#ifndef IMAGE_UTIL_H
#define IMAGE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "image.h"

static const dsv_image_options as_reference = {.reference_decode = true};

typedef struct file_bytes
{
	uint8_t    *data;
	size_t		len;
} file_bytes;

static inline file_bytes
read_file(const char *path)
{
	FILE	   *f = fopen(path, "rb");
	file_bytes	b = {NULL, 0};
	long		size;

	if (f == NULL)
		fail_msg("cannot open %s", path);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	size = ftell(f);
	rewind(f);
	b.data = malloc((size_t) size + 1);
	b.len = fread(b.data, 1, (size_t) size, f);
	assert_int_equal(b.len, size);
	fclose(f);
	return b;
}

static inline dsv_pixels
load_picture(const char *path, const dsv_image_options *options)
{
	file_bytes	file = read_file(path);
	dsv_pixels	picture;
	dsv_error	err;

	if (dsv_image_decode(file.data, file.len, options, NULL, NULL, &picture, NULL, &err) != DSV_OK)
		fail_msg("%s: %s: %s", path, err.msg, err.detail);
	free(file.data);
	return picture;
}

static inline json_t *
load_index(const char *path)
{
	json_error_t e;
	json_t	   *j = json_load_file(path, 0, &e);

	if (j == NULL)
		fail_msg("%s: %s", path, e.text);
	return j;
}

/* Fails its fail_at-th allocation (1 = the first; 0 = none) and keeps the books. */
typedef struct counting_mem
{
	dsv_mem		mem;
	int			calls;
	int			fail_at;
	int			live;
	size_t		largest;
} counting_mem;

static inline void *
counting_alloc(void *ud, size_t size)
{
	counting_mem *c = ud;

	if (++c->calls == c->fail_at)
		return NULL;
	if (size > c->largest)
		c->largest = size;
	c->live++;
	return malloc(size);
}

static inline void
counting_free(void *ud, void *ptr)
{
	counting_mem *c = ud;

	c->live--;
	free(ptr);
}

static inline void
counting_start(counting_mem *c, int fail_at)
{
	memset(c, 0, sizeof(*c));
	c->mem = (dsv_mem) {counting_alloc, counting_free, c};
	c->fail_at = fail_at;
}

/* Says "cancel" at its cancel_at-th call (1 = the first; 0 = never). */
typedef struct counting_poll
{
	dsv_poll	poll;
	int			calls;
	int			cancel_at;
} counting_poll;

static inline bool
counting_poll_fn(void *ud)
{
	counting_poll *c = ud;

	return ++c->calls == c->cancel_at;
}

static inline void
counting_poll_start(counting_poll *c, int cancel_at)
{
	memset(c, 0, sizeof(*c));
	c->poll = (dsv_poll) {counting_poll_fn, c};
	c->cancel_at = cancel_at;
}

/* Deterministic noise */
static inline uint32_t
noise(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

#endif
