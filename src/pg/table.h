/*
 * table.h
 *		Tables and charts: the schemas that their answers obey, and what no schema can say.
 */
#ifndef DSVL2_TABLE_H
#define DSVL2_TABLE_H

#include "compat.h"

#include "infer.h"
#include "utils/jsonb.h"

/* Gives the call its task's schema; does nothing for a task that answers in words.  The option "stop" raises
 * 22023 where there is one. */
void		SetShape(InferCall *call);

/* VL005 for an answer of SetShape's (no row error was found) whose rows are longer than its list of columns */
bool		FindShapeError(const InferCall *call, const InferResult *result, VlError *error);

#endif
