/*
 * kernels_amx.c
 *		Products with AMX: tiles of 16 rows of 64 bytes, multiplied by a unit of its own.
 *
 * Rows of activations are the first operand as they are packed.  The second one wants its
 * columns as pairs of bf16 or quads of bytes: quantised panels lie so, published bf16 weights
 * are transposed into a buffer, 32 rows of them at a time, which all activations then pass.
 *
 * Long rows are taken in pieces, between which the sums rest in C; no bit depends on that.
 *
 * Tiles are a thread's own.  They are shaped where a product begins and released where it ends,
 * so that neither signal handlers nor the scheduler have eight kilobytes more to save meanwhile.
 */
#if defined(__x86_64__)

#include "vec_avx512.h"
#include "kernels_tables.h"

#define SIDE 16					/* rows of a tile, and its columns of four bytes */
#define TILE_BYTES (SIDE * 64)

/* The operand of ldtilecfg */
typedef struct tile_shapes
{
	uint8_t		palette;
	uint8_t		start_row;
	uint8_t		reserved[14];
	uint16_t	row_bytes[16];
	uint8_t		rows[16];
} tile_shapes;

_Static_assert(sizeof(tile_shapes) == 64, "as the processor defines it");

INLINE void
set_shape(tile_shapes *s, int tile, int rows, int row_bytes)
{
	if (rows > 0 && row_bytes > 0)
	{
		s->rows[tile] = (uint8_t) rows;
		s->row_bytes[tile] = (uint16_t) row_bytes;
	}
}

/* The intrinsics do not tell the compiler what memory they read and write. */
INLINE void
finish_memory(void)
{
	__asm__ volatile("" ::: "memory");
}

INLINE void
load_shapes(const tile_shapes *s)
{
	finish_memory();
	_tile_loadconfig(s);
}

INLINE int
at_most(int n, int limit)
{
	return n < limit ? n : limit;
}

INLINE int
at_least(int n, int limit)
{
	return n > limit ? n : limit;
}

/* ---- bf16 ----
 *
 * Tiles 0 .. 3 are the sums of two by two tiles, 4 and 5 activations, 6 and 7 weights.
 */

#define BLOCK (2 * SIDE)		/* rows of A, and of W, that are multiplied at a time */
#define PIECE 16				/* groups whose weights, 32 kB, stay in the first-level cache */

/* [32 columns] of 16 rows, `stride` bytes apart, to [16 pairs][16 rows] */
INLINE void
transpose_pairs(const char *w, size_t stride, char *out)
{
#pragma GCC unroll 4
	for (int q = 0; q < 4; q++, w += 16, out += 4 * 64)
	{
		__m512i		x[4];		/* [rows i, 4 + i, 8 + i, 12 + i][4 pairs] */
		__m512i		low[2],
					high[2];

#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
		{
			x[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *) (w + i * stride)));
#pragma GCC unroll 3
			for (int j = 1; j < 4; j++)
				x[i] = _mm512_mask_broadcast_i32x4(x[i], (__mmask16) (15 << 4 * j),
												   _mm_loadu_si128((const __m128i *) (w + (4 * j + i) * stride)));
		}
		for (int i = 0; i < 2; i++)
		{
			low[i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
			high[i] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
		}
		_mm512_storeu_si512(out, _mm512_unpacklo_epi64(low[0], low[1]));
		_mm512_storeu_si512(out + 64, _mm512_unpackhi_epi64(low[0], low[1]));
		_mm512_storeu_si512(out + 128, _mm512_unpacklo_epi64(high[0], high[1]));
		_mm512_storeu_si512(out + 192, _mm512_unpackhi_epi64(high[0], high[1]));
	}
}

/* The same of fewer rows and columns, with zeros for what is missing; `missing` bytes of a row are */
static void
transpose_some(const char *w, size_t stride, int rows, int missing, char *out)
{
	char		whole[SIDE][64] = {{0}};

	for (int r = 0; r < rows; r++)
		memcpy(whole[r], w + r * stride, 64 - missing);
	transpose_pairs(whole[0], 64, out);
}

/* Groups g0 .. g0 + count of weight rows n0 .. to out[count][2] tiles */
static void
arrange_weights(const char *w, size_t stride, int n0, int n, int k, int g0, int count, char *out)
{
	for (int g = g0; g < g0 + count; g++)
		for (int t = 0; t < 2; t++, out += TILE_BYTES)
		{
			int			row = n0 + t * SIDE;
			int			rows = at_most(n - row, SIDE);
			int			left = (k - g * KERN_GROUP) * 2;
			const char *from = w + row * stride + g * 64;

			if (rows <= 0)
				continue;
			/* into the second-level cache what will be next; behind the last row nothing is read */
			for (int r = 0; r < SIDE; r++)
				__builtin_prefetch((const void *) ((uintptr_t) from + (r + BLOCK) * stride), 0, 2);
			if (rows == SIDE && left >= 64)
				transpose_pairs(from, stride, out);
			else
				transpose_some(from, stride, rows, at_least(64 - left, 0), out);
		}
}

/* mt x nt tiles of C, plus what is there already but for the first piece; mt and nt are constants
 * wherever this is inlined */
INLINE void
multiply_block(const char *a, size_t a_bytes, const char *w, float *c, size_t ldc, int groups, bool first,
			   int mt, int nt)
{
	size_t		c_bytes = ldc * sizeof(float);
	float	   *below = c + SIDE * ldc;

	finish_memory();
	if (first)
	{
		_tile_zero(0);
		if (nt == 2)
			_tile_zero(1);
		if (mt == 2)
			_tile_zero(2);
		if (mt == 2 && nt == 2)
			_tile_zero(3);
	}
	else
	{
		_tile_loadd(0, c, c_bytes);
		if (nt == 2)
			_tile_loadd(1, c + SIDE, c_bytes);
		if (mt == 2)
			_tile_loadd(2, below, c_bytes);
		if (mt == 2 && nt == 2)
			_tile_loadd(3, below + SIDE, c_bytes);
	}
	for (int g = 0; g < groups; g++, a += 64, w += 2 * TILE_BYTES)
	{
		_tile_loadd(6, w, 64);
		_tile_loadd(4, a, a_bytes);
		_tile_dpbf16ps(0, 4, 6);
		if (nt == 2)
		{
			_tile_loadd(7, w + TILE_BYTES, 64);
			_tile_dpbf16ps(1, 4, 7);
		}
		if (mt == 2)
		{
			_tile_loadd(5, a + SIDE * a_bytes, a_bytes);
			_tile_dpbf16ps(2, 5, 6);
		}
		if (mt == 2 && nt == 2)
			_tile_dpbf16ps(3, 5, 7);
	}
	_tile_stored(0, c, c_bytes);
	if (nt == 2)
		_tile_stored(1, c + SIDE, c_bytes);
	if (mt == 2)
		_tile_stored(2, below, c_bytes);
	if (mt == 2 && nt == 2)
		_tile_stored(3, below + SIDE, c_bytes);
	finish_memory();
}

/* Shapes for a block of mr rows and nr columns of C, up to 32 each */
static void
shape_block(int mr, int nr)
{
	tile_shapes s = {.palette = 1};

	for (int i = 0; i < 2; i++)
	{
		int			rows = at_most(at_least(mr - i * SIDE, 0), SIDE);
		int			cols = at_most(at_least(nr - i * SIDE, 0), SIDE);

		for (int j = 0; j < 2; j++)
			set_shape(&s, 2 * i + j, rows, 4 * at_most(at_least(nr - j * SIDE, 0), SIDE));
		set_shape(&s, 4 + i, rows, 64);
		set_shape(&s, 6 + i, SIDE, 4 * cols);
	}
	load_shapes(&s);
}

/* All rows of A, one piece of each, times the arranged weights of nr columns */
static void
pass_weights(const char *a, size_t a_bytes, const char *w, float *c, size_t ldc, int m, int nr, int groups,
			 bool first, int *shaped)
{
	for (int m0 = 0; m0 < m; m0 += BLOCK, a += BLOCK * a_bytes, c += BLOCK * ldc)
	{
		int			mr = at_most(m - m0, BLOCK);

		if (*shaped != mr * (BLOCK + 1) + nr)
			shape_block(mr, nr);
		*shaped = mr * (BLOCK + 1) + nr;
		if (mr > SIDE && nr > SIDE)
			multiply_block(a, a_bytes, w, c, ldc, groups, first, 2, 2);
		else if (mr > SIDE)
			multiply_block(a, a_bytes, w, c, ldc, groups, first, 2, 1);
		else if (nr > SIDE)
			multiply_block(a, a_bytes, w, c, ldc, groups, first, 1, 2);
		else
			multiply_block(a, a_bytes, w, c, ldc, groups, first, 1, 1);
	}
}

static void
add_bias(const float *bias, float *c, size_t ldc, int m, int n)
{
	for (int i = 0; i < m; i++, c += ldc)
		for (int j = 0; j < n; j += VL)
			store_some(c + j, load_some(c, KERN_F32, j, n - j) + load_some(bias, KERN_F32, j, n - j), n - j);
}

static void
kern_gemm_bf16(const void *a, size_t a_row_bytes, const void *w, size_t ldw, const float *bias, float *c,
			   size_t ldc, int m, int n, int k)
{
	_Alignas(64) char arranged[PIECE * 2 * TILE_BYTES];
	int			groups = (int) kern_groups((size_t) k);
	int			pieces = (groups + PIECE - 1) / PIECE;
	int			shaped = 0;

	for (int n0 = 0; n0 < n; n0 += BLOCK)
	{
		int			nr = at_most(n - n0, BLOCK);

		for (int p = 0; p < pieces; p++)
		{
			int			g0 = groups * p / pieces;
			int			count = groups * (p + 1) / pieces - g0;

			arrange_weights(w, ldw * sizeof(uint16_t), n0, n, k, g0, count, arranged);
			pass_weights((const char *) a + (size_t) g0 * 64, a_row_bytes, arranged, c + n0, ldc, m, nr, count,
						 p == 0, &shaped);
		}
		if (bias != NULL)
			add_bias(bias + n0, c + n0, ldc, m, nr);
	}
	_tile_release();
}

/* ---- quantised panels ----
 *
 * A group is one step of the tile unit: its sums are stored, and while the next group is
 * multiplied they are scaled and added to sixteen registers.  Activations in 16 bits are two
 * operands, the upper bytes with a sign and the lower ones without.
 *
 * Two sets of tiles are used in turn: 0 and 1, or 4 and 5, for sums, and 2 or 6 for activations,
 * 3 or 7 for weights.
 */

#define PANEL_PIECE 32			/* groups */
#define PANEL_ROWS 64			/* rows of A that a piece of a panel meets before the next one comes */

/* Below this many rows the registers' own dot products are the faster ones. */
#define FEW_ROWS 4

/* One group of 16 rows of activations */
typedef struct act_tile
{
	int8_t		upper[SIDE][KERN_GROUP];	/* or all, of bytes */
	uint8_t		lower[SIDE][KERN_GROUP];
	float		scale[SIDE];
} act_tile;

typedef int32_t sum_tile[SIDE][SIDE];

/* Packed rows as operands, zeros behind the last of them */
static void
arrange_activations(const char *a, size_t a_bytes, kern_act act, int rows, int groups, act_tile *out)
{
	/* of each eight columns in the order 0 2 1 3 the lower bytes, then the upper ones */
	const __m512i bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 2, 6, 8, 12, 10, 14, 1, 5, 3, 7, 9, 13, 11, 15));
	const __m512i halves = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);

	for (int g = 0; g < groups; g++, a += KERN_ACT_RECORD(act), out++)
	{
		if (rows < SIDE)
			memset(out, 0, sizeof(*out));
		for (int i = 0; i < rows; i++)
		{
			const char *record = a + i * a_bytes;

			memcpy(out->scale + i, record + KERN_ACT_SCALE(act), sizeof(float));
			if (act == KERN_ACT_I8)
				memcpy(out->upper[i], record, KERN_GROUP);
			else
			{
				__m512i		x = _mm512_shuffle_epi8(_mm512_loadu_si512(record), bytes);

				x = _mm512_permutexvar_epi64(halves, x);
				_mm256_storeu_si256((__m256i *) out->lower[i], _mm512_castsi512_si256(x));
				_mm256_storeu_si256((__m256i *) out->upper[i], _mm512_extracti64x4_epi64(x, 1));
			}
		}
	}
}

/* Blocks of Q4 as operands: 8 quads of columns each */
static void
widen_blocks(const char *w, int groups, char *out)
{
	const __m512i low = _mm512_set1_epi8(15);
	const __m512i eight = _mm512_set1_epi8(8);

	for (int g = 0; g < groups; g++, w += kern_block_bytes(KERN_Q4))
		for (int o = 0; o < 4; o++, out += 128)
		{
			__m512i		x = _mm512_loadu_si512(w + o * 64);

			_mm512_storeu_si512(out, _mm512_sub_epi8(_mm512_and_si512(x, low), eight));
			x = _mm512_and_si512(_mm512_srli_epi16(x, 4), low);
			_mm512_storeu_si512(out + 64, _mm512_sub_epi8(x, eight));
		}
}

/* Begins the sums of a group with one set of tiles; act and set are constants */
INLINE void
multiply_group(const act_tile *a, const char *w, kern_act act, int set, sum_tile sums[2])
{
	if (set == 0)
	{
		_tile_loadd(3, w, 64);
		_tile_loadd(2, a->upper, KERN_GROUP);
		_tile_zero(0);
		_tile_dpbssd(0, 2, 3);
		if (act == KERN_ACT_I16)
		{
			_tile_loadd(2, a->lower, KERN_GROUP);
			_tile_zero(1);
			_tile_dpbusd(1, 2, 3);
			_tile_stored(1, sums[1], 64);
		}
		_tile_stored(0, sums[0], 64);
	}
	else
	{
		_tile_loadd(7, w, 64);
		_tile_loadd(6, a->upper, KERN_GROUP);
		_tile_zero(4);
		_tile_dpbssd(4, 6, 7);
		if (act == KERN_ACT_I16)
		{
			_tile_loadd(6, a->lower, KERN_GROUP);
			_tile_zero(5);
			_tile_dpbusd(5, 6, 7);
			_tile_stored(5, sums[1], 64);
		}
		_tile_stored(4, sums[0], 64);
	}
}

/* acc[16 rows] of 16 columns plus the scaled sums of a group; scales of the weights at `scale` */
INLINE void
add_group(__m512 acc[SIDE], const act_tile *a, const char *scale, kern_act act, sum_tile sums[2])
{
	__m512		by = (__m512) (widen16(load16((const uint16_t *) (const void *) scale)) << 16);

#pragma GCC unroll 16
	for (int i = 0; i < SIDE; i++)
	{
		__m512i		s = _mm512_loadu_si512(sums[0][i]);

		if (act == KERN_ACT_I16)
			s = _mm512_add_epi32(_mm512_slli_epi32(s, 8), _mm512_loadu_si512(sums[1][i]));
		acc[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), by * _mm512_set1_ps(a->scale[i]), acc[i]);
	}
}

/* one gemm_panels: what its steps have in common */
typedef struct panel_product
{
	const float *bias;
	float	   *c;
	size_t		ldc;
	int			m;
	int			n;
} panel_product;

/* Sums of a piece that is not the first go on where they were; bias with the last one */
INLINE void
multiply_piece(const panel_product *g, int m0, int n0, const act_tile *a, const char *w, size_t w_bytes,
			   const char *scale, size_t scale_bytes, int groups, kern_act act, bool first, bool last)
{
	sum_tile	sums[2][2];
	__m512		acc[SIDE];
	float	   *c = g->c + m0 * g->ldc + n0;
	int			rows = at_most(g->m - m0, SIDE);
	int			cols = at_most(g->n - n0, SIDE);
	int			i = 0;

#pragma GCC unroll 16
	for (int r = 0; r < SIDE; r++)
		acc[r] = first || r >= rows ? _mm512_setzero_ps() : (__m512) load_some(c + r * g->ldc, KERN_F32, 0, cols);
	finish_memory();
	multiply_group(a, w, act, 0, sums[0]);
	for (; i + 2 < groups; i += 2)
	{
		multiply_group(a + i + 1, w + (i + 1) * w_bytes, act, 1, sums[1]);
		finish_memory();
		add_group(acc, a + i, scale + i * scale_bytes, act, sums[0]);
		multiply_group(a + i + 2, w + (i + 2) * w_bytes, act, 0, sums[0]);
		finish_memory();
		add_group(acc, a + i + 1, scale + (i + 1) * scale_bytes, act, sums[1]);
	}
	if (i + 1 < groups)
		multiply_group(a + i + 1, w + (i + 1) * w_bytes, act, 1, sums[1]);
	finish_memory();
	add_group(acc, a + i, scale + i * scale_bytes, act, sums[0]);
	if (i + 1 < groups)
		add_group(acc, a + i + 1, scale + (i + 1) * scale_bytes, act, sums[1]);
#pragma GCC unroll 16
	for (int r = 0; r < SIDE; r++)
		if (r < rows)
		{
			vf			sum = (vf) acc[r];

			if (last && g->bias != NULL)
				sum += load_some(g->bias, KERN_F32, n0, cols);
			store_some(c + r * g->ldc, sum, cols);
		}
}

/* One panel, one piece of its rows, times up to PANEL_ROWS arranged rows */
INLINE void
multiply_panel(const panel_product *g, int m0, int n0, const act_tile *a, const char *w, kern_dtype wt, int groups,
			   kern_act act, bool first, bool last)
{
	_Alignas(64) char wide[PANEL_PIECE * KERN_PANEL * KERN_GROUP];
	const char *integers = wt == KERN_Q4 ? wide : w;
	size_t		step = wt == KERN_Q4 ? KERN_PANEL * KERN_GROUP : kern_block_bytes(wt);
	int			end = at_most(g->m, m0 + PANEL_ROWS);

	if (wt == KERN_Q4)
		widen_blocks(w, groups, wide);
	for (; m0 < end; m0 += SIDE, a += PANEL_PIECE)
		multiply_piece(g, m0, n0, a, integers, step, w + kern_block_integers(wt), kern_block_bytes(wt), groups, act,
					   first, last);
}

INLINE void
gemm_tiles(const panel_product *g, const char *a, size_t a_bytes, const char *w, kern_dtype wt, int k, kern_act act)
{
	_Alignas(64) act_tile arranged[PANEL_ROWS / SIDE][PANEL_PIECE];
	int			groups = (int) kern_groups((size_t) k);
	size_t		panel_bytes = (size_t) groups * kern_block_bytes(wt);

	for (int m0 = 0; m0 < g->m; m0 += PANEL_ROWS)
		for (int g0 = 0; g0 < groups; g0 += PANEL_PIECE)
		{
			int			count = at_most(groups - g0, PANEL_PIECE);
			const char *piece = w + g0 * kern_block_bytes(wt);

			for (int r = m0; r < at_most(g->m, m0 + PANEL_ROWS); r += SIDE)
				arrange_activations(a + r * a_bytes + (size_t) g0 * KERN_ACT_RECORD(act), a_bytes, act,
									at_most(g->m - r, SIDE), count, arranged[(r - m0) / SIDE]);
			for (int n0 = 0; n0 < g->n; n0 += SIDE, piece += panel_bytes)
				multiply_panel(g, m0, n0, arranged[0], piece, wt, count, act, g0 == 0, g0 + count == groups);
		}
}

static void
shape_panels(void)
{
	tile_shapes s = {.palette = 1};

	for (int set = 0; set < 8; set += 4)
	{
		set_shape(&s, set, SIDE, 64);
		set_shape(&s, set + 1, SIDE, 64);
		set_shape(&s, set + 2, SIDE, KERN_GROUP);
		set_shape(&s, set + 3, KERN_GROUP / 4, 64);
	}
	load_shapes(&s);
}

static void
kern_gemm_panels(kern_act act, const void *a, size_t a_row_bytes, const void *w, kern_dtype wt, const float *bias,
				 float *c, size_t ldc, int m, int n, int k)
{
	panel_product g = {bias, c, ldc, m, n};

	if (m < FEW_ROWS)
	{
		kern_table_avx512_vnni.gemm_panels(act, a, a_row_bytes, w, wt, bias, c, ldc, m, n, k);
		return;
	}
	shape_panels();
	if (wt == KERN_Q8 && act == KERN_ACT_I8)
		gemm_tiles(&g, a, a_row_bytes, w, KERN_Q8, k, KERN_ACT_I8);
	else if (wt == KERN_Q8)
		gemm_tiles(&g, a, a_row_bytes, w, KERN_Q8, k, KERN_ACT_I16);
	else if (act == KERN_ACT_I8)
		gemm_tiles(&g, a, a_row_bytes, w, KERN_Q4, k, KERN_ACT_I8);
	else
		gemm_tiles(&g, a, a_row_bytes, w, KERN_Q4, k, KERN_ACT_I16);
	_tile_release();
}

const kern_table kern_table_amx = {
	.int8_dot = true,
	.gemm_bf16 = kern_gemm_bf16,
	.gemm_panels = kern_gemm_panels,
};

#endif							/* __x86_64__ */
