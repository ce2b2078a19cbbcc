/*
 * image.h
 *		The bytes of an image file to RGB pixels; the libraries' longjmp stays inside.
 */
#ifndef DSV_IMAGE_H
#define DSV_IMAGE_H

#include "mem.h"

typedef struct dsv_pixels
{
	uint8_t    *rgb;			/* [height, width, 3] */
	int			width;
	int			height;
} dsv_pixels;

/*
 * Decodes and, unless told otherwise, orients.  reference_decode: exactly Pillow's
 * convert("RGB").  info gets the header's facts as stored.  Limits are checked before
 * memory is taken; progressive JPEGs may hold 100 scans at most, TIFF and PDF files 10000 pages.
 * Errors: IMAGE, IMAGE_SIZE, NOMEM, CANCELED, LIMIT; PDF UNSUPPORTED, IO.
 */
dsv_code	dsv_image_decode(const void *data, size_t len, const dsv_image_options *options,
							 const dsv_poll *poll, const dsv_mem *mem, dsv_pixels *out,
							 dsv_image_info *info, dsv_error *err);

/* Turns a picture as its EXIF orientation says.  Errors: NOMEM, CANCELED. */
dsv_code	dsv_pixels_orient(dsv_pixels *picture, int orientation, const dsv_poll *poll,
							  const dsv_mem *mem, dsv_error *err);
void		dsv_pixels_free(dsv_pixels *pixels, const dsv_mem *mem);

#endif
