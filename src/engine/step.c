/*
 * step.c
 *		dsv_engine_step: one tile, one layer of a prefill, or one token for every decoding
 *		sequence.  Nothing is allocated here, and everything that outlives a step is in
 *		the sequences and the pages.
 */
#include <string.h>

#include "engine.h"

static void
fail_sequence(dsv_sequence *seq)
{
	seq->state = DSV_STATE_FAILED;
	seq->finish = DSV_FINISH_CANCELED;
}

static void
trace_rows(const dsv_engine *engine, dsv_trace_stage stage, int layer, int first, int rows, const float *x)
{
	dsv_trace_event event = {.stage = stage, .layer = layer, .first_row = first, .rows = rows,
	.cols = engine->model->config.language.hidden, .data = x};

	if (engine->options.trace != NULL)
		engine->options.trace(engine->options.trace_ud, &event);
}

/* ---- vision ---- */

static const uint8_t *
view_pixels(const dsv_sequence *seq, int view)
{
	int			size = seq->engine->model->config.vision.image_size;
	int			i = seq->nimages - 1;

	while (seq->images[i].first_tile > view)
		i--;
	return seq->images[i].tiles.rgb + (size_t) (view - seq->images[i].first_tile) * size * size * 3;
}

static dsv_code
step_vision(dsv_engine *engine, dsv_sequence *seq, dsv_error *err)
{
	const dsv_model *model = engine->model;
	double		start = dsv_now_ms();
	int			u = seq->next_unique;
	dsv_code	code;

	/* another request may have been admitted under other settings since */
	engine->compute.blas = seq->blas;
	while (!seq->needed[u])
		u++;
	code = dsv_vision_run(&engine->compute, &model->config, &model->weights, &engine->vision,
						  view_pixels(seq, seq->first_of[u]), seq->first_of[u], &seq->vision_done,
						  seq->tile_rows + u * engine->tiles.count, err);
	seq->usage.vision_ms += dsv_now_ms() - start;
	if (code != DSV_OK)
	{
		fail_sequence(seq);
		return code;
	}
	seq->next_unique = u + 1;
	if (seq->tile_slot[u] >= 0)
		dsv_tile_cache_fill(&engine->tiles, seq->tile_slot[u],
							seq->cacheable ? seq->tile_rows + u * engine->tiles.count : NULL);
	seq->tile_slot[u] = -1;
	if (seq->vision_done == seq->vision_total)
		for (int i = 0; i < seq->nimages; i++)
			dsv_tiles_free(&seq->images[i].tiles, &engine->mem);
	return DSV_OK;
}

/* ---- language ---- */

static void
embed_token(const dsv_engine *engine, int32_t token, float *row)
{
	const dsv_matrix *embed = &engine->model->weights.embed;

	kern->widen(dsv_matrix_row(embed, token), embed->dtype, row, embed->cols);
}

static void
embed_chunk(dsv_engine *engine, dsv_sequence *seq)
{
	int			hidden = engine->model->config.language.hidden;

	for (int r = 0; r < seq->chunk_rows; r++)
	{
		const float *image = dsv_sequence_image_row(seq, seq->chunk_first + r);
		float	   *x = seq->x + (size_t) r * hidden;

		if (image != NULL)
			memcpy(x, image, hidden * sizeof(float));
		else
			embed_token(engine, seq->prompt[seq->chunk_first + r], x);
	}
	trace_rows(engine, DSV_TRACE_EMBEDS, 0, seq->chunk_first, seq->chunk_rows, seq->x);
	trace_rows(engine, DSV_TRACE_HIDDEN, 0, seq->chunk_first, seq->chunk_rows, seq->x);
}

static void
run_layer(dsv_engine *engine, int layer, const dsv_pass *pass)
{
	dsv_layer_run(&engine->compute, &engine->model->config, &engine->model->weights, layer, &engine->kv,
				  (dsv_rope) {engine->cosine, engine->sine}, pass, &engine->language);
}

/* logits[rows, vocab] of rows x; h is scratch of the same shape as x */
static void
output_logits(dsv_engine *engine, const float *x, int rows, float *h, float *logits)
{
	const dsv_model *model = engine->model;
	int			hidden = model->config.language.hidden;
	dsv_linear	head = {model->weights.lm_head, NULL};

	dsv_rms_norm_rows(&engine->compute, x, hidden, rows, hidden, model->weights.final_norm,
					  model->config.language.rms_eps, h, hidden);
	dsv_linear_run(&engine->compute, &head, h, hidden, rows, logits, head.w.rows, DSV_STORE_F32, false);
}

/* The prompt is in the pages: its full pages get their names, its last row gives the first token. */
static void
end_prefill(dsv_engine *engine, dsv_sequence *seq)
{
	const dsv_config *config = &engine->model->config;
	const float *last = seq->x + (size_t) (seq->chunk_rows - 1) * config->language.hidden;

	if (seq->cacheable)
		for (int i = seq->cached / DSV_KV_PAGE; i < seq->nprompt / DSV_KV_PAGE; i++)
			dsv_kv_publish(&engine->kv, seq->pages[i], &seq->names[i]);
	output_logits(engine, last, 1, engine->language.h, seq->logits);
	trace_rows(engine, DSV_TRACE_FINAL, config->language.layers, seq->nprompt - 1, 1, engine->language.h);
	memcpy(seq->prompt_logits, seq->logits, config->language.vocab * sizeof(float));
	seq->state = DSV_STATE_DECODE;
	dsv_sequence_advance(seq);
}

static dsv_code
step_prefill(dsv_engine *engine, dsv_sequence *seq, dsv_error *err)
{
	double		start = dsv_now_ms();
	dsv_segment segment;
	dsv_pass	pass;

	if (dsv_poll_canceled(engine->compute.poll))
	{
		fail_sequence(seq);
		return dsv_fail_canceled(err);
	}
	if (seq->layer == 0)
	{
		seq->chunk_rows = dsv_min(seq->chunk_max, seq->nprompt - seq->chunk_first);
		embed_chunk(engine, seq);
	}
	segment = (dsv_segment) {seq->pages, seq->chunk_first, seq->chunk_rows, 0};
	pass = (dsv_pass) {&segment, 1, seq->chunk_rows, engine->compute.mla == DSV_MLA_ABSORBED, seq->x};
	run_layer(engine, seq->layer++, &pass);
	trace_rows(engine, DSV_TRACE_HIDDEN, seq->layer, seq->chunk_first, seq->chunk_rows, seq->x);
	if (seq->layer == engine->model->config.language.layers)
	{
		if (seq->chunk_first + seq->chunk_rows == seq->nprompt)
			end_prefill(engine, seq);
		else
		{
			seq->chunk_first += seq->chunk_rows;
			seq->layer = 0;
		}
	}
	seq->usage.prefill_ms += dsv_now_ms() - start;
	return DSV_OK;
}

/* One position for each of the sequences: the first token of the answer that is not in the
 * pages yet (more than one waits only after a rewind that forced tokens). */
static dsv_code
step_decode(dsv_engine *engine, dsv_sequence **seqs, int n, dsv_error *err)
{
	const dsv_config *config = &engine->model->config;
	int			hidden = config->language.hidden;
	int			vocab = config->language.vocab;
	double		start = dsv_now_ms();
	dsv_segment segments[DSV_MAX_SEQUENCES];
	dsv_pass	pass = {segments, n, n, engine->compute.mla != DSV_MLA_EXPANDED, engine->decode_x};

	for (int i = 0; i < n; i++)
	{
		embed_token(engine, seqs[i]->answer[seqs[i]->fed], engine->decode_x + (size_t) i * hidden);
		segments[i] = (dsv_segment) {seqs[i]->pages, seqs[i]->nprompt + seqs[i]->fed, 1, i};
	}
	for (int layer = 0; layer < config->language.layers; layer++)
	{
		if (dsv_poll_canceled(engine->compute.poll))
		{
			for (int i = 0; i < n; i++)
				fail_sequence(seqs[i]);
			return dsv_fail_canceled(err);
		}
		run_layer(engine, layer, &pass);
	}
	for (int i = 0; i < n; i += DSV_LOGIT_ROWS)
	{
		int			rows = dsv_min(DSV_LOGIT_ROWS, n - i);

		output_logits(engine, engine->decode_x + (size_t) i * hidden, rows, engine->language.h,
					  engine->decode_logits);
		for (int r = 0; r < rows; r++)
			memcpy(seqs[i + r]->logits, engine->decode_logits + (size_t) r * vocab, vocab * sizeof(float));
	}
	for (int i = 0; i < n; i++)
	{
		if (++seqs[i]->fed == seqs[i]->nanswer)
			dsv_sequence_advance(seqs[i]);
		seqs[i]->usage.decode_ms += (dsv_now_ms() - start) / n;
	}
	return DSV_OK;
}

/* ---- scheduling ---- */

bool
dsv_engine_runnable(const dsv_engine *engine)
{
	for (const dsv_sequence *s = engine->sequences; s != NULL; s = s->next)
		if (s->state < DSV_STATE_DONE && !s->paused)
			return true;
	return false;
}

/* Images and prompts first come first served; they take turns with the decoding sequences. */
dsv_code
dsv_engine_step(dsv_engine *engine, dsv_error *err)
{
	dsv_sequence *decoding[DSV_MAX_SEQUENCES];
	dsv_sequence *starting = NULL;
	int			n = 0;

	for (dsv_sequence *s = engine->sequences; s != NULL; s = s->next)
	{
		if (s->paused)
			continue;
		if (s->state == DSV_STATE_DECODE)
			decoding[n++] = s;
		else if (s->state < DSV_STATE_DECODE && starting == NULL)
			starting = s;
	}
	engine->decode_next = n > 0 && (starting == NULL || !engine->decode_next);
	if (engine->decode_next)
		return step_decode(engine, decoding, n, err);
	if (starting == NULL)
		return DSV_OK;
	/* the processor level was changed: what is computed now must not get names of before */
	if (starting->kernels != kern)
		starting->cacheable = false;
	if (starting->state == DSV_STATE_WAITING)
		dsv_sequence_find_cached(starting);
	starting->state = starting->vision_done < starting->vision_total ? DSV_STATE_VISION : DSV_STATE_PREFILL;
	if (starting->state == DSV_STATE_VISION)
		return step_vision(engine, starting, err);
	return step_prefill(engine, starting, err);
}
