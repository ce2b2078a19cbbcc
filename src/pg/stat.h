/*
 * stat.h
 *		What every role has had computed, for the view vl_stat.
 *
 * An entry for each database, role, task and model that met, in shared memory; when dsvl2 is
 * not in shared_preload_libraries every function here does nothing.  At most dsvl2.stat_max
 * entries are kept apart: then the one that was used least recently is added to the rest,
 * so that sums stay exact.
 */
#ifndef DSVL2_STAT_H
#define DSVL2_STAT_H

#include "compat.h"

#include "infer.h"

Size		StatMemorySize(void);
void		AttachStatMemory(void);

/* Whose call it is, of what kind; taken down at its start, since the call itself may be gone when
 * it ends */
typedef struct StatName
{
	Oid			role;
	dsv_task	task;
	char		model[NAMEDATALEN];
} StatName;

void		StatNameCall(StatName *name, const InferCall *call);

/* The end of a call, whatever it is; sqlerrcode 0 = no error.  May be called while an error is
 * handled: raises nothing. */
void		StatCount(const StatName *name, int sqlerrcode, bool from_memo, int nimages, const dsv_usage *usage);

#endif
