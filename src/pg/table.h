/*
 * table.h
 *		Tables and charts: the schemas that their answers obey, and what no schema can say.
 */
#ifndef DSVL2_TABLE_H
#define DSVL2_TABLE_H

#include "compat.h"

#include "infer.h"
#include "utils/jsonb.h"

/* The JSON Schema of a task's answers; NULL for a task that answers in words. */
const char *TaskSchema(dsv_task task);

/* An answer that obeys the task's schema as jsonb.  A table's rows that end early are filled up with
 * nulls; NULL with *error (VL005) for a row that is longer than the list of columns. */
Jsonb	   *ShapedAnswer(const InferCall *call, const InferResult *result, VlError *error);

#endif
