/*
 * schema.h
 *		A JSON schema while it becomes a grammar.
 *
 * The parts (schema_*.c) are each given a schema, where it stands and the node that follows its
 * value, and give the node that begins the value; after a failure, which the builder keeps, any.
 */
#ifndef DSV_SCHEMA_H
#define DSV_SCHEMA_H

#include "json.h"

#include "grammar_private.h"

/* schemas inside schemas, through $ref as well; levels of a value in "enum" */
#define DSV_SCHEMA_MAX_DEPTH 200
#define DSV_SCHEMA_MAX_REFS 1000
#define DSV_SCHEMA_MAX_PROPERTIES 1000

typedef enum dsv_schema_type
{
	DSV_TYPE_NULL = 1 << 0,
	DSV_TYPE_BOOLEAN = 1 << 1,
	DSV_TYPE_INTEGER = 1 << 2,
	DSV_TYPE_NUMBER = 1 << 3,
	DSV_TYPE_STRING = 1 << 4,
	DSV_TYPE_ARRAY = 1 << 5,
	DSV_TYPE_OBJECT = 1 << 6,
	DSV_TYPE_ANY = (1 << 7) - 1,
} dsv_schema_type;

/* Where a schema stands: the way from the document, or from the last $ref's target. */
typedef struct dsv_place
{
	const struct dsv_place *up;
	const char *key;			/* NULL: the index counts */
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

/* ---- schema.c ---- */

/* All fail unless something failed before.  Texts are in the style of a message; what the schema's
 * author wrote comes last, as messages are cut at their end. */
void		dsv_schema_fail(dsv_schema *s, const dsv_place *place, dsv_code code, const char *fmt,...)
			__attribute__((format(printf, 4, 5)));
/* keyword "..." of the JSON schema <what> */
void		dsv_schema_fail_keyword(dsv_schema *s, const dsv_place *place, dsv_code code,
									const char *keyword, const char *what);
void		dsv_schema_fail_nomem(dsv_schema *s, size_t bytes);

/* The value of any schema. */
uint32_t	dsv_schema_value(dsv_schema *s, const dsv_place *place, const json_t *schema,
							 uint32_t next);

/* A whole number from 0 on; an absent keyword leaves *out.  False: failed. */
bool		dsv_schema_count(dsv_schema *s, const dsv_place *place, const json_t *schema,
							 const char *keyword, uint32_t *out);

/* ---- the parts ---- */

/* Values of "enum" or "const" that have one of the types. */
uint32_t	dsv_schema_enum(dsv_schema *s, const dsv_place *place, const json_t *schema, int types,
							uint32_t next);
uint32_t	dsv_schema_object(dsv_schema *s, const dsv_place *place, const json_t *schema,
							  uint32_t next);
uint32_t	dsv_schema_array(dsv_schema *s, const dsv_place *place, const json_t *schema,
							 uint32_t next);
uint32_t	dsv_schema_string(dsv_schema *s, const dsv_place *place, const json_t *schema,
							  uint32_t next);
uint32_t	dsv_schema_number(dsv_schema *s, const dsv_place *place, const json_t *schema,
							  bool integer, uint32_t next);

/* What a JSON pointer ("" or "/...", percent-encoded as in a URI) means in the document, or NULL. */
const json_t *dsv_schema_resolve(const json_t *root, const char *pointer);

#endif
