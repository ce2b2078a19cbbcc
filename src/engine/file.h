/*
 * file.h
 *		Names of files in a folder, and small files as a whole.
 */
#ifndef DSV_FILE_H
#define DSV_FILE_H

#include "mem.h"

#define DSV_PATH_MAX 4096

/* "dir/name" into out.  Errors: LIMIT. */
dsv_code	dsv_path_join(char out[DSV_PATH_MAX], const char *dir, const char *name, dsv_error *err);

/*
 * Reads a regular file of at most max_bytes into *out (zeroed; to be freed by the caller,
 * after errors too).  It may shrink or grow meanwhile: what was read counts, never more
 * than the size seen at the beginning.  Errors: IO, LIMIT, NOMEM.
 */
dsv_code	dsv_file_read(const char *path, size_t max_bytes, const dsv_mem *mem, dsv_text *out,
						  dsv_error *err);

#endif
