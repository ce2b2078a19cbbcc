/*
 * kernels_generic.c
 *		The kernels for any machine: four lanes, which is SSE2 on x86-64 and NEON on ARM.
 *
 * Where the machine has no fused multiply-add, a product is rounded before it is added
 * (calling fmaf for every element would be a hundred times slower), so results differ
 * from the other sets' in the last bits.
 */
#define VL 4
#include "kernels_vec.h"
#include "kernels_tables.h"

#define TABLE kern_table_generic
#define MR 3
#define NR 1
#define GEMV_NR 2
#define PANEL_MR 4
#define NN_SUMS 12
#define NN_NV 3

INLINE vf
splat(float s)
{
	return (vf) {s, s, s, s};
}

INLINE vf
vfma(vf a, vf b, vf c)
{
#ifdef __FP_FAST_FMAF
	vf			r;

	for (int l = 0; l < VL; l++)
		r[l] = __builtin_fmaf(a[l], b[l], c[l]);
	return r;
#else
	return a * b + c;
#endif
}

INLINE vu
widen16(vh h)
{
	return __builtin_convertvector(h, vu);
}

INLINE vh
narrow16(vu u)
{
	return __builtin_convertvector(u, vh);
}

/* A half below 2^-14 is a multiple of 2^-24, which an integer conversion gives exactly. */
INLINE vf
widen_half(vh x)
{
	vu			h = widen16(x);
	vu			sign = (h & 0x8000) << 16;
	vu			magnitude = h & 0x7fff;
	vu			normal = (magnitude << 13) + (112u << 23);
	vu			special = (magnitude << 13) | 0x7f800000;
	vu			small = (vu) (__builtin_convertvector((vi) magnitude, vf) * 0x1p-24f);
	vu			quiet = (vu) (magnitude > 0x7c00) & 0x400000;

	normal = choose_bits(magnitude < 0x400, small, normal);
	normal = choose_bits(magnitude >= 0x7c00, special | quiet, normal);
	return (vf) (normal | sign);
}

/* Adding 1/2 to a number below 2^-14 rounds it to a multiple of 2^-24, in the low bits. */
INLINE vh
narrow_half(vf x)
{
	vu			bits = (vu) x;
	vu			sign = (bits >> 16) & 0x8000;
	vu			magnitude = bits & 0x7fffffff;
	vu			normal = ((magnitude + 0xfff + ((magnitude >> 13) & 1)) >> 13) - (112u << 10);
	vu			small = (vu) ((vf) magnitude + 0.5f) - 0x3f000000;
	vu			nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
	vu			infinity = (vu) {} + 0x7c00;

	normal = choose_bits(magnitude < 0x38800000, small, normal);
	normal = choose_bits(magnitude >= 0x477ff000, infinity, normal);
	normal = choose_bits(magnitude > 0x7f800000, nan, normal);
	return narrow16(normal | sign);
}

INLINE vf
load_part(const float *p, int n)
{
	vf			v = splat(0.0f);

	for (int l = 0; l < n; l++)
		v[l] = p[l];
	return v;
}

INLINE void
store_part(float *p, vf v, int n)
{
	for (int l = 0; l < n; l++)
		p[l] = v[l];
}

INLINE vh
load_part16(const uint16_t *p, int n)
{
	vh			v = {0};

	for (int l = 0; l < n; l++)
		v[l] = p[l];
	return v;
}

INLINE void
store_part16(uint16_t *p, vh v, int n)
{
	for (int l = 0; l < n; l++)
		p[l] = v[l];
}

INLINE float
sum_lanes(const vf acc[PARTS])
{
	vf			s = (acc[0] + acc[2]) + (acc[1] + acc[3]);

	return (s[0] + s[2]) + (s[1] + s[3]);
}

INLINE void
sum_rows(vf acc[NR][PARTS], float out[NR])
{
	out[0] = sum_lanes(acc[0]);
}

/* The two 16-bit numbers of each lane; of bytes the four */
INLINE vi
dot2(vi acc, vi w, vi a)
{
	vi			low = ((vi) ((vu) w << 16) >> 16) * ((vi) ((vu) a << 16) >> 16);

	return acc + low + (w >> 16) * (a >> 16);
}

INLINE vi
dot4(vi acc, vi w, vi a)
{
	for (int byte = 0; byte < 4; byte++)
		acc += ((vi) ((vu) w << (24 - 8 * byte)) >> 24) * ((vi) ((vu) a << (24 - 8 * byte)) >> 24);
	return acc;
}

#include "kernels_body.h"
