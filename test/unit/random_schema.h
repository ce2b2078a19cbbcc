/*
 * random_schema.h
 *		Random schemas, and a validator that looks at values and knows nothing of grammars.
 */
#ifndef RANDOM_SCHEMA_H
#define RANDOM_SCHEMA_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>

#include "grammar_util.h"

/* ---- an independent opinion ---- */

static inline bool valid(const json_t *root, const json_t *schema, const json_t *value);

static inline const json_t *
resolve(const json_t *root, const char *ref)
{
	char		name[64];

	if (strcmp(ref, "#") == 0)
		return root;
	assert_int_equal(sscanf(ref, "#/$defs/%63s", name), 1);
	return json_object_get(json_object_get(root, "$defs"), name);
}

static inline size_t
code_points(const char *s)
{
	size_t		n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char) *s & 0xC0) != 0x80;
	return n;
}

static inline bool
matches(const char *pattern, const char *s)
{
	int			error;
	PCRE2_SIZE	at;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR) pattern, PCRE2_ZERO_TERMINATED,
									 PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX, &error, &at,
									 NULL);
	pcre2_match_data *match = pcre2_match_data_create(1, NULL);
	int			found;

	assert_non_null(code);
	found = pcre2_match(code, (PCRE2_SPTR) s, strlen(s), 0, 0, match, NULL);
	pcre2_match_data_free(match);
	pcre2_code_free(code);
	return found >= 0;
}

static inline bool
valid_date(const char *s)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			y;
	int			m;
	int			d;
	int			end = 0;

	if (strlen(s) != 10 || sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &end) != 3 || end != 10)
		return false;
	return y >= 1 && m >= 1 && m <= 12 && d >= 1 &&
		d <= days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

static inline bool
valid_string(const json_t *schema, const json_t *value)
{
	const char *s = json_string_value(value);
	const json_t *min = json_object_get(schema, "minLength");
	const json_t *max = json_object_get(schema, "maxLength");
	const json_t *pattern = json_object_get(schema, "pattern");

	if (json_string_length(value) != strlen(s))
		return false;			/* U+0000 */
	if (min != NULL && (json_int_t) code_points(s) < json_integer_value(min))
		return false;
	if (max != NULL && (json_int_t) code_points(s) > json_integer_value(max))
		return false;
	if (json_object_get(schema, "format") != NULL && !valid_date(s))
		return false;
	return pattern == NULL || matches(json_string_value(pattern), s);
}

static inline bool
valid_number(const json_t *schema, const json_t *value)
{
	double		x = json_number_value(value);
	const json_t *lo = json_object_get(schema, "minimum");
	const json_t *above = json_object_get(schema, "exclusiveMinimum");
	const json_t *hi = json_object_get(schema, "maximum");
	const json_t *below = json_object_get(schema, "exclusiveMaximum");
	const json_t *multiple = json_object_get(schema, "multipleOf");

	if (signbit(x) && x == 0)
		return false;
	if (multiple != NULL)
	{
		double		q = x / json_number_value(multiple);

		if (fabs(q - round(q)) > 1e-6 + fabs(q) * 0x1p-51)
			return false;
	}
	return (lo == NULL || x >= json_number_value(lo)) &&
		(above == NULL || x > json_number_value(above)) &&
		(hi == NULL || x <= json_number_value(hi)) &&
		(below == NULL || x < json_number_value(below));
}

static inline bool
valid_array(const json_t *root, const json_t *schema, const json_t *value)
{
	const json_t *min = json_object_get(schema, "minItems");
	const json_t *max = json_object_get(schema, "maxItems");
	json_int_t	n = (json_int_t) json_array_size(value);

	if ((min != NULL && n < json_integer_value(min)) || (max != NULL && n > json_integer_value(max)))
		return false;
	for (json_int_t i = 0; i < n; i++)
		if (!valid(root, json_object_get(schema, "items"), json_array_get(value, (size_t) i)))
			return false;
	return true;
}

/* Where a key comes in the order that is promised; -1: nowhere. */
static inline int
rank_of(const json_t *schema, const char *key)
{
	json_t	   *required = json_object_get(schema, "required");
	json_t	   *properties = json_object_get(schema, "properties");
	int			n = (int) json_array_size(required);
	const char *name;
	json_t	   *unused;

	for (int i = 0; i < n; i++)
		if (strcmp(json_string_value(json_array_get(required, (size_t) i)), key) == 0)
			return i;
	json_object_foreach(properties, name, unused)
	{
		if (strcmp(name, key) == 0)
			return n;
		n++;
	}
	return -1;
}

static inline bool
valid_object(const json_t *root, const json_t *schema, json_t *value)
{
	json_t	   *required = json_object_get(schema, "required");
	int			last = -1;
	const char *key;
	json_t	   *member;

	for (size_t i = 0; i < json_array_size(required); i++)
		if (json_object_get(value, json_string_value(json_array_get(required, i))) == NULL)
			return false;
	json_object_foreach(value, key, member)
	{
		int			rank = rank_of(schema, key);

		if (rank <= last ||
			!valid(root, json_object_get(json_object_get(schema, "properties"), key), member))
			return false;
		last = rank;
	}
	return true;
}

static inline bool
is_type(const char *name, const json_t *value)
{
	switch (json_typeof(value))
	{
		case JSON_OBJECT:
			return strcmp(name, "object") == 0;
		case JSON_ARRAY:
			return strcmp(name, "array") == 0;
		case JSON_STRING:
			return strcmp(name, "string") == 0;
		case JSON_INTEGER:
			return strcmp(name, "integer") == 0 || strcmp(name, "number") == 0;
		case JSON_REAL:
			return strcmp(name, "number") == 0;
		case JSON_NULL:
			return strcmp(name, "null") == 0;
		default:
			return strcmp(name, "boolean") == 0;
	}
}

static inline bool
has_type(const json_t *type, const json_t *value)
{
	if (!json_is_array(type))
		return is_type(json_string_value(type), value);
	for (size_t i = 0; i < json_array_size(type); i++)
		if (is_type(json_string_value(json_array_get(type, i)), value))
			return true;
	return false;
}

static inline bool
valid_any(const json_t *root, const json_t *list, const json_t *value, bool equal)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (equal ? json_equal(json_array_get(list, i), value) :
			valid(root, json_array_get(list, i), value))
			return true;
	return false;
}

static inline bool
valid(const json_t *root, const json_t *schema, const json_t *value)
{
	const json_t *ref = json_object_get(schema, "$ref");
	const json_t *any = json_object_get(schema, "anyOf");
	const json_t *list = json_object_get(schema, "enum");
	const json_t *constant = json_object_get(schema, "const");
	const json_t *type = json_object_get(schema, "type");

	if (ref != NULL)
		return valid(root, resolve(root, json_string_value(ref)), value);
	if (any != NULL)
		return valid_any(root, any, value, false);
	if (type != NULL && !has_type(type, value))
		return false;
	if (list != NULL)
		return valid_any(root, list, value, true);
	if (constant != NULL)
		return json_equal(constant, value);
	switch (json_typeof(value))
	{
		case JSON_OBJECT:
			return valid_object(root, schema, (json_t *) value);
		case JSON_ARRAY:
			return valid_array(root, schema, value);
		case JSON_STRING:
			return valid_string(schema, value);
		case JSON_INTEGER:
		case JSON_REAL:
			return valid_number(schema, value);
		default:
			return true;
	}
}

/* ---- random schemas ---- */

static inline json_t *random_schema(rng *r, int depth, bool refs);

static inline json_t *
random_string(rng *r)
{
	static const char *const patterns[] = {"^[A-Z]{2,3}-[0-9]+$", "^(ab|ba|c)*$", "[0-9]{2}",
		"^[^\"\\\\]*$", "^(é|ü)", "^\\d{1,3}(\\.\\d{3})*$", "x$", "^(a|b)?(c|d)?$", "^\\u00e9+z?$",
	"^[\\t\\n \"\\\\/b]+$"};
	json_t	   *s = json_pack("{s:s}", "type", "string");
	int			kind = (int) draw(r, 5);

	if (kind == 0)
		json_object_set_new(s, "format", json_string("date"));
	if (kind == 1 || kind == 2)
		json_object_set_new(s, "pattern", json_string(patterns[draw(r, 10)]));
	if (kind == 3)
		json_object_set_new(s, "minLength", json_integer(draw(r, 4)));
	if (kind == 3 || kind == 4)
		json_object_set_new(s, "maxLength", json_integer(4 + draw(r, 5)));
	if (kind == 2)
		json_object_set_new(s, "maxLength", json_integer(8 + draw(r, 5)));
	return s;
}

static inline json_t *
random_number(rng *r, bool integer)
{
	json_t	   *s = json_pack("{s:s}", "type", integer ? "integer" : "number");
	int			lo = (int) draw(r, 4000) - 2000;
	double		scale = integer ? 1 : 1000;

	if (draw(r, 2))
		json_object_set_new(s, draw(r, 2) ? "minimum" : "exclusiveMinimum", json_real(lo / scale));
	if (draw(r, 2))
		json_object_set_new(s, draw(r, 2) ? "maximum" : "exclusiveMaximum",
							json_real((lo + 30 + (int) draw(r, 3000)) / scale));
	if (draw(r, 4) == 0)
		json_object_set_new(s, "multipleOf", integer ? json_integer(10) : json_real(0.01));
	return s;
}

static inline json_t *
random_value(rng *r, int depth)
{
	static const char *const strings[] = {"", "a", "ab", "tab\there", "\"quoted\"", "größer", "1"};
	json_t	   *v;

	switch (draw(r, depth > 0 ? 7 : 5))
	{
		case 0:
			return json_integer((int) draw(r, 300) - 100);
		case 1:
			return json_real((double) draw(r, 1000) / 8 + 0.0625);
		case 2:
			return json_null();
		case 3:
			return json_boolean(draw(r, 2));
		case 4:
			return json_string(strings[draw(r, 7)]);
		case 5:
			v = json_array();
			for (uint32_t n = draw(r, 4); n > 0; n--)
				json_array_append_new(v, random_value(r, depth - 1));
			return v;
	}
	v = json_object();
	for (uint32_t n = draw(r, 3); n > 0; n--)
		json_object_set_new(v, strings[draw(r, 7)], random_value(r, depth - 1));
	return v;
}

static inline json_t *
random_enum(rng *r)
{
	json_t	   *list = json_array();

	if (draw(r, 4) == 0)
	{
		json_decref(list);
		return json_pack("{s:o}", "const", random_value(r, 2));
	}
	for (uint32_t n = 1 + draw(r, 6); n > 0; n--)
		json_array_append_new(list, random_value(r, 2));
	return json_pack("{s:o}", "enum", list);
}

static inline json_t *
random_array(rng *r, int depth, bool refs)
{
	json_t	   *s = json_pack("{s:s}", "type", "array");
	int			min = (int) draw(r, 3);

	/* what refers back must be avoidable */
	if (refs && draw(r, 3) == 0)
	{
		json_object_set_new(s, "items", json_pack("{s:s}", "$ref", draw(r, 2) ? "#" : "#/$defs/x"));
		min = 0;
	}
	else
		json_object_set_new(s, "items", random_schema(r, depth - 1, refs));
	if (min > 0)
		json_object_set_new(s, "minItems", json_integer(min));
	if (draw(r, 2))
		json_object_set_new(s, "maxItems", json_integer(min + (int) draw(r, 4)));
	return s;
}

static inline json_t *
random_object(rng *r, int depth, bool refs)
{
	static const char *const keys[] = {"total", "to", "merchant", "a b", "\"", "<|User|>", "größe", "",
	"<|Assistant|>", "<image>", "<｜end▁of▁sentence｜>", "a\\b", "a\nb", "合計", "😀", "\x01"};
	json_t	   *properties = json_object();
	json_t	   *required = json_array();
	json_t	   *s = json_pack("{s:s}", "type", "object");

	for (uint32_t n = draw(r, 5); n > 0; n--)
	{
		const char *key = keys[draw(r, sizeof(keys) / sizeof(keys[0]))];

		if (json_object_get(properties, key) != NULL)
			continue;
		if (refs && draw(r, 4) == 0)
		{
			json_object_set_new(properties, key, json_pack("{s:s}", "$ref", "#/$defs/x"));
			continue;
		}
		json_object_set_new(properties, key, random_schema(r, depth - 1, refs));
		if (draw(r, 2))
			json_array_insert_new(required, 0, json_string(key));
	}
	json_object_set_new(s, "properties", properties);
	json_object_set_new(s, "required", required);
	if (draw(r, 2))
		json_object_set_new(s, "additionalProperties", json_false());
	return s;
}

static inline json_t *
random_any_of(rng *r, int depth, bool refs)
{
	json_t	   *list = json_array();

	for (uint32_t n = 1 + draw(r, 4); n > 0; n--)
		json_array_append_new(list, random_schema(r, depth - 1, refs));
	return json_pack("{s:o, s:s}", "anyOf", list, "description", "one of some");
}

static inline json_t *
random_schema(rng *r, int depth, bool refs)
{
	switch (draw(r, depth > 0 ? 12 : 7))
	{
		case 0:
		case 1:
			return random_string(r);
		case 2:
			return random_number(r, true);
		case 3:
			return random_number(r, false);
		case 4:
			return random_enum(r);
		case 5:
			return json_pack("{s:s}", "type", draw(r, 2) ? "boolean" : "null");
		case 6:
			return json_pack("{s:[s,s,s], s:i, s:i}", "type", "string", "null", "integer",
							 "maxLength", 3, "minimum", 7);
		case 7:
		case 8:
			return random_array(r, depth, refs);
		case 9:
			return random_any_of(r, depth, refs);
	}
	return random_object(r, depth, refs);
}

/* A whole document, with or without recursion. */
static inline json_t *
random_document(rng *r)
{
	bool		refs = draw(r, 2);
	json_t	   *s = random_schema(r, 3, refs);

	json_object_set_new(s, "$defs", json_pack("{s:o}", "x", random_schema(r, 2, refs)));
	return s;
}

#endif
