/*
 * run.c
 *		dsvl2 run: one request.  The answer goes to standard output as it comes, what it took
 *		to standard error; with --json everything is one object on standard output.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define TASK_NONE DSV_TASK_COUNT	/* the last choice: plain question */

static const char *const task_names[] = {"ocr", "markdown", "describe", "ask", "ground",
"ground_answer", "extract", "is", "classify", "table", "chart", "none", NULL};

typedef struct run_options
{
	tool_setup	setup;
	dsv_sampling sampling;
	int			max_tokens;
	int			max_tiles;
	int			page;
	tool_list	stop;
	const char *schema;			/* file */
	const char *system;
	int			task;
	bool		raw_special;
	bool		keep_special;
	bool		reference_decode;
	bool		ignore_exif;
	bool		json;
} run_options;

/* ---- output ---- */

static void
print_usage(const dsv_result *r)
{
	const dsv_usage *u = &r->usage;

	fprintf(stderr, "%d prompt tokens (%d of images, %d cached), %d output tokens, %d tiles, "
			"finish: %s\n",
			u->prompt_tokens, u->image_tokens, u->cached_tokens, u->output_tokens, u->tiles,
			dsv_finish_name(r->finish));
	fprintf(stderr, "images %.1f ms, vision %.1f ms, prefill %.1f ms, decode %.1f ms\n",
			u->decode_image_ms, u->vision_ms, u->prefill_ms, u->decode_ms);
}

static json_t *
usage_json(const dsv_usage *u)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f}", "prompt_tokens",
					 u->prompt_tokens, "image_tokens", u->image_tokens, "cached_tokens",
					 u->cached_tokens, "output_tokens", u->output_tokens, "tiles", u->tiles,
					 "decode_image_ms", u->decode_image_ms, "vision_ms", u->vision_ms, "prefill_ms",
					 u->prefill_ms, "decode_ms", u->decode_ms);
}

static json_t *
boxes_json(const dsv_ground *g, const char *text)
{
	json_t	   *all = json_array();

	for (int i = 0; i < g->nboxes; i++)
	{
		const dsv_box *b = &g->boxes[i];

		json_array_append_new(all, json_pack("{s:s%, s:[i,i,i,i], s:[f,f,f,f], s:b}", "label",
											 text + b->label_at, (size_t) b->label_len, "px",
											 b->px[0], b->px[1], b->px[2], b->px[3], "norm",
											 b->norm[0], b->norm[1], b->norm[2], b->norm[3],
											 "point", b->point));
	}
	return all;
}

static void
print_json(const dsv_result *r, const dsv_ground *g)
{
	json_t	   *tokens = json_array();
	json_t	   *logprobs = json_array();
	json_t	   *forced = json_array();
	json_t	   *all;

	for (int i = 0; i < r->ntokens; i++)
	{
		json_array_append_new(tokens, json_integer(r->tokens[i]));
		json_array_append_new(logprobs, json_real(r->logprobs[i]));
		json_array_append_new(forced, json_boolean(r->forced[i]));
	}
	all = json_pack("{s:s%, s:s, s:o, s:o, s:o, s:o}", "text", r->text, r->len, "finish",
					dsv_finish_name(r->finish), "usage", usage_json(&r->usage), "tokens", tokens,
					"logprobs", logprobs, "forced", forced);
	if (g != NULL)
	{
		json_object_set_new(all, "boxes", boxes_json(g, r->text));
		json_object_set_new(all, "malformed", json_boolean(g->malformed));
	}
	json_dumpf(all, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(all);
}

static void
print_boxes(const dsv_ground *g, const char *text)
{
	for (int i = 0; i < g->nboxes; i++)
	{
		const dsv_box *b = &g->boxes[i];

		fprintf(stderr, "%s %d %d %d %d  %.*s\n", b->point ? "point" : "box", b->px[0], b->px[1],
				b->px[2], b->px[3], b->label_len, text + b->label_at);
	}
	if (g->malformed)
		fprintf(stderr, "parts of the answer's boxes are malformed\n");
}

/* ---- the request ---- */

static bool
is_grounding(const run_options *o)
{
	return o->task == DSV_TASK_GROUND || o->task == DSV_TASK_GROUND_ANSWER;
}

static const char *
task_prompt(const dsv_model *model, const run_options *o)
{
	const char *prompt;

	if (o->task == TASK_NONE)
		return "{}";
	prompt = dsv_model_task_prompt(model, (dsv_task) o->task);
	if (prompt == NULL)
		tool_fail("model \"%s\" was not trained for task %s", dsv_model_get_info(model)->name,
				  task_names[o->task]);
	return prompt;
}

/* The orientation that the model's picture was given */
static int
orientation(const run_options *o, const dsv_image_info *image)
{
	return o->ignore_exif || o->reference_decode ? 1 : image->orientation;
}

static void
print_result(const run_options *o, const dsv_result *r)
{
	dsv_ground	ground = {0};
	bool		boxes = is_grounding(o) && r->nimages > 0;
	dsv_error	err;

	/* boxes are of the last image: the one that grounding prompts ask about */
	if (boxes && dsv_ground_parse(r->text, r->len, r->images[r->nimages - 1].width,
								  r->images[r->nimages - 1].height,
								  orientation(o, &r->images[r->nimages - 1]), false, NULL, &ground,
								  &err) != DSV_OK)
		tool_fail_error(&err);
	if (o->json)
		print_json(r, boxes ? &ground : NULL);
	else
	{
		putchar('\n');
		fflush(stdout);
		if (boxes)
			print_boxes(&ground, r->text);
		print_usage(r);
	}
	dsv_ground_free(&ground, NULL);
}

static void
stream(dsv_engine *engine, dsv_sequence *seq, bool print)
{
	size_t		shown = 0;
	dsv_error	err;

	while (dsv_sequence_state(seq) < DSV_STATE_DONE)
	{
		const dsv_result *r;

		if (dsv_engine_step(engine, &err) != DSV_OK)
			tool_fail_error(&err);
		r = dsv_sequence_result(seq);
		if (print && r->len > shown)
		{
			fwrite(r->text + shown, 1, r->len - shown, stdout);
			fflush(stdout);
			shown = r->len;
		}
	}
}

static dsv_grammar *
read_schema(const char *path)
{
	dsv_bytes	schema = tool_read_file(path);
	dsv_grammar *grammar;
	dsv_error	err;

	if (dsv_grammar_from_schema(schema.data, schema.len, NULL, &grammar, &err) != DSV_OK)
		tool_fail_error(&err);
	free((void *) schema.data);
	return grammar;
}

static void
answer(dsv_engine *engine, const run_options *o, const char *prompt, const char *user,
	   dsv_bytes *images, int nimages)
{
	tool_question q;
	dsv_part	system_part = {DSV_PART_TEXT, o->system, o->system != NULL ? strlen(o->system) : 0};
	dsv_turn	turns[2] = {{DSV_ROLE_SYSTEM, &system_part, 1}};
	dsv_request request = {.images = images, .nimages = nimages, .sampling = o->sampling,
		.stop = o->stop.items, .nstop = o->stop.n, .max_tokens = o->max_tokens,
	.keep_special = o->keep_special || is_grounding(o)};
	dsv_grammar *grammar = o->schema != NULL ? read_schema(o->schema) : NULL;
	dsv_sequence *seq;
	dsv_error	err;

	request.grammar = grammar;
	request.no_logprobs = !o->json;
	request.image.max_tiles = o->max_tiles;
	request.image.page = o->page;
	request.image.reference_decode = o->reference_decode;
	request.image.ignore_exif = o->ignore_exif;
	tool_ask(&q, nimages, prompt, user, o->raw_special ? DSV_PART_SPECIAL : DSV_PART_TEXT);
	turns[1] = q.turn;
	request.turns = o->system != NULL ? turns : turns + 1;
	request.nturns = o->system != NULL ? 2 : 1;
	if (dsv_engine_submit(engine, &request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	stream(engine, seq, !o->json);
	print_result(o, dsv_sequence_result(seq));
	dsv_sequence_release(seq);
	dsv_grammar_free(grammar);
}

int
tool_run(const tool_command *command, int argc, char **argv)
{
	run_options o = {.task = DSV_TASK_ASK};
	tool_option options[] = {
		{"task", TOOL_CHOICE, &o.task, "what to do, none = PROMPT as it stands (ask)", task_names},
		{"system", TOOL_STRING, &o.system, "text before the conversation"},
		{"raw-special", TOOL_FLAG, &o.raw_special, "special tokens in PROMPT count"},
		{"keep-special", TOOL_FLAG, &o.keep_special, "print special tokens of the answer"},
		{"max-tokens", TOOL_INT, &o.max_tokens, "of the answer, 0 = as the context allows"},
		{"temperature", TOOL_FLOAT, &o.sampling.temperature, "0 = greedy (default)"},
		{"top-p", TOOL_FLOAT, &o.sampling.top_p, "share of the probability to draw from"},
		{"seed", TOOL_UINT64, &o.sampling.seed, "of the draws"},
		{"repetition-penalty", TOOL_FLOAT, &o.sampling.repetition_penalty, "1 = off"},
		{"no-repeat-ngram", TOOL_INT, &o.sampling.no_repeat_ngram, "0 = off"},
		{"schema", TOOL_STRING, &o.schema, "file with a JSON Schema that the answer obeys"},
		{"stop", TOOL_LIST, &o.stop, "ends the answer; may be given again"},
		{"max-tiles", TOOL_INT, &o.max_tiles, "local tiles an image, 0 = the model's limit"},
		{"page", TOOL_INT, &o.page, "of TIFF and PDF files"},
		{"reference-decode", TOOL_FLAG, &o.reference_decode,
			"images as the reference decodes them"},
		{"ignore-exif", TOOL_FLAG, &o.ignore_exif, "images as stored"},
		{"json", TOOL_FLAG, &o.json, "one JSON object instead of text"},
		TOOL_SETUP_OPTIONS(o.setup),
		{NULL}
	};
	int			n = tool_parse(command, options, argc, argv, 1, TOOL_MAX_IMAGES + 2);
	dsv_engine_options engine_options = tool_engine_options(&o.setup);
	dsv_model  *model = tool_open_model(argv[0]);
	const char *prompt = task_prompt(model, &o);
	bool		takes_text = strstr(prompt, "{}") != NULL;
	int			nimages = n - 1 - takes_text;
	dsv_bytes	images[TOOL_MAX_IMAGES];
	dsv_engine *engine;

	if (nimages < 0)
		tool_usage_error(command, "task %s needs a PROMPT", task_names[o.task]);
	if (takes_text && nimages == 0 && access(argv[n - 1], F_OK) == 0)
		tool_usage_error(command, "\"%s\" is a file: a PROMPT is missing behind it", argv[n - 1]);
	if (nimages > TOOL_MAX_IMAGES)
		tool_usage_error(command, "more than %d images", TOOL_MAX_IMAGES);
	for (int i = 0; i < nimages; i++)
		images[i] = tool_read_file(argv[1 + i]);
	engine = tool_create_engine(model, &engine_options);
	answer(engine, &o, prompt, takes_text ? argv[n - 1] : "", images, nimages);
	tool_free_files(images, nimages);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	return 0;
}
