/*
 * image_pdf.c
 *		A scanned page of a PDF document, decoded by the other codecs.
 *
 * PDF codes images as JPEG, TIFF and PNG do: a DCT stream is a JPEG file; CCITT, LZW and Flate
 * streams are the strip of a TIFF file, and Flate with PNG's predictors is a PNG file, once a
 * header is put in front.  So what is hostile in the bytes meets the same limits as elsewhere.
 */
#include <string.h>
#include <zlib.h>

#include "pdf_page.h"

/* The child may take this beyond four times the file */
#define CHILD_MEMORY ((size_t) 256 << 20)

/* ---- from the child ---- */

static dsv_code
fail(const dsv_image_source *src, const char *detail)
{
	dsv_fail(src->err, DSV_IMAGE, "could not read the PDF document");
	dsv_detail(src->err, "%s", detail);
	return DSV_IMAGE;
}

static bool
is_sane(const dsv_pdf_page *page)
{
	int			bits = page->bits;

	if (page->error.code != DSV_OK)
		return page->error.code == DSV_IMAGE || page->error.code == DSV_UNSUPPORTED || page->error.code == DSV_LIMIT;
	if (page->pages < 1)
		return false;
	/* only counted */
	if (page->width == 0)
		return true;
	return page->orientation >= 1 && page->orientation <= 8 && page->coding <= DSV_PDF_LZW &&
		(bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16) &&
		(page->colors == 1 || page->colors == 3) &&
		(page->ncolors == 0 || (page->ncolors > 0 && page->ncolors <= 256 && page->colors == 1 && bits <= 8));
}

/* The child has read a hostile file: what it says is checked as if it were one. */
static dsv_code
check_answer(const dsv_image_source *src, const dsv_text *out, dsv_pdf_page *page)
{
	size_t		mark = sizeof(DSV_PDF_END_MARK);

	if (out->len < DSV_PDF_DATA + mark)
		return fail(src, "Its reader ended early; the file may be meant to exhaust it.");
	memcpy(page, out->s, sizeof(*page));
	if (page->data_len != out->len - DSV_PDF_DATA - mark || !is_sane(page) ||
		memcmp(out->s + out->len - mark, DSV_PDF_END_MARK, mark) != 0)
		return fail(src, "Its reader ended early; the file may be meant to exhaust it.");
	page->error.msg[sizeof(page->error.msg) - 1] = '\0';
	page->error.detail[sizeof(page->error.detail) - 1] = '\0';
	page->error.hint[sizeof(page->error.hint) - 1] = '\0';
	if (page->error.code != DSV_OK)
	{
		if (src->err != NULL)
			*src->err = page->error;
		return page->error.code;
	}
	return DSV_OK;
}

dsv_code
dsv_pdf_load(const dsv_image_source *src, bool decode, dsv_pdf_page *page, dsv_text *out)
{
	dsv_pdf_question question = {dsv_qpdf_open(src->err), src->data, src->len, src->options.page, decode};
	dsv_sandbox sandbox = {
		.work = dsv_pdf_find_page,
		.ud = &question,
		.memory = CHILD_MEMORY + 4 * src->len,
		.max_output = sizeof(*page) + src->len + sizeof(DSV_PDF_END_MARK),
	};
	int			chosen;
	dsv_code	code;

	if (question.qpdf == NULL)
		return DSV_UNSUPPORTED;
	code = dsv_sandbox_run(&sandbox, src->poll, src->mem, out, src->err);
	if (code == DSV_OK)
		code = check_answer(src, out, page);
	if (code == DSV_OK)
		code = dsv_image_pick_page(src, page->pages, decode, &chosen);
	if (code == DSV_OK)
		code = dsv_image_check_size(src, page->width, page->height);
	return code;
}

/* ---- a file around the coded bytes ---- */

static void
put_uint(dsv_text *file, uint32_t v, int bytes)
{
	while (bytes-- > 0)
		file->s[file->len++] = (char) (v >> 8 * bytes);
}

static void
put_bytes(dsv_text *file, const void *data, size_t len)
{
	if (len > 0)
		memcpy(file->s + file->len, data, len);
	file->len += len;
}

/* All that can stand in front of the data and behind: directory, palette, chunks */
#define MAX_FRAME 4096

static dsv_code
start_file(const dsv_image_source *src, const dsv_pdf_page *page, dsv_text *file)
{
	file->cap = page->data_len + MAX_FRAME;
	file->s = dsv_alloc(src->mem, file->cap, 1);
	return file->s != NULL ? DSV_OK : dsv_fail_nomem(src->err, file->cap);
}

enum
{
	TYPE_SHORT = 3,
	TYPE_LONG = 4,
};

static void
put_entry(dsv_text *file, int tag, int type, uint32_t count, uint32_t value)
{
	put_uint(file, (uint32_t) tag, 2);
	put_uint(file, (uint32_t) type, 2);
	put_uint(file, count, 4);
	if (type == TYPE_SHORT && count == 1)
		value <<= 16;
	put_uint(file, value, 4);
}

static int
tiff_compression(const dsv_pdf_page *page)
{
	switch (page->coding)
	{
		case DSV_PDF_CCITT:
			return page->k < 0 ? 4 : 3;
		case DSV_PDF_LZW:
			return 5;
		case DSV_PDF_FLATE:
			return 8;
		default:
			return 1;
	}
}

/* 0 white is 0, 1 black is 0, 2 RGB, 3 palette.  A CCITT coder calls black 1, and PDF turns that
 * over unless BlackIs1. */
static int
tiff_photometric(const dsv_pdf_page *page)
{
	bool		white_is_0 = page->inverted;

	if (page->coding == DSV_PDF_CCITT)
		white_is_0 = page->inverted == page->black_is_1;
	return page->ncolors > 0 ? 3 : page->colors == 3 ? 2 : white_is_0 ? 0 : 1;
}

/* Big-endian, as PDF's samples of 16 bits are */
static void
wrap_in_tiff(const dsv_pdf_page *page, const char *data, dsv_text *file)
{
	enum { ENTRIES = 12, DIRECTORY = 8 + 2 + ENTRIES * 12 + 4, BITS = DIRECTORY, MAP = BITS + 6 };
	int			map = page->ncolors > 0 ? 1 << page->bits : 0;
	uint32_t	at = (uint32_t) (MAP + 6 * map);

	put_bytes(file, "MM\0*\0\0\0\10", 8);
	put_uint(file, ENTRIES - (map == 0), 2);
	put_entry(file, 256, TYPE_LONG, 1, (uint32_t) page->width);
	put_entry(file, 257, TYPE_LONG, 1, (uint32_t) page->height);
	if (page->colors == 3)
		put_entry(file, 258, TYPE_SHORT, 3, BITS);
	else
		put_entry(file, 258, TYPE_SHORT, 1, (uint32_t) page->bits);
	put_entry(file, 259, TYPE_SHORT, 1, (uint32_t) tiff_compression(page));
	put_entry(file, 262, TYPE_SHORT, 1, (uint32_t) tiff_photometric(page));
	put_entry(file, 273, TYPE_LONG, 1, at);
	put_entry(file, 277, TYPE_SHORT, 1, (uint32_t) page->colors);
	put_entry(file, 278, TYPE_LONG, 1, (uint32_t) page->height);
	put_entry(file, 279, TYPE_LONG, 1, (uint32_t) page->data_len);
	put_entry(file, 292, TYPE_LONG, 1, page->k > 0);
	put_entry(file, 317, TYPE_SHORT, 1, page->predictor == 2 ? 2 : 1);
	if (map > 0)
		put_entry(file, 320, TYPE_SHORT, (uint32_t) (3 * map), MAP);
	while (file->len < BITS)
		put_uint(file, 0, 1);
	for (int i = 0; i < 3; i++)
		put_uint(file, (uint32_t) page->bits, 2);
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < map; i++)
			put_uint(file, page->palette[i][c] * 257u, 2);
	put_bytes(file, data, page->data_len);
}

static void
put_chunk(dsv_text *file, const char *type, const void *data, size_t len)
{
	const char *start = file->s + file->len + 4;

	put_uint(file, (uint32_t) len, 4);
	put_bytes(file, type, 4);
	put_bytes(file, data, len);
	put_uint(file, (uint32_t) crc32_z(0, (const Bytef *) start, len + 4), 4);
}

static void
wrap_in_png(const dsv_pdf_page *page, const char *data, dsv_text *file)
{
	char		header[13] = {0};
	dsv_text	h = {.s = header};
	int			colors = page->ncolors < 1 << page->bits ? page->ncolors : 1 << page->bits;

	put_uint(&h, (uint32_t) page->width, 4);
	put_uint(&h, (uint32_t) page->height, 4);
	put_uint(&h, (uint32_t) page->bits, 1);
	put_uint(&h, page->ncolors > 0 ? 3 : page->colors == 3 ? 2 : 0, 1);
	put_bytes(file, "\211PNG\r\n\032\n", 8);
	put_chunk(file, "IHDR", header, sizeof(header));
	if (colors > 0)
		put_chunk(file, "PLTE", page->palette, (size_t) colors * 3);
	put_chunk(file, "IDAT", data, page->data_len);
	put_chunk(file, "IEND", NULL, 0);
}

/* ---- decoding ---- */

static void
invert(dsv_pixels *picture)
{
	size_t		n = (size_t) picture->width * (size_t) picture->height * 3;

	for (size_t i = 0; i < n; i++)
		picture->rgb[i] = (uint8_t) ~picture->rgb[i];
}

dsv_code
dsv_pdf_decode(const dsv_image_source *src, const dsv_pdf_page *page, const char *data, dsv_pixels *out)
{
	bool		is_png = page->coding == DSV_PDF_FLATE && page->predictor >= 10;
	dsv_image_source inner = *src;
	dsv_image_info info = {0};
	dsv_text	file = {0};
	dsv_code	code = DSV_OK;

	inner.options.page = 0;
	inner.data = (const uint8_t *) data;
	inner.len = page->data_len;
	if (page->data_len > UINT32_MAX / 2)
		return dsv_fail(src->err, DSV_IMAGE_SIZE, "image of the PDF document is %zu bytes", page->data_len);
	if (page->coding == DSV_PDF_DCT)
		code = dsv_jpeg_read(&inner, &info, out);
	else
	{
		code = start_file(src, page, &file);
		if (code == DSV_OK)
		{
			(is_png ? wrap_in_png : wrap_in_tiff) (page, data, &file);
			inner.data = (const uint8_t *) file.s;
			inner.len = file.len;
			code = is_png ? dsv_png_read(&inner, &info, out) : dsv_tiff_read(&inner, &info, out);
		}
		dsv_free(src->mem, file.s);
	}
	if (code == DSV_IMAGE && src->err != NULL)
		strcpy(src->err->msg, "could not decode the image of the PDF document");
	if (code == DSV_OK && (info.width != page->width || info.height != page->height))
	{
		dsv_pixels_free(out, src->mem);
		return fail(src, "The image has another size than the document says.");
	}
	if (code == DSV_OK && page->inverted && (is_png || page->coding == DSV_PDF_DCT))
		invert(out);
	return code;
}

dsv_code
dsv_pdf_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out)
{
	dsv_text	answer = {0};
	dsv_pdf_page page;
	dsv_code	code = dsv_pdf_load(src, out != NULL, &page, &answer);

	if (code == DSV_OK)
	{
		info->width = page.width;
		info->height = page.height;
		info->orientation = page.orientation;
		info->pages = page.pages;
		if (out != NULL)
			code = dsv_pdf_decode(src, &page, answer.s + DSV_PDF_DATA, out);
	}
	dsv_free(src->mem, answer.s);
	return code;
}
