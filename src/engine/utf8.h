/*
 * utf8.h
 *		Taking UTF-8 apart, wrong bytes included.
 */
#ifndef DSV_UTF8_H
#define DSV_UTF8_H

#include <stddef.h>
#include <stdint.h>

typedef enum dsv_utf8
{
	DSV_UTF8_CHAR,				/* one whole character */
	DSV_UTF8_WRONG,				/* a maximal wrong piece: stands for one U+FFFD */
	DSV_UTF8_PARTIAL,			/* the text ends inside a character that was right so far */
} dsv_utf8;

#define DSV_UTF8_REPLACEMENT "\xEF\xBF\xBD"

/* What text[0..len) begins with, len > 0; *size gets its bytes, 1 to 4.  The pieces are
 * those of Python's bytes.decode("utf-8", "replace") (Unicode's maximal subparts). */
dsv_utf8	dsv_utf8_next(const char *text, size_t len, int *size);

/* Bytes of the white-space character that text[0..len) begins or ends with; 0 when it
 * is something else.  White space as Python's str.strip() has it. */
int			dsv_utf8_space_first(const char *text, size_t len);
int			dsv_utf8_space_last(const char *text, size_t len);

#endif
