/*
 * test_pool.c
 *		Worker threads: every task once, whatever the number of threads; signals stay away
 *		from them; refusals and forks are survived.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "pool.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* ---- pthread_create that can be told to fail ---- */

typedef int (*create_fn) (pthread_t *, const pthread_attr_t *, void *(*) (void *), void *);

static int	creations_left = -1;	/* < 0: no limit */
static int	refusals;

int
pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start) (void *), void *arg)
{
	create_fn	real;

	if (creations_left == 0)
	{
		refusals++;
		return EAGAIN;
	}
	if (creations_left > 0)
		creations_left--;
	*(void **) &real = dlsym(RTLD_NEXT, "pthread_create");
	return real(thread, attr, start, arg);
}

/* ---- tasks ---- */

#define MOST_TASKS 1000

typedef struct tally
{
	atomic_int	runs[MOST_TASKS];
	atomic_int	bad_worker;
	int			threads;
	pthread_t	caller;
} tally;

static void
count_task(void *ud, int task, int worker)
{
	tally	   *count = ud;

	atomic_fetch_add(&count->runs[task], 1);
	if (worker < 0 || worker >= (count->threads > 1 ? count->threads : 1))
		atomic_fetch_add(&count->bad_worker, 1);
	if ((worker == 0) != (pthread_equal(pthread_self(), count->caller) != 0))
		atomic_fetch_add(&count->bad_worker, 1);
}

static void
check_run(int threads, int ntasks)
{
	tally	   *count = calloc(1, sizeof(tally));

	count->threads = threads;
	count->caller = pthread_self();
	dsv_pool_run(threads, ntasks, count_task, count);
	for (int i = 0; i < MOST_TASKS; i++)
		assert_int_equal(atomic_load(&count->runs[i]), i < ntasks ? 1 : 0);
	assert_int_equal(atomic_load(&count->bad_worker), 0);
	free(count);
}

static int
stop_pool(void **state)
{
	creations_left = -1;
	dsv_pool_stop();
	return 0;
}

static void
test_every_task_once(void **state)
{
	for (int threads = -1; threads <= 8; threads++)
		for (int ntasks = 0; ntasks < MOST_TASKS; ntasks = ntasks * 2 + 1)
			for (int repeat = 0; repeat < 20; repeat++)
				check_run(threads, ntasks);
	assert_int_equal(dsv_pool_workers(), 7);
	check_run(200, MOST_TASKS);
	assert_int_equal(dsv_pool_workers(), DSV_POOL_MAX - 1);
}

static void
test_lazy(void **state)
{
	assert_int_equal(dsv_pool_workers(), 0);
	check_run(1, 100);
	check_run(0, 100);
	check_run(8, 1);
	check_run(8, 0);
	assert_int_equal(dsv_pool_workers(), 0);
	check_run(8, 3);
	assert_int_equal(dsv_pool_workers(), 2);
	check_run(4, 100);
	assert_int_equal(dsv_pool_workers(), 3);
	check_run(2, 100);
	assert_int_equal(dsv_pool_workers(), 3);
}

/* Runs that follow one another at once, where workers arrive late, with different jobs. */
static void
add_number(void *ud, int task, int worker)
{
	atomic_fetch_add((atomic_long *) ud, task + 1);
}

static void
test_many_short_runs(void **state)
{
	atomic_long sums[3];

	for (int i = 0; i < 20000; i++)
	{
		int			ntasks = 2 + i % 7;
		atomic_long *sum = &sums[i % 3];

		atomic_store(sum, 0);
		dsv_pool_run(2 + i % 5, ntasks, add_number, sum);
		if (atomic_load(sum) != ntasks * (ntasks + 1) / 2)
			fail_msg("run %d of %d tasks: sum %ld", i, ntasks, atomic_load(sum));
	}
}

/* Workers asleep, and a caller that has to sleep until a slow task ends. */
static void
slow_task(void *ud, int task, int worker)
{
	if (task % 2 == 1)
		usleep(3000);
	atomic_fetch_add((atomic_int *) ud, 1);
}

static void
test_sleep_and_wake(void **state)
{
	atomic_int	done = 0;

	for (int i = 1; i <= 20; i++)
	{
		dsv_pool_run(3, 4, slow_task, &done);
		assert_int_equal(atomic_load(&done), 4 * i);
		usleep(2000);
	}
}

/* A task that needs another one at the same time: only if two threads work. */
static void
meet(void *ud, int task, int worker)
{
	pthread_barrier_wait(ud);
}

static void
test_parallel(void **state)
{
	for (int threads = 2; threads <= 8; threads++)
	{
		pthread_barrier_t barrier;

		pthread_barrier_init(&barrier, NULL, threads);
		for (int i = 0; i < 10; i++)
			dsv_pool_run(threads, threads, meet, &barrier);
		pthread_barrier_destroy(&barrier);
	}
}

static void
test_stop_and_start(void **state)
{
	dsv_pool_stop();
	for (int i = 0; i < 50; i++)
	{
		check_run(1 + i % 5, 20);
		dsv_pool_stop();
		assert_int_equal(dsv_pool_workers(), 0);
		if (i % 3 == 0)
			dsv_pool_stop();
	}
}

static void
test_one_processor(void **state)
{
#ifdef __linux__
	cpu_set_t	before,
				one;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_int_equal(dsv_pool_processors(), CPU_COUNT(&before));
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE; i++)
	{
		if (CPU_ISSET(i, &before))
		{
			CPU_SET(i, &one);
			break;
		}
	}
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(dsv_pool_processors(), 1);
	for (int i = 0; i < 200; i++)
		check_run(4, 50);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
#else
	assert_true(dsv_pool_processors() >= 1);
#endif
}

/* ---- refusals ---- */

static void
test_no_threads(void **state)
{
	for (int allowed = 0; allowed < 4; allowed++)
	{
		dsv_pool_stop();
		creations_left = allowed;
		refusals = 0;
		check_run(8, 100);
		assert_int_equal(dsv_pool_workers(), allowed);
		assert_int_equal(refusals, 1);
		/* the answer is remembered, */
		check_run(8, 100);
		assert_int_equal(refusals, 1);
		/* until the pool is stopped */
		dsv_pool_stop();
		creations_left = -1;
		check_run(6, 100);
		assert_int_equal(dsv_pool_workers(), 5);
	}
}

/* The child of a fork has no workers and starts its own; the parent's go on. */
static void
test_fork(void **state)
{
	pid_t		child;
	int			status;

	check_run(4, 100);
	assert_int_equal(dsv_pool_workers(), 3);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
	{
		atomic_long sum = 0;
		int			before = dsv_pool_workers();

		alarm(20);
		dsv_pool_run(3, 10, add_number, &sum);
		if (before != 0 || atomic_load(&sum) != 55 || dsv_pool_workers() != 2)
			_exit(1);
		dsv_pool_stop();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	check_run(4, 100);
	assert_int_equal(dsv_pool_workers(), 3);
}

/* A forked child that only says it is done must not wait for threads that it has not. */
static void
test_fork_stop(void **state)
{
	pid_t		child;
	int			status;

	check_run(4, 100);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
	{
		alarm(20);
		dsv_pool_stop();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- signals ---- */

#ifdef __linux__

/* A field of /proc/self/task/TID/status, as text. */
static bool
read_status(const char *tid, const char *field, char *value, size_t size)
{
	char		path[64];
	char		line[256];
	FILE	   *file;
	bool		found = false;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", tid);
	file = fopen(path, "r");
	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file) != NULL)
	{
		size_t		n = strlen(field);

		if (strncmp(line, field, n) == 0 && line[n] == ':')
		{
			line[strcspn(line, "\n")] = '\0';
			snprintf(value, size, "%s", line + n + 1 + strspn(line + n + 1, " \t"));
			found = true;
		}
	}
	fclose(file);
	return found;
}

static void
test_worker_signal_mask(void **state)
{
	/* everything but what cannot be blocked and glibc's own two */
	const unsigned long long never = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) |
		3ull << 31;
	DIR		   *dir;
	struct dirent *entry;
	int			workers = 0;
	char		name[64];
	char		text[64];

	dsv_pool_stop();
	check_run(4, 100);
	usleep(20000);
	dir = opendir("/proc/self/task");
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
	{
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
			continue;
		assert_true(read_status(entry->d_name, "Name", name, sizeof(name)));
		assert_string_equal(name, "dsvl2 worker");
		assert_true(read_status(entry->d_name, "SigBlk", text, sizeof(text)));
		assert_true((strtoull(text, NULL, 16) | never) == ~0ull);
		workers++;
	}
	closedir(dir);
	assert_int_equal(workers, 3);
}

static volatile sig_atomic_t signals_seen;
static volatile sig_atomic_t signals_elsewhere;
static pthread_t main_thread;

static void
on_signal(int number)
{
	signals_seen++;
	if (!pthread_equal(pthread_self(), main_thread))
		signals_elsewhere++;
}

/* sigset_t is wider than the kernel's mask, and the rest is not written */
static void
assert_same_mask(const sigset_t *a, const sigset_t *b)
{
	for (int number = 1; number < NSIG; number++)
		assert_int_equal(sigismember(a, number), sigismember(b, number));
}

/* Signals to the process end up on the caller, whose mask is as it was. */
static void
test_signals_to_caller(void **state)
{
	struct sigaction action = {.sa_handler = on_signal},
				before;
	sigset_t	mask,
				after;

	dsv_pool_stop();
	main_thread = pthread_self();
	sigaction(SIGUSR1, &action, &before);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	check_run(4, 10);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_same_mask(&after, &mask);
	for (int i = 0; i < 100; i++)
	{
		kill(getpid(), SIGUSR1);
		check_run(4, 10);
	}
	assert_true(signals_seen > 0);
	assert_int_equal(signals_elsewhere, 0);
	sigaction(SIGUSR1, &before, NULL);
}

#endif

static void
test_fp_environment(void **state)
{
#if defined(__x86_64__)
	unsigned	before = _mm_getcsr();

	dsv_pool_stop();
	check_run(4, 100);
	dsv_pool_stop();
	assert_int_equal(_mm_getcsr(), before);
#else
	skip();
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lazy, stop_pool, stop_pool),
		cmocka_unit_test_teardown(test_every_task_once, stop_pool),
		cmocka_unit_test_teardown(test_many_short_runs, stop_pool),
		cmocka_unit_test_teardown(test_sleep_and_wake, stop_pool),
		cmocka_unit_test_teardown(test_parallel, stop_pool),
		cmocka_unit_test_teardown(test_stop_and_start, stop_pool),
		cmocka_unit_test_teardown(test_one_processor, stop_pool),
		cmocka_unit_test_teardown(test_no_threads, stop_pool),
		cmocka_unit_test_teardown(test_fork, stop_pool),
		cmocka_unit_test_teardown(test_fork_stop, stop_pool),
#ifdef __linux__
		cmocka_unit_test_teardown(test_worker_signal_mask, stop_pool),
		cmocka_unit_test_teardown(test_signals_to_caller, stop_pool),
#endif
		cmocka_unit_test_teardown(test_fp_environment, stop_pool),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
