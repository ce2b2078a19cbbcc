/*
 * limits.h
 *		What this machine can do at most, measured: bytes read and operations a second.
 *
 * A figure of the bench stands beside one of these.  Each is the best of many short slices, so
 * that other work on the machine, which slows a figure down, does not lower its limit too.
 */
#ifndef LIMITS_H
#define LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes a second that so many threads read from memory that is in no cache */
double		limits_read_bandwidth(int threads);

/* Bytes of the largest cache; 0 = not known */
size_t		limits_cache_bytes(void);

/* An instruction, or a few that make one step of a product, repeated on registers alone */
typedef struct limits_instruction
{
	const char *name;			/* "fma_256": what is computed, bits of a register */
	const char *mnemonics;
	double		operations;		/* of a step: multiplications and additions */
	unsigned	needs;			/* features of the processor */
	int			steps;			/* independent ones, in a round */
	void		(*rounds) (int64_t n);
} limits_instruction;

/* The i-th that this build knows, or NULL behind the last; one of a given name */
const limits_instruction *limits_instruction_at(int i);
const limits_instruction *limits_instruction_named(const char *name);

/* The processor and the operating system have it. */
bool		limits_have(const limits_instruction *instruction);

/* Operations a second of so many threads; only of one that limits_have() */
double		limits_peak(const limits_instruction *instruction, int threads);

#endif
