/*
 * model_pack.c
 *		Packing and verifying with the server's rules: paths, progress, cancellation.
 */
#include "model_pack.h"

#include <sys/stat.h>
#include <unistd.h>

#include "backend_engine.h"
#include "common/file_perm.h"
#include "error_report.h"
#include "guc.h"
#include "progress.h"

static char *
pack_dir(void)
{
	if (SettingPackDir[0] == '\0')
		return psprintf("%s/dsvl2", DataDir);
	if (is_absolute_path(SettingPackDir))
		return pstrdup(SettingPackDir);
	return psprintf("%s/%s", DataDir, SettingPackDir);
}

static char *
packed_file(const char *source, const char *quant)
{
	return psprintf("%s/%s-%s.safetensors", pack_dir(), source, quant);
}

char *
ModelFile(const ModelEntry *entry)
{
	char	   *file;

	if (entry->source == NULL)
		return ModelFolder(entry->path);
	file = packed_file(entry->source, entry->quant);
	if (access(file, F_OK) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open packed file of model \"%s\": %m", entry->name),
				 errdetail("It is \"%s\".", file),
				 errhint("Drop the model with vl_drop_model() and register it again to have it packed.")));
	return file;
}

/* ---- progress ---- */

static bool
report_progress(void *ud, int64_t done, int64_t total)
{
	ProgressStep((const char *) ud, done, total);
	return QueryCancelPending || ProcDiePending;
}

static dsv_pack_progress
start_progress(const char *task, const char *name)
{
	StopWorkersAtExit();
	ProgressStart(task, name, GetCurrentTimestamp());
	return (dsv_pack_progress) {report_progress, unconstify(char *, task)};
}

static void
end_progress(dsv_code code, const dsv_error *err)
{
	ProgressEnd();
	if (code == DSV_CANCELED)
		CHECK_FOR_INTERRUPTS();
	if (code != DSV_OK)
		ReportEngineError(err);
}

/* ---- packing ---- */

static void
make_pack_dir(void)
{
	char	   *dir = pack_dir();

	if (mkdir(dir, pg_dir_create_mode) != 0 && errno != EEXIST)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create directory \"%s\": %m", dir),
				 errhint("It is the setting dsvl2.pack_dir.")));
}

/* A file that this version cannot read, or that is damaged, is one to be made anew: its name says
 * what it is. */
static bool
is_usable(const char *file, const char *source, dsv_quant quant)
{
	const dsv_model_info *info;
	dsv_model  *model;
	dsv_error	err;
	bool		usable;

	if (access(file, F_OK) != 0)
		return false;
	if (dsv_model_open(file, NULL, &model, &err) != DSV_OK)
	{
		if (err.code == DSV_FORMAT || err.code == DSV_UNSUPPORTED)
			return false;
		ReportEngineError(&err);
	}
	info = dsv_model_get_info(model);
	usable = info->packed && info->quant == quant && strcmp(info->source, source) == 0;
	dsv_model_close(model);
	return usable;
}

char *
PackModel(const char *name, const char *folder, const char *source, dsv_quant quant)
{
	char	   *file = packed_file(source, dsv_quant_name(quant));
	dsv_pack_options options = {.quant = quant, .threads = SettingThreads};
	dsv_error	err;
	dsv_code	code;

	if (is_usable(file, source, quant))
		return file;
	make_pack_dir();
	options.replace = access(file, F_OK) == 0;
	options.progress = start_progress("pack", name);
	code = dsv_model_pack(folder, file, &options, &err);
	/* another session was faster */
	if (code == DSV_IO && err.sys_errno == EEXIST)
		code = DSV_OK;
	end_progress(code, &err);
	if (!is_usable(file, source, quant))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("files of model \"%s\" have changed while it was packed", name),
				 errhint("Remove \"%s\" and try again.", file)));
	return file;
}

void
VerifyPackedFile(const char *name, const char *file)
{
	dsv_pack_progress progress = start_progress("verify", name);
	dsv_error	err;
	dsv_code	code = dsv_model_verify(file, NULL, &progress, &err);

	end_progress(code, &err);
}
