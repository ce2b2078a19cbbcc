/*
 * test_constrained.c
 *		Whole answers under a grammar, of models that say gibberish: valid or cut off, whatever the
 *		schema, and with the same bits always.
 */
#include "engine_util.h"

#include <limits.h>
#include <unistd.h>

#include "engine.h"
#include "random_schema.h"

#define SCHEMAS 300

static const char *const models[] = {TINY, SMALL, BASE};

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
	if (!valid(schema, schema, value))
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
	if (y->logprobs != NULL)
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

/* A greedy and a hot answer together, then each alone with other threads, with and without
 * log-probabilities */
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
	for (int k = 0; k < 4 && i % 5 < 2; k++)
	{
		dsv_sequence *alone;

		requests[k % 2].no_logprobs = k > 1;
		alone = submit_prompt(m->two, (uint32_t) (i + k % 2), &requests[k % 2]);
		finish_all(m->two);
		check_equal(together[k % 2], alone);
		assert_int_equal(dsv_sequence_result(alone)->logprobs == NULL, k > 1);
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
		json_t	   *schema = random_document(&r);
		char	   *text = json_dumps(schema, JSON_COMPACT);
		dsv_grammar *grammar = compile(text);

		for (int k = 0; k < 3; k++)
			finished += ask_model(&m[k], i, schema, grammar);
		dsv_grammar_free(grammar);
		free(text);
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

/* ---- one answer ---- */

typedef struct answers
{
	dsv_model  *model;
	dsv_engine *engine;
	dsv_grammar *grammar;
	dsv_request request;
} answers;

/* Short values of several kinds, in ASCII */
static const char receipt[] =
	"{\"type\": \"object\", \"required\": [\"shop\", \"total\", \"paid\", \"unit\"], \"properties\": {"
	"\"shop\": {\"type\": \"string\", \"pattern\": \"^[A-Za-z ]{1,12}$\"}, \"total\": {\"type\": \"number\", "
	"\"minimum\": 0, \"maximum\": 999}, \"paid\": {\"type\": \"boolean\"}, \"unit\": {\"enum\": [\"EUR\", \"USD\"]}}}";

static void
open_answers(answers *a, const char *dir, const char *schema)
{
	a->model = open_model(dir);
	a->engine = make_engine(a->model, &(dsv_engine_options) {.threads = 1});
	a->grammar = compile(schema);
	a->request = (dsv_request) {.grammar = a->grammar, .max_tokens = 100};
}

static void
close_answers(answers *a)
{
	dsv_engine_destroy(a->engine);
	dsv_grammar_free(a->grammar);
	dsv_model_close(a->model);
}

static dsv_sequence *
answer(answers *a, int max_tokens)
{
	dsv_sequence *seq;

	a->request.max_tokens = max_tokens;
	seq = submit_prompt(a->engine, 7, &a->request);
	finish_all(a->engine);
	return seq;
}

/* With fewer tokens the answer is the beginning of the longer one; the last token of all ends it. */
static void
test_cut_off(void **state)
{
	for (int m = 0; m < 3; m++)
	{
		answers		a;
		dsv_sequence *whole;
		const dsv_result *w;

		open_answers(&a, models[m], receipt);
		whole = answer(&a, 100);
		w = dsv_sequence_result(whole);
		assert_int_equal(w->finish, DSV_FINISH_STOP);
		for (int n = 1; n <= w->ntokens; n++)
		{
			dsv_sequence *seq = answer(&a, n);
			const dsv_result *r = dsv_sequence_result(seq);

			assert_int_equal(r->finish, n < w->ntokens ? DSV_FINISH_LENGTH : DSV_FINISH_STOP);
			assert_int_equal(r->ntokens, n);
			assert_memory_equal(r->tokens, w->tokens, n * sizeof(int32_t));
			assert_memory_equal(r->logprobs, w->logprobs, n * sizeof(float));
			assert_true(r->len <= w->len && memcmp(r->text, w->text, r->len) == 0);
			dsv_sequence_release(seq);
		}
		close_answers(&a);
	}
}

/* An answer that the grammar leaves no choice about needs no pass at all. */
static void
test_no_choice(void **state)
{
	answers		a;
	dsv_sequence *seq;
	const dsv_result *r;
	dsv_error	err = {0};

	open_answers(&a, TINY, "{\"const\": {\"<|Assistant|>\": [1, \"a\\\"b\"]}}");
	seq = submit_prompt(a.engine, 1, &a.request);
	while (dsv_sequence_state(seq) <= DSV_STATE_PREFILL)
		check_ok(dsv_engine_step(a.engine, &err), &err);
	assert_int_equal(dsv_sequence_state(seq), DSV_STATE_DONE);
	r = dsv_sequence_result(seq);
	assert_int_equal(r->finish, DSV_FINISH_STOP);
	assert_string_equal(r->text, " {\"<|Assistant|>\": [1, \"a\\\"b\"]}");
	for (int i = 0; i < r->ntokens; i++)
		assert_true(r->forced[i] && r->logprobs[i] == 0);
	/* and again after a rewind */
	check_ok(dsv_sequence_rewind(seq, 3, NULL, 0, &err), &err);
	finish_all(a.engine);
	assert_string_equal(dsv_sequence_result(seq)->text, " {\"<|Assistant|>\": [1, \"a\\\"b\"]}");
	close_answers(&a);
}

static void
test_rewind(void **state)
{
	answers		a;
	dsv_sequence *seq;
	dsv_sequence *whole;
	int			n;
	dsv_error	err = {0};

	open_answers(&a, BASE, receipt);
	whole = answer(&a, 100);
	seq = answer(&a, 100);
	n = dsv_sequence_result(seq)->ntokens;
	for (int keep = n; keep >= 0; keep--)
	{
		check_ok(dsv_sequence_rewind(seq, keep, NULL, 0, &err), &err);
		finish_all(a.engine);
		check_equal(seq, whole);
	}

	/* what the grammar does not allow cannot be forced, and changes nothing */
	for (int keep = 0; keep < n; keep++)
	{
		int32_t		force[2] = {dsv_sequence_result(whole)->tokens[keep], a.model->special.eos};

		assert_int_equal(dsv_sequence_rewind(seq, keep, force, 2, &err), DSV_INPUT);
		check_equal(seq, whole);
	}
	/* what it does goes on */
	check_ok(dsv_sequence_rewind(seq, n - 2, dsv_sequence_result(whole)->tokens + n - 2, 1, &err), &err);
	finish_all(a.engine);
	assert_true(dsv_sequence_result(seq)->forced[n - 2]);
	assert_string_equal(dsv_sequence_result(seq)->text, dsv_sequence_result(whole)->text);
	close_answers(&a);
}

/* What an assistant's turn has begun goes on without the prefix of answers. */
static void
test_prefix(void **state)
{
	answers		a;
	dsv_part	parts[2] = {{DSV_PART_TEXT, "Total?", 6}, {DSV_PART_TEXT, "As JSON:", 8}};
	dsv_turn	turns[2] = {{DSV_ROLE_USER, &parts[0], 1}, {DSV_ROLE_ASSISTANT, &parts[1], 1}};

	open_answers(&a, TINY, receipt);
	a.request.turns = turns;
	for (a.request.nturns = 1; a.request.nturns <= 2; a.request.nturns++)
	{
		dsv_sequence *seq = submit(a.engine, &a.request);

		finish_all(a.engine);
		assert_memory_equal(dsv_sequence_result(seq)->text, a.request.nturns == 1 ? " {\"shop" : "{\"shop\"", 7);
		dsv_sequence_release(seq);
	}
	close_answers(&a);
}

/* Boxes are written with the special tokens, also where the label could spell them. */
static void
test_boxes(void **state)
{
	for (int m = 0; m < 6; m++)
	{
		dsv_model  *model = open_model(models[m / 2]);
		dsv_engine *engine = make_engine(model, &(dsv_engine_options) {.threads = 1});
		dsv_request request = {.max_tokens = 120, .keep_special = true};
		dsv_grammar *grammar;
		dsv_sequence *seq;
		const dsv_result *r;
		dsv_ground	ground;
		dsv_error	err = {0};
		int			special = 0;

		request.sampling = (dsv_sampling) {.temperature = m % 2 * 1.5f, .seed = 5};
		check_ok(dsv_grammar_for_boxes(&(dsv_bytes) {"a <b> cat", 9}, 3, NULL, &grammar, &err), &err);
		request.grammar = grammar;
		seq = submit_prompt(engine, 3, &request);
		finish_all(engine);
		r = dsv_sequence_result(seq);
		assert_int_equal(r->finish, DSV_FINISH_STOP);
		for (int i = 0; i < r->ntokens; i++)
			special += dsv_tokenizer_is_special(model->tokenizer, r->tokens[i]);
		assert_int_equal(special, 4);
		check_ok(dsv_ground_parse(r->text, r->len, 1000, 1000, 1, false, NULL, &ground, &err), &err);
		assert_in_range(ground.nboxes, 1, 3);
		assert_false(ground.malformed);
		assert_int_equal(ground.boxes[0].label_len, 9);
		dsv_ground_free(&ground, NULL);
		dsv_engine_destroy(engine);
		dsv_grammar_free(grammar);
		dsv_model_close(model);
	}
}

/* ---- what cannot be ---- */

static void
test_stop_strings(void **state)
{
	answers		a;
	dsv_bytes	stop = {"x", 1};
	int32_t		prompt = 5;
	dsv_error	err = {0};
	dsv_sequence *seq;

	open_answers(&a, TINY, receipt);
	a.request.stop = &stop;
	a.request.nstop = 1;
	assert_int_equal(dsv_engine_submit_tokens(a.engine, &prompt, 1, &a.request, &seq, &err), DSV_INPUT);
	assert_null(seq);
	close_answers(&a);
}

/* tiny-like, but with another token in the place of "~" */
static void
make_model_without_tilde(char dir[64])
{
	static const char *const files[] = {"config.json", "model-00001-of-000001.safetensors",
	"model.safetensors.index.json", "processor_config.json"};
	dsv_bytes	tokenizer = read_file(TINY "/tokenizer.json");
	char	   *tilde = memmem(tokenizer.data, tokenizer.len, "\"~\":", 4);
	char		path[200];
	char		target[PATH_MAX];
	FILE	   *out;

	assert_non_null(tilde);
	tilde[1] = '\x7F';			/* a byte that is written otherwise there */
	strcpy(dir, "/tmp/dsv-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 4; i++)
	{
		snprintf(path, sizeof(path), TINY "/%s", files[i]);
		assert_non_null(realpath(path, target));
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		assert_int_equal(symlink(target, path), 0);
	}
	snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
	out = fopen(path, "w");
	fwrite(tokenizer.data, 1, tokenizer.len, out);
	assert_int_equal(fclose(out), 0);
	free((void *) tokenizer.data);
}

static void
remove_model(const char *dir)
{
	char		command[100];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

/* What the vocabulary cannot spell fails its sequence, and no other. */
static void
test_dead_end(void **state)
{
	char		dir[64];
	answers		a;
	dsv_grammar *tilde;
	dsv_request request = {.max_tokens = 100};
	dsv_sequence *good;
	dsv_sequence *bad;
	dsv_error	err = {0};
	int			failures = 0;

	make_model_without_tilde(dir);
	open_answers(&a, dir, receipt);
	request.grammar = tilde = compile("{\"enum\": [\"a~b\", \"c~d\"]}");
	for (int i = 0; i < 2; i++)
	{
		/* in the prefill for the first, while others decode for the second */
		good = submit_prompt(a.engine, 1, &a.request);
		if (i == 1)
			while (dsv_sequence_state(good) <= DSV_STATE_PREFILL)
				check_ok(dsv_engine_step(a.engine, &err), &err);
		bad = submit_prompt(a.engine, 2, &request);
		while (dsv_engine_runnable(a.engine))
			if (dsv_engine_step(a.engine, &err) != DSV_OK)
			{
				assert_int_equal(err.code, DSV_SCHEMA);
				failures++;
			}
		assert_int_equal(dsv_sequence_state(bad), DSV_STATE_FAILED);
		assert_int_equal(dsv_sequence_state(good), DSV_STATE_DONE);
		assert_int_equal(dsv_sequence_result(good)->finish, DSV_FINISH_STOP);
		dsv_sequence_release(bad);
		dsv_sequence_release(good);
	}
	assert_int_equal(failures, 2);
	dsv_grammar_free(tilde);
	close_answers(&a);
	remove_model(dir);
}

/* ---- memory ---- */

static void
test_memory_limit(void **state)
{
	dsv_model  *model = open_model(TINY);
	dsv_grammar *grammar = compile(receipt);
	dsv_request request = {.max_tokens = 50};
	dsv_memory	m;
	dsv_memory	held;
	dsv_engine *engine = make_engine(model, &(dsv_engine_options) {.threads = 1});
	dsv_sequence *seq;
	int32_t		prompt = 5;
	dsv_error	err = {0};
	size_t		trie;

	/* what fits without a grammar does not with one, unless there is room for it */
	dsv_engine_memory(engine, 1, 50, 0, &m);
	dsv_engine_destroy(engine);
	engine = make_engine(model, &(dsv_engine_options) {.threads = 1, .memory_limit = m.scratch + m.sequence});
	check_ok(dsv_engine_submit_tokens(engine, &prompt, 1, &request, &seq, &err), &err);
	dsv_sequence_release(seq);
	request.grammar = grammar;
	assert_int_equal(dsv_engine_submit_tokens(engine, &prompt, 1, &request, &seq, &err), DSV_BUDGET);
	dsv_engine_memory_held(engine, &held);
	trie = held.scratch;
	assert_in_range(trie, 8000, 100000);
	dsv_engine_destroy(engine);

	/* and all of it is counted */
	engine = make_engine(model, &(dsv_engine_options) {.threads = 1});
	check_ok(dsv_engine_submit_tokens(engine, &prompt, 1, &request, &seq, &err), &err);
	dsv_engine_memory_held(engine, &held);
	assert_int_equal(held.scratch, m.scratch + trie);
	assert_true(held.sequence > m.sequence + DSV_AUTOMATON_MEMORY);
	dsv_sequence_release(seq);
	dsv_engine_memory_held(engine, &held);
	assert_int_equal(held.sequence, 0);
	dsv_engine_destroy(engine);
	dsv_grammar_free(grammar);
	dsv_model_close(model);
}

/* Every allocation of an admission fails once; steps take nothing. */
static void
test_every_allocation_fails_once(void **state)
{
	dsv_model  *model = open_model(TINY);
	dsv_grammar *grammar = compile(receipt);
	dsv_request request = {.max_tokens = 100, .grammar = grammar};
	dsv_code	code = DSV_NOMEM;
	int			n = 0;

	while (code == DSV_NOMEM)
	{
		books		b = {0};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_engine *engine = make_engine(model, &(dsv_engine_options) {.mem = &mem, .threads = 1});
		dsv_sequence *seq;
		int32_t		prompt = 5;
		dsv_error	err = {0};
		dsv_memory	held;

		b.fail_at = b.calls + ++n;
		code = dsv_engine_submit_tokens(engine, &prompt, 1, &request, &seq, &err);
		assert_true(code == DSV_NOMEM || code == DSV_OK);
		dsv_engine_memory_held(engine, &held);
		assert_int_equal(held.sequence > 0, code == DSV_OK);
		if (code == DSV_OK)
		{
			int			calls = b.calls;

			finish_all(engine);
			assert_int_equal(b.calls, calls);
			assert_int_equal(dsv_sequence_result(seq)->finish, DSV_FINISH_STOP);
		}
		dsv_engine_destroy(engine);
		assert_int_equal(b.held, 0);
	}
	assert_true(n > 6);
	dsv_grammar_free(grammar);
	dsv_model_close(model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_schema),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_no_choice),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_boxes),
		cmocka_unit_test(test_stop_strings),
		cmocka_unit_test(test_dead_end),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_every_allocation_fails_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("constrained", tests, NULL, NULL);
}
