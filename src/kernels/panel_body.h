/*
 * panel_body.h
 *		Packing of activations, and products of quantised panels with integer activations.
 *		Included by kernels_<set>.c behind the primitives of kernels_vec.h and these:
 *
 *		dot2(acc, w, a)		each lane plus the sum of products of its two 16-bit numbers
 *		dot4(acc, w, a)		of its four bytes, signed in both, none -128
 *		dot4_nibbles(acc, w, a)	the same of w in 0 .. 15; at most 8 times, then
 *		finish_nibbles(acc)	makes the sums out of what those have left
 *		PANEL_MR			rows of activations in a tile
 *
 * A tile is PANEL_MR rows times a panel: the weights of a group are unpacked once and met with each
 * row's activations, a few columns broadcast at a time.
 */

/* Registers that a panel's rows take */
#define PANEL_COLS (KERN_PANEL / VL)

typedef int16_t vs __attribute__((vector_size(4 * VL)));
typedef uint16_t vus __attribute__((vector_size(4 * VL)));

/* ---- activations ---- */

/* Largest magnitude of a group; NaN when a number is not finite */
INLINE float
group_magnitude(const vf x[KERN_GROUP / VL])
{
	vf			most = splat(0.0f);
	vf			odd = splat(0.0f);
	float		largest = 0;
	float		sum = 0;

	for (int i = 0; i < KERN_GROUP / VL; i++)
	{
		most = vmax(most, (vf) ((vu) x[i] & 0x7fffffffu));
		odd += x[i] - x[i];		/* 0, or NaN */
	}
	for (int l = 0; l < VL; l++)
	{
		largest = most[l] > largest ? most[l] : largest;
		sum += odd[l];
	}
	return largest + sum;
}

/* A group's record.  Magnitudes whose inverse would overflow are as good as zero. */
INLINE void
pack_integers(const vf x[KERN_GROUP / VL], kern_act act, char *record)
{
	const float magic = 0x1.8p23f;	/* adding it rounds to an integer, in the low bits */
	const float range = act == KERN_ACT_I8 ? 127.0f : 32767.0f;
	float		magnitude = group_magnitude(x);
	float		inverse = magnitude >= 0x1p-100f ? range / magnitude : 0.0f;
	float		scale = magnitude >= 0x1p-100f ? magnitude / range : magnitude != magnitude ? magnitude : 0.0f;
	int32_t		q[KERN_GROUP];
	int32_t		sum = 0;

	for (int i = 0; i < KERN_GROUP / VL; i++)
	{
		vf			finite = choose(x[i] - x[i] == 0.0f, x[i], splat(0.0f));
		vi			whole = (vi) ((vu) (finite * inverse + magic) - 0x4b400000u);

		memcpy(q + i * VL, &whole, sizeof(whole));
	}
	for (int i = 0; i < KERN_GROUP; i++)
		sum += q[i];
	for (int i = 0; i < KERN_GROUP; i += 4)
	{
		if (act == KERN_ACT_I8)
		{
			const int8_t quad[4] = {(int8_t) q[i], (int8_t) q[i + 1], (int8_t) q[i + 2], (int8_t) q[i + 3]};

			memcpy(record + i, quad, sizeof(quad));
		}
		else
		{
			const int16_t quad[4] = {(int16_t) q[i], (int16_t) q[i + 2], (int16_t) q[i + 1], (int16_t) q[i + 3]};

			memcpy(record + 2 * i, quad, sizeof(quad));
		}
	}
	memcpy(record + KERN_ACT_SCALE(act), &scale, sizeof(scale));
	memcpy(record + KERN_ACT_SCALE(act) + 4, &sum, sizeof(sum));
}

INLINE void
pack_row(const float *x, int k, kern_act act, char *out)
{
	for (int at = 0; at < k; at += KERN_GROUP, out += KERN_ACT_RECORD(act))
	{
		vf			group[KERN_GROUP / VL];

		for (int i = 0; i < KERN_GROUP / VL; i++)
			group[i] = load_some(x, KERN_F32, at + i * VL, k - at - i * VL);
		if (act == KERN_ACT_BF16)
			for (int i = 0; i < KERN_GROUP / VL; i++)
				store16((uint16_t *) (void *) out + i * VL, narrow16((vu) round_bf16_lanes(group[i]) >> 16));
		else
			pack_integers(group, act, out);
	}
}

static void
kern_pack(const float *x, size_t ldx, int m, int k, kern_act act, void *out, size_t row_bytes)
{
	char	   *row = out;

	for (int i = 0; i < m; i++, x += ldx, row += row_bytes)
		switch (act)
		{
			case KERN_ACT_F32:
				break;			/* not offered */
			case KERN_ACT_BF16:
				pack_row(x, k, KERN_ACT_BF16, row);
				break;
			case KERN_ACT_I8:
				pack_row(x, k, KERN_ACT_I8, row);
				break;
			case KERN_ACT_I16:
				pack_row(x, k, KERN_ACT_I16, row);
				break;
		}
}

/* ---- products ---- */

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
				part[0][j] = x;
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
#pragma GCC unroll 8
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

#pragma GCC unroll 8
	for (int i = 0; i < mr; i++)
		for (int j = 0; j < PANEL_COLS; j++)
			acc[i][j] = splat(0.0f);
	for (int group = 0; group < g->groups; group++)
	{
		vi			sum[PANEL_MR][PANEL_COLS];
		vf			scale[PANEL_COLS];

#pragma GCC unroll 8
		for (int i = 0; i < mr; i++)
			for (int j = 0; j < PANEL_COLS; j++)
				sum[i][j] = (vi) {};
		group_sums(sum, w, wt, a, g->row_bytes, act, mr);
		for (int j = 0; j < PANEL_COLS; j++)
			scale[j] = (vf) (widen16(load16((const uint16_t *) (const void *) (w + kern_block_integers(wt)) +
											j * VL)) << 16);
#pragma GCC unroll 8
		for (int i = 0; i < mr; i++)
		{
			const char *record = a + i * g->row_bytes;
			vf			by = (vf) splat_bytes(record + KERN_ACT_SCALE(act));
			vi			eights = splat_bytes(record + KERN_ACT_SCALE(act) + 4) << 3;

			for (int j = 0; j < PANEL_COLS; j++)
			{
				vi			s = sum[i][j];

				if (wt == KERN_Q4)
					s = (act == KERN_ACT_I8 ? finish_nibbles(s) : s) - eights;
				acc[i][j] = vfma(__builtin_convertvector(s, vf), scale[j] * by, acc[i][j]);
			}
		}
		w += kern_block_bytes(wt);
		a += KERN_ACT_RECORD(act);
	}
#pragma GCC unroll 8
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

_Static_assert(PANEL_MR == 4 || PANEL_MR == 6, "gemm_panels handles remainders of 1 to 5 rows");

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
