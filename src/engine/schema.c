/*
 * schema.c
 *		JSON Schema as a grammar.
 *
 * What a schema means is narrowed to one layout: ", " and ": " between, keys in the order of
 * "required" and then of "properties", no others.  A keyword is either enforced, an annotation
 * that promises nothing, or refused by name; nothing is ignored silently.
 *
 * Every target of a $ref becomes a part of the grammar that is called; all other schemas are
 * written out where they stand.  A target that is met while it is being written closes a cycle:
 * those calls count towards the depth that a text may have.
 */
#include "grammar.h"

#include <stdio.h>
#include <string.h>

#include "grammar_pattern.h"
#include "grammar_schema.h"

/* ---- places and errors ---- */

static void
print_place(const dsv_place *place, char *out, size_t size)
{
	size_t		n;

	if (place->up == NULL)
	{
		snprintf(out, size, "%s", place->key);
		return;
	}
	print_place(place->up, out, size);
	n = strlen(out);
	if (place->key != NULL)
		snprintf(out + n, size - n, "/%s", place->key);
	else
		snprintf(out + n, size - n, "/%zu", place->index);
}

dsv_code
dsv_schema_fail(dsv_schema *s, const dsv_place *place, dsv_code code, const char *what)
{
	char		path[200];

	if (s->b.code != DSV_OK)
		return s->b.code;
	print_place(place, path, sizeof(path));
	dsv_fail(s->b.err, code, "%s", what);
	dsv_detail(s->b.err, "It is at %s of the JSON schema.", path);
	return dsv_builder_fail(&s->b, code);
}

static void
fail_keyword(dsv_schema *s, const dsv_place *place, dsv_code code, const char *keyword,
			 const char *what)
{
	char		text[200];

	snprintf(text, sizeof(text), "keyword \"%.60s\" of the JSON schema %s", keyword, what);
	dsv_schema_fail(s, place, code, text);
}

static void
fail_nomem(dsv_schema *s, size_t bytes)
{
	if (s->b.code == DSV_OK)
		s->b.code = dsv_fail_nomem(s->b.err, bytes);
}

/* ---- keywords ---- */

typedef enum keyword_kind
{
	UNKNOWN_KEYWORD = 0,
	ANNOTATION = 1 << 0,
	REF = 1 << 1,
	ANY_OF = 1 << 2,
	ENUM = 1 << 3,
	TYPE = 1 << 4,
	FOR_OBJECT = 1 << 5,
	FOR_ARRAY = 1 << 6,
	FOR_STRING = 1 << 7,
	FOR_NUMBER = 1 << 8,
} keyword_kind;

static const struct
{
	const char *name;
	keyword_kind kind;
}			keywords[] =
{
	{"type", TYPE}, {"properties", FOR_OBJECT}, {"required", FOR_OBJECT},
	{"additionalProperties", FOR_OBJECT}, {"items", FOR_ARRAY}, {"minItems", FOR_ARRAY},
	{"maxItems", FOR_ARRAY}, {"enum", ENUM}, {"const", ENUM}, {"pattern", FOR_STRING},
	{"format", FOR_STRING}, {"minLength", FOR_STRING}, {"maxLength", FOR_STRING},
	{"minimum", FOR_NUMBER}, {"maximum", FOR_NUMBER}, {"exclusiveMinimum", FOR_NUMBER},
	{"exclusiveMaximum", FOR_NUMBER}, {"multipleOf", FOR_NUMBER}, {"anyOf", ANY_OF},
	{"$ref", REF}, {"$schema", ANNOTATION}, {"$id", ANNOTATION}, {"$comment", ANNOTATION},
	{"$defs", ANNOTATION}, {"definitions", ANNOTATION}, {"title", ANNOTATION},
	{"description", ANNOTATION}, {"default", ANNOTATION}, {"examples", ANNOTATION},
	{"deprecated", ANNOTATION}, {"readOnly", ANNOTATION}, {"writeOnly", ANNOTATION},
};

static keyword_kind
keyword_find(const char *name)
{
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		if (strcmp(keywords[i].name, name) == 0)
			return keywords[i].kind;
	return UNKNOWN_KEYWORD;
}

/* The kinds of all keywords; an unknown one is an error. */
static int
keyword_kinds(dsv_schema *s, const dsv_place *place, const json_t *schema)
{
	int			kinds = 0;

	for (void *it = json_object_iter((json_t *) schema); it != NULL;
		 it = json_object_iter_next((json_t *) schema, it))
	{
		keyword_kind kind = keyword_find(json_object_iter_key(it));

		if (kind == UNKNOWN_KEYWORD)
			fail_keyword(s, place, DSV_UNSUPPORTED, json_object_iter_key(it), "is not supported");
		kinds |= kind;
	}
	return kinds & ~ANNOTATION;
}

/* Beside the leading keyword only those of the allowed kinds may stand. */
static bool
check_alone(dsv_schema *s, const dsv_place *place, const json_t *schema, const char *leading,
			int allowed)
{
	for (void *it = json_object_iter((json_t *) schema); it != NULL;
		 it = json_object_iter_next((json_t *) schema, it))
	{
		const char *key = json_object_iter_key(it);
		char		what[80];

		if (strcmp(key, leading) == 0 || (keyword_find(key) & (allowed | ANNOTATION)) != 0)
			continue;
		snprintf(what, sizeof(what), "is not supported beside \"%s\"", leading);
		fail_keyword(s, place, DSV_UNSUPPORTED, key, what);
		return false;
	}
	return true;
}

/* A keyword that counts; absent leaves *out. */
static bool
get_count(dsv_schema *s, const dsv_place *place, const json_t *schema, const char *key,
		  uint32_t *out)
{
	const json_t *value = json_object_get(schema, key);
	double		x;

	if (value == NULL)
		return true;
	x = json_number_value(value);
	if (!json_is_number(value) || x < 0 || (double) (int64_t) x != x)
		fail_keyword(s, place, DSV_INPUT, key, "must be a whole number from 0 on");
	else if (x > DSV_GRAMMAR_MAX_COUNT)
		fail_keyword(s, place, DSV_LIMIT, key, "is too large");
	else
		*out = (uint32_t) x;
	return s->b.code == DSV_OK;
}

/* ---- enum and const ---- */

typedef enum type_bit
{
	TYPE_NULL = 1 << 0,
	TYPE_BOOLEAN = 1 << 1,
	TYPE_INTEGER = 1 << 2,
	TYPE_NUMBER = 1 << 3,
	TYPE_STRING = 1 << 4,
	TYPE_ARRAY = 1 << 5,
	TYPE_OBJECT = 1 << 6,
	TYPE_ANY = (1 << 7) - 1,
} type_bit;

static bool
is_of_type(const json_t *value, int types)
{
	switch (json_typeof(value))
	{
		case JSON_NULL:
			return types & TYPE_NULL;
		case JSON_TRUE:
		case JSON_FALSE:
			return types & TYPE_BOOLEAN;
		case JSON_STRING:
			return types & TYPE_STRING;
		case JSON_ARRAY:
			return types & TYPE_ARRAY;
		case JSON_OBJECT:
			return types & TYPE_OBJECT;
		case JSON_INTEGER:
			return types & (TYPE_INTEGER | TYPE_NUMBER);
		case JSON_REAL:
			return types & TYPE_NUMBER;
	}
	return false;
}

static bool
add_real(const dsv_mem *mem, dsv_text *out, double x)
{
	char		text[40];

	for (int precision = 1; precision <= 17; precision++)
	{
		snprintf(text, sizeof(text), "%.*g", precision, x);
		if (strtod(text, NULL) == x)
			break;
	}
	return dsv_text_add(mem, out, text, strlen(text));
}

static bool add_value(const dsv_mem *mem, dsv_text *out, const json_t *value);

static bool
add_members(const dsv_mem *mem, dsv_text *out, const json_t *object)
{
	bool		ok = dsv_text_add(mem, out, "{", 1);
	const char *between = "";

	for (void *it = json_object_iter((json_t *) object); ok && it != NULL;
		 it = json_object_iter_next((json_t *) object, it))
	{
		const char *key = json_object_iter_key(it);

		ok = dsv_text_add(mem, out, between, strlen(between)) &&
			dsv_text_add_json_string(mem, out, key, strlen(key)) &&
			dsv_text_add(mem, out, ": ", 2) && add_value(mem, out, json_object_iter_value(it));
		between = ", ";
	}
	return ok && dsv_text_add(mem, out, "}", 1);
}

static bool
add_elements(const dsv_mem *mem, dsv_text *out, const json_t *array)
{
	bool		ok = dsv_text_add(mem, out, "[", 1);

	for (size_t i = 0; ok && i < json_array_size(array); i++)
		ok = (i == 0 || dsv_text_add(mem, out, ", ", 2)) &&
			add_value(mem, out, json_array_get(array, i));
	return ok && dsv_text_add(mem, out, "]", 1);
}

/* The canonical text; the depth is bounded by check_depth. */
static bool
add_value(const dsv_mem *mem, dsv_text *out, const json_t *value)
{
	char		number[32];

	switch (json_typeof(value))
	{
		case JSON_OBJECT:
			return add_members(mem, out, value);
		case JSON_ARRAY:
			return add_elements(mem, out, value);
		case JSON_STRING:
			return dsv_text_add_json_string(mem, out, json_string_value(value),
											json_string_length(value));
		case JSON_INTEGER:
			snprintf(number, sizeof(number), "%lld", (long long) json_integer_value(value));
			return dsv_text_add(mem, out, number, strlen(number));
		case JSON_REAL:
			return add_real(mem, out, json_real_value(value));
		case JSON_TRUE:
			return dsv_text_add(mem, out, "true", 4);
		case JSON_FALSE:
			return dsv_text_add(mem, out, "false", 5);
		case JSON_NULL:
			break;
	}
	return dsv_text_add(mem, out, "null", 4);
}

/* As an answer writes it. */
static bool
add_answer(dsv_schema *s, const dsv_place *place, dsv_text *out, const json_t *value)
{
	if (!s->b.bare)
		return add_value(s->b.mem, out, value);
	if (json_is_object(value) || json_is_array(value))
		dsv_schema_fail(s, place, DSV_UNSUPPORTED, "arrays and objects are no single values");
	if (json_is_string(value))
		return dsv_text_add(s->b.mem, out, json_string_value(value), json_string_length(value));
	return add_value(s->b.mem, out, value);
}

static uint32_t
make_texts(dsv_schema *s, const dsv_place *place, const json_t **values, size_t n, uint32_t next)
{
	dsv_text	all = {0};
	dsv_bytes  *texts = dsv_alloc(s->b.mem, n, sizeof(*texts));
	size_t	   *ends = dsv_alloc(s->b.mem, n, sizeof(*ends));
	bool		ok = texts != NULL && ends != NULL;
	uint32_t	node = DSV_NODE_NONE;

	for (size_t i = 0; ok && i < n; i++)
	{
		ok = add_answer(s, place, &all, values[i]);
		ends[i] = all.len;
	}
	if (!ok)
		fail_nomem(s, all.len + n * sizeof(*texts));
	else
	{
		for (size_t i = 0; i < n; i++)
		{
			size_t		from = i > 0 ? ends[i - 1] : 0;

			texts[i] = (dsv_bytes) {all.s + from, ends[i] - from};
		}
		node = dsv_node_texts(&s->b, texts, n, next);
	}
	dsv_free(s->b.mem, all.s);
	dsv_free(s->b.mem, texts);
	dsv_free(s->b.mem, ends);
	return node;
}

static uint32_t
make_enum(dsv_schema *s, const dsv_place *place, const json_t *schema, int types, uint32_t next)
{
	const json_t *list = json_object_get(schema, "enum");
	const json_t *constant = json_object_get(schema, "const");
	const char *keyword = list != NULL ? "enum" : "const";
	size_t		n = list != NULL ? json_array_size(list) : 1;
	const json_t **values;
	size_t		kept = 0;
	uint32_t	node = DSV_NODE_NONE;

	if (!check_alone(s, place, schema, keyword, TYPE))
		return DSV_NODE_NONE;
	if (list != NULL && !json_is_array(list))
	{
		fail_keyword(s, place, DSV_INPUT, keyword, "must be an array");
		return DSV_NODE_NONE;
	}
	values = dsv_alloc(s->b.mem, n, sizeof(*values));
	if (values == NULL)
	{
		fail_nomem(s, n * sizeof(*values));
		return DSV_NODE_NONE;
	}
	for (size_t i = 0; i < n; i++)
	{
		const json_t *value = list != NULL ? json_array_get(list, i) : constant;

		if (is_of_type(value, types))
			values[kept++] = value;
	}
	if (kept == 0)
		fail_keyword(s, place, DSV_SCHEMA, keyword, n == 0 ? "is empty" : "has no value of the type");
	else
		node = make_texts(s, place, values, kept, next);
	dsv_free(s->b.mem, values);
	return node;
}

/* ---- objects ---- */

typedef struct property
{
	const char *key;
	const json_t *schema;
	bool		required;
} property;

static bool
is_required(const json_t *required, const char *key)
{
	for (size_t i = 0; i < json_array_size(required); i++)
		if (strcmp(json_string_value(json_array_get(required, i)), key) == 0)
			return true;
	return false;
}

/* Those of "required" first, in its order: a database may have sorted the others. */
static size_t
order_properties(dsv_schema *s, const dsv_place *place, const json_t *properties,
				 const json_t *required, property *out)
{
	size_t		n = 0;

	for (size_t i = 0; i < json_array_size(required); i++)
	{
		const char *key = json_string_value(json_array_get(required, i));
		const json_t *schema = json_object_get(properties, key);
		bool		seen = false;

		if (schema == NULL)
		{
			char		what[200];

			snprintf(what, sizeof(what), "required property \"%.80s\" has no schema", key);
			dsv_schema_fail(s, place, DSV_SCHEMA, what);
			return 0;
		}
		for (size_t k = 0; k < n; k++)
			seen = seen || strcmp(out[k].key, key) == 0;
		if (!seen)
			out[n++] = (property) {key, schema, true};
	}
	for (void *it = json_object_iter((json_t *) properties); it != NULL;
		 it = json_object_iter_next((json_t *) properties, it))
		if (!is_required(required, json_object_iter_key(it)))
			out[n++] = (property) {json_object_iter_key(it), json_object_iter_value(it), false};
	return n;
}

/* "key": and its value. */
static uint32_t
make_member(dsv_schema *s, const dsv_place *place, const property *p, uint32_t next)
{
	dsv_place	list = {.up = place, .key = "properties"};
	dsv_place	here = {.up = &list, .key = p->key};
	dsv_text	key = {0};
	uint32_t	node = dsv_schema_value(s, &here, p->schema, next);

	if (dsv_text_add_json_string(s->b.mem, &key, p->key, strlen(p->key)) &&
		dsv_text_add(s->b.mem, &key, ": ", 2))
		node = dsv_node_literal(&s->b, key.s, key.len, node);
	else
		fail_nomem(s, key.len);
	dsv_free(s->b.mem, key.s);
	return node;
}

/* Two rows of nodes: before the first member, where no comma is written, and behind it. */
static uint32_t
make_members(dsv_schema *s, const dsv_place *place, const property *p, size_t n, uint32_t next)
{
	uint32_t	close = dsv_node_literal(&s->b, "}", 1, next);
	uint32_t   *members = dsv_alloc(s->b.mem, n + 1, sizeof(*members));
	uint32_t   *behind = dsv_alloc(s->b.mem, n + 1, sizeof(*behind));
	uint32_t	first = close;

	if (members == NULL || behind == NULL)
	{
		fail_nomem(s, (n + 1) * sizeof(*members));
		n = 0;
	}
	for (size_t i = 0; i < n && s->b.code == DSV_OK; i++)
	{
		behind[i] = i + 1 < n ? dsv_node_reserve(&s->b) : close;
		members[i] = make_member(s, place, &p[i], behind[i]);
	}
	for (size_t i = n; i-- > 0 && s->b.code == DSV_OK;)
	{
		dsv_edge	ways[2] = {{.to = dsv_node_literal(&s->b, ", ", 2, members[i])},
		{.to = behind[i]}};

		if (i > 0)
			dsv_node_define(&s->b, behind[i - 1], DSV_NODE_SPLIT, ways, p[i].required ? 1 : 2);
		first = dsv_node_either(&s->b, members[i], p[i].required ? DSV_NODE_NONE : first);
	}
	dsv_free(s->b.mem, members);
	dsv_free(s->b.mem, behind);
	return dsv_node_literal(&s->b, "{", 1, first);
}

static bool
check_object(dsv_schema *s, const dsv_place *place, const json_t *schema)
{
	const json_t *properties = json_object_get(schema, "properties");
	const json_t *required = json_object_get(schema, "required");
	const json_t *others = json_object_get(schema, "additionalProperties");

	if (properties != NULL && !json_is_object(properties))
		fail_keyword(s, place, DSV_INPUT, "properties", "must be an object");
	if (required != NULL && !json_is_array(required))
		fail_keyword(s, place, DSV_INPUT, "required", "must be an array of strings");
	for (size_t i = 0; i < json_array_size(required); i++)
		if (!json_is_string(json_array_get(required, i)))
			fail_keyword(s, place, DSV_INPUT, "required", "must be an array of strings");
	if (others != NULL && !json_is_false(others))
		fail_keyword(s, place, DSV_UNSUPPORTED, "additionalProperties", "must be false");
	if (json_object_size(properties) > DSV_SCHEMA_MAX_PROPERTIES ||
		json_array_size(required) > DSV_SCHEMA_MAX_PROPERTIES)
		fail_keyword(s, place, DSV_LIMIT, "properties", "has too many members");
	return s->b.code == DSV_OK;
}

static uint32_t
make_object(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *properties = json_object_get(schema, "properties");
	property   *list;
	size_t		n;
	uint32_t	node;

	if (!check_object(s, place, schema))
		return DSV_NODE_NONE;
	list = dsv_alloc(s->b.mem, json_object_size(properties), sizeof(*list));
	if (list == NULL)
	{
		fail_nomem(s, json_object_size(properties) * sizeof(*list));
		return DSV_NODE_NONE;
	}
	n = order_properties(s, place, properties, json_object_get(schema, "required"), list);
	node = make_members(s, place, list, n, next);
	dsv_free(s->b.mem, list);
	return node;
}

/* ---- arrays ---- */

static uint32_t
make_array(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *items = json_object_get(schema, "items");
	dsv_place	here = {.up = place, .key = "items"};
	uint32_t	min = 0;
	uint32_t	max = DSV_COUNT_UNLIMITED;
	uint32_t	close = dsv_node_literal(&s->b, "]", 1, next);
	uint32_t	loop;
	uint32_t	item;

	if (!get_count(s, place, schema, "minItems", &min) ||
		!get_count(s, place, schema, "maxItems", &max))
		return DSV_NODE_NONE;
	if (min > max)
		fail_keyword(s, place, DSV_SCHEMA, "minItems", "is greater than \"maxItems\"");
	if (max == 0)
		return dsv_node_literal(&s->b, "[", 1, close);
	if (items == NULL)
		dsv_schema_fail(s, place, DSV_UNSUPPORTED, "an array of anything is not supported");
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;

	/* the first item stands before the loop, which counts the others */
	if (min <= 1 && max == DSV_COUNT_UNLIMITED)
		loop = dsv_node_reserve(&s->b);
	else
		loop = dsv_node_loop(&s->b, min > 0 ? min - 1 : 0,
							 max == DSV_COUNT_UNLIMITED ? max : max - 1);
	item = dsv_schema_value(s, &here, items, loop);
	if (min <= 1 && max == DSV_COUNT_UNLIMITED)
	{
		dsv_edge	ways[2] = {{.to = dsv_node_literal(&s->b, ", ", 2, item)}, {.to = close}};

		dsv_node_define(&s->b, loop, DSV_NODE_SPLIT, ways, 2);
		item = dsv_node_either(&s->b, item, min == 0 ? close : DSV_NODE_NONE);
	}
	else
	{
		dsv_node_loop_body(&s->b, loop, dsv_node_literal(&s->b, ", ", 2, item));
		item = dsv_node_either(&s->b, item, min == 0 ? s->b.end : DSV_NODE_NONE);
		item = dsv_node_call(&s->b, item, close, false);
	}
	return dsv_node_literal(&s->b, "[", 1, item);
}

/* ---- strings and numbers ---- */

static uint32_t
make_pattern(dsv_schema *s, const dsv_place *place, const json_t *pattern, uint32_t min,
			 uint32_t max, uint32_t next)
{
	dsv_pattern p = {.mem = s->b.mem};
	uint32_t	node = DSV_NODE_NONE;

	if (!json_is_string(pattern))
	{
		fail_keyword(s, place, DSV_INPUT, "pattern", "must be a string");
		return DSV_NODE_NONE;
	}
	if (dsv_pattern_parse(&p, json_string_value(pattern), json_string_length(pattern)) == DSV_OK)
		node = dsv_node_pattern(&s->b, &p, min, max, next);
	if (p.code == DSV_NOMEM)
		fail_nomem(s, p.nsteps * sizeof(*p.steps));
	else if (p.code != DSV_OK)
		fail_keyword(s, place, p.code, "pattern", p.why);
	dsv_pattern_free(&p);
	return dsv_node_quote(&s->b, node);
}

static uint32_t
make_format(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *format = json_object_get(schema, "format");
	const char *name = json_is_string(format) ? json_string_value(format) : "";
	char		what[120];

	if (!json_is_string(format))
		fail_keyword(s, place, DSV_INPUT, "format", "must be a string");
	for (int i = 0; i < 3; i++)
	{
		static const char *const others[] = {"pattern", "minLength", "maxLength"};

		if (json_object_get(schema, others[i]) != NULL)
			fail_keyword(s, place, DSV_UNSUPPORTED, others[i], "is not supported beside \"format\"");
	}
	next = dsv_node_quote(&s->b, next);
	if (strcmp(name, "date") == 0)
		return dsv_node_quote(&s->b, dsv_node_date(&s->b, next));
	if (strcmp(name, "time") == 0)
		return dsv_node_quote(&s->b, dsv_node_time(&s->b, next));
	if (strcmp(name, "date-time") == 0)
		return dsv_node_quote(&s->b, dsv_node_date_time(&s->b, next));
	snprintf(what, sizeof(what), "has the value \"%.60s\", which is not supported", name);
	fail_keyword(s, place, DSV_UNSUPPORTED, "format", what);
	return DSV_NODE_NONE;
}

static uint32_t
make_string(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *pattern = json_object_get(schema, "pattern");
	uint32_t	min = 0;
	uint32_t	max = DSV_COUNT_UNLIMITED;

	if (json_object_get(schema, "format") != NULL)
		return make_format(s, place, schema, next);
	if (!get_count(s, place, schema, "minLength", &min) ||
		!get_count(s, place, schema, "maxLength", &max))
		return DSV_NODE_NONE;
	if (min > max)
		fail_keyword(s, place, DSV_SCHEMA, "minLength", "is greater than \"maxLength\"");
	if (pattern != NULL)
		return make_pattern(s, place, pattern, min, max, next);
	return dsv_node_string(&s->b, min, max, next);
}

static bool
get_number(dsv_schema *s, const dsv_place *place, const json_t *schema, const char *key,
		   dsv_wide *out, int *exponent)
{
	const json_t *value = json_object_get(schema, key);
	bool		fits = true;

	if (value == NULL)
		return false;
	*exponent = 0;
	if (json_is_integer(value))
		*out = dsv_wide_from_int(json_integer_value(value));
	else if (json_is_real(value))
		fits = dsv_wide_from_double(json_real_value(value), out, exponent);
	else
		fail_keyword(s, place, DSV_INPUT, key, "must be a number");
	if (!fits)
		fail_keyword(s, place, DSV_LIMIT, key, "has more than 15 digits behind the point");
	return s->b.code == DSV_OK;
}

/* "multipleOf" must be a power of ten. */
static void
get_multiple(dsv_schema *s, const dsv_place *place, const json_t *schema, int *exponent)
{
	dsv_wide	value;
	int			unused;

	if (!get_number(s, place, schema, "multipleOf", &value, &unused))
		return;
	for (int e = -DSV_NUMBER_DIGITS; e < DSV_NUMBER_DIGITS; e++)
		if (value == dsv_wide_ten_to(e + DSV_NUMBER_DIGITS))
		{
			*exponent = e;
			return;
		}
	fail_keyword(s, place, value <= 0 ? DSV_INPUT : DSV_UNSUPPORTED, "multipleOf",
				 value <= 0 ? "must be positive" : "must be a power of ten");
}

/* Rounded to units: up for a lower bound, down for an upper one. */
static dsv_wide
round_bound(dsv_wide x, dsv_wide unit, bool up)
{
	dsv_wide	rest = x % unit;

	if (rest < 0)
		rest += unit;
	return x - rest + (up && rest > 0 ? unit : 0);
}

static uint32_t
make_number(dsv_schema *s, const dsv_place *place, const json_t *schema, bool integer,
			uint32_t next)
{
	static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
	"exclusiveMaximum"};
	dsv_number_bounds bounds = {.exponent = integer ? 0 : -DSV_NUMBER_FRACTION};
	dsv_wide	given[4];
	bool		has[4];
	dsv_wide	unit;
	int			multiple = -DSV_NUMBER_DIGITS - 1;

	for (int i = 0; i < 4; i++)
	{
		int			exponent = 0;

		has[i] = get_number(s, place, schema, keys[i], &given[i], &exponent);
		if (has[i] && !integer && exponent < bounds.exponent)
			bounds.exponent = exponent;
	}
	get_multiple(s, place, schema, &multiple);
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	if (multiple > -DSV_NUMBER_DIGITS - 1 && (!integer || multiple > 0))
		bounds.exponent = multiple;

	unit = dsv_wide_ten_to(DSV_NUMBER_DIGITS + bounds.exponent);
	bounds.hi = dsv_wide_ten_to(2 * DSV_NUMBER_DIGITS) - unit;
	bounds.lo = -bounds.hi;
	for (int i = 0; i < 4; i++)
	{
		bool		lower = i < 2;
		dsv_wide	x = has[i] ? round_bound(given[i], unit, lower) : 0;

		if (!has[i])
			continue;
		if (i % 2 == 1 && x == given[i])
			x += lower ? unit : -unit;
		if (lower && x > bounds.lo)
			bounds.lo = x;
		if (!lower && x < bounds.hi)
			bounds.hi = x;
	}
	if (bounds.lo > bounds.hi)
	{
		dsv_schema_fail(s, place, DSV_SCHEMA, "no number is within the bounds of the JSON schema");
		return DSV_NODE_NONE;
	}
	return dsv_node_number(&s->b, &bounds, next);
}

/* ---- types ---- */

static const char *const type_names[] = {"null", "boolean", "integer", "number", "string", "array",
"object"};

#define NTYPES ((int) (sizeof(type_names) / sizeof(type_names[0])))

static int
type_bit_of(dsv_schema *s, const dsv_place *place, const json_t *name)
{
	for (int i = 0; i < NTYPES; i++)
		if (json_is_string(name) && strcmp(json_string_value(name), type_names[i]) == 0)
			return 1 << i;
	fail_keyword(s, place, DSV_INPUT, "type", "must name types of JSON");
	return 0;
}

static int
types_of(dsv_schema *s, const dsv_place *place, const json_t *type)
{
	int			types = 0;

	if (!json_is_array(type))
		return type_bit_of(s, place, type);
	for (size_t i = 0; i < json_array_size(type); i++)
		types |= type_bit_of(s, place, json_array_get(type, i));
	if (types == 0)
		fail_keyword(s, place, DSV_SCHEMA, "type", "is empty");
	return types & TYPE_NUMBER ? types & ~TYPE_INTEGER : types;
}

/* Without "type" the other keywords tell it, if they agree. */
static int
guess_type(dsv_schema *s, const dsv_place *place, int kinds)
{
	switch (kinds)
	{
		case FOR_OBJECT:
			return TYPE_OBJECT;
		case FOR_ARRAY:
			return TYPE_ARRAY;
		case FOR_STRING:
			return TYPE_STRING;
		case FOR_NUMBER:
			return TYPE_NUMBER;
	}
	dsv_schema_fail(s, place, DSV_UNSUPPORTED, "a JSON schema without a type is not supported");
	return 0;
}

static uint32_t
make_type(dsv_schema *s, const dsv_place *place, const json_t *schema, int type, uint32_t next)
{
	if (s->b.bare && (type == TYPE_ARRAY || type == TYPE_OBJECT))
		dsv_schema_fail(s, place, DSV_UNSUPPORTED, "arrays and objects are no single values");
	switch (type)
	{
		case TYPE_NULL:
			return dsv_node_literal(&s->b, "null", 4, next);
		case TYPE_BOOLEAN:
			return dsv_node_either(&s->b, dsv_node_literal(&s->b, "true", 4, next),
								   dsv_node_literal(&s->b, "false", 5, next));
		case TYPE_INTEGER:
		case TYPE_NUMBER:
			return make_number(s, place, schema, type == TYPE_INTEGER, next);
		case TYPE_STRING:
			return make_string(s, place, schema, next);
		case TYPE_ARRAY:
			return make_array(s, place, schema, next);
	}
	return make_object(s, place, schema, next);
}

static uint32_t
make_types(dsv_schema *s, const dsv_place *place, const json_t *schema, int types, uint32_t next)
{
	uint32_t	node = DSV_NODE_NONE;

	for (int i = 0; i < NTYPES && s->b.code == DSV_OK; i++)
		if (types & 1 << i)
			node = dsv_node_either(&s->b, node, make_type(s, place, schema, 1 << i, next));
	return node;
}

/* ---- anyOf and $ref ---- */

static uint32_t
make_any_of(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *list = json_object_get(schema, "anyOf");
	dsv_place	here = {.up = place, .key = "anyOf"};
	uint32_t	node = DSV_NODE_NONE;

	if (!check_alone(s, place, schema, "anyOf", 0))
		return DSV_NODE_NONE;
	if (!json_is_array(list))
		fail_keyword(s, place, DSV_INPUT, "anyOf", "must be an array");
	else if (json_array_size(list) == 0)
		fail_keyword(s, place, DSV_SCHEMA, "anyOf", "is empty");
	for (size_t i = 0; i < json_array_size(list) && s->b.code == DSV_OK; i++)
	{
		dsv_place	item = {.up = &here, .index = i};

		node = dsv_node_either(&s->b, node,
							   dsv_schema_value(s, &item, json_array_get(list, i), next));
	}
	return node;
}

/* The target's part of the grammar, made at its first use. */
static uint32_t
make_target(dsv_schema *s, const char *pointer, const json_t *target, bool *deeper)
{
	dsv_place	here = {.key = pointer};
	void	   *refs = s->refs;
	dsv_edge	edge = {0};
	size_t		mine;

	for (size_t i = 0; i < s->nrefs; i++)
		if (s->refs[i].target == target)
		{
			*deeper = s->refs[i].open;
			return s->refs[i].node;
		}
	*deeper = false;
	if (s->nrefs == DSV_SCHEMA_MAX_REFS)
	{
		dsv_schema_fail(s, &here, DSV_LIMIT, "too many different schemas are referred to");
		return DSV_NODE_NONE;
	}
	if (!dsv_reserve(s->b.mem, &refs, &s->refs_cap, s->nrefs + 1, sizeof(*s->refs)))
	{
		fail_nomem(s, (s->nrefs + 1) * sizeof(*s->refs));
		return DSV_NODE_NONE;
	}
	s->refs = refs;
	mine = s->nrefs++;
	s->refs[mine] = (dsv_schema_ref) {target, pointer, dsv_node_reserve(&s->b), true};
	edge.to = dsv_schema_value(s, &here, target, s->b.end);
	dsv_node_define(&s->b, s->refs[mine].node, DSV_NODE_SPLIT, &edge, 1);
	s->refs[mine].open = false;
	return s->refs[mine].node;
}

static uint32_t
make_ref(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *ref = json_object_get(schema, "$ref");
	const json_t *target = NULL;
	bool		deeper;
	uint32_t	node;

	if (!check_alone(s, place, schema, "$ref", 0))
		return DSV_NODE_NONE;
	if (!json_is_string(ref))
		fail_keyword(s, place, DSV_INPUT, "$ref", "must be a string");
	else if (json_string_value(ref)[0] != '#')
		fail_keyword(s, place, DSV_UNSUPPORTED, "$ref", "must stay within the document");
	else if (json_string_value(ref)[1] != '\0' && json_string_value(ref)[1] != '/')
		fail_keyword(s, place, DSV_UNSUPPORTED, "$ref", "must be a JSON pointer");
	else if ((target = dsv_schema_resolve(s->root, json_string_value(ref) + 1)) == NULL)
		fail_keyword(s, place, DSV_INPUT, "$ref", "refers to nothing");
	if (target == NULL)
		return DSV_NODE_NONE;
	/* true and false are the same to jansson wherever they stand */
	if (!json_is_object(target))
		return dsv_schema_value(s, place, target, next);
	node = make_target(s, json_string_value(ref), target, &deeper);
	return dsv_node_call(&s->b, node, next, deeper);
}

/* ---- any schema ---- */

static uint32_t
make_value(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *type;
	int			kinds;
	int			types;

	if (json_is_false(schema))
		return DSV_NODE_NONE;
	if (json_is_true(schema))
		dsv_schema_fail(s, place, DSV_UNSUPPORTED, "a JSON schema without a type is not supported");
	else if (!json_is_object(schema))
		dsv_schema_fail(s, place, DSV_INPUT, "a JSON schema must be an object");
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	kinds = keyword_kinds(s, place, schema);
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	if (kinds & REF)
		return make_ref(s, place, schema, next);
	if (kinds & ANY_OF)
		return make_any_of(s, place, schema, next);
	type = json_object_get(schema, "type");
	if (type != NULL)
		types = types_of(s, place, type);
	else
		types = kinds & ENUM ? TYPE_ANY : guess_type(s, place, kinds);
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	if (kinds & ENUM)
		return make_enum(s, place, schema, types, next);
	return make_types(s, place, schema, types, next);
}

uint32_t
dsv_schema_value(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	uint32_t	node;

	if (s->depth == DSV_SCHEMA_MAX_DEPTH)
	{
		dsv_schema_fail(s, place, DSV_LIMIT, "JSON schema is nested too deeply");
		return DSV_NODE_NONE;
	}
	s->depth++;
	node = make_value(s, place, schema, next);
	s->depth--;
	return node;
}

/* A recursion that no text can leave is worth more than "nothing satisfies". */
static void
check_refs(dsv_schema *s)
{
	for (size_t i = 0; i < s->nrefs; i++)
	{
		dsv_place	place = {.key = s->refs[i].pointer};

		if (s->b.nodes[s->refs[i].node].height > DSV_GRAMMAR_MAX_DEPTH)
			dsv_schema_fail(s, &place, DSV_SCHEMA, "no finite text satisfies the JSON schema");
	}
}

static dsv_code
load(const char *schema, size_t len, json_t **out, dsv_error *err)
{
	json_error_t e;

	if (len > DSV_GRAMMAR_MAX_TEXT)
		return dsv_fail(err, DSV_LIMIT, "JSON schema is longer than %d bytes", DSV_GRAMMAR_MAX_TEXT);
	*out = json_loadb(schema, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (*out != NULL)
		return DSV_OK;
	/* without memory jansson often says nothing at all */
	if (json_error_code(&e) == json_error_out_of_memory || e.text[0] == '\0')
		return dsv_fail_nomem(err, len);
	dsv_fail(err, DSV_INPUT, "JSON schema is not valid JSON");
	dsv_detail(err, "Line %d, column %d: %s.", e.line, e.column, e.text);
	return DSV_INPUT;
}

static dsv_code
compile(const char *schema, size_t len, bool bare, const dsv_mem *mem, dsv_grammar **out,
		dsv_error *err)
{
	dsv_schema	s = {0};
	json_t	   *root = NULL;
	dsv_code	code = load(schema, len, &root, err);
	uint32_t	start = DSV_NODE_NONE;
	bool		deeper;

	*out = NULL;
	if (code != DSV_OK)
		return code;
	dsv_builder_init(&s.b, mem, err);
	s.b.bare = bare;
	s.root = root;
	start = make_target(&s, "#", root, &deeper);
	if (dsv_builder_analyse(&s.b) == DSV_OK)
		check_refs(&s);
	code = dsv_builder_finish(&s.b, start, out);
	dsv_builder_free(&s.b);
	dsv_free(mem, s.refs);
	json_decref(root);
	return code;
}

dsv_code
dsv_grammar_from_schema(const char *schema, size_t len, const dsv_mem *mem, dsv_grammar **out,
						dsv_error *err)
{
	return compile(schema, len, false, mem, out, err);
}

dsv_code
dsv_grammar_from_value_schema(const char *schema, size_t len, const dsv_mem *mem,
							  dsv_grammar **out, dsv_error *err)
{
	return compile(schema, len, true, mem, out, err);
}
