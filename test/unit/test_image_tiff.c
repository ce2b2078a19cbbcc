/*
 * test_image_tiff.c
 *		TIFF: every kind of samples in every layout against the definition, pages, and damage.
 */
#include "tiff_util.h"

#include <math.h>

/* ---- what a file must become, by the definitions and in floating point ---- */

static double
expected_color(const tiff_plan *plan, const uint16_t *s, int c, bool reference)
{
	double		most = (1 << plan->bits) - 1;
	int			colors = plan_colors(plan);
	unsigned	v = s[colors < 3 ? 0 : c];

	if (plan->photometric == PHOTOMETRIC_PALETTE)
		return plan->map[c][v] >> 8;
	if (reference && plan->bits == 16 && plan->samples == 1)
		return v > 255 ? 255 : v;
	if (plan->photometric == PHOTOMETRIC_MINISWHITE)
		v = (unsigned) most - v;
	if (plan->bits == 16)
		return reference ? v >> 8 : round(v * 255.0 / most);
	return floor(v * 255.0 / most);
}

static void
expected_pixel(const tiff_plan *plan, const uint16_t *s, bool reference, uint8_t rgb[3])
{
	int			colors = plan_colors(plan);
	double		alpha = 255;

	if (colors != 4 && plan->samples > colors && plan->extra != EXTRASAMPLE_UNSPECIFIED)
		alpha = plan->bits == 16 ? (reference ? s[colors] >> 8 : round(s[colors] * 255.0 / 65535)) : s[colors];
	for (int c = 0; c < 3; c++)
	{
		double		v = expected_color(plan, s, c, reference);

		if (colors == 4)
		{
			double		light = 255 - expected_color(plan, s, 3, reference);

			v = light - round(v * light / 255);
		}
		else if (plan->extra == EXTRASAMPLE_ASSOCALPHA)
			v = !reference ? v + 255 - alpha : alpha > 0 ? floor(v * 255 / alpha) : v;
		else if (!reference)
			v = floor(v * alpha / 255 + 255 - alpha + 0.5);
		rgb[c] = (uint8_t) (v > 255 ? 255 : v);
	}
}

static dsv_pixels
expected_picture(const tiff_plan *plan, bool reference)
{
	dsv_pixels	p = {malloc((size_t) plan->width * plan->height * 3), plan->width, plan->height};

	for (size_t i = 0; i < (size_t) plan->width * plan->height; i++)
		expected_pixel(plan, plan->values + i * plan->samples, reference, p.rgb + 3 * i);
	return p;
}

static void
check_file(const file_bytes *file, const tiff_plan *plan, int page)
{
	for (int reference = 0; reference <= 1; reference++)
	{
		dsv_image_options options = {.reference_decode = reference, .page = page, .ignore_exif = true};
		dsv_pixels	want = expected_picture(plan, reference);
		dsv_image_info info;
		dsv_pixels	got;
		dsv_error	err;
		char		what[160];

		snprintf(what, sizeof(what), "photometric %d, %d x %d bits, extra %d, compression %d, tile %d, rows %d, "
				 "planar %d, reference %d", plan->photometric, plan->samples, plan->bits, plan->extra,
				 plan->compression, plan->tile, plan->rows, plan->planar, reference);
		if (dsv_image_decode(file->data, file->len, &options, NULL, NULL, &got, &info, &err) != DSV_OK)
			fail_msg("%s: %s: %s", what, err.msg, err.detail);
		assert_int_equal(info.format, DSV_IMAGE_TIFF);
		assert_same_picture(what, &got, &want);
		free(want.rgb);
		dsv_pixels_free(&got, NULL);
	}
}

static void
check_plan(const tiff_plan *plan)
{
	file_bytes	file = write_tiff(plan, 1);

	check_file(&file, plan, 0);
	free(file.data);
}

/* ---- kinds ---- */

static const struct
{
	int			photometric;
	int			bits;
	int			samples;
	int			extra;
}			kinds[] = {
	{PHOTOMETRIC_MINISBLACK, 1, 1, 0},
	{PHOTOMETRIC_MINISWHITE, 1, 1, 0},
	{PHOTOMETRIC_MINISBLACK, 2, 1, 0},
	{PHOTOMETRIC_MINISBLACK, 4, 1, 0},
	{PHOTOMETRIC_MINISWHITE, 4, 1, 0},
	{PHOTOMETRIC_MINISBLACK, 8, 1, 0},
	{PHOTOMETRIC_MINISWHITE, 8, 1, 0},
	{PHOTOMETRIC_MINISBLACK, 16, 1, 0},
	{PHOTOMETRIC_MINISWHITE, 16, 1, 0},
	{PHOTOMETRIC_MINISBLACK, 8, 2, EXTRASAMPLE_UNASSALPHA},
	{PHOTOMETRIC_MINISBLACK, 8, 2, EXTRASAMPLE_UNSPECIFIED},
	{PHOTOMETRIC_MINISBLACK, 16, 2, EXTRASAMPLE_ASSOCALPHA},
	{PHOTOMETRIC_PALETTE, 1, 1, 0},
	{PHOTOMETRIC_PALETTE, 4, 1, 0},
	{PHOTOMETRIC_PALETTE, 8, 1, 0},
	{PHOTOMETRIC_RGB, 8, 3, 0},
	{PHOTOMETRIC_RGB, 16, 3, 0},
	{PHOTOMETRIC_RGB, 8, 4, EXTRASAMPLE_UNASSALPHA},
	{PHOTOMETRIC_RGB, 8, 4, EXTRASAMPLE_ASSOCALPHA},
	{PHOTOMETRIC_RGB, 8, 4, EXTRASAMPLE_UNSPECIFIED},
	{PHOTOMETRIC_RGB, 8, 4, -1},
	{PHOTOMETRIC_RGB, 16, 4, EXTRASAMPLE_UNASSALPHA},
	{PHOTOMETRIC_RGB, 16, 4, EXTRASAMPLE_ASSOCALPHA},
	{PHOTOMETRIC_RGB, 8, 6, EXTRASAMPLE_UNASSALPHA},
	{PHOTOMETRIC_SEPARATED, 8, 4, 0},
	{PHOTOMETRIC_SEPARATED, 16, 4, 0},
	{PHOTOMETRIC_SEPARATED, 8, 5, EXTRASAMPLE_UNSPECIFIED},
};

static void
test_kinds(void **state)
{
	(void) state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
	{
		tiff_plan	plan;

		plan_tiff(&plan, kinds[k].photometric, kinds[k].bits, kinds[k].samples, kinds[k].extra);
		for (int variant = 0; variant < 16; variant++)
		{
			plan.tile = variant & 1 ? 32 : 0;
			plan.planar = (variant & 2) != 0;
			plan.compression = variant & 4 ? COMPRESSION_LZW : COMPRESSION_NONE;
			plan.big_endian = (variant & 8) != 0;
			plan.rows = variant & 8 ? 7 : 0;
			/* libtiff writes no planes of part bytes */
			if (!plan.planar || (plan.samples > 1 && plan.bits >= 8))
				check_plan(&plan);
		}
		free(plan.values);
	}
}

static void
test_compressions(void **state)
{
	static const int all[] = {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,
	COMPRESSION_PACKBITS};
	static const int fax[] = {COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3, COMPRESSION_CCITTFAX4};
	tiff_plan	plan;

	(void) state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (int predictor = 1; predictor <= 2; predictor++)
		{
			plan_tiff(&plan, PHOTOMETRIC_RGB, predictor == 2 ? 16 : 8, 3, 0);
			plan.compression = all[i];
			plan.predictor = all[i] != COMPRESSION_NONE && all[i] != COMPRESSION_PACKBITS ? predictor : 0;
			plan.rows = 16;
			plan.big_tiff = predictor == 2;
			check_plan(&plan);
			free(plan.values);
		}
	for (size_t i = 0; i < sizeof(fax) / sizeof(fax[0]); i++)
		for (int variant = 0; variant < 8; variant++)
		{
			plan_tiff(&plan, variant & 1 ? PHOTOMETRIC_MINISWHITE : PHOTOMETRIC_MINISBLACK, 1, 1, 0);
			plan.compression = fax[i];
			plan.fill_order = variant & 2 ? FILLORDER_LSB2MSB : FILLORDER_MSB2LSB;
			plan.rows = variant & 4 ? 20 : 0;
			check_plan(&plan);
			free(plan.values);
		}
}

/* JPEG has losses: libtiff's own RGBA reader is the oracle. */
static void
test_jpeg(void **state)
{
	static const int photometrics[] = {PHOTOMETRIC_YCBCR, PHOTOMETRIC_RGB, PHOTOMETRIC_MINISBLACK};

	(void) state;
	for (int i = 0; i < 6; i++)
	{
		tiff_plan	plan;
		file_bytes	file;
		memory_file f;
		TIFF	   *tif;
		uint32_t   *raster;
		dsv_pixels	want;
		dsv_pixels	got;
		dsv_error	err;

		plan_tiff(&plan, photometrics[i / 2], 8, i / 2 == 2 ? 1 : 3, 0);
		plan.compression = COMPRESSION_JPEG;
		plan.tile = i % 2 ? 32 : 0;
		plan.rows = 16;
		file = write_tiff(&plan, 1);
		f = (memory_file) {file, 0};
		tif = memory_tiff(&f, "r");
		raster = malloc((size_t) plan.width * plan.height * 4);
		want = (dsv_pixels) {malloc((size_t) plan.width * plan.height * 3), plan.width, plan.height};
		assert_int_equal(TIFFReadRGBAImageOriented(tif, (uint32_t) plan.width, (uint32_t) plan.height, raster,
												   ORIENTATION_TOPLEFT, 1), 1);
		TIFFClose(tif);
		for (int p = 0; p < plan.width * plan.height; p++)
		{
			want.rgb[3 * p] = (uint8_t) TIFFGetR(raster[p]);
			want.rgb[3 * p + 1] = (uint8_t) TIFFGetG(raster[p]);
			want.rgb[3 * p + 2] = (uint8_t) TIFFGetB(raster[p]);
		}
		if (dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &got, NULL, &err) != DSV_OK)
			fail_msg("JPEG %d: %s: %s", i, err.msg, err.detail);
		assert_same_picture("JPEG", &got, &want);
		dsv_pixels_free(&got, NULL);
		free(want.rgb);
		free(raster);
		free(plan.values);
		free(file.data);
	}
}

/* Some programs wrote the palette's 8 bits without scaling them. */
static void
test_narrow_palette(void **state)
{
	tiff_plan	plan;
	file_bytes	file;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_PALETTE, 8, 1, 0);
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 256; i++)
			plan.map[c][i] >>= 8;
	file = write_tiff(&plan, 1);
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 256; i++)
			plan.map[c][i] = (uint16_t) (plan.map[c][i] << 8);
	check_file(&file, &plan, 0);
	free(file.data);
	free(plan.values);
}

/* ---- orientation and pages ---- */

static void
test_orientation(void **state)
{
	tiff_plan	plan;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_RGB, 8, 3, 0);
	for (int orientation = 1; orientation <= 8; orientation++)
	{
		file_bytes	file;
		dsv_image_info info;
		dsv_pixels	stored = expected_picture(&plan, false);
		dsv_pixels	seen;
		dsv_error	err;

		plan.orientation = orientation;
		file = write_tiff(&plan, 1);
		check_file(&file, &plan, 0);	/* as stored, and in reference mode */
		assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_OK);
		assert_int_equal(info.orientation, orientation);
		assert_int_equal(info.width, plan.width);
		assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &seen, &info, &err), DSV_OK);
		assert_int_equal(dsv_pixels_orient(&stored, orientation, NULL, NULL, &err), DSV_OK);
		assert_same_picture("upright", &seen, &stored);
		dsv_pixels_free(&seen, NULL);
		dsv_pixels_free(&stored, NULL);
		free(file.data);
	}
	free(plan.values);
}

static void
plan_pages(tiff_plan plans[3])
{
	plan_tiff(&plans[0], PHOTOMETRIC_MINISWHITE, 1, 1, 0);
	plans[0].compression = COMPRESSION_CCITTFAX4;
	plan_tiff(&plans[1], PHOTOMETRIC_RGB, 8, 3, 0);
	plans[1].compression = COMPRESSION_LZW;
	plans[1].width = 40;
	plan_tiff(&plans[2], PHOTOMETRIC_MINISBLACK, 8, 1, 0);
	plans[2].orientation = 6;
	plans[2].tile = 16;
}

static void
free_pages(tiff_plan plans[3])
{
	for (int i = 0; i < 3; i++)
		free(plans[i].values);
}

static void
test_pages(void **state)
{
	tiff_plan	plans[3];
	file_bytes	file;
	dsv_image_info info;
	dsv_image_options options = {0};
	dsv_pixels	out;
	dsv_error	err;

	(void) state;
	plan_pages(plans);
	file = write_tiff(plans, 3);
	for (int page = 1; page <= 3; page++)
	{
		check_file(&file, &plans[page - 1], page);
		options.page = page;
		assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_OK);
		assert_int_equal(info.width, plans[page - 1].width);
		assert_int_equal(info.orientation, page == 3 ? 6 : 1);
		assert_int_equal(info.pages, 3);
	}
	/* a look at the file shows the first; pixels of "the" image there are none */
	assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_OK);
	assert_int_equal(info.width, plans[0].width);
	assert_int_equal(info.pages, 3);
	assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "the image has 3 pages");
	assert_non_null(strstr(err.hint, "vl_pages(image)"));
	assert_null(out.rgb);
	options.page = 4;
	assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "page 4 was asked for, but the image has 3 pages");
	free(file.data);
	free_pages(plans);
}

/* A thumbnail or a mask beside a picture does not make it a document. */
static void
test_subfiles(void **state)
{
	tiff_plan	plans[3];
	file_bytes	file;
	dsv_image_info info;
	dsv_error	err;

	(void) state;
	plan_pages(plans);
	plans[0].subfile = FILETYPE_REDUCEDIMAGE;
	plans[2].subfile = FILETYPE_MASK;
	file = write_tiff(plans, 3);
	assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_OK);
	assert_int_equal(info.pages, 1);
	assert_int_equal(info.width, plans[1].width);
	check_file(&file, &plans[1], 0);
	free(file.data);
	/* nothing but thumbnails: the first is the picture */
	file = write_tiff(plans, 1);
	check_file(&file, &plans[0], 0);
	free(file.data);
	free_pages(plans);
}

/* Where the offset of the next directory stands */
static uint8_t *
next_offset(const file_bytes *file, size_t directory)
{
	return file->data + directory + 2 + 12 * (file->data[directory] | (size_t) file->data[directory + 1] << 8);
}

/* A chain that breaks off or bites its tail: the first page is whole, but who knows what is missing? */
static void
test_broken_chain(void **state)
{
	tiff_plan	plans[3];
	file_bytes	file;
	dsv_image_options options = {.page = 1};
	dsv_image_info info;
	dsv_error	err;
	uint8_t    *next;
	uint32_t	bad[4];

	(void) state;
	plan_pages(plans);
	file = write_tiff(plans, 3);
	next = next_offset(&file, first_directory(&file));
	for (int i = 0; i < 2; i++)
		next = next_offset(&file, get_le32(next));
	assert_int_equal(get_le32(next), 0);
	bad[0] = (uint32_t) file.len;
	bad[1] = 0xFFFFFFF0u;
	bad[2] = (uint32_t) first_directory(&file);
	bad[3] = 8;					/* pixels */
	for (int i = 0; i < 4; i++)
	{
		put_le32(next, bad[i]);
		assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE);
		assert_string_equal(err.msg, "could not decode TIFF image");
		assert_true(err.detail[0] != '\0');
	}
	free(file.data);
	free_pages(plans);
}

/* Directories of one tag each that share everything: the cheapest way to be long */
static void
test_too_many_pages(void **state)
{
	tiff_plan	plan;
	file_bytes	one;
	file_bytes	file;
	dsv_image_info info;
	dsv_error	err;
	size_t		size;
	size_t		n = 10001;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_MINISBLACK, 8, 1, 0);
	one = write_tiff(&plan, 1);
	size = (size_t) (next_offset(&one, first_directory(&one)) + 4 - (one.data + first_directory(&one)));
	file.len = one.len + n * size;
	file.data = malloc(file.len);
	memcpy(file.data, one.data, one.len);
	for (size_t i = 0; i < n; i++)
	{
		size_t		at = one.len + i * size;

		memcpy(file.data + at, one.data + first_directory(&one), size);
		put_le32(file.data + at + size - 4, i + 1 < n ? (uint32_t) (at + size) : 0);
	}
	put_le32(next_offset(&file, first_directory(&file)), (uint32_t) one.len);
	assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_LIMIT);
	assert_string_equal(err.msg, "TIFF image has more than 10000 pages");
	free(file.data);
	free(one.data);
	free(plan.values);
}

/* ---- what is refused ---- */

static void
assert_refused(const file_bytes *file, dsv_code code, const char *msg)
{
	counting_mem c;
	dsv_pixels	out;
	dsv_error	err;

	counting_start(&c, 0);
	assert_int_equal(dsv_image_decode(file->data, file->len, NULL, NULL, &c.mem, &out, NULL, &err), code);
	assert_string_equal(err.msg, msg);
	assert_int_equal(c.live, 0);
	assert_true(c.largest < 65536);
}

static void
test_refused(void **state)
{
	static const struct
	{
		int			tag;
		uint32_t	value;
		dsv_code	code;
		const char *msg;
	}			cases[] = {
		{TIFFTAG_COMPRESSION, COMPRESSION_OJPEG, DSV_IMAGE,
		"TIFF image has an unsupported compression scheme: 6"},
		{TIFFTAG_COMPRESSION, COMPRESSION_CCITTRLEW, DSV_IMAGE,
		"TIFF image has an unsupported compression scheme: 32771"},
		{TIFFTAG_COMPRESSION, COMPRESSION_ZSTD, DSV_IMAGE,
		"TIFF image has an unsupported compression scheme: 50000"},
		{TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_CIELAB, DSV_IMAGE,
		"TIFF image has an unsupported photometric interpretation: 8"},
		{TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB, DSV_IMAGE,
		"TIFF image has an unsupported number of samples a pixel: 1"},
		{TIFFTAG_BITSPERSAMPLE, 12, DSV_IMAGE, "TIFF image has an unsupported number of bits a sample: 12"},
		{TIFFTAG_IMAGELENGTH, 65535, DSV_IMAGE_SIZE,
		"image is 83 x 65535 pixels, at most 65500 a side are allowed"},
		{TIFFTAG_IMAGELENGTH, 0, DSV_IMAGE, "could not decode TIFF image"},
	};
	tiff_plan	plan;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_MINISBLACK, 8, 1, 0);
	plan.rows = plan.height;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		file_bytes	file = write_tiff(&plan, 1);

		put_le32(tag_value(&file, first_directory(&file), cases[i].tag), cases[i].value);
		assert_refused(&file, cases[i].code, cases[i].msg);
		free(file.data);
	}
	free(plan.values);
}

static void
test_limits(void **state)
{
	dsv_image_options options = {.max_pixels = 83 * 69 - 1};
	dsv_image_info info;
	dsv_error	err;
	tiff_plan	plan;
	file_bytes	file;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_MINISBLACK, 8, 1, 0);
	plan.tile = 32;
	file = write_tiff(&plan, 1);
	assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE_SIZE);
	assert_string_equal(err.msg, "image has 5727 pixels, at most 5726 are allowed");
	options = (dsv_image_options) {.max_bytes = file.len - 1};
	assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE_SIZE);
	/* tiles that are larger than any picture: written so that there is one in the file */
	put_le32(tag_value(&file, first_directory(&file), TIFFTAG_TILEWIDTH), 1 << 15);
	put_le32(tag_value(&file, first_directory(&file), TIFFTAG_TILELENGTH), 1 << 15);
	{
		dsv_pixels	out;
		counting_mem c;
		dsv_code	code;

		counting_start(&c, 0);
		code = dsv_image_decode(file.data, file.len, NULL, NULL, &c.mem, &out, NULL, &err);
		assert_int_equal(code, DSV_IMAGE_SIZE);
		assert_string_equal(err.msg, "TIFF image has tiles of 1073741824 bytes, at most 67108864 are allowed");
		assert_int_equal(c.live, 0);
		assert_true(c.largest < 65536);
	}
	free(file.data);
	free(plan.values);
}

/* ---- damage ---- */

/* Small files whose directory stands in front, so that every cut takes pixels away */
static file_bytes
small_file(int i)
{
	static const struct
	{
		int			photometric;
		int			bits;
		int			samples;
		int			compression;
	}			files[] = {
		{PHOTOMETRIC_MINISBLACK, 8, 1, COMPRESSION_NONE},
		{PHOTOMETRIC_RGB, 8, 3, COMPRESSION_LZW},
		{PHOTOMETRIC_RGB, 16, 4, COMPRESSION_ADOBE_DEFLATE},
		{PHOTOMETRIC_PALETTE, 4, 1, COMPRESSION_PACKBITS},
		{PHOTOMETRIC_MINISWHITE, 1, 1, COMPRESSION_CCITTFAX4},
		{PHOTOMETRIC_MINISWHITE, 1, 1, COMPRESSION_CCITTFAX3},
		{PHOTOMETRIC_YCBCR, 8, 3, COMPRESSION_JPEG},
	};
	tiff_plan	plan;
	file_bytes	written;
	file_bytes	file;

	if (i >= (int) (sizeof(files) / sizeof(files[0])))
		return (file_bytes) {NULL, 0};
	plan_tiff(&plan, files[i].photometric, files[i].bits, files[i].samples, EXTRASAMPLE_UNASSALPHA);
	plan.compression = files[i].compression;
	plan.width = 19;
	plan.height = 16;
	written = write_tiff(&plan, 1);
	file = directory_first(&written);
	free(written.data);
	free(plan.values);
	return file;
}

static void
test_truncated_everywhere(void **state)
{
	file_bytes	file;

	(void) state;
	for (int i = 0; (file = small_file(i)).data != NULL; i++)
	{
		/* end codes may be missing */
		assert_true(check_truncations(&file, NULL, 1) <= 8);
		free(file.data);
	}
}

/* The file is whole, but a strip says that it is shorter: libtiff would paint the rest grey. */
static void
test_short_jpeg_strip(void **state)
{
	tiff_plan	plan;
	file_bytes	file;
	uint8_t    *count;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_YCBCR, 8, 3, 0);
	plan.compression = COMPRESSION_JPEG;
	plan.height = 64;
	file = write_tiff(&plan, 1);
	count = tag_value(&file, first_directory(&file), TIFFTAG_STRIPBYTECOUNTS);
	assert_int_equal(check_any(file.data, file.len, NULL), DSV_OK);
	for (int cut = 16; cut < 2000; cut += 97)
	{
		put_le32(count, get_le32(count) - 97);
		assert_int_equal(check_any(file.data, file.len, NULL), DSV_IMAGE);
	}
	free(file.data);
	free(plan.values);
}

static void
test_every_byte_flipped(void **state)
{
	file_bytes	file;

	(void) state;
	for (int i = 0; (file = small_file(i)).data != NULL; i++)
	{
		check_flips(&file, 1);
		free(file.data);
	}
}

static void
test_every_allocation_failed(void **state)
{
	tiff_plan	plan;

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_RGB, 8, 3, 0);
	for (int variant = 0; variant < 4; variant++)
	{
		file_bytes	file;

		plan.tile = variant & 1 ? 32 : 0;
		plan.planar = variant >= 2;
		plan.orientation = 6;
		file = write_tiff(&plan, 1);
		check_allocations(&file, NULL);
		free(file.data);
	}
	free(plan.values);
}

static void
test_canceled(void **state)
{
	tiff_plan	plans[3];
	tiff_plan	plan;
	file_bytes	file;
	dsv_image_options options = {.page = 3};

	(void) state;
	plan_tiff(&plan, PHOTOMETRIC_RGB, 8, 3, 0);
	plan.height = 69;
	for (int variant = 0; variant < 4; variant++)
	{
		plan.tile = variant & 1 ? 32 : 0;
		plan.planar = variant >= 2;
		file = write_tiff(&plan, 1);
		check_canceled(&file, NULL, (variant & 1 ? 8 : 1) * (plan.planar ? 3 : 1));
		free(file.data);
	}
	free(plan.values);
	plan_pages(plans);
	file = write_tiff(plans, 3);
	check_canceled(&file, &options, 2);
	free(file.data);
	free_pages(plans);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_compressions),
		cmocka_unit_test(test_jpeg),
		cmocka_unit_test(test_narrow_palette),
		cmocka_unit_test(test_orientation),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_subfiles),
		cmocka_unit_test(test_broken_chain),
		cmocka_unit_test(test_too_many_pages),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_truncated_everywhere),
		cmocka_unit_test(test_short_jpeg_strip),
		cmocka_unit_test(test_every_byte_flipped),
		cmocka_unit_test(test_every_allocation_failed),
		cmocka_unit_test(test_canceled),
	};

	TIFFSetErrorHandler(NULL);
	TIFFSetWarningHandler(NULL);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("image_tiff", tests, NULL, NULL);
}
