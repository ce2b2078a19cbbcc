/*
 * kernels_avx2.c
 *		The kernels with AVX2, FMA and F16C: eight lanes.
 */
#if defined(__x86_64__)

#include "vec_avx2.h"
#include "kernels_tables.h"

#define TABLE kern_table_avx2

INLINE vi
dot2(vi acc, vi w, vi a)
{
	return acc + (vi) _mm256_madd_epi16((__m256i) w, (__m256i) a);
}

/* The first operand of maddubs has no sign: w's sign goes to a.  Two products of 127 x 127 fit. */
INLINE vi
dot4(vi acc, vi w, vi a)
{
	__m256i		pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i) w),
											 _mm256_sign_epi8((__m256i) a, (__m256i) w));

	return acc + (vi) _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

#define HAVE_NIBBLE_SUMS

/* Sums of two products 15 x 127, eight of them added: 30480, so 16 bits hold them. */
INLINE vi
dot4_nibbles(vi acc, vi w, vi a)
{
	return (vi) _mm256_add_epi16((__m256i) acc, _mm256_maddubs_epi16((__m256i) w, (__m256i) a));
}

INLINE vi
finish_nibbles(vi acc)
{
	return (vi) _mm256_madd_epi16((__m256i) acc, _mm256_set1_epi16(1));
}

#include "kernels_body.h"

#endif							/* __x86_64__ */
