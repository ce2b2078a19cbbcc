/*
 * schema_pointer.c
 *		JSON pointers as they stand behind the # of a $ref.
 */
#include "schema.h"

#include <stdlib.h>
#include <string.h>

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* The next character of a step, ~0, ~1 and %XX taken apart; -1: malformed. */
static int
next_char(const char **p)
{
	const char *s = *p;

	*p += 1;
	if (s[0] == '%')
	{
		int			high = hex_digit(s[1]);
		int			low = high < 0 ? -1 : hex_digit(s[2]);

		*p = s + 3;
		return low < 0 || high + low == 0 ? -1 : high * 16 + low;
	}
	if (s[0] != '~')
		return (unsigned char) s[0];
	*p = s + 2;
	return s[1] == '0' ? '~' : s[1] == '1' ? '/' : -1;
}

/* *pointer stands at a step; true when the step means key. */
static bool
step_is(const char **pointer, const char *key, bool *malformed)
{
	const char *p = *pointer;
	bool		equal = true;

	while (*p != '\0' && *p != '/')
	{
		int			c = next_char(&p);

		if (c < 0)
		{
			*malformed = true;
			return false;
		}
		equal = equal && *key != '\0' && (unsigned char) *key == c;
		if (equal)
			key++;
	}
	if (!equal || *key != '\0')
		return false;
	*pointer = p;
	return true;
}

static const json_t *
step_object(const json_t *object, const char **pointer)
{
	bool		malformed = false;

	for (void *it = json_object_iter((json_t *) object); it != NULL && !malformed;
		 it = json_object_iter_next((json_t *) object, it))
		if (step_is(pointer, json_object_iter_key(it), &malformed))
			return json_object_iter_value(it);
	return NULL;
}

static const json_t *
step_array(const json_t *array, const char **pointer)
{
	const char *p = *pointer;
	char	   *end;
	unsigned long index;

	if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
		return NULL;
	index = strtoul(p, &end, 10);
	if (*end != '\0' && *end != '/')
		return NULL;
	*pointer = end;
	return json_array_get(array, index);
}

const json_t *
dsv_schema_resolve(const json_t *root, const char *pointer)
{
	const json_t *value = root;

	while (value != NULL && *pointer != '\0')
	{
		if (*pointer++ != '/')
			return NULL;
		if (json_is_object(value))
			value = step_object(value, &pointer);
		else
			value = json_is_array(value) ? step_array(value, &pointer) : NULL;
	}
	return value;
}
