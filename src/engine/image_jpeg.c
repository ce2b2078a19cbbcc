/*
 * image_jpeg.c
 *		JPEG through libjpeg-turbo, to the byte as Pillow's convert("RGB") has it.
 *
 * libjpeg's defaults (accurate integer DCT, fancy upsampling) are Pillow's.  So is the rule
 * about damage: what libjpeg only warns of is decoded as well as it goes, but a file that
 * ends before its end marker is an error, because a half-grey page must not pass as a page.
 *
 * Every failure leaves libjpeg by longjmp to read_guarded(), which owns no variable that
 * changes after setjmp: all state is in the jpeg_reader of its caller.
 */
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include <setjmp.h>
#include <string.h>

#include "image_codec.h"

typedef struct jpeg_reader
{
	struct jpeg_decompress_struct cinfo;
	struct jpeg_error_mgr errors;
	struct jpeg_source_mgr source;
	struct jpeg_progress_mgr progress;
	unsigned	ticks;			/* calls of the progress monitor */
	const dsv_image_source *src;
	dsv_image_info *info;
	uint8_t    *rgb;
	uint8_t    *cmyk;			/* one row [width, 4] */
	dsv_code	code;			/* why fail was taken */
	jmp_buf		fail;
} jpeg_reader;

static _Noreturn void
give_up(jpeg_reader *r, dsv_code code)
{
	r->code = code;
	longjmp(r->fail, 1);
}

/* ---- callbacks of libjpeg ---- */

static _Noreturn void
on_error(j_common_ptr cinfo)
{
	jpeg_reader *r = cinfo->client_data;
	char		text[JMSG_LENGTH_MAX];

	if (cinfo->err->msg_code == JERR_OUT_OF_MEMORY)
	{
		dsv_fail(r->src->err, DSV_NOMEM, "out of memory");
		dsv_detail(r->src->err, "Failed while decoding a JPEG image.");
		give_up(r, DSV_NOMEM);
	}
	if (cinfo->err->msg_code == JERR_IMAGE_TOO_BIG)
		give_up(r, dsv_image_check_size(r->src, r->cinfo.image_width, r->cinfo.image_height));
	cinfo->err->format_message(cinfo, text);
	dsv_fail(r->src->err, DSV_IMAGE, "could not decode JPEG image");
	dsv_detail(r->src->err, "The JPEG decoder reports: %s.", text);
	give_up(r, DSV_IMAGE);
}

static void
on_warning(j_common_ptr cinfo, int level)
{
	(void) cinfo;
	(void) level;
}

static void
source_no_op(j_decompress_ptr cinfo)
{
	(void) cinfo;
}

/* The whole file was in the buffer, so wanting more means that it was cut off. */
static boolean
source_exhausted(j_decompress_ptr cinfo)
{
	jpeg_reader *r = cinfo->client_data;

	dsv_fail(r->src->err, DSV_IMAGE, "JPEG image is truncated");
	dsv_detail(r->src->err, "The data ends after %zu bytes, before the end of the picture.",
			   r->src->len);
	give_up(r, DSV_IMAGE);
}

static void
source_skip(j_decompress_ptr cinfo, long bytes)
{
	if (bytes <= 0)
		return;
	if ((size_t) bytes > cinfo->src->bytes_in_buffer)
		source_exhausted(cinfo);
	cinfo->src->next_input_byte += bytes;
	cinfo->src->bytes_in_buffer -= (size_t) bytes;
}

/* Called for every row put out, and for every row of blocks while the scans of a
 * progressive file are read. */
static void
on_progress(j_common_ptr common)
{
	jpeg_reader *r = common->client_data;

	if (r->cinfo.input_scan_number > DSV_IMAGE_MAX_SCANS)
	{
		dsv_fail(r->src->err, DSV_IMAGE_SIZE, "JPEG image has more than %d scans",
				 DSV_IMAGE_MAX_SCANS);
		dsv_detail(r->src->err, "No ordinary picture has so many; the file may be meant to "
				   "keep a decoder busy.");
		give_up(r, DSV_IMAGE_SIZE);
	}
	if (r->ticks++ % 16 == 0 && dsv_poll_canceled(r->src->poll))
		give_up(r, dsv_fail_canceled(r->src->err));
}

/* ---- decoding ---- */

static uint8_t *
take(jpeg_reader *r, size_t count, size_t size)
{
	uint8_t    *p = dsv_alloc(r->src->mem, count, size);

	if (p == NULL)
		give_up(r, dsv_fail_nomem(r->src->err, count * size));
	return p;
}

static void
read_header(jpeg_reader *r)
{
	struct jpeg_decompress_struct *cinfo = &r->cinfo;
	dsv_code	code;

	jpeg_create_decompress(cinfo);
	r->source.init_source = source_no_op;
	r->source.fill_input_buffer = source_exhausted;
	r->source.skip_input_data = source_skip;
	r->source.resync_to_restart = jpeg_resync_to_restart;
	r->source.term_source = source_no_op;
	r->source.next_input_byte = r->src->data;
	r->source.bytes_in_buffer = r->src->len;
	cinfo->src = &r->source;
	r->progress.progress_monitor = on_progress;
	cinfo->progress = &r->progress;

	jpeg_read_header(cinfo, TRUE);
	code = dsv_image_check_size(r->src, cinfo->image_width, cinfo->image_height);
	if (code != DSV_OK)
		give_up(r, code);
	r->info->width = (int) cinfo->image_width;
	r->info->height = (int) cinfo->image_height;
}

/*
 * What the file stores inverted (Adobe's convention, which Pillow takes for granted with or
 * without Adobe's marker) is the amount of light: with ink C = 255 - c and K' = k, red is
 * K' - C K' / 255, the quotient rounded.
 */
static void
cmyk_row_to_rgb(const uint8_t *cmyk, int width, uint8_t *rgb)
{
	for (int x = 0; x < width; x++, cmyk += 4, rgb += 3)
	{
		for (int c = 0; c < 3; c++)
			rgb[c] = (uint8_t) (cmyk[3] - dsv_mul255(255u - cmyk[c], cmyk[3]));
	}
}

static void
read_pixels(jpeg_reader *r)
{
	struct jpeg_decompress_struct *cinfo = &r->cinfo;
	bool		cmyk = cinfo->jpeg_color_space == JCS_CMYK ||
		cinfo->jpeg_color_space == JCS_YCCK;
	size_t		stride = (size_t) cinfo->image_width * 3;

	if (cinfo->num_components != 1 && cinfo->num_components != 3 && !cmyk)
	{
		dsv_fail(r->src->err, DSV_IMAGE, "JPEG image has %d color components",
				 cinfo->num_components);
		dsv_detail(r->src->err, "Grey (1), color (3) and CMYK (4) are supported.");
		give_up(r, DSV_IMAGE);
	}
	cinfo->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
	r->rgb = take(r, cinfo->image_height, stride);
	if (cmyk)
		r->cmyk = take(r, cinfo->image_width, 4);
	jpeg_start_decompress(cinfo);
	while (cinfo->output_scanline < cinfo->output_height)
	{
		uint8_t    *rgb = r->rgb + cinfo->output_scanline * stride;
		JSAMPROW	row = cmyk ? r->cmyk : rgb;

		jpeg_read_scanlines(cinfo, &row, 1);
		if (cmyk)
			cmyk_row_to_rgb(r->cmyk, (int) cinfo->image_width, rgb);
	}
	jpeg_finish_decompress(cinfo);	/* reads on to the end marker */
}

static dsv_code
read_guarded(jpeg_reader *r, bool pixels)
{
	if (setjmp(r->fail) != 0)
		return r->code;
	read_header(r);
	if (pixels)
		read_pixels(r);
	return DSV_OK;
}

dsv_code
dsv_jpeg_read(const dsv_image_source *src, dsv_image_info *info, dsv_pixels *out)
{
	jpeg_reader r;
	dsv_code	code;

	memset(&r, 0, sizeof(r));
	r.src = src;
	r.info = info;
	r.cinfo.err = jpeg_std_error(&r.errors);
	r.errors.error_exit = on_error;
	r.errors.emit_message = on_warning;
	r.cinfo.client_data = &r;

	code = read_guarded(&r, out != NULL);
	jpeg_destroy_decompress(&r.cinfo);
	dsv_free(src->mem, r.cmyk);
	if (code != DSV_OK)
		dsv_free(src->mem, r.rgb);
	else if (out != NULL)
	{
		out->rgb = r.rgb;
		out->width = info->width;
		out->height = info->height;
	}
	return code;
}
