/*
 * plan_calls.h
 *		The inference calls of a planned statement, and how often each is computed at most.
 */
#ifndef DSVL2_PLAN_CALLS_H
#define DSVL2_PLAN_CALLS_H

#include "compat.h"

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

/*
 * Makes the planner take every condition that asks a picture for one that holds, since nobody
 * knows what the answers will be.  The query is changed in place.
 */
void		LetConditionsHold(Query *query, Oid schema);

typedef struct PlannedCall
{
	FuncExpr   *call;			/* its Vars are of the statement's range table, where that is known */
	double		times;			/* with different arguments, so that the memo does not answer */
} PlannedCall;

/* Of a statement planned after LetConditionsHold: list of PlannedCall, each call once */
List	   *FindPlannedCalls(PlannedStmt *stmt, Oid schema);

#endif
