/*
 * bench_figures.c
 *		The rows of a model: each figure beside what the machine allows.
 *
 * A figure is the median of the runs; a limit comes from the best that the machine was seen to do
 * (limits.h).
 */
#include "../engine/engine.h"
#include "bench.h"

#define IMAGE_TOKENS 421			/* of one tile, in the published models */
#define QUESTION_TOKENS 30
#define IMAGE_WIDTH 4000		/* 12 megapixels */
#define IMAGE_HEIGHT 3000

/* ---- limits ---- */

double
bench_tower_limit(const bench *b, int tiles)
{
	return tiles * bench_tile_operations(b->model) / b->machine.tower_peak * 1e3;
}

double
bench_prefill_limit(const bench *b, int tokens)
{
	const bench_machine *m = &b->machine;
	double		read = m->bandwidth > 0 ? bench_weight_bytes(b->model, tokens) / m->bandwidth * 1e3 : 0;
	double		compute = bench_prefill_operations(b->model, tokens) / m->language_peak * 1e3;

	return read > compute ? read : compute;
}

double
bench_decode_limit(const bench *b, int tokens)
{
	double		bandwidth = b->machine.bandwidth;

	return bandwidth > 0 ? tokens * bench_weight_bytes(b->model, 1) / bandwidth * 1e3 : 0;
}

/* ---- the machine ---- */

/* After a request, since the engine then knows whether BLAS runs its tiles */
static void
choose_instructions(bench *b)
{
	bench_machine *m = &b->machine;
	const dsv_compute *compute = &b->engine->compute;
	const dsv_layer *last = &b->model->weights.layers[b->model->config.language.layers - 1];

	m->tower = compute->blas ? bench_blas_instruction() :
		bench_instruction(dsv_act(compute, b->model->weights.blocks[0].fc1.w.dtype));
	/* of the experts where there are any: most products are theirs */
	m->language = bench_instruction(dsv_act(compute, last->moe ? last->experts_in : last->mlp.in));
}

static void
measure_peaks(bench *b, int threads)
{
	bench_machine *m = &b->machine;

	for (int i = 0; limits_instruction_at(i) != NULL; i++)
	{
		const limits_instruction *instruction = limits_instruction_at(i);
		bench_row	row = {"", threads, "Gop/s"};
		double		peak;

		if (!limits_have(instruction))
			continue;
		peak = limits_peak(instruction, threads);
		snprintf(row.figure, sizeof(row.figure), "peak_%s", instruction->name);
		row.value = peak / 1e9;
		bench_add(&b->rows, row);
		if (instruction == m->tower)
			m->tower_peak = peak;
		if (instruction == m->language)
			m->language_peak = peak;
	}
}

static void
measure_machine(bench *b, int threads)
{
	bool		cached = bench_weight_bytes(b->model, IMAGE_TOKENS) <= limits_cache_bytes();
	double		bandwidth = limits_read_bandwidth(threads);

	bench_add(&b->rows, (bench_row) {"read_bandwidth", threads, "GB/s", bandwidth / 1e9});
	b->machine.bandwidth = cached ? 0 : bandwidth;
	measure_peaks(b, threads);
}

/* Processes that want a processor, before this one does: a machine that is not idle has other
 * figures, and limits that are too low. */
static void
load_row(bench *b)
{
	double		load;

	if (getloadavg(&load, 1) == 1)
		bench_add(&b->rows, (bench_row) {"load", b->threads, "processes", load});
}

/* ---- decoding ---- */

/* Seconds of a pass in which n sequences decode a token each */
static double
decode_seconds(bench *b, int n)
{
	int			steps = b->tokens * b->runs;
	double	   *ms = tool_alloc((size_t) steps, sizeof(*ms));
	double		median;

	for (int i = 0; i < b->runs; i++)
		bench_decode(b->engine, n, b->tokens, ms + i * b->tokens);
	median = tool_median(ms, steps);
	free(ms);
	return median / 1e3;
}

static void
decode_rows(bench *b)
{
	double		bandwidth = b->machine.bandwidth;
	double		bytes = bench_weight_bytes(b->model, 1);
	double		one = 1 / decode_seconds(b, 1);

	bench_add(&b->rows, (bench_row) {"weights_per_token", 1, "MB", bytes / 1e6});
	bench_add(&b->rows, (bench_row) {"decode", 1, "tokens/s", one, bandwidth / bytes});
	bench_add(&b->rows, (bench_row) {"decode_read", 1, "GB/s", one * bytes / 1e9, bandwidth / 1e9});
	if (b->together > 1)
	{
		int			n = b->together;
		double		all = n / decode_seconds(b, n);

		/* no limit: how many experts so many tokens share is the model's affair */
		bench_add(&b->rows, (bench_row) {"decode", n, "tokens/s", all});
		bench_add(&b->rows, (bench_row) {"decode_gain", n, "times", all / one});
	}
}

/* ---- prompts ---- */

static void
prefill_row(bench *b, int tokens)
{
	double		ms[BENCH_MAX_RUNS];

	for (int i = 0; i < b->runs; i++)
		ms[i] = bench_prefill(b->engine, tokens);
	bench_add(&b->rows, (bench_row) {"prefill", tokens, "ms", tool_median(ms, b->runs),
			  bench_prefill_limit(b, tokens)});
}

/* ---- questions ---- */

/* A new question about the image each time: what the cached pages hold is the image alone. */
static double
ask_second(bench *b, int i)
{
	char		question[64];

	snprintf(question, sizeof(question), "%d. How much is it?", i + 1);
	return bench_ask(b->engine, &b->image, question, 0, true).first;
}

static void
question_rows(bench *b)
{
	double		first[BENCH_MAX_RUNS];
	double		vision[BENCH_MAX_RUNS];
	double		next[BENCH_MAX_RUNS];
	double		second[BENCH_MAX_RUNS];
	double		first_ms;
	double		second_ms;
	double		vision_ms;
	double		tower_limit;
	dsv_usage	usage = {0};

	for (int i = 0; i < b->runs; i++)
	{
		bench_times t = bench_ask(b->engine, &b->image, BENCH_QUESTION, b->tokens, false);

		first[i] = t.first;
		vision[i] = t.vision;
		next[i] = t.next;
		usage = t.usage;
		second[i] = ask_second(b, i);
	}
	first_ms = tool_median(first, b->runs);
	second_ms = tool_median(second, b->runs);
	vision_ms = tool_median(vision, b->runs);
	tower_limit = bench_tower_limit(b, usage.tiles);
	bench_add(&b->rows, (bench_row) {"tower", usage.tiles, "Gop/s",
			  usage.tiles * bench_tile_operations(b->model) / vision_ms / 1e6, b->machine.tower_peak / 1e9});
	bench_add(&b->rows, (bench_row) {"tower_time", usage.tiles, "ms", vision_ms, tower_limit});
	bench_add(&b->rows, (bench_row) {"first_token", usage.prompt_tokens, "ms", first_ms,
			  tower_limit + bench_prefill_limit(b, usage.prompt_tokens)});
	bench_add(&b->rows, (bench_row) {"next_tokens", b->tokens, "ms", tool_median(next, b->runs),
			  bench_decode_limit(b, b->tokens)});
	bench_add(&b->rows, (bench_row) {"second_question", usage.prompt_tokens, "ms", second_ms});
	bench_add(&b->rows, (bench_row) {"second_to_first", usage.prompt_tokens, "times", second_ms / first_ms});
}

/* ---- images ---- */

static void
image_row(bench *b)
{
	dsv_bytes	image = bench_picture(IMAGE_WIDTH, IMAGE_HEIGHT, DSV_IMAGE_JPEG);
	double		ms[BENCH_MAX_RUNS];

	for (int i = 0; i < b->runs; i++)
		ms[i] = bench_image(b->engine, &image);
	bench_add(&b->rows, (bench_row) {"image", (int64_t) IMAGE_WIDTH * IMAGE_HEIGHT, "ms",
			  tool_median(ms, b->runs)});
	free((void *) image.data);
}

void
bench_figures(bench *b)
{
	load_row(b);
	/* not counted: reads the weights, and leaves the image for the second questions */
	bench_ask(b->engine, &b->image, BENCH_QUESTION, 1, true);
	choose_instructions(b);
	if (b->threads > 1)
		measure_machine(b, 1);
	measure_machine(b, b->threads);
	decode_rows(b);
	prefill_row(b, IMAGE_TOKENS);
	prefill_row(b, IMAGE_TOKENS + QUESTION_TOKENS);
	question_rows(b);
	image_row(b);
}
