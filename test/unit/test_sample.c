/*
 * test_sample.c
 *		The sampler against expectations worked out by hand, and the share of its draws
 *		against the probabilities.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sample.h"

#define MAX_TOKENS 512

typedef struct fixture
{
	dsv_sampler s;
	void	   *to_free;
} fixture;

static void
make(fixture *f, dsv_sampling options, int vocab)
{
	dsv_arena	arena = {NULL, 0};
	size_t		measured;

	dsv_sampler_init(&f->s, &options, vocab, MAX_TOKENS, &arena);
	measured = arena.used;
	arena.base = dsv_alloc_aligned(NULL, measured, &f->to_free);
	assert_non_null(arena.base);
	memset(arena.base, 0xA5, measured);
	arena.used = 0;
	dsv_sampler_init(&f->s, &options, vocab, MAX_TOKENS, &arena);
	assert_int_equal(arena.used, measured);
}

static int32_t
next(fixture *f, const float *logits, const int32_t *answer, int n)
{
	return dsv_sampler_next(&f->s, logits, answer, n, NULL);
}

/* One choice with these options after this answer */
static int32_t
choose(dsv_sampling options, const float *logits, int vocab, const int32_t *answer, int n,
	   const uint32_t *allowed)
{
	fixture		f;
	int32_t		id;

	make(&f, options, vocab);
	id = dsv_sampler_next(&f.s, logits, answer, n, allowed);
	free(f.to_free);
	return id;
}

static int32_t
after(dsv_sampling options, const float *logits, int vocab, const int32_t *answer, int n)
{
	return choose(options, logits, vocab, answer, n, NULL);
}

/* ---- greedy ---- */

static void
test_greedy(void **state)
{
	float		logits[] = {1, 5, 2, 5, -3};
	float		all_banned[] = {-INFINITY, -INFINITY, -INFINITY};
	float		with_nan[] = {NAN, 1, NAN};
	uint32_t	allowed = 1u << 2 | 1u << 4;
	uint32_t	none = 0;

	(void) state;
	assert_int_equal(after((dsv_sampling) {0}, logits, 5, NULL, 0), 1);
	assert_int_equal(choose((dsv_sampling) {0}, logits, 5, NULL, 0, &allowed), 2);
	assert_int_equal(choose((dsv_sampling) {0}, logits, 5, NULL, 0, &none), 0);
	assert_int_equal(after((dsv_sampling) {0}, all_banned, 3, NULL, 0), 0);
	assert_int_equal(after((dsv_sampling) {0}, with_nan, 3, NULL, 0), 1);
	assert_int_equal(after((dsv_sampling) {.temperature = 1}, with_nan, 3, NULL, 0), 1);
}

static void
test_logprob(void **state)
{
	float		logits[] = {0, 0, logf(2)};
	float		far[] = {1000, 0, -INFINITY};
	float		infinite[] = {INFINITY, 0};

	(void) state;
	assert_float_equal(dsv_logprob(logits, 3, 0), log(0.25), 1e-6);
	assert_float_equal(dsv_logprob(logits, 3, 2), log(0.5), 1e-6);
	assert_float_equal(dsv_logprob(far, 3, 0), 0, 0);
	assert_float_equal(dsv_logprob(far, 3, 1), -1000, 0);
	assert_true(dsv_logprob(far, 3, 2) == -INFINITY);
	assert_float_equal(dsv_logprob(infinite, 2, 0), 0, 0);
	assert_true(dsv_logprob(infinite, 2, 1) == -INFINITY);
}

/* ---- penalties ---- */

static void
test_repetition_penalty(void **state)
{
	/* 3 / 2 = 1.5 < 2; -1 * 2 = -2 < -1.5 */
	float		positive[] = {3, 2, 0};
	float		negative[] = {-1, -1.5f, -9};
	int32_t		answer[] = {0, 0, 0};

	(void) state;
	assert_int_equal(after((dsv_sampling) {.repetition_penalty = 2}, positive, 3, answer, 3), 1);
	assert_int_equal(after((dsv_sampling) {.repetition_penalty = 2}, negative, 3, answer, 1), 1);
	assert_int_equal(after((dsv_sampling) {.repetition_penalty = 2}, positive, 3, answer, 0), 0);
	assert_int_equal(after((dsv_sampling) {.repetition_penalty = 1.4f}, positive, 3, answer, 3), 0);
	assert_int_equal(after((dsv_sampling) {.repetition_penalty = 1}, positive, 3, answer, 3), 0);
}

static void
test_no_repeat_ngram(void **state)
{
	float		logits[] = {0, 1, 2, 3, 4};
	int32_t		pair[] = {3, 4, 1, 3};	/* 3 was followed by 4: not again */
	int32_t		triple[] = {1, 3, 4, 2, 3, 4, 1, 3};	/* 1 3 4 was there, 2 3 4 too */
	int32_t		both[] = {3, 4, 3, 2, 3};
	uint32_t	only_four = 1u << 4;
	uint32_t	banned = 1u << 4 | 1u << 2;

	(void) state;
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 2}, logits, 5, pair, 4), 3);
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 2}, logits, 5, pair, 3), 4);
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 3}, logits, 5, triple, 8), 3);
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 4}, logits, 5, triple, 8), 4);
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 9}, logits, 5, triple, 8), 4);
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 1}, logits, 5, pair, 4), 2);
	assert_int_equal(after((dsv_sampling) {.no_repeat_ngram = 1}, logits, 5, pair, 0), 4);

	/* nothing is left: the plain argmax of what is allowed */
	assert_int_equal(choose((dsv_sampling) {.no_repeat_ngram = 2}, logits, 5, pair, 4,
							&only_four), 4);
	assert_int_equal(choose((dsv_sampling) {.no_repeat_ngram = 2}, logits, 5, both, 5, &banned), 4);
	assert_int_equal(choose((dsv_sampling) {.no_repeat_ngram = 2, .temperature = 1}, logits, 5,
							both, 5, &banned), 4);
}

/* The chains say what a search through the whole answer says, at every length. */
static void
test_ngrams_against_search(void **state)
{
	enum
	{
		VOCAB = 4
	};
	int32_t		answer[MAX_TOKENS];
	uint32_t	seed = 1;
	fixture		f;

	(void) state;
	for (int size = 1; size <= 4; size++)
	{
		make(&f, (dsv_sampling) {.no_repeat_ngram = size}, VOCAB);
		for (int n = 0; n < 200; n++)
		{
			float		logits[VOCAB];
			bool		banned[VOCAB] = {false};
			int			want = -1;

			for (int i = 0; i < VOCAB; i++)
			{
				seed = seed * 1103515245u + 12345;
				logits[i] = (float) (seed >> 16 & 0x3FF);
			}
			for (int at = size - 1; at < n; at++)
				if (memcmp(answer + at - size + 1, answer + n - size + 1,
						   (size - 1) * sizeof(int32_t)) == 0)
					banned[answer[at]] = true;
			for (int pass = 0; pass < 2 && want < 0; pass++)
				for (int i = 0; i < VOCAB; i++)
					if ((pass == 1 || !banned[i]) && (want < 0 || logits[i] > logits[want]))
						want = i;
			answer[n] = next(&f, logits, answer, n);
			assert_int_equal(answer[n], want);
		}
		free(f.to_free);
	}
}

/* ---- draws ---- */

/* Shares of 40000 draws; with p the probability, one in 10^5 fair counts is off by more than
 * 4.5 standard deviations. */
static void
check_shares(dsv_sampling options, const float *logits, int vocab, const double *expected)
{
	enum
	{
		DRAWS = 40000
	};
	int			count[16] = {0};
	fixture		f;
	int32_t		none[1] = {0};

	for (int i = 0; i < DRAWS; i++)
	{
		options.seed = (uint64_t) i;
		if (i == 0)
			make(&f, options, vocab);
		else
		{
			dsv_arena	arena = {NULL, 0};

			arena.base = (char *) (((uintptr_t) f.to_free + 63) / 64 * 64);
			dsv_sampler_init(&f.s, &options, vocab, MAX_TOKENS, &arena);
		}
		count[next(&f, logits, none, 0)]++;
	}
	free(f.to_free);
	for (int i = 0; i < vocab; i++)
		assert_float_equal(count[i] / (double) DRAWS, expected[i],
						   4.5 * sqrt(expected[i] * (1 - expected[i]) / DRAWS));
}

static void
test_draws(void **state)
{
	/* probabilities 0.1 0.4 0.05 0.3 0.15 at temperature 1 */
	float		logits[] = {logf(0.10f), logf(0.40f), logf(0.05f), logf(0.30f), logf(0.15f)};
	double		plain[] = {0.10, 0.40, 0.05, 0.30, 0.15};
	double		hot[5];			/* at temperature 2: square roots */
	double		sum = 0;

	(void) state;
	check_shares((dsv_sampling) {.temperature = 1}, logits, 5, plain);
	check_shares((dsv_sampling) {.temperature = 1, .top_p = 1}, logits, 5, plain);
	for (int i = 0; i < 5; i++)
		sum += sqrt(plain[i]);
	for (int i = 0; i < 5; i++)
		hot[i] = sqrt(plain[i]) / sum;
	check_shares((dsv_sampling) {.temperature = 2}, logits, 5, hot);

	/* 0.4 + 0.3 < 0.75 <= 0.4 + 0.3 + 0.15 */
	check_shares((dsv_sampling) {.temperature = 1, .top_p = 0.75f}, logits, 5,
				 (double[]) {0, 0.40 / 0.85, 0, 0.30 / 0.85, 0.15 / 0.85});
	check_shares((dsv_sampling) {.temperature = 1, .top_p = 0.5f}, logits, 5,
				 (double[]) {0, 0.40 / 0.70, 0, 0.30 / 0.70, 0});
	check_shares((dsv_sampling) {.temperature = 1, .top_p = 1e-6f}, logits, 5,
				 (double[]) {0, 1, 0, 0, 0});
}

/* A large vocabulary: the nucleus is what sorting everything gives. */
static void
test_nucleus(void **state)
{
	enum
	{
		VOCAB = 5000
	};
	static float logits[VOCAB];
	static uint8_t inside[VOCAB];
	double		total = 0;
	double		mass = 0;
	int32_t		none[1] = {0};
	uint32_t	x = 7;

	(void) state;
	for (int i = 0; i < VOCAB; i++)
	{
		x = x * 1664525u + 1013904223u;
		logits[i] = (float) (x >> 8 & 0xFFFF) / 8192.0f;	/* many are equal */
		total += exp(logits[i]);
	}
	while (mass < 0.3 * total)
	{
		int			best = -1;

		for (int i = 0; i < VOCAB; i++)
			if (!inside[i] && (best < 0 || logits[i] > logits[best]))
				best = i;
		inside[best] = 1;
		mass += exp(logits[best]);
	}
	for (uint64_t seed = 0; seed < 300; seed++)
		assert_true(inside[choose((dsv_sampling) {.temperature = 1, .top_p = 0.3f, .seed = seed},
								  logits, VOCAB, none, 0, NULL)]);
}

static float
fake_logit(const int32_t *answer, int n, int id)
{
	uint32_t	x = (uint32_t) id * 2654435761u + (uint32_t) n * 40503u;

	for (int i = n > 2 ? n - 2 : 0; i < n; i++)
		x = (x ^ (uint32_t) answer[i]) * 16777619u;
	return (float) (x >> 20) / 1024.0f;
}

static void
go_on(fixture *f, int32_t *answer, int from, int to)
{
	enum
	{
		VOCAB = 50
	};
	float		logits[VOCAB];

	for (int n = from; n < to; n++)
	{
		for (int i = 0; i < VOCAB; i++)
			logits[i] = fake_logit(answer, n, i);
		answer[n] = next(f, logits, answer, n);
	}
}

static void
test_rewind_and_seed(void **state)
{
	dsv_sampling options = {.temperature = 0.8f, .top_p = 0.95f, .seed = 42,
		.repetition_penalty = 1.1f, .no_repeat_ngram = 2};
	int32_t		fresh[MAX_TOKENS];
	int32_t		again[MAX_TOKENS];
	int32_t		other[MAX_TOKENS];
	fixture		f;

	(void) state;
	make(&f, options, 50);
	go_on(&f, fresh, 0, 200);
	free(f.to_free);

	make(&f, options, 50);
	go_on(&f, again, 0, 150);
	for (int i = 60; i < 150; i++)	/* an answer that was forced away from its own way */
		again[i] = 0;
	dsv_sampler_rewind(&f.s, again, 60);
	go_on(&f, again, 60, 200);
	assert_memory_equal(fresh, again, 200 * sizeof(int32_t));
	dsv_sampler_rewind(&f.s, again, 0);
	go_on(&f, again, 0, 200);
	assert_memory_equal(fresh, again, 200 * sizeof(int32_t));
	free(f.to_free);

	options.seed = 43;
	make(&f, options, 50);
	go_on(&f, other, 0, 200);
	assert_memory_not_equal(fresh, other, 200 * sizeof(int32_t));
	free(f.to_free);
}

/* The text of a seed is part of the interface: a stored query must not change its answer. */
static void
test_known_draws(void **state)
{
	float		logits[100] = {0};
	int32_t		answer[8];
	static const int32_t known[8] = {43, 26, 61, 83, 52, 16, 59, 69};
	fixture		f;

	(void) state;
	make(&f, (dsv_sampling) {.temperature = 1, .seed = 1}, 100);
	for (int n = 0; n < 8; n++)
		answer[n] = next(&f, logits, answer, n);
	free(f.to_free);
	assert_memory_equal(answer, known, sizeof(known));
}

/* ---- stop strings ---- */

static ptrdiff_t
find(const char *text, size_t from, const char *a, const char *b)
{
	dsv_bytes	stop[2] = {{a, strlen(a)}, {b, strlen(b)}};

	return dsv_stop_find(text, strlen(text), from, stop, 2);
}

static size_t
held(const char *text, const char *a, const char *b)
{
	dsv_bytes	stop[2] = {{a, strlen(a)}, {b, strlen(b)}};

	return dsv_stop_held(text, strlen(text), stop, 2);
}

static void
test_stop_find(void **state)
{
	(void) state;
	assert_int_equal(find("a line\nanother", 0, "\n", "END"), 6);
	assert_int_equal(find("the END\n", 0, "\n", "END"), 4);
	assert_int_equal(find("the end", 0, "\n", "END"), -1);
	assert_int_equal(find("xxEND", 4, "END", ""), 2);	/* begun in an earlier piece */
	assert_int_equal(find("aaab", 3, "aab", "b"), 1);
	assert_int_equal(find("", 0, "a", ""), -1);
	assert_int_equal(find("abc", 3, "abcd", "zz"), -1);
	assert_int_equal(dsv_stop_find("a\0b", 3, 0, &(dsv_bytes) {"\0b", 2}, 1), 1);
	assert_int_equal(dsv_stop_find("abc", 3, 0, NULL, 0), -1);
}

static void
test_stop_held(void **state)
{
	(void) state;
	assert_int_equal(held("text E", "END", "STOP"), 1);
	assert_int_equal(held("text EN", "END", "STOP"), 2);
	assert_int_equal(held("text ENS", "END", "STOP"), 1);
	assert_int_equal(held("text STO", "END", "STOP"), 3);
	assert_int_equal(held("text", "END", ""), 0);
	assert_int_equal(held("aaaa", "aab", "zz"), 2);
	assert_int_equal(held("a", "aab", "aaaaaaaa"), 1);
	assert_int_equal(held("", "aab", "b"), 0);
	assert_int_equal(held("xyabab", "ababc", "bac"), 4);
	assert_int_equal(held("END", "END", "x"), 0);	/* complete: for find, not for held */
}

/* Streamed byte by byte, what is let out never contains or begins a stop string that comes. */
static void
test_stop_stream(void **state)
{
	static const char text[] = "abaabaabbabababbbaaabbbaabbab";
	dsv_bytes	stop[2] = {{"bbba", 4}, {"abbb", 4}};
	size_t		shown = 0;

	(void) state;
	for (size_t len = 1; len <= strlen(text); len++)
	{
		ptrdiff_t	at = dsv_stop_find(text, len, len - 1, stop, 2);

		if (at >= 0)
		{
			assert_ptr_equal(strstr(text, "abbb"), text + at);
			assert_true(shown <= (size_t) at);
			return;
		}
		assert_true(len - dsv_stop_held(text, len, stop, 2) >= shown);
		shown = len - dsv_stop_held(text, len, stop, 2);
	}
	fail_msg("no stop string found");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greedy),
		cmocka_unit_test(test_logprob),
		cmocka_unit_test(test_repetition_penalty),
		cmocka_unit_test(test_no_repeat_ngram),
		cmocka_unit_test(test_ngrams_against_search),
		cmocka_unit_test(test_draws),
		cmocka_unit_test(test_nucleus),
		cmocka_unit_test(test_rewind_and_seed),
		cmocka_unit_test(test_known_draws),
		cmocka_unit_test(test_stop_find),
		cmocka_unit_test(test_stop_held),
		cmocka_unit_test(test_stop_stream),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
