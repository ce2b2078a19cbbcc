/*
 * sample.c
 *		Choosing the next token, and noticing a stop string.
 *
 * The order of the processors is that of transformers' generate(): repetition penalty,
 * no-repeat-n-gram, allowed tokens, temperature, top-p, draw.  Draws are counter-based:
 * the number for the n-th token of an answer is a hash of seed and n, so that a rewound
 * answer goes on as a fresh one would.  Probabilities are summed in double and in the
 * order of ids, which gives one text a seed on every machine whose exp() is the same.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* memmem */
#endif

#include "sample.h"

#include <math.h>
#include <string.h>

#define MAX_BUCKETS (1 << 20)

/* ---- random numbers ---- */

/* The finalizer of SplitMix64: a bijection in which every input bit reaches every output bit. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

/* Uniform in [0, 1), 53 bits */
static double
uniform(uint64_t key, int n)
{
	uint64_t	x = mix(key + (uint64_t) (n + 1) * UINT64_C(0x9E3779B97F4A7C15));

	return (double) (x >> 11) * 0x1p-53;
}

/* ---- memory ---- */

static bool
penalises(const dsv_sampling *o)
{
	return o->repetition_penalty > 0 && o->repetition_penalty != 1;
}

static void
forget(dsv_sampler *s)
{
	s->listed = 0;
	if (s->seen != NULL)
		memset(s->seen, 0, s->vocab);
	for (int i = 0; i < s->ngram_buckets; i++)
		s->ngram_head[i] = -1;
}

void
dsv_sampler_init(dsv_sampler *s, const dsv_sampling *options, int vocab, int max_tokens,
				 dsv_arena *arena)
{
	memset(s, 0, sizeof(*s));
	s->options = *options;
	s->vocab = vocab;
	s->key = mix(options->seed ^ UINT64_C(0x6A09E667F3BCC909));
	if (options->temperature > 0 || options->no_repeat_ngram > 0 || penalises(options))
		s->work = dsv_arena_take(arena, vocab, sizeof(*s->work));
	if (options->temperature > 0)
	{
		s->weight = dsv_arena_take(arena, vocab, sizeof(*s->weight));
		s->order = dsv_arena_take(arena, vocab, sizeof(*s->order));
	}
	if (penalises(options))
		s->seen = dsv_arena_take(arena, vocab, sizeof(*s->seen));
	if (options->no_repeat_ngram > 0)
	{
		s->ngram_buckets = 64;
		while (s->ngram_buckets < max_tokens && s->ngram_buckets < MAX_BUCKETS)
			s->ngram_buckets *= 2;
		s->ngram_head = dsv_arena_take(arena, s->ngram_buckets, sizeof(*s->ngram_head));
		s->ngram_next = dsv_arena_take(arena, max_tokens, sizeof(*s->ngram_next));
	}
	if (arena->base != NULL)
		forget(s);
}

void
dsv_sampler_rewind(dsv_sampler *s, const int32_t *answer, int n)
{
	/* other tokens may stand in the answer by now, so nothing can be taken back one by one;
	 * the next choice lists the first n again */
	(void) answer;
	(void) n;
	forget(s);
}

/* ---- n-grams ---- */

/* Bucket of the n - 1 tokens before position `at` */
static int
ngram_bucket(const dsv_sampler *s, const int32_t *answer, int at)
{
	uint64_t	h = 0;

	for (int i = at - s->options.no_repeat_ngram + 1; i < at; i++)
		h = mix(h + (uint32_t) answer[i] + 1);
	return (int) (h & (uint64_t) (s->ngram_buckets - 1));
}

/* Takes the tokens that came since the last choice into seen and the chains: position i is
 * listed under the n - 1 tokens before it. */
static void
list_answer(dsv_sampler *s, const int32_t *answer, int n)
{
	for (int i = s->listed; i < n; i++)
	{
		if (s->seen != NULL && answer[i] >= 0 && answer[i] < s->vocab)
			s->seen[answer[i]] = 1;
		if (s->ngram_buckets > 0 && i >= s->options.no_repeat_ngram - 1)
		{
			int			b = ngram_bucket(s, answer, i);

			s->ngram_next[i] = s->ngram_head[b];
			s->ngram_head[b] = i;
		}
	}
	s->listed = n;
}

static void
ban_ngrams(dsv_sampler *s, const int32_t *answer, int n)
{
	int			before = s->options.no_repeat_ngram - 1;
	size_t		bytes = (size_t) before * sizeof(*answer);

	if (n < before)
		return;
	for (int at = s->ngram_head[ngram_bucket(s, answer, n)]; at >= 0; at = s->ngram_next[at])
		if (answer[at] >= 0 && answer[at] < s->vocab &&
			memcmp(answer + at - before, answer + n - before, bytes) == 0)
			s->work[answer[at]] = -INFINITY;
}

/* ---- choosing ---- */

static bool
is_allowed(const uint32_t *allowed, int id)
{
	return allowed == NULL || (allowed[id / 32] >> (id % 32) & 1) != 0;
}

/* Lowest id of the largest logit among the allowed; -1 when all are -inf or NaN. */
static int32_t
argmax(const float *logits, int vocab, const uint32_t *allowed)
{
	float		best = -INFINITY;
	int32_t		id = -1;

	for (int i = 0; i < vocab; i++)
		if (logits[i] > best && is_allowed(allowed, i))
		{
			best = logits[i];
			id = i;
		}
	return id;
}

static void
penalise(dsv_sampler *s, const float *logits, const int32_t *answer, int n, const uint32_t *allowed)
{
	float		penalty = s->options.repetition_penalty;

	memcpy(s->work, logits, (size_t) s->vocab * sizeof(float));
	if (s->seen != NULL)
		for (int i = 0; i < s->vocab; i++)
			if (s->seen[i])
				s->work[i] = s->work[i] < 0 ? s->work[i] * penalty : s->work[i] / penalty;
	if (s->ngram_buckets > 0)
		ban_ngrams(s, answer, n);
	if (allowed != NULL)
		for (int i = 0; i < s->vocab; i++)
			if (!is_allowed(allowed, i))
				s->work[i] = -INFINITY;
}

/* More probable, or as probable and the lower id */
static bool
before(const dsv_sampler *s, int32_t a, int32_t b)
{
	return s->weight[a] > s->weight[b] || (s->weight[a] == s->weight[b] && a < b);
}

static void
sift_down(dsv_sampler *s, int at, int n)
{
	int32_t		id = s->order[at];

	for (int child; (child = 2 * at + 1) < n; at = child)
	{
		if (child + 1 < n && before(s, s->order[child + 1], s->order[child]))
			child++;
		if (!before(s, s->order[child], id))
			break;
		s->order[at] = s->order[child];
	}
	s->order[at] = id;
}

/*
 * The smallest set of most probable tokens that has the share top_p of the total weight:
 * its members to the end of order[0 .. *n), most probable last; returns their weight and
 * in *n the number of candidates.  Tokens below (1 - top_p) total / vocab can be in no such
 * set, since all of them together have less than the share left out; what remains is small
 * and is taken from a heap until the share is reached.
 */
static double
nucleus(dsv_sampler *s, double total, int *n, int *first)
{
	double		share = s->options.top_p * total;
	double		floor = (total - share) / s->vocab;
	double		mass = 0;
	int			heap = 0;

	for (int i = 0; i < s->vocab; i++)
		if (s->weight[i] > 0 && s->weight[i] >= floor)
			s->order[heap++] = i;
	for (int i = heap / 2 - 1; i >= 0; i--)
		sift_down(s, i, heap);
	*n = heap;
	do
	{
		int32_t		top = s->order[0];

		mass += s->weight[top];
		s->order[0] = s->order[--heap];
		sift_down(s, 0, heap);
		s->order[heap] = top;
	} while (heap > 0 && mass < share);
	*first = heap;
	return mass;
}

/* The most probable token is `top`, so at least its weight is 1. */
static int32_t
draw(dsv_sampler *s, int32_t top, int n)
{
	double		shift = s->work[top];
	double		total = 0;
	double		rest;
	int			count = s->vocab;
	int			first = 0;
	bool		cut = s->options.top_p > 0 && s->options.top_p < 1;

	for (int i = 0; i < s->vocab; i++)
	{
		double		w = exp((s->work[i] - shift) / s->options.temperature);

		s->weight[i] = w > 0 ? w : 0;	/* NaN is as impossible as -inf */
		total += s->weight[i];
	}
	if (cut)
		total = nucleus(s, total, &count, &first);
	rest = uniform(s->key, n) * total;
	for (int i = count - 1; i >= first; i--)
	{
		int32_t		id = cut ? s->order[i] : i;

		rest -= s->weight[id];
		if (rest < 0)
			return id;
	}
	return top;					/* rounding left something over */
}

int32_t
dsv_sampler_next(dsv_sampler *s, const float *logits, const int32_t *answer, int n,
				 const uint32_t *allowed)
{
	const float *scores = logits;
	int32_t		id;

	list_answer(s, answer, n);
	if (s->work != NULL)
	{
		penalise(s, logits, answer, n, allowed);
		scores = s->work;
	}
	id = argmax(scores, s->vocab, allowed);
	if (id >= 0 && s->options.temperature > 0 && isfinite(s->work[id]))
		id = draw(s, id, n);
	if (id < 0)					/* everything is banned: the bans yield, the grammar does not */
		id = argmax(logits, s->vocab, allowed);
	for (int i = 0; id < 0 && i < s->vocab; i++)
		if (is_allowed(allowed, i))
			id = i;
	return id < 0 ? 0 : id;
}

/* ln of the sum of exp(logits - logits[top]) */
static double
log_sum_below(const float *logits, int vocab, int32_t top)
{
	double		sum = 0;

	for (int i = 0; i < vocab; i++)
		if (logits[i] > -INFINITY)
			sum += exp((double) logits[i] - logits[top]);
	return log(sum);
}

double
dsv_log_sum_exp(const float *logits, int vocab)
{
	int32_t		top = argmax(logits, vocab, NULL);

	if (top < 0 || !isfinite(logits[top]))
		return top < 0 ? -INFINITY : logits[top];
	return logits[top] + log_sum_below(logits, vocab, top);
}

float
dsv_logprob(const float *logits, int vocab, int32_t id)
{
	int32_t		top = argmax(logits, vocab, NULL);

	if (top < 0 || !isfinite(logits[top]))
		return id == top ? 0.0f : -INFINITY;
	return (float) ((double) logits[id] - logits[top] - log_sum_below(logits, vocab, top));
}

/* ---- stop strings ---- */

ptrdiff_t
dsv_stop_find(const char *text, size_t len, size_t from, const dsv_bytes *stop, int nstop)
{
	ptrdiff_t	found = -1;

	for (int i = 0; i < nstop; i++)
	{
		/* an occurrence ends in the newest piece, so it begins less than its length before it */
		size_t		start = from < stop[i].len ? 0 : from - stop[i].len;
		const char *at;

		if (stop[i].len == 0 || start >= len)
			continue;
		at = memmem(text + start, len - start, stop[i].data, stop[i].len);
		if (at != NULL && (found < 0 || at - text < found))
			found = at - text;
	}
	return found;
}

size_t
dsv_stop_held(const char *text, size_t len, const dsv_bytes *stop, int nstop)
{
	size_t		held = 0;

	for (int i = 0; i < nstop; i++)
	{
		size_t		tail = stop[i].len == 0 ? 0 : stop[i].len - 1;
		const char *end = text + len;
		const char *at;

		if (tail > len)
			tail = len;
		/* the longest tail first: each candidate begins with the stop string's first byte */
		for (at = end - tail; (size_t) (end - at) > held; at++)
		{
			at = memchr(at, *(const char *) stop[i].data, (size_t) (end - at));
			if (at == NULL)
				break;
			if (memcmp(at, stop[i].data, (size_t) (end - at)) == 0)
			{
				if ((size_t) (end - at) > held)
					held = (size_t) (end - at);
				break;
			}
		}
	}
	return held;
}
