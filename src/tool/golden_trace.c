/*
 * golden_trace.c
 *		Collects from the engine's trace what the golden files hold.
 */
#include "golden.h"

#include <math.h>
#include <string.h>

const int	golden_stage_rows[GOLDEN_STAGE_ROWS] = {0, 1, 364, 728};

void
golden_trace_init(golden_trace *t, const dsv_config *config, int n, int ntiles, int router_layer,
				  int max_logits)
{
	const dsv_vision_config *v = &config->vision;
	const dsv_language_config *l = &config->language;
	size_t		patches = (size_t) v->grid * v->grid;
	size_t		tokens = (size_t) config->projector.grid * config->projector.grid;

	*t = (golden_trace) {.config = config, .router_layer = router_layer, .n = n, .ntiles = ntiles,
	.max_logits = max_logits};
	t->tile_seen = tool_alloc(ntiles, sizeof(*t->tile_seen));
	t->tile_sha = tool_alloc(ntiles, sizeof(*t->tile_sha));
	t->tile_sums = tool_alloc(ntiles, sizeof(*t->tile_sums));
	t->vit_stages = tool_alloc((size_t) (v->layers + 2) * GOLDEN_STAGE_ROWS * v->width,
							   sizeof(float));
	t->vit = tool_alloc(patches * v->width, sizeof(float));
	t->projector = tool_alloc(tokens * l->hidden, sizeof(float));
	t->embeds = tool_alloc((size_t) n * l->hidden, sizeof(float));
	t->hidden = tool_alloc((size_t) (l->layers + 2) * l->hidden, sizeof(float));
	t->experts = tool_alloc((size_t) n * l->top_k, sizeof(int32_t));
	t->weights = tool_alloc((size_t) n * l->top_k, sizeof(float));
	t->last_experts = tool_alloc((size_t) l->layers * l->top_k, sizeof(int32_t));
	t->last_weights = tool_alloc((size_t) l->layers * l->top_k, sizeof(float));
	t->logits = tool_alloc((size_t) max_logits * l->vocab, sizeof(float));
}

void
golden_trace_free(golden_trace *t)
{
	free(t->tile_seen);
	free(t->tile_sha);
	free(t->tile_sums);
	free(t->vit_stages);
	free(t->vit);
	free(t->projector);
	free(t->embeds);
	free(t->hidden);
	free(t->experts);
	free(t->weights);
	free(t->last_experts);
	free(t->last_weights);
	free(t->logits);
}

static void
keep_vit(golden_trace *t, const dsv_trace_event *e)
{
	size_t		width = (size_t) e->cols;

	for (int i = 0; i < GOLDEN_STAGE_ROWS; i++)
		if (golden_stage_rows[i] < e->rows)
			memcpy(t->vit_stages + ((size_t) e->layer * GOLDEN_STAGE_ROWS + i) * width,
				   e->data + (size_t) golden_stage_rows[i] * width, width * sizeof(float));
	if (e->layer == t->config->vision.layers + 1)
		memcpy(t->vit, e->data, (size_t) e->rows * width * sizeof(float));
}

static void
keep_projector(golden_trace *t, const dsv_trace_event *e)
{
	size_t		count = (size_t) e->rows * e->cols;
	double		sum = 0;
	double		squares = 0;

	for (size_t i = 0; i < count; i++)
	{
		sum += e->data[i];
		squares += (double) e->data[i] * e->data[i];
	}
	t->tile_sums[e->tile][0] = sum;
	t->tile_sums[e->tile][1] = sqrt(squares);
	if (e->tile == 0)
		memcpy(t->projector, e->data, count * sizeof(float));
}

/* Rows of a decode step lie behind the prompt and are left out. */
static void
keep_rows(const golden_trace *t, const dsv_trace_event *e, float *to)
{
	int			rows = e->first_row + e->rows <= t->n ? e->rows : t->n - e->first_row;

	if (rows > 0)
		memcpy(to + (size_t) e->first_row * e->cols, e->data,
			   (size_t) rows * e->cols * sizeof(float));
}

static void
keep_last(const golden_trace *t, const dsv_trace_event *e, int row)
{
	if (e->first_row < t->n && e->first_row + e->rows >= t->n)
		memcpy(t->hidden + (size_t) row * e->cols,
			   e->data + (size_t) (t->n - 1 - e->first_row) * e->cols,
			   (size_t) e->cols * sizeof(float));
}

/* One row of the router, ids ascending */
static void
keep_sorted(const int32_t *ids, const float *weights, int k, int32_t *to_ids, float *to_weights)
{
	for (int i = 0; i < k; i++)
	{
		int			j = i;

		for (; j > 0 && to_ids[j - 1] > ids[i]; j--)
		{
			to_ids[j] = to_ids[j - 1];
			to_weights[j] = to_weights[j - 1];
		}
		to_ids[j] = ids[i];
		to_weights[j] = weights[i];
	}
}

static void
keep_router(golden_trace *t, const dsv_trace_event *e)
{
	int			k = e->cols;

	for (int r = 0; r < e->rows && e->first_row + r < t->n; r++)
	{
		size_t		row = (size_t) e->first_row + r;
		const int32_t *ids = e->ids + (size_t) r * k;
		const float *weights = e->data + (size_t) r * k;

		if (e->layer == t->router_layer)
			keep_sorted(ids, weights, k, t->experts + row * k, t->weights + row * k);
		if ((int) row == t->n - 1)
		{
			memcpy(t->last_experts + (size_t) e->layer * k, ids, k * sizeof(int32_t));
			memcpy(t->last_weights + (size_t) e->layer * k, weights, k * sizeof(float));
		}
	}
}

void
golden_trace_event(void *ud, const dsv_trace_event *e)
{
	golden_trace *t = ud;

	switch (e->stage)
	{
		case DSV_TRACE_TOKENS:
			break;
		case DSV_TRACE_PIXELS:
			if (e->tile >= t->ntiles)
				break;
			t->tile_seen[e->tile] = true;
			dsv_sha256_hex(e->bytes, (size_t) e->rows * e->cols, t->tile_sha[e->tile]);
			break;
		case DSV_TRACE_VIT:
			if (e->tile == 0)
				keep_vit(t, e);
			break;
		case DSV_TRACE_PROJECTOR:
			if (e->tile < t->ntiles)
				keep_projector(t, e);
			break;
		case DSV_TRACE_EMBEDS:
			keep_rows(t, e, t->embeds);
			break;
		case DSV_TRACE_ROUTER:
			keep_router(t, e);
			break;
		case DSV_TRACE_HIDDEN:
			keep_last(t, e, e->layer);
			break;
		case DSV_TRACE_FINAL:
			keep_last(t, e, t->config->language.layers + 1);
			break;
		case DSV_TRACE_LOGITS:
			if (t->nlogits < t->max_logits)
				memcpy(t->logits + (size_t) t->nlogits++ * e->cols, e->data,
					   (size_t) e->cols * sizeof(float));
			break;
	}
}
