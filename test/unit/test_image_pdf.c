/*
 * test_image_pdf.c
 *		Scanned PDF pages: every coding of an image, what is no scan, hostile documents.
 */
#include "pdf_util.h"
#include "tiff_util.h"

#include <time.h>

#include "pdf_page.h"

#define DECODE "test/golden/preprocess/decode/"

enum { WIDTH = 83, HEIGHT = 69 };

/* Noise of some bits a sample: as PDF packs it (16 bits big-endian), and as a picture */
typedef struct samples
{
	int			bits;
	int			colors;
	size_t		stride;
	uint8_t    *packed;			/* [HEIGHT, stride] */
	tiff_plan	plan;			/* values */
} samples;

static samples
make_samples(int bits, int colors)
{
	samples		s = {.bits = bits, .colors = colors, .stride = ((size_t) WIDTH * colors * bits + 7) / 8};

	plan_tiff(&s.plan, colors == 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK, bits, colors, 0);
	s.packed = calloc(HEIGHT, s.stride);
	for (int y = 0; y < HEIGHT; y++)
	{
		uint8_t    *row = s.packed + y * s.stride;

		pack_values(s.plan.values + y * WIDTH * colors, WIDTH * colors, 1, bits, row);
		for (size_t i = 0; bits == 16 && i < s.stride; i += 2)
		{
			uint8_t		low = row[i];

			row[i] = row[i + 1];
			row[i + 1] = low;
		}
	}
	return s;
}

static void
free_samples(samples *s)
{
	free(s->packed);
	free(s->plan.values);
}

/* The picture they are; palette [256, 3] or NULL */
static dsv_pixels
picture_of(const samples *s, bool inverted, const uint8_t *palette)
{
	dsv_pixels	p = {malloc(WIDTH * HEIGHT * 3), WIDTH, HEIGHT};
	double		most = (1 << s->bits) - 1;

	for (int i = 0; i < WIDTH * HEIGHT; i++)
		for (int c = 0; c < 3; c++)
		{
			unsigned	v = s->plan.values[i * s->colors + (s->colors == 3 ? c : 0)];
			double		light = s->bits == 16 ? v * 255.0 / most + 0.5 : v * 255.0 / most;

			p.rgb[3 * i + c] = palette != NULL ? palette[3 * v + c] :
				(uint8_t) (inverted ? 255 - (int) light : (int) light);
		}
	return p;
}

static void
check_pdf(const char *what, const pdf_plan *plan, const dsv_pixels *want)
{
	file_bytes	file = make_pdf(plan, 1);
	dsv_image_info info;
	dsv_pixels	got;
	dsv_error	err;

	if (dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err) != DSV_OK)
		fail_msg("%s: %s: %s", what, err.msg, err.detail);
	assert_int_equal(info.format, DSV_IMAGE_PDF);
	assert_int_equal(info.width, want->width);
	assert_int_equal(info.height, want->height);
	assert_int_equal(info.pages, 1);
	if (dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &got, &info, &err) != DSV_OK)
		fail_msg("%s: %s: %s", what, err.msg, err.detail);
	assert_same_picture(what, &got, want);
	dsv_pixels_free(&got, NULL);
	free(file.data);
}

/* ---- codings ---- */

/* PNG's filter Sub in front of each row */
static file_bytes
png_rows(const samples *s)
{
	size_t		step = (size_t) s->bits * s->colors / 8;
	uint8_t    *rows = malloc(HEIGHT * (1 + s->stride));
	file_bytes	out;

	step = step > 0 ? step : 1;
	for (int y = 0; y < HEIGHT; y++)
	{
		const uint8_t *from = s->packed + y * s->stride;
		uint8_t    *to = rows + y * (1 + s->stride);

		*to++ = 1;
		for (size_t i = 0; i < s->stride; i++)
			to[i] = (uint8_t) (from[i] - (i >= step ? from[i - step] : 0));
	}
	out = deflated(rows, HEIGHT * (1 + s->stride));
	free(rows);
	return out;
}

/* The strip that libtiff writes of them */
static file_bytes
tiff_strip(const samples *s, int compression, int predictor, int t4options)
{
	tiff_plan	plan = s->plan;
	memory_file f = {{NULL, 0}, 0};
	TIFF	   *tif = memory_tiff(&f, "wb");
	size_t		directory;
	file_bytes	out;

	plan.compression = compression;
	plan.predictor = predictor;
	set_tags(tif, &plan);
	if (compression == COMPRESSION_CCITTFAX3)
		TIFFSetField(tif, TIFFTAG_GROUP3OPTIONS, t4options);
	write_rows(tif, &plan, 0);
	TIFFClose(tif);
	/* the strip is what stands between header and directory */
	directory = (size_t) f.bytes.data[4] << 24 | f.bytes.data[5] << 16 | f.bytes.data[6] << 8 | f.bytes.data[7];
	out = (file_bytes) {malloc(directory), directory - 8};
	memcpy(out.data, f.bytes.data + 8, out.len);
	free(f.bytes.data);
	return out;
}

static void
test_samples(void **state)
{
	static const int kinds[][2] = {{1, 1}, {2, 1}, {4, 1}, {8, 1}, {16, 1}, {8, 3}, {16, 3}};

	(void) state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
	{
		samples		s = make_samples(kinds[k][0], kinds[k][1]);
		file_bytes	flate = deflated(s.packed, s.stride * HEIGHT);
		file_bytes	png = png_rows(&s);
		file_bytes	lzw = tiff_strip(&s, COMPRESSION_LZW, 1, 0);
		file_bytes	tiff2 = tiff_strip(&s, COMPRESSION_ADOBE_DEFLATE, s.bits >= 8 ? 2 : 1, 0);
		const char *space = s.colors == 3 ? "/DeviceRGB" : "/DeviceGray";

		for (int inverted = 0; inverted <= (s.colors == 1); inverted++)
		{
			dsv_pixels	want = picture_of(&s, inverted, NULL);
			char		start[200];
			char		dict[400];

			snprintf(start, sizeof(start), "/Width 83 /Height 69 /ColorSpace %s /BitsPerComponent %d %s", space,
					 s.bits, inverted ? "/Decode [1 0]" : "");
			check_pdf(start, &(pdf_plan) {.image = start, .data = s.packed, .len = s.stride * HEIGHT}, &want);
			snprintf(dict, sizeof(dict), "%s /Filter [/FlateDecode]", start);
			check_pdf(dict, &(pdf_plan) {.image = dict, .data = flate.data, .len = flate.len}, &want);
			snprintf(dict, sizeof(dict), "%s /Filter /LZWDecode", start);
			check_pdf(dict, &(pdf_plan) {.image = dict, .data = lzw.data, .len = lzw.len}, &want);
			snprintf(dict, sizeof(dict), "%s /Filter /FlateDecode /DecodeParms << /Predictor 15 /Colors %d "
					 "/BitsPerComponent %d /Columns 83 >>", start, s.colors, s.bits);
			check_pdf(dict, &(pdf_plan) {.image = dict, .data = png.data, .len = png.len}, &want);
			snprintf(dict, sizeof(dict), "%s /Filter /FlateDecode /DecodeParms [<< /Predictor %d /Colors %d "
					 "/BitsPerComponent %d /Columns 83 >>]", start, s.bits >= 8 ? 2 : 1, s.colors, s.bits);
			check_pdf(dict, &(pdf_plan) {.image = dict, .data = tiff2.data, .len = tiff2.len}, &want);
			free(want.rgb);
		}
		free(flate.data);
		free(png.data);
		free(lzw.data);
		free(tiff2.data);
		free_samples(&s);
	}
}

static void
test_palettes(void **state)
{
	static const int depths[] = {1, 4, 8};

	(void) state;
	for (size_t k = 0; k < sizeof(depths) / sizeof(depths[0]); k++)
	{
		samples		s = make_samples(depths[k], 1);
		file_bytes	flate = deflated(s.packed, s.stride * HEIGHT);
		file_bytes	png = png_rows(&s);
		int			n = 1 << s.bits;
		uint8_t		palette[256 * 3];
		char		hex[256 * 6 + 1];
		char		dict[2000];
		uint32_t	seed = 5;
		dsv_pixels	want;

		for (int i = 0; i < n * 3; i++)
		{
			palette[i] = (uint8_t) noise(&seed);
			sprintf(hex + 2 * i, "%02x", palette[i]);
		}
		want = picture_of(&s, false, palette);
		if (n <= 16)			/* what fits into the test's line */
		{
			snprintf(dict, sizeof(dict), "/Width 83 /Height 69 /ColorSpace [/Indexed /DeviceRGB %d <%s>] "
					 "/BitsPerComponent %d /Filter /FlateDecode", n - 1, hex, s.bits);
			check_pdf("palette", &(pdf_plan) {.image = dict, .data = flate.data, .len = flate.len}, &want);
		}
		{
			/* the table as a stream */
			pdf_plan	plan = {.data = png.data, .len = png.len};
			pdf_file   *f;
			file_bytes	file;
			dsv_pixels	got;
			dsv_error	err;

			snprintf(dict, sizeof(dict), "/Width 83 /Height 69 /ColorSpace [/Indexed [/ICCBased 11 0 R] %d 10 0 R] "
					 "/BitsPerComponent %d /Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 83 "
					 "/BitsPerComponent %d >>", n - 1, s.bits, s.bits);
			plan.image = dict;
			f = pdf_pages(&plan, 1);
			pdf_stream(f, 10, "", palette, (size_t) n * 3);
			pdf_stream(f, 11, "/N 3", "", 0);
			file = pdf_end(f, "");
			if (dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &got, NULL, &err) != DSV_OK)
				fail_msg("%s: %s", err.msg, err.detail);
			assert_same_picture("palette of PNG", &got, &want);
			dsv_pixels_free(&got, NULL);
			free(file.data);
		}
		free(want.rgb);
		free(flate.data);
		free(png.data);
		free_samples(&s);
	}
}

static void
test_ccitt(void **state)
{
	static const int ks[] = {-1, 0, 4};
	samples		s = make_samples(1, 1);

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		/* libtiff codes 1 as black here, since it codes whatever it is given */
		file_bytes	strip = tiff_strip(&s, i == 0 ? COMPRESSION_CCITTFAX4 : COMPRESSION_CCITTFAX3, 0,
									   i == 2 ? GROUP3OPT_2DENCODING : 0);

		for (int variant = 0; variant < 4; variant++)
		{
			bool		black_is_1 = variant & 1;
			bool		inverted = variant & 2;
			/* a black run is a sample 1 with BlackIs1, else 0; a sample 1 is white */
			dsv_pixels	want = picture_of(&s, black_is_1 == inverted, NULL);
			char		dict[300];

			snprintf(dict, sizeof(dict), "/Width 83 /Height 69 /ColorSpace /DeviceGray /BitsPerComponent 1 "
					 "/Filter /CCITTFaxDecode /DecodeParms << /K %d /Columns 83 /Rows 69 /BlackIs1 %s >> /Decode [%s]",
					 ks[i], black_is_1 ? "true" : "false", inverted ? "1 0" : "0 1");
			check_pdf(dict, &(pdf_plan) {.image = dict, .data = strip.data, .len = strip.len}, &want);
			if (variant == 0)
			{
				snprintf(dict, sizeof(dict), "/Width 83 /Height 69 /ImageMask true /Filter /CCITTFaxDecode "
						 "/DecodeParms << /K %d /Columns 83 >>", ks[i]);
				check_pdf(dict, &(pdf_plan) {.image = dict, .data = strip.data, .len = strip.len}, &want);
			}
			free(want.rgb);
		}
		free(strip.data);
	}
	free_samples(&s);
}

#define JPEG_DICT "/Width 203 /Height 149 /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode"

static void
test_jpeg(void **state)
{
	/* the second has an EXIF orientation, which means nothing in a PDF document */
	static const char *const files[] = {DECODE "420.jpg", DECODE "exif6.jpg"};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		file_bytes	jpeg = read_file(files[i]);
		dsv_pixels	want = load_picture(files[i], &as_reference);

		check_pdf(files[i], &(pdf_plan) {.image = JPEG_DICT, .data = jpeg.data, .len = jpeg.len}, &want);
		dsv_pixels_free(&want, NULL);
		free(jpeg.data);
	}
}

/* ---- pages as files ---- */

static void
test_pages(void **state)
{
	file_bytes	jpeg = read_file(DECODE "420.jpg");
	file_bytes	exif = read_file(DECODE "exif6.jpg");
	samples		s = make_samples(8, 3);
	pdf_plan	plans[] = {
		{.image = JPEG_DICT, .data = jpeg.data, .len = jpeg.len},
		{.image = JPEG_DICT, .data = jpeg.data, .len = jpeg.len, .page = "/Rotate 90"},
		{.image = JPEG_DICT, .data = exif.data, .len = exif.len},
		{.image = "/Width 83 /Height 69 /ColorSpace /DeviceRGB /BitsPerComponent 8", .data = s.packed,
		.len = s.stride * HEIGHT, .page = "/Rotate 180"},
	};
	file_bytes	file = make_pdf(plans, 4);
	dsv_bytes	bytes = {file.data, file.len};
	dsv_image_info info;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_OK);
	assert_int_equal(info.pages, 4);
	for (int page = 1; page <= 4; page++)
	{
		dsv_image_options options = {.page = page};
		dsv_blob	blob;
		dsv_pixels	direct;
		dsv_pixels	again;
		counting_mem c;

		counting_start(&c, 0);
		assert_int_equal(dsv_image_decode(file.data, file.len, &options, NULL, NULL, &direct, &info, &err), DSV_OK);
		assert_int_equal(info.orientation, page == 2 ? 6 : page == 4 ? 3 : 1);
		if (dsv_image_page(&bytes, &options, NULL, &c.mem, &blob, &err) != DSV_OK)
			fail_msg("page %d: %s", page, err.msg);
		assert_int_equal(c.live, 1);
		/* the file of a page shows what the page shows */
		assert_int_equal(dsv_image_decode(blob.data, blob.len, NULL, NULL, NULL, &again, &info, &err), DSV_OK);
		assert_same_picture("page", &again, &direct);
		assert_int_equal(info.format, page == 4 ? DSV_IMAGE_PNG : DSV_IMAGE_JPEG);
		if (page == 1)
		{
			assert_int_equal(blob.len, jpeg.len);
			assert_memory_equal(blob.data, jpeg.data, jpeg.len);
		}
		dsv_free(&c.mem, blob.data);
		dsv_pixels_free(&direct, NULL);
		dsv_pixels_free(&again, NULL);
	}
	free(file.data);
	free(jpeg.data);
	free(exif.data);
	free_samples(&s);
}

static void
test_several_pages(void **state)
{
	file_bytes	jpeg = read_file(DECODE "420.jpg");
	pdf_plan	plans[] = {
		{.image = JPEG_DICT, .data = jpeg.data, .len = jpeg.len},
		{.image = JPEG_DICT, .data = jpeg.data, .len = jpeg.len, .content = "BT (text) Tj ET"},
	};
	file_bytes	file = make_pdf(plans, 2);
	dsv_image_options options = {0};
	dsv_image_info info;
	dsv_pixels	out;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "the image has 2 pages");
	options.page = 2;
	assert_int_equal(dsv_image_decode(file.data, file.len, &options, NULL, NULL, &out, NULL, &err), DSV_UNSUPPORTED);
	assert_string_equal(err.msg, "page 2 of the PDF document is not one scanned image");
	assert_string_equal(err.detail, "It holds text.");
	assert_true(err.hint[0] != '\0');
	options.page = 3;
	assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "page 3 was asked for, but the image has 2 pages");
	options = (dsv_image_options) {.page = 1, .max_pixels = 203 * 149 - 1};
	assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE_SIZE);
	options = (dsv_image_options) {.page = 1, .max_bytes = file.len - 1};
	assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE_SIZE);
	free(file.data);
	free(jpeg.data);
}

/* ---- what a page holds ---- */

static void
test_content(void **state)
{
	static const struct
	{
		const char *content;
		const char *other;		/* NULL: one image */
	}			cases[] = {
		{"q 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"400 0 0 300 0 0 cm/Im0 Do", NULL},
		{"% comment (\nq .5 0 0 .5 0 0 cm q 800 0 0 600 0 0 cm /Im0 Do Q Q", NULL},
		{"q 0 0 400 300 re W n 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"q 1 0 0 1 0 0 cm -10 -10 500 500 re W* n 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"1 g 0 0 400 300 re f 0 g q 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"1 1 1 rg 0 0 400 300 re f* q 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"0 0 0 0 k 0 0 400 300 re F q 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"/GS0 gs /P <</MCID 0 /X [1 (a) <</Y true>>]>> BDC q 400 0 0 300 0 0 cm /I#6D0 Do Q EMC", NULL},
		{"q 400 0 0 300 0 0 cm /Im0 Do Q BT 3 Tr /F1 9 Tf 1 0 0 1 9 9 Tm (hid\\)den) Tj [(a) -3 <62>] TJ ET", NULL},
		{"BT /F1 9 Tf () Tj ET q 400 0 0 300 0 0 cm /Im0 Do Q", NULL},
		{"", "no image"},
		{"q Q Q Q", "no image"},
		{"q 400 0 0 300 0 0 cm /Im0 Do /Im0 Do Q", "several images"},
		{"q 400 0 0 300 0 0 cm /Im0 Do Q BT (seen) Tj ET", "text"},
		{"q 400 0 0 300 0 0 cm /Im0 Do Q BT 3 Tr (a) Tj 0 Tr [(b)] TJ ET", "text"},
		{"q 3 Tr Q BT <61> Tj ET", "text"},
		{"BT 7 Tr (clip) Tj ET", "text"},
		{"0 0 10 10 re f q 400 0 0 300 0 0 cm /Im0 Do Q", "drawings"},
		{"q 400 0 0 300 0 0 cm /Im0 Do Q 1 g 0 0 400 300 re f", "drawings"},
		{"1 g 0 0 400 300 re B", "drawings"},
		{"/Cs1 cs 1 scn 0 0 400 300 re f", "drawings"},
		{"0 0 m 9 9 l S", "drawings"},
		{"/Sh0 sh", "drawings"},
		{"BI /W 1 /H 1 /BPC 8 /CS /G ID x EI", "an inline image"},
		{"q 400 0 0 300 0 200 cm /Im0 Do Q", "a part of an image"},
		{"q 0 0 200 300 re W n 400 0 0 300 0 0 cm /Im0 Do Q", "a part of an image"},
		{"0 0 m 9 9 l 9 0 l h W n q 400 0 0 300 0 0 cm /Im0 Do Q", "an image cut to a shape"},
		{"400 0 0 300 0 cm /Im0 Do", "operators that could not be understood"},
		{"q 400 0 0 300 0 0 cm Do Q", "operators that could not be understood"},
		{"q 400 0 0 300 0 0 cm /Im0 Draw Q", "operators that could not be understood"},
		{"1e400 0 0 1 0 0 cm /Im0 Do", "operators that could not be understood"},
		{"(never closed", "no image"},
		{"<61", "no image"},
		{"[[[[ /A", "no image"},
		{"<<<<>", "no image"},
		{"(\\", "no image"},
		{"/", "no image"},
		{"% only a comment", "no image"},
		{")>}{ ] >> q 400 0 0 300 0 0 cm /Im0 Do", NULL},
	};
	static const double box[4] = {0, 0, 400, 300};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		size_t		len = strlen(cases[i].content);
		uint8_t    *exact = malloc(len);
		dsv_pdf_place place;
		const char *other;

		/* exactly as long as stated, so that a sanitizer sees a byte too far */
		memcpy(exact, cases[i].content, len);
		other = dsv_pdf_read_content(exact, len, box, &place);
		if (cases[i].other == NULL ? other != NULL : other == NULL || strcmp(other, cases[i].other) != 0)
			fail_msg("%s: %s", cases[i].content, other != NULL ? other : "one image");
		if (other == NULL)
			assert_string_equal(place.name, "/Im0");
		free(exact);
	}
}

static void
test_nesting(void **state)
{
	static const double box[4] = {0, 0, 400, 300};
	char		text[4000] = "";
	dsv_pdf_place place;

	(void) state;
	for (int i = 0; i < 1000; i++)
		strcat(text, "q ");
	assert_string_equal(dsv_pdf_read_content((uint8_t *) text, strlen(text), box, &place),
						"operators nested too deeply");
	memset(text, '[', 3999);
	assert_string_equal(dsv_pdf_read_content((uint8_t *) text, 3999, box, &place), "no image");
	memset(text, '1', 3999);
	assert_string_equal(dsv_pdf_read_content((uint8_t *) text, 3999, box, &place),
						"operators that could not be understood");
}

/* What a viewer shows, for each way that an image can stand */
static void
test_orientation(void **state)
{
	static const struct
	{
		double		m[6];
		int			orientation;
	}			cases[] = {
		{{400, 0, 0, 300, 0, 0}, 1},
		{{-400, 0, 0, 300, 400, 0}, 2},
		{{-400, 0, 0, -300, 400, 300}, 3},
		{{400, 0, 0, -300, 0, 300}, 4},
		{{0, -300, -400, 0, 400, 300}, 5},
		{{0, -300, 400, 0, 0, 300}, 6},
		{{0, 300, 400, 0, 0, 0}, 7},
		{{0, 300, -400, 0, 400, 0}, 8},
		{{400, 5, -5, 300, 0, 0}, 1},	/* a scanner's crooked correction */
		{{400, 50, -50, 300, 0, 0}, 0},
		{{400, 0, 0, 0, 0, 0}, 0},
		{{0, 0, 0, 0, 0, 0}, 0},
		{{400, 0, 300, 0, 0, 0}, 0},
	};
	static const int clockwise[9] = {0, 6, 7, 8, 5, 2, 3, 4, 1};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		int			expected = cases[i].orientation;

		for (int degrees = 0; degrees < 360; degrees += 90)
		{
			assert_int_equal(dsv_pdf_orientation(cases[i].m, degrees), expected);
			assert_int_equal(dsv_pdf_orientation(cases[i].m, degrees - 360), expected);
			expected = clockwise[expected];
		}
	}
}

static void
assert_refused(const char *what, file_bytes file, dsv_code code, const char *detail)
{
	dsv_pixels	out;
	dsv_error	err;

	assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, &err), code);
	if (strcmp(err.detail, detail) != 0)
		fail_msg("%s: %s", what, err.detail);
	assert_true(code != DSV_UNSUPPORTED || err.hint[0] != '\0');
	free(file.data);
}

static void
test_refused(void **state)
{
	static const struct
	{
		const char *image;
		const char *page;
		dsv_code	code;
		const char *detail;
	}			cases[] = {
		{"/Width 2 /Height 2 /ColorSpace /DeviceCMYK /BitsPerComponent 8", NULL, DSV_UNSUPPORTED,
		"It holds an image with other colors than grey and RGB."},
		{"/Width 2 /Height 2 /BitsPerComponent 8", NULL, DSV_UNSUPPORTED,
		"It holds an image with other colors than grey and RGB."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /JPXDecode", NULL, DSV_UNSUPPORTED,
		"It holds an image coded with JPXDecode."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /JBIG2Decode", NULL, DSV_UNSUPPORTED,
		"It holds an image coded with JBIG2Decode."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter [/ASCII85Decode /FlateDecode]", NULL,
		DSV_UNSUPPORTED, "It holds an image coded twice."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8 /SMask 4 0 R", NULL, DSV_UNSUPPORTED,
		"It holds an image with a mask."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8 /Decode [0 0.5]", NULL, DSV_UNSUPPORTED,
		"It holds an image whose samples are mapped to other values."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 3", NULL, DSV_UNSUPPORTED,
		"It holds an image with an unusual number of bits a sample."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceRGB /BitsPerComponent 4", NULL, DSV_UNSUPPORTED,
		"It holds an image with an unusual number of bits a sample."},
		{"/Width 0 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8", NULL, DSV_IMAGE, "The image has no pixels."},
		{"/Width 3 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /CCITTFaxDecode", NULL, DSV_UNSUPPORTED,
		"It holds an image coded with CCITTFaxDecode in an unusual way."},
		{"/Width 3 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8 /Filter /FlateDecode /DecodeParms "
			"<< /Predictor 12 /Columns 4 >>", NULL, DSV_IMAGE, "The predictor of the image does not fit it."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8", "/Annots [<< /Subtype /Stamp /Rect [0 0 9 9] "
			"/AP << /N 4 0 R >> >>]", DSV_UNSUPPORTED, "It holds annotations."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8", "/CropBox [0 0 200 300]", DSV_UNSUPPORTED,
		"It holds a part of an image."},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8", "/Rotate 45", DSV_OK, ""},
		{"/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8", "/Annots [<< /Subtype /Link /Rect [0 0 9 9] "
			"/AP << /N 4 0 R >> >> << /Subtype /Widget /Rect [0 0 0 0] /AP << >> >>]", DSV_OK, ""},
	};
	pdf_plan	plan = {.data = "abcd", .len = 4};
	file_bytes	file;

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		plan.image = cases[i].image;
		plan.page = cases[i].page;
		file = make_pdf(&plan, 1);
		if (cases[i].code != DSV_OK)
			assert_refused(cases[i].image, file, cases[i].code, cases[i].detail);
		else
		{
			assert_int_equal(check_any(file.data, file.len, NULL), DSV_OK);
			free(file.data);
		}
	}
	plan = (pdf_plan) {.image = "/Width 2 /Height 2 /ImageMask true", .data = "abcd", .len = 4,
		.content = "q 1 0 0 rg 400 0 0 300 0 0 cm /Im0 Do Q"};
	assert_refused("stencil", make_pdf(&plan, 1), DSV_UNSUPPORTED, "It holds a colored stencil.");
	plan.content = "q 400 0 0 300 0 0 cm /Im1 Do Q";
	assert_refused("missing", make_pdf(&plan, 1), DSV_IMAGE, "The image of the page is missing.");
	file = pdf_end(pdf_pages(&plan, 1), "/Encrypt << /Filter /Standard /V 1 /R 2 /O (a) /U (b) /P 0 >> /ID [(a) (a)]");
	assert_int_equal(check_any(file.data, file.len, NULL), DSV_UNSUPPORTED);
	free(file.data);
	assert_refused("empty", make_pdf(&plan, 0), DSV_IMAGE, "It has no pages.");
}

/* ---- hostile documents ---- */

#define SMALL_IMAGE "/Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8"

/* Streams whose lengths are each other's: qpdf reads the chain by recursion. */
static file_bytes
length_chain(int n)
{
	pdf_plan	plan = {.image = SMALL_IMAGE " /Decode 10 0 R", .data = "abcd", .len = 4};
	pdf_file   *f = pdf_pages(&plan, 1);

	for (int i = 10; i < 10 + n; i++)
	{
		pdf_begin(f, i);
		pdf_print(f, "<< /Length %d 0 R >>\nstream\n\nendstream\nendobj\n", i + 1);
	}
	pdf_object(f, 10 + n, "0");
	return pdf_end(f, "");
}

/* A stream of objects that unpacks to n megabytes */
static file_bytes
object_bomb(size_t megabytes)
{
	size_t		n = megabytes << 20;
	char	   *spaces = malloc(n);
	file_bytes	packed;
	pdf_file   *f = pdf_start();
	size_t		xref;
	char		entries[4 * 5] = {0};
	char		dict[200];

	memset(spaces, ' ', n);
	memcpy(spaces, "1 0 ", 4);
	packed = deflated(spaces, n);
	free(spaces);
	snprintf(dict, sizeof(dict), "/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode");
	pdf_stream(f, 2, dict, packed.data, packed.len);
	free(packed.data);
	/* a cross-reference stream: type, offset or stream, index */
	xref = f->text.len;
	entries[5] = 2;
	entries[8] = 2;				/* object 1 is in stream 2 */
	entries[10] = 1;
	entries[13] = (char) (f->at[2] & 0xFF);
	entries[15] = 1;
	entries[16] = (char) (xref >> 16);
	entries[17] = (char) (xref >> 8);
	entries[18] = (char) xref;
	pdf_begin(f, 3);
	pdf_print(f, "<< /Type /XRef /Size 4 /Root 1 0 R /W [1 3 1] /Length 20 >>\nstream\n");
	pdf_put(f, entries, 20);
	pdf_print(f, "\nendstream\nendobj\nstartxref\n%zu\n%%%%EOF\n", xref);
	{
		file_bytes	out = {(uint8_t *) f->text.s, f->text.len};

		free(f);
		return out;
	}
}

static void
test_hostile(void **state)
{
	struct timespec from;
	struct timespec to;
	file_bytes	file;

	(void) state;
	/* harmless when short, so the long one shows what it should */
	file = length_chain(10);
	assert_int_equal(check_any(file.data, file.len, NULL), DSV_OK);
	free(file.data);
	assert_refused("chain", length_chain(40000), DSV_IMAGE,
				   "Its reader ended early; the file may be meant to exhaust it.");
	clock_gettime(CLOCK_MONOTONIC, &from);
	file = object_bomb(1);
	assert_int_equal(check_any(file.data, file.len, NULL), DSV_IMAGE);
	free(file.data);
	/* twice what the reader may take */
	file = object_bomb(512);
	assert_int_equal(check_any(file.data, file.len, NULL), DSV_IMAGE);
	free(file.data);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true(to.tv_sec - from.tv_sec < 60);
}

static void
test_hostile_trees(void **state)
{
	pdf_file   *f = pdf_start();
	char		kids[1000];

	(void) state;
	/* its own child */
	pdf_object(f, 1, "<< /Type /Catalog /Pages 2 0 R >>");
	pdf_object(f, 2, "<< /Type /Pages /Count 1 /Kids [2 0 R] >>");
	assert_refused("loop", pdf_end(f, ""), DSV_IMAGE, "Its tree of pages is nested too deeply.");
	/* ten levels of ten children each, all shared: 10^10 pages */
	f = pdf_start();
	pdf_object(f, 1, "<< /Type /Catalog /Pages 2 0 R >>");
	for (int i = 2; i < 12; i++)
	{
		kids[0] = '\0';
		for (int k = 0; k < 10; k++)
			sprintf(kids + strlen(kids), " %d 0 R", i + 1);
		pdf_begin(f, i);
		pdf_print(f, "<< /Type /Pages /Kids [%s] >>\nendobj\n", kids);
	}
	pdf_object(f, 12, "<< /Type /Page >>");
	{
		file_bytes	file = pdf_end(f, "");

		assert_int_equal(check_any(file.data, file.len, NULL), DSV_LIMIT);
		free(file.data);
	}
	f = pdf_start();
	pdf_object(f, 1, "<< /Type /Catalog >>");
	assert_refused("no pages", pdf_end(f, ""), DSV_IMAGE, "A page is missing.");
}

static file_bytes
small_file(void)
{
	samples		s = make_samples(1, 1);
	file_bytes	strip = tiff_strip(&s, COMPRESSION_CCITTFAX4, 0, 0);
	pdf_plan	plan = {.image = "/Width 83 /Height 69 /ColorSpace /DeviceGray /BitsPerComponent 1 "
		"/Filter /CCITTFaxDecode /DecodeParms << /K -1 /Columns 83 >>", .data = strip.data, .len = strip.len};
	file_bytes	file = make_pdf(&plan, 1);

	free(strip.data);
	free_samples(&s);
	return file;
}

static void
test_damage(void **state)
{
	file_bytes	file = small_file();

	(void) state;
	/* each is a process, and the strip itself is test_image_tiff's; a document without its end is
	 * put together again, so it may be whole */
	check_flips(&file, 7);
	check_truncations(&file, NULL, 11);
	check_allocations(&file, NULL);
	free(file.data);
}

static void
test_canceled(void **state)
{
	file_bytes	file = small_file();

	(void) state;
	check_canceled(&file, NULL, 2);
	free(file.data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_palettes),
		cmocka_unit_test(test_ccitt),
		cmocka_unit_test(test_jpeg),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_several_pages),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_orientation),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_hostile_trees),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_canceled),
	};

	TIFFSetErrorHandler(NULL);
	TIFFSetWarningHandler(NULL);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("image_pdf", tests, NULL, NULL);
}
