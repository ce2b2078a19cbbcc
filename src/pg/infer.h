/*
 * infer.h
 *		One inference call: from SQL arguments to a result, through the memo.
 */
#ifndef DSVL2_INFER_H
#define DSVL2_INFER_H

#include "compat.h"

#include "error_report.h"
#include "model_catalog.h"
#include "options.h"

typedef struct InferCall
{
	dsv_task	task;
	ModelEntry *model;
	CallOptions options;
	bytea	  **images;			/* detoasted */
	int			nimages;
	char	   *prompt;			/* the caller's text in UTF-8, or NULL */
	bool		place_images;	/* {1}, {2} ... in the prompt stand for images */
	const char *schema;			/* JSON Schema that the answer obeys, UTF-8, or NULL */
	bool		no_logprobs;	/* nobody will ask for the result's, which then are NULL: saves time under
								 * a schema */
	char	  **candidates;		/* answers to score instead of writing one, UTF-8, without the
								 * model's prefix */
	int			ncandidates;
} InferCall;

typedef struct InferResult
{
	VlError		error;			/* row errors; sqlerrcode 0 = none */
	char	   *text;			/* UTF-8 as the model wrote it, zero-terminated */
	Size		len;
	dsv_finish	finish;
	dsv_usage	usage;
	int			ntokens;
	float	   *logprobs;		/* [ntokens], or NULL */
	bool	   *forced;			/* [ntokens] the schema left no choice */
	int32	   *ends;			/* [ntokens] bytes of text after each token */
	int			nimages;
	dsv_image_info *images;		/* [nimages], as stored */
	int			ncandidates;
	dsv_candidate *candidates;	/* [ncandidates] */
	bool		oriented;		/* EXIF orientation was applied */
	bool		from_memo;		/* not computed by this call */
	char		digest[65];		/* of the model */
} InferResult;

/* By dsv_task_name; false for other words */
bool		ParseTask(const char *name, dsv_task *task);

/* Arguments common to all functions: model text and options jsonb at those positions (NULL allowed) */
void		ReadCall(FunctionCallInfo fcinfo, dsv_task task, int model_arg, InferCall *call);

/* The image is the call's only one. */
void		SetImage(InferCall *call, bytea *image);

/* SQL text argument in UTF-8 (palloc'd) */
char	   *Utf8Argument(FunctionCallInfo fcinfo, int arg);

/* The result lives in the current memory context.  Row errors are in it; others are raised.
 * infer_job.h has the same in phases. */
InferResult *Infer(const InferCall *call);

/*
 * While it is set every call is answered by a row error that nobody reports: nothing is computed for
 * a query that is only planned, where the planner evaluates calls with constant pictures.
 */
extern bool InferSuppressed;

/* What must not pass for an answer: the result's own error, VL004 for a page or boxes cut off,
 * VL005 for a table of uneven rows, VL006 for an empty answer or candidates without probability.
 * False when there is nothing of it. */
bool		FindRowError(const InferCall *call, const InferResult *result, VlError *error);

/* on_error: raises, warns, or does nothing, as the options say.  When it returns, the function's
 * result is NULL. */
void		ReportRowError(const InferCall *call, const InferResult *result, const VlError *error);

/* Infer and these two: NULL after a row error that on_error forgives. */
InferResult *InferOrReport(const InferCall *call);

/* The NOTICE of a free answer that was cut off */
void		ReportTruncation(const InferResult *result);

/* Geometric mean of the probabilities of the tokens that wrote bytes from .. to - 1 of the text, those
 * apart that the model had no choice of */
float4		AnswerScore(const InferResult *result, Size from, Size to);

/* UTF-8 answer in the database's encoding; zero bytes become U+FFFD first */
text	   *AnswerText(const char *utf8, Size len);

/* The same without white space around it: published models begin with a space. */
text	   *TrimmedAnswer(const InferResult *result);
bool		IsAnswerSpace(char c);

InferResult *CopyInferResult(const InferResult *result, MemoryContext context);
void		FreeInferResult(InferResult *result);
Size		InferResultSize(const InferResult *result);

/* ---- for infer_job.c ---- */

/* The engine's request and what it points to, as far as the call does not hold it */
typedef struct InferRequest
{
	dsv_request request;
	dsv_turn	turns[2];
	dsv_part	system_part;
} InferRequest;

void		BuildInferRequest(const InferCall *call, const dsv_model_info *info, const char *task_prompt,
							  InferRequest *out);

/* SHA-256 of everything that decides the answer */
void		MakeInferKey(const InferCall *call, const dsv_model_info *info, const char *task_prompt,
						 char hex[65]);

#endif
