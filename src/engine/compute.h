/*
 * compute.h
 *		What every stage of the model computes with: threads, number format, scratch of each
 *		worker, and the parallel linear layer.
 *
 * Work is split over rows and columns of outputs only, never over a sum, and the split
 * does not depend on the number of threads where a library (BLAS) could notice it.  With
 * DSV_PRECISION_BF16 every buffer that feeds a product is rounded to bf16 where it is
 * written; sums stay fp32.
 */
#ifndef DSV_COMPUTE_H
#define DSV_COMPUTE_H

#include "mem.h"
#include "pool.h"
#include "weights.h"

typedef struct dsv_compute
{
	int			threads;
	bool		bf16;			/* round activations */
	bool		blas;			/* OpenBLAS for fixed-shape fp32 products */
	dsv_mla_mode mla;
	const dsv_poll *poll;
	void		(*trace) (void *ud, const dsv_trace_event *event);
	void	   *trace_ud;
	float	   *worker;			/* [threads][worker_floats] */
	size_t		worker_floats;
} dsv_compute;

static inline float *
dsv_worker_scratch(const dsv_compute *ctx, int worker)
{
	return ctx->worker + (size_t) worker * ctx->worker_floats;
}

/* Floats of worker scratch that dsv_linear_run needs for k inputs with BLAS. */
size_t		dsv_linear_worker_floats(int k);

typedef enum dsv_epilogue
{
	DSV_STORE,					/* y = x W^T + b */
	DSV_ADD,					/* y += x W^T + b */
	DSV_GELU_TANH,				/* y = gelu(x W^T + b) */
	DSV_GELU_ERF,
	DSV_STORE_F32,				/* y = x W^T + b, never rounded (router, logits) */
} dsv_epilogue;

/* y[m, out] (row stride ldy) from x[m, in] (row stride ldx).  fixed_rows: m is a property of
 * the model (a tile's patches), so BLAS may be used without the batch showing in the bits. */
void		dsv_linear_run(const dsv_compute *ctx, const dsv_linear *linear, const float *x, size_t ldx,
						   int m, float *y, size_t ldy, dsv_epilogue epilogue, bool fixed_rows);

/* Runs fn over ntasks, on the caller alone when all of it is less than about `work` = 10^5
 * multiply-adds. */
void		dsv_parallel(const dsv_compute *ctx, int ntasks, double work, dsv_task_fn fn, void *ud);

/* y[m, n] = norm of each row of x, rounded under bf16. */
void		dsv_rms_norm_rows(const dsv_compute *ctx, const float *x, size_t ldx, int m, int n,
							  const float *w, float eps, float *y, size_t ldy);
void		dsv_layer_norm_rows(const dsv_compute *ctx, const float *x, int m, int n, dsv_norm norm,
								float eps, float *y);

static inline void
dsv_round(const dsv_compute *ctx, float *x, size_t n)
{
	if (ctx->bf16)
		kern->round_bf16(x, n);
}

static inline int
dsv_min(int a, int b)
{
	return a < b ? a : b;
}

static inline int
dsv_max(int a, int b)
{
	return a > b ? a : b;
}

static inline int
dsv_ceil_div(int a, int b)
{
	return (a + b - 1) / b;
}

/* rows r.. of a matrix */
static inline const void *
dsv_matrix_row(const dsv_matrix *w, int row)
{
	return (const char *) w->data + (size_t) row * kern_row_bytes(w->dtype, (size_t) w->cols);
}

#endif
