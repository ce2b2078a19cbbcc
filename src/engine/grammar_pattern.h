/*
 * grammar_pattern.h
 *		A regular expression of JSON Schema on its way into a grammar.
 *
 * The text is parsed into a tree, the tree is written out as a nondeterministic machine (counted
 * repetitions are copied), and that one is made deterministic before it becomes nodes: each of the
 * three has a size it may not exceed.  Machine and sets belong to a dsv_pattern.
 */
#ifndef DSV_GRAMMAR_PATTERN_H
#define DSV_GRAMMAR_PATTERN_H

#include "grammar_private.h"

#define DSV_PATTERN_MAX_NESTING 50
#define DSV_PATTERN_MAX_REPEAT 10000
#define DSV_PATTERN_MAX_STEPS 40000

typedef enum dsv_step_kind
{
	DSV_STEP_CHAR,				/* a character of `set`, then `a` */
	DSV_STEP_SPLIT,				/* a or b */
	DSV_STEP_START,				/* ^, then a */
	DSV_STEP_END,				/* $, then a */
	DSV_STEP_MATCH,
} dsv_step_kind;

typedef struct dsv_step
{
	uint32_t	kind;
	uint32_t	set;
	uint32_t	a;
	uint32_t	b;
} dsv_step;

typedef struct dsv_code_range
{
	uint32_t	lo;
	uint32_t	hi;
} dsv_code_range;

/* Ascending, disjoint: ranges[first .. first + n) */
typedef struct dsv_char_set
{
	uint32_t	first;
	uint32_t	n;
} dsv_char_set;

typedef struct dsv_pattern
{
	const dsv_mem *mem;
	dsv_code	code;
	const char *why;			/* of a failure: to follow "pattern ..." */
	dsv_code_range *ranges;
	size_t		nranges;
	size_t		ranges_cap;
	dsv_char_set *sets;
	size_t		nsets;
	size_t		sets_cap;
	dsv_step   *steps;
	size_t		nsteps;
	size_t		steps_cap;
	uint32_t	start;
} dsv_pattern;

/* Fills a zeroed pattern (mem apart).  Errors, in code and why: INPUT, UNSUPPORTED, LIMIT,
 * NOMEM (no why). */
dsv_code	dsv_pattern_parse(dsv_pattern *p, const char *text, size_t len);
void		dsv_pattern_free(dsv_pattern *p);

dsv_code	dsv_pattern_fail(dsv_pattern *p, dsv_code code, const char *why);

/* The inside of a string in which the pattern is found somewhere, of min to max characters,
 * closing quote included.  Errors as above. */
uint32_t	dsv_node_pattern(dsv_builder *b, dsv_pattern *p, uint32_t min, uint32_t max,
							 uint32_t next);

#endif
