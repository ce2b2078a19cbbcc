/*
 * fuzz.h
 *		What the fuzz targets have in common: an allocator that refuses to hand out more
 *		than a test machine has, and inputs as files, for readers that take a path.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dsv.h"

#define FUZZ_MAX_ALLOC ((size_t) 256 << 20)

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void *
fuzz_alloc(void *ud, size_t size)
{
	(void) ud;
	return size > FUZZ_MAX_ALLOC ? NULL : malloc(size ? size : 1);
}

static inline void
fuzz_free(void *ud, void *ptr)
{
	(void) ud;
	free(ptr);
}

static const dsv_mem fuzz_mem = {fuzz_alloc, fuzz_free, NULL};

/* An error must say something, and something that ends. */
static inline void
fuzz_check(dsv_code code, const dsv_error *err)
{
	if (code != DSV_OK && (err->code != code || err->msg[0] == '\0'))
		abort();
}

static inline void
fuzz_write(int fd, const uint8_t *data, size_t size)
{
	size_t		done = 0;

	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	while (done < size)
	{
		ssize_t		n = write(fd, data + done, size - done);

		if (n <= 0)
			abort();
		done += (size_t) n;
	}
}

/* A file in memory that holds the input; the path is good until the next call. */
static inline const char *
fuzz_file(const uint8_t *data, size_t size)
{
	static int	fd = -1;
	static char path[64];

	if (fd < 0)
	{
		fd = memfd_create("fuzz", 0);
		if (fd < 0)
			abort();
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	fuzz_write(fd, data, size);
	return path;
}

#endif
