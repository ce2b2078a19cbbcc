/*
 * tokenizer_private.h
 *		What a dsv_tokenizer holds, shared by its files:
 *
 *	tokenizer_load.c	tokenizer.json to tables, and everything that is refused
 *	tokenizer_scan.c	the two large members of the file, read without a tree of objects
 *	tokenizer_split.c	the pre-tokenizer: regular expressions to places where a text is cut
 *	tokenizer_packed.c	the tables as bytes of a packed file, and back
 *	tokenizer.c			encoding and decoding
 *
 * All tables lie in one block or in a mapped file and never change, so encoding may run on
 * any thread.
 */
#ifndef DSV_TOKENIZER_PRIVATE_H
#define DSV_TOKENIZER_PRIVATE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer.h"

#define DSV_TOKENIZER_MAX_STEPS 16
#define DSV_TOKENIZER_MAX_ID ((1 << 22) - 1)

typedef struct dsv_token
{
	uint32_t	at;				/* its bytes: bytes[at .. at + len) */
	uint32_t	len;
	bool		known;			/* false: the file has no such id */
	bool		added;
	bool		special;
} dsv_token;

/* One merge, in an open hash table by (left, right) */
typedef struct dsv_pair
{
	int32_t		left;			/* -1: the slot is free */
	int32_t		right;
	uint32_t	rank;			/* the lowest rank is merged first */
	int32_t		id;				/* of the two together */
} dsv_pair;

typedef struct dsv_added
{
	uint32_t	at;				/* the text that it is found by */
	uint32_t	len;
	int32_t		id;
} dsv_added;

struct dsv_tokenizer
{
	dsv_mem		mem;
	void	   *block;			/* holds the next four; NULL: they lie in a file */
	dsv_token  *tokens;			/* [size] */
	dsv_pair   *pairs;			/* [1 << pair_bits] */
	dsv_added  *added;			/* [nadded], by content */
	char	   *bytes;
	int			size;
	int			pair_bits;		/* 1..31 */
	int			nadded;
	size_t		max_len;		/* bytes of the longest token */
	int32_t		byte_id[256];	/* token of each single byte, or -1 */
	pcre2_general_context *pcre;
	pcre2_code *steps[DSV_TOKENIZER_MAX_STEPS];
	char	   *regex[DSV_TOKENIZER_MAX_STEPS];	/* of each step, as published */
	int			nsteps;
};

static inline size_t
dsv_pair_slot(int32_t left, int32_t right, int bits)
{
	uint64_t	key = (uint64_t) (uint32_t) left << 32 | (uint32_t) right;

	return (size_t) (key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - bits));
}

/* ---- tokenizer_scan.c ---- */

/* Values of the members model.vocab and model.merges, as they stand in the file */
typedef struct dsv_slice
{
	const char *s;				/* NULL: the file has no such member */
	const char *end;
} dsv_slice;

/* Finds the two members.  What lies around them is not checked here.  Errors: FORMAT. */
dsv_code	dsv_scan_model(const char *json, size_t len, dsv_slice *vocab, dsv_slice *merges,
						   dsv_error *err);

typedef struct dsv_vocab_entry
{
	uint32_t	at;				/* in dsv_vocab.bytes */
	uint32_t	len;
	int32_t		id;
	bool		is_bytes;		/* every character stood for a byte */
} dsv_vocab_entry;

typedef struct dsv_merge
{
	int32_t		left;
	int32_t		right;
	int32_t		id;
} dsv_merge;

/* The file's content while it is loaded */
typedef struct dsv_vocab
{
	const dsv_mem *mem;
	int16_t		byte_of[0x144]; /* byte that a character stands for, or -1 */
	dsv_text	bytes;
	dsv_vocab_entry *entries;	/* [nentries] */
	size_t		nentries;
	size_t		entries_cap;
	uint32_t   *index;			/* [index_size], entry + 1 by content; 0 = free */
	size_t		index_size;		/* a power of two */
	dsv_merge  *merges;			/* [nmerges], by rank */
	size_t		nmerges;
	size_t		merges_cap;
} dsv_vocab;

void		dsv_vocab_init(dsv_vocab *vocab, const dsv_mem *mem);
void		dsv_vocab_free(dsv_vocab *vocab);

/* Errors: FORMAT, NOMEM. */
dsv_code	dsv_vocab_read(dsv_vocab *vocab, dsv_slice slice, dsv_error *err);
dsv_code	dsv_vocab_read_merges(dsv_vocab *vocab, dsv_slice slice, dsv_error *err);

/* Appends what a token's text stands for to vocab->bytes: bytes where every character has
 * one, else the text itself. */
dsv_code	dsv_vocab_add_bytes(dsv_vocab *vocab, const char *text, size_t len, uint32_t *at,
								uint32_t *out_len, bool *is_bytes, dsv_error *err);

/* ---- tokenizer_split.c ---- */

dsv_code	dsv_split_create(dsv_tokenizer *tok, dsv_error *err);
void		dsv_split_destroy(dsv_tokenizer *tok);

/* Adds a step that cuts before and after every match.  Errors: FORMAT, UNSUPPORTED, NOMEM. */
dsv_code	dsv_split_add(dsv_tokenizer *tok, const char *regex, dsv_error *err);

/* What one caller needs to run the steps */
/* Polls once in many steps: a step is a match, a merge or a word. */
typedef struct dsv_watch
{
	const dsv_poll *poll;
	unsigned	steps;
} dsv_watch;

static inline bool
dsv_watch_canceled(dsv_watch *watch)
{
	return ++watch->steps % 4096 == 0 && dsv_poll_canceled(watch->poll);
}

typedef struct dsv_splitter
{
	dsv_watch  *watch;
	pcre2_general_context *general;
	pcre2_match_context *context;
	pcre2_match_data *match;
} dsv_splitter;

dsv_code	dsv_splitter_open(dsv_splitter *splitter, dsv_watch *watch, const dsv_mem *mem,
							  dsv_error *err);
void		dsv_splitter_close(dsv_splitter *splitter);

/* Sets cut[i] where a word of text [len], valid UTF-8, begins; cut[0..len) must be zero.
 * Errors: NOMEM, INPUT, CANCELED. */
dsv_code	dsv_split_run(const dsv_tokenizer *tok, dsv_splitter *splitter, const char *text,
						  size_t len, uint8_t *cut, dsv_error *err);

#endif
