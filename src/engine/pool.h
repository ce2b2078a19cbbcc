/*
 * pool.h
 *		The process's worker threads.
 *
 * Threads start at the first dsv_pool_run that wants them, with every signal blocked,
 * and are parked (spinning briefly, then asleep) between runs.  They touch nothing but
 * the tasks they are given.  One run at a time; the caller works too, as worker 0.
 * Tasks must not depend on which worker takes them or in which order.
 */
#ifndef DSV_POOL_H
#define DSV_POOL_H

#include "error.h"

#define DSV_POOL_MAX 64

typedef void (*dsv_task_fn) (void *ud, int task, int worker);

/* Runs fn for task 0..ntasks-1 on at most `threads` threads (1 = the caller alone).
 * When threads cannot be started, fewer do the work.  worker < max(threads, 1). */
void		dsv_pool_run(int threads, int ntasks, dsv_task_fn fn, void *ud);

/* Joins all workers. */
void		dsv_pool_stop(void);

/* Number of processors the process may run on. */
int			dsv_pool_processors(void);

#endif
