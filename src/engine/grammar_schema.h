/*
 * grammar_schema.h
 *		A JSON schema while it becomes a grammar.
 */
#ifndef DSV_GRAMMAR_SCHEMA_H
#define DSV_GRAMMAR_SCHEMA_H

#include <jansson.h>

#include "grammar_private.h"

/* schemas inside schemas, through $ref as well */
#define DSV_SCHEMA_MAX_DEPTH 200
#define DSV_SCHEMA_MAX_REFS 1000
#define DSV_SCHEMA_MAX_PROPERTIES 1000

/* Where a schema stands: the way from the document, or from the last $ref's target. */
typedef struct dsv_place
{
	const struct dsv_place *up;
	const char *key;			/* or NULL: */
	size_t		index;
} dsv_place;

typedef struct dsv_schema_ref
{
	const json_t *target;
	const char *pointer;
	uint32_t	node;			/* its part of the grammar, to be called */
	bool		open;			/* being made */
} dsv_schema_ref;

typedef struct dsv_schema
{
	dsv_builder b;
	const json_t *root;
	dsv_schema_ref *refs;
	size_t		nrefs;
	size_t		refs_cap;
	int			depth;
} dsv_schema;

/* Fails unless something failed before; `what` in the style of a message. */
dsv_code	dsv_schema_fail(dsv_schema *s, const dsv_place *place, dsv_code code, const char *what);

/* The node that begins a value of the schema. */
uint32_t	dsv_schema_value(dsv_schema *s, const dsv_place *place, const json_t *schema,
							 uint32_t next);

/* What a JSON pointer ("" or "/...", percent-encoded as in a URI) means in the document, or NULL. */
const json_t *dsv_schema_resolve(const json_t *root, const char *pointer);

#endif
