/*
 * image_codec.h
 *		Between image.c, which knows limits, formats and orientation, and the two codecs,
 *		which know their library and keep its longjmp inside.
 */
#ifndef DSV_IMAGE_CODEC_H
#define DSV_IMAGE_CODEC_H

#include "image.h"

#define DSV_IMAGE_MAX_SIDE 65500	/* libjpeg's own limit, kept for PNG too */
#define DSV_IMAGE_MAX_PIXELS ((int64_t) 1 << 28)
#define DSV_IMAGE_MAX_SCANS 100

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

/* Checks the sides that a header states.  Errors: IMAGE, IMAGE_SIZE. */
dsv_code	dsv_image_check_size(const dsv_image_source *src, int64_t width, int64_t height);

/*
 * Read the header, check it, and fill width and height of *info.  With out != NULL (which
 * comes in zeroed) they decode too, in the orientation of the file; on error out->rgb stays
 * NULL.  Errors: IMAGE, IMAGE_SIZE, NOMEM, CANCELED.
 */
dsv_code	dsv_jpeg_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);
dsv_code	dsv_png_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out);

/* EXIF orientation of a JPEG or PNG file, 1..8; 1 when absent or out of range. */
int			dsv_exif_orientation(dsv_image_format format, const uint8_t *data, size_t len);

#endif
