/*
 * test_engine.c
 *		The promises of the scheduler: a row's bits do not depend on threads, batch, chunks or
 *		cached pages; absorbed and expanded MLA agree; cancel, rewind, memory.
 */
#include "engine_util.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"

#define PROMPT 150

/* Runs the fixed prompt for a few tokens; returns the logits of each step */
static logits
run_prompt(const char *dir, dsv_engine_options options, int nprompt)
{
	dsv_model  *model = open_model(dir);
	logits		l = {0};
	int32_t		prompt[PROMPT];
	dsv_request request = {.max_tokens = 6, .no_prefix_cache = true};
	dsv_error	err = {0};
	dsv_sequence *seq;
	dsv_engine *engine;

	options.trace = keep_logits;
	options.trace_ud = &l;
	engine = make_engine(model, &options);
	make_prompt(prompt, nprompt, 1);
	check_ok(dsv_engine_submit_tokens(engine, prompt, nprompt, &request, &seq, &err), &err);
	check_ok(run_to_end(engine, &err), &err);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	return l;
}

static void
assert_same(logits a, logits b)
{
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.v, b.v, (size_t) a.n * a.vocab * sizeof(float));
}

static void
assert_near(logits a, logits b, float most)
{
	float		worst = 0;

	assert_int_equal(a.n, b.n);
	for (int i = 0; i < a.n * a.vocab; i++)
		worst = fmaxf(worst, fabsf(a.v[i] - b.v[i]));
	if (!(worst <= most))
		fail_msg("logits differ by %g, allowed %g", worst, most);
}

static const char *const models[] = {TINY, SMALL, BASE};

static void
test_threads(void **state)
{
	for (int m = 0; m < 3; m++)
	{
		logits		one = run_prompt(models[m], (dsv_engine_options) {.threads = 1}, PROMPT);

		for (int t = 2; t <= 4; t++)
		{
			logits		many = run_prompt(models[m], (dsv_engine_options) {.threads = t}, PROMPT);

			assert_same(one, many);
			free(many.v);
		}
		free(one.v);

		/* in bf16 too, and the whole prompt at once as in pieces */
		one = run_prompt(models[m], (dsv_engine_options) {.threads = 1, .precision = DSV_PRECISION_BF16},
						 PROMPT);
		for (int rows = 0; rows < 8; rows += 7)
		{
			logits		many = run_prompt(models[m], (dsv_engine_options)
										  {.threads = 3, .precision = DSV_PRECISION_BF16,
										  .prefill_rows = rows}, PROMPT);

			assert_same(one, many);
			free(many.v);
		}
		free(one.v);
	}
	dsv_shutdown();
}

/* The last layer leaves out what nobody reads. */
static void
test_all_rows(void **state)
{
	for (int m = 0; m < 3; m++)
	{
		logits		few = run_prompt(models[m], (dsv_engine_options) {.threads = 2}, PROMPT);
		logits		all = run_prompt(models[m], (dsv_engine_options) {.threads = 2, .trace_all_rows = true},
									 PROMPT);

		assert_same(few, all);
		free(few.v);
		free(all.v);
	}
}

static void
test_chunks(void **state)
{
	static const int chunk[] = {1, 7, 64, 100};

	for (int m = 0; m < 3; m++)
	{
		logits		whole = run_prompt(models[m], (dsv_engine_options) {.threads = 2}, PROMPT);

		for (int i = 0; i < 4; i++)
		{
			logits		part = run_prompt(models[m], (dsv_engine_options) {.prefill_rows = chunk[i]}, PROMPT);

			assert_same(whole, part);
			free(part.v);
		}
		free(whole.v);
	}
}

/* One row at a time in the absorbed form is exactly a decode; the whole prompt in that form
 * must give its bits. */
static void
test_prefill_is_decodes(void **state)
{
	for (int m = 0; m < 3; m++)
	{
		logits		whole = run_prompt(models[m], (dsv_engine_options) {.mla = DSV_MLA_ABSORBED}, 70);
		logits		steps = run_prompt(models[m], (dsv_engine_options)
									   {.mla = DSV_MLA_ABSORBED, .prefill_rows = 1}, 70);

		assert_same(whole, steps);
		free(whole.v);
		free(steps.v);
	}
}

static void
test_absorbed_is_expanded(void **state)
{
	for (int m = 1; m < 3; m++)
	{
		logits		absorbed = run_prompt(models[m], (dsv_engine_options) {.mla = DSV_MLA_ABSORBED}, PROMPT);
		logits		expanded = run_prompt(models[m], (dsv_engine_options) {.mla = DSV_MLA_EXPANDED}, PROMPT);

		assert_near(absorbed, expanded, 1e-3f);
		free(absorbed.v);
		free(expanded.v);
	}
}

static void
test_cpu_levels(void **state)
{
	dsv_cpu_level best = dsv_cpu_detect();

	for (int m = 0; m < 3; m++)
	{
		logits		top = run_prompt(models[m], (dsv_engine_options) {0}, PROMPT);

		for (int level = DSV_CPU_GENERIC; level < best; level++)
		{
			logits		low;

			dsv_cpu_set(level);
			if (dsv_cpu_current() != level)
				continue;		/* processors with AVX-512 may lack AVX-VNNI */
			low = run_prompt(models[m], (dsv_engine_options) {0}, PROMPT);
			assert_near(top, low, 1e-3f);
			if (level >= DSV_CPU_AVX2)
				assert_same(top, low);
			free(low.v);
		}
		dsv_cpu_set(DSV_CPU_AUTO);
		free(top.v);
	}
}

/* Five prompts of different lengths, alone and together */
static void
test_batch_is_alone(void **state)
{
	for (int m = 0; m < 3; m++)
	{
		dsv_model  *model = open_model(models[m]);
		dsv_engine *engine = make_engine(model, NULL);
		dsv_request request = {.max_tokens = 12};
		dsv_error	err = {0};
		int32_t		alone[5][12];
		int			nalone[5];
		dsv_sequence *seq[5];
		int32_t		prompt[PROMPT];

		for (int i = 0; i < 5; i++)
		{
			const dsv_result *r;

			make_prompt(prompt, 20 + 25 * i, i + 7);
			check_ok(dsv_engine_submit_tokens(engine, prompt, 20 + 25 * i, &request, &seq[i], &err), &err);
			check_ok(run_to_end(engine, &err), &err);
			r = dsv_sequence_result(seq[i]);
			nalone[i] = r->ntokens;
			memcpy(alone[i], r->tokens, r->ntokens * sizeof(int32_t));
			dsv_sequence_release(seq[i]);
		}
		for (int i = 0; i < 5; i++)
		{
			make_prompt(prompt, 20 + 25 * i, i + 7);
			check_ok(dsv_engine_submit_tokens(engine, prompt, 20 + 25 * i, &request, &seq[i], &err), &err);
		}
		check_ok(run_to_end(engine, &err), &err);
		for (int i = 0; i < 5; i++)
		{
			const dsv_result *r = dsv_sequence_result(seq[i]);

			assert_int_equal(r->ntokens, nalone[i]);
			assert_memory_equal(r->tokens, alone[i], nalone[i] * sizeof(int32_t));
			assert_int_equal(r->usage.cached_tokens, (20 + 25 * i - 1) / 64 * 64);
		}
		dsv_engine_destroy(engine);
		dsv_model_close(model);
	}
}

/* ---- images ---- */

static void
test_image_threads(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/01-receipt.png");
	dsv_model  *model = open_model(NANO);
	char		first[4096] = "";

	for (int threads = 1; threads <= 4; threads++)
		for (int no_blas = 0; no_blas < 2; no_blas++)
		{
			dsv_engine_options options = {.threads = threads, .no_blas = no_blas};
			dsv_engine *engine = make_engine(model, &options);
			dsv_error	err = {0};
			const dsv_result *r;
			dsv_sequence *seq;
			ask			a;

			make_ask(&a, &image, 1, "Read all the text in the image.", 300);
			seq = submit(engine, &a.request);
			check_ok(run_to_end(engine, &err), &err);
			r = dsv_sequence_result(seq);
			assert_int_equal(dsv_sequence_state(seq), DSV_STATE_DONE);
			assert_int_equal(r->finish, DSV_FINISH_STOP);
			assert_true(r->len > 50);
			if (first[0] == '\0')
				memcpy(first, r->text, r->len + 1);
			assert_string_equal(r->text, first);
			dsv_engine_destroy(engine);
		}
	dsv_model_close(model);
	free((void *) image.data);
}

/* The second question starts from the image's pages and answers as a fresh engine does. */
static void
test_prefix_pages(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/03-receipt.jpg");
	dsv_model  *model = open_model(NANO);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_engine *fresh = make_engine(model, NULL);
	dsv_error	err = {0};
	dsv_sequence *seq[3];
	const dsv_result *r[3];
	ask			a;

	make_ask(&a, &image, 1, "merchant?", 40);
	seq[0] = submit(engine, &a.request);
	check_ok(run_to_end(engine, &err), &err);
	assert_int_equal(dsv_sequence_result(seq[0])->usage.cached_tokens, 0);
	make_ask(&a, &image, 1, "What is the total?", 40);
	seq[1] = submit(engine, &a.request);
	check_ok(run_to_end(engine, &err), &err);
	seq[2] = submit(fresh, &a.request);
	check_ok(run_to_end(fresh, &err), &err);
	for (int i = 0; i < 3; i++)
		r[i] = dsv_sequence_result(seq[i]);
	assert_true(r[1]->usage.cached_tokens >= 64);
	assert_true(r[1]->usage.cached_tokens % 64 == 0);
	assert_int_equal(r[2]->usage.cached_tokens, 0);
	/* nor does the tower run again for the positions behind the cached pages */
	assert_true(r[0]->usage.tiles > 0);
	assert_int_equal(r[1]->usage.tiles, 0);
	assert_int_equal(r[2]->usage.tiles, r[0]->usage.tiles);
	assert_int_equal(r[0]->usage.cached_tiles, 0);
	assert_int_equal(r[1]->usage.cached_tiles, r[0]->usage.tiles);
	assert_int_equal(r[2]->usage.cached_tiles, 0);
	assert_string_equal(r[1]->text, r[2]->text);
	assert_int_equal(r[1]->ntokens, r[2]->ntokens);
	assert_memory_equal(r[1]->logprobs, r[2]->logprobs, r[1]->ntokens * sizeof(float));
	dsv_engine_destroy(engine);
	dsv_engine_destroy(fresh);
	dsv_model_close(model);
	free((void *) image.data);
}

/* Whole pages of a block that hold anything */
static int
resident_pages(const void *data, size_t size)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);
	uintptr_t	begin = ((uintptr_t) data + page - 1) / page * page;
	size_t		n = ((uintptr_t) data + size - begin) / page;
	unsigned char *in = malloc(n);
	int			count = 0;

	assert_int_equal(mincore((void *) begin, n * page, in), 0);
	for (size_t i = 0; i < n; i++)
		count += in[i] & 1;
	free(in);
	return count;
}

/* An engine that has rested has given its scratch back, and answers as one that has not. */
static void
test_rest(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/03-receipt.jpg");
	dsv_model  *model = open_model(NANO);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_error	err = {0};
	dsv_sequence *seq[2];
	int			worked;
	ask			a;

	dsv_engine_rest(engine, 0);		/* has none yet */
	for (int i = 0; i < 2; i++)
	{
		make_ask(&a, &image, 1, "What is the total?", 40);
		a.request.no_prefix_cache = true;
		seq[i] = submit(engine, &a.request);
		check_ok(run_to_end(engine, &err), &err);
		worked = resident_pages(engine->scratch_to_free, engine->scratch_bytes);
		dsv_engine_rest(engine, engine->scratch_bytes);
		assert_int_equal(resident_pages(engine->scratch_to_free, engine->scratch_bytes), worked);
		dsv_engine_rest(engine, engine->scratch_bytes / 2);
		assert_in_range(resident_pages(engine->scratch_to_free, engine->scratch_bytes), 1, worked - 1);
		dsv_engine_rest(engine, 0);
		assert_int_equal(resident_pages(engine->scratch_to_free, engine->scratch_bytes), 0);
	}
	assert_string_equal(dsv_sequence_result(seq[0])->text, dsv_sequence_result(seq[1])->text);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) image.data);
}

/* A page of one tile runs the tower once, two equal images too */
static void
test_equal_tiles(void **state)
{
	dsv_bytes	image[2] = {read_file("test/golden/cases/images/exact384.png")};
	dsv_model  *model = open_model(TINY);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_error	err = {0};
	dsv_sequence *seq;
	ask			a;

	image[1] = image[0];
	for (int n = 1; n <= 2; n++)
	{
		make_ask(&a, image, n, "x", 2);
		a.request.no_prefix_cache = true;
		seq = submit(engine, &a.request);
		check_ok(run_to_end(engine, &err), &err);
		assert_int_equal(dsv_sequence_result(seq)->usage.tiles, 1);
		assert_int_equal(dsv_sequence_result(seq)->usage.cached_tiles, 0);
		assert_int_equal(dsv_sequence_result(seq)->usage.image_tokens, 421 * n);
		dsv_sequence_release(seq);
	}
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) image[0].data);
}

/* Positions that a prompt found in cached pages; the sequence runs to its end and is released. */
static int
run_cached(dsv_engine *engine, const int32_t *prompt, int n, int max_tokens)
{
	dsv_request request = {.max_tokens = max_tokens};
	dsv_error	err = {0};
	dsv_sequence *seq;
	int			cached;

	check_ok(dsv_engine_submit_tokens(engine, prompt, n, &request, &seq, &err), &err);
	check_ok(run_to_end(engine, &err), &err);
	cached = dsv_sequence_result(seq)->usage.cached_tokens;
	dsv_sequence_release(seq);
	return cached;
}

/* A prompt loses its pages from the end: what is left of it is still found. */
static void
test_eviction_from_the_end(void **state)
{
	dsv_model  *model = open_model(TINY);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_engine_options options = {.threads = 1};
	int32_t		prompt[512];
	int32_t		other[200];
	dsv_memory	page;

	dsv_engine_memory(engine, 64, 0, 0, &page);
	dsv_engine_destroy(engine);
	/* an eighth of the memory is the tiles': ten pages are left */
	options.kv_memory = page.kv * 12;
	engine = make_engine(model, &options);
	make_prompt(prompt, 512, 1);
	make_prompt(other, 200, 2);
	assert_int_equal(run_cached(engine, prompt, 512, 10), 0);
	assert_int_equal(run_cached(engine, prompt, 512, 10), 448);
	/* four pages: two that were never named, two of the eight named ones */
	assert_int_equal(run_cached(engine, other, 200, 10), 0);
	assert_int_equal(run_cached(engine, prompt, 512, 10), 384);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
}

/* A cache of three tiles loses one to another picture: the other two are still used, whatever
 * slot the lost one takes. */
static void
test_tiles_that_are_left(void **state)
{
	dsv_bytes	two_tiles = read_file("test/golden/cases/images/two_tiles.png");
	dsv_bytes	single = read_file("test/golden/cases/images/exact384.png");
	dsv_model  *model = open_model(SMALL);
	size_t		tile = 14 * 14 * sizeof(float) * dsv_model_get_info(model)->hidden;
	dsv_engine_options options = {.kv_memory = 8 * 3 * tile};
	dsv_engine *engine = make_engine(model, &options);
	static const int tiles[] = {3, 1, 1};

	for (int i = 0; i < 3; i++)
	{
		/* the prompts differ in front of the picture: no page is shared */
		dsv_part	part = {DSV_PART_TEXT, "abc" + i, 1};
		dsv_turn	turns[2] = {{DSV_ROLE_SYSTEM, &part, 1}};
		dsv_error	err = {0};
		dsv_sequence *seq;
		ask			a;

		make_ask(&a, i == 1 ? &single : &two_tiles, 1, "x", 2);
		turns[1] = a.turn;
		a.request.turns = turns;
		a.request.nturns = 2;
		seq = submit(engine, &a.request);
		check_ok(run_to_end(engine, &err), &err);
		assert_int_equal(dsv_sequence_result(seq)->usage.cached_tokens, 0);
		assert_int_equal(dsv_sequence_result(seq)->usage.tiles, tiles[i]);
		assert_int_equal(dsv_sequence_result(seq)->usage.cached_tiles, i == 2 ? 2 : 0);
		dsv_sequence_release(seq);
	}
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) two_tiles.data);
	free((void *) single.data);
}

/* Pages that other kernels computed than those of the admission get no name. */
static void
test_level_changes_between_steps(void **state)
{
	dsv_model  *model = open_model(TINY);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_bytes	image = read_file("test/golden/cases/images/two_tiles.png");
	dsv_error	err = {0};
	dsv_sequence *seq;
	ask			a;

	make_ask(&a, &image, 1, "what is it?", 2);
	for (int run = 0; run < 3; run++)
	{
		seq = submit(engine, &a.request);
		if (run == 0)
			dsv_cpu_set(DSV_CPU_GENERIC);
		check_ok(run_to_end(engine, &err), &err);
		dsv_cpu_set(DSV_CPU_AUTO);
		if (dsv_cpu_detect() > DSV_CPU_GENERIC)
		{
			/* only the third finds what the second left */
			assert_int_equal(dsv_sequence_result(seq)->usage.cached_tokens > 0, run == 2);
			assert_int_equal(dsv_sequence_result(seq)->usage.tiles > 0, run < 2);
		}
		dsv_sequence_release(seq);
	}
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) image.data);
}

/* ---- cancel, rewind, stop ---- */

/* At every poll from the first to the last: the call fails, the engine goes on. */
static void
test_cancel_everywhere(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/01-receipt.png");
	dsv_model  *model = open_model(NANO);
	countdown	c = {-1};
	dsv_engine_options options = {.poll = {count_down, &c}, .threads = 2};
	dsv_engine *engine = make_engine(model, &options);
	dsv_memory	held;
	ask			a;
	int			n;

	make_ask(&a, &image, 1, "total?", 8);
	/* with the caches too: a canceled request leaves nothing half filled in them */
	a.request.no_prefix_cache = *state == NULL;
	for (n = 0;; n++)
	{
		dsv_error	err = {0};
		dsv_sequence *seq = NULL;
		dsv_code	code;

		c.left = n;
		code = dsv_engine_submit(engine, &a.request, &seq, &err);
		if (code == DSV_OK)
			code = run_to_end(engine, &err);
		c.left = -1;
		if (code == DSV_OK)
		{
			assert_int_equal(dsv_sequence_state(seq), DSV_STATE_DONE);
			assert_string_equal(dsv_sequence_result(seq)->text, "111.25");
			dsv_sequence_release(seq);
			break;
		}
		assert_int_equal(code, DSV_CANCELED);
		assert_int_equal(err.code, DSV_CANCELED);
		if (seq != NULL)
		{
			assert_int_equal(dsv_sequence_state(seq), DSV_STATE_FAILED);
			assert_int_equal(dsv_sequence_result(seq)->finish, DSV_FINISH_CANCELED);
		}
		dsv_sequence_release(seq);
		dsv_engine_memory_held(engine, &held);
		assert_int_equal(held.sequence, 0);
	}
	assert_true(n > 5);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) image.data);
}

static void
test_rewind(void **state)
{
	for (int m = 0; m < 3; m++)
	{
		dsv_model  *model = open_model(models[m]);
		dsv_engine *engine = make_engine(model, NULL);
		dsv_request request = {.max_tokens = 16};
		dsv_error	err = {0};
		int32_t		prompt[64];
		int32_t		tokens[16];
		int32_t		forced[2];
		char		text[4096];
		const dsv_result *r;
		dsv_sequence *seq;

		/* 64 tokens: the prompt ends with its page */
		make_prompt(prompt, 64, 3);
		check_ok(dsv_engine_submit_tokens(engine, prompt, 64, &request, &seq, &err), &err);
		check_ok(run_to_end(engine, &err), &err);
		r = dsv_sequence_result(seq);
		assert_int_equal(r->ntokens, 16);
		memcpy(tokens, r->tokens, sizeof(tokens));
		memcpy(text, r->text, r->len + 1);
		for (int keep = 0; keep < 16; keep += 5)
		{
			check_ok(dsv_sequence_rewind(seq, keep, NULL, 0, &err), &err);
			check_ok(run_to_end(engine, &err), &err);
			r = dsv_sequence_result(seq);
			assert_memory_equal(r->tokens, tokens, sizeof(tokens));
			assert_string_equal(r->text, text);
		}
		/* what it said anyway, forced */
		memcpy(forced, tokens + 4, sizeof(forced));
		check_ok(dsv_sequence_rewind(seq, 4, forced, 2, &err), &err);
		check_ok(run_to_end(engine, &err), &err);
		assert_memory_equal(dsv_sequence_result(seq)->tokens, tokens, sizeof(tokens));
		/* something else */
		forced[0] = tokens[4] + 1;
		check_ok(dsv_sequence_rewind(seq, 4, forced, 1, &err), &err);
		check_ok(run_to_end(engine, &err), &err);
		assert_memory_equal(dsv_sequence_result(seq)->tokens, tokens, 4 * sizeof(int32_t));
		assert_int_equal(dsv_sequence_result(seq)->tokens[4], forced[0]);

		assert_int_equal(dsv_sequence_rewind(seq, 17, NULL, 0, &err), DSV_INPUT);
		assert_int_equal(dsv_sequence_rewind(seq, 0, (int32_t[]) {1 << 30}, 1, &err), DSV_INPUT);
		dsv_engine_destroy(engine);
		dsv_model_close(model);
	}
}

/* ---- forced tokens ---- */

#define FORCED 100				/* more than a pass holds, over three pages */

/* Until the sequence has chosen a token behind n, or has ended; returns the steps it took. */
static int
feed(dsv_engine *engine, dsv_sequence *seq, int n)
{
	dsv_error	err = {0};
	int			steps = 0;

	while (dsv_sequence_state(seq) == DSV_STATE_DECODE && dsv_sequence_result(seq)->ntokens <= n)
	{
		check_ok(dsv_engine_step(engine, &err), &err);
		steps++;
	}
	return steps;
}

/* Logits after each of the forced tokens, fed one by one */
static void
force_singly(dsv_engine *engine, dsv_sequence *seq, const int32_t *forced, logits *l)
{
	dsv_error	err = {0};

	check_ok(run_to_end(engine, &err), &err);
	l->n = 0;
	for (int i = 0; i < FORCED; i++)
	{
		check_ok(dsv_sequence_rewind(seq, i, &forced[i], 1, &err), &err);
		assert_int_equal(feed(engine, seq, i + 1), 1);
	}
	/* rewinding to nothing shows the prompt's logits again, which is no step */
	assert_int_equal(l->n, FORCED);
}

static void
assert_row(const logits *l, int row, const float *want)
{
	assert_memory_equal(l->v + (size_t) row * l->vocab, want, l->vocab * sizeof(float));
}

/* However forced tokens are grouped, and whatever else is in the batch, the logits behind them
 * are those of feeding them one by one. */
static void
check_forced(const char *dir, dsv_engine_options options)
{
	static const int ends[] = {1, 3, 33, FORCED};
	dsv_model  *model = open_model(dir);
	dsv_request request = {.max_tokens = FORCED + 2};
	dsv_error	err = {0};
	logits		l = {0};
	logits		single;
	int32_t		prompt[50];
	int32_t		forced[FORCED];
	int			from = 0;
	dsv_engine *engine;
	dsv_sequence *seq;
	dsv_sequence *other;

	options.trace = keep_logits;
	options.trace_ud = &l;
	engine = make_engine(model, &options);
	make_prompt(prompt, 50, 5);
	make_prompt(forced, FORCED, 6);
	check_ok(dsv_engine_submit_tokens(engine, prompt, 50, &request, &seq, &err), &err);
	force_singly(engine, seq, forced, &l);
	single = l;
	l = (logits) {0};

	for (int i = 0; i < 4; i++)
	{
		check_ok(dsv_sequence_rewind(seq, from, forced + from, ends[i] - from, &err), &err);
		assert_int_equal(feed(engine, seq, ends[i]), ends[i] - from > 64 ? 2 : 1);
		assert_row(&l, i, single.v + (size_t) (ends[i] - 1) * single.vocab);
		from = ends[i];
	}

	/* all of them beside another sequence with as many */
	check_ok(dsv_engine_submit_tokens(engine, prompt, 50, &request, &other, &err), &err);
	while (dsv_sequence_state(other) < DSV_STATE_DECODE)
		check_ok(dsv_engine_step(engine, &err), &err);
	check_ok(dsv_sequence_rewind(seq, 0, forced, FORCED, &err), &err);
	check_ok(dsv_sequence_rewind(other, 0, forced, FORCED, &err), &err);
	l.n = 0;
	assert_int_equal(feed(engine, seq, FORCED), 4);
	assert_int_equal(l.n, 2);
	for (int i = 0; i < 2; i++)
		assert_row(&l, i, single.v + (size_t) (FORCED - 1) * single.vocab);
	free(single.v);
	free(l.v);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
}

static void
test_forced_tokens(void **state)
{
	for (int m = 0; m < 3; m++)
		for (int bf16 = 0; bf16 < 2; bf16++)
			for (int threads = 1; threads <= 2; threads++)
				check_forced(models[m], (dsv_engine_options) {.threads = threads,
							 .precision = bf16 ? DSV_PRECISION_BF16 : DSV_PRECISION_FP32});
	check_forced(SMALL, (dsv_engine_options) {.mla = DSV_MLA_EXPANDED});
	dsv_shutdown();
}

static void
test_stop_string(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/01-receipt.png");
	dsv_model  *model = open_model(NANO);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_bytes	stop[3] = {{"zzz", 3}, {NULL, 0}, {"11.", 3}};
	dsv_error	err = {0};
	dsv_sequence *seq;
	ask			a;

	make_ask(&a, &image, 1, "Total?", 20);
	a.request.stop = stop;
	a.request.nstop = 3;
	seq = submit(engine, &a.request);
	check_ok(run_to_end(engine, &err), &err);
	assert_string_equal(dsv_sequence_result(seq)->text, "1");
	assert_int_equal(dsv_sequence_result(seq)->len, 1);
	assert_int_equal(dsv_sequence_result(seq)->finish, DSV_FINISH_STOP_STRING);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) image.data);
}

/* ---- limits and memory ---- */

static void
test_limits(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/01-receipt.png");
	dsv_model  *model = open_model(NANO);
	dsv_engine_options options = {.kv_memory = 1 << 20};
	dsv_engine *engine = make_engine(model, &options);
	char	   *words = malloc(20001);
	dsv_error	err = {0};
	dsv_sequence *seq;
	ask			a;

	/* 1 MiB of pages does not hold 4096 positions */
	make_ask(&a, &image, 1, "total?", 0);
	assert_int_equal(dsv_engine_submit(engine, &a.request, &seq, &err), DSV_BUDGET);
	assert_null(seq);
	assert_non_null(strstr(err.detail, "kB"));
	make_ask(&a, &image, 1, "total?", 8);
	seq = submit(engine, &a.request);
	dsv_sequence_release(seq);

	memset(words, 'q', 20000);
	words[20000] = '\0';
	make_ask(&a, &image, 1, words, 8);
	assert_int_equal(dsv_engine_submit(engine, &a.request, &seq, &err), DSV_CONTEXT);
	assert_non_null(strstr(err.msg, " tokens does not fit"));
	words = realloc(words, (10 << 20) + 1);
	memset(words, 'q', 10 << 20);
	words[10 << 20] = '\0';
	make_ask(&a, &image, 1, words, 8);
	assert_int_equal(dsv_engine_submit(engine, &a.request, &seq, &err), DSV_CONTEXT);
	assert_non_null(strstr(err.msg, " bytes does not fit"));
	make_ask(&a, &image, 1, "total?", 8);
	a.request.nimages = 0;
	assert_int_equal(dsv_engine_submit(engine, &a.request, &seq, &err), DSV_INPUT);
	dsv_engine_destroy(engine);

	options = (dsv_engine_options) {.memory_limit = 100000};
	engine = make_engine(model, &options);
	make_ask(&a, &image, 1, "total?", 8);
	assert_int_equal(dsv_engine_submit(engine, &a.request, &seq, &err), DSV_BUDGET);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free(words);
	free((void *) image.data);
}

/* The limit is for one request: what an earlier one left behind does not count. */
static void
test_memory_limit_forgets(void **state)
{
	dsv_model  *model = open_model(TINY);
	dsv_engine_options options = {.threads = 1};
	dsv_engine *engine = make_engine(model, &options);
	dsv_bytes	stop = {calloc(1 << 21, 1), 1 << 21};
	dsv_request request = {.max_tokens = 3500, .stop = &stop, .nstop = 1};
	dsv_memory	wide;			/* long prompt, much scratch */
	dsv_memory	deep;			/* long answer and stop string, a large sequence */
	dsv_error	err = {0};
	dsv_sequence *seq;
	dsv_sequence *live;
	int32_t	   *prompt = malloc(3500 * sizeof(int32_t));

	make_prompt(prompt, 3500, 3);
	dsv_engine_memory(engine, 3500, 1, 0, &wide);
	dsv_engine_memory(engine, 64, 3500, 0, &deep);
	dsv_engine_destroy(engine);
	deep.sequence += stop.len;
	options.memory_limit = wide.scratch + wide.sequence;
	if (options.memory_limit < deep.scratch + deep.sequence)
		options.memory_limit = deep.scratch + deep.sequence;
	assert_true(wide.scratch + deep.sequence > options.memory_limit);
	engine = make_engine(model, &options);
	for (int run = 0; run < 2; run++)
	{
		check_ok(dsv_engine_submit_tokens(engine, prompt, 64, &request, &seq, &err), &err);
		dsv_sequence_release(seq);
		check_ok(dsv_engine_submit_tokens(engine, prompt, 3500, &(dsv_request) {.max_tokens = 1}, &live,
										  &err), &err);
		/* scratch of a living sequence stays */
		assert_int_equal(dsv_engine_submit_tokens(engine, prompt, 64, &request, &seq, &err), DSV_BUDGET);
		check_ok(dsv_engine_step(engine, &err), &err);
		dsv_sequence_release(live);
	}
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	free((void *) stop.data);
	free(prompt);
}

/* What dsv_engine_memory says is what is taken, but for the struct and the 64 bytes of alignment. */
static void
test_memory_is_exact(void **state)
{
	dsv_model  *model = open_model(BASE);
	counter		c = {0};
	dsv_mem		mem = {count_alloc, count_free, &c};
	dsv_engine_options options = {.mem = &mem, .threads = 3};
	dsv_engine *engine = make_engine(model, &options);
	dsv_request request = {.max_tokens = 20, .no_prefix_cache = true};
	size_t		before = c.held;
	dsv_memory	said;
	dsv_memory	held;
	int32_t		prompt[100];
	dsv_error	err = {0};
	dsv_sequence *seq;
	int			calls;

	make_prompt(prompt, 100, 5);
	dsv_engine_memory(engine, 100, 20, 0, &said);
	check_ok(dsv_engine_submit_tokens(engine, prompt, 100, &request, &seq, &err), &err);
	dsv_engine_memory_held(engine, &held);
	assert_int_equal(held.scratch, said.scratch);
	assert_int_equal(held.sequence, said.sequence);
	assert_int_equal(held.kv, said.kv);
	assert_in_range(c.held - before, said.scratch + said.sequence + said.kv,
					said.scratch + said.sequence + said.kv + 4096);
	calls = c.calls;
	check_ok(run_to_end(engine, &err), &err);
	assert_int_equal(c.calls, calls);	/* never inside a step */
	dsv_engine_destroy(engine);
	assert_int_equal(c.held, 0);
	dsv_model_close(model);
}

static void
test_every_allocation_fails_once(void **state)
{
	dsv_bytes	image = read_file("models/nano/samples/01-receipt.png");
	dsv_model  *model = open_model(NANO);
	counter		c = {0};
	dsv_mem		mem = {count_alloc, count_free, &c};
	dsv_engine_options options = {.mem = &mem};
	dsv_code	code = DSV_NOMEM;
	ask			a;

	make_ask(&a, &image, 1, "total?", 8);
	for (int n = 1; code != DSV_OK; n++)
	{
		dsv_engine *engine = NULL;
		dsv_sequence *seq = NULL;
		dsv_error	err = {0};

		c = (counter) {.fail_at = n};
		code = dsv_engine_create(model, &options, &engine, &err);
		if (code == DSV_OK)
			code = dsv_engine_submit(engine, &a.request, &seq, &err);
		if (code != DSV_OK)
		{
			assert_int_equal(code, DSV_NOMEM);
			assert_null(seq);
		}
		dsv_engine_destroy(engine);
		assert_int_equal(c.held, 0);
		assert_true(n < 1000);
	}
	dsv_model_close(model);
	free((void *) image.data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_all_rows),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_prefill_is_decodes),
		cmocka_unit_test(test_absorbed_is_expanded),
		cmocka_unit_test(test_cpu_levels),
		cmocka_unit_test(test_batch_is_alone),
		cmocka_unit_test(test_image_threads),
		cmocka_unit_test(test_prefix_pages),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_equal_tiles),
		cmocka_unit_test(test_eviction_from_the_end),
		cmocka_unit_test(test_tiles_that_are_left),
		cmocka_unit_test(test_level_changes_between_steps),
		cmocka_unit_test(test_cancel_everywhere),
		cmocka_unit_test_prestate(test_cancel_everywhere, "with caches"),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_forced_tokens),
		cmocka_unit_test(test_stop_string),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_memory_limit_forgets),
		cmocka_unit_test(test_memory_is_exact),
		cmocka_unit_test(test_every_allocation_fails_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
