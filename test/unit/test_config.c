/*
 * test_config.c
 *		Configurations: what the published ones resolve to, and every refusal by name.
 */
#include "config.h"
#include "files_util.h"

#define BASE "test/golden/base-like"

static const dsv_config *
load(const char *dir)
{
	static dsv_config config;
	dsv_error	err = {0};

	check_ok(dsv_config_load(dir, &config, &err), &err);
	return &config;
}

/* ---- published ---- */

static void
check_published_vision(const dsv_config *c)
{
	const dsv_config *p = &dsv_config_published;

	assert_memory_equal(&c->vision, &p->vision, sizeof(c->vision));
	assert_int_equal(c->vision.layers, 27);
	assert_int_equal(c->vision.width / c->vision.heads, 72);
	assert_int_equal(c->vision.mlp, 4304);
	assert_int_equal(c->vision.grid, 27);
	assert_int_equal(c->projector.grid, 14);
	assert_int_equal(c->projector.in, 4608);
	assert_int_equal(c->projector.ratio, 2);
	assert_int_equal(c->projector.depth, 2);
	assert_int_equal(c->projector.inner, c->language.hidden);
	assert_int_equal(c->projector.out, c->language.hidden);
	assert_int_equal(c->ncandidates, 23);
	assert_int_equal(c->max_tiles, 9);
	assert_memory_equal(c->candidates, p->candidates, sizeof(c->candidates));
}

static void
check_published_language(const dsv_language_config *c)
{
	assert_int_equal(c->first_dense, 1);
	assert_int_equal(c->moe_freq, 1);
	assert_int_equal(c->shared, 2);
	assert_int_equal(c->top_k, 6);
	assert_int_equal(c->groups, 1);
	assert_int_equal(c->topk_groups, 1);
	assert_int_equal(c->q_rank, 0);
	assert_int_equal(c->context, 4096);
	assert_true(c->rms_eps == 1e-6f);
	assert_true(c->latent_eps == 1e-6f);
	assert_true(c->rope_theta == 10000);
	assert_false(c->attention_bias);
	assert_false(dsv_config_is_moe(c, 0));
	assert_true(dsv_config_is_moe(c, 1));
}

static void
check_heads(const dsv_language_config *c, int nope, int rope, int v_dim, int kv_rank)
{
	assert_int_equal(c->nope, nope);
	assert_int_equal(c->rope, rope);
	assert_int_equal(c->v_dim, v_dim);
	assert_int_equal(c->kv_rank, kv_rank);
	assert_int_equal(c->mla, kv_rank > 0);
}

static void
test_published_tiny(void **state)
{
	const dsv_config *config = load("test/golden/model/tiny");
	const dsv_language_config *c = &config->language;

	check_published_vision(config);
	check_published_language(c);
	check_heads(c, 0, 128, 128, 0);
	assert_int_equal(c->hidden, 1280);
	assert_int_equal(c->layers, 12);
	assert_int_equal(c->heads, 10);
	assert_int_equal(c->kv_heads, 10);
	assert_int_equal(c->head_dim, 128);
	assert_int_equal(c->vocab, 129280);
	assert_int_equal(c->dense_mlp, 6848);
	assert_int_equal(c->moe_mlp, 896);
	assert_int_equal(c->experts, 64);
	assert_int_equal(c->scoring, DSV_SCORING_SOFTMAX);
	assert_int_equal(c->topk, DSV_TOPK_GREEDY);
	assert_false(c->norm_topk);
	assert_true(c->routed_scale == 1);
	assert_int_equal(c->bos, 0);
	assert_int_equal(c->eos, 1);
}

static void
test_published_small(void **state)
{
	const dsv_config *config = load("test/golden/model/small");
	const dsv_language_config *c = &config->language;

	check_published_vision(config);
	check_published_language(c);
	check_heads(c, 128, 64, 128, 512);
	assert_int_equal(c->hidden, 2048);
	assert_int_equal(c->layers, 27);
	assert_int_equal(c->heads, 16);
	assert_int_equal(c->vocab, 102400);
	assert_int_equal(c->dense_mlp, 10944);
	assert_int_equal(c->moe_mlp, 1408);
	assert_int_equal(c->experts, 64);
	assert_int_equal(c->scoring, DSV_SCORING_SOFTMAX);
	assert_int_equal(c->topk, DSV_TOPK_GREEDY);
	assert_false(c->norm_topk);
	assert_true(c->routed_scale == 1);
	assert_int_equal(c->bos, 100000);
	assert_int_equal(c->eos, 100001);
}

static void
test_published_base(void **state)
{
	const dsv_config *config = load("test/golden/model/base");
	const dsv_language_config *c = &config->language;

	check_published_vision(config);
	check_published_language(c);
	check_heads(c, 128, 64, 128, 512);
	assert_int_equal(c->hidden, 2560);
	assert_int_equal(c->layers, 30);
	assert_int_equal(c->heads, 32);
	assert_int_equal(c->kv_heads, 32);
	assert_int_equal(c->vocab, 129280);
	assert_int_equal(c->dense_mlp, 12288);
	assert_int_equal(c->moe_mlp, 1536);
	assert_int_equal(c->experts, 72);
	assert_int_equal(c->scoring, DSV_SCORING_SIGMOID);
	assert_int_equal(c->topk, DSV_TOPK_NOAUX);
	assert_true(c->norm_topk);
	assert_true(c->routed_scale == 2);
	assert_int_equal(c->bos, 0);
	assert_int_equal(c->eos, 1);
}

/* ---- the golden checkpoints and nano ---- */

static void
test_golden(void **state)
{
	const dsv_config *c = load("test/golden/tiny-like");

	check_heads(&c->language, 0, 32, 32, 0);
	assert_int_equal(c->language.heads, 3);
	assert_int_equal(c->language.experts, 12);
	assert_int_equal(c->language.top_k, 3);
	assert_int_equal(c->language.moe_mlp, 40);
	assert_int_equal(c->language.vocab, 1152);
	assert_int_equal(c->vision.mlp, 538);
	assert_int_equal(c->max_tiles, 9);

	c = load("test/golden/small-like");
	check_heads(&c->language, 32, 16, 32, 64);
	assert_int_equal(c->language.heads, 4);
	assert_int_equal(c->language.dense_mlp, 352);
	assert_int_equal(c->language.bos, 1000);
	assert_int_equal(c->vision.mlp, 448);
	assert_int_equal(c->projector.in, 480);

	c = load("test/golden/base-like");
	check_heads(&c->language, 128, 64, 128, 512);
	assert_int_equal(c->language.heads, 2);
	assert_int_equal(c->language.scoring, DSV_SCORING_SIGMOID);
	assert_int_equal(c->language.topk, DSV_TOPK_NOAUX);
	assert_int_equal(c->vision.heads, 1);
	assert_int_equal(c->vision.mlp, 269);
}

/* An odd grid of patches: the projector pads it. */
static void
test_small_tiles(void **state)
{
	temp_dir	t = temp_make();
	json_t	   *root = load_json(BASE "/config.json");
	json_t	   *vision = json_object_get(root, "vision_config");
	json_t	   *list = json_pack("[[i,i],[i,i]]", 210, 210, 630, 420);
	const dsv_config *c;

	json_object_set_new(vision, "image_size", json_integer(210));
	json_object_set_new(vision, "patch_size", json_integer(14));
	json_object_set(root, "candidate_resolutions", list);
	temp_put_json(&t, "config.json", root);
	c = load(t.path);
	assert_int_equal(c->vision.grid, 15);
	assert_int_equal(c->projector.grid, 8);
	assert_int_equal(c->ncandidates, 2);
	assert_int_equal(c->candidates[1].w, 630);
	assert_int_equal(c->candidates[1].h, 420);
	assert_int_equal(c->max_tiles, 6);
	json_decref(list);
	json_decref(root);
	temp_remove(&t);
}

/* Everything from the defaults: a dense model with a low-rank query. */
static void
test_class_defaults(void **state)
{
	temp_dir	t = temp_make();
	const dsv_config *c;

	temp_put_text(&t, "config.json",
				  "{\"model_type\":\"deepseek_vl_v2\",\"vision_config\":{\"width\":1152,"
				  "\"patch_size\":14},\"projector_config\":{\"n_embed\":4096}}");
	c = load(t.path);
	assert_int_equal(c->vision.layers, 24);
	assert_int_equal(c->vision.heads, 16);
	assert_int_equal(c->vision.mlp, 4 * 1152);
	assert_int_equal(c->vision.image_size, 384);
	assert_true(c->vision.mean[2] == 0.5f && c->vision.std[0] == 0.5f);
	check_heads(&c->language, 128, 64, 128, 512);
	assert_int_equal(c->language.q_rank, 1536);
	assert_int_equal(c->language.vocab, 102400);
	assert_int_equal(c->language.hidden, 4096);
	assert_int_equal(c->language.dense_mlp, 11008);
	assert_int_equal(c->language.layers, 30);
	assert_int_equal(c->language.heads, 32);
	assert_int_equal(c->language.context, 2048);
	assert_int_equal(c->language.experts, 0);
	assert_int_equal(c->language.top_k, 0);
	assert_false(dsv_config_is_moe(&c->language, 5));
	assert_int_equal(c->ncandidates, 1);
	assert_int_equal(c->candidates[0].w, 384);
	assert_int_equal(c->max_tiles, 1);
	temp_remove(&t);
}

/* ---- one value changed ---- */

typedef struct change
{
	const char *section;		/* NULL: top level */
	const char *key;
	const char *value;			/* JSON; NULL removes the key */
	dsv_code	code;
	const char *piece;			/* of message or detail */
} change;

static void
apply(json_t *root, const change *c)
{
	json_t	   *obj = c->section != NULL ? json_object_get(root, c->section) : root;

	if (c->value == NULL)
		json_object_del(obj, c->key);
	else
		assert_int_equal(json_object_set_new(obj, c->key, json_loads(c->value, JSON_DECODE_ANY, NULL)),
						 0);
}

/* Each change alone, on a copy of base-like's files. */
static void
run_changes(const char *file, const change *changes, size_t n)
{
	const char *const names[] = {"config.json", "processor_config.json"};

	for (size_t i = 0; i < n; i++)
	{
		temp_dir	t = temp_make();
		dsv_config	config;
		dsv_error	err = {0};
		char		what[200];
		dsv_code	code;

		for (int j = 0; j < 2; j++)
		{
			char		path[100];
			json_t	   *root;

			snprintf(path, sizeof(path), "%s/%s", BASE, names[j]);
			root = load_json(path);
			if (strcmp(names[j], file) == 0)
				apply(root, &changes[i]);
			temp_put_json(&t, names[j], root);
			json_decref(root);
		}
		code = dsv_config_load(t.path, &config, &err);
		snprintf(what, sizeof(what), "%s = %s", changes[i].key,
				 changes[i].value ? changes[i].value : "(absent)");
		if (changes[i].code != DSV_OK)
			check_error(what, code, &err, changes[i].code, changes[i].piece);
		else if (code != DSV_OK)
			fail_msg("%s: %s %s", what, err.msg, err.detail);
		temp_remove(&t);
	}
}

#define RUN(file, changes) run_changes(file, changes, sizeof(changes) / sizeof(changes[0]))

static void
test_top_level(void **state)
{
	static const change changes[] = {
		{NULL, "model_type", "\"llava\"", DSV_UNSUPPORTED, "\"model_type\""},
		{NULL, "model_type", NULL, DSV_FORMAT, "\"model_type\" is missing"},
		{NULL, "model_type", "7", DSV_FORMAT, "\"model_type\" must be a string, not an integer"},
		{NULL, "tile_tag", "\"1D\"", DSV_UNSUPPORTED, "\"tile_tag\""},
		{NULL, "tile_tag", NULL, DSV_OK, NULL},
		{NULL, "global_view_pos", "\"tail\"", DSV_UNSUPPORTED, "\"tail\"; only \"head\""},
		{NULL, "quantization_config", "{}", DSV_UNSUPPORTED, "key \"quantization_config\""},
		{NULL, "vision_config", "[]", DSV_FORMAT, "\"vision_config\" must be an object"},
		{NULL, "language_config", "null", DSV_FORMAT, "\"language_config\" must be an object"},
		{NULL, "tie_word_embeddings", "true", DSV_OK, NULL},
		{NULL, "architectures", "[\"DeepseekVLV2ForCausalLM\"]", DSV_OK, NULL},
		{NULL, "dtype", "\"bfloat16\"", DSV_OK, NULL},
		{NULL, "use_cache", "true", DSV_OK, NULL},
		{NULL, "_name_or_path", "\"x\"", DSV_OK, NULL},
		{NULL, "candidate_resolutions", NULL, DSV_OK, NULL},
		{NULL, "candidate_resolutions", "[]", DSV_FORMAT, "candidate_resolutions"},
		{NULL, "candidate_resolutions", "{}", DSV_FORMAT, "candidate_resolutions"},
		{NULL, "candidate_resolutions", "[[384,384],[384]]", DSV_FORMAT, "entry 2"},
		{NULL, "candidate_resolutions", "[[384,384],384]", DSV_FORMAT, "entry 2"},
		{NULL, "candidate_resolutions", "[[384,384.0]]", DSV_FORMAT, "entry 1"},
		{NULL, "candidate_resolutions", "[[384,0]]", DSV_FORMAT, "entry 1"},
		{NULL, "candidate_resolutions", "[[384,-384]]", DSV_FORMAT, "entry 1"},
		{NULL, "candidate_resolutions", "[[384,4611686018427387904]]", DSV_FORMAT, "entry 1"},
		{NULL, "candidate_resolutions", "[[384,384]]", DSV_FORMAT, "differ"},
	};

	RUN("config.json", changes);
}

static void
test_vision(void **state)
{
	static const change changes[] = {
		{"vision_config", "model_type", "\"clip\"", DSV_UNSUPPORTED, "\"model_type\""},
		{"vision_config", "class_token", "true", DSV_UNSUPPORTED, "\"class_token\""},
		{"vision_config", "class_token", "false", DSV_OK, NULL},
		{"vision_config", "ignore_head", "false", DSV_UNSUPPORTED, "\"ignore_head\""},
		{"vision_config", "ignore_head", "1", DSV_FORMAT, "\"ignore_head\" must be true or false"},
		{"vision_config", "register_tokens", "4", DSV_UNSUPPORTED, "key \"register_tokens\""},
		{"vision_config", "global_pool", "\"map\"", DSV_OK, NULL},
		{"vision_config", "deterministic", "true", DSV_OK, NULL},
		{"vision_config", "num_recomputing_layers", "3", DSV_OK, NULL},
		{"vision_config", "heads", "0", DSV_FORMAT, "\"heads\" is out of range"},
		{"vision_config", "heads", "7", DSV_FORMAT, "does not divide"},
		{"vision_config", "heads", "null", DSV_FORMAT, "\"heads\" must be an integer, not null"},
		{"vision_config", "layers", "2.5", DSV_FORMAT, "\"layers\" must be an integer"},
		{"vision_config", "layers", "100000", DSV_FORMAT, "\"layers\" is out of range"},
		{"vision_config", "width", "-72", DSV_FORMAT, "\"width\" is out of range"},
		{"vision_config", "patch_size", "385", DSV_FORMAT, "\"patch_size\" 385 does not suit"},
		{"vision_config", "patch_size", "1", DSV_FORMAT, "\"patch_size\" 1 does not suit"},
		{"vision_config", "patch_size", "16", DSV_FORMAT, "the processor's \"patch_size\" is 14"},
		{"vision_config", "image_size", "336", DSV_FORMAT, "not made of whole tiles"},
		{"vision_config", "image_size", "192", DSV_FORMAT, "first candidate resolution"},
		{"vision_config", "image_size", "1000000", DSV_FORMAT, "\"image_size\" is out of range"},
		{"vision_config", "mlp_ratio", "\"4\"", DSV_FORMAT, "\"mlp_ratio\" must be a number"},
		{"vision_config", "mlp_ratio", "1e9", DSV_FORMAT, "\"mlp_ratio\" is out of range"},
		{"vision_config", "mlp_ratio", "0", DSV_FORMAT, "\"mlp_ratio\" gives a width of 0"},
		{"vision_config", "mlp_ratio", "4", DSV_OK, NULL},
	};

	RUN("config.json", changes);
}

static void
test_projector(void **state)
{
	static const change changes[] = {
		{"projector_config", "projector_type", "\"linear\"", DSV_UNSUPPORTED, "\"projector_type\""},
		{"projector_config", "token_pooling", "true", DSV_UNSUPPORTED, "\"token_pooling\""},
		{"projector_config", "model_type", "\"x\"", DSV_UNSUPPORTED, "\"model_type\""},
		{"projector_config", "bias", "false", DSV_UNSUPPORTED, "key \"bias\""},
		{"projector_config", "depth", "0", DSV_FORMAT, "\"depth\" is out of range"},
		{"projector_config", "depth", "3", DSV_OK, NULL},
		{"projector_config", "mlp_ratio", "2", DSV_OK, NULL},
		{"projector_config", "mlp_ratio", "1.5", DSV_FORMAT, "\"mlp_ratio\" must be an integer"},
		{"projector_config", "downsample_ratio", "3", DSV_FORMAT, "\"downsample_ratio\""},
		{"projector_config", "downsample_ratio", "17", DSV_FORMAT, "out of range"},
		{"projector_config", "input_dim", NULL, DSV_FORMAT, "\"input_dim\" is 1152"},
		{"projector_config", "n_embed", NULL, DSV_FORMAT, "\"n_embed\" is 2048"},
	};

	RUN("config.json", changes);
}

static void
test_language(void **state)
{
	static const change changes[] = {
		{"language_config", "model_type", "\"llama\"", DSV_UNSUPPORTED, "\"model_type\""},
		{"language_config", "hidden_act", "\"gelu\"", DSV_UNSUPPORTED, "\"gelu\"; only \"silu\""},
		{"language_config", "rope_scaling", "{\"type\":\"yarn\"}", DSV_UNSUPPORTED,
		"\"rope_scaling\""},
		{"language_config", "rope_scaling", "null", DSV_OK, NULL},
		{"language_config", "attention_bias", "true", DSV_UNSUPPORTED, "\"attention_bias\""},
		{"language_config", "tie_word_embeddings", "true", DSV_UNSUPPORTED,
		"\"tie_word_embeddings\""},
		{"language_config", "scoring_func", "\"tanh\"", DSV_UNSUPPORTED, "\"scoring_func\""},
		{"language_config", "topk_method", "\"group_limited_greedy\"", DSV_UNSUPPORTED,
		"\"group_limited_greedy\""},
		{"language_config", "topk_method", "\"gready\"", DSV_OK, NULL},
		{"language_config", "num_nextn_predict_layers", "1", DSV_UNSUPPORTED,
		"key \"num_nextn_predict_layers\""},
		{"language_config", "sliding_window", "512", DSV_UNSUPPORTED, "key \"sliding_window\""},
		{"language_config", "attention_dropout", "0.0", DSV_OK, NULL},
		{"language_config", "aux_loss_alpha", "0.001", DSV_OK, NULL},
		{"language_config", "seq_aux", "true", DSV_OK, NULL},
		{"language_config", "ep_size", "1", DSV_OK, NULL},
		{"language_config", "pretraining_tp", "1", DSV_OK, NULL},
		{"language_config", "initializer_range", "0.02", DSV_OK, NULL},
		{"language_config", "pad_token_id", "null", DSV_OK, NULL},
		{"language_config", "lm_head", "true", DSV_OK, NULL},
		{"language_config", "n_group", "3", DSV_FORMAT, "does not divide"},
		{"language_config", "n_group", "4", DSV_OK, NULL},
		{"language_config", "n_group", "null", DSV_OK, NULL},
		{"language_config", "topk_group", "2", DSV_FORMAT, "\"topk_group\" is larger"},
		{"language_config", "topk_group", "null", DSV_OK, NULL},
		{"language_config", "num_experts_per_tok", "null", DSV_FORMAT, "\"num_experts_per_tok\""},
		{"language_config", "num_experts_per_tok", "17", DSV_FORMAT, "17 of 16"},
		{"language_config", "n_routed_experts", "null", DSV_OK, NULL},
		{"language_config", "n_routed_experts", "1000000", DSV_FORMAT, "\"n_routed_experts\" is out"},
		{"language_config", "n_shared_experts", "null", DSV_OK, NULL},
		{"language_config", "kv_lora_rank", "null", DSV_FORMAT, "needs a \"kv_lora_rank\""},
		{"language_config", "kv_lora_rank", "0", DSV_FORMAT, "needs a \"kv_lora_rank\""},
		{"language_config", "qk_rope_head_dim", "0", DSV_FORMAT, "needs \"qk_nope_head_dim\""},
		{"language_config", "qk_rope_head_dim", "63", DSV_FORMAT, "odd size, 63"},
		{"language_config", "qk_rope_head_dim", "2048", DSV_FORMAT, "out of range"},
		{"language_config", "q_lora_rank", "64", DSV_OK, NULL},
		{"language_config", "use_mla", "false", DSV_OK, NULL},
		{"language_config", "use_mla", "null", DSV_FORMAT, "\"use_mla\" must be true or false"},
		{"language_config", "rms_norm_eps", "\"1e-6\"", DSV_FORMAT, "\"rms_norm_eps\""},
		{"language_config", "rope_theta", "0", DSV_FORMAT, "\"rope_theta\" is out of range"},
		{"language_config", "rope_theta", "500000", DSV_OK, NULL},
		{"language_config", "hidden_size", "0", DSV_FORMAT, "\"hidden_size\" is out of range"},
		{"language_config", "hidden_size", "128", DSV_FORMAT, "\"hidden_size\" is 128"},
		{"language_config", "hidden_size", "2147483648", DSV_FORMAT, "\"hidden_size\" is out"},
		{"language_config", "num_hidden_layers", "0", DSV_FORMAT, "out of range"},
		{"language_config", "moe_layer_freq", "0", DSV_FORMAT, "\"moe_layer_freq\" is out of range"},
		{"language_config", "first_k_dense_replace", "-1", DSV_FORMAT, "out of range"},
		{"language_config", "max_position_embeddings", "0", DSV_FORMAT, "out of range"},
		{"language_config", "bos_token_id", "1024", DSV_FORMAT, "outside of the vocabulary"},
		{"language_config", "eos_token_id", "[1,2]", DSV_FORMAT, "\"eos_token_id\" must be an integer"},
		{"language_config", "vocab_size", "1", DSV_FORMAT, "outside of the vocabulary"},
	};

	RUN("config.json", changes);
}

static void
test_processor(void **state)
{
	static const change changes[] = {
		{NULL, "normalize", "false", DSV_UNSUPPORTED, "\"normalize\""},
		{NULL, "image_token", "\"<img>\"", DSV_UNSUPPORTED, "\"image_token\""},
		{NULL, "sft_format", "\"plain\"", DSV_UNSUPPORTED, "\"sft_format\""},
		{NULL, "do_resize", "true", DSV_UNSUPPORTED, "key \"do_resize\""},
		{NULL, "ignore_id", "-1", DSV_OK, NULL},
		{NULL, "patch_size", "16", DSV_FORMAT, "\"patch_size\" is 16"},
		{NULL, "downsample_ratio", "1", DSV_FORMAT, "\"downsample_ratio\" is 1"},
		{NULL, "image_mean", "[0.5,0.5]", DSV_FORMAT, "\"image_mean\" must be three numbers"},
		{NULL, "image_mean", "[0.4,0.45,1]", DSV_OK, NULL},
		{NULL, "image_mean", "null", DSV_FORMAT, "\"image_mean\" must be three numbers"},
		{NULL, "image_std", "[0.5,0,0.5]", DSV_FORMAT, "\"image_std\" must be three numbers"},
		{NULL, "image_std", "[0.5,0.5,0.5,0.5]", DSV_FORMAT, "\"image_std\""},
		{NULL, "candidate_resolutions", "[[384,384]]", DSV_FORMAT, "differ"},
		{NULL, "candidate_resolutions", NULL, DSV_OK, NULL},
	};

	RUN("processor_config.json", changes);
}

/* Many or large candidates, in the processor's file alone. */
static void
test_candidates(void **state)
{
	temp_dir	t = temp_make();
	dsv_config	config;
	dsv_error	err = {0};
	json_t	   *root = load_json(BASE "/config.json");
	json_t	   *list = json_array();
	json_t	   *processor = json_pack("{s:O}", "candidate_resolutions", list);

	json_object_del(root, "candidate_resolutions");
	temp_put_json(&t, "config.json", root);
	for (int i = 0; i < DSV_MAX_CANDIDATES + 1; i++)
		json_array_append_new(list, json_pack("[i,i]", 384, 384));
	temp_put_json(&t, "processor_config.json", processor);
	check_error("257", dsv_config_load(t.path, &config, &err), &err, DSV_LIMIT, "more than 256");
	json_array_remove(list, 0);
	temp_put_json(&t, "processor_config.json", processor);
	check_ok(dsv_config_load(t.path, &config, &err), &err);
	assert_int_equal(config.ncandidates, 256);
	json_array_set_new(list, 1, json_pack("[i,i]", 384 * 8, 384 * 9));
	temp_put_json(&t, "processor_config.json", processor);
	check_error("72", dsv_config_load(t.path, &config, &err), &err, DSV_LIMIT, "more than 64 tiles");
	json_decref(processor);
	json_decref(list);
	json_decref(root);
	temp_remove(&t);
}

/* ---- files ---- */

static void
test_files(void **state)
{
	static const struct
	{
		const char *text;
		const char *piece;
	}			broken[] = {
		{"", "not valid JSON"},
		{"{", "config.json is not valid JSON"},
		{"[]", "not a JSON object"},
		{"{\"a\":1,\n  \"a\":2}", "Line 2, column"},
		{"{} {}", "not valid JSON"},
		{"{\"model_type\":\"\xff\"}", "not valid JSON"},
		{"{\"model_type\":\"deepseek_vl_v2\\u0000\"}", "zero byte"},
	};
	temp_dir	t = temp_make();
	dsv_config	config;
	dsv_error	err = {0};
	char	   *deep;

	check_error("absent", dsv_config_load(t.path, &config, &err), &err, DSV_IO, "config.json");
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
	{
		temp_put_text(&t, "config.json", broken[i].text);
		check_error(broken[i].text, dsv_config_load(t.path, &config, &err), &err, DSV_FORMAT,
					broken[i].piece);
	}
	deep = malloc(1 << 20);
	memset(deep, '[', 1 << 20);
	temp_put(&t, "config.json", deep, 1 << 20);
	check_error("deep", dsv_config_load(t.path, &config, &err), &err, DSV_FORMAT, "not valid JSON");
	assert_int_equal(truncate(temp_file(&t, "config.json"), 100 << 20), 0);
	check_error("large", dsv_config_load(t.path, &config, &err), &err, DSV_LIMIT, "too large");
	free(deep);

	temp_copy(&t, BASE, "config.json");
	check_ok(dsv_config_load(t.path, &config, &err), &err);
	assert_int_equal(dsv_config_load(t.path, &config, NULL), DSV_OK);
	temp_put_text(&t, "processor_config.json", "{");
	check_error("processor", dsv_config_load(t.path, &config, &err), &err, DSV_FORMAT,
				"processor_config.json is not valid JSON");
	temp_remove(&t);
}

/* ---- jansson without memory ---- */

static books json_books;

static void *
json_alloc(size_t size)
{
	return books_alloc(&json_books, size);
}

static void
json_free(void *ptr)
{
	if (ptr != NULL)
		books_free(&json_books, ptr);
}

static void
test_every_allocation_fails_once(void **state)
{
	json_malloc_t old_alloc;
	json_free_t old_free;
	dsv_config	good = *load(BASE);
	int			refused = 0;

	json_get_alloc_funcs(&old_alloc, &old_free);
	json_set_alloc_funcs(json_alloc, json_free);
	for (int n = 1;; n++)
	{
		dsv_config	config;
		dsv_error	err = {0};
		dsv_code	code;

		json_books = (books) {.fail_at = n};
		memset(&config, 0, sizeof(config));
		code = dsv_config_load(BASE, &config, &err);
		assert_int_equal(json_books.held, 0);
		if (json_books.calls < n)
		{
			check_ok(code, &err);
			break;
		}
		/* when its text buffer cannot grow, jansson goes on without the character: a key can come
		 * out as an unknown one, and a text that nobody reads can pass */
		if (code == DSV_OK)
		{
			assert_memory_equal(&config.vision, &good.vision, sizeof(good.vision));
			assert_memory_equal(&config.projector, &good.projector, sizeof(good.projector));
			assert_int_equal(config.language.vocab, good.language.vocab);
			assert_int_equal(config.language.experts, good.language.experts);
			assert_int_equal(config.language.context, good.language.context);
			assert_int_equal(config.ncandidates, good.ncandidates);
			continue;
		}
		assert_true(code == DSV_NOMEM || code == DSV_FORMAT || code == DSV_UNSUPPORTED);
		assert_string_not_equal(err.msg, "");
		refused++;
	}
	json_set_alloc_funcs(old_alloc, old_free);
	assert_true(refused > 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_tiny),
		cmocka_unit_test(test_published_small),
		cmocka_unit_test(test_published_base),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_small_tiles),
		cmocka_unit_test(test_class_defaults),
		cmocka_unit_test(test_top_level),
		cmocka_unit_test(test_vision),
		cmocka_unit_test(test_projector),
		cmocka_unit_test(test_language),
		cmocka_unit_test(test_processor),
		cmocka_unit_test(test_candidates),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_every_allocation_fails_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
