/*
 * tiff_util.h
 *		TIFF files in memory for the tests: whatever libtiff can write, and small ones by hand
 *		whose directory stands in front of the data.
 */
#ifndef TIFF_UTIL_H
#define TIFF_UTIL_H

#include <tiffio.h>

#include "image_util.h"

typedef struct memory_file
{
	file_bytes	bytes;
	size_t		at;
} memory_file;

static inline tmsize_t
memory_read(thandle_t h, void *to, tmsize_t n)
{
	memory_file *f = h;
	tmsize_t	rest = f->at < f->bytes.len ? (tmsize_t) (f->bytes.len - f->at) : 0;

	n = n < rest ? n : rest;
	memcpy(to, f->bytes.data + f->at, (size_t) n);
	f->at += (size_t) n;
	return n;
}

static inline tmsize_t
memory_write(thandle_t h, void *from, tmsize_t n)
{
	memory_file *f = h;

	if (f->at + (size_t) n > f->bytes.len)
	{
		f->bytes.data = realloc(f->bytes.data, f->at + (size_t) n);
		memset(f->bytes.data + f->bytes.len, 0, f->at + (size_t) n - f->bytes.len);
		f->bytes.len = f->at + (size_t) n;
	}
	memcpy(f->bytes.data + f->at, from, (size_t) n);
	f->at += (size_t) n;
	return n;
}

static inline toff_t
memory_seek(thandle_t h, toff_t offset, int whence)
{
	memory_file *f = h;

	f->at = (size_t) offset + (whence == SEEK_CUR ? f->at : whence == SEEK_END ? f->bytes.len : 0);
	return f->at;
}

static inline int
memory_close(thandle_t h)
{
	(void) h;
	return 0;
}

static inline toff_t
memory_size(thandle_t h)
{
	return ((memory_file *) h)->bytes.len;
}

static inline TIFF *
memory_tiff(memory_file *f, const char *mode)
{
	TIFF	   *tif = TIFFClientOpen("memory", mode, f, memory_read, memory_write, memory_seek,
									 memory_close, memory_size, NULL, NULL);

	assert_non_null(tif);
	return tif;
}

/* What a TIFF file of the tests holds; zero = the plainest */
typedef struct tiff_plan
{
	int			photometric;
	int			bits;
	int			samples;
	int			extra;			/* EXTRASAMPLE_..., -1 = no such tag */
	int			compression;
	int			predictor;
	int			fill_order;
	int			tile;			/* side; 0 = strips */
	int			rows;			/* of a strip; 0 = all in one */
	int			orientation;
	int			subfile;
	bool		planar;
	bool		big_endian;
	bool		big_tiff;
	int			width;
	int			height;
	uint16_t   *values;			/* [height, width, samples], of bits bits */
	uint16_t	map[3][256];
} tiff_plan;

static inline int
plan_colors(const tiff_plan *plan)
{
	return plan->photometric == PHOTOMETRIC_RGB || plan->photometric == PHOTOMETRIC_YCBCR ? 3 :
		plan->photometric == PHOTOMETRIC_SEPARATED ? 4 : 1;
}

static inline void
plan_tiff(tiff_plan *plan, int photometric, int bits, int samples, int extra)
{
	uint32_t	state = (uint32_t) (photometric * 1000 + bits * 10 + samples);
	size_t		n;

	memset(plan, 0, sizeof(*plan));
	plan->photometric = photometric;
	plan->bits = bits;
	plan->samples = samples;
	plan->extra = extra;
	plan->compression = COMPRESSION_NONE;
	plan->width = 83;
	plan->height = 69;
	n = (size_t) plan->width * plan->height * samples;
	plan->values = malloc(n * sizeof(uint16_t));
	for (size_t i = 0; i < n; i++)
		plan->values[i] = (uint16_t) (noise(&state) & ((1u << bits) - 1));
	/* 16-bit grey must cross 255 often enough to show the clipping */
	if (bits == 16)
		for (size_t i = 0; i < n; i += 5)
			plan->values[i] &= 0x1FF;
	for (int c = 0; c < 3; c++)
		for (int i = 0; i < 256; i++)
			plan->map[c][i] = (uint16_t) noise(&state);
}

/* n values from a pixel on, packed as the file wants them; step: values to the next one */
static inline void
pack_values(const uint16_t *v, int n, int step, int bits, uint8_t *to)
{
	for (int i = 0; i < n; i++, v += step)
	{
		if (bits == 16)
			memcpy(to + 2 * i, v, 2);
		else
		{
			if (i * bits % 8 == 0)
				to[i * bits / 8] = 0;
			to[i * bits / 8] |= (uint8_t) (*v << (8 - bits - i * bits % 8));
		}
	}
}

static inline void
set_tags(TIFF *tif, const tiff_plan *plan)
{
	uint16_t	extras[8];
	int			nextra = plan->samples - plan_colors(plan);

	TIFFSetField(tif, TIFFTAG_IMAGEWIDTH, plan->width);
	TIFFSetField(tif, TIFFTAG_IMAGELENGTH, plan->height);
	TIFFSetField(tif, TIFFTAG_BITSPERSAMPLE, plan->bits);
	TIFFSetField(tif, TIFFTAG_SAMPLESPERPIXEL, plan->samples);
	TIFFSetField(tif, TIFFTAG_COMPRESSION, plan->compression);
	TIFFSetField(tif, TIFFTAG_PHOTOMETRIC, plan->photometric);
	TIFFSetField(tif, TIFFTAG_PLANARCONFIG, plan->planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
	if (plan->compression == COMPRESSION_JPEG)
		TIFFSetField(tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
	if (plan->predictor > 0)
		TIFFSetField(tif, TIFFTAG_PREDICTOR, plan->predictor);
	if (plan->fill_order > 0)
		TIFFSetField(tif, TIFFTAG_FILLORDER, plan->fill_order);
	if (plan->orientation > 0)
		TIFFSetField(tif, TIFFTAG_ORIENTATION, plan->orientation);
	if (plan->subfile > 0)
		TIFFSetField(tif, TIFFTAG_SUBFILETYPE, plan->subfile);
	if (plan->photometric == PHOTOMETRIC_PALETTE)
		TIFFSetField(tif, TIFFTAG_COLORMAP, plan->map[0], plan->map[1], plan->map[2]);
	for (int i = 0; i < nextra; i++)
		extras[i] = (uint16_t) (i == 0 ? plan->extra : EXTRASAMPLE_UNSPECIFIED);
	if (nextra > 0 && plan->extra >= 0)
		TIFFSetField(tif, TIFFTAG_EXTRASAMPLES, nextra, extras);
	if (plan->tile > 0)
	{
		TIFFSetField(tif, TIFFTAG_TILEWIDTH, plan->tile);
		TIFFSetField(tif, TIFFTAG_TILELENGTH, plan->tile);
	}
	else
		TIFFSetField(tif, TIFFTAG_ROWSPERSTRIP, plan->rows > 0 ? plan->rows : plan->height);
}

static inline void
write_tiles(TIFF *tif, const tiff_plan *plan, int plane)
{
	int			step = plan->planar ? plan->samples : 1;
	int			each = plan->planar ? 1 : plan->samples;
	uint8_t    *tile = calloc(1, (size_t) TIFFTileSize(tif));

	for (int y = 0; y < plan->height; y += plan->tile)
		for (int x = 0; x < plan->width; x += plan->tile)
		{
			int			n = plan->tile < plan->width - x ? plan->tile : plan->width - x;

			for (int i = 0; i < plan->tile && y + i < plan->height; i++)
				pack_values(plan->values + ((size_t) (y + i) * plan->width + x) * plan->samples + plane,
							n * each, step, plan->bits, tile + i * TIFFTileRowSize(tif));
			assert_true(TIFFWriteTile(tif, tile, (uint32_t) x, (uint32_t) y, 0, (uint16_t) plane) > 0);
		}
	free(tile);
}

static inline void
write_rows(TIFF *tif, const tiff_plan *plan, int plane)
{
	int			step = plan->planar ? plan->samples : 1;
	int			each = plan->planar ? 1 : plan->samples;
	uint8_t    *row = malloc((size_t) plan->width * plan->samples * 2);

	for (int y = 0; y < plan->height; y++)
	{
		pack_values(plan->values + (size_t) y * plan->width * plan->samples + plane, plan->width * each,
					step, plan->bits, row);
		assert_int_equal(TIFFWriteScanline(tif, row, (uint32_t) y, (uint16_t) plane), 1);
	}
	free(row);
}

/* All plans as the directories of one file */
static inline file_bytes
write_tiff(const tiff_plan *plans, int n)
{
	memory_file f = {{NULL, 0}, 0};
	char		mode[4] = {'w', plans->big_endian ? 'b' : 'l', plans->big_tiff ? '8' : '4', 0};
	TIFF	   *tif = memory_tiff(&f, mode);

	for (int i = 0; i < n; i++)
	{
		set_tags(tif, &plans[i]);
		for (int plane = 0; plane < (plans[i].planar ? plans[i].samples : 1); plane++)
			(plans[i].tile > 0 ? write_tiles : write_rows) (tif, &plans[i], plane);
		assert_int_equal(TIFFWriteDirectory(tif), 1);
	}
	TIFFClose(tif);
	return f.bytes;
}

/* The value field of a tag in a directory at an offset of a little-endian file */
static inline uint8_t *
tag_value(const file_bytes *file, size_t directory, int tag)
{
	size_t		n = file->data[directory] | (size_t) file->data[directory + 1] << 8;

	for (size_t i = 0; i < n; i++)
	{
		uint8_t    *entry = file->data + directory + 2 + 12 * i;

		if ((entry[0] | entry[1] << 8) == tag)
			return entry + 8;
	}
	fail_msg("no tag %d", tag);
	return NULL;
}

static inline uint32_t
get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static inline void
put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t) (v >> 8 * i);
}

static inline size_t
first_directory(const file_bytes *file)
{
	return get_le32(file->data + 4);
}

/* The same one-strip picture with its directory in front of the data, as scanners write it */
static inline file_bytes
directory_first(const file_bytes *file)
{
	size_t		directory = first_directory(file);
	size_t		at = get_le32(tag_value(file, directory, TIFFTAG_STRIPOFFSETS));
	size_t		n = get_le32(tag_value(file, directory, TIFFTAG_STRIPBYTECOUNTS));
	size_t		rest = file->len - directory;
	file_bytes	out = {malloc(8 + rest + n), 8 + rest + n};

	assert_int_equal(at, 8);	/* what libtiff writes: header, data, directory */
	assert_true(directory >= 8 + n);
	memcpy(out.data, file->data, 8);
	memcpy(out.data + 8, file->data + directory, rest);
	memcpy(out.data + 8 + rest, file->data + 8, n);
	put_le32(out.data + 4, 8);
	/* values that do not fit into their entry stand behind the directory */
	for (uint8_t *entry = out.data + 10, *end = entry + 12 * out.data[8]; entry < end; entry += 12)
	{
		static const int sizes[] = {0, 1, 1, 2, 4, 8, 1, 1};

		if (get_le32(entry + 4) * (uint32_t) sizes[entry[2]] > 4)
			put_le32(entry + 8, get_le32(entry + 8) - (uint32_t) directory + 8);
	}
	put_le32(tag_value(&out, 8, TIFFTAG_STRIPOFFSETS), (uint32_t) (8 + rest));
	return out;
}

#endif
