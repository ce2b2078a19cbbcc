/*
 * picture.h
 *		Inside a dsv_picture: pixels, what turns them upright, and whom to ask for memory.
 */
#ifndef DSV_PICTURE_H
#define DSV_PICTURE_H

#include "image.h"

struct dsv_picture
{
	dsv_pixels	pixels;
	dsv_image_info info;		/* as the file was */
	int			orientation;	/* that the pixels still need, EXIF 1..8 */
	const dsv_poll *poll;
	const dsv_mem *mem;
};

#endif
