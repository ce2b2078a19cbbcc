/*
 * resize.c
 *		Pillow's resize(..., BICUBIC) of 8-bit RGB, to the byte.
 *
 * Pillow resizes along the rows first and along the columns second, with 8-bit pixels between;
 * a pass that would not change its side is left out.  The weights of an output pixel are
 * computed in double, normalised, and rounded to 22-bit fixed point; sums start at one half and
 * are cut to 8 bits by a shift.  All of that decides last bits, so the formulas below are kept
 * in Pillow's order of operations, and a compiler that fuses multiplications and additions of
 * its own accord (not on x86-64) must be told -ffp-contract=off.
 *
 * The rows that the first pass makes go into a ring just tall enough for one window of the
 * second: every source row is read once, in order, and never one that no window wants.
 */
#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"
#include "tile.h"

#define PRECISION KERN_PIXEL_BITS
#define HALF (1 << (PRECISION - 1))

/* The windows of one side: output i is the sum of count[i] inputs from first[i] on. */
typedef struct axis
{
	int			from;
	int			to;
	int			taps;			/* the widest window */
	int		   *first;			/* [to] */
	int		   *count;			/* [to] */
	int32_t    *weight;			/* [to, taps] */
} axis;

typedef struct resizer
{
	const dsv_pixels *src;
	axis		across;			/* weight NULL: the side does not change */
	axis		down;
	uint8_t    *ring;			/* [slots, across.to, 3]: rows that were resized across */
	uint8_t    *edge;			/* a row at the end of the picture, with slack behind it */
	int			slots;
	int			next_row;		/* of the source, to be resized across */
	unsigned	rows_done;		/* of both passes */
	const dsv_poll *poll;
	const dsv_mem *mem;
	dsv_error  *err;
} resizer;

/* Keys' cubic with a = -1/2 */
static double
cubic(double x)
{
	const double a = -0.5;

	x = fabs(x);
	if (x < 1.0)
		return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
	if (x < 2.0)
		return (((x - 5) * x + 8) * x - 4) * a;
	return 0.0;
}

/* exact: [taps], for the weights before they are rounded */
static void
fill_axis(axis *ax, double *exact)
{
	double		scale = (double) ax->from / ax->to;
	double		stretch = scale < 1.0 ? 1.0 : scale;	/* wider windows only when shrinking */
	double		support = 2.0 * stretch;

	for (int i = 0; i < ax->to; i++)
	{
		double		centre = (i + 0.5) * scale;
		int			first = (int) (centre - support + 0.5);
		int			end = (int) (centre + support + 0.5);
		double		total = 0.0;
		int32_t    *weight = ax->weight + (size_t) i * ax->taps;

		if (first < 0)
			first = 0;
		if (end > ax->from)
			end = ax->from;
		for (int k = 0; k < end - first; k++)
		{
			exact[k] = cubic((k + first - centre + 0.5) * (1.0 / stretch));
			total += exact[k];
		}
		for (int k = 0; k < end - first; k++)
		{
			double		w = total != 0.0 ? exact[k] / total : exact[k];

			weight[k] = (int32_t) (w * (1 << PRECISION) + (w < 0 ? -0.5 : 0.5));
		}
		ax->first[i] = first;
		ax->count[i] = end - first;
	}
}

static dsv_code
make_axis(resizer *r, axis *ax, int from, int to)
{
	double		scale = (double) from / to;
	double	   *exact;
	dsv_code	code = DSV_OK;

	ax->from = from;
	ax->to = to;
	if (from == to)
		return DSV_OK;
	ax->taps = (int) ceil(2.0 * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
	ax->taps = (ax->taps + 3) / 4 * 4;	/* as the kernel wants them */
	ax->first = dsv_alloc(r->mem, (size_t) to, sizeof(int));
	ax->count = dsv_alloc(r->mem, (size_t) to, sizeof(int));
	ax->weight = dsv_alloc_zero(r->mem, (size_t) to * ax->taps, sizeof(int32_t));
	exact = dsv_alloc(r->mem, (size_t) ax->taps, sizeof(double));
	if (ax->first != NULL && ax->count != NULL && ax->weight != NULL && exact != NULL)
		fill_axis(ax, exact);
	else
		code = dsv_fail_nomem(r->err, (size_t) to * ax->taps * sizeof(int32_t));
	dsv_free(r->mem, exact);
	return code;
}

static void
free_axis(const dsv_mem *mem, axis *ax)
{
	dsv_free(mem, ax->first);
	dsv_free(mem, ax->count);
	dsv_free(mem, ax->weight);
}

static inline uint8_t
clip8(int32_t sum)
{
	sum >>= PRECISION;
	return sum < 0 ? 0 : sum > 255 ? 255 : (uint8_t) sum;
}

static dsv_code
poll_row(resizer *r)
{
	if (r->rows_done++ % 64 == 0 && dsv_poll_canceled(r->poll))
		return dsv_fail_canceled(r->err);
	return DSV_OK;
}

/* Row y of the source with its final width; valid until `slots` later rows were made. */
static const uint8_t *
wide_row(const resizer *r, int y)
{
	if (r->ring == NULL)
		return r->src->rgb + (size_t) y * r->src->width * 3;
	return r->ring + (size_t) (y % r->slots) * r->across.to * 3;
}

/* Row y of the source, with bytes behind it that may be read */
static const uint8_t *
source_row(const resizer *r, int y)
{
	size_t		line = (size_t) r->src->width * 3;
	const uint8_t *row = r->src->rgb + (size_t) y * line;

	if ((size_t) (r->src->height - 1 - y) * line >= KERN_PIXEL_SLACK)
		return row;
	memcpy(r->edge, row, line);
	return r->edge;
}

/* Makes rows first .. end - 1 of the first pass be there. */
static dsv_code
make_wide_rows(resizer *r, int first, int end)
{
	if (r->ring == NULL)
		return DSV_OK;
	if (r->next_row < first)
		r->next_row = first;
	for (; r->next_row < end; r->next_row++)
	{
		int			y = r->next_row;
		dsv_code	code = poll_row(r);

		if (code != DSV_OK)
			return code;
		kern->weigh_pixels(source_row(r, y), r->across.first, r->across.count, r->across.weight,
						   (size_t) r->across.taps, r->ring + (size_t) (y % r->slots) * r->across.to * 3, r->across.to);
	}
	return DSV_OK;
}

/* Row y of the result, in pieces whose sums stay in the first-level cache. */
static void
sum_rows(const resizer *r, int y, uint8_t *restrict dst)
{
	enum { PIECE = 1536 };
	int32_t		sum[PIECE];
	const int32_t *weight = r->down.weight + (size_t) y * r->down.taps;
	int			bytes = r->across.to * 3;

	for (int at = 0; at < bytes; at += PIECE)
	{
		int			n = bytes - at < PIECE ? bytes - at : PIECE;

		for (int i = 0; i < n; i++)
			sum[i] = HALF;
		for (int k = 0; k < r->down.count[y]; k++)
			kern->add_bytes(wide_row(r, r->down.first[y] + k) + at, weight[k], sum, n);
		for (int i = 0; i < n; i++)
			dst[at + i] = clip8(sum[i]);
	}
}

static dsv_code
resize_rows(resizer *r, uint8_t *dst, size_t stride)
{
	bool		same_height = r->down.weight == NULL;
	dsv_code	code;

	for (int y = 0; y < r->down.to; y++, dst += stride)
	{
		int			first = same_height ? y : r->down.first[y];
		int			count = same_height ? 1 : r->down.count[y];

		code = make_wide_rows(r, first, first + count);
		if (code == DSV_OK)
			code = poll_row(r);
		if (code != DSV_OK)
			return code;
		if (same_height)
			memcpy(dst, wide_row(r, y), (size_t) r->across.to * 3);
		else
			sum_rows(r, y, dst);
	}
	return DSV_OK;
}

dsv_code
dsv_resize_bicubic(const dsv_pixels *src, int w, int h, uint8_t *dst, size_t stride,
				   const dsv_poll *poll, const dsv_mem *mem, dsv_error *err)
{
	resizer		r = {.src = src, .poll = poll, .mem = mem, .err = err};
	dsv_code	code = make_axis(&r, &r.across, src->width, w);

	if (code == DSV_OK)
		code = make_axis(&r, &r.down, src->height, h);
	if (code == DSV_OK && r.across.weight != NULL)
	{
		r.slots = r.down.weight != NULL ? r.down.taps : 1;
		if (r.slots > src->height)
			r.slots = src->height;
		r.ring = dsv_alloc(mem, (size_t) r.slots * w, 3);
		r.edge = dsv_alloc_zero(mem, (size_t) src->width * 3 + KERN_PIXEL_SLACK, 1);
		if (r.ring == NULL || r.edge == NULL)
			code = dsv_fail_nomem(err, (size_t) r.slots * w * 3);
	}
	if (code == DSV_OK)
		code = resize_rows(&r, dst, stride);
	dsv_free(mem, r.ring);
	dsv_free(mem, r.edge);
	free_axis(mem, &r.across);
	free_axis(mem, &r.down);
	return code;
}
