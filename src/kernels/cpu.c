/*
 * cpu.c
 *		Which instruction sets the machine and its operating system offer, and the table in
 *		use.
 *
 * An instruction set counts only when the processor has it (CPUID) and the operating
 * system saves its registers (XGETBV); a virtual machine may well offer the one without
 * the other.  Tiles also take the kernel's permission, which threads and children inherit.
 */
#include "kernels_tables.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XCR0_AVX 0x06			/* SSE and upper halves of ymm */
#define XCR0_AVX512 0xe6		/* and mask registers, zmm, zmm16-31 */
#define XCR0_TILES 0x60000		/* their shape and their data */

/* CPUID leaf 7 */
#define ECX_AVX512_VNNI (1u << 11)
#define EDX_AMX (1u << 22 | 1u << 24 | 1u << 25)	/* bf16, tiles, int8 */
/* and its subleaf 1 */
#define EAX_AVX_VNNI (1u << 4)
#define EAX_AVX512_BF16 (1u << 5)

/* Of arch_prctl() in Linux */
#define REQUEST_PERMISSION 0x1023
#define TILE_DATA 18

static uint64_t
enabled_registers(void)
{
	uint32_t	low,
				high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t) high << 32 | low;
}

static bool
tiles_permitted(void)
{
#if defined(__linux__)
	return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
	return false;
#endif
}

static unsigned
detect(void)
{
	const unsigned need1 = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
	const unsigned need512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
	unsigned	levels = 1u << KERN_GENERIC;
	unsigned	a,
				b,
				c,
				d,
				more,
				ignored;
	uint64_t	enabled;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & need1) != need1)
		return levels;
	enabled = enabled_registers();
	if ((enabled & XCR0_AVX) != XCR0_AVX)
		return levels;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
		return levels;
	levels |= 1u << KERN_AVX2;
	/* eax is the number of subleaves */
	if (a < 1 || !__get_cpuid_count(7, 1, &more, &ignored, &ignored, &ignored))
		more = 0;
	if (more & EAX_AVX_VNNI)
		levels |= 1u << KERN_AVX2_VNNI;
	if ((b & need512) != need512 || (enabled & XCR0_AVX512) != XCR0_AVX512)
		return levels;
	levels |= 1u << KERN_AVX512;
	if (!(c & ECX_AVX512_VNNI))
		return levels;
	levels |= 1u << KERN_AVX512_VNNI;
	if (!(more & EAX_AVX512_BF16))
		return levels;
	levels |= 1u << KERN_AVX512_BF16;
	if ((d & EDX_AMX) == EDX_AMX && (enabled & XCR0_TILES) == XCR0_TILES && tiles_permitted())
		levels |= 1u << KERN_AMX;
	return levels;
}

#else

static unsigned
detect(void)
{
	return 1u << KERN_GENERIC;
}

#endif

static const char *const names[KERN_LEVELS] = {
	[KERN_GENERIC] = "generic",
	[KERN_AVX2] = "avx2",
	[KERN_AVX2_VNNI] = "avx2-vnni",
	[KERN_AVX512] = "avx512",
	[KERN_AVX512_VNNI] = "avx512-vnni",
	[KERN_AVX512_BF16] = "avx512-bf16",
	[KERN_AMX] = "amx",
};

static kern_table tables[KERN_LEVELS];
const kern_table *kern = &tables[KERN_GENERIC];

/* Bits 1 << level.  CPUID is asked once: under a hypervisor each asking costs microseconds. */
static unsigned available = 1u << KERN_GENERIC;

kern_level
kern_detect(void)
{
	kern_level	best = KERN_LEVELS - 1;

	while (kern_get(best) == NULL)
		best--;
	return best;
}

const kern_table *
kern_get(kern_level level)
{
	if (level < 0 || level >= KERN_LEVELS || !(available & 1u << level))
		return NULL;
	return &tables[level];
}

const char *
kern_level_name(kern_level level)
{
	return level < 0 || level >= KERN_LEVELS ? NULL : names[level];
}

kern_level
kern_select(kern_level level)
{
	if (level >= KERN_LEVELS || level < 0)
		level = kern_detect();
	while (kern_get(level) == NULL)
		level--;
	kern = kern_get(level);
	return level;
}

#if defined(__x86_64__)

/* What a level has of its own, and from its base all else */
static kern_table
combine(const kern_table *base, const kern_table *own)
{
	kern_table	t = *base;

	t.int8_dot |= own->int8_dot;
	if (own->gemm_panels != NULL)
		t.gemm_panels = own->gemm_panels;
	if (own->gemm_bf16 != NULL)
		t.gemm_bf16 = own->gemm_bf16;
	return t;
}

#endif

static void
fill_tables(void)
{
	tables[KERN_GENERIC] = kern_table_generic;
#if defined(__x86_64__)
	tables[KERN_AVX2] = kern_table_avx2;
	tables[KERN_AVX2_VNNI] = combine(&kern_table_avx2, &kern_table_avx2_vnni);
	tables[KERN_AVX512] = kern_table_avx512;
	tables[KERN_AVX512_VNNI] = combine(&kern_table_avx512, &kern_table_avx512_vnni);
	tables[KERN_AVX512_BF16] = combine(&tables[KERN_AVX512_VNNI], &kern_table_avx512_bf16);
	tables[KERN_AMX] = combine(&tables[KERN_AVX512_BF16], &kern_table_amx);
#endif
	for (int level = 0; level < KERN_LEVELS; level++)
		tables[level].name = names[level];
}

/* The table is right from the start, before anybody asks for a level. */
__attribute__((constructor)) static void
select_best(void)
{
	fill_tables();
	available = detect();
	kern_select(kern_detect());
}
