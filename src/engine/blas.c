/*
 * blas.c
 *		OpenBLAS, opened at the first use.
 *
 * A threaded OpenBLAS starts its threads from a constructor, while it is being loaded,
 * and a signal sent to the process could then be handled on one of them.  So the
 * environment asks for one thread during the call, and every signal is blocked in case
 * the library starts a thread all the same.  The library is never closed: it registers
 * handlers of its own that would outlive it.
 */
#include "blas.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* the values of CBLAS_ORDER and CBLAS_TRANSPOSE */
#define ROW_MAJOR 101
#define NO_TRANS 111
#define TRANS 112

#define THREADS_VAR "OPENBLAS_NUM_THREADS"

typedef void (*sgemm_fn) (int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
						  const float *a, int lda, const float *b, int ldb, float beta, float *c,
						  int ldc);

static struct
{
	bool		tried;
	sgemm_fn	sgemm;			/* NULL: cannot be used */
	char		version[64];
} blas = {.version = "none"};

/* dlopen with one thread asked for; the environment is put back. */
static void *
open_library(void)
{
	const char *value = getenv(THREADS_VAR);
	char	   *before = value != NULL ? strdup(value) : NULL;
	void	   *handle;
	sigset_t	all,
				mask;

	if (value != NULL && before == NULL)
		return NULL;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	handle = setenv(THREADS_VAR, "1", 1) == 0 ?
		dlopen("libopenblas.so.0", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE) : NULL;
	if (before != NULL)
		setenv(THREADS_VAR, before, 1);
	else
		unsetenv(THREADS_VAR);
	free(before);

	/* A library that somebody else had loaded before did not see the environment. */
	if (handle != NULL)
	{
		void		(*set_num_threads) (int);

		*(void **) &set_num_threads = dlsym(handle, "openblas_set_num_threads");
		if (set_num_threads != NULL)
			set_num_threads(1);
	}
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return handle;
}

/* "OpenBLAS 0.3.21 DYNAMIC_ARCH ..." -> "openblas 0.3.21" */
static void
read_version(void *handle)
{
	char	   *(*get_config) (void);
	const char *config = "";
	char		number[32] = "";

	*(void **) &get_config = dlsym(handle, "openblas_get_config");
	if (get_config != NULL)
		config = get_config();
	sscanf(config, "OpenBLAS %31s", number);
	snprintf(blas.version, sizeof(blas.version), "openblas%s%s", number[0] ? " " : "", number);
}

bool
dsv_blas_open(void)
{
	void	   *handle;

	if (blas.tried)
		return blas.sgemm != NULL;
	blas.tried = true;
	handle = open_library();
	if (handle == NULL)
		return false;
	*(void **) &blas.sgemm = dlsym(handle, "cblas_sgemm");
	if (blas.sgemm != NULL)
		read_version(handle);
	return blas.sgemm != NULL;
}

const char *
dsv_blas_version(void)
{
	dsv_blas_open();
	return blas.version;
}

void
dsv_blas_sgemm_nt(int m, int n, int k, const float *a, size_t lda, const float *b, size_t ldb,
				  float *c, size_t ldc)
{
	blas.sgemm(ROW_MAJOR, NO_TRANS, TRANS, m, n, k, 1.0f, a, (int) lda, b, (int) ldb, 0.0f, c,
			   (int) ldc);
}
