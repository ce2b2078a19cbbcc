/*
 * compat.h
 *		Every difference between the PostgreSQL versions that dsvl2 builds against (15 to 18).
 */
#ifndef DSVL2_COMPAT_H
#define DSVL2_COMPAT_H

#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "dsvl2 builds against PostgreSQL 15, 16, 17 and 18"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* This backend's slot, 0 .. MaxBackends - 1 */
#if PG_VERSION_NUM >= 170000
#include "storage/procnumber.h"
#define MyBackendSlot	((int) MyProcNumber)
#else
#include "storage/backendid.h"
#define MyBackendSlot	((int) MyBackendId - 1)
#endif

/* What pg_stat_activity shows while a backend computes */
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 170000
static inline uint32
InferenceWaitEvent(void)
{
	static uint32 event = 0;

	if (event == 0)
		event = WaitEventExtensionNew("Dsvl2Inference");
	return event;
}
#else
#define InferenceWaitEvent()	((uint32) PG_WAIT_EXTENSION)
#endif

#if PG_VERSION_NUM >= 170000
#define EstimateArrayLength(root, node) estimate_array_length(root, node)
#else
#define EstimateArrayLength(root, node) ((double) estimate_array_length(node))
#endif

/* Before 16 some function pointers have no prototypes */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#pragma GCC diagnostic pop

/* Which outer joins a Var has passed is known since 16, and is part of equal() */
#if PG_VERSION_NUM >= 160000
#define ForgetNullingRels(var) ((var)->varnullingrels = NULL)
#else
#define ForgetNullingRels(var) ((void) 0)
#endif

/* Raises what running the statement would */
#if PG_VERSION_NUM >= 160000
#define CheckPlanPermissions(stmt) ((void) ExecCheckPermissions((stmt)->rtable, (stmt)->permInfos, true))
#else
#define CheckPlanPermissions(stmt) ((void) ExecCheckRTPerms((stmt)->rtable, true))
#endif

/* The next n rows of a query that may be run again for more */
#if PG_VERSION_NUM >= 180000
#define RunExecutor(query, n)	ExecutorRun(query, ForwardScanDirection, n)
#else
#define RunExecutor(query, n)	ExecutorRun(query, ForwardScanDirection, n, false)
#endif

#if PG_VERSION_NUM >= 180000
#define DSVL2_MODULE_MAGIC	PG_MODULE_MAGIC_EXT(.name = "dsvl2", .version = DSV_VERSION)
#else
#define DSVL2_MODULE_MAGIC	PG_MODULE_MAGIC
#endif

#endif
