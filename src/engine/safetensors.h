/*
 * safetensors.h
 *		Safetensors files of a folder, mapped read-only and shared.
 *
 * Format: u64 little-endian header length, JSON {name: {dtype, shape, data_offsets}},
 * data.  Offsets are relative to the end of the header.  Each file is checked whole at
 * opening: header length, names unique, size = shape x dtype, offsets inside the file,
 * aligned to the element, no overlap.  With model.safetensors.index.json every tensor
 * of weight_map must be in the shard it names.
 */
#ifndef DSV_SAFETENSORS_H
#define DSV_SAFETENSORS_H

#include "error.h"

struct json_t;

#define DSV_MAX_DIMS 4

typedef enum dsv_dtype
{
	DSV_DTYPE_F32,
	DSV_DTYPE_BF16,
	DSV_DTYPE_F16,
	DSV_DTYPE_I32,				/* golden files only, as U8 and I64 */
	DSV_DTYPE_U8,
	DSV_DTYPE_I64,
} dsv_dtype;

typedef struct dsv_tensor
{
	const char *name;
	dsv_dtype	dtype;
	int			ndim;
	int64_t		shape[DSV_MAX_DIMS];
	int64_t		count;			/* product of shape */
	const void *data;			/* in the mapping */
} dsv_tensor;

typedef struct dsv_safetensors dsv_safetensors;

/* The folder's weights: model.safetensors.index.json if there, else the only *.safetensors.
 * Errors: IO, FORMAT, UNSUPPORTED (dtype), NOMEM, LIMIT. */
dsv_code	dsv_safetensors_open_dir(const char *dir, const dsv_mem *mem, dsv_safetensors **out,
									 dsv_error *err);
dsv_code	dsv_safetensors_open_file(const char *path, const dsv_mem *mem, dsv_safetensors **out,
									  dsv_error *err);

/* *metadata gets a new reference to the file's "__metadata__", NULL where it has none. */
dsv_code	dsv_safetensors_open_with_metadata(const char *path, const dsv_mem *mem,
											   dsv_safetensors **out, struct json_t **metadata,
											   dsv_error *err);
void		dsv_safetensors_close(dsv_safetensors *st);

/* NULL when absent.  O(log n). */
const dsv_tensor *dsv_safetensors_find(const dsv_safetensors *st, const char *name);
int			dsv_safetensors_count(const dsv_safetensors *st);
const dsv_tensor *dsv_safetensors_at(const dsv_safetensors *st, int i);	/* by name, ascending */
const char *dsv_dtype_name(dsv_dtype dtype);
size_t		dsv_tensor_bytes(const dsv_tensor *t);

/* Mapped files: base and length of the i-th, false past the end. */
bool		dsv_safetensors_mapping(const dsv_safetensors *st, int i, const void **base, size_t *len);

#endif
