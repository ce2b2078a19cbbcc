/*
 * cpu.c
 *		Which instruction set the machine and its operating system offer, and the table in
 *		use.
 *
 * An instruction set counts only when the processor has it (CPUID) and the operating
 * system saves its registers (XGETBV); a virtual machine may well offer the one without
 * the other.
 */
#include "kernels_tables.h"

#if defined(__x86_64__)

#include <cpuid.h>

#define XCR0_AVX 0x06			/* SSE and upper halves of ymm */
#define XCR0_AVX512 0xe6		/* and mask registers, zmm, zmm16-31 */

static uint64_t
enabled_registers(void)
{
	uint32_t	low,
				high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t) high << 32 | low;
}

static kern_level
detect(void)
{
	const unsigned need1 = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
	const unsigned need512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
	unsigned	a,
				b,
				c,
				d;
	uint64_t	enabled;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & need1) != need1)
		return KERN_GENERIC;
	enabled = enabled_registers();
	if ((enabled & XCR0_AVX) != XCR0_AVX)
		return KERN_GENERIC;
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
		return KERN_GENERIC;
	if ((b & need512) != need512 || (enabled & XCR0_AVX512) != XCR0_AVX512)
		return KERN_AVX2;
	return KERN_AVX512;
}

#else

static kern_level
detect(void)
{
	return KERN_GENERIC;
}

#endif

const kern_table *kern = &kern_table_generic;

/* CPUID is asked once: under a hypervisor each asking costs microseconds. */
static kern_level best = KERN_GENERIC;

kern_level
kern_detect(void)
{
	return best;
}

const kern_table *
kern_get(kern_level level)
{
	static const kern_table *const tables[KERN_LEVELS] = {
		[KERN_GENERIC] = &kern_table_generic,
#if defined(__x86_64__)
		[KERN_AVX2] = &kern_table_avx2,
		[KERN_AVX512] = &kern_table_avx512,
#endif
	};

	if (level < 0 || level >= KERN_LEVELS || level > best)
		return NULL;
	return tables[level];
}

kern_level
kern_select(kern_level level)
{
	if (level > best || level < 0)
		level = best;
	kern = kern_get(level);
	return level;
}

/* The table is right from the start, before anybody asks for a level. */
__attribute__((constructor)) static void
select_best(void)
{
	best = detect();
	kern_select(best);
}
