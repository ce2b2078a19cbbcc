/*
 * runtime.c
 *		What belongs to the process and not to a model: processor level, worker threads,
 *		versions of the libraries.
 */
#include "../kernels/kernels.h"
#include "pool.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ft2build.h>
#include FT_FREETYPE_H
#include <jansson.h>
#include <pcre2.h>
#include <png.h>
#include <xxhash.h>
#include <qpdf/DLL.h>
#include <stdio.h>
#include <jpeglib.h>
#include <tiffio.h>

/* A cpu level is a kernel level, moved up by one for DSV_CPU_AUTO. */
static dsv_cpu_level
from_kern(kern_level level)
{
	return (dsv_cpu_level) (level + 1);
}

dsv_cpu_level
dsv_cpu_detect(void)
{
	return from_kern(kern_detect());
}

dsv_cpu_level
dsv_cpu_current(void)
{
	kern_level	level = KERN_GENERIC;

	while (level < KERN_LEVELS - 1 && kern_get(level) != kern)
		level++;
	return from_kern(level);
}

void
dsv_cpu_set(dsv_cpu_level level)
{
	if (level <= DSV_CPU_AUTO || level > DSV_CPU_AMX)
		kern_select(kern_detect());
	else
		kern_select((kern_level) (level - 1));
}

const char *
dsv_cpu_level_name(dsv_cpu_level level)
{
	if (level == DSV_CPU_AUTO)
		return "auto";
	if (level < DSV_CPU_AUTO || level > DSV_CPU_AMX)
		return "unknown";
	return kern_level_name((kern_level) (level - 1));
}

void
dsv_shutdown(void)
{
	dsv_pool_stop();
}

#define TEXT(x) #x
#define VALUE(x) TEXT(x)

const char *
dsv_library(int i, const char **version)
{
	static const struct
	{
		const char *name;
		const char *version;
	}			libraries[] = {
#ifdef LIBJPEG_TURBO_VERSION
		{"libjpeg-turbo", VALUE(LIBJPEG_TURBO_VERSION)},
#else
		{"libjpeg", VALUE(JPEG_LIB_VERSION)},
#endif
		{"libpng", PNG_LIBPNG_VER_STRING},
		{"libtiff", VALUE(TIFFLIB_MAJOR_VERSION) "." VALUE(TIFFLIB_MINOR_VERSION) "."
		VALUE(TIFFLIB_MICRO_VERSION)},
		{"libwebp", VALUE(DSV_WEBP_VERSION)},
		{"qpdf", QPDF_VERSION},
		{"freetype", VALUE(FREETYPE_MAJOR) "." VALUE(FREETYPE_MINOR) "." VALUE(FREETYPE_PATCH)},
		{"pcre2", VALUE(PCRE2_MAJOR) "." VALUE(PCRE2_MINOR)},
		{"jansson", JANSSON_VERSION},
		{"xxhash", VALUE(XXH_VERSION_MAJOR) "." VALUE(XXH_VERSION_MINOR) "." VALUE(XXH_VERSION_RELEASE)},
	};

	if (i < 0 || (size_t) i >= sizeof(libraries) / sizeof(libraries[0]))
		return NULL;
	if (version != NULL)
		*version = libraries[i].version;
	return libraries[i].name;
}
