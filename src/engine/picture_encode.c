/*
 * picture_encode.c
 *		Pixels to PNG and JPEG files.
 *
 * Scans are mostly grey or black and white though they come here as RGB, so a PNG is written in
 * the smallest kind that holds all colours, and a grey JPEG as one component.  Both libraries
 * leave by longjmp on errors, to encode_guarded(), which owns no variable that changes after
 * setjmp: all state is in the writer of its caller.
 */
#include "picture.h"

#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include <png.h>
#include <setjmp.h>
#include <string.h>

/* Half again as fast as the library's own 6; a photograph is a tenth larger, a scan less */
#define PNG_LEVEL 3
#define JPEG_QUALITY 90
#define JPEG_PIECE 65536

typedef enum color_kind
{
	KIND_BILEVEL,				/* black and white */
	KIND_GREY,
	KIND_RGB,
} color_kind;

typedef struct picture_writer
{
	const dsv_picture *picture;
	dsv_error  *err;
	color_kind	kind;
	dsv_text	out;
	uint8_t    *row;			/* of one channel */
	png_structp png;
	png_infop	png_info;
	struct jpeg_compress_struct cinfo;
	struct jpeg_error_mgr errors;
	struct jpeg_destination_mgr destination;
	dsv_code	code;			/* why fail was taken */
	jmp_buf		fail;
} picture_writer;

static _Noreturn void
give_up(picture_writer *w, dsv_code code)
{
	w->code = code;
	longjmp(w->fail, 1);
}

static void
poll_row(picture_writer *w, int y)
{
	if (y % 64 == 0 && dsv_poll_canceled(w->picture->poll))
		give_up(w, dsv_fail_canceled(w->err));
}

static void
add_bytes(picture_writer *w, const void *data, size_t n)
{
	if (!dsv_text_add(w->picture->mem, &w->out, data, n))
		give_up(w, dsv_fail_nomem(w->err, w->out.len + n));
}

/* ---- colours ---- */

static color_kind
find_kind(picture_writer *w)
{
	const dsv_pixels *p = &w->picture->pixels;
	color_kind	kind = KIND_BILEVEL;

	for (int y = 0; y < p->height; y++)
	{
		const uint8_t *c = p->rgb + (size_t) y * p->width * 3;

		poll_row(w, y);
		for (int x = 0; x < p->width; x++, c += 3)
		{
			if (c[0] != c[1] || c[0] != c[2])
				return KIND_RGB;
			if (c[0] != 0 && c[0] != 255)
				kind = KIND_GREY;
		}
	}
	return kind;
}

/* A row in the kind's own form */
static uint8_t *
row_of(picture_writer *w, int y)
{
	const dsv_pixels *p = &w->picture->pixels;
	uint8_t    *rgb = p->rgb + (size_t) y * p->width * 3;

	if (w->kind == KIND_RGB)
		return rgb;
	if (w->kind == KIND_BILEVEL)
		memset(w->row, 0, ((size_t) p->width + 7) / 8);
	for (int x = 0; x < p->width; x++)
	{
		if (w->kind == KIND_GREY)
			w->row[x] = rgb[3 * x];
		else
			w->row[x / 8] |= (uint8_t) ((rgb[3 * x] & 0x80) >> x % 8);
	}
	return w->row;
}

/* ---- PNG ---- */

static _Noreturn void
on_png_error(png_structp png, png_const_charp text)
{
	picture_writer *w = png_get_error_ptr(png);

	/* nothing in here depends on what was read, so there is one thing that can go wrong */
	dsv_fail(w->err, DSV_NOMEM, "out of memory");
	dsv_detail(w->err, "The PNG encoder reports: %s.", text);
	give_up(w, DSV_NOMEM);
}

static void
on_png_warning(png_structp png, png_const_charp text)
{
	(void) png;
	(void) text;
}

static png_voidp
on_png_alloc(png_structp png, png_alloc_size_t size)
{
	picture_writer *w = png_get_mem_ptr(png);

	return dsv_alloc(w->picture->mem, size, 1);
}

static void
on_png_free(png_structp png, png_voidp p)
{
	picture_writer *w = png_get_mem_ptr(png);

	dsv_free(w->picture->mem, p);
}

static void
on_png_write(png_structp png, png_bytep data, size_t n)
{
	add_bytes(png_get_io_ptr(png), data, n);
}

static void
on_png_flush(png_structp png)
{
	(void) png;
}

static void
write_png(picture_writer *w)
{
	const dsv_pixels *p = &w->picture->pixels;

	w->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, w, on_png_error, on_png_warning,
									   w, on_png_alloc, on_png_free);
	if (w->png != NULL)
		w->png_info = png_create_info_struct(w->png);
	if (w->png_info == NULL)
		give_up(w, dsv_fail_nomem(w->err, 0));
	png_set_write_fn(w->png, w, on_png_write, on_png_flush);
	png_set_compression_level(w->png, PNG_LEVEL);
	png_set_IHDR(w->png, w->png_info, (png_uint_32) p->width, (png_uint_32) p->height,
				 w->kind == KIND_BILEVEL ? 1 : 8, w->kind == KIND_RGB ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
				 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_write_info(w->png, w->png_info);
	for (int y = 0; y < p->height; y++)
	{
		poll_row(w, y);
		png_write_row(w->png, row_of(w, y));
	}
	png_write_end(w->png, NULL);
}

/* ---- JPEG ---- */

static _Noreturn void
on_jpeg_error(j_common_ptr cinfo)
{
	picture_writer *w = cinfo->client_data;
	char		text[JMSG_LENGTH_MAX];
	bool		nomem = cinfo->err->msg_code == JERR_OUT_OF_MEMORY;
	dsv_code	code = nomem ? DSV_NOMEM : DSV_INTERNAL;

	cinfo->err->format_message(cinfo, text);
	dsv_fail(w->err, code, nomem ? "out of memory" : "could not encode JPEG image");
	dsv_detail(w->err, "The JPEG encoder reports: %s.", text);
	give_up(w, code);
}

static void
on_jpeg_message(j_common_ptr cinfo, int level)
{
	(void) cinfo;
	(void) level;
}

/* The output grows by pieces, the last of which is the library's buffer. */
static void
next_jpeg_piece(picture_writer *w)
{
	size_t		used = w->out.len;
	void	   *s = w->out.s;

	if (!dsv_reserve(w->picture->mem, &s, &w->out.cap, used + JPEG_PIECE, 1))
		give_up(w, dsv_fail_nomem(w->err, used + JPEG_PIECE));
	w->out.s = s;
	w->out.len = used + JPEG_PIECE;
	w->destination.next_output_byte = (JOCTET *) w->out.s + used;
	w->destination.free_in_buffer = JPEG_PIECE;
}

static void
on_jpeg_start(j_compress_ptr cinfo)
{
	next_jpeg_piece(cinfo->client_data);
}

static boolean
on_jpeg_full(j_compress_ptr cinfo)
{
	next_jpeg_piece(cinfo->client_data);
	return TRUE;
}

static void
on_jpeg_end(j_compress_ptr cinfo)
{
	picture_writer *w = cinfo->client_data;

	w->out.len -= w->destination.free_in_buffer;
}

static void
write_jpeg(picture_writer *w)
{
	const dsv_pixels *p = &w->picture->pixels;
	struct jpeg_compress_struct *cinfo = &w->cinfo;

	if (w->kind == KIND_BILEVEL)
		w->kind = KIND_GREY;
	jpeg_create_compress(cinfo);
	w->destination.init_destination = on_jpeg_start;
	w->destination.empty_output_buffer = on_jpeg_full;
	w->destination.term_destination = on_jpeg_end;
	cinfo->dest = &w->destination;
	cinfo->image_width = (JDIMENSION) p->width;
	cinfo->image_height = (JDIMENSION) p->height;
	cinfo->input_components = w->kind == KIND_RGB ? 3 : 1;
	cinfo->in_color_space = w->kind == KIND_RGB ? JCS_RGB : JCS_GRAYSCALE;
	jpeg_set_defaults(cinfo);
	jpeg_set_quality(cinfo, JPEG_QUALITY, TRUE);
	/* colour at full resolution: small coloured print survives */
	cinfo->comp_info[0].h_samp_factor = cinfo->comp_info[0].v_samp_factor = 1;
	jpeg_start_compress(cinfo, TRUE);
	for (int y = 0; y < p->height; y++)
	{
		JSAMPROW	row = row_of(w, y);

		poll_row(w, y);
		jpeg_write_scanlines(cinfo, &row, 1);
	}
	jpeg_finish_compress(cinfo);
}

/* ---- both ---- */

static dsv_code
encode_guarded(picture_writer *w, dsv_image_format format)
{
	if (setjmp(w->fail) != 0)
		return w->code;
	w->row = dsv_alloc(w->picture->mem, (size_t) w->picture->pixels.width, 1);
	if (w->row == NULL)
		give_up(w, dsv_fail_nomem(w->err, (size_t) w->picture->pixels.width));
	w->kind = find_kind(w);
	if (format == DSV_IMAGE_JPEG)
		write_jpeg(w);
	else
		write_png(w);
	return DSV_OK;
}

dsv_code
dsv_picture_encode(const dsv_picture *picture, dsv_image_format format, dsv_blob *out, dsv_error *err)
{
	picture_writer w;
	dsv_code	code;

	if (format != DSV_IMAGE_JPEG && format != DSV_IMAGE_PNG)
		return dsv_fail(err, DSV_INPUT, "pictures are written as PNG or JPEG");
	memset(&w, 0, sizeof(w));
	w.picture = picture;
	w.err = err;
	w.cinfo.err = jpeg_std_error(&w.errors);
	w.errors.error_exit = on_jpeg_error;
	w.errors.emit_message = on_jpeg_message;
	w.cinfo.client_data = &w;

	code = encode_guarded(&w, format);
	png_destroy_write_struct(&w.png, &w.png_info);
	jpeg_destroy_compress(&w.cinfo);
	dsv_free(picture->mem, w.row);
	if (code == DSV_OK)
		*out = (dsv_blob) {w.out.s, w.out.len};
	else
		dsv_free(picture->mem, w.out.s);
	return code;
}
