/*
 * bench_growth.c
 *		How cost grows: with tiles, tokens of the prompt, tokens of the answer, pixels.
 */
#include "../engine/model.h"
#include "bench.h"

static void
grow_tiles(bench *b)
{
	static const dsv_size grids[] = {{1, 1}, {2, 1}, {2, 2}, {3, 2}, {3, 3}};
	int			side = b->model->info.image_size;

	for (int g = 0; g < (int) (sizeof(grids) / sizeof(grids[0])); g++)
	{
		double		first[BENCH_MAX_RUNS];
		double		vision[BENCH_MAX_RUNS];
		dsv_bytes	image;
		int			tiles = 0;
		int			prompt = 0;

		if (grids[g].w * grids[g].h > b->model->info.max_tiles)
			break;
		image = bench_picture(grids[g].w * side, grids[g].h * side, DSV_IMAGE_PNG);
		for (int i = 0; i < b->runs; i++)
		{
			bench_times t = bench_ask(b->engine, &image, BENCH_QUESTION, 0, false);

			first[i] = t.first;
			vision[i] = t.vision;
			tiles = t.usage.tiles;
			prompt = t.usage.prompt_tokens;
		}
		bench_add(&b->rows, (bench_row) {"growth_tower", tiles, "ms", tool_median(vision, b->runs),
				  bench_tower_limit(b, tiles)});
		bench_add(&b->rows, (bench_row) {"growth_first_token", tiles, "ms", tool_median(first, b->runs),
				  bench_tower_limit(b, tiles) + bench_prefill_limit(b, prompt)});
		free((void *) image.data);
	}
}

static void
grow_prompt(bench *b)
{
	/* 421: an image of one tile */
	static const int tokens[] = {32, 64, 128, 256, 421, 512, 1024, 2048};

	for (int k = 0; k < (int) (sizeof(tokens) / sizeof(tokens[0])); k++)
	{
		double		ms[BENCH_MAX_RUNS];

		for (int i = 0; i < b->runs; i++)
			ms[i] = bench_prefill(b->engine, tokens[k]);
		bench_add(&b->rows, (bench_row) {"growth_prefill", tokens[k], "ms", tool_median(ms, b->runs),
				  bench_prefill_limit(b, tokens[k])});
	}
}

/* The time until 16, 32, 64 ... tokens stand */
static void
grow_answer(bench *b)
{
	enum
	{
		MOST = 512
	};
	double		ms[MOST];
	double		sum = 0;

	bench_decode(b->engine, 1, MOST, ms);
	for (int i = 0; i < MOST; i++)
	{
		int			tokens = i + 1;

		sum += ms[i];
		if (tokens >= 16 && (tokens & (tokens - 1)) == 0)
			bench_add(&b->rows, (bench_row) {"growth_decode", tokens, "ms", sum,
					  bench_decode_limit(b, tokens)});
	}
}

static void
grow_image(bench *b)
{
	/* sides of 4 : 3, from a half to 24 megapixels */
	static const int widths[] = {816, 1152, 1632, 2304, 3264, 4000, 5656};

	for (int k = 0; k < (int) (sizeof(widths) / sizeof(widths[0])); k++)
	{
		int			height = widths[k] / 4 * 3;
		dsv_bytes	image = bench_picture(widths[k], height, DSV_IMAGE_JPEG);
		double		ms[BENCH_MAX_RUNS];

		for (int i = 0; i < b->runs; i++)
			ms[i] = bench_image(b->engine, &image);
		bench_add(&b->rows, (bench_row) {"growth_image", (int64_t) widths[k] * height, "ms",
				  tool_median(ms, b->runs)});
		free((void *) image.data);
	}
}

void
bench_growth(bench *b)
{
	grow_tiles(b);
	grow_prompt(b);
	grow_answer(b);
	grow_image(b);
}
