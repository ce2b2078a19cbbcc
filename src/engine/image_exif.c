/*
 * image_exif.c
 *		The one EXIF field that changes what a picture shows: its orientation.
 *
 * The containers are walked here, over the bytes of the file, instead of being asked
 * through their libraries: PNG allows eXIf behind the pixels, where a probe of the header
 * never comes, and a wrong answer costs a rotated picture at worst, so nothing in here fails.
 */
#include <string.h>

#include "image_codec.h"

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT 3
#define TYPE_LONG 4

static uint32_t
read_uint(const uint8_t *p, int bytes, bool little)
{
	uint32_t	v = 0;

	for (int i = 0; i < bytes; i++)
		v = v << 8 | p[little ? bytes - 1 - i : i];
	return v;
}

/* p: the TIFF structure, with or without JPEG's "Exif" prefix. */
static int
tiff_orientation(const uint8_t *p, size_t len)
{
	bool		little;
	size_t		at;
	size_t		entries;

	if (len >= 6 && memcmp(p, "Exif\0", 6) == 0)
	{
		p += 6;
		len -= 6;
	}
	if (len < 8 || (memcmp(p, "II*\0", 4) != 0 && memcmp(p, "MM\0*", 4) != 0))
		return 1;
	little = p[0] == 'I';
	at = read_uint(p + 4, 4, little);
	if (at > len - 2)
		return 1;
	entries = read_uint(p + at, 2, little);
	at += 2;
	for (; entries > 0 && len - at >= 12; entries--, at += 12)
	{
		uint32_t	type = read_uint(p + at + 2, 2, little);
		uint32_t	value;

		if (read_uint(p + at, 2, little) != TAG_ORIENTATION)
			continue;
		if (type != TYPE_SHORT && type != TYPE_LONG)
			return 1;
		value = read_uint(p + at + 8, type == TYPE_SHORT ? 2 : 4, little);
		return value >= 1 && value <= 8 ? (int) value : 1;
	}
	return 1;
}

static int
jpeg_orientation(const uint8_t *data, size_t len)
{
	size_t		at = 2;

	while (len - at >= 4)
	{
		uint8_t		marker = data[at + 1];
		size_t		segment;

		/* garbage and fill bytes between segments: libjpeg skips them too */
		if (data[at] != 0xFF || marker == 0xFF || marker == 0)
		{
			at++;
			continue;
		}
		if (marker == 0xDA || marker == 0xD9)	/* SOS, EOI */
			return 1;
		segment = read_uint(data + at + 2, 2, false);
		if (segment < 2 || segment > len - at - 2)
			return 1;
		if (marker == 0xE1 && segment >= 8 && memcmp(data + at + 4, "Exif\0", 6) == 0)
			return tiff_orientation(data + at + 4, segment - 2);
		at += 2 + segment;
	}
	return 1;
}

static int
png_orientation(const uint8_t *data, size_t len)
{
	size_t		at = 8;

	while (len - at >= 12)
	{
		size_t		chunk = read_uint(data + at, 4, false);

		if (chunk > len - at - 12)
			return 1;
		if (memcmp(data + at + 4, "eXIf", 4) == 0)
			return tiff_orientation(data + at + 8, chunk);
		at += 12 + chunk;
	}
	return 1;
}

static int
webp_orientation(const uint8_t *data, size_t len)
{
	size_t		at = 12;

	while (len - at >= 8)
	{
		size_t		chunk = read_uint(data + at + 4, 4, true);

		if (chunk > len - at - 8)
			return 1;
		if (memcmp(data + at, "EXIF", 4) == 0)
			return tiff_orientation(data + at + 8, chunk);
		at += 8 + chunk;
		if (chunk % 2 != 0 && at < len)
			at++;
	}
	return 1;
}

int
dsv_exif_orientation(dsv_image_format format, const uint8_t *data, size_t len)
{
	if (format == DSV_IMAGE_JPEG && len >= 2)
		return jpeg_orientation(data, len);
	if (format == DSV_IMAGE_PNG && len >= 8)
		return png_orientation(data, len);
	if (format == DSV_IMAGE_WEBP && len >= 12)
		return webp_orientation(data, len);
	return 1;
}
