/*
 * near_miss.c
 *		"Perhaps you meant ...", by edit distance.
 */
#include "compat.h"

#include "near_miss.h"
#include "utils/varlena.h"

/* A third of the letters may differ; varstr_levenshtein refuses longer words */
#define LONGEST 255

void
NearMissStart(NearMiss *state, const char *word)
{
	state->word = word;
	state->best = NULL;
	state->distance = Min(strlen(word), LONGEST) / 3 + 2;
}

void
NearMissTry(NearMiss *state, const char *candidate)
{
	int			d;

	if (strlen(state->word) > LONGEST || strlen(candidate) > LONGEST)
		return;
	d = varstr_levenshtein(state->word, strlen(state->word), candidate, strlen(candidate),
						   1, 1, 1, true);
	if (d < state->distance)
	{
		state->distance = d;
		state->best = candidate;
	}
}

char *
NearMissHint(const NearMiss *state)
{
	return state->best != NULL ? psprintf("Perhaps you meant \"%s\".", state->best) : NULL;
}
