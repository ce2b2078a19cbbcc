/*
 * tile.c
 *		From a picture to the tiles that the vision tower reads.
 *
 * The geometry follows the reference (select_best_resolution) and Pillow (ImageOps.pad) in
 * their order of floating-point operations and in Python's rounding, halves to even, which
 * is rint() here: a tile that is one pixel off moves every later number.
 */
#include "tile.h"

#include <math.h>
#include <string.h>

#include "model.h"

/* ---- geometry ---- */

dsv_grid
dsv_tile_choose(const dsv_config *config, int width, int height, int max_tiles, bool crop)
{
	int			size = config->vision.image_size;
	dsv_grid	best = {1, 1};
	int64_t		most = 0;
	int64_t		waste = INT64_MAX;
	int64_t		area = (int64_t) width * height;

	if (!crop || width <= 0 || height <= 0)
		return best;
	for (int i = 0; i < config->ncandidates; i++)
	{
		int			w = config->candidates[i].w;
		int			h = config->candidates[i].h;
		dsv_grid	grid = {w / size, h / size};
		double		scale = fmin((double) w / width, (double) h / height);
		int64_t		used = (int64_t) (width * scale) * (int64_t) (height * scale);
		int64_t		unused;

		if (max_tiles > 0 && (int64_t) grid.cols * grid.rows > max_tiles)
			continue;
		if (used > area)
			used = area;
		unused = (int64_t) w * h - used;
		if (used > most || (used == most && unused < waste))
		{
			best = grid;
			most = used;
			waste = unused;
		}
	}
	return best;
}

int
dsv_tile_positions(const dsv_config *config, dsv_grid grid)
{
	int			h = config->projector.grid;

	return h * (h + 1) + 1 + h * grid.rows * (h * grid.cols + 1);
}

void
dsv_image_layout(const dsv_model *model, int width, int height, int max_tiles, bool crop,
				 int *cols, int *rows, int *tokens)
{
	const dsv_config *config = model != NULL ? &model->config : &dsv_config_published;
	dsv_grid	grid = dsv_tile_choose(config, width, height, max_tiles, crop);

	*cols = grid.cols;
	*rows = grid.rows;
	*tokens = dsv_tile_positions(config, grid);
}

dsv_rect
dsv_tile_contain(int width, int height, int W, int H)
{
	double		ratio = (double) width / height;
	double		target = (double) W / H;
	dsv_rect	r = {0, 0, W, H};

	if (ratio > target)
		r.h = (int) rint((double) height / width * W);
	else if (ratio < target)
		r.w = (int) rint((double) width / height * H);
	if (r.w != W)
		r.x = (int) rint((W - r.w) * 0.5);
	else
		r.y = (int) rint((H - r.h) * 0.5);
	return r;
}

/* ---- pixels ---- */

typedef struct tiler
{
	const dsv_config *config;
	const dsv_pixels *picture;
	bool		reference;
	const dsv_poll *poll;
	const dsv_mem *mem;
	dsv_error  *err;
} tiler;

/* The whole of dst [H, W, 3] in the mean colour, as the reference truncates it: 127. */
static void
fill_background(const dsv_config *config, uint8_t *dst, size_t pixels)
{
	uint8_t		mean[3];

	for (int c = 0; c < 3; c++)
		mean[c] = (uint8_t) (config->vision.mean[c] * 255.0);
	for (size_t i = 0; i < pixels; i++)
		memcpy(dst + 3 * i, mean, 3);
}

/* ImageOps.pad into dst [H, W, 3] */
static dsv_code
pad(const tiler *t, int W, int H, uint8_t *dst)
{
	dsv_rect	r = dsv_tile_contain(t->picture->width, t->picture->height, W, H);

	if (r.w != W || r.h != H)
		fill_background(t->config, dst, (size_t) W * H);
	if (r.w > 0 && r.h > 0)
		return dsv_resize_bicubic(t->picture, r.w, r.h, dst + ((size_t) r.y * W + r.x) * 3,
								  (size_t) W * 3, t->poll, t->mem, t->err);
	if (t->reference)
	{
		dsv_fail(t->err, DSV_IMAGE, "image of %d x %d pixels is too narrow",
				 t->picture->width, t->picture->height);
		dsv_detail(t->err, "Scaled to fit %d x %d pixels, one side has no pixel left.", W, H);
		return DSV_IMAGE;
	}
	return DSV_OK;
}

/* Cuts canvas [rows * size, cols * size, 3] into tiles. */
static void
cut(const uint8_t *canvas, dsv_grid grid, int size, uint8_t *tiles)
{
	size_t		line = (size_t) size * 3;

	for (int row = 0; row < grid.rows; row++)
	{
		for (int col = 0; col < grid.cols; col++)
		{
			const uint8_t *from = canvas + (size_t) row * size * line * grid.cols + col * line;

			for (int y = 0; y < size; y++, tiles += line, from += line * grid.cols)
				memcpy(tiles, from, line);
		}
	}
}

static dsv_code
make_local_tiles(const tiler *t, dsv_grid grid, uint8_t *tiles)
{
	int			size = t->config->vision.image_size;
	int			W = grid.cols * size;
	int			H = grid.rows * size;
	uint8_t    *canvas = dsv_alloc(t->mem, (size_t) W * H, 3);
	dsv_code	code;

	if (canvas == NULL)
		return dsv_fail_nomem(t->err, (size_t) W * H * 3);
	code = pad(t, W, H, canvas);
	if (code == DSV_OK)
		cut(canvas, grid, size, tiles);
	dsv_free(t->mem, canvas);
	return code;
}

dsv_code
dsv_tiles_make(const dsv_config *config, const dsv_pixels *picture, int max_tiles, bool crop,
			   bool reference, const dsv_poll *poll, const dsv_mem *mem, dsv_tiles *out,
			   dsv_error *err)
{
	tiler		t = {config, picture, reference, poll, mem, err};
	int			size = config->vision.image_size;
	size_t		bytes = (size_t) size * size * 3;
	size_t		count;
	dsv_code	code;

	out->size = size;
	out->grid = dsv_tile_choose(config, picture->width, picture->height, max_tiles, crop);
	count = 1 + (size_t) out->grid.cols * out->grid.rows;
	out->rgb = dsv_alloc(mem, count, bytes);
	if (out->rgb == NULL)
		return dsv_fail_nomem(err, count * bytes);
	code = pad(&t, size, size, out->rgb);
	if (code == DSV_OK && count == 2)
		memcpy(out->rgb + bytes, out->rgb, bytes);	/* both views are the same */
	else if (code == DSV_OK)
		code = make_local_tiles(&t, out->grid, out->rgb + bytes);
	if (code != DSV_OK)
		dsv_tiles_free(out, mem);
	return code;
}

void
dsv_tiles_free(dsv_tiles *tiles, const dsv_mem *mem)
{
	dsv_free(mem, tiles->rgb);
	tiles->rgb = NULL;
}
