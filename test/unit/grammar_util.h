/*
 * grammar_util.h
 *		What the tests of grammars share: random numbers, walking an automaton, looking at all
 *		of it.
 */
#ifndef GRAMMAR_UTIL_H
#define GRAMMAR_UTIL_H

#include "files_util.h"
#include "grammar.h"

#define MEMORY ((size_t) 4 << 20)

/* ---- schemas of several tests ---- */

#define OBJ "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":" \
	"\"null\"},\"c\":{\"type\":\"boolean\"}},\"required\":[\"c\",\"a\"]}"
#define OPT "{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"},\"c\":{\"type\":" \
	"\"null\"}},\"additionalProperties\":false}"
#define ENUM "{\"enum\":[\"a\",\"ab\",1,12,1.5,true,null,[1,{\"k\":\"\\n\"}],{},\"a\"]}"
#define LIST "{\"$defs\":{\"list\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/list\"}}}," \
	"\"$ref\":\"#/$defs/list\"}"
#define TREE "{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"l\":{\"$ref\":\"#\"}," \
	"\"r\":{\"$ref\":\"#\"}},\"required\":[\"v\"]}"
#define P(p) "{\"type\":\"string\",\"pattern\":\"" p "\"}"

/* ---- random numbers, the same everywhere ---- */

typedef struct rng
{
	uint64_t	state;
} rng;

static inline uint32_t
draw(rng *r, uint32_t n)
{
	r->state = r->state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) ((r->state >> 33) % n);
}

/* ---- walking ---- */

static inline dsv_grammar *
compile(const char *schema)
{
	dsv_grammar *g = NULL;
	dsv_error	err;
	dsv_code	code = dsv_grammar_from_schema(schema, strlen(schema), NULL, &g, &err);

	if (code != DSV_OK)
		fail_msg("%s: %s %s", schema, err.msg, err.detail);
	return g;
}

static inline dsv_automaton *
automaton(const dsv_grammar *g, size_t memory)
{
	dsv_automaton *a = NULL;
	dsv_error	err;

	check_ok(dsv_automaton_create(g, memory, NULL, &a, &err), &err);
	return a;
}

/* One byte on, starting over when the memory is full: *state is then renamed. */
static inline int32_t
step(dsv_automaton *a, int32_t *state, uint8_t byte, int *restarts)
{
	int32_t		to = dsv_automaton_next(a, *state, byte);

	if (to != DSV_STATE_FULL)
		return to;
	*state = dsv_automaton_restart(a, *state);
	if (restarts != NULL)
		(*restarts)++;
	assert_true(*state >= 0);
	to = dsv_automaton_next(a, *state, byte);
	assert_int_not_equal(to, DSV_STATE_FULL);
	return to;
}

/* Bytes of text that can be taken; *complete: the whole text is one of the grammar. */
static inline size_t
walk(dsv_automaton *a, const char *text, size_t len, bool *complete)
{
	int32_t		state = dsv_automaton_start(a);

	if (state == DSV_STATE_FULL)
		fail_msg("no room for the first state");
	*complete = false;
	for (size_t i = 0; i < len; i++)
	{
		int32_t		to = step(a, &state, (uint8_t) text[i], NULL);

		if (to < 0)
			return i;
		state = to;
	}
	*complete = dsv_automaton_accepts(a, state);
	return len;
}

/* ---- no dead ends, looked at state by state ---- */

#define MAX_GRAPH 40000

typedef struct graph
{
	int32_t		n;
	bool		whole;			/* all states were looked at */
} graph;

/* Walks everything; from each state an accepting one must be reachable. */
static inline graph
check_no_dead_end(const char *what, const dsv_grammar *g, int32_t limit)
{
	dsv_automaton *a = automaton(g, (size_t) 64 << 20);
	int32_t	   *next = malloc((size_t) MAX_GRAPH * 256 * sizeof(int32_t));
	bool	   *good = calloc(MAX_GRAPH, sizeof(bool));
	int32_t		at = 0;
	bool		changed = true;
	graph		result;

	assert_int_equal(dsv_automaton_start(a), 0);
	for (; at < dsv_automaton_states(a) && dsv_automaton_states(a) < limit; at++)
		for (int b = 0; b < 256; b++)
		{
			next[at * 256 + b] = dsv_automaton_next(a, at, (uint8_t) b);
			assert_true(next[at * 256 + b] != DSV_STATE_FULL);
		}
	result.n = dsv_automaton_states(a);
	result.whole = at == result.n;
	for (int32_t i = 0; i < result.n; i++)
		good[i] = i >= at || dsv_automaton_accepts(a, i);
	while (changed)
	{
		changed = false;
		for (int32_t i = at - 1; i >= 0; i--)
			for (int b = 0; b < 256 && !good[i]; b++)
				if (next[i * 256 + b] >= 0 && good[next[i * 256 + b]])
					good[i] = changed = true;
	}
	for (int32_t i = 0; i < at; i++)
		if (!good[i])
			fail_msg("%s: state %d is a dead end", what, i);
	free(next);
	free(good);
	dsv_automaton_destroy(a);
	return result;
}

#endif
