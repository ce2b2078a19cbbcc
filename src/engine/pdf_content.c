/*
 * pdf_content.c
 *		The drawing operators of a PDF page, read as far as one question needs: does the page
 *		show a single image?
 *
 * What paints anything else ends the reading with a word for it.  Operators that only set
 * state are followed where it matters (matrix, clipping, fill colour, invisible text) and
 * skipped where it does not.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pdf_page.h"

#define MAX_OPERANDS 32
#define MAX_SAVED 64
#define MAX_NESTING 64

/* Share of an image's side that a clip or the page's edge may hide: scanners overlap a little */
#define HIDDEN 0.02

typedef struct pdf_state
{
	double		matrix[6];
	double		clip[4];		/* x1 y1 x2 y2 of the page */
	bool		black;			/* fill colour */
	bool		white;
	int			text_mode;
} pdf_state;

typedef struct pdf_reader
{
	const uint8_t *p;
	const uint8_t *end;
	double		number[MAX_OPERANDS];	/* operands since the last operator; others count as 0 */
	int			operands;
	char		name[128];		/* the last name among them */
	bool		nonempty;		/* a string among them has bytes */
	pdf_state	state;
	pdf_state	saved[MAX_SAVED];
	int			nsaved;
	double		path[4];		/* bounds on the page of the rectangles of the path */
	bool		has_path;
	bool		complex_path;	/* it has other parts too */
	bool		clipping;		/* W: the path clips once it ends */
	int			images;
	dsv_pdf_place *out;
} pdf_reader;

/* ---- tokens ---- */

static bool
is_white(uint8_t c)
{
	return c == 0 || c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == ' ';
}

static bool
is_delimiter(uint8_t c)
{
	return c != 0 && strchr("()<>[]{}/%", c) != NULL;
}

static void
skip_white(pdf_reader *r)
{
	while (r->p < r->end && (is_white(*r->p) || *r->p == '%'))
	{
		if (*r->p == '%')
			while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
				r->p++;
		else
			r->p++;
	}
}

static void
skip_literal_string(pdf_reader *r)
{
	int			depth = 0;

	do
	{
		uint8_t		c = *r->p++;

		if (c == '(')
			depth++;
		else if (c == ')')
			depth--;
		else
			r->nonempty = true;
		if (c == '\\' && r->p < r->end)
			r->p++;
	} while (r->p < r->end && depth > 0);
}

static void
skip_hex_string(pdf_reader *r)
{
	for (r->p++; r->p < r->end && *r->p != '>'; r->p++)
		r->nonempty |= !is_white(*r->p);
	if (r->p < r->end)
		r->p++;
}

static size_t
word_length(const pdf_reader *r)
{
	size_t		n = 0;

	while (r->p + n < r->end && !is_white(r->p[n]) && !is_delimiter(r->p[n]))
		n++;
	return n;
}

static int
hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* With its #xx written out, as qpdf keeps names; too long a one is cut and names nothing. */
static void
read_name(pdf_reader *r)
{
	size_t		n = 1;
	size_t		len;

	r->p++;
	len = word_length(r);
	r->name[0] = '/';
	for (size_t i = 0; i < len && n < sizeof(r->name) - 1; i++, n++)
	{
		uint8_t		c = r->p[i];

		if (c == '#' && i + 2 < len && hex_digit(r->p[i + 1]) >= 0 && hex_digit(r->p[i + 2]) >= 0)
		{
			c = (uint8_t) (hex_digit(r->p[i + 1]) * 16 + hex_digit(r->p[i + 2]));
			i += 2;
		}
		r->name[n] = (char) c;
	}
	r->name[n] = '\0';
	r->p += len;
}

static void
add_operand(pdf_reader *r, double v)
{
	if (r->operands < MAX_OPERANDS)
		r->number[r->operands] = v;
	r->operands++;
}

static bool
read_number(const uint8_t *p, size_t n, double *v)
{
	char		text[64];
	char	   *end;

	if (n == 0 || n >= sizeof(text) || strchr("+-.0123456789", p[0]) == NULL)
		return false;
	memcpy(text, p, n);
	text[n] = '\0';
	if (strspn(text, "+-.0123456789") != n)
		return false;
	*v = strtod(text, &end);
	return isfinite(*v);
}

static bool
is_word(const uint8_t *p, size_t n, const char *word)
{
	return n == strlen(word) && memcmp(p, word, n) == 0;
}

/*
 * Reads operands up to the next operator, of which word and its length are returned; 0 at the
 * end.  An array or dictionary is one operand whatever is in it.
 */
static size_t
next_operator(pdf_reader *r, const uint8_t **word)
{
	int			depth = 0;

	r->operands = 0;
	r->nonempty = false;
	r->name[0] = '\0';
	for (;;)
	{
		bool		pair;
		size_t		n;
		double		v = 0;

		skip_white(r);
		if (r->p >= r->end || depth > MAX_NESTING)
			return 0;
		pair = r->p + 1 < r->end && r->p[1] == r->p[0];
		n = word_length(r);
		if (*r->p == '(')
			skip_literal_string(r);
		else if (*r->p == '/')
			read_name(r);
		else if (*r->p == '[' || (*r->p == '<' && pair))
		{
			depth++;
			r->p += *r->p == '<' ? 2 : 1;
			continue;
		}
		else if (*r->p == ']' || (*r->p == '>' && pair))
		{
			depth -= depth > 0;
			r->p += *r->p == '>' ? 2 : 1;
		}
		else if (*r->p == '<')
			skip_hex_string(r);
		else if (n == 0)
			r->p++;				/* a stray delimiter */
		else
		{
			const uint8_t *start = r->p;

			r->p += n;
			if (!read_number(start, n, &v) && depth == 0 && !is_word(start, n, "true") &&
				!is_word(start, n, "false") && !is_word(start, n, "null"))
			{
				*word = start;
				return n;
			}
		}
		if (depth == 0)
			add_operand(r, v);
	}
}

/* ---- geometry ---- */

/* m = a b: first a, then b */
static void
concat(const double a[6], const double b[6], double m[6])
{
	double		t[6] = {
		a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
		a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3],
		a[4] * b[0] + a[5] * b[2] + b[4], a[4] * b[1] + a[5] * b[3] + b[5],
	};

	memcpy(m, t, sizeof(t));
}

/* Bounds on the page of the rectangle (x, y, w, h) */
static void
bounds(const double m[6], double x, double y, double w, double h, double out[4])
{
	for (int i = 0; i < 4; i++)
	{
		double		px = x + (i & 1 ? w : 0);
		double		py = y + (i & 2 ? h : 0);
		double		ux = px * m[0] + py * m[2] + m[4];
		double		uy = px * m[1] + py * m[3] + m[5];

		out[0] = i == 0 || ux < out[0] ? ux : out[0];
		out[1] = i == 0 || uy < out[1] ? uy : out[1];
		out[2] = i == 0 || ux > out[2] ? ux : out[2];
		out[3] = i == 0 || uy > out[3] ? uy : out[3];
	}
}

static void
intersect(double box[4], const double with[4])
{
	box[0] = fmax(box[0], with[0]);
	box[1] = fmax(box[1], with[1]);
	box[2] = fmin(box[2], with[2]);
	box[3] = fmin(box[3], with[3]);
}

/* Both vectors on the screen, y down: where a stored row runs and where the next one is */
int
dsv_pdf_orientation(const double matrix[6], int degrees)
{
	/* right: 0, down: 1, left: 2, up: 3 */
	static const int orientations[4][4] = {{0, 1, 0, 4}, {5, 0, 6, 0}, {0, 2, 0, 3}, {8, 0, 7, 0}};
	double		v[2][2] = {{matrix[0], -matrix[1]}, {-matrix[2], matrix[3]}};
	int			direction[2];

	for (int i = 0; i < 2; i++)
	{
		double		x = v[i][0];
		double		y = v[i][1];

		if (!(fmin(fabs(x), fabs(y)) <= 0.02 * fmax(fabs(x), fabs(y))) || (x == 0 && y == 0))
			return 0;
		direction[i] = fabs(x) > fabs(y) ? (x > 0 ? 0 : 2) : (y > 0 ? 1 : 3);
		direction[i] = (direction[i] + (degrees / 90 % 4 + 4)) % 4;
	}
	return orientations[direction[0]][direction[1]];
}

/* ---- operators ---- */

static double
operand(const pdf_reader *r, int i)
{
	return i < r->operands && i < MAX_OPERANDS ? r->number[i] : 0;
}

/* g, rg, k with their n colours, the fill colour */
static void
set_fill(pdf_reader *r, int n)
{
	bool		all_0 = r->operands == n;
	bool		all_1 = r->operands == n;

	for (int i = 0; i < n && i < 3; i++)
	{
		all_0 = all_0 && operand(r, i) == 0;
		all_1 = all_1 && operand(r, i) == 1;
	}
	r->state.black = n == 4 ? all_0 && operand(r, 3) == 1 : all_0;
	r->state.white = n == 4 ? all_0 && operand(r, 3) == 0 : all_1;
}

static const char *
place_image(pdf_reader *r)
{
	double		whole[4];
	double		seen[4];

	if (r->images++ > 0)
		return "several images";
	if (r->name[0] == '\0')
		return "operators that could not be understood";
	bounds(r->state.matrix, 0, 0, 1, 1, whole);
	memcpy(seen, whole, sizeof(seen));
	intersect(seen, r->state.clip);
	if (!(seen[2] - seen[0] >= (1 - HIDDEN) * (whole[2] - whole[0]) &&
		  seen[3] - seen[1] >= (1 - HIDDEN) * (whole[3] - whole[1])))
		return "a part of an image";
	strcpy(r->out->name, r->name);
	memcpy(r->out->matrix, r->state.matrix, sizeof(r->out->matrix));
	r->out->black_paint = r->state.black;
	return NULL;
}

static void
add_rectangle(pdf_reader *r)
{
	double		box[4];

	bounds(r->state.matrix, operand(r, 0), operand(r, 1), operand(r, 2), operand(r, 3), box);
	r->complex_path |= r->has_path;
	r->has_path = true;
	memcpy(r->path, box, sizeof(box));
}

/* painted: not just ended */
static const char *
end_path(pdf_reader *r, bool painted, bool filled_only)
{
	/* a white sheet under the image */
	bool		blank = filled_only && r->state.white && r->images == 0;

	if (painted && (r->has_path || r->complex_path) && !blank)
		return "drawings";
	if (r->clipping && r->complex_path)
		return "an image cut to a shape";
	if (r->clipping && r->has_path)
		intersect(r->state.clip, r->path);
	r->clipping = r->has_path = r->complex_path = false;
	return NULL;
}

static const char *
save_or_restore(pdf_reader *r, bool save)
{
	if (save && r->nsaved == MAX_SAVED)
		return "operators nested too deeply";
	if (save)
		r->saved[r->nsaved++] = r->state;
	else if (r->nsaved > 0)
		r->state = r->saved[--r->nsaved];
	return NULL;
}

typedef enum pdf_operator
{
	OP_STATE,					/* changes nothing that is looked at */
	OP_SAVE,
	OP_RESTORE,
	OP_MATRIX,
	OP_IMAGE,
	OP_RECTANGLE,
	OP_PATH,
	OP_CLIP,
	OP_END_PATH,
	OP_FILL,
	OP_PAINT,
	OP_GREY,
	OP_RGB,
	OP_CMYK,
	OP_COLOR,					/* of some space */
	OP_TEXT_MODE,
	OP_TEXT,
	OP_SHADING,
	OP_INLINE_IMAGE,
} pdf_operator;

static const struct
{
	const char *words;			/* between spaces */
	pdf_operator op;
}			operators[] = {
	{" gs ri i M d w J j G RG K CS SC SCN BT ET Tc Tw Tz TL Tf Td TD Tm T* Ts MP DP BMC BDC EMC BX EX ",
	OP_STATE},
	{" q ", OP_SAVE},
	{" Q ", OP_RESTORE},
	{" cm ", OP_MATRIX},
	{" Do ", OP_IMAGE},
	{" re ", OP_RECTANGLE},
	{" m l c v y h ", OP_PATH},
	{" W W* ", OP_CLIP},
	{" n ", OP_END_PATH},
	{" f F f* ", OP_FILL},
	{" s S b b* B B* ", OP_PAINT},
	{" g ", OP_GREY},
	{" rg ", OP_RGB},
	{" k ", OP_CMYK},
	{" cs sc scn ", OP_COLOR},
	{" Tr ", OP_TEXT_MODE},
	{" Tj TJ ' \" ", OP_TEXT},
	{" sh ", OP_SHADING},
	{" BI ", OP_INLINE_IMAGE},
};

static bool
find_operator(const uint8_t *word, size_t n, pdf_operator *op)
{
	char		text[8] = " ";

	if (n > 4 || memchr(word, 0, n) != NULL)
		return false;
	memcpy(text + 1, word, n);
	text[n + 1] = ' ';
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
		if (strstr(operators[i].words, text) != NULL)
		{
			*op = operators[i].op;
			return true;
		}
	return false;
}

/* NULL, or what else the page holds */
static const char *
run(pdf_reader *r, pdf_operator op)
{
	switch (op)
	{
		case OP_STATE:
			return NULL;
		case OP_SAVE:
		case OP_RESTORE:
			return save_or_restore(r, op == OP_SAVE);
		case OP_MATRIX:
			concat(r->number, r->state.matrix, r->state.matrix);
			return r->operands == 6 ? NULL : "operators that could not be understood";
		case OP_IMAGE:
			return place_image(r);
		case OP_RECTANGLE:
			add_rectangle(r);
			return NULL;
		case OP_PATH:
			r->complex_path = true;
			return NULL;
		case OP_CLIP:
			r->clipping = true;
			return NULL;
		case OP_END_PATH:
			return end_path(r, false, false);
		case OP_FILL:
		case OP_PAINT:
			return end_path(r, true, op == OP_FILL);
		case OP_GREY:
			set_fill(r, 1);
			return NULL;
		case OP_RGB:
			set_fill(r, 3);
			return NULL;
		case OP_CMYK:
			set_fill(r, 4);
			return NULL;
		case OP_COLOR:
			r->state.black = r->state.white = false;
			return NULL;
		case OP_TEXT_MODE:
			r->state.text_mode = (int) fmax(0, fmin(7, operand(r, 0)));
			return NULL;
		case OP_TEXT:
			return r->nonempty && r->state.text_mode != 3 ? "text" : NULL;
		case OP_SHADING:
			return "drawings";
		case OP_INLINE_IMAGE:
			return "an inline image";
	}
	return NULL;
}

const char *
dsv_pdf_read_content(const uint8_t *data, size_t len, const double box[4], dsv_pdf_place *out)
{
	pdf_reader	r = {
		.p = data,
		.end = data + len,
		.state = {.matrix = {1, 0, 0, 1, 0, 0}, .black = true},
		.out = out,
	};
	const uint8_t *word;
	size_t		n;

	memcpy(r.state.clip, box, sizeof(r.state.clip));
	while ((n = next_operator(&r, &word)) > 0)
	{
		const char *other = "operators that could not be understood";
		pdf_operator op;

		if (find_operator(word, n, &op))
			other = run(&r, op);
		if (other != NULL)
			return other;
	}
	return r.images == 1 ? NULL : "no image";
}
