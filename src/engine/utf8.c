#include "utf8.h"

#include <stdbool.h>

static bool
is_between(uint8_t c, uint8_t low, uint8_t high)
{
	return c >= low && c <= high;
}

dsv_utf8
dsv_utf8_next(const char *text, size_t len, int *size)
{
	const uint8_t *s = (const uint8_t *) text;
	uint8_t		lead = s[0];
	uint8_t		low = 0x80;
	uint8_t		high = 0xBF;
	int			need;

	*size = 1;
	if (lead < 0x80)
		return DSV_UTF8_CHAR;
	if (!is_between(lead, 0xC2, 0xF4))
		return DSV_UTF8_WRONG;
	need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;

	/* the second byte alone keeps out overlong forms, surrogates and > U+10FFFF */
	if (lead == 0xE0)
		low = 0xA0;
	else if (lead == 0xED)
		high = 0x9F;
	else if (lead == 0xF0)
		low = 0x90;
	else if (lead == 0xF4)
		high = 0x8F;
	while (*size < need)
	{
		if ((size_t) *size == len)
			return DSV_UTF8_PARTIAL;
		if (!is_between(s[*size], low, high))
			return DSV_UTF8_WRONG;
		low = 0x80;
		high = 0xBF;
		(*size)++;
	}
	return DSV_UTF8_CHAR;
}

int
dsv_utf8_space_first(const char *text, size_t len)
{
	const uint8_t *s = (const uint8_t *) text;

	if (len >= 1 && (is_between(s[0], 0x09, 0x0D) || is_between(s[0], 0x1C, 0x20)))
		return 1;
	if (len >= 2 && s[0] == 0xC2 && (s[1] == 0x85 || s[1] == 0xA0))
		return 2;
	if (len < 3)
		return 0;
	if (s[0] == 0xE1 && s[1] == 0x9A && s[2] == 0x80)
		return 3;				/* U+1680 */
	if (s[0] == 0xE2 && s[1] == 0x80 &&
		(is_between(s[2], 0x80, 0x8A) || s[2] == 0xA8 || s[2] == 0xA9 || s[2] == 0xAF))
		return 3;				/* U+2000..200A, 2028, 2029, 202F */
	if (s[0] == 0xE2 && s[1] == 0x81 && s[2] == 0x9F)
		return 3;				/* U+205F */
	if (s[0] == 0xE3 && s[1] == 0x80 && s[2] == 0x80)
		return 3;				/* U+3000 */
	return 0;
}

int
dsv_utf8_space_last(const char *text, size_t len)
{
	for (int size = 1; size <= 3 && (size_t) size <= len; size++)
		if (dsv_utf8_space_first(text + len - size, (size_t) size) == size)
			return size;
	return 0;
}
