/*
 * grammar_cache.h
 *		Grammars compiled from JSON Schemas, kept by the session.
 *
 * A trigger or a query asks with the same schema row after row.  The last few grammars
 * stay compiled; one that a call uses stays in any case until the call lets it go.
 */
#ifndef DSVL2_GRAMMAR_CACHE_H
#define DSVL2_GRAMMAR_CACHE_H

#include "compat.h"

#include "../engine/dsv.h"

typedef struct CachedGrammar CachedGrammar;

/* schema is UTF-8.  NULL when it does not compile: *err says why. */
CachedGrammar *AcquireGrammar(const char *schema, dsv_error *err);
const dsv_grammar *GetGrammar(const CachedGrammar *cached);

/* Raises nothing; NULL is allowed. */
void		ReleaseGrammar(CachedGrammar *cached);

#endif
