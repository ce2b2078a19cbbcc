#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

dsv_code
dsv_path_join(char out[DSV_PATH_MAX], const char *dir, const char *name, dsv_error *err)
{
	int			n = snprintf(out, DSV_PATH_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= DSV_PATH_MAX)
		return dsv_fail(err, DSV_LIMIT, "path of \"%s\" is too long", name);
	return DSV_OK;
}

static dsv_code
read_descriptor(int fd, const char *path, size_t max_bytes, const dsv_mem *mem, dsv_text *out,
				dsv_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return dsv_fail_errno(err, errno, "could not stat file \"%s\"", path);
	if (!S_ISREG(st.st_mode))
		return dsv_fail(err, DSV_IO, "\"%s\" is not a regular file", path);
	if ((uintmax_t) st.st_size > max_bytes)
	{
		dsv_fail(err, DSV_LIMIT, "file \"%s\" is too large", path);
		dsv_detail(err, "It has %jd bytes, the limit is %zu.", (intmax_t) st.st_size, max_bytes);
		return DSV_LIMIT;
	}
	out->cap = (size_t) st.st_size + 1;
	out->s = dsv_alloc(mem, out->cap, 1);
	if (out->s == NULL)
		return dsv_fail_nomem(err, out->cap);
	while (out->len < out->cap - 1)
	{
		ssize_t		n = read(fd, out->s + out->len, out->cap - 1 - out->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return dsv_fail_errno(err, errno, "could not read file \"%s\"", path);
		if (n == 0)
			break;
		out->len += (size_t) n;
	}
	out->s[out->len] = '\0';
	return DSV_OK;
}

dsv_code
dsv_file_read(const char *path, size_t max_bytes, const dsv_mem *mem, dsv_text *out, dsv_error *err)
{
	/* not blocking: a FIFO of that name is refused, not waited for */
	int			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	dsv_code	code;

	if (fd < 0)
		return dsv_fail_errno(err, errno, "could not open file \"%s\"", path);
	code = read_descriptor(fd, path, max_bytes, mem, out, err);
	close(fd);
	return code;
}
