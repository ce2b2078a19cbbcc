/*
 * moe.c
 *		The feed-forward half of a layer: dense, or routed experts plus the shared ones.
 *
 * Rows are grouped by expert once.  First every (expert, block of inner columns) computes
 * silu(x gate^T) * (x up^T), the shared experts (or the dense layer) among them; then every
 * block of output columns adds its experts' down projections, in ascending order of the
 * expert, the shared one last.  Two barriers a layer, and an order of summation that
 * neither the batch nor the number of threads can change.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "language.h"

#define COLS 64
#define ROWS 64

/* ---- routing ---- */

/* Index of the largest of score[n] that is not taken; ties go to the lowest index. */
static int
best(const float *score, const bool *taken, int n)
{
	int			at = -1;

	for (int i = 0; i < n; i++)
		if (!taken[i] && (at < 0 || score[i] > score[at]))
			at = i;
	return at;
}

/*
 * noaux_tc with groups: groups compete by the sum of their two best biased scores; an expert
 * outside the chosen groups gets the score 0 (not minus infinity: as the reference does).
 */
static void
mask_groups(const dsv_language_config *c, float *choice)
{
	int			size = c->experts / c->groups;
	float		sum[DSV_MAX_EXPERTS];
	bool		taken[DSV_MAX_EXPERTS];

	for (int g = 0; g < c->groups; g++)
	{
		float		first = -FLT_MAX;
		float		second = -FLT_MAX;

		for (int i = g * size; i < (g + 1) * size; i++)
		{
			if (choice[i] > first)
			{
				second = first;
				first = choice[i];
			}
			else if (choice[i] > second)
				second = choice[i];
		}
		sum[g] = size > 1 ? first + second : first;
		taken[g] = false;
	}
	for (int k = 0; k < c->topk_groups; k++)
		taken[best(sum, taken, c->groups)] = true;
	for (int i = 0; i < c->experts; i++)
		if (!taken[i / size])
			choice[i] = 0;
}

void
dsv_route(const dsv_language_config *c, const float *bias, float *score, int32_t *pick, float *weight)
{
	float		choice[DSV_MAX_EXPERTS];
	bool		taken[DSV_MAX_EXPERTS];
	float		sum = 0;

	if (c->scoring == DSV_SCORING_SOFTMAX)
	{
		float		total = kern->exp_sum(score, kern->max(score, c->experts), c->experts);

		for (int i = 0; i < c->experts; i++)
			score[i] /= total;
	}
	else
		kern->sigmoid(score, c->experts);
	for (int i = 0; i < c->experts; i++)
	{
		choice[i] = score[i] + (bias != NULL ? bias[i] : 0);
		taken[i] = false;
	}
	if (c->topk == DSV_TOPK_NOAUX && c->groups > 1)
		mask_groups(c, choice);
	for (int k = 0; k < c->top_k; k++)
	{
		pick[k] = best(choice, taken, c->experts);
		taken[pick[k]] = true;
		weight[k] = score[pick[k]];
		sum += weight[k];
	}
	for (int k = 0; k < c->top_k; k++)
		weight[k] = (c->norm_topk && c->top_k > 1 ? weight[k] / (sum + 1e-20f) : weight[k]) *
			c->routed_scale;
}

/* ---- the layer ---- */

typedef struct mlp_job
{
	const dsv_compute *ctx;
	const dsv_language_config *c;
	const dsv_layer *layer;
	const dsv_pass *pass;
	const dsv_language_scratch *s;
	int			expert_blocks;	/* column blocks of a routed expert */
	int			dense_blocks;	/* of the shared experts or the dense layer */
	int			active;			/* experts with rows */
	const int  *expert;			/* [active] */
	dsv_rows	h;				/* norm output for the experts, and for the dense part */
	dsv_rows	h_dense;
	dsv_rows	inner;
	dsv_rows	inner_dense;
	int			gathered[DSV_POOL_MAX];	/* slot from which a worker's rows are there; -1: none */
} mlp_job;

static void
route_task(void *ud, int task, int worker)
{
	const mlp_job *job = ud;
	const dsv_language_config *c = job->c;
	int			end = dsv_min((task + 1) * ROWS, job->pass->rows);

	for (int r = task * ROWS; r < end; r++)
		dsv_route(c, job->layer->router_bias, job->s->score + (size_t) r * c->experts,
				  job->s->pick + (size_t) r * c->top_k, job->s->weight + (size_t) r * c->top_k);
}

/* Counting sort of (row, choice) by expert; first_slot[e] .. first_slot[e + 1] are e's slots. */
static void
group_rows(const dsv_language_config *c, int rows, const dsv_language_scratch *s)
{
	int		   *first = s->first_slot;
	int			n = rows * c->top_k;

	memset(first, 0, (c->experts + 1) * sizeof(int));
	for (int i = 0; i < n; i++)
		first[s->pick[i] + 1]++;
	for (int e = 0; e < c->experts; e++)
		first[e + 1] += first[e];
	for (int i = 0; i < n; i++)
	{
		int			slot = first[s->pick[i]]++;

		s->slot_row[slot] = i / c->top_k;
		s->slot_weight[slot] = s->weight[i];
	}
	for (int e = c->experts; e > 0; e--)
		first[e] = first[e - 1];
	first[0] = 0;
}

/* Columns c0.. of rows r.. of an MLP's inner activations, from block[rows, cols] */
static void
put_inner(const dsv_rows *inner, int r, int c0, const float *block, int rows, int cols)
{
	char	   *to = (char *) (uintptr_t) inner->data + (size_t) r * inner->bytes +
		kern_act_bytes(inner->act, (size_t) c0);

	if (inner->act != KERN_ACT_F32)
		kern->pack(block, cols, rows, cols, inner->act, to, inner->bytes);
	else
		for (int i = 0; i < rows; i++, to += inner->bytes, block += cols)
			memcpy(to, block, cols * sizeof(float));
}

/* Rows r.. of inner, columns c0..: silu(x gate^T) * (x up^T) of rows x0.. of x */
static void
gate_up(const mlp_job *job, const dsv_mlp *mlp, const dsv_rows *x, int x0, int rows, int c0, int cols,
		const dsv_rows *inner, int r, float *scratch)
{
	float	   *gate = scratch;	/* [rows, cols] */
	float	   *up = scratch + ROWS * COLS;
	size_t		n = (size_t) rows * cols;

	dsv_gemm(x, x0, &mlp->gate, c0, NULL, gate, cols, rows, cols);
	dsv_gemm(x, x0, &mlp->up, c0, NULL, up, cols, rows, cols);
	dsv_round(job->ctx, gate, n);
	dsv_round(job->ctx, up, n);
	kern->silu_mul(gate, up, n);
	dsv_round(job->ctx, gate, n);
	put_inner(inner, r, c0, gate, rows, cols);
}

/* Rows of the experts' input in the order of slots, in the worker's own memory: tasks of one
 * expert follow each other, so that most find their rows there already. */
static void
gather(mlp_job *job, int worker, int slot, int rows, const dsv_rows *to)
{
	if (job->gathered[worker] == slot)
		return;
	for (int i = 0; i < rows; i++)
		memcpy((char *) (uintptr_t) to->data + (size_t) i * to->bytes,
			   job->h.data + (size_t) job->s->slot_row[slot + i] * job->h.bytes, to->bytes);
	job->gathered[worker] = slot;
}

static void
inner_task(void *ud, int task, int worker)
{
	mlp_job    *job = ud;
	const dsv_language_config *c = job->c;
	const dsv_language_scratch *s = job->s;
	float	   *scratch = dsv_worker_scratch(job->ctx, worker);	/* [2, ROWS, COLS] */
	dsv_rows	x = {job->h.act, (char *) (scratch + 2 * ROWS * COLS),
	kern_act_bytes(job->h.act, (size_t) c->hidden)};

	/* the dense tasks first: they are the largest, so the tail is short */
	if (task < job->dense_blocks)
	{
		const dsv_mlp *mlp = &job->layer->mlp;
		int			c0 = task * COLS;

		for (int r = 0; r < job->pass->rows; r += ROWS)
			gate_up(job, mlp, &job->h_dense, r, dsv_min(ROWS, job->pass->rows - r), c0,
					dsv_min(COLS, mlp->gate.rows - c0), &job->inner_dense, r, scratch);
		return;
	}
	task -= job->dense_blocks;
	{
		int			e = job->expert[task / job->expert_blocks];
		int			c0 = task % job->expert_blocks * COLS;

		for (int slot = s->first_slot[e]; slot < s->first_slot[e + 1]; slot += ROWS)
		{
			int			rows = dsv_min(ROWS, s->first_slot[e + 1] - slot);

			gather(job, worker, slot, rows, &x);
			gate_up(job, &job->layer->experts[e], &x, 0, rows, c0, dsv_min(COLS, c->moe_mlp - c0), &job->inner,
					slot, scratch);
		}
	}
}

/* Output columns c0..: y = sum of the routed experts, + the dense part, x += y */
static void
down_task(void *ud, int task, int worker)
{
	const mlp_job *job = ud;
	const dsv_language_config *c = job->c;
	const dsv_language_scratch *s = job->s;
	const dsv_mlp *dense = &job->layer->mlp;
	int			c0 = task * COLS;
	int			cols = dsv_min(COLS, c->hidden - c0);
	float	   *part = dsv_worker_scratch(job->ctx, worker);	/* [ROWS, COLS] */

	for (int r = 0; r < job->pass->rows; r++)
		memset(s->y + (size_t) r * c->hidden + c0, 0, cols * sizeof(float));
	for (int i = 0; i < job->active; i++)
	{
		int			e = job->expert[i];
		const dsv_matrix *down = &job->layer->experts[e].down;

		for (int slot = s->first_slot[e]; slot < s->first_slot[e + 1]; slot += ROWS)
		{
			int			rows = dsv_min(ROWS, s->first_slot[e + 1] - slot);

			dsv_gemm(&job->inner, slot, down, c0, NULL, part, cols, rows, cols);
			dsv_round(job->ctx, part, (size_t) rows * cols);
			for (int r = 0; r < rows; r++)
				kern->axpy(s->slot_weight[slot + r], part + (size_t) r * cols,
						   s->y + (size_t) s->slot_row[slot + r] * c->hidden + c0, cols);
		}
	}
	for (int r0 = 0; r0 < job->pass->rows; r0 += ROWS)
	{
		int			rows = dsv_min(ROWS, job->pass->rows - r0);

		if (dense->down.rows > 0)
		{
			dsv_gemm(&job->inner_dense, r0, &dense->down, c0, NULL, part, cols, rows, cols);
			dsv_round(job->ctx, part, (size_t) rows * cols);
		}
		for (int r = 0; r < rows; r++)
		{
			float	   *y = s->y + (size_t) (r0 + r) * c->hidden + c0;
			float	   *x = job->pass->x + (size_t) (r0 + r) * c->hidden + c0;

			dsv_round(job->ctx, y, cols);
			if (dense->down.rows > 0)
				kern->add(part + (size_t) r * cols, y, cols);
			dsv_round(job->ctx, y, cols);
			kern->add(y, x, cols);
			dsv_round(job->ctx, x, cols);
		}
	}
}

static void
trace_router(const dsv_compute *ctx, const dsv_language_config *c, int index, const dsv_pass *pass,
			 const dsv_language_scratch *s)
{
	dsv_trace_event event = {.stage = DSV_TRACE_ROUTER, .layer = index,
	.first_row = pass->segments[0].first, .rows = pass->rows, .cols = c->top_k,
	.data = s->weight, .ids = s->pick};

	if (ctx->trace != NULL)
		ctx->trace(ctx->trace_ud, &event);
}

/* Rows of k numbers at `data`, in the form that weights of that type want */
static dsv_rows
rows_at(const dsv_compute *ctx, const char *data, kern_dtype weights, int k)
{
	kern_act	act = dsv_act(ctx, weights);

	return (dsv_rows) {act, data, kern_act_bytes(act, (size_t) k)};
}

/* The norm's output for both kinds of experts, and where their inner activations go */
static void
prepare_rows(mlp_job *job)
{
	const dsv_compute *ctx = job->ctx;
	const dsv_layer *layer = job->layer;
	int			hidden = job->c->hidden;
	int			rows = job->pass->rows;

	if (layer->mlp.gate.rows > 0)
	{
		job->h_dense = dsv_pack_rows(ctx, job->s->h, hidden, rows, hidden, dsv_act(ctx, layer->mlp.in), 0);
		job->inner_dense = rows_at(ctx, job->s->inner_dense, layer->mlp.down.dtype, layer->mlp.down.cols);
	}
	if (!layer->moe)
		return;
	if (layer->mlp.gate.rows > 0 && job->h_dense.act == dsv_act(ctx, layer->experts_in))
		job->h = job->h_dense;
	else
		job->h = dsv_pack_rows(ctx, job->s->h, hidden, rows, hidden, dsv_act(ctx, layer->experts_in), 1);
	job->inner = rows_at(ctx, job->s->inner, layer->experts_down, job->c->moe_mlp);
	for (int i = 0; i < DSV_POOL_MAX; i++)
		job->gathered[i] = -1;
}

void
dsv_mlp_run(const dsv_compute *ctx, const dsv_config *config, const dsv_layer *layer, int index,
			const dsv_pass *pass, const dsv_language_scratch *s)
{
	const dsv_language_config *c = &config->language;
	int			expert[DSV_MAX_EXPERTS];
	mlp_job		job = {.ctx = ctx, .c = c, .layer = layer, .pass = pass, .s = s,
		.expert_blocks = dsv_ceil_div(c->moe_mlp, COLS),
	.dense_blocks = dsv_ceil_div(layer->mlp.gate.rows, COLS), .expert = expert};
	double		work = (double) pass->rows * c->hidden * layer->mlp.gate.rows;

	dsv_rms_norm_rows(ctx, pass->x, c->hidden, pass->rows, c->hidden, layer->post_norm, c->rms_eps,
					  s->h, c->hidden);
	if (layer->moe)
	{
		dsv_linear	router = {layer->router, NULL};

		dsv_linear_run(ctx, &router, s->h, c->hidden, pass->rows, s->score, c->experts, DSV_STORE_F32,
					   false);
		dsv_parallel(ctx, dsv_ceil_div(pass->rows, ROWS), 16.0 * pass->rows * c->experts, route_task, &job);
		trace_router(ctx, c, index, pass, s);
		group_rows(c, pass->rows, s);
		for (int e = 0; e < c->experts; e++)
			if (s->first_slot[e] < s->first_slot[e + 1])
				expert[job.active++] = e;
		work += (double) pass->rows * c->top_k * c->hidden * c->moe_mlp;
	}
	prepare_rows(&job);
	dsv_parallel(ctx, job.dense_blocks + job.active * job.expert_blocks, 2 * work, inner_task, &job);
	dsv_parallel(ctx, dsv_ceil_div(c->hidden, COLS), work, down_task, &job);
}

size_t
dsv_mlp_worker_floats(const dsv_language_config *c)
{
	return (size_t) 2 * ROWS * COLS + ROWS * dsv_act_most((size_t) c->hidden) / sizeof(float);
}
