/*
 * pdf_library.h
 *		libqpdf, opened with the first document that a process reads.
 *
 * It brings a dozen libraries along (gnutls and what that needs).  Loading and relocating them
 * takes longer than all else of loading dsvl2, which most backends do without ever reading a
 * document.  Types are those of its header; the build links a program with all of the names.
 */
#ifndef DSV_PDF_LIBRARY_H
#define DSV_PDF_LIBRARY_H

#include <qpdf/qpdf-c.h>

#include "error.h"

#define DSV_QPDF_FUNCTIONS(X) \
	X(init) X(cleanup) X(silence_errors) X(set_suppress_warnings) X(read_memory) X(is_encrypted) \
	X(has_error) X(get_error) X(get_error_code) X(get_error_message_detail) X(get_root) \
	X(oh_is_null) X(oh_is_bool) X(oh_is_number) X(oh_is_string) X(oh_is_name) X(oh_is_array) \
	X(oh_is_dictionary) X(oh_is_stream) X(oh_is_name_and_equals) X(oh_get_name) \
	X(oh_get_bool_value) X(oh_get_value_as_int) X(oh_get_numeric_value) \
	X(oh_get_binary_string_value) X(oh_get_array_n_items) X(oh_get_array_item) X(oh_get_key) \
	X(oh_get_dict) X(oh_get_stream_data) X(oh_get_page_content_data)

/* Each under its name without "qpdf_" */
typedef struct dsv_qpdf
{
#define DSV_QPDF_MEMBER(name) __typeof__(qpdf_##name) *name;
	DSV_QPDF_FUNCTIONS(DSV_QPDF_MEMBER)
#undef DSV_QPDF_MEMBER
} dsv_qpdf;

/* Opens the library at the first call, for good.  NULL (UNSUPPORTED): it cannot be used. */
const dsv_qpdf *dsv_qpdf_open(dsv_error *err);

#endif
