/*
 * type_schema.h
 *		PostgreSQL types as JSON Schemas, and values of such answers as datums.
 *
 * A TypePlan is a type taken apart once: what its schema says and how its values are made.
 * It lives in the memory context that is current when it is made.
 */
#ifndef DSVL2_TYPE_SCHEMA_H
#define DSVL2_TYPE_SCHEMA_H

#include "compat.h"

#include "access/tupdesc.h"
#include "error_report.h"
#include "fields.h"
#include "utils/jsonb.h"

typedef struct TypePlan TypePlan;

/* path: the column, for messages, or NULL.  A type that cannot be extracted, there or deep
 * inside, raises 0A000. */
TypePlan   *PlanType(Oid type, int32 typmod, const char *path);

/* A type of any kind, for values whose schema may come from elsewhere.  Where no schema of the type is known,
 * values are strings or numbers; json and jsonb take everything.  TypeDatum may then raise what an input
 * function raises. */
TypePlan   *PlanAnyType(Oid type, int32 typmod, const char *path);

/* A row without a named type, as a column definition list gives it */
TypePlan   *PlanRow(TupleDesc desc);

/* A row type, or a domain over one */
bool		PlanIsRow(const TypePlan *plan);

/* JSON Schema of the type's values, in the server's encoding; description may be NULL. */
char	   *TypeSchema(const TypePlan *plan, bool nullable, const char *description);

/* The columns of a row as the fields of an extraction.  Dropped, generated and identity columns
 * are none of them. */
void		RowFields(const TypePlan *row, FieldPlan *plan);

/*
 * A datum from a value of an answer; a row's missing keys are NULL.  False when the type refuses
 * the value (a domain's constraint, an answer of another shape): *error says so as VL005.  What
 * the expression of a CHECK itself raises is raised.
 */
bool		TypeDatum(const TypePlan *plan, JsonbValue *value, Datum *datum, bool *isnull, VlError *error);

#endif
