/*
 * schema_containers.c
 *		Objects and arrays.
 */
#include <string.h>

#include "schema.h"

/* ---- objects ---- */

typedef struct property
{
	const char *key;
	const json_t *schema;
	bool		required;
} property;

static bool
check_object(dsv_schema *s, const dsv_place *place, const json_t *schema)
{
	const json_t *properties = json_object_get(schema, "properties");
	const json_t *required = json_object_get(schema, "required");
	const json_t *others = json_object_get(schema, "additionalProperties");

	if (properties != NULL && !json_is_object(properties))
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "properties", "must be an object");
	if (required != NULL && !json_is_array(required))
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "required", "must be an array of strings");
	for (size_t i = 0; i < json_array_size(required); i++)
		if (!json_is_string(json_array_get(required, i)))
			dsv_schema_fail_keyword(s, place, DSV_INPUT, "required", "must be an array of strings");
	if (others != NULL && !json_is_false(others))
		dsv_schema_fail_keyword(s, place, DSV_UNSUPPORTED, "additionalProperties", "must be false");
	if (json_object_size(properties) > DSV_SCHEMA_MAX_PROPERTIES)
		dsv_schema_fail_keyword(s, place, DSV_LIMIT, "properties", "has more than 1000 members");
	return s->b.code == DSV_OK;
}

/* The required ones, in the order in which they were named. */
static size_t
add_required(dsv_schema *s, const dsv_place *place, const json_t *properties,
			 const json_t *required, json_t *seen, property *out)
{
	size_t		n = 0;

	for (size_t i = 0; i < json_array_size(required); i++)
	{
		const char *key = json_string_value(json_array_get(required, i));
		const json_t *schema = json_object_get(properties, key);

		if (schema == NULL)
		{
			dsv_schema_fail(s, place, DSV_SCHEMA,
							"required property of the JSON schema has no schema: \"%s\"", key);
			break;
		}
		if (json_object_get(seen, key) != NULL)
			continue;
		if (json_object_set_new(seen, key, json_true()) != 0)
			dsv_schema_fail_nomem(s, strlen(key));
		out[n++] = (property) {key, schema, true};
	}
	return n;
}

/* A database may have sorted the properties, so an order that was meant is that of "required". */
static size_t
order_properties(dsv_schema *s, const dsv_place *place, const json_t *schema, property *out)
{
	const json_t *properties = json_object_get(schema, "properties");
	json_t	   *seen = dsv_json_object();
	size_t		n = 0;

	if (seen == NULL)
		dsv_schema_fail_nomem(s, 1);
	else
		n = add_required(s, place, properties, json_object_get(schema, "required"), seen, out);
	for (void *it = json_object_iter((json_t *) properties); it != NULL && s->b.code == DSV_OK;
		 it = json_object_iter_next((json_t *) properties, it))
		if (json_object_get(seen, json_object_iter_key(it)) == NULL)
			out[n++] = (property) {json_object_iter_key(it), json_object_iter_value(it), false};
	json_decref(seen);
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
		dsv_schema_fail_nomem(s, key.len);
	dsv_free(s->b.mem, key.s);
	return node;
}

/* Two rows of nodes: before the first member, where no comma is written, and behind one. */
static uint32_t
make_members(dsv_schema *s, const dsv_place *place, const property *p, size_t n, uint32_t next)
{
	uint32_t	close = dsv_node_literal(&s->b, "}", 1, next);
	uint32_t   *members = dsv_alloc(s->b.mem, n, sizeof(*members));
	uint32_t   *behind = dsv_alloc(s->b.mem, n, sizeof(*behind));
	uint32_t	first = close;

	if (members == NULL || behind == NULL)
		dsv_schema_fail_nomem(s, n * sizeof(*members));
	for (size_t i = 0; i < n && s->b.code == DSV_OK; i++)
	{
		behind[i] = i + 1 < n ? dsv_node_reserve(&s->b) : close;
		members[i] = make_member(s, place, &p[i], behind[i]);
	}
	for (size_t i = n; i-- > 0 && s->b.code == DSV_OK;)
	{
		if (i > 0)
		{
			dsv_edge	ways[2] = {{.to = dsv_node_literal(&s->b, ", ", 2, members[i])},
			{.to = behind[i]}};

			dsv_node_define(&s->b, behind[i - 1], DSV_NODE_SPLIT, ways, p[i].required ? 1 : 2);
		}
		first = dsv_node_either(&s->b, members[i], p[i].required ? DSV_NODE_NONE : first);
	}
	dsv_free(s->b.mem, members);
	dsv_free(s->b.mem, behind);
	return dsv_node_literal(&s->b, "{", 1, first);
}

uint32_t
dsv_schema_object(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *properties = json_object_get(schema, "properties");
	property   *list;
	uint32_t	node = DSV_NODE_NONE;
	size_t		n;

	if (!check_object(s, place, schema))
		return DSV_NODE_NONE;
	list = dsv_alloc(s->b.mem, json_object_size(properties), sizeof(*list));
	if (list == NULL)
	{
		dsv_schema_fail_nomem(s, json_object_size(properties) * sizeof(*list));
		return DSV_NODE_NONE;
	}
	n = order_properties(s, place, schema, list);
	if (s->b.code == DSV_OK)
		node = make_members(s, place, list, n, next);
	dsv_free(s->b.mem, list);
	return node;
}

/* ---- arrays ---- */

/* Items up to the one that `close` follows.  The first stands before the loop, which counts the
 * others. */
static uint32_t
make_counted(dsv_schema *s, const dsv_place *place, const json_t *items, uint32_t min, uint32_t max,
			 uint32_t close)
{
	uint32_t	loop = dsv_node_loop(&s->b, min > 0 ? min - 1 : 0,
									 max == DSV_COUNT_UNLIMITED ? max : max - 1);
	uint32_t	item = dsv_schema_value(s, place, items, loop);

	dsv_node_loop_body(&s->b, loop, dsv_node_literal(&s->b, ", ", 2, item));
	item = dsv_node_either(&s->b, item, min == 0 ? s->b.end : DSV_NODE_NONE);
	return dsv_node_call(&s->b, item, close, false);
}

static uint32_t
make_uncounted(dsv_schema *s, const dsv_place *place, const json_t *items, uint32_t min,
			   uint32_t close)
{
	uint32_t	more = dsv_node_reserve(&s->b);
	uint32_t	item = dsv_schema_value(s, place, items, more);
	dsv_edge	ways[2] = {{.to = dsv_node_literal(&s->b, ", ", 2, item)}, {.to = close}};

	dsv_node_define(&s->b, more, DSV_NODE_SPLIT, ways, 2);
	return dsv_node_either(&s->b, item, min == 0 ? close : DSV_NODE_NONE);
}

uint32_t
dsv_schema_array(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *items = json_object_get(schema, "items");
	dsv_place	here = {.up = place, .key = "items"};
	uint32_t	min = 0;
	uint32_t	max = DSV_COUNT_UNLIMITED;
	uint32_t	close = dsv_node_literal(&s->b, "]", 1, next);

	if (!dsv_schema_count(s, place, schema, "minItems", &min) ||
		!dsv_schema_count(s, place, schema, "maxItems", &max))
		return DSV_NODE_NONE;
	if (min > max)
		dsv_schema_fail_keyword(s, place, DSV_SCHEMA, "minItems", "is greater than \"maxItems\"");
	else if (items == NULL && max > 0)
		dsv_schema_fail(s, place, DSV_UNSUPPORTED,
						"array without \"items\" in the JSON schema is not supported");
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	if (max == 0)
		return dsv_node_literal(&s->b, "[", 1, close);
	if (min <= 1 && max == DSV_COUNT_UNLIMITED)
		return dsv_node_literal(&s->b, "[", 1, make_uncounted(s, &here, items, min, close));
	return dsv_node_literal(&s->b, "[", 1, make_counted(s, &here, items, min, max, close));
}
