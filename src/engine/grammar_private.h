/*
 * grammar_private.h
 *		What a grammar is made of, and how its makers put it together.
 *
 * A grammar is a graph of nodes.  A BYTES node takes one byte and goes on; the others take
 * none: SPLIT leaves open which way, CALL walks another part of the graph and comes back to
 * its second edge at that part's END, LOOP is the turning point of a counted repetition.  An
 * END with nobody to return to ends the text.
 *
 * Nodes are made from the back: whoever makes a value is given the node that follows it.  The
 * calls never fail on the spot: a builder that ran into a limit keeps its first error and
 * hands out DSV_NODE_NONE, so that a maker checks once, where it would otherwise run long.
 *
 * Two rules keep every text completable.  No way through the graph returns to a node without
 * taking a byte (checked when a grammar is finished).  And `height` of a node says how many
 * nested recursive calls its shortest completion needs, so that the automaton enters nothing
 * that it has not the depth to leave again.
 */
#ifndef DSV_GRAMMAR_PRIVATE_H
#define DSV_GRAMMAR_PRIVATE_H

#include "mem.h"

#define DSV_GRAMMAR_MAX_NODES 400000
#define DSV_GRAMMAR_MAX_EDGES 800000
/* recursive $ref that are open at a time in a text */
#define DSV_GRAMMAR_MAX_DEPTH 32
/* calls inside calls, recursion apart */
#define DSV_GRAMMAR_MAX_NESTING 128
/* bytes of a schema, or of all choices together */
#define DSV_GRAMMAR_MAX_TEXT (256 * 1024)
#define DSV_GRAMMAR_MAX_COUNT 1000000000
#define DSV_COUNT_UNLIMITED UINT32_MAX
/* height of what no text completes */
#define DSV_HEIGHT_NEVER 255

/* The node that nothing goes through. */
#define DSV_NODE_NONE 0

typedef enum dsv_node_kind
{
	DSV_NODE_BYTES,				/* edges of disjoint ranges */
	DSV_NODE_SPLIT,				/* any of its edges */
	DSV_NODE_CALL,				/* edges: what is called, where it returns to */
	DSV_NODE_LOOP,				/* edges: the body, which leads back here, and the exit; the
								 * count of the frame says how often the body was entered */
	DSV_NODE_END,				/* returns to the caller */
} dsv_node_kind;

typedef struct dsv_node
{
	uint8_t		kind;
	uint8_t		height;
	uint16_t	nedges;
	uint32_t	edge;			/* the first one */
	uint32_t	min;			/* LOOP */
	uint32_t	max;			/* LOOP; or DSV_COUNT_UNLIMITED */
} dsv_node;

typedef struct dsv_edge
{
	uint8_t		lo;				/* BYTES: first and last byte */
	uint8_t		hi;
	bool		deeper;			/* CALL: closes a cycle of calls, so it costs depth */
	uint32_t	to;
} dsv_edge;

struct dsv_grammar
{
	const dsv_mem *mem;
	dsv_node   *nodes;
	dsv_edge   *edges;
	uint32_t	start;
	uint32_t	nclasses;
	int			max_frames;		/* calls that can be open at a time */
	uint8_t		class_of[256];	/* bytes that no edge tells apart share a class */
};

/* ---- building (grammar_build.c) ---- */

#define DSV_BUILD_CACHE 1024

typedef struct dsv_builder
{
	const dsv_mem *mem;
	dsv_error  *err;
	dsv_code	code;			/* the first failure */
	bool		bare;			/* strings without quotes and escapes */
	size_t		work;			/* spent on patterns, see grammar_subset.c */
	dsv_node   *nodes;
	size_t		nnodes;
	size_t		nodes_cap;
	dsv_edge   *edges;
	size_t		nedges;
	size_t		edges_cap;
	uint32_t	end;			/* the one END node */
	int			nesting;		/* calls inside calls, found by dsv_builder_analyse */
	dsv_edge   *pending;		/* of nodes that wait for their children */
	size_t		npending;
	size_t		pending_cap;
	struct							/* tails that lead to `to`, see grammar_text.c */
	{
		uint32_t	to;
		uint32_t	kind;
		uint32_t	node;
	}			cache[DSV_BUILD_CACHE];
} dsv_builder;

void		dsv_builder_init(dsv_builder *b, const dsv_mem *mem, dsv_error *err);
void		dsv_builder_free(dsv_builder *b);

/* Keeps the first failure; always returns it. */
dsv_code	dsv_builder_fail(dsv_builder *b, dsv_code code);

/* A node to be defined later, for what leads back to it. */
uint32_t	dsv_node_reserve(dsv_builder *b);
void		dsv_node_define(dsv_builder *b, uint32_t node, dsv_node_kind kind, const dsv_edge *edges,
							size_t nedges);

uint32_t	dsv_node_bytes(dsv_builder *b, const dsv_edge *edges, size_t nedges);
uint32_t	dsv_node_range(dsv_builder *b, uint8_t lo, uint8_t hi, uint32_t next);
uint32_t	dsv_node_literal(dsv_builder *b, const void *text, size_t len, uint32_t next);
uint32_t	dsv_node_either(dsv_builder *b, uint32_t first, uint32_t second);
uint32_t	dsv_node_call(dsv_builder *b, uint32_t callee, uint32_t next, bool deeper);

/* A LOOP whose body is given later, by dsv_node_loop_body; the body must lead back to it and
 * cannot be empty.  It is called, or comes behind something called that is as deep as its body. */
uint32_t	dsv_node_loop(dsv_builder *b, uint32_t min, uint32_t max);
void		dsv_node_loop_body(dsv_builder *b, uint32_t loop, uint32_t body);

/* Any of n texts, which are sorted in place. */
uint32_t	dsv_node_texts(dsv_builder *b, dsv_bytes *texts, size_t n, uint32_t next);

/* ---- finishing (grammar.c) ---- */

/* Fills in heights and checks the rules above.  Errors: SCHEMA (a way that returns without a
 * byte), LIMIT, NOMEM. */
dsv_code	dsv_builder_analyse(dsv_builder *b);

/* Takes the builder's nodes over; it must have been analysed.  Errors: those of the
 * builder, SCHEMA (nothing can be completed), LIMIT, NOMEM. */
dsv_code	dsv_builder_finish(dsv_builder *b, uint32_t start, dsv_grammar **out);

/* ---- characters (grammar_text.c) ---- */

#define DSV_CODE_POINT_MAX 0x10FFFF

/* Code points lo..hi (surrogates are passed over) lead to node `to`. */
typedef struct dsv_char_range
{
	uint32_t	lo;
	uint32_t	hi;
	uint32_t	to;
} dsv_char_range;

/*
 * Defines a reserved node as the inside of a JSON string: one character, written canonically
 * (escaped where JSON must, as itself otherwise, U+0000 never), of ascending disjoint ranges; or
 * the closing quote, which leads to `close` unless that is DSV_NODE_NONE.  A bare string has no
 * escapes, and goes on with `close` itself.
 */
void		dsv_node_define_chars(dsv_builder *b, uint32_t node, const dsv_char_range *ranges,
								  size_t nranges, uint32_t close);

/* A whole string of min to max characters, quotes included. */
uint32_t	dsv_node_string(dsv_builder *b, uint32_t min, uint32_t max, uint32_t next);

/* A quote, unless strings are bare. */
uint32_t	dsv_node_quote(dsv_builder *b, uint32_t next);

/* The canonical JSON text of a string is appended. */
bool		dsv_text_add_json_string(const dsv_mem *mem, dsv_text *out, const char *s, size_t len);

/* ---- numbers (grammar_number.c) ---- */

/* Digits that a number may have before and after its decimal point. */
#define DSV_NUMBER_DIGITS 15
#define DSV_NUMBER_FRACTION 6

typedef __int128 dsv_wide;

/* In units of 10^-DSV_NUMBER_DIGITS. */
typedef struct dsv_number_bounds
{
	dsv_wide	lo;				/* both included */
	dsv_wide	hi;
	int			exponent;		/* all values are multiples of 10^exponent, -15 .. 14 */
} dsv_number_bounds;

dsv_wide	dsv_wide_ten_to(int n);
/* Of a finite number, exactly as written with at most 17 significant digits; *exponent gets that of
 * its last digit that is not 0.  Saturates at 10^20.  False: finer than a unit. */
bool		dsv_wide_from_double(double x, dsv_wide *out, int *exponent);
dsv_wide	dsv_wide_from_int(int64_t n);

/* bounds->lo <= bounds->hi, both within 15 digits before the point and multiples of
 * 10^exponent. */
uint32_t	dsv_node_number(dsv_builder *b, const dsv_number_bounds *bounds, uint32_t next);

/* ---- days and times (grammar_date.c) ---- */

/* YYYY-MM-DD; HH:MM:SS[.ffffff](Z|+HH:MM|-HH:MM); both with a T between.  No quotes. */
uint32_t	dsv_node_date(dsv_builder *b, uint32_t next);
uint32_t	dsv_node_time(dsv_builder *b, uint32_t next);
uint32_t	dsv_node_date_time(dsv_builder *b, uint32_t next);

#endif
