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
	kern_act	act_q8;			/* activations that meet weights of that format */
	kern_act	act_q4;
	dsv_mla_mode mla;
	const dsv_poll *poll;
	void		(*trace) (void *ud, const dsv_trace_event *event);
	void	   *trace_ud;
	float	   *worker;			/* [threads][worker_floats] */
	size_t		worker_floats;
	char	   *packed[2];		/* packed activations of whole passes */
} dsv_compute;

static inline float *
dsv_worker_scratch(const dsv_compute *ctx, int worker)
{
	return ctx->worker + (size_t) worker * ctx->worker_floats;
}

/* Rows of activations as a product takes them */
typedef struct dsv_rows
{
	kern_act	act;
	const char *data;
	size_t		bytes;			/* from row to row */
} dsv_rows;

/* The form in which weights of that type want their activations */
static inline kern_act
dsv_act(const dsv_compute *ctx, kern_dtype weights)
{
	if (weights == KERN_Q8)
		return ctx->act_q8;
	if (weights == KERN_Q4)
		return ctx->act_q4;
	return weights == KERN_BF16 && ctx->bf16 && kern->gemm_bf16 != NULL ? KERN_ACT_BF16 : KERN_ACT_F32;
}

/* Bytes of a row of k activations in its largest form */
static inline size_t
dsv_act_most(size_t k)
{
	size_t		integers = kern_act_bytes(KERN_ACT_I16, k);

	return k * sizeof(float) > integers ? k * sizeof(float) : integers;
}

/* x[m, k] in the form asked for: as it is, or packed into ctx->packed[place], where the next
 * dsv_pack_rows() of that place overwrites it. */
dsv_rows	dsv_pack_rows(const dsv_compute *ctx, const float *x, size_t ldx, int m, int k, kern_act act,
						  int place);

/* Floats of worker scratch that dsv_linear_run needs for at most k inputs. */
size_t		dsv_linear_worker_floats(int k);

typedef enum dsv_epilogue
{
	DSV_STORE,					/* y = x W^T + b */
	DSV_ADD,					/* y += x W^T + b */
	DSV_GELU_TANH,				/* y = gelu(x W^T + b) */
	DSV_GELU_ERF,
	DSV_STORE_F32,				/* y = x W^T + b, never rounded (router, logits) */
} dsv_epilogue;

/* y[m, out] (row stride ldy) from x[m, in] (row stride ldx), which may be packed into place 0.
 * fixed_rows: m is a property of the model (a tile's patches), so BLAS may be used without the
 * batch showing in the bits. */
void		dsv_linear_run(const dsv_compute *ctx, const dsv_linear *linear, const float *x, size_t ldx,
						   int m, float *y, size_t ldy, dsv_epilogue epilogue, bool fixed_rows);

/* Several layers of the same x[m, in]; their results and row strides in y and ldy. */
void		dsv_linear_run_each(const dsv_compute *ctx, const dsv_linear *const *linear, int n,
								const float *x, size_t ldx, int m, float *const *y, const size_t *ldy);

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

/* rows r.. of a matrix, of a quantised one a multiple of KERN_PANEL */
static inline const void *
dsv_matrix_row(const dsv_matrix *w, int row)
{
	return (const char *) w->data + kern_matrix_bytes(w->dtype, (size_t) row, (size_t) w->cols);
}

/* c[m, n] = rows r.. of x times rows w0.. of w, plus bias[n] unless NULL */
static inline void
dsv_gemm(const dsv_rows *x, int r, const dsv_matrix *w, int w0, const float *bias, float *c, size_t ldc,
		 int m, int n)
{
	const char *a = x->data + (size_t) r * x->bytes;
	const void *rows = dsv_matrix_row(w, w0);

	if (x->act == KERN_ACT_F32)
		kern->gemm_nt((const float *) (const void *) a, x->bytes / sizeof(float), rows, w->dtype, w->cols,
					  bias, c, ldc, m, n, w->cols);
	else if (x->act == KERN_ACT_BF16)
		kern->gemm_bf16(a, x->bytes, rows, w->cols, bias, c, ldc, m, n, w->cols);
	else
		kern->gemm_panels(x->act, a, x->bytes, rows, w->dtype, bias, c, ldc, m, n, w->cols);
}

#endif
