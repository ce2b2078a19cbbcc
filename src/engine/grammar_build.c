/*
 * grammar_build.c
 *		Nodes and edges of a grammar that is being made.
 */
#include "grammar_private.h"

#include <stdlib.h>
#include <string.h>

void
dsv_builder_init(dsv_builder *b, const dsv_mem *mem, dsv_error *err)
{
	memset(b, 0, sizeof(*b));
	b->mem = mem;
	b->err = err;
	dsv_node_bytes(b, NULL, 0);	/* DSV_NODE_NONE */
	b->end = dsv_node_reserve(b);
	dsv_node_define(b, b->end, DSV_NODE_END, NULL, 0);
}

void
dsv_builder_free(dsv_builder *b)
{
	dsv_free(b->mem, b->nodes);
	dsv_free(b->mem, b->edges);
	dsv_free(b->mem, b->pending);
	b->nodes = NULL;
	b->edges = NULL;
	b->pending = NULL;
}

dsv_code
dsv_builder_fail(dsv_builder *b, dsv_code code)
{
	if (b->code == DSV_OK)
		b->code = code;
	return b->code;
}

static void
fail_size(dsv_builder *b)
{
	if (b->code != DSV_OK)
		return;
	b->code = dsv_fail(b->err, DSV_LIMIT, "grammar is too large");
	dsv_detail(b->err, "It would have more than %d nodes or %d edges.", DSV_GRAMMAR_MAX_NODES,
			   DSV_GRAMMAR_MAX_EDGES);
}

static bool
reserve(dsv_builder *b, void **ptr, size_t *cap, size_t need, size_t max, size_t size)
{
	if (b->code != DSV_OK)
		return false;
	if (need > max)
	{
		fail_size(b);
		return false;
	}
	if (dsv_reserve(b->mem, ptr, cap, need, size))
		return true;
	b->code = dsv_fail_nomem(b->err, need * size);
	return false;
}

uint32_t
dsv_node_reserve(dsv_builder *b)
{
	void	   *nodes = b->nodes;

	if (!reserve(b, &nodes, &b->nodes_cap, b->nnodes + 1, DSV_GRAMMAR_MAX_NODES, sizeof(dsv_node)))
		return DSV_NODE_NONE;
	b->nodes = nodes;
	memset(&b->nodes[b->nnodes], 0, sizeof(dsv_node));
	return (uint32_t) b->nnodes++;
}

void
dsv_node_define(dsv_builder *b, uint32_t node, dsv_node_kind kind, const dsv_edge *edges,
				size_t nedges)
{
	void	   *all = b->edges;
	dsv_node   *n;

	if (nedges > UINT16_MAX)
		fail_size(b);
	if (!reserve(b, &all, &b->edges_cap, b->nedges + nedges, DSV_GRAMMAR_MAX_EDGES,
				 sizeof(dsv_edge)))
		return;
	b->edges = all;
	n = &b->nodes[node];
	n->kind = (uint8_t) kind;
	n->nedges = (uint16_t) nedges;
	n->edge = (uint32_t) b->nedges;
	if (nedges > 0)
		memcpy(b->edges + b->nedges, edges, nedges * sizeof(dsv_edge));
	b->nedges += nedges;
}

uint32_t
dsv_node_bytes(dsv_builder *b, const dsv_edge *edges, size_t nedges)
{
	uint32_t	node = dsv_node_reserve(b);

	dsv_node_define(b, node, DSV_NODE_BYTES, edges, nedges);
	return node;
}

uint32_t
dsv_node_range(dsv_builder *b, uint8_t lo, uint8_t hi, uint32_t next)
{
	dsv_edge	edge = {.lo = lo, .hi = hi, .to = next};

	return dsv_node_bytes(b, &edge, 1);
}

uint32_t
dsv_node_literal(dsv_builder *b, const void *text, size_t len, uint32_t next)
{
	const uint8_t *s = text;

	while (len-- > 0 && b->code == DSV_OK)
		next = dsv_node_range(b, s[len], s[len], next);
	return next;
}

uint32_t
dsv_node_either(dsv_builder *b, uint32_t first, uint32_t second)
{
	dsv_edge	edges[2] = {{.to = first}, {.to = second}};
	uint32_t	node;

	if (first == DSV_NODE_NONE || first == second)
		return second;
	if (second == DSV_NODE_NONE)
		return first;
	node = dsv_node_reserve(b);
	dsv_node_define(b, node, DSV_NODE_SPLIT, edges, 2);
	return node;
}

uint32_t
dsv_node_call(dsv_builder *b, uint32_t callee, uint32_t next, bool deeper)
{
	dsv_edge	edges[2] = {{.deeper = deeper, .to = callee}, {.to = next}};
	uint32_t	node = dsv_node_reserve(b);

	dsv_node_define(b, node, DSV_NODE_CALL, edges, 2);
	return node;
}

uint32_t
dsv_node_loop(dsv_builder *b, uint32_t min, uint32_t max)
{
	dsv_edge	edges[2] = {{.to = DSV_NODE_NONE}, {.to = b->end}};
	uint32_t	node = dsv_node_reserve(b);

	dsv_node_define(b, node, DSV_NODE_LOOP, edges, 2);
	if (b->code == DSV_OK)
	{
		b->nodes[node].min = min;
		b->nodes[node].max = max;
	}
	return node;
}

void
dsv_node_loop_body(dsv_builder *b, uint32_t loop, uint32_t body)
{
	if (b->code == DSV_OK)
		b->edges[b->nodes[loop].edge].to = body;
}

/* ---- any of some texts: a tree of their bytes ---- */

static int
compare_bytes(const void *a, const void *b)
{
	const dsv_bytes *x = a;
	const dsv_bytes *y = b;
	size_t		shorter = x->len < y->len ? x->len : y->len;
	int			order = shorter > 0 ? memcmp(x->data, y->data, shorter) : 0;

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static uint8_t
byte_at(const dsv_bytes *text, size_t at)
{
	return ((const uint8_t *) text->data)[at];
}

static void
pend(dsv_builder *b, uint8_t byte, uint32_t to)
{
	void	   *all = b->pending;

	if (!reserve(b, &all, &b->pending_cap, b->npending + 1, DSV_GRAMMAR_MAX_EDGES, sizeof(dsv_edge)))
		return;
	b->pending = all;
	b->pending[b->npending++] = (dsv_edge) {.lo = byte, .hi = byte, .to = to};
}

/*
 * Sorted texts that agree in their first `at` bytes.  Recursion is deep only where each text
 * begins the next one, and a text that begins n others has made n texts longer: the depth stays
 * below the square root of twice the bytes of all.
 */
static uint32_t
texts_from(dsv_builder *b, const dsv_bytes *texts, size_t n, size_t at, uint32_t next)
{
	const dsv_bytes *last = &texts[n - 1];
	size_t		waiting = b->npending;
	size_t		common = at;
	size_t		i = 0;
	uint32_t	node = DSV_NODE_NONE;

	/* the first and the last of sorted texts agree no further than all of them */
	while (common < texts[0].len && common < last->len &&
		   byte_at(&texts[0], common) == byte_at(last, common))
		common++;
	while (i < n && texts[i].len == common)
		i++;
	while (i < n && b->code == DSV_OK)
	{
		size_t		from = i;
		uint8_t		byte = byte_at(&texts[from], common);

		while (i < n && byte_at(&texts[i], common) == byte)
			i++;
		pend(b, byte, texts_from(b, texts + from, i - from, common + 1, next));
	}
	if (b->npending > waiting)
		node = dsv_node_bytes(b, b->pending + waiting, b->npending - waiting);
	b->npending = waiting;
	if (texts[0].len == common)
		node = dsv_node_either(b, node, next);
	return dsv_node_literal(b, (const uint8_t *) last->data + at, common - at, node);
}

uint32_t
dsv_node_texts(dsv_builder *b, dsv_bytes *texts, size_t n, uint32_t next)
{
	if (n == 0)
		return DSV_NODE_NONE;
	qsort(texts, n, sizeof(*texts), compare_bytes);
	return texts_from(b, texts, n, 0, next);
}
