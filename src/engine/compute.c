#include "compute.h"

#include <string.h>

#include "blas.h"

/* Output columns and rows of one task.  64 rows of 2-byte weights stay in a core's cache
 * for the usual 10^3 inputs, and are read once for ROWS rows of activations. */
#define COLS 64
#define ROWS 192

/* The same for a BLAS panel; depending on the layer alone, so that the library sees equal shapes
 * always.  It packs its operands for each call, so they are as large as memory for the widened panel
 * (some MB a thread) allows, and yet several for each thread. */
#define BLAS_ROWS 368

#define BLAS_NARROW 2048

static int
blas_cols(int k)
{
	return k <= BLAS_NARROW ? 384 : 256;
}

static size_t
blas_floats(int k)
{
	return (size_t) blas_cols(k) * (k + BLAS_ROWS);
}

/* Below this many multiply-adds waking a thread costs more than it saves. */
#define SERIAL_WORK 1.0e5

typedef struct linear_job
{
	const dsv_compute *ctx;
	const dsv_linear *linear;
	dsv_rows	x;
	int			m;
	float	   *y;
	size_t		ldy;
	dsv_epilogue epilogue;
	int			cols;			/* of a task */
	int			rows;
	int			col_tasks;
} linear_job;

void
dsv_parallel(const dsv_compute *ctx, int ntasks, double work, dsv_task_fn fn, void *ud)
{
	dsv_pool_run(work < SERIAL_WORK ? 1 : ctx->threads, ntasks, fn, ud);
}

size_t
dsv_linear_worker_floats(int k)
{
	size_t		widest = blas_floats(k);
	size_t		narrow = blas_floats(dsv_min(k, BLAS_NARROW));

	return widest > narrow ? widest : narrow;
}

/* What follows the product, on a block of outputs: `block` holds x W^T + b. */
static void
finish(const linear_job *job, float *block, size_t ldb, float *y, int rows, int cols)
{
	const dsv_compute *ctx = job->ctx;

	for (int r = 0; r < rows; r++)
	{
		float	   *b = block + (size_t) r * ldb;

		switch (job->epilogue)
		{
			case DSV_STORE:
				dsv_round(ctx, b, cols);
				break;
			case DSV_ADD:
				dsv_round(ctx, b, cols);
				kern->add(b, y + (size_t) r * job->ldy, cols);
				dsv_round(ctx, y + (size_t) r * job->ldy, cols);
				break;
			case DSV_GELU_TANH:
				dsv_round(ctx, b, cols);
				kern->gelu_tanh(b, cols);
				dsv_round(ctx, b, cols);
				break;
			case DSV_GELU_ERF:
				dsv_round(ctx, b, cols);
				kern->gelu_erf(b, cols);
				dsv_round(ctx, b, cols);
				break;
			case DSV_STORE_F32:
				break;
		}
	}
}

static void
linear_task(void *ud, int task, int worker)
{
	const linear_job *job = ud;
	const dsv_matrix *w = &job->linear->w;
	int			c0 = task % job->col_tasks * job->cols;
	int			r0 = task / job->col_tasks * job->rows;
	int			cols = dsv_min(job->cols, w->rows - c0);
	int			rows = dsv_min(job->rows, job->m - r0);
	float	   *y = job->y + (size_t) r0 * job->ldy + c0;
	float	   *block = job->epilogue == DSV_ADD ? dsv_worker_scratch(job->ctx, worker) : y;
	size_t		ldb = job->epilogue == DSV_ADD ? (size_t) cols : job->ldy;

	dsv_gemm(&job->x, r0, w, c0, job->linear->bias != NULL ? job->linear->bias + c0 : NULL, block, ldb,
			 rows, cols);
	finish(job, block, ldb, y, rows, cols);
}

static void
blas_task(void *ud, int task, int worker)
{
	const linear_job *job = ud;
	const dsv_matrix *w = &job->linear->w;
	int			c0 = task % job->col_tasks * job->cols;
	int			r0 = task / job->col_tasks * job->rows;
	int			cols = dsv_min(job->cols, w->rows - c0);
	int			rows = dsv_min(job->rows, job->m - r0);
	float	   *panel = dsv_worker_scratch(job->ctx, worker);	/* [cols, k] */
	float	   *block = panel + (size_t) job->cols * w->cols;	/* [rows, cols] */
	float	   *y = job->y + (size_t) r0 * job->ldy + c0;

	kern->widen(dsv_matrix_row(w, c0), w->dtype, panel, (size_t) cols * w->cols);
	dsv_blas_sgemm_nt(rows, cols, w->cols, (const float *) (const void *) (job->x.data + r0 * job->x.bytes),
					  job->x.bytes / sizeof(float), panel, w->cols, block, cols);
	if (job->linear->bias != NULL)
		for (int r = 0; r < rows; r++)
			kern->add(job->linear->bias + c0, block + (size_t) r * cols, cols);
	finish(job, block, cols, y, rows, cols);
	if (job->epilogue != DSV_ADD)
		for (int r = 0; r < rows; r++)
			memcpy(y + (size_t) r * job->ldy, block + (size_t) r * cols, cols * sizeof(float));
}

static void
run_linear(const dsv_compute *ctx, const dsv_linear *linear, dsv_rows x, int m, float *y, size_t ldy,
		   dsv_epilogue epilogue, bool fixed_rows)
{
	linear_job	job = {ctx, linear, x, m, y, ldy, epilogue, COLS, ROWS, 0};
	bool		blas = fixed_rows && ctx->blas && !ctx->bf16;
	double		work = (double) m * linear->w.rows * linear->w.cols;

	if (blas)
	{
		job.cols = blas_cols(linear->w.cols);
		job.rows = BLAS_ROWS;
	}
	else if (m < 8)
	{
		/* a few rows: bandwidth counts, so tasks of equal bytes */
		job.cols = dsv_min(COLS * 4, dsv_max(16, 65536 / linear->w.cols / 16 * 16));
	}
	job.col_tasks = dsv_ceil_div(linear->w.rows, job.cols);
	dsv_parallel(ctx, job.col_tasks * dsv_ceil_div(m, job.rows), work,
				 blas ? blas_task : linear_task, &job);
}

void
dsv_linear_run(const dsv_compute *ctx, const dsv_linear *linear, const float *x, size_t ldx, int m,
			   float *y, size_t ldy, dsv_epilogue epilogue, bool fixed_rows)
{
	run_linear(ctx, linear, dsv_pack_rows(ctx, x, ldx, m, linear->w.cols, dsv_act(ctx, linear->w.dtype), 0),
			   m, y, ldy, epilogue, fixed_rows);
}

void
dsv_linear_run_each(const dsv_compute *ctx, const dsv_linear *const *linear, int n, const float *x,
					size_t ldx, int m, float *const *y, const size_t *ldy)
{
	dsv_rows	rows = {KERN_ACT_F32};

	for (int i = 0; i < n; i++)
	{
		kern_act	act = dsv_act(ctx, linear[i]->w.dtype);

		if (i == 0 || act != rows.act)
			rows = dsv_pack_rows(ctx, x, ldx, m, linear[i]->w.cols, act, 0);
		run_linear(ctx, linear[i], rows, m, y[i], ldy[i], DSV_STORE, false);
	}
}

/* ---- packing ---- */

#define PACK_ROWS 16

typedef struct pack_job
{
	const float *x;
	size_t		ldx;
	int			m;
	int			k;
	dsv_rows	to;
} pack_job;

static void
pack_task(void *ud, int task, int worker)
{
	const pack_job *job = ud;
	int			r = task * PACK_ROWS;

	kern->pack(job->x + (size_t) r * job->ldx, job->ldx, dsv_min(PACK_ROWS, job->m - r), job->k, job->to.act,
			   (char *) (uintptr_t) job->to.data + (size_t) r * job->to.bytes, job->to.bytes);
}

dsv_rows
dsv_pack_rows(const dsv_compute *ctx, const float *x, size_t ldx, int m, int k, kern_act act, int place)
{
	pack_job	job = {x, ldx, m, k, {act, ctx->packed[place], kern_act_bytes(act, (size_t) k)}};

	if (act == KERN_ACT_F32)
		return (dsv_rows) {act, (const char *) x, ldx * sizeof(float)};
	dsv_parallel(ctx, dsv_ceil_div(m, PACK_ROWS), 8.0 * m * k, pack_task, &job);
	return job.to;
}

/* ---- norms ---- */

#define NORM_ROWS 16

typedef struct norm_job
{
	const dsv_compute *ctx;
	const float *x;
	size_t		ldx;
	int			m;
	int			n;
	const float *w;
	const float *b;				/* NULL: RMS norm */
	float		eps;
	float	   *y;
	size_t		ldy;
} norm_job;

static void
norm_task(void *ud, int task, int worker)
{
	const norm_job *job = ud;
	int			end = dsv_min((task + 1) * NORM_ROWS, job->m);

	for (int r = task * NORM_ROWS; r < end; r++)
	{
		const float *x = job->x + (size_t) r * job->ldx;
		float	   *y = job->y + (size_t) r * job->ldy;

		if (job->b != NULL)
			kern->layer_norm(x, job->w, job->b, job->eps, y, job->n);
		else
			kern->rms_norm(x, job->w, job->eps, y, job->n);
		dsv_round(job->ctx, y, job->n);
	}
}

static void
norm_rows(norm_job *job)
{
	dsv_parallel(job->ctx, dsv_ceil_div(job->m, NORM_ROWS), 4.0 * job->m * job->n, norm_task, job);
}

void
dsv_rms_norm_rows(const dsv_compute *ctx, const float *x, size_t ldx, int m, int n, const float *w,
				  float eps, float *y, size_t ldy)
{
	norm_job	job = {ctx, x, ldx, m, n, w, NULL, eps, y, ldy};

	norm_rows(&job);
}

void
dsv_layer_norm_rows(const dsv_compute *ctx, const float *x, int m, int n, dsv_norm norm, float eps,
					float *y)
{
	norm_job	job = {ctx, x, n, m, n, norm.w, norm.b, eps, y, n};

	norm_rows(&job);
}
