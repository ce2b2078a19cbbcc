/*
 * blas.h
 *		OpenBLAS, opened at run time and never linked: loading it must not start threads
 *		(OPENBLAS_NUM_THREADS=1, signals blocked), and a server without it works too.
 */
#ifndef DSV_BLAS_H
#define DSV_BLAS_H

#include "error.h"

/* Opens the library at the first call (caller's thread, no worker running); true when
 * sgemm can be used. */
bool		dsv_blas_open(void);

/* C[m, n] = A[m, k] B[n, k]^T, row-major, single-threaded, callable from every worker.
 * Only after dsv_blas_open() returned true. */
void		dsv_blas_sgemm_nt(int m, int n, int k, const float *a, size_t lda, const float *b,
							  size_t ldb, float *c, size_t ldc);

#endif
