/*
 * sequence.c
 *		The answer of a sequence: next token, text, result, rewind.
 */
#include <math.h>
#include <string.h>

#include "engine.h"

/* ---- text ---- */

/* Decodes the answer's i-th token into the text; true when the answer ends there with a stop
 * string. */
static bool
add_text(dsv_sequence *seq, int i)
{
	size_t		from = seq->text.len;
	ptrdiff_t	stop;

	/* the capacity is for max_tokens pieces, so nothing is allocated here */
	dsv_decoder_add(&seq->decoder, seq->engine->model->tokenizer, seq->answer[i], !seq->keep_special,
					&seq->engine->mem, &seq->text);
	seq->text_end = seq->text.len;
	seq->ends[i] = (int32_t) seq->text.len;
	stop = seq->nstop > 0 ? dsv_stop_find(seq->text.s, seq->text.len, from, seq->stop, seq->nstop) : -1;
	if (stop < 0)
		return false;
	seq->text_end = (size_t) stop;
	return true;
}

static void
finish(dsv_sequence *seq, dsv_finish how)
{
	if (how != DSV_FINISH_STOP_STRING)
	{
		dsv_decoder_end(&seq->decoder, &seq->engine->mem, &seq->text);
		seq->text_end = seq->text.len;
	}
	seq->finish = how;
	seq->state = DSV_STATE_DONE;
}

void
dsv_sequence_advance(dsv_sequence *seq)
{
	const dsv_engine *engine = seq->engine;
	float		logprob;
	int32_t		token;

	if (engine->options.trace != NULL)
	{
		dsv_trace_event event = {.stage = DSV_TRACE_LOGITS, .first_row = seq->nprompt + seq->nanswer - 1,
		.rows = 1, .cols = engine->model->config.language.vocab, .data = seq->logits};

		engine->options.trace(engine->options.trace_ud, &event);
	}
	token = dsv_sampler_next(&seq->sampler, seq->logits, seq->answer, seq->nanswer, NULL, &logprob);
	if (token == engine->model->special.eos)
	{
		finish(seq, DSV_FINISH_STOP);
		return;
	}
	seq->answer[seq->nanswer] = token;
	seq->logprobs[seq->nanswer++] = logprob;
	if (add_text(seq, seq->nanswer - 1))
		finish(seq, DSV_FINISH_STOP_STRING);
	else if (seq->nanswer == seq->max_tokens)
		finish(seq, DSV_FINISH_LENGTH);
}

/* ---- what the caller sees ---- */

const char *
dsv_finish_name(dsv_finish how)
{
	static const char *const names[] = {
		[DSV_FINISH_NONE] = "none",
		[DSV_FINISH_STOP] = "stop",
		[DSV_FINISH_STOP_STRING] = "stop_string",
		[DSV_FINISH_LENGTH] = "length",
		[DSV_FINISH_CANCELED] = "canceled",
	};

	return names[how];
}

dsv_state
dsv_sequence_state(const dsv_sequence *seq)
{
	return seq->state;
}

void
dsv_sequence_pause(dsv_sequence *seq, bool paused)
{
	seq->paused = paused;
}

void
dsv_sequence_progress(const dsv_sequence *seq, dsv_progress *out)
{
	const dsv_config *config = &seq->engine->model->config;
	int			layers = config->language.layers;

	*out = (dsv_progress) {.state = seq->state, .output_tokens = seq->nanswer};
	switch (seq->state)
	{
		case DSV_STATE_WAITING:
		case DSV_STATE_VISION:
			out->done = seq->vision_done;
			out->total = seq->vision_total;
			break;
		case DSV_STATE_PREFILL:
			out->done = (int64_t) (seq->chunk_first - seq->cached) / dsv_max(seq->chunk_max, 1) * layers +
				seq->layer;
			out->total = (int64_t) dsv_ceil_div(seq->nprompt - seq->cached, dsv_max(seq->chunk_max, 1)) * layers;
			break;
		default:
			out->done = seq->nanswer;
			out->total = seq->max_tokens;
	}
}

/* A clock's noise is nothing to show: whole microseconds */
static double
whole_us(double ms)
{
	return round(ms * 1e3) / 1e3;
}

const dsv_result *
dsv_sequence_result(dsv_sequence *seq)
{
	dsv_result *r = &seq->result;
	size_t		held = seq->state == DSV_STATE_DONE ? 0 :
		dsv_stop_held(seq->text.s, seq->text_end, seq->stop, seq->nstop);

	seq->usage.output_tokens = seq->nanswer;
	r->len = seq->text_end - held;
	r->text = seq->text.s;
	seq->text.s[seq->text_end] = '\0';
	r->tokens = seq->answer;
	r->logprobs = seq->logprobs;
	r->ends = seq->ends;
	r->ntokens = seq->nanswer;
	r->finish = seq->finish;
	r->usage = seq->usage;
	r->usage.decode_image_ms = whole_us(seq->usage.decode_image_ms);
	r->usage.vision_ms = whole_us(seq->usage.vision_ms);
	r->usage.prefill_ms = whole_us(seq->usage.prefill_ms);
	r->usage.decode_ms = whole_us(seq->usage.decode_ms);
	r->nimages = seq->nimages;
	r->images = seq->image_infos;
	return r;
}

const int32_t *
dsv_sequence_prompt(const dsv_sequence *seq, int *ntokens)
{
	*ntokens = seq->nprompt;
	return seq->prompt;
}

void
dsv_sequence_cancel(dsv_sequence *seq)
{
	if (seq->state >= DSV_STATE_DONE)
		return;
	seq->state = DSV_STATE_FAILED;
	seq->finish = DSV_FINISH_CANCELED;
}

/*
 * The text is decoded again from the tokens that stay.  Pages need no care: positions behind
 * the prompt are never published, and the next step overwrites them in order.
 */
dsv_code
dsv_sequence_rewind(dsv_sequence *seq, int keep, const int32_t *force, int nforce, dsv_error *err)
{
	int			vocab = seq->engine->model->config.language.vocab;

	if (seq->state != DSV_STATE_DECODE && seq->state != DSV_STATE_DONE)
		return dsv_fail(err, DSV_INPUT, "only a sequence with an answer can be rewound");
	if (keep < 0 || keep > seq->nanswer || nforce < 0 || nforce >= seq->max_tokens - keep)
		return dsv_fail(err, DSV_INPUT, "cannot rewind an answer of %d tokens to %d and add %d (limit %d)",
						seq->nanswer, keep, nforce, seq->max_tokens);
	for (int i = 0; i < nforce; i++)
		if (force[i] < 0 || force[i] >= vocab)
			return dsv_fail(err, DSV_INPUT, "token %d is outside the vocabulary of %d", force[i], vocab);
	seq->text.len = seq->text_end = 0;
	seq->decoder = (dsv_decoder) {{0}, 0};
	for (int i = 0; i < nforce; i++)
	{
		seq->answer[keep + i] = force[i];
		seq->logprobs[keep + i] = 0;
	}
	seq->nanswer = keep + nforce;
	for (int i = 0; i < seq->nanswer; i++)
		add_text(seq, i);
	dsv_sampler_rewind(&seq->sampler, seq->answer, seq->nanswer);
	seq->finish = DSV_FINISH_NONE;
	seq->state = DSV_STATE_DECODE;

	/* the last token is fed again: its logits are gone */
	seq->fed = dsv_max(dsv_min(dsv_min(seq->fed, keep), seq->nanswer - 1), 0);
	if (seq->nanswer == 0)
	{
		memcpy(seq->logits, seq->prompt_logits, vocab * sizeof(float));
		dsv_sequence_advance(seq);
	}
	return DSV_OK;
}
