/*
 * task_call.c
 *		Which arguments go with which task.
 */
#include "task_call.h"

#include "decide.h"
#include "fields.h"
#include "lib/stringinfo.h"
#include "near_miss.h"
#include "table.h"

/* "The tasks are a, b and c." */
static char *
list_tasks(void)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < DSV_TASK_COUNT; i++)
		appendStringInfo(&s, "%s%s", i == 0 ? "The tasks are " : i == DSV_TASK_COUNT - 1 ? " and " : ", ",
						 dsv_task_name(i));
	appendStringInfoChar(&s, '.');
	return s.data;
}

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
			 errhint("%s", hint != NULL ? hint : list_tasks())));
	return DSV_TASK_COUNT;
}

bool
TaskNeedsPrompt(dsv_task task)
{
	return task == DSV_TASK_ASK || task == DSV_TASK_GROUND || task == DSV_TASK_GROUND_ANSWER ||
		task == DSV_TASK_IS;
}

bool
TaskNeedsFields(dsv_task task)
{
	return task == DSV_TASK_EXTRACT || task == DSV_TASK_CLASSIFY;
}

void
SetTaskPrompt(InferCall *call, char *prompt)
{
	call->prompt = prompt;
	if (call->task == DSV_TASK_IS && prompt != NULL)
		SetStatement(call, prompt);
}

void
SetTaskArguments(InferCall *call, char *prompt, Jsonb *fields)
{
	FieldPlan	plan;

	if (fields != NULL && !TaskNeedsFields(call->task))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("fields are not supported by the task \"%s\"", dsv_task_name(call->task))));
	if (prompt != NULL && !TaskNeedsPrompt(call->task))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the task \"%s\" takes no prompt", dsv_task_name(call->task))));
	SetTaskPrompt(call, prompt);
	SetShape(call);
	if (call->task == DSV_TASK_EXTRACT && fields != NULL)
	{
		PlanFields(fields, &plan);
		SetExtraction(call, &plan);
	}
	if (call->task == DSV_TASK_CLASSIFY && fields != NULL)
		SetJsonLabels(call, fields);
}
