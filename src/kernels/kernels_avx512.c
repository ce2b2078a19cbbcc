/*
 * kernels_avx512.c
 *		The kernels with AVX-512 F, BW, DQ and VL: sixteen lanes, so that the 16 partial sums
 *		of a row are one register.
 */
#if defined(__x86_64__)

#include "vec_avx512.h"
#include "kernels_tables.h"

#define TABLE kern_table_avx512

INLINE vi
dot2(vi acc, vi w, vi a)
{
	return acc + (vi) _mm512_madd_epi16((__m512i) w, (__m512i) a);
}

/* The first operand of maddubs has no sign: w's sign goes to a.  Two products of 127 x 127 fit. */
INLINE vi
dot4(vi acc, vi w, vi a)
{
	__m512i		zero = _mm512_setzero_si512();
	__m512i		by = _mm512_mask_sub_epi8((__m512i) a, _mm512_movepi8_mask((__m512i) w), zero, (__m512i) a);
	__m512i		pairs = _mm512_maddubs_epi16(_mm512_abs_epi8((__m512i) w), by);

	return acc + (vi) _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

#define HAVE_NIBBLE_SUMS

/* Sums of two products 15 x 127, eight of them added: 30480, so 16 bits hold them. */
INLINE vi
dot4_nibbles(vi acc, vi w, vi a)
{
	return (vi) _mm512_add_epi16((__m512i) acc, _mm512_maddubs_epi16((__m512i) w, (__m512i) a));
}

INLINE vi
finish_nibbles(vi acc)
{
	return (vi) _mm512_madd_epi16((__m512i) acc, _mm512_set1_epi16(1));
}

#include "kernels_body.h"

#endif							/* __x86_64__ */
