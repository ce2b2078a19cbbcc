/*
 * grammar_date.c
 *		Days of the calendar and times of the day, as RFC 3339 writes them.
 *
 * Only real days: months have their length, February its leap years, and there is no year 0000
 * (no database knows it).  Times have no leap second, at most six digits of a fraction and offsets
 * below 15 hours.
 */
#include "grammar_private.h"

/* One digit; each leads to its own node, or nowhere. */
static uint32_t
digit(dsv_builder *b, const uint32_t to[10])
{
	dsv_edge	edges[10] = {{0}};
	size_t		n = 0;

	for (int d = 0; d <= 9; d++)
		if (to[d] != DSV_NODE_NONE)
			edges[n++] = (dsv_edge) {.lo = (uint8_t) ('0' + d), .hi = (uint8_t) ('0' + d),
				.to = to[d]};
	return dsv_node_bytes(b, edges, n);
}

/* One digit from lo to hi. */
static uint32_t
digit_range(dsv_builder *b, int lo, int hi, uint32_t next)
{
	return dsv_node_range(b, (uint8_t) ('0' + lo), (uint8_t) ('0' + hi), next);
}

/* Two digits, first to last. */
static uint32_t
two_digits(dsv_builder *b, int first, int last, uint32_t next)
{
	uint32_t	to[10] = {0};

	for (int tens = first / 10; tens <= last / 10; tens++)
		to[tens] = digit_range(b, tens == first / 10 ? first % 10 : 0,
							   tens == last / 10 ? last % 10 : 9, next);
	return digit(b, to);
}

/* Month and day, each behind a hyphen. */
static uint32_t
months(dsv_builder *b, bool leap, uint32_t next)
{
	uint32_t	days_31 = dsv_node_literal(b, "-", 1, two_digits(b, 1, 31, next));
	uint32_t	days_30 = dsv_node_literal(b, "-", 1, two_digits(b, 1, 30, next));
	uint32_t	february = dsv_node_literal(b, "-", 1, two_digits(b, 1, leap ? 29 : 28, next));
	const uint32_t early[10] = {DSV_NODE_NONE, days_31, february, days_31, days_30, days_31, days_30,
	days_31, days_31, days_30};
	const uint32_t late[10] = {days_31, days_30, days_31};
	const uint32_t tens[10] = {digit(b, early), digit(b, late)};

	return dsv_node_literal(b, "-", 1, digit(b, tens));
}

/* The last digit of two that make a multiple of four, which leads to `leap`, or not; zero: where the
 * digit 0 leads. */
static uint32_t
by_four(dsv_builder *b, int tens, uint32_t zero, uint32_t leap, uint32_t common)
{
	uint32_t	to[10] = {zero};

	for (int d = 1; d <= 9; d++)
		to[d] = (tens * 10 + d) % 4 == 0 ? leap : common;
	return digit(b, to);
}

/* Two digits of a year, as above; zero: where 00 leads. */
static uint32_t
years(dsv_builder *b, uint32_t zero, uint32_t leap, uint32_t common)
{
	uint32_t	even = by_four(b, 2, leap, leap, common);
	uint32_t	odd = by_four(b, 1, common, leap, common);
	uint32_t	to[10] = {by_four(b, 0, zero, leap, common)};

	for (int d = 1; d <= 9; d++)
		to[d] = d % 2 ? odd : even;
	return digit(b, to);
}

uint32_t
dsv_node_date(dsv_builder *b, uint32_t next)
{
	uint32_t	leap = months(b, true, next);
	uint32_t	common = months(b, false, next);
	uint32_t	by_400 = years(b, leap, leap, common);
	uint32_t	other = years(b, common, leap, common);
	uint32_t	first = years(b, DSV_NODE_NONE, leap, common);

	/* the same rule tells centuries apart: every fourth begins with a leap year */
	return years(b, first, by_400, other);
}

/* Hours to `last`, minutes, and their colon. */
static uint32_t
hours(dsv_builder *b, int last, uint32_t next)
{
	next = dsv_node_literal(b, ":", 1, two_digits(b, 0, 59, next));
	return two_digits(b, 0, last, next);
}

uint32_t
dsv_node_time(dsv_builder *b, uint32_t next)
{
	uint32_t	offset = hours(b, 14, next);
	const dsv_edge zone[3] = {{.lo = '+', .hi = '+', .to = offset},
	{.lo = '-', .hi = '-', .to = offset}, {.lo = 'Z', .hi = 'Z', .to = next}};
	uint32_t	end = dsv_node_bytes(b, zone, 3);
	uint32_t	fraction = digit_range(b, 0, 9, end);

	for (int i = 1; i < 6; i++)
		fraction = digit_range(b, 0, 9, dsv_node_either(b, fraction, end));
	end = dsv_node_either(b, dsv_node_literal(b, ".", 1, fraction), end);
	end = dsv_node_literal(b, ":", 1, two_digits(b, 0, 59, end));
	return hours(b, 23, end);
}

uint32_t
dsv_node_date_time(dsv_builder *b, uint32_t next)
{
	return dsv_node_date(b, dsv_node_literal(b, "T", 1, dsv_node_time(b, next)));
}
