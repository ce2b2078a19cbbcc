/*
 * gemm_body.h
 *		How a product C = A W^T of row-major matrices is cut into tiles that fit into registers.
 *		Behind the primitives of kernels_vec.h and the block sizes MR, NR, GEMV_NR.
 */

/* one product: what its tiles have in common */
typedef struct product
{
	const char *a;				/* [m, k] */
	size_t		a_bytes;		/* of a row */
	const char *w;				/* [n, k] */
	size_t		row_bytes;
	const float *bias;
	float	   *c;				/* [m, n] */
	size_t		ldc;
	int			k;
} product;

/* the sums of a tile, with the bias, to C[m0 .., n0 ..] */
INLINE void
store_tile(const product *g, vf acc[MR][GEMV_NR][PARTS], int m0, int mr, int n0, int nr)
{
	float	   *c = g->c + (size_t) m0 * g->ldc + n0;

	/* unrolled, or else all sums would go through memory to be indexed by i */
#pragma GCC unroll 8
	for (int i = 0; i < mr; i++)
	{
		float	   *out = c + i * g->ldc;

		for (int j = 0; j < nr; j += nr % NR == 0 ? NR : 1)
		{
			if (nr % NR == 0)
				sum_rows(acc[i] + j, out + j);
			else
				out[j] = sum_lanes(acc[i][j]);
		}
		if (g->bias != NULL)
			for (int j = 0; j < nr; j++)
				out[j] += g->bias[n0 + j];
	}
}

/* Computes C[m0 .. m0 + mr, n0 .. n0 + nr]; mr, nr and wt are constants wherever it is inlined */
typedef void (*tile_fn) (const product *g, int m0, int mr, int n0, int nr, kern_dtype wt);

/* mr rows times weight rows n0 .. n1 */
INLINE void
rows_nt(const product *g, int m0, int mr, int n0, int n1, tile_fn tile, kern_dtype wt)
{
	if (mr == 1)
		for (; n0 + GEMV_NR <= n1; n0 += GEMV_NR)
			tile(g, m0, 1, n0, GEMV_NR, wt);
	for (; n0 + NR <= n1; n0 += NR)
		tile(g, m0, mr, n0, NR, wt);
	for (; n0 < n1; n0++)
		tile(g, m0, mr, n0, 1, wt);
}

/* Weight rows are taken in chunks that stay in the second-level cache while all rows of A pass
 * by; MR rows of A stay in the first level while a chunk passes by. */
#define CHUNK_BYTES (192 * 1024)

_Static_assert(MR == 3 || MR == 6, "gemm handles remainders of 2 and of 5 rows");
_Static_assert(GEMV_NR % NR == 0, "sums are taken NR at a time");

INLINE void
gemm(const product *g, int m, int n, tile_fn tile, kern_dtype wt)
{
	size_t		fit = CHUNK_BYTES / (g->row_bytes + 1);
	int			chunk = n;

	if (m > MR && fit < (size_t) n)
		chunk = fit < 4 * GEMV_NR ? 4 * GEMV_NR : (int) (fit - fit % GEMV_NR);
	for (int n0 = 0; n0 < n; n0 += chunk)
	{
		int			n1 = n - n0 < chunk ? n : n0 + chunk;
		int			m0 = 0;

		for (; m0 + MR <= m; m0 += MR)
			rows_nt(g, m0, MR, n0, n1, tile, wt);
		switch (m - m0)
		{
#if MR > 5
			case 5:
				rows_nt(g, m0, 5, n0, n1, tile, wt);
				break;
			case 4:
				rows_nt(g, m0, 4, n0, n1, tile, wt);
				break;
			case 3:
				rows_nt(g, m0, 3, n0, n1, tile, wt);
				break;
#endif
			case 2:
				rows_nt(g, m0, 2, n0, n1, tile, wt);
				break;
			case 1:
				rows_nt(g, m0, 1, n0, n1, tile, wt);
				break;
		}
	}
}
