/*
 * step.c
 *		dsv_engine_step: one tile, one layer of a prefill, or one pass for all decoding
 *		sequences.  Nothing is allocated here, and everything that outlives a step is in
 *		the sequences and the pages.
 */
#include <math.h>
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
		dsv_sequence_drop_tiles(seq);
	return DSV_OK;
}

/* ---- language ---- */

static void
embed_token(const dsv_engine *engine, int32_t token, float *row)
{
	const dsv_matrix *embed = &engine->model->weights.embed;

	if (kern_is_quantised(embed->dtype))
		kern_get_row(embed->data, embed->dtype, (size_t) embed->cols, (size_t) token, row);
	else
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

/*
 * The last layer of a prefill pass: of all rows but the prompt's last one nothing is needed but keys and
 * values.
 */
static void
run_last_layer(dsv_engine *engine, const dsv_sequence *seq, const dsv_pass *pass)
{
	const dsv_config *config = &engine->model->config;
	int			layer = config->language.layers - 1;
	int			last = pass->rows - 1;
	dsv_segment segment = {seq->pages, seq->chunk_first + last, 1, 0};
	dsv_pass	row = {&segment, 1, 1, pass->absorbed, pass->x + (size_t) last * config->language.hidden};

	if (engine->options.trace_all_rows)
	{
		run_layer(engine, layer, pass);
		return;
	}
	dsv_layer_store(&engine->compute, config, &engine->model->weights, layer, &engine->kv,
					(dsv_rope) {engine->cosine, engine->sine}, pass, &engine->language);
	if (seq->chunk_first + pass->rows == seq->nprompt)
		run_layer(engine, layer, &row);
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

/* logits[vocab] behind the last token fed, or behind the prompt */
static dsv_code
take_logits(dsv_sequence *seq, const float *logits, dsv_error *err)
{
	if (seq->score.nnodes > 0)
	{
		dsv_sequence_score(seq, logits);
		return DSV_OK;
	}
	memcpy(seq->logits, logits, seq->engine->model->config.language.vocab * sizeof(float));
	return dsv_sequence_advance(seq, err);
}

/* The prompt is in the pages: its full pages get their names, its last row gives the first token. */
static dsv_code
end_prefill(dsv_engine *engine, dsv_sequence *seq, dsv_error *err)
{
	const dsv_config *config = &engine->model->config;
	const float *last = seq->x + (size_t) (seq->chunk_rows - 1) * config->language.hidden;

	if (seq->cacheable)
		for (int i = seq->cached / DSV_KV_PAGE; i < seq->nprompt / DSV_KV_PAGE; i++)
			dsv_kv_publish(&engine->kv, seq->pages[i], &seq->names[i]);
	output_logits(engine, last, 1, engine->language.h, seq->prompt_logits);
	trace_rows(engine, DSV_TRACE_FINAL, config->language.layers, seq->nprompt - 1, 1, engine->language.h);
	seq->state = DSV_STATE_DECODE;
	return take_logits(seq, seq->prompt_logits, err);
}

static dsv_code
step_prefill(dsv_engine *engine, dsv_sequence *seq, dsv_error *err)
{
	double		start = dsv_now_ms();
	dsv_segment segment;
	dsv_pass	pass;
	dsv_code	code = DSV_OK;

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
	if (seq->layer == engine->model->config.language.layers - 1)
		run_last_layer(engine, seq, &pass);
	else
		run_layer(engine, seq->layer, &pass);
	seq->layer++;
	trace_rows(engine, DSV_TRACE_HIDDEN, seq->layer, seq->chunk_first, seq->chunk_rows, seq->x);
	if (seq->layer == engine->model->config.language.layers)
	{
		if (seq->chunk_first + seq->chunk_rows == seq->nprompt)
			code = end_prefill(engine, seq, err);
		else
		{
			seq->chunk_first += seq->chunk_rows;
			seq->layer = 0;
		}
	}
	seq->usage.prefill_ms += dsv_now_ms() - start;
	return code;
}

/* ---- decode ---- */

/*
 * A pass over tokens that are not in the pages yet.  An answer has one, or more where a grammar or
 * a rewind forced some, and only the last one's logits are asked for.  Candidates have the nodes
 * of their tree, each a row whose logits are asked for; a branch overwrites the positions of the
 * one before, which is why it is a segment of its own.
 */
typedef struct decode_pass
{
	dsv_sequence **seqs;
	int			n;
	int			take[DSV_MAX_SEQUENCES];	/* rows of each sequence */
	int			rows;
	dsv_segment segments[DSV_DECODE_ROWS];
	int			nsegments;
} decode_pass;

static int
pending_rows(const dsv_sequence *seq)
{
	return (seq->score.nnodes > 0 ? seq->score.nnodes : seq->nanswer) - seq->fed;
}

/* Token of the i-th pending row, and its position in the sequence */
static int32_t
pending_row(const dsv_sequence *seq, int i, int *position)
{
	if (seq->score.nnodes > 0)
	{
		const dsv_score_node *node = &seq->score.nodes[seq->fed + i];

		*position = seq->nprompt + node->depth - 1;
		return node->token;
	}
	*position = seq->nprompt + seq->fed + i;
	return seq->answer[seq->fed + i];
}

/* One row each in turn while there is room: nobody waits for another's many. */
static void
share_rows(decode_pass *p)
{
	bool		more = true;

	while (more && p->rows < DSV_DECODE_ROWS)
	{
		more = false;
		for (int i = 0; i < p->n && p->rows < DSV_DECODE_ROWS; i++)
			if (p->take[i] < pending_rows(p->seqs[i]))
			{
				p->take[i]++;
				p->rows++;
				more = true;
			}
	}
}

/* Rows at positions that follow each other are one segment. */
static void
embed_pending(dsv_engine *engine, decode_pass *p)
{
	int			hidden = engine->model->config.language.hidden;
	int			row = 0;

	for (int i = 0; i < p->n; i++)
	{
		int			next = -1;

		for (int k = 0; k < p->take[i]; k++, row++)
		{
			int			position;
			int32_t		token = pending_row(p->seqs[i], k, &position);

			embed_token(engine, token, engine->decode_x + (size_t) row * hidden);
			if (position != next)
				p->segments[p->nsegments++] = (dsv_segment) {p->seqs[i]->pages, position, 0, row};
			p->segments[p->nsegments - 1].rows++;
			next = position + 1;
		}
	}
}

/* Moves the rows whose logits are asked for to the front; their sequences go to owner. */
static int
gather_rows(dsv_engine *engine, decode_pass *p, dsv_sequence **owner)
{
	int			hidden = engine->model->config.language.hidden;
	int			row = 0;
	int			n = 0;

	for (int i = 0; i < p->n; i++)
	{
		dsv_sequence *seq = p->seqs[i];
		bool		all = seq->score.nnodes > 0;
		bool		last = !all && p->take[i] == pending_rows(seq);

		if (!all)
			seq->fed += p->take[i];
		for (int k = 0; k < p->take[i]; k++, row++)
			if (all || (last && k == p->take[i] - 1))
			{
				memmove(engine->decode_x + (size_t) n * hidden, engine->decode_x + (size_t) row * hidden,
						hidden * sizeof(float));
				owner[n++] = seq;
			}
	}
	return n;
}

/* ---- logits of few tokens ---- */

#define FEW_WORDS 64			/* of the set, for one task */

typedef struct few_job
{
	const dsv_matrix *w;
	dsv_rows	h;
	const uint32_t *few;
	float	   *logits;
} few_job;

/* Logits of the tokens of a panel that are in bits; a panel of quantised rows is one piece. */
static void
panel_logits(const few_job *job, int first, uint32_t bits)
{
	float		panel[KERN_PANEL];
	int			n = dsv_min(KERN_PANEL, job->w->rows - first);

	if (bits != 0 && kern_is_quantised(job->w->dtype))
		dsv_gemm(&job->h, 0, job->w, first, NULL, panel, KERN_PANEL, 1, n);
	for (; bits != 0; bits &= bits - 1)
	{
		int			at = __builtin_ctz(bits);

		if (kern_is_quantised(job->w->dtype))
			job->logits[first + at] = panel[at];
		else
			dsv_gemm(&job->h, 0, job->w, first + at, NULL, job->logits + first + at, 1, 1, 1);
	}
}

static void
few_task(void *ud, int task, int worker)
{
	const few_job *job = ud;
	int			end = dsv_min((task + 1) * FEW_WORDS, job->w->rows / 32 + 1);

	for (int i = task * FEW_WORDS; i < end; i++)
	{
		panel_logits(job, i * 32, job->few[i] & 0xffff);
		panel_logits(job, i * 32 + KERN_PANEL, job->few[i] >> 16);
	}
}

/* logits[vocab] of one row, -inf but for the tokens of a set: for those the same bits as
 * output_logits() has. */
static void
few_logits(dsv_engine *engine, const float *x, const uint32_t *few, float *h, float *logits)
{
	const dsv_model *model = engine->model;
	const dsv_matrix *w = &model->weights.lm_head;
	few_job		job = {.w = w, .few = few, .logits = logits};
	int			words = w->rows / 32 + 1;
	double		tokens = 0;

	for (int i = 0; i < w->rows; i++)
		logits[i] = -INFINITY;
	for (int i = 0; i < words; i++)
		tokens += __builtin_popcount(few[i]);
	dsv_rms_norm_rows(&engine->compute, x, w->cols, 1, w->cols, model->weights.final_norm,
					  model->config.language.rms_eps, h, w->cols);
	job.h = dsv_pack_rows(&engine->compute, h, w->cols, 1, w->cols, dsv_act(&engine->compute, w->dtype), 0);
	dsv_parallel(&engine->compute, dsv_ceil_div(words, FEW_WORDS), tokens * w->cols, few_task, &job);
}

/* Rows from the i-th on whose logits are computed together */
static int
rows_together(dsv_sequence **owner, int i, int n)
{
	int			rows = 1;

	if (owner[i]->few == NULL)
		while (i + rows < n && rows < DSV_LOGIT_ROWS && owner[i + rows]->few == NULL)
			rows++;
	return rows;
}

/* A sequence that fails here does not keep the others from going on. */
static dsv_code
advance_fed(dsv_engine *engine, decode_pass *p, dsv_error *err)
{
	int			hidden = engine->model->config.language.hidden;
	int			vocab = engine->model->config.language.vocab;
	dsv_sequence *owner[DSV_DECODE_ROWS];
	int			n = gather_rows(engine, p, owner);
	dsv_code	code = DSV_OK;
	int			rows;

	for (int i = 0; i < n; i += rows)
	{
		const float *x = engine->decode_x + (size_t) i * hidden;

		rows = rows_together(owner, i, n);
		if (owner[i]->few != NULL)
			few_logits(engine, x, owner[i]->few, engine->language.h, engine->decode_logits);
		else
			output_logits(engine, x, rows, engine->language.h, engine->decode_logits);
		for (int r = 0; r < rows; r++)
		{
			dsv_code	one = take_logits(owner[i + r], engine->decode_logits + (size_t) r * vocab,
										  code == DSV_OK ? err : NULL);

			if (code == DSV_OK)
				code = one;
		}
	}
	return code;
}

static dsv_code
step_decode(dsv_engine *engine, dsv_sequence **seqs, int n, dsv_error *err)
{
	double		start = dsv_now_ms();
	decode_pass p = {.seqs = seqs, .n = n};
	dsv_pass	pass;
	dsv_code	code;

	share_rows(&p);
	embed_pending(engine, &p);
	pass = (dsv_pass) {p.segments, p.nsegments, p.rows, engine->compute.mla != DSV_MLA_EXPANDED,
	engine->decode_x};
	for (int layer = 0; layer < engine->model->config.language.layers; layer++)
	{
		if (dsv_poll_canceled(engine->compute.poll))
		{
			for (int i = 0; i < n; i++)
				fail_sequence(seqs[i]);
			return dsv_fail_canceled(err);
		}
		run_layer(engine, layer, &pass);
	}
	code = advance_fed(engine, &p, err);
	for (int i = 0; i < n; i++)
		seqs[i]->usage.decode_ms += (dsv_now_ms() - start) * p.take[i] / p.rows;
	return code;
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
