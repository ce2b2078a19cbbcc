/*
 * fn_image.c
 *		vl_image_info: facts of a picture, without a model.
 */
#include "compat.h"

#include "backend_engine.h"
#include "funcapi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(vl_image_info);

/* IMMUTABLE, so no setting counts; tiles and tokens are those of the published models, after
 * orientation. */
Datum
vl_image_info(PG_FUNCTION_ARGS)
{
	bytea	   *image = PG_GETARG_BYTEA_PP(0);
	dsv_image_info info;
	dsv_error	err;
	TupleDesc	desc;
	Datum		values[9];
	bool		nulls[9] = {false};
	bool		turned;
	char		hex[65];
	int			cols;
	int			rows;
	int			tokens;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "vl_image_info must return a row");
	if (dsv_image_probe(VARDATA_ANY(image), VARSIZE_ANY_EXHDR(image), NULL, &InterruptPoll, &info, &err) != DSV_OK)
		ReportHelperError(&err);
	turned = info.orientation >= 5;
	dsv_image_layout(NULL, turned ? info.height : info.width, turned ? info.width : info.height, 0, true,
					 &cols, &rows, &tokens);
	dsv_sha256_hex(VARDATA_ANY(image), VARSIZE_ANY_EXHDR(image), hex);
	values[0] = CStringGetTextDatum(dsv_image_format_name(info.format));
	values[1] = Int32GetDatum(info.width);
	values[2] = Int32GetDatum(info.height);
	values[3] = Int32GetDatum(info.orientation);
	values[4] = Int32GetDatum(info.pages);
	values[5] = Int32GetDatum(cols);
	values[6] = Int32GetDatum(rows);
	values[7] = Int32GetDatum(tokens);
	values[8] = CStringGetTextDatum(hex);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
