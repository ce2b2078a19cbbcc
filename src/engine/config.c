/*
 * config.c
 *		config.json and processor_config.json, resolved and checked.
 *
 * save_pretrained() writes only what differs from the defaults of the configuration
 * classes, so an absent key means the class default and an explicit null means null.  Each
 * section starts as a struct that holds the defaults, and the file's keys are laid over it.
 *
 * Three kinds of keys: those taken over, those that must hold the one implemented value,
 * and those known to have no effect on inference.  Any other key is refused by name: an
 * unknown switch could change the arithmetic silently.
 *
 * The ranges keep every dimension of a matrix, also the fused ones (heads * (nope + rope),
 * shared * moe_mlp, width * ratio^2, 3 * patch^2), and the pixels of all tiles of an image
 * inside an int with room to spare: at most 2^22 a dimension, 2^30 bytes of pixels.
 * Products of two dimensions do not fit and are the reader's to compute in size_t.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "file.h"

#define CONFIG "config.json"
#define PROCESSOR "processor_config.json"
#define MAX_JSON_BYTES ((size_t) 4 << 20)

#define MAX_DIM 16384			/* width of a residual stream or a latent */
#define MAX_MLP 65536
#define MAX_HEAD 1024			/* also what the rotary kernel takes at once */
#define MAX_LAYERS 512
#define MAX_HEADS 512
#define MAX_VOCAB 1048576
#define MAX_CONTEXT 1048576
#define MAX_SIDE 2048			/* pixels of a tile */
#define MAX_GRID 128			/* patches a side */
#define MAX_TILES 64			/* local tiles of an image */

#define COUNT(a) ((int) (sizeof(a) / sizeof((a)[0])))

const dsv_config dsv_config_published = {
	.vision = {
		.image_size = 384, .patch = 14, .grid = 27, .width = 1152, .layers = 27, .heads = 16,
		.mlp = 4304, .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f},
	},
	.projector = {.ratio = 2, .grid = 14, .in = 4608, .depth = 2},
	.ncandidates = 23,
	.candidates = {
		{384, 384}, {384, 768}, {768, 384}, {384, 1152}, {1152, 384}, {384, 1536},
		{1536, 384}, {768, 768}, {384, 1920}, {1920, 384}, {384, 2304}, {2304, 384},
		{768, 1152}, {1152, 768}, {384, 2688}, {2688, 384}, {384, 3072}, {3072, 384},
		{768, 1536}, {1536, 768}, {384, 3456}, {3456, 384}, {1152, 1152},
	},
	.max_tiles = 9,
};

/* ---- keys ---- */

/* What any PretrainedConfig may carry; how to decode is the request's to say.  Sorted. */
static const char *const generic_keys[] = {
	"_attn_implementation", "_attn_implementation_autoset", "_name_or_path",
	"add_cross_attention", "architectures", "attn_implementation", "auto_map",
	"bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward",
	"cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample",
	"dtype", "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id",
	"exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id",
	"forced_eos_token_id", "id2label", "is_decoder", "is_encoder_decoder", "label2id",
	"length_penalty", "max_length", "min_length", "model_type", "no_repeat_ngram_size",
	"num_beam_groups", "num_beams", "num_return_sequences", "output_attentions",
	"output_hidden_states", "output_scores", "pad_token_id", "prefix", "problem_type",
	"pruned_heads", "remove_invalid_values", "repetition_penalty", "return_dict",
	"return_dict_in_generate", "sep_token_id", "suppress_tokens", "task_specific_params",
	"temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings",
	"tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version",
	"typical_p", "use_bfloat16", "use_cache",
};

static const char *const top_keys[] = {
	"candidate_resolutions", "global_view_pos", "language_config", "projector_config",
	"tile_tag", "vision_config", NULL,
};

/* The second group has no effect: the head and its pooling are not run, and checkpointing
 * is a matter of training. */
static const char *const vision_keys[] = {
	"class_token", "heads", "ignore_head", "image_size", "layers", "mlp_ratio", "patch_size",
	"width",
	"deterministic", "global_pool", "model_name", "num_classes", "num_recomputing_layers",
	"use_checkpoint", "weight_init", NULL,
};

static const char *const projector_keys[] = {
	"depth", "downsample_ratio", "input_dim", "mlp_ratio", "n_embed", "projector_type",
	"token_pooling", NULL,
};

/* The second group: training, parallel layout, and flags that no reference code reads
 * (lm_head is false in a checkpoint that has one). */
static const char *const language_keys[] = {
	"attention_bias", "first_k_dense_replace", "hidden_act", "hidden_size",
	"intermediate_size", "kv_lora_rank", "max_position_embeddings", "moe_intermediate_size",
	"moe_layer_freq", "n_group", "n_routed_experts", "n_shared_experts", "norm_topk_prob",
	"num_attention_heads", "num_experts_per_tok", "num_hidden_layers", "num_key_value_heads",
	"q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "rms_norm_eps", "rope_scaling",
	"rope_theta", "routed_scaling_factor", "scoring_func", "topk_group", "topk_method",
	"use_mla", "v_head_dim", "vocab_size",
	"attention_dropout", "aux_loss_alpha", "ep_size", "initializer_range", "lm_head",
	"pretraining_tp", "rm_head", "seq_aux", NULL,
};

static const char *const processor_keys[] = {
	"candidate_resolutions", "downsample_ratio", "image_mean", "image_std", "image_token",
	"normalize", "patch_size", "sft_format",
	"add_special_token", "auto_map", "chat_template", "ignore_id", "mask_prompt", "pad_token",
	"processor_class", NULL,
};

static int
compare_names(const void *a, const void *b)
{
	return strcmp(a, *(const char *const *) b);
}

static bool
is_generic(const char *key)
{
	return bsearch(key, generic_keys, COUNT(generic_keys), sizeof(char *), compare_names) != NULL;
}

static dsv_code
check_keys(json_t *obj, const char *where, const char *const *known, bool generic, dsv_error *err)
{
	const char *key;
	json_t	   *value;

	json_object_foreach(obj, key, value)
	{
		int			i = 0;

		while (known[i] != NULL && strcmp(known[i], key) != 0)
			i++;
		if (known[i] == NULL && !(generic && is_generic(key)))
			return dsv_fail(err, DSV_UNSUPPORTED, "%s: key \"%s\" is not supported", where, key);
	}
	return DSV_OK;
}

/* obj[key] must be an object; absent counts as empty.  *out is borrowed from the root. */
static dsv_code
get_section(json_t *root, const char *key, json_t **out, dsv_error *err)
{
	*out = json_object_get(root, key);
	if (*out == NULL && json_object_set_new(root, key, dsv_json_object()) == 0)
		*out = json_object_get(root, key);
	if (*out == NULL)
		return dsv_fail_nomem(err, sizeof(void *));
	if (!json_is_object(*out))
		return dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must be an object", CONFIG, key);
	return DSV_OK;
}

/* ---- values ---- */

typedef struct int_field
{
	const char *key;
	int64_t		min;
	int64_t		max;
	size_t		offset;			/* of an int in the section's struct */
	bool		nullable;		/* null is stored as 0 */
} int_field;

static dsv_code
read_ints(const json_t *obj, const char *where, const int_field *fields, int n, void *section,
		  dsv_error *err)
{
	for (int i = 0; i < n; i++)
	{
		const int_field *f = &fields[i];
		int		   *slot = (int *) ((char *) section + f->offset);
		int64_t		value = *slot;
		bool		is_null = false;
		dsv_code	code;

		if (f->nullable)
			code = dsv_json_int_or_null(obj, where, f->key, f->min, f->max, &value, &is_null, err);
		else
			code = dsv_json_int(obj, where, f->key, f->min, f->max, &value, err);
		if (code != DSV_OK)
			return code;
		*slot = is_null ? 0 : (int) value;
	}
	return DSV_OK;
}

static dsv_code
refuse_value(const char *where, const char *key, dsv_error *err)
{
	return dsv_fail(err, DSV_UNSUPPORTED, "%s: value of \"%s\" is not supported", where, key);
}

/* The only value that is implemented; it is also the class default. */
static dsv_code
only_string(const json_t *obj, const char *where, const char *key, const char *only,
			dsv_error *err)
{
	const char *s = only;
	dsv_code	code = dsv_json_string(obj, where, key, &s, err);

	if (code != DSV_OK || strcmp(s, only) == 0)
		return code;
	refuse_value(where, key, err);
	dsv_detail(err, "It is \"%s\"; only \"%s\" is implemented.", s, only);
	return DSV_UNSUPPORTED;
}

static dsv_code
only_bool(const json_t *obj, const char *where, const char *key, bool only, dsv_error *err)
{
	bool		b = only;
	dsv_code	code = dsv_json_bool(obj, where, key, &b, err);

	if (code != DSV_OK || b == only)
		return code;
	refuse_value(where, key, err);
	dsv_detail(err, "Only %s is implemented.", only ? "true" : "false");
	return DSV_UNSUPPORTED;
}

static dsv_code
read_float(const json_t *obj, const char *where, const char *key, double min, double max,
		   float *out, dsv_error *err)
{
	double		x = *out;
	dsv_code	code = dsv_json_double(obj, where, key, min, max, &x, err);

	*out = (float) x;
	return code;
}

/* Two numbers of one file, or of both, that must agree. */
static dsv_code
must_be_equal(const char *a, int a_value, const char *b, int b_value, dsv_error *err)
{
	if (a_value == b_value)
		return DSV_OK;
	return dsv_fail(err, DSV_FORMAT, "%s is %d, but %s is %d", a, a_value, b, b_value);
}

static dsv_code
must_divide(const char *divisor, int d, const char *number, int n, dsv_error *err)
{
	if (n % d == 0)
		return DSV_OK;
	return dsv_fail(err, DSV_FORMAT, "%s: %s %d does not divide %s %d", CONFIG, divisor, d, number,
					n);
}

/* ---- sections ---- */

static dsv_code
read_vision(json_t *obj, dsv_vision_config *v, dsv_error *err)
{
	static const char *const where = CONFIG ": vision_config";
	static const int_field ints[] = {
		{"image_size", 1, MAX_SIDE, offsetof(dsv_vision_config, image_size)},
		{"patch_size", 1, MAX_SIDE, offsetof(dsv_vision_config, patch)},
		{"width", 1, MAX_DIM, offsetof(dsv_vision_config, width)},
		{"layers", 1, MAX_LAYERS, offsetof(dsv_vision_config, layers)},
		{"heads", 1, MAX_HEADS, offsetof(dsv_vision_config, heads)},
	};
	double		mlp_ratio = 4;
	dsv_code	code;

	*v = (dsv_vision_config) {
		.image_size = 384, .patch = 16, .width = 1024, .layers = 24, .heads = 16,
		.mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f},
	};
	if ((code = check_keys(obj, where, vision_keys, true, err)) != DSV_OK ||
		(code = only_string(obj, where, "model_type", "vision", err)) != DSV_OK ||
		(code = only_bool(obj, where, "class_token", false, err)) != DSV_OK ||
		(code = only_bool(obj, where, "ignore_head", true, err)) != DSV_OK ||
		(code = read_ints(obj, where, ints, COUNT(ints), v, err)) != DSV_OK ||
		(code = dsv_json_double(obj, where, "mlp_ratio", 0, 16, &mlp_ratio, err)) != DSV_OK)
		return code;
	v->mlp = (int) (v->width * mlp_ratio);
	v->grid = v->image_size / v->patch;
	if (v->mlp < 1 || v->mlp > MAX_MLP)
		return dsv_fail(err, DSV_FORMAT, "%s: \"mlp_ratio\" gives a width of %d", where, v->mlp);
	if (v->grid < 1 || v->grid > MAX_GRID)
	{
		dsv_fail(err, DSV_FORMAT, "%s: \"patch_size\" %d does not suit \"image_size\" %d", where,
				 v->patch, v->image_size);
		dsv_detail(err, "It gives %d patches a side; 1 to %d are supported.", v->grid, MAX_GRID);
		return DSV_FORMAT;
	}
	return must_divide("\"heads\"", v->heads, "\"width\"", v->width, err);
}

static dsv_code
read_projector(json_t *obj, const dsv_config *config, dsv_projector_config *p, dsv_error *err)
{
	static const char *const where = CONFIG ": projector_config";
	/* the reference builds two linear layers for a depth of 1 too: not guessed at */
	static const int_field ints[] = {
		{"depth", 2, 16, offsetof(dsv_projector_config, depth)},
		{"downsample_ratio", 1, 16, offsetof(dsv_projector_config, ratio)},
		{"n_embed", 1, MAX_DIM, offsetof(dsv_projector_config, out)},
		{"input_dim", 1, MAX_DIM, offsetof(dsv_projector_config, in)},
		{"mlp_ratio", 1, 16, offsetof(dsv_projector_config, inner)},
	};
	dsv_code	code;

	*p = (dsv_projector_config) {.depth = 2, .ratio = 2, .out = 2048, .in = 1152, .inner = 1};
	if ((code = check_keys(obj, where, projector_keys, true, err)) != DSV_OK ||
		(code = only_string(obj, where, "model_type", "mlp_projector", err)) != DSV_OK ||
		(code = only_string(obj, where, "projector_type", "downsample_mlp_gelu", err)) != DSV_OK ||
		(code = only_bool(obj, where, "token_pooling", false, err)) != DSV_OK ||
		(code = read_ints(obj, where, ints, COUNT(ints), p, err)) != DSV_OK ||
		(code = must_be_equal("projector \"input_dim\"", p->in, "vision \"width\"",
							  config->vision.width, err)) != DSV_OK ||
		(code = must_be_equal("projector \"n_embed\"", p->out, "language \"hidden_size\"",
							  config->language.hidden, err)) != DSV_OK)
		return code;
	/* the file gives the two as factors */
	p->in *= p->ratio * p->ratio;
	p->inner *= p->out;
	p->grid = (config->vision.grid + p->ratio - 1) / p->ratio;
	return DSV_OK;
}

/* The sizes of a head: stated for MLA, derived for plain attention. */
static dsv_code
resolve_attention(dsv_language_config *c, const char *where, dsv_error *err)
{
	dsv_code	code;

	if (c->mla)
	{
		/* every head has its own keys, whatever num_key_value_heads says */
		c->kv_heads = c->heads;
		if (c->kv_rank < 1)
			return dsv_fail(err, DSV_FORMAT, "%s: \"use_mla\" needs a \"kv_lora_rank\"", where);
		if (c->nope < 1 || c->rope < 1 || c->v_dim < 1)
			return dsv_fail(err, DSV_FORMAT, "%s: \"use_mla\" needs \"qk_nope_head_dim\", "
							"\"qk_rope_head_dim\" and \"v_head_dim\"", where);
	}
	else
	{
		if (c->kv_heads == 0)
			c->kv_heads = c->heads;
		if ((code = must_divide("\"num_attention_heads\"", c->heads, "\"hidden_size\"", c->hidden,
								err)) != DSV_OK ||
			(code = must_divide("\"num_key_value_heads\"", c->kv_heads, "\"num_attention_heads\"",
								c->heads, err)) != DSV_OK)
			return code;
		c->head_dim = c->hidden / c->heads;
		c->kv_rank = 0;
		c->q_rank = 0;
		c->nope = 0;
		c->rope = c->head_dim;
		c->v_dim = c->head_dim;
		if (c->head_dim > MAX_HEAD)
			return dsv_fail(err, DSV_LIMIT, "%s: heads of %d numbers exceed the limit of %d", where,
							c->head_dim, MAX_HEAD);
	}
	if (c->rope % 2 != 0)
		return dsv_fail(err, DSV_FORMAT, "%s: rotary part of a head has an odd size, %d", where,
						c->rope);
	return DSV_OK;
}

static dsv_code
resolve_experts(dsv_language_config *c, const char *where, dsv_error *err)
{
	if (c->experts == 0)
	{
		c->shared = 0;
		c->top_k = 0;
		c->moe_mlp = 0;
		c->groups = 1;
		c->topk_groups = 1;
		return DSV_OK;
	}
	if (c->top_k < 1 || c->top_k > c->experts)
	{
		dsv_fail(err, DSV_FORMAT, "%s: \"num_experts_per_tok\" does not suit \"n_routed_experts\"",
				 where);
		dsv_detail(err, "It is %d of %d.", c->top_k, c->experts);
		return DSV_FORMAT;
	}
	if (c->groups == 0)
		c->groups = 1;
	if (c->topk_groups == 0)
		c->topk_groups = c->groups;
	if (c->topk_groups > c->groups)
		return dsv_fail(err, DSV_FORMAT, "%s: \"topk_group\" is larger than \"n_group\"", where);
	return must_divide("\"n_group\"", c->groups, "\"n_routed_experts\"", c->experts, err);
}

static dsv_code
read_routing(const json_t *obj, const char *where, dsv_language_config *c, dsv_error *err)
{
	const char *scoring = "softmax";
	const char *topk = "greedy";
	dsv_code	code;

	if ((code = dsv_json_string(obj, where, "scoring_func", &scoring, err)) != DSV_OK ||
		(code = dsv_json_string(obj, where, "topk_method", &topk, err)) != DSV_OK)
		return code;
	if (strcmp(scoring, "softmax") == 0)
		c->scoring = DSV_SCORING_SOFTMAX;
	else if (strcmp(scoring, "sigmoid") == 0)
		c->scoring = DSV_SCORING_SIGMOID;
	else
	{
		refuse_value(where, "scoring_func", err);
		dsv_detail(err, "It is \"%s\"; \"softmax\" and \"sigmoid\" are implemented.", scoring);
		return DSV_UNSUPPORTED;
	}
	/* the class default is misspelt, and means the same */
	if (strcmp(topk, "greedy") == 0 || strcmp(topk, "gready") == 0)
		c->topk = DSV_TOPK_GREEDY;
	else if (strcmp(topk, "noaux_tc") == 0)
		c->topk = DSV_TOPK_NOAUX;
	else
	{
		refuse_value(where, "topk_method", err);
		dsv_detail(err, "It is \"%s\"; \"greedy\" and \"noaux_tc\" are implemented.", topk);
		return DSV_UNSUPPORTED;
	}
	if ((code = dsv_json_bool(obj, where, "norm_topk_prob", &c->norm_topk, err)) != DSV_OK ||
		(code = read_float(obj, where, "routed_scaling_factor", 0, 1000, &c->routed_scale,
						   err)) != DSV_OK)
		return code;
	return resolve_experts(c, where, err);
}

static dsv_code
read_language(json_t *obj, dsv_language_config *c, dsv_error *err)
{
	static const char *const where = CONFIG ": language_config";
#define FIELD(f) offsetof(dsv_language_config, f)
	static const int_field ints[] = {
		{"vocab_size", 1, MAX_VOCAB, FIELD(vocab)},
		{"hidden_size", 1, MAX_DIM, FIELD(hidden)},
		{"intermediate_size", 1, MAX_MLP, FIELD(dense_mlp)},
		{"moe_intermediate_size", 1, MAX_MLP, FIELD(moe_mlp)},
		{"num_hidden_layers", 1, MAX_LAYERS, FIELD(layers)},
		{"num_attention_heads", 1, MAX_HEADS, FIELD(heads)},
		{"num_key_value_heads", 1, MAX_HEADS, FIELD(kv_heads), true},
		{"kv_lora_rank", 0, MAX_DIM, FIELD(kv_rank), true},
		{"q_lora_rank", 0, MAX_DIM, FIELD(q_rank), true},
		{"qk_nope_head_dim", 0, MAX_HEAD, FIELD(nope)},
		{"qk_rope_head_dim", 0, MAX_HEAD, FIELD(rope)},
		{"v_head_dim", 0, MAX_HEAD, FIELD(v_dim)},
		{"n_routed_experts", 0, DSV_MAX_EXPERTS, FIELD(experts), true},
		{"n_shared_experts", 0, 64, FIELD(shared), true},
		{"num_experts_per_tok", 0, 64, FIELD(top_k), true},
		{"n_group", 0, DSV_MAX_EXPERTS, FIELD(groups), true},
		{"topk_group", 0, DSV_MAX_EXPERTS, FIELD(topk_groups), true},
		{"moe_layer_freq", 1, MAX_LAYERS, FIELD(moe_freq)},
		{"first_k_dense_replace", 0, MAX_LAYERS, FIELD(first_dense)},
		{"max_position_embeddings", 1, MAX_CONTEXT, FIELD(context)},
		{"bos_token_id", 0, MAX_VOCAB - 1, FIELD(bos)},
		{"eos_token_id", 0, MAX_VOCAB - 1, FIELD(eos)},
	};
#undef FIELD
	const json_t *scaling = json_object_get(obj, "rope_scaling");
	dsv_code	code;

	*c = (dsv_language_config) {
		.vocab = 102400, .hidden = 4096, .layers = 30, .heads = 32, .kv_heads = 32, .mla = true,
		.kv_rank = 512, .q_rank = 1536, .nope = 128, .rope = 64, .v_dim = 128,
		.dense_mlp = 11008, .moe_mlp = 1407, .moe_freq = 1, .routed_scale = 1,
		.rms_eps = 1e-6f, .latent_eps = 1e-6f, .rope_theta = 10000, .context = 2048,
		.bos = 100000, .eos = 100001,
	};
	if ((code = check_keys(obj, where, language_keys, true, err)) != DSV_OK ||
		(code = only_string(obj, where, "model_type", "deepseek_v2", err)) != DSV_OK ||
		(code = only_string(obj, where, "hidden_act", "silu", err)) != DSV_OK ||
		(code = only_bool(obj, where, "attention_bias", false, err)) != DSV_OK ||
		(code = only_bool(obj, where, "tie_word_embeddings", false, err)) != DSV_OK ||
		(code = dsv_json_bool(obj, where, "use_mla", &c->mla, err)) != DSV_OK ||
		(code = read_ints(obj, where, ints, COUNT(ints), c, err)) != DSV_OK ||
		(code = read_float(obj, where, "rms_norm_eps", 0, 1, &c->rms_eps, err)) != DSV_OK ||
		(code = dsv_json_double(obj, where, "rope_theta", 1, 1e12, &c->rope_theta,
								err)) != DSV_OK)
		return code;
	if (scaling != NULL && !json_is_null(scaling))
		return refuse_value(where, "rope_scaling", err);
	if (c->bos >= c->vocab || c->eos >= c->vocab)
	{
		dsv_fail(err, DSV_FORMAT, "%s: start or end token is outside of the vocabulary", where);
		dsv_detail(err, "The tokens are %d and %d, \"vocab_size\" is %d.", c->bos, c->eos, c->vocab);
		return DSV_FORMAT;
	}
	if ((code = resolve_attention(c, where, err)) != DSV_OK)
		return code;
	return read_routing(obj, where, c, err);
}

/* ---- candidate resolutions ---- */

/* Absent leaves *n alone. */
static dsv_code
read_candidates(const json_t *obj, const char *where, dsv_size *out, int *n, dsv_error *err)
{
	static const char *const key = "candidate_resolutions";
	const json_t *list = json_object_get(obj, key);

	if (list == NULL)
		return DSV_OK;
	if (!json_is_array(list) || json_array_size(list) == 0)
		return dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must be a list of [width, height]", where, key);
	if (json_array_size(list) > DSV_MAX_CANDIDATES)
		return dsv_fail(err, DSV_LIMIT, "%s: \"%s\" has more than %d entries", where, key,
						DSV_MAX_CANDIDATES);
	for (size_t i = 0; i < json_array_size(list); i++)
	{
		const json_t *pair = json_array_get(list, i);
		json_int_t	side[2];

		for (size_t j = 0; j < 2; j++)
		{
			const json_t *value = json_array_get(pair, j);

			side[j] = json_is_integer(value) ? json_integer_value(value) : 0;
			if (json_array_size(pair) != 2 || side[j] < 1 || side[j] > MAX_SIDE * MAX_TILES)
				return dsv_fail(err, DSV_FORMAT, "%s: entry %zu of \"%s\" is not [width, height]",
								where, i + 1, key);
		}
		out[i] = (dsv_size) {(int) side[0], (int) side[1]};
	}
	*n = (int) json_array_size(list);
	return DSV_OK;
}

static bool
same_candidates(const dsv_size *a, int na, const dsv_size *b, int nb)
{
	if (na != nb)
		return false;
	for (int i = 0; i < na; i++)
		if (a[i].w != b[i].w || a[i].h != b[i].h)
			return false;
	return true;
}

/* Whole tiles only; the first one is a single tile, since the reference takes the side of
 * the global view from there. */
static dsv_code
check_candidates(dsv_config *config, dsv_error *err)
{
	int			side = config->vision.image_size;

	config->max_tiles = 0;
	for (int i = 0; i < config->ncandidates; i++)
	{
		dsv_size	c = config->candidates[i];
		int64_t		tiles = (int64_t) (c.w / side) * (c.h / side);

		if (c.w % side != 0 || c.h % side != 0)
		{
			dsv_fail(err, DSV_FORMAT, "candidate resolution %d x %d is not made of whole tiles",
					 c.w, c.h);
			dsv_detail(err, "A tile is %d pixels wide and high.", side);
			return DSV_FORMAT;
		}
		if (tiles > MAX_TILES)
			return dsv_fail(err, DSV_LIMIT, "candidate resolution %d x %d has more than %d tiles",
							c.w, c.h, MAX_TILES);
		if (tiles > config->max_tiles)
			config->max_tiles = (int) tiles;
	}
	return must_be_equal("width of the first candidate resolution", config->candidates[0].w,
						 "\"image_size\"", side, err);
}

/* ---- files ---- */

static dsv_code
read_config(json_t *root, dsv_config *out, dsv_error *err)
{
	json_t	   *vision;
	json_t	   *projector;
	json_t	   *language;
	dsv_code	code;

	if (!json_is_object(root))
		return dsv_fail(err, DSV_FORMAT, "%s is not a JSON object", CONFIG);
	if (json_object_get(root, "model_type") == NULL)
		return dsv_fail(err, DSV_FORMAT, "%s: \"model_type\" is missing", CONFIG);
	if ((code = only_string(root, CONFIG, "model_type", "deepseek_vl_v2", err)) != DSV_OK ||
		(code = check_keys(root, CONFIG, top_keys, true, err)) != DSV_OK ||
		(code = only_string(root, CONFIG, "tile_tag", "2D", err)) != DSV_OK ||
		(code = only_string(root, CONFIG, "global_view_pos", "head", err)) != DSV_OK ||
		(code = get_section(root, "vision_config", &vision, err)) != DSV_OK ||
		(code = get_section(root, "projector_config", &projector, err)) != DSV_OK ||
		(code = get_section(root, "language_config", &language, err)) != DSV_OK ||
		(code = read_vision(vision, &out->vision, err)) != DSV_OK ||
		(code = read_language(language, &out->language, err)) != DSV_OK ||
		(code = read_projector(projector, out, &out->projector, err)) != DSV_OK)
		return code;
	return read_candidates(root, CONFIG, out->candidates, &out->ncandidates, err);
}

/* Three numbers, one a channel. */
static dsv_code
read_channels(const json_t *root, const char *key, double min, float out[3], dsv_error *err)
{
	const json_t *list = json_object_get(root, key);

	if (list == NULL)
		return DSV_OK;
	for (size_t i = 0; i < 3; i++)
	{
		const json_t *value = json_array_get(list, i);
		double		x = json_is_number(value) ? json_number_value(value) : -1;

		if (json_array_size(list) != 3 || !(x >= min && x <= 1))
			return dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must be three numbers from %g to 1",
							PROCESSOR, key, min);
		out[i] = (float) x;
	}
	return DSV_OK;
}

static dsv_code
read_processor(json_t *root, dsv_config *out, dsv_error *err)
{
	int64_t		patch = out->vision.patch;
	int64_t		ratio = out->projector.ratio;
	dsv_size	candidates[DSV_MAX_CANDIDATES];
	int			n = 0;
	dsv_code	code;

	if (!json_is_object(root))
		return dsv_fail(err, DSV_FORMAT, "%s is not a JSON object", PROCESSOR);
	if ((code = check_keys(root, PROCESSOR, processor_keys, false, err)) != DSV_OK ||
		(code = only_bool(root, PROCESSOR, "normalize", true, err)) != DSV_OK ||
		(code = only_string(root, PROCESSOR, "image_token", "<image>", err)) != DSV_OK ||
		(code = only_string(root, PROCESSOR, "sft_format", "deepseek", err)) != DSV_OK ||
		(code = dsv_json_int(root, PROCESSOR, "patch_size", 1, MAX_SIDE, &patch, err)) != DSV_OK ||
		(code = dsv_json_int(root, PROCESSOR, "downsample_ratio", 1, 16, &ratio, err)) != DSV_OK ||
		(code = must_be_equal("the processor's \"patch_size\"", (int) patch,
							  "that of the vision tower", out->vision.patch, err)) != DSV_OK ||
		(code = must_be_equal("the processor's \"downsample_ratio\"", (int) ratio,
							  "that of the projector", out->projector.ratio, err)) != DSV_OK ||
		(code = read_channels(root, "image_mean", 0, out->vision.mean, err)) != DSV_OK ||
		(code = read_channels(root, "image_std", 1e-3, out->vision.std, err)) != DSV_OK ||
		(code = read_candidates(root, PROCESSOR, candidates, &n, err)) != DSV_OK)
		return code;
	if (n == 0)
		return DSV_OK;
	if (out->ncandidates > 0 && !same_candidates(out->candidates, out->ncandidates, candidates, n))
		return dsv_fail(err, DSV_FORMAT, "\"candidate_resolutions\" of %s and %s differ", CONFIG,
						PROCESSOR);
	memcpy(out->candidates, candidates, n * sizeof(candidates[0]));
	out->ncandidates = n;
	return DSV_OK;
}

/* One file through its reader.  absent: where an optional file's absence is noted. */
static dsv_code
load(const char *dir, const char *name, dsv_code (*reader) (json_t *, dsv_config *, dsv_error *),
	 bool *absent, dsv_config *out, dsv_error *err)
{
	char		path[DSV_PATH_MAX];
	json_t	   *root = NULL;
	dsv_code	code = dsv_path_join(path, dir, name, err);

	if (code == DSV_OK)
		code = dsv_json_load_file(path, MAX_JSON_BYTES, &root, err);
	if (code == DSV_OK)
		code = reader(root, out, err);
	else if (absent != NULL)
		*absent = code == DSV_IO && err->sys_errno == ENOENT;
	json_decref(root);
	return code;
}

static dsv_code
finish(dsv_config *out, dsv_error *err)
{
	if (out->ncandidates == 0)
	{
		out->candidates[0] = (dsv_size) {384, 384};
		out->ncandidates = 1;
	}
	return check_candidates(out, err);
}

static dsv_code
parse(const char *text, const char *name, dsv_code (*reader) (json_t *, dsv_config *, dsv_error *),
	  dsv_config *out, dsv_error *err)
{
	json_t	   *root = NULL;
	dsv_code	code = dsv_json_load_bytes(name, text, strlen(text), &root, err);

	if (code == DSV_OK)
		code = reader(root, out, err);
	json_decref(root);
	return code;
}

dsv_code
dsv_config_parse(const char *config, const char *processor, dsv_config *out, dsv_error *err)
{
	dsv_code	code;

	memset(out, 0, sizeof(*out));
	code = parse(config, CONFIG, read_config, out, err);
	if (code == DSV_OK && processor != NULL)
		code = parse(processor, PROCESSOR, read_processor, out, err);
	return code == DSV_OK ? finish(out, err) : code;
}

dsv_code
dsv_config_load(const char *dir, dsv_config *out, dsv_error *err)
{
	dsv_error	local;
	bool		absent = false;
	dsv_code	code;

	if (err == NULL)
		err = &local;
	memset(out, 0, sizeof(*out));
	code = load(dir, CONFIG, read_config, NULL, out, err);
	if (code != DSV_OK)
		return code;
	code = load(dir, PROCESSOR, read_processor, &absent, out, err);
	if (code != DSV_OK && !absent)
		return code;
	return finish(out, err);
}
