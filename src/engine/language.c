#include "language.h"

#include <math.h>

void
dsv_language_layout(const dsv_config *config, int rows, dsv_arena *arena, dsv_language_scratch *s)
{
	const dsv_language_config *c = &config->language;
	size_t		n = rows;
	int			qk = c->mla ? c->nope + c->rope : c->head_dim;
	int			dense = dsv_max(c->dense_mlp, c->shared * c->moe_mlp);
	size_t		start;
	size_t		attention_end;

	s->h = dsv_arena_take(arena, n * c->hidden, sizeof(float));
	start = arena->used;
	s->q = dsv_arena_take(arena, n * c->heads * qk, sizeof(float));
	s->q_low = dsv_arena_take(arena, n * c->q_rank, sizeof(float));
	s->kv = dsv_arena_take(arena, n * dsv_kv_row(c), sizeof(float));
	s->q_lat = dsv_arena_take(arena, c->mla ? n * c->heads * (c->kv_rank + c->rope) : 0, sizeof(float));
	s->o_lat = dsv_arena_take(arena, c->mla ? n * c->heads * c->kv_rank : 0, sizeof(float));
	s->o = dsv_arena_take(arena, n * c->heads * c->v_dim, sizeof(float));
	attention_end = arena->used;

	/* the two halves of a layer never live at the same time */
	arena->used = start;
	s->score = dsv_arena_take(arena, n * c->experts, sizeof(float));
	s->pick = dsv_arena_take(arena, n * c->top_k, sizeof(int32_t));
	s->weight = dsv_arena_take(arena, n * c->top_k, sizeof(float));
	s->slot_row = dsv_arena_take(arena, n * c->top_k, sizeof(int));
	s->slot_weight = dsv_arena_take(arena, n * c->top_k, sizeof(float));
	s->first_slot = dsv_arena_take(arena, c->experts + 1, sizeof(int));
	s->inner = dsv_arena_take(arena, n * c->top_k, dsv_act_most((size_t) c->moe_mlp));
	s->inner_dense = dsv_arena_take(arena, n, dsv_act_most((size_t) dense));
	s->y = dsv_arena_take(arena, n * c->hidden, sizeof(float));
	if (arena->used < attention_end)
		arena->used = attention_end;
}

size_t
dsv_language_worker_floats(const dsv_config *config, int positions)
{
	const dsv_language_config *c = &config->language;
	size_t		most = dsv_linear_worker_floats(1);
	size_t		attention = dsv_attention_worker_floats(c, positions);
	size_t		mlp = dsv_mlp_worker_floats(c);

	if (most < attention)
		most = attention;
	return most < mlp ? mlp : most;
}

/*
 * The reference computes inverse frequencies, angles, cosines and sines in float32; at
 * position 4000 the rounding of the angle is 1e-4, so it is followed exactly.
 */
void
dsv_rope_table(const dsv_language_config *config, int positions, float *cosine, float *sine)
{
	int			half = config->rope / 2;

	for (int i = 0; i < half; i++)
	{
		float		exponent = (float) (2 * i) / (float) config->rope;
		float		inverse = 1.0f / (float) pow(config->rope_theta, exponent);

		for (int p = 0; p < positions; p++)
		{
			float		angle = (float) p * inverse;

			cosine[(size_t) p * half + i] = (float) cos(angle);
			sine[(size_t) p * half + i] = (float) sin(angle);
		}
	}
}

void
dsv_layer_run(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights, int layer,
			  dsv_kv *kv, dsv_rope rope, const dsv_pass *pass, const dsv_language_scratch *scratch)
{
	const dsv_layer *l = &weights->layers[layer];

	dsv_attention_run(ctx, config, l, layer, kv, rope, pass, scratch);
	dsv_mlp_run(ctx, config, l, layer, pass, scratch);
}

void
dsv_layer_store(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights, int layer,
				dsv_kv *kv, dsv_rope rope, const dsv_pass *pass, const dsv_language_scratch *scratch)
{
	dsv_attention_store(ctx, config, &weights->layers[layer], layer, kv, rope, pass, scratch);
}
