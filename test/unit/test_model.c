/*
 * test_model.c
 *		Opening model folders: tensors bound, tokenizer and prompts in place, and a clear
 *		error for every way in which a folder can be wrong.
 */
#include <sys/mman.h>

#include "files_util.h"
#include "model.h"

#define TINY "test/golden/tiny-like"
#define SMALL "test/golden/small-like"
#define BASE "test/golden/base-like"
#define NANO "models/nano"
#define PUBLISHED_BASE "test/golden/model/base"
#define INDEX "model.safetensors.index.json"
#define WEIGHTS "model.safetensors"

static dsv_model *
open_model(const char *dir)
{
	dsv_error	err = {0};
	dsv_model  *model;

	check_ok(dsv_model_open(dir, NULL, &model, &err), &err);
	return model;
}

static void
check_refused(const char *what, const temp_dir *t, dsv_code want, const char *piece)
{
	dsv_error	err = {0};
	dsv_model  *model;

	check_error(what, dsv_model_open(t->path, NULL, &model, &err), &err, want, piece);
	assert_null(model);
}

/* A copy of base-like. */
static temp_dir
copy_base(void)
{
	temp_dir	t = temp_make();

	temp_copy(&t, BASE, "config.json");
	temp_copy(&t, BASE, "processor_config.json");
	temp_copy(&t, BASE, "tokenizer.json");
	temp_copy(&t, BASE, WEIGHTS);
	return t;
}

/* ---- folders as they should be ---- */

static void
test_golden_models(void **state)
{
	static const struct
	{
		const char *dir;
		const char *name;
		int			vocab;
		int			hidden;
		int			vision_layers;
		int			experts;
		bool		mla;
		int32_t		image;
		int			bos;
		int64_t		parameters;
	}			models[] = {
		{TINY, "tiny-like", 1152, 96, 2, 12, false, 1077, 0, 1465460},
		{SMALL "//", "small-like", 1024, 128, 3, 16, true, 1003, 1000, 1784296},
		{BASE, "base-like", 1024, 64, 3, 16, true, 954, 0, 1831887},
	};

	for (int i = 0; i < 3; i++)
	{
		dsv_model  *model = open_model(models[i].dir);
		const dsv_model_info *info = dsv_model_get_info(model);

		assert_string_equal(info->name, models[i].name);
		assert_null(info->notice);
		assert_string_equal(info->dtype, "bf16");
		assert_int_equal(info->image_size, 384);
		assert_int_equal(info->max_tiles, 9);
		assert_int_equal(info->context, 4096);
		assert_int_equal(info->vocab, models[i].vocab);
		assert_int_equal(info->hidden, models[i].hidden);
		assert_int_equal(info->layers, 3);
		assert_int_equal(info->vision_layers, models[i].vision_layers);
		assert_int_equal(info->experts, models[i].experts);
		assert_int_equal(info->mla, models[i].mla);
		assert_int_equal(info->parameters, models[i].parameters);
		assert_in_range(info->bytes, 2 * info->parameters, 3 * info->parameters);
		assert_int_equal(strlen(info->digest), 64);
		assert_int_equal(model->special.image, models[i].image);
		assert_int_equal(model->special.bos, models[i].bos);
		assert_int_equal(model->special.eos, models[i].bos + 1);
		assert_string_equal(dsv_model_task_prompt(model, DSV_TASK_OCR),
							"Read all the text in the image.");
		assert_string_equal(dsv_model_task_prompt(model, DSV_TASK_GROUND), "<|ref|>{}<|/ref|>.");
		assert_null(dsv_model_task_prompt(model, DSV_TASK_COUNT));
		dsv_model_close(model);
	}
}

/* What nano can do is its folder's to say. */
static void
test_nano(void **state)
{
	dsv_model  *model = open_model(NANO);
	const dsv_model_info *info = dsv_model_get_info(model);

	assert_string_equal(info->name, "nano");
	assert_non_null(info->notice);
	assert_non_null(dsv_model_task_prompt(model, DSV_TASK_OCR));
	assert_string_equal(dsv_model_task_prompt(model, DSV_TASK_ASK), "{}");
	dsv_model_close(model);
}

/* ---- tensors ---- */

static const dsv_tensor *
find(const dsv_model *model, const char *name)
{
	const dsv_tensor *t = dsv_safetensors_find(model->files, name);

	assert_non_null(t);
	return t;
}

static void
check_vector(const dsv_model *model, const float *v, const char *name)
{
	const dsv_tensor *t = find(model, name);
	const uint16_t *bits = t->data;

	for (int64_t i = 0; i < t->count; i++)
	{
		uint32_t	wide;

		memcpy(&wide, &v[i], sizeof(wide));
		assert_int_equal(wide, (uint32_t) bits[i] << 16);
	}
}

static void
check_matrix(const dsv_model *model, const dsv_matrix *m, int rows, int cols, const char *name)
{
	assert_ptr_equal(m->data, find(model, name)->data);
	assert_int_equal(m->dtype, KERN_BF16);
	assert_int_equal(m->rows, rows);
	assert_int_equal(m->cols, cols);
}

static void
test_bound_base(void **state)
{
	dsv_model  *model = open_model(BASE);
	const dsv_weights *w = &model->weights;
	const dsv_layer *l = &w->layers[2];

	check_matrix(model, &w->patch, 72, 588, "vision.patch_embed.proj.weight");
	check_vector(model, w->patch_bias, "vision.patch_embed.proj.bias");
	check_matrix(model, &w->pos_embed, 729, 72, "vision.pos_embed");
	check_matrix(model, &w->blocks[2].qkv.w, 216, 72, "vision.blocks.2.attn.qkv.weight");
	check_vector(model, w->blocks[2].qkv.bias, "vision.blocks.2.attn.qkv.bias");
	check_matrix(model, &w->blocks[0].fc2.w, 72, 269, "vision.blocks.0.mlp.fc2.weight");
	check_vector(model, w->blocks[1].norm2.b, "vision.blocks.1.norm2.bias");
	check_vector(model, w->vision_norm.w, "vision.norm.weight");
	check_matrix(model, &w->projector[0].w, 64, 288, "projector.layers.0.weight");
	check_matrix(model, &w->projector[1].w, 64, 64, "projector.layers.2.weight");
	check_vector(model, w->projector[1].bias, "projector.layers.2.bias");
	check_vector(model, w->image_newline, "image_newline");
	check_vector(model, w->view_separator, "view_seperator");
	check_matrix(model, &w->embed, 1024, 64, "language.model.embed_tokens.weight");
	check_matrix(model, &w->lm_head, 1024, 64, "language.lm_head.weight");
	check_vector(model, w->final_norm, "language.model.norm.weight");

	assert_false(w->layers[0].moe);
	check_matrix(model, &w->layers[0].mlp.gate, 240, 64,
				 "language.model.layers.0.mlp.gate_proj.weight");
	assert_true(l->moe);
	check_vector(model, l->input_norm, "language.model.layers.2.input_layernorm.weight");
	check_vector(model, l->post_norm, "language.model.layers.2.post_attention_layernorm.weight");
	check_matrix(model, &l->q.w, 384, 64, "language.model.layers.2.self_attn.q_proj.weight");
	assert_null(l->q.bias);
	check_matrix(model, &l->kv_a.w, 576, 64,
				 "language.model.layers.2.self_attn.kv_a_proj_with_mqa.weight");
	check_vector(model, l->kv_a_norm, "language.model.layers.2.self_attn.kv_a_layernorm.weight");
	check_matrix(model, &l->kv_b, 512, 512, "language.model.layers.2.self_attn.kv_b_proj.weight");
	check_matrix(model, &l->o.w, 64, 256, "language.model.layers.2.self_attn.o_proj.weight");
	check_matrix(model, &l->router, 16, 64, "language.model.layers.2.mlp.gate.weight");
	check_vector(model, l->router_bias, "language.model.layers.2.mlp.gate.e_score_correction_bias");
	check_matrix(model, &l->experts[15].down, 64, 48,
				 "language.model.layers.2.mlp.experts.15.down_proj.weight");
	check_matrix(model, &l->mlp.up, 96, 64,
				 "language.model.layers.2.mlp.shared_experts.up_proj.weight");
	dsv_model_close(model);
}

static void
test_bound_tiny(void **state)
{
	dsv_model  *model = open_model(TINY);
	const dsv_layer *l = &model->weights.layers[1];

	check_matrix(model, &l->q.w, 96, 96, "language.model.layers.1.self_attn.q_proj.weight");
	check_matrix(model, &l->k.w, 96, 96, "language.model.layers.1.self_attn.k_proj.weight");
	check_matrix(model, &l->v.w, 96, 96, "language.model.layers.1.self_attn.v_proj.weight");
	check_matrix(model, &l->o.w, 96, 96, "language.model.layers.1.self_attn.o_proj.weight");
	assert_null(l->router_bias);
	assert_null(l->kv_b.data);
	check_matrix(model, &l->experts[11].gate, 40, 96,
				 "language.model.layers.1.mlp.experts.11.gate_proj.weight");
	dsv_model_close(model);
}

/* ---- other float types ---- */

/* Base-like with each tensor for which the name does not begin with `keep` in another type. */
static void
put_converted(const temp_dir *t, kern_dtype dtype, const char *keep)
{
	static const char *const names[] = {[KERN_F32] = "F32", [KERN_F16] = "F16"};
	size_t		size = kern_dtype_size(dtype);
	json_t	   *header = json_object();
	dsv_error	err = {0};
	dsv_safetensors *st;
	char	   *text;
	char	   *data;
	size_t		len;
	size_t		at = 0;

	check_ok(dsv_safetensors_open_dir(BASE, NULL, &st, &err), &err);
	data = malloc((size_t) 32 << 20);
	/* the converted ones first: what is left needs less alignment */
	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < dsv_safetensors_count(st); i++)
		{
			const dsv_tensor *from = dsv_safetensors_at(st, i);
			bool		kept = strncmp(from->name, keep, strlen(keep)) == 0;
			size_t		bytes = (size_t) from->count * (kept ? 2 : size);
			json_t	   *shape = json_array();
			float	   *wide;

			if (kept != (pass == 1))
			{
				json_decref(shape);
				continue;
			}
			for (int d = 0; d < from->ndim; d++)
				json_array_append_new(shape, json_integer(from->shape[d]));
			json_object_set_new(header, from->name,
								json_pack("{s:s,s:o,s:[I,I]}", "dtype", kept ? "BF16" : names[dtype],
										  "shape", shape, "data_offsets", (json_int_t) at,
										  (json_int_t) (at + bytes)));
			if (kept)
				memcpy(data + at, from->data, bytes);
			else
			{
				wide = malloc((size_t) from->count * sizeof(float));
				kern->widen(from->data, KERN_BF16, wide, (size_t) from->count);
				kern->narrow(wide, dtype, data + at, (size_t) from->count);
				free(wide);
			}
			at += bytes;
		}
	}
	text = json_dumps(header, JSON_COMPACT);
	len = (strlen(text) + 7) / 8 * 8;
	{
		char	   *file = malloc(8 + len + at);

		memset(file, ' ', 8 + len);
		for (int i = 0; i < 8; i++)
			file[i] = (char) ((uint64_t) len >> (8 * i));
		memcpy(file + 8, text, strlen(text));
		memcpy(file + 8 + len, data, at);
		temp_put(t, WEIGHTS, file, 8 + len + at);
		free(file);
	}
	free(text);
	free(data);
	json_decref(header);
	dsv_safetensors_close(st);
}

/* F32 holds every bf16 number; F16 holds those of a usual size to three digits. */
static void
test_other_types(void **state)
{
	static const struct
	{
		kern_dtype	dtype;
		const char *keep;
		const char *name;
		double		tolerance;
	}			cases[] = {
		{KERN_F32, "-", "f32", 0},
		{KERN_F16, "-", "f16", 1e-6},
		{KERN_F32, "language.model.layers.1", "mixed", 0},
	};
	dsv_model  *original = open_model(BASE);

	for (int i = 0; i < 3; i++)
	{
		temp_dir	t = copy_base();
		dsv_model  *model;
		const dsv_matrix *m;
		float		row[64];
		float		want[64];

		put_converted(&t, cases[i].dtype, cases[i].keep);
		model = open_model(t.path);
		assert_string_equal(dsv_model_get_info(model)->dtype, cases[i].name);
		assert_int_equal(model->weights.parameters, original->weights.parameters);
		m = &model->weights.layers[2].q.w;
		assert_int_equal(m->dtype, cases[i].dtype);
		kern->widen(m->data, m->dtype, row, 64);
		kern->widen(original->weights.layers[2].q.w.data, KERN_BF16, want, 64);
		for (int j = 0; j < 64; j++)
		{
			double		close = cases[i].tolerance;

			assert_true(row[j] - want[j] <= close && want[j] - row[j] <= close);
			assert_true(model->weights.final_norm[j] - original->weights.final_norm[j] <= close);
			assert_true(original->weights.final_norm[j] - model->weights.final_norm[j] <= close);
		}
		dsv_model_close(model);
		temp_remove(&t);
	}
	dsv_model_close(original);
}

/* ---- wrong tensors ---- */

/* Base-like with one header entry renamed or changed; the data stays. */
static void
put_edited(const temp_dir *t, const char *name, const char *new_name, const char *dtype,
		   const char *shape)
{
	size_t		len;
	char	   *file = slurp(BASE "/" WEIGHTS, &len);
	size_t		old = 0;
	json_t	   *header;
	json_t	   *entry;
	char	   *text;
	char	   *out;
	size_t		header_len;

	for (int i = 7; i >= 0; i--)
		old = old << 8 | (unsigned char) file[i];
	header = json_loadb(file + 8, old, 0, NULL);
	entry = json_object_get(header, name);
	assert_non_null(entry);
	json_incref(entry);
	json_object_del(header, name);
	if (dtype != NULL)
		json_object_set_new(entry, "dtype", json_string(dtype));
	if (shape != NULL)
		json_object_set_new(entry, "shape", json_loads(shape, 0, NULL));
	json_object_set_new(header, new_name, entry);
	text = json_dumps(header, JSON_COMPACT);
	header_len = (strlen(text) + 7) / 8 * 8;
	out = malloc(8 + header_len + len - 8 - old);
	memset(out, ' ', 8 + header_len);
	for (int i = 0; i < 8; i++)
		out[i] = (char) ((uint64_t) header_len >> (8 * i));
	memcpy(out + 8, text, strlen(text));
	memcpy(out + 8 + header_len, file + 8 + old, len - 8 - old);
	temp_put(t, WEIGHTS, out, 8 + header_len + len - 8 - old);
	free(out);
	free(text);
	json_decref(header);
	free(file);
}

static void
test_wrong_tensors(void **state)
{
	static const struct
	{
		const char *name;
		const char *new_name;
		const char *dtype;
		const char *shape;
		const char *piece;
	}			cases[] = {
		{"image_newline", "image_newlines", NULL, NULL, "tensor \"image_newline\" is missing"},
		{"language.lm_head.weight", "lm_head.weight", NULL, NULL,
		"tensor \"language.lm_head.weight\" is missing"},
		{"language.model.layers.2.mlp.experts.15.up_proj.weight",
		"language.model.layers.2.mlp.experts.16.up_proj.weight", NULL, NULL,
		"experts.15.up_proj.weight\" is missing"},
		{"language.model.layers.1.mlp.gate.e_score_correction_bias", "x", NULL, NULL,
		"e_score_correction_bias\" is missing"},
		{"vision.attn_pool.q.bias", "vision.attn_poll.q.bias", NULL, NULL,
		"tensor \"vision.attn_poll.q.bias\" is not part of the model"},
		{"language.model.norm.weight", "language.model.norm.weight", "U8", "[128]", "is of type U8"},
		{"language.model.norm.weight", "language.model.norm.weight", "F32", "[32]",
		"It is [32]; config.json asks for [64]."},
		{"language.model.norm.weight", "language.model.norm.weight", NULL, "[1,64]",
		"It is [1, 64]; config.json asks for [64]."},
		{"language.model.layers.0.mlp.down_proj.weight",
		"language.model.layers.0.mlp.down_proj.weight", NULL, "[240,64]",
		"It is [240, 64]; config.json asks for [64, 240]."},
		{"vision.pos_embed", "vision.pos_embed", NULL, "[729,72]",
		"It is [729, 72]; config.json asks for [1, 729, 72]."},
		{"vision.patch_embed.proj.weight", "vision.patch_embed.proj.weight", NULL, "[72,588]",
		"config.json asks for [72, 3, 14, 14]."},
	};
	temp_dir	t = copy_base();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		put_edited(&t, cases[i].name, cases[i].new_name, cases[i].dtype, cases[i].shape);
		check_refused(cases[i].name, &t, DSV_FORMAT, cases[i].piece);
	}
	/* the pooling head may be there or not, and be anything */
	put_edited(&t, "vision.attn_pool.q.bias", "vision.attn_pool.other", "U8", "[144]");
	dsv_model_close(open_model(t.path));
	temp_remove(&t);
}

static void
test_missing_files(void **state)
{
	static const char *const names[] = {"config.json", "tokenizer.json", WEIGHTS};
	temp_dir	t = copy_base();

	for (int i = 0; i < 3; i++)
	{
		remove(temp_file(&t, names[i]));
		check_refused(names[i], &t, DSV_IO, i < 2 ? names[i] : "no weights");
		temp_copy(&t, BASE, names[i]);
	}
	remove(temp_file(&t, "processor_config.json"));
	dsv_model_close(open_model(t.path));
	temp_remove(&t);

	t = temp_make();
	temp_copy(&t, SMALL, "config.json");
	temp_copy(&t, SMALL, "tokenizer.json");
	temp_copy(&t, SMALL, INDEX);
	temp_copy(&t, SMALL, "model-00001-of-000003.safetensors");
	temp_copy(&t, SMALL, "model-00003-of-000003.safetensors");
	check_refused("missing shard", &t, DSV_IO, "model-00002-of-000003.safetensors");
	temp_copy(&t, SMALL, "model-00002-of-000003.safetensors");
	dsv_model_close(open_model(t.path));
	temp_remove(&t);
}

/* Tokens beyond the embedding's rows; no image token; no end token. */
static void
test_wrong_tokenizer(void **state)
{
	temp_dir	t = copy_base();
	json_t	   *tokenizer = load_json(BASE "/tokenizer.json");
	json_t	   *config = load_json(BASE "/config.json");
	json_t	   *added = json_object_get(tokenizer, "added_tokens");

	temp_copy(&t, TINY, "tokenizer.json");
	check_refused("large", &t, DSV_FORMAT, "tokens up to 1084, \"vocab_size\" is 1024");

	for (size_t i = 0; i < json_array_size(added); i++)
	{
		json_t	   *token = json_array_get(added, i);

		if (strcmp(json_string_value(json_object_get(token, "content")), "<image>") == 0)
			json_object_set_new(token, "content", json_string("<imago>"));
	}
	temp_put_json(&t, "tokenizer.json", tokenizer);
	check_refused("no image token", &t, DSV_FORMAT, "no token \"<image>\"");

	temp_copy(&t, BASE, "tokenizer.json");
	json_object_set_new(json_object_get(config, "language_config"), "eos_token_id",
						json_integer(1000));
	temp_put_json(&t, "config.json", config);
	check_refused("no end token", &t, DSV_FORMAT, "start or end token");
	json_decref(config);
	json_decref(tokenizer);
	temp_remove(&t);
}

/* ---- the real list of Base's tensors ---- */

typedef struct rule
{
	const char *suffix;
	int			ndim;
	int			shape[4];
} rule;

/* Shapes of Base by the end of the name; the first that fits counts. */
static const rule rules[] = {
	{"image_newline", 1, {2560}}, {"view_seperator", 1, {2560}},
	{"projector.layers.0.weight", 2, {2560, 4608}}, {"projector.layers.0.bias", 1, {2560}},
	{"projector.layers.2.weight", 2, {2560, 2560}}, {"projector.layers.2.bias", 1, {2560}},
	{"patch_embed.proj.weight", 4, {1152, 3, 14, 14}}, {"patch_embed.proj.bias", 1, {1152}},
	{"vision.pos_embed", 3, {1, 729, 1152}}, {"attn_pool.latent", 3, {1, 1, 1152}},
	{"attn_pool.q.weight", 2, {1152, 1152}}, {"attn_pool.q.bias", 1, {1152}},
	{"attn_pool.kv.weight", 2, {2304, 1152}}, {"attn_pool.kv.bias", 1, {2304}},
	{"attn_pool.proj.weight", 2, {1152, 1152}}, {"attn_pool.proj.bias", 1, {1152}},
	{"attn.qkv.weight", 2, {3456, 1152}}, {"attn.qkv.bias", 1, {3456}},
	{"attn.proj.weight", 2, {1152, 1152}}, {"attn.proj.bias", 1, {1152}},
	{"mlp.fc1.weight", 2, {4304, 1152}}, {"mlp.fc1.bias", 1, {4304}},
	{"mlp.fc2.weight", 2, {1152, 4304}}, {"mlp.fc2.bias", 1, {1152}},
	{"embed_tokens.weight", 2, {129280, 2560}}, {"lm_head.weight", 2, {129280, 2560}},
	{"kv_a_layernorm.weight", 1, {512}}, {"layernorm.weight", 1, {2560}},
	{"model.norm.weight", 1, {2560}},
	{"self_attn.q_proj.weight", 2, {6144, 2560}},
	{"self_attn.kv_a_proj_with_mqa.weight", 2, {576, 2560}},
	{"self_attn.kv_b_proj.weight", 2, {8192, 512}}, {"self_attn.o_proj.weight", 2, {2560, 4096}},
	{"layers.0.mlp.gate_proj.weight", 2, {12288, 2560}},
	{"layers.0.mlp.up_proj.weight", 2, {12288, 2560}},
	{"layers.0.mlp.down_proj.weight", 2, {2560, 12288}},
	{"mlp.gate.weight", 2, {72, 2560}}, {"e_score_correction_bias", 1, {72}},
	{"shared_experts.gate_proj.weight", 2, {3072, 2560}},
	{"shared_experts.up_proj.weight", 2, {3072, 2560}},
	{"shared_experts.down_proj.weight", 2, {2560, 3072}},
	{"gate_proj.weight", 2, {1536, 2560}}, {"up_proj.weight", 2, {1536, 2560}},
	{"down_proj.weight", 2, {2560, 1536}},
	/* what is left: norm, norm1, norm2 of the vision tower and of the pooling head */
	{".weight", 1, {1152}}, {".bias", 1, {1152}},
};

static const rule *
find_rule(const char *name)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
	{
		size_t		n = strlen(rules[i].suffix);

		if (strlen(name) >= n && strcmp(name + strlen(name) - n, rules[i].suffix) == 0)
			return &rules[i];
	}
	fail_msg("no shape for %s", name);
	return NULL;
}

/* One shard of Base with holes for data: takes no room on the disk.  Returns its bytes of
 * data. */
static int64_t
put_sparse_shard(const temp_dir *t, const json_t *weight_map, const char *file)
{
	json_t	   *header = json_object();
	json_int_t	at = 0;
	const char *name;
	json_t	   *value;
	char	   *text;
	char	   *padded;
	size_t		len;

	json_object_foreach((json_t *) weight_map, name, value)
	{
		const rule *r = find_rule(name);
		json_t	   *shape = json_array();
		json_int_t	bytes = 2;

		if (strcmp(json_string_value(value), file) == 0)
		{
			for (int i = 0; i < r->ndim; i++)
			{
				json_array_append_new(shape, json_integer(r->shape[i]));
				bytes *= r->shape[i];
			}
			json_object_set_new(header, name,
								json_pack("{s:s,s:O,s:[I,I]}", "dtype", "BF16", "shape", shape,
										  "data_offsets", at, at + bytes));
			at += bytes;
		}
		json_decref(shape);
	}
	text = json_dumps(header, JSON_COMPACT);
	len = (strlen(text) + 7) / 8 * 8;
	padded = malloc(len + 1);
	snprintf(padded, len + 1, "%-*s", (int) len, text);
	temp_put_safetensors(t, file, padded, 0);
	if (truncate(temp_file(t, file), (off_t) (8 + len) + at) != 0)
		at = -1;
	free(padded);
	free(text);
	json_decref(header);
	return at;
}

static void
test_published_names(void **state)
{
	static dsv_config config;
	temp_dir	t = temp_make();
	json_t	   *index = load_json(PUBLISHED_BASE "/" INDEX);
	json_t	   *weight_map = json_object_get(index, "weight_map");
	json_t	   *metadata = json_object_get(index, "metadata");
	dsv_error	err = {0};
	int64_t		total = 0;
	int64_t		pool = 0;
	const void *base;
	size_t		len;
	dsv_safetensors *st;
	dsv_weights weights;

	for (int i = 1; i <= 8 && total >= 0; i++)
	{
		char		file[64];
		int64_t		bytes;

		snprintf(file, sizeof(file), "model-%05d-of-%06d.safetensors", i, 8);
		bytes = put_sparse_shard(&t, weight_map, file);
		total = bytes < 0 ? -1 : total + bytes;
	}
	if (total < 0)
	{
		/* a file system without files of this size */
		json_decref(index);
		temp_remove(&t);
		skip();
	}
	assert_int_equal(total, json_integer_value(json_object_get(metadata, "total_size")));
	temp_copy(&t, PUBLISHED_BASE, INDEX);
	check_ok(dsv_config_load(PUBLISHED_BASE, &config, &err), &err);
	check_ok(dsv_safetensors_open_dir(t.path, NULL, &st, &err), &err);
	assert_int_equal(dsv_safetensors_count(st), 6973);
	/* no reading ahead in holes */
	for (int i = 0; dsv_safetensors_mapping(st, i, &base, &len); i++)
		assert_int_equal(madvise((void *) base, len, MADV_RANDOM), 0);
	for (int i = 0; i < dsv_safetensors_count(st); i++)
		if (strstr(dsv_safetensors_at(st, i)->name, "attn_pool") != NULL)
			pool += dsv_safetensors_at(st, i)->count;
	check_ok(dsv_weights_bind(st, &config, NULL, &weights, &err), &err);
	assert_int_equal(weights.parameters, 27480134248 - pool);
	assert_int_equal(weights.layers[29].kv_b.rows, 8192);
	dsv_weights_free(&weights, NULL);
	dsv_safetensors_close(st);
	json_decref(index);
	temp_remove(&t);
}

/* ---- dsvl2.json ---- */

static void
test_own_file(void **state)
{
	temp_dir	t = copy_base();
	dsv_model  *model;

	temp_put_text(&t, "dsvl2.json",
				  "{\"name\":\"my scans\",\"notice\":\"It reads.\",\"tasks\":{\"ocr\":\"Free OCR.\","
				  "\"ask\":\"Q: {} A:\",\"describe\":null}}");
	model = open_model(t.path);
	assert_string_equal(dsv_model_get_info(model)->name, "my scans");
	assert_string_equal(dsv_model_get_info(model)->notice, "It reads.");
	assert_string_equal(dsv_model_task_prompt(model, DSV_TASK_OCR), "Free OCR.");
	assert_string_equal(dsv_model_task_prompt(model, DSV_TASK_ASK), "Q: {} A:");
	assert_null(dsv_model_task_prompt(model, DSV_TASK_DESCRIBE));
	assert_null(dsv_model_task_prompt(model, DSV_TASK_GROUND));
	assert_string_equal(dsv_model_get_info(model)->answers.yes, "Yes");
	assert_true(dsv_model_get_info(model)->answers.extract_by_schema);
	dsv_model_close(model);

	temp_put_text(&t, "dsvl2.json", "{\"answers\":{\"prefix\":\"\",\"no\":\"nein\",\"extract_by\":\"names\"}}");
	model = open_model(t.path);
	assert_string_equal(dsv_model_get_info(model)->answers.prefix, "");
	assert_string_equal(dsv_model_get_info(model)->answers.yes, "Yes");
	assert_string_equal(dsv_model_get_info(model)->answers.no, "nein");
	assert_false(dsv_model_get_info(model)->answers.extract_by_schema);
	dsv_model_close(model);

	temp_put_text(&t, "dsvl2.json", "{\"name\":\"x\"}");
	model = open_model(t.path);
	assert_string_equal(dsv_model_get_info(model)->name, "x");
	assert_null(dsv_model_get_info(model)->notice);
	assert_string_equal(dsv_model_task_prompt(model, DSV_TASK_GROUND_ANSWER), "<|grounding|>{}");
	dsv_model_close(model);
	temp_remove(&t);
}

static void
test_wrong_own_file(void **state)
{
	static const struct
	{
		const char *text;
		dsv_code	code;
		const char *piece;
	}			cases[] = {
		{"{", DSV_FORMAT, "dsvl2.json is not valid JSON"},
		{"[]", DSV_FORMAT, "dsvl2.json is not a JSON object"},
		{"{\"nam\":\"x\"}", DSV_UNSUPPORTED, "key \"nam\""},
		{"{\"name\":null}", DSV_FORMAT, "\"name\" must be a string"},
		{"{\"name\":\"a\\u0000b\"}", DSV_FORMAT, "zero byte"},
		{"{\"tasks\":[]}", DSV_FORMAT, "\"tasks\" must be an object"},
		{"{\"tasks\":{\"translate\":\"x\"}}", DSV_UNSUPPORTED, "key \"translate\""},
		{"{\"tasks\":{\"ocr\":7}}", DSV_FORMAT, "\"ocr\" must be a string"},
		{"{\"tasks\":{\"ask\":\"why\"}}", DSV_FORMAT, "\"ask\" must contain {}"},
		{"{\"tasks\":{\"ocr\":\"{}\"}}", DSV_FORMAT, "\"ocr\" must not contain {}"},
		{"{\"answers\":[]}", DSV_FORMAT, "\"answers\" must be an object"},
		{"{\"answers\":{\"maybe\":\"x\"}}", DSV_UNSUPPORTED, "key \"maybe\""},
		{"{\"answers\":{\"yes\":\"\"}}", DSV_FORMAT, "\"yes\" must not be empty"},
		{"{\"answers\":{\"extract_by\":\"magic\"}}", DSV_FORMAT, "\"schema\" or \"names\""},
	};
	temp_dir	t = copy_base();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		temp_put_text(&t, "dsvl2.json", cases[i].text);
		check_refused(cases[i].text, &t, cases[i].code, cases[i].piece);
	}
	temp_remove(&t);
}

/* ---- digest, prewarm, memory ---- */

static void
digest_of(const temp_dir *t, char out[65])
{
	dsv_model  *model = open_model(t->path);

	memcpy(out, dsv_model_get_info(model)->digest, 65);
	dsv_model_close(model);
}

/* The folder's name does not count; every file does. */
static void
test_digest(void **state)
{
	static const char *const names[] = {"config.json", "processor_config.json", "tokenizer.json"};
	temp_dir	a = copy_base();
	temp_dir	b = copy_base();
	char		first[65];
	char		second[65];
	size_t		len;
	char	   *data;

	digest_of(&a, first);
	digest_of(&b, second);
	assert_string_equal(first, second);
	for (int i = 0; i < 3; i++)
	{
		data = slurp(temp_file(&b, names[i]), &len);
		data[len] = '\n';
		temp_put(&b, names[i], data, len + 1);
		digest_of(&b, second);
		assert_string_not_equal(first, second);
		temp_put(&b, names[i], data, len);
		free(data);
	}
	temp_put_text(&b, "dsvl2.json", "{}");
	digest_of(&b, second);
	assert_string_not_equal(first, second);
	remove(temp_file(&b, "dsvl2.json"));
	digest_of(&b, second);
	assert_string_equal(first, second);

	data = slurp(temp_file(&b, WEIGHTS), &len);
	data[len - 1] ^= 1;			/* in the last sampled block */
	temp_put(&b, WEIGHTS, data, len);
	free(data);
	digest_of(&b, second);
	assert_string_not_equal(first, second);
	temp_remove(&a);
	temp_remove(&b);
}

static bool
cancel_at_once(void *ud)
{
	++*(int *) ud;
	return true;
}

static void
test_prewarm(void **state)
{
	dsv_model  *model = open_model(SMALL);
	int			polls = 0;
	dsv_poll	poll = {cancel_at_once, &polls};
	dsv_error	err = {0};
	int64_t		resident = -1;

	check_ok(dsv_model_prewarm(model, NULL, &resident, &err), &err);
	assert_int_equal(resident, dsv_model_get_info(model)->bytes);
	check_ok(dsv_model_prewarm(model, NULL, NULL, &err), &err);
	assert_int_equal(dsv_model_prewarm(model, &poll, &resident, &err), DSV_CANCELED);
	assert_int_equal(err.code, DSV_CANCELED);
	assert_int_equal(resident, 0);
	assert_int_equal(polls, 1);
	dsv_model_close(model);
}

static void
test_every_allocation_fails_once(void **state)
{
	int			refused = 0;

	for (int n = 1;; n++)
	{
		books		b = {.fail_at = n};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_error	err = {0};
		dsv_model  *model;
		dsv_code	code = dsv_model_open(BASE, &mem, &model, &err);

		if (code == DSV_OK)
		{
			/* the end; or a regex that is interpreted, for want of memory to compile it to
			 * machine code */
			dsv_model_close(model);
			assert_int_equal(b.held, 0);
			if (b.calls < n)
				break;
			continue;
		}
		assert_int_equal(code, DSV_NOMEM);
		assert_int_equal(err.code, DSV_NOMEM);
		assert_null(model);
		assert_int_equal(b.held, 0);
		refused++;
	}
	assert_true(refused > 15);
}

static void
test_close_null(void **state)
{
	dsv_model  *model = (dsv_model *) &model;

	dsv_model_close(NULL);
	assert_int_equal(dsv_model_open("/nonexistent", NULL, &model, NULL), DSV_IO);
	assert_null(model);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_models),
		cmocka_unit_test(test_nano),
		cmocka_unit_test(test_bound_base),
		cmocka_unit_test(test_bound_tiny),
		cmocka_unit_test(test_other_types),
		cmocka_unit_test(test_wrong_tensors),
		cmocka_unit_test(test_missing_files),
		cmocka_unit_test(test_wrong_tokenizer),
		cmocka_unit_test(test_published_names),
		cmocka_unit_test(test_own_file),
		cmocka_unit_test(test_wrong_own_file),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_prewarm),
		cmocka_unit_test(test_every_allocation_fails_once),
		cmocka_unit_test(test_close_null),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
