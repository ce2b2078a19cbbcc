/*
 * packed.c
 *		Opening packed files, and verifying their data.
 *
 * Opening checks the header against its checksum, which covers the checksums of all tensors; the
 * data is checked only when that is asked for, since it would have to be read.  Verifying reads the
 * file through a descriptor and not through the mapping: what a disk cannot read is an error then
 * and not a signal.
 */
#include "packed.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "json.h"
#include "mem.h"

#define VERIFY_BLOCK ((size_t) 4 << 20)

static const char *const quants[DSV_QUANT_COUNT] = {
	[DSV_QUANT_BF16] = "bf16",
	[DSV_QUANT_Q8] = "q8",
	[DSV_QUANT_Q4] = "q4",
};

const char *
dsv_quant_name(dsv_quant quant)
{
	return quants[quant];
}

bool
dsv_quant_parse(const char *name, dsv_quant *out)
{
	for (int i = 0; i < DSV_QUANT_COUNT; i++)
		if (strcmp(name, quants[i]) == 0)
		{
			*out = (dsv_quant) i;
			return true;
		}
	return false;
}

/* ---- checksums ---- */

void
dsv_checksum_digits(const uint8_t bytes[DSV_CHECKSUM_DIGITS / 2], char out[DSV_CHECKSUM_DIGITS])
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 0; i < DSV_CHECKSUM_DIGITS / 2; i++)
	{
		out[2 * i] = hex[bytes[i] >> 4];
		out[2 * i + 1] = hex[bytes[i] & 15];
	}
}

static void
digits_of(XXH128_hash_t hash, char out[DSV_CHECKSUM_DIGITS])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, hash);
	dsv_checksum_digits(canonical.digest, out);
}

void
dsv_packed_header_checksum(const void *header, size_t len, char out[DSV_CHECKSUM_DIGITS])
{
	size_t		skip = strlen(DSV_PACKED_PREFIX) + DSV_CHECKSUM_DIGITS;

	digits_of(XXH3_128bits_withSeed((const char *) header + skip, len - skip, len), out);
}

/* ---- opening ---- */

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static dsv_code
check_header(const dsv_safetensors *files, const char *path, dsv_error *err)
{
	size_t		prefix = strlen(DSV_PACKED_PREFIX);
	char		digits[DSV_CHECKSUM_DIGITS];
	const void *base;
	const char *header;
	uint64_t	len = 0;
	size_t		size;

	dsv_safetensors_mapping(files, 0, &base, &size);
	for (int i = 7; i >= 0; i--)
		len = len << 8 | ((const uint8_t *) base)[i];
	header = (const char *) base + 8;
	if (len < prefix + DSV_CHECKSUM_DIGITS || memcmp(header, DSV_PACKED_PREFIX, prefix) != 0)
	{
		dsv_fail(err, DSV_FORMAT, "\"%s\" is not a packed model", path);
		dsv_hint(err, "Give the folder of a published model, or a file that was made from one.");
		return DSV_FORMAT;
	}
	dsv_packed_header_checksum(header, len, digits);
	if (memcmp(header + prefix, digits, DSV_CHECKSUM_DIGITS) != 0)
	{
		dsv_fail(err, DSV_FORMAT, "header of \"%s\" is damaged", path);
		dsv_detail(err, "Its checksum is %.*s, the file says %.*s.", DSV_CHECKSUM_DIGITS, digits,
				   DSV_CHECKSUM_DIGITS, header + prefix);
		return DSV_FORMAT;
	}
	return DSV_OK;
}

static dsv_code
read_metadata(dsv_packed *p, size_t tensors, const char *file, dsv_error *err)
{
	const char *version = NULL;
	const char *quant = NULL;
	const struct
	{
		const char *key;
		const char **value;
		bool		optional;
	}			fields[] = {
		{"dsvl2.version", &version},
		{"dsvl2.quant", &quant},
		{"dsvl2.source", &p->source},
		{"dsvl2.name", &p->name},
		{"dsvl2.checksums", &p->checksums},
		{"config.json", &p->config},
		{"processor_config.json", &p->processor, true},
		{"dsvl2.json", &p->own, true},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
	{
		dsv_code	code = dsv_json_string(p->metadata, file, fields[i].key, fields[i].value, err);

		if (code != DSV_OK)
			return code;
		if (*fields[i].value == NULL && !fields[i].optional)
			return dsv_fail(err, DSV_FORMAT, "%s: \"%s\" is missing", file, fields[i].key);
		if (fields[i].value == &version && strcmp(version, DSV_PACKED_VERSION) != 0)
		{
			dsv_fail(err, DSV_UNSUPPORTED, "%s: version \"%s\" of packed models is not supported", file,
					 version);
			dsv_hint(err, "Pack the model again.");
			return DSV_UNSUPPORTED;
		}
	}
	if (!dsv_quant_parse(quant, &p->quant))
		return dsv_fail(err, DSV_UNSUPPORTED, "%s: quantisation \"%s\" is not supported", file, quant);
	if (strlen(p->source) != 64 || strspn(p->source, "0123456789abcdef") != 64)
		return dsv_fail(err, DSV_FORMAT, "%s: \"dsvl2.source\" is not a digest", file);
	if (strlen(p->checksums) != tensors * DSV_CHECKSUM_DIGITS)
		return dsv_fail(err, DSV_FORMAT, "%s: \"dsvl2.checksums\" does not suit its tensors", file);
	return DSV_OK;
}

dsv_code
dsv_packed_open(const char *path, const dsv_mem *mem, dsv_safetensors **files, dsv_packed *out,
				dsv_error *err)
{
	dsv_code	code;

	*out = (dsv_packed) {0};
	code = dsv_safetensors_open_with_metadata(path, mem, files, &out->metadata, err);
	if (code != DSV_OK)
		return code;
	code = check_header(*files, path, err);
	if (code == DSV_OK)
		code = read_metadata(out, (size_t) dsv_safetensors_count(*files), base_name(path), err);
	if (code != DSV_OK)
	{
		dsv_packed_close(out);
		dsv_safetensors_close(*files);
		*files = NULL;
	}
	return code;
}

void
dsv_packed_close(dsv_packed *packed)
{
	json_decref(packed->metadata);
	*packed = (dsv_packed) {0};
}

/* ---- verifying ---- */

typedef struct verifier
{
	const char *path;
	int			fd;
	char	   *block;			/* [VERIFY_BLOCK] */
	XXH3_state_t *state;
	const dsv_pack_progress *progress;
	int64_t		done;
	int64_t		total;
	dsv_error  *err;
} verifier;

static dsv_code
read_block(const verifier *v, size_t n, off_t at)
{
	for (size_t have = 0; have < n;)
	{
		ssize_t		got = pread(v->fd, v->block + have, n - have, at + (off_t) have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dsv_fail_errno(v->err, errno, "could not read file \"%s\"", v->path);
		if (got == 0)
			return dsv_fail(v->err, DSV_FORMAT, "\"%s\" has become shorter", v->path);
		have += (size_t) got;
	}
	return DSV_OK;
}

static dsv_code
verify_tensor(verifier *v, const dsv_tensor *t, off_t at, const char *expected)
{
	size_t		bytes = dsv_tensor_bytes(t);
	char		digits[DSV_CHECKSUM_DIGITS];

	XXH3_128bits_reset(v->state);
	for (size_t i = 0; i < bytes; i += VERIFY_BLOCK)
	{
		size_t		n = bytes - i < VERIFY_BLOCK ? bytes - i : VERIFY_BLOCK;
		dsv_code	code;

		if (v->progress != NULL && v->progress->report(v->progress->ud, v->done, v->total))
			return dsv_fail_canceled(v->err);
		code = read_block(v, n, at + (off_t) i);
		if (code != DSV_OK)
			return code;
		XXH3_128bits_update(v->state, v->block, n);
		v->done += (int64_t) n;
	}
	digits_of(XXH3_128bits_digest(v->state), digits);
	if (memcmp(digits, expected, DSV_CHECKSUM_DIGITS) == 0)
		return DSV_OK;
	dsv_fail(v->err, DSV_FORMAT, "tensor \"%s\" of \"%s\" is damaged", t->name, v->path);
	dsv_detail(v->err, "Its checksum is %.*s, the file says %.*s.", DSV_CHECKSUM_DIGITS, digits,
			   DSV_CHECKSUM_DIGITS, expected);
	dsv_hint(v->err, "Pack the model again.");
	return DSV_FORMAT;
}

static dsv_code
verify_all(verifier *v, const dsv_safetensors *files, const dsv_packed *packed)
{
	const void *base;
	size_t		len;
	dsv_code	code = DSV_OK;

	dsv_safetensors_mapping(files, 0, &base, &len);
	for (int i = 0; i < dsv_safetensors_count(files); i++)
		v->total += (int64_t) dsv_tensor_bytes(dsv_safetensors_at(files, i));
	for (int i = 0; code == DSV_OK && i < dsv_safetensors_count(files); i++)
	{
		const dsv_tensor *t = dsv_safetensors_at(files, i);

		code = verify_tensor(v, t, (off_t) ((const char *) t->data - (const char *) base),
							 packed->checksums + (size_t) i * DSV_CHECKSUM_DIGITS);
	}
	if (code == DSV_OK && v->progress != NULL)
		v->progress->report(v->progress->ud, v->done, v->total);
	return code;
}

dsv_code
dsv_model_verify(const char *path, const dsv_mem *mem, const dsv_pack_progress *progress,
				 dsv_error *err)
{
	dsv_error	local;
	verifier	v = {.path = path, .progress = progress, .err = err != NULL ? err : &local};
	dsv_safetensors *files;
	dsv_packed	packed;
	dsv_code	code = dsv_packed_open(path, mem, &files, &packed, v.err);

	if (code != DSV_OK)
		return code;
	v.block = dsv_alloc(mem, VERIFY_BLOCK, 1);
	v.state = XXH3_createState();
	v.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (v.block == NULL || v.state == NULL)
		code = dsv_fail_nomem(v.err, VERIFY_BLOCK);
	else if (v.fd < 0)
		code = dsv_fail_errno(v.err, errno, "could not open file \"%s\"", path);
	else
		code = verify_all(&v, files, &packed);
	if (v.fd >= 0)
		close(v.fd);
	XXH3_freeState(v.state);
	dsv_free(mem, v.block);
	dsv_packed_close(&packed);
	dsv_safetensors_close(files);
	return code;
}
