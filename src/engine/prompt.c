/*
 * prompt.c
 *		Conversations to token ids.
 *
 * A turn becomes a list of spans, and spans are encoded together up to the next image or
 * the end of the turn: a piece's tokens depend on all of its text, but on nothing beyond
 * an image or a turn.  Only what the engine or the caller's program writes is marked
 * special; what a user typed stays text, whatever it looks like.
 */
#include "prompt.h"

#include <limits.h>
#include <string.h>

#include "utf8.h"

typedef struct builder
{
	const dsv_model *model;
	const dsv_grid *grids;
	int			nimages;
	const dsv_mem *mem;
	dsv_prompt *out;
	int			images;			/* placed so far */
	dsv_span   *spans;			/* waiting to be encoded */
	size_t		nspans;
	size_t		spans_cap;
	dsv_error  *err;
} builder;

static dsv_code
add_span(builder *b, const char *text, size_t len, bool special)
{
	void	   *spans = b->spans;

	if (!dsv_reserve(b->mem, &spans, &b->spans_cap, b->nspans + 1, sizeof(dsv_span)))
		return dsv_fail_nomem(b->err, b->spans_cap * sizeof(dsv_span));
	b->spans = spans;
	b->spans[b->nspans++] = (dsv_span) {text, len, special};
	return DSV_OK;
}

static dsv_code
add_special(builder *b, const char *text)
{
	return add_span(b, text, strlen(text), true);
}

static dsv_code
add_id(builder *b, int32_t id, size_t times)
{
	return dsv_tokens_add(b->mem, &b->out->tokens, id, times) ? DSV_OK :
		dsv_fail_nomem(b->err, times * sizeof(int32_t));
}

/* Encodes the spans that wait.  An <image> in special text has no picture. */
static dsv_code
flush(builder *b)
{
	dsv_tokens *tokens = &b->out->tokens;
	size_t		before = tokens->n;
	dsv_code	code;

	if (b->nspans == 0)
		return DSV_OK;
	code = dsv_tokenizer_encode(b->model->tokenizer, b->spans, (int) b->nspans, NULL, b->mem,
								tokens, b->err);
	b->nspans = 0;
	for (size_t i = before; i < tokens->n && code == DSV_OK; i++)
		if (tokens->ids[i] == b->model->special.image)
			code = dsv_fail(b->err, DSV_INPUT, "special text of a prompt contains an image token");
	return code;
}

static dsv_code
add_image(builder *b)
{
	size_t		at;
	int			len;
	dsv_code	code = flush(b);

	if (code != DSV_OK)
		return code;
	at = b->out->tokens.n;
	len = dsv_tile_positions(&b->model->config, b->grids[b->images]);
	if (at > (size_t) (INT_MAX - len))
		return dsv_fail(b->err, DSV_INPUT, "prompt is too long");
	b->out->image_at[b->images] = (int) at;
	b->out->image_len[b->images] = len;
	b->images++;
	return add_id(b, b->model->special.image, (size_t) len);
}

/* ---- turns ---- */

/* Where a turn's content begins and ends when white space is stripped from the whole of
 * it: parts [first, last], without `left` bytes of the first and `right` of the last. */
typedef struct content
{
	const dsv_part *parts;
	int			first;
	int			last;			/* < first: the turn is empty */
	size_t		left;
	size_t		right;
} content;

static content
strip(const dsv_turn *turn)
{
	content		c = {turn->parts, 0, turn->nparts - 1, 0, 0};
	size_t		size;

	for (; c.first <= c.last; c.first++, c.left = 0)
	{
		const dsv_part *part = &c.parts[c.first];

		if (part->kind == DSV_PART_IMAGE)
			break;
		while (c.left < part->len &&
			   (size = (size_t) dsv_utf8_space_first(part->text + c.left,
													 part->len - c.left)) > 0)
			c.left += size;
		if (c.left < part->len)
			break;
	}
	for (; c.last >= c.first; c.last--, c.right = 0)
	{
		const dsv_part *part = &c.parts[c.last];

		if (part->kind == DSV_PART_IMAGE)
			break;
		while ((size = (size_t) dsv_utf8_space_last(part->text, part->len - c.right)) > 0)
			c.right += size;
		if (c.right < part->len)
			break;
	}
	return c;
}

static dsv_code
add_content(builder *b, const content *c)
{
	dsv_code	code = DSV_OK;

	for (int i = c->first; i <= c->last && code == DSV_OK; i++)
	{
		const dsv_part *part = &c->parts[i];
		size_t		left = i == c->first ? c->left : 0;
		size_t		right = i == c->last ? c->right : 0;

		if (part->kind == DSV_PART_IMAGE)
			code = add_image(b);
		else if (part->len > left + right)
			code = add_span(b, part->text + left, part->len - left - right,
							part->kind == DSV_PART_SPECIAL);
	}
	return code;
}

static dsv_code
add_user(builder *b, const dsv_turn *turn)
{
	content		c = strip(turn);
	dsv_code	code;

	if (c.last < c.first)
		code = add_special(b, "<|User|>:<|Assistant|>:");
	else if ((code = add_special(b, "<|User|>: ")) == DSV_OK &&
			 (code = add_content(b, &c)) == DSV_OK)
		code = add_special(b, "\n\n<|Assistant|>:");
	return code == DSV_OK ? flush(b) : code;
}

static dsv_code
add_turn(builder *b, const dsv_turn *turn, bool first, bool last)
{
	content		c;
	dsv_code	code;

	if (turn->role == DSV_ROLE_USER)
		return add_user(b, turn);
	if (turn->role == DSV_ROLE_SYSTEM && !first)
		return dsv_fail(b->err, DSV_INPUT, "a system turn must be the first");
	for (int i = 0; i < turn->nparts; i++)
		if (turn->parts[i].kind == DSV_PART_IMAGE)
			return dsv_fail(b->err, DSV_INPUT, "only a user's turn can have an image");
	c = strip(turn);
	code = add_content(b, &c);
	if (code == DSV_OK)
		code = flush(b);
	if (code == DSV_OK && turn->role == DSV_ROLE_ASSISTANT && !last)
		code = add_id(b, b->model->special.eos, 1);
	return code;
}

static dsv_code
count_images(const dsv_turn *turns, int nturns, int nimages, dsv_error *err)
{
	int			parts = 0;

	for (int i = 0; i < nturns; i++)
		for (int j = 0; j < turns[i].nparts; j++)
			if (turns[i].parts[j].kind == DSV_PART_IMAGE)
				parts++;
	if (parts != nimages)
		return dsv_fail(err, DSV_INPUT, "conversation has places for %d images but %d are given",
						parts, nimages);
	return DSV_OK;
}

static dsv_code
build(builder *b, const dsv_turn *turns, int nturns)
{
	dsv_prompt *out = b->out;
	dsv_code	code;

	out->nimages = b->nimages;
	out->image_at = dsv_alloc_zero(b->mem, (size_t) b->nimages, sizeof(int));
	out->image_len = dsv_alloc_zero(b->mem, (size_t) b->nimages, sizeof(int));
	if (out->image_at == NULL || out->image_len == NULL)
		return dsv_fail_nomem(b->err, (size_t) b->nimages * sizeof(int));
	code = add_id(b, b->model->special.bos, 1);
	for (int i = 0; i < nturns && code == DSV_OK; i++)
		code = add_turn(b, &turns[i], i == 0, i == nturns - 1);
	return code;
}

dsv_code
dsv_prompt_build(const dsv_model *model, const dsv_turn *turns, int nturns,
				 const dsv_grid *grids, int nimages, const dsv_mem *mem, dsv_prompt *out,
				 dsv_error *err)
{
	builder		b = {.model = model, .grids = grids, .nimages = nimages, .mem = mem, .out = out,
	.err = err};
	dsv_code	code;

	memset(out, 0, sizeof(*out));
	if (nturns < 1)
		return dsv_fail(err, DSV_INPUT, "conversation is empty");
	code = count_images(turns, nturns, nimages, err);
	if (code == DSV_OK)
		code = build(&b, turns, nturns);
	dsv_free(mem, b.spans);
	if (code != DSV_OK)
		dsv_prompt_free(out, mem);
	return code;
}

void
dsv_prompt_free(dsv_prompt *prompt, const dsv_mem *mem)
{
	dsv_free(mem, prompt->tokens.ids);
	dsv_free(mem, prompt->image_at);
	dsv_free(mem, prompt->image_len);
	memset(prompt, 0, sizeof(*prompt));
}

/* ---- for callers ---- */

static int
put_part(dsv_part *parts, int n, dsv_part_kind kind, const char *text, size_t len)
{
	if (len == 0)
		return n;
	parts[n] = (dsv_part) {kind, text, len};
	return n + 1;
}

int
dsv_task_parts(const char *prompt, const char *user, size_t user_len, dsv_part parts[3])
{
	const char *hole = strstr(prompt, "{}");
	int			n = 0;

	if (hole == NULL)
		return put_part(parts, n, DSV_PART_SPECIAL, prompt, strlen(prompt));
	n = put_part(parts, n, DSV_PART_SPECIAL, prompt, (size_t) (hole - prompt));
	n = put_part(parts, n, DSV_PART_TEXT, user, user_len);
	return put_part(parts, n, DSV_PART_SPECIAL, hole + 2, strlen(hole + 2));
}

int
dsv_model_count_tokens(const dsv_model *model, const char *text, size_t len, const dsv_poll *poll,
					   dsv_error *err)
{
	dsv_span	span = {text, len, false};
	dsv_tokens	tokens = {NULL, 0, 0};
	dsv_code	code = dsv_tokenizer_encode(model->tokenizer, &span, 1, poll, &model->mem, &tokens, err);

	dsv_free(&model->mem, tokens.ids);
	return code == DSV_OK ? (int) tokens.n : -1;
}
