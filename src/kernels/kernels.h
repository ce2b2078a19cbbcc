/*
 * kernels.h
 *		The table of math operations on buffers.  Knows no model, no file, no thread.
 *
 * One plain C body (kernels_body.h) is compiled once per instruction set; kern_select()
 * fills the table with the best set that the machine has.  The comment on an operation
 * is its specification: every body must compute it, and test/unit compares them.
 *
 * Sums have a fixed order that depends on the length alone: 16 partial sums (element i
 * goes to partial sum i mod 16, fused multiply-add where the machine has it), added as a
 * tree (lane j + lane j + 8, then + 4, + 2, + 1).  Therefore one row's result is the
 * same bits whatever the number of rows, the split over threads and the block sizes,
 * and the same for every instruction set that has fused multiply-add.
 *
 * Matrices are row-major; ld* are row strides in elements.  No pointer needs more
 * alignment than its element type.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERN_ROPE_MAX 1024		/* numbers that rope takes at once */
#define KERN_PIXEL_BITS 22		/* behind the point, in weights of pixels */
#define KERN_PIXEL_SLACK 16

typedef enum kern_dtype
{
	KERN_F32,
	KERN_BF16,					/* the upper half of a float */
	KERN_F16,					/* IEEE half */

	/*
	 * Quantised rows: weight = integer x scale, a scale for each KERN_GROUP weights.  A row of n
	 * weights is padded with zeros to whole groups; it holds its integers, then its scales as
	 * bf16 (the product is exact in a float).  Q8: bytes -127 .. 127.  Q4: -8 .. 7 as nibbles
	 * that hold 8 more; byte i of a group's 16 has weight i below and weight 16 + i above.
	 */
	KERN_Q8,
	KERN_Q4,
} kern_dtype;

#define KERN_GROUP 32

static inline bool
kern_is_quantised(kern_dtype t)
{
	return t == KERN_Q8 || t == KERN_Q4;
}

/* Bytes of a number; the float types only */
static inline size_t
kern_dtype_size(kern_dtype t)
{
	return t == KERN_F32 ? 4 : 2;
}

/* Bytes of a row of n numbers */
static inline size_t
kern_row_bytes(kern_dtype t, size_t n)
{
	size_t		groups = (n + KERN_GROUP - 1) / KERN_GROUP;

	if (!kern_is_quantised(t))
		return n * kern_dtype_size(t);
	return groups * (t == KERN_Q8 ? KERN_GROUP : KERN_GROUP / 2) + groups * 2;
}

typedef struct kern_table
{
	const char *name;			/* "generic", "avx2", "avx512" */

	/* C[m, n] = A[m, k] W[n, k]^T + bias[n] (bias may be NULL), sums over k as above, bias
	 * added last.  Of a quantised W each weight is made a float first; ldw must be k then. */
	void		(*gemm_nt) (const float *a, size_t lda, const void *w, kern_dtype wt, size_t ldw,
							const float *bias, float *c, size_t ldc, int m, int n, int k);

	/* C[m, d] += P[m, n] V[n, d]: for each element one fused multiply-add per row of V, rows in
	 * ascending order; V of a float type */
	void		(*gemm_nn) (const float *p, size_t ldp, const void *v, kern_dtype vt, size_t ldv,
							float *c, size_t ldc, int m, int n, int d);

	/* y[n] = x as float (a quantised x is one row); x[n] from float, rounded to nearest, ties to
	 * even, overflow to infinity, NaN kept (to the float types) */
	void		(*widen) (const void *x, kern_dtype xt, float *y, size_t n);
	void		(*narrow) (const float *x, kern_dtype yt, void *y, size_t n);

	/* A row of x[n] as KERN_Q8 or KERN_Q4, kern_row_bytes(t, n) bytes, each group with the scale of
	 * least squared error among those tried; what is not finite counts as 0.  The same bits at
	 * every level: products are rounded before they are added. */
	void		(*quantise) (const float *x, int n, kern_dtype t, void *out);

	/* x[n] rounded to the nearest bf16, kept as float */
	void		(*round_bf16) (float *x, size_t n);

	/* y[n] = x / sqrt(mean(x^2) + eps) * w; y may be x */
	void		(*rms_norm) (const float *x, const float *w, float eps, float *y, int n);

	/* y[n] = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * w + b; y may be x */
	void		(*layer_norm) (const float *x, const float *w, const float *b, float eps, float *y,
							   int n);

	/* largest of x[n], n > 0; -inf entries are fine */
	float		(*max) (const float *x, int n);

	/* x[n] = exp(x - shift), returns the sum (order as above); x - shift <= 0; exp(-inf) = 0 */
	float		(*exp_sum) (float *x, float shift, int n);

	/* x[n] *= f */
	void		(*scale) (float *x, float f, size_t n);

	/* y[n] += x; y[n] += f * x (fused) */
	void		(*add) (const float *x, float *y, size_t n);
	void		(*axpy) (float f, const float *x, float *y, size_t n);

	/* x[n] = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
	void		(*gelu_tanh) (float *x, size_t n);

	/* x[n] = 0.5 x (1 + erf(x / sqrt 2)) */
	void		(*gelu_erf) (float *x, size_t n);

	/* gate[n] = gate / (1 + exp(-gate)) * up */
	void		(*silu_mul) (float *gate, const float *up, size_t n);

	/* x[n] = 1 / (1 + exp(-x)) */
	void		(*sigmoid) (float *x, size_t n);

	/* Rotary embedding of x[d], d even, at most KERN_ROPE_MAX, cos and sin [d / 2]: pairs
	 * (i, i + d/2), or with interleaved pairs (2i, 2i + 1) whose result is stored as
	 * [firsts | seconds]: (a, b) -> (a cos - b sin, b cos + a sin) */
	void		(*rope) (float *x, const float *cosine, const float *sine, int d, bool interleaved);

	/* y[n, 3]: each the sum of the count[i] pixels of x[., 3] from first[i] on, weighted by
	 * weight[i, .] (row stride ldw) in fixed point of KERN_PIXEL_BITS bits, plus one half, cut to
	 * whole numbers and clipped to 0 .. 255.  Sums fit into 32 bits, each weight is below 16.
	 * Behind the count[i] weights there are zeros up to a multiple of 4, and behind the last of the
	 * pixels KERN_PIXEL_SLACK bytes that may be read. */
	void		(*weigh_pixels) (const uint8_t *x, const int *first, const int *count, const int32_t *weight,
								 size_t ldw, uint8_t *y, int n);

	/* sum[n] += f * x */
	void		(*add_bytes) (const uint8_t *x, int32_t f, int32_t *sum, int n);
} kern_table;

typedef enum kern_level
{
	KERN_GENERIC,
	KERN_AVX2,					/* with FMA and F16C */
	KERN_AVX512,				/* F, BW, DQ, VL */
	KERN_LEVELS
} kern_level;

/* The best level of this machine (CPUID and XGETBV). */
kern_level	kern_detect(void);

/* The table of a level, or NULL where the machine or the build lacks it. */
const kern_table *kern_get(kern_level level);

/* The table in use; kern_select(level) replaces it (clamped to what there is) and says what
 * was chosen.  Process-wide; not to be called while a step runs. */
extern const kern_table *kern;
kern_level	kern_select(kern_level level);

#endif							/* KERNELS_H */
