/*
 * test_image_webp.c
 *		WebP: lossless pictures against what was put in, lossy ones against libwebp's simple
 *		decoder, orientation, animations, damage.
 */
#include "image_util.h"

#include <math.h>
#include <webp/decode.h>
#include <webp/encode.h>

enum { WIDTH = 83, HEIGHT = 69 };

/* Noise in 8 x 8 blocks, so that a lossy coder keeps most of it; [HEIGHT, WIDTH, 4] */
static uint8_t *
make_rgba(bool alpha)
{
	uint8_t    *rgba = malloc(WIDTH * HEIGHT * 4);

	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++)
		{
			uint32_t	state = (uint32_t) (y / 8 * 100 + x / 8);

			for (int c = 0; c < 4; c++)
				rgba[(y * WIDTH + x) * 4 + c] = (uint8_t) noise(&state);
			if (!alpha)
				rgba[(y * WIDTH + x) * 4 + 3] = 255;
		}
	return rgba;
}

static file_bytes
write_webp(const uint8_t *rgba, bool lossless)
{
	WebPConfig	config;
	WebPPicture picture;
	WebPMemoryWriter writer;

	assert_true(WebPConfigInit(&config) && WebPPictureInit(&picture));
	config.lossless = lossless;
	config.exact = 1;
	config.quality = 60;
	picture.use_argb = lossless;
	picture.width = WIDTH;
	picture.height = HEIGHT;
	assert_true(WebPPictureImportRGBA(&picture, rgba, WIDTH * 4));
	WebPMemoryWriterInit(&writer);
	picture.writer = WebPMemoryWrite;
	picture.custom_ptr = &writer;
	assert_true(WebPEncode(&config, &picture));
	WebPPictureFree(&picture);
	return (file_bytes) {writer.mem, writer.size};
}

static void
check_pixels(const file_bytes *file, const uint8_t *rgba, bool reference)
{
	dsv_image_options options = {.reference_decode = reference};
	dsv_pixels	want = {malloc(WIDTH * HEIGHT * 3), WIDTH, HEIGHT};
	dsv_image_info info;
	dsv_pixels	got;
	dsv_error	err;

	for (int i = 0; i < WIDTH * HEIGHT; i++)
		for (int c = 0; c < 3; c++)
		{
			double		a = reference ? 1 : rgba[4 * i + 3] / 255.0;

			want.rgb[3 * i + c] = (uint8_t) floor(rgba[4 * i + c] * a + 255 * (1 - a) + 0.5);
		}
	if (dsv_image_decode(file->data, file->len, &options, NULL, NULL, &got, &info, &err) != DSV_OK)
		fail_msg("%s: %s", err.msg, err.detail);
	assert_int_equal(info.format, DSV_IMAGE_WEBP);
	assert_int_equal(info.pages, 1);
	assert_same_picture("WebP", &got, &want);
	dsv_pixels_free(&got, NULL);
	free(want.rgb);
}

static void
test_pixels(void **state)
{
	(void) state;
	for (int alpha = 0; alpha <= 1; alpha++)
		for (int reference = 0; reference <= 1; reference++)
		{
			uint8_t    *rgba = make_rgba(alpha);
			file_bytes	file = write_webp(rgba, true);
			int			w;
			int			h;
			uint8_t    *decoded;

			check_pixels(&file, rgba, reference);
			free(file.data);
			file = write_webp(rgba, false);
			decoded = WebPDecodeRGBA(file.data, file.len, &w, &h);
			check_pixels(&file, decoded, reference);
			WebPFree(decoded);
			free(file.data);
			free(rgba);
		}
}

/* ---- containers ---- */

static void
put_le(uint8_t *p, uint32_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		p[i] = (uint8_t) (v >> 8 * i);
}

/* The extended container: VP8X with flags, the picture of a simple file, one more chunk */
static file_bytes
extend(const file_bytes *simple, uint8_t flags, const char *type, const void *data, size_t n)
{
	size_t		padded = n + n % 2;
	file_bytes	file = {calloc(1, simple->len + 18 + 8 + padded), simple->len + 18 + 8 + padded};
	uint8_t    *p = file.data;

	memcpy(p, "RIFF\0\0\0\0WEBPVP8X\12\0\0\0", 20);
	put_le(p + 4, (uint32_t) file.len - 8, 4);
	p[20] = flags;
	put_le(p + 24, WIDTH - 1, 3);
	put_le(p + 27, HEIGHT - 1, 3);
	memcpy(p + 30, simple->data + 12, simple->len - 12);
	p += 18 + simple->len;
	memcpy(p, type, 4);
	put_le(p + 4, (uint32_t) n, 4);
	memcpy(p + 8, data, n);
	return file;
}

static void
test_orientation(void **state)
{
	uint8_t		exif[] = "MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0\0";
	uint8_t    *rgba = make_rgba(false);
	file_bytes	simple = write_webp(rgba, true);

	(void) state;
	for (int orientation = 0; orientation <= 9; orientation++)
	{
		file_bytes	file;
		dsv_image_info info;
		dsv_pixels	stored;
		dsv_pixels	seen;
		dsv_error	err;
		int			applied = orientation >= 1 && orientation <= 8 ? orientation : 1;

		exif[19] = (uint8_t) orientation;
		/* with an odd length: chunks are padded */
		file = extend(&simple, 0x08, "EXIF", exif, sizeof(exif) - 1);
		check_pixels(&file, rgba, true);
		assert_int_equal(dsv_image_decode(file.data, file.len, &as_reference, NULL, NULL, &stored, &info, &err),
						 DSV_OK);
		assert_int_equal(info.orientation, applied);
		assert_int_equal(dsv_image_decode(file.data, file.len, NULL, NULL, NULL, &seen, &info, &err), DSV_OK);
		assert_int_equal(dsv_pixels_orient(&stored, applied, NULL, NULL, &err), DSV_OK);
		assert_same_picture("upright", &seen, &stored);
		dsv_pixels_free(&stored, NULL);
		dsv_pixels_free(&seen, NULL);
		free(file.data);
	}
	free(simple.data);
	free(rgba);
}

static void
test_refused(void **state)
{
	uint8_t    *rgba = make_rgba(false);
	file_bytes	simple = write_webp(rgba, true);
	file_bytes	file = extend(&simple, 0x02, "ANIM", "\0\0\0\0\0\0", 6);
	dsv_image_options options = {.max_pixels = WIDTH * HEIGHT - 1};
	dsv_image_info info;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_image_probe(file.data, file.len, NULL, NULL, &info, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "WebP image is an animation");
	assert_true(err.hint[0] != '\0');
	assert_int_equal(dsv_image_probe(simple.data, simple.len, &options, NULL, &info, &err), DSV_IMAGE_SIZE);
	options = (dsv_image_options) {.page = 2};
	assert_int_equal(dsv_image_probe(simple.data, simple.len, &options, NULL, &info, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "page 2 was asked for, but the image has 1 page");
	free(file.data);
	free(simple.data);
	free(rgba);
}

/* ---- damage ---- */

static void
test_damage(void **state)
{
	(void) state;
	for (int variant = 0; variant < 4; variant++)
	{
		uint8_t    *rgba = make_rgba(variant & 1);
		file_bytes	file = write_webp(rgba, variant & 2);
		dsv_error	err;
		dsv_pixels	out;

		assert_int_equal(dsv_image_decode(file.data, file.len / 2, NULL, NULL, NULL, &out, NULL, &err), DSV_IMAGE);
		assert_string_equal(err.msg, "WebP image is truncated");
		/* a padding byte at the end may be missing */
		assert_true(check_truncations(&file, NULL, 1) <= 3);
		check_flips(&file, 1);
		check_allocations(&file, NULL);
		free(file.data);
		free(rgba);
	}
}

static void
test_canceled(void **state)
{
	uint32_t	seed = 3;
	uint8_t    *rgba = make_rgba(false);
	file_bytes	file;

	(void) state;
	/* noise, so that the file has more than one piece of 16 kB */
	for (int i = 0; i < WIDTH * HEIGHT * 4; i++)
		rgba[i] = i % 4 == 3 ? 255 : (uint8_t) noise(&seed);
	file = write_webp(rgba, true);
	assert_true(file.len > 16384);
	check_canceled(&file, NULL, 1);
	free(file.data);
	free(rgba);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pixels),
		cmocka_unit_test(test_orientation),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_canceled),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("image_webp", tests, NULL, NULL);
}
