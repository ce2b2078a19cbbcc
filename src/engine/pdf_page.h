/*
 * pdf_page.h
 *		A page of a PDF document that shows one image and nothing else.
 *
 * pdf_page.c asks qpdf for the page and its image, pdf_content.c reads the page's drawing
 * operators.  Both run in a child process (sandbox.h), because qpdf can be made to recurse, to
 * grow and to work without end; image_pdf.c, in the caller, gets plain facts and coded bytes.
 */
#ifndef DSV_PDF_PAGE_H
#define DSV_PDF_PAGE_H

#include "image_codec.h"
#include "pdf_library.h"
#include "sandbox.h"

typedef enum dsv_pdf_coding
{
	DSV_PDF_RAW,
	DSV_PDF_DCT,
	DSV_PDF_CCITT,
	DSV_PDF_FLATE,
	DSV_PDF_LZW,
} dsv_pdf_coding;

/* What the child writes first; data_len bytes of the image as coded follow, then
 * DSV_PDF_END_MARK. */
typedef struct dsv_pdf_page
{
	dsv_error	error;			/* code DSV_OK: the rest counts */
	int			pages;			/* of the document */
	int			width;			/* 0: no page was chosen, only counted */
	int			height;
	int			orientation;	/* that shows the image as the page does, EXIF 1..8 */
	dsv_pdf_coding coding;
	int			bits;			/* a sample: 1, 2, 4, 8, 16 */
	int			colors;			/* 1 grey or palette, 3 RGB */
	bool		inverted;		/* grey: 0 is white */
	int			predictor;		/* of Flate and LZW: 1, 2, 10 and more */
	int			k;				/* CCITT: < 0 group 4, 0 group 3, > 0 group 3 in two dimensions */
	bool		black_is_1;		/* CCITT */
	int			ncolors;		/* of the palette; 0 = none */
	uint8_t		palette[256][3];
	size_t		data_len;
} dsv_pdf_page;

#define DSV_PDF_END_MARK "end of page"

typedef struct dsv_pdf_question
{
	const dsv_qpdf *qpdf;
	const void *data;
	size_t		len;
	int			page;			/* from 1; 0 = the only one, or the first of many */
	bool		want_data;		/* not for a first of many */
} dsv_pdf_question;

/* Work of a sandbox; ud is a dsv_pdf_question. */
void		dsv_pdf_find_page(void *ud, const dsv_sink *sink);

/*
 * In the caller: the facts of the page that src->options.page names, checked, and with decode the
 * coded bytes, which begin at DSV_PDF_DATA in *out (to be freed by the caller, after errors too).
 * Errors: as dsv_pdf_read.
 */
dsv_code	dsv_pdf_load(const dsv_image_source *src, bool decode, dsv_pdf_page *page, dsv_text *out);

#define DSV_PDF_DATA sizeof(dsv_pdf_page)

/* Pixels from such bytes, as stored.  Errors: IMAGE, IMAGE_SIZE, NOMEM, CANCELED. */
dsv_code	dsv_pdf_decode(const dsv_image_source *src, const dsv_pdf_page *page, const char *data,
						   dsv_pixels *out);

/* ---- what a page draws ---- */

/* Where a page's one image stands: user space (y up) = (x, y, 1) [a b; c d; e f] of the unit
 * square */
typedef struct dsv_pdf_place
{
	char		name[128];		/* of the XObject, "/" first */
	double		matrix[6];
	bool		black_paint;	/* what a stencil would be filled with */
} dsv_pdf_place;

/*
 * Reads a page's content.  NULL, and the place of its image, when it draws that and nothing
 * else (invisible text is nothing), whole within box (x1 y1 x2 y2); otherwise what it holds.
 */
const char *dsv_pdf_read_content(const uint8_t *data, size_t len, const double box[4], dsv_pdf_place *out);

/* EXIF orientation of an image placed so on a page turned clockwise by degrees; 0: a place
 * that is no multiple of a quarter turn. */
int			dsv_pdf_orientation(const double matrix[6], int degrees);

#endif
