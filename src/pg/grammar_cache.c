/*
 * grammar_cache.c
 *		A list of compiled grammars, the one used last in front.
 */
#include "grammar_cache.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#define MAX_IDLE 8

struct CachedGrammar
{
	dlist_node	node;
	char	   *schema;			/* UTF-8 */
	dsv_grammar *grammar;
	int			users;
};

static dlist_head grammars = DLIST_STATIC_INIT(grammars);

static CachedGrammar *
find(const char *schema)
{
	dlist_iter	iter;

	dlist_foreach(iter, &grammars)
	{
		CachedGrammar *cached = dlist_container(CachedGrammar, node, iter.cur);

		if (strcmp(cached->schema, schema) == 0)
			return cached;
	}
	return NULL;
}

/* Drops what nobody uses beyond the most recent ones. */
static void
trim(void)
{
	dlist_mutable_iter iter;
	int			idle = 0;

	dlist_foreach_modify(iter, &grammars)
	{
		CachedGrammar *cached = dlist_container(CachedGrammar, node, iter.cur);

		if (cached->users > 0 || ++idle <= MAX_IDLE)
			continue;
		dlist_delete(&cached->node);
		dsv_grammar_free(cached->grammar);
		pfree(cached->schema);
		pfree(cached);
	}
}

static CachedGrammar *
compile(const char *schema, dsv_error *err)
{
	CachedGrammar *cached = MemoryContextAllocZero(TopMemoryContext, sizeof(*cached));

	cached->schema = MemoryContextStrdup(TopMemoryContext, schema);
	if (dsv_grammar_from_schema(schema, strlen(schema), NULL, &cached->grammar, err) != DSV_OK)
	{
		pfree(cached->schema);
		pfree(cached);
		return NULL;
	}
	dlist_push_head(&grammars, &cached->node);
	return cached;
}

CachedGrammar *
AcquireGrammar(const char *schema, dsv_error *err)
{
	CachedGrammar *cached = find(schema);

	if (cached == NULL)
		cached = compile(schema, err);
	if (cached == NULL)
		return NULL;
	cached->users++;
	dlist_move_head(&grammars, &cached->node);
	trim();
	return cached;
}

const dsv_grammar *
GetGrammar(const CachedGrammar *cached)
{
	return cached->grammar;
}

void
ReleaseGrammar(CachedGrammar *cached)
{
	if (cached == NULL)
		return;
	cached->users--;
	trim();
}
