/*
 * fuzz_image.c
 *		Any bytes into the image decoder, in both modes, and what comes out into tiles.
 */
#include "fuzz.h"
#include "tile.h"

/* Small, so that an input costs milliseconds. */
static const dsv_config small_tiles = {
	.vision = {.image_size = 28, .mean = {0.5f, 0.5f, 0.5f}},
	.projector = {.grid = 1},
	.ncandidates = 3,
	.candidates = {{28, 28}, {56, 28}, {28, 56}},
};

static void
require(bool fact)
{
	if (!fact)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* of documents the first page */
	dsv_image_options options = {.max_pixels = 1 << 18, .page = 1};
	dsv_image_info probed;
	dsv_error	err;
	dsv_code	probe = dsv_image_probe(data, size, &options, NULL, &probed, &err);

	for (int reference = 0; reference <= 1; reference++)
	{
		dsv_pixels	picture;
		dsv_tiles	tiles;
		dsv_image_info info;
		dsv_code	code;

		options.reference_decode = reference;
		code = dsv_image_decode(data, size, &options, NULL, &fuzz_mem, &picture, &info, &err);
		require(code == DSV_OK || code == DSV_IMAGE || code == DSV_IMAGE_SIZE || code == DSV_LIMIT ||
				code == DSV_UNSUPPORTED);
		fuzz_check(code, &err);
		if (code != DSV_OK)
		{
			require(picture.rgb == NULL);
			continue;
		}
		require(probe == DSV_OK && info.width == probed.width && info.height == probed.height);
		require(info.orientation == probed.orientation && info.pages == probed.pages);
		require((int64_t) picture.width * picture.height == (int64_t) info.width * info.height);
		code = dsv_tiles_make(&small_tiles, &picture, 0, true, reference, NULL,
							  &fuzz_mem, &tiles, &err);
		require(code == DSV_OK || (reference && code == DSV_IMAGE));
		dsv_tiles_free(&tiles, &fuzz_mem);
		dsv_pixels_free(&picture, &fuzz_mem);
	}
	return 0;
}
