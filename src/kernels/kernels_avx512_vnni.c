/*
 * kernels_avx512_vnni.c
 *		Products of quantised panels with AVX-512 VNNI: dot products that add up in 32 bits.
 */
#if defined(__x86_64__)

#include "vec_avx512.h"
#include "kernels_tables.h"

INLINE vi
dot2(vi acc, vi w, vi a)
{
	return (vi) _mm512_dpwssd_epi32((__m512i) acc, (__m512i) w, (__m512i) a);
}

#define DOT4_OFFSET 128

INLINE vi
dot4(vi acc, vi w, vi a)
{
	return (vi) _mm512_dpbusd_epi32((__m512i) acc, (__m512i) w, (__m512i) a);
}

/* As many sums as hide the latency of two dependent dot products */
#undef PANEL_MR
#define PANEL_MR 12
#include "panel_body.h"

const kern_table kern_table_avx512_vnni = {
	.int8_dot = true,
	.gemm_panels = kern_gemm_panels,
};

#endif							/* __x86_64__ */
