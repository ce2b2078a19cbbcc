/*
 * grounding.c
 *		Boxes out of grounded text:
 *
 *			<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], ...]<|/det|>
 *
 * Two readers over the same scanner of number lists.  The tolerant one goes from tag to
 * tag: a <|det|> belongs to the nearest <|ref|> before it that has none yet, every list of
 * four (a box) or two (a point) numbers counts, wherever it stands, and whatever else is
 * there is skipped and reported.  The reference one gives what parse_ref_bbox draws, which
 * is all or nothing: it collects the parts by two regular expressions in which a line break
 * matches nothing, pairs the n-th with the n-th, and evaluates each list.
 *
 * The model's numbers are 0..999 of the picture that it saw.  They are turned back to the
 * stored picture first, and pixels are computed there.
 *
 * Both work on any bytes and in linear time: a scan that fails is taken up where it failed.
 */
#include <limits.h>
#include <string.h>

#include "mem.h"

#define SCALE 999.0

/* Larger numbers are no coordinates; the tolerant reader skips their list. */
#define COORDINATE_MAX 1e9

typedef enum tag
{
	TAG_NONE,
	TAG_REF,
	TAG_REF_END,
	TAG_DET,
	TAG_DET_END,
} tag;

static const struct
{
	const char *text;
	size_t		len;
}			tags[] = {
	[TAG_NONE] = {"", 0},
	[TAG_REF] = {"<|ref|>", 7},
	[TAG_REF_END] = {"<|/ref|>", 8},
	[TAG_DET] = {"<|det|>", 7},
	[TAG_DET_END] = {"<|/det|>", 8},
};

/* A part between two tags: from .. to with the tags, inner_from .. inner_to without */
typedef struct part
{
	size_t		from;
	size_t		inner_from;
	size_t		inner_to;
	size_t		to;
} part;

typedef struct part_list
{
	part	   *parts;
	size_t		n;
	size_t		cap;
} part_list;

typedef struct reader
{
	const char *text;
	size_t		len;
	int			width;			/* of the stored picture */
	int			height;
	int			orientation;
	const dsv_mem *mem;
	dsv_ground *out;
	size_t		cap;			/* of out->boxes */
	part_list	refs;			/* tolerant: those without boxes yet */
	part_list	dets;			/* reference only */
} reader;

/* ---- text ---- */

static tag
tag_at(const reader *r, size_t at)
{
	for (tag t = TAG_REF; t <= TAG_DET_END; t++)
		if (r->len - at >= tags[t].len && memcmp(r->text + at, tags[t].text, tags[t].len) == 0)
			return t;
	return TAG_NONE;
}

/* Moves *at to the next tag, or to the end. */
static tag
next_tag(const reader *r, size_t *at)
{
	while (*at < r->len)
	{
		const char *p = memchr(r->text + *at, '<', r->len - *at);
		tag			t;

		if (p == NULL)
			break;
		*at = (size_t) (p - r->text);
		t = tag_at(r, *at);
		if (t != TAG_NONE)
			return t;
		(*at)++;
	}
	*at = r->len;
	return TAG_NONE;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t
skip_blanks(const reader *r, size_t at, size_t stop)
{
	while (at < stop && is_blank(r->text[at]))
		at++;
	return at;
}

/* ---- numbers ---- */

static double
scaled(uint64_t digits, int exponent)
{
	double		power = 1;

	for (int i = exponent < 0 ? -exponent : exponent; i > 0; i--)
		power *= 10;
	return exponent < 0 ? digits / power : digits * power;
}

/*
 * [-]digits[.digits], the locale left aside.  The value is the nearest double up to 15
 * digits, and close beyond.  strict: as Python, an integer has no leading zero.
 */
static bool
scan_number(const reader *r, size_t *at, size_t stop, bool strict, double *value)
{
	const char *s = r->text;
	size_t		i = *at;
	bool		negative = i < stop && s[i] == '-';
	size_t		first = i += negative;
	size_t		ndigits = 0;
	uint64_t	digits = 0;
	int			exponent = 0;
	bool		point = false;

	for (; i < stop && (is_digit(s[i]) || (s[i] == '.' && !point)); i++)
	{
		if (s[i] == '.')
		{
			point = true;
			continue;
		}
		ndigits++;
		if (digits < UINT64_C(100000000000000000))
		{
			digits = digits * 10 + (uint64_t) (s[i] - '0');
			exponent -= point;
		}
		else if (!point && exponent < 400)	/* beyond 10^400 it stays infinite */
			exponent++;
	}
	*at = i;
	if (ndigits == 0 || (strict && !point && ndigits > 1 && s[first] == '0' && digits > 0))
		return false;
	*value = scaled(digits, exponent);
	if (negative)
		*value = -*value;
	return true;
}

/*
 * A list of numbers from the '[' at *at to its ']'.  The first four go to value; *count is
 * the number of all.  False: no such list, and *at is where the scan failed (behind '[').
 */
static bool
scan_list(const reader *r, size_t *at, size_t stop, bool strict, double value[4], size_t *count)
{
	size_t		i = *at + 1;
	double		v;
	bool		closed = false;

	*count = 0;
	for (;;)
	{
		i = skip_blanks(r, i, stop);
		if (i < stop && r->text[i] == ']' && *count > 0)	/* [1, 2,] */
		{
			closed = true;
			break;
		}
		if (!scan_number(r, &i, stop, strict, &v))
			break;
		if (*count < 4)
			value[*count] = v;
		++*count;
		i = skip_blanks(r, i, stop);
		if (i < stop && r->text[i] == ']')
		{
			closed = true;
			break;
		}
		if (i >= stop || r->text[i] != ',')
			break;
		i++;
	}
	*at = i + closed;
	return closed;
}

/* ---- boxes ---- */

/* One corner from the frame that the model saw to the stored one (EXIF orientations). */
static void
turn_back(int orientation, double *x, double *y)
{
	double		u = *x;
	double		v = *y;

	switch (orientation)
	{
		case 2:					/* mirrored left to right */
			*x = SCALE - u;
			break;
		case 3:					/* turned by 180 degrees */
			*x = SCALE - u;
			*y = SCALE - v;
			break;
		case 4:					/* mirrored top to bottom */
			*y = SCALE - v;
			break;
		case 5:					/* transposed */
			*x = v;
			*y = u;
			break;
		case 6:					/* shown turned clockwise: stored x runs down */
			*x = v;
			*y = SCALE - u;
			break;
		case 7:					/* transposed along the other diagonal */
			*x = SCALE - v;
			*y = SCALE - u;
			break;
		case 8:					/* shown turned counter-clockwise */
			*x = SCALE - v;
			*y = u;
			break;
		default:
			break;
	}
}

static void
swap_ascending(double *a, double *b)
{
	if (*a > *b)
	{
		double		t = *a;

		*a = *b;
		*b = t;
	}
}

/* int(v / 999 * side) in Python's order of evaluation, kept inside lowest .. highest */
static int
pixel(double v, int side, double lowest, double highest)
{
	double		p = v / SCALE * side;

	return (int) (p < lowest ? lowest : p > highest ? highest : p);
}

/* Appends a box of `count` (2 or 4) numbers of the picture as the model saw it. */
static dsv_code
add_box(reader *r, const double *value, size_t count, bool clamp, const part *ref, size_t ref_at,
		size_t ref_end, dsv_error *err)
{
	void	   *boxes = r->out->boxes;
	dsv_box    *b;

	if (!dsv_reserve(r->mem, &boxes, &r->cap, (size_t) r->out->nboxes + 1, sizeof(dsv_box)))
		return dsv_fail_nomem(err, ((size_t) r->out->nboxes + 1) * sizeof(dsv_box));
	r->out->boxes = boxes;
	b = &r->out->boxes[r->out->nboxes++];
	memset(b, 0, sizeof(*b));
	b->label_at = (int) (ref != NULL ? ref->inner_from : ref_at);
	b->label_len = ref != NULL ? (int) (ref->inner_to - ref->inner_from) : 0;
	b->ref_at = (int) ref_at;
	b->ref_end = (int) ref_end;
	b->point = count == 2;
	for (int i = 0; i < 4; i += 2)
	{
		b->norm[i] = value[i % count];
		b->norm[i + 1] = value[i % count + 1];
		turn_back(r->orientation, &b->norm[i], &b->norm[i + 1]);
	}
	swap_ascending(&b->norm[0], &b->norm[2]);
	swap_ascending(&b->norm[1], &b->norm[3]);
	for (int i = 0; i < 4; i++)
	{
		int			side = i % 2 == 0 ? r->width : r->height;

		b->px[i] = pixel(b->norm[i], side, clamp ? 0 : INT_MIN, clamp ? side : INT_MAX);
	}
	return DSV_OK;
}

static dsv_code
add_part(reader *r, part_list *list, part p, dsv_error *err)
{
	void	   *parts = list->parts;

	if (!dsv_reserve(r->mem, &parts, &list->cap, list->n + 1, sizeof(part)))
		return dsv_fail_nomem(err, (list->n + 1) * sizeof(part));
	list->parts = parts;
	list->parts[list->n++] = p;
	return DSV_OK;
}

/* ---- the tolerant reader ---- */

static bool
is_box_or_point(const double *value, size_t count)
{
	if (count != 2 && count != 4)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!(value[i] < COORDINATE_MAX && value[i] > -COORDINATE_MAX))
			return false;
	return true;
}

/*
 * Every well-formed list between at and stop.  The right form is one list of lists: depth
 * counts the brackets around.
 */
static dsv_code
read_lists(reader *r, size_t at, size_t stop, const part *ref, size_t ref_at, size_t ref_end,
		   dsv_error *err)
{
	int64_t		depth = 0;
	bool		fault = skip_blanks(r, at, stop) == stop;
	dsv_code	code = DSV_OK;

	while (at < stop && code == DSV_OK)
	{
		char		c = r->text[at];
		double		value[4];
		size_t		count;
		size_t		inner;

		if (c != '[')
		{
			depth -= c == ']';
			fault |= depth < 0 || !(c == ']' || c == ',' || is_blank(c));
			at++;
			continue;
		}
		inner = skip_blanks(r, at + 1, stop);
		if (inner < stop && (r->text[inner] == '[' || (r->text[inner] == ']' && depth == 0)))
		{
			depth++;
			at = inner;
		}
		else if (!scan_list(r, &at, stop, false, value, &count))
		{
			fault = true;
			depth++;
		}
		else if (!is_box_or_point(value, count))
			fault = true;
		else
		{
			fault |= depth != 1;
			code = add_box(r, value, count, true, ref, ref_at, ref_end, err);
		}
	}
	r->out->malformed |= fault || depth != 0;
	return code;
}

/* A <|det|> at *at; *at goes behind it. */
static dsv_code
read_det(reader *r, size_t *at, dsv_error *err)
{
	size_t		from = *at;
	size_t		inner = from + tags[TAG_DET].len;
	size_t		stop = inner;
	size_t		end;
	part		ref;

	end = next_tag(r, &stop) == TAG_DET_END ? stop + tags[TAG_DET_END].len : stop;
	r->out->malformed |= end == stop;
	*at = end;
	if (r->refs.n == 0)
		return read_lists(r, inner, stop, NULL, from, end, err);
	ref = r->refs.parts[--r->refs.n];
	return read_lists(r, inner, stop, &ref, ref.from, end, err);
}

static dsv_code
read_tolerant(reader *r, dsv_error *err)
{
	part		open = {0};
	bool		is_open = false;
	size_t		at = 0;
	dsv_code	code = DSV_OK;
	tag			t;

	while (code == DSV_OK && (t = next_tag(r, &at)) != TAG_NONE)
	{
		size_t		end = at + tags[t].len;

		if (t == TAG_REF)
		{
			r->out->malformed |= is_open;
			open = (part) {.from = at, .inner_from = end};
			is_open = true;
			at = end;
			continue;
		}
		/* <|det|> ends a label whose <|/ref|> is missing */
		r->out->malformed |= t == TAG_DET_END || (t == TAG_REF_END) != is_open;
		if (is_open)
		{
			open.inner_to = at;
			open.to = t == TAG_REF_END ? end : at;
			code = add_part(r, &r->refs, open, err);
			is_open = false;
		}
		if (t != TAG_DET)
			at = end;
		else if (code == DSV_OK)
			code = read_det(r, &at, err);
	}
	r->out->malformed |= is_open || r->refs.n > 0;
	return code;
}

/* ---- the reference reader ---- */

/* re.findall of "begin.*?end": the earliest begin on a line with the first end behind it */
static dsv_code
find_parts(reader *r, tag begin, tag end, part_list *list, dsv_error *err)
{
	size_t		from = SIZE_MAX;
	size_t		at = 0;

	while (at < r->len)
	{
		tag			t = r->text[at] == '<' ? tag_at(r, at) : TAG_NONE;
		dsv_code	code;

		if (r->text[at] == '\n')
			from = SIZE_MAX;
		else if (t == begin && from == SIZE_MAX)
			from = at;
		else if (t == end && from != SIZE_MAX)
		{
			code = add_part(r, list, (part) {from, from + tags[begin].len, at, at + tags[end].len},
							err);
			if (code != DSV_OK)
				return code;
			from = SIZE_MAX;
		}
		at += t == begin || t == end ? tags[t].len : 1;
	}
	return DSV_OK;
}

/* The reference refuses to draw a box with x1 > x2 or y1 > y2 in pixels of the picture that it
 * shows, and numbers that do not fit into 64 bits. */
static bool
can_draw(const reader *r, const double *value)
{
	bool		turned = r->orientation >= 5;
	double		p[4];

	for (int i = 0; i < 4; i++)
	{
		p[i] = value[i] / SCALE * ((i % 2 == 0) != turned ? r->width : r->height);
		if (!(p[i] < 0x1p63 && p[i] > -0x1p63))
			return false;
	}
	return (int64_t) p[0] <= (int64_t) p[2] && (int64_t) p[1] <= (int64_t) p[3];
}

/* The boxes of one pair; *fault when the reference would have stopped there. */
static dsv_code
read_pair(reader *r, const part *ref, const part *det, bool *fault, dsv_error *err)
{
	size_t		at = det->inner_from;
	size_t		stop = det->inner_to;
	size_t		end = det->from > ref->from ? det->to : ref->to;
	dsv_code	code = DSV_OK;

	/* repeated tags are taken out, then the first and the last character cut off: a whole
	 * UTF-8 character need not be, as only brackets matter */
	while (stop - at >= tags[TAG_DET].len && tag_at(r, at) == TAG_DET)
		at += tags[TAG_DET].len;
	if (stop - at < 2)
		return DSV_OK;
	at++;
	stop--;
	while (code == DSV_OK && !*fault && at < stop)
	{
		const char *open = memchr(r->text + at, '[', stop - at);
		double		value[4];
		size_t		count;

		if (open == NULL || memchr(open, ']', (size_t) (r->text + stop - open)) == NULL)
			break;
		at = (size_t) (open - r->text);
		if (!scan_list(r, &at, stop, true, value, &count) || count < 4 || !can_draw(r, value))
			*fault = true;
		else
			code = add_box(r, value, 4, false, ref, ref->from, end, err);
	}
	return code;
}

static dsv_code
read_reference(reader *r, dsv_error *err)
{
	bool		fault = false;
	dsv_code	code = find_parts(r, TAG_REF, TAG_REF_END, &r->refs, err);

	if (code == DSV_OK)
		code = find_parts(r, TAG_DET, TAG_DET_END, &r->dets, err);
	if (code != DSV_OK)
		return code;
	fault = r->refs.n != r->dets.n || r->refs.n == 0;
	for (size_t i = 0; code == DSV_OK && !fault && i < r->refs.n; i++)
		code = read_pair(r, &r->refs.parts[i], &r->dets.parts[i], &fault, err);
	if (code == DSV_OK && fault)
	{
		dsv_ground_free(r->out, r->mem);
		r->out->nboxes = -1;
		r->out->malformed = r->refs.n > 0 || r->dets.n > 0;
	}
	return code;
}

/* ---- */

dsv_code
dsv_ground_parse(const char *text, size_t len, int width, int height, int orientation,
				 bool reference, const dsv_mem *mem, dsv_ground *out, dsv_error *err)
{
	reader		r = {.text = text, .len = len, .width = width, .height = height,
		.orientation = orientation, .mem = mem, .out = out};
	dsv_code	code;

	memset(out, 0, sizeof(*out));
	if (len > INT_MAX)
		return dsv_fail(err, DSV_LIMIT, "text of %zu bytes is too long", len);
	code = reference ? read_reference(&r, err) : read_tolerant(&r, err);
	dsv_free(mem, r.refs.parts);
	dsv_free(mem, r.dets.parts);
	if (code != DSV_OK)
		dsv_ground_free(out, mem);
	return code;
}

void
dsv_ground_free(dsv_ground *ground, const dsv_mem *mem)
{
	dsv_free(mem, ground->boxes);
	memset(ground, 0, sizeof(*ground));
}
