/*
 * fn_picture.c
 *		Pictures out of pictures, without a model: vl_crop, vl_rotate, vl_annotate, vl_pages.
 *
 * All are IMMUTABLE: settings decide whether they answer (limits), never what.  Regions and
 * boxes are in pixels of the stored picture, as vl_boxes and vl_ground give them; what comes
 * out is upright and needs no EXIF orientation.
 */
#include "compat.h"

#include <math.h>

#include "backend_engine.h"
#include "funcapi.h"
#include "guc.h"
#include "json_value.h"
#include "options.h"
#include "utils/builtins.h"
#include "utils/geo_decls.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(vl_crop);
PG_FUNCTION_INFO_V1(vl_rotate);
PG_FUNCTION_INFO_V1(vl_annotate);
PG_FUNCTION_INFO_V1(vl_pages);

#define FONT "$sharedir/dsvl2/fonts/DejaVuSans-Bold.ttf"

/* ---- in and out ---- */

static dsv_bytes
image_bytes(const bytea *image)
{
	return (dsv_bytes) {VARDATA_ANY(image), VARSIZE_ANY_EXHDR(image)};
}

static dsv_image_options
limits(void)
{
	return (dsv_image_options) {
		.max_bytes = SettingMaxImageBytes,
		.max_pixels = SettingMaxImagePixels,
	};
}

/* *mem must live as long as the picture, which goes with the memory context. */
static dsv_picture *
open_picture(const bytea *image, dsv_mem *mem)
{
	dsv_bytes	file = image_bytes(image);
	dsv_image_options options = limits();
	dsv_picture *picture;
	dsv_error	err;

	*mem = (dsv_mem) {ContextAlloc, ContextFree, CurrentMemoryContext};
	if (dsv_picture_open(&file, &options, &InterruptPoll, mem, &picture, &err) != DSV_OK)
		ReportHelperError(&err);
	return picture;
}

static bytea *
to_bytea(const dsv_blob *blob)
{
	bytea	   *result;

	if (blob->len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the picture is too large for a bytea value")));
	result = palloc(blob->len + VARHDRSZ);
	SET_VARSIZE(result, blob->len + VARHDRSZ);
	memcpy(VARDATA(result), blob->data, blob->len);
	pfree(blob->data);
	return result;
}

static Datum
encode_and_close(dsv_picture *picture, dsv_image_format format)
{
	dsv_blob	blob;
	dsv_error	err;

	if (dsv_picture_encode(picture, format, &blob, &err) != DSV_OK)
		ReportHelperError(&err);
	dsv_picture_close(picture);
	return PointerGetDatum(to_bytea(&blob));
}

/* ---- vl_crop, vl_rotate ---- */

static dsv_image_format
parse_format(const char *name)
{
	if (strcmp(name, "png") == 0)
		return DSV_IMAGE_PNG;
	if (strcmp(name, "jpeg") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" cannot be written", name),
				 errhint("Use \"png\" or \"jpeg\".")));
	return DSV_IMAGE_JPEG;
}

/* vl_crop(image, region, margin, format) */
Datum
vl_crop(PG_FUNCTION_ARGS)
{
	BOX		   *region = PG_GETARG_BOX_P(1);
	dsv_image_format format = parse_format(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	double		box[4] = {region->low.x, region->low.y, region->high.x, region->high.y};
	dsv_mem		mem;
	dsv_picture *picture = open_picture(PG_GETARG_BYTEA_PP(0), &mem);
	dsv_error	err;

	if (dsv_picture_crop(picture, box, PG_GETARG_FLOAT4(2), &err) != DSV_OK ||
		dsv_picture_turn(picture, 0, &err) != DSV_OK)
		ReportHelperError(&err);
	return encode_and_close(picture, format);
}

/* vl_rotate(image, quarter_turns): what came as JPEG stays JPEG */
Datum
vl_rotate(PG_FUNCTION_ARGS)
{
	dsv_mem		mem;
	dsv_picture *picture = open_picture(PG_GETARG_BYTEA_PP(0), &mem);
	bool		jpeg = dsv_picture_info(picture)->format == DSV_IMAGE_JPEG;
	dsv_error	err;

	if (dsv_picture_turn(picture, PG_GETARG_INT32(1), &err) != DSV_OK)
		ReportHelperError(&err);
	return encode_and_close(picture, jpeg ? DSV_IMAGE_JPEG : DSV_IMAGE_PNG);
}

/* ---- vl_annotate ---- */

typedef struct MarkList
{
	dsv_mark   *marks;
	int			n;
	int			width;			/* of the stored picture */
	int			height;
} MarkList;

static bool
to_number(const JsonbValue *v, double *x)
{
	if (v == NULL || v->type != jbvNumeric)
		return false;
	*x = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(v->val.numeric)));
	return isfinite(*x);
}

/* [x1, y1, x2, y2], or [x, y] of a point */
static bool
read_array(const JsonbValue *v, double px[4])
{
	uint32		n = IsArrayValue(v) ? JsonContainerSize(v->val.binary.data) : 0;

	if (n != 2 && n != 4)
		return false;
	for (uint32 i = 0; i < 4; i++)
		if (!to_number(getIthJsonbValueFromContainer(v->val.binary.data, i % n), &px[i]))
			return false;
	return true;
}

/* "(x,y)", as a point becomes in jsonb */
static bool
read_point(const JsonbValue *v, double px[4])
{
	Point	   *at;

	if (v == NULL || v->type != jbvString)
		return false;
	at = DatumGetPointP(DirectFunctionCall1(point_in, CStringGetDatum(StringOfValue(v))));
	px[0] = px[2] = at->x;
	px[1] = px[3] = at->y;
	return isfinite(at->x) && isfinite(at->y);
}

/* Where a box is: as vl_ground has it, or a row of vl_boxes or vl_points made jsonb */
static bool
read_place(JsonbContainer *box, const MarkList *list, double px[4])
{
	static const char *const corners[] = {"x1", "y1", "x2", "y2"};
	bool		found = true;

	if (read_array(FindMember(box, "px"), px))
		return true;
	for (int i = 0; i < 4; i++)
		found = found && to_number(FindMember(box, corners[i]), &px[i]);
	if (found || read_point(FindMember(box, "at"), px))
		return true;
	if (!read_array(FindMember(box, "norm"), px))
		return false;
	for (int i = 0; i < 4; i++)
		px[i] = px[i] / 999 * (i % 2 == 0 ? list->width : list->height);
	return true;
}

static void
add_mark(MarkList *list, const JsonbValue *v, const JsonbValue *label)
{
	dsv_mark   *mark = &list->marks[list->n];
	JsonbContainer *box;

	if (list->n == DSV_MAX_MARKS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d boxes", DSV_MAX_MARKS)));
	list->n++;
	if (!IsObjectValue(v) || !read_place(box = v->val.binary.data, list, mark->px))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("box %d has no place", list->n),
				 errhint("A box is an object with \"px\": [x1, y1, x2, y2], and \"label\" and \"score\" if "
						 "there are.")));
	if (label == NULL)
		label = FindMember(box, "label");
	if (label != NULL && label->type == jbvString)
	{
		mark->label = ToUtf8(label->val.string.val, label->val.string.len);
		mark->label_len = strlen(mark->label);
	}
	if (!to_number(FindMember(box, "score"), &mark->score))
		mark->score = -1;
}

/* label: of all boxes of the array; NULL = each has its own */
static void
add_marks(MarkList *list, JsonbContainer *array, const JsonbValue *label)
{
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_mark(list, getIthJsonbValueFromContainer(array, i), label);
	}
}

/* vl_ground_answer's: each span has a label and boxes */
static void
add_spans(MarkList *list, JsonbContainer *spans)
{
	for (uint32 i = 0; i < JsonContainerSize(spans); i++)
	{
		JsonbValue *span = getIthJsonbValueFromContainer(spans, i);
		JsonbValue *boxes = IsObjectValue(span) ? FindMember(span->val.binary.data, "boxes") : NULL;

		if (IsArrayValue(boxes))
			add_marks(list, boxes->val.binary.data, FindMember(span->val.binary.data, "label"));
	}
}

static void
check_size(JsonbContainer *root, const MarkList *list)
{
	double		width = list->width;
	double		height = list->height;

	to_number(FindMember(root, "width"), &width);
	to_number(FindMember(root, "height"), &height);
	if (width != list->width || height != list->height)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the boxes are of another picture"),
				 errdetail("They are of a picture of %g x %g pixels, this one is stored as %d x %d.",
						   width, height, list->width, list->height)));
}

static void
read_marks(Jsonb *boxes, MarkList *list)
{
	JsonbValue *v;

	if (JB_ROOT_IS_ARRAY(boxes) && !JB_ROOT_IS_SCALAR(boxes))
	{
		add_marks(list, &boxes->root, NULL);
		return;
	}
	if (!JB_ROOT_IS_OBJECT(boxes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("boxes must be a JSON object or array")));
	check_size(&boxes->root, list);
	if (IsArrayValue(v = FindMember(&boxes->root, "boxes")))
		add_marks(list, v->val.binary.data, NULL);
	else if (IsArrayValue(v = FindMember(&boxes->root, "spans")))
		add_spans(list, v->val.binary.data);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the object has no array \"boxes\"")));
}

/* vl_annotate(image, boxes) */
Datum
vl_annotate(PG_FUNCTION_ARGS)
{
	dsv_mem		mem;
	dsv_picture *picture = open_picture(PG_GETARG_BYTEA_PP(0), &mem);
	const dsv_image_info *info = dsv_picture_info(picture);
	MarkList	list = {
		.marks = palloc0(DSV_MAX_MARKS * sizeof(dsv_mark)),
		.width = info->width,
		.height = info->height,
	};
	dsv_error	err;

	read_marks(PG_GETARG_JSONB_P(1), &list);
	if (dsv_picture_annotate(picture, list.marks, list.n, ModelFolder(FONT), &err) != DSV_OK)
		ReportHelperError(&err);
	return encode_and_close(picture, DSV_IMAGE_PNG);
}

/* ---- vl_pages ---- */

/* vl_pages(image): one page is in memory at a time */
Datum
vl_pages(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	bytea	   *image;
	dsv_bytes	file;
	dsv_image_options options = limits();
	dsv_mem		mem = {ContextAlloc, ContextFree, CurrentMemoryContext};
	dsv_blob	page;
	dsv_error	err;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;
		dsv_image_info info;

		context = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		image = PG_GETARG_BYTEA_P_COPY(0);
		if (get_call_result_type(fcinfo, NULL, &context->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "vl_pages must return rows");
		context->tuple_desc = BlessTupleDesc(context->tuple_desc);
		context->user_fctx = image;
		file = image_bytes(image);
		if (dsv_image_probe(file.data, file.len, &options, &InterruptPoll, &info, &err) != DSV_OK)
			ReportHelperError(&err);
		context->max_calls = info.pages;
		MemoryContextSwitchTo(old);
	}
	context = SRF_PERCALL_SETUP();
	if (context->call_cntr >= context->max_calls)
		SRF_RETURN_DONE(context);
	file = image_bytes(context->user_fctx);
	options.page = (int) context->call_cntr + 1;
	if (dsv_image_page(&file, &options, &InterruptPoll, &mem, &page, &err) != DSV_OK)
		ReportHelperError(&err);
	{
		Datum		values[2] = {Int32GetDatum(options.page), PointerGetDatum(to_bytea(&page))};
		bool		nulls[2] = {false};

		SRF_RETURN_NEXT(context, HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
}
