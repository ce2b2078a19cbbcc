/*
 * constraint.h
 *		An answer that obeys a grammar: which tokens may come next, and which must.
 *
 * A dsv_constraint belongs to one sequence and is in the state that the answer's bytes led to.
 * The answer is `prefix` and then a text of the grammar, written with ordinary tokens, which
 * need not end where a character does.  The end token may come where the text is complete.
 *
 * Where `specials` is set, the text of a special token that the grammar allows is written as
 * that token and never spelled: no ordinary token may begin such a text where it may stand.
 * Otherwise no special token is allowed, whatever the grammar's bytes look like.
 */
#ifndef DSV_CONSTRAINT_H
#define DSV_CONSTRAINT_H

#include "grammar.h"
#include "vocab_trie.h"

/* Bytes of an automaton: some thousands of states */
#define DSV_AUTOMATON_MEMORY ((size_t) 4 << 20)

/* Masks that are remembered */
#define DSV_MASKS 32

/* Bytes of a forced run that are turned into tokens at a time */
#define DSV_RUN 256

typedef struct dsv_constraint
{
	const dsv_tokenizer *tok;
	const dsv_vocab_trie *trie;
	const char *prefix;
	int			nprefix;
	int32_t		end;			/* the token that ends an answer */
	bool		specials;
	dsv_automaton *automaton;	/* NULL: no grammar; owned by the sequence */

	int32_t    *path;			/* states; [0] is the answer's, those behind it are a walk's */
	uint8_t    *bytes;			/* [i] leads from path[i] to path[i + 1] */
	bool		settled;		/* nothing is forced in this state */
	int32_t		held;			/* the one token that a run holds back, or -1: what comes next begins
								 * with its bytes */
	bool		broken;			/* the automaton cannot hold the states of a walk */
	uint32_t   *masks;			/* [DSV_MASKS][trie->words] */
	int32_t		mask_state[DSV_MASKS];	/* or -1 */
	int32_t		mask_held[DSV_MASKS];
	int			mask_tokens[DSV_MASKS];
	uint64_t	mask_used[DSV_MASKS];
	uint64_t	clock;
	char	   *scratch;		/* of the encoder */
} dsv_constraint;

/* Memory from the arena; tok, trie, end and prefix are set before, automaton later. */
void		dsv_constraint_layout(dsv_constraint *c, dsv_arena *arena);

/* Back to before the first byte; also what makes a constraint with its automaton ready. */
void		dsv_constraint_reset(dsv_constraint *c);

/* Whether the token may come next, the end token included. */
bool		dsv_constraint_allows(dsv_constraint *c, int32_t token);

/* Goes on behind a token; false, and nothing changes, when it may not come (the end token
 * cannot be gone behind). */
bool		dsv_constraint_take(dsv_constraint *c, int32_t token);

/* The tokens that may come next, a bit each (the end token included), valid until the next
 * call; NULL when there are none or more than `most`, which takes time for as many only.  Asked
 * for, as dsv_constraint_allows, where dsv_constraint_force returns 0. */
const uint32_t *dsv_constraint_mask(dsv_constraint *c, int most);

/*
 * Tokens that must come next, without asking the model: takes and returns at most max, 0 when
 * the model has to choose.  To be called until it returns 0.
 */
int			dsv_constraint_force(dsv_constraint *c, int32_t *out, int max);

/* The text is complete, and nothing can follow. */
bool		dsv_constraint_ended(dsv_constraint *c);

#endif
