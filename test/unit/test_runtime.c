/*
 * test_runtime.c
 *		What belongs to the process: processor levels, library versions, OpenBLAS.
 */
#include "blas.h"
#include "kernels.h"
#include "pool.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_cpu_levels(void **state)
{
	dsv_cpu_level best = dsv_cpu_detect();

	assert_in_range(best, DSV_CPU_GENERIC, DSV_CPU_AMX);
	assert_int_equal(dsv_cpu_current(), best);
	for (int level = DSV_CPU_GENERIC; level <= DSV_CPU_AMX; level++)
	{
		dsv_cpu_set(level);
		assert_in_range(dsv_cpu_current(), DSV_CPU_GENERIC, level);
		if (kern_get(level - 1) != NULL)
			assert_int_equal(dsv_cpu_current(), level);
		assert_string_equal(kern->name, dsv_cpu_level_name(dsv_cpu_current()));
	}
	dsv_cpu_set(DSV_CPU_GENERIC);
	dsv_cpu_set(DSV_CPU_AUTO);
	assert_int_equal(dsv_cpu_current(), best);
	dsv_cpu_set((dsv_cpu_level) 99);
	assert_int_equal(dsv_cpu_current(), best);
}

static void
test_cpu_names(void **state)
{
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AUTO), "auto");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_GENERIC), "generic");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AVX2), "avx2");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AVX2_VNNI), "avx2-vnni");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AVX512), "avx512");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AVX512_VNNI), "avx512-vnni");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AVX512_BF16), "avx512-bf16");
	assert_string_equal(dsv_cpu_level_name(DSV_CPU_AMX), "amx");
	assert_string_equal(dsv_cpu_level_name((dsv_cpu_level) 99), "unknown");
}

static void
test_libraries(void **state)
{
	static const char *const names[] = {"libjpeg", "libpng", "libtiff", "libwebp", "qpdf", "freetype", "pcre2",
	"jansson", "xxhash"};
	const int	n = sizeof(names) / sizeof(names[0]);
	const char *version;

	for (int i = 0; i < n; i++)
	{
		version = NULL;
		assert_non_null(strstr(dsv_library(i, &version), names[i]));
		assert_non_null(version);
		assert_in_range(version[0], '0', '9');
		assert_non_null(dsv_library(i, NULL));
	}
	assert_null(dsv_library(n, &version));
	assert_null(dsv_library(-1, &version));
}

static void
nothing(void *ud, int task, int worker)
{
}

static void
test_shutdown(void **state)
{
	dsv_pool_run(3, 10, nothing, NULL);
	assert_int_equal(dsv_pool_workers(), 2);
	dsv_shutdown();
	assert_int_equal(dsv_pool_workers(), 0);
}

#ifdef __linux__
static int
count_threads(void)
{
	DIR		   *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int			n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}
#endif

/* sigset_t is wider than the kernel's mask, and the rest is not written */
static void
assert_same_mask(const sigset_t *a, const sigset_t *b)
{
	for (int number = 1; number < NSIG; number++)
		assert_int_equal(sigismember(a, number), sigismember(b, number));
}

/* Opening starts no thread and leaves environment and signal mask as they were. */
static void
test_blas_open(void **state)
{
	sigset_t	before,
				after;

	dsv_shutdown();
	setenv("OPENBLAS_NUM_THREADS", "5", 1);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	if (!dsv_blas_open())
	{
		assert_string_equal(dsv_blas_version(), "none");
		assert_false(dsv_blas_open());
	}
	else
	{
		assert_true(dsv_blas_open());
		assert_int_equal(strncmp(dsv_blas_version(), "openblas ", 9), 0);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_same_mask(&after, &before);
	assert_string_equal(getenv("OPENBLAS_NUM_THREADS"), "5");
#ifdef __linux__
	assert_int_equal(count_threads(), 1);
#endif
}

/* ---- sgemm on several workers at once ---- */

enum
{
	BLAS_M = 61,
	BLAS_N = 47,
	BLAS_K = 130,
	BLAS_LDC = BLAS_N + 3,
	BLAS_TASKS = 24
};

typedef struct products
{
	float	   *a;				/* [BLAS_M + BLAS_TASKS, BLAS_K]: task t begins at row t */
	float	   *b;				/* [BLAS_N, BLAS_K] */
	float	   *c;				/* [BLAS_TASKS][BLAS_M, BLAS_LDC] */
} products;

static void
product_task(void *ud, int task, int worker)
{
	products   *p = ud;

	dsv_blas_sgemm_nt(BLAS_M, BLAS_N, BLAS_K, p->a + task * BLAS_K, BLAS_K, p->b, BLAS_K,
					  p->c + (size_t) task * BLAS_M * BLAS_LDC, BLAS_LDC);
}

static void
check_product(const products *p, int task)
{
	for (int i = 0; i < BLAS_M; i++)
	{
		const float *c = p->c + ((size_t) task * BLAS_M + i) * BLAS_LDC;

		for (int j = 0; j < BLAS_N; j++)
		{
			double		want = 0;

			for (int k = 0; k < BLAS_K; k++)
				want += (double) p->a[(task + i) * BLAS_K + k] * p->b[j * BLAS_K + k];
			assert_true(c[j] > want - 1e-3 && c[j] < want + 1e-3);
		}
		for (int j = BLAS_N; j < BLAS_LDC; j++)
			assert_true(c[j] == 0.0f);
	}
}

static void
test_blas_workers(void **state)
{
	size_t		size = (size_t) BLAS_TASKS * BLAS_M * BLAS_LDC;
	products	p;
	float	   *serial;

	if (!dsv_blas_open())
		skip();
	p.a = malloc((BLAS_M + BLAS_TASKS) * BLAS_K * sizeof(float));
	p.b = malloc(BLAS_N * BLAS_K * sizeof(float));
	p.c = calloc(size, sizeof(float));
	serial = malloc(size * sizeof(float));
	for (int i = 0; i < (BLAS_M + BLAS_TASKS) * BLAS_K; i++)
		p.a[i] = (float) (i * 37 % 101) / 101.0f;
	for (int i = 0; i < BLAS_N * BLAS_K; i++)
		p.b[i] = (float) (i * 53 % 97) / 97.0f - 0.5f;

	dsv_pool_run(1, BLAS_TASKS, product_task, &p);
	check_product(&p, 0);
	check_product(&p, BLAS_TASKS - 1);
	memcpy(serial, p.c, size * sizeof(float));
	for (int threads = 2; threads <= 6; threads += 2)
	{
		memset(p.c, 0, size * sizeof(float));
		dsv_pool_run(threads, BLAS_TASKS, product_task, &p);
		assert_memory_equal(p.c, serial, size * sizeof(float));
	}
#ifdef __linux__
	assert_int_equal(count_threads(), 1 + dsv_pool_workers());
#endif
	dsv_shutdown();
	free(p.a);
	free(p.b);
	free(p.c);
	free(serial);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpu_levels),
		cmocka_unit_test(test_cpu_names),
		cmocka_unit_test(test_libraries),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_blas_open),
		cmocka_unit_test(test_blas_workers),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("runtime", tests, NULL, NULL);
}
