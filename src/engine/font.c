/*
 * font.c
 *		Glyphs through FreeType, with memory and the file of our own.
 */
#include "font.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_MODULE_H
#include <string.h>

#include "file.h"
#include "utf8.h"

#define MAX_FONT_BYTES ((size_t) 16 << 20)
#define LOAD_FLAGS (FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP)

struct dsv_font
{
	const dsv_mem *mem;
	struct FT_MemoryRec_ memory;
	dsv_text	file;
	FT_Library	library;
	FT_Face		face;
	bool		refused;		/* an allocation failed: FreeType may call that anything */
};

/* ---- memory ---- */

static void *
on_alloc(FT_Memory memory, long size)
{
	dsv_font   *font = memory->user;

	void	   *p = dsv_alloc(font->mem, (size_t) size, 1);

	font->refused |= p == NULL;
	return p;
}

static void
on_free(FT_Memory memory, void *p)
{
	dsv_font   *font = memory->user;

	dsv_free(font->mem, p);
}

static void *
on_realloc(FT_Memory memory, long old_size, long new_size, void *p)
{
	void	   *grown = on_alloc(memory, new_size);

	if (grown == NULL)
		return NULL;
	memcpy(grown, p, (size_t) (old_size < new_size ? old_size : new_size));
	on_free(memory, p);
	return grown;
}

static dsv_code
fail(const dsv_font *font, FT_Error error, const char *what, dsv_error *err)
{
	if (font->refused)
	{
		dsv_fail(err, DSV_NOMEM, "out of memory");
		dsv_detail(err, "Failed while drawing text.");
		return DSV_NOMEM;
	}
	return dsv_fail(err, DSV_FORMAT, "could not %s: FreeType error %d", what, error);
}

/* ---- fonts ---- */

dsv_code
dsv_font_open(const char *path, const dsv_mem *mem, dsv_font **out, dsv_error *err)
{
	dsv_font   *font = dsv_alloc_zero(mem, 1, sizeof(*font));
	FT_Error	error;
	dsv_code	code;

	*out = NULL;
	if (font == NULL)
		return dsv_fail_nomem(err, sizeof(*font));
	font->mem = mem;
	font->memory.user = font;
	font->memory.alloc = on_alloc;
	font->memory.free = on_free;
	font->memory.realloc = on_realloc;
	code = dsv_file_read(path, MAX_FONT_BYTES, mem, &font->file, err);
	if (code == DSV_OK)
	{
		error = FT_New_Library(&font->memory, &font->library);
		if (error == 0)
		{
			FT_Add_Default_Modules(font->library);	/* says nothing of those that failed */
			error = FT_New_Memory_Face(font->library, (const FT_Byte *) font->file.s,
									   (FT_Long) font->file.len, 0, &font->face);
		}
		code = error == 0 && !font->refused ? DSV_OK : fail(font, error, "open the font", err);
	}
	if (code != DSV_OK)
		dsv_font_close(font);
	else
		*out = font;
	return code;
}

void
dsv_font_close(dsv_font *font)
{
	if (font == NULL)
		return;
	FT_Done_Face(font->face);
	FT_Done_Library(font->library);
	dsv_free(font->mem, font->file.s);
	dsv_free(font->mem, font);
}

dsv_code
dsv_font_set_size(dsv_font *font, int size, int *ascent, int *descent, dsv_error *err)
{
	FT_Error	error = FT_Set_Pixel_Sizes(font->face, 0, (FT_UInt) size);

	if (error != 0)
		return fail(font, error, "set the size of the font", err);
	*ascent = (int) (font->face->size->metrics.ascender + 63) / 64;
	*descent = (int) (63 - font->face->size->metrics.descender) / 64;
	return DSV_OK;
}

/* ---- text ---- */

/* Control characters count as spaces. */
static uint32_t
next_character(const char *text, size_t len, int *size)
{
	const uint8_t *p = (const uint8_t *) text;
	uint32_t	c;

	if (dsv_utf8_next(text, len, size) != DSV_UTF8_CHAR)
		return 0xFFFD;
	if (*size == 1)
		return p[0] < ' ' || p[0] == 0x7F ? ' ' : p[0];
	c = p[0] & (0x7Fu >> *size);
	for (int i = 1; i < *size; i++)
		c = c << 6 | (p[i] & 0x3Fu);
	return c;
}

/* Makes the glyph at a pen position (in 64ths of a pixel) and moves the pen. */
static dsv_code
load_glyph(dsv_font *font, uint32_t c, FT_Pos *pen, bool render, dsv_error *err)
{
	FT_Vector	fraction = {*pen & 63, 0};
	FT_Error	error;

	FT_Set_Transform(font->face, NULL, &fraction);
	error = FT_Load_Glyph(font->face, FT_Get_Char_Index(font->face, c),
						  render ? LOAD_FLAGS | FT_LOAD_RENDER : LOAD_FLAGS);
	if (error != 0)
		return fail(font, error, "draw a character", err);
	/* 16.16 to 26.6 */
	*pen += (font->face->glyph->linearHoriAdvance + 512) >> 10;
	return DSV_OK;
}

dsv_code
dsv_font_measure(dsv_font *font, const char *text, size_t len, int *width, dsv_error *err)
{
	FT_Pos		pen = 0;
	dsv_code	code = DSV_OK;
	int			size;

	for (size_t i = 0; code == DSV_OK && i < len; i += (size_t) size)
		code = load_glyph(font, next_character(text + i, len - i, &size), &pen, false, err);
	*width = (int) ((pen + 63) / 64);
	return code;
}

static void
blend_glyph(const FT_Bitmap *bitmap, int left, int top, dsv_pixels *on, const uint8_t color[3])
{
	for (int y = 0; y < (int) bitmap->rows; y++)
		for (int x = 0; x < (int) bitmap->width; x++)
		{
			unsigned	a = bitmap->buffer[y * bitmap->pitch + x];
			uint8_t    *to;

			if (a == 0 || left + x < 0 || left + x >= on->width || top + y < 0 || top + y >= on->height)
				continue;
			to = on->rgb + ((size_t) (top + y) * on->width + (left + x)) * 3;
			for (int c = 0; c < 3; c++)
				to[c] = (uint8_t) ((to[c] * (255 - a) + color[c] * a + 127) / 255);
		}
}

dsv_code
dsv_font_draw(dsv_font *font, const char *text, size_t len, dsv_pixels *on, int x, int baseline,
			  const uint8_t color[3], dsv_error *err)
{
	FT_Pos		pen = 0;
	dsv_code	code = DSV_OK;
	int			size;

	for (size_t i = 0; code == DSV_OK && i < len; i += (size_t) size)
	{
		int			at = x + (int) (pen / 64);
		FT_GlyphSlot glyph = font->face->glyph;

		code = load_glyph(font, next_character(text + i, len - i, &size), &pen, true, err);
		if (code == DSV_OK && glyph->bitmap.pixel_mode == FT_PIXEL_MODE_GRAY)
			blend_glyph(&glyph->bitmap, at + glyph->bitmap_left, baseline - glyph->bitmap_top, on, color);
	}
	return code;
}
