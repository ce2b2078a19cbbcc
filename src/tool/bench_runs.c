/*
 * bench_runs.c
 *		One measurement each: a question about an image, a prefill, decoding, an image.
 */
#include <png.h>
#include <string.h>

#include "../engine/engine.h"
#include "bench.h"

/* ---- pictures ---- */

static dsv_bytes
write_png(const uint8_t *rgb, int width, int height)
{
	png_image	image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height,
		.format = PNG_FORMAT_RGB, .flags = PNG_IMAGE_FLAG_FAST};
	png_alloc_size_t len = 0;
	void	   *data;

	if (!png_image_write_to_memory(&image, NULL, &len, 0, rgb, 0, NULL))
		tool_fail("could not write a picture: %s", image.message);
	data = tool_alloc(len, 1);
	if (!png_image_write_to_memory(&image, data, &len, 0, rgb, 0, NULL))
		tool_fail("could not write a picture: %s", image.message);
	return (dsv_bytes) {data, len};
}

static dsv_bytes
to_jpeg(dsv_bytes png)
{
	dsv_picture *picture;
	dsv_blob	jpeg;
	dsv_error	err;

	if (dsv_picture_open(&png, NULL, NULL, NULL, &picture, &err) != DSV_OK ||
		dsv_picture_encode(picture, DSV_IMAGE_JPEG, &jpeg, &err) != DSV_OK)
		tool_fail_error(&err);
	dsv_picture_close(picture);
	free((void *) png.data);
	return (dsv_bytes) {jpeg.data, jpeg.len};
}

dsv_bytes
bench_picture(int width, int height, dsv_image_format format)
{
	uint8_t    *rgb = tool_alloc((size_t) width * height, 3);
	uint32_t	x = 1;
	dsv_bytes	file;

	for (int y = 0; y < height; y++)
		for (int i = 0; i < width; i++)
		{
			bool		stroke = y / 8 % 3 == 1 && (i / 5 * 7 + y / 24 * 13) % 11 < 6;

			x = x * 1664525u + 1013904223u;
			memset(rgb + ((size_t) y * width + i) * 3, (stroke ? 30 : 220) + (int) (x >> 27), 3);
		}
	file = write_png(rgb, width, height);
	free(rgb);
	return format == DSV_IMAGE_JPEG ? to_jpeg(file) : file;
}

/* ---- sequences ---- */

static void
step(dsv_engine *engine)
{
	dsv_error	err;

	if (dsv_engine_step(engine, &err) != DSV_OK)
		tool_fail_error(&err);
}

static void
step_until(dsv_engine *engine, const dsv_sequence *seq, dsv_state state)
{
	while (dsv_sequence_state(seq) < state)
		step(engine);
}

/* A sequence whose answer has ended goes on with a forced token: what is measured is the pass, not
 * the answer. */
static void
keep_going(dsv_sequence *seq)
{
	const dsv_result *r = dsv_sequence_result(seq);
	int32_t		token = r->ntokens > 0 ? r->tokens[r->ntokens - 1] : 0;
	dsv_error	err;

	if (dsv_sequence_state(seq) == DSV_STATE_DONE &&
		dsv_sequence_rewind(seq, r->ntokens, &token, 1, &err) != DSV_OK)
		tool_fail_error(&err);
}

/* Any tokens, other ones for another seed, in the part of the vocabulary without special ones */
static dsv_sequence *
submit_text(dsv_engine *engine, int tokens, int max_tokens, uint32_t seed)
{
	dsv_request request = {.max_tokens = max_tokens, .no_prefix_cache = true};
	int			vocab = engine->model->info.vocab;
	int32_t    *ids = tool_alloc((size_t) tokens, sizeof(*ids));
	dsv_sequence *seq;
	dsv_error	err;

	for (int i = 0; i < tokens; i++)
	{
		seed = seed * 1664525u + 1013904223u;
		ids[i] = (int32_t) (vocab / 4 + (seed >> 8) % (vocab / 2));
	}
	if (dsv_engine_submit_tokens(engine, ids, tokens, &request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	free(ids);
	return seq;
}

/* ---- measurements ---- */

bench_times
bench_ask(dsv_engine *engine, const dsv_bytes *image, const char *question, int next, bool cached)
{
	tool_question q;
	dsv_request request = {.turns = &q.turn, .nturns = 1, .images = image, .nimages = 1,
		.max_tokens = next + 2, .no_prefix_cache = !cached};
	bench_times t;
	dsv_sequence *seq;
	dsv_error	err;
	double		start = tool_now_ms();

	tool_ask(&q, 1, "{}", question, DSV_PART_TEXT);
	if (dsv_engine_submit(engine, &request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	step_until(engine, seq, DSV_STATE_DECODE);
	t.first = tool_now_ms() - start;
	for (int i = 0; i < next; i++)
	{
		keep_going(seq);
		step(engine);
	}
	t.next = tool_now_ms() - start - t.first;
	t.usage = dsv_sequence_result(seq)->usage;
	t.vision = t.usage.vision_ms;
	dsv_sequence_release(seq);
	return t;
}

double
bench_prefill(dsv_engine *engine, int tokens)
{
	dsv_sequence *seq = submit_text(engine, tokens, 1, 1);
	double		start = tool_now_ms();
	double		ms;

	step_until(engine, seq, DSV_STATE_DECODE);
	ms = tool_now_ms() - start;
	dsv_sequence_release(seq);
	return ms;
}

/* Tokens in front of what is decoded: few, so that the weights count */
#define DECODE_PROMPT 32

void
bench_decode(dsv_engine *engine, int n, int steps, double *ms)
{
	dsv_sequence *seqs[DSV_MAX_SEQUENCES];

	for (int i = 0; i < n; i++)
	{
		seqs[i] = submit_text(engine, DECODE_PROMPT, steps + 2, (uint32_t) i);
		step_until(engine, seqs[i], DSV_STATE_DECODE);
		dsv_sequence_pause(seqs[i], true);
	}
	for (int i = 0; i < n; i++)
		dsv_sequence_pause(seqs[i], false);
	for (int s = 0; s < steps; s++)
	{
		double		start;

		for (int i = 0; i < n; i++)
			keep_going(seqs[i]);
		start = tool_now_ms();
		step(engine);
		ms[s] = tool_now_ms() - start;
	}
	for (int i = 0; i < n; i++)
		dsv_sequence_release(seqs[i]);
}

double
bench_image(dsv_engine *engine, const dsv_bytes *image)
{
	tool_question q;
	dsv_request request = {.turns = &q.turn, .nturns = 1, .images = image, .nimages = 1,
		.max_tokens = 1, .no_prefix_cache = true};
	dsv_sequence *seq;
	dsv_error	err;
	double		start = tool_now_ms();
	double		ms;

	tool_ask(&q, 1, "{}", "", DSV_PART_TEXT);
	if (dsv_engine_submit(engine, &request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	ms = tool_now_ms() - start;
	dsv_sequence_release(seq);
	return ms;
}
