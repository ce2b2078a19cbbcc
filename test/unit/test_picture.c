/*
 * test_picture.c
 *		Pictures cut, turned, written and drawn on.
 */
#include "image_util.h"

#include <math.h>

#include "font.h"
#include "picture.h"
#include "tiff_util.h"

#define DECODE "test/golden/preprocess/decode/"
#define FONT "fonts/DejaVuSans-Bold.ttf"

/* exif6.jpg is stored 203 x 149 and seen 149 x 203 */
enum { WIDTH = 203, HEIGHT = 149 };

static dsv_picture *
open_file(const char *path, const dsv_mem *mem, const dsv_poll *poll)
{
	file_bytes	file = read_file(path);
	dsv_bytes	bytes = {file.data, file.len};
	dsv_picture *picture;
	dsv_error	err;

	if (dsv_picture_open(&bytes, NULL, poll, mem, &picture, &err) != DSV_OK)
		fail_msg("%s: %s", path, err.msg);
	free(file.data);
	return picture;
}

static dsv_pixels
encoded(const dsv_picture *picture, dsv_image_format format, dsv_image_info *info, size_t *bytes)
{
	dsv_blob	blob;
	dsv_pixels	out;
	dsv_error	err;

	assert_int_equal(dsv_picture_encode(picture, format, &blob, &err), DSV_OK);
	assert_int_equal(dsv_image_decode(blob.data, blob.len, NULL, NULL, NULL, &out, info, &err), DSV_OK);
	assert_int_equal(info->format, format);
	assert_int_equal(info->orientation, 1);
	if (bytes != NULL)
		*bytes = blob.len;
	dsv_free(NULL, blob.data);
	return out;
}

/* ---- cutting ---- */

static void
check_crop(const double box[4], double margin, int x1, int y1, int x2, int y2)
{
	dsv_picture *picture = open_file(DECODE "exif6.jpg", NULL, NULL);
	dsv_image_options ignore = {.ignore_exif = true};
	dsv_pixels	whole = load_picture(DECODE "exif6.jpg", &ignore);
	dsv_pixels	want = {malloc((size_t) (x2 - x1) * (y2 - y1) * 3), x2 - x1, y2 - y1};
	dsv_image_info info;
	dsv_pixels	got;
	dsv_error	err;

	for (int y = y1; y < y2; y++)
		memcpy(want.rgb + (size_t) (y - y1) * want.width * 3, whole.rgb + ((size_t) y * WIDTH + x1) * 3,
			   (size_t) want.width * 3);
	assert_int_equal(dsv_picture_crop(picture, box, margin, &err), DSV_OK);
	got = encoded(picture, DSV_IMAGE_PNG, &info, NULL);
	assert_same_picture("cut", &got, &want);
	dsv_pixels_free(&got, NULL);
	/* upright only afterwards: the region is of the stored picture */
	assert_int_equal(dsv_picture_turn(picture, 0, &err), DSV_OK);
	assert_int_equal(dsv_pixels_orient(&want, 6, NULL, NULL, &err), DSV_OK);
	got = encoded(picture, DSV_IMAGE_PNG, &info, NULL);
	assert_same_picture("cut and upright", &got, &want);
	dsv_pixels_free(&got, NULL);
	dsv_pixels_free(&want, NULL);
	dsv_pixels_free(&whole, NULL);
	dsv_picture_close(picture);
}

static void
test_crop(void **state)
{
	(void) state;
	check_crop((double[4]) {10, 20, 50, 30}, 0, 10, 20, 50, 30);
	check_crop((double[4]) {10.5, 20.5, 10.6, 20.6}, 0, 10, 20, 11, 21);
	check_crop((double[4]) {10, 20, 50, 30}, 0.5, 0, 15, 70, 35);
	check_crop((double[4]) {-1e300, -1e300, 1e300, 1e300}, 0, 0, 0, WIDTH, HEIGHT);
	check_crop((double[4]) {202, 148, 300, 300}, 0, 202, 148, WIDTH, HEIGHT);
	check_crop((double[4]) {0, 0, WIDTH, HEIGHT}, 1e6, 0, 0, WIDTH, HEIGHT);
}

static void
test_crop_of_nothing(void **state)
{
	static const struct
	{
		double		box[4];
		double		margin;
	}			cases[] = {
		{{203, 0, 300, 10}, 0},
		{{-50, 0, 0, 10}, 0},
		{{5, 5, 5, 5}, 0},
		{{5, 5, 5, 5}, 10},
		{{-1e308, 0, 1e308, 10}, 1},	/* wider than a number */
		{{NAN, 0, 10, 10}, 0},
		{{0, 0, INFINITY, 10}, 0},
		{{0, 0, 10, 10}, NAN},
		{{0, 0, 10, 10}, -0.1},
	};
	dsv_picture *picture = open_file(DECODE "exif6.jpg", NULL, NULL);

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dsv_error	err;

		assert_int_equal(dsv_picture_crop(picture, cases[i].box, cases[i].margin, &err), DSV_INPUT);
		assert_true(err.msg[0] != '\0');
		assert_int_equal(picture->pixels.width, WIDTH);
	}
	dsv_picture_close(picture);
}

/* ---- turning ---- */

static void
test_turn(void **state)
{
	(void) state;
	for (int turns = -5; turns <= 6; turns++)
	{
		dsv_picture *picture = open_file(DECODE "exif6.jpg", NULL, NULL);
		dsv_pixels	want = load_picture(DECODE "exif6.jpg", NULL);
		dsv_error	err;

		assert_int_equal(dsv_picture_info(picture)->orientation, 6);
		for (int i = 0; i < (turns + 8) % 4; i++)
			assert_int_equal(dsv_pixels_orient(&want, 6, NULL, NULL, &err), DSV_OK);
		assert_int_equal(dsv_picture_turn(picture, turns, &err), DSV_OK);
		assert_same_picture("turned", &picture->pixels, &want);
		/* and not again */
		assert_int_equal(dsv_picture_turn(picture, 0, &err), DSV_OK);
		assert_same_picture("still turned", &picture->pixels, &want);
		dsv_pixels_free(&want, NULL);
		dsv_picture_close(picture);
	}
}

/* All eight ways that a picture can be stored, and a turn on top */
static void
test_turn_of_each_orientation(void **state)
{
	tiff_plan	plan;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_RGB, 8, 3, 0);
	for (int orientation = 1; orientation <= 8; orientation++)
	{
		file_bytes	file;
		dsv_bytes	bytes;
		dsv_picture *picture;
		dsv_pixels	want;
		dsv_error	err;

		plan.orientation = orientation;
		file = write_tiff(&plan, 1);
		bytes = (dsv_bytes) {file.data, file.len};
		assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &want, NULL, &err), DSV_OK);
		assert_int_equal(dsv_pixels_orient(&want, 6, NULL, NULL, &err), DSV_OK);
		assert_int_equal(dsv_picture_open(&bytes, NULL, NULL, NULL, &picture, &err), DSV_OK);
		assert_int_equal(dsv_picture_turn(picture, 1, &err), DSV_OK);
		assert_same_picture("turned", &picture->pixels, &want);
		dsv_picture_close(picture);
		dsv_pixels_free(&want, NULL);
		free(file.data);
	}
	free(plan.values);
}

/* ---- writing ---- */

static dsv_picture
make_picture(int width, int height, int colors)
{
	dsv_picture p = {.pixels = {malloc((size_t) width * height * 3), width, height}, .orientation = 1};
	uint32_t	seed = 1;

	for (int i = 0; i < width * height; i++)
	{
		uint8_t    *rgb = p.pixels.rgb + 3 * i;

		for (int c = 0; c < 3; c++)
			rgb[c] = (uint8_t) noise(&seed);
		if (colors <= 1)
			rgb[1] = rgb[2] = rgb[0];
		if (colors == 0)
			memset(rgb, rgb[0] & 1 ? 255 : 0, 3);
	}
	return p;
}

static void
test_png_is_exact(void **state)
{
	static const int sides[][2] = {{1, 1}, {7, 5}, {8, 9}, {211, 130}};
	size_t		bytes[3];

	(void) state;
	for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
		for (int colors = 0; colors <= 2; colors++)
		{
			dsv_picture p = make_picture(sides[i][0], sides[i][1], colors);
			dsv_image_info info;
			dsv_pixels	got = encoded(&p, DSV_IMAGE_PNG, &info, &bytes[colors]);

			assert_same_picture("PNG", &got, &p.pixels);
			dsv_pixels_free(&got, NULL);
			free(p.pixels.rgb);
		}
	/* noise does not shrink, so the sizes tell the kinds: 1, 8 and 24 bits a pixel */
	assert_true(bytes[0] < 211 * 130 / 4);
	assert_true(bytes[1] > 211 * 130 / 2 && bytes[1] < 211 * 130 * 3 / 2);
	assert_true(bytes[2] > 211 * 130 * 2);
}

static void
test_jpeg_is_close(void **state)
{
	(void) state;
	for (int grey = 0; grey <= 1; grey++)
	{
		dsv_picture *picture = open_file(grey ? DECODE "gray.png" : DECODE "rgb.png", NULL, NULL);
		dsv_image_info info;
		dsv_pixels	got = encoded(picture, DSV_IMAGE_JPEG, &info, NULL);
		double		sum = 0;
		int			n = got.width * got.height * 3;

		assert_int_equal(got.width, picture->pixels.width);
		for (int i = 0; i < n; i++)
			sum += pow(got.rgb[i] - picture->pixels.rgb[i], 2);
		/* 30 dB */
		assert_true(sum / n < 65);
		for (int i = 0; grey && i < n; i += 3)
			assert_true(got.rgb[i] == got.rgb[i + 1] && got.rgb[i] == got.rgb[i + 2]);
		dsv_pixels_free(&got, NULL);
		dsv_picture_close(picture);
	}
}

static void
test_write_limits(void **state)
{
	dsv_picture p = make_picture(700, 500, 2);
	dsv_blob	blob;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_picture_encode(&p, DSV_IMAGE_TIFF, &blob, &err), DSV_INPUT);
	for (int format = DSV_IMAGE_JPEG; format <= DSV_IMAGE_PNG; format++)
	{
		dsv_code	code = DSV_NOMEM;
		int			n;

		for (n = 1; code != DSV_OK; n++)
		{
			counting_mem c;

			counting_start(&c, n);
			p.mem = &c.mem;
			code = dsv_picture_encode(&p, format, &blob, &err);
			assert_true(code == DSV_OK || code == DSV_NOMEM);
			if (code == DSV_OK)
				dsv_free(&c.mem, blob.data);
			assert_int_equal(c.live, 0);
		}
		assert_true(n > 4);
		p.mem = NULL;
		code = DSV_CANCELED;
		for (n = 1; code != DSV_OK; n++)
		{
			counting_poll poll;

			counting_poll_start(&poll, n);
			p.poll = &poll.poll;
			code = dsv_picture_encode(&p, format, &blob, &err);
			assert_true(code == DSV_OK || code == DSV_CANCELED);
			if (code == DSV_OK)
				dsv_free(NULL, blob.data);
		}
		assert_true(n > 500 / 64);
		p.poll = NULL;
	}
	free(p.pixels.rgb);
}

/* ---- files of pages ---- */

static void
test_page_files(void **state)
{
	file_bytes	png = read_file(DECODE "rgb.png");
	dsv_bytes	bytes = {png.data, png.len};
	dsv_image_options options = {.page = 1};
	tiff_plan	plans[2];
	file_bytes	tiff;
	dsv_blob	blob;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_image_page(&bytes, &options, NULL, NULL, &blob, &err), DSV_OK);
	assert_int_equal(blob.len, png.len);
	assert_memory_equal(blob.data, png.data, png.len);
	free(blob.data);
	options.page = 2;
	assert_int_equal(dsv_image_page(&bytes, &options, NULL, NULL, &blob, &err), DSV_IMAGE);
	bytes.len = 20;
	options.page = 1;
	assert_int_equal(dsv_image_page(&bytes, &options, NULL, NULL, &blob, &err), DSV_IMAGE);
	free(png.data);

	plan_tiff(&plans[0], PHOTOMETRIC_MINISWHITE, 1, 1, 0);
	plan_tiff(&plans[1], PHOTOMETRIC_RGB, 8, 3, 0);
	plans[1].orientation = 8;
	tiff = write_tiff(plans, 2);
	bytes = (dsv_bytes) {tiff.data, tiff.len};
	for (options.page = 1; options.page <= 2; options.page++)
	{
		dsv_image_info info;
		dsv_pixels	direct;
		dsv_pixels	again;

		assert_int_equal(dsv_image_page(&bytes, &options, NULL, NULL, &blob, &err), DSV_OK);
		assert_int_equal(dsv_image_decode(blob.data, blob.len, NULL, NULL, NULL, &again, &info, &err), DSV_OK);
		assert_int_equal(info.format, DSV_IMAGE_PNG);
		assert_int_equal(dsv_image_decode(tiff.data, tiff.len, &options, NULL, NULL, &direct, NULL, &err), DSV_OK);
		assert_same_picture("page", &again, &direct);
		dsv_pixels_free(&direct, NULL);
		dsv_pixels_free(&again, NULL);
		free(blob.data);
	}
	assert_int_equal(dsv_image_page(&bytes, &options, NULL, NULL, &blob, &err), DSV_IMAGE);
	free(tiff.data);
	free(plans[0].values);
	free(plans[1].values);
}

/* ---- text ---- */

static void
test_font(void **state)
{
	static const char *const words[] = {"A", "total 12.50", "\xCE\x95\xCE\xBB\xCE\xBB", "\xD0\xB1\xD0\xBE\xD0\xBB"};
	dsv_font   *font;
	dsv_error	err;
	int			ascent;
	int			descent;

	(void) state;
	assert_int_equal(dsv_font_open(FONT, NULL, &font, &err), DSV_OK);
	assert_int_equal(dsv_font_set_size(font, 32, &ascent, &descent, &err), DSV_OK);
	assert_true(ascent > 16 && ascent < 48 && descent > 2 && descent < 24);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		dsv_pixels	p = {calloc(400 * 64, 3), 400, 64};
		uint8_t		red[3] = {255, 0, 0};
		int			width;
		int			left = 400;
		int			right = 0;
		int			inked = 0;

		assert_int_equal(dsv_font_measure(font, words[i], strlen(words[i]), &width, &err), DSV_OK);
		assert_int_equal(dsv_font_draw(font, words[i], strlen(words[i]), &p, 10, ascent + 4, red, &err), DSV_OK);
		for (int k = 0; k < 400 * 64; k++)
		{
			assert_int_equal(p.rgb[3 * k + 1], 0);
			if (p.rgb[3 * k] < 128)
				continue;
			inked++;
			left = k % 400 < left ? k % 400 : left;
			right = k % 400 > right ? k % 400 : right;
			assert_true(k / 400 >= 4 && k / 400 < 4 + ascent + descent);
		}
		/* as wide as was said, and neither empty nor a block */
		assert_true(left >= 8 && right <= 12 + width && right - left > width / 2);
		assert_true(inked > width && inked < width * ascent * 3 / 4);
		free(p.rgb);
	}
	dsv_font_close(font);
}

/* Characters by their glyphs: wrong bytes, control characters, scripts that the font lacks */
static void
test_odd_text(void **state)
{
	static const struct
	{
		const char *text;
		const char *as;
	}			same[] = {
		{"\xFF", "\xEF\xBF\xBD"},
		{"a\xE2\x82", "a\xEF\xBF\xBD"},
		{"a\nb\tc", "a b c"},
		{"\xE4\xB8\xAD", "\xE6\x96\x87"},	/* two characters that it shows as the same box */
	};
	dsv_font   *font;
	dsv_error	err;
	int			ascent;
	int			descent;

	(void) state;
	assert_int_equal(dsv_font_open(FONT, NULL, &font, &err), DSV_OK);
	assert_int_equal(dsv_font_set_size(font, 20, &ascent, &descent, &err), DSV_OK);
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
	{
		dsv_pixels	p[2];
		uint8_t		white[3] = {255, 255, 255};

		for (int k = 0; k < 2; k++)
		{
			const char *text = k == 0 ? same[i].text : same[i].as;

			p[k] = (dsv_pixels) {calloc(100 * 40, 3), 100, 40};
			assert_int_equal(dsv_font_draw(font, text, strlen(text), &p[k], 5, 30, white, &err), DSV_OK);
		}
		assert_same_picture(same[i].as, &p[0], &p[1]);
		free(p[0].rgb);
		free(p[1].rgb);
	}
	dsv_font_close(font);
	assert_int_equal(dsv_font_open("fonts/no such font", NULL, &font, &err), DSV_IO);
	assert_int_equal(dsv_font_open("fonts/LICENSE", NULL, &font, &err), DSV_FORMAT);
	assert_null(font);
}

/* ---- marks ---- */

static dsv_picture
grey_picture(int width, int height)
{
	dsv_picture p = {.pixels = {malloc((size_t) width * height * 3), width, height}, .orientation = 1};

	memset(p.pixels.rgb, 100, (size_t) width * height * 3);
	return p;
}

static const uint8_t *
pixel(const dsv_picture *p, int x, int y)
{
	return p->pixels.rgb + ((size_t) y * p->pixels.width + x) * 3;
}

static bool
is_grey(const uint8_t *rgb)
{
	return rgb[0] == 100 && rgb[1] == 100 && rgb[2] == 100;
}

static dsv_mark
make_mark(const char *label, double x1, double y1, double x2, double y2, double score)
{
	return (dsv_mark) {label, strlen(label), {x1, y1, x2, y2}, score};
}

static void
annotate(dsv_picture *p, const dsv_mark *marks, int n)
{
	dsv_error	err;

	if (dsv_picture_annotate(p, marks, n, FONT, &err) != DSV_OK)
		fail_msg("%s", err.msg);
}

/* At any size: a closed line around the box, what is marked untouched, the rest too. */
static void
test_outline(void **state)
{
	static const int sizes[] = {40, 120, 600, 3000};

	(void) state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		int			s = sizes[i];
		dsv_picture p = grey_picture(s, s);
		dsv_mark	mark = make_mark("", s / 2, s / 2, s * 3 / 4, s * 3 / 4, -1);
		int			x2 = s * 3 / 4;
		int			touched = 0;
		const uint8_t *line = pixel(&p, s / 2 - 1, s / 2 - 1);

		annotate(&p, &mark, 1);
		assert_false(is_grey(line));
		for (int k = s / 2 - 1; k <= x2; k++)
		{
			assert_memory_equal(pixel(&p, k, s / 2 - 1), line, 3);
			assert_memory_equal(pixel(&p, k, x2), line, 3);
			assert_memory_equal(pixel(&p, s / 2 - 1, k), line, 3);
			assert_memory_equal(pixel(&p, x2, k), line, 3);
		}
		for (int y = s / 2; y < x2; y++)
			for (int x = s / 2; x < x2; x++)
				assert_true(is_grey(pixel(&p, x, y)));
		for (int k = 0; k < s * s; k++)
			touched += !is_grey(p.pixels.rgb + 3 * k);
		assert_true(touched < s * s / 4 * (s < 100 ? 2 : 1));
		free(p.pixels.rgb);
	}
}

/* A mark around everything, or beyond, is a line along the border. */
static void
test_outline_at_the_border(void **state)
{
	static const double boxes[][4] = {{0, 0, 100, 80}, {-5, -5, 200, 200}};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		dsv_picture p = grey_picture(100, 80);
		dsv_mark	mark = make_mark("", boxes[i][0], boxes[i][1], boxes[i][2], boxes[i][3], -1);

		annotate(&p, &mark, 1);
		for (int y = 0; y < 80; y++)
			for (int x = 0; x < 100; x++)
				assert_true(is_grey(pixel(&p, x, y)) == (x > 0 && x < 99 && y > 0 && y < 79));
		free(p.pixels.rgb);
	}
}

/* The same mark seen through each EXIF orientation lies over the same pixels of the scene. */
static void
test_marks_are_of_the_stored_picture(void **state)
{
	(void) state;
	for (int orientation = 1; orientation <= 8; orientation++)
	{
		dsv_picture p = grey_picture(90, 60);
		dsv_mark	mark = make_mark("", 20, 10, 50, 25, -1);
		int			marked = 0;

		/* what is in the box is white, in whatever frame */
		for (int y = 10; y < 25; y++)
			memset((uint8_t *) pixel(&p, 20, y), 255, 30 * 3);
		p.orientation = orientation;
		annotate(&p, &mark, 1);
		assert_int_equal(p.pixels.width, orientation >= 5 ? 60 : 90);
		/* no white pixel is next to a grey one: the line is between, as the edge is outside of it */
		for (int y = 1; y < p.pixels.height - 1; y++)
			for (int x = 1; x < p.pixels.width - 1; x++)
			{
				const uint8_t *at = pixel(&p, x, y);
				bool		red = at[0] > 200 && at[1] < 60;

				if (red)
				{
					bool		inner = pixel(&p, x - 1, y)[1] == 255 || pixel(&p, x + 1, y)[1] == 255 ||
						pixel(&p, x, y - 1)[1] == 255 || pixel(&p, x, y + 1)[1] == 255;

					marked += inner;
				}
			}
		/* line around 30 x 15 */
		assert_int_equal(marked, 2 * 32 + 2 * 15);
		free(p.pixels.rgb);
	}
}

/* Plates: inside the picture, in the colour of the mark, with text of its opposite. */
static void
test_labels(void **state)
{
	static const int sizes[][2] = {{120, 120}, {400, 90}, {90, 400}, {1500, 1000}};
	static const double corners[][2] = {{0, 0}, {0.8, 0}, {0, 0.8}, {0.8, 0.8}, {0.4, 0.4}};

	(void) state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t k = 0; k < 5; k++)
		{
			dsv_picture p = grey_picture(sizes[i][0], sizes[i][1]);
			dsv_picture bare = grey_picture(sizes[i][0], sizes[i][1]);
			double		x = corners[k][0] * sizes[i][0];
			double		y = corners[k][1] * sizes[i][1];
			dsv_mark	mark = make_mark("total", x, y, x + sizes[i][0] / 5, y + sizes[i][1] / 5, 0.87);
			int			plate = 0;
			int			letters = 0;

			annotate(&p, &mark, 1);
			mark = make_mark("", mark.px[0], mark.px[1], mark.px[2], mark.px[3], -1);
			annotate(&bare, &mark, 1);
			for (int n = 0; n < sizes[i][0] * sizes[i][1]; n++)
			{
				const uint8_t *a = p.pixels.rgb + 3 * n;

				if (memcmp(a, bare.pixels.rgb + 3 * n, 3) == 0)
					continue;
				plate++;
				letters += a[0] > 200 && a[1] > 200 && a[2] > 200;
			}
			/* 10 characters of 11 pixels at least, a sixth to a half of it letters */
			assert_true(plate > 50 * 11);
			assert_true(letters > plate / 12 && letters < plate / 2);
			free(p.pixels.rgb);
			free(bare.pixels.rgb);
		}
}

/* Ten marks in one place: each label can be read, since no plate lies on another. */
static void
test_labels_make_room(void **state)
{
	dsv_mark	marks[10];
	int			areas[2] = {0, 0};

	(void) state;
	for (int crowded = 0; crowded <= 1; crowded++)
	{
		dsv_picture p = grey_picture(900, 600);
		dsv_picture bare = grey_picture(900, 600);

		for (int i = 0; i < 10; i++)
		{
			double		x = crowded ? 400 : 30 + 160 * (i % 5);
			double		y = crowded ? 300 : 100 + 200 * (i / 5);

			marks[i] = make_mark("label", x, y, x + 40, y + 30, 0.5);
		}
		annotate(&p, marks, 10);
		for (int i = 0; i < 10; i++)
			marks[i].label_len = 0, marks[i].score = -1;
		annotate(&bare, marks, 10);
		for (int n = 0; n < 900 * 600; n++)
			areas[crowded] += memcmp(p.pixels.rgb + 3 * n, bare.pixels.rgb + 3 * n, 3) != 0;
		free(p.pixels.rgb);
		free(bare.pixels.rgb);
	}
	/* a plate may hide a little of a line of its own colour */
	assert_true(areas[1] > areas[0] * 95 / 100);
}

static void
test_extremes(void **state)
{
	static const int sizes[][2] = {{1, 1}, {3, 200}, {200, 3}, {64, 64}};
	char		long_label[5001];

	(void) state;
	memset(long_label, 'm', 5000);
	long_label[5000] = '\0';
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		dsv_picture p = grey_picture(sizes[i][0], sizes[i][1]);
		dsv_mark	marks[] = {
			make_mark(long_label, 0, 0, 1e300, 1e300, 1),
			make_mark("\xFF\xFE", -1e300, -1e300, -1e299, -1e299, 0),
			make_mark("point", 10, 10, 10, 10, 2),
			make_mark("turned", 50, 50, 10, 10, NAN),
			make_mark("", 0, 0, 0, 0, -1),
		};

		annotate(&p, marks, 5);
		assert_int_equal(p.pixels.width, sizes[i][0]);
		free(p.pixels.rgb);
	}
}

static void
test_annotate_limits(void **state)
{
	dsv_mark   *marks = calloc(DSV_MAX_MARKS + 1, sizeof(dsv_mark));
	dsv_picture p = grey_picture(100, 100);
	dsv_code	code = DSV_NOMEM;
	dsv_error	err;
	int			n;

	(void) state;
	for (int i = 0; i <= DSV_MAX_MARKS; i++)
		marks[i] = make_mark("a label", i % 90, i / 12, i % 90 + 9, i / 12 + 9, 0.3);
	assert_int_equal(dsv_picture_annotate(&p, marks, DSV_MAX_MARKS + 1, FONT, &err), DSV_LIMIT);
	assert_int_equal(dsv_picture_annotate(&p, marks, DSV_MAX_MARKS, FONT, &err), DSV_OK);
	assert_int_equal(dsv_picture_annotate(&p, marks, 1, "no such file", &err), DSV_IO);
	/* without marks the font is not needed */
	assert_int_equal(dsv_picture_annotate(&p, NULL, 0, "no such file", &err), DSV_OK);
	for (n = 1; code != DSV_OK; n++)
	{
		counting_mem c;

		counting_start(&c, n);
		p.mem = &c.mem;
		code = dsv_picture_annotate(&p, marks, 3, FONT, &err);
		assert_true(code == DSV_OK || code == DSV_NOMEM);
		assert_int_equal(c.live, 0);
	}
	assert_true(n > 10);
	p.mem = NULL;
	code = DSV_CANCELED;
	for (n = 1; code != DSV_OK; n++)
	{
		counting_poll poll;

		counting_poll_start(&poll, n);
		p.poll = &poll.poll;
		code = dsv_picture_annotate(&p, marks, 10, FONT, &err);
		assert_true(code == DSV_OK || code == DSV_CANCELED);
	}
	assert_true(n > 10);
	free(p.pixels.rgb);
	free(marks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crop),
		cmocka_unit_test(test_crop_of_nothing),
		cmocka_unit_test(test_turn),
		cmocka_unit_test(test_turn_of_each_orientation),
		cmocka_unit_test(test_png_is_exact),
		cmocka_unit_test(test_jpeg_is_close),
		cmocka_unit_test(test_write_limits),
		cmocka_unit_test(test_page_files),
		cmocka_unit_test(test_font),
		cmocka_unit_test(test_odd_text),
		cmocka_unit_test(test_outline),
		cmocka_unit_test(test_outline_at_the_border),
		cmocka_unit_test(test_marks_are_of_the_stored_picture),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_labels_make_room),
		cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_annotate_limits),
	};

	TIFFSetErrorHandler(NULL);
	TIFFSetWarningHandler(NULL);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("picture", tests, NULL, NULL);
}
