/*
 * grammar_plain.c
 *		Grammars that need no schema: choices, and boxes on a picture.
 */
#include <string.h>

#include "grammar_private.h"
#include "utf8.h"

/* ---- choices ---- */

static dsv_code
check_choices(const dsv_bytes *texts, int n, dsv_error *err)
{
	size_t		total = 0;

	if (n < 1)
		return dsv_fail(err, DSV_INPUT, "no choices were given");
	for (int i = 0; i < n; i++)
	{
		if (texts[i].len == 0)
			return dsv_fail(err, DSV_INPUT, "choice %d is empty", i + 1);
		if (texts[i].len > DSV_GRAMMAR_MAX_TEXT || total + texts[i].len > DSV_GRAMMAR_MAX_TEXT)
			return dsv_fail(err, DSV_LIMIT, "choices are longer than %d bytes",
							DSV_GRAMMAR_MAX_TEXT);
		total += texts[i].len;
	}
	return DSV_OK;
}

dsv_code
dsv_grammar_from_choices(const dsv_bytes *texts, int n, const dsv_mem *mem, dsv_grammar **out,
						 dsv_error *err)
{
	dsv_code	code = check_choices(texts, n, err);
	dsv_builder b;
	dsv_bytes  *sorted;
	uint32_t	start;

	*out = NULL;
	if (code != DSV_OK)
		return code;
	sorted = dsv_alloc(mem, (size_t) n, sizeof(*sorted));
	if (sorted == NULL)
		return dsv_fail_nomem(err, (size_t) n * sizeof(*sorted));
	memcpy(sorted, texts, (size_t) n * sizeof(*sorted));
	dsv_builder_init(&b, mem, err);
	start = dsv_node_texts(&b, sorted, (size_t) n, b.end);
	dsv_free(mem, sorted);
	dsv_builder_analyse(&b);
	code = dsv_builder_finish(&b, start, out);
	dsv_builder_free(&b);
	return code;
}

/* ---- boxes ---- */

static dsv_code
check_label(const dsv_bytes *label, dsv_error *err)
{
	const char *s = label->data;
	size_t		at = 0;

	if (label->len == 0)
		return dsv_fail(err, DSV_INPUT, "label is empty");
	if (label->len > DSV_GRAMMAR_MAX_TEXT)
		return dsv_fail(err, DSV_LIMIT, "label is longer than %d bytes", DSV_GRAMMAR_MAX_TEXT);
	while (at < label->len)
	{
		int			size;

		if (dsv_utf8_next(s + at, label->len - at, &size) != DSV_UTF8_CHAR || s[at] == '\0')
			return dsv_fail(err, DSV_INPUT, "label is not valid UTF-8");
		if (s[at] == '<' && at + 1 < label->len && s[at + 1] == '|')
			return dsv_fail(err, DSV_INPUT, "label contains \"<|\", which begins a marker");
		at += (size_t) size;
	}
	return DSV_OK;
}

/* One character or more, none of which can begin a marker. */
static uint32_t
make_free_label(dsv_builder *b, uint32_t next)
{
	uint32_t	first = dsv_node_reserve(b);
	uint32_t	more = dsv_node_reserve(b);
	const dsv_char_range any[] = {{' ', '<' - 1, more}, {'<' + 1, '~', more},
	{0x80, DSV_CODE_POINT_MAX, more}};

	dsv_node_define_chars(b, more, any, 3, next);
	dsv_node_define_chars(b, first, any, 3, DSV_NODE_NONE);
	return first;
}

static uint32_t
make_box(dsv_builder *b, uint32_t next)
{
	const dsv_number_bounds bounds = {.hi = dsv_wide_from_int(999)};

	next = dsv_node_literal(b, "]", 1, next);
	for (int i = 0; i < 4; i++)
		next = dsv_node_number(b, &bounds, i == 0 ? next : dsv_node_literal(b, ", ", 2, next));
	return dsv_node_literal(b, "[", 1, next);
}

static uint32_t
make_boxes(dsv_builder *b, int max_boxes, uint32_t next)
{
	uint32_t	loop = dsv_node_loop(b, 0, max_boxes > 0 ? (uint32_t) max_boxes - 1 :
									 DSV_COUNT_UNLIMITED);
	uint32_t	box = make_box(b, loop);

	dsv_node_loop_body(b, loop, dsv_node_literal(b, ", ", 2, box));
	return dsv_node_call(b, box, next, false);
}

dsv_code
dsv_grammar_for_boxes(const dsv_bytes *label, int max_boxes, const dsv_mem *mem,
					  dsv_grammar **out, dsv_error *err)
{
	static const char before[] = "<|ref|>";
	static const char between[] = "<|/ref|><|det|>[";
	static const char behind[] = "]<|/det|>";
	dsv_code	code = label != NULL ? check_label(label, err) : DSV_OK;
	dsv_builder b;
	uint32_t	node;

	*out = NULL;
	if (code != DSV_OK)
		return code;
	dsv_builder_init(&b, mem, err);
	b.bare = true;
	node = dsv_node_literal(&b, behind, sizeof(behind) - 1, b.end);
	node = make_boxes(&b, max_boxes, node);
	node = dsv_node_literal(&b, between, sizeof(between) - 1, node);
	if (label != NULL)
		node = dsv_node_literal(&b, label->data, label->len, node);
	else
		node = make_free_label(&b, node);
	node = dsv_node_literal(&b, before, sizeof(before) - 1, node);
	dsv_builder_analyse(&b);
	code = dsv_builder_finish(&b, node, out);
	dsv_builder_free(&b);
	return code;
}
