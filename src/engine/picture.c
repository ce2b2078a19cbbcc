/*
 * picture.c
 *		Opening, cutting and turning pictures, and pages as files of their own.
 */
#include "picture.h"

#include <math.h>
#include <string.h>

#include "pdf_page.h"

/* ---- opening ---- */

dsv_code
dsv_picture_open(const dsv_bytes *file, const dsv_image_options *options, const dsv_poll *poll,
				 const dsv_mem *mem, dsv_picture **out, dsv_error *err)
{
	dsv_image_options stored = {0};
	dsv_picture *p = dsv_alloc_zero(mem, 1, sizeof(*p));
	dsv_code	code;

	*out = NULL;
	if (p == NULL)
		return dsv_fail_nomem(err, sizeof(*p));
	if (options != NULL)
		stored = *options;
	stored.ignore_exif = true;
	p->poll = poll;
	p->mem = mem;
	code = dsv_image_decode(file->data, file->len, &stored, poll, mem, &p->pixels, &p->info, err);
	if (code != DSV_OK)
	{
		dsv_free(mem, p);
		return code;
	}
	p->orientation = p->info.orientation;
	*out = p;
	return DSV_OK;
}

void
dsv_picture_close(dsv_picture *picture)
{
	if (picture == NULL)
		return;
	dsv_pixels_free(&picture->pixels, picture->mem);
	dsv_free(picture->mem, picture);
}

const dsv_image_info *
dsv_picture_info(const dsv_picture *picture)
{
	return &picture->info;
}

/* ---- cutting ---- */

static int
clamp(double v, int most)
{
	return v <= 0 ? 0 : v >= most ? most : (int) v;
}

dsv_code
dsv_picture_crop(dsv_picture *picture, const double box[4], double margin, dsv_error *err)
{
	dsv_pixels *p = &picture->pixels;
	double		mx = margin * (box[2] - box[0]);
	double		my = margin * (box[3] - box[1]);
	int			x1;
	int			y1;
	int			x2;
	int			y2;

	if (!isfinite(mx) || !isfinite(my) || margin < 0)
		return dsv_fail(err, DSV_INPUT, "region and margin must be finite, and margin not negative");
	x1 = clamp(floor(box[0] - mx), p->width);
	y1 = clamp(floor(box[1] - my), p->height);
	x2 = clamp(ceil(box[2] + mx), p->width);
	y2 = clamp(ceil(box[3] + my), p->height);
	if (x1 >= x2 || y1 >= y2)
	{
		dsv_fail(err, DSV_INPUT, "nothing of the picture is in the region");
		dsv_detail(err, "The stored picture is %d x %d pixels, the region is from (%g,%g) to (%g,%g).",
				   p->width, p->height, box[0], box[1], box[2], box[3]);
		return DSV_INPUT;
	}
	/* rows move to lower addresses, so nothing is overwritten before it is read */
	for (int y = y1; y < y2; y++)
		memmove(p->rgb + (size_t) (y - y1) * (x2 - x1) * 3, p->rgb + ((size_t) y * p->width + x1) * 3,
				(size_t) (x2 - x1) * 3);
	p->width = x2 - x1;
	p->height = y2 - y1;
	return DSV_OK;
}

/* ---- turning ---- */

dsv_code
dsv_picture_turn(dsv_picture *picture, int quarter_turns, dsv_error *err)
{
	/* a quarter turn clockwise behind each orientation */
	static const int clockwise[9] = {0, 6, 7, 8, 5, 2, 3, 4, 1};
	dsv_code	code = DSV_OK;

	for (int n = (quarter_turns % 4 + 4) % 4; n > 0; n--)
		picture->orientation = clockwise[picture->orientation];
	if (picture->orientation != 1)
		code = dsv_pixels_orient(&picture->pixels, picture->orientation, picture->poll, picture->mem, err);
	if (code == DSV_OK)
		picture->orientation = 1;
	return code;
}

/* ---- pages ---- */

static dsv_code
copy_file(const void *start, size_t start_len, const void *rest, size_t rest_len, const dsv_mem *mem,
		  dsv_blob *out, dsv_error *err)
{
	char	   *copy = dsv_alloc(mem, start_len + rest_len, 1);

	if (copy == NULL)
		return dsv_fail_nomem(err, start_len + rest_len);
	if (start_len > 0)
		memcpy(copy, start, start_len);
	memcpy(copy + start_len, rest, rest_len);
	*out = (dsv_blob) {copy, start_len + rest_len};
	return DSV_OK;
}

/*
 * The JPEG file in a PDF page.  Viewers of PDF do not look at its EXIF data, so an orientation
 * in there means nothing: the page's own is put in front, where it is found first.
 */
static dsv_code
copy_jpeg(const char *data, size_t len, int orientation, const dsv_mem *mem, dsv_blob *out, dsv_error *err)
{
	static const char exif[] = "\xFF\xD8\xFF\xE1\0\x22" "Exif\0\0MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0";
	char		start[sizeof(exif) - 1];

	if (len < 2 || orientation == dsv_exif_orientation(DSV_IMAGE_JPEG, (const uint8_t *) data, len))
		return copy_file(NULL, 0, data, len, mem, out, err);
	memcpy(start, exif, sizeof(start));
	start[sizeof(start) - 7] = (char) orientation;
	return copy_file(start, sizeof(start), data + 2, len - 2, mem, out, err);
}

static dsv_code
write_page(dsv_picture *picture, dsv_blob *out, dsv_error *err)
{
	dsv_code	code = dsv_picture_turn(picture, 0, err);

	if (code == DSV_OK)
		code = dsv_picture_encode(picture, DSV_IMAGE_PNG, out, err);
	return code;
}

static dsv_code
tiff_page(const dsv_bytes *file, const dsv_image_source *src, dsv_blob *out)
{
	dsv_picture *picture;
	dsv_code	code = dsv_picture_open(file, &src->options, src->poll, src->mem, &picture, src->err);

	if (code == DSV_OK)
		code = write_page(picture, out, src->err);
	dsv_picture_close(picture);
	return code;
}

static dsv_code
pdf_page(const dsv_image_source *src, dsv_blob *out)
{
	dsv_picture picture = {.poll = src->poll, .mem = src->mem};
	dsv_text	answer = {0};
	dsv_pdf_page page;
	dsv_code	code = dsv_pdf_load(src, true, &page, &answer);

	if (code == DSV_OK && page.coding == DSV_PDF_DCT && !page.inverted)
		code = copy_jpeg(answer.s + DSV_PDF_DATA, page.data_len, page.orientation, src->mem, out, src->err);
	else if (code == DSV_OK)
	{
		picture.orientation = page.orientation;
		code = dsv_pdf_decode(src, &page, answer.s + DSV_PDF_DATA, &picture.pixels);
		if (code == DSV_OK)
			code = write_page(&picture, out, src->err);
		dsv_pixels_free(&picture.pixels, src->mem);
	}
	dsv_free(src->mem, answer.s);
	return code;
}

dsv_code
dsv_image_page(const dsv_bytes *file, const dsv_image_options *options, const dsv_poll *poll,
			   const dsv_mem *mem, dsv_blob *out, dsv_error *err)
{
	dsv_image_source src = {.data = file->data, .len = file->len, .options = *options, .poll = poll,
	.mem = mem, .err = err};
	dsv_image_info info;
	dsv_code	code;

	switch (dsv_image_sniff(file->data, file->len))
	{
		case DSV_IMAGE_TIFF:
			return tiff_page(file, &src, out);
		case DSV_IMAGE_PDF:
			code = dsv_image_check_bytes(&src);
			return code == DSV_OK ? pdf_page(&src, out) : code;
		default:
			code = dsv_image_probe(file->data, file->len, options, poll, &info, err);
			return code == DSV_OK ? copy_file(NULL, 0, file->data, file->len, mem, out, err) : code;
	}
}
