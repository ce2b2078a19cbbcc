/*
 * bench.c
 *		dsvl2 bench: image decoding, vision tower, prefill and decode of one request, each run
 *		several times, the median shown.
 *
 * Every run starts without cached pages.  An answer that ends too early is made to go on
 * with a forced token, so that decoding is measured over the number of tokens asked for.
 */
#include <limits.h>
#include <png.h>
#include <string.h>

#include "tool.h"

#define MAX_RUNS 100
#define QUESTION "What is written in this image?"

typedef struct bench_options
{
	tool_setup	setup;
	int			tokens;
	int			runs;
	int			side;			/* of the synthetic picture */
} bench_options;

typedef struct bench_times
{
	double		image[MAX_RUNS];
	double		tile[MAX_RUNS];		/* ms a tile */
	double		prefill[MAX_RUNS];	/* tokens a second */
	double		decode[MAX_RUNS];
	double		first[MAX_RUNS];	/* ms to the first token */
	int			n;
	dsv_usage	usage;			/* of the last run */
} bench_times;

/* A page of dark strokes on light ground, the same on every machine, as PNG */
static dsv_bytes
synthetic_picture(int side)
{
	png_image	image = {.version = PNG_IMAGE_VERSION, .width = side, .height = side,
		.format = PNG_FORMAT_RGB};
	uint8_t    *rgb = tool_alloc((size_t) side * side, 3);
	png_alloc_size_t len = 0;
	uint32_t	x = 1;
	void	   *data;

	for (int y = 0; y < side; y++)
		for (int i = 0; i < side; i++)
		{
			bool		stroke = y / 8 % 3 == 1 && (i / 5 * 7 + y / 24 * 13) % 11 < 6;

			x = x * 1664525u + 1013904223u;
			memset(rgb + ((size_t) y * side + i) * 3, (stroke ? 30 : 220) + (int) (x >> 27), 3);
		}
	if (!png_image_write_to_memory(&image, NULL, &len, 0, rgb, 0, NULL))
		tool_fail("could not write a picture: %s", image.message);
	data = tool_alloc(len, 1);
	if (!png_image_write_to_memory(&image, data, &len, 0, rgb, 0, NULL))
		tool_fail("could not write a picture: %s", image.message);
	free(rgb);
	return (dsv_bytes) {data, len};
}

/* Goes on after an early end; false when the answer is as long as asked for. */
static bool
force_on(dsv_sequence *seq, int tokens, const dsv_result *r)
{
	int32_t		token = r->ntokens > 0 ? r->tokens[r->ntokens - 1] : 0;
	dsv_error	err;

	if (r->ntokens >= tokens - 1)
		return false;
	if (dsv_sequence_rewind(seq, r->ntokens, &token, 1, &err) != DSV_OK)
		tool_fail_error(&err);
	return true;
}

static void
run_once(dsv_engine *engine, const dsv_request *request, int tokens, bench_times *t)
{
	dsv_sequence *seq;
	const dsv_result *r;
	dsv_error	err;
	int			steps = 0;
	double		start = tool_now_ms();

	if (dsv_engine_submit(engine, request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	while (dsv_sequence_state(seq) < DSV_STATE_DECODE)
		if (dsv_engine_step(engine, &err) != DSV_OK)
			tool_fail_error(&err);
	t->first[t->n] = tool_now_ms() - start;
	do
	{
		while (dsv_sequence_state(seq) < DSV_STATE_DONE)
		{
			if (dsv_engine_step(engine, &err) != DSV_OK)
				tool_fail_error(&err);
			steps++;
		}
		r = dsv_sequence_result(seq);
	} while (force_on(seq, tokens, r));
	t->usage = r->usage;
	t->image[t->n] = t->usage.decode_image_ms;
	t->tile[t->n] = t->usage.vision_ms / (t->usage.tiles > 0 ? t->usage.tiles : 1);
	t->prefill[t->n] = t->usage.prompt_tokens / t->usage.prefill_ms * 1e3;
	t->decode[t->n] = steps > 0 ? steps / t->usage.decode_ms * 1e3 : 0;
	t->n++;
	dsv_sequence_release(seq);
}

static void
print_times(bench_times *t)
{
	printf("prompt          %d tokens, %d of the image; %d tiles through the tower\n",
		   t->usage.prompt_tokens, t->usage.image_tokens, t->usage.tiles);
	printf("image decode    %8.2f ms\n", tool_median(t->image, t->n));
	printf("vision          %8.2f ms a tile\n", tool_median(t->tile, t->n));
	printf("prefill         %8.1f tokens/s\n", tool_median(t->prefill, t->n));
	printf("first token     %8.2f ms after the request\n", tool_median(t->first, t->n));
	printf("decode          %8.1f tokens/s\n", tool_median(t->decode, t->n));
}

int
tool_bench(const tool_command *command, int argc, char **argv)
{
	bench_options o = {.tokens = 64, .runs = 5, .side = 768};
	tool_option options[] = {
		{"tokens", TOOL_INT, &o.tokens, "to decode (64)"},
		{"runs", TOOL_INT, &o.runs, "after one that is not counted (5)"},
		{"side", TOOL_INT, &o.side, "pixels of the synthetic picture's side (768)"},
		TOOL_SETUP_OPTIONS(o.setup),
		{NULL}
	};
	int			n = tool_parse(command, options, argc, argv, 1, 2);
	dsv_engine_options engine_options = tool_engine_options(&o.setup);
	dsv_model  *model;
	dsv_engine *engine;
	dsv_bytes	image;
	tool_question q;
	dsv_request request = {.images = &image, .nimages = 1, .no_prefix_cache = true};
	bench_times *t = tool_alloc(1, sizeof(*t));

	if (o.runs < 1 || o.runs > MAX_RUNS)
		tool_usage_error(command, "--runs must be 1 to %d", MAX_RUNS);
	if (o.tokens < 2 || o.side < 1 || o.side > 16384)
		tool_usage_error(command, "--tokens must be at least 2, --side 1 to 16384");
	model = tool_open_model(argv[0]);
	engine = tool_create_engine(model, &engine_options);
	image = n > 1 ? tool_read_file(argv[1]) : synthetic_picture(o.side);
	tool_ask(&q, 1, "{}", QUESTION, DSV_PART_TEXT);
	request.turns = &q.turn;
	request.nturns = 1;
	request.max_tokens = o.tokens;
	run_once(engine, &request, o.tokens, t);
	t->n = 0;
	for (int i = 0; i < o.runs; i++)
		run_once(engine, &request, o.tokens, t);
	printf("model           %s, %s activations\n", dsv_model_get_info(model)->name,
		   tool_precisions[o.setup.precision]);
	printf("machine         %s, %d threads, blas %s; median of %d runs\n",
		   dsv_cpu_level_name(dsv_cpu_current()), dsv_pool_workers() + 1,
		   o.setup.no_blas ? "off" : dsv_blas_version(), o.runs);
	print_times(t);
	free((void *) image.data);
	free(t);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	return 0;
}
