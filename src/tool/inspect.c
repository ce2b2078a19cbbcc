/*
 * inspect.c
 *		dsvl2 inspect and dsvl2 tokens: what a model holds, without running it.
 */
#include <string.h>

#include "../engine/model.h"
#include "tool.h"

#define ANSWER_TOKENS 512		/* of the typical request whose memory is shown */
#define QUESTION_TOKENS 64
#define KV_PROBE 4096			/* a multiple of every page size */

/* ---- inspect ---- */

static void
print_info(const dsv_model_info *info)
{
	printf("name          %s\n", info->name);
	if (info->notice != NULL)
		printf("notice        %s\n", info->notice);
	printf("digest        %s\n", info->digest);
	if (info->packed)
		printf("packed        %s, from %s\n", dsv_quant_name(info->quant), info->source);
	printf("parameters    %.3f million, %s\n", info->parameters / 1e6, info->dtype);
	printf("weight files  %lld bytes\n", (long long) info->bytes);
	printf("context       %d tokens\n", info->context);
}

static void
print_config(const dsv_config *c)
{
	const dsv_vision_config *v = &c->vision;
	const dsv_projector_config *p = &c->projector;
	const dsv_language_config *l = &c->language;

	printf("\nvision        %d px, patch %d (%d x %d), width %d, %d layers, %d heads, mlp %d\n",
		   v->image_size, v->patch, v->grid, v->grid, v->width, v->layers, v->heads, v->mlp);
	printf("pixels        mean %g %g %g, std %g %g %g\n", v->mean[0], v->mean[1], v->mean[2],
		   v->std[0], v->std[1], v->std[2]);
	printf("projector     %d x %d tokens a tile, %d -> %d -> %d, depth %d\n", p->grid, p->grid,
		   p->in, p->inner, p->out, p->depth);
	printf("tiles         %d at most, %d candidate sizes\n", c->max_tiles, c->ncandidates);
	printf("language      hidden %d, %d layers, %d heads, vocabulary %d, dense mlp %d\n", l->hidden,
		   l->layers, l->heads, l->vocab, l->dense_mlp);
	if (l->mla)
		printf("attention     latent: kv rank %d, q rank %d, query/key %d + %d rotary, value %d\n",
			   l->kv_rank, l->q_rank, l->nope, l->rope, l->v_dim);
	else
		printf("attention     multi-head: %d kv heads of %d\n", l->kv_heads, l->head_dim);
	if (l->experts > 0)
	{
		printf("experts       %d routed of width %d, top %d, %d shared, "
			   "dense before layer %d, every %d\n",
			   l->experts, l->moe_mlp, l->top_k, l->shared, l->first_dense, l->moe_freq);
		printf("routing       %s, %s%s, scale %g, %d of %d groups\n",
			   l->scoring == DSV_SCORING_SOFTMAX ? "softmax" : "sigmoid",
			   l->topk == DSV_TOPK_GREEDY ? "greedy" : "noaux_tc",
			   l->norm_topk ? ", renormalised" : "", l->routed_scale, l->topk_groups, l->groups);
	}
	printf("norms, rope   eps %g, theta %g\n", l->rms_eps, l->rope_theta);
	printf("tokens        bos %d, eos %d\n", l->bos, l->eos);
}

static void
print_tensors(const dsv_safetensors *st)
{
	int			tensors[DSV_DTYPE_I64 + 1] = {0};
	int64_t		bytes[DSV_DTYPE_I64 + 1] = {0};

	for (int i = 0; i < dsv_safetensors_count(st); i++)
	{
		const dsv_tensor *t = dsv_safetensors_at(st, i);

		tensors[t->dtype]++;
		bytes[t->dtype] += (int64_t) dsv_tensor_bytes(t);
	}
	printf("\ntensors       %d\n", dsv_safetensors_count(st));
	for (int t = 0; t <= DSV_DTYPE_I64; t++)
		if (tensors[t] > 0)
			printf("  %-11s %d tensors, %lld bytes\n", dsv_dtype_name((dsv_dtype) t), tensors[t],
				   (long long) bytes[t]);
}

static void
print_tasks(const dsv_model *model)
{
	const dsv_answers *answers = &dsv_model_get_info(model)->answers;

	printf("\ntasks\n");
	for (int t = 0; t < DSV_TASK_COUNT; t++)
	{
		const char *name = dsv_task_name((dsv_task) t);
		const char *prompt = dsv_model_task_prompt(model, (dsv_task) t);

		if (prompt != NULL)
			printf("  %-13s \"%s\"\n", name, prompt);
		else
			printf("  %-13s not trained for it\n", name);
	}
	printf("answers       \"%s\", yes \"%s\", no \"%s\", fields by %s\n", answers->prefix, answers->yes, answers->no,
		   answers->extract_by_schema ? "schema" : "names");
}

/* Memory of a question about one image, for the smallest and the largest grid */
static void
print_memory(dsv_model *model, const dsv_config *c, const tool_setup *setup)
{
	dsv_engine_options options = tool_engine_options(setup);
	dsv_engine *engine = tool_create_engine(model, &options);
	dsv_memory	kv;

	dsv_engine_memory(engine, KV_PROBE, 0, 0, &kv);
	printf("\nkv            %zu bytes a token in %s\n", kv.kv / KV_PROBE,
		   tool_precisions[setup->precision]);
	for (int most = 0; most < 2; most++)
	{
		int			side = c->vision.image_size;
		int			cols = 1;
		int			rows = 1;
		int			image_tokens = 0;
		dsv_memory	m;

		for (int i = 0; most && i < c->ncandidates; i++)
			if (c->candidates[i].w / side * (c->candidates[i].h / side) > cols * rows)
			{
				cols = c->candidates[i].w / side;
				rows = c->candidates[i].h / side;
			}
		dsv_image_layout(model, cols * side, rows * side, 0, true, &cols, &rows, &image_tokens);
		dsv_engine_memory(engine, image_tokens + QUESTION_TOKENS, ANSWER_TOKENS,
						  cols * rows == 1 ? 1 : cols * rows + 1, &m);
		printf("memory        image of %d x %d tiles (%d tokens), %d tokens of question, "
			   "%d of answer:\n              scratch %.1f MiB, sequence %.1f MiB, kv %.1f MiB\n",
			   cols, rows, image_tokens, QUESTION_TOKENS, ANSWER_TOKENS, m.scratch / 1048576.0,
			   m.sequence / 1048576.0, m.kv / 1048576.0);
	}
	dsv_engine_destroy(engine);
}

int
tool_inspect(const tool_command *command, int argc, char **argv)
{
	tool_setup	setup = {0};
	bool		list = false;
	tool_option options[] = {
		{"tensors", TOOL_FLAG, &list, "list every tensor"},
		TOOL_SETUP_OPTIONS(setup),
		{NULL}
	};
	const dsv_safetensors *st;
	dsv_model  *model;

	tool_parse(command, options, argc, argv, 1, 1);
	model = tool_open_model(argv[0]);
	st = model->files;
	print_info(dsv_model_get_info(model));
	printf("tokenizer     %d tokens\n", dsv_tokenizer_size(model->tokenizer));
	print_config(&model->config);
	print_tensors(st);
	print_tasks(model);
	print_memory(model, &model->config, &setup);
	for (int i = 0; list && i < dsv_safetensors_count(st); i++)
	{
		const dsv_tensor *t = dsv_safetensors_at(st, i);

		printf("%s%-72s %-4s [", i == 0 ? "\n" : "", t->name, dsv_dtype_name(t->dtype));
		for (int d = 0; d < t->ndim; d++)
			printf("%s%lld", d > 0 ? ", " : "", (long long) t->shape[d]);
		printf("]\n");
	}
	dsv_model_close(model);
	return 0;
}

/* ---- tokens ---- */

/* Bytes of a token on one line: control characters and broken UTF-8 as escapes */
static void
print_piece(const char *s, size_t len)
{
	json_t	   *text = json_stringn(s, len);
	char	   *dumped = text != NULL ? json_dumps(text, JSON_ENCODE_ANY) : NULL;

	if (dumped != NULL)
		fputs(dumped, stdout);
	else
	{
		putchar('<');
		for (size_t i = 0; i < len; i++)
			printf("%s%02X", i > 0 ? " " : "", (unsigned char) s[i]);
		putchar('>');
	}
	free(dumped);
	json_decref(text);
}

int
tool_tokens(const tool_command *command, int argc, char **argv)
{
	bool		special = false;
	tool_option options[] = {
		{"special", TOOL_FLAG, &special, "special tokens in the text count"},
		{NULL}
	};
	dsv_bytes	input = {0};
	dsv_span	span;
	dsv_model  *model;
	dsv_tokens	tokens = {0};
	dsv_error	err;

	tool_parse(command, options, argc, argv, 2, 2);
	if (strcmp(argv[1], "-") == 0)
	{
		input = tool_read_file("-");
		span = (dsv_span) {input.data, input.len, special};
	}
	else
		span = (dsv_span) {argv[1], strlen(argv[1]), special};
	model = tool_open_model(argv[0]);
	if (dsv_tokenizer_encode(model->tokenizer, &span, 1, NULL, NULL, &tokens, &err) != DSV_OK)
		tool_fail_error(&err);
	for (size_t i = 0; i < tokens.n; i++)
	{
		size_t		len = 0;
		const char *bytes = dsv_tokenizer_bytes(model->tokenizer, tokens.ids[i], &len);

		printf("%d\t", tokens.ids[i]);
		print_piece(bytes != NULL ? bytes : "", len);
		putchar('\n');
	}
	free(tokens.ids);
	free((void *) input.data);
	dsv_model_close(model);
	return 0;
}
