/*
 * sha256.h
 *		SHA-256 (FIPS 180-4), for the names of images, tiles, pages and models.
 */
#ifndef DSV_SHA256_H
#define DSV_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct dsv_sha256
{
	uint32_t	h[8];
	uint64_t	bytes;
	uint8_t		block[64];
} dsv_sha256;

void		dsv_sha256_init(dsv_sha256 *s);
void		dsv_sha256_add(dsv_sha256 *s, const void *data, size_t len);
void		dsv_sha256_end(dsv_sha256 *s, uint8_t out[32]);
void		dsv_sha256_of(const void *data, size_t len, uint8_t out[32]);

/* The state after n blocks of 64 bytes; the plain form is the oracle of the other. */
void		dsv_sha256_blocks(uint32_t h[8], const uint8_t *p, size_t n);
void		dsv_sha256_blocks_plain(uint32_t h[8], const uint8_t *p, size_t n);

#endif
