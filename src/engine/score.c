/*
 * score.c
 *		The tree of candidates: made, laid out, filled and read off.
 */
#include "score.h"

#include <math.h>
#include <stdlib.h>

#include "sample.h"

/* ---- tokens ---- */

static int
compare_paths(const void *a, const void *b)
{
	const dsv_candidate_path *x = a;
	const dsv_candidate_path *y = b;

	for (int i = 0; i < x->n && i < y->n; i++)
		if (x->ids[i] != y->ids[i])
			return x->ids[i] < y->ids[i] ? -1 : 1;
	return x->n != y->n ? x->n - y->n : x->index - y->index;
}

/* Tokens that the i-th path begins with like the one before */
static int
shared(const dsv_candidate_plan *plan, int i)
{
	int			n = 0;

	if (i > 0)
		while (n < plan->paths[i].n && n < plan->paths[i - 1].n &&
			   plan->paths[i].ids[n] == plan->paths[i - 1].ids[n])
			n++;
	return n;
}

dsv_code
dsv_candidate_plan_make(const dsv_tokenizer *tokenizer, const dsv_bytes *texts, int n,
						const dsv_poll *poll, const dsv_mem *mem, dsv_candidate_plan *out, dsv_error *err)
{
	const int32_t *ids;

	*out = (dsv_candidate_plan) {.ncandidates = n, .nnodes = 1};
	out->paths = dsv_alloc_zero(mem, n, sizeof(*out->paths));
	if (out->paths == NULL)
		return dsv_fail_nomem(err, n * sizeof(*out->paths));
	for (int i = 0; i < n; i++)
	{
		dsv_span	span = {texts[i].data, texts[i].len, false};
		size_t		before = out->tokens.n;
		dsv_code	code;

		if (dsv_poll_canceled(poll))
			return dsv_fail_canceled(err);
		code = dsv_tokenizer_encode(tokenizer, &span, 1, poll, mem, &out->tokens, err);
		if (code != DSV_OK)
			return code;
		out->paths[i].n = (int) (out->tokens.n - before);
		out->paths[i].index = i;
		if (out->paths[i].n > out->longest)
			out->longest = out->paths[i].n;
	}
	ids = out->tokens.ids;
	for (int i = 0; i < n; i++)
	{
		out->paths[i].ids = ids;
		ids += out->paths[i].n;
	}
	qsort(out->paths, n, sizeof(*out->paths), compare_paths);
	for (int i = 0; i < n; i++)
		out->nnodes += out->paths[i].n - shared(out, i);
	return DSV_OK;
}

void
dsv_candidate_plan_free(dsv_candidate_plan *plan, const dsv_mem *mem)
{
	dsv_free(mem, plan->tokens.ids);
	dsv_free(mem, plan->paths);
	*plan = (dsv_candidate_plan) {0};
}

/* ---- the tree ---- */

void
dsv_score_layout(dsv_score *score, dsv_arena *arena)
{
	score->nodes = dsv_arena_take(arena, score->nnodes, sizeof(*score->nodes));
	score->last = dsv_arena_take(arena, score->ncandidates, sizeof(int));
	score->out = dsv_arena_take(arena, score->ncandidates, sizeof(*score->out));
}

/* In ascending order of the paths: what one shares with those before is the newest branch. */
void
dsv_score_fill(dsv_score *score, const dsv_candidate_plan *plan)
{
	dsv_score_node *nodes = score->nodes;
	int			n = 1;

	nodes[0] = (dsv_score_node) {.token = -1, .child = -1, .sibling = -1};
	for (int i = 0; i < plan->ncandidates; i++)
	{
		const dsv_candidate_path *path = &plan->paths[i];
		int			at = 0;

		for (int k = 0; k < path->n; k++)
		{
			int			newest = nodes[at].child;

			if (newest < 0 || nodes[newest].token != path->ids[k])
			{
				nodes[n] = (dsv_score_node) {.token = path->ids[k], .depth = k + 1, .child = -1,
					.sibling = newest};
				newest = nodes[at].child = n++;
			}
			at = newest;
		}
		score->last[path->index] = at;
	}
}

/* Weights that make logits other than numbers must not make probabilities of them. */
static double
logprob(float logit, double log_sum)
{
	return isfinite(logit) && isfinite(log_sum) ? logit - log_sum : -INFINITY;
}

void
dsv_score_take(dsv_score *score, int node, const float *logits, int vocab, int32_t eos)
{
	dsv_score_node *nodes = score->nodes;
	double		log_sum = dsv_log_sum_exp(logits, vocab);

	nodes[node].ended = nodes[node].logprob + logprob(logits[eos], log_sum);
	for (int c = nodes[node].child; c >= 0; c = nodes[c].sibling)
		nodes[c].logprob = nodes[node].logprob + logprob(logits[nodes[c].token], log_sum);
}

void
dsv_score_end(dsv_score *score)
{
	for (int i = 0; i < score->ncandidates; i++)
	{
		const dsv_score_node *last = &score->nodes[score->last[i]];

		score->out[i] = (dsv_candidate) {last->ended, last->depth + 1};
	}
}
