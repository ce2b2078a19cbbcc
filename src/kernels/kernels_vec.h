/*
 * kernels_vec.h
 *		The vector types of one instruction set, and how kernels are put together.
 *
 * kernels_<set>.c defines VL, the number of floats in one register, includes this file,
 * writes the primitives of its instruction set and includes kernels_body.h, which holds
 * every kernel once.  The primitives are:
 *
 *		splat(s)			all lanes s
 *		vfma(a, b, c)		a * b + c, fused where the machine has it
 *		widen16(h)			16-bit lanes to 32 bits
 *		narrow16(u)			back, for lanes below 2^16
 *		widen_half(h)		IEEE halves to floats
 *		narrow_half(v)		and back, rounded to nearest even
 *		load_part(p, n)		the first n floats, 0 < n < VL, other lanes zero; reads no more
 *		store_part(p, v, n)	the first n lanes; writes no more
 *		load_part16(p, n)	the same for 16-bit lanes
 *		store_part16(p, v, n)
 *		sum_lanes(acc)		the 16 partial sums acc[PARTS], as the tree that kernels.h fixes
 *		sum_rows(acc, out)	the same for NR rows at once
 *		weighted_pixels(p, w, n)	only with HAVE_WEIGHTED_PIXELS: one pixel of weigh_pixels, red in
 *							the lowest byte, then green and blue
 *
 * and the block sizes MR, NR, GEMV_NR (gemm_nt), as many accumulators as the registers hold, and
 * NN_SUMS, their number, and NN_NV, the registers of a strip at most (gemm_nn).
 */
#ifndef KERNELS_VEC_H
#define KERNELS_VEC_H

#include "kernels.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are little-endian and are read in place"
#endif

/* 16 partial sums of a row take this many registers */
#define PARTS (16 / VL)

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef uint32_t vu __attribute__((vector_size(4 * VL)));
typedef uint16_t vh __attribute__((vector_size(2 * VL)));
typedef uint8_t vb __attribute__((vector_size(VL)));

/* The same in memory, where only the element is aligned and may be of another type. */
typedef vf vf_mem __attribute__((aligned(4), may_alias));
typedef vh vh_mem __attribute__((aligned(2), may_alias));
typedef vb vb_mem __attribute__((aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Every bit of mask is that of its lane's condition, as comparisons give it. */
INLINE vf
choose(vi mask, vf yes, vf no)
{
	return (vf) ((mask & (vi) yes) | (~mask & (vi) no));
}

INLINE vu
choose_bits(vi mask, vu yes, vu no)
{
	return ((vu) mask & yes) | (~(vu) mask & no);
}

INLINE vf
vmax(vf a, vf b)
{
	return choose(a > b, a, b);
}

INLINE vf
load(const float *p)
{
	return *(const vf_mem *) p;
}

INLINE void
store(float *p, vf v)
{
	*(vf_mem *) p = v;
}

INLINE vh
load16(const uint16_t *p)
{
	return *(const vh_mem *) p;
}

INLINE void
store16(uint16_t *p, vh v)
{
	*(vh_mem *) p = v;
}

#endif
