/*
 * golden.c
 *		dsvl2 golden: runs conversations of the reference implementation's golden vectors
 *		through the engine and compares every stage that was recorded.
 */
#include "golden.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

typedef struct golden_run
{
	dsv_model  *model;
	dsv_engine *engine;
	golden_trace *trace;		/* of the case that runs; or NULL */
	json_t	   *scored;			/* candidates of each case; or NULL */
	char		model_name[64];
	bool		bf16;
	tool_tap	tap;
} golden_run;

static void
trace(void *ud, const dsv_trace_event *event)
{
	golden_run *run = ud;

	if (run->trace != NULL)
		golden_trace_event(run->trace, event);
}

/* ---- the request ---- */

static void
add_piece(golden_conversation *c, dsv_part_kind kind, const char *text, size_t len)
{
	if (c->nparts == GOLDEN_PARTS)
		tool_fail("more than %d parts in a conversation", GOLDEN_PARTS);
	c->parts[c->nparts++] = (dsv_part) {kind, text, len};
}

static void
add_content(golden_conversation *c, const char *text, size_t len)
{
	static const char tag[] = "<image>";
	const char *end = text + len;

	for (const char *at; (at = strstr(text, tag)) != NULL; text = at + strlen(tag))
	{
		add_piece(c, DSV_PART_SPECIAL, text, (size_t) (at - text));
		add_piece(c, DSV_PART_IMAGE, NULL, 0);
	}
	add_piece(c, DSV_PART_SPECIAL, text, (size_t) (end - text));
}

static dsv_role
role_of(const char *name)
{
	if (strcmp(name, "<|User|>") == 0)
		return DSV_ROLE_USER;
	if (strcmp(name, "<|Assistant|>") == 0)
		return DSV_ROLE_ASSISTANT;
	if (strcmp(name, "system") == 0)
		return DSV_ROLE_SYSTEM;
	tool_fail("unknown role \"%s\"", name);
}

void
golden_build_conversation(golden_conversation *c, const json_t *turns, const char *case_dir)
{
	size_t		i;
	json_t	   *turn;

	memset(c, 0, sizeof(*c));
	json_array_foreach(turns, i, turn)
	{
		const char *role = json_string_value(json_object_get(turn, "role"));
		const json_t *content = json_object_get(turn, "content");
		size_t		k;
		json_t	   *image;
		int			first = c->nparts;

		if (c->nturns == GOLDEN_TURNS)
			tool_fail("more than %d turns in a conversation", GOLDEN_TURNS);
		add_content(c, json_string_value(content), json_string_length(content));
		c->turns[c->nturns++] = (dsv_turn) {role_of(role), c->parts + first, c->nparts - first};
		json_array_foreach(json_object_get(turn, "images"), k, image)
		{
			char		name[PATH_MAX];
			char		path[PATH_MAX];

			snprintf(name, sizeof(name), "../images/%s", json_string_value(image));
			if (c->nimages == TOOL_MAX_IMAGES)
				tool_fail("more than %d images in a conversation", TOOL_MAX_IMAGES);
			c->images[c->nimages++] = tool_read_file(tool_path(path, sizeof(path), case_dir, name));
		}
	}
}

/* ---- one case ---- */

static void
open_case(const golden_run *run, const char *path, golden_case *c)
{
	char		base[64];
	char		tensors[PATH_MAX];
	size_t		len = strlen(path);
	dsv_error	err;

	if (len < 5 || strcmp(path + len - 5, ".json") != 0)
		tool_fail("\"%s\" is no .json file", path);
	c->json = tool_read_json(path);
	if (!json_is_object(c->json) || json_object_get(c->json, "greedy") == NULL)
		tool_fail("\"%s\" is no golden case", path);
	tool_base(base, sizeof(base), path, ".json");
	snprintf(c->label, sizeof(c->label), "%s/%s", run->model_name, base);
	snprintf(tensors, sizeof(tensors), "%.*s.safetensors", (int) (len - 5), path);
	if (dsv_safetensors_open_file(tensors, NULL, &c->expected, &err) != DSV_OK)
		tool_fail_error(&err);
	c->bf16 = run->bf16;
}

/* The same prompt again, with candidates of whatever was recorded for the case. */
static void
run_scored(golden_run *run, const golden_case *c, const dsv_request *request, golden_measure *m)
{
	const char *name = strrchr(c->label, '/') + 1;
	const json_t *candidates = json_object_get(run->scored, name);
	int			n = (int) json_array_size(candidates);
	dsv_bytes  *texts = tool_alloc(n, sizeof(*texts));
	dsv_request scoring = *request;
	dsv_sequence *seq;
	dsv_error	err;

	for (int i = 0; i < n; i++)
	{
		const json_t *text = json_object_get(json_array_get(candidates, i), "text");

		texts[i] = (dsv_bytes) {json_string_value(text), json_string_length(text)};
	}
	scoring.candidates = texts;
	scoring.ncandidates = n;
	run->trace = NULL;
	if (n > 0)
	{
		if (dsv_engine_submit(run->engine, &scoring, &seq, &err) != DSV_OK)
			tool_fail_error(&err);
		tool_finish(run->engine, seq);
		golden_compare_scored(c, candidates, dsv_sequence_result(seq), m, &run->tap);
		dsv_sequence_release(seq);
	}
	free(texts);
}

static void
run_case(golden_run *run, const char *path, golden_case *c, golden_measure *m)
{
	char		dir[PATH_MAX] = ".";
	const char *slash = strrchr(path, '/');
	golden_conversation talk;
	dsv_request request = {.image.reference_decode = true, .keep_special = true,
		.no_prefix_cache = true};
	dsv_sequence *seq;
	dsv_error	err;
	golden_trace t;
	const json_t *tokens;
	double		start;

	open_case(run, path, c);
	if (slash != NULL)
		snprintf(dir, sizeof(dir), "%.*s", (int) (slash - path), path);
	golden_build_conversation(&talk, json_object_get(c->json, "conversation"), dir);
	request.turns = talk.turns;
	request.nturns = talk.nturns;
	request.images = talk.images;
	request.nimages = talk.nimages;
	tokens = json_object_get(json_object_get(c->json, "greedy"), "tokens");
	request.max_tokens = (int) json_array_size(tokens);
	golden_trace_init(&t, &run->model->config,
					  (int) json_array_size(json_object_get(c->json, "input_ids")),
					  (int) json_array_size(json_object_get(c->json, "tiles")),
					  (int) json_integer_value(json_object_get(c->json, "router_layer_all")),
					  request.max_tokens);
	run->trace = &t;
	start = tool_now_ms();
	if (!tool_ok(&run->tap, dsv_engine_submit(run->engine, &request, &seq, &err) == DSV_OK,
				 "%s submit", c->label))
		printf("# %s\n", err.msg);
	else
	{
		tool_finish(run->engine, seq);
		golden_compare(c, &t, run->model->tokenizer, seq, m, &run->tap);
		m->ms = tool_now_ms() - start;
		dsv_sequence_release(seq);
		run_scored(run, c, &request, m);
	}
	golden_trace_free(&t);
	tool_free_files(talk.images, talk.nimages);
	dsv_safetensors_close(c->expected);
	json_decref(c->json);
}

/* scored/MODEL.json beside the model's folder, when there is one */
static json_t *
read_scored(const char *model_dir, const char *model_name)
{
	char		name[128];
	char		path[PATH_MAX];

	snprintf(name, sizeof(name), "../scored/%s.json", model_name);
	tool_path(path, sizeof(path), model_dir, name);
	return access(path, R_OK) == 0 ? tool_read_json(path) : NULL;
}

/* ---- the table ---- */

static void
print_difference(double d)
{
	if (d < 0)
		printf(" %9s", "-");
	else
		printf(" %9.1e", d);
}

static void
print_table(const golden_case *cases, const golden_measure *measures, int n)
{
	printf("# %-26s %6s %5s %9s %9s %9s %9s %9s %9s %6s %7s %7s\n", "largest differences", "tokens",
		   "tiles", "vit", "projector", "embeds", "hidden", "logits", "scored", "router", "greedy", "ms");
	for (int i = 0; i < n; i++)
	{
		const golden_measure *m = &measures[i];

		printf("# %-26s %6d %5d", cases[i].label, m->tokens, m->tiles);
		print_difference(m->vit);
		print_difference(m->projector);
		print_difference(m->embeds);
		print_difference(m->hidden);
		print_difference(m->logits);
		print_difference(m->scored);
		printf(" %6d %4d/%-2d %7.0f\n", m->router_changed, m->greedy_same, m->greedy, m->ms);
	}
}

int
tool_golden(const tool_command *command, int argc, char **argv)
{
	tool_setup	setup = {0};
	tool_option options[] = {TOOL_SETUP_OPTIONS(setup), {NULL}};
	int			n = tool_parse(command, options, argc, argv, 2, INT_MAX) - 1;
	dsv_engine_options engine_options = tool_engine_options(&setup);
	golden_case *cases = tool_alloc(n, sizeof(*cases));
	golden_measure *measures = tool_alloc(n, sizeof(*measures));
	golden_run	run = {.bf16 = setup.precision == DSV_PRECISION_BF16};

	tool_base(run.model_name, sizeof(run.model_name), argv[0], "");
	run.model = tool_open_model(argv[0]);
	engine_options.trace = trace;
	engine_options.trace_ud = &run;
	engine_options.trace_all_rows = true;
	run.engine = tool_create_engine(run.model, &engine_options);
	printf("# %s, %s, %s, blas %s\n", argv[0], tool_precisions[setup.precision],
		   dsv_cpu_level_name(dsv_cpu_current()), setup.no_blas ? "off" : dsv_blas_version());
	run.scored = read_scored(argv[0], run.model_name);
	for (int i = 0; i < n; i++)
		run_case(&run, argv[i + 1], &cases[i], &measures[i]);
	print_table(cases, measures, n);
	dsv_engine_destroy(run.engine);
	dsv_model_close(run.model);
	json_decref(run.scored);
	free(cases);
	free(measures);
	return tool_tap_end(&run.tap);
}
