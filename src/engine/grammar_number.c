/*
 * grammar_number.c
 *		Decimal numbers between two bounds, digit by digit.
 *
 * A number is its sign and a magnitude with a fixed number of digits behind the point, of which
 * trailing ones may be left out.  Reading the digits before the point one does not know yet how many
 * there will be, so a state is how many were read and how they compare with as many first digits of
 * either bound; behind the point only equality still matters.
 */
#include "grammar_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

dsv_wide
dsv_wide_ten_to(int n)
{
	dsv_wide	x = 1;

	while (n-- > 0)
		x *= 10;
	return x;
}

dsv_wide
dsv_wide_from_int(int64_t n)
{
	return (dsv_wide) n * dsv_wide_ten_to(DSV_NUMBER_DIGITS);
}

bool
dsv_wide_from_double(double x, dsv_wide *out, int *exponent)
{
	char		text[40];
	char	   *e;
	int64_t		digits = 0;
	int			scale;

	/* the fewest digits that mean this number are those that were written */
	for (int precision = 0; precision < 17; precision++)
	{
		snprintf(text, sizeof(text), "%.*e", precision, fabs(x));
		if (strtod(text, NULL) == fabs(x))
			break;
	}
	e = strchr(text, 'e');
	scale = (int) strtol(e + 1, NULL, 10);
	for (char *p = text; p < e; p++)
	{
		if (*p < '0' || *p > '9')
			continue;			/* the point, whatever the locale calls it */
		digits = digits * 10 + (*p - '0');
		scale -= p > text;
	}
	while (digits != 0 && digits % 10 == 0)
	{
		digits /= 10;
		scale++;
	}
	*exponent = digits == 0 ? 0 : scale;
	if (digits != 0 && scale < -DSV_NUMBER_DIGITS)
		return false;
	if (fabs(x) >= 1e20)
		*out = dsv_wide_ten_to(20 + DSV_NUMBER_DIGITS);
	else
		*out = digits * dsv_wide_ten_to(digits == 0 ? 0 : scale + DSV_NUMBER_DIGITS);
	if (x < 0)
		*out = -*out;
	return true;
}

/* ---- magnitudes ---- */

enum
{
	LESS,
	EQUAL,
	GREATER,
};

/* Digits of a bound, the fraction at fixed length. */
typedef struct digits
{
	int			whole;			/* how many before the point, at least 1 */
	uint8_t		d[2 * DSV_NUMBER_DIGITS + 8];
} digits;

typedef struct magnitude
{
	dsv_builder *b;
	digits		lo;
	digits		hi;
	int			fraction;
	uint32_t	next;
	uint32_t	memo_whole[DSV_NUMBER_DIGITS + 2][3][3];	/* or UNKNOWN */
	uint32_t	memo_fraction[DSV_NUMBER_DIGITS + 1][2][2];
} magnitude;

#define UNKNOWN UINT32_MAX

static void
take_digits(dsv_wide x, int fraction, digits *out)
{
	uint8_t		reversed[64];
	int			n = 0;

	while (x > 0 || n < fraction + 1)
	{
		reversed[n++] = (uint8_t) (x % 10);
		x /= 10;
	}
	out->whole = n - fraction;
	for (int i = 0; i < n; i++)
		out->d[i] = reversed[n - 1 - i];
}

/* Only `digit` from place `from` on: a bound that cannot be crossed any more. */
static bool
all_digits(const digits *bound, int from, int to, uint8_t digit)
{
	for (int i = from; i < to; i++)
		if (bound->d[i] != digit)
			return false;
	return true;
}

static uint32_t after_fraction(magnitude *m, int n, bool tight_lo, bool tight_hi);

/* A digit of the fraction, n of which were read; tight: so far equal to the bound. */
static uint32_t
fraction_digit(magnitude *m, int n, bool tight_lo, bool tight_hi)
{
	uint8_t		lo = tight_lo ? m->lo.d[m->lo.whole + n] : 0;
	uint8_t		hi = tight_hi ? m->hi.d[m->hi.whole + n] : 9;
	dsv_edge	edges[10];
	size_t		nedges = 0;

	for (uint8_t d = lo; d <= hi; d++)
	{
		uint32_t	to = after_fraction(m, n + 1, tight_lo && d == lo, tight_hi && d == hi);

		if (nedges > 0 && edges[nedges - 1].to == to)
			edges[nedges - 1].hi = '0' + d;
		else
			edges[nedges++] = (dsv_edge) {.lo = '0' + d, .hi = '0' + d, .to = to};
	}
	return dsv_node_bytes(m->b, edges, nedges);
}

static bool
may_end(const magnitude *m, int n, bool tight_lo)
{
	return !tight_lo || all_digits(&m->lo, m->lo.whole + n, m->lo.whole + m->fraction, 0);
}

static uint32_t
after_fraction(magnitude *m, int n, bool tight_lo, bool tight_hi)
{
	uint32_t	more = DSV_NODE_NONE;
	uint32_t   *memo;

	if (tight_lo && all_digits(&m->lo, m->lo.whole + n, m->lo.whole + m->fraction, 0))
		tight_lo = false;
	if (tight_hi && all_digits(&m->hi, m->hi.whole + n, m->hi.whole + m->fraction, 9))
		tight_hi = false;
	memo = &m->memo_fraction[n][tight_lo][tight_hi];
	if (*memo != UNKNOWN)
		return *memo;
	if (m->b->code != DSV_OK)
		return DSV_NODE_NONE;
	if (n < m->fraction)
		more = fraction_digit(m, n, tight_lo, tight_hi);
	*memo = dsv_node_either(m->b, more, may_end(m, n, tight_lo) ? m->next : DSV_NODE_NONE);
	return *memo;
}

/* The number may have exactly the n digits before the point that were read. */
static uint32_t
end_whole(magnitude *m, int n, int with_lo, int with_hi)
{
	bool		tight_lo = n == m->lo.whole && with_lo == EQUAL;
	bool		tight_hi = n == m->hi.whole && with_hi == EQUAL;
	uint32_t	point = DSV_NODE_NONE;

	if (n < m->lo.whole || (n == m->lo.whole && with_lo == LESS) ||
		n > m->hi.whole || (n == m->hi.whole && with_hi == GREATER))
		return DSV_NODE_NONE;
	if (m->fraction > 0)
		point = dsv_node_range(m->b, '.', '.', fraction_digit(m, 0, tight_lo, tight_hi));
	return dsv_node_either(m->b, point, may_end(m, 0, tight_lo) ? m->next : DSV_NODE_NONE);
}

static int
compare_next(int so_far, const digits *bound, int n, uint8_t digit)
{
	if (so_far != EQUAL || n >= bound->whole)
		return so_far;
	return digit < bound->d[n] ? LESS : digit > bound->d[n] ? GREATER : EQUAL;
}

static uint32_t after_whole(magnitude *m, int n, int with_lo, int with_hi);

/* Digits from `first` on as the next one before the point, n of which were read. */
static uint32_t
whole_digit(magnitude *m, int n, int with_lo, int with_hi, uint8_t first)
{
	dsv_edge	edges[10];
	size_t		nedges = 0;

	for (uint8_t d = first; d <= 9; d++)
	{
		uint32_t	to = after_whole(m, n + 1, compare_next(with_lo, &m->lo, n, d),
									 compare_next(with_hi, &m->hi, n, d));

		if (to == DSV_NODE_NONE)
			continue;
		if (nedges > 0 && edges[nedges - 1].to == to && edges[nedges - 1].hi + 1 == '0' + d)
			edges[nedges - 1].hi = '0' + d;
		else
			edges[nedges++] = (dsv_edge) {.lo = '0' + d, .hi = '0' + d, .to = to};
	}
	return nedges > 0 ? dsv_node_bytes(m->b, edges, nedges) : DSV_NODE_NONE;
}

static uint32_t
after_whole(magnitude *m, int n, int with_lo, int with_hi)
{
	uint32_t   *memo;
	uint32_t	more;

	if (n > m->hi.whole)
		return DSV_NODE_NONE;
	/* what can no longer be missed is not told apart */
	if (n > m->lo.whole ||
		(with_lo == EQUAL && all_digits(&m->lo, n, m->lo.whole + m->fraction, 0)))
		with_lo = GREATER;
	if (with_hi == EQUAL && all_digits(&m->hi, n, m->hi.whole + m->fraction, 9))
		with_hi = LESS;
	memo = &m->memo_whole[n][with_lo][with_hi];
	if (*memo != UNKNOWN)
		return *memo;
	if (m->b->code != DSV_OK)
		return DSV_NODE_NONE;
	more = whole_digit(m, n, with_lo, with_hi, 0);
	*memo = dsv_node_either(m->b, more, end_whole(m, n, with_lo, with_hi));
	return *memo;
}

/* Texts of lo..hi, in units of 10^-fraction. */
static uint32_t
make_magnitude(dsv_builder *b, dsv_wide lo, dsv_wide hi, int fraction, uint32_t next)
{
	magnitude	m = {.b = b, .fraction = fraction, .next = next};
	dsv_edge	zero = {.lo = '0', .hi = '0'};
	uint32_t	positive;

	memset(m.memo_whole, 0xFF, sizeof(m.memo_whole));
	memset(m.memo_fraction, 0xFF, sizeof(m.memo_fraction));
	take_digits(lo, fraction, &m.lo);
	take_digits(hi, fraction, &m.hi);
	positive = whole_digit(&m, 0, EQUAL, EQUAL, 1);
	zero.to = end_whole(&m, 1, compare_next(EQUAL, &m.lo, 0, 0), compare_next(EQUAL, &m.hi, 0, 0));
	if (zero.to == DSV_NODE_NONE)
		return positive;
	return dsv_node_either(b, dsv_node_bytes(b, &zero, 1), positive);
}

/* Whole numbers lo..hi times 10^zeros. */
static uint32_t
make_tens(dsv_builder *b, dsv_wide lo, dsv_wide hi, int zeros, uint32_t next)
{
	uint32_t	zero = lo == 0 ? dsv_node_literal(b, "0", 1, next) : DSV_NODE_NONE;
	uint32_t	more = DSV_NODE_NONE;

	if (lo == 0)
		lo = 1;
	if (lo <= hi)
		more = make_magnitude(b, lo, hi, 0, dsv_node_literal(b, "00000000000000", (size_t) zeros,
															 next));
	return dsv_node_either(b, zero, more);
}

static uint32_t
make_signless(dsv_builder *b, dsv_wide lo, dsv_wide hi, int exponent, uint32_t next)
{
	if (exponent > 0)
		return make_tens(b, lo, hi, exponent, next);
	return make_magnitude(b, lo, hi, -exponent, next);
}

uint32_t
dsv_node_number(dsv_builder *b, const dsv_number_bounds *bounds, uint32_t next)
{
	dsv_wide	unit = dsv_wide_ten_to(DSV_NUMBER_DIGITS + bounds->exponent);
	dsv_wide	lo = bounds->lo / unit;
	dsv_wide	hi = bounds->hi / unit;
	uint32_t	negative = DSV_NODE_NONE;
	uint32_t	positive = DSV_NODE_NONE;

	if (hi >= 0)
		positive = make_signless(b, lo > 0 ? lo : 0, hi, bounds->exponent, next);
	if (lo < 0)					/* and never -0 */
		negative = make_signless(b, hi < 0 ? -hi : 1, -lo, bounds->exponent, next);
	if (negative != DSV_NODE_NONE)
		negative = dsv_node_literal(b, "-", 1, negative);
	return dsv_node_either(b, positive, negative);
}
