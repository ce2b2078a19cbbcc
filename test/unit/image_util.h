/*
 * image_util.h
 *		What the tests of pictures share: files, a picture from a file, an allocator that
 *		counts and fails at will, a poll that cancels at will, and what every format must
 *		survive.
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

static inline void
assert_same_picture(const char *what, const dsv_pixels *got, const dsv_pixels *want)
{
	if (got->width != want->width || got->height != want->height)
		fail_msg("%s: %d x %d, expected %d x %d", what, got->width, got->height,
				 want->width, want->height);
	for (size_t i = 0; i < (size_t) want->width * want->height * 3; i++)
	{
		if (got->rgb[i] != want->rgb[i])
			fail_msg("%s: pixel %zu channel %zu is %d, expected %d", what, i / 3, i % 3,
					 got->rgb[i], want->rgb[i]);
	}
}

/* ---- what every format must survive; options may be NULL ---- */

static inline void
check_allocations(const file_bytes *file, const dsv_image_options *options)
{
	dsv_code	code = DSV_NOMEM;

	for (int n = 1; code != DSV_OK; n++)
	{
		counting_mem c;
		dsv_pixels	out;
		dsv_error	err;

		counting_start(&c, n);
		code = dsv_image_decode(file->data, file->len, options, NULL, &c.mem, &out, NULL, &err);
		if (code == DSV_OK)
		{
			assert_true(c.calls < n && n > 1);
			dsv_pixels_free(&out, &c.mem);
		}
		else
		{
			assert_int_equal(code, DSV_NOMEM);
			assert_string_equal(err.msg, "out of memory");
			assert_null(out.rgb);
		}
		assert_int_equal(c.live, 0);
	}
}

static inline void
check_canceled(const file_bytes *file, const dsv_image_options *options, int at_least)
{
	dsv_code	code = DSV_CANCELED;
	int			n;

	for (n = 1; code != DSV_OK; n++)
	{
		counting_mem c;
		counting_poll p;
		dsv_pixels	out;
		dsv_error	err;

		counting_start(&c, 0);
		counting_poll_start(&p, n);
		code = dsv_image_decode(file->data, file->len, options, &p.poll, &c.mem, &out, NULL, &err);
		if (code == DSV_OK)
			dsv_pixels_free(&out, &c.mem);
		else
		{
			assert_int_equal(code, DSV_CANCELED);
			assert_int_equal(p.calls, n);	/* nobody asks on after a yes */
		}
		assert_int_equal(c.live, 0);
	}
	assert_true(n - 1 > at_least);
}

/* A decode of any bytes: a picture or a row error, and nothing left behind; the code */
static inline dsv_code
check_any(const uint8_t *data, size_t len, const dsv_image_options *options)
{
	counting_mem c;
	dsv_pixels	out;
	dsv_image_info info;
	dsv_error	err;
	dsv_code	code;

	counting_start(&c, 0);
	code = dsv_image_decode(data, len, options, NULL, &c.mem, &out, &info, &err);
	if (code == DSV_OK)
	{
		assert_true(info.orientation >= 1 && info.orientation <= 8);
		assert_true(out.width > 0 && out.height > 0);
		dsv_pixels_free(&out, &c.mem);
	}
	else
	{
		assert_true(code == DSV_IMAGE || code == DSV_IMAGE_SIZE || code == DSV_LIMIT || code == DSV_UNSUPPORTED);
		assert_true(err.code == code && err.msg[0] != '\0');
	}
	assert_int_equal(c.live, 0);
	return code;
}

/* Every step-th byte changed in three ways */
static inline void
check_flips(const file_bytes *file, size_t step)
{
	static const uint8_t masks[] = {0xFF, 0x01, 0x80};
	dsv_image_options options = {.max_pixels = 1 << 18};

	for (size_t at = 0; at < file->len; at += step)
		for (int kind = 0; kind < 3; kind++)
		{
			file->data[at] ^= masks[kind];
			check_any(file->data, file->len, &options);
			file->data[at] ^= masks[kind];
		}
}

/* Cut after every step-th byte: an error, or the whole picture because only what follows its data
 * is missing.  Returns how often it was whole. */
static inline int
check_truncations(const file_bytes *file, const dsv_image_options *options, size_t step)
{
	int			complete = 0;
	dsv_pixels	whole;
	dsv_error	err;

	if (dsv_image_decode(file->data, file->len, options, NULL, NULL, &whole, NULL, &err) != DSV_OK)
		fail_msg("%s: %s", err.msg, err.detail);
	for (size_t len = 0; len < file->len; len += step)
	{
		/* exactly as long as stated, so that a sanitizer sees a byte too far */
		uint8_t    *part = malloc(len);
		dsv_pixels	out;

		memcpy(part, file->data, len);
		if (check_any(part, len, options) == DSV_OK)
		{
			assert_int_equal(dsv_image_decode(part, len, options, NULL, NULL, &out, NULL, &err), DSV_OK);
			assert_same_picture("truncated", &out, &whole);
			dsv_pixels_free(&out, NULL);
			complete++;
		}
		free(part);
	}
	dsv_pixels_free(&whole, NULL);
	return complete;
}

/* Deterministic noise */
static inline uint32_t
noise(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

#endif
