/*
 * font.h
 *		Text as pixels, through FreeType with a font file of our own: no system font, no hinting
 *		and no kerning tables, so that a text looks the same on every machine.
 *
 * A character that the font lacks shows as the font's box.  Characters stand one after the
 * other from left to right; scripts that join or reorder them are not shaped.
 */
#ifndef DSV_FONT_H
#define DSV_FONT_H

#include "image.h"

typedef struct dsv_font dsv_font;

/* Errors: IO, LIMIT, FORMAT, NOMEM. */
dsv_code	dsv_font_open(const char *path, const dsv_mem *mem, dsv_font **out, dsv_error *err);
void		dsv_font_close(dsv_font *font);

/* In pixels an em; *ascent and *descent (both positive) hold letters with accents.  Errors: FORMAT. */
dsv_code	dsv_font_set_size(dsv_font *font, int size, int *ascent, int *descent, dsv_error *err);

/* Width in pixels of UTF-8 text, rounded up.  Errors: FORMAT, NOMEM. */
dsv_code	dsv_font_measure(dsv_font *font, const char *text, size_t len, int *width, dsv_error *err);

/* Draws it from x rightwards on a base line; what is outside the picture is cut off.
 * Errors: FORMAT, NOMEM. */
dsv_code	dsv_font_draw(dsv_font *font, const char *text, size_t len, dsv_pixels *on, int x, int baseline,
						  const uint8_t color[3], dsv_error *err);

#endif
