#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
start(dsv_error *err, dsv_code code, int sys_errno)
{
	err->code = code;
	err->sys_errno = sys_errno;
	err->detail[0] = '\0';
	err->hint[0] = '\0';
}

/* A message cut in the middle of a UTF-8 character would itself be an encoding error. */
static void
trim_utf8(char *s)
{
	size_t		n = strlen(s);
	size_t		back = 0;

	while (back < n && back < 3 && ((unsigned char) s[n - 1 - back] & 0xC0) == 0x80)
		back++;
	if (back < n)
	{
		unsigned char lead = (unsigned char) s[n - 1 - back];
		size_t		need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;

		if (need > back)
			s[n - 1 - back] = '\0';
	}
}

static void __attribute__((format(printf, 3, 0)))
print(char *buf, size_t size, const char *fmt, va_list args)
{
	if (vsnprintf(buf, size, fmt, args) >= (int) size)
		trim_utf8(buf);
}

dsv_code
dsv_fail(dsv_error *err, dsv_code code, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return code;
	start(err, code, 0);
	va_start(args, fmt);
	print(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	return code;
}

dsv_code
dsv_fail_errno(dsv_error *err, int sys_errno, const char *fmt,...)
{
	dsv_code	code = sys_errno == ENOMEM ? DSV_NOMEM : DSV_IO;
	va_list		args;
	size_t		n;

	if (err == NULL)
		return code;
	start(err, code, sys_errno);
	va_start(args, fmt);
	print(err->msg, sizeof(err->msg), fmt, args);
	va_end(args);
	n = strlen(err->msg);
	snprintf(err->msg + n, sizeof(err->msg) - n, ": %s", strerror(sys_errno));
	return code;
}

dsv_code
dsv_fail_nomem(dsv_error *err, size_t bytes)
{
	dsv_fail(err, DSV_NOMEM, "out of memory");
	dsv_detail(err, "Failed on a request of %zu bytes.", bytes);
	return DSV_NOMEM;
}

dsv_code
dsv_fail_canceled(dsv_error *err)
{
	return dsv_fail(err, DSV_CANCELED, "canceled by the caller");
}

void
dsv_detail(dsv_error *err, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return;
	va_start(args, fmt);
	print(err->detail, sizeof(err->detail), fmt, args);
	va_end(args);
}

void
dsv_hint(dsv_error *err, const char *fmt,...)
{
	va_list		args;

	if (err == NULL)
		return;
	va_start(args, fmt);
	print(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
}
