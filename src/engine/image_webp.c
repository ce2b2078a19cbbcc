/*
 * image_webp.c
 *		WebP through libwebp: lossy, lossless, with alpha; animations are refused by name.
 *
 * The file is fed in pieces, between which a cancel is heard.  Alpha is blended on white; the
 * reference mode drops it, as Pillow's convert("RGB") does.
 */
#include <string.h>
#include <webp/decode.h>

#include "image_codec.h"

#define PIECE ((size_t) 16384)

static dsv_code
fail(const dsv_image_source *src, VP8StatusCode status)
{
	static const char *const reports[] = {
		[VP8_STATUS_INVALID_PARAM] = "invalid parameter",
		[VP8_STATUS_BITSTREAM_ERROR] = "error in the bit stream",
		[VP8_STATUS_UNSUPPORTED_FEATURE] = "unsupported feature",
		[VP8_STATUS_USER_ABORT] = "abort",
	};

	if (status == VP8_STATUS_OUT_OF_MEMORY)
	{
		dsv_fail(src->err, DSV_NOMEM, "out of memory");
		dsv_detail(src->err, "Failed while decoding a WebP image.");
		return DSV_NOMEM;
	}
	if (status == VP8_STATUS_SUSPENDED || status == VP8_STATUS_NOT_ENOUGH_DATA)
	{
		dsv_fail(src->err, DSV_IMAGE, "WebP image is truncated");
		dsv_detail(src->err, "The data ends after %zu bytes, before the end of the picture.", src->len);
		return DSV_IMAGE;
	}
	dsv_fail(src->err, DSV_IMAGE, "could not decode WebP image");
	dsv_detail(src->err, "The WebP decoder reports: %s.", reports[status]);
	return DSV_IMAGE;
}

static dsv_code
read_header(const dsv_image_source *src, WebPBitstreamFeatures *features)
{
	VP8StatusCode status = WebPGetFeatures(src->data, src->len, features);

	if (status != VP8_STATUS_OK)
		return fail(src, status);
	if (features->has_animation)
	{
		dsv_fail(src->err, DSV_IMAGE, "WebP image is an animation");
		dsv_hint(src->err, "Convert the frame that matters to PNG or JPEG first.");
		return DSV_IMAGE;
	}
	return dsv_image_check_size(src, features->width, features->height);
}

/* Fills to [height, width, 3 or 4]. */
static dsv_code
decode(const dsv_image_source *src, const WebPBitstreamFeatures *features, uint8_t *to)
{
	size_t		stride = (size_t) features->width * (features->has_alpha ? 4 : 3);
	WebPIDecoder *decoder = WebPINewRGB(features->has_alpha ? MODE_RGBA : MODE_RGB, to,
										stride * (size_t) features->height, (int) stride);
	VP8StatusCode status = decoder != NULL ? VP8_STATUS_SUSPENDED : VP8_STATUS_OUT_OF_MEMORY;
	bool		canceled = false;

	for (size_t n = 0; status == VP8_STATUS_SUSPENDED && n < src->len && !canceled;)
	{
		n = src->len - n > PIECE ? n + PIECE : src->len;
		canceled = dsv_poll_canceled(src->poll);
		if (!canceled)
			status = WebPIUpdate(decoder, src->data, n);
	}
	WebPIDelete(decoder);
	if (canceled)
		return dsv_fail_canceled(src->err);
	return status == VP8_STATUS_OK ? DSV_OK : fail(src, status);
}

/* [n, 4] to [n, 3] */
static void
drop_alpha(const uint8_t *rgba, size_t n, bool reference, uint8_t *rgb)
{
	for (size_t i = 0; i < n; i++, rgba += 4, rgb += 3)
		for (int c = 0; c < 3; c++)
			rgb[c] = reference ? rgba[c] : dsv_over_white(rgba[c], rgba[3]);
}

static dsv_code
read_pixels(const dsv_image_source *src, const WebPBitstreamFeatures *features, dsv_pixels *out)
{
	size_t		n = (size_t) features->width * (size_t) features->height;
	uint8_t    *rgb = dsv_alloc(src->mem, n, 3);
	uint8_t    *rgba = features->has_alpha ? dsv_alloc(src->mem, n, 4) : NULL;
	dsv_code	code;

	if (rgb == NULL || (features->has_alpha && rgba == NULL))
		code = dsv_fail_nomem(src->err, n * 4);
	else
		code = decode(src, features, rgba != NULL ? rgba : rgb);
	if (code == DSV_OK && rgba != NULL)
		drop_alpha(rgba, n, src->options.reference_decode, rgb);
	dsv_free(src->mem, rgba);
	if (code == DSV_OK)
		*out = (dsv_pixels) {rgb, features->width, features->height};
	else
		dsv_free(src->mem, rgb);
	return code;
}

dsv_code
dsv_webp_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out)
{
	WebPBitstreamFeatures features;
	dsv_code	code = read_header(src, &features);

	if (code != DSV_OK)
		return code;
	info->width = features.width;
	info->height = features.height;
	return out != NULL ? read_pixels(src, &features, out) : DSV_OK;
}
