/*
 * table.h
 *		Tables and charts: the schemas that their answers obey, and what no schema can say.
 */
#ifndef DSVL2_TABLE_H
#define DSVL2_TABLE_H

#include "compat.h"

#include "infer.h"
#include "utils/jsonb.h"

/* Gives the call its task's schema, with which the option "stop" raises 22023; does nothing for a task that
 * answers in words. */
void		SetShape(InferCall *call);

/* VL005 for a table (no row error was found) with a row that is longer than its list of columns */
bool		FindShapeError(const InferCall *call, const InferResult *result, VlError *error);

#endif
