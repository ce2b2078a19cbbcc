/*
 * tokenizer.h
 *		Byte-level BPE read from a published tokenizer.json.
 *
 * The file's own pre_tokenizer is what is run: Sequence of Split (Regex, Isolated),
 * Digits (individual) and ByteLevel (no prefix space, no regex); other kinds are refused
 * by name.  Added tokens are matched on the raw text, longest first, and only inside
 * spans marked special: user text is data.
 */
#ifndef DSV_TOKENIZER_H
#define DSV_TOKENIZER_H

#include "mem.h"

typedef struct dsv_tokenizer dsv_tokenizer;

/* One stretch of a text.  Spans that follow each other are one text for the
 * pre-tokenizer; an added token counts when it lies wholly inside special spans. */
typedef struct dsv_span
{
	const char *text;
	size_t		len;
	bool		special;
} dsv_span;

/* Errors: IO, FORMAT, UNSUPPORTED, LIMIT, NOMEM. */
dsv_code	dsv_tokenizer_open(const char *path, const dsv_mem *mem, dsv_tokenizer **out,
							   dsv_error *err);
void		dsv_tokenizer_close(dsv_tokenizer *tok);

/* The tables as bytes of a packed file (a multiple of 64), appended to out.  Errors: NOMEM. */
dsv_code	dsv_tokenizer_pack(const dsv_tokenizer *tok, const dsv_mem *mem, dsv_text *out,
							   dsv_error *err);

/* A tokenizer whose tables are such bytes.  They are used where they are, must stay, and are
 * checked first, so that nothing in them can lead out of them.  Errors: FORMAT, UNSUPPORTED,
 * NOMEM. */
dsv_code	dsv_tokenizer_open_packed(const void *data, size_t len, const dsv_mem *mem,
									  dsv_tokenizer **out, dsv_error *err);

/* Largest id + 1. */
int			dsv_tokenizer_size(const dsv_tokenizer *tok);

/* Id of an added token, -1 when there is none of that content. */
int32_t		dsv_tokenizer_added(const dsv_tokenizer *tok, const char *content);

/* A token that is found in special spans only and never made by merges. */
bool		dsv_tokenizer_is_added(const dsv_tokenizer *tok, int32_t id);

/* An added token marked special in the file. */
bool		dsv_tokenizer_is_special(const dsv_tokenizer *tok, int32_t id);

/* The bytes that a token stands for; NULL for an unknown id. */
const char *dsv_tokenizer_bytes(const dsv_tokenizer *tok, int32_t id, size_t *len);

/* Appends the tokens of the spans.  Invalid UTF-8 counts as U+FFFD, one a maximal wrong
 * piece.  Time is near-linear in the length.  Errors: NOMEM, INPUT, CANCELED by poll (may be NULL). */
dsv_code	dsv_tokenizer_encode(const dsv_tokenizer *tok, const dsv_span *spans, int nspans,
								 const dsv_poll *poll, const dsv_mem *mem, dsv_tokens *out,
								 dsv_error *err);

/* Streaming decoder: emits whole UTF-8 characters only. */
typedef struct dsv_decoder
{
	uint8_t		held[4];		/* the beginning of a character */
	int			nheld;
} dsv_decoder;

/* Appends what the token completes to out; wrong bytes become U+FFFD, one a maximal wrong
 * piece.  skip_special leaves special tokens out.  Unknown ids add nothing.  False when
 * out of memory; never when `out` has dsv_tokenizer_max_piece() bytes to spare. */
bool		dsv_decoder_add(dsv_decoder *dec, const dsv_tokenizer *tok, int32_t id,
							bool skip_special, const dsv_mem *mem, dsv_text *out);

/* What is held is not a character: appends U+FFFD for it. */
bool		dsv_decoder_end(dsv_decoder *dec, const dsv_mem *mem, dsv_text *out);

/* Most bytes that one dsv_decoder_add can append (replacement characters counted). */
size_t		dsv_tokenizer_max_piece(const dsv_tokenizer *tok);

#endif
