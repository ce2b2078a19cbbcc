/*
 * task_call.h
 *		Calls whose task is a word in the query: vl_run, vl_map.
 */
#ifndef DSVL2_TASK_CALL_H
#define DSVL2_TASK_CALL_H

#include "compat.h"

#include "infer.h"

/* Unknown words raise, naming the near miss. */
dsv_task	TaskByName(const char *name);

/* Whether the task cannot do without a prompt, or fields; without need it takes none. */
bool		TaskNeedsPrompt(dsv_task task);
bool		TaskNeedsFields(dsv_task task);

/* The prompt of a task that needs one, UTF-8 */
void		SetTaskPrompt(InferCall *call, char *prompt);

/* Checks what was given against the task and makes it part of the call, which lasts as long as the
 * prompt (UTF-8) and the fields; each may be NULL. */
void		SetTaskArguments(InferCall *call, char *prompt, Jsonb *fields);

#endif
