/*
 * image_codec.h
 *		Between image.c, which knows limits, formats and orientation, and the codecs, which
 *		know their library and keep its longjmp inside.
 */
#ifndef DSV_IMAGE_CODEC_H
#define DSV_IMAGE_CODEC_H

#include "image.h"

#define DSV_IMAGE_MAX_SIDE 65500	/* libjpeg's own limit, kept for the others too */
#define DSV_IMAGE_MAX_PIXELS ((int64_t) 1 << 28)
#define DSV_IMAGE_MAX_SCANS 100
#define DSV_IMAGE_MAX_PAGES 10000

/* One picture on its way: everything a codec may look at. */
typedef struct dsv_image_source
{
	const uint8_t *data;
	size_t		len;
	dsv_image_options options;
	const dsv_poll *poll;
	const dsv_mem *mem;
	dsv_error  *err;
} dsv_image_source;

/* By its first bytes */
dsv_image_format dsv_image_sniff(const uint8_t *data, size_t len);

/* Checks the size of the file.  Errors: IMAGE_SIZE. */
dsv_code	dsv_image_check_bytes(const dsv_image_source *src);

/* Checks the sides that a header states.  Errors: IMAGE, IMAGE_SIZE. */
dsv_code	dsv_image_check_size(const dsv_image_source *src, int64_t width, int64_t height);

/*
 * Which of a file's pages is meant, from 1.  Without an option the first one is what a probe
 * shows; decode: but pixels are asked for, and then a file of several pages is an error.
 * Errors: IMAGE.
 */
dsv_code	dsv_image_pick_page(const dsv_image_source *src, int pages, bool decode, int *page);

/*
 * Read the header, check it, and fill width and height of *info, TIFF and PDF orientation and
 * pages too.  With out != NULL (which comes in zeroed) they decode, in the orientation of the
 * file; on error out->rgb stays NULL.
 * Errors: IMAGE, IMAGE_SIZE, NOMEM, CANCELED; TIFF and PDF LIMIT; PDF UNSUPPORTED, IO.
 */
dsv_code	dsv_jpeg_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);
dsv_code	dsv_png_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);
dsv_code	dsv_tiff_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);
dsv_code	dsv_webp_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);
dsv_code	dsv_pdf_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);

/* EXIF orientation of a JPEG, PNG or WebP file, 1..8; 1 when absent or out of range. */
int			dsv_exif_orientation(dsv_image_format format, const uint8_t *data, size_t len);

/* ---- samples ---- */

/* round(v * 255 / 65535), exactly */
static inline unsigned
dsv_scale16(unsigned v)
{
	return (v * 255 + 32895) >> 16;
}

/* round(a b / 255), exactly */
static inline unsigned
dsv_mul255(unsigned a, unsigned b)
{
	unsigned	t = a * b + 128;

	return (t + (t >> 8)) >> 8;
}

/* round((v a + 255 (255 - a)) / 255), exactly: the colour over white */
static inline uint8_t
dsv_over_white(unsigned v, unsigned alpha)
{
	unsigned	t = v * alpha + 255 * (255 - alpha) + 128;

	return (uint8_t) ((t + (t >> 8)) >> 8);
}

#endif
