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
	 * Quantised: weight = integer x scale, a scale in bf16 for each KERN_GROUP weights of a row
	 * (their product is exact in a float).  Q8: integers -127 .. 127; Q4: -8 .. 7, stored with 8
	 * added.  A matrix is made of panels of KERN_PANEL rows, padded with zeros to whole panels and
	 * groups, so that one register holds the same few columns of many rows: what the dot products
	 * of every instruction set want, and AMX's second operand.  A panel has for each group
	 *		Q8	[8 quads][16 rows][4] bytes: columns 4 q .. 4 q + 3
	 *		Q4	[4 octets][16 rows][4] bytes: columns 8 o .. 8 o + 3 in the low nibbles, the
	 *			following four in the high ones
	 * and then the 16 rows' scales.
	 */
	KERN_Q8,
	KERN_Q4,
} kern_dtype;

#define KERN_GROUP 32
#define KERN_PANEL 16

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

static inline size_t
kern_groups(size_t cols)
{
	return (cols + KERN_GROUP - 1) / KERN_GROUP;
}

/* Bytes of a panel's group: the integers, and with their scales */
static inline size_t
kern_block_integers(kern_dtype t)
{
	return KERN_PANEL * (t == KERN_Q8 ? KERN_GROUP : KERN_GROUP / 2);
}

static inline size_t
kern_block_bytes(kern_dtype t)
{
	return kern_block_integers(t) + KERN_PANEL * 2;
}

/* Bytes of rows 0 .. rows - 1 of a matrix, of a quantised one in whole panels */
static inline size_t
kern_matrix_bytes(kern_dtype t, size_t rows, size_t cols)
{
	if (!kern_is_quantised(t))
		return rows * cols * kern_dtype_size(t);
	return (rows + KERN_PANEL - 1) / KERN_PANEL * kern_groups(cols) * kern_block_bytes(t);
}

/*
 * How a product takes its activations.  A row is cut into groups of KERN_GROUP numbers, the last
 * one padded with zeros, and each group is a record of its own: a row can be packed piece by piece.
 */
typedef enum kern_act
{
	KERN_ACT_F32,				/* 4 bytes a number, no groups: times weights of a float type */
	KERN_ACT_BF16,				/* 32 bf16: times weights in bf16 */

	/* integers, scale (float), sum of the integers (int32): times quantised weights.  The scale is the
	 * largest magnitude / 127 or / 32767; a group with a number that is not finite has the
	 * scale NaN.  Int16: in each four columns the order is 0, 2, 1, 3. */
	KERN_ACT_I8,
	KERN_ACT_I16,
} kern_act;

#define KERN_ACT_SCALE(act) ((act) == KERN_ACT_I8 ? 32 : 64)	/* its offset in a record */
#define KERN_ACT_RECORD(act) ((act) == KERN_ACT_I8 ? 40 : (act) == KERN_ACT_I16 ? 72 : 64)

/* Bytes of a packed row of n activations */
static inline size_t
kern_act_bytes(kern_act act, size_t n)
{
	return act == KERN_ACT_F32 ? n * 4 : kern_groups(n) * KERN_ACT_RECORD(act);
}

typedef struct kern_table
{
	const char *name;			/* as kern_level_name() */
	bool		int8_dot;		/* products of KERN_ACT_I8 are clearly faster than of KERN_ACT_I16 with
								 * KERN_Q8, too */

	/* C[m, n] = A[m, k] W[n, k]^T + bias[n] (bias may be NULL), sums over k as above, bias
	 * added last; W of a float type */
	void		(*gemm_nt) (const float *a, size_t lda, const void *w, kern_dtype wt, size_t ldw,
							const float *bias, float *c, size_t ldc, int m, int n, int k);

	/* C[m, d] += P[m, n] V[n, d]: for each element one fused multiply-add per row of V, rows in
	 * ascending order; V of a float type */
	void		(*gemm_nn) (const float *p, size_t ldp, const void *v, kern_dtype vt, size_t ldv,
							float *c, size_t ldc, int m, int n, int d);

	/* C[m, n] = A W^T + bias of packed rows (KERN_ACT_BF16) and W[n, k] in bf16 with row stride ldw,
	 * sums in float in an order that depends on k alone; denormal numbers may count as zero.  NULL
	 * at a level without an instruction for it. */
	void		(*gemm_bf16) (const void *a, size_t a_row_bytes, const void *w, size_t ldw,
							  const float *bias, float *c, size_t ldc, int m, int n, int k);

	/* Rows of x[m, k] to out, row_bytes apart; not to KERN_ACT_F32.  The same bits at every level. */
	void		(*pack) (const float *x, size_t ldx, int m, int k, kern_act act, void *out,
						 size_t row_bytes);

	/*
	 * C[m, n] = A W^T + bias of packed rows a and quantised W[n, k], which begins with a panel.  For
	 * each output, group by group: the sum of integer products, which is exact, as a float, times
	 * (scale of the weights x scale of the activations), fused with the sum so far.  So every
	 * level with fused multiply-add has the same bits, whatever the instructions.
	 */
	void		(*gemm_panels) (kern_act act, const void *a, size_t a_row_bytes, const void *w,
								kern_dtype wt, const float *bias, float *c, size_t ldc, int m,
								int n, int k);

	/* y[n] = x as float; x[n] from float, rounded to nearest, ties to even, overflow to infinity,
	 * NaN kept (both of the float types) */
	void		(*widen) (const void *x, kern_dtype xt, float *y, size_t n);
	void		(*narrow) (const float *x, kern_dtype yt, void *y, size_t n);

	/* A row x[n] as integers of KERN_Q8 or KERN_Q4, q[n], padded with zeros to whole groups, and its
	 * groups' scales in bf16: those of least squared error among the ones tried; what is not finite
	 * counts as 0.  The same bits at every level: products are rounded before they are added. */
	void		(*quantise) (const float *x, int n, kern_dtype t, int8_t *q, uint16_t *scale);

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

	/*
	 * One step of a softmax over more columns than are at hand: of row r of score[m, width] the
	 * first min(width, seen + r step) count.  score = exp(score - max'), the others 0, where max'[m]
	 * is the larger of max and the row's largest; shrink[m] = exp(max - max') is what sums and outputs
	 * of earlier steps have to be multiplied by; sum = sum shrink + the row's sum (order as above).
	 * A row of which nothing counts leaves max and sum, and its shrink is 1.  exp of less than
	 * -87 is 0.  width is a multiple of 16; max begins as -inf, sum as 0.
	 */
	void		(*softmax_rows) (float *score, size_t lds, int m, int width, int seen, int step, float *max,
								 float *sum, float *shrink);

	/* y[n, m] = x[m, n] transposed, rounded to a float type as by narrow */
	void		(*transpose) (const float *x, size_t ldx, int m, int n, kern_dtype yt, void *y, size_t ldy);
} kern_table;

/* Each has what the ones before it have, but for KERN_AVX2_VNNI, which processors with AVX-512 may lack. */
typedef enum kern_level
{
	KERN_GENERIC,
	KERN_AVX2,					/* with FMA and F16C */
	KERN_AVX2_VNNI,				/* and AVX-VNNI: dot products of integers */
	KERN_AVX512,				/* F, BW, DQ, VL */
	KERN_AVX512_VNNI,
	KERN_AVX512_BF16,			/* dot products of bf16 */
	KERN_AMX,					/* tiles of bf16 and of bytes */
	KERN_LEVELS
} kern_level;

/* The best level of this machine (CPUID, XGETBV, and for tiles the kernel's permission). */
kern_level	kern_detect(void);

/* The table of a level, or NULL where the machine or the build lacks it. */
const kern_table *kern_get(kern_level level);

/* The name of a level that the machine may lack; NULL: no such level */
const char *kern_level_name(kern_level level);

/* Row r of a quantised matrix of `cols` columns: from quantise()'s result into panels that are
 * zeroed but for rows written so before, and back as floats, exactly. */
void		kern_put_row(const int8_t *q, const uint16_t *scale, kern_dtype t, size_t cols, size_t r,
						 void *panels);
void		kern_get_row(const void *panels, kern_dtype t, size_t cols, size_t r, float *y);

/* The table in use; kern_select(level) replaces it (by the best one up to that level) and says
 * what was chosen.  Process-wide; not to be called while a step runs. */
extern const kern_table *kern;
kern_level	kern_select(kern_level level);

#endif							/* KERNELS_H */
