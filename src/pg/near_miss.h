/*
 * near_miss.h
 *		"Perhaps you meant ...": the candidate that a mistyped word resembles.
 */
#ifndef DSVL2_NEAR_MISS_H
#define DSVL2_NEAR_MISS_H

typedef struct NearMiss
{
	const char *word;
	const char *best;			/* NULL while nothing resembles it */
	int			distance;
} NearMiss;

void		NearMissStart(NearMiss *state, const char *word);

/* candidate must outlive the state */
void		NearMissTry(NearMiss *state, const char *candidate);

/* Hint text (palloc'd), or NULL */
char	   *NearMissHint(const NearMiss *state);

#endif
