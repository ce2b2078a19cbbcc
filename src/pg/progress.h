/*
 * progress.h
 *		What each backend's running call is doing, for vl_stat_activity.
 *
 * One slot a backend in shared memory, there only when dsvl2 is in
 * shared_preload_libraries; otherwise every function here does nothing.
 */
#ifndef DSVL2_PROGRESS_H
#define DSVL2_PROGRESS_H

#include "compat.h"

#include "../engine/dsv.h"
#include "utils/timestamp.h"

Size		ProgressMemorySize(void);
void		AttachProgressMemory(void);

/* Shows a call, anew or again.  The phase is "image" until the first update. */
void		ProgressStart(const char *task, const char *model, TimestampTz started);

/* May be called from the engine's poll callback: takes no lock that could error out */
void		ProgressUpdate(const dsv_progress *progress);

/* The same for what is no call of a model: a phase by name */
void		ProgressStep(const char *phase, int64 done, int64 total);
void		ProgressEnd(void);

#endif
