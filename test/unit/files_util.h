/*
 * files_util.h
 *		What the tests of model files share: a throw-away folder, files written into it,
 *		checks of errors, an allocator that fails once.
 */
#ifndef FILES_UTIL_H
#define FILES_UTIL_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "dsv.h"

typedef struct temp_dir
{
	char		path[200];
} temp_dir;

static inline temp_dir
temp_make(void)
{
	const char *base = getenv("TMPDIR");
	temp_dir	t;

	snprintf(t.path, sizeof(t.path), "%s/dsv-test-XXXXXX", base != NULL ? base : "/tmp");
	assert_non_null(mkdtemp(t.path));
	return t;
}

static inline const char *
temp_file(const temp_dir *t, const char *name)
{
	static char path[600];

	snprintf(path, sizeof(path), "%s/%s", t->path, name);
	return path;
}

static inline void
temp_remove(const temp_dir *t)
{
	DIR		   *d = opendir(t->path);
	struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.')
			remove(temp_file(t, entry->d_name));
	closedir(d);
	assert_int_equal(rmdir(t->path), 0);
}

static inline void
temp_put(const temp_dir *t, const char *name, const void *data, size_t len)
{
	FILE	   *f = fopen(temp_file(t, name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline void
temp_put_text(const temp_dir *t, const char *name, const char *text)
{
	temp_put(t, name, text, strlen(text));
}

static inline void
temp_put_json(const temp_dir *t, const char *name, const json_t *value)
{
	assert_int_equal(json_dump_file(value, temp_file(t, name), 0), 0);
}

/* A file's bytes; the caller frees. */
static inline char *
slurp(const char *path, size_t *len)
{
	FILE	   *f = fopen(path, "rb");
	struct stat st;
	char	   *data;

	if (f == NULL || fstat(fileno(f), &st) != 0)
		fail_msg("cannot open %s", path);
	*len = (size_t) st.st_size;
	data = malloc(*len + 1);
	assert_int_equal(fread(data, 1, *len, f), *len);
	fclose(f);
	return data;
}

static inline void
temp_copy(const temp_dir *t, const char *from_dir, const char *name)
{
	char		path[600];
	size_t		len;
	char	   *data;

	snprintf(path, sizeof(path), "%s/%s", from_dir, name);
	data = slurp(path, &len);
	temp_put(t, name, data, len);
	free(data);
}

static inline json_t *
load_json(const char *path)
{
	json_t	   *value = json_load_file(path, 0, NULL);

	if (value == NULL)
		fail_msg("cannot read %s", path);
	return value;
}

/* Header length, header, `data` bytes of zeros */
static inline void
temp_put_safetensors(const temp_dir *t, const char *name, const char *header, size_t data)
{
	size_t		len = strlen(header);
	char	   *bytes = calloc(1, 8 + len + data + 1);

	for (int i = 0; i < 8; i++)
		bytes[i] = (char) ((uint64_t) len >> (8 * i));
	memcpy(bytes + 8, header, len);
	temp_put(t, name, bytes, 8 + len + data);
	free(bytes);
}

static inline void
check_ok(dsv_code code, const dsv_error *err)
{
	if (code != DSV_OK)
		fail_msg("code %d: %s %s", code, err->msg, err->detail);
}

/* The code, and a piece of message or detail */
static inline void
check_error(const char *what, dsv_code code, const dsv_error *err, dsv_code want, const char *piece)
{
	if (code != want || err->code != want)
		fail_msg("%s: code %d instead of %d: %s %s", what, code, want, err->msg, err->detail);
	if (strstr(err->msg, piece) == NULL && strstr(err->detail, piece) == NULL)
		fail_msg("%s: no \"%s\" in \"%s\" \"%s\"", what, piece, err->msg, err->detail);
}

/* Fails its fail_at-th allocation (0: none) and counts what is held. */
typedef struct books
{
	int			calls;
	int			fail_at;
	int			held;
} books;

static inline void *
books_alloc(void *ud, size_t size)
{
	books	   *b = ud;

	if (++b->calls == b->fail_at)
		return NULL;
	b->held++;
	return malloc(size);
}

static inline void
books_free(void *ud, void *ptr)
{
	books	   *b = ud;

	b->held--;
	free(ptr);
}

#endif
