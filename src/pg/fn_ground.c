/*
 * fn_ground.c
 *		Where something is: vl_ground, vl_boxes, vl_points, vl_ground_answer, vl_parse_boxes.
 *
 * All of them read the model's own markup, <|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2]]<|/det|>,
 * with coordinates of 0 to 999, and answer in pixels of the picture as it is stored.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "infer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/geo_decls.h"
#include "utils/json.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(vl_ground);
PG_FUNCTION_INFO_V1(vl_boxes);
PG_FUNCTION_INFO_V1(vl_boxes_many);
PG_FUNCTION_INFO_V1(vl_points);
PG_FUNCTION_INFO_V1(vl_ground_answer);
PG_FUNCTION_INFO_V1(vl_parse_boxes);

/* ---- from a result to boxes ---- */

/* The boxes live in the current memory context. */
static void *
context_alloc(void *ud, size_t size)
{
	if (!AllocSizeIsValid(size))
		return NULL;
	return MemoryContextAllocExtended((MemoryContext) ud, size, MCXT_ALLOC_NO_OOM);
}

static void
context_free(void *ud, void *ptr)
{
	pfree(ptr);
}

static void
parse(const char *utf8, Size len, int width, int height, int orientation, dsv_ground *out)
{
	dsv_mem		mem = {context_alloc, context_free, CurrentMemoryContext};
	dsv_error	err;

	if (dsv_ground_parse(utf8, len, width, height, orientation, false, &mem, out, &err) != DSV_OK)
		ReportEngineError(&err);
}

static void
say_malformed(void)
{
	ereport(NOTICE,
			(errmsg("parts of the boxes in the model's answer could not be read")));
}

static void
parse_result(const InferResult *result, dsv_ground *out)
{
	const dsv_image_info *image = &result->images[0];

	parse(result->text, result->len, image->width, image->height,
		  result->oriented ? image->orientation : 1, out);
	if (out->malformed && !result->from_memo)
		say_malformed();
}

/* Of the tokens that wrote the label and its boxes; all boxes of a label share it */
static float4
box_score(const InferResult *result, const dsv_box *box)
{
	return AnswerScore(result, box->ref_at, box->ref_end);
}

/* Runs the call; NULL after a row error that on_error forgives. */
static InferResult *
ground(InferCall *call, bytea *image, char *phrase)
{
	SetImage(call, image);
	call->prompt = phrase;
	return InferOrReport(call);
}

/* ---- jsonb ---- */

static void
append_string(StringInfo s, const char *utf8, int len)
{
	escape_json(s, text_to_cstring(AnswerText(utf8, len)));
}

static void
append_box(StringInfo s, const dsv_box *box)
{
	appendStringInfo(s, "\"px\": [%d, %d, %d, %d], \"norm\": [%g, %g, %g, %g]",
					 box->px[0], box->px[1], box->px[2], box->px[3],
					 box->norm[0], box->norm[1], box->norm[2], box->norm[3]);
}

static Datum
jsonb_datum(StringInfo s)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(s->data));
}

/* vl_ground(image, phrase, model, options) */
Datum
vl_ground(PG_FUNCTION_ARGS)
{
	InferCall	call;
	InferResult *result;
	StringInfoData s;
	dsv_ground	found;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ReadCall(fcinfo, DSV_TASK_GROUND, 2, &call);
	result = ground(&call, PG_GETARG_BYTEA_PP(0), Utf8Argument(fcinfo, 1));
	if (result == NULL)
		PG_RETURN_NULL();
	parse_result(result, &found);
	initStringInfo(&s);
	appendStringInfo(&s, "{\"width\": %d, \"height\": %d, \"malformed\": %s, \"boxes\": [",
					 result->images[0].width, result->images[0].height,
					 found.malformed ? "true" : "false");
	for (int i = 0; i < found.nboxes; i++)
	{
		appendStringInfoString(&s, i > 0 ? ", {\"label\": " : "{\"label\": ");
		append_string(&s, result->text + found.boxes[i].label_at, found.boxes[i].label_len);
		appendStringInfoString(&s, ", ");
		append_box(&s, &found.boxes[i]);
		appendStringInfo(&s, ", \"score\": %.6f}", box_score(result, &found.boxes[i]));
	}
	appendStringInfoString(&s, "]}");
	return jsonb_datum(&s);
}

/* Appends text without markup; returns the number of characters. */
static int
append_plain(StringInfo s, const char *utf8, int len)
{
	static const char *const tags[] = {"<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>"};
	int			chars = 0;

	for (int i = 0; i < len;)
	{
		int			skip = 0;

		for (int t = 0; t < lengthof(tags) && skip == 0; t++)
			if (strlen(tags[t]) <= len - i && memcmp(utf8 + i, tags[t], strlen(tags[t])) == 0)
				skip = strlen(tags[t]);
		if (skip == 0)
		{
			chars += ((unsigned char) utf8[i] & 0xC0) != 0x80;
			appendStringInfoCharMacro(s, utf8[i]);
		}
		i += Max(skip, 1);
	}
	return chars;
}

/* vl_ground_answer(image, prompt, model, options): the answer without markup, and which of its
 * characters (from 0, end exclusive) stand for which boxes */
Datum
vl_ground_answer(PG_FUNCTION_ARGS)
{
	InferCall	call;
	InferResult *result;
	StringInfoData plain;
	StringInfoData spans;
	StringInfoData s;
	dsv_ground	found;
	int			at = 0;
	int			chars = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	ReadCall(fcinfo, DSV_TASK_GROUND_ANSWER, 2, &call);
	result = ground(&call, PG_GETARG_BYTEA_PP(0), Utf8Argument(fcinfo, 1));
	if (result == NULL)
		PG_RETURN_NULL();
	parse_result(result, &found);
	initStringInfo(&plain);
	initStringInfo(&spans);
	for (int i = 0; i < found.nboxes;)
	{
		const dsv_box *box = &found.boxes[i];
		int			start;
		int			label;

		if (box->ref_at >= at)
			chars += append_plain(&plain, result->text + at, box->ref_at - at);
		start = chars;
		label = append_plain(&plain, result->text + box->label_at, box->label_len);
		chars += label;
		appendStringInfo(&spans, "%s{\"start\": %d, \"end\": %d, \"label\": ", i > 0 ? ", " : "", start, chars);
		append_string(&spans, result->text + box->label_at, box->label_len);
		appendStringInfoString(&spans, ", \"boxes\": [");
		for (int first = i; i < found.nboxes && found.boxes[i].ref_at == box->ref_at; i++)
		{
			appendStringInfoString(&spans, i > first ? ", {" : "{");
			append_box(&spans, &found.boxes[i]);
			appendStringInfoChar(&spans, '}');
		}
		appendStringInfoString(&spans, "]}");
		at = Max(at, box->ref_end);
	}
	append_plain(&plain, result->text + at, result->len - at);
	initStringInfo(&s);
	appendStringInfo(&s, "{\"width\": %d, \"height\": %d, \"malformed\": %s, \"text\": ",
					 result->images[0].width, result->images[0].height,
					 found.malformed ? "true" : "false");
	append_string(&s, plain.data, plain.len);
	appendStringInfo(&s, ", \"spans\": [%s]}", spans.data);
	return jsonb_datum(&s);
}

/* ---- rows ---- */

static void
put_boxes(ReturnSetInfo *rsinfo, const char *utf8, const dsv_ground *found, const InferResult *result,
		  int *ord)
{
	for (int i = 0; i < found->nboxes; i++)
	{
		const dsv_box *b = &found->boxes[i];
		BOX		   *region = palloc(sizeof(BOX));
		Datum		values[8];
		bool		nulls[8] = {false};

		/* box keeps its upper right corner first */
		region->high.x = Max(b->px[0], b->px[2]);
		region->high.y = Max(b->px[1], b->px[3]);
		region->low.x = Min(b->px[0], b->px[2]);
		region->low.y = Min(b->px[1], b->px[3]);
		values[0] = Int32GetDatum(++*ord);
		values[1] = PointerGetDatum(AnswerText(utf8 + b->label_at, b->label_len));
		values[2] = BoxPGetDatum(region);
		for (int k = 0; k < 4; k++)
			values[3 + k] = Int32GetDatum(b->px[k]);
		nulls[7] = result == NULL;
		values[7] = result != NULL ? Float4GetDatum(box_score(result, b)) : (Datum) 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

static void
boxes_of_phrase(ReturnSetInfo *rsinfo, InferCall *call, bytea *image, char *phrase, int *ord)
{
	InferResult *result = ground(call, image, phrase);
	dsv_ground	found;

	if (result == NULL)
		return;
	parse_result(result, &found);
	put_boxes(rsinfo, result->text, &found, result, ord);
}

/* vl_boxes(image, phrase, model, options) */
Datum
vl_boxes(PG_FUNCTION_ARGS)
{
	InferCall	call;
	int			ord = 0;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	ReadCall(fcinfo, DSV_TASK_GROUND, 2, &call);
	boxes_of_phrase((ReturnSetInfo *) fcinfo->resultinfo, &call, PG_GETARG_BYTEA_PP(0),
					Utf8Argument(fcinfo, 1), &ord);
	return (Datum) 0;
}

/* vl_boxes(image, phrases, model, options): NULL phrases give no rows */
Datum
vl_boxes_many(PG_FUNCTION_ARGS)
{
	InferCall	call;
	bytea	   *image;
	Datum	   *phrases;
	bool	   *nulls;
	int			n;
	int			ord = 0;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	ReadCall(fcinfo, DSV_TASK_GROUND, 2, &call);
	image = PG_GETARG_BYTEA_PP(0);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &phrases, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *phrase;

		if (nulls[i])
			continue;
		phrase = DatumGetTextPP(phrases[i]);
		boxes_of_phrase((ReturnSetInfo *) fcinfo->resultinfo, &call, image,
						ToUtf8(VARDATA_ANY(phrase), VARSIZE_ANY_EXHDR(phrase)), &ord);
	}
	return (Datum) 0;
}

/* vl_points(image, phrase, model, options): of a box its centre */
Datum
vl_points(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	InferCall	call;
	InferResult *result;
	dsv_ground	found;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	ReadCall(fcinfo, DSV_TASK_GROUND, 2, &call);
	result = ground(&call, PG_GETARG_BYTEA_PP(0), Utf8Argument(fcinfo, 1));
	if (result == NULL)
		return (Datum) 0;
	parse_result(result, &found);
	for (int i = 0; i < found.nboxes; i++)
	{
		const dsv_box *b = &found.boxes[i];
		Point	   *at = palloc(sizeof(Point));
		Datum		values[4];
		bool		nulls[4] = {false};

		at->x = (b->px[0] + b->px[2]) / 2.0;
		at->y = (b->px[1] + b->px[3]) / 2.0;
		values[0] = Int32GetDatum(i + 1);
		values[1] = PointerGetDatum(AnswerText(result->text + b->label_at, b->label_len));
		values[2] = PointPGetDatum(at);
		values[3] = Float4GetDatum(box_score(result, b));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* vl_parse_boxes(answer, width, height): no model; scores are NULL */
Datum
vl_parse_boxes(PG_FUNCTION_ARGS)
{
	char	   *utf8 = Utf8Argument(fcinfo, 0);
	int			width = PG_GETARG_INT32(1);
	int			height = PG_GETARG_INT32(2);
	int			ord = 0;
	dsv_ground	found;

	if (width < 1 || height < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("width and height must be positive")));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	parse(utf8, strlen(utf8), width, height, 1, &found);
	if (found.malformed)
		say_malformed();
	put_boxes((ReturnSetInfo *) fcinfo->resultinfo, utf8, &found, NULL, &ord);
	return (Datum) 0;
}
