/*
 * shmem.h
 *		Shared memory of all modules; there is some only when dsvl2 is in
 *		shared_preload_libraries.
 */
#ifndef DSVL2_SHMEM_H
#define DSVL2_SHMEM_H

#include "compat.h"

/* From _PG_init; does nothing when it is too late. */
void		RequestSharedMemory(void);

/* Locks, in the order in which they may be taken */
typedef enum SharedLock
{
	STAT_LOCK,					/* which entries stat.c has */
	RATES_LOCK,					/* all of rates.c */
	SHARED_LOCKS
} SharedLock;

/* Only where there is shared memory */
LWLock	   *GetSharedLock(SharedLock lock);

/* Why a view is empty, once a session */
void		SayNotPreloaded(void);

#endif
