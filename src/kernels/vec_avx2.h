/*
 * vec_avx2.h
 *		The primitives of kernels_vec.h with AVX2, FMA and F16C: eight lanes.
 */
#ifndef VEC_AVX2_H
#define VEC_AVX2_H

#define VL 8
#include "kernels_vec.h"

#include <immintrin.h>

#define MR 3
#define NR 2
#define GEMV_NR 4
#define PANEL_MR 4
#define NN_SUMS 12
#define NN_NV 3

INLINE vf
splat(float s)
{
	return (vf) _mm256_set1_ps(s);
}

INLINE vf
vfma(vf a, vf b, vf c)
{
	return (vf) _mm256_fmadd_ps((__m256) a, (__m256) b, (__m256) c);
}

INLINE vu
widen16(vh h)
{
	return (vu) _mm256_cvtepu16_epi32((__m128i) h);
}

INLINE vh
narrow16(vu u)
{
	return (vh) _mm_packus_epi32(_mm256_castsi256_si128((__m256i) u),
								 _mm256_extracti128_si256((__m256i) u, 1));
}

INLINE vf
widen_half(vh x)
{
	return (vf) _mm256_cvtph_ps((__m128i) x);
}

INLINE vh
narrow_half(vf x)
{
	return (vh) _mm256_cvtps_ph((__m256) x, _MM_FROUND_TO_NEAREST_INT);
}

INLINE __m256i
first_lanes(int n)
{
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE vf
load_part(const float *p, int n)
{
	return (vf) _mm256_maskload_ps(p, first_lanes(n));
}

INLINE void
store_part(float *p, vf v, int n)
{
	_mm256_maskstore_ps(p, first_lanes(n), (__m256) v);
}

INLINE vh
load_part16(const uint16_t *p, int n)
{
	uint16_t	lanes[VL] = {0};

	for (int l = 0; l < n; l++)
		lanes[l] = p[l];
	return load16(lanes);
}

INLINE void
store_part16(uint16_t *p, vh v, int n)
{
	for (int l = 0; l < n; l++)
		p[l] = v[l];
}

/* Lanes 0 and 4 get the sums of the four lanes from there on. */
INLINE __m256
sum_quads(__m256 s)
{
	s = _mm256_add_ps(s, _mm256_permute_ps(s, _MM_SHUFFLE(1, 0, 3, 2)));
	return _mm256_add_ps(s, _mm256_permute_ps(s, _MM_SHUFFLE(2, 3, 0, 1)));
}

INLINE void
sum_rows(vf acc[NR][PARTS], float out[NR])
{
	__m256		a = (__m256) (acc[0][0] + acc[0][1]);
	__m256		b = (__m256) (acc[1][0] + acc[1][1]);
	__m256		s = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20),
								  _mm256_permute2f128_ps(a, b, 0x31));

	s = sum_quads(s);
	out[0] = _mm256_cvtss_f32(s);
	out[1] = _mm_cvtss_f32(_mm256_extractf128_ps(s, 1));
}

INLINE float
sum_lanes(const vf acc[PARTS])
{
	__m256		a = (__m256) (acc[0] + acc[1]);

	a = _mm256_add_ps(a, _mm256_permute2f128_ps(a, a, 0x01));
	return _mm256_cvtss_f32(sum_quads(a));
}

#define HAVE_WEIGHTED_PIXELS

/* Products of 16 bits, two of them added by one instruction: a weight is 2048 times its high
 * part and its low part of 11 bits. */
INLINE uint32_t
weighted_pixels(const uint8_t *p, const int32_t *w, int count)
{
	const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
										   6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
	const __m256i low = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
	const __m256i high = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
	__m256i		low_sum = _mm256_setzero_si256();
	__m256i		high_sum = _mm256_setzero_si256();
	__m128i		sum;

	for (int k = 0; k < count; k += 4, p += 12)
	{
		__m256i		pixels = _mm256_shuffle_epi8(
				_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *) p)), pairs);
		__m128i		four = _mm_loadu_si128((const __m128i *) (w + k));
		__m256i		weights = _mm256_castsi128_si256(
				_mm_packs_epi32(_mm_and_si128(four, _mm_set1_epi32(2047)), _mm_srai_epi32(four, 11)));

		low_sum = _mm256_add_epi32(low_sum,
				_mm256_madd_epi16(pixels, _mm256_permutevar8x32_epi32(weights, low)));
		high_sum = _mm256_add_epi32(high_sum,
				_mm256_madd_epi16(pixels, _mm256_permutevar8x32_epi32(weights, high)));
	}
	low_sum = _mm256_add_epi32(low_sum, _mm256_slli_epi32(high_sum, 11));
	sum = _mm_add_epi32(_mm256_castsi256_si128(low_sum), _mm256_extracti128_si256(low_sum, 1));
	sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (KERN_PIXEL_BITS - 1))), KERN_PIXEL_BITS);
	sum = _mm_packs_epi32(sum, sum);
	return (uint32_t) _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
}

#include "lanes.h"

#endif
