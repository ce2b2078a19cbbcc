/*
 * grammar_date.c
 *		Days of the calendar and times of the day, as RFC 3339 writes them.
 *
 * Only real days: months have their length, February its leap years, and there is no year 0000
 * (no database knows it).  Times have no leap second and at most six digits of a fraction.
 */
#include "grammar_private.h"

/* Two digits, 00 to tens * 10 + ones. */
static uint32_t
two_digits(dsv_builder *b, uint8_t tens, uint8_t ones, uint32_t next)
{
	dsv_edge	edges[2];
	size_t		n = 0;

	if (tens > 0)
		edges[n++] = (dsv_edge) {.lo = '0', .hi = '0' + tens - 1,
			.to = dsv_node_range(b, '0', '9', next)};
	edges[n++] = (dsv_edge) {.lo = '0' + tens, .hi = '0' + tens,
		.to = dsv_node_range(b, '0', '0' + ones, next)};
	return dsv_node_bytes(b, edges, n);
}

/* 01 to `last`, behind a hyphen */
static uint32_t
days(dsv_builder *b, int last, uint32_t next)
{
	uint8_t		tens = (uint8_t) (last / 10);
	dsv_edge	edges[3] = {
		{.lo = '0', .hi = '0', .to = dsv_node_range(b, '1', '9', next)},
		{.lo = '1', .hi = '0' + tens - 1, .to = dsv_node_range(b, '0', '9', next)},
		{.lo = '0' + tens, .hi = '0' + tens,
		.to = dsv_node_range(b, '0', (uint8_t) ('0' + last % 10), next)},
	};

	return dsv_node_literal(b, "-", 1, dsv_node_bytes(b, edges, 3));
}

/* Month and day, each behind a hyphen. */
static uint32_t
months(dsv_builder *b, bool leap, uint32_t next)
{
	uint32_t	days_31 = days(b, 31, next);
	uint32_t	days_30 = days(b, 30, next);
	uint32_t	february = days(b, leap ? 29 : 28, next);
	dsv_edge	edges[9];
	dsv_edge	tens[2] = {{.lo = '0', .hi = '0'}, {.lo = '1', .hi = '1'}};

	for (int m = 1; m <= 9; m++)
	{
		edges[m - 1] = (dsv_edge) {.lo = (uint8_t) ('0' + m), .hi = (uint8_t) ('0' + m)};
		edges[m - 1].to = m == 2 ? february : m == 4 || m == 6 || m == 9 ? days_30 : days_31;
	}
	tens[0].to = dsv_node_bytes(b, edges, 9);
	edges[0] = (dsv_edge) {.lo = '0', .hi = '0', .to = days_31};
	edges[1] = (dsv_edge) {.lo = '1', .hi = '1', .to = days_30};
	edges[2] = (dsv_edge) {.lo = '2', .hi = '2', .to = days_31};
	tens[1].to = dsv_node_bytes(b, edges, 3);
	return dsv_node_literal(b, "-", 1, dsv_node_bytes(b, tens, 2));
}

/* A digit that leads to `leap` where tens and digit make a multiple of four, else to `common`;
 * zero: where the digit 0 leads. */
static uint32_t
by_four(dsv_builder *b, int tens, uint32_t zero, uint32_t leap, uint32_t common)
{
	dsv_edge	edges[10];
	size_t		n = 0;

	for (int d = 0; d <= 9; d++)
	{
		uint32_t	to = d == 0 ? zero : (tens * 10 + d) % 4 == 0 ? leap : common;

		if (to != DSV_NODE_NONE)
			edges[n++] = (dsv_edge) {.lo = (uint8_t) ('0' + d), .hi = (uint8_t) ('0' + d), .to = to};
	}
	return dsv_node_bytes(b, edges, n);
}

/* The last two digits of a year; zero: what their being 00 leads to. */
static uint32_t
years(dsv_builder *b, uint32_t zero, uint32_t leap, uint32_t common)
{
	uint32_t	even = by_four(b, 2, leap, leap, common);
	uint32_t	odd = by_four(b, 1, common, leap, common);
	dsv_edge	edges[10];

	for (int d = 0; d <= 9; d++)
		edges[d] = (dsv_edge) {.lo = (uint8_t) ('0' + d), .hi = (uint8_t) ('0' + d),
			.to = d % 2 ? odd : even};
	edges[0].to = by_four(b, 0, zero, leap, common);
	return dsv_node_bytes(b, edges, 10);
}

uint32_t
dsv_node_date(dsv_builder *b, uint32_t next)
{
	uint32_t	leap = months(b, true, next);
	uint32_t	common = months(b, false, next);
	uint32_t	by_400 = years(b, leap, leap, common);
	uint32_t	other = years(b, common, leap, common);
	uint32_t	first = years(b, DSV_NODE_NONE, leap, common);

	return years(b, first, by_400, other);
}

/* Hours, minutes and their colon. */
static uint32_t
clock_time(dsv_builder *b, uint8_t tens, uint8_t ones, uint32_t next)
{
	next = two_digits(b, 5, 9, next);
	return two_digits(b, tens, ones, dsv_node_literal(b, ":", 1, next));
}

uint32_t
dsv_node_time(dsv_builder *b, uint32_t next)
{
	uint32_t	offset = clock_time(b, 1, 4, next);
	dsv_edge	zone[3] = {{.lo = '+', .hi = '+', .to = offset}, {.lo = '-', .hi = '-', .to = offset},
	{.lo = 'Z', .hi = 'Z', .to = next}};
	uint32_t	end = dsv_node_bytes(b, zone, 3);
	uint32_t	fraction = end;

	for (int i = 0; i < 6; i++)
		fraction = dsv_node_range(b, '0', '9', i == 0 ? end : dsv_node_either(b, fraction, end));
	end = dsv_node_either(b, dsv_node_literal(b, ".", 1, fraction), end);
	end = dsv_node_literal(b, ":", 1, two_digits(b, 5, 9, end));
	return clock_time(b, 2, 3, end);
}

uint32_t
dsv_node_date_time(dsv_builder *b, uint32_t next)
{
	return dsv_node_date(b, dsv_node_literal(b, "T", 1, dsv_node_time(b, next)));
}
