/*
 * attention.c
 *		Causal self-attention over paged keys and values: plain multi-head, and MLA.
 *
 * MLA keeps of a position only the normalised latent c and the rotated key part:
 *
 *	expanded	k = [W_uk c | k_pe], v = W_uv c for every position, then plain attention: cheap
 *				for many query rows
 *	absorbed	q' = [q_nope W_uk | q_pe] against [c | k_pe], the sum of c, then W_uv: cheap for
 *				one query row, as the latent is shared by all heads
 *
 * Softmax runs page by page with a running maximum, so a row's arithmetic depends on its
 * position alone: a prefill of n rows and n decodes give the same bits.
 */
#include <math.h>
#include <string.h>

#include "language.h"

/* Query rows of one task */
#define QUERY_ROWS 32

static int
qk_dim(const dsv_language_config *c)
{
	return c->mla ? c->nope + c->rope : c->head_dim;
}

typedef struct attention_job
{
	const dsv_compute *ctx;
	const dsv_language_config *c;
	const dsv_layer *layer;
	int			index;
	dsv_kv	   *kv;
	dsv_rope	rope;
	const dsv_language_scratch *s;
	int			row_tasks;		/* tasks of the segment a head */
	const dsv_segment *segment;
} attention_job;

/* ---- streaming softmax ---- */

/* One page's worth of keys and values as the kernels take them */
typedef struct key_block
{
	const void *k;
	const void *v;
	kern_dtype	dtype;
	size_t		ldk;
	size_t		ldv;
} key_block;

typedef struct stream
{
	float		max[QUERY_ROWS];
	float		sum[QUERY_ROWS];
	float		score[QUERY_ROWS * DSV_KV_PAGE];
} stream;

static void
stream_begin(stream *st, float *out, size_t ldo, int rows, int v_dim)
{
	for (int r = 0; r < rows; r++)
	{
		st->max[r] = -INFINITY;
		st->sum[r] = 0;
		memset(out + (size_t) r * ldo, 0, v_dim * sizeof(float));
	}
}

/*
 * Adds the keys at positions key0 .. key0 + 63 for rows at positions first .. first + rows - 1:
 * out += exp(q k^T * scale - max) v, rescaled when the maximum grows.
 */
static void
stream_add(stream *st, const float *q, size_t ldq, key_block kb, int key0, int first, int rows,
		   int qk, int v_dim, float scale, float *out, size_t ldo)
{
	int			keys = dsv_min(DSV_KV_PAGE, first + rows - key0);

	kern->gemm_nt(q, ldq, kb.k, kb.dtype, kb.ldk, NULL, st->score, DSV_KV_PAGE, rows, keys, qk);
	for (int r = 0; r < rows; r++)
	{
		float	   *s = st->score + r * DSV_KV_PAGE;
		int			seen = dsv_min(keys, first + r + 1 - key0);
		float		max;

		if (seen <= 0)
		{
			memset(s, 0, keys * sizeof(float));
			continue;
		}
		kern->scale(s, scale, seen);
		max = kern->max(s, seen);
		if (max > st->max[r])
		{
			float		shrink = expf(st->max[r] - max);

			st->max[r] = max;
			st->sum[r] *= shrink;
			kern->scale(out + (size_t) r * ldo, shrink, v_dim);
		}
		st->sum[r] += kern->exp_sum(s, st->max[r], seen);
		memset(s + seen, 0, (keys - seen) * sizeof(float));
	}
	kern->gemm_nn(st->score, DSV_KV_PAGE, kb.v, kb.dtype, kb.ldv, out, ldo, rows, keys, v_dim);
}

static void
stream_end(const dsv_compute *ctx, const stream *st, float *out, size_t ldo, int rows, int v_dim)
{
	for (int r = 0; r < rows; r++)
	{
		kern->scale(out + (size_t) r * ldo, 1.0f / st->sum[r], v_dim);
		dsv_round(ctx, out + (size_t) r * ldo, v_dim);
	}
}

/* ---- plain multi-head ---- */

static void
mha_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	const dsv_language_config *c = job->c;
	const dsv_segment *seg = job->segment;
	int			head = task / job->row_tasks;
	int			r0 = task % job->row_tasks * QUERY_ROWS;
	int			rows = dsv_min(QUERY_ROWS, seg->rows - r0);
	int			first = seg->first + r0;
	int			d = c->head_dim;
	int			kv_head = head / (c->heads / c->kv_heads);
	size_t		ld = (size_t) c->heads * d;
	const float *q = job->s->q + (size_t) (seg->row0 + r0) * ld + (size_t) head * d;
	float	   *out = job->s->o + (size_t) (seg->row0 + r0) * ld + (size_t) head * d;
	size_t		esz = kern_dtype_size(job->kv->dtype);
	float		scale = 1.0f / sqrtf((float) d);
	stream	   *st = (stream *) dsv_worker_scratch(job->ctx, worker);

	stream_begin(st, out, ld, rows, d);
	for (int key0 = 0; key0 < first + rows; key0 += DSV_KV_PAGE)
	{
		const char *page = dsv_kv_at(job->kv, seg->pages[key0 / DSV_KV_PAGE], job->index, 0);
		key_block	kb = {page + (size_t) kv_head * d * esz,
		page + (size_t) (c->kv_heads + kv_head) * d * esz, job->kv->dtype, job->kv->row, job->kv->row};

		stream_add(st, q, ld, kb, key0, first, rows, d, d, scale, out, ld);
	}
	stream_end(job->ctx, st, out, ld, rows, d);
}

/* ---- MLA ---- */

/* Rows [W_uk] then [W_uv] of a head in kv_b: [nope + v_dim, kv_rank] */
static const void *
kv_b_head(const attention_job *job, int head, int row)
{
	return dsv_matrix_row(&job->layer->kv_b, head * (job->c->nope + job->c->v_dim) + row);
}

/* One head, all rows of the segment: keys and values of a page are expanded once and used by
 * every block of query rows. */
static void
expanded_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	const dsv_language_config *c = job->c;
	const dsv_segment *seg = job->segment;
	int			qk = c->nope + c->rope;
	int			end = seg->first + seg->rows;
	size_t		ldq = (size_t) c->heads * qk;
	size_t		ldo = (size_t) c->heads * c->v_dim;
	const float *q = job->s->q + (size_t) seg->row0 * ldq + (size_t) task * qk;
	float	   *out = job->s->o + (size_t) seg->row0 * ldo + (size_t) task * c->v_dim;
	float		scale = 1.0f / sqrtf((float) qk);
	stream	   *st = (stream *) dsv_worker_scratch(job->ctx, worker);
	float	   *latent = (float *) (st + 1);	/* [64, row] */
	float	   *k = latent + (size_t) DSV_KV_PAGE * job->kv->row;	/* [end, qk] */
	float	   *v = k + (size_t) end * qk;	/* [end, v_dim] */

	for (int key0 = 0; key0 < end; key0 += DSV_KV_PAGE)
	{
		int			keys = dsv_min(DSV_KV_PAGE, end - key0);

		kern->widen(dsv_kv_at(job->kv, seg->pages[key0 / DSV_KV_PAGE], job->index, 0),
					job->kv->dtype, latent, (size_t) keys * job->kv->row);
		kern->gemm_nt(latent, job->kv->row, kv_b_head(job, task, 0), job->layer->kv_b.dtype, c->kv_rank,
					  NULL, k + (size_t) key0 * qk, qk, keys, c->nope, c->kv_rank);
		kern->gemm_nt(latent, job->kv->row, kv_b_head(job, task, c->nope), job->layer->kv_b.dtype,
					  c->kv_rank, NULL, v + (size_t) key0 * c->v_dim, c->v_dim, keys, c->v_dim, c->kv_rank);
		for (int i = 0; i < keys; i++)
			memcpy(k + (size_t) (key0 + i) * qk + c->nope, latent + (size_t) i * job->kv->row + c->kv_rank,
				   c->rope * sizeof(float));
	}
	dsv_round(job->ctx, k, (size_t) end * qk);
	dsv_round(job->ctx, v, (size_t) end * c->v_dim);
	for (int r0 = 0; r0 < seg->rows; r0 += QUERY_ROWS)
	{
		int			rows = dsv_min(QUERY_ROWS, seg->rows - r0);
		int			first = seg->first + r0;

		stream_begin(st, out + r0 * ldo, ldo, rows, c->v_dim);
		for (int key0 = 0; key0 < first + rows; key0 += DSV_KV_PAGE)
		{
			key_block	kb = {k + (size_t) key0 * qk, v + (size_t) key0 * c->v_dim, KERN_F32, qk, c->v_dim};

			stream_add(st, q + r0 * ldq, ldq, kb, key0, first, rows, qk, c->v_dim, scale,
					   out + r0 * ldo, ldo);
		}
		stream_end(job->ctx, st, out + r0 * ldo, ldo, rows, c->v_dim);
	}
}

static void
absorbed_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	const dsv_language_config *c = job->c;
	const dsv_segment *seg = job->segment;
	int			head = task / job->row_tasks;
	int			r0 = task % job->row_tasks * QUERY_ROWS;
	int			rows = dsv_min(QUERY_ROWS, seg->rows - r0);
	int			first = seg->first + r0;
	int			width = c->kv_rank + c->rope;
	int			qk = c->nope + c->rope;
	size_t		ldq = (size_t) c->heads * qk;
	size_t		ldl = (size_t) c->heads * width;
	size_t		ldc = (size_t) c->heads * c->kv_rank;
	size_t		ldo = (size_t) c->heads * c->v_dim;
	size_t		row = seg->row0 + r0;
	const float *q = job->s->q + row * ldq + (size_t) head * qk;
	float	   *q_lat = job->s->q_lat + row * ldl + (size_t) head * width;
	float	   *o_lat = job->s->o_lat + row * ldc + (size_t) head * c->kv_rank;
	float	   *out = job->s->o + row * ldo + (size_t) head * c->v_dim;
	stream	   *st = (stream *) dsv_worker_scratch(job->ctx, worker);

	for (int r = 0; r < rows; r++)
	{
		memset(q_lat + r * ldl, 0, c->kv_rank * sizeof(float));
		memcpy(q_lat + r * ldl + c->kv_rank, q + r * ldq + c->nope, c->rope * sizeof(float));
	}
	kern->gemm_nn(q, ldq, kv_b_head(job, head, 0), job->layer->kv_b.dtype, c->kv_rank, q_lat, ldl,
				  rows, c->nope, c->kv_rank);
	for (int r = 0; r < rows; r++)
		dsv_round(job->ctx, q_lat + r * ldl, c->kv_rank);
	stream_begin(st, o_lat, ldc, rows, c->kv_rank);
	for (int key0 = 0; key0 < first + rows; key0 += DSV_KV_PAGE)
	{
		const void *page = dsv_kv_at(job->kv, seg->pages[key0 / DSV_KV_PAGE], job->index, 0);
		key_block	kb = {page, page, job->kv->dtype, job->kv->row, job->kv->row};

		stream_add(st, q_lat, ldl, kb, key0, first, rows, width, c->kv_rank,
				   1.0f / sqrtf((float) qk), o_lat, ldc);
	}
	stream_end(job->ctx, st, o_lat, ldc, rows, c->kv_rank);
	kern->gemm_nt(o_lat, ldc, kv_b_head(job, head, c->nope), job->layer->kv_b.dtype, c->kv_rank, NULL,
				  out, ldo, rows, c->v_dim, c->kv_rank);
	for (int r = 0; r < rows; r++)
		dsv_round(job->ctx, out + r * ldo, c->v_dim);
}

/* ---- queries, keys and values of the pass ---- */

static void
rotate(const attention_job *job, float *x, int position, bool interleaved)
{
	int			half = job->c->rope / 2;

	kern->rope(x, job->rope.cosine + (size_t) position * half, job->rope.sine + (size_t) position * half,
			   job->c->rope, interleaved);
	dsv_round(job->ctx, x, job->c->rope);
}

/* Rotates the queries of row `row`, completes its key/value row and writes that to its page. */
static void
finish_row(const attention_job *job, const dsv_segment *seg, int r)
{
	const dsv_language_config *c = job->c;
	int			position = seg->first + r;
	int			qk = qk_dim(c);
	size_t		row = seg->row0 + r;
	float	   *q = job->s->q + row * c->heads * qk;
	float	   *kv = job->s->kv + row * job->kv->row;

	for (int h = 0; h < c->heads; h++)
		rotate(job, q + (size_t) h * qk + (c->mla ? c->nope : 0), position, c->mla);
	if (c->mla)
	{
		kern->rms_norm(kv, job->layer->kv_a_norm, c->latent_eps, kv, c->kv_rank);
		dsv_round(job->ctx, kv, c->kv_rank);
		rotate(job, kv + c->kv_rank, position, true);
	}
	else
		for (int h = 0; h < c->kv_heads; h++)
			rotate(job, kv + (size_t) h * c->head_dim, position, false);
	kern->narrow(kv, job->kv->dtype,
				 dsv_kv_at(job->kv, seg->pages[position / DSV_KV_PAGE], job->index, position % DSV_KV_PAGE),
				 job->kv->row);
}

static void
finish_rows_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	int			end = dsv_min((task + 1) * QUERY_ROWS, job->segment->rows);

	for (int r = task * QUERY_ROWS; r < end; r++)
		finish_row(job, job->segment, r);
}

static void
project(const dsv_compute *ctx, const dsv_language_config *c, const dsv_layer *l, int rows, int kv_row,
		const dsv_language_scratch *s, int hidden)
{
	size_t		ldq = (size_t) c->heads * qk_dim(c);

	if (c->mla && c->q_rank > 0)
	{
		dsv_linear_run_each(ctx, (const dsv_linear *const[]) {&l->q_a, &l->kv_a}, 2, s->h, hidden, rows,
							(float *const[]) {s->q_low, s->kv}, (const size_t[]) {c->q_rank, kv_row});
		dsv_rms_norm_rows(ctx, s->q_low, c->q_rank, rows, c->q_rank, l->q_a_norm, c->latent_eps,
						  s->q_low, c->q_rank);
		dsv_linear_run(ctx, &l->q_b, s->q_low, c->q_rank, rows, s->q, ldq, DSV_STORE, false);
	}
	else if (c->mla)
		dsv_linear_run_each(ctx, (const dsv_linear *const[]) {&l->q, &l->kv_a}, 2, s->h, hidden, rows,
							(float *const[]) {s->q, s->kv}, (const size_t[]) {ldq, kv_row});
	else
		dsv_linear_run_each(ctx, (const dsv_linear *const[]) {&l->q, &l->k, &l->v}, 3, s->h, hidden, rows,
							(float *const[]) {s->q, s->kv, s->kv + (size_t) c->kv_heads * c->head_dim},
							(const size_t[]) {ldq, kv_row, kv_row});
}

void
dsv_attention_run(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer, int index,
				  dsv_kv *kv, dsv_rope rope, const dsv_pass *pass, const dsv_language_scratch *s)
{
	const dsv_language_config *c = &config->language;
	attention_job job = {ctx, c, layer, index, kv, rope, s, 0, NULL};
	bool		expanded = c->mla && !pass->absorbed;

	dsv_rms_norm_rows(ctx, pass->x, c->hidden, pass->rows, c->hidden, layer->input_norm, c->rms_eps,
					  s->h, c->hidden);
	project(ctx, c, layer, pass->rows, kv->row, s, c->hidden);
	for (int i = 0; i < pass->nsegments; i++)
	{
		const dsv_segment *seg = &pass->segments[i];
		double		work = 2.0 * c->heads * seg->rows * (seg->first + seg->rows) * qk_dim(c);

		job.segment = seg;
		job.row_tasks = dsv_ceil_div(seg->rows, QUERY_ROWS);
		dsv_parallel(ctx, job.row_tasks, 4.0 * seg->rows * c->heads * qk_dim(c), finish_rows_task, &job);
		if (expanded)
			dsv_parallel(ctx, c->heads, work, expanded_task, &job);
		else
			dsv_parallel(ctx, c->heads * job.row_tasks, c->mla ? work * 4 : work,
						 c->mla ? absorbed_task : mha_task, &job);
	}
	dsv_linear_run(ctx, &layer->o, s->o, (size_t) c->heads * c->v_dim, pass->rows, pass->x, c->hidden,
				   DSV_ADD, false);
}

size_t
dsv_attention_worker_floats(const dsv_language_config *c, int positions)
{
	size_t		floats = (sizeof(stream) + sizeof(float) - 1) / sizeof(float);

	if (c->mla)
		floats += (size_t) DSV_KV_PAGE * dsv_kv_row(c) +
			(size_t) positions * (c->nope + c->rope + c->v_dim);
	return floats;
}
