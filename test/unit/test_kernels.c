/*
 * test_kernels.c
 *		Every kernel at every instruction set the machine has, against references written
 *		here: in double, or in float in exactly the order that kernels.h fixes.  The names of
 *		levels that the machine must have may be given as arguments (scripts/check-emulated).
 *
 * All buffers lie flush against a page that may not be touched, now behind them, now in
 * front of them, so that any access out of bounds ends the program; the sizes make them
 * unaligned by the way.
 */
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* ---- buffers between guard pages ---- */

#define SLOT_BYTES ((size_t) 1 << 20)
#define GUARD_BYTES ((size_t) 1 << 16)
#define SLOTS 6

static char *slot_memory[SLOTS];
static bool at_front;

static int
make_slots(void **state)
{
	for (int i = 0; i < SLOTS; i++)
	{
		char	   *p = mmap(NULL, SLOT_BYTES + 2 * GUARD_BYTES, PROT_NONE,
							 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED ||
			mprotect(p + GUARD_BYTES, SLOT_BYTES, PROT_READ | PROT_WRITE) != 0)
			return -1;
		slot_memory[i] = p + GUARD_BYTES;
	}
	return 0;
}

static int
drop_slots(void **state)
{
	for (int i = 0; i < SLOTS; i++)
		munmap(slot_memory[i] - GUARD_BYTES, SLOT_BYTES + 2 * GUARD_BYTES);
	return 0;
}

static void *
slot(int i, size_t bytes)
{
	assert_true(bytes <= SLOT_BYTES);
	return at_front ? slot_memory[i] : slot_memory[i] + SLOT_BYTES - bytes;
}

/* ---- random numbers, the same on every machine ---- */

static uint64_t seed = 1;

static uint32_t
random_bits(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (seed >> 32);
}

static float
random_float(float scale)
{
	return ((float) (random_bits() >> 8) * 0x1p-23f - 1.0f) * scale;
}

static float *
random_floats(int i, size_t n, float scale)
{
	float	   *x = slot(i, n * sizeof(float));

	for (size_t j = 0; j < n; j++)
		x[j] = random_float(scale);
	return x;
}

static uint32_t
float_bits(float f)
{
	uint32_t	bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static float
bits_float(uint32_t bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

static void
check_bits(float got, float want, const char *what, const kern_table *t, int i)
{
	if (float_bits(got) != float_bits(want) && !(got != got && want != want))
		fail_msg("%s %s [%d]: %a, expected %a", t->name, what, i, got, want);
}

static void
check_near(double got, double want, double tolerance, const char *what, const kern_table *t, int i)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%s %s [%d]: %.9g, expected %.9g, tolerance %.3g", t->name, what, i, got, want,
				 tolerance);
}

/* The levels of this machine, one after the other; NULL at the end. */
static const kern_table *
nth_table(int i)
{
	for (int level = 0; level < KERN_LEVELS; level++)
		if (kern_get(level) != NULL && i-- == 0)
			return kern_get(level);
	return NULL;
}

/* ---- references ---- */

static bool
is_fused(const kern_table *t)
{
#ifdef __FP_FAST_FMAF
	return true;
#else
	return t != kern_get(KERN_GENERIC);
#endif
}

static float
multiply_add(const kern_table *t, float a, float b, float c)
{
	volatile float product = a * b;

	return is_fused(t) ? fmaf(a, b, c) : product + c;
}

static float
tree_sum(float lanes[16])
{
	for (int half = 8; half > 0; half /= 2)
		for (int j = 0; j < half; j++)
			lanes[j] += lanes[j + half];
	return lanes[0];
}

static float
reference_dot(const kern_table *t, const float *a, const float *b, int k)
{
	float		lanes[16] = {0};

	for (int i = 0; i < k; i++)
		lanes[i % 16] = multiply_add(t, a[i], b[i], lanes[i % 16]);
	return tree_sum(lanes);
}

static float
reference_bf16(uint16_t h)
{
	return bits_float((uint32_t) h << 16);
}

static float
reference_half(uint16_t h)
{
	int			exponent = (h >> 10) & 31;
	int			fraction = h & 1023;
	float		magnitude;

	if (exponent == 31)
		magnitude = fraction != 0 ? NAN : INFINITY;
	else if (exponent == 0)
		magnitude = ldexpf((float) fraction, -24);
	else
		magnitude = ldexpf((float) (fraction + 1024), exponent - 25);
	return h & 0x8000 ? -magnitude : magnitude;
}

static float
reference_16(kern_dtype type, uint16_t h)
{
	return type == KERN_BF16 ? reference_bf16(h) : reference_half(h);
}

static float
reference_widen(kern_dtype type, const void *p, size_t i)
{
	if (type == KERN_F32)
		return ((const float *) p)[i];
	return reference_16(type, ((const uint16_t *) p)[i]);
}

/* random weights about one, some of them denormal */
static void *
random_weights(int i, kern_dtype type, size_t n)
{
	uint16_t   *h = slot(i, n * kern_dtype_size(type));

	if (type == KERN_F32)
		return random_floats(i, n, 1.0f);
	for (size_t j = 0; j < n; j++)
	{
		uint32_t	r = random_bits();
		uint16_t	one = type == KERN_BF16 ? 0x3f00 : 0x3800;

		h[j] = r % 17 == 0 ? (uint16_t) (r >> 16 & 0x807f) :
			(uint16_t) ((r >> 16 & 0x83ff) ^ one);
	}
	return h;
}

/* ---- the table itself ---- */

static char **wanted_levels;	/* up to a NULL */

static void
test_wanted(void **state)
{
	for (int level = 0; level < KERN_LEVELS; level++)
		if (kern_get(level) != NULL)
			print_message("# tested here: %s\n", kern_get(level)->name);
	for (char **want = wanted_levels; *want != NULL; want++)
	{
		const kern_table *found = NULL;

		for (int level = 0; level < KERN_LEVELS; level++)
			if (strcmp(kern_level_name(level), *want) == 0)
				found = kern_get(level);
		if (found == NULL)
			fail_msg("this machine has no %s", *want);
		assert_string_equal(found->name, *want);
	}
}

static void
test_select(void **state)
{
	kern_level	best = kern_detect();

	assert_ptr_equal(kern, kern_get(best));
	assert_non_null(kern_get(KERN_GENERIC));
	assert_string_equal(kern_get(KERN_GENERIC)->name, "generic");
	assert_null(kern_get(KERN_LEVELS));
	assert_null(kern_level_name(KERN_LEVELS));
	for (int level = 0; level < KERN_LEVELS; level++)
	{
		kern_level	chosen = kern_select(level);

		assert_ptr_equal(kern, kern_get(chosen));
		assert_string_equal(kern->name, kern_level_name(chosen));
		/* the best one up to the level that was asked for */
		assert_in_range(chosen, KERN_GENERIC, level);
		for (int between = chosen + 1; between <= level; between++)
			assert_null(kern_get(between));
	}
	assert_int_equal(kern_select(KERN_LEVELS), best);
}

/* ---- number formats ---- */

static void
test_widen_all(void **state)
{
	uint16_t   *x = slot(0, 65536 * 2);
	float	   *y = slot(1, 65536 * 4);
	const kern_table *t;

	for (int i = 0; i < 65536; i++)
		x[i] = (uint16_t) i;
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		t->widen(x, KERN_BF16, y, 65536);
		for (int i = 0; i < 65536; i++)
			assert_int_equal(float_bits(y[i]), (uint32_t) i << 16);
		t->widen(x, KERN_F16, y, 65536);
		for (int i = 0; i < 65536; i++)
		{
			check_bits(y[i], reference_half((uint16_t) i), "widen f16", t, i);
			/* a NaN keeps sign and payload, and is quiet */
			if (y[i] != y[i])
				assert_int_equal(float_bits(y[i]), (uint32_t) (i & 0x8000) << 16 | 0x7fc00000 |
								 (uint32_t) (i & 0x3ff) << 13);
		}
	}
}

/* halfway between neighbours goes to the even one, a hair to either side goes to that side */
static void
check_ties(const kern_table *t, kern_dtype type, uint16_t infinity)
{
	for (int sign = 0; sign <= 0x8000; sign += 0x8000)
	{
		for (int h = 0; h < infinity; h++)
		{
			uint16_t	pair[2] = {(uint16_t) (sign | h), (uint16_t) (sign | (h + 1))};
			double		low = reference_16(type, pair[0]);
			double		high = reference_16(type, pair[1]);
			float		x[3];
			uint16_t	y[3];

			if (h + 1 == infinity)	/* as if the largest exponent went on */
				high = 2 * low - reference_16(type, (uint16_t) (sign | (h - 1)));
			x[1] = (float) ((low + high) / 2);
			x[0] = nextafterf(x[1], (float) low);
			x[2] = nextafterf(x[1], sign ? -INFINITY : INFINITY);
			t->narrow(x, type, y, 3);
			if (y[0] != pair[0] || y[1] != pair[h & 1] || y[2] != pair[1])
				fail_msg("%s narrow near %04x: %04x %04x %04x", t->name, h, y[0], y[1], y[2]);
		}
	}
}

static void
test_narrow(void **state)
{
	const kern_dtype types[2] = {KERN_BF16, KERN_F16};
	const uint16_t infinity[2] = {0x7f80, 0x7c00};
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int k = 0; k < 2; k++)
		{
			uint16_t   *x = slot(0, 65536 * 2);
			float	   *y = slot(1, 65536 * 4);
			uint16_t   *back = slot(2, 65536 * 2);

			for (int i = 0; i < 65536; i++)
				x[i] = (uint16_t) i;
			t->widen(x, types[k], y, 65536);
			t->narrow(y, types[k], back, 65536);
			for (int i = 0; i < 65536; i++)
			{
				bool		nan = (i & 0x7fff) > infinity[k];
				int			quiet = types[k] == KERN_BF16 ? 0x40 : 0x200;

				assert_int_equal(back[i], nan ? i | quiet : i);
			}
			check_ties(t, types[k], infinity[k]);
			y[0] = FLT_MAX;
			y[1] = -FLT_MAX;
			y[2] = bits_float(0x7f800001);	/* a NaN whose payload is all in the lost bits */
			t->narrow(y, types[k], back, 3);
			assert_int_equal(back[0], infinity[k]);
			assert_int_equal(back[1], infinity[k] | 0x8000);
			assert_true(back[2] > infinity[k] && back[2] < 0x8000);
		}
	}
}

static void
test_convert_sizes(void **state)
{
	const kern_dtype types[3] = {KERN_F32, KERN_BF16, KERN_F16};
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int n = 0; n <= 70; n++)
		{
			at_front = n % 2;
			for (int k = 0; k < 3; k++)
			{
				void	   *x = random_weights(0, types[k], n);
				float	   *y = slot(1, n * 4);
				void	   *back = slot(2, n * kern_dtype_size(types[k]));
				float	   *rounded = slot(3, n * 4);

				t->widen(x, types[k], y, n);
				for (int i = 0; i < n; i++)
					check_bits(y[i], reference_widen(types[k], x, i), "widen", t, i);
				t->narrow(y, types[k], back, n);
				assert_memory_equal(back, x, n * kern_dtype_size(types[k]));

				for (int i = 0; i < n; i++)
					rounded[i] = y[i] * 1.003f;
				t->narrow(rounded, KERN_BF16, back, n);
				t->round_bf16(rounded, n);
				for (int i = 0; i < n; i++)
					check_bits(rounded[i], reference_bf16(((uint16_t *) back)[i]), "round", t, i);
			}
		}
	}
}

/* ---- products ---- */

/* One product with row strides a little wider than the rows, against the fixed order. */
static void
check_gemm_nt(const kern_table *t, kern_dtype type, int m, int n, int k, bool with_bias)
{
	size_t		lda = k + k % 3,
				ldw = k + n % 4,
				ldc = n + m % 3;
	float	   *a = random_floats(0, (m - 1) * lda + k, 1.0f);
	void	   *w = random_weights(1, type, (n - 1) * ldw + k);
	float	   *bias = with_bias ? random_floats(2, n, 1.0f) : NULL;
	float	   *c = slot(3, ((m - 1) * ldc + n) * 4);
	float	   *row = malloc(k * sizeof(float));

	for (size_t i = 0; i < (m - 1) * ldc + n; i++)
		c[i] = 77.0f;
	t->gemm_nt(a, lda, w, type, ldw, bias, c, ldc, m, n, k);
	for (int j = 0; j < n; j++)
	{
		for (int i = 0; i < k; i++)
			row[i] = reference_widen(type, w, j * ldw + i);
		for (int i = 0; i < m; i++)
		{
			float		want = reference_dot(t, a + i * lda, row, k);

			check_bits(c[i * ldc + j], with_bias ? want + bias[j] : want, "gemm_nt", t,
					   i * 1000 + j);
		}
	}
	for (int i = 0; i < m - 1; i++)
		for (size_t j = n; j < ldc; j++)
			assert_true(c[i * ldc + j] == 77.0f);
	free(row);
}

static void
test_gemm_nt(void **state)
{
	const kern_dtype types[3] = {KERN_F32, KERN_BF16, KERN_F16};
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int d = 0; d < 3; d++)
		{
			for (int k = 1; k <= 70; k++)
			{
				at_front = k % 2;
				check_gemm_nt(t, types[d], 1 + k % 8, 1 + k % 13, k, k % 3 == 0);
			}
			at_front = false;
			for (int m = 1; m <= 14; m++)
				for (int n = 1; n <= 19; n += 1 + m % 2)
					check_gemm_nt(t, types[d], m, n, 37, n % 2);
		}
		/* several chunks of weight rows; the last one is short */
		check_gemm_nt(t, KERN_BF16, 9, 150, 1280, true);
		check_gemm_nt(t, KERN_F32, 13, 83, 2313, false);
	}
}

static double
double_dot(const float *a, const float *b, int k, double *magnitude)
{
	double		sum = 0;

	*magnitude = 0;
	for (int i = 0; i < k; i++)
	{
		sum += (double) a[i] * b[i];
		*magnitude += fabs((double) a[i] * b[i]);
	}
	return sum;
}

/* the order itself is a good one: against double */
static void
test_gemm_nt_double(void **state)
{
	const int	m = 5,
				n = 11,
				k = 1153;
	const kern_table *t;
	double		magnitude;

	at_front = false;
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		float	   *a = random_floats(0, m * k, 1.0f);
		float	   *w = random_floats(1, n * k, 1.0f);
		float	   *c = slot(2, m * n * 4);

		t->gemm_nt(a, k, w, KERN_F32, k, NULL, c, n, m, n, k);
		for (int i = 0; i < m; i++)
		{
			for (int j = 0; j < n; j++)
			{
				double		want = double_dot(a + i * k, w + j * k, k, &magnitude);

				check_near(c[i * n + j], want, magnitude * FLT_EPSILON, "gemm_nt", t, i * n + j);
			}
		}
	}
}

/* neither other rows nor the split of the outputs shows in the bits */
static void
test_gemm_nt_split(void **state)
{
	const int	m = 37,
				n = 61,
				k = 203;
	const kern_table *t;

	at_front = false;
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		float	   *a = random_floats(0, m * k, 1.0f);
		uint16_t   *w = random_weights(1, KERN_BF16, n * k);
		float	   *bias = random_floats(2, n, 1.0f);
		float	   *whole = slot(3, m * n * 4);
		float	   *part = slot(4, m * n * 4);

		t->gemm_nt(a, k, w, KERN_BF16, k, bias, whole, n, m, n, k);
		for (int i = 0; i < m; i++)
			t->gemm_nt(a + i * k, k, w, KERN_BF16, k, bias, part + i * n, n, 1, n, k);
		assert_memory_equal(part, whole, m * n * 4);
		for (int split = 1; split < n; split += 7)
		{
			memset(part, 0, m * n * 4);
			t->gemm_nt(a, k, w, KERN_BF16, k, bias, part, n, m, split, k);
			t->gemm_nt(a, k, w + split * k, KERN_BF16, k, bias + split, part + split, n, m,
					   n - split, k);
			assert_memory_equal(part, whole, m * n * 4);
		}
	}
}

/* ---- bf16 times bf16 ---- */

static void
check_gemm_bf16(const kern_table *t, int m, int n, int k)
{
	size_t		row = kern_act_bytes(KERN_ACT_BF16, k);
	size_t		stride = row + 2 * (m % 2);
	size_t		ldw = k + n % 3;
	int			ldc = n + m % 3;
	float	   *x = random_floats(0, m * k, 1.0f);
	char	   *a = slot(1, (m - 1) * stride + row);
	uint16_t   *w = random_weights(2, KERN_BF16, (n - 1) * ldw + k);
	float	   *bias = n % 2 ? random_floats(3, n, 1.0f) : NULL;
	float	   *c = slot(4, ((m - 1) * ldc + n) * 4);

	t->pack(x, k, m, k, KERN_ACT_BF16, a, stride);
	for (int i = 0; i < (m - 1) * ldc + n; i++)
		c[i] = 7.0f;
	t->gemm_bf16(a, stride, w, ldw, bias, c, ldc, m, n, k);
	for (int i = 0; i < m; i++)
	{
		const uint16_t *from = (const uint16_t *) (const void *) (a + i * stride);

		for (int j = 0; j < n; j++)
		{
			double		want = bias != NULL ? bias[j] : 0;
			double		magnitude = fabs(want);

			for (int l = 0; l < k; l++)
			{
				double		product = (double) reference_bf16(from[l]) * reference_bf16(w[j * ldw + l]);

				want += product;
				magnitude += fabs(product);
			}
			check_near(c[i * ldc + j], want, magnitude * 4 * FLT_EPSILON, "gemm_bf16", t, i * n + j);
		}
		for (int j = n; j < ldc && i < m - 1; j++)
			check_bits(c[i * ldc + j], 7.0f, "gemm_bf16 behind a row", t, i);
	}
}

static void
test_gemm_bf16(void **state)
{
	for (int level = 0; level < KERN_LEVELS; level++)
	{
		const kern_table *t = kern_get(level);

		if (t == NULL)
			continue;
		assert_true((t->gemm_bf16 != NULL) == (level >= KERN_AVX512_BF16));
		if (t->gemm_bf16 == NULL)
			continue;
		for (int k = 1; k <= 100; k += 3)
		{
			at_front = k % 2;
			check_gemm_bf16(t, 1 + k % 35, 1 + k % 37, k);
		}
		at_front = false;
		check_gemm_bf16(t, 1, 70, 1280);
		check_gemm_bf16(t, 37, 66, 1130);
		check_gemm_bf16(t, 70, 33, 520);
	}
}

/* neither other rows nor the split of the outputs shows in the bits */
static void
test_gemm_bf16_split(void **state)
{
	enum {M = 37, N = 61, K = 613};
	size_t		row = kern_act_bytes(KERN_ACT_BF16, K);
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		float	   *x = random_floats(0, M * K, 1.0f);
		uint16_t   *w = random_weights(1, KERN_BF16, N * K);
		char	   *a = slot(2, M * row);
		float	   *whole = slot(3, M * N * 4);
		float	   *part = slot(4, M * N * 4);

		if (t->gemm_bf16 == NULL)
			continue;
		t->pack(x, K, M, K, KERN_ACT_BF16, a, row);
		t->gemm_bf16(a, row, w, K, NULL, whole, N, M, N, K);
		for (int i = 0; i < M; i++)
			t->gemm_bf16(a + i * row, row, w, K, NULL, part + i * N, N, 1, N, K);
		assert_memory_equal(part, whole, M * N * 4);
		for (int split = 1; split < N; split += 13)
		{
			memset(part, 0, M * N * 4);
			t->gemm_bf16(a, row, w, K, NULL, part, N, M, split, K);
			t->gemm_bf16(a, row, w + split * K, K, NULL, part + split, N, M, N - split, K);
			assert_memory_equal(part, whole, M * N * 4);
		}
	}
}

/* ---- quantised panels ---- */

/* Where kernels.h says that weight [row, col] is, and its value */
static float
panel_weight(const uint8_t *w, kern_dtype type, int cols, int row, int col)
{
	int			groups = (cols + 31) / 32;
	int			bytes = type == KERN_Q8 ? 512 : 256;
	const uint8_t *block = w + (row / 16 * groups + col / 32) * (bytes + 32);
	const uint8_t *scale = block + bytes + row % 16 * 2;
	int			c = col % 32;
	int			q;

	if (type == KERN_Q8)
		q = (int8_t) block[c / 4 * 64 + row % 16 * 4 + c % 4];
	else
		q = (block[c / 8 * 64 + row % 16 * 4 + c % 4] >> (c % 8 < 4 ? 0 : 4) & 15) - 8;
	return (float) q * bits_float(((uint32_t) scale[1] << 8 | scale[0]) << 16);
}

/* A matrix of random integers, the ends of their range among them, with random scales */
static uint8_t *
random_panels(int i, kern_dtype type, int rows, int cols)
{
	int			low = type == KERN_Q8 ? -127 : -8;
	int			high = type == KERN_Q8 ? 127 : 7;
	size_t		bytes = kern_matrix_bytes(type, rows, cols);
	uint8_t    *w = slot(i, bytes);
	int8_t		q[2048];
	uint16_t	scale[64];

	memset(w, 0, bytes);
	for (int r = 0; r < rows; r++)
	{
		int			kind = random_bits() % 4;

		memset(q, 0, sizeof(q));
		for (int c = 0; c < cols; c++)
			q[c] = kind == 0 ? (int8_t) high : kind == 1 ? (int8_t) low :
				(int8_t) (low + (int) (random_bits() % (uint32_t) (high - low + 1)));
		for (int g = 0; g < (cols + 31) / 32; g++)
			scale[g] = (uint16_t) (0x3c00 + random_bits() % 0x300);
		kern_put_row(q, scale, type, cols, r, w);
		for (int c = 0; c < cols; c++)
			check_bits(panel_weight(w, type, cols, r, c),
					   (float) q[c] * reference_bf16(scale[c / 32]), "kern_put_row", kern, c);
	}
	return w;
}

static void
test_panel_rows(void **state)
{
	float		y[100];

	for (kern_dtype type = KERN_Q8; type <= KERN_Q4; type++)
	{
		uint8_t    *w = random_panels(0, type, 37, 100);

		for (int r = 0; r < 37; r++)
		{
			kern_get_row(w, type, 100, r, y);
			for (int c = 0; c < 100; c++)
				check_bits(y[c], panel_weight(w, type, 100, r, c), "kern_get_row", kern, c);
		}
	}
}

static int
activation_integer(kern_act act, const char *record, int i)
{
	static const int order[4] = {0, 2, 1, 3};

	if (act == KERN_ACT_I8)
		return ((const int8_t *) record)[i];
	return ((const int16_t *) (const void *) record)[i / 4 * 4 + order[i % 4]];
}

/* Rows of activations: all of one size, some zero, one with numbers that are not finite */
static void
fill_activations(float *x, int m, int k)
{
	for (int i = 0; i < m * k; i++)
		x[i] = i / k % 4 == 1 ? (random_bits() & 1 ? 3.0f : -3.0f) :
			random_float(i / 32 % 3 == 0 ? 1e-4f : 5.0f);
	if (m > 2)
		memset(x + 2 * k, 0, k * sizeof(float));
	if (m > 5 && k > 40)
	{
		x[5 * k] = INFINITY;
		x[5 * k + 40] = NAN;
	}
	if (m > 6)
		for (int i = 0; i < k; i++)
			x[6 * k + i] = 1e-37f;
}

/* Integers within half a step of the numbers, their sum and scale; the same bytes at every level */
static void
check_pack(kern_act act, int m, int k)
{
	size_t		row = kern_act_bytes(act, k);
	float	   *x = slot(0, m * k * 4);
	char	   *first = slot(1, m * row);
	char	   *out = slot(2, m * row);
	int			range = act == KERN_ACT_I8 ? 127 : 32767;
	const kern_table *t;

	fill_activations(x, m, k);
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		memset(out, 0x55, m * row);
		t->pack(x, k, m, k, act, out, row);
		if (l > 0)
			assert_memory_equal(out, first, m * row);
		memcpy(first, out, m * row);
	}
	for (int g = 0; act != KERN_ACT_BF16 && g < m * ((k + 31) / 32); g++)
	{
		const char *record = out + g * KERN_ACT_RECORD(act);
		int			i0 = g % ((k + 31) / 32) * 32;
		const float *from = x + g / ((k + 31) / 32) * k;
		float		scale;
		int32_t		sum;
		int			want_sum = 0;
		bool		finite = true;

		memcpy(&scale, record + KERN_ACT_SCALE(act), 4);
		memcpy(&sum, record + KERN_ACT_SCALE(act) + 4, 4);
		for (int i = 0; i < 32; i++)
		{
			int			q = activation_integer(act, record, i);
			float		v = i0 + i < k ? from[i0 + i] : 0;

			want_sum += q;
			finite = finite && isfinite(v);
			assert_in_range(q + range, 0, 2 * range);
			if (isfinite(v) && scale == scale && fabsf(v) > 1e-30f)
				check_near((double) q * scale, v, 0.505 * scale, "pack", kern, i);
			if (i0 + i >= k)
				assert_int_equal(q, 0);
		}
		assert_int_equal(sum, want_sum);
		assert_true((scale == scale) == finite);
	}
	for (int i = 0; act == KERN_ACT_BF16 && i < m * (int) row / 2; i++)
	{
		int			c = i % ((int) row / 2);
		float		v = c < k ? x[i / ((int) row / 2) * k + c] : 0;

		kern_get(KERN_GENERIC)->round_bf16(&v, 1);
		check_bits(reference_bf16(((uint16_t *) (void *) out)[i]), v, "pack", kern, i);
	}
}

static void
test_pack(void **state)
{
	for (kern_act act = KERN_ACT_BF16; act <= KERN_ACT_I16; act++)
		for (int k = 1; k <= 130; k += k < 70 ? 3 : 20)
		{
			at_front = k % 2;
			check_pack(act, 1 + k % 8, k);
		}
	at_front = false;
}

/* Group by group as kernels.h says, integers in 64 bits */
static float
reference_panel_dot(const kern_table *t, kern_act act, const char *a, const uint8_t *w, kern_dtype type,
					int row, int k)
{
	float		sum = 0;

	for (int g = 0; g < (k + 31) / 32; g++, a += KERN_ACT_RECORD(act))
	{
		int64_t		products = 0;
		float		by;
		uint16_t	scale;
		int			bytes = type == KERN_Q8 ? 512 : 256;
		volatile float scales;

		memcpy(&by, a + KERN_ACT_SCALE(act), 4);
		memcpy(&scale, w + (row / 16 * ((k + 31) / 32) + g) * (bytes + 32) + bytes + row % 16 * 2, 2);
		scales = reference_bf16(scale) * by;
		for (int i = 0; i < 32 && g * 32 + i < k; i++)
		{
			float		v = panel_weight(w, type, k, row, g * 32 + i) / reference_bf16(scale);

			products += (int64_t) v * activation_integer(act, a, i);
		}
		sum = multiply_add(t, (float) products, scales, sum);
	}
	return sum;
}

static void
check_gemm_panels(kern_dtype type, kern_act act, int m, int n, int k)
{
	size_t		row = kern_act_bytes(act, k) + 8 * (m % 2);
	float	   *x = slot(0, m * k * 4);
	uint8_t    *w = random_panels(1, type, n, k);
	char	   *a = slot(2, m * row);
	float	   *c = slot(3, m * n * 4);
	float	   *bias = n % 2 ? random_floats(4, n, 1.0f) : NULL;
	const kern_table *t;

	fill_activations(x, m, k);
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		t->pack(x, k, m, k, act, a, row);
		t->gemm_panels(act, a, row, w, type, bias, c, n, m, n, k);
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++)
			{
				float		want = reference_panel_dot(t, act, a + i * row, w, type, j, k);

				check_bits(c[i * n + j], bias != NULL ? want + bias[j] : want, "gemm_panels", t, i * n + j);
			}
	}
}

static void
test_gemm_panels(void **state)
{
	for (kern_dtype type = KERN_Q8; type <= KERN_Q4; type++)
		for (kern_act act = KERN_ACT_I8; act <= KERN_ACT_I16; act++)
		{
			for (int k = 1; k <= 100; k += 3)
			{
				at_front = k % 2;
				check_gemm_panels(type, act, 1 + k % 14, 1 + k % 37, k);
			}
			at_front = false;
			check_gemm_panels(type, act, 1, 40, 1408);
			check_gemm_panels(type, act, 7, 90, 1280);
			check_gemm_panels(type, act, 20, 32, 96);
			/* several pieces of the rows, and of the columns, where a level cuts them */
			check_gemm_panels(type, act, 70, 18, 1060);
		}
}

/* A result does not depend on the rows and columns that are computed with it. */
static void
test_gemm_panels_split(void **state)
{
	enum {M = 13, N = 48, K = 200};
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
		for (kern_dtype type = KERN_Q8; type <= KERN_Q4; type++)
			for (kern_act act = KERN_ACT_I8; act <= KERN_ACT_I16; act++)
			{
				size_t		row = kern_act_bytes(act, K);
				float	   *x = random_floats(0, M * K, 2.0f);
				uint8_t    *w = random_panels(1, type, N, K);
				char	   *a = slot(2, M * row);
				float	   *whole = slot(3, M * N * 4);
				float	   *part = slot(4, M * N * 4);

				t->pack(x, K, M, K, act, a, row);
				t->gemm_panels(act, a, row, w, type, NULL, whole, N, M, N, K);
				for (int i = 0; i < M; i++)
					for (int j = 0; j < N; j += 16)
						t->gemm_panels(act, a + i * row, row, w + kern_matrix_bytes(type, j, K), type, NULL,
									   part + i * N + j, N, 1, 16, K);
				assert_memory_equal(part, whole, M * N * 4);
			}
}

/* The error is what the format allows, extremes and odd numbers included, at every level the same bits. */
static void
test_quantise(void **state)
{
	enum {N = 1300, GROUPS = (N + KERN_GROUP - 1) / KERN_GROUP};
	const double allowed[2] = {0.004, 0.075};	/* half a step, as a share of the largest magnitude */
	int8_t		first_q[2][GROUPS * KERN_GROUP];
	uint16_t	first_scale[2][GROUPS];
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
		for (kern_dtype type = KERN_Q8; type <= KERN_Q4; type++)
		{
			float	   *x = slot(0, N * 4);
			int8_t	   *q = slot(1, GROUPS * KERN_GROUP);
			uint16_t   *scale = slot(2, GROUPS * 2);
			double		squares = 0;
			double		errors = 0;

			seed = 7;
			for (int i = 0; i < N; i++)
				x[i] = random_float(i / 100 % 2 == 0 ? 1e-6f : 30.0f);
			memset(x + 64, 0, 32 * sizeof(float));
			x[100] = INFINITY;
			x[101] = NAN;
			for (int i = 128; i < 160; i++)
				x[i] = i == 130 ? -1e30f : 1e-38f;
			t->quantise(x, N, type, q, scale);
			for (int i = 0; i < GROUPS * KERN_GROUP; i++)
			{
				float		got = (float) q[i] * reference_bf16(scale[i / KERN_GROUP]);
				float		want = i < N && isfinite(x[i]) ? x[i] : 0;
				float		largest = 0;

				for (int j = i / KERN_GROUP * KERN_GROUP; j < N && j < i / KERN_GROUP * KERN_GROUP + KERN_GROUP; j++)
					if (isfinite(x[j]) && fabsf(x[j]) > largest)
						largest = fabsf(x[j]);
				assert_true(isfinite(got));
				assert_in_range(q[i] + 128, type == KERN_Q8 ? 1 : 120, type == KERN_Q8 ? 255 : 135);
				/* what is clipped may be off by a step */
				if (largest >= 1e-30f)
					check_near(got, want, 2 * allowed[type - KERN_Q8] * largest, "quantise", t, i);
				if (i < 160)
					continue;
				squares += (double) want * want;
				errors += ((double) want - got) * ((double) want - got);
			}
			/* uniform numbers: a step's error is step / sqrt 12, steps are 1/127 and about 1/7.5 */
			assert_true(sqrt(errors / squares) < (type == KERN_Q8 ? 0.0045 : 0.075));
			if (l == 0)
			{
				memcpy(first_q[type - KERN_Q8], q, sizeof(first_q[0]));
				memcpy(first_scale[type - KERN_Q8], scale, sizeof(first_scale[0]));
			}
			assert_memory_equal(q, first_q[type - KERN_Q8], sizeof(first_q[0]));
			assert_memory_equal(scale, first_scale[type - KERN_Q8], sizeof(first_scale[0]));
		}
}

static void
check_gemm_nn(const kern_table *t, kern_dtype type, int m, int n, int d)
{
	size_t		ldp = n + m % 3,
				ldv = d + n % 4,
				ldc = d + m % 3;
	float	   *p = random_floats(0, (m - 1) * ldp + n, 1.0f);
	void	   *v = random_weights(1, type, (n - 1) * ldv + d);
	float	   *c = random_floats(2, (m - 1) * ldc + d, 1.0f);
	float	   *want = slot(3, ((m - 1) * ldc + d) * 4);

	memcpy(want, c, ((m - 1) * ldc + d) * 4);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < d; j++)
			for (int r = 0; r < n; r++)
				want[i * ldc + j] = multiply_add(t, p[i * ldp + r],
												 reference_widen(type, v, r * ldv + j),
												 want[i * ldc + j]);
	t->gemm_nn(p, ldp, v, type, ldv, c, ldc, m, n, d);
	for (size_t i = 0; i < (m - 1) * ldc + d; i++)
		check_bits(c[i], want[i], "gemm_nn", t, (int) i);
}

static void
test_gemm_nn(void **state)
{
	const kern_dtype types[3] = {KERN_F32, KERN_BF16, KERN_F16};
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int k = 0; k < 3; k++)
		{
			for (int d = 1; d <= 70; d++)
			{
				at_front = d % 2;
				check_gemm_nn(t, types[k], 1 + d % 8, 1 + d % 11, d);
			}
			check_gemm_nn(t, types[k], 14, 37, 129);
			check_gemm_nn(t, types[k], 48, 72, 64);
			check_gemm_nn(t, types[k], 49, 64, 72);
			check_gemm_nn(t, types[k], 1, 64, 300);
		}
	}
}

/* ---- exp and its relatives ---- */

#define SOFTMAX_ROWS 9

/* What softmax_rows is told so far, and what it said: in double, from the definition */
typedef struct running
{
	double		max;
	double		sum;
} running;

static void
check_softmax_row(const kern_table *t, const float *x, const float *got, int width, int seen, running *run,
				  float max, float sum, float shrink)
{
	double		most = run->max;
	double		added = 0;
	double		shrunk;

	seen = seen < 0 ? 0 : seen > width ? width : seen;
	for (int i = 0; i < seen; i++)
		most = fmax(most, x[i]);
	for (int i = 0; i < width; i++)
	{
		float		below = x[i] - (float) most;
		double		e = i < seen && below >= -87 ? exp(below) : 0;

		check_near(got[i], e, 3e-7 * e, "softmax_rows", t, i);
		added += e;
	}
	check_bits(max, (float) most, "softmax_rows max", t, seen);
	shrunk = seen == 0 ? 1 : exp((float) run->max - (float) most);
	check_near(shrink, shrunk, 3e-7 * shrunk + 1e-38, "softmax_rows shrink", t, seen);
	run->sum = run->sum * shrunk + added;
	run->max = most;
	check_near(sum, run->sum, 1e-6 * run->sum, "softmax_rows sum", t, seen);
}

/* Four blocks of a causal softmax, the first rows of which see nothing of the last one, and of one in
 * which all rows see the same */
static void
check_softmax_rows(const kern_table *t, int width, int seen, int step)
{
	size_t		lds = (size_t) width + 3;
	float	   *score = slot(0, (SOFTMAX_ROWS - 1) * lds * 4 + width * 4);
	float	   *max = slot(1, SOFTMAX_ROWS * 4);
	float	   *sum = slot(2, SOFTMAX_ROWS * 4);
	float	   *shrink = slot(3, SOFTMAX_ROWS * 4);
	float		x[SOFTMAX_ROWS][64];
	running		run[SOFTMAX_ROWS];

	for (int r = 0; r < SOFTMAX_ROWS; r++)
	{
		max[r] = -INFINITY;
		sum[r] = 0;
		run[r] = (running) {-INFINITY, 0};
	}
	for (int block = 0; block < 4; block++)
	{
		int			first = block < 3 ? width : seen;

		for (int r = 0; r < SOFTMAX_ROWS; r++)
			for (int i = 0; i < width; i++)
				x[r][i] = score[r * lds + i] = i >= first + r * step ? (i % 2 ? NAN : INFINITY) :
					random_float(i % 7 == 0 ? 60.0f : 4.0f);
		t->softmax_rows(score, lds, SOFTMAX_ROWS, width, first, step, max, sum, shrink);
		for (int r = 0; r < SOFTMAX_ROWS; r++)
			check_softmax_row(t, x[r], score + r * lds, width, first + r * step, &run[r], max[r], sum[r],
							  shrink[r]);
	}
}

static void
test_softmax_rows(void **state)
{
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
		for (int front = 0; front <= 1; front++)
		{
			at_front = front;
			for (int width = 16; width <= 64; width += 16)
			{
				for (int seen = 1; seen <= width; seen++)
					check_softmax_rows(t, width, seen, 0);
				for (int seen = 1 - SOFTMAX_ROWS; seen <= width; seen++)
					check_softmax_rows(t, width, seen, 1);
			}
		}
	at_front = false;
}

/* distance between neighbouring floats at x */
static double
ulp(double x)
{
	int			exponent;

	frexp(x, &exponent);
	return ldexp(1.0, exponent - 24 > -149 ? exponent - 24 : -149);
}

static void
test_exp(void **state)
{
	const int	n = 100003;
	const kern_table *t;

	at_front = false;
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		float	   *x = slot(0, n * 4);
		float	   *y = slot(1, n * 4);

		/* from far below the smallest denormal up to 0, and close to 0 */
		for (int i = 0; i < n; i++)
			x[i] = i < n / 2 ? -108.0f * (float) i / (float) (n / 2) :
				-expf(-(float) (i - n / 2) * 0.001f);
		memcpy(y, x, n * 4);
		t->exp_sum(y, 0.0f, n);
		for (int i = 0; i < n; i++)
			check_near(y[i], exp(x[i]), 2 * ulp(exp(x[i])), "exp", t, i);

		x[0] = 5.0f;
		x[1] = -INFINITY;
		x[2] = -1e30f;
		x[3] = NAN;
		t->exp_sum(x, 5.0f, 4);
		check_bits(x[0], 1.0f, "exp", t, 0);
		check_bits(x[1], 0.0f, "exp", t, 1);
		check_bits(x[2], 0.0f, "exp", t, 2);
		assert_true(isnan(x[3]));
	}
}

static void
test_exp_sum(void **state)
{
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int n = 1; n <= 70; n++)
		{
			float	   *x,
						lanes[16] = {0},
						largest,
						total;

			at_front = n % 2;
			x = random_floats(0, n, 10.0f);
			x[n / 2] = n > 1 ? -INFINITY : 0.0f;
			largest = x[0];
			for (int i = 1; i < n; i++)
				largest = x[i] > largest ? x[i] : largest;
			check_bits(t->max(x, n), largest, "max", t, n);
			total = t->exp_sum(x, largest, n);
			for (int i = 0; i < n; i++)
				lanes[i % 16] += x[i];
			check_bits(total, tree_sum(lanes), "exp_sum", t, n);
		}
	}
}

static double
gelu_tanh(double x)
{
	return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double
gelu_erf(double x)
{
	return 0.5 * x * erfc(-x / sqrt(2));
}

static double
silu(double x)
{
	return x / (1 + exp(-x));
}

static double
logistic(double x)
{
	return 1 / (1 + exp(-x));
}

/* the kernel under test, with silu_mul by one in the common form */
static void
apply(const kern_table *t, int op, float *x, int n)
{
	if (op == 0)
		t->gelu_tanh(x, n);
	else if (op == 1)
		t->gelu_erf(x, n);
	else if (op == 2)
		t->sigmoid(x, n);
	else
	{
		float	   *one = slot(5, n * 4);

		for (int i = 0; i < n; i++)
			one[i] = 1.0f;
		t->silu_mul(x, one, n);
	}
}

static double (*const activations[4]) (double x) = {gelu_tanh, gelu_erf, logistic, silu};
static const char *const activation_names[4] = {"gelu_tanh", "gelu_erf", "sigmoid", "silu"};

/* erf and tanh to 2e-7, and small results to a few parts in a million */
static void
test_activations(void **state)
{
	const int	n = 200001;
	const kern_table *t;

	at_front = false;
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int op = 0; op < 4; op++)
		{
			float	   *x = slot(0, n * 4);
			float	   *y = slot(1, n * 4);

			for (int i = 0; i < n; i++)
				x[i] = ((float) i - (float) (n / 2)) * 1e-4f * (i % 5 == 0 ? 8.0f : 1.0f);
			memcpy(y, x, n * 4);
			apply(t, op, y, n);
			for (int i = 0; i < n; i++)
			{
				double		want = activations[op] (x[i]);
				double		slack = op == 2 ? 2e-7 : 2e-7 * fmax(fabs(x[i]) / 2, fabs(want));

				check_near(y[i], want, slack + ulp(want), activation_names[op], t, i);
				if (fabs(x[i]) < 4)
					check_near(y[i], want, 5e-6 * fabs(want), activation_names[op], t, i);
			}
		}
	}
}

static void
test_activation_ends(void **state)
{
	const kern_table *t;

	at_front = false;
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int op = 0; op < 4; op++)
		{
			float	   *x = slot(0, 7 * 4);

			x[0] = 1e30f;
			x[1] = -1e30f;
			x[2] = 0.0f;
			x[3] = NAN;
			x[4] = 1e-40f;
			x[5] = 100.0f;
			x[6] = -200.0f;
			apply(t, op, x, 7);
			check_bits(x[0], op == 2 ? 1.0f : 1e30f, activation_names[op], t, 0);
			check_near(x[1], 0.0, 0.0, activation_names[op], t, 1);
			check_bits(x[2], op == 2 ? 0.5f : 0.0f, activation_names[op], t, 2);
			assert_true(isnan(x[3]));
			check_near(x[4], op == 2 ? 0.5 : 5e-41, op == 2 ? 0 : 2e-45, activation_names[op], t,
					   4);
			check_bits(x[5], op == 2 ? 1.0f : 100.0f, activation_names[op], t, 5);
			check_near(x[6], 0.0, 1e-40, activation_names[op], t, 6);
		}
	}
}

/* ends of every length, and silu_mul's second factor */
static void
test_activation_sizes(void **state)
{
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int n = 0; n <= 70; n++)
		{
			at_front = n % 2;
			for (int op = 0; op < 4; op++)
			{
				float	   *x = random_floats(0, n, 6.0f);
				float	   *y = slot(1, n * 4);
				float	   *up = random_floats(2, n, 2.0f);

				memcpy(y, x, n * 4);
				apply(t, op, y, n);
				for (int i = 0; i < n; i++)
					check_near(y[i], activations[op] (x[i]), 2e-6, activation_names[op], t, i);
				memcpy(y, x, n * 4);
				t->silu_mul(y, up, n);
				for (int i = 0; i < n; i++)
					check_near(y[i], silu(x[i]) * up[i], 3e-6, "silu_mul", t, i);
			}
		}
	}
}

/* ---- the small ones ---- */

static void
test_elementwise(void **state)
{
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int n = 0; n <= 70; n++)
		{
			float	   *x,
					   *y,
					   *was;

			at_front = n % 2;
			x = random_floats(0, n, 1.0f);
			y = random_floats(1, n, 1.0f);
			was = slot(2, n * 4);

			memcpy(was, y, n * 4);
			t->add(x, y, n);
			for (int i = 0; i < n; i++)
				check_bits(y[i], was[i] + x[i], "add", t, i);
			memcpy(was, y, n * 4);
			t->axpy(0.3f, x, y, n);
			for (int i = 0; i < n; i++)
				check_bits(y[i], multiply_add(t, 0.3f, x[i], was[i]), "axpy", t, i);
			memcpy(was, y, n * 4);
			t->scale(y, 1.7f, n);
			for (int i = 0; i < n; i++)
				check_bits(y[i], was[i] * 1.7f, "scale", t, i);
		}
	}
}

static void
test_norms(void **state)
{
	const float eps = 1e-6f;
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int n = 1; n <= 1280; n += n < 70 ? 1 : 121)
		{
			float	   *x,
					   *w,
					   *b,
					   *y,
					   *z;
			double		mean = 0,
						square = 0,
						variance = 0;

			at_front = n % 2;
			x = random_floats(0, n, 3.0f);
			w = random_floats(1, n, 1.0f);
			b = random_floats(2, n, 1.0f);
			y = slot(3, n * 4);
			z = slot(4, n * 4);
			for (int i = 0; i < n; i++)
			{
				x[i] += 5.0f;
				mean += x[i] / (double) n;
				square += (double) x[i] * x[i] / n;
			}
			for (int i = 0; i < n; i++)
				variance += (x[i] - mean) * (x[i] - mean) / n;

			t->rms_norm(x, w, eps, y, n);
			for (int i = 0; i < n; i++)
				check_near(y[i], x[i] / sqrt(square + eps) * w[i], 2e-6, "rms_norm", t, i);
			/* one number: the difference to the mean is rounding alone, times 1 / sqrt(eps) */
			t->layer_norm(x, w, b, eps, z, n);
			for (int i = 0; i < n; i++)
				check_near(z[i], (x[i] - mean) / sqrt(variance + eps) * w[i] + b[i], 1e-5,
						   "layer_norm", t, i);

			memcpy(y, x, n * 4);
			t->layer_norm(y, w, b, eps, y, n);
			assert_memory_equal(y, z, n * 4);
			t->rms_norm(x, w, eps, y, n);
			memcpy(z, x, n * 4);
			t->rms_norm(z, w, eps, z, n);
			assert_memory_equal(y, z, n * 4);
		}
	}
}

/* mean and variance of large values with small spread: one pass would lose them */
static void
test_layer_norm_offset(void **state)
{
	float		x[64],
				w[64],
				b[64],
				y[64];
	const kern_table *t;

	for (int i = 0; i < 64; i++)
	{
		x[i] = 4096.0f + (i % 2 ? 0.25f : -0.25f);
		w[i] = 1.0f;
		b[i] = 0.0f;
	}
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		t->layer_norm(x, w, b, 0.0f, y, 64);
		for (int i = 0; i < 64; i++)
			check_bits(y[i], i % 2 ? 1.0f : -1.0f, "layer_norm", t, i);
	}
}

static void
test_rope(void **state)
{
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int d = 2; d <= KERN_ROPE_MAX; d += d < 140 ? 2 : 442)
		{
			for (int interleaved = 0; interleaved < 2; interleaved++)
			{
				int			half = d / 2;
				float	   *x,
						   *was,
						   *cosine,
						   *sine;

				at_front = half % 2;
				x = random_floats(0, d, 1.0f);
				was = slot(1, d * 4);
				cosine = random_floats(2, half, 1.0f);
				sine = random_floats(3, half, 1.0f);
				memcpy(was, x, d * 4);
				t->rope(x, cosine, sine, d, interleaved);
				for (int i = 0; i < half; i++)
				{
					double		a = interleaved ? was[2 * i] : was[i];
					double		b = interleaved ? was[2 * i + 1] : was[i + half];

					check_near(x[i], a * cosine[i] - b * sine[i], 2e-7, "rope", t, i);
					check_near(x[i + half], b * cosine[i] + a * sine[i], 2e-7, "rope", t, i + half);
				}
			}
		}
	}
}

static void
test_max_order(void **state)
{
	float		x[40];
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		for (int n = 1; n <= 40; n++)
		{
			for (int at = 0; at < n; at++)
			{
				for (int i = 0; i < n; i++)
					x[i] = i == at ? -1.0f : -2.0f;
				check_bits(t->max(x, n), -1.0f, "max", t, at);
				for (int i = 0; i < n; i++)
					x[i] = i == at ? -FLT_MAX : -INFINITY;
				check_bits(t->max(x, n), -FLT_MAX, "max", t, at);
			}
		}
	}
	x[0] = -INFINITY;
	assert_true(kern->max(x, 1) == -INFINITY);
}

/* ---- pixels ---- */

static void
check_weigh_pixels(const kern_table *t, int pixels, int n, int most)
{
	int			ldw = (most + 3) / 4 * 4;
	uint8_t    *x = slot(0, (size_t) pixels * 3 + KERN_PIXEL_SLACK);
	int		   *first = slot(1, (size_t) n * sizeof(int));
	int		   *count = slot(2, (size_t) n * sizeof(int));
	int32_t    *weight = slot(3, (size_t) n * ldw * sizeof(int32_t));
	uint8_t    *y = slot(4, (size_t) n * 3);

	for (int i = 0; i < pixels * 3 + KERN_PIXEL_SLACK; i++)
		x[i] = (uint8_t) random_bits();
	memset(weight, 0, (size_t) n * ldw * sizeof(int32_t));
	for (int i = 0; i < n; i++)
	{
		count[i] = (int) (random_bits() % (uint32_t) (most < pixels ? most + 1 : pixels + 1));
		first[i] = i % 3 == 0 ? pixels - count[i] : (int) (random_bits() % (uint32_t) (pixels - count[i] + 1));
		/* together 1.9 at most, of both signs */
		for (int k = 0; k < count[i]; k++)
			weight[i * ldw + k] = (int32_t) (random_bits() % (15u << 19) / (uint32_t) count[i]) - (7 << 19) / count[i] / 2;
	}
	t->weigh_pixels(x, first, count, weight, (size_t) ldw, y, n);
	for (int i = 0; i < n; i++)
		for (int c = 0; c < 3; c++)
		{
			int64_t		sum = 1 << (KERN_PIXEL_BITS - 1);

			for (int k = 0; k < count[i]; k++)
				sum += (int64_t) x[(first[i] + k) * 3 + c] * weight[i * ldw + k];
			assert_true(sum == (int32_t) sum);
			sum >>= KERN_PIXEL_BITS;
			assert_int_equal(y[3 * i + c], sum < 0 ? 0 : sum > 255 ? 255 : sum);
		}
}

static void
check_add_bytes(const kern_table *t, int n)
{
	uint8_t    *x = slot(0, (size_t) n);
	int32_t    *sum = slot(1, (size_t) n * sizeof(int32_t));
	int32_t    *before = slot(2, (size_t) n * sizeof(int32_t));
	int32_t		f = (int32_t) (random_bits() % (1u << 23)) - (1 << 22);

	for (int i = 0; i < n; i++)
	{
		x[i] = (uint8_t) random_bits();
		before[i] = sum[i] = (int32_t) (random_bits() % (1u << 30)) - (1 << 29);
	}
	t->add_bytes(x, f, sum, n);
	for (int i = 0; i < n; i++)
		assert_int_equal(sum[i], before[i] + x[i] * f);
}

/* Whole numbers: the same at every level, whatever the order */
static void
test_pixels(void **state)
{
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
		for (int front = 0; front <= 1; front++)
		{
			at_front = front;
			for (int pixels = 1; pixels <= 70; pixels++)
				for (int most = 1; most <= 45; most += 4)
					check_weigh_pixels(t, pixels, 20, most);
			for (int n = 0; n <= 200; n++)
				check_add_bytes(t, n);
		}
	at_front = false;
}

static void
check_transpose(const kern_table *t, kern_dtype type, int m, int n)
{
	size_t		ldx = (size_t) n + m % 3;
	size_t		ldy = (size_t) m + n % 3;
	float	   *x = random_floats(0, (m - 1) * ldx + n, 1.0f);
	char	   *y = slot(1, ((n - 1) * ldy + m) * kern_dtype_size(type));
	char	   *want = slot(2, kern_dtype_size(type));

	t->transpose(x, ldx, m, n, type, y, ldy);
	for (int i = 0; i < m; i++)
		for (int j = 0; j < n; j++)
		{
			t->narrow(x + i * ldx + j, type, want, 1);
			assert_memory_equal(y + (j * ldy + i) * kern_dtype_size(type), want, kern_dtype_size(type));
		}
}

static void
test_transpose(void **state)
{
	const kern_dtype types[3] = {KERN_F32, KERN_BF16, KERN_F16};
	const kern_table *t;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
		for (int m = 1; m <= 64; m += m < 20 ? 1 : 11)
			for (int n = 1; n <= 72; n += 5)
			{
				at_front = n % 2;
				check_transpose(t, types[n % 3], m, n);
			}
	at_front = false;
}

/* ---- between levels ---- */

/* Every kernel that does not have an exact reference above, into one buffer. */
static int
run_all(const kern_table *t, float *out)
{
	int			at = 0;

	seed = 99;
	at_front = false;
	for (int n = 1; n <= 200; n += 7)
	{
		float	   *x = random_floats(0, n, 8.0f);
		float	   *w = random_floats(1, n, 1.0f);
		float	   *y = out + at;

		for (int op = 0; op < 4; op++)
		{
			memcpy(y + op * n, x, n * 4);
			apply(t, op, y + op * n, n);
		}
		t->rms_norm(x, w, 1e-6f, y + 4 * n, n);
		t->layer_norm(x, w, w, 1e-6f, y + 5 * n, n);
		memcpy(y + 6 * n, x, n * 4);
		y[7 * n] = t->exp_sum(y + 6 * n, 8.0f, n);
		memcpy(y + 7 * n + 1, x, n * 4);
		t->rope(y + 7 * n + 1, w, w + n / 2, n & ~1, n % 3 == 0);
		memcpy(y + 8 * n + 1, x, n * 4);
		t->silu_mul(y + 8 * n + 1, w, n);
		at += 9 * n + 1;
		if (n >= 64)
		{
			float		state[3] = {-INFINITY, 0};

			memcpy(out + at, x, 64 * 4);
			t->softmax_rows(out + at, 64, 1, 64, 64 - n % 16, 0, state, state + 1, state + 2);
			out[at + 64] = state[1];
			at += 65;
		}
	}
	return at;
}

static void
test_levels_agree(void **state)
{
	enum
	{
		ROOM = 50000
	};
	float	   *fused = calloc(ROOM, sizeof(float));
	float	   *other = calloc(ROOM, sizeof(float));
	const kern_table *first = kern_get(KERN_AVX2);
	const kern_table *t;
	int			n;

	if (first == NULL)
		first = kern_get(KERN_GENERIC);
	n = run_all(first, fused);
	assert_in_range(n, 1, ROOM);
	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		assert_int_equal(run_all(t, other), n);
		for (int i = 0; i < n; i++)
		{
			if (is_fused(t) == is_fused(first))
				check_bits(other[i], fused[i], "levels", t, i);
			else
				check_near(other[i], fused[i], 4e-6 * (1 + fabs(fused[i])), "levels", t, i);
		}
	}
	free(fused);
	free(other);
}

/* rounding mode, flush to zero and masks stay as they were */
static void
test_fp_environment(void **state)
{
#if defined(__x86_64__)
	float	   *out = calloc(50000, sizeof(float));
	const kern_table *t;
	unsigned	before = _mm_getcsr() & ~0x3fu;

	for (int l = 0; (t = nth_table(l)) != NULL; l++)
	{
		run_all(t, out);
		assert_int_equal(_mm_getcsr() & ~0x3fu, before);
	}
	free(out);
#else
	skip();
#endif
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_widen_all),
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_convert_sizes),
		cmocka_unit_test(test_gemm_nt),
		cmocka_unit_test(test_gemm_nt_double),
		cmocka_unit_test(test_gemm_nt_split),
		cmocka_unit_test(test_gemm_bf16),
		cmocka_unit_test(test_gemm_bf16_split),
		cmocka_unit_test(test_panel_rows),
		cmocka_unit_test(test_pack),
		cmocka_unit_test(test_gemm_panels),
		cmocka_unit_test(test_gemm_panels_split),
		cmocka_unit_test(test_quantise),
		cmocka_unit_test(test_gemm_nn),
		cmocka_unit_test(test_softmax_rows),
		cmocka_unit_test(test_transpose),
		cmocka_unit_test(test_exp),
		cmocka_unit_test(test_exp_sum),
		cmocka_unit_test(test_activations),
		cmocka_unit_test(test_activation_ends),
		cmocka_unit_test(test_activation_sizes),
		cmocka_unit_test(test_elementwise),
		cmocka_unit_test(test_norms),
		cmocka_unit_test(test_layer_norm_offset),
		cmocka_unit_test(test_rope),
		cmocka_unit_test(test_max_order),
		cmocka_unit_test(test_pixels),
		cmocka_unit_test(test_levels_agree),
		cmocka_unit_test(test_fp_environment),
	};

	wanted_levels = argv + 1;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("kernels", tests, make_slots, drop_slots);
}
