/*
 * tokenizer_packed.c
 *		The tables of a tokenizer as bytes of a packed file, and back.
 *
 *	head | tokens | pairs | added | bytes | regular expressions, zero-terminated | zeros to 64
 *
 * The arrays are those of struct dsv_tokenizer as they lie in memory, so that opening maps and
 * builds nothing; every offset and id in them is looked at once, before any is used.  The regular
 * expressions are the published ones and are translated and compiled anew: what may stand in them
 * is decided in one place.
 */
#include "tokenizer_private.h"

#include <string.h>

#define WHERE "packed tokenizer"
#define VERSION 1
#define MAX_PAIR_BITS 26

typedef struct head
{
	uint32_t	version;
	int32_t		size;
	int32_t		pair_bits;
	int32_t		nadded;
	uint32_t	nbytes;			/* one more than the tokens' */
	int32_t		nsteps;
	uint32_t	regex_bytes;	/* zero bytes counted */
	uint32_t	zero;
	int32_t		byte_id[256];
} head;

_Static_assert(sizeof(head) % 64 == 32 && sizeof(dsv_token) == 12 && sizeof(dsv_pair) == 16 &&
			   sizeof(dsv_added) == 12 && sizeof(bool) == 1, "the layout of packed tokenizers");

/* Where the parts begin */
typedef struct places
{
	uint64_t	tokens;
	uint64_t	pairs;
	uint64_t	added;
	uint64_t	bytes;
	uint64_t	regex;
	uint64_t	end;			/* a multiple of 64 */
} places;

static places
place(const head *h)
{
	places		p = {.tokens = sizeof(*h)};

	p.pairs = p.tokens + (uint64_t) h->size * sizeof(dsv_token);
	p.added = p.pairs + ((uint64_t) sizeof(dsv_pair) << h->pair_bits);
	p.bytes = p.added + (uint64_t) h->nadded * sizeof(dsv_added);
	p.regex = p.bytes + h->nbytes;
	p.end = (p.regex + h->regex_bytes + 63) / 64 * 64;
	return p;
}

/* ---- to bytes ---- */

/* Bytes that tokens and added tokens refer to */
static uint32_t
count_bytes(const dsv_tokenizer *tok)
{
	uint32_t	n = 0;

	for (int i = 0; i < tok->size; i++)
		if (tok->tokens[i].at + tok->tokens[i].len > n)
			n = tok->tokens[i].at + tok->tokens[i].len;
	for (int i = 0; i < tok->nadded; i++)
		if (tok->added[i].at + tok->added[i].len > n)
			n = tok->added[i].at + tok->added[i].len;
	return n;
}

dsv_code
dsv_tokenizer_pack(const dsv_tokenizer *tok, const dsv_mem *mem, dsv_text *out, dsv_error *err)
{
	static const char zeros[64] = {0};
	head		h = {.version = VERSION, .size = tok->size, .pair_bits = tok->pair_bits,
		.nadded = tok->nadded, .nbytes = count_bytes(tok), .nsteps = tok->nsteps};
	places		p;
	size_t		begin = out->len;
	bool		good;

	for (int i = 0; i < tok->nsteps; i++)
		h.regex_bytes += (uint32_t) strlen(tok->regex[i]) + 1;
	memcpy(h.byte_id, tok->byte_id, sizeof(h.byte_id));
	p = place(&h);
	good = dsv_text_add(mem, out, &h, sizeof(h)) &&
		dsv_text_add(mem, out, tok->tokens, p.pairs - p.tokens) &&
		dsv_text_add(mem, out, tok->pairs, p.added - p.pairs) &&
		dsv_text_add(mem, out, tok->added, p.bytes - p.added) &&
		dsv_text_add(mem, out, tok->bytes, h.nbytes);
	/* the same tables are the same bytes, padding too */
	for (int i = 0; good && i < tok->size; i++)
		out->s[begin + p.tokens + (size_t) i * sizeof(dsv_token) + sizeof(dsv_token) - 1] = 0;
	for (int i = 0; good && i < tok->nsteps; i++)
		good = dsv_text_add(mem, out, tok->regex[i], strlen(tok->regex[i]) + 1);
	good = good && dsv_text_add(mem, out, zeros, p.end - p.regex - h.regex_bytes);
	return good ? DSV_OK : dsv_fail_nomem(err, p.end);
}

/* ---- and back ---- */

static dsv_code
damaged(dsv_error *err, const char *what)
{
	return dsv_fail(err, DSV_FORMAT, WHERE " is damaged: %s", what);
}

static dsv_code
check_head(const head *h, size_t len, dsv_error *err)
{
	if (h->version != VERSION)
		return dsv_fail(err, DSV_UNSUPPORTED, WHERE " of version %u is not supported", h->version);
	if (h->size < 1 || h->size > DSV_TOKENIZER_MAX_ID + 1 || h->pair_bits < 1 ||
		h->pair_bits > MAX_PAIR_BITS || h->nadded < 0 || h->nadded > h->size || h->nsteps < 0 ||
		h->nsteps > DSV_TOKENIZER_MAX_STEPS || h->zero != 0 || place(h).end != len)
		return damaged(err, "its sizes are wrong");
	for (int i = 0; i < 256; i++)
		if (h->byte_id[i] < -1 || h->byte_id[i] >= h->size)
			return damaged(err, "a byte's token is out of range");
	return DSV_OK;
}

static bool
inside(uint32_t at, uint32_t len, uint32_t nbytes)
{
	return at <= nbytes && len <= nbytes - at;
}

static dsv_code
check_tokens(dsv_tokenizer *tok, uint32_t nbytes, dsv_error *err)
{
	for (int i = 0; i < tok->size; i++)
	{
		const dsv_token *t = &tok->tokens[i];
		uint8_t		flags[4];

		/* what is neither 0 nor 1 must not be read as a bool */
		memcpy(flags, &t->known, sizeof(flags));
		if (!inside(t->at, t->len, nbytes) || (flags[0] | flags[1] | flags[2]) > 1 || flags[3] != 0)
			return damaged(err, "a token is out of range");
		if (tok->max_len < t->len)
			tok->max_len = t->len;
	}
	for (int i = 0; i < tok->nadded; i++)
	{
		const dsv_added *a = &tok->added[i];

		if (!inside(a->at, a->len, nbytes) || a->len == 0 || a->id < 0 || a->id >= tok->size)
			return damaged(err, "an added token is out of range");
	}
	return DSV_OK;
}

/* A search ends at a free slot, so there has to be one. */
static dsv_code
check_pairs(const dsv_tokenizer *tok, dsv_error *err)
{
	size_t		n = (size_t) 1 << tok->pair_bits;
	bool		free_slot = false;
	bool		bad = false;

	for (size_t i = 0; i < n; i++)
	{
		const dsv_pair *p = &tok->pairs[i];

		free_slot |= p->left < 0;
		bad |= (uint32_t) p->id >= (uint32_t) tok->size;
	}
	return bad || !free_slot ? damaged(err, "a merge is out of range") : DSV_OK;
}

static dsv_code
add_steps(dsv_tokenizer *tok, const head *h, const char *regex, dsv_error *err)
{
	const char *end = regex + h->regex_bytes;
	dsv_code	code = DSV_OK;

	for (int i = 0; code == DSV_OK && i < h->nsteps; i++)
	{
		const char *zero = memchr(regex, '\0', (size_t) (end - regex));

		if (zero == NULL)
			return damaged(err, "a regular expression has no end");
		code = dsv_split_add(tok, regex, err);
		regex = zero + 1;
	}
	if (code == DSV_OK && regex != end)
		return damaged(err, "bytes behind the regular expressions");
	return code;
}

static dsv_code
attach(dsv_tokenizer *tok, const char *data, size_t len, dsv_error *err)
{
	const head *h = (const void *) data;
	places		p;
	dsv_code	code;

	if ((uintptr_t) data % sizeof(int32_t) != 0)
		return damaged(err, "it is misaligned");
	if (len < sizeof(*h))
		return damaged(err, "it is too short");
	code = check_head(h, len, err);
	if (code != DSV_OK)
		return code;
	p = place(h);
	tok->tokens = (dsv_token *) (uintptr_t) (data + p.tokens);
	tok->pairs = (dsv_pair *) (uintptr_t) (data + p.pairs);
	tok->added = (dsv_added *) (uintptr_t) (data + p.added);
	tok->bytes = (char *) (uintptr_t) (data + p.bytes);
	tok->size = h->size;
	tok->pair_bits = h->pair_bits;
	tok->nadded = h->nadded;
	memcpy(tok->byte_id, h->byte_id, sizeof(tok->byte_id));
	if ((code = check_tokens(tok, h->nbytes, err)) != DSV_OK ||
		(code = check_pairs(tok, err)) != DSV_OK)
		return code;
	return add_steps(tok, h, data + p.regex, err);
}

dsv_code
dsv_tokenizer_open_packed(const void *data, size_t len, const dsv_mem *mem, dsv_tokenizer **out,
						  dsv_error *err)
{
	dsv_tokenizer *tok = dsv_alloc_zero(mem, 1, sizeof(dsv_tokenizer));
	dsv_code	code;

	*out = NULL;
	if (tok == NULL)
		return dsv_fail_nomem(err, sizeof(dsv_tokenizer));
	tok->mem = mem != NULL ? *mem : dsv_mem_libc;
	code = dsv_split_create(tok, err);
	if (code == DSV_OK)
		code = attach(tok, data, len, err);
	if (code != DSV_OK)
	{
		dsv_tokenizer_close(tok);
		return code;
	}
	*out = tok;
	return DSV_OK;
}
