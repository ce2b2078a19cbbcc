/*
 * fuse.c
 *		Counts what a statement computes.
 *
 * A statement is what a client sent: everything until the next time that the server takes
 * note of a statement's start.  So the calls in functions, triggers and COPY count for the
 * statement that caused them, several statements in one message count together, and each
 * FETCH from a cursor counts alone.
 */
#include "compat.h"

#include "fuse.h"
#include "guc.h"

#include "access/xact.h"

static TimestampTz statement;	/* its start */
static int64 calls;				/* that it had computed */

static void
notice_statement(void)
{
	if (statement == GetCurrentStatementStartTimestamp())
		return;
	statement = GetCurrentStatementStartTimestamp();
	calls = 0;
}

void
CountForFuse(void)
{
	notice_statement();
	calls++;
}

void
CheckFuse(void)
{
	notice_statement();
	if (SettingMaxCallsPerStatement == 0 || calls < SettingMaxCallsPerStatement)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("statement needs more inferences than dsvl2.max_calls_per_statement allows"),
			 errdetail("It had " INT64_FORMAT " of them, and the limit is %d.", calls,
					   SettingMaxCallsPerStatement),
			 errhint("vl_estimate() tells how many inferences a query needs at most.")));
}
