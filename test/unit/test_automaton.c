/*
 * test_automaton.c
 *		The automaton of a grammar: no dead ends, random schemas, forced runs, full memory, equal
 *		answers whatever was asked before, failing allocations.
 */
#include "random_schema.h"

static void
test_no_dead_ends(void **state)
{
	static const char *const schemas[] = {
		OBJ, OPT, ENUM,
		"{\"type\":\"number\"}", "{\"type\":\"integer\",\"minimum\":-1234,\"maximum\":9876543}",
		"{\"type\":\"number\",\"minimum\":-0.5,\"exclusiveMaximum\":12345.678901}",
		"{\"type\":\"number\",\"multipleOf\":1000,\"minimum\":-999,\"maximum\":123456}",
		"{\"type\":\"string\",\"format\":\"date-time\"}",
		"{\"type\":\"string\",\"minLength\":3,\"maxLength\":9}",
		P("^(a|bc){2,5}(\\\\d{3})?$"), P("foo|b\xc3\xa4r"), P("[^\\\"\\\\x01-\\\\x1f]{2}$"),
		"{\"type\":\"string\",\"pattern\":\"^(ab|cde)*$\",\"minLength\":4,\"maxLength\":7}",
		"{\"items\":{\"anyOf\":[{\"const\":\"a\"},{\"items\":{\"type\":\"boolean\"},\"maxItems\":3}]},"
		"\"minItems\":2,\"maxItems\":5}",
		"{\"anyOf\":[{\"items\":{\"const\":1},\"minItems\":3,\"maxItems\":9},"
		"{\"items\":{\"enum\":[1,12]},\"minItems\":7},{\"type\":\"string\",\"maxLength\":2}]}",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++)
	{
		dsv_grammar *g = compile(schemas[i]);

		assert_true(check_no_dead_end(schemas[i], g, MAX_GRAPH).whole);
		dsv_grammar_free(g);
	}
}

/* Nesting that may go on for ever is stopped in time to close everything. */
static void
test_depth(void **state)
{
#define NESTED "{\"anyOf\":[{\"type\":\"null\"},{\"items\":{\"$ref\":\"#\"},\"minItems\":2,\"maxItems\":3}]}"
	static const char *const forms[][4] = {
		{LIST, "[", "]", ""},
		{TREE, "{\"v\": 1, \"l\": ", "}", "{\"v\": 1}"},
		{"{\"properties\":{\"a\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},\"required\":[\"a\"]}",
		"{\"a\": ", "}", "null"},
		{NESTED, "[null, ", "]", "null"},
		{NESTED, "[", ", null]", "null"},
		{"{\"items\":{\"$ref\":\"#\"},\"maxItems\":2}", "[[], ", "]", "[]"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
	{
		dsv_grammar *g = compile(forms[i][0]);
		dsv_automaton *a = automaton(g, MEMORY);
		char		text[4000] = "";
		bool		complete;
		int			depth = 0;

		for (;; depth++)
		{
			size_t		n = strlen(text);

			strcat(text, forms[i][1]);
			if (walk(a, text, strlen(text), &complete) == strlen(text))
				continue;
			text[n] = '\0';
			break;
		}
		assert_in_range(depth, 30, 34);
		/* the last level could have been entered only if it can be left */
		strcat(text, forms[i][3]);
		for (int k = 0; k < depth; k++)
			strcat(text, forms[i][2]);
		walk(a, text, strlen(text), &complete);
		if (!complete)
			fail_msg("%s at depth %d", forms[i][0], depth);
		dsv_automaton_destroy(a);
		dsv_grammar_free(g);
	}
}

/* ---- random schemas ---- */

/* A text of the grammar, drawn byte by byte; ends sooner or later. */
static size_t
random_text(dsv_automaton *a, rng *r, char *out, size_t size, int *restarts)
{
	int32_t		state = dsv_automaton_start(a);
	size_t		n = 0;

	if (state == DSV_STATE_FULL)
		fail_msg("no room for the first state");
	for (;;)
	{
		uint8_t		can[256];
		uint32_t	ncan = 0;
		uint32_t	letters = 0;
		bool		accepts = dsv_automaton_accepts(a, state);
		uint8_t		pick;

		for (int b = 0; b < 256; b++)
			if (step(a, &state, (uint8_t) b, restarts) >= 0)
				can[ncan++] = (uint8_t) b;
		if (ncan == 0 && !accepts)
			fail_msg("dead end after %.*s", (int) n, out);
		if (accepts && (ncan == 0 || draw(r, 3) == 0))
			return n;
		pick = can[draw(r, ncan)];
		for (uint32_t i = 0; i < ncan; i++)
			letters += can[i] >= ' ' && can[i] < 0x7F;
		if (letters > 0 && draw(r, 4) > 0)
			while (pick < ' ' || pick >= 0x7F)
				pick = can[draw(r, ncan)];
		/* towards the end */
		if (draw(r, n > 400 ? 8 : 2) > 0)
			for (const char *end = ",]}\""; *end != '\0'; end++)
				if (memchr(can, *end, ncan) != NULL && !(*end == ',' && n > 200))
					pick = (uint8_t) *end;
		assert_true(n + 1 < size);
		out[n++] = (char) pick;
		state = step(a, &state, pick, restarts);
		assert_true(state >= 0);
	}
}

static void
check_valid(const json_t *root, const char *schema, const char *text, size_t len)
{
	json_error_t why;
	json_t	   *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);

	if (value == NULL)
		fail_msg("%s: %.*s: %s", schema, (int) len, text, why.text);
	if (!valid(root, root, value))
		fail_msg("%s: not valid: %.*s", schema, (int) len, text);
	json_decref(value);
}

/* A damaged text that is still taken must be valid all the same. */
static int
check_damaged(const json_t *root, const char *schema, dsv_automaton *a, rng *r, const char *text,
			  size_t len)
{
	char	   *copy = malloc(len + 1);
	size_t		at = draw(r, (uint32_t) len);
	size_t		n = len;
	bool		complete;

	memcpy(copy, text, len);
	if (draw(r, 2))
		copy[at] = (char) (draw(r, 4) ? "0123456789-.,:[]{}\"\\ntu"[draw(r, 24)] : (int) draw(r, 256));
	else
	{
		memmove(copy + at, copy + at + 1, len - at - 1);
		n--;
	}
	walk(a, copy, n, &complete);
	if (complete)
		check_valid(root, schema, copy, n);
	free(copy);
	return complete;
}

static void
test_random(void **state)
{
	static char text[100000];
	int			restarts = 0;
	int			taken = 0;
	int			whole = 0;

	(void) state;
	for (uint64_t seed = 1; seed <= 300; seed++)
	{
		rng			r = {seed * 7919};
		json_t	   *root = random_document(&r);
		char	   *schema = json_dumps(root, 0);
		dsv_grammar *g = compile(schema);
		dsv_automaton *small = automaton(g, (size_t) 40 << 10);
		dsv_automaton *large = automaton(g, MEMORY);

		for (int i = 0; i < 6; i++)
		{
			size_t		len = random_text(small, &r, text, sizeof(text), &restarts);
			bool		complete;

			check_valid(root, schema, text, len);
			walk(large, text, len, &complete);
			assert_true(complete);
			for (int k = 0; k < 20; k++)
				taken += check_damaged(root, schema, large, &r, text, len);
		}
		whole += check_no_dead_end(schema, g, 1500).whole;
		dsv_automaton_destroy(small);
		dsv_automaton_destroy(large);
		dsv_grammar_free(g);
		free(schema);
		json_decref(root);
	}
	print_message("# %d restarts, %d damaged texts taken, %d graphs whole\n", restarts, taken, whole);
	/* the test must have met what it is there for */
	assert_true(restarts > 20);
	assert_true(taken > 500);
	assert_true(whole > 100);
}

/* ---- forced runs ---- */

static void
check_forced(dsv_automaton *a, const char *after, const char *expected)
{
	int32_t		state = dsv_automaton_start(a);
	uint8_t		out[64];
	int			n;

	for (; *after != '\0'; after++)
		state = dsv_automaton_next(a, state, (uint8_t) *after);
	assert_true(state >= 0);
	n = dsv_automaton_forced(a, state, out, sizeof(out));
	if (n != (int) strlen(expected) || memcmp(out, expected, (size_t) n) != 0)
		fail_msg("\"%.*s\" is forced, not \"%s\"", n, out, expected);
}

static void
test_forced(void **state)
{
	dsv_grammar *g = compile("{\"type\":\"object\",\"properties\":{\"merchant\":{\"type\":\"string\"},"
							 "\"kind\":{\"enum\":[\"cash\",\"card\"]},\"paid\":{\"type\":\"boolean\"}},"
							 "\"required\":[\"merchant\",\"kind\"]}");
	dsv_automaton *a = automaton(g, MEMORY);
	uint8_t		out[8];

	(void) state;
	check_forced(a, "", "{\"merchant\": \"");
	check_forced(a, "{\"merchant\": \"x", "");
	check_forced(a, "{\"merchant\": \"x\"", ", \"kind\": \"ca");
	check_forced(a, "{\"merchant\": \"x\", \"kind\": \"car", "d\"");
	check_forced(a, "{\"merchant\": \"x\", \"kind\": \"card\",", " \"paid\": ");
	check_forced(a, "{\"merchant\": \"x\", \"kind\": \"card\", \"paid\": t", "rue}");
	check_forced(a, "{\"merchant\": \"x\", \"kind\": \"card\"}", "");
	assert_int_equal(dsv_automaton_forced(a, dsv_automaton_start(a), out, 3), 3);
	assert_memory_equal(out, "{\"m", 3);
	dsv_automaton_destroy(a);
	dsv_grammar_free(g);

	/* where a text may end nothing is forced */
	g = compile("{\"enum\":[1,12]}");
	a = automaton(g, MEMORY);
	check_forced(a, "", "1");
	check_forced(a, "1", "");
	dsv_automaton_destroy(a);
	dsv_grammar_free(g);
}

/* ---- memory ---- */

#define RECEIPT "{\"type\":\"object\",\"properties\":{\"merchant\":{\"type\":\"string\",\"maxLength\":40}," \
	"\"total\":{\"type\":\"number\",\"minimum\":0,\"multipleOf\":0.01},\"items\":{\"type\":\"array\"," \
	"\"items\":{\"$ref\":\"#/$defs/item\"},\"minItems\":2,\"maxItems\":50},\"day\":{\"type\":\"string\"," \
	"\"format\":\"date\"},\"code\":{\"type\":\"string\",\"pattern\":\"^[A-Z]{3}-\\\\d+$\"},\"kind\":" \
	"{\"enum\":[\"a\",\"b\",null,{\"x\":[1.5]}]}},\"required\":[\"merchant\",\"total\"],\"$defs\":{\"item\":{\"type\":" \
	"\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"parts\":{\"type\":\"array\",\"items\":{\"$ref\":" \
	"\"#/$defs/item\"}}},\"required\":[\"name\"]}}}"

static void
test_full(void **state)
{
	static const char text[] = "{\"merchant\": \"Caf\xc3\xa9\", \"total\": 12.50, \"items\": [{\"name\": \"a\"}, "
		"{\"name\": \"b\", \"parts\": [{\"name\": \"c\", \"parts\": [{\"name\": \"d\"}]}]}, {\"name\": \"e\"}], "
		"\"day\": \"2024-02-29\", \"code\": \"ABC-1\"}";
	dsv_grammar *g = compile(RECEIPT);
	dsv_automaton *large = automaton(g, MEMORY);
	int			restarts = 0;

	(void) state;
	/* the least memory that is accepted, and more: texts stay the same */
	for (size_t memory = 1024; memory < (2 << 20); memory += memory / 3)
	{
		dsv_automaton *a;
		dsv_error	err;
		dsv_code	code = dsv_automaton_create(g, memory, NULL, &a, &err);
		int32_t		here;
		int32_t		there = dsv_automaton_start(large);

		if (code != DSV_OK)
		{
			assert_int_equal(code, DSV_LIMIT);
			assert_null(a);
			assert_true(memory < (256 << 10));
			continue;
		}
		here = dsv_automaton_start(a);
		for (size_t i = 0; i < sizeof(text) - 1; i++)
		{
			/* fills the memory as a mask of tokens does */
			for (int b = 0; b < 256; b++)
				assert_int_equal(step(a, &here, (uint8_t) b, &restarts) >= 0,
								 dsv_automaton_next(large, there, (uint8_t) b) >= 0);
			assert_int_equal(dsv_automaton_accepts(a, here), dsv_automaton_accepts(large, there));
			assert_true(here < dsv_automaton_states(a));
			here = step(a, &here, (uint8_t) text[i], &restarts);
			there = dsv_automaton_next(large, there, (uint8_t) text[i]);
			assert_true(here >= 0 && there >= 0);
		}
		assert_true(dsv_automaton_accepts(a, here));
		dsv_automaton_destroy(a);
	}
	assert_true(restarts > 10);
	dsv_automaton_destroy(large);
	dsv_grammar_free(g);
}

static void
test_restart(void **state)
{
	dsv_grammar *g = compile(RECEIPT);
	dsv_automaton *a = automaton(g, MEMORY);
	int32_t		s = dsv_automaton_start(a);

	(void) state;
	for (const char *p = "{\"merchant\": \"a\", \"total\": 1, \"items\": [{\"name\": \"x\", \"parts\": [{"; *p; p++)
	{
		s = dsv_automaton_next(a, s, (uint8_t) *p);
		assert_true(s >= 0);
		s = dsv_automaton_restart(a, s);
		assert_int_equal(s, 0);
		assert_int_equal(dsv_automaton_states(a), 1);
	}
	assert_int_equal(dsv_automaton_next(a, s, '}'), DSV_STATE_DEAD);
	assert_true(dsv_automaton_next(a, s, '"') >= 0);
	assert_true(dsv_automaton_start(a) > 0);
	assert_int_equal(dsv_automaton_start(a), dsv_automaton_start(a));
	dsv_automaton_destroy(a);
	dsv_grammar_free(g);
}

/* Two walks over one text end in one state, whatever was asked before. */
static void
test_deterministic(void **state)
{
	dsv_grammar *g = compile("{\"anyOf\":[{\"items\":{\"enum\":[1,11]},\"minItems\":2},"
							 "{\"items\":{\"type\":\"integer\"},\"maxItems\":7},{\"items\":{\"const\":11}}]}");
	dsv_automaton *a = automaton(g, MEMORY);
	dsv_automaton *b = automaton(g, MEMORY);
	int32_t		s = dsv_automaton_start(a);
	int32_t		t = dsv_automaton_start(b);

	(void) state;
	for (const char *p = "[11, 1, 11, 11"; *p != '\0'; p++)
	{
		for (int c = 255; c >= 0; c--)
			dsv_automaton_next(a, s, (uint8_t) c);
		s = dsv_automaton_next(a, s, (uint8_t) *p);
		t = dsv_automaton_next(b, t, (uint8_t) *p);
	}
	assert_true(s >= 0 && t >= 0);
	for (int c = 0; c < 256; c++)
		assert_int_equal(dsv_automaton_next(a, s, (uint8_t) c) >= 0,
						 dsv_automaton_next(b, t, (uint8_t) c) >= 0);
	dsv_automaton_destroy(a);
	dsv_automaton_destroy(b);
	dsv_grammar_free(g);
}

static void
test_allocations(void **state)
{
	int			tried = 0;

	(void) state;
	for (int nth = 1;; nth++)
	{
		books		b = {.fail_at = nth};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_grammar *g;
		dsv_automaton *a = NULL;
		dsv_error	err;
		dsv_code	code = dsv_grammar_from_schema(RECEIPT, strlen(RECEIPT), &mem, &g, &err);

		if (code == DSV_OK)
			code = dsv_automaton_create(g, 1 << 20, &mem, &a, &err);
		if (code != DSV_OK)
			assert_int_equal(err.code, DSV_NOMEM);
		dsv_automaton_destroy(a);
		dsv_grammar_free(g);
		assert_int_equal(b.held, 0);
		if (code == DSV_OK)
			break;
		assert_int_equal(code, DSV_NOMEM);
		tried++;
	}
	assert_true(tried > 50);
	for (int nth = 1, done = 0; !done; nth++)
	{
		books		b = {.fail_at = nth};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_bytes	text = {"some text", 9};
		dsv_grammar *g;
		dsv_error	err;
		dsv_code	code = dsv_grammar_from_choices(&text, 1, &mem, &g, &err);

		dsv_grammar_free(g);
		if (code == DSV_OK)
			code = dsv_grammar_for_boxes(&text, 3, &mem, &g, &err);
		done = code == DSV_OK;
		if (!done)
			assert_int_equal(code, DSV_NOMEM);
		dsv_grammar_free(g);
		assert_int_equal(b.held, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_dead_ends),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_forced),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_deterministic),
		cmocka_unit_test(test_allocations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
