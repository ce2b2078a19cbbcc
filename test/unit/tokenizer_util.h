/*
 * tokenizer_util.h
 *		Opening tokenizers in tests, the published ones out of their packed files.
 */
#ifndef TOKENIZER_UTIL_H
#define TOKENIZER_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "tokenizer.h"

#define FULL_SIZE "test/golden/tokenizer/vl2-tiny-base.tokenizer.json.gz"

static inline void
write_temp(const char *data, size_t len, char path[64])
{
	int			fd;

	strcpy(path, "/tmp/dsv-test-tokenizer.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static inline void
unpack(const char *gz, char path[64])
{
	static char buf[1 << 16];
	gzFile		in = gzopen(gz, "rb");
	FILE	   *out;
	int			n;

	assert_non_null(in);
	write_temp("", 0, path);
	out = fopen(path, "wb");
	assert_non_null(out);
	while ((n = gzread(in, buf, sizeof(buf))) > 0)
		assert_int_equal(fwrite(buf, 1, (size_t) n, out), n);
	assert_int_equal(n, 0);
	gzclose(in);
	assert_int_equal(fclose(out), 0);
}

static inline dsv_tokenizer *
open_tokenizer(const char *path)
{
	dsv_tokenizer *tok;
	dsv_error	err;

	if (dsv_tokenizer_open(path, NULL, &tok, &err) != DSV_OK)
		fail_msg("%s: %s", path, err.msg);
	return tok;
}

static inline dsv_tokenizer *
open_packed(const char *gz)
{
	char		path[64];
	dsv_tokenizer *tok;

	unpack(gz, path);
	tok = open_tokenizer(path);
	unlink(path);
	return tok;
}

#endif
