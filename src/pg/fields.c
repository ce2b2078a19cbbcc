/*
 * fields.c
 *		The argument "fields" in its three forms, and what the model is told.
 *
 * A label is  name [: type] [ - description].  What it leaves open is open in the schema as
 * well: a field without a type is a string, a number or null.
 */
#include "fields.h"

#include "backend_engine.h"
#include "json_value.h"
#include "near_miss.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/json.h"

#define LABEL_HINT "A field is written as \"name\", \"name: type\" or \"name: type - description\"."

/* ---- a plan field by field ---- */

void
FieldsBegin(FieldList *list)
{
	list->names = NIL;
	initStringInfo(&list->properties);
}

void
FieldsAdd(FieldList *list, char *name, const char *schema)
{
	ListCell   *lc;

	CHECK_FOR_INTERRUPTS();
	foreach(lc, list->names)
		if (strcmp(lfirst(lc), name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the field \"%s\" is there twice", name)));
	if (list->names != NIL)
		appendStringInfoChar(&list->properties, ',');
	list->names = lappend(list->names, name);
	escape_json(&list->properties, name);
	appendStringInfo(&list->properties, ":%s", schema);
}

void
AppendDescription(StringInfo schema, const char *description)
{
	if (description == NULL)
		return;
	appendStringInfoString(schema, ",\"description\":");
	escape_json(schema, description);
}

char *
FieldsSchema(const FieldList *list, bool nullable, const char *description)
{
	StringInfoData s;
	ListCell   *lc;

	initStringInfo(&s);
	appendStringInfo(&s, "{\"type\":%s", nullable ? "[\"object\",\"null\"]" : "\"object\"");
	AppendDescription(&s, description);
	appendStringInfo(&s, ",\"properties\":{%s},\"required\":[", list->properties.data);
	foreach(lc, list->names)
	{
		if (lc != list_head(list->names))
			appendStringInfoChar(&s, ',');
		escape_json(&s, lfirst(lc));
	}
	appendStringInfoString(&s, "],\"additionalProperties\":false}");
	return s.data;
}

/* "merchant, date, total", in UTF-8 */
static char *
join_names(List *names)
{
	StringInfoData s;
	ListCell   *lc;

	initStringInfo(&s);
	foreach(lc, names)
		appendStringInfo(&s, "%s%s", lc != list_head(names) ? ", " : "", (char *) lfirst(lc));
	return ToUtf8(s.data, s.len);
}

void
FieldsEnd(const FieldList *list, FieldPlan *plan)
{
	char	   *schema = FieldsSchema(list, false, NULL);

	plan->names = join_names(list->names);
	plan->schema = ToUtf8(schema, strlen(schema));
}

/* ---- labels ---- */

static char *
trimmed(const char *from, const char *to)
{
	while (from < to && scanner_isspace(*from))
		from++;
	while (from < to && scanner_isspace(to[-1]))
		to--;
	return pnstrdup(from, to - from);
}

static const struct
{
	const char *word;
	const char *type;			/* of JSON Schema */
	const char *format;			/* of the same, or NULL */
}			label_types[] = {
	{"string", "string"},
	{"text", "string"},
	{"number", "number"},
	{"numeric", "number"},
	{"integer", "integer"},
	{"int", "integer"},
	{"boolean", "boolean"},
	{"bool", "boolean"},
	{"date", "string", "date"},
	{"time", "string", "time"},
	{"timestamp", "string", "date-time"},
};

static void
bad_type(const char *type, const char *label)
{
	NearMiss	near;
	char	   *hint;

	NearMissStart(&near, type);
	for (int i = 0; i < lengthof(label_types); i++)
		NearMissTry(&near, label_types[i].word);
	hint = NearMissHint(&near);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown type \"%s\" in the field \"%s\"", type, label),
			 errhint("%s", hint != NULL ? hint :
					 "The types are string, number, integer, boolean, date, time and timestamp; a|b|c is one "
					 "of these words, and [] behind a type makes an array.")));
}

/* "a|b|c", with or without parentheses around it */
static void
append_choice(StringInfo s, const char *type, bool nullable, const char *label)
{
	const char *from = type;
	const char *end = type + strlen(type);

	if (*from == '(' && end[-1] == ')')
	{
		from++;
		end--;
	}
	appendStringInfoString(s, "{\"enum\":[");
	while (from <= end)
	{
		const char *bar = memchr(from, '|', end - from);
		const char *to = bar != NULL ? bar : end;
		char	   *word = trimmed(from, to);

		if (*word == '\0' || strpbrk(word, "()[]") != NULL)
			bad_type(type, label);
		escape_json(s, word);
		if (bar != NULL)
			appendStringInfoChar(s, ',');
		from = to + 1;
	}
	appendStringInfoString(s, nullable ? ",null]" : "]");
}

/* The schema of one value, without the last brace */
static void
append_value_type(StringInfo s, const char *type, bool nullable, const char *label)
{
	if (strchr(type, '|') != NULL)
	{
		append_choice(s, type, nullable, label);
		return;
	}
	for (int i = 0; i < lengthof(label_types); i++)
		if (pg_strcasecmp(type, label_types[i].word) == 0)
		{
			appendStringInfo(s, nullable ? "{\"type\":[\"%s\",\"null\"]" : "{\"type\":\"%s\"",
							 label_types[i].type);
			if (label_types[i].format != NULL)
				appendStringInfo(s, ",\"format\":\"%s\"", label_types[i].format);
			return;
		}
	bad_type(type, label);
}

/* The same of a label's whole type.  A field may be null, an element of an array may not. */
static void
append_label_type(StringInfo s, const char *type, const char *label)
{
	Size		len = strlen(type);

	if (len < 2 || strcmp(type + len - 2, "[]") != 0)
	{
		append_value_type(s, type, true, label);
		return;
	}
	appendStringInfoString(s, "{\"type\":[\"array\",\"null\"],\"items\":");
	append_value_type(s, trimmed(type, type + len - 2), false, label);
	appendStringInfoChar(s, '}');
}

char *
OpenSchema(const char *description)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoString(&s, "{\"type\":[\"string\",\"number\",\"null\"]");
	AppendDescription(&s, description);
	appendStringInfoChar(&s, '}');
	return s.data;
}

void
ParseLabel(const char *label, FieldLabel *out)
{
	const char *end = label + strlen(label);
	const char *dash = strstr(label, " - ");
	const char *before = dash != NULL ? dash : end;
	const char *colon = memchr(label, ':', before - label);
	StringInfoData schema;

	out->name = trimmed(label, colon != NULL ? colon : before);
	out->description = dash != NULL ? trimmed(dash + 3, end) : NULL;
	out->schema = NULL;
	if (*out->name == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the field \"%s\" has no name", label),
				 errhint(LABEL_HINT)));
	if (colon == NULL)
		return;
	initStringInfo(&schema);
	append_label_type(&schema, trimmed(colon + 1, before), label);
	AppendDescription(&schema, out->description);
	appendStringInfoChar(&schema, '}');
	out->schema = schema.data;
}

static void
add_label(FieldList *list, const char *label)
{
	FieldLabel	parsed;

	ParseLabel(label, &parsed);
	FieldsAdd(list, parsed.name, parsed.schema != NULL ? parsed.schema : OpenSchema(parsed.description));
}

/* ---- the three forms ---- */

static void
plan_labels(Jsonb *fields, FieldList *list)
{
	JsonbIterator *it = JsonbIteratorInit(&fields->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (v.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("fields in a list must be strings"),
					 errhint(LABEL_HINT)));
		add_label(list, StringOfValue(&v));
	}
}

static void
plan_questions(Jsonb *fields, FieldList *list)
{
	JsonbIterator *it = JsonbIteratorInit(&fields->root);
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = StringOfValue(&v);
		JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvString || *name == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 v.type != jbvString ?
					 errmsg("the value of the field \"%s\" must be a string, its question", name) :
					 errmsg("a field has no name"),
					 errhint("A JSON Schema says \"type\": \"object\" or has \"properties\".")));
		FieldsAdd(list, name, OpenSchema(StringOfValue(&v)));
	}
}

/* A map of questions may well ask for a "type" or an "enum": what tells is the value. */
static bool
is_schema(Jsonb *fields)
{
	static const char *const types[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
	JsonbValue *type = FindMember(&fields->root, "type");

	if (type != NULL && type->type == jbvString)
		for (int i = 0; i < lengthof(types); i++)
			if (strcmp(StringOfValue(type), types[i]) == 0)
				return true;
	return IsArrayValue(type) ||
		FindMember(&fields->root, "$schema") != NULL || FindMember(&fields->root, "$ref") != NULL ||
		IsObjectValue(FindMember(&fields->root, "properties")) ||
		IsArrayValue(FindMember(&fields->root, "anyOf")) ||
		IsArrayValue(FindMember(&fields->root, "enum"));
}

/* Names of the schema's own properties as the answer has them: first the required ones */
static List *
property_names(Jsonb *fields)
{
	JsonbValue *properties = FindMember(&fields->root, "properties");
	JsonbValue *required = FindMember(&fields->root, "required");
	bool		has_required = IsArrayValue(required);
	List	   *names = NIL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	if (!IsObjectValue(properties))
		return NIL;
	if (has_required)
	{
		it = JsonbIteratorInit(required->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
			if (token == WJB_ELEM && v.type == jbvString)
				names = lappend(names, StringOfValue(&v));
	}
	it = JsonbIteratorInit(properties->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_KEY &&
			!(has_required && findJsonbValueFromContainer(required->val.binary.data, JB_FARRAY, &v) != NULL))
			names = lappend(names, StringOfValue(&v));
	}
	return names;
}

static void
plan_schema(Jsonb *fields, FieldPlan *plan)
{
	char	   *schema = JsonbToCString(NULL, &fields->root, VARSIZE(fields));
	List	   *names = property_names(fields);

	plan->schema = ToUtf8(schema, strlen(schema));
	/* a schema whose properties are elsewhere ($ref, anyOf) is shown as it is */
	plan->names = names != NIL ? join_names(names) : plan->schema;
}

void
PlanFields(Jsonb *fields, FieldPlan *plan)
{
	FieldList	list;

	if (JB_ROOT_IS_SCALAR(fields))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fields must be a JSON array or a JSON object"),
				 errhint("Give a list of fields, a map from fields to questions, or a JSON Schema.")));
	if (JB_ROOT_COUNT(fields) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fields must not be empty")));
	if (JB_ROOT_IS_OBJECT(fields) && is_schema(fields))
	{
		plan_schema(fields, plan);
		return;
	}
	FieldsBegin(&list);
	if (JB_ROOT_IS_ARRAY(fields))
		plan_labels(fields, &list);
	else
		plan_questions(fields, &list);
	FieldsEnd(&list, plan);
}

/* ---- the call and its answer ---- */

void
SetExtraction(InferCall *call, const FieldPlan *plan)
{
	dsv_model  *model = GetBackendModel(OpenBackendModel(call->model));

	if (call->options.nstop > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the option \"stop\" cannot be used in an extraction"),
				 errdetail("An answer that stops early would not be what its schema says.")));
	call->task = DSV_TASK_EXTRACT;
	call->schema = plan->schema;
	call->no_logprobs = !call->options.scores;
	call->prompt = dsv_model_get_info(model)->answers.extract_by_schema ? plan->schema : plan->names;
}

Jsonb *
AnswerJsonb(const char *utf8, Size len)
{
	char	   *json = text_to_cstring(AnswerText(utf8, len));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}
