/*
 * vec_avx512.h
 *		The primitives of kernels_vec.h with AVX-512 F, BW, DQ and VL: sixteen lanes.
 */
#ifndef VEC_AVX512_H
#define VEC_AVX512_H

#define VL 16
#include "kernels_vec.h"

#include <immintrin.h>

#define MR 6
#define NR 4
#define GEMV_NR 8
#define PANEL_MR 6
#define NN_SUMS 24
#define NN_NV 4

INLINE vf
splat(float s)
{
	return (vf) _mm512_set1_ps(s);
}

INLINE vf
vfma(vf a, vf b, vf c)
{
	return (vf) _mm512_fmadd_ps((__m512) a, (__m512) b, (__m512) c);
}

INLINE vu
widen16(vh h)
{
	return (vu) _mm512_cvtepu16_epi32((__m256i) h);
}

INLINE vh
narrow16(vu u)
{
	return (vh) _mm512_cvtepi32_epi16((__m512i) u);
}

INLINE vf
widen_half(vh x)
{
	return (vf) _mm512_cvtph_ps((__m256i) x);
}

INLINE vh
narrow_half(vf x)
{
	return (vh) _mm512_cvtps_ph((__m512) x, _MM_FROUND_TO_NEAREST_INT);
}

INLINE __mmask16
first_lanes(int n)
{
	return (__mmask16) ((1u << n) - 1);
}

INLINE vf
load_part(const float *p, int n)
{
	return (vf) _mm512_maskz_loadu_ps(first_lanes(n), p);
}

INLINE void
store_part(float *p, vf v, int n)
{
	_mm512_mask_storeu_ps(p, first_lanes(n), (__m512) v);
}

INLINE vh
load_part16(const uint16_t *p, int n)
{
	return (vh) _mm256_maskz_loadu_epi16(first_lanes(n), p);
}

INLINE void
store_part16(uint16_t *p, vh v, int n)
{
	_mm256_mask_storeu_epi16(p, first_lanes(n), (__m256i) v);
}

/* lane j + lane j + 8 */
INLINE __m256
sum_halves(vf acc)
{
	return _mm256_add_ps(_mm512_castps512_ps256((__m512) acc),
						 _mm512_extractf32x8_ps((__m512) acc, 1));
}

/* [a: lane j + lane j + 4 | b: the same] */
INLINE __m256
sum_quarters(__m256 a, __m256 b)
{
	return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20),
						 _mm256_permute2f128_ps(a, b, 0x31));
}

INLINE void
sum_rows(vf acc[NR][PARTS], float out[NR])
{
	__m256		ab = sum_quarters(sum_halves(acc[0][0]), sum_halves(acc[1][0]));
	__m256		cd = sum_quarters(sum_halves(acc[2][0]), sum_halves(acc[3][0]));
	__m256		s;

	s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
					  _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));	/* a a c c | b b d d */
	s = _mm256_add_ps(_mm256_permute_ps(s, _MM_SHUFFLE(3, 1, 2, 0)),
					  _mm256_permute_ps(s, _MM_SHUFFLE(2, 0, 3, 1)));	/* a c . . | b d . . */
	_mm_storeu_ps(out, _mm_unpacklo_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}

INLINE float
sum_lanes(const vf acc[PARTS])
{
	__m256		half = sum_halves(acc[0]);
	__m128		s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));

	s = _mm_add_ps(s, _mm_movehl_ps(s, s));
	return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

#define HAVE_WEIGHTED_PIXELS

INLINE uint32_t
weighted_pixels(const uint8_t *p, const int32_t *w, int count)
{
	const __m128i apart = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
	const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
	__m512i		sums = _mm512_setzero_si512();
	__m256i		halves;
	__m128i		sum;

	for (int k = 0; k < count; k += 4, p += 12)
	{
		__m128i		pixels = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) p), apart);
		__m512i		weights = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *) (w + k)));

		sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(_mm512_cvtepu8_epi32(pixels),
														 _mm512_permutexvar_epi32(spread, weights)));
	}
	halves = _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
	sum = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
	sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (KERN_PIXEL_BITS - 1))), KERN_PIXEL_BITS);
	sum = _mm_packs_epi32(sum, sum);
	return (uint32_t) _mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
}

#include "lanes.h"

#endif
