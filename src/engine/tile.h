/*
 * tile.h
 *		From a picture to the tiles that the vision tower reads: equal to the reference's
 *		preprocessing with Pillow to the byte (Pillow 12 and before: rows first).
 */
#ifndef DSV_TILE_H
#define DSV_TILE_H

#include "config.h"
#include "image.h"

typedef struct dsv_grid
{
	int			cols;			/* local tiles across */
	int			rows;
} dsv_grid;

typedef struct dsv_tiles
{
	uint8_t    *rgb;			/* [1 + cols * rows, size, size, 3]: the global view first, then
								 * the local tiles row by row */
	int			size;
	dsv_grid	grid;
} dsv_tiles;

/* select_best_resolution of the reference; max_tiles > 0 leaves larger candidates out;
 * crop false: 1 x 1. */
dsv_grid	dsv_tile_choose(const dsv_config *config, int width, int height, int max_tiles, bool crop);

/* Prompt positions of an image: global rows with newlines, separator, local rows with
 * newlines: h (h + 1) + 1 + h rows (h cols + 1), h = projector.grid. */
int			dsv_tile_positions(const dsv_config *config, dsv_grid grid);

/* Where ImageOps.pad puts a picture inside W x H: its size and place.  A side may round
 * to 0 (w or h = 0). */
typedef struct dsv_rect
{
	int			x;
	int			y;
	int			w;
	int			h;
} dsv_rect;
dsv_rect	dsv_tile_contain(int width, int height, int W, int H);

/* Pillow's resize(..., BICUBIC) of RGB bytes into dst [h, w, 3] with row stride `stride` bytes.
 * Errors: NOMEM, CANCELED. */
dsv_code	dsv_resize_bicubic(const dsv_pixels *src, int w, int h, uint8_t *dst, size_t stride,
							   const dsv_poll *poll, const dsv_mem *mem, dsv_error *err);

/* All tiles of a picture.  A side that rounds to 0 gives tiles of padding only, except that
 * with reference = true it is an IMAGE error.  Errors: NOMEM, CANCELED, IMAGE. */
dsv_code	dsv_tiles_make(const dsv_config *config, const dsv_pixels *picture, int max_tiles,
						   bool crop, bool reference, const dsv_poll *poll, const dsv_mem *mem,
						   dsv_tiles *out, dsv_error *err);
void		dsv_tiles_free(dsv_tiles *tiles, const dsv_mem *mem);

#endif
