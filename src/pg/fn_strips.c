/*
 * fn_strips.c
 *		vl_ocr_strips: a page that is too long for one reading, read strip by strip.
 *
 * A strip is cut out of the picture, turned upright and written as a PNG of its own, so that
 * it is a picture like any other: the memo and the engine's caches know it again.  All strips
 * are read before the first row is given, as a line at the end of one may have to give way to the
 * beginning of the next.
 */
#include "compat.h"

#include "backend_engine.h"
#include "funcapi.h"
#include "infer.h"
#include "utils/geo_decls.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(vl_ocr_strips);

typedef struct LongPage
{
	InferCall	call;			/* but for the image */
	bytea	   *image;
	dsv_image_info info;
	int			orientation;	/* that is applied */
	double		overlap;
	dsv_strips	strips;
} LongPage;

typedef struct Strip
{
	char	   *text;			/* UTF-8; NULL after a row error */
	Size		len;
	dsv_seam	above;			/* with the strip above: below_from and below_to are of this text */
	Size		to;				/* what is behind goes to the strip below */
} Strip;

/* ---- cutting ---- */

static dsv_bytes
page_bytes(const LongPage *page)
{
	return (dsv_bytes) {VARDATA_ANY(page->image), VARSIZE_ANY_EXHDR(page->image)};
}

/* False when there is nothing to plan: the picture cannot be read, or the model not asked.  A call with
 * the whole picture then says so. */
static bool
plan_page(LongPage *page)
{
	dsv_model  *model = GetBackendModel(OpenBackendModel(page->call.model));
	const dsv_image_options *options = &page->call.options.image;
	dsv_bytes	file = page_bytes(page);
	dsv_error	err;
	bool		turned;

	if (dsv_model_task_prompt(model, page->call.task) == NULL ||
		dsv_image_probe(file.data, file.len, options, &InterruptPoll, &page->info, &err) != DSV_OK)
		return false;
	page->orientation = options->ignore_exif || options->reference_decode ? 1 : page->info.orientation;
	turned = page->orientation >= 5;
	dsv_strips_plan(model, turned ? page->info.height : page->info.width,
					turned ? page->info.width : page->info.height, options->max_tiles, page->overlap,
					&page->strips);
	return true;
}

/* An error of the page, not of its strips: a row error is left in *error, others are raised. */
static bytea *
cutting_failed(const dsv_error *err, VlError *error)
{
	if (err->code == DSV_CANCELED)
		ReportHelperError(err);
	VlErrorFromEngine(error, err);
	if (!VlErrorIsRow(error))
		VlErrorReport(error, ERROR);
	return NULL;
}

/* Strip i as a file; NULL with *error when the picture turns out to be damaged */
static bytea *
cut_strip(const LongPage *page, int i, VlError *error)
{
	dsv_mem		mem = {ContextAlloc, ContextFree, CurrentMemoryContext};
	dsv_bytes	file = page_bytes(page);
	dsv_picture *picture;
	dsv_blob	blob;
	double		box[4];
	dsv_error	err;
	bytea	   *strip;

	dsv_strips_region(&page->strips, i, &page->info, page->orientation, box);
	if (dsv_picture_open(&file, &page->call.options.image, &InterruptPoll, &mem, &picture, &err) != DSV_OK ||
		dsv_picture_crop(picture, box, 0, &err) != DSV_OK ||
		(page->orientation != 1 && dsv_picture_turn(picture, 0, &err) != DSV_OK) ||
		dsv_picture_encode(picture, DSV_IMAGE_PNG, &blob, &err) != DSV_OK)
		return cutting_failed(&err, error);
	dsv_picture_close(picture);
	strip = palloc(VARHDRSZ + blob.len);
	SET_VARSIZE(strip, VARHDRSZ + blob.len);
	memcpy(VARDATA(strip), blob.data, blob.len);
	pfree(blob.data);
	return strip;
}

/* ---- reading ---- */

static void
keep_text(Strip *strip, const char *utf8, Size len, MemoryContext context)
{
	strip->text = MemoryContextAlloc(context, len + 1);
	memcpy(strip->text, utf8, len);
	strip->len = strip->to = len;
}

static void
say_strip(const LongPage *page, int i, VlError *error)
{
	Size		len = strlen(error->detail);

	if (page->strips.count > 1)
		snprintf(error->detail + len, sizeof(error->detail) - len, "%sThis is strip %d of %d.",
				 len > 0 ? " " : "", i + 1, page->strips.count);
}

/* Whether the model was asked and had nothing to say */
static bool
is_blank_answer(const InferResult *result, const VlError *error)
{
	return result->error.sqlerrcode == 0 && error->sqlerrcode == ERRCODE_VL_EMPTY;
}

/* The text goes into `context`, all else into the current one.  False when the page cannot be cut. */
static bool
read_strip(const LongPage *page, int i, Strip *strip, MemoryContext context)
{
	InferCall	call = page->call;
	InferResult uncut = {0};
	InferResult *result;
	bytea	   *image = page->image;
	VlError		error;

	if (page->strips.count > 1)
	{
		image = cut_strip(page, i, &error);
		if (image == NULL)
		{
			ReportRowError(&call, &uncut, &error);
			return false;
		}
		/* the limit is for what somebody stores, and the page was chosen */
		if (VARSIZE_ANY_EXHDR(image) > call.options.image.max_bytes)
			call.options.image.max_bytes = 0;
		call.options.image.page = 0;
	}
	SetImage(&call, image);
	result = Infer(&call);
	if (!FindRowError(&call, result, &error))
		keep_text(strip, result->text, result->len, context);
	else if (page->strips.count > 1 && is_blank_answer(result, &error))
		keep_text(strip, "", 0, context);
	else
	{
		say_strip(page, i, &error);
		ReportRowError(&call, result, &error);
	}
	return true;
}

/* A page without writing must not look like one that was read. */
static void
check_blank(const LongPage *page, Strip *strips)
{
	InferResult blank = {.text = ""};
	VlError		error;

	for (int i = 0; i < page->strips.count; i++)
		if (strips[i].text == NULL || strips[i].len > 0)
			return;
	FindRowError(&page->call, &blank, &error);
	ReportRowError(&page->call, &blank, &error);
	for (int i = 0; i < page->strips.count; i++)
		strips[i].text = NULL;
}

static Strip *
read_strips(const LongPage *page)
{
	Strip	   *strips = MemoryContextAllocExtended(CurrentMemoryContext, page->strips.count * sizeof(Strip),
													MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "strip", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		cut = true;

	for (int i = 0; cut && i < page->strips.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		cut = read_strip(page, i, &strips[i], old);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (!cut)
		return NULL;
	if (page->strips.count > 1)
		check_blank(page, strips);
	return strips;
}

/* ---- joining ---- */

static void
join_strips(Strip *strips, int count, double overlap)
{
	for (int i = 1; i < count; i++)
	{
		dsv_bytes	above = {strips[i - 1].text, strips[i - 1].len};
		dsv_bytes	below = {strips[i].text, strips[i].len};

		CHECK_FOR_INTERRUPTS();
		if (above.data == NULL || below.data == NULL)
			continue;
		dsv_strips_join(&above, &below, overlap, &strips[i].above);
		strips[i - 1].to = strips[i].above.above_to;
	}
}

static text *
new_text(const Strip *strip)
{
	InferResult kept = {0};
	StringInfoData s;
	Size		from = Min(strip->above.below_from, strip->to);
	Size		after = Max(strip->above.below_to, from);

	initStringInfo(&s);
	appendBinaryStringInfo(&s, strip->text, from);
	if (after < strip->to)
		appendBinaryStringInfo(&s, strip->text + after, strip->to - after);
	kept.text = s.data;
	kept.len = s.len;
	return TrimmedAnswer(&kept);
}

static void
put_strip(ReturnSetInfo *rsinfo, const LongPage *page, int i, const Strip *strip)
{
	BOX		   *region = palloc(sizeof(BOX));
	double		box[4];
	Datum		values[3];
	bool		nulls[3] = {false};

	dsv_strips_region(&page->strips, i, &page->info, page->orientation, box);
	*region = (BOX) {.high = {box[2], box[3]}, .low = {box[0], box[1]}};
	values[0] = Int32GetDatum(i + 1);
	values[1] = BoxPGetDatum(region);
	nulls[2] = strip->text == NULL;
	values[2] = nulls[2] ? (Datum) 0 : PointerGetDatum(new_text(strip));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* vl_ocr_strips(image, overlap, model, options) */
Datum
vl_ocr_strips(PG_FUNCTION_ARGS)
{
	LongPage	page = {0};
	Strip	   *strips;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	page.overlap = PG_GETARG_FLOAT4(1);
	if (!(page.overlap >= 0 && page.overlap <= 0.5))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must be between 0 and 0.5")));
	ReadCall(fcinfo, DSV_TASK_OCR, 2, &page.call);
	page.image = PG_GETARG_BYTEA_PP(0);
	if (!plan_page(&page))
	{
		Strip		none = {0};

		page.strips.count = 1;
		read_strip(&page, 0, &none, CurrentMemoryContext);
		return (Datum) 0;
	}
	strips = read_strips(&page);
	if (strips == NULL)
		return (Datum) 0;
	join_strips(strips, page.strips.count, page.overlap);
	for (int i = 0; i < page.strips.count; i++)
		put_strip((ReturnSetInfo *) fcinfo->resultinfo, &page, i, &strips[i]);
	return (Datum) 0;
}
