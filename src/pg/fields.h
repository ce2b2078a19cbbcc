/*
 * fields.h
 *		What an extraction asks for: fields in order, each with the schema of its value.
 *
 * They come from the argument "fields" of SQL (a list of labels, a map of questions, a JSON
 * Schema) or one by one (type_schema.h), and become the JSON Schema that the answer obeys
 * and the words of the prompt.
 */
#ifndef DSVL2_FIELDS_H
#define DSVL2_FIELDS_H

#include "compat.h"

#include "infer.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct FieldPlan
{
	char	   *names;			/* "merchant, date, total", UTF-8 */
	char	   *schema;			/* JSON Schema of the whole answer, UTF-8 */
} FieldPlan;

/* From the argument "fields", in any of its forms.  What is none of them raises 22023; a JSON
 * Schema is read by the engine, when the call is made. */
void		PlanFields(Jsonb *fields, FieldPlan *plan);

/* Sets the call's task, schema and prompt: names or schema, as the call's model was trained. */
void		SetExtraction(InferCall *call, const FieldPlan *plan);

/* A complete answer (no row error was found), in UTF-8, as jsonb */
Jsonb	   *AnswerJsonb(const char *utf8, Size len);

/* ---- a plan field by field: begin, add each, end ---- */

typedef struct FieldList
{
	List	   *names;			/* in the server's encoding */
	StringInfoData properties;
} FieldList;

void		FieldsBegin(FieldList *list);

/* schema: JSON Schema of the value, in the server's encoding.  A name that is there already raises
 * 22023. */
void		FieldsAdd(FieldList *list, char *name, const char *schema);

/* The schema of an object with exactly these fields, in the server's encoding; description may be
 * NULL. */
char	   *FieldsSchema(const FieldList *list, bool nullable, const char *description);

/* The schema of a value of which no type is known: a string, a number or null; description may be
 * NULL. */
char	   *OpenSchema(const char *description);

/* ,"description":"..." behind the keywords that are there; nothing for NULL */
void		AppendDescription(StringInfo schema, const char *description);
void		FieldsEnd(const FieldList *list, FieldPlan *plan);

/* A label, name [: type] [ - description], taken apart */
typedef struct FieldLabel
{
	char	   *name;
	char	   *description;	/* or NULL */
	char	   *schema;			/* of the type with the description; NULL when it has no type */
} FieldLabel;

/* What is no label raises 22023. */
void		ParseLabel(const char *label, FieldLabel *out);

#endif
