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

/* ---- choosing ---- */

/* Up to this share of the vocabulary, logits of the allowed tokens alone are computed. */
#define FEW_SHARE 32

static void
append(dsv_sequence *seq, int32_t token, float logprob, bool forced)
{
	int			i = seq->nanswer++;

	seq->answer[i] = token;
	seq->logprobs[i] = logprob;
	seq->forced[i] = forced;
}

/*
 * Appends what a grammar leaves no choice about, and ends the answer where nothing is left to
 * choose; true when it did anything.  The tokens go through the model together, in the next pass.
 */
static bool
append_forced(dsv_sequence *seq)
{
	dsv_constraint *c = &seq->constraint;
	bool		any = false;

	if (c->automaton == NULL)
		return false;
	for (;;)
	{
		int32_t    *at = seq->answer + seq->nanswer;
		int			n = dsv_constraint_force(c, at, seq->max_tokens - seq->nanswer);

		for (int i = 0; i < n; i++)
		{
			append(seq, at[i], 0, true);
			add_text(seq, seq->nanswer - 1);
		}
		if (dsv_constraint_ended(c))
			finish(seq, DSV_FINISH_STOP);
		else if (seq->nanswer == seq->max_tokens)
			finish(seq, DSV_FINISH_LENGTH);
		if (n == 0 || seq->state == DSV_STATE_DONE)
			return any || seq->state == DSV_STATE_DONE;
		any = true;
	}
}

static dsv_code
fail_constraint(dsv_sequence *seq, dsv_error *err)
{
	seq->state = DSV_STATE_FAILED;
	if (seq->constraint.broken)
		return dsv_fail(err, DSV_LIMIT, "grammar is too ambiguous: its states do not fit into %zu bytes",
						DSV_AUTOMATON_MEMORY);
	dsv_fail(err, DSV_SCHEMA, "no token of the model can go on with the answer");
	dsv_detail(err, "After %zu bytes the grammar asks for text that the vocabulary cannot spell.",
			   seq->text.len);
	return DSV_SCHEMA;
}

/*
 * The next token, or -1 when the grammar allows none.  Greedy choice is made freely first: it is
 * mostly one that the grammar allows, and then no mask is needed.  A draw needs the mask, or it
 * would be from another distribution.
 */
static int32_t
choose(dsv_sequence *seq)
{
	dsv_constraint *c = &seq->constraint;
	const uint32_t *allowed;

	if (c->automaton == NULL || seq->sampler.options.temperature <= 0)
	{
		int32_t		token = dsv_sampler_next(&seq->sampler, seq->logits, seq->answer, seq->nanswer, NULL);

		if (c->automaton == NULL || dsv_constraint_allows(c, token))
			return token;
	}
	allowed = dsv_constraint_mask(c, seq->sampler.vocab);
	if (allowed == NULL)
		return -1;
	return dsv_sampler_next(&seq->sampler, seq->logits, seq->answer, seq->nanswer, allowed);
}

dsv_code
dsv_sequence_advance(dsv_sequence *seq, dsv_error *err)
{
	const dsv_engine *engine = seq->engine;
	int			vocab = engine->model->config.language.vocab;
	int32_t		token;

	seq->few = NULL;
	if (engine->options.trace != NULL)
	{
		dsv_trace_event event = {.stage = DSV_TRACE_LOGITS, .first_row = seq->nprompt + seq->nanswer - 1,
		.rows = 1, .cols = vocab, .data = seq->logits};

		engine->options.trace(engine->options.trace_ud, &event);
	}
	if (append_forced(seq))		/* at the beginning of the answer, or after a rewind */
		return DSV_OK;
	token = choose(seq);
	if (token < 0)
		return fail_constraint(seq, err);
	if (token == engine->model->special.eos)
	{
		finish(seq, DSV_FINISH_STOP);
		return DSV_OK;
	}
	if (seq->constraint.automaton != NULL && !dsv_constraint_take(&seq->constraint, token))
		return fail_constraint(seq, err);
	append(seq, token, seq->no_logprobs ? 0 : dsv_logprob(seq->logits, vocab, token), false);
	if (add_text(seq, seq->nanswer - 1))
		finish(seq, DSV_FINISH_STOP_STRING);
	else if (seq->constraint.automaton != NULL)
	{
		append_forced(seq);
		if (seq->no_logprobs && seq->state == DSV_STATE_DECODE)
			seq->few = dsv_constraint_mask(&seq->constraint, vocab / FEW_SHARE);
	}
	else if (seq->nanswer == seq->max_tokens)
		finish(seq, DSV_FINISH_LENGTH);
	return DSV_OK;
}

void
dsv_sequence_score(dsv_sequence *seq, const float *logits)
{
	const dsv_model *model = seq->engine->model;

	dsv_score_take(&seq->score, seq->fed++, logits, model->config.language.vocab, model->special.eos);
	if (seq->fed < seq->score.nnodes)
		return;
	dsv_score_end(&seq->score);
	seq->finish = DSV_FINISH_STOP;
	seq->state = DSV_STATE_DONE;
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
			out->done = seq->score.nnodes > 0 ? seq->fed : seq->nanswer;
			out->total = seq->score.nnodes > 0 ? seq->score.nnodes : seq->max_tokens;
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
	r->logprobs = seq->no_logprobs ? NULL : seq->logprobs;
	r->forced = seq->forced;
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
	r->candidates = seq->score.out;
	r->ncandidates = seq->state == DSV_STATE_DONE ? seq->score.ncandidates : 0;
	return r;
}

const int32_t *
dsv_sequence_prompt(const dsv_sequence *seq, int *ntokens)
{
	*ntokens = seq->nprompt;
	return seq->prompt;
}

/* ---- rewind ---- */

/* Brings the constraint behind answer[0 .. n) and then the forced tokens; returns how many it
 * could take. */
static int
replay(dsv_sequence *seq, int n, const int32_t *force, int nforce)
{
	int			i = 0;

	dsv_constraint_reset(&seq->constraint);
	while (i < n + nforce && dsv_constraint_take(&seq->constraint, i < n ? seq->answer[i] : force[i - n]))
		i++;
	return i;
}

static dsv_code
rewind_constraint(dsv_sequence *seq, int keep, const int32_t *force, int nforce, dsv_error *err)
{
	int			taken;

	if (seq->constraint.automaton == NULL)
		return DSV_OK;
	taken = replay(seq, keep, force, nforce);
	if (taken == keep + nforce)
		return DSV_OK;
	if (taken < keep || replay(seq, seq->nanswer, NULL, 0) < seq->nanswer)
		return fail_constraint(seq, err);
	return dsv_fail(err, DSV_INPUT, "token %d is not what the grammar allows there", force[taken - keep]);
}

/*
 * The text is decoded again from the tokens that stay.  Pages need no care: positions behind
 * the prompt are never published, and the next step overwrites them in order.
 */
dsv_code
dsv_sequence_rewind(dsv_sequence *seq, int keep, const int32_t *force, int nforce, dsv_error *err)
{
	int			vocab = seq->engine->model->config.language.vocab;
	dsv_code	code;

	if ((seq->state != DSV_STATE_DECODE && seq->state != DSV_STATE_DONE) || seq->score.nnodes > 0)
		return dsv_fail(err, DSV_INPUT, "only a sequence with an answer can be rewound");
	if (keep < 0 || keep > seq->nanswer || nforce < 0 || nforce >= seq->max_tokens - keep)
		return dsv_fail(err, DSV_INPUT, "cannot rewind an answer of %d tokens to %d and add %d (limit %d)",
						seq->nanswer, keep, nforce, seq->max_tokens);
	for (int i = 0; i < nforce; i++)
		if (force[i] < 0 || force[i] >= vocab)
			return dsv_fail(err, DSV_INPUT, "token %d is outside the vocabulary of %d", force[i], vocab);
	code = rewind_constraint(seq, keep, force, nforce, err);
	if (code != DSV_OK)
		return code;
	seq->text.len = seq->text_end = 0;
	seq->decoder = (dsv_decoder) {{0}, 0};
	seq->nanswer = keep;
	for (int i = 0; i < nforce; i++)
		append(seq, force[i], 0, true);
	for (int i = 0; i < seq->nanswer; i++)
		add_text(seq, i);
	dsv_sampler_rewind(&seq->sampler, seq->answer, seq->nanswer);
	seq->finish = DSV_FINISH_NONE;
	seq->state = DSV_STATE_DECODE;
	seq->few = NULL;

	/* the last token is fed again: its logits are gone */
	seq->fed = dsv_max(dsv_min(dsv_min(seq->fed, keep), seq->nanswer - 1), 0);
	if (seq->nanswer > 0)
		return DSV_OK;
	memcpy(seq->logits, seq->prompt_logits, vocab * sizeof(float));
	return dsv_sequence_advance(seq, err);
}
