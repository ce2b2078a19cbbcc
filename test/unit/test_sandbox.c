/*
 * test_sandbox.c
 *		What a child process may do, and what its end means to the caller.
 */
#include "image_util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox.h"

#define MEMORY ((size_t) 64 << 20)

static dsv_code
run(void (*work) (void *ud, const dsv_sink *sink), void *ud, size_t max_output, const dsv_poll *poll, dsv_text *out,
	dsv_error *err)
{
	dsv_sandbox s = {work, ud, MEMORY, max_output};
	dsv_code	code = dsv_sandbox_run(&s, poll, NULL, out, err);

	/* whatever happened, no child is left, dead or alive */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return code;
}

static void
put(const dsv_sink *sink, const void *data, size_t n)
{
	sink->put(sink->ud, data, n);
}

/* ---- output ---- */

static void
write_much(void *ud, const dsv_sink *sink)
{
	size_t		left = *(size_t *) ud / sizeof(uint32_t);
	uint32_t	state = 1;
	uint32_t	v[1000];

	while (left > 0)
	{
		size_t		n = left < 1000 ? left : 1000;

		for (size_t i = 0; i < n; i++)
			v[i] = noise(&state);
		put(sink, v, n * sizeof(v[0]));
		left -= n;
	}
}

static void
test_output(void **state)
{
	static const size_t sizes[] = {0, 4, 65536, 3 << 20};

	(void) state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		size_t		n = sizes[i];
		uint32_t	expected = 1;
		dsv_text	out = {0};
		dsv_error	err;

		assert_int_equal(run(write_much, &n, n, NULL, &out, &err), DSV_OK);
		assert_int_equal(out.len, n);
		for (size_t k = 0; k < n; k += 4)
		{
			uint32_t	v;

			memcpy(&v, out.s + k, 4);
			assert_int_equal(v, noise(&expected));
		}
		free(out.s);
		out = (dsv_text) {0};
		if (n == 0)
			continue;
		assert_int_equal(run(write_much, &n, n - 1, NULL, &out, &err), DSV_IMAGE_SIZE);
		assert_true(err.msg[0] != '\0');
		free(out.s);
	}
}

static void
test_allocation_failed(void **state)
{
	size_t		n = 1 << 20;
	dsv_sandbox s = {write_much, &n, MEMORY, n};
	dsv_code	code = DSV_NOMEM;

	(void) state;
	for (int i = 1; code != DSV_OK; i++)
	{
		counting_mem c;
		dsv_text	out = {0};
		dsv_error	err;

		counting_start(&c, i);
		code = dsv_sandbox_run(&s, NULL, &c.mem, &out, &err);
		assert_true(code == DSV_OK || code == DSV_NOMEM);
		dsv_free(&c.mem, out.s);
		assert_int_equal(c.live, 0);
	}
}

/* ---- ends ---- */

static void
end_badly(void *ud, const dsv_sink *sink)
{
	volatile int *nowhere = NULL;

	put(sink, "begun", 5);
	switch (*(int *) ud)
	{
		case 0:
			*nowhere = 1;
			break;
		case 1:
			abort();
		case 2:
			kill(getpid(), SIGKILL);
			break;
		case 3:
			_exit(1);
	}
	put(sink, "done", 4);
}

static __attribute__((noinline)) int
recurse(volatile char *above, int depth)
{
	volatile char here[256];

	here[depth % 256] = above[0];
	if (depth < 0)
		return 0;
	return recurse(here, depth + 1) + here[(depth + 1) % 256];
}

static void
overflow_stack(void *ud, const dsv_sink *sink)
{
	char		start[1] = {0};

	(void) ud;
	put(sink, "begun", 5);
	recurse(start, 0);
	put(sink, "done", 4);
}

static void
test_bad_ends(void **state)
{
	dsv_text	out = {0};
	dsv_error	err;

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		out.len = 0;
		assert_int_equal(run(end_badly, &i, 1000, NULL, &out, &err), DSV_OK);
		assert_int_equal(out.len, 5);
	}
	out.len = 0;
	assert_int_equal(run(overflow_stack, NULL, 1000, NULL, &out, &err), DSV_OK);
	assert_int_equal(out.len, 5);
	free(out.s);
}

static void
signal_group(void *ud, const dsv_sink *sink)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGALRM, SIGPIPE};

	(void) ud;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		raise(signals[i]);
	put(sink, "done", 4);
}

static void
on_signal(int sig)
{
	(void) sig;
	_exit(1);
}

/* What is sent to the caller's process group is for the caller: no handler runs, nothing ends. */
static void
test_signals(void **state)
{
	dsv_text	out = {0};
	dsv_error	err;

	(void) state;
	signal(SIGTERM, on_signal);
	assert_int_equal(run(signal_group, NULL, 1000, NULL, &out, &err), DSV_OK);
	assert_int_equal(out.len, 4);
	signal(SIGTERM, SIG_DFL);
	free(out.s);
}

static void
work_forever(void *ud, const dsv_sink *sink)
{
	(void) ud;
	(void) sink;
	for (;;)
		;
}

static void
test_canceled(void **state)
{
	counting_poll p;
	dsv_text	out = {0};
	dsv_error	err;
	struct timespec from;
	struct timespec to;

	(void) state;
	counting_poll_start(&p, 3);
	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(run(work_forever, NULL, 1000, &p.poll, &out, &err), DSV_CANCELED);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_int_equal(p.calls, 3);
	assert_true(to.tv_sec - from.tv_sec < 5);
	free(out.s);
}

/* ---- limits ---- */

static void
report_memory(void *ud, const dsv_sink *sink)
{
	size_t		n = 0;
	void	   *p;

	(void) ud;
	while ((p = malloc(1 << 20)) != NULL && n < 1000)
	{
		memset(p, 1, 1 << 20);
		n++;
	}
	put(sink, &n, sizeof(n));
}

static void
test_memory(void **state)
{
	dsv_text	out = {0};
	dsv_error	err;
	size_t		n;

	(void) state;
	assert_int_equal(run(report_memory, NULL, 1000, NULL, &out, &err), DSV_OK);
	assert_int_equal(out.len, sizeof(n));
	memcpy(&n, out.s, sizeof(n));
	/* and what malloc still held from before */
	assert_true(n >= 32 && n <= 64 + 16);
	free(out.s);
}

typedef struct surroundings
{
	int			open_files;
	int			can_open;
	rlim_t		seconds;
	rlim_t		core;
	int			unblocked;
} surroundings;

static void
report_surroundings(void *ud, const dsv_sink *sink)
{
	surroundings s = {0};
	struct rlimit limit;
	sigset_t	mask;

	(void) ud;
	for (int fd = 0; fd < 1000; fd++)
		s.open_files += fcntl(fd, F_GETFD) >= 0;
	s.can_open = open("/dev/null", O_RDONLY) >= 0;
	getrlimit(RLIMIT_CPU, &limit);
	s.seconds = limit.rlim_cur;
	getrlimit(RLIMIT_CORE, &limit);
	s.core = limit.rlim_cur;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int sig = 1; sig < 32; sig++)
		s.unblocked += sigismember(&mask, sig) == 0;
	put(sink, &s, sizeof(s));
}

static void
test_surroundings(void **state)
{
	int			fd = open("/dev/null", O_RDONLY);
	sigset_t	mask;
	sigset_t	before;
	sigset_t	after;
	surroundings s;
	dsv_text	out = {0};
	dsv_error	err;

	(void) state;
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, &before);
	assert_int_equal(run(report_surroundings, NULL, 1000, NULL, &out, &err), DSV_OK);
	assert_int_equal(out.len, sizeof(s));
	memcpy(&s, out.s, sizeof(s));
	assert_int_equal(s.open_files, 1);
	assert_int_equal(s.can_open, 0);
	assert_int_equal(s.seconds, DSV_SANDBOX_SECONDS);
	assert_int_equal(s.core, 0);
	assert_int_equal(s.unblocked, 2);	/* KILL and STOP, which nobody can block */
	/* the caller's own mask and files are as they were */
	sigprocmask(SIG_SETMASK, &before, &after);
	assert_true(sigismember(&after, SIGINT) == 1 && sigismember(&after, SIGTERM) == 0);
	assert_int_equal(close(fd), 0);
	free(out.s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_allocation_failed),
		cmocka_unit_test(test_bad_ends),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_canceled),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_surroundings),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
