/*
 * safetensors.c
 *		Weight files: mapped, their headers checked whole, their tensors found by name.
 *
 * A header is trusted in nothing: whatever passes the checks here can be read from the
 * first to the last byte of each tensor.  The tensors of a file must fill it without
 * overlap and without holes, as the format demands; so a truncated or padded file is
 * noticed at opening and not in the middle of an answer.  A tensor that lies at an address
 * its element type cannot be read from is refused rather than copied, because a copy per
 * process is what the mapping exists to avoid.
 */
#include "safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "mem.h"
#include "file.h"

#define INDEX_NAME "model.safetensors.index.json"
#define SUFFIX ".safetensors"

/* The published headers have some 100 bytes a tensor; jansson takes several times the
 * text, so the limit is below the 100 MB of the format. */
#define MAX_HEADER_BYTES ((uint64_t) 32 << 20)
#define MAX_INDEX_BYTES ((size_t) 32 << 20)
#define MAX_SHARDS 1024

typedef struct shard
{
	void	   *base;			/* whole file, or NULL */
	size_t		len;
	char	   *names;			/* of its tensors, one after the other */
} shard;

struct dsv_safetensors
{
	dsv_mem		mem;
	shard	   *shards;
	size_t		nshards;
	size_t		shards_cap;
	dsv_tensor *tensors;		/* by name */
	size_t		ntensors;
	size_t		tensors_cap;
};

/* The file being read, and what is known of it. */
typedef struct reader
{
	const char *file;			/* for messages */
	const json_t *weight_map;	/* of the index, or NULL */
	json_t	  **metadata;		/* to be filled, or NULL */
	const char *data;			/* behind the header */
	uint64_t	size;			/* of the data */
	dsv_error  *err;
} reader;

static const struct
{
	const char *name;
	int			size;
}			dtypes[] = {
	[DSV_DTYPE_F32] = {"F32", 4},
	[DSV_DTYPE_BF16] = {"BF16", 2},
	[DSV_DTYPE_F16] = {"F16", 2},
	[DSV_DTYPE_I32] = {"I32", 4},
	[DSV_DTYPE_U8] = {"U8", 1},
	[DSV_DTYPE_I64] = {"I64", 8},
};

#define NDTYPES ((int) (sizeof(dtypes) / sizeof(dtypes[0])))

const char *
dsv_dtype_name(dsv_dtype dtype)
{
	return dtypes[dtype].name;
}

/* ---- one tensor's entry ---- */

static dsv_code
bad_tensor(const reader *r, const char *name, const char *fault)
{
	return dsv_fail(r->err, DSV_FORMAT, "%s: tensor \"%s\" %s", r->file, name, fault);
}

static dsv_code
read_dtype(const reader *r, const char *name, const json_t *value, dsv_dtype *out)
{
	const char *s = json_string_value(value);

	if (s == NULL)
		return bad_tensor(r, name, "has no \"dtype\"");
	for (int i = 0; i < NDTYPES; i++)
	{
		if (strcmp(s, dtypes[i].name) == 0)
		{
			*out = (dsv_dtype) i;
			return DSV_OK;
		}
	}
	dsv_fail(r->err, DSV_UNSUPPORTED, "%s: type \"%s\" of tensor \"%s\" is not supported", r->file,
			 s, name);
	dsv_detail(r->err, "Weights may be BF16, F16 or F32.");
	return DSV_UNSUPPORTED;
}

static dsv_code
read_shape(const reader *r, const char *name, const json_t *value, dsv_tensor *t)
{
	size_t		n = json_array_size(value);
	bool		overflow = false;

	if (!json_is_array(value))
		return bad_tensor(r, name, "has no \"shape\"");
	if (n > DSV_MAX_DIMS)
		return dsv_fail(r->err, DSV_LIMIT, "%s: tensor \"%s\" has %zu dimensions, more than %d",
						r->file, name, n, DSV_MAX_DIMS);
	t->ndim = (int) n;
	t->count = 1;
	for (size_t i = 0; i < n; i++)
	{
		const json_t *side = json_array_get(value, i);

		if (!json_is_integer(side) || json_integer_value(side) < 0)
			return bad_tensor(r, name, "has a shape that is not made of whole numbers");
		t->shape[i] = json_integer_value(side);
		overflow |= __builtin_mul_overflow(t->count, t->shape[i], &t->count);
	}
	return overflow ? bad_tensor(r, name, "has a shape that overflows") : DSV_OK;
}

static dsv_code
read_offsets(const reader *r, const char *name, const json_t *value, dsv_tensor *t)
{
	const json_t *first = json_array_get(value, 0);
	const json_t *last = json_array_get(value, 1);
	int			element = dtypes[t->dtype].size;
	int64_t		begin;
	int64_t		end;
	int64_t		bytes;

	if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last))
		return bad_tensor(r, name, "has no \"data_offsets\"");
	begin = json_integer_value(first);
	end = json_integer_value(last);
	if (begin < 0 || end < begin || (uint64_t) end > r->size)
	{
		bad_tensor(r, name, "does not lie inside the file");
		dsv_detail(r->err, "Its offsets are %lld and %lld, the data has %llu bytes.",
				   (long long) begin, (long long) end, (unsigned long long) r->size);
		dsv_hint(r->err, "The file may be truncated: compare its size with the published one.");
		return DSV_FORMAT;
	}
	if (__builtin_mul_overflow(t->count, (int64_t) element, &bytes) || bytes != end - begin)
		return bad_tensor(r, name, "has offsets that contradict its shape");
	t->data = r->data + begin;
	if ((uintptr_t) t->data % (uintptr_t) element != 0)
	{
		bad_tensor(r, name, "is misaligned");
		dsv_hint(r->err, "Save the file again with a current safetensors library.");
		return DSV_FORMAT;
	}
	return DSV_OK;
}

/* The index must say that the tensor is in this very file. */
static dsv_code
check_index(const reader *r, const char *name)
{
	const char *file = json_string_value(json_object_get(r->weight_map, name));

	if (r->weight_map == NULL || (file != NULL && strcmp(file, r->file) == 0))
		return DSV_OK;
	if (file == NULL)
		return dsv_fail(r->err, DSV_FORMAT, "%s: tensor \"%s\" is not in %s", r->file, name,
						INDEX_NAME);
	return dsv_fail(r->err, DSV_FORMAT, "%s: tensor \"%s\" belongs to \"%s\" by %s", r->file, name,
					file, INDEX_NAME);
}

static dsv_code
read_tensor(const reader *r, const char *name, const json_t *entry, dsv_tensor *t)
{
	dsv_code	code;

	if (json_object_size(entry) != 3)
		return bad_tensor(r, name, "must have \"dtype\", \"shape\" and \"data_offsets\"");
	if ((code = check_index(r, name)) != DSV_OK ||
		(code = read_dtype(r, name, json_object_get(entry, "dtype"), &t->dtype)) != DSV_OK ||
		(code = read_shape(r, name, json_object_get(entry, "shape"), t)) != DSV_OK)
		return code;
	return read_offsets(r, name, json_object_get(entry, "data_offsets"), t);
}

/* ---- one file ---- */

size_t
dsv_tensor_bytes(const dsv_tensor *t)
{
	return (size_t) t->count * dtypes[t->dtype].size;
}

/* By place; an empty tensor before the one that begins there. */
static int
compare_place(const void *a, const void *b)
{
	const dsv_tensor *x = a;
	const dsv_tensor *y = b;
	uintptr_t	p = (uintptr_t) x->data;
	uintptr_t	q = (uintptr_t) y->data;

	if (p != q)
		return p < q ? -1 : 1;
	return (x->count > 0) - (y->count > 0);
}

static int
compare_name(const void *a, const void *b)
{
	return strcmp(((const dsv_tensor *) a)->name, ((const dsv_tensor *) b)->name);
}

/* Each tensor begins where the one before ends, and the last ends with the file. */
static dsv_code
check_places(const reader *r, dsv_tensor *tensors, size_t n)
{
	const char *at = r->data;

	qsort(tensors, n, sizeof(*tensors), compare_place);
	for (size_t i = 0; i < n; i++)
	{
		const char *begin = tensors[i].data;

		if (begin < at)
			return bad_tensor(r, tensors[i].name, "overlaps another one");
		if (begin > at)
			return bad_tensor(r, tensors[i].name, "lies behind a hole in the data");
		at = begin + dsv_tensor_bytes(&tensors[i]);
	}
	if (at != r->data + r->size)
		return dsv_fail(r->err, DSV_FORMAT, "%s: %zu bytes at the end belong to no tensor", r->file,
						(size_t) (r->data + r->size - at));
	return DSV_OK;
}

static dsv_code
read_entries(dsv_safetensors *st, shard *s, const reader *r, json_t *header)
{
	size_t		first = st->ntensors;
	size_t		names = 0;
	size_t		count = json_object_size(header);
	void	   *tensors = st->tensors;
	char	   *at;
	const char *name;
	json_t	   *entry;

	json_object_foreach(header, name, entry)
		names += strlen(name) + 1;
	s->names = dsv_alloc(&st->mem, names, 1);
	/* one more than needed, so that a file without tensors has a list too */
	if (s->names == NULL ||
		!dsv_reserve(&st->mem, &tensors, &st->tensors_cap, first + count + 1,
					 sizeof(dsv_tensor)))
		return dsv_fail_nomem(r->err, names + count * sizeof(dsv_tensor));
	st->tensors = tensors;
	at = s->names;
	json_object_foreach(header, name, entry)
	{
		dsv_tensor *t = &st->tensors[st->ntensors];
		dsv_code	code;

		if (strcmp(name, "__metadata__") == 0)
			continue;
		memset(t, 0, sizeof(*t));
		code = read_tensor(r, name, entry, t);
		if (code != DSV_OK)
			return code;
		t->name = strcpy(at, name);
		at += strlen(name) + 1;
		st->ntensors++;
	}
	return check_places(r, st->tensors + first, st->ntensors - first);
}

static dsv_code
read_header(dsv_safetensors *st, shard *s, reader *r)
{
	const unsigned char *bytes = s->base;
	uint64_t	len = 0;
	json_t	   *header;
	char		what[300];
	dsv_code	code;

	for (int i = 7; i >= 0; i--)
		len = len << 8 | bytes[i];
	if (len < 2 || len > s->len - 8)
	{
		dsv_fail(r->err, DSV_FORMAT, "%s: header length is wrong", r->file);
		dsv_detail(r->err, "It is %llu, the file has %zu bytes.", (unsigned long long) len, s->len);
		return DSV_FORMAT;
	}
	if (len > MAX_HEADER_BYTES)
		return dsv_fail(r->err, DSV_LIMIT, "%s: header of %llu bytes is too large", r->file,
						(unsigned long long) len);
	r->data = (const char *) bytes + 8 + len;
	r->size = s->len - 8 - len;
	snprintf(what, sizeof(what), "header of %s", r->file);
	code = dsv_json_load_bytes(what, (const char *) bytes + 8, len, &header, r->err);
	if (code != DSV_OK)
		return code;
	if (json_is_object(header))
		code = read_entries(st, s, r, header);
	else
		code = dsv_fail(r->err, DSV_FORMAT, "%s is not a JSON object", what);
	if (code == DSV_OK && r->metadata != NULL)
		*r->metadata = json_incref(json_object_get(header, "__metadata__"));
	json_decref(header);
	return code;
}

static dsv_code
map_file(const char *path, shard *s, dsv_error *err)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	dsv_code	code = DSV_OK;

	if (fd < 0)
		return dsv_fail_errno(err, errno, "could not open file \"%s\"", path);
	if (fstat(fd, &st) != 0)
		code = dsv_fail_errno(err, errno, "could not stat \"%s\"", path);
	else if (!S_ISREG(st.st_mode))
		code = dsv_fail(err, DSV_IO, "\"%s\" is not a regular file", path);
	else if (st.st_size < 8)
		code = dsv_fail(err, DSV_FORMAT, "\"%s\" is too short to be a safetensors file", path);
	else
	{
		s->base = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		s->len = (size_t) st.st_size;
		if (s->base == MAP_FAILED)
		{
			s->base = NULL;
			code = dsv_fail_errno(err, errno, "could not map \"%s\"", path);
		}
	}
	close(fd);
	return code;
}

static dsv_code
add_file(dsv_safetensors *st, const char *path, const json_t *weight_map, json_t **metadata,
		 dsv_error *err)
{
	void	   *shards = st->shards;
	reader		r = {.weight_map = weight_map, .metadata = metadata, .err = err};
	shard	   *s;
	dsv_code	code;

	if (!dsv_reserve(&st->mem, &shards, &st->shards_cap, st->nshards + 1, sizeof(shard)))
		return dsv_fail_nomem(err, sizeof(shard));
	st->shards = shards;
	s = &st->shards[st->nshards++];
	memset(s, 0, sizeof(*s));
	code = map_file(path, s, err);
	if (code != DSV_OK)
		return code;
	r.file = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
	return read_header(st, s, &r);
}

/* ---- a folder ---- */

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The distinct files of the weight map, in the order of their names: the order of the
 * entries is arbitrary, and the mapping's order must not be. */
static dsv_code
list_shards(const json_t *weight_map, const char **files, size_t *n, dsv_error *err)
{
	const char *name;
	json_t	   *value;

	*n = 0;
	json_object_foreach((json_t *) weight_map, name, value)
	{
		const char *file = json_string_value(value);
		size_t		i = 0;

		if (file == NULL || *file == '\0' || strlen(file) != json_string_length(value) ||
			strchr(file, '/') != NULL || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
			return dsv_fail(err, DSV_FORMAT, "%s: tensor \"%s\" has no file name", INDEX_NAME, name);
		while (i < *n && strcmp(files[i], file) != 0)
			i++;
		if (i < *n)
			continue;
		if (*n == MAX_SHARDS)
			return dsv_fail(err, DSV_LIMIT, "%s names more than %d files", INDEX_NAME, MAX_SHARDS);
		files[(*n)++] = file;
	}
	qsort(files, *n, sizeof(*files), compare_strings);
	return DSV_OK;
}

static dsv_code
add_indexed(dsv_safetensors *st, const char *dir, const json_t *index, dsv_error *err)
{
	const json_t *weight_map = json_object_get(index, "weight_map");
	const char *files[MAX_SHARDS];
	size_t		n;
	dsv_code	code;

	if (json_object_size(weight_map) == 0)
		return dsv_fail(err, DSV_FORMAT, "%s has no \"weight_map\"", INDEX_NAME);
	code = list_shards(weight_map, files, &n, err);
	for (size_t i = 0; code == DSV_OK && i < n; i++)
	{
		char		path[DSV_PATH_MAX];

		code = dsv_path_join(path, dir, files[i], err);
		if (code == DSV_OK)
			code = add_file(st, path, weight_map, NULL, err);
	}
	return code;
}

/* Every tensor read is one of the index, in its file, once; so equal numbers mean that none
 * is missing. */
static dsv_code
check_complete(const dsv_safetensors *st, const json_t *index, dsv_error *err)
{
	json_t	   *weight_map = json_object_get(index, "weight_map");
	const char *name;
	json_t	   *value;

	if (st->ntensors == json_object_size(weight_map))
		return DSV_OK;
	json_object_foreach(weight_map, name, value)
		if (dsv_safetensors_find(st, name) == NULL)
			return dsv_fail(err, DSV_FORMAT, "%s: tensor \"%s\" is not in \"%s\"", INDEX_NAME, name,
							json_string_value(value));
	return dsv_fail(err, DSV_INTERNAL, "weight files and %s disagree", INDEX_NAME);
}

/* The one *.safetensors of a folder without an index. */
static dsv_code
add_single(dsv_safetensors *st, const char *dir, dsv_error *err)
{
	DIR		   *d = opendir(dir);
	struct dirent *entry;
	char		path[DSV_PATH_MAX];
	int			found = 0;
	dsv_code	code = DSV_OK;

	if (d == NULL)
		return dsv_fail_errno(err, errno, "could not open directory \"%s\"", dir);
	while (code == DSV_OK && (errno = 0, entry = readdir(d)) != NULL)
	{
		size_t		len = strlen(entry->d_name);
		size_t		suffix = strlen(SUFFIX);

		if (len > suffix && strcmp(entry->d_name + len - suffix, SUFFIX) == 0 && found++ == 0)
			code = dsv_path_join(path, dir, entry->d_name, err);
	}
	if (code == DSV_OK && errno != 0)
		code = dsv_fail_errno(err, errno, "could not read directory \"%s\"", dir);
	closedir(d);
	if (code != DSV_OK)
		return code;
	if (found == 0)
		return dsv_fail_errno(err, ENOENT, "no weights (*%s) in \"%s\"", SUFFIX, dir);
	if (found > 1)
	{
		dsv_fail(err, DSV_FORMAT, "\"%s\" has %d weight files, but no index", dir, found);
		dsv_hint(err, "Download %s too.", INDEX_NAME);
		return DSV_FORMAT;
	}
	return add_file(st, path, NULL, NULL, err);
}

/* ---- open, close, find ---- */

static dsv_code
new_safetensors(const dsv_mem *mem, dsv_safetensors **out, dsv_error *err)
{
	*out = dsv_alloc_zero(mem, 1, sizeof(**out));
	if (*out == NULL)
		return dsv_fail_nomem(err, sizeof(**out));
	(*out)->mem = mem != NULL ? *mem : dsv_mem_libc;
	return DSV_OK;
}

static dsv_code
finish(dsv_safetensors **st, dsv_code code)
{
	if (code == DSV_OK)
		return DSV_OK;
	dsv_safetensors_close(*st);
	*st = NULL;
	return code;
}

dsv_code
dsv_safetensors_open_dir(const char *dir, const dsv_mem *mem, dsv_safetensors **out,
						 dsv_error *err)
{
	char		path[DSV_PATH_MAX];
	json_t	   *index = NULL;
	dsv_code	code = new_safetensors(mem, out, err);

	if (code != DSV_OK)
		return code;
	code = dsv_path_join(path, dir, INDEX_NAME, err);
	if (code != DSV_OK)
		return finish(out, code);
	if (access(path, F_OK) != 0)
		code = add_single(*out, dir, err);
	else if ((code = dsv_json_load_file(path, MAX_INDEX_BYTES, &index, err)) == DSV_OK)
		code = add_indexed(*out, dir, index, err);
	if (code == DSV_OK && (*out)->ntensors > 0)
		qsort((*out)->tensors, (*out)->ntensors, sizeof(dsv_tensor), compare_name);
	if (code == DSV_OK && index != NULL)
		code = check_complete(*out, index, err);
	json_decref(index);
	return finish(out, code);
}

dsv_code
dsv_safetensors_open_file(const char *path, const dsv_mem *mem, dsv_safetensors **out,
						  dsv_error *err)
{
	return dsv_safetensors_open_with_metadata(path, mem, out, NULL, err);
}

dsv_code
dsv_safetensors_open_with_metadata(const char *path, const dsv_mem *mem, dsv_safetensors **out,
								   json_t **metadata, dsv_error *err)
{
	dsv_code	code = new_safetensors(mem, out, err);

	if (code != DSV_OK)
		return code;
	code = add_file(*out, path, NULL, metadata, err);
	if (code == DSV_OK && (*out)->ntensors > 0)
		qsort((*out)->tensors, (*out)->ntensors, sizeof(dsv_tensor), compare_name);
	return finish(out, code);
}

void
dsv_safetensors_close(dsv_safetensors *st)
{
	dsv_mem		mem;

	if (st == NULL)
		return;
	mem = st->mem;
	for (size_t i = 0; i < st->nshards; i++)
	{
		if (st->shards[i].base != NULL)
			munmap(st->shards[i].base, st->shards[i].len);
		dsv_free(&mem, st->shards[i].names);
	}
	dsv_free(&mem, st->shards);
	dsv_free(&mem, st->tensors);
	dsv_free(&mem, st);
}

const dsv_tensor *
dsv_safetensors_find(const dsv_safetensors *st, const char *name)
{
	dsv_tensor	key = {.name = name};

	if (st->ntensors == 0)
		return NULL;
	return bsearch(&key, st->tensors, st->ntensors, sizeof(dsv_tensor), compare_name);
}

int
dsv_safetensors_count(const dsv_safetensors *st)
{
	return (int) st->ntensors;
}

const dsv_tensor *
dsv_safetensors_at(const dsv_safetensors *st, int i)
{
	return &st->tensors[i];
}

bool
dsv_safetensors_mapping(const dsv_safetensors *st, int i, const void **base, size_t *len)
{
	if (i < 0 || (size_t) i >= st->nshards)
		return false;
	*base = st->shards[i].base;
	*len = st->shards[i].len;
	return true;
}
