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

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLAGS (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

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

/* The file may shrink or grow while it is read: what was read counts, never more than
 * the size seen at the beginning. */
static dsv_code
read_open(int fd, const char *path, size_t max_bytes, char **data, size_t *len, dsv_error *err)
{
	struct stat st;
	size_t		size;

	if (fstat(fd, &st) != 0)
		return dsv_fail_errno(err, errno, "could not stat \"%s\"", path);
	if (!S_ISREG(st.st_mode))
		return dsv_fail(err, DSV_IO, "\"%s\" is not a regular file", path);
	if ((uintmax_t) st.st_size > max_bytes)
	{
		dsv_fail(err, DSV_LIMIT, "\"%s\" is too large", path);
		dsv_detail(err, "It has %jd bytes, the limit is %zu.", (intmax_t) st.st_size, max_bytes);
		return DSV_LIMIT;
	}
	size = (size_t) st.st_size;
	*data = malloc(size + 1);
	if (*data == NULL)
		return dsv_fail_nomem(err, size + 1);
	*len = 0;
	while (*len < size)
	{
		ssize_t		n = read(fd, *data + *len, size - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return dsv_fail_errno(err, errno, "could not read \"%s\"", path);
		if (n == 0)
			break;
		*len += (size_t) n;
	}
	return DSV_OK;
}

dsv_code
dsv_json_load_file(const char *path, size_t max_bytes, json_t **out, dsv_error *err)
{
	/* not blocking: a FIFO of that name is refused, not waited for */
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char	   *data = NULL;
	size_t		len = 0;
	dsv_code	code;

	*out = NULL;
	if (fd < 0)
		return dsv_fail_errno(err, errno, "could not open file \"%s\"", path);
	code = read_open(fd, path, max_bytes, &data, &len, err);
	close(fd);
	if (code == DSV_OK)
		code = dsv_json_load_bytes(file_name(path), data, len, out, err);
	free(data);
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
