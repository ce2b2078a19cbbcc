/*
 * options.h
 *		The options jsonb of every inference function, laid over the settings.
 */
#ifndef DSVL2_OPTIONS_H
#define DSVL2_OPTIONS_H

#include "compat.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "../engine/dsv.h"

#define MAX_STOP_STRINGS 16

typedef struct CallOptions
{
	int			max_tokens;
	dsv_sampling sampling;
	dsv_image_options image;
	int			on_error;		/* OnError */
	int			timeout_ms;		/* 0 = none */
	int			in_flight;		/* vl_ask_batch, vl_map: calls at a time; 0 = the default */
	bool		scores;			/* vl_run: log-probabilities of the tokens */
	float		abstain;		/* least lead of the best of scored answers; no part of the memo's key */
	char	   *system;			/* UTF-8, or NULL */
	int			nstop;
	dsv_bytes	stop[MAX_STOP_STRINGS]; /* UTF-8 */
} CallOptions;

/* Defaults from the settings, then what `options` (may be NULL) says.  Unknown keys, keys that do not
 * apply to the task, wrong types and values out of range raise 22023. */
void		ReadOptions(Jsonb *options, dsv_task task, CallOptions *out);

/* What decides the answer, appended to the key of the memo. */
void		AppendOptionsKey(StringInfo key, const CallOptions *options);

/* Database encoding to UTF-8; palloc'd or s itself. */
char	   *ToUtf8(const char *s, int len);

#endif
