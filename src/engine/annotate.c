/*
 * annotate.c
 *		Marks on a picture: outlines first, then labels on plates, so that no line runs through
 *		a word.
 *
 * All sizes follow the picture's, from 120 pixels to a poster; an outline has a light or dark
 * edge of its own, so that it shows on any ground.  A plate goes where it hides least: beside
 * its mark, not over another plate if there is a free place anywhere, then not over a mark.
 */
#include <math.h>
#include <string.h>

#include "font.h"
#include "picture.h"

#define MIN_TEXT 11				/* pixels an em that can still be read */
#define MAX_TEXT 400

typedef struct rect
{
	int			x1;
	int			y1;
	int			x2;				/* exclusive, as y2 */
	int			y2;
} rect;

typedef struct style
{
	uint8_t		color[3];
	bool		dark_text;
} style;

/* Told apart by most eyes, on white paper and on photographs */
static const style styles[] = {
	{{214, 39, 40}, false},		/* red */
	{{0, 90, 200}, false},		/* blue */
	{{20, 130, 50}, false},		/* green */
	{{255, 150, 20}, true},		/* orange */
	{{125, 60, 170}, false},	/* violet */
	{{0, 190, 200}, true},		/* cyan */
	{{220, 50, 150}, false},	/* pink */
	{{120, 80, 40}, false},		/* brown */
};

static const uint8_t white[3] = {255, 255, 255};
static const uint8_t black[3] = {0, 0, 0};

/* A mark on its way */
typedef struct plate
{
	rect		mark;			/* in pixels of the upright picture */
	bool		point;
	const style *style;
	char		text[256];		/* label and score, cut to fit */
	size_t		len;
	int			width;			/* of the text */
	rect		at;				/* where the plate is; empty: nowhere */
} plate;

typedef struct annotation
{
	dsv_picture *picture;
	dsv_pixels *pixels;
	dsv_font   *font;
	plate	   *plates;
	int			n;
	int			line;			/* widths in pixels */
	int			edge;
	int			pad;			/* around a text */
	int			ascent;
	int			descent;
	dsv_error  *err;
} annotation;

/* ---- rectangles ---- */

static int64_t
overlap(rect a, rect b)
{
	int64_t		w = (a.x2 < b.x2 ? a.x2 : b.x2) - (a.x1 > b.x1 ? a.x1 : b.x1);
	int64_t		h = (a.y2 < b.y2 ? a.y2 : b.y2) - (a.y1 > b.y1 ? a.y1 : b.y1);

	return w > 0 && h > 0 ? w * h : 0;
}

static rect
grown(rect r, int by)
{
	return (rect) {r.x1 - by, r.y1 - by, r.x2 + by, r.y2 + by};
}

static void
fill(dsv_pixels *p, rect r, const uint8_t color[3])
{
	r.x1 = r.x1 > 0 ? r.x1 : 0;
	r.y1 = r.y1 > 0 ? r.y1 : 0;
	r.x2 = r.x2 < p->width ? r.x2 : p->width;
	r.y2 = r.y2 < p->height ? r.y2 : p->height;
	for (int y = r.y1; y < r.y2; y++)
		for (int x = r.x1; x < r.x2; x++)
			memcpy(p->rgb + ((size_t) y * p->width + x) * 3, color, 3);
}

/* What is between two rectangles, one in the other */
static void
fill_frame(dsv_pixels *p, rect outer, rect inner, const uint8_t color[3])
{
	fill(p, (rect) {outer.x1, outer.y1, outer.x2, inner.y1}, color);
	fill(p, (rect) {outer.x1, inner.y2, outer.x2, outer.y2}, color);
	fill(p, (rect) {outer.x1, inner.y1, inner.x1, inner.y2}, color);
	fill(p, (rect) {inner.x2, inner.y1, outer.x2, inner.y2}, color);
}

static void
fill_disc(dsv_pixels *p, double cx, double cy, double radius, const uint8_t color[3])
{
	for (int y = (int) floor(cy - radius); y <= (int) ceil(cy + radius); y++)
		for (int x = (int) floor(cx - radius); x <= (int) ceil(cx + radius); x++)
		{
			double		far = hypot(x + 0.5 - cx, y + 0.5 - cy);
			double		a = fmin(1, fmax(0, radius - far + 0.5));	/* how much of the pixel */
			uint8_t    *to;

			if (a == 0 || x < 0 || y < 0 || x >= p->width || y >= p->height)
				continue;
			to = p->rgb + ((size_t) y * p->width + x) * 3;
			for (int c = 0; c < 3; c++)
				to[c] = (uint8_t) (to[c] * (1 - a) + color[c] * a + 0.5);
		}
}

/* ---- marks ---- */

/* A place of the stored picture in the upright one */
static void
upright(int orientation, double w, double h, double x, double y, double *ux, double *uy)
{
	bool		mirror_x = orientation == 2 || orientation == 3 || orientation >= 7;
	bool		mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;

	x = mirror_x ? w - x : x;
	y = mirror_y ? h - y : y;
	*ux = orientation >= 5 ? y : x;
	*uy = orientation >= 5 ? x : y;
}

static int
limited(double v, int most)
{
	return v > 0 ? (v < most ? (int) v : most) : 0;
}

/* The part of the mark that is on the picture; a mark outside shows at the nearest edge. */
static void
place_mark(const annotation *a, int orientation, const dsv_mark *mark, plate *p)
{
	bool		turned = orientation >= 5;
	int			w = a->pixels->width;
	int			h = a->pixels->height;
	double		x[2];
	double		y[2];

	for (int i = 0; i < 2; i++)
		upright(orientation, turned ? h : w, turned ? w : h, mark->px[2 * i], mark->px[2 * i + 1], &x[i], &y[i]);
	p->point = x[0] == x[1] && y[0] == y[1];
	p->mark = (rect) {
		limited(floor(fmin(x[0], x[1])), w), limited(floor(fmin(y[0], y[1])), h),
		limited(ceil(fmax(x[0], x[1])), w), limited(ceil(fmax(y[0], y[1])), h)
	};
}

static rect
clipped(const annotation *a, rect r)
{
	return (rect) {
		limited(r.x1, a->pixels->width), limited(r.y1, a->pixels->height),
		limited(r.x2, a->pixels->width), limited(r.y2, a->pixels->height)
	};
}

static void
draw_mark(annotation *a, const plate *p)
{
	const uint8_t *edge = p->style->dark_text ? black : white;
	rect		outer;
	rect		inner;

	if (p->point)
	{
		double		radius = 2.5 * a->line + 1;

		fill_disc(a->pixels, p->mark.x1, p->mark.y1, radius + a->edge, edge);
		fill_disc(a->pixels, p->mark.x1, p->mark.y1, radius, p->style->color);
		return;
	}
	/* the line lies outside, so that what is marked stays in view, but not off the picture */
	outer = clipped(a, grown(p->mark, a->line));
	inner = grown(outer, -a->line);
	fill_frame(a->pixels, clipped(a, grown(p->mark, a->line + a->edge)), inner, edge);
	fill_frame(a->pixels, outer, inner, p->style->color);
}

/* ---- texts ---- */

/* "label 0.87" without printf, whose decimal point depends on the locale */
static size_t
score_text(double score, char out[8])
{
	int			hundredths;

	if (!(score >= 0))
		return 0;
	hundredths = (int) (fmin(score, 1) * 100 + 0.5);
	out[0] = ' ';
	out[1] = (char) ('0' + hundredths / 100);
	out[2] = '.';
	out[3] = (char) ('0' + hundredths / 10 % 10);
	out[4] = (char) ('0' + hundredths % 10);
	return 5;
}

/* Cuts len to whole characters. */
static size_t
whole_characters(const char *s, size_t len)
{
	while (len > 0 && ((unsigned char) s[len] & 0xC0) == 0x80)
		len--;
	return len;
}

/* The longest beginning of the label that fits before "…" and the score, which always stay */
static dsv_code
make_text(annotation *a, const dsv_mark *mark, plate *p)
{
	static const char dots[] = "\xE2\x80\xA6";
	int			most = a->pixels->width - 2 * a->pad;
	size_t		room = sizeof(p->text) - sizeof(dots) - 8;
	size_t		n = mark->label_len;
	bool		cut = n > room;
	size_t		fits;
	dsv_code	code = DSV_OK;

	if (cut)
		n = whole_characters(mark->label, room);
	for (;;)
	{
		if (n > 0)
			memcpy(p->text, mark->label, n);
		p->len = n;
		if (cut)
		{
			memcpy(p->text + p->len, dots, sizeof(dots) - 1);
			p->len += sizeof(dots) - 1;
		}
		p->len += score_text(mark->score, p->text + p->len);
		code = dsv_font_measure(a->font, p->text, p->len, &p->width, a->err);
		if (code != DSV_OK || p->width <= most || n == 0)
			return code;
		/* a little more than the share that fits, then one by one */
		fits = most > 0 ? n * (size_t) most / (size_t) p->width + 4 : 0;
		n = whole_characters(mark->label, fits < n ? fits : n - 1);
		cut = true;
	}
}

/* ---- where plates go ---- */

static rect
inside(const annotation *a, rect r)
{
	int			dx = r.x1 < 0 ? -r.x1 : r.x2 > a->pixels->width ? a->pixels->width - r.x2 : 0;
	int			dy = r.y1 < 0 ? -r.y1 : r.y2 > a->pixels->height ? a->pixels->height - r.y2 : 0;

	return (rect) {r.x1 + dx, r.y1 + dy, r.x2 + dx, r.y2 + dy};
}

/* Pixels of other plates that it would hide */
static int64_t
hidden_plates(const annotation *a, int n, rect r)
{
	int64_t		sum = 0;

	for (int i = 0; i < n; i++)
		sum += overlap(r, a->plates[i].at);
	return sum;
}

static int64_t
hidden_marks(const annotation *a, rect r)
{
	int64_t		sum = 0;

	for (int i = 0; i < a->n; i++)
		sum += overlap(r, grown(a->plates[i].mark, a->line));
	return sum;
}

/* The free place nearest to where it would stand best, if there is one */
static bool
find_free_place(const annotation *a, int n, rect *best)
{
	int			w = best->x2 - best->x1;
	int			h = best->y2 - best->y1;
	int			step = w / 4 > 0 ? w / 4 : 1;
	rect		from = *best;
	double		nearest = INFINITY;

	for (int y = from.y1 % h; y + h <= a->pixels->height; y += h)
		for (int x = from.x1 % step; x + w <= a->pixels->width; x += step)
		{
			rect		r = {x, y, x + w, y + h};
			double		far = hypot(x - from.x1, y - from.y1);

			if (far < nearest && hidden_plates(a, n, r) == 0)
			{
				nearest = far;
				*best = r;
			}
		}
	return isfinite(nearest);
}

static void
place_plate(annotation *a, int n)
{
	plate	   *p = &a->plates[n];
	int			w = p->width + 2 * a->pad;
	int			h = a->ascent + a->descent + a->pad;
	rect		m = grown(p->mark, p->point ? 3 * a->line + a->edge : a->line);
	rect		candidates[] = {
		{m.x1, m.y1 - h, m.x1 + w, m.y1},	/* above, below, at the left, then the right */
		{m.x1, m.y2, m.x1 + w, m.y2 + h},
		{m.x2 - w, m.y1 - h, m.x2, m.y1},
		{m.x2 - w, m.y2, m.x2, m.y2 + h},
		{m.x2, m.y1, m.x2 + w, m.y1 + h},	/* beside */
		{m.x1 - w, m.y1, m.x1, m.y1 + h},
		{m.x1, m.y1, m.x1 + w, m.y1 + h},	/* within */
		{m.x2 - w, m.y2 - h, m.x2, m.y2},
	};
	int64_t		least = INT64_MAX;
	bool		free_place = false;

	if (p->len == 0 || w > a->pixels->width || h > a->pixels->height)
		return;
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++)
	{
		rect		r = inside(a, candidates[i]);
		int64_t		plates = hidden_plates(a, n, r);
		int64_t		cost = 16 * plates + hidden_marks(a, r);

		if (cost < least && (plates == 0 || !free_place))
		{
			least = cost;
			p->at = r;
			free_place = plates == 0;
		}
	}
	if (!free_place)
		find_free_place(a, n, &p->at);
}

static dsv_code
draw_plate(annotation *a, const plate *p)
{
	if (p->at.x2 == p->at.x1)
		return DSV_OK;
	fill(a->pixels, p->at, p->style->color);
	return dsv_font_draw(a->font, p->text, p->len, a->pixels, p->at.x1 + a->pad,
						 p->at.y1 + a->pad / 2 + a->ascent, p->style->dark_text ? black : white, a->err);
}

/* ---- the whole ---- */

/* Marks with the same label share a colour. */
static void
choose_style(annotation *a, const dsv_mark *marks, int n, int *used)
{
	for (int i = 0; i < n; i++)
		if (marks[i].label_len == marks[n].label_len &&
			memcmp(marks[i].label, marks[n].label, marks[n].label_len) == 0)
		{
			a->plates[n].style = a->plates[i].style;
			return;
		}
	a->plates[n].style = &styles[(*used)++ % (sizeof(styles) / sizeof(styles[0]))];
}

static dsv_code
choose_sizes(annotation *a)
{
	double		size = sqrt((double) a->pixels->width * a->pixels->height);
	int			text = limited(round(size / 48), MAX_TEXT);

	text = text > MIN_TEXT ? text : MIN_TEXT;
	a->line = limited(round(size / 400), MAX_TEXT);
	a->line = a->line > 1 ? a->line : 1;
	a->edge = (a->line + 3) / 4;
	a->pad = (text + 3) / 6;
	return dsv_font_set_size(a->font, text, &a->ascent, &a->descent, a->err);
}

static dsv_code
draw_all(annotation *a, int orientation, const dsv_mark *marks)
{
	int			used = 0;
	dsv_code	code = choose_sizes(a);

	for (int i = 0; code == DSV_OK && i < a->n; i++)
	{
		if (dsv_poll_canceled(a->picture->poll))
			return dsv_fail_canceled(a->err);
		place_mark(a, orientation, &marks[i], &a->plates[i]);
		choose_style(a, marks, i, &used);
		code = make_text(a, &marks[i], &a->plates[i]);
	}
	for (int i = 0; code == DSV_OK && i < a->n; i++)
	{
		if (dsv_poll_canceled(a->picture->poll))
			return dsv_fail_canceled(a->err);
		draw_mark(a, &a->plates[i]);
		place_plate(a, i);
	}
	for (int i = 0; code == DSV_OK && i < a->n; i++)
		code = draw_plate(a, &a->plates[i]);
	return code;
}

dsv_code
dsv_picture_annotate(dsv_picture *picture, const dsv_mark *marks, int nmarks, const char *font,
					 dsv_error *err)
{
	annotation	a = {.picture = picture, .pixels = &picture->pixels, .n = nmarks, .err = err};
	int			orientation = picture->orientation;
	dsv_code	code;

	if (nmarks > DSV_MAX_MARKS)
		return dsv_fail(err, DSV_LIMIT, "more than %d boxes", DSV_MAX_MARKS);
	code = dsv_picture_turn(picture, 0, err);
	if (code != DSV_OK || nmarks == 0)
		return code;
	a.plates = dsv_alloc_zero(picture->mem, (size_t) nmarks, sizeof(*a.plates));
	code = a.plates != NULL ? DSV_OK : dsv_fail_nomem(err, (size_t) nmarks * sizeof(*a.plates));
	if (code == DSV_OK)
		code = dsv_font_open(font, picture->mem, &a.font, err);
	if (code == DSV_OK)
		code = draw_all(&a, orientation, marks);
	dsv_font_close(a.font);
	dsv_free(picture->mem, a.plates);
	return code;
}
