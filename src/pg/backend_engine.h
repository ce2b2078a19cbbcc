/*
 * backend_engine.h
 *		The models that this backend has open, each with its engine.
 *
 * A model is a mapping of files and some tables, an engine its pages and scratch; both
 * live in a memory context of their own under TopMemoryContext until they are unloaded,
 * pushed out by another model, or the backend ends.
 */
#ifndef DSVL2_BACKEND_ENGINE_H
#define DSVL2_BACKEND_ENGINE_H

#include "compat.h"

#include "../engine/dsv.h"
#include "model_catalog.h"
#include "utils/timestamp.h"

typedef struct BackendModel BackendModel;

/* Opens the model and, for compute, the engine with the settings as they are now; says the model's
 * notice once a session.  Raises what goes wrong. */
BackendModel *OpenBackendModel(const ModelEntry *entry);
dsv_model  *GetBackendModel(BackendModel *backend);
dsv_engine *GetBackendEngine(BackendModel *backend);

/* Says that a model's digest is not the registered one. */
void		RaiseOtherFiles(const ModelEntry *entry) __attribute__((noreturn));

/* Opens a folder or a packed file only to look at it.  The caller closes it. */
dsv_model  *OpenFolder(const char *folder);

/* To be called before anything starts worker threads */
void		StopWorkersAtExit(void);

/* A pinned model and its engine stay open until the last pin is gone, whatever is unloaded or
 * dropped meanwhile; unpinning raises nothing. */
void		PinBackendModel(BackendModel *backend);
void		UnpinBackendModel(BackendModel *backend);

/* Closes all (or those of one name); returns how many.  Pinned ones, which *kept (may be NULL)
 * counts, are closed when their last pin is gone. */
int			UnloadBackendModels(const char *name, int *kept);
bool		BackendModelIsOpen(const char *name);

/* What the engine is given: memory of a context (ud), NULL when there is none, never an error */
void	   *ContextAlloc(void *ud, size_t size);
void		ContextFree(void *ud, void *ptr);

/* For work without a model: stops it when an interrupt is pending */
extern const dsv_poll InterruptPoll;

/* After an error of such work: raises the interrupt, or the error. */
void		ReportHelperError(const dsv_error *err) __attribute__((noreturn));

/* What the engine's poll callback looks at while the engine works */
typedef struct EngineWatch
{
	dsv_sequence *seq;			/* that vl_stat_activity shows, or NULL */
	TimestampTz deadline;		/* 0 = none */
	bool		timed_out;
} EngineWatch;

/* To be called around submit and each step; NULL ends the watch. */
void		WatchEngine(EngineWatch *watch);

/* After DSV_CANCELED: raises the interrupt that was pending, or that the time was over. */
void		RaiseCancel(const EngineWatch *watch) __attribute__((noreturn));

#endif
