/*
 * task_call.c
 *		Which arguments go with which task.
 */
#include "task_call.h"

#include "near_miss.h"

dsv_task
TaskByName(const char *name)
{
	dsv_task	task;
	NearMiss	near;
	char	   *hint;

	if (ParseTask(name, &task))
		return task;
	NearMissStart(&near, name);
	for (int i = 0; i < DSV_TASK_COUNT; i++)
		NearMissTry(&near, dsv_task_name(i));
	hint = NearMissHint(&near);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown task \"%s\"", name),
			 errhint("%s", hint != NULL ? hint :
					 "The tasks are ocr, markdown, describe, ask, ground and ground_answer.")));
	return DSV_TASK_COUNT;
}

bool
TaskNeedsPrompt(dsv_task task)
{
	return task == DSV_TASK_ASK || task == DSV_TASK_GROUND || task == DSV_TASK_GROUND_ANSWER;
}

void
SetTaskArguments(InferCall *call, char *prompt, Jsonb *fields)
{
	if (fields != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("fields are not supported by the task \"%s\"", dsv_task_name(call->task))));
	if (prompt != NULL && !TaskNeedsPrompt(call->task))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the task \"%s\" takes no prompt", dsv_task_name(call->task))));
	call->prompt = prompt;
}
