/*
 * json.c
 *		JSON files through jansson.
 *
 * A key that stands twice in an object is an error: two readers of one file must not
 * see two different models.  Zero bytes inside strings are kept, because a vocabulary may
 * hold them; a plain string value (dsv_json_string) may not.  jansson itself limits the
 * depth (2048), so that no file can overflow the stack.
 */
#include "json.h"

#include <string.h>

#include "file.h"

#define FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

json_t *
dsv_json_object(void)
{
	return json_loads("{}", 0, NULL);
}

static const char *
file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

dsv_code
dsv_json_load_bytes(const char *what, const char *data, size_t len, json_t **out, dsv_error *err)
{
	json_error_t e;

	*out = json_loadb(data, len, FLAGS, &e);
	if (*out != NULL)
		return DSV_OK;
	/* without memory jansson often says nothing at all */
	if (json_error_code(&e) == json_error_out_of_memory || e.text[0] == '\0')
		return dsv_fail_nomem(err, len);
	dsv_fail(err, DSV_FORMAT, "%s is not valid JSON", what);
	dsv_detail(err, "Line %d, column %d: %s.", e.line, e.column, e.text);
	return DSV_FORMAT;
}

dsv_code
dsv_json_load_file(const char *path, size_t max_bytes, json_t **out, dsv_error *err)
{
	dsv_text	text = {0};
	dsv_code	code = dsv_file_read(path, max_bytes, NULL, &text, err);

	*out = NULL;
	if (code == DSV_OK)
		code = dsv_json_load_bytes(file_name(path), text.s, text.len, out, err);
	dsv_free(NULL, text.s);
	return code;
}

static dsv_code
wrong_type(const char *where, const char *key, const char *wanted, const json_t *value,
		   dsv_error *err)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",
		[JSON_INTEGER] = "an integer",
		[JSON_REAL] = "a number with a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};

	return dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must be %s, not %s", where, key, wanted,
					names[json_typeof(value)]);
}

dsv_code
dsv_json_int(const json_t *obj, const char *where, const char *key, int64_t min, int64_t max,
			 int64_t *out, dsv_error *err)
{
	const json_t *value = json_object_get(obj, key);
	int64_t		n;

	if (value == NULL)
		return DSV_OK;
	if (!json_is_integer(value))
		return wrong_type(where, key, "an integer", value, err);
	n = json_integer_value(value);
	if (n < min || n > max)
	{
		dsv_fail(err, DSV_FORMAT, "%s: \"%s\" is out of range", where, key);
		dsv_detail(err, "It is %lld; values from %lld to %lld are supported.", (long long) n,
				   (long long) min, (long long) max);
		return DSV_FORMAT;
	}
	*out = n;
	return DSV_OK;
}

dsv_code
dsv_json_int_or_null(const json_t *obj, const char *where, const char *key, int64_t min,
					 int64_t max, int64_t *out, bool *is_null, dsv_error *err)
{
	*is_null = json_is_null(json_object_get(obj, key));
	if (*is_null)
		return DSV_OK;
	return dsv_json_int(obj, where, key, min, max, out, err);
}

dsv_code
dsv_json_double(const json_t *obj, const char *where, const char *key, double min, double max,
				double *out, dsv_error *err)
{
	const json_t *value = json_object_get(obj, key);
	double		x;

	if (value == NULL)
		return DSV_OK;
	if (!json_is_number(value))
		return wrong_type(where, key, "a number", value, err);
	x = json_number_value(value);
	if (!(x >= min && x <= max))
	{
		dsv_fail(err, DSV_FORMAT, "%s: \"%s\" is out of range", where, key);
		dsv_detail(err, "It is %g; values from %g to %g are supported.", x, min, max);
		return DSV_FORMAT;
	}
	*out = x;
	return DSV_OK;
}

dsv_code
dsv_json_bool(const json_t *obj, const char *where, const char *key, bool *out, dsv_error *err)
{
	const json_t *value = json_object_get(obj, key);

	if (value == NULL)
		return DSV_OK;
	if (!json_is_boolean(value))
		return wrong_type(where, key, "true or false", value, err);
	*out = json_is_true(value);
	return DSV_OK;
}

dsv_code
dsv_json_string(const json_t *obj, const char *where, const char *key, const char **out,
				dsv_error *err)
{
	const json_t *value = json_object_get(obj, key);

	if (value == NULL)
		return DSV_OK;
	if (!json_is_string(value))
		return wrong_type(where, key, "a string", value, err);
	if (strlen(json_string_value(value)) != json_string_length(value))
		return dsv_fail(err, DSV_FORMAT, "%s: \"%s\" contains a zero byte", where, key);
	*out = json_string_value(value);
	return DSV_OK;
}
