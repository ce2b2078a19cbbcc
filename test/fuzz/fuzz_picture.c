/*
 * fuzz_picture.c
 *		Regions, margins, turns, boxes and labels of any kind on a small picture, which is then
 *		written and read back.
 */
#include "fuzz.h"
#include "image.h"

#include <string.h>

typedef struct input
{
	const uint8_t *p;
	size_t		left;
} input;

static uint8_t
take_byte(input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

/* Mostly small, sometimes any bits of a double */
static double
take_number(input *in)
{
	uint8_t		kind = take_byte(in);
	double		v = 0;

	if (kind < 224)
		return kind - 64 + take_byte(in) / 256.0;
	for (size_t i = 0; i < sizeof(v); i++)
		((uint8_t *) &v)[i] = take_byte(in);
	return v;
}

static void
require(bool fact)
{
	if (!fact)
		abort();
}

/* A PNG file of 40 x 30 pixels in black and white stripes */
static dsv_bytes
small_png(void)
{
	static const uint8_t file[] = {
		0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0x00, 0x00, 0x00, 0x0D, 0x49, 0x48, 0x44, 0x52,
		0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x1E, 0x01, 0x00, 0x00, 0x00, 0x00, 0x76, 0xA6, 0x61,
		0x70, 0x00, 0x00, 0x00, 0x11, 0x49, 0x44, 0x41, 0x54, 0x78, 0xDA, 0x63, 0x58, 0xCA, 0x6F, 0xFC,
		0x9F, 0x81, 0x61, 0x48, 0x91, 0x00, 0x12, 0x34, 0x38, 0xF5, 0xD5, 0x9A, 0x1F, 0x7E, 0x00, 0x00,
		0x00, 0x00, 0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82
	};

	return (dsv_bytes) {file, sizeof(file)};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input		in = {data, size};
	dsv_bytes	file = small_png();
	dsv_picture *picture;
	dsv_mark	marks[8];
	int			n = 0;
	double		box[4];
	dsv_blob	blob;
	dsv_pixels	again;
	dsv_error	err;
	dsv_code	code;

	require(dsv_picture_open(&file, NULL, NULL, &fuzz_mem, &picture, &err) == DSV_OK);
	for (int i = 0; i < 4; i++)
		box[i] = take_number(&in);
	if (take_byte(&in) & 1)
	{
		code = dsv_picture_crop(picture, box, take_number(&in), &err);
		require(code == DSV_OK || code == DSV_INPUT);
		fuzz_check(code, &err);
	}
	require(dsv_picture_turn(picture, (int8_t) take_byte(&in), &err) == DSV_OK);
	while (n < 8 && in.left > 0)
	{
		dsv_mark   *mark = &marks[n++];

		for (int i = 0; i < 4; i++)
			mark->px[i] = take_number(&in);
		mark->score = take_number(&in);
		mark->label_len = take_byte(&in);
		mark->label_len = mark->label_len < in.left ? mark->label_len : in.left;
		mark->label = (const char *) in.p;
		in.p += mark->label_len;
		in.left -= mark->label_len;
	}
	require(dsv_picture_annotate(picture, marks, n, "fonts/DejaVuSans-Bold.ttf", &err) == DSV_OK);
	require(dsv_picture_encode(picture, size % 2 ? DSV_IMAGE_PNG : DSV_IMAGE_JPEG, &blob, &err) == DSV_OK);
	require(dsv_image_decode(blob.data, blob.len, NULL, NULL, &fuzz_mem, &again, NULL, &err) == DSV_OK);
	dsv_pixels_free(&again, &fuzz_mem);
	fuzz_free(NULL, blob.data);
	dsv_picture_close(picture);
	return 0;
}
