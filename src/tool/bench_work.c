/*
 * bench_work.c
 *		What a model's work comes to, from the shapes of its tensors.
 */
#include <math.h>
#include <string.h>

#include "../engine/model.h"
#include "bench.h"

/* ---- tensors ---- */

static double
matrix_bytes(const dsv_matrix *m)
{
	return (double) kern_matrix_bytes(m->dtype, (size_t) m->rows, (size_t) m->cols);
}

static double
matrix_numbers(const dsv_matrix *m)
{
	return (double) m->rows * m->cols;
}

static double
sum_mlp(const dsv_mlp *mlp, double (*of) (const dsv_matrix *m))
{
	return of(&mlp->gate) + of(&mlp->up) + of(&mlp->down);
}

/* What is not there has no rows. */
static double
sum_attention(const dsv_layer *l, double (*of) (const dsv_matrix *m))
{
	return of(&l->q.w) + of(&l->k.w) + of(&l->v.w) + of(&l->q_a.w) + of(&l->q_b.w) + of(&l->kv_a.w) +
		of(&l->kv_b) + of(&l->o.w);
}

/* All of a layer, of the routed experts so many */
static double
sum_layer(const dsv_layer *l, double experts, double (*of) (const dsv_matrix *m))
{
	double		sum = sum_attention(l, of) + sum_mlp(&l->mlp, of);

	if (l->moe)
		sum += of(&l->router) + experts * sum_mlp(&l->experts[0], of);
	return sum;
}

static double
sum_layers(const dsv_model *model, double experts, double (*of) (const dsv_matrix *m))
{
	double		sum = 0;

	for (int i = 0; i < model->config.language.layers; i++)
		sum += sum_layer(&model->weights.layers[i], experts, of);
	return sum;
}

/* ---- language model ---- */

double
bench_weight_bytes(const dsv_model *model, int rows)
{
	const dsv_language_config *c = &model->config.language;
	double		hit = c->experts > 0 ? c->experts * (1 - pow(1 - (double) c->top_k / c->experts, rows)) : 0;

	return sum_layers(model, hit, matrix_bytes) + matrix_bytes(&model->weights.lm_head);
}

double
bench_prefill_operations(const dsv_model *model, int rows)
{
	const dsv_language_config *c = &model->config.language;
	double		pairs = rows * (rows + 1.0) / 2;	/* of a query and a key */
	double		attention = pairs * c->layers * c->heads *
		(c->mla ? c->nope + c->rope + c->v_dim : 2 * c->head_dim);

	return 2 * (rows * sum_layers(model, c->top_k, matrix_numbers) + attention +
				matrix_numbers(&model->weights.lm_head));
}

/* ---- vision ---- */

double
bench_tile_operations(const dsv_model *model)
{
	const dsv_vision_config *v = &model->config.vision;
	const dsv_projector_config *p = &model->config.projector;
	const dsv_weights *w = &model->weights;
	double		patches = (double) v->grid * v->grid;
	double		tokens = (double) p->grid * p->grid;
	double		sum = patches * matrix_numbers(&w->patch);

	for (int i = 0; i < v->layers; i++)
	{
		const dsv_vision_block *b = &w->blocks[i];

		sum += patches * (matrix_numbers(&b->qkv.w) + matrix_numbers(&b->proj.w) +
						  matrix_numbers(&b->fc1.w) + matrix_numbers(&b->fc2.w));
		sum += 2 * patches * patches * v->width;
	}
	for (int i = 0; i < p->depth; i++)
		sum += tokens * matrix_numbers(&w->projector[i].w);
	return 2 * sum;
}

/* ---- instructions ---- */

static const struct
{
	const char *level;
	const char *f32;			/* by the form of the activations (kernels.h) */
	const char *bf16;
	const char *int16;
	const char *int8;
}			levels[] = {
	{"generic", "plain_128", "plain_128", "plain_128", "plain_128"},
	{"avx2", "fma_256", "fma_256", "madd16_256", "madd8_256"},
	{"avx2-vnni", "fma_256", "fma_256", "dot16_256", "dot8_256"},
	{"avx512", "fma_512", "fma_512", "madd16_512", "madd8_512"},
	{"avx512-vnni", "fma_512", "fma_512", "dot16_512", "dot8_512"},
	{"avx512-bf16", "fma_512", "dotbf16_512", "dot16_512", "dot8_512"},
	{"amx", "fma_512", "tile_bf16", "tile_int8", "tile_int8"},
};

#define NLEVELS ((int) (sizeof(levels) / sizeof(levels[0])))

/* Row of a level; -1 = none */
static int
find_level(const char *name)
{
	int			i = NLEVELS - 1;

	while (i >= 0 && strcmp(levels[i].level, name) != 0)
		i--;
	return i;
}

/* Of every level and not only of this machine's: whoever adds one hears of it on any machine. */
void
bench_check_levels(void)
{
	for (int level = DSV_CPU_GENERIC; ; level++)
	{
		const char *name = dsv_cpu_level_name((dsv_cpu_level) level);

		if (strcmp(name, "unknown") == 0)
			return;
		if (find_level(name) < 0)
			tool_fail("bench_work.c does not say what level \"%s\" computes with", name);
	}
}

const limits_instruction *
bench_instruction(kern_act act)
{
	int			i = find_level(dsv_cpu_level_name(dsv_cpu_current()));
	const char *const names[] = {
		[KERN_ACT_F32] = levels[i].f32,
		[KERN_ACT_BF16] = levels[i].bf16,
		[KERN_ACT_I16] = levels[i].int16,
		[KERN_ACT_I8] = levels[i].int8,
	};

	return limits_instruction_named(names[act]);
}

const limits_instruction *
bench_blas_instruction(void)
{
	static const char *const names[] = {"fma_512", "fma_256", "plain_128"};
	int			i = 0;

	while (limits_instruction_named(names[i]) == NULL || !limits_have(limits_instruction_named(names[i])))
		i++;
	return limits_instruction_named(names[i]);
}
