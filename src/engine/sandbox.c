/*
 * sandbox.c
 *		A child process as a fence: fork, limits, a pipe back.
 *
 * The child keeps one descriptor, the pipe's end, and can open none; it has no signal handler
 * of the caller, leaves no core file, and dies with the caller.  It is deaf to signals, many of
 * which are sent to the caller's whole process group: a cancel is the caller's to hear, and its
 * child ends by SIGKILL.  The caller looks at the pipe every 20 milliseconds at least, so that a
 * cancel is heard however busy the child is.
 *
 * With DSV_SANDBOX_INLINE (fuzzers, which want to see the crash) the work runs in place.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* pipe2, close_range */
#endif
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define POLL_MS 20
#define PIECE ((size_t) 65536)

#ifdef DSV_SANDBOX_INLINE

typedef struct inline_output
{
	const dsv_sandbox *s;
	const dsv_mem *mem;
	dsv_text   *out;
} inline_output;

static bool
put_inline(void *ud, const void *data, size_t len)
{
	inline_output *o = ud;

	return o->out->len + len <= o->s->max_output && dsv_text_add(o->mem, o->out, data, len);
}

dsv_code
dsv_sandbox_run(const dsv_sandbox *s, const dsv_poll *poll, const dsv_mem *mem, dsv_text *out,
				dsv_error *err)
{
	inline_output o = {s, mem, out};
	dsv_sink	sink = {put_inline, &o};

	(void) err;
	(void) poll;
	s->work(s->ud, &sink);
	return DSV_OK;
}

#else

/* ---- the child ---- */

static bool
put_pipe(void *ud, const void *data, size_t len)
{
	int			fd = *(int *) ud;
	const char *p = data;

	while (len > 0)
	{
		ssize_t		n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
		{
			p += n;
			len -= (size_t) n;
		}
	}
	return true;
}

static void
set_limit(int resource, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) != 0)
		return;
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < value)
		value = limit.rlim_max;
	limit.rlim_cur = limit.rlim_max = value;
	setrlimit(resource, &limit);
}

/* Pages of address space that the process has, from the kernel's own file; 0 = not known */
static size_t
address_space(void)
{
	char		text[64];
	int			fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t		n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	unsigned long pages = 0;

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%lu", &pages) == 1 ? pages * (size_t) sysconf(_SC_PAGESIZE) : 0;
}

static void
close_others(int keep)
{
#ifdef CLOSE_RANGE_UNSHARE
	if (keep > 0)
		close_range(0, (unsigned) keep - 1, 0);
	if (close_range((unsigned) keep + 1, ~0U, 0) == 0)
		return;
#endif
	for (int fd = 0; fd < 4096; fd++)
		if (fd != keep)
			close(fd);
}

static _Noreturn void
be_child(const dsv_sandbox *s, int fd, pid_t parent)
{
	size_t		had = address_space();
	dsv_sink	sink = {put_pipe, &fd};

#ifdef __linux__
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);	/* a core pattern that is a program heeds no RLIMIT_CORE */
#endif
	if (getppid() != parent)
		_exit(1);
	/* all are blocked already; a fault of its own ends it anyway */
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	close_others(fd);
	if (had > 0)
		set_limit(RLIMIT_AS, had + s->memory);
	set_limit(RLIMIT_CPU, DSV_SANDBOX_SECONDS);
	set_limit(RLIMIT_CORE, 0);
	set_limit(RLIMIT_NOFILE, 0);
	s->work(s->ud, &sink);
	_exit(0);
}

/* ---- the caller ---- */

static dsv_code
start_child(const dsv_sandbox *s, int *fd, pid_t *child, dsv_error *err)
{
	pid_t		parent = getpid();
	sigset_t	all;
	sigset_t	before;
	int			ends[2];
	int			fork_errno;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return dsv_fail_errno(err, errno, "could not create a pipe");
	/* for the child, which keeps it so: no handler of the caller's may run there */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	*child = fork();
	fork_errno = errno;
	if (*child == 0)
		be_child(s, ends[1], parent);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(ends[1]);
	*fd = ends[0];
	if (*child < 0)
	{
		close(ends[0]);
		return dsv_fail_errno(err, fork_errno, "could not start a process");
	}
	return DSV_OK;
}

/* One look at the pipe; *end: the child has closed it. */
static dsv_code
take_piece(const dsv_sandbox *s, int fd, const dsv_mem *mem, dsv_text *out, bool *end, dsv_error *err)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	int			ready = poll(&wait, 1, POLL_MS);
	void	   *to = out->s;
	ssize_t		n;

	if (ready == 0 || (ready < 0 && errno == EINTR))
		return DSV_OK;
	if (ready < 0)
		return dsv_fail_errno(err, errno, "could not wait for a process");
	if (!dsv_reserve(mem, &to, &out->cap, out->len + PIECE, 1))
		return dsv_fail_nomem(err, out->len + PIECE);
	out->s = to;
	n = read(fd, out->s + out->len, PIECE);
	if (n < 0)
		return errno == EINTR ? DSV_OK : dsv_fail_errno(err, errno, "could not read from a process");
	out->len += (size_t) n;
	*end = n == 0;
	if (out->len > s->max_output)
		return dsv_fail(err, DSV_IMAGE_SIZE, "more than %zu bytes came out of an image", s->max_output);
	return DSV_OK;
}

dsv_code
dsv_sandbox_run(const dsv_sandbox *s, const dsv_poll *poll_fn, const dsv_mem *mem, dsv_text *out,
				dsv_error *err)
{
	bool		end = false;
	pid_t		child;
	int			fd;
	dsv_code	code = start_child(s, &fd, &child, err);

	if (code != DSV_OK)
		return code;
	while (code == DSV_OK && !end)
	{
		if (dsv_poll_canceled(poll_fn))
			code = dsv_fail_canceled(err);
		else
			code = take_piece(s, fd, mem, out, &end, err);
	}
	close(fd);
	if (code != DSV_OK)
		kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return code;
}

#endif
