/*
 * schema_enum.c
 *		"enum" and "const": values that are written out.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema.h"

static bool
is_of_type(const json_t *value, int types)
{
	switch (json_typeof(value))
	{
		case JSON_NULL:
			return types & DSV_TYPE_NULL;
		case JSON_TRUE:
		case JSON_FALSE:
			return types & DSV_TYPE_BOOLEAN;
		case JSON_STRING:
			return types & DSV_TYPE_STRING;
		case JSON_ARRAY:
			return types & DSV_TYPE_ARRAY;
		case JSON_OBJECT:
			return types & DSV_TYPE_OBJECT;
		case JSON_INTEGER:
			return types & (DSV_TYPE_INTEGER | DSV_TYPE_NUMBER);
		case JSON_REAL:
			if (json_real_value(value) == floor(json_real_value(value)))
				return types & (DSV_TYPE_INTEGER | DSV_TYPE_NUMBER);
			return types & DSV_TYPE_NUMBER;
	}
	return false;
}

/* ---- canonical texts ---- */

typedef struct writer
{
	dsv_schema *s;
	const dsv_place *place;
	dsv_text	text;
	int			depth;
} writer;

static void
write_text(writer *w, const char *text)
{
	if (!dsv_text_add(w->s->b.mem, &w->text, text, strlen(text)))
		dsv_schema_fail_nomem(w->s, w->text.len + strlen(text));
}

static void
write_string(writer *w, const char *text, size_t len)
{
	if (!dsv_text_add_json_string(w->s->b.mem, &w->text, text, len))
		dsv_schema_fail_nomem(w->s, w->text.len + len);
}

/* The fewest digits that mean the same number. */
static void
write_real(writer *w, double x)
{
	char		text[40] = "0";		/* and not -0 */

	for (int precision = 1; x != 0 && precision <= 17; precision++)
	{
		snprintf(text, sizeof(text), "%.*g", precision, x);
		if (strtod(text, NULL) == x)
			break;
	}
	write_text(w, text);
}

static void write_value(writer *w, const json_t *value);

static void
write_members(writer *w, const json_t *object)
{
	const char *between = "{";

	for (void *it = json_object_iter((json_t *) object); it != NULL && w->s->b.code == DSV_OK;
		 it = json_object_iter_next((json_t *) object, it))
	{
		const char *key = json_object_iter_key(it);

		write_text(w, between);
		write_string(w, key, strlen(key));
		write_text(w, ": ");
		write_value(w, json_object_iter_value(it));
		between = ", ";
	}
	write_text(w, json_object_size(object) > 0 ? "}" : "{}");
}

static void
write_elements(writer *w, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array) && w->s->b.code == DSV_OK; i++)
	{
		write_text(w, i > 0 ? ", " : "[");
		write_value(w, json_array_get(array, i));
	}
	write_text(w, json_array_size(array) > 0 ? "]" : "[]");
}

static void
write_nested(writer *w, const json_t *value)
{
	if (w->s->b.bare)
		dsv_schema_fail(w->s, w->place, DSV_UNSUPPORTED, "arrays and objects are no single values");
	if (w->depth == DSV_SCHEMA_MAX_DEPTH)
		dsv_schema_fail(w->s, w->place, DSV_LIMIT, "JSON schema is nested too deeply");
	if (w->s->b.code != DSV_OK)
		return;
	w->depth++;
	if (json_is_object(value))
		write_members(w, value);
	else
		write_elements(w, value);
	w->depth--;
}

static void
write_value(writer *w, const json_t *value)
{
	char		number[32];

	switch (json_typeof(value))
	{
		case JSON_OBJECT:
		case JSON_ARRAY:
			write_nested(w, value);
			return;
		case JSON_STRING:
			if (w->s->b.bare)
				write_text(w, json_string_value(value));
			else
				write_string(w, json_string_value(value), json_string_length(value));
			return;
		case JSON_INTEGER:
			snprintf(number, sizeof(number), "%lld", (long long) json_integer_value(value));
			write_text(w, number);
			return;
		case JSON_REAL:
			write_real(w, json_real_value(value));
			return;
		case JSON_TRUE:
			write_text(w, "true");
			return;
		case JSON_FALSE:
			write_text(w, "false");
			return;
		case JSON_NULL:
			write_text(w, "null");
			return;
	}
}

/* ---- the list ---- */

static uint32_t
make_texts(dsv_schema *s, const dsv_place *place, const json_t **values, size_t n, uint32_t next)
{
	writer		w = {.s = s, .place = place};
	dsv_bytes  *texts = dsv_alloc(s->b.mem, n, sizeof(*texts));
	size_t	   *ends = dsv_alloc(s->b.mem, n, sizeof(*ends));
	uint32_t	node = DSV_NODE_NONE;

	if (texts == NULL || ends == NULL)
		dsv_schema_fail_nomem(s, n * sizeof(*texts));
	for (size_t i = 0; i < n && s->b.code == DSV_OK; i++)
	{
		write_value(&w, values[i]);
		ends[i] = w.text.len;
	}
	/* only now does the text stay where it is */
	for (size_t i = 0, from = 0; i < n && s->b.code == DSV_OK; from = ends[i++])
		texts[i] = (dsv_bytes) {w.text.s + from, ends[i] - from};
	if (s->b.code == DSV_OK)
		node = dsv_node_texts(&s->b, texts, n, next);
	dsv_free(s->b.mem, w.text.s);
	dsv_free(s->b.mem, texts);
	dsv_free(s->b.mem, ends);
	return node;
}

uint32_t
dsv_schema_enum(dsv_schema *s, const dsv_place *place, const json_t *schema, int types,
				uint32_t next)
{
	const json_t *list = json_object_get(schema, "enum");
	const json_t *constant = json_object_get(schema, "const");
	const char *keyword = list != NULL ? "enum" : "const";
	size_t		n = list != NULL ? json_array_size(list) : 1;
	const json_t **values;
	size_t		kept = 0;
	uint32_t	node = DSV_NODE_NONE;

	if (list != NULL && !json_is_array(list))
	{
		dsv_schema_fail_keyword(s, place, DSV_INPUT, keyword, "must be an array");
		return DSV_NODE_NONE;
	}
	values = dsv_alloc(s->b.mem, n, sizeof(*values));
	if (values == NULL)
	{
		dsv_schema_fail_nomem(s, n * sizeof(*values));
		return DSV_NODE_NONE;
	}
	for (size_t i = 0; i < n; i++)
	{
		const json_t *value = list != NULL ? json_array_get(list, i) : constant;

		if (is_of_type(value, types))
			values[kept++] = value;
	}
	if (kept > 0)
		node = make_texts(s, place, values, kept, next);
	else
		dsv_schema_fail_keyword(s, place, DSV_SCHEMA, keyword,
								n == 0 ? "is empty" : "has no value of the type");
	dsv_free(s->b.mem, values);
	return node;
}
