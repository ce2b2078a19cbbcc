/*
 * kernels_avx512_bf16.c
 *		Products of bf16 matrices with AVX512-BF16: lane l of a register adds up the products
 *		32 i + 2 l and 32 i + 2 l + 1, the lanes are added as in every other sum.
 */
#if defined(__x86_64__)

#include "vec_avx512.h"
#include "gemm_body.h"
#include "kernels_tables.h"

#define STEP 32					/* products of a register */

INLINE vf
dot_bf16(vf acc, __m512i a, __m512i w)
{
	return (vf) _mm512_dpbf16_ps((__m512) acc, (__m512bh) a, (__m512bh) w);
}

/* wt is KERN_BF16 */
INLINE void
tile_bf16(const product *g, int m0, int mr, int n0, int nr, kern_dtype wt)
{
	const char *a = g->a + (size_t) m0 * g->a_bytes;
	const char *w = g->w + (size_t) n0 * g->row_bytes;
	int			k = g->k;
	int			kk = 0;
	vf			acc[MR][GEMV_NR][PARTS];
	__m512i		wv[GEMV_NR];

#pragma GCC unroll 8
	for (int i = 0; i < mr; i++)
		for (int j = 0; j < nr; j++)
			zero_parts(acc[i][j]);
	for (; kk + STEP <= k; kk += STEP)
	{
		/* the rows of the next tile, as in tile_nt() */
		for (int j = 0; j < nr; j++)
		{
			wv[j] = _mm512_loadu_si512(w + j * g->row_bytes + kk * 2);
			__builtin_prefetch((const void *) ((uintptr_t) w + (nr + j) * g->row_bytes + kk * 2), 0, 2);
		}
#pragma GCC unroll 8
		for (int i = 0; i < mr; i++)
		{
			__m512i		av = _mm512_loadu_si512(a + i * g->a_bytes + kk * 2);

			for (int j = 0; j < nr; j++)
				acc[i][j][0] = dot_bf16(acc[i][j][0], av, wv[j]);
		}
	}
	if (kk < k)
	{
		__mmask32	rest = (1u << (k - kk)) - 1;

		for (int j = 0; j < nr; j++)
			wv[j] = _mm512_maskz_loadu_epi16(rest, w + j * g->row_bytes + kk * 2);
#pragma GCC unroll 8
		for (int i = 0; i < mr; i++)
		{
			__m512i		av = _mm512_loadu_si512(a + i * g->a_bytes + kk * 2);

			for (int j = 0; j < nr; j++)
				acc[i][j][0] = dot_bf16(acc[i][j][0], av, wv[j]);
		}
	}
	store_tile(g, acc, m0, mr, n0, nr);
}

static void
kern_gemm_bf16(const void *a, size_t a_row_bytes, const void *w, size_t ldw, const float *bias, float *c,
			   size_t ldc, int m, int n, int k)
{
	product		g = {a, a_row_bytes, w, ldw * sizeof(uint16_t), bias, c, ldc, k};

	gemm(&g, m, n, tile_bf16, KERN_BF16);
}

const kern_table kern_table_avx512_bf16 = {
	.gemm_bf16 = kern_gemm_bf16,
};

#endif							/* __x86_64__ */
