/*
 * schema_util.h
 *		Random JSON schemas, and whether a value obeys one.  The check knows nothing of grammars.
 */
#ifndef SCHEMA_UTIL_H
#define SCHEMA_UTIL_H

#include <jansson.h>
#include <math.h>
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- random schemas ---- */

typedef struct rng
{
	uint64_t	x;
} rng;

static inline uint32_t
below(rng *r, uint32_t n)
{
	r->x = r->x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) ((r->x >> 33) % n);
}

/* Names that look like something else, in several languages */
static const char *const schema_names[] = {
	"total", "merchant", "a", "date", "ab", "abc", "item name", "<|Assistant|>", "<image>", "<|ref|>",
	"<｜end▁of▁sentence｜>", "\"quoted\"", "back\\slash", "line\nbreak", "\x01", "naïve", "合計", "金额",
	"итог", "المجموع", "😀", "👩‍👩‍👧", "", " ", "{\"a\": 1}", "null", "é\u0301",
};

#define SCHEMA_NAMES (sizeof(schema_names) / sizeof(schema_names[0]))

static inline const char *
random_name(rng *r)
{
	return schema_names[below(r, SCHEMA_NAMES)];
}

static inline json_t *
random_value(rng *r)
{
	switch (below(r, 6))
	{
		case 0:
			return json_null();
		case 1:
			return json_boolean(below(r, 2));
		case 2:
			return json_integer((int) below(r, 2000) - 1000);
		case 3:
			return json_pack("[s, i]", random_name(r), (int) below(r, 9));
		default:
			return json_string(random_name(r));
	}
}

static inline json_t *
random_enum(rng *r)
{
	json_t	   *list = json_array();
	int			n = 1 + (int) below(r, 5);

	for (int i = 0; i < n; i++)
		json_array_append_new(list, random_value(r));
	return json_pack("{s:o}", "enum", list);
}

static inline json_t *
random_number(rng *r, const char *type)
{
	json_t	   *schema = json_pack("{s:s}", "type", type);
	int			low = (int) below(r, 400) - 200;

	if (below(r, 2))
		json_object_set_new(schema, "minimum", json_integer(low));
	if (below(r, 2))
		json_object_set_new(schema, "maximum", json_integer(low + (int) below(r, 1000)));
	return schema;
}

static inline json_t *
random_string(rng *r)
{
	static const char *const patterns[] = {"^[A-Z]{2}-[0-9]{1,3}$", "^(ab|a)*c$", "^[a-z ]{0,12}$"};
	json_t	   *schema = json_pack("{s:s}", "type", "string");
	int			min = 0;

	switch (below(r, 8))
	{
		case 0:
			json_object_set_new(schema, "format", json_string("date"));
			break;
		case 1:
			json_object_set_new(schema, "pattern", json_string(patterns[below(r, 3)]));
			break;
		case 2:
			json_object_set_new(schema, "minLength", json_integer(min));
			/* fallthrough */
		case 3:
		case 4:
		case 5:
		case 6:
			json_object_set_new(schema, "maxLength", json_integer(min + (int) below(r, 20)));
	}
	return schema;
}

static inline json_t *random_schema(rng *r, int depth);

static inline json_t *
random_object(rng *r, int depth)
{
	json_t	   *properties = json_object();
	json_t	   *required = json_array();
	int			n = (int) below(r, 5);

	for (int i = 0; i < n; i++)
	{
		const char *name = random_name(r);

		if (json_object_get(properties, name) != NULL)
			continue;
		json_object_set_new(properties, name, random_schema(r, depth - 1));
		if (below(r, 4))
			json_array_append_new(required, json_string(name));
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
					 "additionalProperties", 0);
}

static inline json_t *
random_array(rng *r, int depth)
{
	json_t	   *schema = json_pack("{s:s, s:o}", "type", "array", "items", random_schema(r, depth - 1));
	int			min = 0;

	if (below(r, 2))
		json_object_set_new(schema, "minItems", json_integer(min));
	json_object_set_new(schema, "maxItems", json_integer(min + (int) below(r, 4)));
	return schema;
}

static inline json_t *
random_any_of(rng *r, int depth)
{
	json_t	   *list = json_array();
	int			n = 1 + (int) below(r, 3);

	for (int i = 0; i < n; i++)
		json_array_append_new(list, random_schema(r, depth - 1));
	return json_pack("{s:o}", "anyOf", list);
}

/* Objects inside objects: depth bounds how far. */
static inline json_t *
random_schema(rng *r, int depth)
{
	switch (below(r, depth > 0 ? 14 : 8))
	{
		case 0:
			return random_enum(r);
		case 1:
			return json_pack("{s:o}", "const", random_value(r));
		case 2:
			return random_number(r, "integer");
		case 3:
			return random_number(r, "number");
		case 4:
			return json_pack("{s:s}", "type", "boolean");
		case 5:
			return json_pack("{s:[s, s]}", "type", "null", "boolean");
		case 6:
		case 7:
			return random_string(r);
		case 8:
			return random_array(r, depth);
		case 9:
			return random_any_of(r, depth);
		default:
			return random_object(r, depth);
	}
}

/* A list that contains itself */
static inline json_t *
recursive_schema(void)
{
	return json_loads("{\"$defs\": {\"list\": {\"type\": \"object\", \"additionalProperties\": false, "
					  "\"required\": [\"value\", \"next\"], \"properties\": {\"value\": {\"type\": \"integer\"}, "
					  "\"next\": {\"anyOf\": [{\"type\": \"null\"}, {\"$ref\": \"#/$defs/list\"}]}}}}, "
					  "\"$ref\": \"#/$defs/list\"}", 0, NULL);
}

/* ---- values ---- */

static inline size_t
count_chars(const char *s)
{
	size_t		n = 0;

	for (; *s != '\0'; s++)
		n += ((uint8_t) *s & 0xC0) != 0x80;
	return n;
}

static inline bool
matches(const char *pattern, const char *s)
{
	regex_t		regex;
	bool		found;

	if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	found = regexec(&regex, s, 0, NULL, 0) == 0;
	regfree(&regex);
	return found;
}

static inline bool
is_date(const char *s)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			y;
	int			m;
	int			d;

	return matches("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", s) && sscanf(s, "%d-%d-%d", &y, &m, &d) == 3 &&
		m >= 1 && m <= 12 && d >= 1 && d <= days[m - 1] &&
		(m != 2 || d < 29 || (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)));
}

static inline bool
has_type(const char *type, const json_t *v)
{
	return strcmp(type, "null") == 0 ? json_is_null(v) :
		strcmp(type, "boolean") == 0 ? json_is_boolean(v) :
		strcmp(type, "integer") == 0 ? json_is_integer(v) :
		strcmp(type, "number") == 0 ? json_is_number(v) :
		strcmp(type, "string") == 0 ? json_is_string(v) :
		strcmp(type, "array") == 0 ? json_is_array(v) : json_is_object(v);
}

static inline bool obeys(const json_t *root, const json_t *schema, const json_t *v);

static inline bool
object_obeys(const json_t *root, const json_t *schema, const json_t *v)
{
	const json_t *properties = json_object_get(schema, "properties");
	const char *key;
	json_t	   *member;
	size_t		i;

	json_object_foreach((json_t *) v, key, member)
		if (json_object_get(properties, key) == NULL || !obeys(root, json_object_get(properties, key), member))
			return false;
	json_array_foreach(json_object_get(schema, "required"), i, member)
		if (json_object_get(v, json_string_value(member)) == NULL)
			return false;
	return true;
}

/* An absent bound holds. */
static inline bool
within(const json_t *schema, const char *low, const char *high, double x)
{
	const json_t *lo = json_object_get(schema, low);
	const json_t *hi = json_object_get(schema, high);

	return (lo == NULL || x >= json_number_value(lo)) && (hi == NULL || x <= json_number_value(hi));
}

static inline bool
string_obeys(const json_t *schema, const char *s)
{
	const char *pattern = json_string_value(json_object_get(schema, "pattern"));
	const char *format = json_string_value(json_object_get(schema, "format"));

	return within(schema, "minLength", "maxLength", (double) count_chars(s)) &&
		(pattern == NULL || matches(pattern, s)) && (format == NULL || is_date(s));
}

static inline bool
any_obeys(const json_t *root, const json_t *list, const json_t *v)
{
	json_t	   *one;
	size_t		i;

	json_array_foreach(list, i, one)
		if (obeys(root, one, v))
			return true;
	return false;
}

static inline bool
type_obeys(const json_t *type, const json_t *v)
{
	json_t	   *one;
	size_t		i;

	if (json_is_string(type))
		return has_type(json_string_value(type), v);
	json_array_foreach(type, i, one)
		if (has_type(json_string_value(one), v))
			return true;
	return false;
}

/* For the keywords that random_schema and recursive_schema use */
static inline bool
obeys(const json_t *root, const json_t *schema, const json_t *v)
{
	json_t	   *one;
	size_t		i;

	if (json_object_get(schema, "$ref") != NULL)
		return obeys(root, json_object_get(json_object_get(root, "$defs"), "list"), v);
	if (json_object_get(schema, "anyOf") != NULL)
		return any_obeys(root, json_object_get(schema, "anyOf"), v);
	if (json_object_get(schema, "const") != NULL)
		return json_equal(json_object_get(schema, "const"), v);
	if (json_object_get(schema, "enum") != NULL)
	{
		json_array_foreach(json_object_get(schema, "enum"), i, one)
			if (json_equal(one, v))
				return true;
		return false;
	}
	if (!type_obeys(json_object_get(schema, "type"), v))
		return false;
	if (json_is_object(v))
		return object_obeys(root, schema, v);
	if (json_is_string(v))
		return string_obeys(schema, json_string_value(v));
	if (json_is_number(v))
		return within(schema, "minimum", "maximum", json_number_value(v));
	json_array_foreach(v, i, one)
		if (!obeys(root, json_object_get(schema, "items"), one))
			return false;
	return !json_is_array(v) || within(schema, "minItems", "maxItems", (double) json_array_size(v));
}

#endif
