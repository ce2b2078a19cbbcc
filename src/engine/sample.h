/*
 * sample.h
 *		Choosing the next token, and noticing a stop string.
 *
 * All memory is taken by dsv_sampler_init; a choice takes none.  Penalties look at the
 * answer's own tokens only, as the reference does (it generates from embeddings).
 */
#ifndef DSV_SAMPLE_H
#define DSV_SAMPLE_H

#include "mem.h"

typedef struct dsv_sampler
{
	dsv_sampling options;
	int			vocab;
	uint64_t	key;			/* of the seed; the draw for token n is a hash of (key, n) */
	int			listed;			/* tokens of the answer that seen and the chains know */
	float	   *work;			/* [vocab] penalised logits; NULL: plain greedy */
	double	   *weight;			/* [vocab] probabilities times a constant; temperature only */
	int32_t    *order;			/* [vocab] candidates of top-p; temperature only */
	uint8_t    *seen;			/* [vocab] in the answer; repetition penalty only */
	int32_t    *ngram_head;		/* [ngram_buckets] newest position of a chain, or -1 */
	int32_t    *ngram_next;		/* [max_tokens] the position before in the same chain */
	int			ngram_buckets;	/* a power of two; 0: no n-grams */
} dsv_sampler;

/* Takes all memory from the arena; with a measuring arena only adds up the bytes. */
void		dsv_sampler_init(dsv_sampler *s, const dsv_sampling *options, int vocab, int max_tokens,
							 dsv_arena *arena);

/*
 * Next token from logits[vocab] after the answer so far.  allowed (a bit a token) may be NULL;
 * `answer` must be the same list as before or longer (dsv_sampler_rewind after taking tokens
 * back).
 */
int32_t		dsv_sampler_next(dsv_sampler *s, const float *logits, const int32_t *answer, int n,
							 const uint32_t *allowed);

/* Forgets all but the first n tokens of the answer. */
void		dsv_sampler_rewind(dsv_sampler *s, const int32_t *answer, int n);

/* First occurrence of any stop string in text[from - longest .. len): its offset, or -1.
 * `from` is the length before the newest piece. */
ptrdiff_t	dsv_stop_find(const char *text, size_t len, size_t from, const dsv_bytes *stop, int nstop);

/* Bytes at the end of text that may be the beginning of a stop string. */
size_t		dsv_stop_held(const char *text, size_t len, const dsv_bytes *stop, int nstop);

/* ln of the sum of exp(logits), which a log-probability is a logit without; not finite when no
 * logit is, or one is infinite */
double		dsv_log_sum_exp(const float *logits, int vocab);

/* natural log of softmax(logits)[id] */
float		dsv_logprob(const float *logits, int vocab, int32_t id);

#endif
