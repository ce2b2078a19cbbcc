/*
 * grammar.c
 *		Finishing grammars: heights, nesting, classes of bytes.
 *
 * A finished grammar is checked as a graph, whoever made it: the automaton relies on heights and on
 * there being no way around without a byte.
 */
#include <string.h>

#include "grammar_private.h"

/* ---- heights ---- */

typedef struct graph
{
	const dsv_builder *b;
	uint32_t   *first;			/* [nodes + 1] into from */
	uint32_t   *from;			/* [edges] nodes that have an edge to a node */
	uint32_t   *queue;			/* [nodes] */
	uint8_t    *queued;			/* [nodes] */
	uint8_t    *nesting;		/* [nodes] calls inside calls from here on */
	size_t		head;
	size_t		waiting;
} graph;

static uint8_t
deeper(uint8_t height, int by)
{
	return height + by > DSV_GRAMMAR_MAX_DEPTH ? DSV_HEIGHT_NEVER : (uint8_t) (height + by);
}

static uint8_t
max_u8(uint8_t a, uint8_t b)
{
	return a > b ? a : b;
}

/* A loop that is called has all of its rounds before it, one that a body led to may be at its last:
 * whoever got there was through a body already. */
static uint8_t
height_of_callee(const dsv_builder *b, uint32_t callee)
{
	const dsv_node *n = &b->nodes[callee];

	if (n->kind != DSV_NODE_LOOP || n->min == 0)
		return n->height;
	return max_u8(n->height, b->nodes[b->edges[n->edge].to].height);
}

static uint8_t
height_of(const dsv_builder *b, const dsv_node *n)
{
	const dsv_edge *e = b->edges + n->edge;
	uint8_t		height = DSV_HEIGHT_NEVER;

	switch ((dsv_node_kind) n->kind)
	{
		case DSV_NODE_BYTES:
		case DSV_NODE_SPLIT:
			for (int i = 0; i < n->nedges; i++)
				if (b->nodes[e[i].to].height < height)
					height = b->nodes[e[i].to].height;
			return height;
		case DSV_NODE_CALL:
			return max_u8(deeper(height_of_callee(b, e[0].to), e[0].deeper),
						  b->nodes[e[1].to].height);
		case DSV_NODE_LOOP:
			return b->nodes[e[1].to].height;
		case DSV_NODE_END:
			break;
	}
	return 0;
}

static uint8_t
nesting_of(const graph *g, const dsv_node *n)
{
	const dsv_edge *e = g->b->edges + n->edge;
	uint8_t		nesting = 0;

	for (int i = 0; i < n->nedges; i++)
	{
		int			call = n->kind == DSV_NODE_CALL && i == 0;

		if (!(call && e[i].deeper))
			nesting = max_u8(nesting, (uint8_t) (g->nesting[e[i].to] + call));
	}
	return nesting;
}

static void
enqueue(graph *g, uint32_t node)
{
	if (g->queued[node])
		return;
	g->queued[node] = 1;
	g->queue[(g->head + g->waiting++) % g->b->nnodes] = node;
}

static uint32_t
dequeue(graph *g)
{
	uint32_t	node = g->queue[g->head];

	g->head = (g->head + 1) % g->b->nnodes;
	g->waiting--;
	g->queued[node] = 0;
	return node;
}

static void
enqueue_predecessors(graph *g, uint32_t node)
{
	for (uint32_t i = g->first[node]; i < g->first[node + 1]; i++)
		enqueue(g, g->from[i]);
}

static bool
graph_init(graph *g, const dsv_builder *b)
{
	size_t		n = b->nnodes;

	memset(g, 0, sizeof(*g));
	g->b = b;
	g->first = dsv_alloc_zero(b->mem, n + 2, sizeof(uint32_t));
	g->from = dsv_alloc(b->mem, b->nedges, sizeof(uint32_t));
	g->queue = dsv_alloc(b->mem, n, sizeof(uint32_t));
	g->queued = dsv_alloc_zero(b->mem, n, 1);
	g->nesting = dsv_alloc_zero(b->mem, n, 1);
	if (!g->first || !g->from || !g->queue || !g->queued || !g->nesting)
		return false;

	/* counting sort by target; first[] is shifted by one while it fills */
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < b->nodes[i].nedges; k++)
			g->first[b->edges[b->nodes[i].edge + k].to + 2]++;
	for (size_t i = 2; i < n + 2; i++)
		g->first[i] += g->first[i - 1];
	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < b->nodes[i].nedges; k++)
			g->from[g->first[b->edges[b->nodes[i].edge + k].to + 1]++] = (uint32_t) i;
	return true;
}

static void
graph_free(graph *g, const dsv_mem *mem)
{
	dsv_free(mem, g->first);
	dsv_free(mem, g->from);
	dsv_free(mem, g->queue);
	dsv_free(mem, g->queued);
	dsv_free(mem, g->nesting);
}

/* Heights only fall from NEVER, nesting only grows from 0: both come to rest. */
static void
find_heights(graph *g, dsv_builder *b)
{
	for (size_t i = 0; i < b->nnodes; i++)
		b->nodes[i].height = DSV_HEIGHT_NEVER;
	for (size_t i = 0; i < b->nnodes; i++)
		enqueue(g, (uint32_t) i);
	while (g->waiting > 0)
	{
		uint32_t	node = dequeue(g);
		uint8_t		height = height_of(b, &b->nodes[node]);

		/* a caller looks at the body of a loop as well */
		if (height == b->nodes[node].height && b->nodes[node].kind != DSV_NODE_LOOP)
			continue;
		b->nodes[node].height = height;
		enqueue_predecessors(g, node);
	}
}

static dsv_code
find_nesting(graph *g, dsv_builder *b)
{
	for (size_t i = 0; i < b->nnodes; i++)
		if (b->nodes[i].kind == DSV_NODE_CALL)
			enqueue(g, (uint32_t) i);
	while (g->waiting > 0)
	{
		uint32_t	node = dequeue(g);
		uint8_t		nesting = nesting_of(g, &b->nodes[node]);

		if (nesting > DSV_GRAMMAR_MAX_NESTING)
			return dsv_builder_fail(b, dsv_fail(b->err, DSV_LIMIT, "grammar is nested too deeply"));
		if (nesting == g->nesting[node])
			continue;
		g->nesting[node] = nesting;
		enqueue_predecessors(g, node);
	}
	return DSV_OK;
}

/* ---- ways around without a byte ---- */

enum
{
	UNSEEN,
	OPEN,
	DONE,
};

/* Whether what is called can be empty is not asked: the way behind a call is held for free. */
static uint32_t
free_edges(const dsv_node *n)
{
	return n->kind == DSV_NODE_BYTES ? 0 : n->nedges;
}

/* Depth first from one node; g->queue is the stack, g->first says how many edges of a node
 * were followed. */
static bool
returns_to_itself(graph *g, uint32_t start)
{
	const dsv_builder *b = g->b;
	size_t		depth = 0;

	g->queue[depth++] = start;
	g->queued[start] = OPEN;
	while (depth > 0)
	{
		uint32_t	node = g->queue[depth - 1];
		const dsv_node *n = &b->nodes[node];
		uint32_t	to;

		if (g->first[node] == free_edges(n))
		{
			g->queued[node] = DONE;
			depth--;
			continue;
		}
		to = b->edges[n->edge + g->first[node]++].to;
		if (g->queued[to] == OPEN)
			return true;
		if (g->queued[to] == DONE)
			continue;
		g->queued[to] = OPEN;
		g->queue[depth++] = to;
	}
	return false;
}

static dsv_code
check_progress(graph *g, dsv_builder *b)
{
	memset(g->first, 0, b->nnodes * sizeof(uint32_t));
	memset(g->queued, UNSEEN, b->nnodes);
	for (size_t i = 0; i < b->nnodes; i++)
		if (g->queued[i] == UNSEEN && returns_to_itself(g, (uint32_t) i))
		{
			dsv_fail(b->err, DSV_SCHEMA, "JSON schema refers to itself without end");
			dsv_detail(b->err, "A $ref leads back to itself with no array or object in between.");
			return dsv_builder_fail(b, DSV_SCHEMA);
		}
	return DSV_OK;
}

dsv_code
dsv_builder_analyse(dsv_builder *b)
{
	graph		g;

	if (b->code != DSV_OK)
		return b->code;
	if (!graph_init(&g, b))
		dsv_builder_fail(b, dsv_fail_nomem(b->err, b->nnodes * sizeof(uint32_t)));
	else
	{
		find_heights(&g, b);
		if (find_nesting(&g, b) == DSV_OK)
		{
			b->nesting = 0;
			for (size_t i = 0; i < b->nnodes; i++)
				b->nesting = max_u8((uint8_t) b->nesting, g.nesting[i]);
			check_progress(&g, b);
		}
	}
	graph_free(&g, b->mem);
	return b->code;
}

/* ---- grammars ---- */

/* A class ends where some edge begins or ends. */
static void
find_classes(const dsv_builder *b, dsv_grammar *g)
{
	bool		ends[256] = {false};

	for (size_t i = 0; i < b->nnodes; i++)
	{
		const dsv_node *n = &b->nodes[i];

		for (int k = 0; k < n->nedges && n->kind == DSV_NODE_BYTES; k++)
		{
			const dsv_edge *e = &b->edges[n->edge + k];

			ends[e->hi] = true;
			if (e->lo > 0)
				ends[e->lo - 1] = true;
		}
	}
	g->nclasses = 1;
	for (int c = 0; c < 256; c++)
	{
		g->class_of[c] = (uint8_t) (g->nclasses - 1);
		if (ends[c] && c < 255)
			g->nclasses++;
	}
}

static bool
has_deeper(const dsv_builder *b)
{
	for (size_t i = 0; i < b->nnodes; i++)
		if (b->nodes[i].kind == DSV_NODE_CALL && b->edges[b->nodes[i].edge].deeper)
			return true;
	return false;
}

dsv_code
dsv_builder_finish(dsv_builder *b, uint32_t start, dsv_grammar **out)
{
	dsv_grammar *g;

	*out = NULL;
	if (b->code != DSV_OK)
		return b->code;
	if (b->nodes[start].height > DSV_GRAMMAR_MAX_DEPTH)
		return dsv_builder_fail(b, dsv_fail(b->err, DSV_SCHEMA, "no text satisfies the JSON schema"));
	g = dsv_alloc_zero(b->mem, 1, sizeof(*g));
	if (g == NULL)
		return dsv_builder_fail(b, dsv_fail_nomem(b->err, sizeof(*g)));
	g->mem = b->mem;
	g->start = start;
	g->max_frames = (b->nesting + 1) * (has_deeper(b) ? DSV_GRAMMAR_MAX_DEPTH + 1 : 1);
	find_classes(b, g);
	g->nodes = b->nodes;
	g->edges = b->edges;
	b->nodes = NULL;
	b->edges = NULL;
	*out = g;
	return DSV_OK;
}

void
dsv_grammar_free(dsv_grammar *grammar)
{
	if (grammar == NULL)
		return;
	dsv_free(grammar->mem, grammar->nodes);
	dsv_free(grammar->mem, grammar->edges);
	dsv_free(grammar->mem, grammar);
}
