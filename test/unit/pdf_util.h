/*
 * pdf_util.h
 *		PDF documents for the tests, written object by object.
 */
#ifndef PDF_UTIL_H
#define PDF_UTIL_H

#include <zlib.h>

#include "image_util.h"

#define PDF_MAX_OBJECTS 50000

typedef struct pdf_file
{
	dsv_text	text;
	size_t		at[PDF_MAX_OBJECTS];	/* of each object; 0 = none */
	int			last;
} pdf_file;

static inline void
pdf_put(pdf_file *f, const void *data, size_t n)
{
	assert_true(dsv_text_add(NULL, &f->text, data, n));
}

static inline void __attribute__((format(printf, 2, 3)))
pdf_print(pdf_file *f, const char *fmt,...)
{
	char		line[2000];
	va_list		args;
	int			n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	assert_true(n < (int) sizeof(line));
	pdf_put(f, line, (size_t) n);
}

static inline pdf_file *
pdf_start(void)
{
	pdf_file   *f = calloc(1, sizeof(*f));

	pdf_print(f, "%%PDF-1.5\n");
	return f;
}

static inline void
pdf_begin(pdf_file *f, int id)
{
	f->at[id] = f->text.len;
	f->last = id > f->last ? id : f->last;
	pdf_print(f, "%d 0 obj\n", id);
}

static inline void
pdf_object(pdf_file *f, int id, const char *body)
{
	pdf_begin(f, id);
	pdf_put(f, body, strlen(body));
	pdf_print(f, "\nendobj\n");
}

/* dict: without its brackets and /Length */
static inline void
pdf_stream(pdf_file *f, int id, const char *dict, const void *data, size_t n)
{
	pdf_begin(f, id);
	pdf_print(f, "<< %s /Length %zu >>\nstream\n", dict, n);
	pdf_put(f, data, n);
	pdf_print(f, "\nendstream\nendobj\n");
}

/* Table of objects and trailer; f is gone afterwards. */
static inline file_bytes
pdf_end(pdf_file *f, const char *trailer)
{
	size_t		xref = f->text.len;
	file_bytes	out;

	pdf_print(f, "xref\n0 %d\n0000000000 65535 f \n", f->last + 1);
	for (int i = 1; i <= f->last; i++)
		pdf_print(f, "%010zu %05d %c \n", f->at[i], f->at[i] > 0 ? 0 : 65535, f->at[i] > 0 ? 'n' : 'f');
	pdf_print(f, "trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%zu\n%%%%EOF\n", f->last + 1, trailer, xref);
	out = (file_bytes) {(uint8_t *) f->text.s, f->text.len};
	free(f);
	return out;
}

/* One page of a document; zero = a page of 400 x 300 that its image fills */
typedef struct pdf_plan
{
	const char *image;			/* the image's dictionary */
	const void *data;
	size_t		len;
	const char *content;
	const char *page;			/* more keys of the page */
	const char *box;			/* of the page */
} pdf_plan;

/* Objects 1 and 2 are catalog and pages; page i has 3 + 3 i, its content and its image follow. */
static inline pdf_file *
pdf_pages(const pdf_plan *plans, int n)
{
	pdf_file   *f = pdf_start();

	pdf_object(f, 1, "<< /Type /Catalog /Pages 2 0 R >>");
	pdf_begin(f, 2);
	pdf_print(f, "<< /Type /Pages /Count %d /Kids [", n);
	for (int i = 0; i < n; i++)
		pdf_print(f, " %d 0 R", 3 + 3 * i);
	pdf_print(f, " ] >>\nendobj\n");
	for (int i = 0; i < n; i++)
	{
		const pdf_plan *p = &plans[i];
		const char *content = p->content != NULL ? p->content : "q 400 0 0 300 0 0 cm /Im0 Do Q";
		int			id = 3 + 3 * i;
		char		dict[1000];

		pdf_begin(f, id);
		pdf_print(f, "<< /Type /Page /Parent 2 0 R /MediaBox [%s] /Contents %d 0 R /Resources << /XObject "
				  "<< /Im0 %d 0 R >> >> %s >>\nendobj\n", p->box != NULL ? p->box : "0 0 400 300", id + 1, id + 2,
				  p->page != NULL ? p->page : "");
		pdf_stream(f, id + 1, "", content, strlen(content));
		snprintf(dict, sizeof(dict), "/Type /XObject /Subtype /Image %s", p->image);
		pdf_stream(f, id + 2, dict, p->data, p->len);
	}
	return f;
}

static inline file_bytes
make_pdf(const pdf_plan *plans, int n)
{
	return pdf_end(pdf_pages(plans, n), "");
}

static inline file_bytes
deflated(const void *data, size_t n)
{
	uLongf		len = compressBound(n);
	file_bytes	out = {malloc(len), 0};

	assert_int_equal(compress2(out.data, &len, data, n, 9), Z_OK);
	out.len = len;
	return out;
}

#endif
