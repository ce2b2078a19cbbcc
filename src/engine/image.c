/*
 * image.c
 *		From the bytes of a file to upright RGB pixels: which format it is, what is refused
 *		before memory is taken, which page is meant, and orientation.  The codecs are in
 *		image_jpeg.c and its like.
 */
#include <string.h>

#include "image_codec.h"
#include "utf8.h"

/* ---- what is it ---- */

typedef struct signature
{
	size_t		at;
	size_t		len;
	const char *bytes;
	const char *what;
} signature;

/* Formats that users try.  ISO media files are told by their brand; longer ones first. */
static const signature foreign[] = {
	{4, 8, "ftypavif", "an AVIF image"},
	{4, 8, "ftypavis", "an AVIF image"},
	{4, 8, "ftypheic", "a HEIC image"},
	{4, 8, "ftypheix", "a HEIC image"},
	{4, 8, "ftyphevc", "a HEIC image"},
	{4, 8, "ftypmif1", "a HEIC or AVIF image"},
	{4, 8, "ftypmsf1", "a HEIC or AVIF image"},
	{4, 4, "ftyp", "an MP4 or QuickTime file"},
	{0, 4, "GIF8", "a GIF image"},
	{0, 2, "BM", "a BMP image"},
	{0, 12, "\0\0\0\14jP  \r\n\207\n", "a JPEG 2000 image"},
	{0, 4, "\377\117\377\121", "a JPEG 2000 image"},
	{0, 12, "\0\0\0\14JXL \r\n\207\n", "a JPEG XL image"},
	{0, 2, "\377\n", "a JPEG XL image"},
	{0, 4, "8BPS", "a Photoshop document"},
	{0, 4, "PK\3\4", "a ZIP archive or an office document"},
	{0, 2, "\37\213", "gzip-compressed data"},
	{0, 4, "\211PNG", "a PNG image that was damaged by a conversion of line ends"},
};

/* Text by which images arrive when an encoding was forgotten. */
static const signature encoded[] = {
	{0, 5, "/9j/4", "base64 text"},
	{0, 11, "iVBORw0KGgo", "base64 text"},
	{0, 11, "data:image/", "a data URL"},
	{0, 6, "ffd8ff", "hexadecimal text"},
	{0, 8, "89504e47", "hexadecimal text"},
	{0, 8, "\\xffd8ff", "hexadecimal text"},
	{0, 10, "\\x89504e47", "hexadecimal text"},
};

static bool
matches(const signature *s, const uint8_t *data, size_t len)
{
	return len >= s->at + s->len && memcmp(data + s->at, s->bytes, s->len) == 0;
}

dsv_image_format
dsv_image_sniff(const uint8_t *data, size_t len)
{
	static const struct
	{
		signature	start;
		dsv_image_format format;
	}			known[] = {
		{{0, 3, "\377\330\377"}, DSV_IMAGE_JPEG},
		{{0, 8, "\211PNG\r\n\032\n"}, DSV_IMAGE_PNG},
		{{0, 4, "II*\0"}, DSV_IMAGE_TIFF},
		{{0, 4, "MM\0*"}, DSV_IMAGE_TIFF},
		{{0, 4, "II+\0"}, DSV_IMAGE_TIFF},	/* BigTIFF */
		{{0, 4, "MM\0+"}, DSV_IMAGE_TIFF},
		{{8, 4, "WEBP"}, DSV_IMAGE_WEBP},
		{{0, 5, "%PDF-"}, DSV_IMAGE_PDF},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (matches(&known[i].start, data, len))
			return known[i].format;
	return DSV_IMAGE_UNKNOWN;
}

/* Printable UTF-8, as far as is worth looking */
static bool
is_text(const uint8_t *data, size_t len)
{
	size_t		most = len < 256 ? len : 256;
	int			size;

	for (size_t i = 0; i < most; i += size)
	{
		bool		space = data[i] == '\t' || data[i] == '\n' || data[i] == '\r';

		if ((data[i] < ' ' && !space) || data[i] == 0x7F ||
			dsv_utf8_next((const char *) data + i, len - i, &size) == DSV_UTF8_WRONG)
			return false;
	}
	return true;
}

static dsv_code
fail_foreign(const uint8_t *data, size_t len, dsv_error *err)
{
	const char *what = NULL;
	const char *hint = "Convert it to JPEG or PNG first.";

	if (len == 0)
	{
		dsv_fail(err, DSV_IMAGE, "image is empty");
		dsv_detail(err, "The data has no bytes.");
		dsv_hint(err, "Store a JPEG or PNG file.");
		return DSV_IMAGE;
	}
	for (size_t i = 0; what == NULL && i < sizeof(foreign) / sizeof(foreign[0]); i++)
	{
		if (matches(&foreign[i], data, len))
			what = foreign[i].what;
	}
	for (size_t i = 0; what == NULL && i < sizeof(encoded) / sizeof(encoded[0]); i++)
	{
		if (matches(&encoded[i], data, len))
		{
			what = encoded[i].what;
			hint = "Decode the text to the bytes of the image file first.";
		}
	}
	if (what == NULL && is_text(data, len))
		what = data[0] == '<' ? "HTML, SVG or XML text" : "plain text";

	dsv_fail(err, DSV_IMAGE, "image is neither JPEG, PNG, TIFF, WebP nor PDF");
	if (what != NULL)
		dsv_detail(err, "The data looks like %s.", what);
	else
		dsv_detail(err, "The format of the data is not known.");
	dsv_hint(err, "%s", hint);
	return DSV_IMAGE;
}

const char *
dsv_image_format_name(dsv_image_format format)
{
	switch (format)
	{
		case DSV_IMAGE_JPEG:
			return "jpeg";
		case DSV_IMAGE_PNG:
			return "png";
		case DSV_IMAGE_TIFF:
			return "tiff";
		case DSV_IMAGE_WEBP:
			return "webp";
		case DSV_IMAGE_PDF:
			return "pdf";
		case DSV_IMAGE_UNKNOWN:
			break;
	}
	return "unknown";
}

/* ---- limits ---- */

dsv_code
dsv_image_check_bytes(const dsv_image_source *src)
{
	if (src->options.max_bytes > 0 && src->len > src->options.max_bytes)
		return dsv_fail(src->err, DSV_IMAGE_SIZE, "image is %zu bytes, at most %zu are allowed",
						src->len, src->options.max_bytes);
	return DSV_OK;
}

dsv_code
dsv_image_check_size(const dsv_image_source *src, int64_t width, int64_t height)
{
	int64_t		limit = src->options.max_pixels;

	if (limit <= 0 || limit > DSV_IMAGE_MAX_PIXELS)
		limit = DSV_IMAGE_MAX_PIXELS;
	if (width <= 0 || height <= 0)
		return dsv_fail(src->err, DSV_IMAGE, "image has no pixels");
	if (width > DSV_IMAGE_MAX_SIDE || height > DSV_IMAGE_MAX_SIDE)
		return dsv_fail(src->err, DSV_IMAGE_SIZE,
						"image is %lld x %lld pixels, at most %d a side are allowed",
						(long long) width, (long long) height, DSV_IMAGE_MAX_SIDE);
	if (width * height > limit)
	{
		dsv_fail(src->err, DSV_IMAGE_SIZE, "image has %lld pixels, at most %lld are allowed",
				 (long long) (width * height), (long long) limit);
		dsv_detail(src->err, "It is %lld x %lld pixels.", (long long) width, (long long) height);
		return DSV_IMAGE_SIZE;
	}
	return DSV_OK;
}

/* ---- pages ---- */

dsv_code
dsv_image_check_pages(int pages, int page, dsv_error *err)
{
	if (page > pages)
		return dsv_fail(err, DSV_IMAGE, "page %d was asked for, but the image has %d page%s", page,
						pages, pages == 1 ? "" : "s");
	if (page == 0 && pages > 1)
	{
		dsv_fail(err, DSV_IMAGE, "the image has %d pages", pages);
		dsv_hint(err, "Say which one with the option \"page\", or make a row of each with vl_pages(image).");
		return DSV_IMAGE;
	}
	return DSV_OK;
}

dsv_code
dsv_image_pick_page(const dsv_image_source *src, int pages, bool decode, int *page)
{
	int			wanted = src->options.page;

	if (wanted == 0 && !decode)
		wanted = 1;
	*page = wanted > 0 ? wanted : 1;
	return dsv_image_check_pages(pages, wanted, src->err);
}

/* ---- reading ---- */

/* Header, and pixels when out is given; info comes back complete. */
static dsv_code
read_image(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out)
{
	dsv_code	code = dsv_image_check_bytes(src);

	if (code != DSV_OK)
		return code;
	memset(info, 0, sizeof(*info));
	info->format = dsv_image_sniff(src->data, src->len);
	info->orientation = dsv_exif_orientation(info->format, src->data, src->len);
	info->pages = 1;
	if (info->format == DSV_IMAGE_TIFF)
		return dsv_tiff_read(src, info, out);
	if (info->format == DSV_IMAGE_PDF)
		return dsv_pdf_read(src, info, out);
	if (info->format == DSV_IMAGE_UNKNOWN)
		return fail_foreign(src->data, src->len, src->err);
	if (src->options.page > 1)
		return dsv_image_check_pages(1, src->options.page, src->err);
	return info->format == DSV_IMAGE_JPEG ? dsv_jpeg_read(src, info, out) :
		info->format == DSV_IMAGE_PNG ? dsv_png_read(src, info, out) :
		dsv_webp_read(src, info, out);
}

dsv_code
dsv_image_probe(const void *data, size_t len, const dsv_image_options *options,
				const dsv_poll *poll, dsv_image_info *info, dsv_error *err)
{
	dsv_image_source src = {.data = data, .len = len, .poll = poll, .err = err};

	if (options != NULL)
		src.options = *options;
	return read_image(&src, info, NULL);
}

/* ---- orientation ---- */

/*
 * Turns a picture upright as EXIF says.  Seen from the upright picture, its pixel (x, y) is
 * the stored one at origin + x * step_x + y * step_y.  Blocks keep both pictures' lines in
 * cache where rows become columns.
 */
dsv_code
dsv_pixels_orient(dsv_pixels *picture, int orientation, const dsv_poll *poll, const dsv_mem *mem,
				  dsv_error *err)
{
	enum { BLOCK = 32 };
	ptrdiff_t	right = 3;
	ptrdiff_t	down = (ptrdiff_t) picture->width * 3;
	ptrdiff_t	to_right_edge = right * (picture->width - 1);
	ptrdiff_t	to_bottom = down * (picture->height - 1);
	bool		turned = orientation >= 5;
	/* 2, 3, 7, 8 start at the right edge, 3, 4, 6, 7 at the bottom */
	bool		mirror_x = orientation == 2 || orientation == 3 || orientation >= 7;
	bool		mirror_y = orientation == 3 || orientation == 4 || orientation == 6 ||
		orientation == 7;
	const uint8_t *origin = picture->rgb + (mirror_x ? to_right_edge : 0) +
		(mirror_y ? to_bottom : 0);
	ptrdiff_t	along_width = mirror_x ? -right : right;
	ptrdiff_t	along_height = mirror_y ? -down : down;
	ptrdiff_t	step_x = turned ? along_height : along_width;
	ptrdiff_t	step_y = turned ? along_width : along_height;
	int			width = turned ? picture->height : picture->width;
	int			height = turned ? picture->width : picture->height;
	uint8_t    *upright = dsv_alloc(mem, (size_t) width * height, 3);

	if (upright == NULL)
		return dsv_fail_nomem(err, (size_t) width * height * 3);
	for (int y0 = 0; y0 < height; y0 += BLOCK)
	{
		int			y1 = y0 + BLOCK < height ? y0 + BLOCK : height;

		if (dsv_poll_canceled(poll))
		{
			dsv_free(mem, upright);
			return dsv_fail_canceled(err);
		}
		for (int x0 = 0; x0 < width; x0 += BLOCK)
		{
			int			x1 = x0 + BLOCK < width ? x0 + BLOCK : width;

			for (int y = y0; y < y1; y++)
			{
				uint8_t    *to = upright + ((size_t) y * width + x0) * 3;

				for (int x = x0; x < x1; x++, to += 3)
					memcpy(to, origin + x * step_x + y * step_y, 3);
			}
		}
	}
	dsv_free(mem, picture->rgb);
	*picture = (dsv_pixels) {upright, width, height};
	return DSV_OK;
}

/* ---- decoding ---- */

dsv_code
dsv_image_decode(const void *data, size_t len, const dsv_image_options *options,
				 const dsv_poll *poll, const dsv_mem *mem, dsv_pixels *out,
				 dsv_image_info *info, dsv_error *err)
{
	dsv_image_source src = {.data = data, .len = len, .poll = poll, .mem = mem, .err = err};
	dsv_image_info own_info;
	dsv_code	code;

	memset(out, 0, sizeof(*out));
	if (info == NULL)
		info = &own_info;
	if (options != NULL)
		src.options = *options;
	code = read_image(&src, info, out);
	if (code == DSV_OK && info->orientation != 1 && !src.options.ignore_exif &&
		!src.options.reference_decode)
		code = dsv_pixels_orient(out, info->orientation, poll, mem, err);
	if (code != DSV_OK)
		dsv_pixels_free(out, mem);
	return code;
}

void
dsv_pixels_free(dsv_pixels *pixels, const dsv_mem *mem)
{
	dsv_free(mem, pixels->rgb);
	memset(pixels, 0, sizeof(*pixels));
}
