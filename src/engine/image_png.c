/*
 * image_png.c
 *		PNG through libpng.
 *
 * libpng expands palettes, low bit depths and transparent colours to whole samples; what
 * becomes of 16-bit samples and of alpha is decided here, row by row, because the two modes
 * differ in just that: the default scales and blends on white, the reference mode does what
 * Pillow's convert("RGB") does (alpha dropped, 16-bit grey clipped at 255, the high byte of
 * other 16-bit samples).
 *
 * Of the ancillary chunks only tRNS matters, so libpng is told to skip all others unseen: no
 * compressed profile or text is ever unpacked, and none can be made to take memory.  Chunks
 * with wrong checksums are errors when critical.  What follows the last row of pixels is not
 * read, as a file that lacks its end chunk still holds the whole picture.
 *
 * Every failure leaves libpng by longjmp to read_guarded(), which owns no variable that
 * changes after setjmp: all state is in the png_reader of its caller.
 */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "image_codec.h"

typedef struct png_reader
{
	png_structp png;
	png_infop	png_info;
	const dsv_image_source *src;
	dsv_image_info *info;
	size_t		at;				/* bytes consumed */
	size_t		refused;		/* size of the last allocation that failed; 0 = none */
	uint8_t    *rgb;
	uint8_t    *rows;			/* as libpng delivers: one row, or all when interlaced */
	dsv_code	code;			/* why fail was taken */
	jmp_buf		fail;
} png_reader;

static _Noreturn void
give_up(png_reader *r, dsv_code code)
{
	r->code = code;
	longjmp(r->fail, 1);
}

/* ---- callbacks of libpng ---- */

static _Noreturn void
on_error(png_structp png, png_const_charp text)
{
	png_reader *r = png_get_error_ptr(png);

	if (r->refused > 0)
		give_up(r, dsv_fail_nomem(r->src->err, r->refused));
	dsv_fail(r->src->err, DSV_IMAGE, "could not decode PNG image");
	dsv_detail(r->src->err, "The PNG decoder reports: %s.", text);
	give_up(r, DSV_IMAGE);
}

static void
on_warning(png_structp png, png_const_charp text)
{
	(void) png;
	(void) text;
}

static png_voidp
on_alloc(png_structp png, png_alloc_size_t size)
{
	png_reader *r = png_get_mem_ptr(png);
	void	   *p = dsv_alloc(r->src->mem, size, 1);

	if (p == NULL)
		r->refused = size;
	return p;
}

static void
on_free(png_structp png, png_voidp p)
{
	png_reader *r = png_get_mem_ptr(png);

	dsv_free(r->src->mem, p);
}

static void
on_read(png_structp png, png_bytep out, size_t n)
{
	png_reader *r = png_get_io_ptr(png);

	if (n > r->src->len - r->at)
	{
		dsv_fail(r->src->err, DSV_IMAGE, "PNG image is truncated");
		dsv_detail(r->src->err, "The data ends after %zu bytes, before the end of the picture.",
				   r->src->len);
		give_up(r, DSV_IMAGE);
	}
	memcpy(out, r->src->data + r->at, n);
	r->at += n;
}

/* ---- samples ---- */

/* One row of 1 to 4 channels (grey, grey + alpha, colour, colour + alpha), big-endian. */
static void
row_to_rgb(const uint8_t *row, int width, int channels, int depth, bool reference, uint8_t *rgb)
{
	int			step = depth / 8;
	bool		clip = reference && depth == 16 && channels == 1;
	bool		blend = !reference && channels % 2 == 0;

	if (channels == 3 && depth == 8)
	{
		memcpy(rgb, row, (size_t) width * 3);
		return;
	}
	for (int x = 0; x < width; x++, rgb += 3)
	{
		unsigned	v[4] = {0};

		for (int c = 0; c < channels; c++, row += step)
		{
			if (depth == 8)
				v[c] = row[0];
			else if (clip)
				v[c] = row[0] > 0 ? 255 : row[1];
			else
				v[c] = reference ? row[0] : dsv_scale16((unsigned) row[0] << 8 | row[1]);
		}
		for (int c = 0; c < 3; c++)
		{
			unsigned	value = channels < 3 ? v[0] : v[c];

			rgb[c] = blend ? dsv_over_white(value, v[channels - 1]) : (uint8_t) value;
		}
	}
}

/* ---- decoding ---- */

static void
read_header(png_reader *r)
{
	png_uint_32 width;
	png_uint_32 height;
	dsv_code	code;

	r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning,
									  r, on_alloc, on_free);
	if (r->png != NULL)
		r->png_info = png_create_info_struct(r->png);
	if (r->png_info == NULL)
		give_up(r, dsv_fail_nomem(r->src->err, r->refused));
	png_set_read_fn(r->png, r, on_read);
	png_set_keep_unknown_chunks(r->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
	/* the sides are checked below, with our message */
	png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);

	png_read_info(r->png, r->png_info);
	width = png_get_image_width(r->png, r->png_info);
	height = png_get_image_height(r->png, r->png_info);
	code = dsv_image_check_size(r->src, width, height);
	if (code != DSV_OK)
		give_up(r, code);
	r->info->width = (int) width;
	r->info->height = (int) height;
}

/* Returns the number of passes. */
static int
set_transforms(png_reader *r)
{
	int			color_type = png_get_color_type(r->png, r->png_info);
	int			passes;

	if (color_type == PNG_COLOR_TYPE_PALETTE)
		png_set_palette_to_rgb(r->png);
	else if (color_type == PNG_COLOR_TYPE_GRAY)
		png_set_expand_gray_1_2_4_to_8(r->png);
	if (!r->src->options.reference_decode && png_get_valid(r->png, r->png_info, PNG_INFO_tRNS))
		png_set_tRNS_to_alpha(r->png);
	passes = png_set_interlace_handling(r->png);
	png_read_update_info(r->png, r->png_info);
	return passes;
}

static uint8_t *
take(png_reader *r, size_t count, size_t size)
{
	uint8_t    *p = dsv_alloc(r->src->mem, count, size);

	if (p == NULL)
		give_up(r, dsv_fail_nomem(r->src->err, count * size));
	return p;
}

static void
read_pixels(png_reader *r)
{
	int			width = r->info->width;
	int			height = r->info->height;
	int			passes = set_transforms(r);
	int			channels = png_get_channels(r->png, r->png_info);
	int			depth = png_get_bit_depth(r->png, r->png_info);
	size_t		rowbytes = png_get_rowbytes(r->png, r->png_info);
	bool		interlaced = passes > 1;

	r->rgb = take(r, (size_t) height, (size_t) width * 3);
	r->rows = take(r, interlaced ? (size_t) height : 1, rowbytes);
	for (int pass = 0; pass < passes; pass++)
	{
		for (int y = 0; y < height; y++)
		{
			uint8_t    *row = r->rows + (interlaced ? (size_t) y * rowbytes : 0);

			if (y % 64 == 0 && dsv_poll_canceled(r->src->poll))
				give_up(r, dsv_fail_canceled(r->src->err));
			png_read_row(r->png, row, NULL);
			if (pass == passes - 1)
				row_to_rgb(row, width, channels, depth, r->src->options.reference_decode,
						   r->rgb + (size_t) y * width * 3);
		}
	}
}

static dsv_code
read_guarded(png_reader *r, bool pixels)
{
	if (setjmp(r->fail) != 0)
		return r->code;
	read_header(r);
	if (pixels)
		read_pixels(r);
	return DSV_OK;
}

dsv_code
dsv_png_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out)
{
	png_reader	r;
	dsv_code	code;

	memset(&r, 0, sizeof(r));
	r.src = src;
	r.info = info;

	code = read_guarded(&r, out != NULL);
	png_destroy_read_struct(&r.png, &r.png_info, NULL);
	dsv_free(src->mem, r.rows);
	if (code != DSV_OK)
		dsv_free(src->mem, r.rgb);
	else if (out != NULL)
	{
		out->rgb = r.rgb;
		out->width = info->width;
		out->height = info->height;
	}
	return code;
}
