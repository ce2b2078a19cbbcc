/*
 * grammar_text.c
 *		Characters as bytes: UTF-8, and the canonical way to write a string in JSON.
 *
 * Code points are cut into blocks of 64, 4096 and 262144, which is what one, two and three
 * continuation bytes tell apart.  A block that leads to one node as a whole shares the bytes
 * behind its first one with all others that lead there.
 */
#include "grammar_private.h"

#include <stdio.h>
#include <string.h>

/* What JSON escapes with a letter, in the order of the letters. */
static const struct
{
	uint8_t		letter;
	uint8_t		c;
}			short_escapes[] =
{
	{'"', '"'}, {'\\', '\\'}, {'b', '\b'}, {'f', '\f'}, {'n', '\n'}, {'r', '\r'}, {'t', '\t'},
};

#define NSHORT ((int) (sizeof(short_escapes) / sizeof(short_escapes[0])))

/* kinds of cached tails: 1 to 3 continuation bytes, and all that a backslash begins */
#define TAIL_ESCAPES 4

static uint32_t *
cached(dsv_builder *b, uint32_t kind, uint32_t to)
{
	unsigned	slot = (to * 5 + kind) % DSV_BUILD_CACHE;

	if (b->cache[slot].to != to || b->cache[slot].kind != kind)
	{
		b->cache[slot].to = to;
		b->cache[slot].kind = kind;
		b->cache[slot].node = DSV_NODE_NONE;
	}
	return &b->cache[slot].node;
}

/* n continuation bytes of any value, then `to`. */
static uint32_t
any_tail(dsv_builder *b, int n, uint32_t to)
{
	uint32_t	next;

	if (n == 0 || to == DSV_NODE_NONE)
		return to;
	if (*cached(b, (uint32_t) n, to) != DSV_NODE_NONE)
		return *cached(b, (uint32_t) n, to);
	next = any_tail(b, n - 1, to);
	return *cached(b, (uint32_t) n, to) = dsv_node_range(b, 0x80, 0xBF, next);
}

/* ---- ranges ---- */

typedef struct chars
{
	dsv_builder *b;
	const dsv_char_range *ranges;
	size_t		nranges;
} chars;

/* Where c leads; *last gets the last code point from c on that does the same. */
static uint32_t
lookup(const chars *set, uint32_t c, uint32_t *last)
{
	size_t		low = 0;
	size_t		high = set->nranges;

	if (c >= 0xD800 && c <= 0xDFFF)
	{
		*last = 0xDFFF;
		return DSV_NODE_NONE;
	}
	while (low < high)
	{
		size_t		mid = low + (high - low) / 2;

		if (set->ranges[mid].hi < c)
			low = mid + 1;
		else
			high = mid;
	}
	*last = DSV_CODE_POINT_MAX;
	if (low < set->nranges)
		*last = set->ranges[low].lo <= c ? set->ranges[low].hi : set->ranges[low].lo - 1;
	if (c < 0xD800 && *last >= 0xD800)
		*last = 0xD7FF;
	return low < set->nranges && set->ranges[low].lo <= c ? set->ranges[low].to : DSV_NODE_NONE;
}

static void
add_edge(dsv_edge *edges, size_t *n, unsigned byte, uint32_t to)
{
	if (to == DSV_NODE_NONE)
		return;
	if (*n > 0 && edges[*n - 1].to == to && edges[*n - 1].hi + 1u == byte)
	{
		edges[*n - 1].hi = (uint8_t) byte;
		return;
	}
	edges[(*n)++] = (dsv_edge) {.lo = (uint8_t) byte, .hi = (uint8_t) byte, .to = to};
}

/* The n continuation bytes of the block that begins at base; low: its first code point that is
 * not overlong. */
static uint32_t
block_tail(const chars *set, uint32_t base, uint32_t low, int n)
{
	uint32_t	size = 1u << (6 * n);
	uint32_t	piece = size / 64;
	dsv_edge	edges[64];
	size_t		nedges = 0;
	uint32_t	last;
	uint32_t	to;

	to = lookup(set, base, &last);
	if (low <= base && last >= base + size - 1)
		return any_tail(set->b, n, to);
	for (uint32_t i = 0; i < 64 && set->b->code == DSV_OK; i++)
	{
		uint32_t	at = base + i * piece;

		if (at < low || at > DSV_CODE_POINT_MAX)
			continue;
		add_edge(edges, &nedges, 0x80 + i, block_tail(set, at, low, n - 1));
	}
	return nedges > 0 ? dsv_node_bytes(set->b, edges, nedges) : DSV_NODE_NONE;
}

static void
add_leads(const chars *set, dsv_edge *edges, size_t *nedges)
{
	for (unsigned lead = 0xC2; lead <= 0xDF; lead++)
		add_edge(edges, nedges, lead, block_tail(set, (lead & 0x1F) << 6, 0x80, 1));
	for (unsigned lead = 0xE0; lead <= 0xEF; lead++)
		add_edge(edges, nedges, lead, block_tail(set, (lead & 0x0F) << 12, 0x800, 2));
	for (unsigned lead = 0xF0; lead <= 0xF4; lead++)
		add_edge(edges, nedges, lead, block_tail(set, (lead & 0x07) << 18, 0x10000, 3));
}

/* ---- escapes ---- */

static bool
has_short_escape(uint32_t c)
{
	for (int i = 0; i < NSHORT; i++)
		if (short_escapes[i].c == c)
			return true;
	return false;
}

/* \u0001 .. \u001f without those that have a letter */
static uint32_t
hex_escapes(const chars *set)
{
	dsv_edge	high[2];
	size_t		nhigh = 0;
	uint32_t	last;
	uint32_t	next;

	for (unsigned i = 0; i < 2; i++)
	{
		dsv_edge	low[16];
		size_t		nlow = 0;

		for (unsigned k = 0; k < 16; k++)
		{
			uint32_t	c = i * 16 + k;

			if (c > 0 && !has_short_escape(c))
				add_edge(low, &nlow, (uint8_t) "0123456789abcdef"[k], lookup(set, c, &last));
		}
		if (nlow > 0)
			add_edge(high, &nhigh, '0' + i, dsv_node_bytes(set->b, low, nlow));
	}
	if (nhigh == 0)
		return DSV_NODE_NONE;
	next = dsv_node_bytes(set->b, high, nhigh);
	return dsv_node_literal(set->b, "00", 2, next);
}

static uint32_t
make_escapes(const chars *set)
{
	dsv_edge	edges[NSHORT + 1];
	size_t		n = 0;
	uint32_t	last;

	for (int i = 0; i < NSHORT; i++)
		add_edge(edges, &n, short_escapes[i].letter, lookup(set, short_escapes[i].c, &last));
	add_edge(edges, &n, 'u', hex_escapes(set));
	return n > 0 ? dsv_node_bytes(set->b, edges, n) : DSV_NODE_NONE;
}

/* What follows a backslash; shared where all that is escaped leads to one node. */
static uint32_t
escapes(const chars *set)
{
	uint32_t	last;
	uint32_t	to = lookup(set, 1, &last);
	bool		one = to != DSV_NODE_NONE && last >= 0x1F;

	one = one && lookup(set, '"', &last) == to && lookup(set, '\\', &last) == to;
	if (!one)
		return make_escapes(set);
	if (*cached(set->b, TAIL_ESCAPES, to) == DSV_NODE_NONE)
	{
		uint32_t	node = make_escapes(set);

		*cached(set->b, TAIL_ESCAPES, to) = node;
	}
	return *cached(set->b, TAIL_ESCAPES, to);
}

void
dsv_node_define_chars(dsv_builder *b, uint32_t node, const dsv_char_range *ranges, size_t nranges,
					  uint32_t close)
{
	chars		set = {b, ranges, nranges};
	dsv_edge	edges[256];
	dsv_edge	ways[2] = {{.to = DSV_NODE_NONE}, {.to = close}};
	size_t		n = 0;
	uint32_t	last;

	for (unsigned c = b->bare ? 1 : 0x20; c < 0x80 && b->code == DSV_OK; c++)
	{
		if (c == '"' && !b->bare)
			add_edge(edges, &n, c, close);
		else if (c == '\\' && !b->bare)
			add_edge(edges, &n, c, escapes(&set));
		else
			add_edge(edges, &n, c, lookup(&set, c, &last));
	}
	add_leads(&set, edges, &n);
	if (!b->bare || close == DSV_NODE_NONE)
	{
		dsv_node_define(b, node, DSV_NODE_BYTES, edges, n);
		return;
	}
	ways[0].to = dsv_node_bytes(b, edges, n);
	dsv_node_define(b, node, DSV_NODE_SPLIT, ways, 2);
}

/* ---- strings ---- */

uint32_t
dsv_node_quote(dsv_builder *b, uint32_t next)
{
	return b->bare ? next : dsv_node_literal(b, "\"", 1, next);
}

uint32_t
dsv_node_string(dsv_builder *b, uint32_t min, uint32_t max, uint32_t next)
{
	dsv_char_range any = {1, DSV_CODE_POINT_MAX, DSV_NODE_NONE};
	uint32_t	body = dsv_node_reserve(b);
	uint32_t	loop;

	if (min == 0 && max == DSV_COUNT_UNLIMITED)
	{
		any.to = body;
		dsv_node_define_chars(b, body, &any, 1, next);
		return dsv_node_quote(b, body);
	}
	loop = dsv_node_loop(b, min, max);
	any.to = loop;
	dsv_node_define_chars(b, body, &any, 1, DSV_NODE_NONE);
	dsv_node_loop_body(b, loop, body);
	return dsv_node_quote(b, dsv_node_call(b, loop, dsv_node_quote(b, next), false));
}

bool
dsv_text_add_json_string(const dsv_mem *mem, dsv_text *out, const char *s, size_t len)
{
	if (!dsv_text_add(mem, out, "\"", 1))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char		escape[8] = {s[i]};
		size_t		n = 1;

		for (int k = 0; k < NSHORT; k++)
			if (short_escapes[k].c == (uint8_t) s[i])
				n = (size_t) snprintf(escape, sizeof(escape), "\\%c", short_escapes[k].letter);
		if (n == 1 && (uint8_t) s[i] < 0x20)
			n = (size_t) snprintf(escape, sizeof(escape), "\\u%04x", (unsigned) s[i]);
		if (!dsv_text_add(mem, out, escape, n))
			return false;
	}
	return dsv_text_add(mem, out, "\"", 1);
}
