/*
 * limits.c
 *		Threads that measure together, and the read bandwidth.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* MAP_ANONYMOUS, madvise, pthread_setaffinity_np */
#endif

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../engine/pool.h"
#include "limits.h"
#include "tool.h"

/* ---- a team: every thread does a slice of the same work at the same time ---- */

#define BUDGET_MS 4000

typedef void (*slice_fn) (void *ud, int thread, int slice);

typedef struct team
{
	slice_fn	slice;
	void	   *ud;
	int			nthreads;
	int			nslices;		/* at most */
	double		deadline;		/* none begins after it */
	bool		late;
	pthread_barrier_t barrier;
	double		start[DSV_POOL_MAX];	/* of the present slice, ms */
	double		end[DSV_POOL_MAX];
	double		best;			/* ms of the shortest slice, from the first start to the last end */
} team;

typedef struct member
{
	team	   *of;
	int			thread;
	pthread_t	id;
} member;

static double
slice_ms(const team *t)
{
	double		start = t->start[0];
	double		end = t->end[0];

	for (int i = 1; i < t->nthreads; i++)
	{
		start = t->start[i] < start ? t->start[i] : start;
		end = t->end[i] > end ? t->end[i] : end;
	}
	return end - start;
}

static void *
member_main(void *arg)
{
	const member *m = arg;
	team	   *t = m->of;

	for (int i = 0; i < t->nslices && !t->late; i++)
	{
		pthread_barrier_wait(&t->barrier);
		t->start[m->thread] = tool_now_ms();
		t->slice(t->ud, m->thread, i);
		t->end[m->thread] = tool_now_ms();
		pthread_barrier_wait(&t->barrier);
		if (m->thread == 0)
		{
			t->best = i == 0 || slice_ms(t) < t->best ? slice_ms(t) : t->best;
			t->late = tool_now_ms() > t->deadline;
		}
		/* nobody goes on before that is known */
		pthread_barrier_wait(&t->barrier);
	}
	return NULL;
}

/* Each thread on a processor of its own: on a busy machine they would else take turns on one. */
static void
pin(pthread_t thread, int i)
{
#ifdef __linux__
	cpu_set_t	allowed,
				one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) == 0)
		return;
	i %= CPU_COUNT(&allowed);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && i-- == 0)
			CPU_SET(cpu, &one);
	pthread_setaffinity_np(thread, sizeof(one), &one);
#endif
}

/* Milliseconds of the shortest of nslices, or of as many as a busy machine has done in `budget`.
 * Threads of their own and not the pool's: there one thread may take another's task, here each must
 * have its own. */
static double
best_slice(int threads, int nslices, double budget, slice_fn slice, void *ud)
{
	team		t = {slice, ud, threads, nslices, tool_now_ms() + budget};
	member		members[DSV_POOL_MAX];

	pthread_barrier_init(&t.barrier, NULL, (unsigned) threads);
	for (int i = 0; i < threads; i++)
	{
		members[i] = (member) {&t, i};
		if (pthread_create(&members[i].id, NULL, member_main, &members[i]) != 0)
			tool_fail("could not start %d threads", threads);
		pin(members[i].id, i);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(members[i].id, NULL);
	pthread_barrier_destroy(&t.barrier);
	return t.best;
}

/* ---- instructions ---- */

#define PEAK_SLICES 200
#define PEAK_SLICE_MS 1			/* at least; less than a busy machine's turns */
#define CALIBRATION_SLICES 5

typedef struct peak_job
{
	const limits_instruction *instruction;
	int64_t		rounds;
} peak_job;

static void
peak_slice(void *ud, int thread, int slice)
{
	const peak_job *job = ud;

	job->instruction->rounds(job->rounds);
}

double
limits_peak(const limits_instruction *instruction, int threads)
{
	peak_job	job = {instruction, 100};
	double		ms;

	while (best_slice(1, CALIBRATION_SLICES, BUDGET_MS, peak_slice, &job) < PEAK_SLICE_MS)
		job.rounds *= 2;
	ms = best_slice(threads, PEAK_SLICES, BUDGET_MS, peak_slice, &job);
	return instruction->operations * instruction->steps * job.rounds * threads / ms * 1e3;
}

/* ---- read bandwidth ---- */

#define READ_BYTES ((size_t) 512 << 20)
#define CACHES 8				/* the buffer is at least so many times the last-level cache */
#define PIECE_BYTES ((size_t) 16 << 20)	/* that a thread reads in one slice: about a millisecond */
#define PASSES 4				/* over the whole buffer */
#define MAX_STREAMS 8

/* One load of every instruction set is enough to outrun the memory: the compiler cuts this into
 * registers of what it is allowed to use. */
typedef uint64_t line __attribute__((vector_size(64)));

#define INLINE static inline __attribute__((always_inline))

/* Several rows of a matrix are read side by side in a product with one vector; so here.  streams
 * is a constant wherever this is inlined. */
INLINE uint64_t
read_streams(const char *p, size_t stride, int streams)
{
	line		sum[MAX_STREAMS] = {0};

	for (size_t at = 0; at + sizeof(line) <= stride; at += sizeof(line))
#pragma GCC unroll 8
		for (int s = 0; s < streams; s++)
			sum[s] += *(const line *) (p + s * stride + at);
	for (int s = 1; s < streams; s++)
		sum[0] += sum[s];
	return sum[0][0] + sum[0][7];
}

INLINE uint64_t
read_some(const char *p, size_t stride, int streams)
{
	switch (streams)
	{
		case 1:
			return read_streams(p, stride, 1);
		case 2:
			return read_streams(p, stride, 2);
		case 4:
			return read_streams(p, stride, 4);
		default:
			return read_streams(p, stride, MAX_STREAMS);
	}
}

#if defined(__x86_64__)
__attribute__((target("avx2")))
static uint64_t
read_avx2(const char *p, size_t stride, int streams)
{
	return read_some(p, stride, streams);
}
#endif

static uint64_t
read_plain(const char *p, size_t stride, int streams)
{
	return read_some(p, stride, streams);
}

typedef struct read_job
{
	char	   *data;
	int			pieces;			/* of each thread */
	int			streams;
	size_t		stride;			/* bytes of a stream */
	uint64_t	(*read) (const char *p, size_t stride, int streams);
	volatile uint64_t sums[DSV_POOL_MAX];	/* so that the sums are needed */
} read_job;

/* One piece after the other, so that none is left in a cache when its turn comes again */
static char *
piece_at(const read_job *job, int thread, int slice)
{
	return job->data + ((size_t) thread * job->pieces + slice % job->pieces) * PIECE_BYTES;
}

/* Each thread its own pieces: memory of several nodes is then where it is read. */
static void
fill_slice(void *ud, int thread, int slice)
{
	memset(piece_at(ud, thread, slice), 1, PIECE_BYTES);
}

static void
read_slice(void *ud, int thread, int slice)
{
	read_job   *job = ud;

	job->sums[thread] = job->read(piece_at(job, thread, slice), job->stride, job->streams);
}

size_t
limits_cache_bytes(void)
{
	long		bytes = 0;

#ifdef _SC_LEVEL3_CACHE_SIZE
	bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
	return bytes > 0 ? (size_t) bytes : 0;
}

static size_t
buffer_bytes(void)
{
	size_t		caches = CACHES * limits_cache_bytes();

	return caches > READ_BYTES ? caches : READ_BYTES;
}

double
limits_read_bandwidth(int threads)
{
	read_job	job = {.pieces = (int) (buffer_bytes() / PIECE_BYTES / threads) + 1, .read = read_plain};
	size_t		bytes = (size_t) job.pieces * threads * PIECE_BYTES;
	double		best = 0;

#if defined(__x86_64__)
	if (limits_have(limits_instruction_named("fma_256")))
		job.read = read_avx2;
#endif
	job.data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (job.data == MAP_FAILED)
		tool_fail("out of memory");
#ifdef MADV_HUGEPAGE
	madvise(job.data, bytes, MADV_HUGEPAGE);
#endif
	best_slice(threads, job.pieces, INFINITY, fill_slice, &job);
	for (job.streams = 1; job.streams <= MAX_STREAMS; job.streams *= 2)
	{
		double		rate;

		/* an odd number of lines: streams that lie a power of two apart meet in one set of the caches */
		job.stride = ((PIECE_BYTES / job.streams / sizeof(line) - 1) | 1) * sizeof(line);
		rate = (double) job.stride * job.streams * threads /
			best_slice(threads, job.pieces * PASSES, BUDGET_MS, read_slice, &job) * 1e3;
		best = rate > best ? rate : best;
	}
	munmap(job.data, bytes);
	return best;
}
