/*
 * test_strips.c
 *		Long pages: where they are cut, and which lines of two readings are the same.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dsv.h"

/* ---- cutting ---- */

/* Geometry of the published models: tiles of 384 pixels, nine at most */
static dsv_strips
plan(int width, int height, int max_tiles, double overlap)
{
	dsv_strips	s;

	dsv_strips_plan(NULL, width, height, max_tiles, overlap, &s);
	return s;
}

static void
test_whole(void **state)
{
	(void) state;
	/* what fits at its stored size is not cut */
	assert_int_equal(plan(600, 800, 0, 0.1).count, 1);
	assert_int_equal(plan(600, 800, 0, 0.1).height, 800);
	assert_int_equal(plan(1, 1, 0, 0.1).count, 1);
	assert_int_equal(plan(768, 1536, 0, 0.1).count, 1);
	/* nor what fits nearly */
	assert_int_equal(plan(600, 1800, 0, 0.1).count, 1);
	assert_int_equal(plan(600, 2000, 0, 0.1).count, 2);
	/* nor is what strips would show no larger: lines run across */
	assert_int_equal(plan(6000, 600, 0, 0.1).count, 1);
	assert_int_equal(plan(100000, 1, 0, 0.1).count, 1);
	assert_int_equal(dsv_strips_top(&(dsv_strips) {1, 800, 800}, 0), 0);
}

static void
test_receipt(void **state)
{
	dsv_strips	s = plan(600, 6000, 0, 0.1);

	(void) state;
	/* 768 x 1536 shows 600 pixels across as they are, and 1536 of them down */
	assert_int_equal(s.count, 5);
	assert_in_range(s.height, 1290, 1536);
	assert_int_equal(dsv_strips_top(&s, 0), 0);
	assert_int_equal(dsv_strips_top(&s, 4) + s.height, 6000);
	/* a scan that is wider than any canvas: the widest that is not too low, 1536 x 768 */
	s = plan(3072, 8000, 0, 0);
	assert_int_equal(s.count, 6);
	assert_in_range(s.height, 1334, 1536);
	/* of two tiles those side by side: 384 x 768 would do with five strips, but show less */
	s = plan(600, 6000, 2, 0);
	assert_int_equal(s.count, 16);
	assert_in_range(s.height, 375, 384);
}

/* Whatever the size: strips cover the page, are equally high, and share what was asked for. */
static void
test_cover(void **state)
{
	static const double overlaps[] = {0, 0.05, 0.1, 0.25, 0.5};
	uint32_t	seed = 1;

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		int			width;
		int			height;
		int			tiles;
		double		overlap = overlaps[i % 5];
		dsv_strips	s;

		seed = seed * 1664525 + 1013904223;
		width = 1 + seed % 7000;
		seed = seed * 1664525 + 1013904223;
		height = 1 + seed % 40000;
		tiles = seed >> 8 & 15;
		s = plan(width, height, tiles, overlap);
		assert_true(s.count >= 1 && s.height >= 1 && s.height <= height);
		assert_int_equal(dsv_strips_top(&s, 0), 0);
		assert_int_equal(dsv_strips_top(&s, s.count - 1) + s.height, height);
		for (int k = 1; k < s.count; k++)
		{
			int			shared = dsv_strips_top(&s, k - 1) + s.height - dsv_strips_top(&s, k);

			assert_true(shared >= (int) (overlap * s.height) - 1);
			assert_true(dsv_strips_top(&s, k) > dsv_strips_top(&s, k - 1));
		}
	}
	assert_true(plan(1, 100000000, 0, 0.1).count > 30000);
}

/* A strip is read noticeably larger than the page was. */
static void
test_larger(void **state)
{
	(void) state;
	for (int width = 50; width < 5000; width += 97)
	{
		for (int height = width; height < 40000; height = height * 3 / 2)
		{
			dsv_strips	s = plan(width, height, 0, 0.1);
			int			cols;
			int			rows;
			int			tokens;
			double		whole;
			double		strip;

			if (s.count == 1)
				continue;
			dsv_image_layout(NULL, width, height, 0, true, &cols, &rows, &tokens);
			whole = fmin(cols * 384.0 / width, rows * 384.0 / height);
			dsv_image_layout(NULL, width, s.height, 0, true, &cols, &rows, &tokens);
			strip = fmin(cols * 384.0 / width, rows * 384.0 / s.height);
			assert_true(fmin(strip, 1) > 1.24 * whole);
		}
	}
}

/* The first strip of a picture that is stored in each of the ways of EXIF is where its top is. */
static void
test_regions(void **state)
{
	static const double tops[8][4] = {
		{0, 0, 600, 1400}, {0, 0, 600, 1400}, {0, 4600, 600, 6000}, {0, 4600, 600, 6000},
		{0, 0, 1400, 600}, {0, 0, 1400, 600}, {4600, 0, 6000, 600}, {4600, 0, 6000, 600},
	};
	dsv_strips	s = {5, 1400, 6000};

	(void) state;
	for (int orientation = 1; orientation <= 8; orientation++)
	{
		bool		turned = orientation >= 5;
		dsv_image_info info = {.width = turned ? 6000 : 600, .height = turned ? 600 : 6000};
		double		box[4];

		dsv_strips_region(&s, 0, &info, orientation, box);
		for (int k = 0; k < 4; k++)
			assert_true(box[k] == tops[orientation - 1][k]);
		/* and the last one at the other end */
		dsv_strips_region(&s, 4, &info, orientation, box);
		for (int k = 0; k < 4; k++)
			assert_true(box[k] == tops[(orientation - 1) ^ 2][k]);
	}
}

/* ---- joining ---- */

/* Both readings joined, "|" for a newline; the seam between them is a "/". */
static char *
join(const char *above, const char *below, double overlap)
{
	static char out[1000];
	char		a[400];
	char		b[400];
	dsv_seam	seam;

	strcpy(a, above);
	strcpy(b, below);
	for (char *s = a; (s = strchr(s, '|')) != NULL;)
		*s = '\n';
	for (char *s = b; (s = strchr(s, '|')) != NULL;)
		*s = '\n';
	dsv_strips_join(&(dsv_bytes) {a, strlen(a)}, &(dsv_bytes) {b, strlen(b)}, overlap, &seam);
	assert_true(seam.above_to <= strlen(a));
	assert_true(seam.below_from <= seam.below_to && seam.below_to <= strlen(b));
	snprintf(out, sizeof(out), "%.*s/%.*s%s", (int) seam.above_to, a, (int) seam.below_from, b,
			 b + seam.below_to);
	for (char *s = out; (s = strchr(s, '\n')) != NULL;)
		*s = '|';
	return out;
}

#define PAGE "STAR FUEL|12 Spring Road|Beef 14.95|Oranges 9.28|Honey 2.50|"

static void
test_exact(void **state)
{
	(void) state;
	assert_string_equal(join(PAGE "Milk 1.29", "Milk 1.29|Bread 2.00", 0.1), PAGE "Milk 1.29/Bread 2.00");
	assert_string_equal(join(PAGE "Milk 1.29|Tea 3.00", "Milk 1.29|Tea 3.00|Bread 2.00", 0.1),
						PAGE "Milk 1.29|Tea 3.00/Bread 2.00");
	/* blank lines and white space do not count */
	assert_string_equal(join(PAGE "Milk  1.29||Tea 3.00|", "|Milk 1.29 |Tea\t3.00|||Bread 2.00", 0.1),
						PAGE "Milk  1.29||Tea 3.00|/||Bread 2.00");
	/* the whole of the lower reading */
	assert_string_equal(join(PAGE "Milk 1.29", "Milk 1.29", 0.1), PAGE "Milk 1.29/");
	assert_string_equal(join("Größe 合計 12", "Größe 合計 12|x", 0.1), "Größe 合計 12/x");
}

static void
test_fuzzy(void **state)
{
	(void) state;
	assert_string_equal(join(PAGE "Peppermint 1.29", "Peppermlnt 1.29|Bread 2.00", 0.1),
						PAGE "Peppermint 1.29/Bread 2.00");
	/* other digits are another line */
	assert_string_equal(join(PAGE "Peppermint 1.29", "Peppermint 1.28|Bread 2.00", 0.1),
						PAGE "Peppermint 1.29/Peppermint 1.28|Bread 2.00");
	assert_string_equal(join(PAGE "Milk 1.29", "Silt 1.29|Bread 2.00", 0.1),
						PAGE "Milk 1.29/Silt 1.29|Bread 2.00");
}

/* Lines of which a strip saw a half */
static void
test_cut_lines(void **state)
{
	(void) state;
	/* above, the last: its whole reading is below */
	assert_string_equal(join(PAGE "Milk 1.29|Breac 2.0", "Milk 1.29|Bread 2.00|Tea", 0.1),
						PAGE "Milk 1.29|/Bread 2.00|Tea");
	/* below, the first: its whole reading is above */
	assert_string_equal(join(PAGE "Bread 2.00|Milk 1.29", "3read 2 0|Milk 1.29|Tea", 0.1),
						PAGE "Bread 2.00|Milk 1.29/Tea");
	assert_string_equal(join(PAGE "Bread 2.00|Milk 1.29|Tee 0", "3read 2 0|Milk 1.29|Tea 3|Ham", 0.1),
						PAGE "Bread 2.00|Milk 1.29|/Tea 3|Ham");
	/* readings that are nothing like each other both stay */
	assert_string_equal(join(PAGE "Milk 1.29|-~", "Milk 1.29|Bread 2.00|Tea", 0.1),
						PAGE "Milk 1.29|-~/Bread 2.00|Tea");
	assert_string_equal(join(PAGE "Bread 2.00|Milk 1.29", "..,|Milk 1.29|Tea", 0.1),
						PAGE "Bread 2.00|Milk 1.29/..,|Tea");
}

/* Where a line might be lost, both readings stay. */
static void
test_doubt(void **state)
{
	(void) state;
	/* how many of these are the same? */
	assert_string_equal(join(PAGE "Tea 1.00|Tea 1.00", "Tea 1.00|Tea 1.00|Ham 2", 0.1),
						PAGE "Tea 1.00|Tea 1.00/Tea 1.00|Tea 1.00|Ham 2");
	/* bought twice? */
	assert_string_equal(join("Tea 1.00|" PAGE "Tea 1.00", "Tea 1.00|Ham 2", 0.1),
						"Tea 1.00|" PAGE "Tea 1.00/Tea 1.00|Ham 2");
	/* rules say nothing */
	assert_string_equal(join(PAGE "----", "----|Ham 2", 0.1), PAGE "----/----|Ham 2");
	assert_string_equal(join(PAGE "Milk 1.29", "Bread 2.00|Ham 2", 0.1), PAGE "Milk 1.29/Bread 2.00|Ham 2");
	/* nothing is shared without an overlap */
	assert_string_equal(join(PAGE "Milk 1.29", "Milk 1.29|Ham 2", 0), PAGE "Milk 1.29/Milk 1.29|Ham 2");
	/* nor so far from the edge */
	assert_string_equal(join(PAGE "Milk 1.29|a b c|d e f|g h i", "Milk 1.29|j k l|m n o|p q r", 0.1),
						PAGE "Milk 1.29|a b c|d e f|g h i/Milk 1.29|j k l|m n o|p q r");
	assert_string_equal(join("", "Milk", 0.1), "/Milk");
	assert_string_equal(join("Milk", "", 0.1), "Milk/");
	assert_string_equal(join("|| ", " |", 0.5), "|| / |");
}

/* A page cut anywhere, with halves of lines misread, is put together again. */
static void
test_page(void **state)
{
	enum
	{
		LINES = 120, PITCH = 30
	};

	(void) state;
	for (int height = 301; height < 1200; height += 7)
	{
		char		page[LINES * 16] = "";
		char		above[LINES * 16] = "";
		dsv_strips	s = {0};
		int			count = 0;

		s.page_height = LINES * PITCH;
		s.height = height;
		s.count = (int) ceil((s.page_height / (double) height - 0.25) / 0.75);
		for (int k = 0; k < s.count; k++)
		{
			int			top = dsv_strips_top(&s, k);
			char		below[LINES * 16] = "";
			dsv_seam	seam;

			/* a letter is 20 pixels high; a half of it is read wrong */
			for (int i = 0; i < LINES; i++)
			{
				int			from = i * PITCH;

				if (from + 20 <= top || from >= top + height)
					continue;
				sprintf(below + strlen(below), "%s %d.%02d\n", from < top || from + 20 > top + height ?
						"ltem" : "item", i, from < top || from + 20 > top + height ? 99 : 7 * i % 90);
			}
			dsv_strips_join(&(dsv_bytes) {above, strlen(above)}, &(dsv_bytes) {below, strlen(below)}, 0.25,
							&seam);
			page[strlen(page) - (strlen(above) - seam.above_to)] = '\0';
			strncat(page, below, seam.below_from);
			strcat(page, below + seam.below_to);
			strcpy(above, below);
			assert_true(k == 0 || seam.shared > 0);
		}
		for (char *line = strtok(page, "\n"); line != NULL; line = strtok(NULL, "\n"))
		{
			char		right[20];

			sprintf(right, "item %d.%02d", count, 7 * count % 90);
			assert_string_equal(line, right);
			count++;
		}
		assert_int_equal(count, LINES);
	}
}

/* Bytes of any kind */
static void
test_noise(void **state)
{
	uint32_t	seed = 7;

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		char		text[2][300];
		size_t		len[2];
		dsv_seam	seam;

		for (int k = 0; k < 2; k++)
		{
			seed = seed * 1664525 + 1013904223;
			len[k] = seed >> 8 & 255;
			for (size_t n = 0; n < len[k]; n++)
			{
				seed = seed * 1664525 + 1013904223;
				text[k][n] = "\n\n ab1\xC3\x9F"[seed >> 16 & 7];
			}
		}
		dsv_strips_join(&(dsv_bytes) {text[0], len[0]}, &(dsv_bytes) {text[1], len[1]}, 0.5, &seam);
		assert_true(seam.above_to <= len[0]);
		assert_true(seam.below_from <= seam.below_to && seam.below_to <= len[1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_receipt),
		cmocka_unit_test(test_cover),
		cmocka_unit_test(test_larger),
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_exact),
		cmocka_unit_test(test_fuzzy),
		cmocka_unit_test(test_cut_lines),
		cmocka_unit_test(test_doubt),
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_noise),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
