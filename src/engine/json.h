/*
 * json.h
 *		Reading JSON files through jansson, with errors that name file and key.
 */
#ifndef DSV_JSON_H
#define DSV_JSON_H

#include <jansson.h>

#include "error.h"

/* A new empty object.  PostgreSQL's server has a function json_object of its own, which a call from
 * here would reach instead of jansson's (test/t/012_symbols.pl). */
json_t	   *dsv_json_object(void);
#pragma GCC poison json_object

/* Reads a whole file, at most max_bytes.  Errors: IO, FORMAT (with line and column),
 * LIMIT.  *out is a new reference. */
dsv_code	dsv_json_load_file(const char *path, size_t max_bytes, json_t **out, dsv_error *err);
dsv_code	dsv_json_load_bytes(const char *what, const char *data, size_t len, json_t **out,
								dsv_error *err);

/*
 * obj[key] into *out; absent leaves *out as it is (the default).  where names the file
 * and object in errors, as in "config.json: language_config".  An explicit null: for
 * the _or_null forms *is_null is set and *out is left, for the others an error.
 * Errors: FORMAT.
 */
dsv_code	dsv_json_int(const json_t *obj, const char *where, const char *key, int64_t min,
						 int64_t max, int64_t *out, dsv_error *err);
dsv_code	dsv_json_int_or_null(const json_t *obj, const char *where, const char *key, int64_t min,
								 int64_t max, int64_t *out, bool *is_null, dsv_error *err);
dsv_code	dsv_json_double(const json_t *obj, const char *where, const char *key, double min,
							double max, double *out, dsv_error *err);
dsv_code	dsv_json_bool(const json_t *obj, const char *where, const char *key, bool *out,
						  dsv_error *err);

/* The string stays owned by obj. */
dsv_code	dsv_json_string(const json_t *obj, const char *where, const char *key, const char **out,
							dsv_error *err);

#endif
