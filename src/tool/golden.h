/*
 * golden.h
 *		One golden case: what is expected, what the engine's trace showed, how far apart.
 *
 * golden.c makes the request and runs it, golden_trace.c collects, golden_compare.c judges.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "../engine/model.h"
#include "tool.h"

/* Rows of tile 0 that vit_stages_tile0 holds */
#define GOLDEN_STAGE_ROWS 4
extern const int golden_stage_rows[GOLDEN_STAGE_ROWS];

/* What the trace showed; shapes as in the golden files */
typedef struct golden_trace
{
	const dsv_config *config;
	int			router_layer;	/* whose every row is kept */
	int			n;				/* prompt tokens */
	int			ntiles;
	int			max_logits;		/* rows of logits kept */

	bool	   *tile_seen;		/* [ntiles]; tiles equal to an earlier one are not run */
	char		(*tile_sha)[65];
	double		(*tile_sums)[2];	/* sum and norm of the projector's output */
	float	   *vit_stages;		/* [vision layers + 2, stage rows, width] of tile 0 */
	float	   *vit;			/* [patches, width] of tile 0 */
	float	   *projector;		/* [tokens, hidden] of tile 0 */
	float	   *embeds;			/* [n, hidden] */
	float	   *hidden;			/* [layers + 2, hidden] of the last token */
	int32_t    *experts;		/* [n, top_k] of router_layer, ids ascending */
	float	   *weights;		/* [n, top_k] */
	int32_t    *last_experts;	/* [layers, top_k] of the last token */
	float	   *last_weights;
	float	   *logits;			/* [max_logits, vocab] */
	int			nlogits;
} golden_trace;

void		golden_trace_init(golden_trace *t, const dsv_config *config, int n, int ntiles,
							  int router_layer, int max_logits);
void		golden_trace_free(golden_trace *t);
void		golden_trace_event(void *ud, const dsv_trace_event *event);

#define GOLDEN_TURNS 32
#define GOLDEN_PARTS 128

typedef struct golden_conversation
{
	dsv_turn	turns[GOLDEN_TURNS];
	int			nturns;
	dsv_part	parts[GOLDEN_PARTS];
	int			nparts;
	dsv_bytes	images[TOOL_MAX_IMAGES];
	int			nimages;
} golden_conversation;

/* "conversation" of a case; case_dir/../images holds the pictures.  The texts stay in turns, the
 * images are the caller's to free. */
void		golden_build_conversation(golden_conversation *c, const json_t *turns,
									  const char *case_dir);

typedef struct golden_case
{
	char		label[128];		/* "tiny-like/one_image" */
	json_t	   *json;
	dsv_safetensors *expected;
	bool		bf16;
} golden_case;

/* Largest absolute differences; negative: not measured */
typedef struct golden_measure
{
	int			tokens;
	int			tiles;
	double		vit;
	double		projector;
	double		embeds;
	double		hidden;
	double		logits;
	int			router_changed; /* rows with other experts */
	int			greedy_same;	/* tokens before the first that differs */
	int			greedy;			/* tokens expected */
	double		scored;			/* log-probability of a candidate, per token */
	double		ms;
} golden_measure;

/* Adds the case's lines to tap and fills what was measured. */
void		golden_compare(const golden_case *c, const golden_trace *t,
						   const dsv_tokenizer *tokenizer, dsv_sequence *seq, golden_measure *m,
						   tool_tap *tap);

/* What the engine gave to the case's scored candidates, after golden_compare. */
void		golden_compare_scored(const golden_case *c, const json_t *candidates,
								  const dsv_result *result, golden_measure *m, tool_tap *tap);

#endif
