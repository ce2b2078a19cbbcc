/*
 * memo.h
 *		Results that the transaction remembers, and the session's counters.
 *
 * Inference functions are STABLE, and the planner calls STABLE functions with constant
 * arguments at plan time, the executor again; WHERE f(x) = ... beside SELECT f(x) and
 * (f(x)).* call it more often still.  The memo makes each of these one inference an image.
 */
#ifndef DSVL2_MEMO_H
#define DSVL2_MEMO_H

#include "compat.h"

#include "infer.h"

typedef struct MemoKey
{
	char		hex[65];		/* SHA-256 of everything that decides the answer */
} MemoKey;

void		RegisterMemoCallbacks(void);

/* NULL when not remembered; valid until the next MemoStore or the transaction's end */
const InferResult *MemoFind(const MemoKey *key);
void		MemoStore(const MemoKey *key, const InferResult *result);

/* Session totals, for vl_last_usage() */
typedef struct SessionCounters
{
	int64		calls;			/* of inference functions with an image */
	int64		inferences;
	int64		memo_hits;
	int64		images;			/* decoded */
	int64		input_tokens;
	int64		output_tokens;
	int64		row_errors;
} SessionCounters;

extern SessionCounters Counters;

/* Keeps the figures of the last inference, for vl_last_usage() */
void		RememberUsage(const InferCall *call, const InferResult *result);

#endif
