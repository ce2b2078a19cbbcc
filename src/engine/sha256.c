#include "sha256.h"

#include <string.h>

#include "dsv.h"

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
compress(uint32_t h[8], const uint8_t *p)
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
		compress(s->h, s->block);
	}
	for (; len >= 64; p += 64, len -= 64)
		compress(s->h, p);
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
