/*
 * kernels_avx2_vnni.c
 *		Products of quantised panels with AVX-VNNI: dot products that add up in 32 bits.
 */
#if defined(__x86_64__)

#include "vec_avx2.h"
#include "kernels_tables.h"

INLINE vi
dot2(vi acc, vi w, vi a)
{
	return (vi) _mm256_dpwssd_avx_epi32((__m256i) acc, (__m256i) w, (__m256i) a);
}

#define DOT4_OFFSET 128

INLINE vi
dot4(vi acc, vi w, vi a)
{
	return (vi) _mm256_dpbusd_avx_epi32((__m256i) acc, (__m256i) w, (__m256i) a);
}

#include "panel_body.h"

const kern_table kern_table_avx2_vnni = {
	.int8_dot = true,
	.gemm_panels = kern_gemm_panels,
};

#endif							/* __x86_64__ */
