/*
 * score.h
 *		Candidates of a request as a tree of tokens, and what the model gives to each.
 *
 * Node 0 is the end of the prompt; every other node is a token behind its parent, and a
 * candidate is the path to one node plus the end token.  What candidates begin with alike is
 * one path.  Nodes stand depth first: fed in that order to the positions behind the prompt, a
 * node finds its ancestors' keys and values there, as only nodes of other paths that are done
 * are overwritten.
 */
#ifndef DSV_SCORE_H
#define DSV_SCORE_H

#include "mem.h"
#include "tokenizer.h"

/* ---- the tokens of candidates, while a request is admitted ---- */

typedef struct dsv_candidate_path
{
	const int32_t *ids;
	int			n;
	int			index;			/* in the request */
} dsv_candidate_path;

typedef struct dsv_candidate_plan
{
	dsv_tokens	tokens;			/* of all candidates */
	dsv_candidate_path *paths;	/* [ncandidates] in ascending order */
	int			ncandidates;
	int			nnodes;			/* of the tree, node 0 counted */
	int			longest;		/* tokens of a candidate at most, end token not counted */
} dsv_candidate_plan;

/* Each text is tokenized alone, special tokens off: the first word of an answer is.  What is
 * not NULL in *out must be freed, on errors too.  Errors: NOMEM, INPUT, CANCELED. */
dsv_code	dsv_candidate_plan_make(const dsv_tokenizer *tokenizer, const dsv_bytes *texts, int n,
									const dsv_poll *poll, const dsv_mem *mem,
									dsv_candidate_plan *out, dsv_error *err);
void		dsv_candidate_plan_free(dsv_candidate_plan *plan, const dsv_mem *mem);

/* ---- the tree ---- */

typedef struct dsv_score_node
{
	int32_t		token;
	int			depth;			/* tokens behind the prompt, this one counted; 0 = node 0 */
	int			child;			/* first one, or -1 */
	int			sibling;		/* next one, or -1 */
	double		logprob;		/* ln P(path | prompt) */
	double		ended;			/* ln P(path and end token | prompt) */
} dsv_score_node;

typedef struct dsv_score
{
	dsv_score_node *nodes;		/* [nnodes] */
	int			nnodes;			/* 0: nothing is scored */
	int		   *last;			/* [ncandidates] node of the last token */
	dsv_candidate *out;			/* [ncandidates] */
	int			ncandidates;
} dsv_score;

/* Takes the arrays for out->nnodes and out->ncandidates. */
void		dsv_score_layout(dsv_score *score, dsv_arena *arena);
void		dsv_score_fill(dsv_score *score, const dsv_candidate_plan *plan);

/* logits[vocab] behind a node whose ancestors have been taken */
void		dsv_score_take(dsv_score *score, int node, const float *logits, int vocab, int32_t eos);

/* All nodes have been taken: fills out. */
void		dsv_score_end(dsv_score *score);

#endif
