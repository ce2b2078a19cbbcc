/*
 * panel.c
 *		Single rows of quantised matrices into their panels and back (kernels.h has the layout).
 */
#include "kernels.h"

#include <string.h>

/* Where a row's groups are: the block of group g, and the row's lane in it */
static uint8_t *
block_at(const void *panels, kern_dtype t, size_t cols, size_t row, size_t group)
{
	size_t		block = row / KERN_PANEL * kern_groups(cols) + group;

	return (uint8_t *) (uintptr_t) panels + block * kern_block_bytes(t);
}

void
kern_put_row(const int8_t *q, const uint16_t *scale, kern_dtype t, size_t cols, size_t r, void *panels)
{
	size_t		lane = r % KERN_PANEL;

	for (size_t g = 0; g < kern_groups(cols); g++, q += KERN_GROUP)
	{
		uint8_t    *block = block_at(panels, t, cols, r, g);
		uint8_t    *to = block + 4 * lane;

		memcpy(block + kern_block_integers(t) + 2 * lane, scale + g, 2);
		if (t == KERN_Q8)
			for (int i = 0; i < KERN_GROUP; i += 4, to += 4 * KERN_PANEL)
				memcpy(to, q + i, 4);
		else
			for (int i = 0; i < KERN_GROUP; i += 8, to += 4 * KERN_PANEL)
				for (int j = 0; j < 4; j++)
					to[j] = (uint8_t) ((q[i + j] + 8) | (q[i + 4 + j] + 8) << 4);
	}
}

static int
integer_at(const uint8_t *from, kern_dtype t, int i)
{
	if (t == KERN_Q8)
		return (int8_t) from[i / 4 * 4 * KERN_PANEL + i % 4];
	return (from[i / 8 * 4 * KERN_PANEL + i % 4] >> (i % 8 < 4 ? 0 : 4) & 15) - 8;
}

void
kern_get_row(const void *panels, kern_dtype t, size_t cols, size_t r, float *y)
{
	size_t		lane = r % KERN_PANEL;

	for (size_t at = 0; at < cols; at += KERN_GROUP)
	{
		const uint8_t *block = block_at(panels, t, cols, r, at / KERN_GROUP);
		uint16_t	upper;
		uint32_t	bits;
		float		scale;

		memcpy(&upper, block + kern_block_integers(t) + 2 * lane, sizeof(upper));
		bits = (uint32_t) upper << 16;
		memcpy(&scale, &bits, sizeof(scale));
		for (int i = 0; i < KERN_GROUP && at + i < cols; i++)
			y[at + i] = (float) integer_at(block + 4 * lane, t, i) * scale;
	}
}
