/*
 * test_score.c
 *		Candidates: their tree, and that each gets what decoding its tokens would give it,
 *		whatever stands beside it.
 */
#include "engine_util.h"

#include <math.h>

#include "score.h"

#define PROMPT 50
#define LONG " 314159265358979323846264338327950288419716939937510 58209749445923078164062862"

static const char *const models[] = {TINY, SMALL, BASE};

static const char *const texts[] = {
	" yes", " no", "", " yes, of course", " yes, it is", "yes", LONG, " yes", " <|Assistant|>",
};

#define NTEXTS ((int) (sizeof(texts) / sizeof(texts[0])))

static void
make_texts(const char *const *s, int n, dsv_bytes *out)
{
	for (int i = 0; i < n; i++)
		out[i] = (dsv_bytes) {s[i], strlen(s[i])};
}

static dsv_tokenizer *
open_tokenizer(const char *dir)
{
	char		path[128];
	dsv_error	err = {0};
	dsv_tokenizer *tokenizer;

	snprintf(path, sizeof(path), "%s/tokenizer.json", dir);
	check_ok(dsv_tokenizer_open(path, NULL, &tokenizer, &err), &err);
	return tokenizer;
}

/* ---- the tree ---- */

/* Every candidate's path spells its tokens, no two children of a node are alike, and a node's
 * ancestors are the nearest nodes before it of each smaller depth. */
static void
check_tree(const dsv_score *score, const dsv_candidate_plan *plan)
{
	int			parent[64];
	int			at[64] = {0};
	int			children = 0;

	assert_true(score->nnodes <= 64);
	for (int i = 0; i < score->nnodes; i++)
	{
		assert_true(i == 0 ? score->nodes[i].depth == 0 : score->nodes[i].depth > 0);
		at[score->nodes[i].depth] = i;
		parent[i] = i > 0 ? at[score->nodes[i].depth - 1] : -1;
	}
	for (int i = 0; i < score->nnodes; i++)
		for (int c = score->nodes[i].child; c >= 0; c = score->nodes[c].sibling)
		{
			children++;
			assert_int_equal(parent[c], i);
			for (int d = score->nodes[c].sibling; d >= 0; d = score->nodes[d].sibling)
				assert_int_not_equal(score->nodes[c].token, score->nodes[d].token);
		}
	assert_int_equal(children, score->nnodes - 1);
	for (int i = 0; i < plan->ncandidates; i++)
	{
		int			node = score->last[plan->paths[i].index];

		assert_int_equal(score->nodes[node].depth, plan->paths[i].n);
		for (int k = plan->paths[i].n - 1; k >= 0; k--, node = parent[node])
			assert_int_equal(score->nodes[node].token, plan->paths[i].ids[k]);
	}
}

static void
test_tree(void **state)
{
	static const char *const words[] = {
		" no", " yes, it is", "", " yes", " yes, of course", "yes", " no", " yes, it was",
	};
	dsv_tokenizer *tokenizer = open_tokenizer(SMALL);
	dsv_candidate_plan plan;
	dsv_arena	arena = {NULL, 0};
	dsv_error	err = {0};
	dsv_bytes	bytes[8];
	size_t		tokens = 0;
	dsv_score	score;
	void	   *to_free;

	make_texts(words, 8, bytes);
	check_ok(dsv_candidate_plan_make(tokenizer, bytes, 8, NULL, NULL, &plan, &err), &err);
	score = (dsv_score) {.nnodes = plan.nnodes, .ncandidates = 8};
	dsv_score_layout(&score, &arena);
	arena.base = dsv_alloc_aligned(NULL, arena.used, &to_free);
	arena.used = 0;
	dsv_score_layout(&score, &arena);
	dsv_score_fill(&score, &plan);
	check_tree(&score, &plan);
	for (int i = 0; i < 8; i++)
		tokens += plan.paths[i].n;
	assert_int_equal(tokens, plan.tokens.n);
	assert_true(plan.nnodes < (int) tokens);
	assert_int_equal(score.last[2], 0);
	assert_int_equal(score.last[0], score.last[6]);
	assert_int_not_equal(score.last[0], score.last[3]);
	dsv_free(NULL, to_free);
	dsv_candidate_plan_free(&plan, NULL);
	dsv_tokenizer_close(tokenizer);
}

/* Logits that are no numbers make no probabilities of their tokens, nor NaN. */
static void
test_hostile_logits(void **state)
{
	dsv_score_node nodes[3] = {{.child = 1, .sibling = -1}, {.token = 1, .child = -1, .sibling = 2},
	{.token = 2, .child = -1, .sibling = -1}};
	dsv_score	score = {.nodes = nodes, .nnodes = 3};
	float		one_bad[4] = {0, NAN, 1, -INFINITY};
	float		too_large[4] = {0, 1, INFINITY, 2};
	float		none[4] = {NAN, NAN, NAN, NAN};

	dsv_score_take(&score, 0, one_bad, 4, 0);
	assert_true(nodes[1].logprob == -INFINITY);
	assert_true(fabs(nodes[2].logprob + log(1 + exp(-1))) < 1e-12);
	assert_true(fabs(nodes[0].ended + log(1 + exp(1))) < 1e-12);
	dsv_score_take(&score, 0, too_large, 4, 0);
	assert_true(nodes[1].logprob == -INFINITY && nodes[2].logprob == -INFINITY);
	dsv_score_take(&score, 0, none, 4, 0);
	assert_true(nodes[1].logprob == -INFINITY && nodes[0].ended == -INFINITY);
}

/* ---- against decoding ---- */

typedef struct bench
{
	dsv_model  *model;
	dsv_engine *engine;
	dsv_tokenizer *tokenizer;
	int32_t		prompt[PROMPT];
	logits		l;
} bench;

static void
open_bench(bench *b, const char *dir, dsv_engine_options options)
{
	memset(b, 0, sizeof(*b));
	options.trace = keep_logits;
	options.trace_ud = &b->l;
	b->model = open_model(dir);
	b->engine = make_engine(b->model, &options);
	b->tokenizer = open_tokenizer(dir);
	make_prompt(b->prompt, PROMPT, 11);
}

static void
close_bench(bench *b)
{
	dsv_engine_destroy(b->engine);
	dsv_model_close(b->model);
	dsv_tokenizer_close(b->tokenizer);
	free(b->l.v);
}

static dsv_sequence *
submit_prompt(bench *b, const dsv_request *request)
{
	dsv_error	err = {0};
	dsv_sequence *seq;

	check_ok(dsv_engine_submit_tokens(b->engine, b->prompt, PROMPT, request, &seq, &err), &err);
	return seq;
}

static dsv_sequence *
submit_texts(bench *b, const dsv_bytes *candidates, int n)
{
	return submit_prompt(b, &(dsv_request) {.candidates = candidates, .ncandidates = n});
}

static void
run_bench(bench *b)
{
	dsv_error	err = {0};

	check_ok(run_to_end(b->engine, &err), &err);
}

/* ln softmax(logits)[id], written down once more */
static double
log_softmax(const float *x, int n, int id)
{
	double		sum = 0;
	double		max = x[0];

	for (int i = 1; i < n; i++)
		max = fmax(max, x[i]);
	for (int i = 0; i < n; i++)
		sum += exp(x[i] - max);
	return x[id] - max - log(sum);
}

/* The candidate's tokens forced on an ordinary sequence, more and more of them */
static dsv_candidate
decode_candidate(bench *b, dsv_bytes text)
{
	dsv_span	span = {text.data, text.len, false};
	dsv_tokens	tokens = {0};
	dsv_candidate out = {0};
	dsv_error	err = {0};
	dsv_sequence *seq;
	int32_t		eos = dsv_tokenizer_added(b->tokenizer, "<｜end▁of▁sentence｜>");

	check_ok(dsv_tokenizer_encode(b->tokenizer, &span, 1, NULL, NULL, &tokens, &err), &err);
	seq = submit_prompt(b, &(dsv_request) {.max_tokens = (int) tokens.n + 2});
	run_bench(b);
	for (size_t k = 0; k <= tokens.n; k++)
	{
		b->l.n = 0;
		check_ok(dsv_sequence_rewind(seq, 0, tokens.ids, (int) k, &err), &err);
		while (b->l.n == 0)
			check_ok(dsv_engine_step(b->engine, &err), &err);
		out.logprob += log_softmax(b->l.v, b->l.vocab, k < tokens.n ? tokens.ids[k] : eos);
		out.ntokens++;
	}
	dsv_sequence_release(seq);
	free(tokens.ids);
	return out;
}

static void
check_decoding(const char *dir, dsv_engine_options options)
{
	dsv_bytes	candidates[NTEXTS];
	dsv_sequence *seq;
	bench		b;

	open_bench(&b, dir, options);
	make_texts(texts, NTEXTS, candidates);
	seq = submit_texts(&b, candidates, NTEXTS);
	run_bench(&b);
	assert_int_equal(dsv_sequence_result(seq)->ncandidates, NTEXTS);
	for (int i = 0; i < NTEXTS; i++)
	{
		dsv_candidate got = dsv_sequence_result(seq)->candidates[i];
		dsv_candidate want = decode_candidate(&b, candidates[i]);

		assert_int_equal(got.ntokens, want.ntokens);
		if (!(fabs(got.logprob - want.logprob) < 1e-9))
			fail_msg("%s \"%s\": %.12f, decoded %.12f", dir, texts[i], got.logprob, want.logprob);
	}
	close_bench(&b);
}

static void
test_scores_are_decodes(void **state)
{
	for (int m = 0; m < 3; m++)
		for (int bf16 = 0; bf16 < 2; bf16++)
			check_decoding(models[m], (dsv_engine_options) {.threads = 2,
						   .precision = bf16 ? DSV_PRECISION_BF16 : DSV_PRECISION_FP32});
}

/* The answer that a model gives by itself, as a candidate; it must be its tokens that spell it. */
static void
test_own_answer(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/01-receipt.png");
	dsv_model  *model = open_model(NANO);
	logits		l = {0};
	dsv_engine_options options = {.trace = keep_logits, .trace_ud = &l};
	dsv_engine *engine = make_engine(model, &options);
	dsv_error	err = {0};
	double		sum = 0;
	const dsv_result *said;
	const dsv_result *scored;
	dsv_sequence *seq[2];
	dsv_bytes	candidates[2] = {{"no", 2}};
	ask			a;

	make_ask(&a, &image, 1, "Read all the text in the image.", 300);
	seq[0] = submit(engine, &a.request);
	check_ok(run_to_end(engine, &err), &err);
	said = dsv_sequence_result(seq[0]);
	assert_int_equal(said->finish, DSV_FINISH_STOP);
	assert_true(said->ntokens > 10);
	assert_int_equal(l.n, said->ntokens + 1);
	for (int i = 0; i < said->ntokens; i++)
		sum += said->logprobs[i];
	sum += log_softmax(l.v + (size_t) said->ntokens * l.vocab, l.vocab, 1);	/* 1: the end token */
	candidates[1] = (dsv_bytes) {said->text, said->len};
	a.request.candidates = candidates;
	a.request.ncandidates = 2;
	seq[1] = submit(engine, &a.request);
	check_ok(run_to_end(engine, &err), &err);
	scored = dsv_sequence_result(seq[1]);
	assert_int_equal(scored->candidates[1].ntokens, said->ntokens + 1);
	assert_true(fabs(scored->candidates[1].logprob - sum) < 1e-4);
	assert_true(scored->candidates[0].logprob < sum);
	assert_true(scored->usage.cached_tokens > 0);
	assert_int_equal(scored->usage.tiles, 0);
	assert_int_equal(scored->len, 0);
	assert_int_equal(scored->usage.output_tokens, 0);
	assert_int_equal(scored->finish, DSV_FINISH_STOP);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free(l.v);
	free((void *) image.data);
}

/* ---- what else is in the request or the batch ---- */

#define MANY 200				/* candidates, of several passes */

static void
assert_candidate(const dsv_result *r, int i, dsv_candidate want)
{
	assert_int_equal(r->candidates[i].ntokens, want.ntokens);
	assert_memory_equal(&r->candidates[i].logprob, &want.logprob, sizeof(double));
}

static dsv_candidate
score_alone(bench *b, dsv_bytes text)
{
	dsv_sequence *seq = submit_texts(b, &text, 1);
	dsv_candidate out;

	run_bench(b);
	assert_int_equal(dsv_sequence_result(seq)->ncandidates, 1);
	out = dsv_sequence_result(seq)->candidates[0];
	dsv_sequence_release(seq);
	return out;
}

/* Many with common beginnings, and the few */
static void
check_company(const char *dir, dsv_engine_options options)
{
	char		words[MANY][32];
	dsv_bytes	candidates[MANY];
	dsv_bytes	reversed[MANY];
	dsv_candidate alone[MANY];
	dsv_sequence *seq[3];
	bench		b;

	open_bench(&b, dir, options);
	make_texts(texts, NTEXTS, candidates);
	for (int i = NTEXTS; i < MANY; i++)
	{
		snprintf(words[i], sizeof(words[i]), " label %d of %d", i % 17 * 31, i);
		candidates[i] = (dsv_bytes) {words[i], strlen(words[i])};
	}
	for (int i = 0; i < MANY; i++)
	{
		alone[i] = score_alone(&b, candidates[i]);
		reversed[MANY - 1 - i] = candidates[i];
	}
	seq[0] = submit_texts(&b, candidates, MANY);
	seq[1] = submit_prompt(&b, &(dsv_request) {.max_tokens = 40});
	seq[2] = submit_texts(&b, reversed, MANY);
	run_bench(&b);
	assert_true(dsv_sequence_result(seq[1])->ntokens > 0);
	for (int i = 0; i < MANY; i++)
	{
		assert_candidate(dsv_sequence_result(seq[0]), i, alone[i]);
		assert_candidate(dsv_sequence_result(seq[2]), MANY - 1 - i, alone[i]);
	}
	close_bench(&b);
}

static void
test_alone_and_together(void **state)
{
	for (int m = 0; m < 3; m++)
		for (int threads = 1; threads <= 2; threads++)
			check_company(models[m], (dsv_engine_options) {.threads = threads,
						  .precision = threads == 2 ? DSV_PRECISION_BF16 : DSV_PRECISION_FP32});
	dsv_shutdown();
}

/* One pass for what fits into one: more candidates cost passes, not steps each. */
static void
test_passes(void **state)
{
	dsv_error	err = {0};
	dsv_bytes	candidates[NTEXTS];
	dsv_progress p;
	dsv_sequence *seq;
	int			passes = 0;
	int			nodes;
	bench		b;

	open_bench(&b, SMALL, (dsv_engine_options) {0});
	make_texts(texts, NTEXTS, candidates);
	seq = submit_texts(&b, candidates, NTEXTS);
	while (dsv_sequence_state(seq) < DSV_STATE_DECODE)
		check_ok(dsv_engine_step(b.engine, &err), &err);
	dsv_sequence_progress(seq, &p);
	assert_int_equal(p.done, 1);	/* the prompt's end is known with the prompt */
	assert_int_equal(dsv_sequence_result(seq)->ncandidates, 0);
	nodes = (int) p.total;
	assert_true(nodes > 65 && nodes <= 129);
	for (; dsv_sequence_state(seq) == DSV_STATE_DECODE; passes++)
		check_ok(dsv_engine_step(b.engine, &err), &err);
	assert_int_equal(passes, 2);
	dsv_sequence_progress(seq, &p);
	assert_int_equal(p.done, nodes);
	assert_true(dsv_sequence_result(seq)->usage.decode_ms > 0);
	dsv_sequence_release(seq);

	/* nothing but the prompt's logits is needed for an empty answer */
	seq = submit_texts(&b, &candidates[2], 1);
	while (dsv_sequence_state(seq) < DSV_STATE_DECODE)
		check_ok(dsv_engine_step(b.engine, &err), &err);
	assert_int_equal(dsv_sequence_state(seq), DSV_STATE_DONE);
	assert_int_equal(dsv_sequence_result(seq)->candidates[0].ntokens, 1);
	close_bench(&b);
}

/* ---- errors, cancel, memory ---- */

static void
test_refused(void **state)
{
	dsv_bytes	yes = {" yes", 4};
	dsv_bytes	huge = {calloc(10 << 20, 1), 10 << 20};
	dsv_bytes	digits = {malloc(600), 600};
	dsv_bytes  *many = calloc(DSV_SCORE_MAX + 1, sizeof(dsv_bytes));
	dsv_error	err = {0};
	dsv_sequence *seq;
	bench		b;
	const struct
	{
		dsv_request request;
		dsv_code	code;
		const char *msg;
	}			wrong[] = {
		{{.candidates = &yes, .ncandidates = -1}, DSV_INPUT, "negative"},
		{{.candidates = &yes, .ncandidates = 1, .stop = &yes, .nstop = 1}, DSV_INPUT, "stop strings"},
		{{.candidates = &yes, .ncandidates = 1, .grammar = (const dsv_grammar *) &yes}, DSV_INPUT, "grammar"},
		{{.candidates = many, .ncandidates = DSV_SCORE_MAX + 1}, DSV_LIMIT, "1024"},
		{{.candidates = &huge, .ncandidates = 1}, DSV_CONTEXT, "candidate of 10485760 bytes"},
		{{.candidates = &digits, .ncandidates = 1}, DSV_CONTEXT, "candidate of 6"},
	};

	memset((void *) digits.data, '7', digits.len);
	open_bench(&b, "test/golden/variant-a", (dsv_engine_options) {0});	/* a context of 512 */
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		assert_int_equal(dsv_engine_submit_tokens(b.engine, b.prompt, PROMPT, &wrong[i].request, &seq, &err),
						 wrong[i].code);
		assert_null(seq);
		if (strstr(err.msg, wrong[i].msg) == NULL)
			fail_msg("\"%s\" lacks \"%s\"", err.msg, wrong[i].msg);
	}
	/* sampling and the limit of an answer do not matter */
	seq = submit_prompt(&b, &(dsv_request) {.candidates = &yes, .ncandidates = 1, .max_tokens = 1,
						.sampling = {.temperature = 1, .repetition_penalty = 2}});
	run_bench(&b);
	assert_candidate(dsv_sequence_result(seq), 0, score_alone(&b, yes));
	assert_int_equal(dsv_sequence_rewind(seq, 0, NULL, 0, &err), DSV_INPUT);
	close_bench(&b);
	free((void *) huge.data);
	free((void *) digits.data);
	free(many);
}

static void
test_cancel(void **state)
{
	countdown	c = {-1};
	bench		b;
	dsv_bytes	candidates[NTEXTS];
	int			in_decode = 0;

	open_bench(&b, TINY, (dsv_engine_options) {.poll = {count_down, &c}});
	make_texts(texts, NTEXTS, candidates);
	for (int n = 0;; n++)
	{
		dsv_request request = {.candidates = candidates, .ncandidates = NTEXTS};
		dsv_error	err = {0};
		dsv_sequence *seq = NULL;
		dsv_progress p = {0};
		dsv_code	code;

		c.left = n;
		code = dsv_engine_submit_tokens(b.engine, b.prompt, PROMPT, &request, &seq, &err);
		while (code == DSV_OK && dsv_engine_runnable(b.engine))
		{
			dsv_sequence_progress(seq, &p);
			code = dsv_engine_step(b.engine, &err);
		}
		c.left = -1;
		if (code == DSV_OK)
		{
			assert_int_equal(dsv_sequence_result(seq)->ncandidates, NTEXTS);
			break;
		}
		assert_int_equal(code, DSV_CANCELED);
		if (seq != NULL)
			assert_int_equal(dsv_sequence_result(seq)->ncandidates, 0);
		in_decode += p.state == DSV_STATE_DECODE;
		dsv_sequence_release(seq);
	}
	assert_true(in_decode >= 6);	/* two passes of three layers */
	close_bench(&b);
}

static void
test_memory(void **state)
{
	counter		c = {0};
	dsv_mem		mem = {count_alloc, count_free, &c};
	dsv_engine_options options = {.mem = &mem};
	dsv_model  *model = open_model(TINY);
	dsv_bytes	candidates[NTEXTS];
	dsv_request request = {.candidates = candidates, .ncandidates = NTEXTS};
	dsv_code	code = DSV_NOMEM;
	int32_t		prompt[PROMPT];

	make_texts(texts, NTEXTS, candidates);
	make_prompt(prompt, PROMPT, 11);
	for (int n = 1; code != DSV_OK; n++)
	{
		dsv_engine *engine = NULL;
		dsv_sequence *seq = NULL;
		dsv_error	err = {0};

		c = (counter) {.fail_at = n};
		code = dsv_engine_create(model, &options, &engine, &err);
		if (code == DSV_OK)
			code = dsv_engine_submit_tokens(engine, prompt, PROMPT, &request, &seq, &err);
		if (code == DSV_OK)
		{
			int			calls = c.calls;

			check_ok(run_to_end(engine, &err), &err);
			assert_int_equal(c.calls, calls);
		}
		else
			assert_int_equal(code, DSV_NOMEM);
		dsv_engine_destroy(engine);
		assert_int_equal(c.held, 0);
		assert_true(n < 1000);
	}
	dsv_model_close(model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_hostile_logits),
		cmocka_unit_test(test_scores_are_decodes),
		cmocka_unit_test(test_own_answer),
		cmocka_unit_test(test_alone_and_together),
		cmocka_unit_test(test_passes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_memory),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
