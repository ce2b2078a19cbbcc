/*
 * test_grounding.c
 *		Boxes out of text: the reference's results, the tolerant reader, orientations, bad
 *		input, failing allocations.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "mem.h"

#define GOLDEN "test/golden/grounding/parse_ref_bbox.json"
#define PYTHON_ONLY_ROWS 3

/* ---- the reference's results ---- */

/* The reference takes every <|ref|> out of a label. */
static void
check_label(const char *text, const dsv_box *box, const char *expected)
{
	size_t		n = strlen(expected);
	const char *s = text + box->label_at;
	const char *end = s + box->label_len;
	size_t		at = 0;

	while (s < end)
	{
		if (strncmp(s, "<|ref|>", 7) == 0)
		{
			s += 7;
			continue;
		}
		assert_true(at < n && expected[at] == *s);
		at++;
		s++;
	}
	assert_int_equal(at, n);
}

static void
check_result(const char *text, const json_t *result)
{
	const json_t *size = json_object_get(result, "size");
	const json_t *boxes = json_object_get(result, "boxes");
	dsv_ground	g;
	dsv_error	err;

	assert_int_equal(dsv_ground_parse(text, strlen(text),
									  (int) json_integer_value(json_array_get(size, 0)),
									  (int) json_integer_value(json_array_get(size, 1)), 1, true,
									  NULL, &g, &err), DSV_OK);
	assert_int_equal(g.nboxes, json_is_null(boxes) ? -1 : (int) json_array_size(boxes));
	for (int i = 0; i < g.nboxes; i++)
	{
		const json_t *expected = json_array_get(boxes, i);

		check_label(text, &g.boxes[i], json_string_value(json_object_get(expected, "label")));
		for (int k = 0; k < 4; k++)
		{
			json_int_t	v = json_integer_value(json_array_get(json_object_get(expected, "box"), k));

			/* one stored value does not fit into an int */
			assert_int_equal(g.boxes[i].px[k], v > INT_MAX ? INT_MAX : v);
		}
	}
	dsv_ground_free(&g, NULL);
}

static json_t *
load_golden(void)
{
	json_error_t why;
	json_t	   *rows = json_load_file(GOLDEN, 0, &why);

	if (rows == NULL)
		fail_msg("%s: %s", GOLDEN, why.text);
	return rows;
}

static void
test_reference(void **state)
{
	json_t	   *rows = load_golden();
	size_t		i;
	size_t		k;
	json_t	   *row;
	json_t	   *result;
	int			compared = 0;
	int			python_only = 0;

	(void) state;
	json_array_foreach(rows, i, row)
	{
		if (json_is_true(json_object_get(row, "python_only")))
		{
			python_only++;
			continue;
		}
		json_array_foreach(json_object_get(row, "results"), k, result)
		{
			check_result(json_string_value(json_object_get(row, "text")), result);
			compared++;
		}
	}
	assert_int_equal(python_only, PYTHON_ONLY_ROWS);
	assert_int_equal(compared, ((int) json_array_size(rows) - PYTHON_ONLY_ROWS) * 5);
	json_decref(rows);
}

/* ---- the tolerant reader ---- */

static dsv_ground
parse(const char *text, int width, int height, int orientation)
{
	dsv_ground	g;
	dsv_error	err;

	assert_int_equal(dsv_ground_parse(text, strlen(text), width, height, orientation, false, NULL,
									  &g, &err), DSV_OK);
	assert_true(g.nboxes >= 0);
	return g;
}

/* expected: "label x1 y1 x2 y2; ..." of a picture of 999 x 999, '.' before a point's label, '!'
 * at the end when malformed */
static void
check(const char *text, const char *expected)
{
	dsv_ground	g = parse(text, 999, 999, 1);
	char		got[512] = "";
	int			n = 0;

	for (int i = 0; i < g.nboxes; i++)
	{
		const dsv_box *b = &g.boxes[i];

		assert_true(b->ref_at >= 0 && b->ref_at < b->ref_end && b->ref_end <= (int) strlen(text));
		n += snprintf(got + n, sizeof(got) - n, "%s%s%.*s %d %d %d %d", i > 0 ? "; " : "",
					  b->point ? "." : "", b->label_len, text + b->label_at, b->px[0], b->px[1],
					  b->px[2], b->px[3]);
	}
	snprintf(got + n, sizeof(got) - n, "%s", g.malformed ? "!" : "");
	assert_string_equal(got, expected);
	dsv_ground_free(&g, NULL);
}

#define ONE(label, list) "<|ref|>" label "<|/ref|><|det|>" list "<|/det|>"

static void
test_well_formed(void **state)
{
	(void) state;
	check("", "");
	check("no boxes at all", "");
	check(ONE("dog", "[[1, 2, 3, 4]]"), "dog 1 2 3 4");
	check(ONE("dog", "[ [ 1 , 2 ,3,4 ] ,\n[5,6,7,8] ]"), "dog 1 2 3 4; dog 5 6 7 8");
	check("A " ONE("cat", "[[1, 2, 3, 4]]") ", a " ONE("dog", "[[5, 6, 7, 8]]") ".",
		  "cat 1 2 3 4; dog 5 6 7 8");
	check(ONE("", "[[1, 2, 3, 4]]"), " 1 2 3 4");
	check(ONE("two\nlines", "[[1, 2, 3, 4]]"), "two\nlines 1 2 3 4");
	check(ONE("point", "[[10, 20]]"), ".point 10 20 10 20");
	check(ONE("both", "[[10, 20], [1, 2, 3, 4]]"), ".both 10 20 10 20; both 1 2 3 4");
	check(ONE("none", "[]"), "");
	check(ONE("floats", "[[1.5, 2.25, 100.75, 200.999]]"), "floats 1 2 100 200");
	check(ONE("trailing commas", "[[1, 2, 3, 4,],]"), "trailing commas 1 2 3 4");
	check(ONE("reversed", "[[600, 400, 200, 300]]"), "reversed 200 300 600 400");
	check(ONE("outside", "[[-5, 10, 1000, 123456]]"), "outside 0 10 999 999");
	check("<|det|>[[1, 2, 3, 4]]<|/det|>", " 1 2 3 4");
	check("<|ref|>far<|/ref|> some words <|det|>[[1, 2, 3, 4]]<|/det|>", "far 1 2 3 4");
}

static void
test_malformed(void **state)
{
	(void) state;
	check(ONE("a", "[[1, 2, 3, 4], [5, 6, 7], [8, 9, 10, 11, 12], [13, 14, 15, 16]]"),
		  "a 1 2 3 4; a 13 14 15 16!");
	check(ONE("words", "[[a, b, c, d], [1, 2, 3, 4]]"), "words 1 2 3 4!");
	check(ONE("text around", "box: [[1, 2, 3, 4]] ok"), "text around 1 2 3 4!");
	check(ONE("not nested", "[1, 2, 3, 4]"), "not nested 1 2 3 4!");
	check(ONE("nested deeper", "[[[1, 2, 3, 4]]]"), "nested deeper 1 2 3 4!");
	check(ONE("bare", "1, 2, 3, 4"), "!");
	check(ONE("empty", ""), "!");
	check(ONE("empty box", "[[]]"), "!");
	check(ONE("quoted", "[[\"1\", \"2\", \"3\", \"4\"]]"), "!");
	check(ONE("begun again", "[[1, 2, [5, 6, 7, 8]]"), "begun again 5 6 7 8!");
	check(ONE("huge", "[[0, 0, 99999999999999999999, 5], [1, 2, 3, 4]]"), "huge 1 2 3 4!");
	check(ONE("points", "[[1.2.3, 4], [1., .5], [., 1], [-, 1]]"), ".points 1 0 1 0!");
	check(ONE("unclosed", "[[1, 2, 3, 4]"), "unclosed 1 2 3 4!");
	check("<|ref|>cut<|/ref|><|det|>[[1, 2, 3, 4]]", "cut 1 2 3 4!");
	check("<|ref|>cut<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7", "cut 1 2 3 4!");
	check("<|ref|>cut<|/ref|>", "!");
	check("<|ref|>cut", "!");
	check(ONE("whole", "[[1, 2, 3, 4]]") "<|ref|>half<|/ref|><|det|>[[5, 6", "whole 1 2 3 4!");
	check("<|/det|><|/ref|>", "!");
	check("<|ref|>one<|det|>[[1, 2, 3, 4]]<|/det|>", "one 1 2 3 4!");
	check("<|ref|>outer <|ref|>inner<|/ref|><|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>",
		  "inner 1 2 3 4!");
}

static void
test_pairing(void **state)
{
	(void) state;
	check("<|ref|>a<|/ref|><|ref|>b<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>", "b 1 2 3 4!");
	check("<|ref|>a<|/ref|><|ref|>b<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>"
		  "<|det|>[[5, 6, 7, 8]]<|/det|>", "b 1 2 3 4; a 5 6 7 8");
	check("<|det|>[[1, 2, 3, 4]]<|/det|>" ONE("a", "[[5, 6, 7, 8]]"), " 1 2 3 4; a 5 6 7 8");
	check("<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]]" ONE("b", "[[5, 6, 7, 8]]"),
		  "a 1 2 3 4; b 5 6 7 8!");
}

static void
test_places(void **state)
{
	static const char text[] = "A " ONE("cat", "[[1, 2, 3, 4]]") ". <|det|>[[5, 6]]<|/det|>";
	dsv_ground	g = parse(text, 100, 200, 1);

	(void) state;
	assert_int_equal(g.nboxes, 2);
	assert_int_equal(g.boxes[0].label_at, 9);
	assert_int_equal(g.boxes[0].label_len, 3);
	assert_int_equal(g.boxes[0].ref_at, 2);
	assert_ptr_equal(text + g.boxes[0].ref_end, strstr(text, ". <"));
	assert_ptr_equal(text + g.boxes[1].ref_at, strstr(text, "<|det|>[[5"));
	assert_int_equal(g.boxes[1].label_len, 0);
	assert_int_equal(g.boxes[1].ref_end, strlen(text));
	assert_float_equal(g.boxes[0].norm[3], 4, 0);
	assert_false(g.boxes[0].point);
	assert_true(g.boxes[1].point);
	dsv_ground_free(&g, NULL);
}

/* ---- orientations ---- */

/*
 * A mark in the stored picture, 400 x 200 pixels: a box with its corners at 100 and 300 of
 * 999 across, 0 and 500 down.  What the model saw of it, for each orientation, drawn on paper.
 */
static void
test_orientations(void **state)
{
	static const char *const seen[] = {
		[1] = "[[100, 0, 300, 500]]",
		[2] = "[[699, 0, 899, 500]]",	/* left and right change places */
		[3] = "[[699, 499, 899, 999]]",
		[4] = "[[100, 499, 300, 999]]", /* top and bottom */
		[5] = "[[0, 100, 500, 300]]",	/* the stored top is the left side */
		[6] = "[[499, 100, 999, 300]]", /* the stored top is the right side, left is top */
		[7] = "[[499, 699, 999, 899]]", /* the stored top is the right side, left is bottom */
		[8] = "[[0, 699, 500, 899]]",	/* the stored top is the left side, left is bottom */
	};

	(void) state;
	for (int o = 1; o <= 8; o++)
	{
		static const double norm[4] = {100, 0, 300, 500};
		static const int px[4] = {40, 0, 120, 100};
		char		text[128];
		dsv_ground	g;

		snprintf(text, sizeof(text), "<|ref|>mark<|/ref|><|det|>%s<|/det|>", seen[o]);
		g = parse(text, 400, 200, o);
		assert_int_equal(g.nboxes, 1);
		for (int i = 0; i < 4; i++)
		{
			assert_float_equal(g.boxes[0].norm[i], norm[i], 0);
			assert_int_equal(g.boxes[0].px[i], px[i]);
		}
		dsv_ground_free(&g, NULL);
	}

	/* the reference way looks at the picture that was shown: 200 x 400, here reversed in it */
	for (int reversed = 0; reversed < 2; reversed++)
	{
		const char *text = reversed ? ONE("r", "[[999, 0, 499, 100]]") :
			ONE("r", "[[499, 0, 999, 100]]");
		dsv_ground	g;

		assert_int_equal(dsv_ground_parse(text, strlen(text), 400, 200, 6, true, NULL, &g, NULL),
						 DSV_OK);
		assert_int_equal(g.nboxes, reversed ? -1 : 1);
		dsv_ground_free(&g, NULL);
	}
}

/* ---- bad input ---- */

static void
parse_both(const char *data, size_t len)
{
	/* exactly len bytes, so that a sanitizer sees a read behind them */
	char	   *text = malloc(len > 0 ? len : 1);

	assert_non_null(text);
	memcpy(text, data, len);
	for (int reference = 0; reference < 2; reference++)
	{
		dsv_ground	a;
		dsv_ground	b;

		assert_int_equal(dsv_ground_parse(text, len, 640, 480, 1, reference, NULL, &a, NULL),
						 DSV_OK);
		assert_int_equal(dsv_ground_parse(text, len, 640, 480, 1, reference, NULL, &b, NULL),
						 DSV_OK);
		assert_int_equal(a.nboxes, b.nboxes);
		assert_int_equal(a.malformed, b.malformed);
		for (int i = 0; i < a.nboxes; i++)
		{
			assert_memory_equal(a.boxes[i].norm, b.boxes[i].norm, sizeof(a.boxes[i].norm));
			assert_memory_equal(a.boxes[i].px, b.boxes[i].px, sizeof(a.boxes[i].px));
			assert_true(a.boxes[i].label_at + a.boxes[i].label_len <= (int) len);
			assert_true(a.boxes[i].ref_end <= (int) len);
		}
		dsv_ground_free(&a, NULL);
		dsv_ground_free(&b, NULL);
	}
	free(text);
}

static void
test_every_prefix(void **state)
{
	json_t	   *rows = load_golden();
	size_t		i;
	json_t	   *row;

	(void) state;
	json_array_foreach(rows, i, row)
	{
		const char *text = json_string_value(json_object_get(row, "text"));

		for (size_t n = 0; n <= strlen(text); n++)
			parse_both(text, n);
	}
	json_decref(rows);
}

/* Pieces of the notation, bytes of any kind between them, in random order */
static void
test_random(void **state)
{
	static const char *const pieces[] = {"<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "[", "]",
	"[[", "]]", ", ", "12", "-3.5", "999", "\n", "<|", "<", ".", "cat"};
	uint32_t	x = 1;

	(void) state;
	for (int round = 0; round < 4000; round++)
	{
		char		text[512];
		size_t		n = 0;

		for (;;)
		{
			const char *p;

			x = x * 1664525u + 1013904223u;
			p = pieces[(x >> 16) % (sizeof(pieces) / sizeof(pieces[0]))];
			if (n + strlen(p) + 1 > sizeof(text) || x >> 26 == 0)
				break;
			memcpy(text + n, p, strlen(p));
			n += strlen(p);
			if (x >> 28 == 5)
				text[n++] = (char) (x >> 8);
		}
		parse_both(text, n);
	}
}

/* Quadratic work would take minutes here. */
static void
test_long(void **state)
{
	static const char *const units[] = {"<|ref|>", "<|det|>", "<|det|>[[", "[", "[ ", "<", "[1,",
	"[[1,2,3,4],", "<|ref|>a<|/ref|>", "<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>", "9"};
	size_t		size = 4 << 20;
	char	   *text = malloc(size + 64);

	(void) state;
	assert_non_null(text);
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++)
	{
		size_t		unit = strlen(units[u]);
		size_t		n = 0;

		for (; n + unit <= size; n += unit)
			memcpy(text + n, units[u], unit);
		for (int reference = 0; reference < 2; reference++)
		{
			dsv_ground	g;

			assert_int_equal(dsv_ground_parse(text, n, 640, 480, 1, reference, NULL, &g, NULL),
							 DSV_OK);
			dsv_ground_free(&g, NULL);
		}
	}
	free(text);
}

/* ---- failing allocations ---- */

typedef struct counter
{
	int			left;			/* allocations until one fails */
	int			live;
} counter;

static void *
counted_alloc(void *ud, size_t size)
{
	counter    *c = ud;

	if (c->left-- == 0)
		return NULL;
	c->live++;
	return malloc(size);
}

static void
counted_free(void *ud, void *ptr)
{
	((counter *) ud)->live--;
	free(ptr);
}

static void
test_every_allocation_fails(void **state)
{
	char		text[8192] = "";

	(void) state;
	for (int i = 0; i < 40; i++)
		strcat(text, ONE("a", "[[1, 2, 3, 4], [5, 6, 7, 8]]"));
	for (int i = 0; i < 60; i++)
		strcat(text, "<|ref|>b<|/ref|>");
	for (int reference = 0; reference < 2; reference++)
	{
		dsv_code	code = DSV_NOMEM;
		int			n;

		if (reference)
			*strstr(text, "<|ref|>b") = '\0';
		for (n = 0; code != DSV_OK; n++)
		{
			counter		c = {n, 0};
			dsv_mem		mem = {counted_alloc, counted_free, &c};
			dsv_ground	g;
			dsv_error	err;

			code = dsv_ground_parse(text, strlen(text), 640, 480, 1, reference, &mem, &g, &err);
			if (code != DSV_OK)
			{
				assert_int_equal(code, DSV_NOMEM);
				assert_int_equal(err.code, DSV_NOMEM);
				assert_null(g.boxes);
				assert_int_equal(g.nboxes, 0);
			}
			else
				assert_int_equal(g.nboxes, 80);
			dsv_ground_free(&g, &mem);
			assert_int_equal(c.live, 0);
		}
		assert_true(n > 4);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference),
		cmocka_unit_test(test_well_formed),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_pairing),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_orientations),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_every_allocation_fails),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
