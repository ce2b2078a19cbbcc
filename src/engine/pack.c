/*
 * pack.c
 *		A model's folder made into one packed file (packed.h).
 *
 *	plan: every tensor, as what, where  ->  header with empty checksums  ->  data  ->  checksums
 *
 * The data goes through two buffers.  In one run of the pool some workers turn rows of the next
 * batch into bytes of one buffer, while others write the batch before from the other buffer and add
 * it to the checksums, which must see a tensor's bytes in order.  What was read of the source is
 * taken out of the process's memory at once, so that what the process holds does not depend on the
 * model's size.
 *
 * The tensors lie by the size of their elements, widest first, so that each is aligned; the
 * tokenizer's tables, of four-byte numbers too, are the first of all, and the header is padded so
 * that the first matrix begins at a multiple of 64.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* fallocate, sync_file_range */
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "compute.h"
#include "file.h"
#include "json.h"
#include "model.h"
#include "packed.h"
#include "pool.h"

#define BATCH_BYTES ((size_t) 32 << 20)
#define PIECE_BYTES ((size_t) 1 << 20)
#define WRITE_BYTES ((size_t) 4 << 20)
#define MAX_PIECES 256
#define MAX_TEXT_BYTES ((size_t) 4 << 20)
#define DEFAULT_THREADS 16

/* One tensor of the new file: rows, each made from a row of the source, or panels, each made from
 * KERN_PANEL rows */
typedef struct output
{
	const char *name;
	const char *source;
	const int64_t *shape;		/* of the source */
	int			ndim;
	dsv_dtype	dtype;
	kern_dtype	from;
	kern_dtype	to;				/* equal to from: the bytes as they are */
	int64_t		rows;			/* or panels */
	int64_t		cols;
	int64_t		source_rows;
	size_t		source_row;		/* bytes */
	size_t		row;			/* bytes of a row or panel */
	uint64_t	at;				/* in the data */
	int			ordinal;		/* among the names */
} output;

/* Rows of a tensor within a batch */
typedef struct piece
{
	const output *out;
	int64_t		first;
	int64_t		rows;
	size_t		at;				/* in the batch */
} piece;

typedef struct batch
{
	char	   *data;			/* [BATCH_BYTES] */
	size_t		used;
	uint64_t	at;				/* in the data */
	piece		pieces[MAX_PIECES];
	int			npieces;
} batch;

typedef struct packer
{
	const dsv_pack_options *options;
	const dsv_mem *mem;
	int			threads;
	dsv_model  *model;
	dsv_text	tokenizer;
	output	   *outputs;		/* [noutputs], as they lie in the file */
	int			noutputs;
	uint64_t	total;			/* bytes of data */
	dsv_text	header;			/* with the length in front of it */
	size_t		checksums;		/* offset of their digits in it */

	char		temporary[DSV_PATH_MAX];
	int			fd;				/* -1: none; else the lock on the temporary file is held */

	batch	   *batches;		/* [2] */
	batch	   *next;			/* to be filled */
	batch	   *last;			/* to be written */
	int			output;			/* first that is not in a batch as a whole */
	int64_t		row;
	char	   *rows;			/* [threads] of row_scratch(longest) bytes */
	size_t		longest;		/* groups of the longest row */
	XXH3_state_t *hash;			/* of the tensor that last ends within */
	atomic_int	write_errno;
	dsv_error  *err;
} packer;

/* ---- plan ---- */

static kern_dtype
kern_type(dsv_dtype dtype)
{
	return dtype == DSV_DTYPE_F32 ? KERN_F32 : dtype == DSV_DTYPE_F16 ? KERN_F16 : KERN_BF16;
}

/* How the file holds a tensor of that use */
static kern_dtype
wanted_type(dsv_use use, dsv_quant quant, kern_dtype published)
{
	if (use == DSV_USE_VECTOR || (use == DSV_USE_ROUTER && quant != DSV_QUANT_BF16))
		return KERN_F32;
	if (quant == DSV_QUANT_BF16 || (use != DSV_USE_LANGUAGE && use != DSV_USE_EXPERT))
		return published;
	return quant == DSV_QUANT_Q4 && use == DSV_USE_EXPERT ? KERN_Q4 : KERN_Q8;
}

static void
plan_tensor(packer *p, output *o, const dsv_tensor *t, dsv_use use)
{
	o->name = t->name;
	o->source = t->data;
	o->shape = t->shape;
	o->ndim = t->ndim;
	o->from = kern_type(t->dtype);
	o->to = wanted_type(use, p->options->quant, o->from);
	o->dtype = kern_is_quantised(o->to) ? DSV_DTYPE_U8 : o->to == KERN_F32 ? DSV_DTYPE_F32 : t->dtype;
	o->cols = t->shape[t->ndim - 1];
	o->source_rows = o->rows = t->count / o->cols;
	o->source_row = kern_matrix_bytes(o->from, 1, (size_t) o->cols);
	if (kern_is_quantised(o->to))
		o->rows = (o->rows + KERN_PANEL - 1) / KERN_PANEL;
	o->row = kern_matrix_bytes(o->to, 1, (size_t) o->cols);
	if (p->longest < kern_groups((size_t) o->cols))
		p->longest = kern_groups((size_t) o->cols);
}

static void
plan_tokenizer(packer *p, output *o, const int64_t *shape)
{
	*o = (output) {.name = DSV_PACKED_TOKENIZER, .source = p->tokenizer.s, .shape = shape, .ndim = 1,
		.dtype = DSV_DTYPE_U8, .rows = shape[0] / 64, .cols = 64, .source_rows = shape[0] / 64, .source_row = 64,
	.row = 64};
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const output *) a)->name, ((const output *) b)->name);
}

/* The tokenizer, then floats, 16-bit types, bytes; each by name */
static int
order_of(const output *o)
{
	if (o->dtype == DSV_DTYPE_U8)
		return strcmp(o->name, DSV_PACKED_TOKENIZER) == 0 ? 0 : 3;
	return o->dtype == DSV_DTYPE_F32 ? 1 : 2;
}

static int
compare_order(const void *a, const void *b)
{
	int			x = order_of(a);
	int			y = order_of(b);

	return x != y ? x - y : compare_names(a, b);
}

static dsv_code
plan(packer *p, int64_t tokenizer_shape[1])
{
	const dsv_safetensors *files = p->model->files;
	size_t		n = (size_t) dsv_safetensors_count(files) + 1;
	dsv_code	code = dsv_tokenizer_pack(p->model->tokenizer, p->mem, &p->tokenizer, p->err);

	if (code != DSV_OK)
		return code;
	p->outputs = dsv_alloc_zero(p->mem, n, sizeof(output));
	if (p->outputs == NULL)
		return dsv_fail_nomem(p->err, n * sizeof(output));
	tokenizer_shape[0] = (int64_t) p->tokenizer.len;
	plan_tokenizer(p, &p->outputs[p->noutputs++], tokenizer_shape);
	for (int i = 0; i < dsv_safetensors_count(files); i++)
		if (p->model->weights.uses[i] != DSV_USE_NONE)
			plan_tensor(p, &p->outputs[p->noutputs++], dsv_safetensors_at(files, i),
						(dsv_use) p->model->weights.uses[i]);
	qsort(p->outputs, (size_t) p->noutputs, sizeof(output), compare_names);
	for (int i = 0; i < p->noutputs; i++)
		p->outputs[i].ordinal = i;
	qsort(p->outputs, (size_t) p->noutputs, sizeof(output), compare_order);
	for (int i = 0; i < p->noutputs; i++)
	{
		p->outputs[i].at = p->total;
		p->total += (uint64_t) p->outputs[i].rows * p->outputs[i].row;
	}
	return DSV_OK;
}

/* ---- header ---- */

static bool
put(packer *p, const char *s)
{
	return dsv_text_add(p->mem, &p->header, s, strlen(s));
}

/* "key":"value", the value escaped */
static bool
put_string(packer *p, const char *key, const char *value)
{
	json_t	   *string = json_string(value);
	char	   *dumped = string != NULL ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
	bool		good = dumped != NULL && put(p, ",\"") && put(p, key) && put(p, "\":") && put(p, dumped);

	free(dumped);
	json_decref(string);
	return good;
}

/* The text of a file of the folder; an optional one may be absent. */
static dsv_code
put_file(packer *p, const char *name, bool optional)
{
	char		path[DSV_PATH_MAX];
	dsv_text	text = {0};
	dsv_code	code = dsv_path_join(path, p->model->dir, name, p->err);

	if (code != DSV_OK)
		return code;
	code = dsv_file_read(path, MAX_TEXT_BYTES, p->mem, &text, p->err);
	if (code == DSV_OK)
		code = put_string(p, name, text.s) ? DSV_OK : dsv_fail_nomem(p->err, text.len);
	else if (optional && code == DSV_IO && p->err->sys_errno == ENOENT)
		code = DSV_OK;
	dsv_free(p->mem, text.s);
	return code;
}

static dsv_code
put_metadata(packer *p)
{
	static const char digits[DSV_CHECKSUM_DIGITS + 1] = "00000000000000000000000000000000";
	const dsv_model_info *info = &p->model->info;
	bool		good = put(p, "........" DSV_PACKED_PREFIX) && put(p, digits) &&
		put(p, "\",\"dsvl2.checksums\":\"");
	dsv_code	code;

	p->checksums = p->header.len;
	for (int i = 0; good && i < p->noutputs; i++)
		good = put(p, digits);
	good = good && put(p, "\"") && put_string(p, "dsvl2.version", DSV_PACKED_VERSION) &&
		put_string(p, "dsvl2.quant", dsv_quant_name(p->options->quant)) &&
		put_string(p, "dsvl2.source", info->digest) && put_string(p, "dsvl2.name", info->name);
	if (!good)
		return dsv_fail_nomem(p->err, p->header.len);
	if ((code = put_file(p, "config.json", false)) != DSV_OK ||
		(code = put_file(p, "processor_config.json", true)) != DSV_OK ||
		(code = put_file(p, "dsvl2.json", true)) != DSV_OK)
		return code;
	return put(p, "}") ? DSV_OK : dsv_fail_nomem(p->err, p->header.len);
}

/* Names are those that the engine asks for: nothing in them wants to be escaped. */
static bool
put_entry(packer *p, const output *o)
{
	char		text[96];
	bool		good;

	snprintf(text, sizeof(text), "\":{\"dtype\":\"%s\",\"shape\":[", dsv_dtype_name(o->dtype));
	good = put(p, ",\"") && put(p, o->name) && put(p, text);
	for (int i = 0; good && i < o->ndim; i++)
	{
		int64_t		side = !kern_is_quantised(o->to) ? o->shape[i] : i == 0 ? o->rows : (int64_t) o->row;

		snprintf(text, sizeof(text), "%s%lld", i > 0 ? "," : "", (long long) side);
		good = put(p, text);
	}
	snprintf(text, sizeof(text), "],\"data_offsets\":[%llu,%llu]}", (unsigned long long) o->at,
			 (unsigned long long) (o->at + (uint64_t) o->rows * o->row));
	return good && put(p, text);
}

static dsv_code
make_header(packer *p)
{
	uint64_t	before = 0;		/* bytes of data in front of the matrices */
	uint64_t	len;
	dsv_code	code = put_metadata(p);
	bool		good = true;

	for (int i = 0; code == DSV_OK && good && i < p->noutputs; i++)
	{
		good = put_entry(p, &p->outputs[i]);
		if (order_of(&p->outputs[i]) < 2)
			before = p->outputs[i].at + (uint64_t) p->outputs[i].rows * p->outputs[i].row;
	}
	if (code != DSV_OK)
		return code;
	good = good && put(p, "}");
	while (good && (p->header.len + before) % 64 != 0)
		good = put(p, " ");
	if (!good)
		return dsv_fail_nomem(p->err, p->header.len);
	len = p->header.len - 8;
	for (int i = 0; i < 8; i++)
		p->header.s[i] = (char) (len >> (8 * i));
	return DSV_OK;
}

/* ---- the temporary file ---- */

static dsv_code
fail_write(packer *p, int error)
{
	dsv_fail_errno(p->err, error, "could not write file \"%s\"", p->temporary);
	if (error == ENOSPC || error == EDQUOT)
		dsv_detail(p->err, "It takes %llu bytes.", (unsigned long long) (p->header.len + p->total));
	return p->err->code;
}

static bool
canceled(const packer *p, uint64_t done)
{
	const dsv_pack_progress *progress = &p->options->progress;

	return progress->report != NULL &&
		progress->report(progress->ud, (int64_t) done, (int64_t) p->total);
}

/* Waits for the lock.  False: the file was renamed or removed while we waited. */
static dsv_code
lock_temporary(packer *p, bool *is_it)
{
	const struct timespec pause = {0, 50 * 1000 * 1000};
	struct stat mine;
	struct stat named;

	while (flock(p->fd, LOCK_EX | LOCK_NB) != 0)
	{
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return dsv_fail_errno(p->err, errno, "could not lock file \"%s\"", p->temporary);
		if (canceled(p, 0))
			return dsv_fail_canceled(p->err);
		nanosleep(&pause, NULL);
	}
	*is_it = fstat(p->fd, &mine) == 0 && lstat(p->temporary, &named) == 0 &&
		mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
	return DSV_OK;
}

/* One of a process that ended in the middle is taken over. */
static dsv_code
open_temporary(packer *p, const char *path)
{
	bool		is_it = false;
	dsv_code	code = DSV_OK;

	if (snprintf(p->temporary, sizeof(p->temporary), "%s.tmp", path) >= (int) sizeof(p->temporary))
		return dsv_fail(p->err, DSV_LIMIT, "path of \"%s\" is too long", path);
	while (code == DSV_OK && !is_it)
	{
		p->fd = open(p->temporary, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
		if (p->fd < 0)
			return dsv_fail_errno(p->err, errno, "could not create file \"%s\"", p->temporary);
		code = lock_temporary(p, &is_it);
		if (!is_it)
		{
			close(p->fd);
			p->fd = -1;
		}
	}
	return code;
}

static dsv_code
check_target(const packer *p, const char *path)
{
	if (p->options->replace || access(path, F_OK) != 0)
		return DSV_OK;
	return dsv_fail_errno(p->err, EEXIST, "could not create file \"%s\"", path);
}

/* Space is taken at once, where the file system can: a full disk is noticed before the work. */
static dsv_code
take_space(packer *p)
{
	if (ftruncate(p->fd, 0) != 0)
		return fail_write(p, errno);
#ifdef __linux__
	if (fallocate(p->fd, 0, 0, (off_t) (p->header.len + p->total)) != 0 && errno != EOPNOTSUPP &&
		errno != EINTR)
		return fail_write(p, errno);
#endif
	return DSV_OK;
}

static int
write_all(int fd, const char *data, size_t n, uint64_t at)
{
	while (n > 0)
	{
		ssize_t		written = pwrite(fd, data, n, (off_t) at);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? errno : ENOSPC;
		data += written;
		n -= (size_t) written;
		at += (uint64_t) written;
	}
	return 0;
}

static dsv_code
sync_folder(packer *p, const char *path)
{
	char		folder[DSV_PATH_MAX];
	const char *slash = strrchr(path, '/');
	int			fd;
	int			error = 0;

	if (slash == NULL)
		snprintf(folder, sizeof(folder), ".");
	else
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int) (slash - path), path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error == 0 ? DSV_OK : dsv_fail_errno(p->err, error, "could not sync directory \"%s\"", folder);
}

/* Gives the file its name.  link() makes sure that nothing is replaced; where there are no links, the
 * lock on the temporary name has to do. */
static dsv_code
publish(packer *p, const char *path)
{
	dsv_code	code = check_target(p, path);

	if (code != DSV_OK)
		return code;
	if (fsync(p->fd) != 0)
		return fail_write(p, errno);
	if (!p->options->replace && link(p->temporary, path) == 0)
		unlink(p->temporary);
	else if (!p->options->replace && errno == EEXIST)
		return check_target(p, path);
	else if (rename(p->temporary, path) != 0)
		return dsv_fail_errno(p->err, errno, "could not rename file \"%s\"", p->temporary);
	p->temporary[0] = '\0';
	return sync_folder(p, path);
}

/* ---- data ---- */

/* Of the whole source, as the kernel maps pages around those that are read, too */
static void
forget_source(const packer *p)
{
	const void *base;
	size_t		len;

	for (int i = 0; dsv_safetensors_mapping(p->model->files, i, &base, &len); i++)
		(void) madvise((void *) (uintptr_t) base, len, MADV_DONTNEED);
}

/* One row as floats, its scales and its integers; what follows is aligned again */
static size_t
row_scratch(size_t groups)
{
	return (groups * (KERN_GROUP * (sizeof(float) + 1) + sizeof(uint16_t)) + 63) / 64 * 64;
}

static void
make_panel(const output *o, int64_t panel, char *to, char *scratch)
{
	size_t		groups = kern_groups((size_t) o->cols);
	float	   *row = (float *) (void *) scratch;
	uint16_t   *scale = (uint16_t *) (void *) (row + groups * KERN_GROUP);
	int8_t	   *q = (int8_t *) (scale + groups);
	int64_t		first = panel * KERN_PANEL;

	memset(to, 0, o->row);
	for (int64_t i = 0; i < KERN_PANEL && first + i < o->source_rows; i++)
	{
		kern->widen(o->source + (size_t) (first + i) * o->source_row, o->from, row, (size_t) o->cols);
		kern->quantise(row, (int) o->cols, o->to, q, scale);
		kern_put_row(q, scale, o->to, (size_t) o->cols, (size_t) i, to);
	}
}

static void
convert(const piece *x, char *to, char *scratch)
{
	const output *o = x->out;
	const char *from = o->source + (size_t) x->first * o->source_row;

	if (o->from == o->to)
		memcpy(to, from, (size_t) x->rows * o->row);
	else if (kern_is_quantised(o->to))
		for (int64_t i = 0; i < x->rows; i++)
			make_panel(o, x->first + i, to + (size_t) i * o->row, scratch);
	else
		kern->widen(from, o->from, (float *) (void *) to, (size_t) (x->rows * o->cols));
}

/* The last batch's bytes, in order, into the checksums of their tensors */
static void
add_checksums(packer *p)
{
	for (int i = 0; i < p->last->npieces; i++)
	{
		const piece *x = &p->last->pieces[i];
		XXH128_canonical_t digest;

		if (x->first == 0)
			XXH3_128bits_reset(p->hash);
		XXH3_128bits_update(p->hash, p->last->data + x->at, (size_t) x->rows * x->out->row);
		if (x->first + x->rows < x->out->rows)
			continue;
		XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(p->hash));
		dsv_checksum_digits(digest.digest, p->header.s + p->checksums +
							(size_t) x->out->ordinal * DSV_CHECKSUM_DIGITS);
	}
}

/* Parts end where the file's multiples of WRITE_BYTES are: so the kernel caches it in huge pages. */
static size_t
skew(const packer *p)
{
	return (p->header.len + p->last->at) % WRITE_BYTES;
}

static void
write_part(packer *p, size_t part)
{
	size_t		at = part > 0 ? part * WRITE_BYTES - skew(p) : 0;
	size_t		end = (part + 1) * WRITE_BYTES - skew(p);
	int			error;

	if (end > p->last->used)
		end = p->last->used;
	error = write_all(p->fd, p->last->data + at, end - at, p->header.len + p->last->at + at);
	if (error != 0)
		atomic_store(&p->write_errno, error);
}

static size_t
write_parts(const packer *p)
{
	return p->last->used > 0 ? (skew(p) + p->last->used + WRITE_BYTES - 1) / WRITE_BYTES : 0;
}

/* Task 0: checksums; then parts to be written; then pieces to be made */
static void
run_task(void *ud, int task, int worker)
{
	packer	   *p = ud;
	size_t		parts = write_parts(p);

	if (task == 0)
		add_checksums(p);
	else if ((size_t) task <= parts)
		write_part(p, (size_t) task - 1);
	else
	{
		const piece *x = &p->next->pieces[(size_t) task - 1 - parts];

		convert(x, p->next->data + x->at, p->rows + (size_t) worker * row_scratch(p->longest));
	}
}

/* The next rows of the file, as many as a batch holds */
static void
fill_batch(packer *p)
{
	batch	   *b = p->next;

	b->at += b->used;
	b->used = 0;
	b->npieces = 0;
	while (p->output < p->noutputs && b->npieces < MAX_PIECES)
	{
		const output *o = &p->outputs[p->output];
		int64_t		rows = (int64_t) ((BATCH_BYTES - b->used) / o->row);
		int64_t		most = PIECE_BYTES > o->row ? (int64_t) (PIECE_BYTES / o->row) : 1;

		if (rows > most)
			rows = most;
		if (rows > o->rows - p->row)
			rows = o->rows - p->row;
		if (rows == 0)
			break;
		b->pieces[b->npieces++] = (piece) {o, p->row, rows, b->used};
		b->used += (size_t) rows * o->row;
		p->row += rows;
		if (p->row == o->rows)
		{
			p->row = 0;
			p->output++;
		}
	}
}

/* Has the kernel write what it was given, so that the fsync at the end finds little to do. */
static void
start_writeback(const packer *p)
{
#ifdef __linux__
	(void) sync_file_range(p->fd, (off_t) (p->header.len + p->last->at), (off_t) p->last->used,
						   SYNC_FILE_RANGE_WRITE);
#endif
}

static dsv_code
write_data(packer *p)
{
	uint64_t	at = 0;

	p->next = &p->batches[0];
	p->last = &p->batches[1];
	do
	{
		batch	   *swap = p->next;

		if (canceled(p, p->last->at + p->last->used))
			return dsv_fail_canceled(p->err);
		p->next->at = at;
		p->next->used = 0;
		fill_batch(p);
		at += p->next->used;
		dsv_pool_run(p->threads, 1 + (int) write_parts(p) + p->next->npieces, run_task, p);
		if (atomic_load(&p->write_errno) != 0)
			return fail_write(p, atomic_load(&p->write_errno));
		start_writeback(p);
		forget_source(p);
		p->next = p->last;
		p->last = swap;
	} while (p->last->npieces > 0);
	return canceled(p, p->total) ? dsv_fail_canceled(p->err) : DSV_OK;
}

static dsv_code
write_header(packer *p)
{
	int			error;

	dsv_packed_header_checksum(p->header.s + 8, p->header.len - 8,
							   p->header.s + 8 + strlen(DSV_PACKED_PREFIX));
	error = write_all(p->fd, p->header.s, p->header.len, 0);
	return error == 0 ? DSV_OK : fail_write(p, error);
}

static dsv_code
take_buffers(packer *p)
{
	size_t		rows = (size_t) p->threads * row_scratch(p->longest);

	p->batches = dsv_alloc_zero(p->mem, 2, sizeof(batch));
	p->rows = dsv_alloc(p->mem, rows, 1);
	p->hash = XXH3_createState();
	if (p->batches == NULL || p->rows == NULL || p->hash == NULL)
		return dsv_fail_nomem(p->err, rows);
	for (int i = 0; i < 2; i++)
		if ((p->batches[i].data = dsv_alloc(p->mem, BATCH_BYTES, 1)) == NULL)
			return dsv_fail_nomem(p->err, BATCH_BYTES);
	return DSV_OK;
}

/* ---- the whole ---- */

static dsv_code
pack(packer *p, const char *dir, const char *path)
{
	int64_t		tokenizer_shape[1];
	dsv_code	code = check_target(p, path);

	if (code == DSV_OK)
		code = dsv_model_open(dir, p->mem, &p->model, p->err);
	if (code != DSV_OK)
		return code;
	if (p->model->info.packed)
		return dsv_fail(p->err, DSV_INPUT, "\"%s\" is a packed model", dir);
	if ((code = plan(p, tokenizer_shape)) != DSV_OK ||
		(code = make_header(p)) != DSV_OK ||
		(code = take_buffers(p)) != DSV_OK ||
		(code = open_temporary(p, path)) != DSV_OK ||
		(code = check_target(p, path)) != DSV_OK ||
		(code = take_space(p)) != DSV_OK ||
		(code = write_data(p)) != DSV_OK ||
		(code = write_header(p)) != DSV_OK)
		return code;
	return publish(p, path);
}

dsv_code
dsv_model_pack(const char *dir, const char *path, const dsv_pack_options *options, dsv_error *err)
{
	dsv_error	local;
	packer		p = {.options = options, .mem = options->mem, .fd = -1, .err = err != NULL ? err : &local};
	dsv_code	code;

	p.threads = options->threads > 0 ? dsv_min(options->threads, DSV_POOL_MAX) :
		dsv_min(dsv_pool_processors(), DEFAULT_THREADS);
	code = pack(&p, dir, path);
	if (p.fd >= 0)
	{
		/* before the lock goes: afterwards the name may be another's */
		if (p.temporary[0] != '\0')
			unlink(p.temporary);
		close(p.fd);
	}
	for (int i = 0; p.batches != NULL && i < 2; i++)
		dsv_free(p.mem, p.batches[i].data);
	dsv_free(p.mem, p.batches);
	dsv_free(p.mem, p.rows);
	XXH3_freeState(p.hash);
	dsv_free(p.mem, p.outputs);
	dsv_free(p.mem, p.header.s);
	dsv_free(p.mem, p.tokenizer.s);
	dsv_model_close(p.model);
	return code;
}
