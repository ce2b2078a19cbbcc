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

/* A call that has its result, computed or remembered, a row error included */
void		StatCount(const InferCall *call, const InferResult *result);

/* A call that raised what is being raised: from PG_CATCH */
void		StatFailure(const InferCall *call);

#endif
