/*
 * options.c
 *		One table of rules for the keys of the options jsonb.
 */
#include "options.h"

#include <math.h>

#include "guc.h"
#include "json_value.h"
#include "mb/pg_wchar.h"
#include "near_miss.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

typedef enum OptionKind
{
	OPTION_INT,
	OPTION_REAL,
	OPTION_BOOL,
	OPTION_TEXT,
	OPTION_STOP,
	OPTION_ON_ERROR,
	OPTION_SEED,
} OptionKind;

/* An option that could not change anything is refused. */
typedef enum OptionUse
{
	ALWAYS,
	WRITTEN,					/* by tasks whose answer the model writes */
	SCORED,						/* by tasks whose answer is one of several given ones */
} OptionUse;

typedef struct OptionRule
{
	const char *name;
	OptionKind	kind;
	double		min;
	double		max;
	size_t		offset;
	OptionUse	use;
} OptionRule;

#define FIELD(f) offsetof(CallOptions, f)

static const OptionRule rules[] = {
	{"max_tokens", OPTION_INT, 1, 1048576, FIELD(max_tokens), WRITTEN},
	{"temperature", OPTION_REAL, 0, 10, FIELD(sampling.temperature), WRITTEN},
	{"top_p", OPTION_REAL, 0, 1, FIELD(sampling.top_p), WRITTEN},
	{"seed", OPTION_SEED, 0, 9007199254740992.0, FIELD(sampling.seed), WRITTEN},
	{"repetition_penalty", OPTION_REAL, 0.1, 10, FIELD(sampling.repetition_penalty), WRITTEN},
	{"no_repeat_ngram", OPTION_INT, 0, 1024, FIELD(sampling.no_repeat_ngram), WRITTEN},
	{"stop", OPTION_STOP, 0, 0, 0, WRITTEN},
	{"abstain", OPTION_REAL, 0, 1, FIELD(abstain), SCORED},
	{"on_error", OPTION_ON_ERROR, 0, 0, FIELD(on_error)},
	{"exif", OPTION_BOOL, 0, 0, FIELD(image.ignore_exif)},
	{"reference_decode", OPTION_BOOL, 0, 0, FIELD(image.reference_decode)},
	{"tiles", OPTION_INT, 1, 1024, FIELD(image.max_tiles)},
	{"page", OPTION_INT, 1, 10000, FIELD(image.page)},
	{"system", OPTION_TEXT, 0, 0, FIELD(system)},
	{"scores", OPTION_BOOL, 0, 0, FIELD(scores)},
	{"timeout_ms", OPTION_INT, 0, 2147483647, FIELD(timeout_ms)},
	{"in_flight", OPTION_INT, 1, 64, FIELD(in_flight)},
};

/* Whether the task chooses between given answers by their scores; the model writes none. */
static bool
is_scored(dsv_task task)
{
	return task == DSV_TASK_IS || task == DSV_TASK_CLASSIFY;
}

char *
ToUtf8(const char *s, int len)
{
	char	   *copy = pnstrdup(s, len);

	return pg_server_to_any(copy, len, PG_UTF8);
}

static void
bad_value(const OptionRule *rule, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", rule->name, wanted)));
}

static const OptionRule *
find_rule(const char *name)
{
	NearMiss	near;

	for (int i = 0; i < lengthof(rules); i++)
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	NearMissStart(&near, name);
	for (int i = 0; i < lengthof(rules); i++)
		NearMissTry(&near, rules[i].name);
	{
		char	   *hint = NearMissHint(&near);

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\"", name),
				 hint != NULL ? errhint("%s", hint) : 0));
	}
	return NULL;
}

static double
number(const OptionRule *rule, const JsonbValue *v)
{
	double		x;

	if (v->type != jbvNumeric)
		bad_value(rule, "a number");
	x = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(v->val.numeric)));
	if (!(x >= rule->min && x <= rule->max))
		bad_value(rule, psprintf("between %g and %.0f", rule->min, rule->max));
	if (rule->kind != OPTION_REAL && x != floor(x))
		bad_value(rule, "a whole number");
	return x;
}

static void
add_stop(const OptionRule *rule, CallOptions *out, const JsonbValue *v)
{
	char	   *s;

	if (v->type != jbvString || v->val.string.len == 0)
		bad_value(rule, "a string or an array of strings, none of them empty");
	if (out->nstop == MAX_STOP_STRINGS)
		bad_value(rule, psprintf("at most %d strings", MAX_STOP_STRINGS));
	s = ToUtf8(v->val.string.val, v->val.string.len);
	out->stop[out->nstop++] = (dsv_bytes) {s, strlen(s)};
}

static void
read_stop(const OptionRule *rule, CallOptions *out, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	e;

	if (v->type != jbvBinary)
	{
		add_stop(rule, out, v);
		return;
	}
	it = JsonbIteratorInit(v->val.binary.data);
	if (JsonbIteratorNext(&it, &e, true) != WJB_BEGIN_ARRAY)
		bad_value(rule, "a string or an array of strings");
	while ((token = JsonbIteratorNext(&it, &e, true)) == WJB_ELEM)
		add_stop(rule, out, &e);
}

static void
apply(const OptionRule *rule, JsonbValue *v, CallOptions *out)
{
	char	   *field = (char *) out + rule->offset;

	/* a JSON null is an option not given, but for on_error it would be taken for "null" */
	if (v->type == jbvNull && rule->kind != OPTION_ON_ERROR)
		return;
	switch (rule->kind)
	{
		case OPTION_INT:
			*(int *) field = (int) number(rule, v);
			break;
		case OPTION_REAL:
			*(float *) field = (float) number(rule, v);
			break;
		case OPTION_SEED:
			*(uint64_t *) field = (uint64_t) number(rule, v);
			break;
		case OPTION_BOOL:
			if (v->type != jbvBool)
				bad_value(rule, "true or false");
			*(bool *) field = v->val.boolean;
			/* the engine's field is the opposite of the option */
			if (rule->offset == FIELD(image.ignore_exif))
				*(bool *) field = !v->val.boolean;
			break;
		case OPTION_TEXT:
			if (v->type != jbvString)
				bad_value(rule, "a string");
			*(char **) field = ToUtf8(v->val.string.val, v->val.string.len);
			break;
		case OPTION_STOP:
			read_stop(rule, out, v);
			break;
		case OPTION_ON_ERROR:
			if (v->type != jbvString ||
				!ParseOnError(StringOfValue(v), (int *) field))
				bad_value(rule, "\"error\", \"null\" or \"warning\"");
			break;
	}
}

static void
check_use(const OptionRule *rule, dsv_task task)
{
	bool		scored = is_scored(task);

	if (rule->use == ALWAYS || rule->use == (scored ? SCORED : WRITTEN))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" does not apply to the task \"%s\"", rule->name, dsv_task_name(task)),
			 scored ? errdetail("The task scores the answers that are possible and writes none.") :
			 errdetail("The model writes the answer of this task; none is chosen from given ones.")));
}

void
ReadOptions(Jsonb *options, dsv_task task, CallOptions *out)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	memset(out, 0, sizeof(*out));
	out->max_tokens = SettingMaxTokens;
	out->on_error = SettingOnError;
	out->image.ignore_exif = !SettingExifOrientation;
	out->image.max_bytes = SettingMaxImageBytes;
	out->image.max_pixels = SettingMaxImagePixels;
	if (options == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			const OptionRule *rule = find_rule(StringOfValue(&v));

			JsonbIteratorNext(&it, &v, true);
			if (v.type != jbvNull)
				check_use(rule, task);
			apply(rule, &v, out);
		}
}

void
AppendOptionsKey(StringInfo key, const CallOptions *options)
{
	appendStringInfo(key, "%d %.9g %.9g " UINT64_FORMAT " %.9g %d %d %d %d %zu " INT64_FORMAT " %d ",
					 options->max_tokens, options->sampling.temperature, options->sampling.top_p,
					 (uint64) options->sampling.seed, options->sampling.repetition_penalty,
					 options->sampling.no_repeat_ngram, options->image.ignore_exif,
					 options->image.reference_decode, options->image.max_tiles,
					 options->image.max_bytes, (int64) options->image.max_pixels, options->image.page);
	appendStringInfo(key, "%zu:%s ", options->system != NULL ? strlen(options->system) : 0,
					 options->system != NULL ? options->system : "");
	for (int i = 0; i < options->nstop; i++)
	{
		appendStringInfo(key, "%zu:", options->stop[i].len);
		appendBinaryStringInfo(key, options->stop[i].data, options->stop[i].len);
	}
}
