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
#include "stream.h"

_Static_assert(DSV_KV_PAGE == DSV_STREAM_KEYS, "a page is a block of keys");

/* From so many query rows on, a page of 16-bit numbers is widened once for all of them. */
#define WIDEN_ROWS 16

/* Heads of a task that attend to a latent together */
#define LATENT_HEADS 16

static int
qk_dim(const dsv_language_config *c)
{
	return c->mla ? c->nope + c->rope : c->head_dim;
}

static float
query_scale(const dsv_language_config *c)
{
	return 1.0f / sqrtf((float) qk_dim(c));
}

/*
 * Segments that attend at the same time: consecutive ones of the pass, of different sequences, so that
 * none of them writes what another one reads.
 */
typedef struct attention_job
{
	const dsv_compute *ctx;
	const dsv_language_config *c;
	const dsv_layer *layer;
	int			index;
	dsv_kv	   *kv;
	dsv_rope	rope;
	const dsv_language_scratch *s;
	const dsv_segment *segments;
	int			nsegments;
	int			row0;			/* rows of the pass in these segments */
	int			rows;
	int			group;			/* heads of a task, absorbed */
	bool		keys_only;		/* no queries, nobody attends */
} attention_job;

static int
row_blocks(const dsv_segment *seg)
{
	return dsv_ceil_div(seg->rows, DSV_STREAM_ROWS);
}

static int
all_row_blocks(const attention_job *job)
{
	int			n = 0;

	for (int i = 0; i < job->nsegments; i++)
		n += row_blocks(&job->segments[i]);
	return n;
}

/* The segment of a block of rows; *block becomes its number there. */
static const dsv_segment *
segment_of(const attention_job *job, int *block)
{
	const dsv_segment *seg = job->segments;

	for (; *block >= row_blocks(seg); seg++)
		*block -= row_blocks(seg);
	return seg;
}

static const char *
page_of(const attention_job *job, const dsv_segment *seg, int position)
{
	return dsv_kv_layer(job->kv, seg->pages[position / DSV_KV_PAGE], job->index);
}

/* ---- plain multi-head ---- */

/* Keys and values of a head in a page; wide: room for both in fp32 [2][head_dim * DSV_KV_PAGE], or
 * NULL where they are used as they stand */
static dsv_key_block
head_of_page(const attention_job *job, const char *page, int kv_head, float *wide)
{
	const dsv_language_config *c = job->c;
	size_t		floats = (size_t) DSV_KV_PAGE * c->head_dim;
	size_t		bytes = floats * kern_dtype_size(job->kv->dtype);
	dsv_key_block block = {page + kv_head * bytes, page + (c->kv_heads + kv_head) * bytes, job->kv->dtype,
	true, DSV_KV_PAGE, c->head_dim, 0};

	if (wide != NULL)
	{
		kern->widen(block.k, block.dtype, wide, floats);
		kern->widen(block.v, block.dtype, wide + floats, floats);
		block.k = wide;
		block.v = wide + floats;
		block.dtype = KERN_F32;
	}
	return block;
}

static void
mha_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	const dsv_language_config *c = job->c;
	int			head = task % c->heads;
	int			block = task / c->heads;
	const dsv_segment *seg = segment_of(job, &block);
	/* the last rows see most: first, so that the end is short */
	int			r0 = (row_blocks(seg) - 1 - block) * DSV_STREAM_ROWS;
	int			first = seg->first + r0;
	int			d = c->head_dim;
	size_t		ld = (size_t) c->heads * d;
	size_t		at = (seg->row0 + r0) * ld + (size_t) head * d;
	int			rows = dsv_min(DSV_STREAM_ROWS, seg->rows - r0);
	float	   *scratch = dsv_worker_scratch(job->ctx, worker);
	dsv_stream *st = dsv_stream_begin(scratch, job->s->q + at, ld, rows, d, d, query_scale(c));
	bool		widen = job->kv->dtype != KERN_F32 && rows >= WIDEN_ROWS;

	for (int key0 = 0; key0 < first + rows; key0 += DSV_KV_PAGE)
	{
		dsv_key_block kb = head_of_page(job, page_of(job, seg, key0), head / (c->heads / c->kv_heads),
										widen ? scratch + dsv_stream_floats(d, d) : NULL);

		kb.keys = dsv_min(DSV_KV_PAGE, first + rows - key0);
		dsv_stream_add(st, &kb, first + 1 - key0, 1);
	}
	dsv_stream_end(job->ctx, st, job->s->o + at, ld);
}

/* ---- MLA ---- */

/* Rows [W_uk] then [W_uv] of a head in kv_b: [nope + v_dim, kv_rank] */
static const void *
kv_b_head(const attention_job *job, int head, int row)
{
	return dsv_matrix_row(&job->layer->kv_b, head * (job->c->nope + job->c->v_dim) + row);
}

/* The latents of a page as kv_b takes them: rows of a page in bf16 are rows of activations. */
static dsv_rows
latent_rows(const attention_job *job, const char *page, const float *latent)
{
	size_t		row = job->kv->row;

	if (dsv_act(job->ctx, job->layer->kv_b.dtype) == KERN_ACT_BF16 && job->c->kv_rank % KERN_GROUP == 0)
		return (dsv_rows) {KERN_ACT_BF16, page, row * kern_dtype_size(KERN_BF16)};
	return (dsv_rows) {KERN_ACT_F32, (const char *) latent, row * sizeof(float)};
}

/* Keys (as columns) and values of a head from the latents of a page.  scratch: [64, row + nope] */
static void
expand_page(const attention_job *job, const char *page, int keys, int head, float *scratch, float *k, float *v)
{
	const dsv_language_config *c = job->c;
	const dsv_matrix *kv_b = &job->layer->kv_b;
	int			row0 = head * (c->nope + c->v_dim);
	size_t		row = job->kv->row;
	float	   *latent = scratch;
	float	   *nope = latent + DSV_KV_PAGE * row;
	dsv_rows	x = latent_rows(job, page, latent);

	kern->widen(page, job->kv->dtype, latent, keys * row);
	dsv_gemm(&x, 0, kv_b, row0, NULL, nope, c->nope, keys, c->nope);
	dsv_round(job->ctx, nope, (size_t) keys * c->nope);
	kern->transpose(nope, c->nope, keys, c->nope, KERN_F32, k, DSV_KV_PAGE);
	kern->transpose(latent + c->kv_rank, row, keys, c->rope, KERN_F32, k + (size_t) c->nope * DSV_KV_PAGE,
					DSV_KV_PAGE);
	dsv_gemm(&x, 0, kv_b, row0 + c->nope, NULL, v, c->v_dim, keys, c->v_dim);
	dsv_round(job->ctx, v, (size_t) keys * c->v_dim);
}

/* One head, one segment: keys and values of a page are expanded once and used by every block of query
 * rows. */
static void
expanded_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	const dsv_language_config *c = job->c;
	int			head = task % c->heads;
	const dsv_segment *seg = &job->segments[task / c->heads];
	int			qk = qk_dim(c);
	int			end = seg->first + seg->rows;
	size_t		ldq = (size_t) c->heads * qk;
	size_t		ldo = (size_t) c->heads * c->v_dim;
	float	   *stream = dsv_worker_scratch(job->ctx, worker);
	float	   *scratch = stream + dsv_stream_floats(qk, c->v_dim);
	float	   *k = scratch + (size_t) DSV_KV_PAGE * (job->kv->row + c->nope);	/* pages of [qk, 64] */
	float	   *v = k + (size_t) dsv_ceil_div(end, DSV_KV_PAGE) * DSV_KV_PAGE * qk;	/* [end, v_dim] */

	for (int key0 = 0; key0 < end; key0 += DSV_KV_PAGE)
		expand_page(job, page_of(job, seg, key0), dsv_min(DSV_KV_PAGE, end - key0), head, scratch,
					k + (size_t) key0 * qk, v + (size_t) key0 * c->v_dim);
	for (int r0 = 0; r0 < seg->rows; r0 += DSV_STREAM_ROWS)
	{
		int			first = seg->first + r0;
		int			rows = dsv_min(DSV_STREAM_ROWS, seg->rows - r0);
		size_t		row = seg->row0 + r0;
		dsv_stream *st = dsv_stream_begin(stream, job->s->q + row * ldq + (size_t) head * qk, ldq, rows, qk,
										  c->v_dim, query_scale(c));

		for (int key0 = 0; key0 < first + rows; key0 += DSV_KV_PAGE)
		{
			dsv_key_block kb = {k + (size_t) key0 * qk, v + (size_t) key0 * c->v_dim, KERN_F32, true,
			DSV_KV_PAGE, c->v_dim, dsv_min(DSV_KV_PAGE, first + rows - key0)};

			dsv_stream_add(st, &kb, first + 1 - key0, 1);
		}
		dsv_stream_end(job->ctx, st, job->s->o + row * ldo + (size_t) head * c->v_dim, ldo);
	}
}

/* q_lat of the job's rows: [q_nope W_uk | q_pe] */
static void
absorb_queries(const attention_job *job, int head)
{
	const dsv_language_config *c = job->c;
	int			width = c->kv_rank + c->rope;
	int			qk = qk_dim(c);
	size_t		ldq = (size_t) c->heads * qk;
	size_t		ldl = (size_t) c->heads * width;
	const float *q = job->s->q + job->row0 * ldq + (size_t) head * qk;
	float	   *q_lat = job->s->q_lat + job->row0 * ldl + (size_t) head * width;

	for (int r = 0; r < job->rows; r++)
	{
		memset(q_lat + r * ldl, 0, c->kv_rank * sizeof(float));
		memcpy(q_lat + r * ldl + c->kv_rank, q + r * ldq + c->nope, c->rope * sizeof(float));
	}
	kern->gemm_nn(q, ldq, kv_b_head(job, head, 0), job->layer->kv_b.dtype, c->kv_rank, q_lat, ldl,
				  job->rows, c->nope, c->kv_rank);
	for (int r = 0; r < job->rows; r++)
		dsv_round(job->ctx, q_lat + r * ldl, c->kv_rank);
}

/* One position, some heads: the latents of a page are read once for all of them. */
static void
attend_latents(const attention_job *job, const dsv_segment *seg, int r, int head, int heads, float *scratch)
{
	const dsv_language_config *c = job->c;
	int			end = seg->first + r + 1;
	int			width = c->kv_rank + c->rope;
	size_t		at = (size_t) (seg->row0 + r) * c->heads + head;
	dsv_stream *st = dsv_stream_begin(scratch, job->s->q_lat + at * width, width, heads, width, c->kv_rank,
									  query_scale(c));

	for (int key0 = 0; key0 < end; key0 += DSV_KV_PAGE)
	{
		const char *page = page_of(job, seg, key0);
		dsv_key_block kb = {page, page, job->kv->dtype, false, job->kv->row, job->kv->row,
		dsv_min(DSV_KV_PAGE, end - key0)};

		dsv_stream_add(st, &kb, kb.keys, 0);
	}
	dsv_stream_end(job->ctx, st, job->s->o_lat + at * c->kv_rank, c->kv_rank);
}

static void
project_latents(const attention_job *job, int head)
{
	const dsv_language_config *c = job->c;
	size_t		ldc = (size_t) c->heads * c->kv_rank;
	size_t		ldo = (size_t) c->heads * c->v_dim;
	float	   *out = job->s->o + job->row0 * ldo + (size_t) head * c->v_dim;

	kern->gemm_nt(job->s->o_lat + job->row0 * ldc + (size_t) head * c->kv_rank, ldc,
				  kv_b_head(job, head, c->nope), job->layer->kv_b.dtype, c->kv_rank, NULL, out, ldo,
				  job->rows, c->v_dim, c->kv_rank);
	for (int r = 0; r < job->rows; r++)
		dsv_round(job->ctx, out + r * ldo, c->v_dim);
}

/* Some heads, all rows of the job: W_uk and W_uv of a head are read once for all of them. */
static void
absorbed_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	int			head = task * job->group;
	int			heads = dsv_min(job->group, job->c->heads - head);
	float	   *scratch = dsv_worker_scratch(job->ctx, worker);

	for (int h = head; h < head + heads; h++)
		absorb_queries(job, h);
	for (int i = 0; i < job->nsegments; i++)
		for (int r = 0; r < job->segments[i].rows; r++)
			attend_latents(job, &job->segments[i], r, head, heads, scratch);
	for (int h = head; h < head + heads; h++)
		project_latents(job, h);
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

static void
finish_latent(const attention_job *job, const dsv_segment *seg, float *kv, int position)
{
	const dsv_language_config *c = job->c;
	size_t		row_bytes = job->kv->row * kern_dtype_size(job->kv->dtype);

	kern->rms_norm(kv, job->layer->kv_a_norm, c->latent_eps, kv, c->kv_rank);
	dsv_round(job->ctx, kv, c->kv_rank);
	rotate(job, kv + c->kv_rank, position, true);
	kern->narrow(kv, job->kv->dtype,
				 (char *) page_of(job, seg, position) + position % DSV_KV_PAGE * row_bytes, job->kv->row);
}

/* Keys and values of rows that go to one page; kv: [rows, row], keys of all heads, then values */
static void
store_heads(const attention_job *job, const dsv_segment *seg, const float *kv, int rows, int position)
{
	const dsv_language_config *c = job->c;
	int			d = c->head_dim;
	int			at = position % DSV_KV_PAGE;
	size_t		size = kern_dtype_size(job->kv->dtype);
	char	   *keys = (char *) page_of(job, seg, position);

	for (int h = 0; h < c->kv_heads; h++, kv += d, keys += size * DSV_KV_PAGE * d)
	{
		char	   *values = keys + size * c->kv_heads * DSV_KV_PAGE * d + size * at * d;

		kern->transpose(kv, job->kv->row, rows, d, job->kv->dtype, keys + size * at, DSV_KV_PAGE);
		for (int r = 0; r < rows; r++)
			kern->narrow(kv + (size_t) r * job->kv->row + (size_t) c->kv_heads * d, job->kv->dtype,
						 values + size * r * d, d);
	}
}

/* Completes queries, keys and values of a block of rows and writes the latter to their pages. */
static void
finish_rows_task(void *ud, int block, int worker)
{
	const attention_job *job = ud;
	const dsv_language_config *c = job->c;
	const dsv_segment *seg = segment_of(job, &block);
	int			qk = qk_dim(c);
	int			end = dsv_min((block + 1) * DSV_STREAM_ROWS, seg->rows);
	int			rows;

	for (int r = block * DSV_STREAM_ROWS; r < end; r += rows)
	{
		int			position = seg->first + r;
		size_t		row0 = seg->row0 + r;
		float	   *q = job->s->q + row0 * c->heads * qk;
		float	   *kv = job->s->kv + row0 * job->kv->row;

		rows = dsv_min(end - r, DSV_KV_PAGE - position % DSV_KV_PAGE);
		for (int i = 0; i < rows; i++)
		{
			float	   *row = kv + (size_t) i * job->kv->row;

			for (int h = 0; h < c->heads && !job->keys_only; h++)
				rotate(job, q + (size_t) (i * c->heads + h) * qk + (c->mla ? c->nope : 0), position + i, c->mla);
			if (c->mla)
				finish_latent(job, seg, row, position + i);
			else
				for (int h = 0; h < c->kv_heads; h++)
					rotate(job, row + (size_t) h * c->head_dim, position + i, false);
		}
		if (!c->mla)
			store_heads(job, seg, kv, rows, position);
	}
}

/* ---- the pass ---- */

/* Segments from the i-th on that attend together */
static int
segments_together(const dsv_pass *pass, int i)
{
	int			n = 1;

	for (; i + n < pass->nsegments; n++)
		for (int k = i; k < i + n; k++)
			if (pass->segments[k].pages == pass->segments[i + n].pages)
				return n;
	return n;
}

static void
attend(attention_job *job, bool absorbed)
{
	const dsv_compute *ctx = job->ctx;
	const dsv_language_config *c = job->c;
	int			blocks = all_row_blocks(job);
	double		row_work = 4.0 * c->heads * qk_dim(c);
	double		work = 0;

	job->rows = 0;
	for (int i = 0; i < job->nsegments; i++)
	{
		const dsv_segment *seg = &job->segments[i];

		work += row_work / 2 * seg->rows * (seg->first + seg->rows);
		job->rows += seg->rows;
	}
	job->row0 = job->segments[0].row0;
	job->group = dsv_min(dsv_ceil_div(c->heads, ctx->threads), LATENT_HEADS);
	dsv_parallel(ctx, blocks, row_work * job->rows, finish_rows_task, job);
	if (job->keys_only)
		return;
	if (!c->mla)
		dsv_parallel(ctx, c->heads * blocks, work, mha_task, job);
	else if (absorbed)
		dsv_parallel(ctx, dsv_ceil_div(c->heads, job->group), work * 4, absorbed_task, job);
	else
		dsv_parallel(ctx, c->heads * job->nsegments, work, expanded_task, job);
}

/* Keys and values alone */
static void
project_keys(const dsv_compute *ctx, const dsv_language_config *c, const dsv_layer *l, int rows, int kv_row,
			 const dsv_language_scratch *s, int hidden)
{
	if (c->mla)
		dsv_linear_run(ctx, &l->kv_a, s->h, hidden, rows, s->kv, kv_row, DSV_STORE, false);
	else
		dsv_linear_run_each(ctx, (const dsv_linear *const[]) {&l->k, &l->v}, 2, s->h, hidden, rows,
							(float *const[]) {s->kv, s->kv + (size_t) c->kv_heads * c->head_dim},
							(const size_t[]) {kv_row, kv_row});
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

static void
attend_all(attention_job *job, const dsv_pass *pass)
{
	for (int i = 0; i < pass->nsegments; i += job->nsegments)
	{
		job->segments = &pass->segments[i];
		job->nsegments = segments_together(pass, i);
		attend(job, pass->absorbed);
	}
}

void
dsv_attention_store(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer, int index,
					dsv_kv *kv, dsv_rope rope, const dsv_pass *pass, const dsv_language_scratch *s)
{
	const dsv_language_config *c = &config->language;
	attention_job job = {.ctx = ctx, .c = c, .layer = layer, .index = index, .kv = kv, .rope = rope, .s = s,
	.keys_only = true};

	dsv_rms_norm_rows(ctx, pass->x, c->hidden, pass->rows, c->hidden, layer->input_norm, c->rms_eps,
					  s->h, c->hidden);
	project_keys(ctx, c, layer, pass->rows, kv->row, s, c->hidden);
	attend_all(&job, pass);
}

void
dsv_attention_run(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer, int index,
				  dsv_kv *kv, dsv_rope rope, const dsv_pass *pass, const dsv_language_scratch *s)
{
	const dsv_language_config *c = &config->language;
	attention_job job = {.ctx = ctx, .c = c, .layer = layer, .index = index, .kv = kv, .rope = rope, .s = s};

	dsv_rms_norm_rows(ctx, pass->x, c->hidden, pass->rows, c->hidden, layer->input_norm, c->rms_eps,
					  s->h, c->hidden);
	project(ctx, c, layer, pass->rows, kv->row, s, c->hidden);
	attend_all(&job, pass);
	dsv_linear_run(ctx, &layer->o, s->o, (size_t) c->heads * c->v_dim, pass->rows, pass->x, c->hidden,
				   DSV_ADD, false);
}

size_t
dsv_attention_worker_floats(const dsv_language_config *c, int positions)
{
	size_t		pages = dsv_ceil_div(positions, DSV_KV_PAGE);
	size_t		expanded;
	size_t		absorbed;

	if (!c->mla)
		return dsv_stream_floats(c->head_dim, c->head_dim) + 2 * (size_t) DSV_KV_PAGE * c->head_dim;
	expanded = dsv_stream_floats(qk_dim(c), c->v_dim) +
		DSV_KV_PAGE * (dsv_kv_row(c) + c->nope + pages * (qk_dim(c) + c->v_dim));
	absorbed = dsv_stream_floats(dsv_kv_row(c), c->kv_rank);
	return expanded > absorbed ? expanded : absorbed;
}
