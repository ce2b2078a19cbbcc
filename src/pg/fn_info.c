/*
 * fn_info.c
 *		vl_build_info, vl_config, vl_count_tokens, vl_last_usage.
 */
#include "compat.h"

#include <math.h>

#include "backend_engine.h"
#include "error_report.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "guc.h"
#include "memo.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(vl_build_info);
PG_FUNCTION_INFO_V1(vl_config);
PG_FUNCTION_INFO_V1(vl_count_tokens);
PG_FUNCTION_INFO_V1(vl_last_usage);

static void
put_fact(ReturnSetInfo *rsinfo, const char *name, const char *value)
{
	Datum		values[2] = {CStringGetTextDatum(name), CStringGetTextDatum(value)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
vl_build_info(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *version;
	const char *name;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	put_fact(rsinfo, "dsvl2", DSV_VERSION);
	put_fact(rsinfo, "built for PostgreSQL", PG_VERSION);
	dsv_cpu_set(SettingCpuLevel);
	put_fact(rsinfo, "instruction set", dsv_cpu_level_name(dsv_cpu_current()));
	put_fact(rsinfo, "instruction set of the machine", dsv_cpu_level_name(dsv_cpu_detect()));
	put_fact(rsinfo, "worker threads", psprintf("%d", dsv_pool_workers()));
	for (int i = 0; (name = dsv_library(i, &version)) != NULL; i++)
		put_fact(rsinfo, name, version);
	put_fact(rsinfo, "blas", dsv_blas_version());
	return (Datum) 0;
}

/* Positions that an image takes in a prompt, as the only one */
static int
image_tokens(const dsv_model *model, bytea *image)
{
	dsv_image_options options = {
		.max_bytes = SettingMaxImageBytes,
		.max_pixels = SettingMaxImagePixels,
	};
	dsv_image_info info;
	dsv_error	err;
	bool		turned;
	int			cols;
	int			rows;
	int			tokens;

	if (dsv_image_probe(VARDATA_ANY(image), VARSIZE_ANY_EXHDR(image), &options, &InterruptPoll, &info,
						&err) != DSV_OK ||
		dsv_image_check_pages(info.pages, 0, &err) != DSV_OK)
		ReportHelperError(&err);
	turned = SettingExifOrientation && info.orientation >= 5;
	dsv_image_layout(model, turned ? info.height : info.width, turned ? info.width : info.height, 0, true,
					 &cols, &rows, &tokens);
	return tokens;
}

/* vl_count_tokens(prompt, image, model): of the prompt's own text, and of the image if there is one */
Datum
vl_count_tokens(PG_FUNCTION_ARGS)
{
	BackendModel *backend;
	dsv_model  *model;
	dsv_error	err;
	char	   *prompt;
	int			tokens;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	backend = OpenBackendModel(ResolveModel(ExtensionSchema(fcinfo), PG_ARGISNULL(2) ? NULL :
											text_to_cstring(PG_GETARG_TEXT_PP(2))));
	model = GetBackendModel(backend);
	prompt = Utf8Argument(fcinfo, 0);
	tokens = dsv_model_count_tokens(model, prompt, strlen(prompt), &InterruptPoll, &err);
	if (tokens < 0)
		ReportHelperError(&err);
	if (!PG_ARGISNULL(1))
		tokens += image_tokens(model, PG_GETARG_BYTEA_PP(1));
	PG_RETURN_INT32(tokens);
}

/* ---- vl_last_usage ---- */

static struct
{
	bool		known;
	const char *task;
	char		model[NAMEDATALEN];
	dsv_usage	usage;
}			last;

void
RememberUsage(const InferCall *call, const InferResult *result)
{
	last.known = true;
	last.task = dsv_task_name(call->task);
	strlcpy(last.model, call->model->name, sizeof(last.model));
	last.usage = result->usage;
}

/* The session's counters, then the last inference's figures (NULL before the first) */
Datum
vl_last_usage(PG_FUNCTION_ARGS)
{
	const dsv_usage *u = &last.usage;
	TupleDesc	desc;
	Datum		values[19];
	bool		nulls[19] = {false};
	int			n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "vl_last_usage must return a row");
	values[n++] = Int64GetDatum(Counters.calls);
	values[n++] = Int64GetDatum(Counters.inferences);
	values[n++] = Int64GetDatum(Counters.memo_hits);
	values[n++] = Int64GetDatum(Counters.images);
	values[n++] = Int64GetDatum(Counters.input_tokens);
	values[n++] = Int64GetDatum(Counters.output_tokens);
	values[n++] = Int64GetDatum(Counters.row_errors);
	memset(nulls + n, !last.known, sizeof(nulls) - n);
	values[n++] = last.known ? CStringGetTextDatum(last.task) : (Datum) 0;
	values[n++] = CStringGetTextDatum(last.model);
	values[n++] = Int32GetDatum(u->prompt_tokens);
	values[n++] = Int32GetDatum(u->image_tokens);
	values[n++] = Int32GetDatum(u->cached_tokens);
	values[n++] = Int32GetDatum(u->output_tokens);
	values[n++] = Int32GetDatum(u->tiles);
	values[n++] = Float8GetDatum(u->decode_image_ms);
	values[n++] = Float8GetDatum(u->vision_ms);
	values[n++] = Float8GetDatum(u->prefill_ms);
	values[n++] = Float8GetDatum(u->decode_ms);
	values[n++] = Float8GetDatum(rint((u->decode_image_ms + u->vision_ms + u->prefill_ms +
									   u->decode_ms) * 1e3) / 1e3);
	Assert(n == lengthof(values));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ---- vl_config ---- */

/* In C, so that the library is loaded, and its settings are known, before they are listed. */
Datum
vl_config(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	if (SPI_execute("SELECT name, setting, unit, context, short_desc, extra_desc "
					"FROM pg_catalog.pg_settings "
					"WHERE name OPERATOR(pg_catalog.~) '^dsvl2[.]' ORDER BY name", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_settings");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[6];
		bool		nulls[6];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
