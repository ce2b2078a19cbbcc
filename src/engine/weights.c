/*
 * weights.c
 *		From tensor names to struct fields.
 *
 * The same walk over the model runs twice: first without memory, to add up the sizes of
 * the arrays and of the widened vectors; then with one block behind it, to fill them.  In
 * the first walk array elements are stand-ins, and no tensor is looked up.  An error
 * sticks in the binder and makes the rest of the walk idle, so that the walk reads like
 * the list of tensors that it is.
 */
#include "weights.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "packed.h"

#define NAME_MAX_BYTES 160

typedef struct binder
{
	const dsv_safetensors *st;
	const dsv_config *config;
	dsv_weights *out;
	dsv_arena	arena;			/* base NULL: the measuring walk */
	dsv_use		use;			/* of the matrices that come next */
	unsigned	dtypes;			/* bit set of kern_dtype over the matrices */
	dsv_code	code;
	dsv_error  *err;
} binder;

typedef struct dims
{
	int			n;
	int64_t		size[DSV_MAX_DIMS];
} dims;

static bool
measuring(const binder *b)
{
	return b->arena.base == NULL;
}

/* ---- one tensor ---- */

static void
print_dims(char *buf, size_t size, int n, const int64_t *shape)
{
	size_t		at = (size_t) snprintf(buf, size, "[");

	for (int i = 0; i < n; i++)
		at += (size_t) snprintf(buf + at, size - at, "%s%lld", i > 0 ? ", " : "",
								(long long) shape[i]);
	snprintf(buf + at, size - at, "]");
}

static void
wrong_shape(binder *b, const dsv_tensor *t, const dims *want)
{
	char		is[96];
	char		should[96];

	print_dims(is, sizeof(is), t->ndim, t->shape);
	print_dims(should, sizeof(should), want->n, want->size);
	b->code = dsv_fail(b->err, DSV_FORMAT, "tensor \"%s\" has the wrong shape", t->name);
	dsv_detail(b->err, "It is %s; config.json asks for %s.", is, should);
}

static bool
kern_type(dsv_dtype dtype, kern_dtype *out)
{
	switch (dtype)
	{
		case DSV_DTYPE_F32:
			*out = KERN_F32;
			return true;
		case DSV_DTYPE_BF16:
			*out = KERN_BF16;
			return true;
		case DSV_DTYPE_F16:
			*out = KERN_F16;
			return true;
		default:
			return false;
	}
}

static bool
same_shape(const dsv_tensor *t, const dims *want)
{
	return t->ndim == want->n && memcmp(t->shape, want->size, want->n * sizeof(want->size[0])) == 0;
}

/* A matrix of bytes is told by the length of its panels. */
static bool
is_quantised(const dsv_tensor *t, dsv_use use, const dims *want, kern_dtype *dtype)
{
	if (t->dtype != DSV_DTYPE_U8 || (use != DSV_USE_LANGUAGE && use != DSV_USE_EXPERT))
		return false;
	for (*dtype = KERN_Q8; *dtype <= KERN_Q4; ++*dtype)
	{
		int64_t		panel = (int64_t) kern_matrix_bytes(*dtype, KERN_PANEL, (size_t) want->size[1]);
		dims		bytes = {2, {(want->size[0] + KERN_PANEL - 1) / KERN_PANEL, panel}};

		if (same_shape(t, &bytes))
			return true;
	}
	return false;
}

/* The tensor of that name, found to be as wanted; NULL after an error. */
static const dsv_tensor *
take(binder *b, const char *name, dsv_use use, const dims *want, kern_dtype *dtype)
{
	const dsv_tensor *t;
	int64_t		numbers = 1;

	if (b->code != DSV_OK)
		return NULL;
	t = dsv_safetensors_find(b->st, name);
	if (t == NULL)
		b->code = dsv_fail(b->err, DSV_FORMAT, "tensor \"%s\" is missing", name);
	else if (!is_quantised(t, use, want, dtype))
	{
		if (!kern_type(t->dtype, dtype))
			b->code = dsv_fail(b->err, DSV_FORMAT, "tensor \"%s\" is of type %s, not of a float type",
							   name, dsv_dtype_name(t->dtype));
		else if (!same_shape(t, want))
			wrong_shape(b, t, want);
	}
	if (b->code != DSV_OK)
		return NULL;
	b->out->uses[t - dsv_safetensors_at(b->st, 0)] = (uint8_t) use;
	for (int i = 0; i < want->n; i++)
		numbers *= want->size[i];
	b->out->parameters += numbers;
	return t;
}

/* A matrix whose file shape may have more dimensions than two. */
static void
bind_shaped(binder *b, dsv_matrix *m, int rows, int cols, dims want, const char *name)
{
	kern_dtype	dtype;
	const dsv_tensor *t;

	if (measuring(b) || (t = take(b, name, b->use, &want, &dtype)) == NULL)
		return;
	*m = (dsv_matrix) {t->data, dtype, rows, cols};
	b->dtypes |= 1u << dtype;
}

__attribute__((format(printf, 5, 6))) static void
matrix(binder *b, dsv_matrix *m, int rows, int cols, const char *fmt,...)
{
	char		name[NAME_MAX_BYTES];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	bind_shaped(b, m, rows, cols, (dims) {2, {rows, cols}}, name);
}

__attribute__((format(printf, 4, 5))) static void
vector(binder *b, const float **v, int n, const char *fmt,...)
{
	float	   *numbers = dsv_arena_take(&b->arena, (size_t) n, sizeof(float));
	dims		want = {1, {n}};
	char		name[NAME_MAX_BYTES];
	kern_dtype	dtype;
	const dsv_tensor *t;
	va_list		args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	if (measuring(b) || (t = take(b, name, DSV_USE_VECTOR, &want, &dtype)) == NULL)
		return;
	kern->widen(t->data, dtype, numbers, (size_t) n);
	*v = numbers;
}

/* PREFIX.weight and, with bias, PREFIX.bias */
static void
linear(binder *b, dsv_linear *l, int rows, int cols, bool bias, const char *prefix)
{
	matrix(b, &l->w, rows, cols, "%s.weight", prefix);
	if (bias)
		vector(b, &l->bias, rows, "%s.bias", prefix);
}

static void
layer_norm(binder *b, dsv_norm *norm, int n, const char *prefix)
{
	vector(b, &norm->w, n, "%s.weight", prefix);
	vector(b, &norm->b, n, "%s.bias", prefix);
}

/* ---- parts of the model ---- */

static void
bind_vision_block(binder *b, dsv_vision_block *block, int i)
{
	const dsv_vision_config *v = &b->config->vision;
	int			w = v->width;
	char		name[NAME_MAX_BYTES];

#define PART(part) (snprintf(name, sizeof(name), "vision.blocks.%d." part, i), name)
	layer_norm(b, &block->norm1, w, PART("norm1"));
	linear(b, &block->qkv, 3 * w, w, true, PART("attn.qkv"));
	linear(b, &block->proj, w, w, true, PART("attn.proj"));
	layer_norm(b, &block->norm2, w, PART("norm2"));
	linear(b, &block->fc1, v->mlp, w, true, PART("mlp.fc1"));
	linear(b, &block->fc2, w, v->mlp, true, PART("mlp.fc2"));
#undef PART
}

static void
bind_vision(binder *b)
{
	const dsv_vision_config *v = &b->config->vision;
	dsv_weights *out = b->out;
	int			patches = v->grid * v->grid;

	bind_shaped(b, &out->patch, v->width, 3 * v->patch * v->patch,
				(dims) {4, {v->width, 3, v->patch, v->patch}}, "vision.patch_embed.proj.weight");
	vector(b, &out->patch_bias, v->width, "vision.patch_embed.proj.bias");
	bind_shaped(b, &out->pos_embed, patches, v->width, (dims) {3, {1, patches, v->width}},
				"vision.pos_embed");
	out->blocks = dsv_arena_take(&b->arena, (size_t) v->layers, sizeof(*out->blocks));
	for (int i = 0; i < v->layers; i++)
	{
		dsv_vision_block stand_in;

		bind_vision_block(b, measuring(b) ? &stand_in : &out->blocks[i], i);
	}
	layer_norm(b, &out->vision_norm, v->width, "vision.norm");
}

/* Linear layers have the even numbers, the activations between them the odd ones. */
static void
bind_projector(binder *b)
{
	const dsv_projector_config *p = &b->config->projector;
	dsv_weights *out = b->out;

	out->projector = dsv_arena_take(&b->arena, (size_t) p->depth, sizeof(*out->projector));
	for (int i = 0; i < p->depth; i++)
	{
		dsv_linear	stand_in;
		char		name[NAME_MAX_BYTES];

		snprintf(name, sizeof(name), "projector.layers.%d", 2 * i);
		linear(b, measuring(b) ? &stand_in : &out->projector[i],
			   i == p->depth - 1 ? p->out : p->inner, i == 0 ? p->in : p->inner, true, name);
	}
	vector(b, &out->image_newline, p->out, "image_newline");
	vector(b, &out->view_separator, p->out, "view_seperator");
}

static void
bind_attention(binder *b, dsv_layer *layer, const char *prefix)
{
	const dsv_language_config *c = &b->config->language;
	int			q_rows = c->heads * (c->nope + c->rope);
	char		name[NAME_MAX_BYTES];

#define PART(part) (snprintf(name, sizeof(name), "%s.self_attn." part, prefix), name)
	if (!c->mla)
	{
		linear(b, &layer->q, q_rows, c->hidden, false, PART("q_proj"));
		linear(b, &layer->k, c->kv_heads * c->head_dim, c->hidden, false, PART("k_proj"));
		linear(b, &layer->v, c->kv_heads * c->head_dim, c->hidden, false, PART("v_proj"));
	}
	else
	{
		if (c->q_rank == 0)
			linear(b, &layer->q, q_rows, c->hidden, false, PART("q_proj"));
		else
		{
			linear(b, &layer->q_a, c->q_rank, c->hidden, false, PART("q_a_proj"));
			vector(b, &layer->q_a_norm, c->q_rank, "%s", PART("q_a_layernorm.weight"));
			linear(b, &layer->q_b, q_rows, c->q_rank, false, PART("q_b_proj"));
		}
		linear(b, &layer->kv_a, c->kv_rank + c->rope, c->hidden, false,
			   PART("kv_a_proj_with_mqa"));
		vector(b, &layer->kv_a_norm, c->kv_rank, "%s", PART("kv_a_layernorm.weight"));
		/* in absorbed form it multiplies from both sides */
		b->use = DSV_USE_MATRIX;
		matrix(b, &layer->kv_b, c->heads * (c->nope + c->v_dim), c->kv_rank, "%s",
			   PART("kv_b_proj.weight"));
		b->use = DSV_USE_LANGUAGE;
	}
	linear(b, &layer->o, c->hidden, c->heads * c->v_dim, false, PART("o_proj"));
#undef PART
}

/* The type of matrices that take the same activations: KERN_F32 stands for different float types */
static kern_dtype
common_dtype(binder *b, kern_dtype x, kern_dtype y, const char *prefix)
{
	if (x == y)
		return x;
	if (b->code == DSV_OK && (kern_is_quantised(x) || kern_is_quantised(y)))
	{
		b->code = dsv_fail(b->err, DSV_FORMAT, "matrices of \"%s\" are quantised in different ways", prefix);
		dsv_detail(b->err, "Gate and up matrices of all experts of a layer must be of one type, and so must the down matrices.");
	}
	return KERN_F32;
}

static void
bind_mlp(binder *b, dsv_mlp *mlp, int inner, const char *prefix)
{
	int			hidden = b->config->language.hidden;

	matrix(b, &mlp->gate, inner, hidden, "%s.gate_proj.weight", prefix);
	matrix(b, &mlp->up, inner, hidden, "%s.up_proj.weight", prefix);
	matrix(b, &mlp->down, hidden, inner, "%s.down_proj.weight", prefix);
	if (!measuring(b))
		mlp->in = common_dtype(b, mlp->gate.dtype, mlp->up.dtype, prefix);
}

static void
find_expert_dtypes(binder *b, dsv_layer *layer, const char *prefix)
{
	layer->experts_in = layer->experts[0].in;
	layer->experts_down = layer->experts[0].down.dtype;
	for (int i = 0; i < b->config->language.experts; i++)
	{
		layer->experts_in = common_dtype(b, layer->experts_in, layer->experts[i].in, prefix);
		layer->experts_down = common_dtype(b, layer->experts_down, layer->experts[i].down.dtype, prefix);
	}
}

static void
bind_experts(binder *b, dsv_layer *layer, const char *prefix)
{
	const dsv_language_config *c = &b->config->language;
	dsv_mlp    *experts = dsv_arena_take(&b->arena, (size_t) c->experts, sizeof(*experts));
	char		name[NAME_MAX_BYTES];

	b->use = DSV_USE_ROUTER;
	matrix(b, &layer->router, c->experts, c->hidden, "%s.mlp.gate.weight", prefix);
	if (c->topk == DSV_TOPK_NOAUX)
		vector(b, &layer->router_bias, c->experts, "%s.mlp.gate.e_score_correction_bias", prefix);
	b->use = DSV_USE_EXPERT;
	for (int i = 0; i < c->experts; i++)
	{
		dsv_mlp		stand_in;

		snprintf(name, sizeof(name), "%s.mlp.experts.%d", prefix, i);
		bind_mlp(b, measuring(b) ? &stand_in : &experts[i], c->moe_mlp, name);
	}
	b->use = DSV_USE_LANGUAGE;
	layer->experts = experts;
	if (!measuring(b))
		find_expert_dtypes(b, layer, prefix);
	if (c->shared > 0)
	{
		snprintf(name, sizeof(name), "%s.mlp.shared_experts", prefix);
		bind_mlp(b, &layer->mlp, c->shared * c->moe_mlp, name);
	}
}

static void
bind_layer(binder *b, dsv_layer *layer, int i)
{
	const dsv_language_config *c = &b->config->language;
	char		prefix[NAME_MAX_BYTES / 2];
	char		name[NAME_MAX_BYTES];

	snprintf(prefix, sizeof(prefix), "language.model.layers.%d", i);
	vector(b, &layer->input_norm, c->hidden, "%s.input_layernorm.weight", prefix);
	bind_attention(b, layer, prefix);
	vector(b, &layer->post_norm, c->hidden, "%s.post_attention_layernorm.weight", prefix);
	layer->moe = dsv_config_is_moe(c, i);
	if (layer->moe)
		bind_experts(b, layer, prefix);
	else
	{
		snprintf(name, sizeof(name), "%s.mlp", prefix);
		bind_mlp(b, &layer->mlp, c->dense_mlp, name);
	}
}

static void
bind_language(binder *b)
{
	const dsv_language_config *c = &b->config->language;
	dsv_weights *out = b->out;

	matrix(b, &out->embed, c->vocab, c->hidden, "language.model.embed_tokens.weight");
	out->layers = dsv_arena_take(&b->arena, (size_t) c->layers, sizeof(*out->layers));
	for (int i = 0; i < c->layers; i++)
	{
		dsv_layer	stand_in;

		bind_layer(b, measuring(b) ? &stand_in : &out->layers[i], i);
	}
	vector(b, &out->final_norm, c->hidden, "language.model.norm.weight");
	matrix(b, &out->lm_head, c->vocab, c->hidden, "language.lm_head.weight");
}

static void
bind_model(binder *b)
{
	b->out->uses = dsv_arena_take(&b->arena, (size_t) dsv_safetensors_count(b->st), 1);
	b->use = DSV_USE_MATRIX;
	bind_vision(b);
	bind_projector(b);
	b->use = DSV_USE_LANGUAGE;
	bind_language(b);
}

/* ---- the whole ---- */

/* The pooling head of the vision tower is in the published files, but is not run.  A packed
 * file's tokenizer is read elsewhere. */
static bool
is_ignored(const char *name)
{
	return strncmp(name, "vision.attn_pool.", strlen("vision.attn_pool.")) == 0 ||
		strcmp(name, DSV_PACKED_TOKENIZER) == 0;
}

static void
check_unused(binder *b)
{
	for (int i = 0; b->code == DSV_OK && i < dsv_safetensors_count(b->st); i++)
	{
		const dsv_tensor *t = dsv_safetensors_at(b->st, i);

		if (b->out->uses[i] == DSV_USE_NONE && !is_ignored(t->name))
		{
			b->code = dsv_fail(b->err, DSV_FORMAT, "tensor \"%s\" is not part of the model",
							   t->name);
			dsv_detail(b->err, "Nothing in config.json asks for it.");
		}
	}
}

static const char *
dtype_name(unsigned dtypes)
{
	if (dtypes & (1u << KERN_Q4))
		return "q4";
	if (dtypes & (1u << KERN_Q8))
		return "q8";
	switch (dtypes)
	{
		case 1u << KERN_F32:
			return "f32";
		case 1u << KERN_BF16:
			return "bf16";
		case 1u << KERN_F16:
			return "f16";
		default:
			return "mixed";
	}
}

dsv_code
dsv_weights_bind(const dsv_safetensors *st, const dsv_config *config, const dsv_mem *mem,
				 dsv_weights *out, dsv_error *err)
{
	binder		b = {.st = st, .config = config, .out = out, .err = err};
	size_t		size;

	memset(out, 0, sizeof(*out));
	bind_model(&b);
	size = b.arena.used;
	memset(out, 0, sizeof(*out));
	b.arena = (dsv_arena) {dsv_alloc_aligned(mem, size, &out->block), 0};
	if (out->block == NULL)
		b.code = dsv_fail_nomem(err, size);
	else
	{
		memset(b.arena.base, 0, size);
		bind_model(&b);
		check_unused(&b);
	}
	out->dtype = dtype_name(b.dtypes);
	if (b.code != DSV_OK)
		dsv_weights_free(out, mem);
	return b.code;
}

void
dsv_weights_free(dsv_weights *weights, const dsv_mem *mem)
{
	dsv_free(mem, weights->block);
	memset(weights, 0, sizeof(*weights));
}
