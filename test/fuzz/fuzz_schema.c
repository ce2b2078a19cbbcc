/*
 * fuzz_schema.c
 *		A JSON schema; the grammar of one that is accepted must have no dead end on a walk, and what
 *		the walk writes must be JSON, in little memory that is started over.  The bytes behind a zero
 *		byte choose the way.
 */
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "grammar.h"

#define MEMORY ((size_t) 256 << 10)
#define MAX_STEPS 600

typedef struct way
{
	const uint8_t *data;
	size_t		size;
	size_t		at;
} way;

static unsigned
choose(way *w, unsigned n)
{
	unsigned	x = w->size > 0 ? w->data[w->at++ % w->size] + 7 * (unsigned) w->at : (unsigned) w->at++;

	return x % n;
}

static int32_t
step(dsv_automaton *a, int32_t *state, uint8_t byte)
{
	int32_t		to = dsv_automaton_next(a, *state, byte);

	if (to != DSV_STATE_FULL)
		return to;
	*state = dsv_automaton_restart(a, *state);
	to = dsv_automaton_next(a, *state, byte);
	if (to == DSV_STATE_FULL)
		abort();
	return to;
}

/* Towards the end of something, once the text is long. */
static uint8_t
pick(way *w, const uint8_t *can, unsigned n, int written)
{
	static const char ends[] = "]}\"";

	for (int i = 0; written > MAX_STEPS / 2 && ends[i] != '\0'; i++)
		if (memchr(can, ends[i], n) != NULL)
			return (uint8_t) ends[i];
	return can[choose(w, n)];
}

static void
walk(dsv_automaton *a, way *w)
{
	char		text[MAX_STEPS];
	int32_t		state = dsv_automaton_start(a);

	for (int n = 0; n < MAX_STEPS; n++)
	{
		uint8_t		can[256];
		uint8_t		forced[8];
		unsigned	ncan = 0;

		if (dsv_automaton_accepts(a, state))
		{
			json_t	   *value = json_loadb(text, (size_t) n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES,
										   NULL);

			if (value == NULL)
				abort();
			json_decref(value);
		}
		for (int b = 0; b < 256; b++)
			if (step(a, &state, (uint8_t) b) >= 0)
				can[ncan++] = (uint8_t) b;
		if (ncan == 0 && !dsv_automaton_accepts(a, state))
			abort();
		if (ncan == 0)
			return;
		if (dsv_automaton_forced(a, state, forced, 8) > 0 && (ncan != 1 || forced[0] != can[0]))
			abort();
		text[n] = (char) pick(w, can, ncan, n);
		state = step(a, &state, (uint8_t) text[n]);
		if (state < 0)
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
	size_t		len = zero != NULL ? (size_t) (zero - data) : size;
	way			w = {data + len, size - len, 0};
	dsv_grammar *grammar = NULL;
	dsv_automaton *a = NULL;
	dsv_error	err;
	dsv_code	code;

	code = dsv_grammar_from_schema((const char *) data, len, &fuzz_mem, &grammar, &err);
	fuzz_check(code, &err);
	if (code != DSV_OK)
		return 0;
	code = dsv_automaton_create(grammar, MEMORY, &fuzz_mem, &a, &err);
	fuzz_check(code, &err);
	if (code == DSV_OK)
		walk(a, &w);
	dsv_automaton_destroy(a);
	dsv_grammar_free(grammar);
	return 0;
}
