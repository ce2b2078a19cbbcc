/*
 * error_report.c
 *		One table from the engine's codes to SQLSTATEs, and texts that are safe to send.
 */
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
	if (err->code == DSV_IO && (err->sys_errno == ENOSPC || err->sys_errno == EDQUOT))
		return ERRCODE_DISK_FULL;
	for (int i = 0; i < lengthof(table); i++)
		if (table[i].code == err->code)
			return table[i].sqlerrcode;
	return ERRCODE_INTERNAL_ERROR;
}

/*
 * The engine writes UTF-8 with names from model files in it, and cuts it at the end of its
 * buffers.  What is no whole character of the server's encoding becomes a question mark: a
 * message must not fail.
 */
void
CopyEngineText(char *to, size_t size, const char *from)
{
	size_t		n = 0;

	while (*from != '\0' && n + 1 < size)
	{
		int			len = pg_utf_mblen((const unsigned char *) from);
		int			have = (int) strnlen(from, len);

		if (len == 1 && (unsigned char) *from < 0x80)
			to[n++] = *from++;
		else if (GetDatabaseEncoding() == PG_UTF8 && have == len && n + len < size &&
				 pg_utf8_islegal((const unsigned char *) from, len))
		{
			memcpy(to + n, from, len);
			n += len;
			from += len;
		}
		else
		{
			to[n++] = '?';
			from++;
		}
	}
	to[n] = '\0';
}

void
VlErrorFromEngine(VlError *error, const dsv_error *err)
{
	error->sqlerrcode = sqlerrcode_of(err);
	CopyEngineText(error->message, sizeof(error->message), err->msg);
	CopyEngineText(error->detail, sizeof(error->detail), err->detail);
	CopyEngineText(error->hint, sizeof(error->hint), err->hint);
	/* in the words of the settings */
	if (err->code == DSV_BUDGET)
		strlcpy(error->hint, "Lower the option \"max_tokens\", or raise the setting dsvl2.kv_memory.",
				sizeof(error->hint));
}

void
VlErrorSet(VlError *error, int sqlerrcode, const char *message, const char *hint)
{
	error->sqlerrcode = sqlerrcode;
	/* names may be long; a character is not cut in two */
	strlcpy(error->message, message,
			pg_mbcliplen(message, strlen(message), sizeof(error->message) - 1) + 1);
	strlcpy(error->hint, hint, sizeof(error->hint));
	error->detail[0] = '\0';
}

bool
VlErrorIsRow(const VlError *error)
{
	return error->sqlerrcode == ERRCODE_VL_IMAGE || error->sqlerrcode == ERRCODE_VL_IMAGE_SIZE ||
		error->sqlerrcode == ERRCODE_VL_CONTEXT || error->sqlerrcode == ERRCODE_VL_TRUNCATED ||
		error->sqlerrcode == ERRCODE_VL_SCHEMA || error->sqlerrcode == ERRCODE_VL_EMPTY;
}

void
VlErrorReport(const VlError *error, int elevel)
{
	ereport(elevel,
			(errcode(error->sqlerrcode),
			 errmsg_internal("%s", error->message),
			 error->detail[0] != '\0' ? errdetail_internal("%s", error->detail) : 0,
			 error->hint[0] != '\0' ? errhint("%s", error->hint) : 0));
}

bool
PointIntoQuery(const char *query)
{
	int			position = geterrposition();

	if (position <= 0)
		return false;
	errposition(0);
	internalerrposition(position);
	internalerrquery(query);
	return true;
}

void
ReportEngineError(const dsv_error *err)
{
	VlError		error;

	VlErrorFromEngine(&error, err);
	VlErrorReport(&error, ERROR);
	pg_unreachable();
}
