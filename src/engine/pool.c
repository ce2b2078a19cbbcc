/*
 * pool.c
 *		Worker threads of the process: started lazily, parked between runs.
 *
 * A run is published as a ticket: the upper half of one 64-bit word numbers the run,
 * the lower half is the next task.  A worker reads the ticket, then the job's fields,
 * then claims its task by compare-and-swap.  The fields are rewritten only after every
 * task of the run is done and its ticket is closed, so a swap that succeeds proves that
 * the fields belonged to that very run; a worker that comes late finds the run closed or
 * another and touches nothing.  The caller therefore waits for tasks, never for workers: one that
 * is asleep, or has no processor, delays nobody.
 *
 * Whoever waits spins for some tens of microseconds, which covers the gaps between the
 * products of one layer, and then sleeps on a condition variable.  With more threads
 * than processors spinning would only keep the others from working: then nobody spins.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* sched_getaffinity, pthread_setname_np */
#endif

#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

#define CLOSED UINT32_MAX		/* the task number that no run has */
#define SPINS 1000				/* a pause takes 40 to 140 cycles */
#define STACK_BYTES ((size_t) 1 << 20)

typedef struct pool_state
{
	/* the job of the run that `ticket` names */
	_Atomic(dsv_task_fn) fn;
	_Atomic(void *) ud;
	atomic_uint	ntasks;
	atomic_int	threads;
	atomic_uint	done;
	_Atomic uint64_t ticket;	/* run << 32 | next task */

	atomic_int	sleepers;		/* workers asleep or about to be */
	atomic_bool caller_sleeps;
	atomic_bool stopping;
	atomic_bool spin;			/* there is a processor for everybody */
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t finished;

	/* the caller's alone */
	pthread_t	workers[DSV_POOL_MAX];
	int			nworkers;
	int			most;			/* threads that the system allows, the caller's among
								 * them; 0 = not known */
	int			processors;
	pid_t		pid;			/* a forked child has none of the threads */
} pool_state;

static pool_state pool;

static inline void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Takes tasks of run `run` until none is left. */
static void
take_tasks(uint32_t run, int worker)
{
	for (;;)
	{
		uint64_t	ticket = atomic_load(&pool.ticket);
		dsv_task_fn fn = atomic_load(&pool.fn);
		void	   *ud = atomic_load(&pool.ud);
		uint32_t	ntasks = atomic_load(&pool.ntasks);
		int			threads = atomic_load(&pool.threads);
		uint32_t	task = (uint32_t) ticket;

		if (ticket >> 32 != run || task >= ntasks || worker >= threads)
			return;
		if (!atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket + 1))
			continue;
		fn(ud, (int) task, worker);
		if (atomic_fetch_add(&pool.done, 1) + 1 == ntasks && atomic_load(&pool.caller_sleeps))
		{
			pthread_mutex_lock(&pool.lock);
			pthread_cond_signal(&pool.finished);
			pthread_mutex_unlock(&pool.lock);
		}
	}
}

static inline uint32_t
current_run(void)
{
	return (uint32_t) (atomic_load(&pool.ticket) >> 32);
}

/* Returns the number of a run other than `seen`. */
static uint32_t
wait_for_run(uint32_t seen)
{
	int			spins = atomic_load(&pool.spin) ? SPINS : 0;

	for (int i = 0; i < spins; i++)
	{
		if (current_run() != seen)
			return current_run();
		relax();
	}
	/* The publisher writes the ticket and then reads `sleepers`, here it is the other way
	 * round: one of the two sees the other. */
	pthread_mutex_lock(&pool.lock);
	atomic_fetch_add(&pool.sleepers, 1);
	while (current_run() == seen)
		pthread_cond_wait(&pool.work, &pool.lock);
	atomic_fetch_sub(&pool.sleepers, 1);
	pthread_mutex_unlock(&pool.lock);
	return current_run();
}

static void
wait_for_tasks(uint32_t ntasks)
{
	int			spins = atomic_load(&pool.spin) ? SPINS : 0;

	for (int i = 0; i < spins; i++)
	{
		if (atomic_load(&pool.done) == ntasks)
			return;
		relax();
	}
	pthread_mutex_lock(&pool.lock);
	atomic_store(&pool.caller_sleeps, true);
	while (atomic_load(&pool.done) != ntasks)
		pthread_cond_wait(&pool.finished, &pool.lock);
	atomic_store(&pool.caller_sleeps, false);
	pthread_mutex_unlock(&pool.lock);
}

/* Makes a new ticket visible and wakes whoever sleeps. */
static void
publish(uint32_t run)
{
	atomic_store(&pool.ticket, (uint64_t) run << 32);
	if (atomic_load(&pool.sleepers) > 0)
	{
		pthread_mutex_lock(&pool.lock);
		pthread_cond_broadcast(&pool.work);
		pthread_mutex_unlock(&pool.lock);
	}
}

/* Whether the run that a worker was started for is published before or after it comes to
 * life, it takes part: the current run is served first. */
static void *
worker_main(void *arg)
{
	int			worker = (int) (intptr_t) arg;
	uint32_t	seen = current_run();

#ifdef __linux__
	pthread_setname_np(pthread_self(), "dsvl2 worker");
#endif
	for (;;)
	{
		if (atomic_load(&pool.stopping))
			return NULL;
		take_tasks(seen, worker);
		seen = wait_for_run(seen);
	}
}

/* Forgets threads that stayed behind in the process this one was forked from; the lock
 * may have been copied while one of them held it. */
static void
forget_parent(void)
{
	pid_t		pid = getpid();

	if (pool.pid == pid)
		return;
	pool.pid = pid;
	pool.nworkers = 0;
	pool.most = 0;
	atomic_store(&pool.sleepers, 0);
	atomic_store(&pool.caller_sleeps, false);
	atomic_store(&pool.stopping, false);
	pthread_mutex_init(&pool.lock, NULL);
	pthread_cond_init(&pool.work, NULL);
	pthread_cond_init(&pool.finished, NULL);
}

/* At least `want` workers, or as many as the system gives.  A refusal is remembered until
 * dsv_pool_stop: asking again at every run would cost more than it could bring. */
static void
start_workers(int want)
{
	pthread_attr_t attr;
	sigset_t	all,
				before;

	if (pool.most > 0 && want > pool.most - 1)
		want = pool.most - 1;
	if (pool.nworkers >= want)
		return;
	pool.processors = dsv_pool_processors();
	if (pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setstacksize(&attr, STACK_BYTES);

	/* A thread inherits the mask: no signal of the server may ever run on a worker. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool.nworkers < want)
	{
		int			worker = pool.nworkers + 1;

		if (pthread_create(&pool.workers[pool.nworkers], &attr, worker_main,
						   (void *) (intptr_t) worker) != 0)
		{
			pool.most = worker;
			break;
		}
		pool.nworkers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

void
dsv_pool_run(int threads, int ntasks, dsv_task_fn fn, void *ud)
{
	uint32_t	run;

	if (threads > DSV_POOL_MAX)
		threads = DSV_POOL_MAX;
	if (threads > ntasks)
		threads = ntasks;
	if (threads > 1)
	{
		forget_parent();
		start_workers(threads - 1);
		if (threads > pool.nworkers + 1)
			threads = pool.nworkers + 1;
	}
	if (threads <= 1)
	{
		for (int task = 0; task < ntasks; task++)
			fn(ud, task, 0);
		return;
	}

	run = current_run();
	atomic_store(&pool.ticket, (uint64_t) run << 32 | CLOSED);
	run++;
	atomic_store(&pool.fn, fn);
	atomic_store(&pool.ud, ud);
	atomic_store(&pool.ntasks, (uint32_t) ntasks);
	atomic_store(&pool.threads, threads);
	atomic_store(&pool.done, 0);
	atomic_store(&pool.spin, threads <= pool.processors);
	publish(run);
	take_tasks(run, 0);
	wait_for_tasks((uint32_t) ntasks);
}

void
dsv_pool_stop(void)
{
	forget_parent();
	if (pool.nworkers > 0)
	{
		/* no task goes with this run: everybody sees a new number and then the flag */
		atomic_store(&pool.ntasks, 0);
		atomic_store(&pool.stopping, true);
		publish(current_run() + 1);
		for (int i = 0; i < pool.nworkers; i++)
			pthread_join(pool.workers[i], NULL);
		atomic_store(&pool.stopping, false);
	}
	pool.nworkers = 0;
	pool.most = 0;
}

int
dsv_pool_workers(void)
{
	return pool.pid == getpid() ? pool.nworkers : 0;
}

int
dsv_pool_processors(void)
{
	long		n;

#ifdef __linux__
	cpu_set_t	set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
		return CPU_COUNT(&set);
#endif
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (int) n : 1;
}
