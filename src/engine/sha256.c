#include "sha256.h"

#include <stdbool.h>
#include <string.h>

#include "dsv.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t
rotr(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void
compress_plain(uint32_t h[8], const uint8_t *p)
{
	uint32_t	w[64];
	uint32_t	a = h[0];
	uint32_t	b = h[1];
	uint32_t	c = h[2];
	uint32_t	d = h[3];
	uint32_t	e = h[4];
	uint32_t	f = h[5];
	uint32_t	g = h[6];
	uint32_t	z = h[7];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t) p[4 * i] << 24 | (uint32_t) p[4 * i + 1] << 16 |
			(uint32_t) p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++)
	{
		uint32_t	s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t	s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;

		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
	for (int i = 0; i < 64; i++)
	{
		uint32_t	s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
		uint32_t	t1 = z + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i];
		uint32_t	s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
		uint32_t	t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));

		z = g;
		g = f;
		f = e;
		e = d + t1;
		d = c;
		c = b;
		b = a;
		a = t1 + t2;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
	h[5] += f;
	h[6] += g;
	h[7] += z;
}

void
dsv_sha256_blocks_plain(uint32_t h[8], const uint8_t *p, size_t n)
{
	for (; n > 0; n--, p += 64)
		compress_plain(h, p);
}

#if defined(__x86_64__)

static bool has_instructions;

__attribute__((constructor)) static void
look_for_instructions(void)
{
	unsigned	a,
				b,
				c,
				d;

	has_instructions = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) != 0 &&
		__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

/*
 * The processor's instructions: four rounds take w + K, four words at a time, and the state as
 * two vectors, (f e b a) and (h g d c) from the lowest word on.
 */
__attribute__((target("sha,sse4.1"))) static void
blocks_by_instructions(uint32_t h[8], const uint8_t *p, size_t n)
{
	const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
	__m128i		low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *) h), 0xb1);
	__m128i		high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *) (h + 4)), 0x1b);
	__m128i		feba = _mm_alignr_epi8(low, high, 8);
	__m128i		hgdc = _mm_blend_epi16(high, low, 0xf0);

	for (; n > 0; n--, p += 64)
	{
		__m128i		feba_before = feba;
		__m128i		hgdc_before = hgdc;
		__m128i		w[4];		/* the last 16 words, round i's at i % 4 */

#pragma GCC unroll 16
		for (int i = 0; i < 16; i++)
		{
			__m128i		sum;

			if (i < 4)
				w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) (p + 16 * i)), swap);
			else
				w[i % 4] = _mm_sha256msg2_epu32(
						_mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]),
									  _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4)),
						w[(i + 3) % 4]);
			sum = _mm_add_epi32(w[i % 4], _mm_loadu_si128((const __m128i *) (K + 4 * i)));
			hgdc = _mm_sha256rnds2_epu32(hgdc, feba, sum);
			feba = _mm_sha256rnds2_epu32(feba, hgdc, _mm_shuffle_epi32(sum, 0x0e));
		}
		feba = _mm_add_epi32(feba, feba_before);
		hgdc = _mm_add_epi32(hgdc, hgdc_before);
	}
	low = _mm_shuffle_epi32(feba, 0x1b);
	high = _mm_shuffle_epi32(hgdc, 0xb1);
	_mm_storeu_si128((__m128i *) h, _mm_blend_epi16(low, high, 0xf0));
	_mm_storeu_si128((__m128i *) (h + 4), _mm_alignr_epi8(high, low, 8));
}

#endif

void
dsv_sha256_blocks(uint32_t h[8], const uint8_t *p, size_t n)
{
#if defined(__x86_64__)
	if (has_instructions)
	{
		blocks_by_instructions(h, p, n);
		return;
	}
#endif
	dsv_sha256_blocks_plain(h, p, n);
}

void
dsv_sha256_init(dsv_sha256 *s)
{
	static const uint32_t start[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};

	memcpy(s->h, start, sizeof(start));
	s->bytes = 0;
}

void
dsv_sha256_add(dsv_sha256 *s, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t		have = s->bytes % 64;

	s->bytes += len;
	if (have > 0)
	{
		size_t		take = 64 - have < len ? 64 - have : len;

		memcpy(s->block + have, p, take);
		p += take;
		len -= take;
		if (have + take < 64)
			return;
		dsv_sha256_blocks(s->h, s->block, 1);
	}
	dsv_sha256_blocks(s->h, p, len / 64);
	p += len / 64 * 64;
	len %= 64;
	if (len > 0)
		memcpy(s->block, p, len);
}

void
dsv_sha256_end(dsv_sha256 *s, uint8_t out[32])
{
	uint64_t	bits = s->bytes * 8;
	uint8_t		pad[72] = {0x80};
	size_t		n = (s->bytes % 64 < 56 ? 56 : 120) - s->bytes % 64;

	for (int i = 0; i < 8; i++)
		pad[n + i] = (uint8_t) (bits >> (56 - 8 * i));
	dsv_sha256_add(s, pad, n + 8);
	for (int i = 0; i < 32; i++)
		out[i] = (uint8_t) (s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void
dsv_sha256_of(const void *data, size_t len, uint8_t out[32])
{
	dsv_sha256	s;

	dsv_sha256_init(&s);
	dsv_sha256_add(&s, data, len);
	dsv_sha256_end(&s, out);
}

void
dsv_sha256_hex(const void *data, size_t len, char out[65])
{
	static const char digit[] = "0123456789abcdef";
	uint8_t		d[32];

	dsv_sha256_of(data, len, d);
	for (int i = 0; i < 32; i++)
	{
		out[2 * i] = digit[d[i] >> 4];
		out[2 * i + 1] = digit[d[i] & 15];
	}
	out[64] = '\0';
}
