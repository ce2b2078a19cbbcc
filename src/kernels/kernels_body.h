/*
 * kernels_body.h
 *		Every kernel, once.  Included by kernels_<set>.c behind the primitives that
 *		kernels_vec.h lists; kernels.h says what each operation computes.
 *
 * Elementwise kernels work on registers of VL lanes.  Sums go through 16 partial sums in
 * PARTS registers, so that the order does not depend on VL.  The ends of rows are read
 * and written by partial loads and stores: the last row of a mapped file may end where
 * the mapping ends.
 */
#include "lanes.h"

/* ---- exp and what is made of it ---- */

/*
 * exp(x) = 2^k exp(r), k = round(x / ln 2), |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 q(r), q a
 * minimax polynomial.  ln 2 in two parts, of which k times the first is exact without fused
 * multiply-add too.  Returns exp(r); *t - 0x4b400000 is k.
 */
INLINE vf
exp_fraction(vf x, vu *t)
{
	const float magic = 0x1.8p23f;	/* adding it rounds to an integer, in the low bits */
	vf			rounded = vfma(x, splat(0x1.715476p0f), splat(magic));
	vf			k = rounded - magic;
	vf			r = vfma(k, splat(-0x1.63p-1f), x);
	vf			q;

	r = vfma(k, splat(0x1.bd0106p-13f), r);
	q = vfma(r, splat(0x1.6a29a2p-10f), splat(0x1.123f2ep-7f));
	q = vfma(q, r, splat(0x1.5558fcp-5f));
	q = vfma(q, r, splat(0x1.55548ap-3f));
	q = vfma(q, r, splat(0x1.fffffcp-2f));
	*t = (vu) rounded;
	return vfma(q * r, r, r) + 1.0f;
}

/* 2^k in two factors, so that results below 2^-126 are rounded once and not lost; NaN stays NaN. */
INLINE vf
vexp(vf x)
{
	vf			q;
	vu			t;
	vi			whole,
				half;

	x = choose(x < -104.0f, splat(-104.0f), x);
	x = choose(x > 89.0f, splat(89.0f), x);
	q = exp_fraction(x, &t);
	whole = (vi) (t - 0x4b400000u);
	half = whole >> 1;
	return q * (vf) ((vu) (half + 127) << 23) * (vf) ((vu) (whole - half + 127) << 23);
}

/*
 * The normal distribution, (1 + erf(x / sqrt 2)) / 2.  For |x| < 1.25 it is 1/2 + x S(x^2).
 * Beyond, a tail is erfc(|x| / sqrt 2) / 2 with
 *		erfc(|x| / sqrt 2) = t P(t) exp(-x^2 / 2),  t = 1 / (1 + 0.4 |x| / sqrt 2),
 * which stays exact where 1 + erf would cancel.  S and P are minimax polynomials of relative
 * error 1e-8 and 5e-8.
 */
INLINE vf
normal_cdf(vf x)
{
	vf			magnitude = (vf) ((vu) x & 0x7fffffffu);
	vf			square = x * x;
	vf			t = 1.0f / vfma(magnitude, splat(0.28284271f), splat(1.0f));
	vf			s,
				p,
				tail;

	s = vfma(square, splat(-6.809493e-06f), splat(0.00011104113f));
	s = vfma(s, square, splat(-0.0011838372f));
	s = vfma(s, square, splat(0.009972283f));
	s = vfma(s, square, splat(-0.06649021f));
	s = vfma(s, square, splat(0.39894226f));
	p = vfma(t, splat(0.03914116f), splat(-0.12989427f));
	p = vfma(p, t, splat(0.06208498f));
	p = vfma(p, t, splat(0.11348184f));
	p = vfma(p, t, splat(0.06177084f));
	p = vfma(p, t, splat(0.20122622f));
	p = vfma(p, t, splat(0.19983423f));
	p = vfma(p, t, splat(0.22673869f));
	p = vfma(p, t, splat(0.22561638f));
	tail = 0.5f * (p * t * vexp(-0.5f * square));
	tail = choose(x < 0.0f, tail, 1.0f - tail);
	return choose(magnitude < 1.25f, vfma(x, s, splat(0.5f)), tail);
}

INLINE vf
sigmoid_lanes(vf x)
{
	return 1.0f / (1.0f + vexp(-x));
}

INLINE vf
gelu_erf_lanes(vf x)
{
	return x * normal_cdf(x);
}

/* 0.5 (1 + tanh u) = 1 / (1 + exp(-2 u)), without the cancellation at the negative end */
INLINE vf
gelu_tanh_lanes(vf x)
{
	vf			u = x * vfma(x * x, splat(0.044715f), splat(1.0f));

	return x / (1.0f + vexp(-1.5957691f * u));
}

INLINE vf
round_bf16_lanes(vf x)
{
	vu			bits = (vu) x;
	vu			rounded = bits + 0x7fff + ((bits >> 16) & 1);
	vu			nan = bits | 0x400000;

	return (vf) (choose_bits(x == x, rounded, nan) & 0xffff0000u);
}

/* ---- elementwise ---- */

typedef vf (*lanes_fn) (vf x);

INLINE void
map(float *x, size_t n, lanes_fn op)
{
	size_t		i = 0;

	for (; i + VL <= n; i += VL)
		store(x + i, op(load(x + i)));
	if (i < n)
		store_part(x + i, op(load_part(x + i, (int) (n - i))), (int) (n - i));
}

static void
kern_sigmoid(float *x, size_t n)
{
	map(x, n, sigmoid_lanes);
}

static void
kern_gelu_tanh(float *x, size_t n)
{
	map(x, n, gelu_tanh_lanes);
}

static void
kern_gelu_erf(float *x, size_t n)
{
	map(x, n, gelu_erf_lanes);
}

static void
kern_round_bf16(float *x, size_t n)
{
	map(x, n, round_bf16_lanes);
}

static void
kern_silu_mul(float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i += VL)
	{
		int			left = lanes_left(n, i);
		vf			g = load_some(gate, KERN_F32, i, left);
		vf			u = load_some(up, KERN_F32, i, left);

		store_some(gate + i, g / (1.0f + vexp(-g)) * u, left);
	}
}

static void
kern_scale(float *x, float f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= f;
}

static void
kern_add(const float *x, float *y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		y[i] += x[i];
}

static void
kern_axpy(float f, const float *x, float *y, size_t n)
{
	for (size_t i = 0; i < n; i += VL)
	{
		int			left = lanes_left(n, i);

		store_some(y + i, vfma(splat(f), load_some(x, KERN_F32, i, left),
							   load_some(y, KERN_F32, i, left)), left);
	}
}

static void
kern_widen(const void *x, kern_dtype xt, float *y, size_t n)
{
	if (xt == KERN_F32)
	{
		memmove(y, x, n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < n; i += VL)
	{
		int			left = lanes_left(n, i);

		if (xt == KERN_BF16)
			store_some(y + i, load_some(x, KERN_BF16, i, left), left);
		else
			store_some(y + i, load_some(x, KERN_F16, i, left), left);
	}
}

/* n lanes of v, n > 0, to y[i] and on, rounded as narrow does */
INLINE void
store_as(void *y, kern_dtype t, size_t i, vf v, int n)
{
	vh			h;

	if (t == KERN_F32)
	{
		store_some((float *) y + i, v, n);
		return;
	}
	h = t == KERN_BF16 ? narrow16((vu) round_bf16_lanes(v) >> 16) : narrow_half(v);
	if (n >= VL)
		store16((uint16_t *) y + i, h);
	else
		store_part16((uint16_t *) y + i, h, n);
}

static void
kern_narrow(const float *x, kern_dtype yt, void *y, size_t n)
{
	if (yt == KERN_F32)
	{
		memmove(y, x, n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < n; i += VL)
	{
		int			left = lanes_left(n, i);
		vf			v = load_some(x, KERN_F32, i, left);

		if (yt == KERN_BF16)
			store_as(y, KERN_BF16, i, v, left);
		else
			store_as(y, KERN_F16, i, v, left);
	}
}

static void
kern_rope(float *x, const float *cosine, const float *sine, int d, bool interleaved)
{
	int			half = d / 2;
	float		seconds[KERN_ROPE_MAX / 2];

	if (!interleaved)
	{
		for (int i = 0; i < half; i += VL)
		{
			int			left = lanes_left(half, i);
			vf			a = load_some(x, KERN_F32, i, left);
			vf			b = load_some(x + half, KERN_F32, i, left);
			vf			c = load_some(cosine, KERN_F32, i, left);
			vf			s = load_some(sine, KERN_F32, i, left);

			store_some(x + i, a * c - b * s, left);
			store_some(x + half + i, b * c + a * s, left);
		}
		return;
	}
	/* a first lands at or before the pair that it comes from; the seconds wait */
	for (int i = 0; i < half; i++)
	{
		float		a = x[2 * i];
		float		b = x[2 * i + 1];

		x[i] = a * cosine[i] - b * sine[i];
		seconds[i] = b * cosine[i] + a * sine[i];
	}
	memcpy(x + half, seconds, (size_t) half * sizeof(float));
}

/* ---- over a row ---- */

static float
kern_max(const float *x, int n)
{
	vf			acc[PARTS];
	float		lanes[16];

	for (int p = 0; p < PARTS; p++)
		acc[p] = splat(x[0]);
	for (int i = 0; i < n; i += 16)
	{
		for (int p = 0; p < PARTS; p++)
		{
			int			at = i + p * VL;

			if (at + VL <= n)
				acc[p] = vmax(load(x + at), acc[p]);
			else
				for (int j = at; j < n; j++)
					acc[p] = vmax(splat(x[j]), acc[p]);
		}
	}
	memcpy(lanes, acc, sizeof(lanes));
	for (int j = 1; j < 16; j++)
		lanes[0] = lanes[j] > lanes[0] ? lanes[j] : lanes[0];
	return lanes[0];
}

static float
kern_exp_sum(float *x, float shift, int n)
{
	vf			acc[PARTS];

	zero_parts(acc);
	for (int i = 0; i < n; i += 16)
	{
		for (int p = 0; p < PARTS; p++)
		{
			int			left = n - i - p * VL;
			vf			e;

			if (left <= 0)
				break;
			e = vexp(load_some(x, KERN_F32, i + p * VL, left) - shift);
			store_some(x + i + p * VL, e, left);
			if (left < VL)		/* lanes beyond the end hold exp(-shift) */
				e = load_part(x + i + p * VL, left);
			acc[p] += e;
		}
	}
	return sum_lanes(acc);
}

/* sum of (x - shift)^2 */
INLINE float
sum_squares(const float *x, float shift, int n)
{
	vf			acc[PARTS];
	int			i = 0;

	zero_parts(acc);
	for (; i + 16 <= n; i += 16)
	{
		for (int p = 0; p < PARTS; p++)
		{
			vf			v = load(x + i + p * VL) - shift;

			acc[p] = vfma(v, v, acc[p]);
		}
	}
	if (i < n)
	{
		float		rest[16] = {0};

		for (int j = i; j < n; j++)
			rest[j - i] = x[j] - shift;
		for (int p = 0; p < PARTS; p++)
			acc[p] = vfma(load(rest + p * VL), load(rest + p * VL), acc[p]);
	}
	return sum_lanes(acc);
}

INLINE float
sum(const float *x, int n)
{
	vf			acc[PARTS];

	zero_parts(acc);
	for (int i = 0; i < n; i += 16)
		for (int p = 0; p < PARTS; p++)
			acc[p] += load_some(x, KERN_F32, i + p * VL, n - i - p * VL);
	return sum_lanes(acc);
}

static void
kern_rms_norm(const float *x, const float *w, float eps, float *y, int n)
{
	float		inverse = 1.0f / __builtin_sqrtf(sum_squares(x, 0.0f, n) / (float) n + eps);

	for (int i = 0; i < n; i++)
		y[i] = x[i] * inverse * w[i];
}

static void
kern_layer_norm(const float *x, const float *w, const float *b, float eps, float *y, int n)
{
	float		mean = sum(x, n) / (float) n;
	float		inverse = 1.0f / __builtin_sqrtf(sum_squares(x, mean, n) / (float) n + eps);

	for (int i = 0; i < n; i += VL)
	{
		int			left = lanes_left(n, i);
		vf			v = (load_some(x, KERN_F32, i, left) - mean) * inverse;

		v = vfma(v, load_some(w, KERN_F32, i, left), load_some(b, KERN_F32, i, left));
		store_some(y + i, v, left);
	}
}

/* ---- quantising a row ----
 *
 * A group's first scale maps its largest magnitude to the end of the range; the others clip it and
 * represent the rest better, which for 4 bits is worth it.  With the integers of a scale fixed,
 * the best scale for them is sum(x q) / sum(q q), so each try is improved once by it.  Errors
 * are measured with the scale as it is stored, in bf16.
 *
 * A lane is a group, VL groups at once: each sum goes over a group's numbers in order.
 */

typedef struct groups
{
	vf			x[KERN_GROUP];
	float		low;			/* range of the integers */
	float		high;
	vf			scale;			/* the best so far; 0 = none */
	vf			error;
} groups;

/* Tiny scales have no inverse. */
INLINE vf
invert_scale(vf scale)
{
	vf			magnitude = (vf) ((vu) scale & 0x7fffffffu);

	return choose(magnitude >= 0x1p-100f, 1.0f / scale, splat(0.0f));
}

INLINE vf
to_integer(const groups *g, vf x, vf inverse)
{
	const float magic = 0x1.8p23f;	/* adding it rounds to an integer */
	vf			q = (x * inverse + magic) - magic;

	q = choose(q < g->low, splat(g->low), q);
	return choose(q > g->high, splat(g->high), q);
}

/* Keeps the scale where it is better; returns the scale that would suit its integers best. */
INLINE vf
try_scale(groups *g, vf scale)
{
	vf			inverse = invert_scale(scale);
	vf			xq = splat(0.0f);
	vf			qq = splat(0.0f);
	vf			error = splat(0.0f);
	vi			better;

	for (int i = 0; i < KERN_GROUP; i++)
	{
		vf			q = to_integer(g, g->x[i], inverse);
		vf			d = g->x[i] - scale * q;

		xq += g->x[i] * q;
		qq += q * q;
		error += d * d;
	}
	better = (inverse != 0.0f) & ((g->scale == 0.0f) | (error < g->error));
	g->scale = choose(better, scale, g->scale);
	g->error = choose(better, error, g->error);
	return choose(qq > 0.0f, round_bf16_lanes(xq / qq), scale);
}

INLINE void
find_scales(groups *g, kern_dtype t)
{
	vf			most = g->x[0];
	vf			least = g->x[0];
	vf			extreme;

	for (int i = 1; i < KERN_GROUP; i++)
	{
		most = vmax(most, g->x[i]);
		least = choose(g->x[i] < least, g->x[i], least);
	}
	extreme = choose(most >= -least, most, least);
	g->scale = splat(0.0f);
	g->error = splat(0.0f);
	if (t == KERN_Q8)
	{
		try_scale(g, try_scale(g, round_bf16_lanes((vf) ((vu) extreme & 0x7fffffffu) / g->high)));
		return;
	}
	/* -8 is one step farther out than 7: the extreme gets it, whatever its sign */
	for (int step = 0; step <= 8; step++)
		try_scale(g, try_scale(g, round_bf16_lanes(extreme / (g->low + 0.25f * (float) (step - 2)))));
}

/* Up to VL groups from x[0 .. n) */
INLINE void
quantise_groups(const float *x, int n, kern_dtype t, int8_t *q, uint16_t *scale)
{
	groups		g = {.low = t == KERN_Q8 ? -127 : -8, .high = t == KERN_Q8 ? 127 : 7};
	float		lanes[KERN_GROUP][VL];
	vf			inverse;
	vu			bits;

	if (n == KERN_GROUP * VL)
		for (int k = 0; k < VL; k++)
			for (int i = 0; i < KERN_GROUP; i++)
				lanes[i][k] = x[k * KERN_GROUP + i];
	else
	{
		memset(lanes, 0, sizeof(lanes));
		for (int i = 0; i < n; i++)
			lanes[i % KERN_GROUP][i / KERN_GROUP] = x[i];
	}
	for (int i = 0; i < KERN_GROUP; i++)
	{
		vf			v = load(lanes[i]);

		g.x[i] = choose(v - v == 0.0f, v, splat(0.0f));
	}
	find_scales(&g, t);
	inverse = invert_scale(g.scale);
	bits = (vu) g.scale >> 16;
	for (int k = 0; k * KERN_GROUP < n; k++)
		scale[k] = (uint16_t) bits[k];
	for (int i = 0; i < KERN_GROUP; i++)
	{
		vi			whole = __builtin_convertvector(to_integer(&g, g.x[i], inverse), vi);

		for (int k = 0; k * KERN_GROUP < n; k++)
			q[k * KERN_GROUP + i] = (int8_t) whole[k];
	}
}

static void
kern_quantise(const float *x, int n, kern_dtype t, int8_t *q, uint16_t *scale)
{
	for (int at = 0; at < n; at += VL * KERN_GROUP)
	{
		int			left = n - at < VL * KERN_GROUP ? n - at : VL * KERN_GROUP;

		if (t == KERN_Q8)
			quantise_groups(x + at, left, KERN_Q8, q + at, scale + at / KERN_GROUP);
		else
			quantise_groups(x + at, left, KERN_Q4, q + at, scale + at / KERN_GROUP);
	}
}

/* ---- matrix products ---- */

#include "gemm_body.h"

/* C[m0 .. m0 + mr, n0 .. n0 + nr]; mr, nr and wt are constants wherever this is inlined */
INLINE void
tile_nt(const product *g, int m0, int mr, int n0, int nr, kern_dtype wt)
{
	size_t		lda = g->a_bytes / sizeof(float);
	const float *a = (const float *) (const void *) g->a + (size_t) m0 * lda;
	const char *w = g->w + (size_t) n0 * g->row_bytes;
	size_t		row_bytes = g->row_bytes;
	int			k = g->k;
	int			kk = 0;
	vf			acc[MR][GEMV_NR][PARTS];

#pragma GCC unroll 8
	for (int i = 0; i < mr; i++)
		for (int j = 0; j < nr; j++)
			zero_parts(acc[i][j]);
	for (; kk + 16 <= k; kk += 16)
	{
		for (int p = 0; p < PARTS; p++)
		{
			vf			wv[GEMV_NR];

			for (int j = 0; j < nr; j++)
				wv[j] = load_as(w + j * row_bytes, wt, kk + p * VL);
			/* The rows of the next tile, into the second-level cache: without this the memory
			 * is idle at every start of a row.  Behind the last row nothing is read. */
			if (p == 0)
				for (int j = 0; j < nr; j++)
					__builtin_prefetch((const void *) ((uintptr_t) w + (nr + j) * row_bytes +
													   kk * kern_dtype_size(wt)), 0, 2);
			for (int i = 0; i < mr; i++)
			{
				vf			av = load(a + i * lda + kk + p * VL);

				for (int j = 0; j < nr; j++)
					acc[i][j][p] = vfma(av, wv[j], acc[i][j][p]);
			}
		}
	}
	for (int p = 0; p < PARTS && kk + p * VL < k; p++)
	{
		int			at = kk + p * VL;
		vf			wv[GEMV_NR];

		for (int j = 0; j < nr; j++)
			wv[j] = load_some(w + j * row_bytes, wt, at, k - at);
		for (int i = 0; i < mr; i++)
		{
			vf			av = load_some(a + i * lda, KERN_F32, at, k - at);

			for (int j = 0; j < nr; j++)
				acc[i][j][p] = vfma(av, wv[j], acc[i][j][p]);
		}
	}
	store_tile(g, acc, m0, mr, n0, nr);
}

static void
kern_gemm_nt(const float *a, size_t lda, const void *w, kern_dtype wt, size_t ldw,
			 const float *bias, float *c, size_t ldc, int m, int n, int k)
{
	product		g = {(const char *) a, lda * sizeof(float), w, ldw * kern_dtype_size(wt), bias, c, ldc, k};

	switch (wt)
	{
		case KERN_F32:
			gemm(&g, m, n, tile_nt, KERN_F32);
			break;
		case KERN_BF16:
			gemm(&g, m, n, tile_nt, KERN_BF16);
			break;
		case KERN_F16:
			gemm(&g, m, n, tile_nt, KERN_F16);
			break;
		case KERN_Q8:
		case KERN_Q4:
			break;				/* gemm_panels */
	}
}

/* ---- pixels ---- */

#ifndef HAVE_WEIGHTED_PIXELS

INLINE uint32_t
clip_pixel(int32_t sum)
{
	sum >>= KERN_PIXEL_BITS;
	return sum < 0 ? 0 : sum > 255 ? 255 : (uint32_t) sum;
}

INLINE uint32_t
weighted_pixels(const uint8_t *p, const int32_t *w, int count)
{
	int32_t		red = 1 << (KERN_PIXEL_BITS - 1);
	int32_t		green = red;
	int32_t		blue = red;

	for (int k = 0; k < count; k++, p += 3)
	{
		red += p[0] * w[k];
		green += p[1] * w[k];
		blue += p[2] * w[k];
	}
	return clip_pixel(red) | clip_pixel(green) << 8 | clip_pixel(blue) << 16;
}

#endif

static void
kern_weigh_pixels(const uint8_t *restrict x, const int *first, const int *count,
				  const int32_t *restrict weight, size_t ldw,
				  uint8_t *restrict y, int n)
{
	for (int i = 0; i < n; i++, weight += ldw, y += 3)
	{
		uint32_t	pixel = weighted_pixels(x + 3 * (size_t) first[i], weight, count[i]);

		y[0] = (uint8_t) pixel;
		y[1] = (uint8_t) (pixel >> 8);
		y[2] = (uint8_t) (pixel >> 16);
	}
}

static void
kern_add_bytes(const uint8_t *restrict x, int32_t f, int32_t *restrict sum, int n)
{
	for (int i = 0; i < n; i++)
		sum[i] += x[i] * f;
}

#include "pack_body.h"
#include "panel_body.h"
#include "attention_body.h"

const kern_table TABLE = {
	.gemm_nt = kern_gemm_nt,
	.gemm_nn = kern_gemm_nn,
	.pack = kern_pack,
	.gemm_panels = kern_gemm_panels,
	.widen = kern_widen,
	.narrow = kern_narrow,
	.quantise = kern_quantise,
	.round_bf16 = kern_round_bf16,
	.rms_norm = kern_rms_norm,
	.layer_norm = kern_layer_norm,
	.max = kern_max,
	.exp_sum = kern_exp_sum,
	.scale = kern_scale,
	.add = kern_add,
	.axpy = kern_axpy,
	.gelu_tanh = kern_gelu_tanh,
	.gelu_erf = kern_gelu_erf,
	.silu_mul = kern_silu_mul,
	.sigmoid = kern_sigmoid,
	.rope = kern_rope,
	.weigh_pixels = kern_weigh_pixels,
	.add_bytes = kern_add_bytes,
	.softmax_rows = kern_softmax_rows,
	.transpose = kern_transpose,
};
