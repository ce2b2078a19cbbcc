/*
 * grammar_pattern.c
 *		Parsing regular expressions: the part of ECMA-262 (Unicode mode) that describes a regular
 *		language and says so without looking around.
 *
 * What the standard calls an error is one here, but for a few things that are written often: a
 * punctuation mark may be escaped needlessly, and a hyphen beside \d, \w or \s in a class is
 * itself.
 */
#include "grammar_pattern.h"

#include <stdlib.h>
#include <string.h>

typedef enum tree_kind
{
	TREE_SET,
	TREE_ALL_OF,				/* children one behind the other */
	TREE_ANY_OF,				/* one of the children */
	TREE_REPEAT,				/* the child min to max times */
	TREE_START,
	TREE_END,
} tree_kind;

typedef struct tree
{
	tree_kind	kind;
	uint32_t	child;			/* the last one; or the set */
	uint32_t	before;			/* the sibling before, or NONE */
	uint32_t	min;
	uint32_t	max;
} tree;

#define NONE UINT32_MAX

typedef struct parser
{
	dsv_pattern *p;
	const char *s;
	const char *end;
	tree	   *trees;
	size_t		ntrees;
	size_t		trees_cap;
	int			nesting;
} parser;

dsv_code
dsv_pattern_fail(dsv_pattern *p, dsv_code code, const char *why)
{
	if (p->code == DSV_OK)
	{
		p->code = code;
		p->why = why;
	}
	return p->code;
}

static bool
room(dsv_pattern *p, void **list, size_t *cap, size_t need, size_t size)
{
	if (p->code != DSV_OK)
		return false;
	if (!dsv_reserve(p->mem, list, cap, need, size))
		dsv_pattern_fail(p, DSV_NOMEM, NULL);
	return p->code == DSV_OK;
}

/* ---- sets of characters ---- */

static void
add_range(dsv_pattern *p, uint32_t lo, uint32_t hi)
{
	void	   *ranges = p->ranges;

	if (!room(p, &ranges, &p->ranges_cap, p->nranges + 1, sizeof(*p->ranges)))
		return;
	p->ranges = ranges;
	p->ranges[p->nranges++] = (dsv_code_range) {lo, hi};
}

static int
compare_ranges(const void *a, const void *b)
{
	const dsv_code_range *x = a;
	const dsv_code_range *y = b;

	return (x->lo > y->lo) - (x->lo < y->lo);
}

/* Ranges from `first` on: sorted, and those that touch made one. */
static void
merge_ranges(dsv_pattern *p, size_t first)
{
	size_t		n = first;

	if (p->nranges > first)
		qsort(p->ranges + first, p->nranges - first, sizeof(*p->ranges), compare_ranges);
	for (size_t i = first; i < p->nranges; i++)
	{
		dsv_code_range r = p->ranges[i];

		if (n > first && r.lo <= p->ranges[n - 1].hi + 1)
		{
			if (r.hi > p->ranges[n - 1].hi)
				p->ranges[n - 1].hi = r.hi;
		}
		else
			p->ranges[n++] = r;
	}
	p->nranges = n;
}

/* Ranges from `first` on are replaced by what they leave out. */
static void
negate_ranges(dsv_pattern *p, size_t first)
{
	uint32_t	at = 0;
	size_t		end;

	merge_ranges(p, first);
	end = p->nranges;
	for (size_t i = first; i < end && p->code == DSV_OK; i++)
	{
		dsv_code_range r = p->ranges[i];

		if (r.lo > at)
			add_range(p, at, r.lo - 1);
		at = r.hi + 1;
	}
	if (at <= DSV_CODE_POINT_MAX)
		add_range(p, at, DSV_CODE_POINT_MAX);
	if (p->code != DSV_OK)
		return;
	memmove(p->ranges + first, p->ranges + end, (p->nranges - end) * sizeof(*p->ranges));
	p->nranges -= end - first;
}

/* \d \w \s and their opposites. */
static void
add_class(dsv_pattern *p, char letter)
{
	static const dsv_code_range digits[] = {{'0', '9'}};
	static const dsv_code_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
	static const dsv_code_range spaces[] = {{0x09, 0x0D}, {0x20, 0x20}, {0xA0, 0xA0},
	{0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
	{0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
	size_t		first = p->nranges;
	const dsv_code_range *list = spaces;
	size_t		n = sizeof(spaces) / sizeof(spaces[0]);

	if ((letter | 0x20) == 'd')
	{
		list = digits;
		n = 1;
	}
	else if ((letter | 0x20) == 'w')
	{
		list = words;
		n = sizeof(words) / sizeof(words[0]);
	}
	for (size_t i = 0; i < n; i++)
		add_range(p, list[i].lo, list[i].hi);
	if (letter < 'a')
		negate_ranges(p, first);
}

/* ---- the tree ---- */

static uint32_t
add_tree(parser *ps, tree_kind kind, uint32_t child)
{
	void	   *trees = ps->trees;

	if (!room(ps->p, &trees, &ps->trees_cap, ps->ntrees + 1, sizeof(*ps->trees)))
		return 0;
	ps->trees = trees;
	ps->trees[ps->ntrees] = (tree) {kind, child, NONE, 1, 1};
	return (uint32_t) ps->ntrees++;
}

/* The ranges from `first` on become a set. */
static uint32_t
add_set(parser *ps, size_t first)
{
	dsv_pattern *p = ps->p;
	void	   *sets = p->sets;

	merge_ranges(p, first);
	if (!room(p, &sets, &p->sets_cap, p->nsets + 1, sizeof(*p->sets)))
		return 0;
	p->sets = sets;
	p->sets[p->nsets] = (dsv_char_set) {(uint32_t) first, (uint32_t) (p->nranges - first)};
	return add_tree(ps, TREE_SET, (uint32_t) p->nsets++);
}

static uint32_t
add_char(parser *ps, uint32_t c)
{
	size_t		first = ps->p->nranges;

	add_range(ps->p, c, c);
	return add_set(ps, first);
}

static bool
at(const parser *ps, char c)
{
	return ps->s < ps->end && *ps->s == c;
}

static bool
skip(parser *ps, const char *text)
{
	size_t		n = strlen(text);

	if ((size_t) (ps->end - ps->s) < n || memcmp(ps->s, text, n) != 0)
		return false;
	ps->s += n;
	return true;
}

/* One character of UTF-8, which the reader of the schema has checked. */
static uint32_t
take_char(parser *ps)
{
	uint8_t		lead = (uint8_t) *ps->s++;
	uint32_t	c = lead;
	int			more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;

	if (more > 0)
		c &= 0x3Fu >> more;
	while (more-- > 0 && ps->s < ps->end)
		c = c << 6 | ((uint8_t) *ps->s++ & 0x3F);
	return c;
}

/* ---- escapes ---- */

static uint32_t
take_hex(parser *ps, int n)
{
	uint32_t	c = 0;

	for (int i = 0; i < n; i++)
	{
		char		d = ps->s < ps->end ? *ps->s : '\0';

		if (d >= '0' && d <= '9')
			c = c * 16 + (uint32_t) (d - '0');
		else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
			c = c * 16 + (uint32_t) ((d | 0x20) - 'a' + 10);
		else
		{
			dsv_pattern_fail(ps->p, DSV_INPUT, "has a malformed escape");
			return 0;
		}
		ps->s++;
	}
	return c;
}

/* Behind \u */
static uint32_t
take_unicode(parser *ps)
{
	uint32_t	c = 0;
	int			n = 0;

	if (!skip(ps, "{"))
	{
		c = take_hex(ps, 4);
		if (c >= 0xD800 && c <= 0xDBFF && skip(ps, "\\u"))
		{
			uint32_t	low = take_hex(ps, 4);

			if (low < 0xDC00 || low > 0xDFFF)
				dsv_pattern_fail(ps->p, DSV_INPUT, "has a malformed escape");
			return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
		}
	}
	else
	{
		while (!at(ps, '}') && n++ < 8 && ps->p->code == DSV_OK)
			c = c * 16 + take_hex(ps, 1);
		if (n == 0 || !skip(ps, "}"))
			dsv_pattern_fail(ps->p, DSV_INPUT, "has a malformed escape");
	}
	if (c > DSV_CODE_POINT_MAX || (c >= 0xD800 && c <= 0xDFFF))
		dsv_pattern_fail(ps->p, DSV_INPUT, "has an escape that is no character");
	return c;
}

static bool
is_class_letter(char c)
{
	return c != '\0' && strchr("dDwWsS", c) != NULL;
}

/* Behind a backslash: a single character. */
static uint32_t
take_escape(parser *ps, bool in_class)
{
	static const char letters[] = "tnvfr";
	static const char values[] = "\t\n\v\f\r";
	char		c = ps->s < ps->end ? *ps->s++ : '\0';
	const char *letter = c != '\0' ? strchr(letters, c) : NULL;
	bool		is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';

	if (letter != NULL)
		return (uint32_t) values[letter - letters];
	if (c == 'b' && in_class)
		return '\b';
	if (c == '0' && !(ps->s < ps->end && *ps->s >= '0' && *ps->s <= '9'))
		return 0;
	if (c == 'x')
		return take_hex(ps, 2);
	if (c == 'u')
		return take_unicode(ps);
	if (c == 'c' && ps->s < ps->end && (*ps->s | 0x20) >= 'a' && (*ps->s | 0x20) <= 'z')
		return (uint32_t) *ps->s++ & 0x1F;
	if (c == 'b' || c == 'B')
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "looks for word boundaries, which is not supported");
	else if ((c >= '1' && c <= '9') || c == 'k')
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "has a back-reference, which is not supported");
	else if (c == 'p' || c == 'P')
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "has a Unicode property, which is not supported");
	else if (is_letter || c <= ' ' || c >= 0x7F || c == '0')
		dsv_pattern_fail(ps->p, DSV_INPUT, "has an unknown escape");
	return (uint8_t) c;
}

/* ---- classes ---- */

/* One end of a range in a class; true: it was a whole class, and was added. */
static bool
take_class_atom(parser *ps, uint32_t *c)
{
	if (!skip(ps, "\\"))
	{
		*c = take_char(ps);
		return false;
	}
	if (ps->s < ps->end && is_class_letter(*ps->s))
	{
		add_class(ps->p, *ps->s++);
		return true;
	}
	*c = take_escape(ps, true);
	return false;
}

/* What stands behind a [ */
static uint32_t
parse_class(parser *ps)
{
	dsv_pattern *p = ps->p;
	size_t		first = p->nranges;
	bool		negated = skip(ps, "^");

	while (ps->s < ps->end && *ps->s != ']' && p->code == DSV_OK)
	{
		uint32_t	lo;
		uint32_t	hi;

		if (take_class_atom(ps, &lo))
			continue;
		hi = lo;
		/* a hyphen before ] or a class is itself */
		if (at(ps, '-') && ps->end - ps->s >= 2 && ps->s[1] != ']' &&
			!(ps->end - ps->s >= 3 && ps->s[1] == '\\' && is_class_letter(ps->s[2])))
		{
			ps->s++;
			take_class_atom(ps, &hi);
		}
		if (hi < lo)
			dsv_pattern_fail(p, DSV_INPUT, "has a range out of order");
		add_range(p, lo, hi);
	}
	if (!skip(ps, "]"))
		dsv_pattern_fail(p, DSV_INPUT, "has an open class");
	if (negated)
		negate_ranges(p, first);
	return add_set(ps, first);
}

/* ---- atoms ---- */

static uint32_t parse_alternatives(parser *ps);

static void
skip_group_name(parser *ps)
{
	while (ps->s < ps->end && *ps->s != '>')
		ps->s++;
	if (!skip(ps, ">"))
		dsv_pattern_fail(ps->p, DSV_INPUT, "has a malformed group");
}

/* What stands behind a ( */
static uint32_t
parse_group(parser *ps)
{
	uint32_t	group;

	if (skip(ps, "?=") || skip(ps, "?!"))
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "looks ahead, which is not supported");
	else if (skip(ps, "?<=") || skip(ps, "?<!"))
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "looks behind, which is not supported");
	else if (skip(ps, "?<"))
		skip_group_name(ps);
	else if (!skip(ps, "?:") && at(ps, '?'))
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "has a group of a kind that is not supported");
	if (++ps->nesting > DSV_PATTERN_MAX_NESTING)
		dsv_pattern_fail(ps->p, DSV_LIMIT, "has too many groups inside groups");
	if (ps->p->code != DSV_OK)
		return 0;
	group = parse_alternatives(ps);
	ps->nesting--;
	if (!skip(ps, ")"))
		dsv_pattern_fail(ps->p, DSV_INPUT, "has an open group");
	return group;
}

static uint32_t
parse_dot(parser *ps)
{
	size_t		first = ps->p->nranges;

	add_range(ps->p, '\n', '\n');
	add_range(ps->p, '\r', '\r');
	add_range(ps->p, 0x2028, 0x2029);
	negate_ranges(ps->p, first);
	return add_set(ps, first);
}

static uint32_t
parse_atom(parser *ps)
{
	size_t		first = ps->p->nranges;

	if (skip(ps, "("))
		return parse_group(ps);
	if (skip(ps, "["))
		return parse_class(ps);
	if (skip(ps, "."))
		return parse_dot(ps);
	if (skip(ps, "^"))
		return add_tree(ps, TREE_START, 0);
	if (skip(ps, "$"))
		return add_tree(ps, TREE_END, 0);
	if (*ps->s != '\0' && strchr("*+?{", *ps->s) != NULL)
		dsv_pattern_fail(ps->p, DSV_INPUT, "has nothing to repeat");
	else if (*ps->s == ']' || *ps->s == '}')
		dsv_pattern_fail(ps->p, DSV_INPUT, "has a bracket that was never opened");
	if (!skip(ps, "\\"))
		return add_char(ps, take_char(ps));
	if (ps->s < ps->end && is_class_letter(*ps->s))
	{
		add_class(ps->p, *ps->s++);
		return add_set(ps, first);
	}
	return add_char(ps, take_escape(ps, false));
}

/* ---- repetitions ---- */

/* Digits, bounded; false: none. */
static bool
take_number(parser *ps, uint32_t *out)
{
	const char *from = ps->s;
	uint32_t	n = 0;

	for (; ps->s < ps->end && *ps->s >= '0' && *ps->s <= '9'; ps->s++)
		n = n > DSV_PATTERN_MAX_REPEAT ? n : n * 10 + (uint32_t) (*ps->s - '0');
	if (n > DSV_PATTERN_MAX_REPEAT)
		dsv_pattern_fail(ps->p, DSV_LIMIT, "repeats more than 10000 times");
	*out = n;
	return ps->s > from;
}

/* True: a quantifier was read. */
static bool
take_quantifier(parser *ps, uint32_t *min, uint32_t *max)
{
	*min = 0;
	*max = DSV_COUNT_UNLIMITED;
	if (skip(ps, "*"))
		return true;
	if (skip(ps, "+"))
	{
		*min = 1;
		return true;
	}
	if (skip(ps, "?"))
	{
		*max = 1;
		return true;
	}
	if (!skip(ps, "{"))
		return false;
	if (!take_number(ps, min))
		dsv_pattern_fail(ps->p, DSV_INPUT, "has a malformed repetition");
	if (!skip(ps, ","))
		*max = *min;
	else if (!at(ps, '}'))
		take_number(ps, max);
	if (!skip(ps, "}"))
		dsv_pattern_fail(ps->p, DSV_INPUT, "has a malformed repetition");
	if (*min > *max)
		dsv_pattern_fail(ps->p, DSV_INPUT, "has a repetition out of order");
	return true;
}

static uint32_t
parse_piece(parser *ps)
{
	uint32_t	atom = parse_atom(ps);
	uint32_t	repeat;
	uint32_t	min;
	uint32_t	max;

	if (ps->p->code != DSV_OK || !take_quantifier(ps, &min, &max) || ps->p->code != DSV_OK)
		return atom;
	if (ps->trees[atom].kind == TREE_START || ps->trees[atom].kind == TREE_END)
		dsv_pattern_fail(ps->p, DSV_INPUT, "has nothing to repeat");
	if (at(ps, '?'))
		dsv_pattern_fail(ps->p, DSV_UNSUPPORTED, "has a lazy repetition, which is not supported");
	else if (ps->s < ps->end && (*ps->s == '*' || *ps->s == '+' || *ps->s == '{'))
		dsv_pattern_fail(ps->p, DSV_INPUT, "has nothing to repeat");
	repeat = add_tree(ps, TREE_REPEAT, atom);
	if (ps->p->code == DSV_OK)
	{
		ps->trees[repeat].min = min;
		ps->trees[repeat].max = max;
	}
	return repeat;
}

static void
add_child(parser *ps, uint32_t parent, uint32_t child)
{
	if (ps->p->code != DSV_OK)
		return;
	ps->trees[child].before = ps->trees[parent].child;
	ps->trees[parent].child = child;
}

static uint32_t
parse_sequence(parser *ps)
{
	uint32_t	sequence = add_tree(ps, TREE_ALL_OF, NONE);

	while (ps->s < ps->end && *ps->s != '|' && *ps->s != ')' && ps->p->code == DSV_OK)
		add_child(ps, sequence, parse_piece(ps));
	return sequence;
}

static uint32_t
parse_alternatives(parser *ps)
{
	uint32_t	any = add_tree(ps, TREE_ANY_OF, NONE);

	do
		add_child(ps, any, parse_sequence(ps));
	while (skip(ps, "|") && ps->p->code == DSV_OK);
	return any;
}

/* ---- from the tree to steps ---- */

static uint32_t
add_step(dsv_pattern *p, dsv_step_kind kind, uint32_t set, uint32_t a, uint32_t b)
{
	void	   *steps = p->steps;

	if (p->nsteps == DSV_PATTERN_MAX_STEPS)
		dsv_pattern_fail(p, DSV_LIMIT, "is too large when its repetitions are written out");
	if (!room(p, &steps, &p->steps_cap, p->nsteps + 1, sizeof(*p->steps)))
		return 0;
	p->steps = steps;
	p->steps[p->nsteps] = (dsv_step) {kind, set, a, b};
	return (uint32_t) p->nsteps++;
}

static uint32_t steps_of(parser *ps, uint32_t which, uint32_t next);

static uint32_t
repeat_steps(parser *ps, const tree *t, uint32_t next)
{
	dsv_pattern *p = ps->p;
	uint32_t	optional = t->max == DSV_COUNT_UNLIMITED ? 0 : t->max - t->min;
	uint32_t	leave = next;

	if (t->max == DSV_COUNT_UNLIMITED)
	{
		uint32_t	loop = add_step(p, DSV_STEP_SPLIT, 0, 0, next);
		uint32_t	body = steps_of(ps, t->child, loop);

		if (p->code == DSV_OK)
			p->steps[loop].a = body;
		next = loop;
	}
	/* a copy that adds nothing is empty, and so are all others */
	for (uint32_t i = 0; i < optional && p->code == DSV_OK; i++)
	{
		uint32_t	body = steps_of(ps, t->child, next);

		if (body == next)
			break;
		next = add_step(p, DSV_STEP_SPLIT, 0, body, leave);
	}
	for (uint32_t i = 0; i < t->min && p->code == DSV_OK; i++)
	{
		uint32_t	body = steps_of(ps, t->child, next);

		if (body == next)
			break;
		next = body;
	}
	return next;
}

static uint32_t
any_of_steps(parser *ps, const tree *t, uint32_t next)
{
	uint32_t	any = steps_of(ps, t->child, next);

	for (uint32_t i = ps->trees[t->child].before; i != NONE && ps->p->code == DSV_OK;
		 i = ps->trees[i].before)
		any = add_step(ps->p, DSV_STEP_SPLIT, 0, steps_of(ps, i, next), any);
	return any;
}

/* The steps of a tree that go on with `next`. */
static uint32_t
steps_of(parser *ps, uint32_t which, uint32_t next)
{
	const tree *t = &ps->trees[which];

	if (ps->p->code != DSV_OK)
		return next;
	switch (t->kind)
	{
		case TREE_SET:
			return add_step(ps->p, DSV_STEP_CHAR, t->child, next, 0);
		case TREE_START:
			return add_step(ps->p, DSV_STEP_START, 0, next, 0);
		case TREE_END:
			return add_step(ps->p, DSV_STEP_END, 0, next, 0);
		case TREE_REPEAT:
			return repeat_steps(ps, t, next);
		case TREE_ANY_OF:
			return any_of_steps(ps, t, next);
		case TREE_ALL_OF:
			break;
	}
	for (uint32_t i = t->child; i != NONE; i = ps->trees[i].before)
		next = steps_of(ps, i, next);
	return next;
}

dsv_code
dsv_pattern_parse(dsv_pattern *p, const char *text, size_t len)
{
	parser		ps = {.p = p, .s = text, .end = text + len};
	uint32_t	all = parse_alternatives(&ps);
	uint32_t	match;

	if (p->code == DSV_OK && ps.s < ps.end)
		dsv_pattern_fail(p, DSV_INPUT, "has a bracket that was never opened");
	match = add_step(p, DSV_STEP_MATCH, 0, 0, 0);
	p->start = steps_of(&ps, all, match);
	dsv_free(p->mem, ps.trees);
	return p->code;
}

void
dsv_pattern_free(dsv_pattern *p)
{
	dsv_free(p->mem, p->ranges);
	dsv_free(p->mem, p->sets);
	dsv_free(p->mem, p->steps);
}
