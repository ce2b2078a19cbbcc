/*
 * test_constraint.c
 *		Masks against every token tried one by one, forced runs, and whole answers of models that
 *		say gibberish: valid, or cut off, whatever the schema, and with the same bits always.
 */
#include "engine_util.h"

#include "engine.h"
#include "random_schema.h"
#include "tokenizer_util.h"

#define NANO_TOKENIZER "models/nano/tokenizer.json"
#define TINY_TOKENIZER TINY "/tokenizer.json"
#define BASE_TOKENIZER BASE "/tokenizer.json"

static dsv_grammar *
choice_grammar(const char *const *texts, int n)
{
	dsv_error	err = {0};
	dsv_bytes	choices[8];
	dsv_grammar *grammar;

	for (int i = 0; i < n; i++)
		choices[i] = (dsv_bytes) {texts[i], strlen(texts[i])};
	check_ok(dsv_grammar_from_choices(choices, n, NULL, &grammar, &err), &err);
	return grammar;
}

/* ---- a constraint by itself ---- */

typedef struct fixture
{
	dsv_tokenizer *tok;
	dsv_vocab_trie trie;
	int32_t		end;
	void	   *to_free;
	dsv_constraint c;
} fixture;

static void
open_fixture(fixture *f, const char *tokenizer, const char *prefix, bool specials)
{
	dsv_arena	arena = {NULL, 0};
	dsv_error	err = {0};

	*f = (fixture) {.tok = strstr(tokenizer, ".gz") != NULL ? open_packed(tokenizer) : open_tokenizer(tokenizer)};
	f->end = dsv_tokenizer_added(f->tok, "<｜end▁of▁sentence｜>");
	assert_true(f->end >= 0);
	check_ok(dsv_vocab_trie_init(&f->trie, f->tok, dsv_tokenizer_size(f->tok), f->end, NULL, &err), &err);
	f->c = (dsv_constraint) {.tok = f->tok, .trie = &f->trie, .prefix = prefix, .nprefix = (int) strlen(prefix),
	.end = f->end, .specials = specials};
	dsv_constraint_layout(&f->c, &arena);
	arena.base = dsv_alloc_aligned(NULL, arena.used, &f->to_free);
	memset(arena.base, 0xA5, arena.used);
	arena.used = 0;
	dsv_constraint_layout(&f->c, &arena);
}

static void
start(fixture *f, const dsv_grammar *grammar, size_t memory)
{
	dsv_error	err = {0};

	dsv_automaton_destroy(f->c.automaton);
	check_ok(dsv_automaton_create(grammar, memory, NULL, &f->c.automaton, &err), &err);
	dsv_constraint_reset(&f->c);
}

static void
close_fixture(fixture *f)
{
	dsv_automaton_destroy(f->c.automaton);
	dsv_vocab_trie_free(&f->trie, NULL);
	dsv_tokenizer_close(f->tok);
	free(f->to_free);
}

static bool
has(const uint32_t *mask, int32_t token)
{
	return mask != NULL && (mask[token / 32] >> (token % 32) & 1) != 0;
}

static int
count(const fixture *f, const uint32_t *mask)
{
	int			n = 0;

	for (int32_t t = 0; t < f->trie.vocab; t++)
		n += has(mask, t);
	return n;
}

/* An allowed token, of those outside the plain trie when there is one and the coin says so */
static int32_t
random_token(const fixture *f, const uint32_t *mask, rng *r)
{
	bool		odd = draw(r, 2);
	int32_t		found = -1;
	int			n = 0;

	for (int pass = 0; pass < 2 && found < 0; pass++, odd = false)
		for (int32_t t = 0; t < f->trie.vocab; t++)
			if (has(mask, t) && !(odd && has(f->trie.plain, t)) && draw(r, (uint32_t) ++n) == 0)
				found = t;
	return found;
}

/* What was written, decoded by the tokenizer */
static void
take(fixture *f, int32_t token, dsv_text *text)
{
	size_t		len;
	const char *bytes = dsv_tokenizer_bytes(f->tok, token, &len);

	assert_true(dsv_constraint_take(&f->c, token));
	assert_true(dsv_text_add(NULL, text, bytes, len));
}

static void
force(fixture *f, dsv_text *text)
{
	int32_t		tokens[2000];
	int			n;

	while ((n = dsv_constraint_force(&f->c, tokens, 2000)) > 0)
		for (int i = 0; i < n; i++)
		{
			size_t		len;
			const char *bytes = dsv_tokenizer_bytes(f->tok, tokens[i], &len);

			assert_true(dsv_text_add(NULL, text, bytes, len));
		}
}

static void
take_text(fixture *f, const char *text)
{
	dsv_span	span = {text, strlen(text), false};
	dsv_tokens	tokens = {0};
	dsv_error	err = {0};

	check_ok(dsv_tokenizer_encode(f->tok, &span, 1, NULL, NULL, &tokens, &err), &err);
	for (size_t i = 0; i < tokens.n; i++)
		assert_true(dsv_constraint_take(&f->c, tokens.ids[i]));
	free(tokens.ids);
}

static const char *const mask_schemas[] = {
	"{\"type\": \"string\"}",
	"{\"type\": \"string\", \"maxLength\": 20}",
	"{\"type\": \"array\", \"items\": {\"type\": \"string\", \"minLength\": 2, \"maxLength\": 5}}",
	"{\"type\": \"object\", \"properties\": {\"a\\\"b\": {\"type\": \"number\"}, \"<|ref|>\": {\"type\": \"string\"}}}",
	"{\"anyOf\": [{\"type\": \"string\", \"maxLength\": 3}, {\"enum\": [\"abcdefgh\", \"ab\\ncd\", \"äöü\", 12]}]}",
	"{\"anyOf\": [{\"enum\": [\"abcdefghijklmnopqrstuvwxyz\"]}, {\"type\": \"string\", \"maxLength\": 18}]}",
	"{\"enum\": [\"é\", \"è\", \"日本\", \"日曜\", true, null]}",
	"{\"type\": \"integer\", \"minimum\": -20, \"maximum\": 300}",
};

#define MASK_SCHEMAS ((int) (sizeof(mask_schemas) / sizeof(mask_schemas[0])))

/* The mask has just the tokens that are allowed when asked for one by one. */
static void
check_mask(fixture *f)
{
	const uint32_t *mask = dsv_constraint_mask(&f->c, f->trie.vocab);

	for (int32_t t = 0; t < f->trie.vocab; t++)
		if (dsv_constraint_allows(&f->c, t) != has(mask, t))
		{
			size_t		len;
			const char *bytes = dsv_tokenizer_bytes(f->tok, t, &len);

			fail_msg("token %d, \"%.*s\", is %s the mask", t, (int) len, bytes, has(mask, t) ? "in" : "not in");
		}
	assert_ptr_equal(dsv_constraint_mask(&f->c, f->trie.vocab), mask);
}

static void
check_masks(const char *tokenizer, const char *prefix, int answers, int tokens)
{
	fixture		f;
	rng			r = {1};

	open_fixture(&f, tokenizer, prefix, false);
	for (int i = 0; i < answers * MASK_SCHEMAS; i++)
	{
		dsv_grammar *grammar = compile(mask_schemas[i % MASK_SCHEMAS]);
		dsv_text	text = {0};

		start(&f, grammar, DSV_AUTOMATON_MEMORY);
		for (int n = 0; n < tokens; n++)
		{
			int32_t		token;

			/* whether or not what must come has been taken */
			if (draw(&r, 2))
				force(&f, &text);
			check_mask(&f);
			token = random_token(&f, dsv_constraint_mask(&f.c, f.trie.vocab), &r);
			if (token == f.end)
				break;
			take(&f, token, &text);
		}
		assert_memory_equal(text.s, prefix, strlen(prefix));
		free(text.s);
		dsv_grammar_free(grammar);
	}
	close_fixture(&f);
}

static void
test_masks(void **state)
{
	check_masks(NANO_TOKENIZER, "", 6, 60);
	check_masks(TINY_TOKENIZER, " ", 6, 40);
	check_masks(SMALL "/tokenizer.json", "", 6, 40);
	check_masks(FULL_SIZE, " ", 1, 8);
}

/* Strings that leave room for about as many characters as a plain token has at most */
static void
test_room_for_text(void **state)
{
	fixture		f;
	int			tokens[DSV_PLAIN_CHARS + 3];

	open_fixture(&f, FULL_SIZE, "", false);
	for (int max = DSV_PLAIN_CHARS - 2; max < DSV_PLAIN_CHARS + 3; max++)
	{
		char		schema[100];
		dsv_grammar *grammar;

		snprintf(schema, sizeof(schema), "{\"type\": \"string\", \"maxLength\": %d}", max);
		grammar = compile(schema);
		start(&f, grammar, DSV_AUTOMATON_MEMORY);
		take_text(&f, "\"");
		check_mask(&f);
		tokens[max] = count(&f, dsv_constraint_mask(&f.c, f.trie.vocab));
		dsv_grammar_free(grammar);
	}
	/* there are tokens that just fit */
	assert_true(tokens[DSV_PLAIN_CHARS - 2] < tokens[DSV_PLAIN_CHARS - 1]);
	assert_true(tokens[DSV_PLAIN_CHARS - 1] < tokens[DSV_PLAIN_CHARS]);
	close_fixture(&f);
}

/* Labels of boxes are free text, too, but for what begins a special token. */
static void
test_masks_of_boxes(void **state)
{
	fixture		f;
	rng			r = {5};
	dsv_grammar *grammar;
	dsv_error	err = {0};

	check_ok(dsv_grammar_for_boxes(NULL, 2, NULL, &grammar, &err), &err);
	for (int specials = 0; specials < 2; specials++)
	{
		open_fixture(&f, FULL_SIZE, " ", specials);
		start(&f, grammar, DSV_AUTOMATON_MEMORY);
		for (int n = 0; n < 25; n++)
		{
			int32_t		token;

			check_mask(&f);
			token = random_token(&f, dsv_constraint_mask(&f.c, f.trie.vocab), &r);
			if (token == f.end)
				break;
			assert_true(dsv_constraint_take(&f.c, token));
		}
		close_fixture(&f);
	}
	dsv_grammar_free(grammar);
}

/* An automaton that starts over all the time leads to the same answers. */
static void
test_little_memory(void **state)
{
	static const char schema[] = "{\"type\": \"array\", \"items\": {\"anyOf\": [{\"type\": \"string\", "
		"\"maxLength\": 300}, {\"type\": \"number\"}, {\"enum\": [\"abcde\", \"abcdx\", \"日本語\"]}]}}";
	dsv_grammar *grammar = compile(schema);
	fixture		f[2];
	rng			r = {3};
	int			forgot = 0;

	for (int i = 0; i < 2; i++)
		open_fixture(&f[i], TINY_TOKENIZER, " ", false);
	start(&f[0], grammar, DSV_AUTOMATON_MEMORY);
	start(&f[1], grammar, 20 * 1024);
	for (int n = 0; n < 150; n++)
	{
		int32_t		forced[2][8];
		int			nforced[2];
		const uint32_t *mask[2];
		int32_t		token;
		int			states = dsv_automaton_states(f[1].c.automaton);

		for (int i = 0; i < 2; i++)
			nforced[i] = dsv_constraint_force(&f[i].c, forced[i], 8);
		assert_int_equal(nforced[0], nforced[1]);
		assert_memory_equal(forced[0], forced[1], (size_t) nforced[0] * sizeof(int32_t));
		for (int i = 0; i < 2; i++)
			mask[i] = dsv_constraint_mask(&f[i].c, f[i].trie.vocab);
		forgot += dsv_automaton_states(f[1].c.automaton) < states;
		assert_non_null(mask[1]);
		for (int32_t t = 0; t < f[0].trie.vocab; t++)
			assert_int_equal(has(mask[0], t), has(mask[1], t));
		token = random_token(&f[0], mask[0], &r);
		if (token == f[0].end)
			for (int i = 0; i < 2; i++)
				dsv_constraint_reset(&f[i].c);
		else
			for (int i = 0; i < 2; i++)
				assert_true(dsv_constraint_take(&f[i].c, token));
	}
	assert_false(f[1].c.broken);
	assert_true(forgot > 10);
	for (int i = 0; i < 2; i++)
		close_fixture(&f[i]);
	dsv_grammar_free(grammar);
}

/* Where not even the states of one walk fit, there is no mask. */
static void
test_too_little_memory(void **state)
{
	char		schema[400] = "{\"const\": \"";
	dsv_grammar *grammar;
	fixture		f;
	int32_t		tokens[400];

	for (int i = 0; i < 300; i++)
		strcat(schema, i % 2 == 0 ? "a" : "z");
	strcat(schema, "\"}");
	grammar = compile(schema);
	open_fixture(&f, TINY_TOKENIZER, "", false);
	start(&f, grammar, 16 * 1024);
	while (dsv_constraint_force(&f.c, tokens, 400) > 0)
		;
	assert_true(f.c.broken);
	assert_false(dsv_constraint_ended(&f.c));
	assert_null(dsv_constraint_mask(&f.c, f.trie.vocab));
	for (int32_t t = 0; t < f.trie.vocab; t++)
		assert_false(dsv_constraint_allows(&f.c, t));
	/* a rewind finds it as it was */
	dsv_constraint_reset(&f.c);
	assert_false(f.c.broken);
	assert_non_null(dsv_constraint_mask(&f.c, f.trie.vocab));
	close_fixture(&f);
	dsv_grammar_free(grammar);
}

/* ---- forced runs ---- */

/* Forces what can be forced; checks that it is these tokens, one a line. */
static void
check_forced(fixture *f, const char *expected)
{
	int32_t		tokens[64];
	dsv_text	text = {0};
	int			n = dsv_constraint_force(&f->c, tokens, 64);

	for (int i = 0; i < n; i++)
	{
		size_t		len;
		const char *bytes = dsv_tokenizer_bytes(f->tok, tokens[i], &len);

		assert_true(dsv_text_add(NULL, &text, bytes, len));
		assert_true(dsv_text_add(NULL, &text, "\n", 1));
	}
	assert_string_equal(n > 0 ? text.s : "", expected);
	assert_int_equal(dsv_constraint_force(&f->c, tokens, 64), 0);
	free(text.s);
}

static void
test_forced(void **state)
{
	dsv_grammar *grammar = compile("{\"type\": \"object\", \"required\": [\"merchant\", \"total\", \"unit\"],"
										  "\"properties\": {\"merchant\": {\"type\": \"string\"}, \"total\": "
										  "{\"type\": \"number\"}, \"unit\": {\"enum\": [\"EUR\", \"USD\"]}}}");
	fixture		f;
	const uint32_t *mask;

	open_fixture(&f, FULL_SIZE, " ", false);
	start(&f, grammar, DSV_AUTOMATON_MEMORY);
	/* the quote is held back: it may be one token with what follows, `"$` for example */
	check_forced(&f, " {\"\nmer\nchant\n\":\n");
	mask = dsv_constraint_mask(&f.c, f.trie.vocab);
	assert_true(count(&f, mask) > 20);
	/* nothing shorter than what is held back */
	for (int32_t t = 0; t < f.trie.vocab; t++)
	{
		size_t		len;
		const char *bytes = dsv_tokenizer_bytes(f.tok, t, &len);

		assert_true(!has(mask, t) || memcmp(bytes, " \"", 2) == 0);
	}
	check_mask(&f);
	take_text(&f, " \"");
	check_forced(&f, "");
	take_text(&f, "Acme \",");
	/* so is the space in front of a number, as there is ` -` */
	check_forced(&f, " \"\ntotal\n\":\n");
	assert_int_equal(count(&f, dsv_constraint_mask(&f.c, f.trie.vocab)), 2);
	take_text(&f, " 12");
	check_forced(&f, "");
	take_text(&f, ".5,");
	/* no token goes from the quote into the choices */
	check_forced(&f, " \"\nunit\n\":\n \"\n");
	take_text(&f, "US");
	assert_false(dsv_constraint_ended(&f.c));
	check_forced(&f, "D\n\"}\n");
	assert_true(dsv_constraint_ended(&f.c));
	assert_true(has(dsv_constraint_mask(&f.c, f.trie.vocab), f.end));
	close_fixture(&f);
	dsv_grammar_free(grammar);
}

/* A run that is longer than what is forced at a time, of characters of several bytes */
static void
test_long_run(void **state)
{
	char		schema[3000] = "{\"const\": \"";
	dsv_grammar *grammar;
	fixture		f;
	dsv_text	text = {0};

	for (int i = 0; i < 300; i++)
		strcat(schema, i % 3 == 0 ? "é" : i % 3 == 1 ? "ab" : "日本");
	strcat(schema, "\"}");
	grammar = compile(schema);
	open_fixture(&f, TINY_TOKENIZER, "", false);
	start(&f, grammar, DSV_AUTOMATON_MEMORY);
	force(&f, &text);
	assert_true(dsv_constraint_ended(&f.c));
	assert_true(text.len > 3 * DSV_RUN);
	assert_int_equal(text.len, strlen(schema) - 11);
	assert_memory_equal(text.s, schema + 10, text.len);
	free(text.s);
	close_fixture(&f);
	dsv_grammar_free(grammar);
}

/* ---- special tokens ---- */

static void
test_special(void **state)
{
	const char *texts[] = {"<|ref|>the cat<|/ref|>", "<|ref|>the dog<|/ref|>", "<div>"};
	dsv_grammar *grammar = choice_grammar(texts, 3);
	dsv_tokenizer *tok;
	fixture		f;
	int32_t		ref;
	int32_t		less;
	const uint32_t *mask;
	dsv_span	span = {"<", 1, false};
	dsv_tokens	tokens = {0};

	/* with special tokens they are the only way to write their text: what begins it is not allowed */
	open_fixture(&f, TINY_TOKENIZER, "", true);
	tok = f.tok;
	ref = dsv_tokenizer_added(tok, "<|ref|>");
	assert_int_equal(dsv_tokenizer_encode(tok, &span, 1, NULL, NULL, &tokens, NULL), DSV_OK);
	less = tokens.ids[0];
	free(tokens.ids);
	start(&f, grammar, DSV_AUTOMATON_MEMORY);
	mask = dsv_constraint_mask(&f.c, f.trie.vocab);
	assert_int_equal(count(&f, mask), 1);
	assert_true(has(mask, ref) && dsv_constraint_allows(&f.c, ref) && !dsv_constraint_allows(&f.c, less));
	assert_true(dsv_constraint_take(&f.c, ref));
	take_text(&f, "the");
	take_text(&f, " cat");
	assert_int_equal(dsv_constraint_force(&f.c, &ref, 1), 1);
	assert_int_equal(ref, dsv_tokenizer_added(tok, "<|/ref|>"));
	assert_true(dsv_constraint_ended(&f.c));
	close_fixture(&f);

	/* without them they are text like any other */
	open_fixture(&f, TINY_TOKENIZER, "", false);
	start(&f, grammar, DSV_AUTOMATON_MEMORY);
	assert_false(dsv_constraint_allows(&f.c, ref));
	assert_true(dsv_constraint_allows(&f.c, less));
	check_mask(&f);
	take_text(&f, "<|ref|>the dog<|/ref|>");
	assert_true(dsv_constraint_ended(&f.c));
	close_fixture(&f);
	dsv_grammar_free(grammar);
}

/* A text that another one begins with may end there, or go on. */
static void
test_end(void **state)
{
	const char *texts[] = {"ab", "abab"};
	dsv_grammar *grammar = choice_grammar(texts, 2);
	fixture		f;

	open_fixture(&f, NANO_TOKENIZER, "", false);
	start(&f, grammar, DSV_AUTOMATON_MEMORY);
	assert_false(dsv_constraint_allows(&f.c, f.end));
	take_text(&f, "ab");
	assert_true(dsv_constraint_allows(&f.c, f.end) && has(dsv_constraint_mask(&f.c, f.trie.vocab), f.end));
	assert_false(dsv_constraint_take(&f.c, f.end));
	assert_false(dsv_constraint_ended(&f.c));
	take_text(&f, "ab");
	assert_true(dsv_constraint_ended(&f.c));
	assert_int_equal(count(&f, dsv_constraint_mask(&f.c, f.trie.vocab)), 1);
	close_fixture(&f);
	dsv_grammar_free(grammar);
}

/* A vocabulary that cannot spell what comes next has an empty mask. */
static void
test_dead_end(void **state)
{
	dsv_grammar *grammar = compile("{\"type\": \"boolean\"}");
	fixture		f;
	dsv_error	err = {0};

	open_fixture(&f, TINY_TOKENIZER, "", false);
	dsv_vocab_trie_free(&f.trie, NULL);
	check_ok(dsv_vocab_trie_init(&f.trie, f.tok, 20, f.end, NULL, &err), &err);
	start(&f, grammar, DSV_AUTOMATON_MEMORY);
	assert_null(dsv_constraint_mask(&f.c, f.trie.vocab));
	close_fixture(&f);
	dsv_grammar_free(grammar);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_room_for_text),
		cmocka_unit_test(test_masks_of_boxes),
		cmocka_unit_test(test_little_memory),
		cmocka_unit_test(test_too_little_memory),
		cmocka_unit_test(test_forced),
		cmocka_unit_test(test_long_run),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_dead_end),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("constraint", tests, NULL, NULL);
}
