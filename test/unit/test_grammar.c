/*
 * test_grammar.c
 *		What grammars mean: every keyword, texts that are taken and the byte at which others are
 *		not, patterns against another matcher, what is refused and how, hostile schemas.
 */
#include "random_schema.h"

#include <time.h>

/* ---- texts ---- */

/* at: -1 for a whole text, else the offset of the first byte that is refused (the length of the
 * text where it is merely not complete) */
static void
check_text(const char *schema, const char *text, int at)
{
	dsv_grammar *g = compile(schema);
	dsv_automaton *a = automaton(g, MEMORY);
	bool		complete;
	size_t		taken = walk(a, text, strlen(text), &complete);

	if (at < 0 ? !complete : complete || taken != (size_t) at)
		fail_msg("%s: %s: %zu bytes taken%s instead of %d", schema, text, taken,
				 complete ? " (complete)" : "", at);
	dsv_automaton_destroy(a);
	dsv_grammar_free(g);
}

typedef struct text_case
{
	const char *schema;
	const char *text;
	int			at;
} text_case;

static void
check_texts(const text_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_text(cases[i].schema, cases[i].text, cases[i].at);
}

#define CHECK_TEXTS(cases) check_texts(cases, sizeof(cases) / sizeof((cases)[0]))

static void
test_scalars(void **state)
{
	static const text_case cases[] = {
		{"{\"type\":\"null\"}", "null", -1},
		{"{\"type\":\"null\"}", "nul", 3},
		{"{\"type\":\"null\"}", "nulls", 4},
		{"{\"type\":\"boolean\"}", "true", -1},
		{"{\"type\":\"boolean\"}", "false", -1},
		{"{\"type\":\"boolean\"}", "falsy", 4},
		{"{\"type\":\"boolean\"}", " true", 0},
		{"{\"type\":[\"boolean\",\"null\"]}", "null", -1},
		{"{\"type\":[\"boolean\",\"null\"]}", "3", 0},
		{"{\"type\":[\"string\",\"null\"],\"maxLength\":1}", "\"ab", 2},
		{"{\"type\":\"string\"}", "\"\"", -1},
		{"{\"type\":\"string\"}", "\"a", 2},
		{"{\"type\":\"string\"}", "\"a\nb", 2},
		{"{\"type\":\"string\"}", "\"a\\nb\\\"\\\\\\t\\b\\f\\r\\u0001\\u001f/\x7f\"", -1},
		{"{\"type\":\"string\"}", "\"\\u0000", 6},
		{"{\"type\":\"string\"}", "\"\\u000a", 6},
		{"{\"type\":\"string\"}", "\"\\u001F", 6},
		{"{\"type\":\"string\"}", "\"\\u0041", 5},
		{"{\"type\":\"string\"}", "\"\\/", 2},
		{"{\"type\":\"string\"}", "\"gr\xc3\xb6\xc3\x9f""er \xe6\x97\xa5 \xf0\x9f\x98\x80\"", -1},
		{"{\"type\":\"string\"}", "\"\xc1\xbf", 1},
		{"{\"type\":\"string\"}", "\"\xe0\x9f", 2},
		{"{\"type\":\"string\"}", "\"\xed\xa0", 2},
		{"{\"type\":\"string\"}", "\"\xf0\x8f", 2},
		{"{\"type\":\"string\"}", "\"\xf4\x90", 2},
		{"{\"type\":\"string\"}", "\"\xf5", 1},
		{"{\"type\":\"string\"}", "\"\x80", 1},
		{"{\"type\":\"string\"}", "\"\xc3\"", 2},
		{"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"\xc3\xb6\xe6\x97\xa5\"", -1},
		{"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"\xc3\xb6\"", 3},
		{"{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"a\\nbc", 5},
		{"{\"type\":\"string\",\"minLength\":2}", "\"abcdef\"", -1},
		{"{\"type\":\"string\",\"minLength\":2}", "\"a\"", 2},
		{"{\"type\":\"string\",\"maxLength\":0}", "\"\"", -1},
		{"{\"type\":\"string\",\"maxLength\":0}", "\"a", 1},
	};

	(void) state;
	CHECK_TEXTS(cases);
}

static void
test_numbers(void **state)
{
	static const text_case cases[] = {
		{"{\"type\":\"integer\"}", "0", -1},
		{"{\"type\":\"integer\"}", "-12", -1},
		{"{\"type\":\"integer\"}", "-0", 1},
		{"{\"type\":\"integer\"}", "01", 1},
		{"{\"type\":\"integer\"}", "1.0", 1},
		{"{\"type\":\"integer\"}", "999999999999999", -1},
		{"{\"type\":\"integer\"}", "1000000000000000", 15},
		{"{\"type\":\"number\"}", "12.50", -1},
		{"{\"type\":\"number\"}", "0.000001", -1},
		{"{\"type\":\"number\"}", "-0.0", 4},
		{"{\"type\":\"number\"}", "-0.000001", -1},
		{"{\"type\":\"number\"}", "1.", 2},
		{"{\"type\":\"number\"}", ".5", 0},
		{"{\"type\":\"number\"}", "1e5", 1},
		{"{\"type\":\"number\"}", "+1", 0},
		{"{\"type\":\"number\"}", "1.1234567", 8},
		{"{\"type\":\"number\"}", "999999999999999.999999", -1},
		{"{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":100}", "0.5", -1},
		{"{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":100}", "0.4", 2},
		{"{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":100}", "0", 1},
		{"{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":100}", "99.999999", -1},
		{"{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":100}", "100", 2},
		{"{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":100}", "-", 0},
		{"{\"type\":\"number\",\"minimum\":-2.25,\"maximum\":-1}", "-2.25", -1},
		{"{\"type\":\"number\",\"minimum\":-2.25,\"maximum\":-1}", "-2.26", 4},
		{"{\"type\":\"number\",\"minimum\":-2.25,\"maximum\":-1}", "-1.00", -1},
		{"{\"type\":\"number\",\"minimum\":-2.25,\"maximum\":-1}", "-0", 1},
		{"{\"type\":\"number\",\"minimum\":-2.25,\"maximum\":-1}", "1", 0},
		{"{\"type\":\"number\",\"multipleOf\":0.01}", "19.99", -1},
		{"{\"type\":\"number\",\"multipleOf\":0.01}", "19.999", 5},
		{"{\"type\":\"number\",\"multipleOf\":1}", "19.0", 2},
		{"{\"type\":\"number\",\"multipleOf\":1e-9}", "0.123456789", -1},
		{"{\"type\":\"number\",\"multipleOf\":100}", "12300", -1},
		{"{\"type\":\"number\",\"multipleOf\":100}", "0", -1},
		{"{\"type\":\"number\",\"multipleOf\":100}", "12", 2},
		{"{\"type\":\"integer\",\"multipleOf\":10,\"minimum\":-35,\"maximum\":25}", "-30", -1},
		{"{\"type\":\"integer\",\"multipleOf\":10,\"minimum\":-35,\"maximum\":25}", "-40", 1},
		{"{\"type\":\"integer\",\"multipleOf\":10,\"minimum\":-35,\"maximum\":25}", "20", -1},
		{"{\"type\":\"integer\",\"multipleOf\":10,\"minimum\":-35,\"maximum\":25}", "30", 0},
		{"{\"type\":\"integer\",\"minimum\":1,\"maximum\":12}", "12", -1},
		{"{\"type\":\"integer\",\"minimum\":1,\"maximum\":12}", "13", 1},
		{"{\"type\":\"integer\",\"minimum\":1,\"maximum\":12}", "0", 0},
		{"{\"type\":\"integer\",\"minimum\":98,\"maximum\":1203}", "98", -1},
		{"{\"type\":\"integer\",\"minimum\":98,\"maximum\":1203}", "97", 2},
		{"{\"type\":\"integer\",\"minimum\":98,\"maximum\":1203}", "500", -1},
		{"{\"type\":\"integer\",\"minimum\":98,\"maximum\":1203}", "1203", -1},
		{"{\"type\":\"integer\",\"minimum\":98,\"maximum\":1203}", "1204", 3},
		{"{\"type\":\"integer\",\"minimum\":98,\"maximum\":1203}", "2000", 3},
		{"{\"type\":\"integer\",\"exclusiveMinimum\":0.5,\"exclusiveMaximum\":3}", "1", -1},
		{"{\"type\":\"integer\",\"exclusiveMinimum\":0.5,\"exclusiveMaximum\":3}", "3", 0},
		{"{\"type\":\"integer\",\"exclusiveMinimum\":-1,\"exclusiveMaximum\":1}", "0", -1},
		{"{\"type\":\"integer\",\"exclusiveMinimum\":-1,\"exclusiveMaximum\":1}", "-", 0},
		{"{\"type\":\"number\",\"maximum\":123456789012345,\"minimum\":123456789012345}",
		"123456789012345.0", -1},
		{"{\"type\":\"number\",\"minimum\":0.1,\"maximum\":0.1}", "0.1", -1},
		{"{\"type\":\"number\",\"minimum\":0.1,\"maximum\":0.1}", "0.11", 3},
		{"{\"type\":\"number\",\"minimum\":0.1,\"maximum\":0.1}", "0.100000", -1},
		{"{\"type\":\"number\",\"minimum\":0.1,\"maximum\":0.1}", "0.1000000", 8},
		{"{\"type\":\"number\",\"maximum\":0.00000001}", "0.00000001", -1},
		{"{\"type\":\"number\",\"maximum\":0.00000001}", "0.00000002", 9},
	};

	(void) state;
	CHECK_TEXTS(cases);
}

/* Every whole number of three digits, either sign, against random bounds. */
static void
test_number_ranges(void **state)
{
	rng			r = {7};

	(void) state;
	for (int round = 0; round < 150; round++)
	{
		int			lo = (int) draw(&r, 2200) - 1100;
		int			hi = lo + (int) draw(&r, round % 3 == 0 ? 12 : 1500);
		int			scale = round % 2 ? 10 : 1;
		char		schema[200];
		dsv_grammar *g;
		dsv_automaton *a;

		snprintf(schema, sizeof(schema), "{\"type\":\"%s\",\"minimum\":%.10g,\"maximum\":%.10g%s}",
				 scale == 1 ? "integer" : "number", (double) lo / scale, (double) hi / scale,
				 scale == 1 ? "" : ",\"multipleOf\":0.1");
		g = compile(schema);
		a = automaton(g, MEMORY);
		for (int x = -1300; x <= 2700; x++)
		{
			char		text[20];
			bool		complete;
			size_t		n;

			/* no -0, and a zero digit may be left out */
			n = (size_t) snprintf(text, sizeof(text), x % scale ? "%.1f" : "%.0f", (double) x / scale);
			walk(a, text, n, &complete);
			if (complete != (x >= lo && x <= hi))
				fail_msg("%s: %s", schema, text);
		}
		dsv_automaton_destroy(a);
		dsv_grammar_free(g);
	}
}

static void
test_dates(void **state)
{
	static const text_case cases[] = {
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"23:59:59Z\"", -1},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"24", 2},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"00:60", 4},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"12:00:00.123456+05:30\"", -1},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"12:00:00.\"", 10},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"12:00:00.1234567", 16},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"12:00:00\"", 9},
		{"{\"type\":\"string\",\"format\":\"time\"}", "\"12:00:00-15", 11},
		{"{\"type\":\"string\",\"format\":\"date-time\"}", "\"2024-02-29T00:00:00Z\"", -1},
		{"{\"type\":\"string\",\"format\":\"date-time\"}", "\"2023-02-29", 10},
		{"{\"type\":\"string\",\"format\":\"date-time\"}", "\"2024-02-29 ", 11},
	};
	dsv_grammar *g = compile("{\"type\":\"string\",\"format\":\"date\"}");
	dsv_automaton *a = automaton(g, MEMORY);

	(void) state;
	CHECK_TEXTS(cases);
	for (int y = 0; y < 10000; y += y < 2500 ? 1 : 37)
		for (int m = 0; m <= 13; m++)
			for (int d = m == 2 ? 27 : 29; d <= 32; d++)
			{
				char		text[40];
				bool		complete;
				size_t		n = (size_t) snprintf(text, sizeof(text), "\"%04d-%02d-%02d\"", y, m, d);

				walk(a, text, n, &complete);
				text[n - 1] = '\0';
				if (complete != valid_date(text + 1))
					fail_msg("%s", text);
			}
	dsv_automaton_destroy(a);
	dsv_grammar_free(g);
}

static void
test_containers(void **state)
{
	static const text_case cases[] = {
		{OBJ, "{\"c\": true, \"a\": 1, \"b\": null}", -1},
		{OBJ, "{\"c\": true, \"a\": 1}", -1},
		{OBJ, "{\"c\": true}", 10},
		{OBJ, "{\"a\"", 2},
		{OBJ, "{\"c\":true", 5},
		{OBJ, "{ \"c\"", 1},
		{OBJ, "{\"c\": true,\"a\"", 11},
		{OPT, "{}", -1},
		{OPT, "{\"b\": null}", -1},
		{OPT, "{\"a\": null, \"c\": null}", -1},
		{OPT, "{\"b\": null, \"a\"", 13},
		{OPT, "{\"b\": null, \"b\"", 13},
		{OPT, "{\"d\"", 2},
		{OPT, "{,", 1},
		{"{\"type\":\"object\"}", "{}", -1},
		{"{\"type\":\"object\"}", "{\"", 1},
		{"{\"type\":\"object\",\"properties\":{\"x\":false}}", "{}", -1},
		{"{\"type\":\"object\",\"properties\":{\"x\":false}}", "{\"", 1},
		{"{\"type\":\"object\",\"properties\":{\"a\\\"\\u0001\":{\"const\":1}},\"required\":[\"a\\\"\\u0001\"]}",
		"{\"a\\\"\\u0001\": 1}", -1},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[]", -1},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[1, 22, -3]", -1},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[1,2", 3},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", "[1, ]", 4},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1}", "[]", 1},
		{"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1}", "[1]", -1},
		{"{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1]", 2},
		{"{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1, 2]", -1},
		{"{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1, 2, 3]", -1},
		{"{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1, 2, 3,", 8},
		{"{\"items\":{\"type\":\"integer\"},\"minItems\":3}", "[1, 2, 3, 4, 5]", -1},
		{"{\"items\":{\"type\":\"integer\"},\"minItems\":3}", "[1, 2]", 5},
		{"{\"items\":{\"type\":\"integer\"},\"maxItems\":0}", "[]", -1},
		{"{\"type\":\"array\",\"maxItems\":0}", "[1", 1},
		{"{\"items\":{\"items\":{\"const\":1},\"maxItems\":2},\"maxItems\":2}", "[[1, 1], [1]]", -1},
		{"{\"items\":{\"items\":{\"const\":1},\"maxItems\":2},\"maxItems\":2}", "[[1, 1, ", 6},
		{"{\"items\":{\"items\":{\"const\":1},\"maxItems\":2},\"maxItems\":2}", "[[], [], ", 7},
		{"{\"items\":{\"type\":\"string\",\"maxLength\":2},\"maxItems\":2}", "[\"ab\", \"c\"]", -1},
		{"{\"items\":{\"type\":\"string\",\"maxLength\":2},\"maxItems\":2}", "[\"ab\", \"cde", 10},
	};

	(void) state;
	CHECK_TEXTS(cases);
}

static void
test_enum_any_of_ref(void **state)
{
	static const text_case cases[] = {
		{ENUM, "\"a\"", -1}, {ENUM, "\"ab\"", -1}, {ENUM, "\"b", 1}, {ENUM, "1", -1},
		{ENUM, "12", -1}, {ENUM, "13", 1}, {ENUM, "1.5", -1}, {ENUM, "true", -1},
		{ENUM, "null", -1}, {ENUM, "[1, {\"k\": \"\\n\"}]", -1}, {ENUM, "{}", -1},
		{"{\"const\":\"x\"}", "\"x\"", -1},
		{"{\"const\":null}", "null", -1},
		{"{\"const\":1e300}", "1e+300", -1},
		{"{\"type\":\"string\",\"enum\":[\"1\",1]}", "1", 0},
		{"{\"type\":\"integer\",\"enum\":[2.0,2.5]}", "2", -1},
		{"{\"type\":\"integer\",\"enum\":[2.0,2.5]}", "2.", 1},
		{"{\"anyOf\":[{\"const\":\"ab\"},{\"type\":\"string\",\"maxLength\":1},{\"type\":\"integer\"}]}",
		"\"a\"", -1},
		{"{\"anyOf\":[{\"const\":\"ab\"},{\"type\":\"string\",\"maxLength\":1},{\"type\":\"integer\"}]}",
		"\"ab\"", -1},
		{"{\"anyOf\":[{\"const\":\"ab\"},{\"type\":\"string\",\"maxLength\":1},{\"type\":\"integer\"}]}",
		"\"ac", 2},
		{"{\"anyOf\":[{\"const\":\"ab\"},{\"type\":\"string\",\"maxLength\":1},{\"type\":\"integer\"}]}",
		"-7", -1},
		{"{\"anyOf\":[false,{\"const\":1}]}", "1", -1},
		{"{\"anyOf\":[{\"items\":{\"const\":1},\"minItems\":3},{\"items\":{\"const\":1},\"maxItems\":1}]}",
		"[1, 1]", 5},
		{"{\"anyOf\":[{\"items\":{\"const\":1},\"minItems\":3},{\"items\":{\"const\":1},\"maxItems\":1}]}",
		"[1]", -1},
		{"{\"anyOf\":[{\"items\":{\"const\":1},\"minItems\":3},{\"items\":{\"const\":1},\"maxItems\":1}]}",
		"[1, 1, 1, 1]", -1},
		{LIST, "[]", -1}, {LIST, "[[], [[]]]", -1}, {LIST, "[[]", 3}, {LIST, "[1", 1},
		{TREE, "{\"v\": 1}", -1},
		{TREE, "{\"v\": 1, \"l\": {\"v\": 2}, \"r\": {\"v\": 3, \"r\": {\"v\": 4}}}", -1},
		{TREE, "{\"v\": 1, \"l\": {\"l\"", 16},
		{"{\"items\":{\"$ref\":\"#/definitions/a~1b%20c/0\"},\"definitions\":{\"a/b c\":[{\"const\":1}]}}",
		"[1]", -1},
		{"{\"items\":{\"$ref\":\"#/definitions/~0\"},\"definitions\":{\"~\":{\"$ref\":\"#/definitions/z\"},"
		"\"z\":{\"type\":\"null\"}}}", "[null, null]", -1},
		{"{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"$ref\":\"#/properties/a\"}}}",
		"{\"b\": null}", -1},
	};

	(void) state;
	CHECK_TEXTS(cases);
}

/* ---- patterns ---- */

static void
test_pattern_texts(void **state)
{
	static const text_case cases[] = {
		{P("^abc$"), "\"abc\"", -1},
		{P("^abc$"), "\"abcd", 4},
		{P("b"), "\"abc\"", -1},
		{P("b"), "\"ac\"", 3},
		{P("^a"), "\"ab\"", -1},
		{P("^a"), "\"b", 1},
		{P("a$"), "\"bab\"", 4},
		{P("a$"), "\"baba\"", -1},
		{P(""), "\"anything\"", -1},
		{P("^$"), "\"\"", -1},
		{P("^$"), "\"a", 1},
		{P("^(a|bc)*d?$"), "\"abcad\"", -1},
		{P("^(a|bc)*d?$"), "\"ab\"", 3},
		{P("^a{2,3}$"), "\"aa\"", -1},
		{P("^a{2,3}$"), "\"aaaa", 4},
		{P("^a{2}$"), "\"a\"", 2},
		{P("^a{2,}$"), "\"aaaaa\"", -1},
		{P("^(?:x|(?<name>y))+$"), "\"xyx\"", -1},
		{P("^[a-c\\\\d_-]+$"), "\"b7_-\"", -1},
		{P("^[^a-c]$"), "\"\\n\"", -1},
		{P("^[^a-c]$"), "\"b", 1},
		{P("^.$"), "\"\\n", 2},
		{P("^.$"), "\"\xf0\x9f\x98\x80\"", -1},
		{P("^.$"), "\"\xe2\x80\xa8", 3},
		{P("^\\\\D\\\\W\\\\S$"), "\"a!b\"", -1},
		{P("^\\\\D\\\\W\\\\S$"), "\"a!\\t", 4},
		{P("^\\\\s$"), "\"\\t\"", -1},
		{P("^\\\\s$"), "\"\xc2\xa0\"", -1},
		{P("^\\\\x41\\\\u00e9\\\\u{1F600}\\\\uD83D\\\\uDE00\\\\cA$"),
		"\"A\xc3\xa9\xf0\x9f\x98\x80\xf0\x9f\x98\x80\\u0001\"", -1},
		{P("^\\\\.\\\\$\\\\^\\\\/\\\\-$"), "\".$^/-\"", -1},
		{P("^[\\\\b]$"), "\"\\b\"", -1},
		{P("^[\\\\]\\\\[]$"), "\"]\"", -1},
		{P("^[\\\\w-.]+$"), "\"a-.\"", -1},
		{P("^[]$|a"), "\"a\"", -1},
		{P("^[^]$"), "\"\\u0001\"", -1},
		{P("^\\u00fc+$"), "\"\xc3\xbc\xc3\xbc\"", -1},
		{P("^\\\"\\\\\\\\$"), "\"\\\"\\\\\"", -1},
		{P("^\\\"\\\\\\\\$"), "\"\\\\", 2},
		{P("^a|b$"), "\"xxb\"", -1},
		{P("^a|b$"), "\"xxa\"", 4},
		{P("(^|,)x(,|$)"), "\"y,x\"", -1},
		{P("(^|,)x(,|$)"), "\"yx\"", 3},
		{P("(a*)*b"), "\"aab\"", -1},
		{P("(|a)+$"), "\"\"", -1},
		{"{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"minLength\":3,\"maxLength\":5}", "\"abab\"", -1},
		{"{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"minLength\":3,\"maxLength\":5}", "\"ab\"", 3},
		{"{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"minLength\":3,\"maxLength\":5}", "\"ababa", 5},
		{"{\"type\":\"string\",\"pattern\":\"^(ab)*$\",\"minLength\":3}", "\"ababab\"", -1},
		{"{\"type\":\"string\",\"pattern\":\"z\",\"maxLength\":3}", "\"aab", 3},
		{"{\"type\":\"string\",\"pattern\":\"z\",\"maxLength\":3}", "\"aaz\"", -1},
	};

	(void) state;
	CHECK_TEXTS(cases);
}

/* Words over a small alphabet against another matcher. */
static void
test_pattern_words(void **state)
{
	static const char *const patterns[] = {"a", "^a", "a$", "^a$", "ab|c", "^(ab|c)+$", "a.c", "^a*b?$",
		"[^ab]", "(a|b)(a|b)c", "^(a{2}|b{3})*$", "a{2,3}b", "^c|^b|a$", "(^a)?b", "c(b$)?", "^.?$",
		"(?:a(?:b(?:c)?)?)?$", "^(?:a|ab)(?:c|bcd|)$", "[a-b]{2}$", "^\\w\\w\\d?$", "b{0}a", "$", "^",
	"(a|^)b", "^(a?b?c?){2}$", "(a(b|$))"};

	(void) state;
	for (size_t p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++)
	{
		json_t	   *schema = json_pack("{s:s, s:s}", "type", "string", "pattern", patterns[p]);
		char	   *text = json_dumps(schema, 0);
		dsv_grammar *g = compile(text);
		dsv_automaton *a = automaton(g, MEMORY);

		for (int word = 0; word < 4 * 4 * 4 * 4 * 4 * 4; word++)
		{
			char		quoted[10] = "\"";
			int			n = 1;
			bool		complete;

			/* a digit 0 ends the word; d stands for a character outside of most sets */
			for (int w = word; w > 0 && w % 4 > 0; w /= 4)
				quoted[n++] = " abc"[w % 4];
			quoted[n] = '\0';
			complete = matches(patterns[p], quoted + 1);
			quoted[n] = '"';
			quoted[n + 1] = '\0';
			{
				bool		mine;

				walk(a, quoted, (size_t) n + 1, &mine);
				if (mine != complete)
					fail_msg("%s: %s", patterns[p], quoted);
			}
		}
		dsv_automaton_destroy(a);
		dsv_grammar_free(g);
		free(text);
		json_decref(schema);
	}
}

/* ---- what is refused ---- */

typedef struct refusal
{
	const char *schema;
	dsv_code	code;
	const char *piece;
} refusal;

static void
check_refusals(const refusal *cases, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		dsv_grammar *g = (void *) &n;
		dsv_error	err;
		dsv_code	code = dsv_grammar_from_schema(cases[i].schema, strlen(cases[i].schema), NULL, &g,
												   &err);

		check_error(cases[i].schema, code, &err, cases[i].code, cases[i].piece);
		assert_null(g);
	}
}

#define CHECK_REFUSALS(cases) check_refusals(cases, sizeof(cases) / sizeof((cases)[0]))

static void
test_unsupported(void **state)
{
	static const char *const keywords[] = {"oneOf", "allOf", "not", "if", "then", "else",
		"patternProperties", "propertyNames", "minProperties", "maxProperties", "dependentRequired",
		"dependentSchemas", "unevaluatedProperties", "prefixItems", "contains", "minContains",
		"uniqueItems", "unevaluatedItems", "contentEncoding", "contentMediaType", "$anchor",
	"$dynamicRef", "nullable", "pattren", "größe"};
	static const refusal cases[] = {
		{"{\"properties\":{\"a\":{\"items\":{\"oneOf\":[]}}}}", DSV_UNSUPPORTED,
		"It is at #/properties/a/items."},
		{"{\"anyOf\":[{\"type\":\"null\"},{\"allOf\":[]}]}", DSV_UNSUPPORTED, "It is at #/anyOf/1."},
		{"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"properties\":{\"x/y~\":{\"not\":1}}}}}",
		DSV_UNSUPPORTED, "It is at #/$defs/a/properties/x~1y~0."},
		{"{}", DSV_UNSUPPORTED, "without a type"},
		{"true", DSV_UNSUPPORTED, "without a type"},
		{"{\"type\":\"array\"}", DSV_UNSUPPORTED, "items"},
		{"{\"minimum\":1,\"maxLength\":2}", DSV_UNSUPPORTED, "without a type"},
		{"{\"type\":\"object\",\"additionalProperties\":true}", DSV_UNSUPPORTED, "additionalProperties"},
		{"{\"type\":\"object\",\"additionalProperties\":{}}", DSV_UNSUPPORTED, "additionalProperties"},
		{"{\"type\":\"array\",\"items\":[{\"type\":\"null\"}]}", DSV_INPUT, "must be an object"},
		{"{\"type\":\"string\",\"format\":\"email\"}", DSV_UNSUPPORTED, "email"},
		{"{\"type\":\"string\",\"format\":\"date\",\"maxLength\":3}", DSV_UNSUPPORTED, "maxLength"},
		{"{\"type\":\"number\",\"multipleOf\":0.25}", DSV_UNSUPPORTED, "power of ten"},
		{"{\"type\":\"string\",\"enum\":[\"a\"],\"maxLength\":3}", DSV_UNSUPPORTED, "maxLength"},
		{"{\"enum\":[1],\"const\":1}", DSV_UNSUPPORTED, "const"},
		{"{\"type\":\"null\",\"anyOf\":[{\"type\":\"null\"}]}", DSV_UNSUPPORTED, "type"},
		{"{\"$ref\":\"#/$defs/a\",\"type\":\"null\",\"$defs\":{\"a\":{\"type\":\"null\"}}}",
		DSV_UNSUPPORTED, "type"},
		{"{\"$ref\":\"http://example.com/x\"}", DSV_UNSUPPORTED, "$ref"},
		{"{\"$ref\":\"#name\"}", DSV_UNSUPPORTED, "$ref"},
		{P("(?=a)"), DSV_UNSUPPORTED, "looks ahead"}, {P("(?!a)"), DSV_UNSUPPORTED, "looks ahead"},
		{P("(?<=a)"), DSV_UNSUPPORTED, "looks behind"}, {P("(?<!a)"), DSV_UNSUPPORTED, "looks behind"},
		{P("(a)\\\\1"), DSV_UNSUPPORTED, "back-reference"},
		{P("(?<n>a)\\\\k<n>"), DSV_UNSUPPORTED, "back-reference"},
		{P("a*?"), DSV_UNSUPPORTED, "lazy"}, {P("a{1,2}?"), DSV_UNSUPPORTED, "lazy"},
		{P("\\\\bword"), DSV_UNSUPPORTED, "word boundaries"},
		{P("\\\\p{L}"), DSV_UNSUPPORTED, "Unicode property"},
		{P("(?i:a)"), DSV_UNSUPPORTED, "group"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
	{
		char		schema[100];
		refusal		one = {schema, DSV_UNSUPPORTED, keywords[i]};

		snprintf(schema, sizeof(schema), "{\"type\":\"null\",\"%s\":[]}", keywords[i]);
		check_refusals(&one, 1);
	}
	CHECK_REFUSALS(cases);
	/* annotations promise nothing */
	check_text("{\"type\":\"null\",\"$schema\":\"x\",\"$id\":\"y\",\"title\":1,\"description\":\"\","
			   "\"default\":3,\"examples\":[],\"$comment\":\"\",\"$defs\":{\"a\":{\"oneOf\":1}},"
			   "\"definitions\":{},\"deprecated\":true,\"readOnly\":true,\"writeOnly\":true}",
			   "null", -1);
}

static void
test_malformed(void **state)
{
	static const refusal cases[] = {
		{"", DSV_INPUT, "not valid JSON"}, {"{", DSV_INPUT, "Line 1"}, {"{} {}", DSV_INPUT, "JSON"},
		{"{\"type\":\"null\",\"type\":\"null\"}", DSV_INPUT, "duplicate"},
		{"{\"const\":\"\\u0000\"}", DSV_INPUT, "not valid JSON"},
		{"[]", DSV_INPUT, "must be an object"}, {"1", DSV_INPUT, "must be an object"},
		{"{\"type\":\"text\"}", DSV_INPUT, "type"}, {"{\"type\":1}", DSV_INPUT, "type"},
		{"{\"type\":[\"null\",1]}", DSV_INPUT, "type"},
		{"{\"type\":\"object\",\"properties\":[]}", DSV_INPUT, "properties"},
		{"{\"type\":\"object\",\"required\":\"a\"}", DSV_INPUT, "required"},
		{"{\"type\":\"object\",\"required\":[1]}", DSV_INPUT, "required"},
		{"{\"enum\":1}", DSV_INPUT, "enum"}, {"{\"anyOf\":{}}", DSV_INPUT, "anyOf"},
		{"{\"$ref\":1}", DSV_INPUT, "$ref"}, {"{\"$ref\":\"#/x\"}", DSV_INPUT, "$ref"},
		{"{\"$ref\":\"#/a/01\",\"$defs\":{}}", DSV_INPUT, "$ref"},
		{"{\"$ref\":\"#/%zz\"}", DSV_INPUT, "$ref"}, {"{\"$ref\":\"#/~\"}", DSV_INPUT, "$ref"},
		{"{\"type\":\"string\",\"maxLength\":-1}", DSV_INPUT, "maxLength"},
		{"{\"type\":\"string\",\"maxLength\":1.5}", DSV_INPUT, "maxLength"},
		{"{\"type\":\"string\",\"minLength\":\"1\"}", DSV_INPUT, "minLength"},
		{"{\"type\":\"string\",\"pattern\":1}", DSV_INPUT, "pattern"},
		{"{\"type\":\"string\",\"format\":1}", DSV_INPUT, "format"},
		{"{\"type\":\"number\",\"minimum\":\"1\"}", DSV_INPUT, "minimum"},
		{"{\"type\":\"number\",\"exclusiveMinimum\":true}", DSV_INPUT, "exclusiveMinimum"},
		{"{\"type\":\"number\",\"multipleOf\":0}", DSV_INPUT, "multipleOf"},
		{"{\"type\":\"number\",\"multipleOf\":-1}", DSV_INPUT, "multipleOf"},
		{P("("), DSV_INPUT, "pattern"}, {P(")"), DSV_INPUT, "pattern"}, {P("["), DSV_INPUT, "pattern"},
		{P("]"), DSV_INPUT, "pattern"}, {P("{"), DSV_INPUT, "pattern"}, {P("}"), DSV_INPUT, "pattern"},
		{P("*"), DSV_INPUT, "pattern"}, {P("a**"), DSV_INPUT, "pattern"}, {P("^*"), DSV_INPUT, "pattern"},
		{P("a{2,1}"), DSV_INPUT, "pattern"}, {P("a{x}"), DSV_INPUT, "pattern"},
		{P("a{1"), DSV_INPUT, "pattern"}, {P("[b-a]"), DSV_INPUT, "pattern"},
		{P("\\\\"), DSV_INPUT, "pattern"}, {P("\\\\e"), DSV_INPUT, "pattern"},
		{P("\\\\x4"), DSV_INPUT, "pattern"}, {P("\\\\u12"), DSV_INPUT, "pattern"},
		{P("\\\\u{110000}"), DSV_INPUT, "pattern"}, {P("\\\\uD800"), DSV_INPUT, "pattern"},
		{P("\\\\u{}"), DSV_INPUT, "pattern"}, {P("\\\\01"), DSV_INPUT, "pattern"},
		{P("(?<n"), DSV_INPUT, "pattern"},
	};

	(void) state;
	CHECK_REFUSALS(cases);
}

static void
test_unsatisfiable(void **state)
{
	static const refusal cases[] = {
		{"{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}", DSV_SCHEMA, "bounds"},
		{"{\"type\":\"integer\",\"exclusiveMinimum\":1,\"exclusiveMaximum\":2}", DSV_SCHEMA, "bounds"},
		{"{\"type\":\"number\",\"multipleOf\":0.1,\"minimum\":0.11,\"maximum\":0.19}", DSV_SCHEMA,
		"bounds"},
		{"{\"type\":\"string\",\"minLength\":3,\"maxLength\":2}", DSV_SCHEMA, "minLength"},
		{"{\"items\":{\"type\":\"null\"},\"minItems\":3,\"maxItems\":2}", DSV_SCHEMA, "minItems"},
		{"{\"enum\":[]}", DSV_SCHEMA, "enum"}, {"{\"anyOf\":[]}", DSV_SCHEMA, "anyOf"},
		{"{\"type\":[]}", DSV_SCHEMA, "type"},
		{"{\"type\":\"string\",\"enum\":[1]}", DSV_SCHEMA, "enum"},
		{"{\"type\":\"object\",\"required\":[\"a\"]}", DSV_SCHEMA, "\"a\""},
		{"{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}", DSV_SCHEMA, "#"},
		{"false", DSV_SCHEMA, "no"},
		{"{\"items\":false,\"minItems\":1}", DSV_SCHEMA, "no"},
		{P("^a$b"), DSV_SCHEMA, "no"}, {P("^[]$"), DSV_SCHEMA, "no"}, {P("a^"), DSV_SCHEMA, "no"},
		{P("\\\\0"), DSV_SCHEMA, "no"},
		{"{\"type\":\"string\",\"pattern\":\"^aaa$\",\"maxLength\":2}", DSV_SCHEMA, "no"},
		{"{\"type\":\"string\",\"pattern\":\"^(aaa)*$\",\"minLength\":4,\"maxLength\":5}", DSV_SCHEMA, "no"},
		{"{\"$ref\":\"#\"}", DSV_SCHEMA, "refers to itself"},
		{"{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#\"}]}", DSV_SCHEMA, "refers to itself"},
		{"{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":\"#/$defs/a\"}}}",
		DSV_SCHEMA, "refers to itself"},
		/* an array in between on one way, nothing on the other */
		{"{\"anyOf\":[{\"items\":{\"$ref\":\"#/$defs/b\"}},{\"$ref\":\"#/$defs/b\"}],"
		"\"$defs\":{\"b\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}}}",
		DSV_SCHEMA, "refers to itself"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", DSV_SCHEMA,
		"no finite text"},
		{"{\"items\":{\"$ref\":\"#\"},\"minItems\":1}", DSV_SCHEMA, "no finite text"},
		{"{\"properties\":{\"o\":{\"$ref\":\"#/$defs/a\"}},\"$defs\":{\"a\":{\"items\":{\"$ref\":\"#/$defs/b\"},"
		"\"minItems\":2},\"b\":{\"properties\":{\"x\":{\"$ref\":\"#/$defs/a\"}},\"required\":[\"x\"]}}}",
		DSV_SCHEMA, "It is at #/$defs/a."},
	};

	(void) state;
	CHECK_REFUSALS(cases);
}

/* ---- other grammars ---- */

static dsv_grammar *
choices(const char *const *texts, int n)
{
	dsv_bytes	list[8];
	dsv_grammar *g = NULL;
	dsv_error	err;

	for (int i = 0; i < n; i++)
		list[i] = (dsv_bytes) {texts[i], strlen(texts[i])};
	check_ok(dsv_grammar_from_choices(list, n, NULL, &g, &err), &err);
	return g;
}

static void
check_walk(const dsv_grammar *g, const char *text, int at)
{
	dsv_automaton *a = automaton(g, MEMORY);
	bool		complete;
	size_t		taken = walk(a, text, strlen(text), &complete);

	if (at < 0 ? !complete : complete || taken != (size_t) at)
		fail_msg("%s: %zu bytes taken%s", text, taken, complete ? " (complete)" : "");
	dsv_automaton_destroy(a);
}

static void
test_choices(void **state)
{
	static const char *const texts[] = {"yes", "no", "none", "no", "\xff\n", "nothing at all"};
	const dsv_bytes empty[] = {{"a", 1}, {"", 0}};
	dsv_grammar *g = choices(texts, 6);
	dsv_error	err;

	(void) state;
	check_walk(g, "yes", -1);
	check_walk(g, "no", -1);
	check_walk(g, "none", -1);
	check_walk(g, "nothing at all", -1);
	check_walk(g, "\xff\n", -1);
	check_walk(g, "nope", 2);
	check_walk(g, "ye", 2);
	check_walk(g, "yess", 3);
	check_walk(g, "", 0);
	assert_true(check_no_dead_end("choices", g, MAX_GRAPH).whole);
	dsv_grammar_free(g);
	assert_int_equal(dsv_grammar_from_choices(empty, 0, NULL, &g, &err), DSV_INPUT);
	assert_int_equal(dsv_grammar_from_choices(empty, 2, NULL, &g, &err), DSV_INPUT);
	assert_non_null(strstr(err.msg, "choice 2"));
	assert_null(g);
	dsv_grammar_free(NULL);
	dsv_automaton_destroy(NULL);
}

static dsv_grammar *
boxes(const char *label, int max_boxes)
{
	dsv_bytes	bytes = {label, label != NULL ? strlen(label) : 0};
	dsv_grammar *g = NULL;
	dsv_error	err;

	check_ok(dsv_grammar_for_boxes(label != NULL ? &bytes : NULL, max_boxes, NULL, &g, &err), &err);
	return g;
}

static void
test_boxes(void **state)
{
	static const char *const labels[] = {"", "a<|b", "\xff", "\xc3"};
	dsv_grammar *g = boxes("the cat", 2);
	dsv_error	err;

	(void) state;
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[[0, 12, 999, 7]]<|/det|>", -1);
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[[0, 12, 999, 7], [1, 2, 3, 4]]<|/det|>", -1);
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[[0, 12, 999, 7], [1, 2, 3, 4], ", 59);
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[[0, 12, 1000", 41);
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[[01", 32);
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[]", 30);
	check_walk(g, "<|ref|>the cat<|/ref|><|det|>[[0, 1]", 35);
	check_walk(g, "<|ref|>a cat", 7);
	assert_true(check_no_dead_end("boxes", g, MAX_GRAPH).whole);
	dsv_grammar_free(g);

	g = boxes(NULL, 0);
	check_walk(g, "<|ref|>größe \"x\"<|/ref|><|det|>[[0, 12, 999, 7], [1, 2, 3, 4], [5, 6, 7, 8]]<|/det|>",
			   -1);
	check_walk(g, "<|ref|><", 7);
	check_walk(g, "<|ref|>a<b", 9);
	assert_true(check_no_dead_end("boxes", g, MAX_GRAPH).whole);
	dsv_grammar_free(g);

	for (int i = 0; i < 4; i++)
	{
		dsv_bytes	label = {labels[i], strlen(labels[i])};

		assert_int_equal(dsv_grammar_for_boxes(&label, 1, NULL, &g, &err), DSV_INPUT);
		assert_null(g);
	}
}

static dsv_grammar *
value_schema(const char *schema)
{
	dsv_grammar *g = NULL;
	dsv_error	err;

	check_ok(dsv_grammar_from_value_schema(schema, strlen(schema), NULL, &g, &err), &err);
	return g;
}

static void
test_values(void **state)
{
	static const text_case cases[] = {
		{"{\"type\":\"string\",\"format\":\"date\"}", "2024-02-29", -1},
		{"{\"type\":\"string\",\"format\":\"date\"}", "\"", 0},
		{"{\"type\":\"number\",\"multipleOf\":0.01}", "12.50", -1},
		{"{\"type\":\"string\",\"pattern\":\"^[A-Z]+$\",\"maxLength\":3}", "ABC", -1},
		{"{\"type\":\"string\",\"pattern\":\"^[A-Z]+$\",\"maxLength\":3}", "ABCD", 3},
		{"{\"type\":\"string\",\"pattern\":\"^a\\\\sb$\"}", "a\nb", -1},
		{"{\"type\":\"string\"}", "", -1},
		{"{\"type\":\"string\"}", "say \"\\\"\n", -1},
		{"{\"type\":\"string\",\"maxLength\":2}", "\"\"", -1},
		{"{\"type\":\"string\",\"minLength\":2}", "a", 1},
		{"{\"enum\":[\"yes\",\"no\",null,1]}", "yes", -1},
		{"{\"enum\":[\"yes\",\"no\",null,1]}", "null", -1},
		{"{\"anyOf\":[{\"type\":\"integer\"},{\"const\":\"none\"}]}", "none", -1},
	};
	static const char *const nested[] = {"{\"type\":\"object\"}", "{\"enum\":[[]]}",
	"{\"type\":[\"null\",\"array\"],\"maxItems\":0}"};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dsv_grammar *g = value_schema(cases[i].schema);

		check_walk(g, cases[i].text, cases[i].at);
		assert_true(check_no_dead_end(cases[i].schema, g, MAX_GRAPH).whole);
		dsv_grammar_free(g);
	}
	for (size_t i = 0; i < 3; i++)
	{
		dsv_grammar *g;
		dsv_error	err;

		assert_int_equal(dsv_grammar_from_value_schema(nested[i], strlen(nested[i]), NULL, &g, &err),
						 DSV_UNSUPPORTED);
	}
}

/* ---- limits ---- */

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

/* A walk that must not get stuck, whatever alternatives had to be given up. */
static void
walk_hostile(const dsv_grammar *g, size_t memory, uint64_t seed)
{
	dsv_automaton *a;
	dsv_error	err;
	rng			r = {seed};
	int32_t		s;

	if (dsv_automaton_create(g, memory, NULL, &a, &err) != DSV_OK)
	{
		assert_int_equal(err.code, DSV_LIMIT);
		assert_true(memory < MEMORY);
		return;
	}
	s = dsv_automaton_start(a);
	for (int i = 0; i < 300; i++)
	{
		uint8_t		can[256];
		uint32_t	n = 0;

		for (int b = 0; b < 256; b++)
			if (step(a, &s, (uint8_t) b, NULL) >= 0)
				can[n++] = (uint8_t) b;
		if (n == 0)
		{
			assert_true(dsv_automaton_accepts(a, s));
			break;
		}
		s = step(a, &s, can[draw(&r, n)], NULL);
	}
	dsv_automaton_destroy(a);
}

/* All within bounded time. */
static dsv_code
compile_hostile(const char *what, const char *schema)
{
	dsv_grammar *g;
	dsv_error	err;
	double		begin = seconds();
	dsv_code	code = dsv_grammar_from_schema(schema, strlen(schema), NULL, &g, &err);

	for (uint64_t seed = 1; code == DSV_OK && seed <= 4; seed++)
	{
		walk_hostile(g, MEMORY, seed);
		walk_hostile(g, MEMORY / 20, seed);
	}
	dsv_grammar_free(g);
	if (seconds() - begin > 20)
		fail_msg("%s takes %.1f s", what, seconds() - begin);
	return code;
}

typedef struct text_buffer
{
	char	   *s;
	size_t		n;
} text_buffer;

static void __attribute__((format(printf, 2, 3)))
add(text_buffer *t, const char *fmt,...)
{
	va_list		args;

	if (t->s == NULL)
		t->s = malloc(1 << 20);
	va_start(args, fmt);
	t->n += (size_t) vsnprintf(t->s + t->n, (1 << 20) - t->n, fmt, args);
	va_end(args);
	assert_true(t->n < (1 << 20));
}

static void
check_hostile(const char *what, text_buffer *t, int want)
{
	dsv_code	code = compile_hostile(what, t->s);

	if ((int) code != want)
		fail_msg("%s: code %d", what, code);
	free(t->s);
	*t = (text_buffer) {NULL, 0};
}

static void
test_hostile(void **state)
{
	text_buffer t = {NULL, 0};

	(void) state;
	for (int i = 0; i < 1000; i++)
		add(&t, "{\"items\":");
	add(&t, "{\"type\":\"null\"}");
	for (int i = 0; i < 1000; i++)
		add(&t, "}");
	check_hostile("deep schema", &t, DSV_LIMIT);

	add(&t, "{\"enum\":[");
	for (int i = 0; i < 1500; i++)
		add(&t, "[");
	for (int i = 0; i < 1500; i++)
		add(&t, "]");
	add(&t, "]}");
	check_hostile("deep enum", &t, DSV_LIMIT);

	add(&t, "{\"enum\":[");
	for (int i = 0; i < 3000; i++)
		add(&t, "[");
	check_hostile("deeper than the parser goes", &t, DSV_LIMIT);

	add(&t, "{\"type\":\"number\",\"maximum\":100000000000000000000}");
	check_hostile("large number", &t, DSV_LIMIT);

	for (int i = 0; i < 300000; i++)
		add(&t, " ");
	check_hostile("long schema", &t, DSV_LIMIT);

	/* each level offers the one below twice, in arrays that only their ends tell apart */
	add(&t, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
	for (int i = 0; i < 40; i++)
		add(&t, "\"d%d\":{\"anyOf\":[{\"items\":{\"$ref\":\"#/$defs/d%d\"},\"minItems\":1},"
			"{\"items\":{\"$ref\":\"#/$defs/d%d\"},\"minItems\":2}]},", i, i + 1, i + 1);
	add(&t, "\"d40\":{\"type\":\"null\"}}}");
	check_hostile("exponential alternatives", &t, DSV_OK);

	add(&t, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
	for (int i = 0; i < 150; i++)
		add(&t, "\"d%d\":{\"items\":{\"$ref\":\"#/$defs/d%d\"}},", i, i + 1);
	add(&t, "\"d150\":{\"type\":\"null\"}}}");
	check_hostile("long chain", &t, DSV_LIMIT);

	add(&t, "{\"anyOf\":[");
	for (int i = 0; i < 1200; i++)
		add(&t, "{\"$ref\":\"#/$defs/d%d\"},", i);
	add(&t, "{\"type\":\"null\"}],\"$defs\":{");
	for (int i = 0; i < 1200; i++)
		add(&t, "\"d%d\":{\"items\":{\"$ref\":\"#\"}},", i);
	add(&t, "\"z\":false}}");
	check_hostile("many targets", &t, DSV_LIMIT);

	add(&t, "{\"properties\":{");
	for (int i = 0; i < 1000; i++)
		add(&t, "%s\"k%d\":{\"type\":\"string\",\"maxLength\":10000}", i > 0 ? "," : "", i);
	add(&t, "}}");
	check_hostile("many optional properties", &t, DSV_OK);

	add(&t, "{\"anyOf\":[");
	for (int i = 0; i < 4000; i++)
		add(&t, "%s{\"type\":\"string\",\"minLength\":%d}", i > 0 ? "," : "", i);
	add(&t, "]}");
	check_hostile("many counted alternatives", &t, DSV_OK);

	add(&t, "{\"enum\":[\"");
	for (int i = 0; i < 600; i++)
		add(&t, "%s%0*d", i > 0 ? "\",\"" : "", i % 400 + 1, 0);
	add(&t, "\"]}");
	check_hostile("texts that begin each other", &t, DSV_OK);

	add(&t, "{\"items\":{\"type\":\"integer\"},\"minItems\":999999999,\"maxItems\":1000000000}");
	check_hostile("large counts", &t, DSV_OK);
	add(&t, "{\"items\":{\"type\":\"integer\"},\"maxItems\":1000000001}");
	check_hostile("larger counts", &t, DSV_LIMIT);
	add(&t, "{\"type\":\"number\",\"minimum\":1e15}");
	check_hostile("large number", &t, DSV_LIMIT);
	add(&t, "{\"type\":\"number\",\"maximum\":-1e300}");
	check_hostile("larger number", &t, DSV_LIMIT);
	add(&t, "{\"type\":\"number\",\"minimum\":1e-16}");
	check_hostile("small number", &t, DSV_LIMIT);
}

static void
test_hostile_patterns(void **state)
{
	static const struct
	{
		const char *pattern;
		dsv_code	code;
	}			cases[] = {
		{"(a{1000}){1000}", DSV_LIMIT}, {"((((a{0}){10000}){10000}){10000}){10000}", DSV_OK},
		{"(((a?){100}){100}){100}", DSV_LIMIT}, {"a.{1000}b", DSV_LIMIT}, {"^(a|b)*a(a|b){20}$", DSV_LIMIT},
		{"(a*)*(b*)*((a*)*)*$", DSV_OK}, {"^.{0,10000}$", DSV_OK}, {"^(.{0,3000}x){3}$", DSV_LIMIT},
		{"a{10001}", DSV_LIMIT}, {"a{99999999999999999999}", DSV_LIMIT}, {"(|(|(|a)*)*)*", DSV_OK},
		{"^(([a-z]+)+)+$", DSV_OK}, {"(x+x+)+y", DSV_OK},
	};
	text_buffer t = {NULL, 0};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		add(&t, "{\"type\":\"string\",\"pattern\":\"%s\"}", cases[i].pattern);
		check_hostile(cases[i].pattern, &t, cases[i].code);
	}
	add(&t, "{\"type\":\"string\",\"pattern\":\"");
	for (int i = 0; i < 60; i++)
		add(&t, "(");
	add(&t, "\"}");
	check_hostile("nested groups", &t, DSV_LIMIT);
	add(&t, "{\"type\":\"string\",\"pattern\":\"");
	for (int i = 0; i < 20000; i++)
		add(&t, "[\\\\u%04x-\\\\ud7ff]", 0x100 + i);
	add(&t, "\"}");
	check_hostile("many classes", &t, DSV_LIMIT);
	add(&t, "{\"type\":\"string\",\"pattern\":\"^[a-z]*$\",\"maxLength\":1000000000}");
	check_hostile("pattern with a large length", &t, DSV_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_number_ranges),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_containers),
		cmocka_unit_test(test_enum_any_of_ref),
		cmocka_unit_test(test_pattern_texts),
		cmocka_unit_test(test_pattern_words),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_unsatisfiable),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_boxes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_hostile_patterns),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
