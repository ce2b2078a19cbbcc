/*
 * language.h
 *		One layer of the DeepSeek-V2 language model over the rows of a pass.
 *
 * A pass is a set of segments: consecutive positions of one sequence each.  A prefill is
 * one segment of many rows, a decode step one row of every decoding sequence.  Linear and
 * expert products run over all rows together; a row's result does not depend on the others.
 * Within a layer the segments attend one after the other, each when its own keys and values are
 * written: a segment may take over positions that an earlier one has used.
 */
#ifndef DSV_LANGUAGE_H
#define DSV_LANGUAGE_H

#include "compute.h"
#include "config.h"
#include "kv.h"

typedef struct dsv_segment
{
	const int  *pages;			/* of the sequence */
	int			first;			/* position of the segment's first row */
	int			rows;
	int			row0;			/* of the pass */
} dsv_segment;

typedef struct dsv_pass
{
	const dsv_segment *segments;
	int			nsegments;
	int			rows;			/* of all segments */
	bool		absorbed;		/* MLA: attend in the latent space */
	float	   *x;				/* [rows, hidden] residual stream */
} dsv_pass;

/* Shared by every pass; taken from the engine's arena for the largest pass admitted. */
typedef struct dsv_language_scratch
{
	float	   *h;				/* [rows, hidden] norm output */
	/* attention */
	float	   *q;				/* [rows, heads * (nope + rope)] */
	float	   *q_low;			/* [rows, q_rank] */
	float	   *kv;				/* [rows, kv row] new keys and values */
	float	   *q_lat;			/* [rows, heads * (kv_rank + rope)], absorbed */
	float	   *o_lat;			/* [rows, heads * kv_rank], absorbed */
	float	   *o;				/* [rows, heads * v_dim] */
	/* experts; overlaps with attention */
	float	   *score;			/* [rows, experts] */
	int32_t    *pick;			/* [rows, top_k], best choice first */
	float	   *weight;			/* [rows, top_k] */
	int		   *slot_row;		/* [rows * top_k] rows grouped by expert */
	float	   *slot_weight;	/* [rows * top_k] */
	int		   *first_slot;		/* [experts + 1] */
	char	   *inner;			/* [rows * top_k, moe_mlp] as the next product takes them */
	char	   *inner_dense;	/* [rows, dense or shared width] likewise */
	float	   *y;				/* [rows, hidden] */
} dsv_language_scratch;

void		dsv_language_layout(const dsv_config *config, int rows, dsv_arena *arena,
								dsv_language_scratch *out);

/* Worker scratch for passes over sequences of at most `positions` positions. */
size_t		dsv_language_worker_floats(const dsv_config *config, int positions);

/* Rotary tables cos, sin [positions][rope / 2], in the reference's own float arithmetic. */
void		dsv_rope_table(const dsv_language_config *config, int positions, float *cosine, float *sine);

typedef struct dsv_rope
{
	const float *cosine;
	const float *sine;
} dsv_rope;

/* x += attention(norm(x)); x += mlp(norm(x)).  Keys and values of the rows are written to
 * their pages. */
void		dsv_layer_run(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights,
						  int layer, dsv_kv *kv, dsv_rope rope, const dsv_pass *pass,
						  const dsv_language_scratch *scratch);

/* Keys and values of the rows alone, as dsv_layer_run() writes them; x stays as it is. */
void		dsv_layer_store(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights,
							int layer, dsv_kv *kv, dsv_rope rope, const dsv_pass *pass,
							const dsv_language_scratch *scratch);

/* The halves of a layer, in attention.c and moe.c */
void		dsv_attention_store(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer,
								int index, dsv_kv *kv, dsv_rope rope, const dsv_pass *pass,
								const dsv_language_scratch *scratch);
void		dsv_attention_run(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer,
							  int index, dsv_kv *kv, dsv_rope rope, const dsv_pass *pass,
							  const dsv_language_scratch *scratch);
size_t		dsv_attention_worker_floats(const dsv_language_config *config, int positions);
void		dsv_mlp_run(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer,
						int index, const dsv_pass *pass, const dsv_language_scratch *scratch);
size_t		dsv_mlp_worker_floats(const dsv_language_config *config);

/* Chooses top_k experts of one row from scores[experts] (router logits on entry, overwritten):
 * pick and weight [top_k], best choice first. */
void		dsv_route(const dsv_language_config *config, const float *bias, float *scores,
					  int32_t *pick, float *weight);

#endif
