/*
 * path.h
 *		Names of files in a folder.
 */
#ifndef DSV_PATH_H
#define DSV_PATH_H

#include <stdio.h>

#include "error.h"

#define DSV_PATH_MAX 4096

/* "dir/name" into out.  Errors: LIMIT. */
static inline dsv_code
dsv_path_join(char out[DSV_PATH_MAX], const char *dir, const char *name, dsv_error *err)
{
	int			n = snprintf(out, DSV_PATH_MAX, "%s/%s", dir, name);

	if (n < 0 || n >= DSV_PATH_MAX)
		return dsv_fail(err, DSV_LIMIT, "path of \"%s\" is too long", name);
	return DSV_OK;
}

#endif
