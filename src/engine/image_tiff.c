/*
 * image_tiff.c
 *		TIFF and BigTIFF through libtiff, one page of a file.
 *
 *	open in memory -> walk the directories, counting pages -> header of the page asked for
 *	-> check it -> rows of strips, or tiles, or planes -> RGB
 *
 * Only what scanners, fax servers and graphics programs write is decoded (none, CCITT, LZW,
 * Deflate, PackBits, JPEG); the library's rarer codecs stay shut to hostile files.  Samples
 * become RGB by the rules of the PNG reader, with the same two modes: the default scales 16
 * bits and blends on white, the reference mode does what Pillow's convert("RGB") does, except
 * that a page is left as stored.
 *
 * A directory that cannot be read is an error even if another page is asked for: a damaged
 * document must not look like a short one.  Thumbnails and masks are no pages.
 */
#include <stdio.h>
#include <string.h>
#include <tiffio.h>

#include "image_codec.h"

/* Of a tile, and beyond the file's own size in any table that libtiff makes */
#define MAX_BLOCK ((size_t) 64 << 20)
#define MAX_CHANNELS 8

typedef enum tiff_alpha
{
	ALPHA_NONE,
	ALPHA_STRAIGHT,
	ALPHA_PREMULTIPLIED,
} tiff_alpha;

/* What the samples of a pixel mean */
typedef struct tiff_layout
{
	int			bits;			/* 1, 2, 4, 8, 16 */
	int			samples;		/* in the file, unused ones included */
	int			colors;			/* 1 grey or palette, 3 RGB, 4 CMYK */
	bool		inverted;		/* grey: 0 is white */
	tiff_alpha	alpha;			/* the sample behind the colours */
	bool		planar;			/* each sample in a plane of its own */
	uint8_t		lut[256][3];	/* one sample of at most 8 bits, no alpha */
} tiff_layout;

typedef struct tiff_reader
{
	const dsv_image_source *src;
	TIFF	   *tif;
	uint64_t	at;				/* of the next read */
	char		report[160];	/* the library's first complaint */
	bool		cut_off;		/* data ended early, and the library went on */
	int			width;
	int			height;
	tiff_layout layout;
	uint8_t    *block;			/* a row, a tile, or a picture of planes */
	uint8_t    *rgb;
} tiff_reader;

/* ---- callbacks of libtiff ---- */

static int __attribute__((format(printf, 4, 0)))
on_error(TIFF *tif, void *ud, const char *module, const char *fmt, va_list args)
{
	tiff_reader *r = ud;

	(void) tif;
	(void) module;
	if (r->report[0] == '\0')
	{
		size_t		n;

		vsnprintf(r->report, sizeof(r->report), fmt, args);
		n = strlen(r->report);
		while (n > 0 && (r->report[n - 1] == '.' || r->report[n - 1] == '\n'))
			r->report[--n] = '\0';
	}
	return 1;
}

/* Of what libtiff forgives, one thing is damage here: it paints the rest of a JPEG strip that
 * ends early grey. */
static int __attribute__((format(printf, 4, 0)))
on_warning(TIFF *tif, void *ud, const char *module, const char *fmt, va_list args)
{
	tiff_reader *r = ud;
	char		text[160];

	(void) tif;
	(void) module;
	vsnprintf(text, sizeof(text), fmt, args);
	if (strstr(text, "Premature end of JPEG") != NULL)
		r->cut_off = true;
	return 1;
}

static tmsize_t
on_read(thandle_t h, void *to, tmsize_t n)
{
	tiff_reader *r = h;
	uint64_t	rest = r->at < r->src->len ? r->src->len - r->at : 0;

	if (n <= 0)
		return 0;
	if ((uint64_t) n > rest)
		n = (tmsize_t) rest;
	if (n > 0)
		memcpy(to, r->src->data + r->at, (size_t) n);
	r->at += (uint64_t) n;
	return n;
}

static tmsize_t
on_write(thandle_t h, void *from, tmsize_t n)
{
	(void) h;
	(void) from;
	(void) n;
	return -1;
}

static toff_t
on_seek(thandle_t h, toff_t offset, int whence)
{
	tiff_reader *r = h;

	if (whence == SEEK_CUR)
		offset += r->at;
	else if (whence == SEEK_END)
		offset += r->src->len;
	r->at = offset;
	return offset;
}

static int
on_close(thandle_t h)
{
	(void) h;
	return 0;
}

static toff_t
on_size(thandle_t h)
{
	return ((tiff_reader *) h)->src->len;
}

static int
on_map(thandle_t h, void **base, toff_t *size)
{
	tiff_reader *r = h;

	*base = (void *) r->src->data;
	*size = r->src->len;
	return 1;
}

static void
on_unmap(thandle_t h, void *base, toff_t size)
{
	(void) h;
	(void) base;
	(void) size;
}

static dsv_code
fail(tiff_reader *r, const char *what)
{
	/* its own limit is named "Memory allocation of ... is beyond" and means a hostile file */
	bool		nomem = strstr(r->report, "beyond") == NULL &&
		(strstr(r->report, "ut of memory") != NULL || strstr(r->report, "No space for") != NULL);
	dsv_code	code = nomem ? DSV_NOMEM : DSV_IMAGE;

	dsv_fail(r->src->err, code, nomem ? "out of memory" : "could not decode TIFF image");
	if (r->report[0] != '\0')
		dsv_detail(r->src->err, "The TIFF decoder reports: %s.", r->report);
	else
		dsv_detail(r->src->err, "%s", what);
	return code;
}

static dsv_code
open_file(tiff_reader *r)
{
	TIFFOpenOptions *options = TIFFOpenOptionsAlloc();

	if (options == NULL)
		return dsv_fail_nomem(r->src->err, 0);
	TIFFOpenOptionsSetErrorHandlerExtR(options, (TIFFErrorHandlerExtR) on_error, r);
	TIFFOpenOptionsSetWarningHandlerExtR(options, (TIFFErrorHandlerExtR) on_warning, r);
	/* offsets and counts of 2 bytes each become 8 */
	TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t) (r->src->len * 4 + MAX_BLOCK));
	/* c: whole strips, as the file has them */
	r->tif = TIFFClientOpenExt("image", "rc", r, on_read, on_write, on_seek, on_close, on_size,
							   on_map, on_unmap, options);
	TIFFOpenOptionsFree(options);
	return r->tif != NULL ? DSV_OK : fail(r, "The header is damaged.");
}

/* ---- pages ---- */

static bool
is_page(TIFF *tif)
{
	uint32_t	kind = 0;

	TIFFGetFieldDefaulted(tif, TIFFTAG_SUBFILETYPE, &kind);
	return (kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) == 0;
}

/* Counts the pages and turns to the one asked for. */
static dsv_code
find_page(tiff_reader *r, dsv_image_info *info, bool decode)
{
	int			wanted = r->src->options.page > 0 ? r->src->options.page : 1;
	int			directory = 0;
	int			chosen = 0;
	int			pages = 0;
	dsv_code	code;

	for (;; directory++)
	{
		if (is_page(r->tif) && ++pages == wanted)
			chosen = directory;
		if (TIFFLastDirectory(r->tif))
			break;
		if (directory + 1 >= DSV_IMAGE_MAX_PAGES)
			return dsv_fail(r->src->err, DSV_LIMIT, "TIFF image has more than %d pages",
							DSV_IMAGE_MAX_PAGES);
		if (dsv_poll_canceled(r->src->poll))
			return dsv_fail_canceled(r->src->err);
		if (!TIFFReadDirectory(r->tif))
			return fail(r, "A directory is damaged.");
	}
	/* a file of thumbnails only is a picture all the same */
	info->pages = pages > 0 ? pages : 1;
	code = dsv_image_pick_page(r->src, info->pages, decode, &wanted);
	if (code == DSV_OK && directory != chosen && !TIFFSetDirectory(r->tif, (tdir_t) chosen))
		code = fail(r, "A directory is damaged.");
	return code;
}

/* ---- what the page holds ---- */

static dsv_code
refuse(tiff_reader *r, const char *what, int value)
{
	dsv_fail(r->src->err, DSV_IMAGE, "TIFF image has an unsupported %s: %d", what, value);
	dsv_hint(r->src->err, "Convert it to PNG first.");
	return DSV_IMAGE;
}

static int
field16(tiff_reader *r, uint32_t tag)
{
	uint16_t	v = 0;

	TIFFGetFieldDefaulted(r->tif, tag, &v);
	return v;
}

static int
field32(tiff_reader *r, uint32_t tag)
{
	uint32_t	v = 1;

	TIFFGetFieldDefaulted(r->tif, tag, &v);
	return v <= INT32_MAX ? (int) v : INT32_MAX;
}

static dsv_code
read_size(tiff_reader *r, dsv_image_info *info)
{
	uint32_t	width = 0;
	uint32_t	height = 0;
	int			orientation = field16(r, TIFFTAG_ORIENTATION);
	dsv_code	code;

	TIFFGetField(r->tif, TIFFTAG_IMAGEWIDTH, &width);
	TIFFGetField(r->tif, TIFFTAG_IMAGELENGTH, &height);
	code = dsv_image_check_size(r->src, width, height);
	if (code != DSV_OK)
		return code;
	info->width = r->width = (int) width;
	info->height = r->height = (int) height;
	info->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
	return DSV_OK;
}

static dsv_code
check_coding(tiff_reader *r)
{
	int			compression = field16(r, TIFFTAG_COMPRESSION);
	int			format = field16(r, TIFFTAG_SAMPLEFORMAT);

	switch (compression)
	{
		case COMPRESSION_JPEG:
			TIFFSetField(r->tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
			break;
		case COMPRESSION_NONE:
		case COMPRESSION_CCITTRLE:
		case COMPRESSION_CCITTFAX3:
		case COMPRESSION_CCITTFAX4:
		case COMPRESSION_LZW:
		case COMPRESSION_ADOBE_DEFLATE:
		case COMPRESSION_DEFLATE:
		case COMPRESSION_PACKBITS:
			break;
		default:
			return refuse(r, "compression scheme", compression);
	}
	if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
		return refuse(r, "sample format", format);
	if (field32(r, TIFFTAG_IMAGEDEPTH) != 1 || field32(r, TIFFTAG_TILEDEPTH) != 1)
		return refuse(r, "image depth", field32(r, TIFFTAG_IMAGEDEPTH));
	return DSV_OK;
}

static tiff_alpha
find_alpha(tiff_reader *r)
{
	uint16_t	n = 0;
	uint16_t   *kinds = NULL;
	tiff_layout *l = &r->layout;

	if (l->samples <= l->colors || l->colors == 4)
		return ALPHA_NONE;
	if (!TIFFGetField(r->tif, TIFFTAG_EXTRASAMPLES, &n, &kinds) || n == 0)
		return l->colors == 3 && l->samples == 4 ? ALPHA_STRAIGHT : ALPHA_NONE;	/* tag forgotten */
	return kinds[0] == EXTRASAMPLE_ASSOCALPHA ? ALPHA_PREMULTIPLIED :
		kinds[0] == EXTRASAMPLE_UNASSALPHA ? ALPHA_STRAIGHT : ALPHA_NONE;
}

static dsv_code
make_grey_lut(tiff_reader *r)
{
	tiff_layout *l = &r->layout;
	int			most = (1 << l->bits) - 1;

	for (int i = 0; l->bits <= 8 && i <= most; i++)
		memset(l->lut[i], (l->inverted ? most - i : i) * 255 / most, 3);
	return DSV_OK;
}

static dsv_code
make_palette_lut(tiff_reader *r)
{
	tiff_layout *l = &r->layout;
	uint16_t   *map[3];
	unsigned	shift = 0;

	if (l->bits > 8 || l->samples != 1)
		return refuse(r, "number of bits a palette index", l->bits);
	if (!TIFFGetField(r->tif, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2]))
		return fail(r, "The palette is missing.");
	/* 16 bits a colour, but some programs wrote 8 */
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 1 << l->bits; i++)
			if (map[c][i] > 255)
				shift = 8;
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 1 << l->bits; i++)
			l->lut[i][c] = (uint8_t) (map[c][i] >> shift);
	return DSV_OK;
}

static dsv_code
read_layout(tiff_reader *r)
{
	tiff_layout *l = &r->layout;
	int			photometric = field16(r, TIFFTAG_PHOTOMETRIC);
	bool		jpeg = field16(r, TIFFTAG_COMPRESSION) == COMPRESSION_JPEG;

	l->bits = field16(r, TIFFTAG_BITSPERSAMPLE);
	l->samples = field16(r, TIFFTAG_SAMPLESPERPIXEL);
	l->planar = field16(r, TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE && l->samples > 1;
	l->inverted = photometric == PHOTOMETRIC_MINISWHITE;
	if (photometric == PHOTOMETRIC_RGB || (photometric == PHOTOMETRIC_YCBCR && jpeg && !l->planar))
		l->colors = 3;
	else if (photometric == PHOTOMETRIC_SEPARATED && field16(r, TIFFTAG_INKSET) == INKSET_CMYK)
		l->colors = 4;
	else if (photometric == PHOTOMETRIC_MINISWHITE || photometric == PHOTOMETRIC_MINISBLACK ||
			 photometric == PHOTOMETRIC_PALETTE)
		l->colors = 1;
	else
		return refuse(r, "photometric interpretation", photometric);
	if (l->samples < l->colors || l->samples > MAX_CHANNELS)
		return refuse(r, "number of samples a pixel", l->samples);
	if (l->bits != 8 && l->bits != 16 &&
		(l->samples > 1 || (l->bits != 1 && l->bits != 2 && l->bits != 4)))
		return refuse(r, "number of bits a sample", l->bits);
	l->alpha = find_alpha(r);
	return photometric == PHOTOMETRIC_PALETTE ? make_palette_lut(r) : make_grey_lut(r);
}

/* ---- samples to RGB ---- */

static inline unsigned
sample_at(const uint8_t *row, size_t i, int bits)
{
	uint16_t	wide;

	if (bits == 8)
		return row[i];
	if (bits == 16)
	{
		memcpy(&wide, row + 2 * i, 2);
		return wide;
	}
	return (unsigned) row[i * bits / 8] >> (8 - bits - i * bits % 8) & ((1u << bits) - 1);
}

/* Colour and alpha of a pixel, on the way to 8 bits */
static void
blend(const tiff_layout *l, bool reference, unsigned v[3], unsigned alpha, uint8_t *rgb)
{
	for (int c = 0; c < 3; c++)
	{
		unsigned	value = v[c];

		if (l->alpha == ALPHA_STRAIGHT && !reference)
			value = dsv_over_white(value, alpha);
		else if (l->alpha == ALPHA_PREMULTIPLIED)
		{
			/* Pillow divides the alpha out and drops it */
			if (!reference)
				value += 255 - alpha;
			else if (alpha > 0)
				value = value * 255 / alpha;
		}
		rgb[c] = (uint8_t) (value > 255 ? 255 : value);
	}
}

static void
row_to_rgb(const tiff_layout *l, const uint8_t *row, int width, bool reference, uint8_t *rgb)
{
	bool		clip = reference && l->bits == 16 && l->samples == 1;
	unsigned	most = l->bits == 16 ? 65535 : 255;

	if (l->bits <= 8 && l->colors == 1 && l->alpha == ALPHA_NONE)
	{
		for (int x = 0; x < width; x++)
			memcpy(rgb + 3 * x, l->lut[sample_at(row, (size_t) x * l->samples, l->bits)], 3);
		return;
	}
	if (l->bits == 8 && l->samples == 3)
	{
		memcpy(rgb, row, (size_t) width * 3);
		return;
	}
	for (int x = 0; x < width; x++, rgb += 3)
	{
		unsigned	v[MAX_CHANNELS] = {0};

		for (int i = 0; i < l->samples; i++)
		{
			v[i] = sample_at(row, (size_t) x * l->samples + i, l->bits);
			/* Pillow's I;16 knows no inversion */
			if (l->inverted && i == 0 && !clip)
				v[i] = most - v[i];
			if (clip)
				v[i] = v[i] > 255 ? 255 : v[i];
			else if (l->bits == 16)
				v[i] = reference ? v[i] >> 8 : dsv_scale16(v[i]);
		}
		if (l->colors == 4)
			for (int c = 0; c < 3; c++)
				v[c] = 255 - v[3] - dsv_mul255(v[c], 255 - v[3]);
		else if (l->colors == 1)
		{
			unsigned	alpha = v[1];

			v[3] = alpha;
			v[1] = v[2] = v[0];
		}
		blend(l, reference, v, v[3], rgb);
	}
}

/* ---- strips, tiles, planes ---- */

static dsv_code
take_block(tiff_reader *r, size_t count, size_t size)
{
	r->block = dsv_alloc(r->src->mem, count, size);
	return r->block != NULL ? DSV_OK : dsv_fail_nomem(r->src->err, count * size);
}

static size_t
bytes_of(const tiff_reader *r, int pixels, int samples)
{
	return ((size_t) pixels * samples * r->layout.bits + 7) / 8;
}

static dsv_code
read_row(tiff_reader *r, void *to, int y, int plane)
{
	if (y % 64 == 0 && dsv_poll_canceled(r->src->poll))
		return dsv_fail_canceled(r->src->err);
	if (TIFFReadScanline(r->tif, to, (uint32_t) y, (uint16_t) plane) != 1)
		return fail(r, "The data of a strip is damaged.");
	return DSV_OK;
}

static dsv_code
read_tile(tiff_reader *r, void *to, int x, int y, int plane)
{
	if (dsv_poll_canceled(r->src->poll))
		return dsv_fail_canceled(r->src->err);
	if (TIFFReadTile(r->tif, to, (uint32_t) x, (uint32_t) y, 0, (uint16_t) plane) < 0)
		return fail(r, "The data of a tile is damaged.");
	return DSV_OK;
}

static uint8_t *
rgb_at(tiff_reader *r, int x, int y)
{
	return r->rgb + ((size_t) y * r->width + x) * 3;
}

static dsv_code
read_strips(tiff_reader *r)
{
	tmsize_t	size = TIFFScanlineSize(r->tif);
	dsv_code	code;

	if (size < (tmsize_t) bytes_of(r, r->width, r->layout.samples))
		return fail(r, "The rows are shorter than the picture is wide.");
	code = take_block(r, (size_t) size, 1);
	for (int y = 0; code == DSV_OK && y < r->height; y++)
	{
		code = read_row(r, r->block, y, 0);
		if (code == DSV_OK)
			row_to_rgb(&r->layout, r->block, r->width, r->src->options.reference_decode, rgb_at(r, 0, y));
	}
	return code;
}

/* Sides of the tiles, and bytes of one (of a plane) */
typedef struct tiff_tiles
{
	int			width;
	int			height;
	size_t		stride;
	size_t		size;
} tiff_tiles;

static dsv_code
measure_tiles(tiff_reader *r, tiff_tiles *t)
{
	uint32_t	width = 0;
	uint32_t	height = 0;
	uint64_t	size = TIFFTileSize64(r->tif);

	TIFFGetField(r->tif, TIFFTAG_TILEWIDTH, &width);
	TIFFGetField(r->tif, TIFFTAG_TILELENGTH, &height);
	if (width == 0 || height == 0 || width > INT32_MAX / 2 || height > INT32_MAX / 2 || size == 0)
		return fail(r, "The sides of the tiles are wrong.");
	if (size > MAX_BLOCK)
		return dsv_fail(r->src->err, DSV_IMAGE_SIZE, "TIFF image has tiles of %llu bytes, at most %zu are allowed",
						(unsigned long long) size, MAX_BLOCK);
	t->width = (int) width;
	t->height = (int) height;
	t->size = (size_t) size;
	t->stride = bytes_of(r, t->width, r->layout.planar ? 1 : r->layout.samples);
	if (t->stride * (size_t) t->height > t->size)
		return fail(r, "The sides of the tiles are wrong.");
	return DSV_OK;
}

static dsv_code
read_tiles(tiff_reader *r)
{
	tiff_tiles	t;
	dsv_code	code = measure_tiles(r, &t);

	if (code == DSV_OK)
		code = take_block(r, t.size, 1);
	for (int y = 0; code == DSV_OK && y < r->height; y += t.height)
		for (int x = 0; code == DSV_OK && x < r->width; x += t.width)
		{
			int			w = t.width < r->width - x ? t.width : r->width - x;
			int			h = t.height < r->height - y ? t.height : r->height - y;

			code = read_tile(r, r->block, x, y, 0);
			for (int i = 0; code == DSV_OK && i < h; i++)
				row_to_rgb(&r->layout, r->block + i * t.stride, w, r->src->options.reference_decode,
						   rgb_at(r, x, y + i));
		}
	return code;
}

/* Puts samples of one plane where they stand in a file without planes. */
static void
scatter(const tiff_reader *r, const uint8_t *from, int n, uint8_t *row, int x, int plane)
{
	size_t		bytes = (size_t) r->layout.bits / 8;
	size_t		step = bytes * r->layout.samples;
	uint8_t    *to = row + x * step + plane * bytes;

	for (int i = 0; i < n; i++, from += bytes, to += step)
		memcpy(to, from, bytes);
}

static dsv_code
read_plane_tiles(tiff_reader *r, uint8_t *all, size_t stride, int plane, const tiff_tiles *t,
				 uint8_t *tile)
{
	dsv_code	code = DSV_OK;

	for (int y = 0; code == DSV_OK && y < r->height; y += t->height)
		for (int x = 0; code == DSV_OK && x < r->width; x += t->width)
		{
			int			w = t->width < r->width - x ? t->width : r->width - x;
			int			h = t->height < r->height - y ? t->height : r->height - y;

			code = read_tile(r, tile, x, y, plane);
			for (int i = 0; code == DSV_OK && i < h; i++)
				scatter(r, tile + i * t->stride, w, all + (y + i) * stride, x, plane);
		}
	return code;
}

static dsv_code
read_plane_strips(tiff_reader *r, uint8_t *all, size_t stride, int plane, uint8_t *row)
{
	dsv_code	code = DSV_OK;

	for (int y = 0; code == DSV_OK && y < r->height; y++)
	{
		code = read_row(r, row, y, plane);
		if (code == DSV_OK)
			scatter(r, row, r->width, all + y * stride, 0, plane);
	}
	return code;
}

/* Plane after plane into a picture of whole pixels: a strip can only be read from its start. */
static dsv_code
read_planes(tiff_reader *r)
{
	size_t		stride = bytes_of(r, r->width, r->layout.samples);
	bool		tiled = TIFFIsTiled(r->tif);
	tiff_tiles	t = {.size = (size_t) TIFFScanlineSize(r->tif)};
	uint8_t    *all;
	dsv_code	code = DSV_OK;

	if (tiled)
		code = measure_tiles(r, &t);
	else if (t.size < bytes_of(r, r->width, 1))
		code = fail(r, "The rows are shorter than the picture is wide.");
	if (code == DSV_OK)
		code = take_block(r, (size_t) r->height, stride);
	if (code != DSV_OK)
		return code;
	all = r->block;
	code = take_block(r, t.size, 1);
	for (int plane = 0; code == DSV_OK && plane < r->layout.samples; plane++)
		code = tiled ? read_plane_tiles(r, all, stride, plane, &t, r->block) :
			read_plane_strips(r, all, stride, plane, r->block);
	for (int y = 0; code == DSV_OK && y < r->height; y++)
		row_to_rgb(&r->layout, all + y * stride, r->width, r->src->options.reference_decode,
				   rgb_at(r, 0, y));
	dsv_free(r->src->mem, all);
	return code;
}

static dsv_code
read_pixels(tiff_reader *r)
{
	dsv_code	code = check_coding(r);

	if (code == DSV_OK)
		code = read_layout(r);
	if (code != DSV_OK)
		return code;
	r->rgb = dsv_alloc(r->src->mem, (size_t) r->height, (size_t) r->width * 3);
	if (r->rgb == NULL)
		return dsv_fail_nomem(r->src->err, (size_t) r->height * r->width * 3);
	if (r->layout.planar)
		code = read_planes(r);
	else
		code = TIFFIsTiled(r->tif) ? read_tiles(r) : read_strips(r);
	if (code == DSV_OK && r->cut_off)
		code = fail(r, "The data of a strip or tile end early.");
	return code;
}

dsv_code
dsv_tiff_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out)
{
	tiff_reader r = {.src = src};
	dsv_code	code = open_file(&r);

	if (code == DSV_OK)
		code = find_page(&r, info, out != NULL);
	if (code == DSV_OK)
		code = read_size(&r, info);
	if (code == DSV_OK && out != NULL)
		code = read_pixels(&r);
	if (r.tif != NULL)
		TIFFClose(r.tif);
	dsv_free(src->mem, r.block);
	if (code != DSV_OK)
		dsv_free(src->mem, r.rgb);
	else if (out != NULL)
		*out = (dsv_pixels) {r.rgb, info->width, info->height};
	return code;
}
