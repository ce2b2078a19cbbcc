/*
 * engine.h
 *		What an engine and a sequence hold.  Who owns what:
 *
 *	engine		the pages, the rows of tiles seen lately, the rotary tables, one scratch block
 *				that every step uses and no step leaves anything in
 *	sequence	its tiles until the tower has read them, and one arena: prompt, tile rows,
 *				residual stream of the prefill, logits, answer, text
 */
#ifndef DSV_ENGINE_H
#define DSV_ENGINE_H

#include "constraint.h"
#include "kv.h"
#include "language.h"
#include "model.h"
#include "prompt.h"
#include "sample.h"
#include "score.h"
#include "tile.h"
#include "tile_cache.h"
#include "vision.h"

/* Sequences that may decode together */
#define DSV_MAX_SEQUENCES 64

/* Rows of a decode pass at most, one for each sequence at least */
#define DSV_DECODE_ROWS 64

/* Rows of the output matrix' product at a time: bounds the scratch for logits. */
#define DSV_LOGIT_ROWS 8

typedef struct dsv_sequence_image
{
	dsv_image_info info;		/* as stored */
	dsv_grid	grid;
	dsv_tiles	tiles;			/* freed when the tower has read them */
	int			at;				/* first position in the prompt */
	int			len;
	int			first_tile;		/* running number of its global view */
} dsv_sequence_image;

struct dsv_sequence
{
	dsv_engine *engine;
	dsv_sequence *next;			/* in order of admission */
	dsv_state	state;
	bool		paused;
	void	   *to_free;		/* of the arena below */
	size_t		bytes;

	/* prompt */
	int32_t    *prompt;			/* [nprompt] */
	int			nprompt;
	dsv_sequence_image *images; /* [nimages] */
	dsv_image_info *image_infos;	/* [nimages], for the result */
	int			nimages;

	/* vision: ntiles views, of which nunique differ; row block tile_row[t] belongs to view t */
	int			ntiles;
	int			nunique;
	dsv_kv_name *tile_hash;		/* [ntiles] of its pixels */
	int		   *tile_row;		/* [ntiles] index into rows and first_of */
	int		   *first_of;		/* [nunique] running number of the first such view */
	bool	   *shown;			/* [nunique] by some position that is not cached */
	bool	   *needed;			/* [nunique] shown, and the tower has to run it */
	float	   *tile_rows;		/* [nunique][tokens][hidden] */
	int		   *tile_slot;		/* [nunique] to be filled in the tile cache, or -1 */
	int			next_unique;
	int64_t		vision_done;
	int64_t		vision_total;

	/* pages */
	int		   *pages;			/* [npages] */
	int			npages;
	dsv_kv_name *names;			/* [nprompt / DSV_KV_PAGE] */
	int			cached;			/* positions found in cached pages */
	bool		cacheable;
	const kern_table *kernels;	/* that the names of its pages and tiles stand for */
	bool		blas;			/* and whether BLAS runs its tiles */

	/* prefill */
	float	   *x;				/* [chunk rows, hidden] */
	int			chunk_max;
	int			chunk_first;
	int			chunk_rows;
	int			layer;			/* next one of the chunk */

	/* decode */
	float	   *logits;			/* [vocab] after the last token fed */
	float	   *prompt_logits;	/* [vocab] after the prompt, for a rewind */
	dsv_sampler sampler;
	int32_t    *answer;			/* [max_tokens] */
	float	   *logprobs;		/* [max_tokens] */
	bool	   *forced;			/* [max_tokens] not chosen by the model */
	int32_t    *ends;			/* [max_tokens] length of the text after each token */
	int			nanswer;
	int			fed;			/* tokens of the answer whose keys and values are in the pages; with
								 * candidates, nodes of their tree whose logits are known */
	int			max_tokens;
	dsv_text	text;			/* capacity for max_tokens pieces */
	size_t		text_end;		/* the answer's end: a stop string is cut off */
	dsv_decoder decoder;
	bool		keep_special;
	dsv_bytes  *stop;			/* [nstop], bytes in the arena */
	int			nstop;
	dsv_constraint constraint;	/* with an automaton when the request has a grammar */
	bool		no_logprobs;
	const uint32_t *few;		/* the only tokens whose logits are asked for next, or NULL */
	dsv_score	score;			/* candidates, no answer is generated; or nnodes = 0 */
	dsv_finish	finish;
	dsv_usage	usage;
	dsv_result	result;
};

struct dsv_engine
{
	dsv_model  *model;
	dsv_engine_options options;
	dsv_mem		mem;
	dsv_compute compute;
	dsv_kv		kv;
	dsv_tile_cache tiles;
	float	   *cosine;			/* [context][rope / 2] */
	float	   *sine;
	void	   *tables_to_free;
	dsv_vocab_trie trie;		/* made at the first admission with a grammar */

	/* scratch, grown at admission */
	void	   *scratch_to_free;
	size_t		scratch_bytes;
	int			scratch_rows;
	int			scratch_positions;
	int			scratch_threads;
	dsv_vision_scratch vision;
	dsv_language_scratch language;
	float	   *decode_x;		/* [DSV_DECODE_ROWS, hidden] */
	float	   *decode_logits;	/* [DSV_LOGIT_ROWS, vocab] */

	dsv_sequence *sequences;	/* in order of admission */
	int			nsequences;
	bool		decode_next;	/* prefills and decodes take turns */
};

double		dsv_now_ms(void);

/* Rows of one prefill pass for a prompt of that length. */
int			dsv_engine_chunk(const dsv_engine *engine, int prompt_tokens);

/* admission.c */
void		dsv_sequence_layout(dsv_engine *engine, dsv_sequence *seq, const dsv_request *request,
								int tower_tiles, dsv_arena *arena);
size_t		dsv_engine_scratch_bytes(const dsv_engine *engine, int rows, int positions, int threads);
dsv_code	dsv_engine_reserve(dsv_engine *engine, int rows, int positions, dsv_error *err);
void		dsv_engine_drop_scratch(dsv_engine *engine);	/* no sequence may be left */

/* reuse.c: names the prompt's pages, takes cached and fresh ones, plans the tower's work */
dsv_code	dsv_sequence_take_pages(dsv_sequence *seq, dsv_error *err);

/* Before the first step: takes over what others have computed since the admission. */
void		dsv_sequence_find_cached(dsv_sequence *seq);

/* Gives back pixels and claims to slots of the tile cache. */
void		dsv_sequence_drop_tiles(dsv_sequence *seq);

/* Row that stands at an image position of the prompt, NULL where there is a token; the
 * tower must have run. */
const float *dsv_sequence_image_row(const dsv_sequence *seq, int position);

/* sequence.c: chooses the next token from seq->logits and takes it and what it entails into the
 * answer, or ends the sequence.  Errors: SCHEMA, LIMIT; the sequence has failed then. */
dsv_code	dsv_sequence_advance(dsv_sequence *seq, dsv_error *err);

/* The same for a sequence with candidates: logits[vocab] behind the next node of their tree */
void		dsv_sequence_score(dsv_sequence *seq, const float *logits);

#endif
