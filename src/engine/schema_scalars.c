/*
 * schema_scalars.c
 *		Strings and numbers.
 */
#include <string.h>

#include "grammar_pattern.h"
#include "schema.h"

/* ---- strings ---- */

static uint32_t
make_pattern(dsv_schema *s, const dsv_place *place, const json_t *pattern, uint32_t min,
			 uint32_t max, uint32_t next)
{
	dsv_pattern p = {.mem = s->b.mem};
	uint32_t	node = DSV_NODE_NONE;

	if (!json_is_string(pattern))
	{
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "pattern", "must be a string");
		return DSV_NODE_NONE;
	}
	if (dsv_pattern_parse(&p, json_string_value(pattern), json_string_length(pattern)) == DSV_OK)
		node = dsv_node_pattern(&s->b, &p, min, max, next);
	if (p.code == DSV_NOMEM)
		dsv_schema_fail_nomem(s, p.nsteps * sizeof(*p.steps));
	else if (p.code != DSV_OK)
	{
		dsv_schema_fail_keyword(s, place, p.code, "pattern", p.why);
		if (p.code == DSV_LIMIT)
			dsv_hint(s->b.err, "A pattern that begins with ^ and ends with $ needs fewer states.");
	}
	dsv_pattern_free(&p);
	return dsv_node_quote(&s->b, node);
}

static uint32_t
make_format(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *format = json_object_get(schema, "format");
	const char *name = json_is_string(format) ? json_string_value(format) : "";

	if (!json_is_string(format))
		dsv_schema_fail_keyword(s, place, DSV_INPUT, "format", "must be a string");
	for (int i = 0; i < 3; i++)
	{
		static const char *const others[] = {"pattern", "minLength", "maxLength"};

		if (json_object_get(schema, others[i]) != NULL)
			dsv_schema_fail_keyword(s, place, DSV_UNSUPPORTED, others[i],
									"is not supported beside \"format\"");
	}
	next = dsv_node_quote(&s->b, next);
	if (strcmp(name, "date") == 0)
		return dsv_node_quote(&s->b, dsv_node_date(&s->b, next));
	if (strcmp(name, "time") == 0)
		return dsv_node_quote(&s->b, dsv_node_time(&s->b, next));
	if (strcmp(name, "date-time") == 0)
		return dsv_node_quote(&s->b, dsv_node_date_time(&s->b, next));
	dsv_schema_fail(s, place, DSV_UNSUPPORTED,
					"\"format\" of the JSON schema has an unsupported value: \"%s\"", name);
	return DSV_NODE_NONE;
}

uint32_t
dsv_schema_string(dsv_schema *s, const dsv_place *place, const json_t *schema, uint32_t next)
{
	const json_t *pattern = json_object_get(schema, "pattern");
	uint32_t	min = 0;
	uint32_t	max = DSV_COUNT_UNLIMITED;

	if (json_object_get(schema, "format") != NULL)
		return make_format(s, place, schema, next);
	if (!dsv_schema_count(s, place, schema, "minLength", &min) ||
		!dsv_schema_count(s, place, schema, "maxLength", &max))
		return DSV_NODE_NONE;
	if (min > max)
		dsv_schema_fail_keyword(s, place, DSV_SCHEMA, "minLength", "is greater than \"maxLength\"");
	if (pattern != NULL)
		return make_pattern(s, place, pattern, min, max, next);
	return dsv_node_string(&s->b, min, max, next);
}

/* ---- numbers ---- */

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
		dsv_schema_fail_keyword(s, place, DSV_INPUT, key, "must be a number");
	if (!fits)
		dsv_schema_fail_keyword(s, place, DSV_LIMIT, key, "has more than 15 digits behind the point");
	return s->b.code == DSV_OK;
}

/* "multipleOf" must be a power of ten.  False: absent, or failed. */
static bool
get_multiple(dsv_schema *s, const dsv_place *place, const json_t *schema, int *exponent)
{
	dsv_wide	value;
	int			unused;

	if (!get_number(s, place, schema, "multipleOf", &value, &unused))
		return false;
	for (int e = -DSV_NUMBER_DIGITS; e < DSV_NUMBER_DIGITS; e++)
		if (value == dsv_wide_ten_to(e + DSV_NUMBER_DIGITS))
		{
			*exponent = e;
			return true;
		}
	dsv_schema_fail_keyword(s, place, value <= 0 ? DSV_INPUT : DSV_UNSUPPORTED, "multipleOf",
							value <= 0 ? "must be positive" : "must be a power of ten, 1e-15 to 1e14");
	return false;
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

/* "minimum" and "exclusiveMinimum", or the same of "maximum", given[] as they were read. */
static void
narrow(dsv_number_bounds *bounds, const dsv_wide *given, const bool *has, bool lower, dsv_wide unit)
{
	for (int exclusive = 0; exclusive < 2; exclusive++)
	{
		dsv_wide	x = has[exclusive] ? round_bound(given[exclusive], unit, lower) : 0;

		if (!has[exclusive])
			continue;
		if (exclusive && x == given[exclusive])
			x += lower ? unit : -unit;
		if (lower && x > bounds->lo)
			bounds->lo = x;
		if (!lower && x < bounds->hi)
			bounds->hi = x;
	}
}

uint32_t
dsv_schema_number(dsv_schema *s, const dsv_place *place, const json_t *schema, bool integer,
				  uint32_t next)
{
	static const char *const keywords[] = {"minimum", "exclusiveMinimum", "maximum",
	"exclusiveMaximum"};
	dsv_number_bounds bounds = {.exponent = integer ? 0 : -DSV_NUMBER_FRACTION};
	dsv_wide	given[4];
	bool		has[4];
	dsv_wide	unit;
	int			multiple = bounds.exponent;

	for (int i = 0; i < 4; i++)
	{
		int			exponent = 0;

		has[i] = get_number(s, place, schema, keywords[i], &given[i], &exponent);
		if (has[i] && !integer && exponent < bounds.exponent)
			bounds.exponent = exponent;
	}
	if (get_multiple(s, place, schema, &multiple) && (!integer || multiple > 0))
		bounds.exponent = multiple;
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;

	unit = dsv_wide_ten_to(DSV_NUMBER_DIGITS + bounds.exponent);
	bounds.hi = dsv_wide_ten_to(2 * DSV_NUMBER_DIGITS) - unit;
	bounds.lo = -bounds.hi;
	if ((has[0] && given[0] > bounds.hi) || (has[1] && given[1] > bounds.hi) ||
		(has[2] && given[2] < bounds.lo) || (has[3] && given[3] < bounds.lo))
		dsv_schema_fail(s, place, DSV_LIMIT, "numbers of the JSON schema need more than 15 digits");
	narrow(&bounds, given, has, true, unit);
	narrow(&bounds, given + 2, has + 2, false, unit);
	if (bounds.lo > bounds.hi)
		dsv_schema_fail(s, place, DSV_SCHEMA, "no number is within the bounds of the JSON schema");
	if (s->b.code != DSV_OK)
		return DSV_NODE_NONE;
	return dsv_node_number(&s->b, &bounds, next);
}
