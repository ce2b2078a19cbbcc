/*
 * attention_body.h
 *		The kernels of attention, once; the end of kernels_body.h.
 *
 * Both products of attention, q k^T and p v, are gemm_nn: with the keys as columns no sum goes
 * across lanes, so there is nothing to be added up at the end of a short row.
 */

/* ---- C += P V ---- */

/* mr rows of C, nv registers wide, or some lanes of one; p, v and c point at the block, all but
 * n and lanes are constants wherever this is inlined */
INLINE void
tile_nn(const float *p, size_t ldp, const char *v, kern_dtype vt, size_t ldv, float *c, size_t ldc,
		int n, int mr, int nv, int lanes)
{
	size_t		row_bytes = ldv * kern_dtype_size(vt);
	vf			acc[NN_SUMS];

#pragma GCC unroll 24
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 24
		for (int j = 0; j < nv; j++)
			acc[i * nv + j] = load_some(c + i * ldc, KERN_F32, j * VL, lanes);
	for (int r = 0; r < n; r++, v += row_bytes)
	{
		vf			row[NN_SUMS];

		/* a single row of C finds V in memory, and is faster than the processor's own prefetching */
		if (mr == 1)
			__builtin_prefetch((const void *) ((uintptr_t) v + 16 * row_bytes), 0, 2);
#pragma GCC unroll 24
		for (int j = 0; j < nv; j++)
			row[j] = load_some(v, vt, j * VL, lanes);
#pragma GCC unroll 24
		for (int i = 0; i < mr; i++)
		{
			vf			f = splat(p[i * ldp + r]);

#pragma GCC unroll 24
			for (int j = 0; j < nv; j++)
				acc[i * nv + j] = vfma(f, row[j], acc[i * nv + j]);
		}
	}
#pragma GCC unroll 24
	for (int i = 0; i < mr; i++)
#pragma GCC unroll 24
		for (int j = 0; j < nv; j++)
			store_some(c + i * ldc + j * VL, acc[i * nv + j], lanes);
}

/* All rows of C, nv registers wide: what a strip reads of V stays in the first-level cache */
INLINE void
strip_nn(const float *p, size_t ldp, const char *v, kern_dtype vt, size_t ldv, float *c, size_t ldc,
		 int m, int n, int nv, int lanes)
{
	const int	mr = NN_SUMS / nv;
	int			i = 0;

	for (; i + mr <= m; i += mr)
		tile_nn(p + i * ldp, ldp, v, vt, ldv, c + i * ldc, ldc, n, mr, nv, lanes);
	for (; i + 2 <= m; i += 2)
		tile_nn(p + i * ldp, ldp, v, vt, ldv, c + i * ldc, ldc, n, 2, nv, lanes);
	if (i < m)
		tile_nn(p + i * ldp, ldp, v, vt, ldv, c + i * ldc, ldc, n, 1, nv, lanes);
}

/* Registers of the next strip where `left` are left: no strip of one behind one of NN_NV */
INLINE int
strip_width(int left)
{
	if (left == NN_NV + 1)
		return NN_NV - 1;
	return left < NN_NV ? left : NN_NV;
}

INLINE void
gemm_nn(const float *p, size_t ldp, const void *v, kern_dtype vt, size_t ldv, float *c,
		size_t ldc, int m, int n, int d)
{
	const char *column = v;
	int			j = 0;

	/* which has no other row to share the loads with, but needs as many sums at once */
	if (m == 1)
		for (; j + 8 * VL <= d; j += 8 * VL)
			tile_nn(p, ldp, column + j * kern_dtype_size(vt), vt, ldv, c + j, ldc, n, 1, 8, VL);
	while (j + VL <= d)
	{
		int			nv = strip_width((d - j) / VL);
		const char *strip = column + j * kern_dtype_size(vt);

		switch (nv)
		{
#if NN_NV > 3
			case 4:
				strip_nn(p, ldp, strip, vt, ldv, c + j, ldc, m, n, 4, VL);
				break;
#endif
			case 3:
				strip_nn(p, ldp, strip, vt, ldv, c + j, ldc, m, n, 3, VL);
				break;
			case 2:
				strip_nn(p, ldp, strip, vt, ldv, c + j, ldc, m, n, 2, VL);
				break;
			default:
				strip_nn(p, ldp, strip, vt, ldv, c + j, ldc, m, n, 1, VL);
				break;
		}
		j += nv * VL;
	}
	if (j < d)
		strip_nn(p, ldp, column + j * kern_dtype_size(vt), vt, ldv, c + j, ldc, m, n, 1, d - j);
}

_Static_assert(NN_SUMS >= 8, "a single row takes 8");
_Static_assert(NN_NV == 3 || NN_NV == 4, "gemm_nn has strips of up to 3 or 4 registers");

static void
kern_gemm_nn(const float *p, size_t ldp, const void *v, kern_dtype vt, size_t ldv, float *c,
			 size_t ldc, int m, int n, int d)
{
	switch (vt)
	{
		case KERN_F32:
			gemm_nn(p, ldp, v, KERN_F32, ldv, c, ldc, m, n, d);
			break;
		case KERN_BF16:
			gemm_nn(p, ldp, v, KERN_BF16, ldv, c, ldc, m, n, d);
			break;
		case KERN_F16:
			gemm_nn(p, ldp, v, KERN_F16, ldv, c, ldc, m, n, d);
			break;
		case KERN_Q8:
		case KERN_Q4:
			break;				/* not offered */
	}
}

/* ---- softmax, a block of scores at a time ---- */

/* vexp for x <= 0 that makes 0 of all below -87 */
INLINE vf
vexp_below(vf x)
{
	vu			t;
	vf			q = exp_fraction(x, &t);

	q *= (vf) ((t << 23) + (127u << 23));
	return (vf) (~(vi) (x < -87.0f) & (vi) q);
}

/* Lanes i .. of a row of which n count; the others are -inf. */
INLINE vf
load_seen(const float *s, int i, int n)
{
	vf			v = load(s + i);
	vi			index;

	if (i + VL <= n)
		return v;
	for (int l = 0; l < VL; l++)
		index[l] = l;
	return choose(index < n - i, v, splat(-__builtin_inff()));
}

INLINE float
max_lanes(vf v)
{
	float		lanes[VL];

	store(lanes, v);
	for (int half = VL / 2; half > 0; half /= 2)
		for (int l = 0; l < half; l++)
			lanes[l] = lanes[l] > lanes[l + half] ? lanes[l] : lanes[l + half];
	return lanes[0];
}

/* One row of scores s[width], of which n > 0 count */
INLINE float
softmax_row(float *s, int n, int width, float *max, float *sum)
{
	vf			most = splat(*max);
	vf			acc[PARTS];
	float		shrink;

	for (int i = 0; i < width; i += VL)
		most = vmax(load_seen(s, i, n), most);
	most = splat(max_lanes(most));
	shrink = vexp_below(splat(*max) - most)[0];
	zero_parts(acc);
	for (int i = 0; i < width; i += 16)
		for (int p = 0; p < PARTS; p++)
		{
			vf			e = vexp_below(load_seen(s, i + p * VL, n) - most);

			store(s + i + p * VL, e);
			acc[p] += e;
		}
	*max = most[0];
	*sum = *sum * shrink + sum_lanes(acc);
	return shrink;
}

static void
kern_softmax_rows(float *score, size_t lds, int rows, int width, int seen, int step, float *max,
				  float *sum, float *shrink)
{
	for (int r = 0; r < rows; r++)
	{
		float	   *s = score + r * lds;
		int			n = seen + r * step;

		if (n > 0)
			shrink[r] = softmax_row(s, n < width ? n : width, width, max + r, sum + r);
		else
		{
			memset(s, 0, width * sizeof(float));
			shrink[r] = 1.0f;
		}
	}
}

/* ---- keys as columns ---- */

/* A row becomes a column: one by one, as masked stores of one lane are slow. */
INLINE void
scatter_row(const float *x, int n, kern_dtype yt, char *y, size_t ldy)
{
	size_t		size = kern_dtype_size(yt);
	char		lanes[VL * sizeof(float)];

	for (int j = 0; j < n; j += VL)
	{
		int			left = lanes_left(n, j);

		store_as(lanes, yt, 0, load_some(x, KERN_F32, j, left), VL);
		for (int l = 0; l < left; l++)
			memcpy(y + (j + l) * ldy * size, lanes + l * size, size);
	}
}

INLINE void
transpose(const float *x, size_t ldx, int m, int n, kern_dtype yt, char *y, size_t ldy)
{
	int			i = 0;

	for (; i + VL <= m; i += VL)
		for (int j = 0; j < n; j++)
		{
			vf			v = splat(0.0f);

			for (int l = 0; l < VL; l++)
				v[l] = x[(i + l) * ldx + j];
			store_as(y, yt, j * ldy + i, v, VL);
		}
	for (; i < m; i++)
		scatter_row(x + i * ldx, n, yt, y + i * kern_dtype_size(yt), ldy);
}

static void
kern_transpose(const float *x, size_t ldx, int m, int n, kern_dtype yt, void *y, size_t ldy)
{
	if (yt == KERN_F32)
		transpose(x, ldx, m, n, KERN_F32, y, ldy);
	else if (yt == KERN_BF16)
		transpose(x, ldx, m, n, KERN_BF16, y, ldy);
	else
		transpose(x, ldx, m, n, KERN_F16, y, ldy);
}
