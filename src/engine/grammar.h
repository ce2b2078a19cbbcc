/*
 * grammar.h
 *		Grammars over bytes, and the lazily built automaton that walks one.
 *
 * A dsv_grammar is immutable.  A dsv_automaton belongs to one sequence: it names the states
 * that were reached by small numbers and remembers their transitions, in memory taken at
 * its creation.  States are deterministic: a text leads to one state, whatever the grammar
 * leaves open between alternatives.
 */
#ifndef DSV_GRAMMAR_H
#define DSV_GRAMMAR_H

#include "mem.h"

typedef struct dsv_automaton dsv_automaton;

/* dsv_automaton_next: no text of the grammar goes on this way */
#define DSV_STATE_DEAD (-1)
/* dsv_automaton_next: the memory is full, see dsv_automaton_restart */
#define DSV_STATE_FULL (-2)

/* Takes about `memory` bytes, all that it will ever need.  Errors: NOMEM, LIMIT (the memory cannot
 * hold even a few states of this grammar). */
dsv_code	dsv_automaton_create(const dsv_grammar *grammar, size_t memory, const dsv_mem *mem,
								 dsv_automaton **out, dsv_error *err);
void		dsv_automaton_destroy(dsv_automaton *a);

/* The state before the first byte; DSV_STATE_FULL is possible after a restart only.  States are
 * numbered 0 .. dsv_automaton_states(a) - 1. */
int32_t		dsv_automaton_start(dsv_automaton *a);
int			dsv_automaton_states(const dsv_automaton *a);

/* From every state that is not dead some text of the grammar can be completed. */
int32_t		dsv_automaton_next(dsv_automaton *a, int32_t state, uint8_t byte);

/* What dsv_automaton_next knows, to be looked up without a call: rows[state * nclasses +
 * class_of[byte]] is its answer, or DSV_STATE_UNKNOWN.  Valid as long as the automaton. */
#define DSV_STATE_UNKNOWN (-3)
typedef struct dsv_transitions
{
	const int32_t *rows;
	const uint8_t *class_of;	/* [256] */
	uint32_t	nclasses;
} dsv_transitions;
dsv_transitions dsv_automaton_transitions(const dsv_automaton *a);

/* The text that led here is complete (it may still be possible to go on). */
bool		dsv_automaton_accepts(const dsv_automaton *a, int32_t state);

/* The bytes that every text of the grammar has next, up to where it branches or may end; how
 * many there are, at most max. */
int			dsv_automaton_forced(dsv_automaton *a, int32_t state, uint8_t *out, int max);

/*
 * True when the next `chars` characters may be any at all but control characters, '"', '\\' and '<'
 * (those that mean something, in JSON or in the text of a special token).  False says nothing.
 */
bool		dsv_automaton_takes_text(const dsv_automaton *a, int32_t state, int chars);

/* Forgets all states but the given one; its new number is returned, all others are void.  There is
 * room for at least one new state then. */
int32_t		dsv_automaton_restart(dsv_automaton *a, int32_t state);

#endif
