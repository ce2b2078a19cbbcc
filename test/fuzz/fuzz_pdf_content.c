/*
 * fuzz_pdf_content.c
 *		Any bytes as the content of a PDF page.
 */
#include "fuzz.h"
#include "pdf_page.h"

#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const double box[4] = {0, 0, 612, 792};
	dsv_pdf_place place;
	const char *other = dsv_pdf_read_content(data, size, box, &place);
	int			orientation;

	if (other != NULL)
		return 0;
	/* one image, and it has a name that ends */
	if (place.name[0] != '/' || memchr(place.name, 0, sizeof(place.name)) == NULL)
		abort();
	orientation = dsv_pdf_orientation(place.matrix, data[0] % 8 * 90);
	if (orientation < 0 || orientation > 8)
		abort();
	return 0;
}
