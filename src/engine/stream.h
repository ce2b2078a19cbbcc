/*
 * stream.h
 *		Attention of some query rows over blocks of keys, one block after the other: softmax with a
 *		running maximum, so that no row of scores is ever held as a whole.
 *
 * Queries and output are copied: rows as far apart as the model's buffers have them would take the
 * same few places of a cache.  A row's arithmetic depends on the blocks and on how many keys of each
 * it sees, not on the rows beside it.
 */
#ifndef DSV_STREAM_H
#define DSV_STREAM_H

#include "compute.h"

#define DSV_STREAM_ROWS 48		/* whole tiles of the kernels at every level */
#define DSV_STREAM_KEYS 64

typedef struct dsv_stream
{
	int			rows;			/* at most DSV_STREAM_ROWS */
	int			qk;
	int			v_dim;
	float	   *q;				/* [rows, qk], scaled by 1 / sqrt(width of a head's query) */
	float	   *out;			/* [rows, v_dim] */
	float		max[DSV_STREAM_ROWS];
	float		sum[DSV_STREAM_ROWS];
	float		score[DSV_STREAM_ROWS * DSV_STREAM_KEYS];
} dsv_stream;

typedef struct dsv_key_block
{
	const void *k;				/* columns: [qk, DSV_STREAM_KEYS], all of which may be read; else [keys, qk] */
	const void *v;				/* [keys, v_dim] */
	kern_dtype	dtype;
	bool		columns;
	size_t		ldk;
	size_t		ldv;
	int			keys;			/* at most DSV_STREAM_KEYS */
} dsv_key_block;

/* Floats of worker scratch that a stream takes with its queries and output */
size_t		dsv_stream_floats(int qk, int v_dim);

/* A stream in scratch for queries q[rows, qk] that are scaled by `scale`.  What is left of the scratch
 * begins dsv_stream_floats(qk, v_dim) on. */
dsv_stream *dsv_stream_begin(float *scratch, const float *q, size_t ldq, int rows, int qk, int v_dim,
							 float scale);

/* Row r sees the first seen + r step keys of the block: none of them below 1, all above keys. */
void		dsv_stream_add(dsv_stream *stream, const dsv_key_block *block, int seen, int step);

/* out[rows, v_dim] = the mean of the values, rounded under bf16; every row must have seen a key. */
void		dsv_stream_end(const dsv_compute *ctx, dsv_stream *stream, float *out, size_t ldo);

#endif
