/*
 * grammar_subset.c
 *		A pattern made deterministic, and its product with a length.
 *
 * The pattern is searched for: every character may begin a new attempt, and once an attempt has
 * matched, anything may follow.  So a state is the set of steps that the attempts stand at, and one
 * state, ANYTHING, stands for "has matched".  A ^ is passed in the first state only; behind a $
 * nothing more can be read, so it only decides whether a state may be the last.
 *
 * All characters that no set of the pattern tells apart are one class.  The product with the number
 * of characters read is made of what can be reached only.
 */
#include "grammar_pattern.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STATES 20000
#define MAX_CELLS 2000000		/* transitions */
#define MAX_WORK 10000000		/* steps looked at, for all patterns of a grammar */
#define MAX_PRODUCT 2000000		/* states times lengths */

#define NOWHERE UINT32_MAX
#define ANYTHING 0

typedef struct subset
{
	uint32_t	first;			/* of members */
	uint32_t	n;
	uint32_t	hash;
	bool		accepts;
} subset;

typedef struct machine
{
	dsv_pattern *p;
	uint32_t   *cuts;			/* [classes + 1] first code point of each class */
	size_t		nclasses;
	subset	   *states;
	size_t		nstates;
	size_t		states_cap;
	uint32_t   *members;
	size_t		nmembers;
	size_t		members_cap;
	uint32_t   *moves;			/* [states, classes] */
	size_t		moves_cap;
	uint32_t   *index;			/* hash table of states, + 1 */
	size_t	   *work;			/* the builder's */

	/* one closure */
	uint32_t   *stack;			/* [steps] */
	uint32_t   *seen;			/* [steps] number of the last closure that met it */
	uint32_t	closure;
	bool		matched;
} machine;

#define INDEX_SIZE 65536

static bool
room(machine *m, void **list, size_t *cap, size_t need, size_t size)
{
	if (m->p->code != DSV_OK)
		return false;
	if (!dsv_reserve(m->p->mem, list, cap, need, size))
		dsv_pattern_fail(m->p, DSV_NOMEM, NULL);
	return m->p->code == DSV_OK;
}

static void
spend(machine *m, size_t work)
{
	*m->work += work;
	if (*m->work > MAX_WORK)
		dsv_pattern_fail(m->p, DSV_LIMIT, "takes too long to be made deterministic");
}

/* ---- classes of characters ---- */

static int
compare_codes(const void *a, const void *b)
{
	uint32_t	x = *(const uint32_t *) a;
	uint32_t	y = *(const uint32_t *) b;

	return (x > y) - (x < y);
}

/* U+0000 is in no class: no string has it. */
static void
find_classes(machine *m)
{
	const dsv_pattern *p = m->p;
	size_t		n = 0;
	size_t		kept = 0;

	m->cuts = dsv_alloc(p->mem, 2 * p->nranges + 2, sizeof(*m->cuts));
	if (m->cuts == NULL)
	{
		dsv_pattern_fail(m->p, DSV_NOMEM, NULL);
		return;
	}
	m->cuts[n++] = 1;
	m->cuts[n++] = DSV_CODE_POINT_MAX + 1;
	for (size_t i = 0; i < p->nranges; i++)
	{
		m->cuts[n++] = p->ranges[i].lo > 0 ? p->ranges[i].lo : 1;
		m->cuts[n++] = p->ranges[i].hi + 1;
	}
	qsort(m->cuts, n, sizeof(*m->cuts), compare_codes);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || m->cuts[kept - 1] != m->cuts[i])
			m->cuts[kept++] = m->cuts[i];
	m->nclasses = kept - 1;
}

static bool
set_has(const dsv_pattern *p, uint32_t set, uint32_t c)
{
	size_t		low = p->sets[set].first;
	size_t		high = low + p->sets[set].n;

	while (low < high)
	{
		size_t		mid = low + (high - low) / 2;

		if (p->ranges[mid].hi < c)
			low = mid + 1;
		else if (p->ranges[mid].lo > c)
			high = mid;
		else
			return true;
	}
	return false;
}

/* ---- closures ---- */

static void
begin_closure(machine *m)
{
	m->closure++;
	m->matched = false;
}

static void
push(machine *m, size_t *depth, uint32_t step)
{
	if (m->seen[step] == m->closure)
		return;
	m->seen[step] = m->closure;
	m->stack[(*depth)++] = step;
}

/* Follows what needs no character; CHAR and END steps become members.  past_end: what a $
 * guards is followed as well. */
static void
close_over(machine *m, uint32_t step, bool at_start, bool past_end)
{
	size_t		depth = 0;

	push(m, &depth, step);
	while (depth > 0 && m->p->code == DSV_OK)
	{
		uint32_t	here = m->stack[--depth];
		const dsv_step *s = &m->p->steps[here];
		void	   *members = m->members;

		spend(m, 1);
		if (s->kind == DSV_STEP_MATCH)
			m->matched = true;
		if (s->kind == DSV_STEP_SPLIT)
			push(m, &depth, s->b);
		if (s->kind == DSV_STEP_SPLIT || (s->kind == DSV_STEP_START && at_start) ||
			(s->kind == DSV_STEP_END && past_end))
			push(m, &depth, s->a);
		if (past_end || (s->kind != DSV_STEP_CHAR && s->kind != DSV_STEP_END))
			continue;
		if (!room(m, &members, &m->members_cap, m->nmembers + 1, sizeof(*m->members)))
			return;
		m->members = members;
		m->members[m->nmembers++] = here;
	}
}

/* Whether the text may end here: a match that waits behind a $. */
static bool
ends_here(machine *m, size_t first, bool at_start)
{
	size_t		n = m->nmembers;

	begin_closure(m);
	for (size_t i = first; i < n; i++)
		if (m->p->steps[m->members[i]].kind == DSV_STEP_END)
			close_over(m, m->members[i], at_start, true);
	return m->matched;
}

/* ---- states ---- */

static uint32_t
hash_members(const uint32_t *members, size_t n, bool accepts)
{
	uint32_t	h = accepts ? 2166136261u : 1;

	for (size_t i = 0; i < n; i++)
		h = (h ^ members[i]) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t
new_state(machine *m, size_t first, uint32_t hash, bool accepts)
{
	void	   *states = m->states;

	if (m->nstates == MAX_STATES)
		dsv_pattern_fail(m->p, DSV_LIMIT, "has too many states when made deterministic");
	if (!room(m, &states, &m->states_cap, m->nstates + 1, sizeof(*m->states)))
		return NOWHERE;
	m->states = states;
	m->states[m->nstates] = (subset) {(uint32_t) first, (uint32_t) (m->nmembers - first), hash,
	accepts};
	return (uint32_t) m->nstates++;
}

/* The state of the members from `first` on, which are taken back when it is known. */
static uint32_t
find_state(machine *m, size_t first, bool accepts)
{
	size_t		n = m->nmembers - first;
	uint32_t	hash;
	uint32_t	slot;

	if (n > 0)
		qsort(m->members + first, n, sizeof(*m->members), compare_codes);
	hash = hash_members(m->members + first, n, accepts);
	for (slot = hash % INDEX_SIZE; m->index[slot] != 0; slot = (slot + 1) % INDEX_SIZE)
	{
		const subset *s = &m->states[m->index[slot] - 1];

		if (s->hash != hash || s->n != n || s->accepts != accepts ||
			memcmp(m->members + s->first, m->members + first, n * sizeof(*m->members)) != 0)
			continue;
		m->nmembers = first;
		return m->index[slot] - 1;
	}
	m->index[slot] = (uint32_t) m->nstates + 1;
	return new_state(m, first, hash, accepts);
}

/* What the closure has reached, as a state. */
static uint32_t
settle(machine *m, size_t first, bool at_start)
{
	bool		accepts;

	if (m->p->code != DSV_OK)
		return NOWHERE;
	if (m->matched)
	{
		m->nmembers = first;
		return ANYTHING;
	}
	if (m->nmembers == first)
		return NOWHERE;
	accepts = ends_here(m, first, at_start);
	return find_state(m, first, accepts);
}

static uint32_t
move(machine *m, uint32_t from, uint32_t c)
{
	const subset s = m->states[from];
	size_t		first = m->nmembers;

	begin_closure(m);
	close_over(m, m->p->start, false, false);
	for (uint32_t i = 0; i < s.n && m->p->code == DSV_OK; i++)
	{
		const dsv_step *step = &m->p->steps[m->members[s.first + i]];

		spend(m, 1);
		if (step->kind == DSV_STEP_CHAR && set_has(m->p, step->set, c))
			close_over(m, step->a, false, false);
	}
	return settle(m, first, false);
}

static void
fill_moves(machine *m, uint32_t from)
{
	void	   *moves = m->moves;
	size_t		row = from * m->nclasses;

	if (row + m->nclasses > MAX_CELLS)
		dsv_pattern_fail(m->p, DSV_LIMIT, "has too many states when made deterministic");
	if (!room(m, &moves, &m->moves_cap, row + m->nclasses, sizeof(*m->moves)))
		return;
	m->moves = moves;
	for (size_t i = 0; i < m->nclasses && m->p->code == DSV_OK; i++)
		m->moves[row + i] = from == ANYTHING ? ANYTHING : move(m, from, m->cuts[i]);
}

/* The first state; all others are made on the way. */
static uint32_t
make_states(machine *m)
{
	uint32_t	start;

	new_state(m, 0, 0, true);	/* ANYTHING */
	begin_closure(m);
	close_over(m, m->p->start, true, false);
	start = settle(m, 0, true);
	for (uint32_t i = 0; i < m->nstates && m->p->code == DSV_OK; i++)
		fill_moves(m, i);
	return start;
}

/* ---- nodes ---- */

typedef struct product
{
	machine    *m;
	dsv_builder *b;
	uint32_t	min;
	uint32_t	max;
	uint32_t	lengths;		/* told apart: 0 .. lengths - 1 */
	uint32_t   *nodes;			/* [states, lengths] or DSV_NODE_NONE */
	uint32_t   *waiting;		/* [states, lengths] to be defined */
	size_t		nwaiting;
} product;

static uint32_t
product_node(product *x, uint32_t state, uint32_t length)
{
	size_t		cell = state * (size_t) x->lengths + length;

	if (x->nodes[cell] == DSV_NODE_NONE && x->b->code == DSV_OK)
	{
		x->nodes[cell] = dsv_node_reserve(x->b);
		x->waiting[x->nwaiting++] = (uint32_t) cell;
	}
	return x->nodes[cell];
}

static void
define_product(product *x, uint32_t cell, dsv_char_range *ranges, uint32_t next)
{
	machine    *m = x->m;
	uint32_t	state = cell / x->lengths;
	uint32_t	length = cell % x->lengths;
	uint32_t	longer = length + 1 < x->lengths ? length + 1 : length;
	size_t		n = 0;

	spend(m, m->nclasses);
	for (size_t i = 0; i < m->nclasses && (x->max == DSV_COUNT_UNLIMITED || length < x->max); i++)
	{
		uint32_t	to = m->moves[state * m->nclasses + i];

		if (to == NOWHERE)
			continue;
		to = product_node(x, to, longer);
		if (n > 0 && ranges[n - 1].to == to && ranges[n - 1].hi + 1 == m->cuts[i])
			ranges[n - 1].hi = m->cuts[i + 1] - 1;
		else
			ranges[n++] = (dsv_char_range) {m->cuts[i], m->cuts[i + 1] - 1, to};
	}
	dsv_node_define_chars(x->b, x->nodes[cell], ranges, n,
						  m->states[state].accepts && length >= x->min ? next : DSV_NODE_NONE);
}

static uint32_t
make_nodes(product *x, uint32_t start, uint32_t next)
{
	const dsv_mem *mem = x->b->mem;
	size_t		cells = x->m->nstates * (size_t) x->lengths;
	dsv_char_range *ranges = dsv_alloc(mem, x->m->nclasses, sizeof(*ranges));
	uint32_t	node = DSV_NODE_NONE;

	x->nodes = dsv_alloc_zero(mem, cells, sizeof(*x->nodes));
	x->waiting = dsv_alloc(mem, cells, sizeof(*x->waiting));
	if (ranges == NULL || x->nodes == NULL || x->waiting == NULL)
		dsv_builder_fail(x->b, dsv_fail_nomem(x->b->err, cells * sizeof(*x->nodes)));
	else
		node = product_node(x, start, 0);
	while (x->nwaiting > 0 && x->b->code == DSV_OK && x->m->p->code == DSV_OK)
		define_product(x, x->waiting[--x->nwaiting], ranges, next);
	dsv_free(mem, ranges);
	dsv_free(mem, x->nodes);
	dsv_free(mem, x->waiting);
	return node;
}

static uint32_t
make_product(machine *m, dsv_builder *b, uint32_t start, uint32_t min, uint32_t max, uint32_t next)
{
	product		x = {.m = m, .b = b, .min = min, .max = max};
	uint64_t	lengths = (max == DSV_COUNT_UNLIMITED ? (uint64_t) min : max) + 1;

	if (lengths * m->nstates > MAX_PRODUCT)
	{
		dsv_pattern_fail(m->p, DSV_LIMIT, "is too large together with the bounds of the length");
		return DSV_NODE_NONE;
	}
	x.lengths = (uint32_t) lengths;
	return make_nodes(&x, start, next);
}

uint32_t
dsv_node_pattern(dsv_builder *b, dsv_pattern *p, uint32_t min, uint32_t max, uint32_t next)
{
	machine		m = {.p = p, .work = &b->work};
	uint32_t	node = DSV_NODE_NONE;
	uint32_t	start = NOWHERE;

	spend(&m, p->nsteps);
	find_classes(&m);
	m.stack = dsv_alloc(p->mem, p->nsteps, sizeof(*m.stack));
	m.seen = dsv_alloc_zero(p->mem, p->nsteps, sizeof(*m.seen));
	m.index = dsv_alloc_zero(p->mem, INDEX_SIZE, sizeof(*m.index));
	if (m.stack == NULL || m.seen == NULL || m.index == NULL)
		dsv_pattern_fail(p, DSV_NOMEM, NULL);
	if (p->code == DSV_OK)
		start = make_states(&m);
	if (p->code == DSV_OK && start != NOWHERE)
		node = make_product(&m, b, start, min, max, next);
	dsv_free(p->mem, m.cuts);
	dsv_free(p->mem, m.states);
	dsv_free(p->mem, m.members);
	dsv_free(p->mem, m.moves);
	dsv_free(p->mem, m.index);
	dsv_free(p->mem, m.stack);
	dsv_free(p->mem, m.seen);
	return node;
}
