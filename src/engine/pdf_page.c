/*
 * pdf_page.c
 *		From a PDF document to one page's image, through qpdf; runs in a child process.
 *
 *	open -> walk the tree of pages, counting -> the page asked for -> its content -> its one
 *	image -> how that is coded -> the coded bytes
 *
 * The tree is walked here and not by qpdf, level by level with a limit on depth and number.
 * What a page inherits (resources, boxes, rotation) is carried along.
 */
#include "pdf_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64
#define MAX_NODES (4 * DSV_IMAGE_MAX_PAGES)
#define MAX_CONTENT ((size_t) 16 << 20)

/* What a page takes from the nodes above it; 0 = nothing */
typedef struct pdf_attributes
{
	qpdf_oh		resources;
	qpdf_oh		media_box;
	qpdf_oh		crop_box;
	qpdf_oh		rotate;
} pdf_attributes;

typedef struct pdf_level
{
	qpdf_oh		kids;
	int			n;
	int			next;
	pdf_attributes attributes;
} pdf_level;

typedef struct pdf_finder
{
	const dsv_pdf_question *question;
	const dsv_qpdf *qpdf;
	qpdf_data	q;
	dsv_pdf_page page;			/* the answer */
	qpdf_oh		chosen;
	pdf_attributes attributes;	/* of the chosen page */
	unsigned char *data;		/* of the image; malloc */
	size_t		len;
} pdf_finder;

/* ---- errors ---- */

static bool
fail_by(pdf_finder *f, qpdf_error e)
{
	dsv_fail(&f->page.error, DSV_IMAGE, "could not read the PDF document");
	dsv_detail(&f->page.error, "The PDF reader reports: %s.", f->qpdf->get_error_message_detail(f->q, e));
	return false;
}

static bool
fail(pdf_finder *f, const char *what)
{
	if (f->qpdf->has_error(f->q))
		return fail_by(f, f->qpdf->get_error(f->q));
	dsv_fail(&f->page.error, DSV_IMAGE, "could not read the PDF document");
	dsv_detail(&f->page.error, "%s", what);
	return false;
}

/* The page is in order, but more than one image. */
static bool
refuse(pdf_finder *f, const char *holds)
{
	dsv_error  *err = &f->page.error;

	dsv_fail(err, DSV_UNSUPPORTED, "page %d of the PDF document is not one scanned image",
			 f->question->page > 0 ? f->question->page : 1);
	dsv_detail(err, "It holds %s.", holds);
	dsv_hint(err, "Render the pages to images first, for example with pdftoppm.");
	return false;
}

/* ---- objects ---- */

/* The value of a key; 0 when there is none */
static qpdf_oh
get(pdf_finder *f, qpdf_oh dict, const char *key)
{
	qpdf_oh		value;

	if (dict == 0 || !f->qpdf->oh_is_dictionary(f->q, dict))
		return 0;
	value = f->qpdf->oh_get_key(f->q, dict, key);
	return f->qpdf->oh_is_null(f->q, value) ? 0 : value;
}

static bool
is_array(pdf_finder *f, qpdf_oh o)
{
	return o != 0 && f->qpdf->oh_is_array(f->q, o);
}

static int
array_length(pdf_finder *f, qpdf_oh o)
{
	return is_array(f, o) ? f->qpdf->oh_get_array_n_items(f->q, o) : 0;
}

static qpdf_oh
item(pdf_finder *f, qpdf_oh array, int i)
{
	return f->qpdf->oh_get_array_item(f->q, array, i);
}

static bool
is_name(pdf_finder *f, qpdf_oh o, const char *name)
{
	return o != 0 && f->qpdf->oh_is_name_and_equals(f->q, o, name);
}

static int
get_int(pdf_finder *f, qpdf_oh dict, const char *key, int otherwise)
{
	qpdf_oh		o = get(f, dict, key);
	int			v = otherwise;

	return o != 0 && f->qpdf->oh_get_value_as_int(f->q, o, &v) ? v : otherwise;
}

static bool
get_bool(pdf_finder *f, qpdf_oh dict, const char *key, bool otherwise)
{
	qpdf_oh		o = get(f, dict, key);

	return o != 0 && f->qpdf->oh_is_bool(f->q, o) ? f->qpdf->oh_get_bool_value(f->q, o) : otherwise;
}

static double
number_at(pdf_finder *f, qpdf_oh array, int i)
{
	qpdf_oh		o = item(f, array, i);

	return f->qpdf->oh_is_number(f->q, o) ? f->qpdf->oh_get_numeric_value(f->q, o) : 0;
}

/* ---- the tree of pages ---- */

static void
inherit(pdf_finder *f, qpdf_oh node, pdf_attributes *a)
{
	qpdf_oh		o;

	if ((o = get(f, node, "/Resources")) != 0)
		a->resources = o;
	if ((o = get(f, node, "/MediaBox")) != 0)
		a->media_box = o;
	if ((o = get(f, node, "/CropBox")) != 0)
		a->crop_box = o;
	if ((o = get(f, node, "/Rotate")) != 0)
		a->rotate = o;
}

static bool
enter(pdf_finder *f, pdf_level *stack, int *depth, qpdf_oh kids, const pdf_attributes *attributes)
{
	pdf_level  *level = &stack[*depth];

	if (*depth == MAX_DEPTH)
		return fail(f, "Its tree of pages is nested too deeply.");
	level->kids = kids;
	level->n = array_length(f, kids);
	level->next = 0;
	level->attributes = *attributes;
	(*depth)++;
	return true;
}

/* A node is a page unless it has children. */
static bool
visit(pdf_finder *f, pdf_level *stack, int *depth, qpdf_oh node, pdf_attributes attributes)
{
	int			wanted = f->question->page > 0 ? f->question->page : 1;
	qpdf_oh		kids = get(f, node, "/Kids");

	if (node == 0 || !f->qpdf->oh_is_dictionary(f->q, node))
		return fail(f, "A page is missing.");
	inherit(f, node, &attributes);
	if (is_array(f, kids))
		return enter(f, stack, depth, kids, &attributes);
	if (++f->page.pages > DSV_IMAGE_MAX_PAGES)
	{
		dsv_fail(&f->page.error, DSV_LIMIT, "the PDF document has more than %d pages",
				 DSV_IMAGE_MAX_PAGES);
		return false;
	}
	if (f->page.pages == wanted)
	{
		f->chosen = node;
		f->attributes = attributes;
	}
	return true;
}

static bool
walk_pages(pdf_finder *f)
{
	pdf_level	stack[MAX_DEPTH];
	int			depth = 0;
	int			nodes = 1;
	pdf_attributes none = {0};

	if (!visit(f, stack, &depth, get(f, f->qpdf->get_root(f->q), "/Pages"), none))
		return false;
	while (depth > 0)
	{
		pdf_level  *level = &stack[depth - 1];

		if (level->next == level->n)
			depth--;
		else if (nodes++ == MAX_NODES)
			return fail(f, "Its tree of pages has too many nodes.");
		else if (!visit(f, stack, &depth, item(f, level->kids, level->next++), level->attributes))
			return false;
	}
	return f->page.pages > 0 ? true : fail(f, "It has no pages.");
}

/* ---- the chosen page ---- */

static bool
read_box(pdf_finder *f, qpdf_oh o, double box[4])
{
	double		v[4];

	if (array_length(f, o) != 4)
		return false;
	for (int i = 0; i < 4; i++)
		v[i] = number_at(f, o, i);
	for (int i = 0; i < 2; i++)
	{
		box[i] = v[i] < v[i + 2] ? v[i] : v[i + 2];
		box[i + 2] = v[i] < v[i + 2] ? v[i + 2] : v[i];
	}
	return true;
}

static void
visible_box(pdf_finder *f, double box[4])
{
	static const double letter[4] = {0, 0, 612, 792};
	double		crop[4];

	if (!read_box(f, f->attributes.media_box, box))
		memcpy(box, letter, sizeof(letter));
	if (read_box(f, f->attributes.crop_box, crop))
		for (int i = 0; i < 2; i++)
		{
			box[i] = crop[i] > box[i] ? crop[i] : box[i];
			box[i + 2] = crop[i + 2] < box[i + 2] ? crop[i + 2] : box[i + 2];
		}
}

/* What is drawn over a page: all but links and what has no appearance, no size, or is hidden */
static bool
has_annotations(pdf_finder *f)
{
	qpdf_oh		all = get(f, f->chosen, "/Annots");

	for (int i = 0; i < array_length(f, all); i++)
	{
		qpdf_oh		one = item(f, all, i);
		qpdf_oh		kind = get(f, one, "/Subtype");
		double		box[4] = {0};

		if (is_name(f, kind, "/Link") || is_name(f, kind, "/Popup") || get(f, one, "/AP") == 0 ||
			(get_int(f, one, "/F", 0) & 2) != 0)
			continue;
		if (!read_box(f, get(f, one, "/Rect"), box) || box[0] == box[2] || box[1] == box[3])
			continue;
		return true;
	}
	return false;
}

/* The stream and place of the page's image */
static bool
find_image(pdf_finder *f, qpdf_oh *stream, dsv_pdf_place *place)
{
	unsigned char *content = NULL;
	size_t		len = 0;
	double		box[4];
	const char *other = "no image";

	if (has_annotations(f))
		return refuse(f, "annotations");
	if (f->qpdf->oh_get_page_content_data(f->q, f->chosen, &content, &len) & QPDF_ERRORS)
		return fail(f, "The content of the page is damaged.");
	visible_box(f, box);
	if (len > 0)
		other = len <= MAX_CONTENT ? dsv_pdf_read_content(content, len, box, place) : "drawings";
	free(content);
	if (other != NULL)
		return refuse(f, other);
	*stream = get(f, get(f, f->attributes.resources, "/XObject"), place->name);
	if (*stream == 0 || !f->qpdf->oh_is_stream(f->q, *stream))
		return fail(f, "The image of the page is missing.");
	return true;
}

/* ---- the image ---- */

/* Of a colour space without palette: 1 grey, 3 RGB; 0 for others */
static int
colors_of(pdf_finder *f, qpdf_oh space)
{
	qpdf_oh		kind = array_length(f, space) > 0 ? item(f, space, 0) : space;

	if (is_name(f, kind, "/DeviceGray") || is_name(f, kind, "/CalGray") || is_name(f, kind, "/G"))
		return 1;
	if (is_name(f, kind, "/DeviceRGB") || is_name(f, kind, "/CalRGB") || is_name(f, kind, "/RGB"))
		return 3;
	if (is_name(f, kind, "/ICCBased") && array_length(f, space) == 2 &&
		f->qpdf->oh_is_stream(f->q, item(f, space, 1)))
	{
		int			n = get_int(f, f->qpdf->oh_get_dict(f->q, item(f, space, 1)), "/N", 0);

		return n == 1 || n == 3 ? n : 0;
	}
	return 0;
}

static void
fill_palette(dsv_pdf_page *page, const uint8_t *table, size_t len, int colors)
{
	for (int i = 0; i < page->ncolors; i++)
		for (int c = 0; c < 3; c++)
		{
			size_t		at = (size_t) i * (size_t) colors + (colors == 3 ? (size_t) c : 0);

			page->palette[i][c] = at < len ? table[at] : 0;
		}
}

static bool
read_palette(pdf_finder *f, qpdf_oh space)
{
	int			colors = colors_of(f, item(f, space, 1));
	qpdf_oh		table = item(f, space, 3);
	int			last = -1;
	size_t		len = 0;

	if (colors == 0)
		return refuse(f, "an image whose palette has other colors than grey and RGB");
	if (!f->qpdf->oh_get_value_as_int(f->q, item(f, space, 2), &last) || last < 0 || last > 255)
		return fail(f, "The palette of the image is damaged.");
	f->page.colors = 1;
	f->page.ncolors = last + 1;
	if (f->qpdf->oh_is_stream(f->q, table))
	{
		unsigned char *data = NULL;

		if (f->qpdf->oh_get_stream_data(f->q, table, qpdf_dl_generalized, NULL, &data, &len) & QPDF_ERRORS)
			return fail(f, "The palette of the image is damaged.");
		fill_palette(&f->page, data, len, colors);
		free(data);
	}
	else if (f->qpdf->oh_is_string(f->q, table))
	{
		const char *data = f->qpdf->oh_get_binary_string_value(f->q, table, &len);

		fill_palette(&f->page, (const uint8_t *) data, len, colors);
	}
	else
		return fail(f, "The palette of the image is damaged.");
	return true;
}

static bool
read_colors(pdf_finder *f, qpdf_oh dict)
{
	qpdf_oh		space = get(f, dict, "/ColorSpace");

	if (get_bool(f, dict, "/ImageMask", false))
	{
		f->page.colors = 1;
		f->page.bits = 1;
		return true;
	}
	if (array_length(f, space) == 4 &&
		(is_name(f, item(f, space, 0), "/Indexed") || is_name(f, item(f, space, 0), "/I")))
		return read_palette(f, space);
	f->page.colors = colors_of(f, space);
	return f->page.colors > 0 ? true : refuse(f, "an image with other colors than grey and RGB");
}

/* Whether samples mean what they say, or (grey) the opposite */
static bool
read_decode(pdf_finder *f, qpdf_oh dict)
{
	qpdf_oh		decode = get(f, dict, "/Decode");
	int			n = array_length(f, decode);
	double		most = f->page.ncolors > 0 ? (1 << f->page.bits) - 1 : 1;
	bool		plain = true;
	bool		opposite = true;

	for (int i = 0; i < n; i++)
	{
		double		v = number_at(f, decode, i);

		plain = plain && v == (i % 2 == 0 ? 0 : most);
		opposite = opposite && v == (i % 2 == 0 ? 1 : 0);
	}
	if (n == 0 || plain)
		return true;
	if (!opposite || f->page.colors != 1 || f->page.ncolors > 0)
		return refuse(f, "an image whose samples are mapped to other values");
	f->page.inverted = true;
	return true;
}

static bool
find_coding(pdf_finder *f, qpdf_oh filter)
{
	static const struct
	{
		const char *name;
		dsv_pdf_coding coding;
	}			codings[] = {
		{"/DCTDecode", DSV_PDF_DCT},
		{"/CCITTFaxDecode", DSV_PDF_CCITT},
		{"/FlateDecode", DSV_PDF_FLATE},
		{"/LZWDecode", DSV_PDF_LZW},
	};
	char		what[100];

	f->page.coding = DSV_PDF_RAW;
	if (filter == 0)
		return true;
	for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++)
		if (is_name(f, filter, codings[i].name))
			f->page.coding = codings[i].coding;
	if (f->page.coding != DSV_PDF_RAW)
		return true;
	snprintf(what, sizeof(what), "an image coded with %.40s",
			 f->qpdf->oh_is_name(f->q, filter) ? f->qpdf->oh_get_name(f->q, filter) + 1 : "something unknown");
	return refuse(f, what);
}

/* What the coding says must be what the image says: nobody could tell which one is right. */
static bool
read_coding_parms(pdf_finder *f, qpdf_oh parms)
{
	dsv_pdf_page *page = &f->page;

	if (page->coding == DSV_PDF_CCITT)
	{
		page->k = get_int(f, parms, "/K", 0);
		page->black_is_1 = get_bool(f, parms, "/BlackIs1", false);
		if (get_int(f, parms, "/Columns", 1728) != page->width || get_bool(f, parms, "/EncodedByteAlign", false))
			return refuse(f, "an image coded with CCITTFaxDecode in an unusual way");
	}
	if (page->coding == DSV_PDF_FLATE || page->coding == DSV_PDF_LZW)
	{
		page->predictor = get_int(f, parms, "/Predictor", 1);
		if (page->predictor > 1 &&
			(get_int(f, parms, "/Columns", 1) != page->width || get_int(f, parms, "/Colors", 1) != page->colors ||
			 get_int(f, parms, "/BitsPerComponent", 8) != page->bits))
			return fail(f, "The predictor of the image does not fit it.");
		if (page->coding == DSV_PDF_LZW &&
			(page->predictor > 2 || get_int(f, parms, "/EarlyChange", 1) != 1))
			return refuse(f, "an image coded with LZWDecode in an unusual way");
	}
	return true;
}

static bool
read_coding(pdf_finder *f, qpdf_oh dict)
{
	qpdf_oh		filter = get(f, dict, "/Filter");
	qpdf_oh		parms = get(f, dict, "/DecodeParms");

	if (array_length(f, filter) > 1)
		return refuse(f, "an image coded twice");
	if (is_array(f, filter))
		filter = array_length(f, filter) == 1 ? item(f, filter, 0) : 0;
	if (is_array(f, parms))
		parms = array_length(f, parms) > 0 ? item(f, parms, 0) : 0;
	if (!find_coding(f, filter))
		return false;
	if (f->page.ncolors > 0 && (f->page.coding == DSV_PDF_CCITT || f->page.coding == DSV_PDF_DCT))
		return refuse(f, "an image with a palette in an unusual coding");
	return read_coding_parms(f, parms);
}

/* Sides and bits that the codings know */
static bool
check_shape(pdf_finder *f)
{
	const dsv_pdf_page *page = &f->page;
	int			bits = page->bits;

	if (page->width < 1 || page->height < 1)
		return fail(f, "The image has no pixels.");
	if ((bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16) ||
		(page->coding == DSV_PDF_CCITT && bits != 1) || (page->colors == 3 && bits < 8) ||
		(page->ncolors > 0 && bits > 8))
		return refuse(f, "an image with an unusual number of bits a sample");
	return true;
}

static bool
read_image(pdf_finder *f, qpdf_oh stream, const dsv_pdf_place *place)
{
	qpdf_oh		dict = f->qpdf->oh_get_dict(f->q, stream);
	bool		stencil = get_bool(f, dict, "/ImageMask", false);
	int			degrees = 0;

	if (is_name(f, get(f, dict, "/Subtype"), "/Form"))
		return refuse(f, "a form");
	if (!is_name(f, get(f, dict, "/Subtype"), "/Image"))
		return refuse(f, "no image");
	if (get(f, dict, "/SMask") != 0 || get(f, dict, "/Mask") != 0)
		return refuse(f, "an image with a mask");
	if (stencil && !place->black_paint)
		return refuse(f, "a colored stencil");
	f->page.width = get_int(f, dict, "/Width", 0);
	f->page.height = get_int(f, dict, "/Height", 0);
	f->page.bits = get_int(f, dict, "/BitsPerComponent", 8);
	if (!read_colors(f, dict) || !read_coding(f, dict) || !check_shape(f) || !read_decode(f, dict))
		return false;
	if (f->attributes.rotate != 0)
		f->qpdf->oh_get_value_as_int(f->q, f->attributes.rotate, &degrees);
	f->page.orientation = dsv_pdf_orientation(place->matrix, degrees);
	return f->page.orientation > 0 ? true : refuse(f, "an image that is not upright");
}

/* ---- the whole ---- */

static bool
open_document(pdf_finder *f)
{
	f->qpdf->silence_errors(f->q);
	f->qpdf->set_suppress_warnings(f->q, QPDF_TRUE);
	if (f->qpdf->read_memory(f->q, "document", f->question->data, f->question->len, NULL) & QPDF_ERRORS)
	{
		qpdf_error	e = f->qpdf->get_error(f->q);

		if (f->qpdf->get_error_code(f->q, e) != qpdf_e_password)
			return fail_by(f, e);
	}
	else if (!f->qpdf->is_encrypted(f->q))
		return true;
	dsv_fail(&f->page.error, DSV_UNSUPPORTED, "the PDF document is encrypted");
	dsv_hint(&f->page.error, "Store it without a password.");
	return false;
}

static bool
find_page(pdf_finder *f)
{
	const dsv_pdf_question *question = f->question;
	dsv_pdf_place place;
	qpdf_oh		stream = 0;

	if (!open_document(f) || !walk_pages(f))
		return false;
	/* the caller says so in its own words */
	if (question->page > f->page.pages ||
		(question->page == 0 && question->want_data && f->page.pages > 1))
		return true;
	if (!find_image(f, &stream, &place) || !read_image(f, stream, &place))
		return false;
	if (question->want_data &&
		(f->qpdf->oh_get_stream_data(f->q, stream, qpdf_dl_none, NULL, &f->data, &f->len) & QPDF_ERRORS))
		return fail(f, "The data of the image are damaged.");
	return true;
}

void
dsv_pdf_find_page(void *ud, const dsv_sink *sink)
{
	const dsv_pdf_question *question = ud;
	pdf_finder	f = {.question = question, .qpdf = question->qpdf, .q = question->qpdf->init()};

	if (find_page(&f))
		f.page.data_len = f.len;
	sink->put(sink->ud, &f.page, sizeof(f.page));
	sink->put(sink->ud, f.data, f.page.data_len);
	sink->put(sink->ud, DSV_PDF_END_MARK, sizeof(DSV_PDF_END_MARK));
	free(f.data);
	f.qpdf->cleanup(&f.q);
}
