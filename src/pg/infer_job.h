/*
 * infer_job.h
 *		An inference call in phases, for callers that suspend it or run several at once.
 *
 *		job = StartInfer(call, false);
 *		while (!InferIsDone(job))
 *			StepInfer(&job, 1);
 *		result = FinishInfer(job);
 *
 * A job belongs to the memory context that was current at its start: when that context
 * is reset or deleted (the portal was closed, the transaction failed) whatever the job
 * still holds of the engine is given back.  Between two steps anything else may happen
 * in the backend: no other call's steps work for the job, its model stays open, and it
 * goes on under the settings that it started with.
 */
#ifndef DSVL2_INFER_JOB_H
#define DSVL2_INFER_JOB_H

#include "compat.h"

#include "infer.h"

typedef struct InferJob InferJob;

/*
 * Finds the answer in the memo, or submits the call.  The call and what it points to must live
 * until the job ends; only the images are not needed any more.  With may_wait, NULL when the
 * engine has no room as long as other jobs hold theirs.
 */
InferJob   *StartInfer(const InferCall *call, bool may_wait);
bool		InferIsDone(const InferJob *job);

/*
 * One step of the engine for those of the jobs that are not done; with jobs of several models, of
 * the first one's.  Interrupts are processed, and the time until timeout_ms runs, here and in
 * StartInfer only.
 */
void		StepInfer(InferJob *const *jobs, int n);

/* Nothing is worked for until the next step: vl_stat_activity shows nothing. */
void		RestInfer(void);

/* The answer so far, of whole characters in UTF-8: what is there stays.  Valid until the next step. */
const char *InferText(InferJob *job, Size *len);

/* Ends a job that is done; the result lives in the current memory context. */
InferResult *FinishInfer(InferJob *job);

#endif
