/*
 * test_image.c
 *		Decoding against Pillow's pixels and against pictures made here, and what happens to
 *		everything that is not a picture.
 */
#include "image_util.h"

#include <jpeglib.h>
#include <math.h>
#include <png.h>

#define DECODE "test/golden/preprocess/decode/"

/* ---- making files ---- */

/* What a PNG of the tests holds; samples are 16 bits wide whatever the depth. */
typedef struct png_plan
{
	int			color_type;
	int			depth;
	bool		interlaced;
	bool		trns;
	int			width;
	int			height;
	int			channels;
	uint16_t   *samples;		/* [height, width, channels] */
	png_color	palette[256];
	int			colors;
	png_byte	palette_alpha[256];
	uint16_t	key[3];			/* the transparent colour */
} png_plan;

static void
append_bytes(png_structp png, png_bytep data, size_t n)
{
	file_bytes *out = png_get_io_ptr(png);

	out->data = realloc(out->data, out->len + n);
	memcpy(out->data + out->len, data, n);
	out->len += n;
}

static void
put_row(const png_plan *plan, int y, uint8_t *row)
{
	int			n = plan->width * plan->channels;

	memset(row, 0, (size_t) n * 2);
	for (int i = 0; i < n; i++)
	{
		unsigned	v = plan->samples[(size_t) y * n + i];

		if (plan->depth == 16)
		{
			row[2 * i] = (uint8_t) (v >> 8);
			row[2 * i + 1] = (uint8_t) v;
		}
		else
			row[i * plan->depth / 8] |= (uint8_t) (v << (8 - plan->depth - i * plan->depth % 8));
	}
}

static file_bytes
write_png(const png_plan *plan)
{
	file_bytes	out = {NULL, 0};
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop	info = png_create_info_struct(png);
	uint8_t    *rows = malloc((size_t) plan->height * plan->width * plan->channels * 2);
	png_bytep  *at = malloc((size_t) plan->height * sizeof(png_bytep));
	png_color_16 key = {0, plan->key[0], plan->key[1], plan->key[2], plan->key[0]};

	png_set_write_fn(png, &out, append_bytes, NULL);
	png_set_check_for_invalid_index(png, 0);
	png_set_IHDR(png, info, (png_uint_32) plan->width, (png_uint_32) plan->height, plan->depth,
				 plan->color_type, plan->interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
				 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	if (plan->colors > 0)
		png_set_PLTE(png, info, plan->palette, plan->colors);
	if (plan->trns)
		png_set_tRNS(png, info, plan->palette_alpha, plan->colors, &key);
	for (int y = 0; y < plan->height; y++)
	{
		at[y] = rows + (size_t) y * plan->width * plan->channels * 2;
		put_row(plan, y, at[y]);
	}
	png_set_rows(png, info, at);
	png_write_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
	png_destroy_write_struct(&png, &info);
	free(rows);
	free(at);
	return out;
}

static void
plan_png(png_plan *plan, int color_type, int depth, bool interlaced, bool trns)
{
	uint32_t	state = (uint32_t) (color_type * 100 + depth * 4 + interlaced * 2 + trns);
	size_t		n;

	memset(plan, 0, sizeof(*plan));
	plan->color_type = color_type;
	plan->depth = depth;
	plan->interlaced = interlaced;
	plan->trns = trns;
	plan->width = 83;
	plan->height = 69;
	plan->channels = color_type == PNG_COLOR_TYPE_PALETTE ? 1 :
		(color_type & PNG_COLOR_MASK_COLOR ? 3 : 1) + (color_type & PNG_COLOR_MASK_ALPHA ? 1 : 0);
	n = (size_t) plan->width * plan->height * plan->channels;
	plan->samples = malloc(n * sizeof(uint16_t));
	for (size_t i = 0; i < n; i++)
		plan->samples[i] = (uint16_t) (noise(&state) & ((1u << depth) - 1));
	/* 16-bit grey must cross 255 often enough to show the clipping */
	if (depth == 16)
		for (size_t i = 0; i < n; i += 5)
			plan->samples[i] &= 0x1FF;
	for (int c = 0; c < 3; c++)
		plan->key[c] = plan->samples[c % plan->channels];
	if (color_type == PNG_COLOR_TYPE_PALETTE)
	{
		plan->colors = 1 << depth;
		for (int i = 0; i < plan->colors; i++)
		{
			plan->palette[i] = (png_color) {(png_byte) noise(&state), (png_byte) noise(&state),
				(png_byte) noise(&state)};
			plan->palette_alpha[i] = (png_byte) noise(&state);
		}
	}
}

/* What the file must become, by the definitions and in floating point. */
static void
expected_pixel(const png_plan *plan, const uint16_t *s, bool reference, uint8_t rgb[3])
{
	double		most = (1 << plan->depth) - 1;
	double		alpha = 1.0;
	bool		is_key = plan->trns && plan->colors == 0;

	for (int c = 0; c < (plan->channels < 3 ? 1 : 3); c++)
		is_key = is_key && s[c] == plan->key[c];
	if (plan->color_type & PNG_COLOR_MASK_ALPHA)
		alpha = plan->depth == 16 ? round(s[plan->channels - 1] * 255.0 / 65535.0) / 255.0 :
			s[plan->channels - 1] / most;
	else if (plan->trns)
		alpha = plan->colors > 0 ? plan->palette_alpha[s[0]] / 255.0 : is_key ? 0.0 : 1.0;
	for (int c = 0; c < 3; c++)
	{
		unsigned	v = s[plan->channels < 3 ? 0 : c];

		if (plan->colors > 0)
			v = c == 0 ? plan->palette[s[0]].red : c == 1 ? plan->palette[s[0]].green :
				plan->palette[s[0]].blue;
		else if (plan->depth == 16 && reference)
			v = plan->channels > 1 ? v >> 8 : v > 255 ? 255 : v;
		else
			v = (unsigned) round(v * 255.0 / most);
		rgb[c] = (uint8_t) (reference ? v : floor(v * alpha + 255.0 * (1.0 - alpha) + 0.5));
	}
}

static dsv_pixels
expected_picture(const png_plan *plan, bool reference)
{
	dsv_pixels	p = {malloc((size_t) plan->width * plan->height * 3), plan->width, plan->height};

	for (size_t i = 0; i < (size_t) plan->width * plan->height; i++)
		expected_pixel(plan, plan->samples + i * plan->channels, reference, p.rgb + 3 * i);
	return p;
}

/* Noise as a JPEG; spectral: every coefficient of every component is a scan of its own. */
static file_bytes
write_jpeg(int width, int height, bool spectral)
{
	struct jpeg_compress_struct cinfo;
	struct jpeg_error_mgr errors;
	jpeg_scan_info scans[1 + 3 * 63] = {{3, {0, 1, 2}, 0, 0, 0, 0}};
	int			nscans = 1;
	unsigned char *data = NULL;
	unsigned long len = 0;
	JSAMPLE    *row = malloc((size_t) width * 3);
	uint32_t	state = 7;

	cinfo.err = jpeg_std_error(&errors);
	jpeg_create_compress(&cinfo);
	jpeg_mem_dest(&cinfo, &data, &len);
	cinfo.image_width = (JDIMENSION) width;
	cinfo.image_height = (JDIMENSION) height;
	cinfo.input_components = 3;
	cinfo.in_color_space = JCS_RGB;
	jpeg_set_defaults(&cinfo);
	if (spectral)
	{
		for (int c = 0; c < 3; c++)
			for (int k = 1; k < 64; k++)
				scans[nscans++] = (jpeg_scan_info) {1, {c}, k, k, 0, 0};
		cinfo.scan_info = scans;
		cinfo.num_scans = nscans;
	}
	jpeg_start_compress(&cinfo, TRUE);
	for (int y = 0; y < height; y++)
	{
		for (int i = 0; i < width * 3; i++)
			row[i] = (JSAMPLE) noise(&state);
		jpeg_write_scanlines(&cinfo, &row, 1);
	}
	jpeg_finish_compress(&cinfo);
	jpeg_destroy_compress(&cinfo);
	free(row);
	return (file_bytes) {data, len};
}

static uint32_t
crc32_of(const uint8_t *p, size_t n)
{
	uint32_t	crc = 0xFFFFFFFFu;

	for (size_t i = 0; i < n; i++)
	{
		crc ^= p[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
	}
	return ~crc;
}

static void
put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t) (v >> (24 - 8 * i));
}

/* States other sides in a PNG's header, checksum included. */
static void
patch_png_size(file_bytes *file, uint32_t width, uint32_t height)
{
	put_be32(file->data + 16, width);
	put_be32(file->data + 20, height);
	put_be32(file->data + 29, crc32_of(file->data + 12, 17));
}

/* Puts a chunk into a PNG file; at = 33: right behind the header. */
static void
insert_chunk(file_bytes *file, size_t at, const char *type, const void *data, size_t n)
{
	uint8_t    *chunk;

	file->data = realloc(file->data, file->len + 12 + n);
	chunk = file->data + at;
	memmove(chunk + 12 + n, chunk, file->len - at);
	put_be32(chunk, (uint32_t) n);
	memcpy(chunk + 4, type, 4);
	memcpy(chunk + 8, data, n);
	put_be32(chunk + 8 + n, crc32_of(chunk + 4, 4 + n));
	file->len += 12 + n;
}

static uint8_t *
find(const file_bytes *file, const char *bytes, size_t n)
{
	for (size_t i = 0; i + n <= file->len; i++)
	{
		if (memcmp(file->data + i, bytes, n) == 0)
			return file->data + i;
	}
	fail_msg("bytes not found");
	return NULL;
}

/* ---- goldens ---- */

static void
test_reference_decode(void **state)
{
	json_t	   *index = load_index(DECODE "index.json");
	json_t	   *row;
	size_t		i;
	int			pictures = 0;
	int			errors = 0;

	(void) state;
	json_array_foreach(index, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "file"));
		char		path[256];
		file_bytes	file;
		dsv_pixels	got;
		dsv_image_info info;
		dsv_error	err;
		dsv_code	code;

		snprintf(path, sizeof(path), DECODE "%s", name);
		file = read_file(path);
		code = dsv_image_decode(file.data, file.len, &as_reference, NULL, NULL, &got, &info, &err);
		if (json_object_get(row, "error") != NULL)
		{
			assert_int_equal(code, DSV_IMAGE);
			assert_int_equal(err.code, DSV_IMAGE);
			assert_null(got.rgb);
			errors++;
		}
		else
		{
			json_t	   *size = json_object_get(row, "size");
			dsv_pixels	want;

			if (code != DSV_OK)
				fail_msg("%s: %s: %s", name, err.msg, err.detail);
			strcat(path, ".rgb.png");
			want = load_picture(path, &as_reference);	/* some carry a tRNS */
			assert_int_equal(info.width, json_integer_value(json_array_get(size, 0)));
			assert_int_equal(info.height, json_integer_value(json_array_get(size, 1)));
			assert_int_equal(info.orientation, strcmp(name, "exif6.jpg") == 0 ? 6 : 1);
			assert_same_picture(name, &got, &want);
			dsv_pixels_free(&want, NULL);
			dsv_pixels_free(&got, NULL);
			pictures++;
		}
		free(file.data);
	}
	assert_int_equal(pictures, 21);
	assert_int_equal(errors, 4);
	json_decref(index);
}

static void
test_damage_messages(void **state)
{
	static const struct
	{
		const char *file;
		const char *msg;
	}			cases[] = {
		{"truncated.jpg", "JPEG image is truncated"},
		{"truncated.png", "PNG image is truncated"},
		{"empty.jpg", "image is empty"},
		{"text.jpg", "image is neither JPEG, PNG, TIFF, WebP nor PDF"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		path[256];
		file_bytes	file;
		dsv_pixels	out;
		dsv_error	err;

		snprintf(path, sizeof(path), DECODE "%s", cases[i].file);
		file = read_file(path);
		assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, &err),
						 DSV_IMAGE);
		assert_string_equal(err.msg, cases[i].msg);
		assert_true(err.detail[0] != '\0');
		/* nobody has to ask for the words */
		assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, NULL),
						 DSV_IMAGE);
		free(file.data);
	}
}

static void
test_probe(void **state)
{
	static const struct
	{
		const char *file;
		dsv_image_info info;
	}			cases[] = {
		{"exif6.jpg", {DSV_IMAGE_JPEG, 203, 149, 6, 1}},
		{"progressive.jpg", {DSV_IMAGE_JPEG, 203, 149, 1, 1}},
		{"cmyk.jpg", {DSV_IMAGE_JPEG, 203, 149, 1, 1}},
		{"truncated.jpg", {DSV_IMAGE_JPEG, 203, 149, 1, 1}},	/* its header is whole */
		{"gray16.png", {DSV_IMAGE_PNG, 61, 43, 1, 1}},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		path[256];
		file_bytes	file;
		dsv_image_info info;
		dsv_error	err;

		snprintf(path, sizeof(path), DECODE "%s", cases[i].file);
		file = read_file(path);
		assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_OK);
		assert_memory_equal(&info, &cases[i].info, sizeof(info));
		free(file.data);
	}
	assert_string_equal(dsv_image_format_name(DSV_IMAGE_JPEG), "jpeg");
	assert_string_equal(dsv_image_format_name(DSV_IMAGE_PNG), "png");
	assert_string_equal(dsv_image_format_name(DSV_IMAGE_TIFF), "tiff");
	assert_string_equal(dsv_image_format_name(DSV_IMAGE_WEBP), "webp");
	assert_string_equal(dsv_image_format_name(DSV_IMAGE_PDF), "pdf");
	assert_string_equal(dsv_image_format_name(DSV_IMAGE_UNKNOWN), "unknown");
}

/* Files without pages are their own page 1. */
static void
test_page(void **state)
{
	static const char *const files[] = {DECODE "420.jpg", DECODE "rgb.png"};
	dsv_image_options options = {.page = 2};

	(void) state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
	{
		file_bytes	file = read_file(files[i]);
		dsv_image_info info;
		dsv_pixels	out;
		dsv_error	err;

		options.page = 1;
		assert_int_equal(dsv_image_decode(file.data, file.len, &options, NULL, NULL, &out, &info, &err), DSV_OK);
		assert_int_equal(info.pages, 1);
		dsv_pixels_free(&out, NULL);
		options.page = 2;
		assert_int_equal(dsv_image_probe(file.data, file.len, &options, NULL, &info, &err), DSV_IMAGE);
		assert_string_equal(err.msg, "page 2 was asked for, but the image has 1 page");
		assert_int_equal(dsv_image_decode(file.data, file.len, &options, NULL, NULL, &out, &info, &err), DSV_IMAGE);
		free(file.data);
	}
}

/* ---- orientation ---- */

/* Where a stored pixel is seen: EXIF names the sides on which row 0 and column 0 show. */
static void
seen_at(int orientation, int w, int h, int x, int y, int *sx, int *sy)
{
	switch (orientation)
	{
		case 2: *sx = w - 1 - x; *sy = y; break;			/* top, right */
		case 3: *sx = w - 1 - x; *sy = h - 1 - y; break;	/* bottom, right */
		case 4: *sx = x; *sy = h - 1 - y; break;			/* bottom, left */
		case 5: *sx = y; *sy = x; break;					/* left, top */
		case 6: *sx = h - 1 - y; *sy = x; break;			/* right, top */
		case 7: *sx = h - 1 - y; *sy = w - 1 - x; break;	/* right, bottom */
		case 8: *sx = y; *sy = w - 1 - x; break;			/* left, bottom */
		default: *sx = x; *sy = y; break;
	}
}

static void
assert_oriented(const dsv_pixels *stored, int orientation, const dsv_pixels *seen)
{
	bool		turned = orientation >= 5 && orientation <= 8;

	assert_int_equal(seen->width, turned ? stored->height : stored->width);
	assert_int_equal(seen->height, turned ? stored->width : stored->height);
	for (int y = 0; y < stored->height; y++)
	{
		for (int x = 0; x < stored->width; x++)
		{
			int			sx;
			int			sy;

			seen_at(orientation, stored->width, stored->height, x, y, &sx, &sy);
			assert_memory_equal(seen->rgb + ((size_t) sy * seen->width + sx) * 3,
								stored->rgb + ((size_t) y * stored->width + x) * 3, 3);
		}
	}
}

static void
check_orientation(const file_bytes *file, int value)
{
	dsv_image_options ignore = {.ignore_exif = true};
	dsv_pixels	stored;
	dsv_pixels	seen;
	dsv_pixels	reference;
	dsv_image_info info;
	dsv_error	err;
	int			orientation = value >= 1 && value <= 8 ? value : 1;

	assert_int_equal(dsv_image_decode(file->data, file->len, &ignore, NULL, NULL, &stored, &info,
									  &err), DSV_OK);
	assert_int_equal(info.orientation, orientation);
	assert_int_equal(dsv_image_decode(file->data, file->len, &as_reference, NULL, NULL, &reference,
									  &info, &err), DSV_OK);
	assert_same_picture("reference", &reference, &stored);
	assert_int_equal(dsv_image_decode(file->data, file->len, NULL, NULL, NULL, &seen, &info, &err),
					 DSV_OK);
	assert_int_equal(info.orientation, orientation);
	assert_int_equal(info.width, stored.width);
	assert_int_equal(info.height, stored.height);
	assert_oriented(&stored, orientation, &seen);
	dsv_pixels_free(&stored, NULL);
	dsv_pixels_free(&seen, NULL);
	dsv_pixels_free(&reference, NULL);
}

static void
test_jpeg_orientation(void **state)
{
	file_bytes	file = read_file(DECODE "exif6.jpg");
	uint8_t    *value = NULL;

	(void) state;
	for (size_t i = 0; i + 12 < 200; i++)
	{
		if (memcmp(file.data + i, "\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06", 10) == 0)
			value = file.data + i + 9;
		else if (memcmp(file.data + i, "\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00", 10) == 0)
			value = file.data + i + 8;
	}
	assert_non_null(value);
	for (int orientation = 0; orientation <= 9; orientation++)
	{
		*value = (uint8_t) orientation;
		check_orientation(&file, orientation);
	}
	free(file.data);
}

static const uint8_t exif_little[] = "II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\5\0\0\0\0\0\0\0";
static const uint8_t exif_big[] = "MM\0*\0\0\0\10\0\2\1\0\0\3\0\0\0\1\0\7\0\0"
	"\1\x12\0\4\0\0\0\1\0\0\0\7\0\0\0\0";

static void
test_png_orientation(void **state)
{
	png_plan	plan;
	file_bytes	plain;
	file_bytes	file;

	(void) state;
	plan_png(&plan, PNG_COLOR_TYPE_RGB, 8, false, false);
	plain = write_png(&plan);
	for (int i = 0; i < 3; i++)
	{
		file.len = plain.len;
		file.data = malloc(plain.len);
		memcpy(file.data, plain.data, plain.len);
		if (i == 0)
			insert_chunk(&file, 33, "eXIf", exif_big, sizeof(exif_big) - 1);
		else if (i == 1)
			insert_chunk(&file, 33, "eXIf", exif_little, sizeof(exif_little) - 1);
		else					/* behind the pixels, where it may stand as well */
			insert_chunk(&file, file.len - 12, "eXIf", exif_little, sizeof(exif_little) - 1);
		check_orientation(&file, i == 0 ? 7 : 5);
		free(file.data);
	}
	free(plain.data);
	free(plan.samples);
}

/* ---- PNG, all kinds ---- */

static void
test_png_kinds(void **state)
{
	static const struct
	{
		int			color_type;
		int			depths[5];
	}			kinds[] = {
		{PNG_COLOR_TYPE_GRAY, {1, 2, 4, 8, 16}},
		{PNG_COLOR_TYPE_RGB, {8, 16}},
		{PNG_COLOR_TYPE_PALETTE, {1, 2, 4, 8}},
		{PNG_COLOR_TYPE_GRAY_ALPHA, {8, 16}},
		{PNG_COLOR_TYPE_RGB_ALPHA, {8, 16}},
	};

	(void) state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
	{
		for (int d = 0; d < 5 && kinds[k].depths[d] > 0; d++)
		{
			for (int variant = 0; variant < 4; variant++)
			{
				bool		trns = (variant & 2) != 0;
				png_plan	plan;
				file_bytes	file;

				if (trns && (kinds[k].color_type & PNG_COLOR_MASK_ALPHA))
					continue;
				plan_png(&plan, kinds[k].color_type, kinds[k].depths[d], variant & 1, trns);
				file = write_png(&plan);
				for (int reference = 0; reference <= 1; reference++)
				{
					dsv_image_options options = {.reference_decode = reference};
					dsv_pixels	want = expected_picture(&plan, reference);
					dsv_pixels	got;
					dsv_error	err;
					char		what[64];

					snprintf(what, sizeof(what), "type %d depth %d variant %d reference %d",
							 plan.color_type, plan.depth, variant, reference);
					if (dsv_image_decode(file.data, file.len, &options, NULL, NULL, &got, NULL,
										 &err) != DSV_OK)
						fail_msg("%s: %s: %s", what, err.msg, err.detail);
					assert_same_picture(what, &got, &want);
					free(want.rgb);
					dsv_pixels_free(&got, NULL);
				}
				free(file.data);
				free(plan.samples);
			}
		}
	}
}

/* A palette index without a colour is black, as in Pillow; what nobody needs is skipped at
 * any size. */
static void
test_png_oddities(void **state)
{
	png_plan	plan;
	file_bytes	file;
	void	   *zeros;
	dsv_pixels	out;
	size_t		extra = 12 << 20;
	dsv_error	err;

	(void) state;
	plan_png(&plan, PNG_COLOR_TYPE_PALETTE, 4, false, false);
	plan.samples[0] = 9;
	plan.colors = 9;
	file = write_png(&plan);
	assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, &err),
					 DSV_OK);
	assert_memory_equal(out.rgb, "\0\0\0", 3);
	dsv_pixels_free(&out, NULL);

	zeros = calloc(1, extra);
	insert_chunk(&file, 33, "prVt", zeros, extra);
	free(zeros);
	assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &out, NULL, &err),
					 DSV_OK);
	assert_int_equal(out.width, plan.width);
	dsv_pixels_free(&out, NULL);
	free(file.data);
	free(plan.samples);
}

/* ---- limits ---- */

static void
assert_too_large(const file_bytes *file, const dsv_image_options *options, const char *msg)
{
	counting_mem c;
	dsv_pixels	out;
	dsv_image_info info;
	dsv_error	err;

	counting_start(&c, 0);
	assert_int_equal(dsv_image_decode(file->data, file->len, options, NULL, &c.mem, &out, NULL,
									  &err), DSV_IMAGE_SIZE);
	assert_string_equal(err.msg, msg);
	assert_int_equal(c.live, 0);
	assert_true(c.largest < 65536);
	assert_int_equal(dsv_image_probe(file->data, file->len, options, NULL, &info, &err), DSV_IMAGE_SIZE);
	assert_string_equal(err.msg, msg);
}

static void
test_limits(void **state)
{
	file_bytes	png = read_file(DECODE "rgb.png");
	file_bytes	jpeg = read_file(DECODE "420.jpg");
	dsv_image_options options = {0};
	uint8_t    *sof = find(&jpeg, "\xFF\xC0", 2);
	dsv_pixels	out;
	dsv_error	err;

	(void) state;
	options.max_bytes = png.len;
	options.max_pixels = 61 * 43;
	assert_int_equal(dsv_image_decode(png.data, png.len, &options, NULL, NULL, &out, NULL, &err),
					 DSV_OK);
	dsv_pixels_free(&out, NULL);
	options.max_pixels--;
	assert_too_large(&png, &options, "image has 2623 pixels, at most 2622 are allowed");
	options.max_bytes = 4386;
	assert_too_large(&png, &options, "image is 4387 bytes, at most 4386 are allowed");

	patch_png_size(&png, 60000, 60000);
	assert_too_large(&png, NULL, "image has 3600000000 pixels, at most 268435456 are allowed");
	patch_png_size(&png, 65501, 1);
	assert_too_large(&png, NULL, "image is 65501 x 1 pixels, at most 65500 a side are allowed");

	/* a caller's limit cannot lift the engine's */
	options = (dsv_image_options) {.max_pixels = INT64_MAX};
	memcpy(sof + 5, "\xEA\x60\xEA\x60", 4);
	assert_too_large(&jpeg, &options, "image has 3600000000 pixels, at most 268435456 are allowed");
	memcpy(sof + 5, "\1\0\xFF\xFF", 4);
	assert_too_large(&jpeg, NULL, "image is 65535 x 256 pixels, at most 65500 a side are allowed");
	free(png.data);
	free(jpeg.data);
}

static void
test_scans(void **state)
{
	file_bytes	file = write_jpeg(16, 16, true);
	counting_mem c;
	dsv_pixels	out;
	dsv_image_info info;
	dsv_error	err;

	(void) state;
	counting_start(&c, 0);
	assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, &c.mem, &out, &info, &err),
					 DSV_IMAGE_SIZE);
	assert_string_equal(err.msg, "JPEG image has more than 100 scans");
	assert_int_equal(c.live, 0);
	free(file.data);
}

/* ---- foreign formats ---- */

static void
test_foreign(void **state)
{
	static const struct
	{
		const char *bytes;
		size_t		len;
		const char *detail;
	}			cases[] = {
		{"\0\0\0\x18" "ftypheic\0\0\0\0", 16, "The data looks like a HEIC image."},
		{"\0\0\0\x18" "ftypmif1\0\0\0\0", 16, "The data looks like a HEIC or AVIF image."},
		{"\0\0\0\x1C" "ftypavif\0\0\0\0", 16, "The data looks like an AVIF image."},
		{"\0\0\0\x1C" "ftypisom\0\0\0\0", 16, "The data looks like an MP4 or QuickTime file."},
		{"GIF89a\1\0\1\0", 10, "The data looks like a GIF image."},
		{"BM\x36\0\0\0\0\0", 8, "The data looks like a BMP image."},
		{"<!DOCTYPE html><html>", 21, "The data looks like HTML, SVG or XML text."},
		{"not found\n", 10, "The data looks like plain text."},
		{"/9j/4AAQSkZJRg", 14, "The data looks like base64 text."},
		{"\\x89504e470d0a", 14, "The data looks like hexadecimal text."},
		{"data:image/png;base64,iVBO", 26, "The data looks like a data URL."},
		{"\x89PNG\n\x1A\n", 7,
		"The data looks like a PNG image that was damaged by a conversion of line ends."},
		{"\1\2\3", 3, "The format of the data is not known."},
		{"", 0, "The data has no bytes."},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		/* exactly as long as stated, so that a sanitizer sees a byte too far */
		uint8_t    *data = malloc(cases[i].len);
		dsv_image_info info;
		dsv_error	err;

		memcpy(data, cases[i].bytes, cases[i].len);
		assert_int_equal(dsv_image_probe(data, cases[i].len, NULL, NULL, &info, &err), DSV_IMAGE);
		assert_string_equal(err.detail, cases[i].detail);
		assert_string_equal(err.msg, cases[i].len > 0 ? "image is neither JPEG, PNG, TIFF, WebP nor PDF" :
							"image is empty");
		assert_true(err.hint[0] != '\0');
		free(data);
	}
}

/* ---- hostile files ---- */

static file_bytes
small_file(int i)
{
	png_plan	plan;
	file_bytes	file;

	switch (i)
	{
		case 0:
			return read_file(DECODE "odd17x9_420.jpg");
		case 1:
			return read_file(DECODE "gray16.png");
		case 2:
			return read_file(DECODE "palette_transparent.png");
		case 3:
			return write_jpeg(9, 9, false);
		case 4:
			plan_png(&plan, PNG_COLOR_TYPE_RGB_ALPHA, 8, true, false);
			plan.width = 9;
			plan.height = 7;
			file = write_png(&plan);
			insert_chunk(&file, 33, "eXIf", exif_little, sizeof(exif_little) - 1);
			free(plan.samples);
			return file;
		case 5:
			return read_file(DECODE "exif6.jpg");
		default:
			return (file_bytes) {NULL, 0};
	}
}

static void
test_truncated_everywhere(void **state)
{
	file_bytes	file;

	(void) state;
	for (int i = 0; (file = small_file(i)).data != NULL; i++)
	{
		bool		jpeg = file.data[0] == 0xFF;

		/* only what follows the pixels of a PNG may be missing: the end chunk has 12 bytes */
		assert_int_equal(check_truncations(&file, NULL, file.len > 4000 ? 37 : 1), jpeg ? 0 : 12);
		free(file.data);
	}
}

/* Wrong checksums of what makes the picture are errors. */
static bool
is_critical_byte(const file_bytes *file, size_t at)
{
	size_t		chunk = 8;

	if (at < 8)
		return true;
	while (chunk + 12 <= file->len)
	{
		size_t		n = (size_t) file->data[chunk] << 24 | (size_t) file->data[chunk + 1] << 16 |
			(size_t) file->data[chunk + 2] << 8 | file->data[chunk + 3];

		if (at < chunk + 12 + n)
			return memcmp(file->data + chunk + 4, "IHDR", 4) == 0 ||
				memcmp(file->data + chunk + 4, "PLTE", 4) == 0 ||
				memcmp(file->data + chunk + 4, "IDAT", 4) == 0;
		chunk += 12 + n;
	}
	return false;
}

static void
test_every_byte_flipped(void **state)
{
	dsv_image_options options = {.max_pixels = 1 << 18};
	file_bytes	file;

	(void) state;
	for (int i = 0; (file = small_file(i)).data != NULL; i++)
	{
		size_t		step = file.len > 4000 ? 11 : 1;

		for (size_t at = 0; at < file.len; at += step)
		{
			for (int kind = 0; kind < 3; kind++)
			{
				static const uint8_t masks[] = {0xFF, 0x01, 0x80};
				dsv_code	code;

				file.data[at] ^= masks[kind];
				code = check_any(file.data, file.len, &options);
				file.data[at] ^= masks[kind];
				if (file.data[0] == 0x89 && is_critical_byte(&file, at))
					assert_int_not_equal(code, DSV_OK);
			}
		}
		free(file.data);
	}
}

static void
test_every_allocation_failed(void **state)
{
	file_bytes	file;

	(void) state;
	for (int i = 0; (file = small_file(i)).data != NULL; i++)
	{
		check_allocations(&file, NULL);
		free(file.data);
	}
}

static void
test_canceled(void **state)
{
	static const char *const files[] = {DECODE "420.jpg", DECODE "progressive.jpg",
		DECODE "cmyk.jpg", DECODE "exif6.jpg"};
	png_plan	plan;
	file_bytes	file;

	(void) state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
	{
		file = read_file(files[i]);
		check_canceled(&file, NULL, 149 / 64);
		free(file.data);
	}
	for (int interlaced = 0; interlaced <= 1; interlaced++)
	{
		plan_png(&plan, PNG_COLOR_TYPE_RGB, 16, interlaced, false);
		file = write_png(&plan);
		check_canceled(&file, NULL, interlaced ? 7 : 1);
		free(file.data);
		free(plan.samples);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference_decode),
		cmocka_unit_test(test_damage_messages),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_jpeg_orientation),
		cmocka_unit_test(test_png_orientation),
		cmocka_unit_test(test_png_kinds),
		cmocka_unit_test(test_png_oddities),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_scans),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_truncated_everywhere),
		cmocka_unit_test(test_every_byte_flipped),
		cmocka_unit_test(test_every_allocation_failed),
		cmocka_unit_test(test_canceled),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
