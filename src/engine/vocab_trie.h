/*
 * vocab_trie.h
 *		The tokens of a vocabulary as tries over their bytes, laid out for a depth-first walk.
 *
 * A walk goes through the nodes in order and keeps one state for each depth; where the state
 * dies it goes on at the node behind the subtree.  There are three tries, one after the
 * other in the same array:
 *
 *	plain		tokens of at most DSV_PLAIN_CHARS whole characters, no control characters, quotes,
 *				backslashes, nor any that a special token begins with; also as a set, for states in
 *				which all of them may come
 *	other		all other ordinary tokens: with quotes, backslashes, control characters, parts of
 *				characters, or very long
 *	special		special tokens, as the text that they are written as
 */
#ifndef DSV_VOCAB_TRIE_H
#define DSV_VOCAB_TRIE_H

#include "tokenizer.h"

#define DSV_TRIE_DEPTH 255
#define DSV_PLAIN_CHARS 16

typedef struct dsv_trie_node
{
	uint32_t	skip:24;		/* the node behind the subtree */
	uint32_t	depth:8;		/* bytes from the root, this one's included */
	uint32_t	token:24;		/* that ends here; dsv_vocab_trie.vocab when none does */
	uint32_t	byte:8;
} dsv_trie_node;

typedef struct dsv_vocab_trie
{
	dsv_trie_node *nodes;		/* [nnodes] plain | other | special */
	int			plain_end;
	int			other_end;
	int			nnodes;
	int			vocab;
	int			words;			/* of a set of tokens: a bit each, and at least one to spare */
	int			depth;			/* of the deepest node */
	uint32_t   *plain;			/* [words] tokens of the first trie */
	bool		special_first[256]; /* some special token's text begins with the byte */
	void	   *to_free;
	size_t		bytes;			/* taken */
} dsv_vocab_trie;

typedef enum dsv_token_kind
{
	DSV_TOKEN_NONE,				/* in no trie: unknown, outside the output matrix, empty, longer than
								 * DSV_TRIE_DEPTH, or added without being special */
	DSV_TOKEN_ORDINARY,
	DSV_TOKEN_SPECIAL,
} dsv_token_kind;

dsv_token_kind dsv_token_kind_of(const dsv_tokenizer *tok, int vocab, int32_t token);

/* vocab: rows of the output matrix.  The token `end` ends an answer and writes nothing: it is
 * left out.  Errors: NOMEM, LIMIT. */
dsv_code	dsv_vocab_trie_init(dsv_vocab_trie *trie, const dsv_tokenizer *tok, int vocab, int32_t end,
								const dsv_mem *mem, dsv_error *err);
void		dsv_vocab_trie_free(dsv_vocab_trie *trie, const dsv_mem *mem);

#endif
