/*
 * schema.c
 *		JSON Schema as a grammar.
 *
 * What a schema means is narrowed to one layout: ", " and ": " between, keys in the order of
 * "required" and then of "properties", no others.  A keyword is either enforced, or an annotation
 * that promises nothing, or refused by name: nothing is ignored silently.
 *
 * Every target of a $ref becomes a part of the grammar that is called; all other schemas are
 * written out where they stand.  A target that is met while it is being written closes a cycle:
 * those calls count towards the depth that a text may have.
 */
#include "schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- places and errors ---- */

/* Longer than any part of a message: what is cut here is cut again, between characters. */
#define TEXT_SIZE 600

typedef struct path
{
	char		s[TEXT_SIZE];
	size_t		n;
} path;

static void
path_add(path *p, char c)
{
	if (p->n + 1 < sizeof(p->s))
		p->s[p->n++] = c;
	p->s[p->n] = '\0';
}

static void
path_add_step(path *p, const char *step)
{
	path_add(p, '/');
	for (; *step != '\0'; step++)
	{
		if (*step == '~' || *step == '/')
			path_add(p, '~');
		path_add(p, *step == '~' ? '0' : *step == '/' ? '1' : *step);
	}
}

/* As a JSON pointer. */
static void
path_print(path *p, const dsv_place *place)
{
	char		index[24];

	if (place->up == NULL)
	{
		for (const char *s = place->key; *s != '\0'; s++)
			path_add(p, *s);
		return;
	}
	path_print(p, place->up);
	snprintf(index, sizeof(index), "%zu", place->index);
	path_add_step(p, place->key != NULL ? place->key : index);
}

void
dsv_schema_fail(dsv_schema *s, const dsv_place *place, dsv_code code, const char *fmt,...)
{
	char		text[TEXT_SIZE];
	path		where = {.n = 0};
	va_list		args;

	if (s->b.code != DSV_OK)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	path_print(&where, place);
	dsv_fail(s->b.err, code, "%s", text);
	dsv_detail(s->b.err, "It is at %s.", where.s);
	s->b.code = code;
}

void
dsv_schema_fail_keyword(dsv_schema *s, const dsv_place *place, dsv_code code, const char *keyword,
						const char *what)
{
	dsv_schema_fail(s, place, code, "keyword \"%s\" of the JSON schema %s", keyword, what);
}

void
dsv_schema_fail_nomem(dsv_schema *s, size_t bytes)
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
			dsv_schema_fail_keyword(s, place, DSV_UNSUPPORTED, json_object_iter_key(it), "is not supported");
		kinds |= kind;
	}
	return kinds & ~ANNOTATION;
}

/* Beside the leading keyword only those of the allowed kinds may stand. */
static void
check_alone(dsv_schema *s, const dsv_place *place, const json_t *schema, const char *leading,
			int allowed)
{
	for (void *it = json_object_iter((json_t *) schema); it != NULL;
		 it = json_object_iter_next((json_t *) schema, it))
	{
		const char *key = json_object_iter_key(it);

		if (strcmp(key, leading) != 0 && (keyword_find(key) & (allowed | ANNOTATION)) == 0)
			dsv_schema_fail(s, place, DSV_UNSUPPORTED, "keyword \"%s\" of the JSON schema is not "
							"supported beside \"%s\"", key, leading);
	}
}

bool
dsv_schema_count(dsv_schema *s, const dsv_place *place, const json_t *schema, const char *keyword,
				 uint32_t *out)
{
	const json_t *value = json_object_get(schema, keyword);
	double		x = json_number_value(value);

	if (value == NULL)
		return true;
	if (!json_is_number(value) || x < 0 || x != floor(x))
		dsv_schema_fail_keyword(s, place, DSV_INPUT, keyword, "must be a whole number from 0 on");
	else if (x > DSV_GRAMMAR_MAX_COUNT)
		dsv_schema_fail_keyword(s, place, DSV_LIMIT, keyword, "is too large");
	else
		*out = (uint32_t) x;
	return s->b.code == DSV_OK;
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
	dsv_schema_fail_keyword(s, place, DSV_INPUT, "type", "must name types of JSON");
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
		dsv_schema_fail_keyword(s, place, DSV_SCHEMA, "type", "is empty");
	return types & DSV_TYPE_NUMBER ? types & ~DSV_TYPE_INTEGER : types;
}

/* Without "type" the other keywords tell it, if they agree. */
static int
guess_type(dsv_schema *s, const dsv_place *place, int kinds)
{
	switch (kinds)
	{
		case FOR_OBJECT:
			return DSV_TYPE_OBJECT;
		case FOR_ARRAY:
			return DSV_TYPE_ARRAY;
		case FOR_STRING:
			return DSV_TYPE_STRING;
		case FOR_NUMBER:
			return DSV_TYPE_NUMBER;
	}
	dsv_schema_fail(s, place, DSV_UNSUPPORTED, "a JSON schema without a type is not supported");
	return 0;
}

static uint32_t
make_type(dsv_schema *s, const dsv_place *place, const json_t *schema, int type, uint32_t next)
{
	if (s->b.bare && (type == DSV_TYPE_ARRAY || type == DSV_TYPE_OBJECT))
		dsv_schema_fail(s, place, DSV_UNSUPPORTED, "arrays and objects are no single values");
	switch (type)
	{
		case DSV_TYPE_NULL:
			return dsv_node_literal(&s->b, "null", 4, next);
		case DSV_TYPE_BOOLEAN:
			return dsv_node_either(&s->b, dsv_node_literal(&s->b, "true", 4, next),
								   dsv_node_literal(&s->b, "false", 5, next));
		case DSV_TYPE_INTEGER:
		case DSV_TYPE_NUMBER:
			return dsv_schema_number(s, place, schema, type == DSV_TYPE_INTEGER, next);
		case DSV_TYPE_STRING:
			return dsv_schema_string(s, place, schema, next);
		case DSV_TYPE_ARRAY:
			return dsv_schema_array(s, place, schema, next);
	}
	return dsv_schema_object(s, place, schema, next);
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

	if (!json_is_array(list))
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "anyOf", "must be an array");
	else if (json_array_size(list) == 0)
		dsv_schema_fail_keyword(s, place, DSV_SCHEMA, "anyOf", "is empty");
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
		dsv_schema_fail_nomem(s, (s->nrefs + 1) * sizeof(*s->refs));
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

	if (!json_is_string(ref))
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "$ref", "must be a string");
	else if (json_string_value(ref)[0] != '#')
		dsv_schema_fail_keyword(s, place, DSV_UNSUPPORTED, "$ref", "must stay within the document");
	else if (json_string_value(ref)[1] != '\0' && json_string_value(ref)[1] != '/')
		dsv_schema_fail_keyword(s, place, DSV_UNSUPPORTED, "$ref", "must be a JSON pointer");
	else if ((target = dsv_schema_resolve(s->root, json_string_value(ref) + 1)) == NULL)
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "$ref", "refers to nothing");
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
	if (kinds & (REF | ANY_OF | ENUM))
		check_alone(s, place, schema, kinds & REF ? "$ref" : kinds & ANY_OF ? "anyOf" :
					json_object_get(schema, "enum") != NULL ? "enum" : "const",
					kinds & (REF | ANY_OF) ? 0 : TYPE);
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
		types = kinds & ENUM ? DSV_TYPE_ANY : guess_type(s, place, kinds);
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	if (kinds & ENUM)
		return dsv_schema_enum(s, place, schema, types, next);
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
	if (json_error_code(&e) == json_error_numeric_overflow)
		return dsv_fail(err, DSV_LIMIT, "a number in the JSON schema is too large");
	if (json_error_code(&e) == json_error_stack_overflow)
		return dsv_fail(err, DSV_LIMIT, "JSON schema is nested too deeply");
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
