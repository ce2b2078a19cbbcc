/*
 * packed.h
 *		A packed model: one safetensors file with everything that a folder holds.
 *
 * Tensors have their published names.  Matrices are of a float type, or quantised: U8
 * [panels, bytes of a panel] (kernels.h).  Vectors are F32.  DSV_PACKED_TOKENIZER holds the tables of
 * tokenizer_packed.c.  "__metadata__" comes first and in it, at a fixed place, the header's own
 * checksum:
 *
 *		dsvl2.header		XXH3-128 of all that stands behind it in the header, seeded with the
 *							header's length
 *		dsvl2.checksums		XXH3-128 of each tensor's bytes, by name, one behind the other
 *		dsvl2.version		"2"
 *		dsvl2.quant			"bf16", "q8", "q4"
 *		dsvl2.source		digest of the folder
 *		dsvl2.name			name of the model
 *		config.json, processor_config.json, dsvl2.json		their texts; the last two if there
 */
#ifndef DSV_PACKED_H
#define DSV_PACKED_H

#include "safetensors.h"

#define DSV_PACKED_VERSION "2"
#define DSV_PACKED_TOKENIZER "dsvl2.tokenizer"

/* How the header begins; the digits follow */
#define DSV_PACKED_PREFIX "{\"__metadata__\":{\"dsvl2.header\":\""

#define DSV_CHECKSUM_DIGITS 32

typedef struct dsv_packed
{
	struct json_t *metadata;	/* owns the strings */
	const char *name;
	const char *source;
	const char *config;
	const char *processor;		/* or NULL */
	const char *own;			/* or NULL */
	const char *checksums;		/* [tensors][DSV_CHECKSUM_DIGITS] */
	dsv_quant	quant;
} dsv_packed;

/* Opens the file and checks its header, not its data.  Errors: IO, FORMAT, UNSUPPORTED, LIMIT,
 * NOMEM.  On error nothing is left open. */
dsv_code	dsv_packed_open(const char *path, const dsv_mem *mem, dsv_safetensors **files,
							dsv_packed *out, dsv_error *err);
void		dsv_packed_close(dsv_packed *packed);

/* Checksum of a header of `len` bytes, as it stands behind its length in a file */
void		dsv_packed_header_checksum(const void *header, size_t len,
									   char out[DSV_CHECKSUM_DIGITS]);

/* The digits of an XXH3-128: its canonical bytes in hexadecimal */
void		dsv_checksum_digits(const uint8_t bytes[DSV_CHECKSUM_DIGITS / 2],
								char out[DSV_CHECKSUM_DIGITS]);

#endif
