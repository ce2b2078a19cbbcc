/*
 * error.h
 *		Filling a dsv_error.  Every function here accepts err == NULL and returns the
 *		code it stored, so that `return dsv_fail(...)` is the one way to fail.
 */
#ifndef DSV_ERROR_H
#define DSV_ERROR_H

#include "dsv.h"

#ifdef POSTGRES_H
#error "the engine knows nothing of PostgreSQL"
#endif

/* Sets code and msg, clears detail, hint and sys_errno. */
dsv_code	dsv_fail(dsv_error *err, dsv_code code, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));

/* Like dsv_fail with DSV_IO (or DSV_NOMEM for ENOMEM): appends ": strerror". */
dsv_code	dsv_fail_errno(dsv_error *err, int sys_errno, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));

dsv_code	dsv_fail_nomem(dsv_error *err, size_t bytes);

/* Add to an error that was set before. */
void		dsv_detail(dsv_error *err, const char *fmt,...)
			__attribute__((format(printf, 2, 3)));
void		dsv_hint(dsv_error *err, const char *fmt,...)
			__attribute__((format(printf, 2, 3)));

static inline bool
dsv_poll_canceled(const dsv_poll *poll)
{
	return poll != NULL && poll->poll != NULL && poll->poll(poll->ud);
}

dsv_code	dsv_fail_canceled(dsv_error *err);

#endif
