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

/* Closes all (or those of one name); returns how many. */
int			UnloadBackendModels(const char *name);
bool		BackendModelIsOpen(const char *name);

/* What the engine's poll callback watches while a call runs */
void		PollStart(int timeout_ms);
void		PollWatch(dsv_sequence *seq);
void		PollEnd(void);

/* After DSV_CANCELED: raises the interrupt that was pending, or the call's own timeout. */
void		RaiseCancel(void) __attribute__((noreturn));

#endif
