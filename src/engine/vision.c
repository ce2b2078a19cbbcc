/*
 * vision.c
 *		SigLIP so400m as the reference runs it, then the downsampling projector.
 *
 *	patch conv (no padding: the last pixels of a side that is no multiple of the patch are
 *	never read) + position embedding
 *	-> blocks of x += proj(attention(norm1(x))), x += fc2(gelu_tanh(fc1(norm2(x))))
 *	-> final norm (the pooling head is not used)
 *	-> ratio x ratio blocks, zero-padded below and right, channel as the slow index
 *	-> linear, exact GELU, linear
 */
#include "vision.h"

#include <math.h>
#include <string.h>

#include "stream.h"

#define NORM_EPS 1e-6f

static int
patches(const dsv_config *config)
{
	return config->vision.grid * config->vision.grid;
}

static int
tokens(const dsv_config *config)
{
	return config->projector.grid * config->projector.grid;
}

void
dsv_vision_layout(const dsv_config *config, dsv_arena *arena, dsv_vision_scratch *out)
{
	const dsv_vision_config *v = &config->vision;
	size_t		p = patches(config);
	size_t		t = tokens(config);
	int			wide = dsv_max(dsv_max(3 * v->width, v->mlp), 3 * v->patch * v->patch);

	out->x = dsv_arena_take(arena, p * v->width, sizeof(float));
	out->h = dsv_arena_take(arena, p * v->width, sizeof(float));
	out->wide = dsv_arena_take(arena, p * wide, sizeof(float));
	out->block = dsv_arena_take(arena, t * config->projector.in, sizeof(float));
	out->inner = dsv_arena_take(arena, 2 * t * config->projector.inner, sizeof(float));
}

/* What an attention task holds of its head: the patches in whole blocks */
static size_t
head_floats(int n, int d)
{
	return 2 * (size_t) dsv_ceil_div(n, DSV_STREAM_KEYS) * DSV_STREAM_KEYS * d;
}

size_t
dsv_vision_worker_floats(const dsv_config *config)
{
	const dsv_vision_config *v = &config->vision;
	int			d = v->width / v->heads;
	size_t		attention = dsv_stream_floats(d, d) + head_floats(patches(config), d);
	int			k = dsv_max(dsv_max(v->width, v->mlp), 3 * v->patch * v->patch);
	size_t		linear = dsv_linear_worker_floats(dsv_max(k, dsv_max(config->projector.in,
																	 config->projector.inner)));

	return attention > linear ? attention : linear;
}

/* Of the widest input of the tower's and the projector's layers, in bf16 */
size_t
dsv_vision_packed_bytes(const dsv_config *config)
{
	const dsv_vision_config *v = &config->vision;
	int			tower = dsv_max(dsv_max(v->width, v->mlp), 3 * v->patch * v->patch);
	int			projector = dsv_max(config->projector.in, config->projector.inner);
	size_t		a = patches(config) * kern_act_bytes(KERN_ACT_BF16, (size_t) tower);
	size_t		b = tokens(config) * kern_act_bytes(KERN_ACT_BF16, (size_t) projector);

	return a > b ? a : b;
}

/* Pixels to rows [patches, 3 * patch^2] in the order channel, y, x of the convolution. */
static void
unfold(const dsv_compute *ctx, const dsv_vision_config *v, const uint8_t *rgb, float *out)
{
	float		value[3][256];
	int			p = v->patch;
	size_t		cols = 3 * (size_t) p * p;

	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 256; i++)
			value[c][i] = ((float) i / 255.0f - v->mean[c]) / v->std[c];
	for (int gy = 0; gy < v->grid; gy++)
		for (int gx = 0; gx < v->grid; gx++)
		{
			float	   *row = out + ((size_t) gy * v->grid + gx) * cols;

			for (int y = 0; y < p; y++)
			{
				const uint8_t *src = rgb + ((size_t) (gy * p + y) * v->image_size + gx * p) * 3;

				for (int x = 0; x < p; x++)
					for (int c = 0; c < 3; c++)
						row[(c * p + y) * p + x] = value[c][src[3 * x + c]];
			}
		}
	dsv_round(ctx, out, (size_t) v->grid * v->grid * cols);
}

typedef struct attention_job
{
	const dsv_compute *ctx;
	const float *qkv;			/* [patches, 3 * width] */
	float	   *out;			/* [patches, width] */
	int			n;
	int			width;
	int			head_dim;
	int			parts;			/* tasks a head */
} attention_job;

/* Keys of a head as columns and its values, block by block */
static void
gather_head(const attention_job *job, size_t head, float *k, float *v)
{
	int			d = job->head_dim;
	size_t		ld = 3 * (size_t) job->width;
	const float *keys = job->qkv + job->width + head;

	for (int i = 0; i < job->n; i += DSV_STREAM_KEYS, k += (size_t) DSV_STREAM_KEYS * d)
		kern->transpose(keys + i * ld, ld, dsv_min(DSV_STREAM_KEYS, job->n - i), d, KERN_F32, k,
						DSV_STREAM_KEYS);
	for (int i = 0; i < job->n; i++)
		memcpy(v + (size_t) i * d, keys + job->width + i * ld, d * sizeof(float));
}

/* One head, every parts-th block of rows: softmax(q k^T / sqrt(head_dim)) v */
static void
attention_task(void *ud, int task, int worker)
{
	const attention_job *job = ud;
	int			d = job->head_dim;
	size_t		head = (size_t) (task / job->parts) * d;
	size_t		ldq = 3 * (size_t) job->width;
	float	   *scratch = dsv_worker_scratch(job->ctx, worker);
	float	   *k = scratch + dsv_stream_floats(d, d);
	float	   *v = k + head_floats(job->n, d) / 2;

	gather_head(job, head, k, v);
	for (int r = task % job->parts * DSV_STREAM_ROWS; r < job->n; r += job->parts * DSV_STREAM_ROWS)
	{
		dsv_stream *st = dsv_stream_begin(scratch, job->qkv + r * ldq + head, ldq,
										  dsv_min(DSV_STREAM_ROWS, job->n - r), d, d, 1.0f / sqrtf((float) d));

		for (int i = 0; i < job->n; i += DSV_STREAM_KEYS)
		{
			int			keys = dsv_min(DSV_STREAM_KEYS, job->n - i);
			dsv_key_block block = {k + (size_t) i * d, v + (size_t) i * d, KERN_F32, true, DSV_STREAM_KEYS, d, keys};

			dsv_stream_add(st, &block, keys, 0);
		}
		dsv_stream_end(job->ctx, st, job->out + (size_t) r * job->width + head, job->width);
	}
}

static void
run_block(const dsv_compute *ctx, const dsv_vision_config *v, const dsv_vision_block *b, int n,
		  const dsv_vision_scratch *s)
{
	int			w = v->width;
	/* gathering a head costs some percent of its products, an idle thread more */
	attention_job job = {ctx, s->wide, s->h, n, w, w / v->heads, dsv_ceil_div(2 * ctx->threads, v->heads)};

	dsv_layer_norm_rows(ctx, s->x, n, w, b->norm1, NORM_EPS, s->h);
	dsv_linear_run(ctx, &b->qkv, s->h, w, n, s->wide, 3 * (size_t) w, DSV_STORE, true);
	dsv_parallel(ctx, v->heads * job.parts, 2.0 * n * n * w, attention_task, &job);
	dsv_linear_run(ctx, &b->proj, s->h, w, n, s->x, w, DSV_ADD, true);

	dsv_layer_norm_rows(ctx, s->x, n, w, b->norm2, NORM_EPS, s->h);
	dsv_linear_run(ctx, &b->fc1, s->h, w, n, s->wide, v->mlp, DSV_GELU_TANH, true);
	dsv_linear_run(ctx, &b->fc2, s->wide, v->mlp, n, s->x, w, DSV_ADD, true);
}

/* [grid^2, width] -> [tokens, width * ratio^2]: channel c of the block's pixel (ky, kx) goes to
 * c * ratio^2 + ky * ratio + kx; pixels beyond the grid are zero. */
static void
gather_blocks(const dsv_config *config, const float *x, float *out)
{
	int			g = config->vision.grid;
	int			w = config->vision.width;
	int			r = config->projector.ratio;
	int			side = config->projector.grid;

	memset(out, 0, (size_t) tokens(config) * config->projector.in * sizeof(float));
	for (int y = 0; y < g; y++)
		for (int xx = 0; xx < g; xx++)
		{
			const float *src = x + ((size_t) y * g + xx) * w;
			float	   *dst = out + ((size_t) (y / r) * side + xx / r) * config->projector.in +
				y % r * r + xx % r;

			for (int c = 0; c < w; c++)
				dst[(size_t) c * r * r] = src[c];
		}
}

static void
run_projector(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights,
			  const dsv_vision_scratch *s, float *out)
{
	const dsv_projector_config *p = &config->projector;
	int			n = tokens(config);
	float	   *in = s->block;
	int			k = p->in;
	float	   *inner[2] = {s->inner, s->inner + (size_t) n * p->inner};

	gather_blocks(config, s->h, s->block);
	for (int i = 0; i < p->depth; i++)
	{
		bool		last = i == p->depth - 1;
		float	   *y = last ? out : inner[i % 2];
		int			width = weights->projector[i].w.rows;

		dsv_linear_run(ctx, &weights->projector[i], in, k, n, y, width,
					   last ? DSV_STORE : DSV_GELU_ERF, true);
		in = y;
		k = width;
	}
}

static void
trace(const dsv_compute *ctx, dsv_trace_stage stage, int layer, int tile, int rows, int cols,
	  const float *data, const uint8_t *bytes)
{
	dsv_trace_event event = {.stage = stage, .layer = layer, .tile = tile, .rows = rows,
	.cols = cols, .data = data, .bytes = bytes};

	if (ctx->trace != NULL)
		ctx->trace(ctx->trace_ud, &event);
}

dsv_code
dsv_vision_run(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights,
			   const dsv_vision_scratch *s, const uint8_t *rgb, int tile, int64_t *done, float *out,
			   dsv_error *err)
{
	const dsv_vision_config *v = &config->vision;
	const dsv_matrix *pos = &weights->pos_embed;
	dsv_linear	patch = {weights->patch, weights->patch_bias};
	int			n = patches(config);

	trace(ctx, DSV_TRACE_PIXELS, 0, tile, v->image_size * v->image_size, 3, NULL, rgb);
	unfold(ctx, v, rgb, s->wide);
	kern->widen(pos->data, pos->dtype, s->x, (size_t) n * v->width);
	dsv_linear_run(ctx, &patch, s->wide, 3 * (size_t) v->patch * v->patch, n, s->x, v->width,
				   DSV_ADD, true);
	trace(ctx, DSV_TRACE_VIT, 0, tile, n, v->width, s->x, NULL);
	for (int i = 0; i < v->layers; i++)
	{
		if (dsv_poll_canceled(ctx->poll))
			return dsv_fail_canceled(err);
		run_block(ctx, v, &weights->blocks[i], n, s);
		trace(ctx, DSV_TRACE_VIT, i + 1, tile, n, v->width, s->x, NULL);
		++*done;
	}
	dsv_layer_norm_rows(ctx, s->x, n, v->width, weights->vision_norm, NORM_EPS, s->h);
	trace(ctx, DSV_TRACE_VIT, v->layers + 1, tile, n, v->width, s->h, NULL);
	run_projector(ctx, config, weights, s, out);
	trace(ctx, DSV_TRACE_PROJECTOR, 0, tile, tokens(config), config->projector.out, out, NULL);
	++*done;
	return DSV_OK;
}
