/*
 * tokenizer.c
 *		Text to tokens and back.
 *
 *	spans -> one valid UTF-8 text -> added tokens within special spans | what is between:
 *	words (tokenizer_split.c) -> merges, lowest rank first, leftmost first -> ids
 *
 * The merges of a word go through a heap of (rank, place) over a linked list of symbols,
 * so that a "word" of a megabyte, which a hostile text can have, takes n log n.
 */
#include "tokenizer_private.h"

#include <string.h>

#include "utf8.h"

/* Bytes between two polls while a text is put together, a few milliseconds */
#define COLLECTED ((size_t) 1 << 20)

int
dsv_tokenizer_size(const dsv_tokenizer *tok)
{
	return tok->size;
}

bool
dsv_tokenizer_is_added(const dsv_tokenizer *tok, int32_t id)
{
	return id >= 0 && id < tok->size && tok->tokens[id].added;
}

bool
dsv_tokenizer_is_special(const dsv_tokenizer *tok, int32_t id)
{
	return id >= 0 && id < tok->size && tok->tokens[id].special;
}

const char *
dsv_tokenizer_bytes(const dsv_tokenizer *tok, int32_t id, size_t *len)
{
	if (id < 0 || id >= tok->size || !tok->tokens[id].known)
	{
		*len = 0;
		return NULL;
	}
	*len = tok->tokens[id].len;
	return tok->bytes + tok->tokens[id].at;
}

/* ---- added tokens ---- */

/* First of added[low..high), all of which begin with the same `at` bytes, whose next byte
 * is at least c.  A token that ends there comes before all others. */
static int
first_with(const dsv_tokenizer *tok, int low, int high, size_t at, int c)
{
	while (low < high)
	{
		int			mid = low + (high - low) / 2;
		const dsv_added *added = &tok->added[mid];
		int			have = at < added->len ? (uint8_t) tok->bytes[added->at + at] : -1;

		if (have < c)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The longest added token that text[0..len) begins with, or NULL */
static const dsv_added *
longest_added(const dsv_tokenizer *tok, const char *text, size_t len)
{
	const dsv_added *found = NULL;
	int			low = 0;
	int			high = tok->nadded;

	for (size_t at = 0; at < len && low < high; at++)
	{
		int			c = (uint8_t) text[at];

		low = first_with(tok, low, high, at, c);
		high = first_with(tok, low, high, at, c + 1);
		if (low < high && tok->added[low].len == at + 1)
			found = &tok->added[low];
	}
	return found;
}

int32_t
dsv_tokenizer_added(const dsv_tokenizer *tok, const char *content)
{
	size_t		len = strlen(content);
	const dsv_added *found = longest_added(tok, content, len);

	return found != NULL && found->len == len ? found->id : -1;
}

/* ---- merging ---- */

/* The symbols of one word, named by the byte they begin at, and the merges that may come
 * next.  Nothing is taken out of the heap when its pair goes: it is seen to be gone. */
typedef struct merger
{
	void	   *block;
	size_t		room;			/* bytes of the longest word */
	uint64_t   *heap;			/* [2 room] rank << 32 | place */
	size_t		nheap;
	int32_t    *id;				/* [room] -1: no token; or part of the one before */
	uint32_t   *next;			/* [room] */
	uint32_t   *prev;			/* [room] */
} merger;

static const dsv_pair *
find_pair(const dsv_tokenizer *tok, int32_t left, int32_t right)
{
	size_t		mask = ((size_t) 1 << tok->pair_bits) - 1;
	size_t		slot;

	if (left < 0 || right < 0)
		return NULL;
	slot = dsv_pair_slot(left, right, tok->pair_bits);
	while (tok->pairs[slot].left >= 0)
	{
		if (tok->pairs[slot].left == left && tok->pairs[slot].right == right)
			return &tok->pairs[slot];
		slot = (slot + 1) & mask;
	}
	return NULL;
}

static void
heap_push(merger *m, uint64_t item)
{
	size_t		i = m->nheap++;

	while (i > 0 && m->heap[(i - 1) / 2] > item)
	{
		m->heap[i] = m->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	m->heap[i] = item;
}

static uint64_t
heap_pop(merger *m)
{
	uint64_t	top = m->heap[0];
	uint64_t	item = m->heap[--m->nheap];
	size_t		i = 0;

	for (;;)
	{
		size_t		child = 2 * i + 1;

		if (child >= m->nheap)
			break;
		if (child + 1 < m->nheap && m->heap[child + 1] < m->heap[child])
			child++;
		if (m->heap[child] >= item)
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = item;
	return top;
}

static void
consider(const dsv_tokenizer *tok, merger *m, uint32_t left, uint32_t right)
{
	const dsv_pair *pair = find_pair(tok, m->id[left], m->id[right]);

	if (pair != NULL)
		heap_push(m, (uint64_t) pair->rank << 32 | left);
}

/* False when it is canceled */
static bool
merge_word(const dsv_tokenizer *tok, merger *m, dsv_watch *watch, const char *word, uint32_t len)
{
	m->nheap = 0;
	for (uint32_t i = 0; i < len; i++)
	{
		m->id[i] = tok->byte_id[(uint8_t) word[i]];
		m->next[i] = i + 1;
		m->prev[i] = i - 1;
	}
	for (uint32_t i = 0; i + 1 < len; i++)
	{
		if (dsv_watch_canceled(watch))
			return false;
		consider(tok, m, i, i + 1);
	}
	while (m->nheap > 0)
	{
		uint64_t	item = heap_pop(m);
		uint32_t	left = (uint32_t) item;
		uint32_t	right = m->next[left];
		const dsv_pair *pair;

		if (dsv_watch_canceled(watch))
			return false;
		if (right >= len)
			continue;
		pair = find_pair(tok, m->id[left], m->id[right]);
		if (pair == NULL || pair->rank != item >> 32)
			continue;
		m->id[left] = pair->id;
		m->id[right] = -1;
		m->next[left] = m->next[right];
		if (m->next[left] < len)
		{
			m->prev[m->next[left]] = left;
			consider(tok, m, left, m->next[left]);
		}
		if (left > 0)
			consider(tok, m, m->prev[left], left);
	}
	return true;
}

static dsv_code
reserve_merger(merger *m, size_t len, const dsv_mem *mem, dsv_error *err)
{
	size_t		bytes = len * (2 * sizeof(uint64_t) + 3 * sizeof(uint32_t));

	if (len <= m->room)
		return DSV_OK;
	dsv_free(mem, m->block);
	m->room = 0;
	m->block = dsv_alloc(mem, bytes, 1);
	if (m->block == NULL)
		return dsv_fail_nomem(err, bytes);
	m->room = len;
	m->heap = m->block;
	m->id = (int32_t *) (m->heap + 2 * len);
	m->next = (uint32_t *) (m->id + len);
	m->prev = m->next + len;
	return DSV_OK;
}

/* ---- encoding ---- */

typedef struct encoder
{
	const dsv_tokenizer *tok;
	const dsv_mem *mem;
	dsv_text	text;			/* all spans, valid UTF-8 */
	size_t	   *ends;			/* [nspans] of each span in it */
	uint8_t    *cut;			/* [text.len] */
	dsv_watch	watch;
	dsv_splitter splitter;
	merger		merger;
	dsv_tokens *out;
	dsv_error  *err;
} encoder;

static dsv_code
add_token(encoder *e, int32_t id)
{
	return dsv_tokens_add(e->mem, e->out, id, 1) ? DSV_OK :
		dsv_fail_nomem(e->err, e->out->cap * sizeof(int32_t));
}

static size_t
next_cut(const encoder *e, size_t at, size_t end)
{
	const uint8_t *next = at + 1 < end ? memchr(e->cut + at + 1, 1, end - at - 1) : NULL;

	return next != NULL ? (size_t) (next - e->cut) : end;
}

static dsv_code
encode_word(encoder *e, size_t at, size_t end)
{
	merger	   *m = &e->merger;
	uint32_t	len = (uint32_t) (end - at);
	dsv_code	code = DSV_OK;

	if (dsv_watch_canceled(&e->watch) || !merge_word(e->tok, m, &e->watch, e->text.s + at, len))
		return dsv_fail_canceled(e->err);
	for (uint32_t i = 0; i < len && code == DSV_OK; i = m->next[i])
		if (m->id[i] >= 0)
			code = add_token(e, m->id[i]);
	return code;
}

/* text[at..end), in which no added token counts */
static dsv_code
encode_plain(encoder *e, size_t at, size_t end)
{
	size_t		longest = 0;
	dsv_code	code;

	if (at == end)
		return DSV_OK;
	code = dsv_split_run(e->tok, &e->splitter, e->text.s + at, end - at, e->cut + at, e->err);
	if (code != DSV_OK)
		return code;
	for (size_t i = at, next; i < end; i = next)
	{
		next = next_cut(e, i, end);
		if (longest < next - i)
			longest = next - i;
	}
	code = reserve_merger(&e->merger, longest, e->mem, e->err);
	for (size_t i = at, next; i < end && code == DSV_OK; i = next)
	{
		next = next_cut(e, i, end);
		code = encode_word(e, i, next);
	}
	return code;
}

/* One special stretch text[at..end): what is before an added token, from *done on, is
 * encoded with the plain text before it. */
static dsv_code
encode_special(encoder *e, size_t at, size_t end, size_t *done)
{
	dsv_code	code = DSV_OK;

	while (at < end && code == DSV_OK)
	{
		const dsv_added *found = longest_added(e->tok, e->text.s + at, end - at);

		if (found == NULL)
		{
			at++;
			continue;
		}
		code = encode_plain(e, *done, at);
		if (code == DSV_OK)
			code = add_token(e, found->id);
		at += found->len;
		*done = at;
	}
	return code;
}

static dsv_code
encode_spans(encoder *e, const dsv_span *spans, int nspans)
{
	size_t		done = 0;
	dsv_code	code = DSV_OK;

	for (int i = 0; i < nspans && code == DSV_OK; i++)
	{
		size_t		at = i > 0 ? e->ends[i - 1] : 0;

		if (!spans[i].special)
			continue;
		/* neighbours, and those with nothing between, are one stretch */
		while (i + 1 < nspans && (spans[i + 1].special || spans[i + 1].len == 0))
			i++;
		code = encode_special(e, at, e->ends[i], &done);
	}
	return code == DSV_OK ? encode_plain(e, done, e->text.len) : code;
}

/* Feeds bytes to a decoder: whole characters, and U+FFFD for wrong pieces, go to out. */
static bool
feed(dsv_decoder *dec, const char *s, size_t len, const dsv_mem *mem, dsv_text *out)
{
	size_t		at = 0;
	size_t		from = 0;		/* s[from..at) is right and not yet added */

	if (len == 0)
		return true;
	while (at < len)
	{
		char		begun[4];
		int			held = dec->nheld;
		int			size;
		dsv_utf8	kind;

		if (held > 0)
		{
			/* one byte more; the held ones are right so far */
			memcpy(begun, dec->held, (size_t) held);
			begun[held] = s[at];
			kind = dsv_utf8_next(begun, (size_t) held + 1, &size);
			if (kind == DSV_UTF8_WRONG)
			{
				if (!dsv_text_add(mem, out, DSV_UTF8_REPLACEMENT, 3))
					return false;
				dec->nheld = 0;
				continue;
			}
			from = ++at;
			dec->held[dec->nheld++] = (uint8_t) begun[held];
			if (kind == DSV_UTF8_PARTIAL)
				continue;
			dec->nheld = 0;
			if (!dsv_text_add(mem, out, begun, (size_t) held + 1))
				return false;
			continue;
		}
		kind = dsv_utf8_next(s + at, len - at, &size);
		if (kind != DSV_UTF8_CHAR)
		{
			if (!dsv_text_add(mem, out, s + from, at - from) ||
				(kind == DSV_UTF8_WRONG && !dsv_text_add(mem, out, DSV_UTF8_REPLACEMENT, 3)))
				return false;
			from = at + (size_t) size;
			if (kind == DSV_UTF8_PARTIAL)
			{
				memcpy(dec->held, s + at, (size_t) size);
				dec->nheld = size;
			}
		}
		at += (size_t) size;
	}
	return dsv_text_add(mem, out, s + from, at - from);
}

static dsv_code
collect_span(encoder *e, const dsv_span *span)
{
	dsv_decoder dec = {{0}, 0};

	for (size_t at = 0; at < span->len; at += COLLECTED)
	{
		size_t		len = span->len - at < COLLECTED ? span->len - at : COLLECTED;

		if (dsv_poll_canceled(e->watch.poll))
			return dsv_fail_canceled(e->err);
		if (!feed(&dec, span->text + at, len, e->mem, &e->text))
			return dsv_fail_nomem(e->err, span->len);
	}
	return dsv_decoder_end(&dec, e->mem, &e->text) ? DSV_OK : dsv_fail_nomem(e->err, span->len);
}

/* Each span is UTF-8 by itself: a character cannot begin in one and end in another. */
static dsv_code
collect(encoder *e, const dsv_span *spans, int nspans)
{
	e->ends = dsv_alloc(e->mem, (size_t) nspans, sizeof(size_t));
	if (e->ends == NULL)
		return dsv_fail_nomem(e->err, (size_t) nspans * sizeof(size_t));
	for (int i = 0; i < nspans; i++)
	{
		dsv_code	code = collect_span(e, &spans[i]);

		if (code != DSV_OK)
			return code;
		e->ends[i] = e->text.len;
	}
	e->cut = dsv_alloc_zero(e->mem, e->text.len, 1);
	return e->cut != NULL ? DSV_OK : dsv_fail_nomem(e->err, e->text.len);
}

dsv_code
dsv_tokenizer_encode(const dsv_tokenizer *tok, const dsv_span *spans, int nspans, const dsv_poll *poll,
					 const dsv_mem *mem, dsv_tokens *out, dsv_error *err)
{
	encoder		e = {.tok = tok, .mem = mem, .watch = {poll, 0}, .out = out, .err = err};
	size_t		before = out->n;
	dsv_code	code = collect(&e, spans, nspans);

	if (code == DSV_OK)
		code = dsv_splitter_open(&e.splitter, &e.watch, mem, err);
	if (code == DSV_OK)
		code = encode_spans(&e, spans, nspans);
	if (code != DSV_OK)
		out->n = before;
	dsv_splitter_close(&e.splitter);
	dsv_free(mem, e.merger.block);
	dsv_free(mem, e.cut);
	dsv_free(mem, e.ends);
	dsv_free(mem, e.text.s);
	return code;
}

/* ---- decoding ---- */

bool
dsv_decoder_add(dsv_decoder *dec, const dsv_tokenizer *tok, int32_t id, bool skip_special,
				const dsv_mem *mem, dsv_text *out)
{
	size_t		len;
	const char *bytes = dsv_tokenizer_bytes(tok, id, &len);

	if (bytes == NULL || (skip_special && tok->tokens[id].special))
		return true;
	return feed(dec, bytes, len, mem, out);
}

bool
dsv_decoder_end(dsv_decoder *dec, const dsv_mem *mem, dsv_text *out)
{
	bool		held = dec->nheld > 0;

	dec->nheld = 0;
	return !held || dsv_text_add(mem, out, DSV_UTF8_REPLACEMENT, 3);
}

size_t
dsv_tokenizer_max_piece(const dsv_tokenizer *tok)
{
	/* every byte, and those held from the token before, a wrong piece; and the zero byte */
	return 3 * (tok->max_len + 1) + 1;
}
