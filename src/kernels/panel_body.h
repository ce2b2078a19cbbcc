/*
 * panel_body.h
 *		Products of quantised panels with integer activations.
 *		Included by kernels_<set>.c behind the primitives of kernels_vec.h and these:
 *
 *		dot2(acc, w, a)		each lane plus the sum of products of its two 16-bit numbers
 *		dot4(acc, w, a)		of its four bytes, signed in both, none -128; with DOT4_OFFSET, which is
 *							128, w is that much more and has no sign
 *		dot4_nibbles(acc, w, a)	only with HAVE_NIBBLE_SUMS: the same of w in 0 .. 15, at most 8 times,
 *		finish_nibbles(acc)	then this makes the sums out of what those have left
 *		PANEL_MR			rows of activations in a tile
 *
 * A tile is PANEL_MR rows times a panel: the weights of a group are unpacked once and met with each
 * row's activations, a few columns broadcast at a time.
 */

/* Registers that a panel's rows take */
#define PANEL_COLS (KERN_PANEL / VL)

#ifndef DOT4_OFFSET
#define DOT4_OFFSET 0
#endif

#ifndef HAVE_NIBBLE_SUMS
INLINE vi
dot4_nibbles(vi acc, vi w, vi a)
{
	return dot4(acc, w, a);
}

INLINE vi
finish_nibbles(vi acc)
{
	return acc;
}
#endif

typedef int16_t vs __attribute__((vector_size(4 * VL)));
typedef uint16_t vus __attribute__((vector_size(4 * VL)));

/* Bytes of a panel that are asked for before they are needed: two groups of Q8 */
#define AHEAD 1088

/* one gemm_panels: what its tiles have in common */
typedef struct panel_product
{
	const char *a;				/* packed rows */
	size_t		row_bytes;
	const float *bias;
	float	   *c;				/* [m, n] */
	size_t		ldc;
	int			n;
	int			groups;
} panel_product;

INLINE vi
load_ints(const void *p)
{
	vi			x;

	memcpy(&x, p, sizeof(x));
	return x;
}

/* all lanes the four bytes at p */
INLINE vi
splat_bytes(const void *p)
{
	int32_t		x;

	memcpy(&x, p, sizeof(x));
	return (vi) {} + x;
}

/* Of each pair of bytes the first and the second, with their signs, as 16-bit numbers */
INLINE vi
first_bytes(vi x)
{
	return (vi) ((vs) ((vus) x << 8) >> 8);
}

INLINE vi
second_bytes(vi x)
{
	return (vi) ((vs) x >> 8);
}

/* What the weights are too large by when they meet the activations */
INLINE int
weight_offset(kern_dtype wt, kern_act act)
{
	return wt == KERN_Q4 ? 8 : act == KERN_ACT_I8 ? DOT4_OFFSET : 0;
}

/* sum[mr] of one group: integers of the weights at w, activations at a */
INLINE void
group_sums(vi sum[PANEL_MR][PANEL_COLS], const char *w, kern_dtype wt, const char *a, size_t row_bytes,
		   kern_act act, int mr)
{
	/* 64 bytes of the panel hold one quad of columns, or two */
	const int	steps = wt == KERN_Q8 ? 8 : 4;

	/* all steps in a row would have the compiler load what no register is left for */
#pragma GCC unroll 1
	for (int s = 0; s < steps; s++, w += KERN_PANEL * 4)
	{
		vi			part[4][PANEL_COLS];	/* what meets one broadcast each */
		int			parts = (act == KERN_ACT_I16 ? 2 : 1) * (wt == KERN_Q8 ? 1 : 2);

		for (int j = 0; j < PANEL_COLS; j++)
		{
			vi			x = load_ints(w + j * VL * 4);

			if (wt == KERN_Q8 && act == KERN_ACT_I8)
				part[0][j] = x ^ (vi) ((vu) {} + DOT4_OFFSET * 0x01010101u);
			else if (wt == KERN_Q8)
			{
				part[0][j] = first_bytes(x);
				part[1][j] = second_bytes(x);
			}
			else if (act == KERN_ACT_I8)
			{
				part[0][j] = x & 0x0f0f0f0f;
				part[1][j] = (vi) ((vus) x >> 4) & 0x0f0f0f0f;
			}
			else
			{
				part[0][j] = x & 0x000f000f;
				part[1][j] = (vi) ((vus) x >> 8) & 0x000f000f;
				part[2][j] = (vi) ((vus) x >> 4) & 0x000f000f;
				part[3][j] = (vi) ((vus) x >> 12);
			}
		}
#pragma GCC unroll 12
		for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
			for (int p = 0; p < parts; p++)
			{
				vi			av = splat_bytes(a + i * row_bytes + (s * parts + p) * 4);

				for (int j = 0; j < PANEL_COLS; j++)
					sum[i][j] = act == KERN_ACT_I16 ? dot2(sum[i][j], part[p][j], av) :
						wt == KERN_Q8 ? dot4(sum[i][j], part[p][j], av) :
						dot4_nibbles(sum[i][j], part[p][j], av);
			}
	}
}

/* C[m0 .., n0 ..] of `mr` rows and the panel at w; wt, act and mr are constants wherever this is
 * inlined. */
INLINE void
tile_panel(const panel_product *g, int m0, int mr, const char *w, int n0, kern_dtype wt, kern_act act)
{
	const char *a = g->a + (size_t) m0 * g->row_bytes;
	vf			acc[PANEL_MR][PANEL_COLS];

#pragma GCC unroll 12
	for (int i = 0; i < mr; i++)
		for (int j = 0; j < PANEL_COLS; j++)
			acc[i][j] = splat(0.0f);
	for (int group = 0; group < g->groups; group++)
	{
		vi			sum[PANEL_MR][PANEL_COLS];
		vf			scale[PANEL_COLS];

#pragma GCC unroll 12
		for (int i = 0; i < mr; i++)
			for (int j = 0; j < PANEL_COLS; j++)
				sum[i][j] = (vi) {};
		/* With few rows memory sets the pace, and what the processor fetches on its own ends with
		 * each page.  Behind the last panel nothing is read. */
		if (mr <= 2)
			for (size_t at = AHEAD; at < AHEAD + kern_block_bytes(wt); at += 64)
				__builtin_prefetch((const void *) ((uintptr_t) w + at));
		group_sums(sum, w, wt, a, g->row_bytes, act, mr);
		for (int j = 0; j < PANEL_COLS; j++)
			scale[j] = (vf) (widen16(load16((const uint16_t *) (const void *) (w + kern_block_integers(wt)) +
											j * VL)) << 16);
#pragma GCC unroll 12
		for (int i = 0; i < mr; i++)
		{
			const char *record = a + i * g->row_bytes;
			vf			by = (vf) splat_bytes(record + KERN_ACT_SCALE(act));
			vi			excess = splat_bytes(record + KERN_ACT_SCALE(act) + 4) * weight_offset(wt, act);

			for (int j = 0; j < PANEL_COLS; j++)
			{
				vi			s = sum[i][j];

				if (wt == KERN_Q4 && act == KERN_ACT_I8)
					s = finish_nibbles(s);
				s -= excess;
				acc[i][j] = vfma(__builtin_convertvector(s, vf), scale[j] * by, acc[i][j]);
			}
		}
		w += kern_block_bytes(wt);
		a += KERN_ACT_RECORD(act);
	}
#pragma GCC unroll 12
	for (int i = 0; i < mr; i++)
		for (int j = 0; j < PANEL_COLS; j++)
		{
			int			at = n0 + j * VL;
			int			left = g->n - at;
			float	   *c = g->c + (size_t) (m0 + i) * g->ldc + at;

			if (g->bias != NULL)
				acc[i][j] += load_some(g->bias, KERN_F32, at, left);
			store_some(c, acc[i][j], left);
		}
}

_Static_assert(PANEL_MR == 4 || PANEL_MR == 6 || PANEL_MR == 12, "gemm_panels handles remainders of 6 and of 1 to 5");

/* A panel stays in the first-level cache while all rows pass by. */
INLINE void
gemm_panels(const panel_product *g, const char *w, int m, kern_dtype wt, kern_act act)
{
	size_t		panel_bytes = (size_t) g->groups * kern_block_bytes(wt);

	for (int n0 = 0; n0 < g->n; n0 += KERN_PANEL, w += panel_bytes)
	{
		int			m0 = 0;

		for (; m0 + PANEL_MR <= m; m0 += PANEL_MR)
			tile_panel(g, m0, PANEL_MR, w, n0, wt, act);
#if PANEL_MR > 6
		for (; m0 + 6 <= m; m0 += 6)
			tile_panel(g, m0, 6, w, n0, wt, act);
#endif
		switch (m - m0)
		{
#if PANEL_MR > 4
			case 5:
				tile_panel(g, m0, 5, w, n0, wt, act);
				break;
			case 4:
				tile_panel(g, m0, 4, w, n0, wt, act);
				break;
#endif
			case 3:
				tile_panel(g, m0, 3, w, n0, wt, act);
				break;
			case 2:
				tile_panel(g, m0, 2, w, n0, wt, act);
				break;
			case 1:
				tile_panel(g, m0, 1, w, n0, wt, act);
				break;
		}
	}
}

static void
kern_gemm_panels(kern_act act, const void *a, size_t a_row_bytes, const void *w, kern_dtype wt,
				 const float *bias, float *c, size_t ldc, int m, int n, int k)
{
	panel_product g = {a, a_row_bytes, bias, c, ldc, n, (int) kern_groups((size_t) k)};

	if (wt == KERN_Q8 && act == KERN_ACT_I8)
		gemm_panels(&g, w, m, KERN_Q8, KERN_ACT_I8);
	else if (wt == KERN_Q8)
		gemm_panels(&g, w, m, KERN_Q8, KERN_ACT_I16);
	else if (act == KERN_ACT_I8)
		gemm_panels(&g, w, m, KERN_Q4, KERN_ACT_I8);
	else
		gemm_panels(&g, w, m, KERN_Q4, KERN_ACT_I16);
}
