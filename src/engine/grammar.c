/*
 * grammar.c
 */
#include "grammar.h"

dsv_code
dsv_grammar_from_schema(const char *schema, size_t len, const dsv_mem *mem, dsv_grammar **out, dsv_error *err)
{
	*out = NULL;
	return dsv_fail(err, DSV_UNSUPPORTED, "no grammars yet");
}

dsv_code
dsv_grammar_from_choices(const dsv_bytes *texts, int n, const dsv_mem *mem, dsv_grammar **out, dsv_error *err)
{
	*out = NULL;
	return dsv_fail(err, DSV_UNSUPPORTED, "no grammars yet");
}

void
dsv_grammar_free(dsv_grammar *grammar)
{
}
