#include "error_report.h"

#include <errno.h>

#include "mb/pg_wchar.h"

static const struct
{
	dsv_code	code;
	int			sqlerrcode;
}			table[] = {
	{DSV_NOMEM, ERRCODE_OUT_OF_MEMORY},
	{DSV_IO, ERRCODE_IO_ERROR},
	{DSV_FORMAT, ERRCODE_DATA_CORRUPTED},
	{DSV_UNSUPPORTED, ERRCODE_FEATURE_NOT_SUPPORTED},
	{DSV_LIMIT, ERRCODE_PROGRAM_LIMIT_EXCEEDED},
	{DSV_BUDGET, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED},
	{DSV_INPUT, ERRCODE_INVALID_PARAMETER_VALUE},
	{DSV_CANCELED, ERRCODE_QUERY_CANCELED},
	{DSV_INTERNAL, ERRCODE_INTERNAL_ERROR},
	{DSV_IMAGE, ERRCODE_VL_IMAGE},
	{DSV_IMAGE_SIZE, ERRCODE_VL_IMAGE_SIZE},
	{DSV_CONTEXT, ERRCODE_VL_CONTEXT},
	{DSV_TRUNCATED, ERRCODE_VL_TRUNCATED},
	{DSV_SCHEMA, ERRCODE_VL_SCHEMA},
};

static int
sqlerrcode_of(const dsv_error *err)
{
	if (err->code == DSV_IO && (err->sys_errno == ENOENT || err->sys_errno == ENOTDIR))
		return ERRCODE_UNDEFINED_FILE;
	if (err->code == DSV_IO && (err->sys_errno == EACCES || err->sys_errno == EPERM))
		return ERRCODE_INSUFFICIENT_PRIVILEGE;
	for (int i = 0; i < lengthof(table); i++)
		if (table[i].code == err->code)
			return table[i].sqlerrcode;
	return ERRCODE_INTERNAL_ERROR;
}

void
VlErrorFromEngine(VlError *error, const dsv_error *err)
{
	error->sqlerrcode = sqlerrcode_of(err);
	strlcpy(error->message, err->msg, sizeof(error->message));
	strlcpy(error->detail, err->detail, sizeof(error->detail));
	strlcpy(error->hint, err->hint, sizeof(error->hint));
	if (err->code == DSV_BUDGET && error->hint[0] == '\0')
		strlcpy(error->hint, "See the setting dsvl2.kv_memory.", sizeof(error->hint));
}

void
VlErrorSet(VlError *error, int sqlerrcode, const char *message)
{
	error->sqlerrcode = sqlerrcode;
	strlcpy(error->message, message, sizeof(error->message));
	error->detail[0] = error->hint[0] = '\0';
}

bool
VlErrorIsRow(const VlError *error)
{
	return error->sqlerrcode == ERRCODE_VL_IMAGE || error->sqlerrcode == ERRCODE_VL_IMAGE_SIZE ||
		error->sqlerrcode == ERRCODE_VL_CONTEXT || error->sqlerrcode == ERRCODE_VL_TRUNCATED ||
		error->sqlerrcode == ERRCODE_VL_SCHEMA || error->sqlerrcode == ERRCODE_VL_EMPTY;
}

/* The engine writes UTF-8 (names from model files); the server's encoding may be another. */
static const char *
server_text(const char *s)
{
	int			len = strlen(s);

	if (GetDatabaseEncoding() == PG_UTF8)
		return pg_verifymbstr(s, len, true) ? s : "(text in a wrong encoding)";
	for (int i = 0; i < len; i++)
		if ((unsigned char) s[i] >= 0x80)
			return pg_verify_mbstr(PG_UTF8, s, len, true) ? pg_any_to_server(s, len, PG_UTF8) :
				"(text in a wrong encoding)";
	return s;
}

void
VlErrorReport(const VlError *error, int elevel)
{
	ereport(elevel,
			(errcode(error->sqlerrcode),
			 errmsg_internal("%s", server_text(error->message)),
			 error->detail[0] != '\0' ? errdetail_internal("%s", server_text(error->detail)) : 0,
			 error->hint[0] != '\0' ? errhint("%s", server_text(error->hint)) : 0));
}

void
ReportEngineError(const dsv_error *err)
{
	VlError		error;

	VlErrorFromEngine(&error, err);
	VlErrorReport(&error, ERROR);
	pg_unreachable();
}
