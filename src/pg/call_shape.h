/*
 * call_shape.h
 *		What an inference call in a query tells before it runs.
 *
 * Inference functions are told by their support function, vl_support, tasks by the functions'
 * names: vl_ask_multi is a kind of vl_ask.
 */
#ifndef DSVL2_CALL_SHAPE_H
#define DSVL2_CALL_SHAPE_H

#include "compat.h"

#include "model_catalog.h"
#include "nodes/primnodes.h"

#include "../engine/dsv.h"

/* schema: the extension's */
bool		IsInferenceCall(const Node *node, Oid schema);

/* Position of an argument by its name, or -1 */
int			FindArgument(const FuncExpr *call, const char *name);

/* The task; false when an argument that is no constant decides it. */
bool		FindTask(const FuncExpr *call, dsv_task *task);

/* The model's name; NULL for the default model.  False when it is no constant. */
bool		FindModelName(const FuncExpr *call, char **name);

#endif
