/*
 * strips.c
 *		Long pages: how to cut one across, and how to put the readings together.
 *
 * Lines of writing run across a page, so that it is cut from top to bottom only.  A strip
 * shares its upper part with the strip above.  Both readings then hold the lines of that
 * part, except that each may have read a line at its edge of which it saw a half.  The seam
 * is the number of lines that two readings share; it is only taken where nothing else is
 * possible, for a line that is there twice does less harm than a line that is lost.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "tile.h"
#include "utf8.h"

/* ---- cutting ---- */

/* Strips must show writing so much larger than the whole picture does, or cutting is not worth a seam. */
#define WORTH_CUTTING 1.25

/* Stored pixels are not worth more than a pixel of the canvas each. */
static double
reading_scale(double scale)
{
	return fmin(scale, 1.0);
}

/*
 * The canvas that a strip of this width is best read on, half to twice as high as wide: lower strips would
 * be more and more of them for ever less, and in higher ones there is more writing than models learn to
 * read on one page.
 */
static dsv_grid
choose_canvas(const dsv_config *config, int width, int max_tiles)
{
	int			size = config->vision.image_size;
	dsv_grid	best = {1, 1};
	double		best_scale = reading_scale((double) size / width);

	for (int i = 0; i < config->ncandidates; i++)
	{
		dsv_grid	grid = {config->candidates[i].w / size, config->candidates[i].h / size};
		double		scale = reading_scale((double) grid.cols * size / width);
		bool		taller = (double) grid.rows / grid.cols > (double) best.rows / best.cols;

		if (grid.cols > 2 * grid.rows || grid.rows > 2 * grid.cols ||
			(max_tiles > 0 && (int64_t) grid.cols * grid.rows > max_tiles))
			continue;
		if (scale > best_scale || (scale == best_scale && taller))
		{
			best = grid;
			best_scale = scale;
		}
	}
	return best;
}

/* The scale at which the picture is read as a whole */
static double
whole_scale(const dsv_config *config, int width, int height, int max_tiles)
{
	int			size = config->vision.image_size;
	dsv_grid	grid = dsv_tile_choose(config, width, height, max_tiles, true);

	return reading_scale(fmin((double) grid.cols * size / width, (double) grid.rows * size / height));
}

void
dsv_strips_plan(const dsv_model *model, int width, int height, int max_tiles, double overlap, dsv_strips *out)
{
	const dsv_config *config = model != NULL ? &model->config : &dsv_config_published;
	int			size = config->vision.image_size;
	dsv_grid	canvas = choose_canvas(config, width, max_tiles);
	double		scale = reading_scale((double) canvas.cols * size / width);
	double		fits = fmax(floor(canvas.rows * size / scale), 1);

	out->count = 1;
	out->height = out->page_height = height;
	if (fits >= height || whole_scale(config, width, height, max_tiles) * WORTH_CUTTING >= scale)
		return;
	/* n strips of h pixels reach over h (n - (n - 1) overlap) */
	out->count = (int) ceil((height / fits - overlap) / (1 - overlap));
	out->height = (int) fmin(ceil(height / (out->count - (out->count - 1) * overlap)), fits);
}

int
dsv_strips_top(const dsv_strips *strips, int i)
{
	if (strips->count == 1)
		return 0;
	return (int) ((int64_t) (strips->page_height - strips->height) * i / (strips->count - 1));
}

void
dsv_strips_region(const dsv_strips *strips, int i, const dsv_image_info *picture, int orientation,
				  double box[4])
{
	bool		turned = orientation >= 5;	/* shown rows are stored columns */
	bool		backward = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
	int			top = dsv_strips_top(strips, i);
	double		from = backward ? strips->page_height - top - strips->height : top;

	box[0] = turned ? from : 0;
	box[1] = turned ? 0 : from;
	box[2] = turned ? from + strips->height : picture->width;
	box[3] = turned ? picture->height : from + strips->height;
}

/* ---- lines ---- */

/* What two readings can share at most; more lines than that are never compared. */
#define MAX_SHARED 64

/* Longer lines are compared as far as this. */
#define MAX_CHARS 256

/* Letters and digits that a line must have to be told from others */
#define DISTINCT_CHARS 3

typedef struct text_line
{
	size_t		from;
	size_t		to;				/* without the newline */
} text_line;

typedef struct line_chars
{
	int			n;
	uint32_t	c[MAX_CHARS];	/* without white space */
} line_chars;

static bool
is_digit(uint32_t c)
{
	return c >= '0' && c <= '9';
}

/* Anything that is not ASCII punctuation */
static bool
is_word_char(uint32_t c)
{
	return c >= 0x80 || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint32_t
code_point(const char *s, int size)
{
	const unsigned char *u = (const unsigned char *) s;

	switch (size)
	{
		case 1:
			return u[0];
		case 2:
			return (uint32_t) (u[0] & 0x1F) << 6 | (u[1] & 0x3F);
		case 3:
			return (uint32_t) (u[0] & 0x0F) << 12 | (uint32_t) (u[1] & 0x3F) << 6 | (u[2] & 0x3F);
		default:
			return (uint32_t) (u[0] & 0x07) << 18 | (uint32_t) (u[1] & 0x3F) << 12 |
				(uint32_t) (u[2] & 0x3F) << 6 | (u[3] & 0x3F);
	}
}

static void
take_chars(const char *text, text_line line, line_chars *out)
{
	out->n = 0;
	for (size_t at = line.from; at < line.to && out->n < MAX_CHARS;)
	{
		int			size = dsv_utf8_space_first(text + at, line.to - at);

		if (size == 0)
		{
			bool		whole = dsv_utf8_next(text + at, line.to - at, &size) == DSV_UTF8_CHAR;

			out->c[out->n++] = whole ? code_point(text + at, size) : 0xFFFD;
		}
		at += size;
	}
}

static bool
is_blank(const char *text, text_line line)
{
	line_chars	chars;

	take_chars(text, line, &chars);
	return chars.n == 0;
}

/* The line that begins at `from`; false at the end of the text. */
static bool
line_at(const dsv_bytes *text, size_t from, text_line *line)
{
	const char *s = text->data;
	const char *newline;

	if (from >= text->len)
		return false;
	newline = memchr(s + from, '\n', text->len - from);
	*line = (text_line) {from, newline != NULL ? (size_t) (newline - s) : text->len};
	return true;
}

/* The first lines of a text that are not blank, at most max; *total gets how many there are in all. */
static int
first_lines(const dsv_bytes *text, text_line *lines, int max, int *total)
{
	text_line	line;

	*total = 0;
	for (size_t at = 0; line_at(text, at, &line); at = line.to + 1)
	{
		if (is_blank(text->data, line))
			continue;
		if (*total < max)
			lines[*total] = line;
		++*total;
	}
	return *total < max ? *total : max;
}

/* The last ones, in the text's order */
static int
last_lines(const dsv_bytes *text, text_line *lines, int max, int total)
{
	int			skip = total > max ? total - max : 0;
	int			n = 0;
	text_line	line;

	for (size_t at = 0; line_at(text, at, &line); at = line.to + 1)
	{
		if (is_blank(text->data, line) || skip-- > 0)
			continue;
		lines[n++] = line;
	}
	return n;
}

/* ---- likeness ---- */

/* Levenshtein's distance */
static int
distance(const line_chars *a, const line_chars *b)
{
	int			row[MAX_CHARS + 1];

	for (int j = 0; j <= b->n; j++)
		row[j] = j;
	for (int i = 1; i <= a->n; i++)
	{
		int			diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= b->n; j++)
		{
			int			above = row[j];
			int			best = diagonal + (a->c[i - 1] != b->c[j - 1]);

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = above;
			row[j] = best;
		}
	}
	return row[b->n];
}

/* Whether the digits of both lines are the same, in their order */
static bool
same_digits(const line_chars *a, const line_chars *b)
{
	int			i = 0;
	int			j = 0;

	for (;;)
	{
		while (i < a->n && !is_digit(a->c[i]))
			i++;
		while (j < b->n && !is_digit(b->c[j]))
			j++;
		if (i == a->n || j == b->n)
			return i == a->n && j == b->n;
		if (a->c[i++] != b->c[j++])
			return false;
	}
}

typedef struct seam_search
{
	const dsv_bytes *above;
	const dsv_bytes *below;
	text_line	tail[MAX_SHARED];	/* of above */
	text_line	head[MAX_SHARED];	/* of below */
	int			ntail;
	int			nhead;
} seam_search;

typedef enum likeness
{
	UNLIKE,
	AKIN,						/* might be a good and a bad reading of one line */
	SAME,						/* one letter in six may differ, no digit */
} likeness;

static likeness
compare(const line_chars *a, const line_chars *b)
{
	int			longer = a->n > b->n ? a->n : b->n;
	int			d = longer;

	if (2 * abs(a->n - b->n) <= longer)
		d = distance(a, b);
	if (6 * d <= longer && same_digits(a, b))
		return SAME;
	return 2 * d <= longer ? AKIN : UNLIKE;
}

static likeness
compare_lines(const char *a, text_line at, const char *b, text_line bt)
{
	line_chars	x;
	line_chars	y;

	take_chars(a, at, &x);
	take_chars(b, bt, &y);
	return compare(&x, &y);
}

/* How many lines of the text are the same as the given one, up to two */
static int
occurrences(const dsv_bytes *text, const line_chars *chars)
{
	int			n = 0;
	text_line	line;

	for (size_t at = 0; n < 2 && line_at(text, at, &line); at = line.to + 1)
	{
		line_chars	other;

		take_chars(text->data, line, &other);
		n += compare(chars, &other) == SAME;
	}
	return n;
}

/* A line that is there once in each reading and says something */
static bool
is_distinct(const seam_search *s, text_line of_below)
{
	line_chars	chars;
	int			words = 0;

	take_chars(s->below->data, of_below, &chars);
	for (int i = 0; i < chars.n; i++)
		words += is_word_char(chars.c[i]);
	return words >= DISTINCT_CHARS && occurrences(s->above, &chars) == 1 && occurrences(s->below, &chars) == 1;
}

/* ---- the seam ---- */

static likeness
compare_pair(const seam_search *s, int shared, int i)
{
	return compare_lines(s->above->data, s->tail[s->ntail - shared + i], s->below->data, s->head[i]);
}

/*
 * Whether the last `shared` lines above can be the first ones below.  Only the outer ones may differ:
 * below, the first may have been cut by the strip's edge, above, the last.
 */
static bool
can_share(const seam_search *s, int shared)
{
	int			same = 0;
	bool		distinct = false;

	for (int i = 0; i < shared; i++)
	{
		if (compare_pair(s, shared, i) == SAME)
		{
			same++;
			distinct = distinct || is_distinct(s, s->head[i]);
		}
		else if (i > 0 && i < shared - 1)
			return false;
	}
	return distinct || same >= 3;
}

/* The number of lines that both readings hold; 0 when there are none, or more than one possibility. */
static int
find_shared(const seam_search *s, int most)
{
	int			found = 0;

	for (int shared = 1; shared <= most && shared <= s->ntail && shared <= s->nhead; shared++)
	{
		if (!can_share(s, shared))
			continue;
		if (found > 0)
			return 0;
		found = shared;
	}
	return found;
}

void
dsv_strips_join(const dsv_bytes *above, const dsv_bytes *below, double overlap, dsv_seam *out)
{
	seam_search s = {.above = above, .below = below};
	int			nabove;
	int			nbelow;
	int			most;
	int			shared;
	likeness	last;

	*out = (dsv_seam) {.above_to = above->len};
	if (overlap <= 0)
		return;
	s.nhead = first_lines(below, s.head, MAX_SHARED, &nbelow);
	first_lines(above, s.tail, 0, &nabove);
	s.ntail = last_lines(above, s.tail, MAX_SHARED, nabove);
	/* lines may stand twice as close there as elsewhere; one more may be cut at each edge */
	most = (int) fmin(2 * overlap * (nabove > nbelow ? nabove : nbelow), MAX_SHARED) + 2;
	shared = find_shared(&s, most);
	if (shared == 0)
		return;

	out->shared = shared;
	/* a first line that is like none above stays, though it stands before what goes */
	if (compare_pair(&s, shared, 0) == UNLIKE)
		out->below_from = s.head[0].to + 1;
	out->below_to = s.head[shared - 1].to + 1;
	last = compare_pair(&s, shared, shared - 1);
	if (last != SAME)
	{
		/* read whole below */
		out->below_to = s.head[shared - 1].from;
		if (last == AKIN && shared > 1)
			out->above_to = s.tail[s.ntail - 1].from;
	}
	if (out->below_to > below->len)
		out->below_to = below->len;
}
