#include "pdf_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

_Static_assert(sizeof(DSV_QPDF_LIBRARY) > 1, "the build did not find libqpdf.so");

static const struct
{
	const char *name;
	size_t		member;			/* offset of its pointer */
}			functions[] = {
#define FUNCTION(name) {"qpdf_" #name, offsetof(dsv_qpdf, name)},
	DSV_QPDF_FUNCTIONS(FUNCTION)
};

static bool
find_functions(void *handle, dsv_qpdf *out)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
	{
		void	   *function = dlsym(handle, functions[i].name);

		if (function == NULL)
			return false;
		*(void **) ((char *) out + functions[i].member) = function;
	}
	return true;
}

const dsv_qpdf *
dsv_qpdf_open(dsv_error *err)
{
	static dsv_qpdf library;
	static bool is_open;
	void	   *handle = is_open ? NULL : dlopen(DSV_QPDF_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (is_open || (handle != NULL && find_functions(handle, &library)))
	{
		is_open = true;
		return &library;
	}
	dsv_fail(err, DSV_UNSUPPORTED, "PDF documents cannot be read on this machine");
	dsv_detail(err, "%s", dlerror());
	dsv_hint(err, "Install the library qpdf, in the version that dsvl2 was built with.");
	return NULL;
}
