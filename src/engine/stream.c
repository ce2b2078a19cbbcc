#include "stream.h"

#include <math.h>
#include <string.h>

#define HEAD_FLOATS ((sizeof(dsv_stream) + 63) / 64 * 16)

size_t
dsv_stream_floats(int qk, int v_dim)
{
	return HEAD_FLOATS + (size_t) DSV_STREAM_ROWS * (qk + v_dim);
}

dsv_stream *
dsv_stream_begin(float *scratch, const float *q, size_t ldq, int rows, int qk, int v_dim, float scale)
{
	dsv_stream *s = (dsv_stream *) scratch;

	s->rows = rows;
	s->qk = qk;
	s->v_dim = v_dim;
	s->q = scratch + HEAD_FLOATS;
	s->out = s->q + (size_t) DSV_STREAM_ROWS * qk;
	for (int r = 0; r < rows; r++)
	{
		s->max[r] = -INFINITY;
		s->sum[r] = 0;
		memcpy(s->q + (size_t) r * qk, q + r * ldq, qk * sizeof(float));
	}
	kern->scale(s->q, scale, (size_t) rows * qk);
	memset(s->out, 0, (size_t) rows * v_dim * sizeof(float));
	return s;
}

/* score[rows, width] = q k^T; columns beyond the block's keys hold anything */
static void
multiply_keys(dsv_stream *s, const dsv_key_block *b, int width)
{
	if (!b->columns)
	{
		kern->gemm_nt(s->q, s->qk, b->k, b->dtype, b->ldk, NULL, s->score, DSV_STREAM_KEYS, s->rows,
					  b->keys, s->qk);
		return;
	}
	memset(s->score, 0, (size_t) s->rows * DSV_STREAM_KEYS * sizeof(float));
	kern->gemm_nn(s->q, s->qk, b->k, b->dtype, b->ldk, s->score, DSV_STREAM_KEYS, s->rows, s->qk, width);
}

void
dsv_stream_add(dsv_stream *s, const dsv_key_block *b, int seen, int step)
{
	int			width = (b->keys + 15) / 16 * 16;
	float		shrink[DSV_STREAM_ROWS];

	multiply_keys(s, b, width);
	kern->softmax_rows(s->score, DSV_STREAM_KEYS, s->rows, width, dsv_min(seen, b->keys), step, s->max,
					   s->sum, shrink);
	for (int r = 0; r < s->rows; r++)
		if (shrink[r] != 1.0f)
			kern->scale(s->out + (size_t) r * s->v_dim, shrink[r], s->v_dim);
	kern->gemm_nn(s->score, DSV_STREAM_KEYS, b->v, b->dtype, b->ldv, s->out, s->v_dim, s->rows, b->keys,
				  s->v_dim);
}

void
dsv_stream_end(const dsv_compute *ctx, dsv_stream *s, float *out, size_t ldo)
{
	for (int r = 0; r < s->rows; r++, out += ldo)
	{
		memcpy(out, s->out + (size_t) r * s->v_dim, s->v_dim * sizeof(float));
		kern->scale(out, 1.0f / s->sum[r], s->v_dim);
		dsv_round(ctx, out, s->v_dim);
	}
}
