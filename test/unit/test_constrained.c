/*
 * test_constrained.c
 *		Whole answers under a grammar, of models that say gibberish: valid or cut off, whatever the
 *		schema, and with the same bits always.
 */
#include "engine_util.h"

#include <sys/stat.h>

#include "engine.h"
#include "schema_util.h"

#define SCHEMAS 300

static const char *const models[] = {TINY, SMALL, BASE};

static dsv_grammar *
grammar_of(const json_t *schema)
{
	char	   *text = json_dumps(schema, JSON_COMPACT);
	dsv_error	err = {0};
	dsv_grammar *grammar;

	if (dsv_grammar_from_schema(text, strlen(text), NULL, &grammar, &err) != DSV_OK)
		fail_msg("%s: %s %s", text, err.msg, err.detail);
	free(text);
	return grammar;
}

static dsv_grammar *
schema_grammar(const char *schema)
{
	json_t	   *json = json_loads(schema, JSON_DECODE_ANY, NULL);
	dsv_grammar *grammar;

	assert_non_null(json);
	grammar = grammar_of(json);
	json_decref(json);
	return grammar;
}

static dsv_sequence *
submit_prompt(dsv_engine *engine, uint32_t seed, const dsv_request *request)
{
	int32_t		prompt[12];
	dsv_error	err = {0};
	dsv_sequence *seq;

	for (int i = 0; i < 12; i++)
	{
		seed = seed * 1664525u + 1013904223u;
		prompt[i] = 3 + (int32_t) (seed >> 8) % 900;
	}
	check_ok(dsv_engine_submit_tokens(engine, prompt, 12, request, &seq, &err), &err);
	return seq;
}

static void
finish_all(dsv_engine *engine)
{
	dsv_error	err = {0};

	check_ok(run_to_end(engine, &err), &err);
}

/* ---- what an answer must be ---- */

/* Ordinary tokens only, which spell the beginning of a text of the grammar */
static void
check_tokens(const dsv_engine *engine, const dsv_grammar *grammar, const dsv_result *r)
{
	const dsv_tokenizer *tok = engine->model->tokenizer;
	size_t		skip = strlen(engine->model->info.answers.prefix);
	dsv_automaton *a;
	dsv_error	err = {0};
	int32_t		state;

	check_ok(dsv_automaton_create(grammar, (size_t) 8 << 20, NULL, &a, &err), &err);
	state = dsv_automaton_start(a);
	for (int i = 0; i < r->ntokens; i++)
	{
		size_t		len;
		const char *bytes = dsv_tokenizer_bytes(tok, r->tokens[i], &len);

		assert_false(dsv_tokenizer_is_added(tok, r->tokens[i]));
		for (size_t k = 0; k < len; k++)
		{
			if (skip > 0)
				skip--;
			else
				state = dsv_automaton_next(a, state, (uint8_t) bytes[k]);
			assert_true(state >= 0);
		}
		assert_true(r->forced[i] ? r->logprobs[i] == 0 : r->logprobs[i] <= 0);
	}
	assert_true(r->finish == DSV_FINISH_LENGTH || dsv_automaton_accepts(a, state));
	dsv_automaton_destroy(a);
}

/* Valid JSON that obeys the schema, or cut off; true when it was finished. */
static bool
check_answer(const dsv_engine *engine, const json_t *schema, const dsv_grammar *grammar, dsv_sequence *seq,
			 int max_tokens)
{
	const dsv_result *r = dsv_sequence_result(seq);
	json_error_t error;
	json_t	   *value;

	assert_int_equal(dsv_sequence_state(seq), DSV_STATE_DONE);
	check_tokens(engine, grammar, r);
	assert_true(r->ntokens <= max_tokens);
	if (r->finish == DSV_FINISH_LENGTH)
	{
		assert_int_equal(r->ntokens, max_tokens);
		return false;
	}
	assert_int_equal(r->finish, DSV_FINISH_STOP);
	value = json_loadb(r->text, r->len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (value == NULL)
		fail_msg("%s in %s", error.text, r->text);
	if (!obeys(schema, schema, value))
	{
		char	   *text = json_dumps(schema, 0);

		fail_msg("%s does not obey %s", r->text, text);
	}
	json_decref(value);
	return true;
}

static void
check_equal(dsv_sequence *a, dsv_sequence *b)
{
	const dsv_result *x = dsv_sequence_result(a);
	const dsv_result *y = dsv_sequence_result(b);

	assert_int_equal(x->ntokens, y->ntokens);
	assert_int_equal(x->finish, y->finish);
	assert_memory_equal(x->tokens, y->tokens, x->ntokens * sizeof(int32_t));
	assert_memory_equal(x->logprobs, y->logprobs, x->ntokens * sizeof(float));
	assert_memory_equal(x->forced, y->forced, x->ntokens * sizeof(bool));
	assert_int_equal(x->len, y->len);
	assert_memory_equal(x->text, y->text, x->len);
}

/* ---- any schema, any model ---- */

typedef struct models_open
{
	dsv_model  *model;
	dsv_engine *one;			/* thread */
	dsv_engine *two;
} models_open;

/* A greedy and a hot answer together, then each alone with other threads */
static int
ask_model(models_open *m, int i, const json_t *schema, const dsv_grammar *grammar)
{
	dsv_request requests[2];
	dsv_sequence *together[2];
	int			finished = 0;

	for (int k = 0; k < 2; k++)
	{
		requests[k] = (dsv_request) {.grammar = grammar, .max_tokens = 40 + i % 7 * 20};
		requests[k].sampling.temperature = k == 0 ? 0 : 1.5f;
		requests[k].sampling.seed = (uint64_t) i;
		if (i % 5 == 0)
			requests[k].sampling.repetition_penalty = 1.3f;
		if (i % 6 == 0)
			requests[k].sampling.no_repeat_ngram = 2;
		together[k] = submit_prompt(m->one, (uint32_t) (i + k), &requests[k]);
	}
	finish_all(m->one);
	for (int k = 0; k < 2; k++)
		finished += check_answer(m->one, schema, grammar, together[k], requests[k].max_tokens);
	for (int k = 0; k < 2 && i % 5 == 0; k++)
	{
		dsv_sequence *alone = submit_prompt(m->two, (uint32_t) (i + k), &requests[k]);

		finish_all(m->two);
		check_equal(together[k], alone);
		dsv_sequence_release(alone);
	}
	for (int k = 0; k < 2; k++)
		dsv_sequence_release(together[k]);
	return finished;
}

static void
test_any_schema(void **state)
{
	models_open m[3];
	rng			r = {2024};
	int			finished = 0;

	for (int i = 0; i < 3; i++)
	{
		m[i].model = open_model(models[i]);
		m[i].one = make_engine(m[i].model, &(dsv_engine_options) {.threads = 1});
		m[i].two = make_engine(m[i].model, &(dsv_engine_options) {.threads = 2});
	}
	for (int i = 0; i < SCHEMAS; i++)
	{
		json_t	   *schema = i % 50 == 49 ? recursive_schema() : random_schema(&r, 3);
		dsv_grammar *grammar = grammar_of(schema);

		for (int k = 0; k < 3; k++)
			finished += ask_model(&m[k], i, schema, grammar);
		dsv_grammar_free(grammar);
		json_decref(schema);
	}
	print_message("%d of %d answers were finished\n", finished, 6 * SCHEMAS);
	assert_true(finished > 6 * SCHEMAS / 2);
	for (int i = 0; i < 3; i++)
	{
		dsv_engine_destroy(m[i].one);
		dsv_engine_destroy(m[i].two);
		dsv_model_close(m[i].model);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_schema),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("constrained", tests, NULL, NULL);
}
