/*
 * automaton.c
 *		The deterministic automaton of a grammar, built as it is walked.
 *
 * A configuration is a place in the grammar: a node, the frame of the call it stands in, and that
 * frame's count.  Frames are immutable and shared (equal frames are one), so a configuration is three
 * numbers whatever it is nested in.  A state is the list of configurations that a text can stand at,
 * all of them at BYTES nodes, in the order in which the grammar offers them; equal lists are one
 * state.  A state has a row of transitions, one a class of bytes, filled in when asked for.
 *
 * A state may hold `max_configs` configurations, and its frames `max_kept`.  An ambiguous grammar can
 * want more: then the alternatives that come last are given up.  That narrows what may be written,
 * but everything that is left can still be completed, and nothing depends on what was asked before.
 * For the same reason the search for configurations has a budget, which only ends it once something
 * was found; up to there it never turns back, as everything it enters can be completed.
 *
 * Memory is divided once: tables of frames and states by the budgets above, and what remains for
 * rows (from the bottom) and configurations (from the top).  A transition that finds no room leaves
 * nothing behind but frames and says so.  With a single state left there is always room for one more.
 */
#include "grammar.h"

#include <string.h>

#include "grammar_private.h"

#define MIN_CONFIGS 32
#define MAX_CONFIGS 2048
#define MAX_STATES (1 << 20)
/* bytes of memory for each configuration of the largest state */
#define BYTES_PER_CONFIG 1024
/* configurations looked at, and frames made, in one transition: times max_configs */
#define SEARCH_FACTOR 3
#define MIN_STATES 8

typedef struct config
{
	uint32_t	node;
	uint32_t	count;
	uint32_t	frame;
} config;

/* Number 0 is the frame that nothing called. */
typedef struct frame
{
	uint32_t	ret;			/* node to go on from */
	uint32_t	count;			/* of the caller's frame */
	uint32_t	parent;
	uint32_t	depth;			/* deeper calls that are open */
	uint32_t	mark;			/* last state that counted it */
} frame;

typedef struct state
{
	uint32_t	first;			/* configurations top - first - n .. */
	uint32_t	n;
	uint32_t	hash;
	bool		accepts;
} state;

typedef struct visit
{
	config		c;
	uint32_t	search;			/* the search that saw it */
} visit;

struct dsv_automaton
{
	const dsv_mem *mem;
	void	   *to_free;
	const dsv_node *nodes;
	const dsv_edge *edges;
	int32_t    *rows;			/* [states, classes] */
	uint32_t	nclasses;
	uint8_t		class_of[256];
	uint8_t		sample[256];	/* a byte of each class */
	int32_t		start;
	uint32_t	start_node;

	state	   *states;
	uint32_t	nstates;
	uint32_t	max_states;
	int32_t    *state_index;	/* hash table of state numbers, or -1 */
	uint32_t	state_mask;
	config	   *top;			/* end of the memory shared by rows and configurations */
	size_t		shared;			/* its bytes */
	uint32_t	nconfigs;		/* held by states */

	frame	   *frames;
	uint32_t	nframes;
	uint32_t	max_frames;
	uint32_t   *frame_index;	/* hash table of frame numbers, or 0 */
	uint32_t	frame_mask;

	/* one search */
	uint32_t	search;			/* its number */
	uint32_t	max_configs;
	uint32_t	max_kept;		/* frames */
	uint32_t	max_visits;
	config	   *found;			/* [max_configs] */
	config	   *open;			/* [max_configs] alternatives to come back to */
	visit	   *visits;			/* hash table */
	uint32_t	visit_mask;
	uint32_t	nfound;
	uint32_t	nopen;
	uint32_t	nvisits;
	uint32_t	nkept;
	bool		accepts;
	bool		no_frames;		/* the table of frames is full */
};

static uint32_t
mix(uint32_t a, uint32_t b, uint32_t c)
{
	uint64_t	h = (a * 0x9E3779B97F4A7C15u) ^ (b * 0xC2B2AE3D27D4EB4Fu) ^ (c * 0x165667B19E3779F9u);

	h ^= h >> 29;
	h *= 0xBF58476D1CE4E5B9u;
	return (uint32_t) (h >> 32);
}

static bool
same(const config *a, const config *b)
{
	return a->node == b->node && a->count == b->count && a->frame == b->frame;
}

/* The node can be completed from this frame. */
static bool
viable(const dsv_automaton *a, uint32_t node, uint32_t in)
{
	return a->nodes[node].height + a->frames[in].depth <= DSV_GRAMMAR_MAX_DEPTH;
}

/* ---- frames ---- */

/* The number of a frame, or 0 when the table is full. */
static uint32_t
intern_frame(dsv_automaton *a, uint32_t ret, uint32_t count, uint32_t parent, uint32_t depth)
{
	uint32_t	slot = mix(ret, count, parent) & a->frame_mask;

	for (; a->frame_index[slot] != 0; slot = (slot + 1) & a->frame_mask)
	{
		const frame *f = &a->frames[a->frame_index[slot]];

		if (f->ret == ret && f->count == count && f->parent == parent && f->depth == depth)
			return a->frame_index[slot];
	}
	if (a->nframes == a->max_frames)
	{
		a->no_frames = true;
		return 0;
	}
	a->frames[a->nframes] = (frame) {ret, count, parent, depth, 0};
	a->frame_index[slot] = a->nframes;
	return a->nframes++;
}

/* Frames of a chain that this search has not counted yet. */
static uint32_t
new_in_chain(const dsv_automaton *a, uint32_t in)
{
	uint32_t	n = 0;

	for (; in != 0 && a->frames[in].mark != a->search; in = a->frames[in].parent)
		n++;
	return n;
}

static void
mark_chain(dsv_automaton *a, uint32_t in)
{
	for (; in != 0 && a->frames[in].mark != a->search; in = a->frames[in].parent)
		a->frames[in].mark = a->search;
}

/* ---- the search for the configurations of a state ---- */

static void
begin_search(dsv_automaton *a)
{
	if (++a->search == 0)
	{
		memset(a->visits, 0, (a->visit_mask + (size_t) 1) * sizeof(visit));
		for (uint32_t i = 0; i < a->nframes; i++)
			a->frames[i].mark = 0;
		a->search = 1;
	}
	a->nfound = 0;
	a->nopen = 0;
	a->nvisits = 0;
	a->nkept = 0;
	a->accepts = false;
	a->no_frames = false;
}

static bool
found_something(const dsv_automaton *a)
{
	return a->nfound > 0 || a->accepts;
}

/* False: seen before in this search, or the budget is spent. */
static bool
enter(dsv_automaton *a, const config *c)
{
	uint32_t	slot = mix(c->node, c->count, c->frame) & a->visit_mask;

	if (a->nvisits >= a->max_visits)
		return !found_something(a);
	for (; a->visits[slot].search == a->search; slot = (slot + 1) & a->visit_mask)
		if (same(&a->visits[slot].c, c))
			return false;
	a->visits[slot].c = *c;
	a->visits[slot].search = a->search;
	a->nvisits++;
	return true;
}

static void
add_found(dsv_automaton *a, const config *c)
{
	uint32_t	kept = a->nkept + new_in_chain(a, c->frame);

	if (a->nfound == a->max_configs || (kept > a->max_kept && found_something(a)))
		return;
	mark_chain(a, c->frame);
	a->nkept = kept;
	a->found[a->nfound++] = *c;
}

static void
come_back(dsv_automaton *a, uint32_t node, uint32_t count, uint32_t in)
{
	if (a->nopen < a->max_configs)
		a->open[a->nopen++] = (config) {node, count, in};
}

/* Goes on with the first alternative, the others wait. */
static bool
split(dsv_automaton *a, config *c, const dsv_node *n)
{
	uint32_t	first = UINT32_MAX;

	for (int i = n->nedges - 1; i >= 0; i--)
	{
		uint32_t	to = a->edges[n->edge + i].to;

		if (!viable(a, to, c->frame))
			continue;
		if (first != UINT32_MAX)
			come_back(a, first, c->count, c->frame);
		first = to;
	}
	c->node = first;
	return first != UINT32_MAX;
}

static bool
turn(dsv_automaton *a, config *c, const dsv_node *n)
{
	uint32_t	body = a->edges[n->edge].to;
	uint32_t	leave = a->edges[n->edge + 1].to;
	bool		again = c->count < n->max && viable(a, body, c->frame);
	uint32_t	count = c->count;

	if (count >= n->min)
	{
		if (!again)
		{
			*c = (config) {leave, 0, c->frame};
			return true;
		}
		come_back(a, leave, 0, c->frame);
	}
	/* without an upper bound counting ends where the lower one is reached */
	if (n->max != DSV_COUNT_UNLIMITED || count < n->min)
		count++;
	*c = (config) {body, count, c->frame};
	return again;
}

static bool
call(dsv_automaton *a, config *c, const dsv_node *n)
{
	const dsv_edge *e = a->edges + n->edge;
	uint32_t	depth = a->frames[c->frame].depth + e[0].deeper;
	uint32_t	in = intern_frame(a, e[1].to, c->count, c->frame, depth);

	*c = (config) {e[0].to, 0, in};
	return in != 0;
}

/* One step on without a byte.  False: this way ends here. */
static bool
advance(dsv_automaton *a, config *c)
{
	const dsv_node *n = &a->nodes[c->node];
	const frame *f = &a->frames[c->frame];

	if (!enter(a, c))
		return false;
	switch ((dsv_node_kind) n->kind)
	{
		case DSV_NODE_BYTES:
			add_found(a, c);
			return false;
		case DSV_NODE_SPLIT:
			return split(a, c, n);
		case DSV_NODE_CALL:
			return call(a, c, n);
		case DSV_NODE_LOOP:
			return turn(a, c, n);
		case DSV_NODE_END:
			break;
	}
	if (c->frame == 0)
	{
		a->accepts = true;
		return false;
	}
	*c = (config) {f->ret, f->count, f->parent};
	return true;
}

static void
search_from(dsv_automaton *a, config c)
{
	for (;;)
	{
		while (advance(a, &c))
			;
		if (a->nopen == 0 || a->no_frames)
			break;
		c = a->open[--a->nopen];
	}
	a->nopen = 0;
}

/* ---- states ---- */

static const config *
configs_of(const dsv_automaton *a, const state *s)
{
	return a->top - s->first - s->n;
}

static uint32_t
hash_found(const dsv_automaton *a)
{
	uint32_t	h = a->accepts;

	for (uint32_t i = 0; i < a->nfound; i++)
		h = mix(h ^ a->found[i].node, a->found[i].count, a->found[i].frame);
	return h;
}

static bool
is_found(const dsv_automaton *a, const state *s, uint32_t hash)
{
	return s->hash == hash && s->n == a->nfound && s->accepts == a->accepts &&
		(s->n == 0 || memcmp(configs_of(a, s), a->found, s->n * sizeof(config)) == 0);
}

static int32_t
add_state(dsv_automaton *a, uint32_t hash, uint32_t slot)
{
	size_t		rows = (a->nstates + (size_t) 1) * a->nclasses * sizeof(int32_t);
	size_t		configs = (a->nconfigs + (size_t) a->nfound) * sizeof(config);
	int32_t    *row = a->rows + (size_t) a->nstates * a->nclasses;

	if (a->nstates == a->max_states || rows + configs > a->shared)
		return DSV_STATE_FULL;
	a->states[a->nstates] = (state) {a->nconfigs, a->nfound, hash, a->accepts};
	a->nconfigs += a->nfound;
	if (a->nfound > 0)
		memcpy(a->top - a->nconfigs, a->found, a->nfound * sizeof(config));
	for (uint32_t i = 0; i < a->nclasses; i++)
		row[i] = DSV_STATE_UNKNOWN;
	a->state_index[slot] = (int32_t) a->nstates;
	return (int32_t) a->nstates++;
}

/* The state of what the search found. */
static int32_t
intern_found(dsv_automaton *a)
{
	uint32_t	hash = hash_found(a);
	uint32_t	slot = hash & a->state_mask;

	if (a->no_frames)
		return DSV_STATE_FULL;
	if (!found_something(a))
		return DSV_STATE_DEAD;
	for (; a->state_index[slot] >= 0; slot = (slot + 1) & a->state_mask)
		if (is_found(a, &a->states[a->state_index[slot]], hash))
			return a->state_index[slot];
	return add_state(a, hash, slot);
}

/* Where a byte leads from a BYTES node, or DSV_NODE_NONE. */
static uint32_t
target(const dsv_automaton *a, const config *c, uint8_t byte)
{
	const dsv_node *n = &a->nodes[c->node];
	const dsv_edge *e = a->edges + n->edge;

	for (int i = 0; i < n->nedges; i++)
		if (byte >= e[i].lo && byte <= e[i].hi)
			return viable(a, e[i].to, c->frame) ? e[i].to : DSV_NODE_NONE;
	return DSV_NODE_NONE;
}

static int32_t
compute(dsv_automaton *a, int32_t number, uint8_t class)
{
	const state *s = &a->states[number];
	const config *c = configs_of(a, s);
	uint8_t		byte = a->sample[class];
	int32_t		to;

	begin_search(a);
	for (uint32_t i = 0; i < s->n && !a->no_frames; i++)
	{
		uint32_t	node = target(a, &c[i], byte);

		if (node != DSV_NODE_NONE)
			search_from(a, (config) {node, c[i].count, c[i].frame});
	}
	to = intern_found(a);
	if (to != DSV_STATE_FULL)
		a->rows[(size_t) number * a->nclasses + class] = to;
	return to;
}

int32_t
dsv_automaton_next(dsv_automaton *a, int32_t number, uint8_t byte)
{
	uint8_t		class = a->class_of[byte];
	int32_t		to = a->rows[(size_t) number * a->nclasses + class];

	return to != DSV_STATE_UNKNOWN ? to : compute(a, number, class);
}

dsv_transitions
dsv_automaton_transitions(const dsv_automaton *a)
{
	return (dsv_transitions) {a->rows, a->class_of, a->nclasses};
}

int32_t
dsv_automaton_start(dsv_automaton *a)
{
	if (a->start >= 0)
		return a->start;
	begin_search(a);
	search_from(a, (config) {a->start_node, 0, 0});
	a->start = intern_found(a);
	return a->start;
}

int
dsv_automaton_states(const dsv_automaton *a)
{
	return (int) a->nstates;
}

bool
dsv_automaton_accepts(const dsv_automaton *a, int32_t number)
{
	return a->states[number].accepts;
}

/* The one byte that goes on from here, or -1. */
static int
only_byte(const dsv_automaton *a, const state *s)
{
	const config *c = configs_of(a, s);
	int			byte = -1;

	for (uint32_t i = 0; i < s->n; i++)
	{
		const dsv_node *n = &a->nodes[c[i].node];

		for (int k = 0; k < n->nedges; k++)
		{
			const dsv_edge *e = &a->edges[n->edge + k];

			if (!viable(a, e->to, c[i].frame))
				continue;
			if (e->lo != e->hi || (byte >= 0 && byte != e->lo))
				return -1;
			byte = e->lo;
		}
	}
	return byte;
}

int
dsv_automaton_forced(dsv_automaton *a, int32_t number, uint8_t *out, int max)
{
	int			n = 0;

	while (n < max && !a->states[number].accepts)
	{
		int			byte = only_byte(a, &a->states[number]);

		if (byte < 0)
			break;
		out[n++] = (uint8_t) byte;
		number = dsv_automaton_next(a, number, (uint8_t) byte);
		if (number < 0)
			break;
	}
	return n;
}

/* ---- free text ---- */

/* Byte ranges of the characters of free text: the first byte, the one behind it, and how many
 * there are. */
static const struct
{
	uint8_t		lo;
	uint8_t		hi;
	uint8_t		tail;
	uint8_t		tail_lo;
	uint8_t		tail_hi;
}			text_bytes[] =
{
	{0x20, '"' - 1, 0}, {'"' + 1, '<' - 1, 0}, {'<' + 1, '\\' - 1, 0}, {'\\' + 1, 0x7E, 0},
	{0xC2, 0xDF, 1, 0x80, 0xBF}, {0xE0, 0xE0, 2, 0xA0, 0xBF}, {0xE1, 0xEC, 2, 0x80, 0xBF},
	{0xED, 0xED, 2, 0x80, 0x9F}, {0xEE, 0xEF, 2, 0x80, 0xBF}, {0xF0, 0xF0, 3, 0x90, 0xBF},
	{0xF1, 0xF3, 3, 0x80, 0xBF}, {0xF4, 0xF4, 3, 0x80, 0x8F},
};

/* Bytes lo .. hi and, behind each, `tail` continuation bytes (the first of them tail_lo .. tail_hi) lead
 * from one node to the other.  Edges are looked at in order; a node with others is not free text. */
static bool
all_lead(const dsv_automaton *a, uint32_t from, unsigned lo, unsigned hi, int tail, unsigned tail_lo,
		 unsigned tail_hi, uint32_t to)
{
	const dsv_node *n = &a->nodes[from];

	for (int i = 0; i < n->nedges && lo <= hi; i++)
	{
		const dsv_edge *e = &a->edges[n->edge + i];

		if (e->hi < lo)
			continue;
		if (e->lo > lo)
			return false;
		if (tail == 0 ? e->to != to :
			a->nodes[e->to].kind != DSV_NODE_BYTES ||
			!all_lead(a, e->to, tail_lo, tail_hi, tail - 1, 0x80, 0xBF, to))
			return false;
		lo = e->hi + 1u;
	}
	return lo > hi;
}

/* The first configuration alone is looked at: its successors come first, so that no budget can
 * take them away. */
bool
dsv_automaton_takes_text(const dsv_automaton *a, int32_t number, int chars)
{
	const state *s = &a->states[number];
	const config *c = configs_of(a, s);
	const dsv_node *then;
	uint32_t	to;

	if (s->n == 0 || (to = target(a, c, 'a')) == DSV_NODE_NONE)
		return false;
	then = &a->nodes[to];
	if (to != c->node &&
		(then->kind != DSV_NODE_LOOP || a->edges[then->edge].to != c->node ||
		 (then->max != DSV_COUNT_UNLIMITED && (int64_t) then->max - c->count + 1 < chars)))
		return false;
	for (size_t i = 0; i < sizeof(text_bytes) / sizeof(text_bytes[0]); i++)
		if (!all_lead(a, c->node, text_bytes[i].lo, text_bytes[i].hi, text_bytes[i].tail, text_bytes[i].tail_lo,
					  text_bytes[i].tail_hi, to))
			return false;
	return true;
}

/* ---- starting over ---- */

static void
forget_states(dsv_automaton *a)
{
	memset(a->state_index, 0xFF, (a->state_mask + (size_t) 1) * sizeof(int32_t));
	a->nstates = 0;
	a->nconfigs = 0;
	a->start = -1;
}

/* Only the marked frames stay, renumbered in their old order: a parent always comes before what
 * it called.  The configurations found are told the new numbers. */
static void
keep_marked_frames(dsv_automaton *a)
{
	uint32_t   *renamed = a->frame_index;	/* more entries than there are frames */
	uint32_t	n = 1;

	renamed[0] = 0;
	for (uint32_t i = 1; i < a->nframes; i++)
	{
		if (a->frames[i].mark != a->search)
			continue;
		renamed[i] = n;
		a->frames[n] = a->frames[i];
		a->frames[n].parent = renamed[a->frames[i].parent];
		n++;
	}
	for (uint32_t i = 0; i < a->nfound; i++)
		a->found[i].frame = renamed[a->found[i].frame];
	memset(a->frame_index, 0, (a->frame_mask + (size_t) 1) * sizeof(uint32_t));
	a->nframes = 1;
	for (uint32_t i = 1; i < n; i++)
	{
		const frame f = a->frames[i];

		intern_frame(a, f.ret, f.count, f.parent, f.depth);
	}
}

int32_t
dsv_automaton_restart(dsv_automaton *a, int32_t number)
{
	const state *s = &a->states[number];

	begin_search(a);
	a->accepts = s->accepts;
	a->nfound = s->n;
	if (s->n > 0)
		memcpy(a->found, configs_of(a, s), s->n * sizeof(config));
	for (uint32_t i = 0; i < a->nfound; i++)
		mark_chain(a, a->found[i].frame);
	keep_marked_frames(a);
	forget_states(a);
	return intern_found(a);
}

/* ---- creation ---- */

static uint32_t
power_of_two(size_t at_least)
{
	uint32_t	n = 16;

	while (n < at_least)
		n *= 2;
	return n;
}

/* Tables whose size follows from the budgets. */
static void
lay_out_search(dsv_automaton *a, dsv_arena *arena)
{
	uint32_t	frame_slots = power_of_two(a->max_frames + a->max_frames / 2);
	uint32_t	visit_slots = power_of_two(a->max_visits + a->max_visits / 4);

	a->frames = dsv_arena_take(arena, a->max_frames, sizeof(frame));
	a->frame_index = dsv_arena_take(arena, frame_slots, sizeof(uint32_t));
	a->frame_mask = frame_slots - 1;
	a->found = dsv_arena_take(arena, a->max_configs, sizeof(config));
	a->open = dsv_arena_take(arena, a->max_configs, sizeof(config));
	a->visits = dsv_arena_take(arena, visit_slots, sizeof(visit));
	a->visit_mask = visit_slots - 1;
}

static void
lay_out_states(dsv_automaton *a, dsv_arena *arena)
{
	uint32_t	slots = power_of_two(a->max_states + a->max_states / 2);

	a->states = dsv_arena_take(arena, a->max_states, sizeof(state));
	a->state_index = dsv_arena_take(arena, slots, sizeof(int32_t));
	a->state_mask = slots - 1;
	a->rows = dsv_arena_take(arena, a->shared, 1);
	a->top = a->rows != NULL ? (config *) ((char *) a->rows + a->shared) : NULL;
}

/* How many states there may be, given what the search leaves. */
static bool
size_states(dsv_automaton *a, size_t memory, size_t used)
{
	size_t		row = a->nclasses * sizeof(int32_t);
	size_t		largest = row + a->max_configs * sizeof(config);
	/* a row, one configuration, the state and up to 3 slots of the index */
	size_t		each = row + sizeof(config) + sizeof(state) + 3 * sizeof(int32_t);
	size_t		states;

	if (memory < used + 512)
		return false;
	states = (memory - used - 512) / each;
	a->max_states = (uint32_t) (states < MAX_STATES ? states : MAX_STATES);
	a->shared = memory - used - 512 -
		a->max_states * (sizeof(state) + 3 * sizeof(int32_t));
	a->shared -= a->shared % sizeof(config);
	return a->max_states >= MIN_STATES && a->shared >= MIN_STATES * largest;
}

static void
set_budgets(dsv_automaton *a, const dsv_grammar *grammar, size_t memory)
{
	size_t		n = memory / BYTES_PER_CONFIG;
	uint32_t	chain = (uint32_t) grammar->max_frames;

	a->max_configs = (uint32_t) (n < MIN_CONFIGS ? MIN_CONFIGS : n > MAX_CONFIGS ? MAX_CONFIGS : n);
	a->max_visits = SEARCH_FACTOR * a->max_configs;
	a->max_kept = 2 * a->max_configs;
	if (a->max_kept < chain)
		a->max_kept = chain;
	/* what a state keeps, what one search makes, and the way to its first finding */
	a->max_frames = a->max_kept + a->max_visits + 2 * chain + 1;
}

static void
copy_classes(dsv_automaton *a, const dsv_grammar *grammar)
{
	a->nclasses = grammar->nclasses;
	memcpy(a->class_of, grammar->class_of, sizeof(a->class_of));
	for (int c = 0; c < 256; c++)
		a->sample[a->class_of[c]] = (uint8_t) c;
}

dsv_code
dsv_automaton_create(const dsv_grammar *grammar, size_t memory, const dsv_mem *mem,
					 dsv_automaton **out, dsv_error *err)
{
	dsv_automaton plan = {.mem = mem, .nodes = grammar->nodes, .edges = grammar->edges};
	dsv_arena	arena = {0};
	dsv_automaton *a;
	void	   *to_free;

	*out = NULL;
	plan.start_node = grammar->start;
	copy_classes(&plan, grammar);
	set_budgets(&plan, grammar, memory);
	dsv_arena_take(&arena, 1, sizeof(plan));
	lay_out_search(&plan, &arena);
	if (!size_states(&plan, memory, arena.used))
		return dsv_fail(err, DSV_LIMIT, "%zu bytes are too few for the states of this grammar",
						memory);
	lay_out_states(&plan, &arena);

	arena.base = dsv_alloc_aligned(mem, arena.used, &to_free);
	if (arena.base == NULL)
		return dsv_fail_nomem(err, arena.used);
	arena.used = 0;
	a = dsv_arena_take(&arena, 1, sizeof(plan));
	*a = plan;
	a->to_free = to_free;
	lay_out_search(a, &arena);
	lay_out_states(a, &arena);
	/* the rest is written before it is read */
	memset(a->frame_index, 0, (a->frame_mask + (size_t) 1) * sizeof(uint32_t));
	memset(a->visits, 0, (a->visit_mask + (size_t) 1) * sizeof(visit));
	memset(a->frames, 0, sizeof(frame));
	a->nframes = 1;
	forget_states(a);
	dsv_automaton_start(a);
	*out = a;
	return DSV_OK;
}

void
dsv_automaton_destroy(dsv_automaton *a)
{
	if (a != NULL)
		dsv_free(a->mem, a->to_free);
}
