/*
 * limits_instructions.c
 *		Loops of one instruction on registers alone, and which of them the processor has.
 *
 * An instruction needs the result of the one before only where it adds to the same register, so
 * there are as many sums as hide its latency.  Inline assembly, since a compiler would fold sums
 * of constants; what the registers hold does not matter, as no instruction here takes longer for
 * some numbers (the sums stay normal numbers).
 */
#include <string.h>

#include "limits.h"

#define UNROLLED _Pragma("GCC unroll 32")

/* ---- any processor: what the plain kernels are compiled to ---- */

typedef float floats __attribute__((vector_size(16)));

#define PLAIN_STEPS 12

/* Hides from the compiler what a vector holds. */
static inline void
conceal(floats *v)
{
#if defined(__x86_64__)
	__asm__ volatile("" : "+x"(*v));
#elif defined(__aarch64__)
	__asm__ volatile("" : "+w"(*v));
#else
	__asm__ volatile("" : "+m"(*v));
#endif
}

static void
rounds_plain(int64_t n)
{
	floats		sum[PLAIN_STEPS] = {{0}};
	floats		factor = {1, 1, 1, 1};

	conceal(&factor);
	for (; n > 0; n--)
		UNROLLED for (int i = 0; i < PLAIN_STEPS; i++)
		{
			floats		product = factor;

			conceal(&product);
			sum[i] += product * factor;
			conceal(&sum[i]);
		}
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- vectors ---- */

typedef float ymm __attribute__((vector_size(32)));
typedef float zmm __attribute__((vector_size(64)));

/* 16 and 32 registers: two factors, a register for a product where the sum takes an instruction
 * of its own, and a third factor for bytes */
#define YMM_STEPS 12
#define ZMM_STEPS 24

/* A loop over independent sums: `step` adds the product of b and c to each; d is a temporary and
 * e a third factor. */
#define VECTOR_ROUNDS(name, isa, vector, steps, step) \
	__attribute__((target(isa))) static void \
	name(int64_t n) \
	{ \
		vector		sum[steps] = {{0}}; \
		vector		b, \
					c, \
					d, \
					e; \
 \
		memset(&b, 0x3c, sizeof(b)); \
		memset(&c, 0x3c, sizeof(c)); \
		memset(&e, 0x01, sizeof(e)); \
		for (; n > 0; n--) \
			UNROLLED for (int i = 0; i < steps; i++) \
				__asm__ volatile(step : "+v"(sum[i]), "=&v"(d) : "v"(b), "v"(c), "v"(e)); \
		(void) d; \
	}

#define FMA "vfmadd231ps %2, %3, %0"
#define MADD16 "vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0"
#define MADD8 "vpmaddubsw %2, %3, %1\n\tvpmaddwd %1, %4, %1\n\tvpaddd %1, %0, %0"

VECTOR_ROUNDS(rounds_fma_256, "avx2,fma", ymm, YMM_STEPS, FMA)
VECTOR_ROUNDS(rounds_madd16_256, "avx2", ymm, YMM_STEPS, MADD16)
VECTOR_ROUNDS(rounds_madd8_256, "avx2", ymm, YMM_STEPS, MADD8)
VECTOR_ROUNDS(rounds_dot16_256, "avx2", ymm, YMM_STEPS, "%{vex%} vpdpwssd %2, %3, %0")
VECTOR_ROUNDS(rounds_dot8_256, "avx2", ymm, YMM_STEPS, "%{vex%} vpdpbusd %2, %3, %0")
VECTOR_ROUNDS(rounds_fma_512, "avx512f", zmm, ZMM_STEPS, FMA)
VECTOR_ROUNDS(rounds_madd16_512, "avx512bw", zmm, ZMM_STEPS, MADD16)
VECTOR_ROUNDS(rounds_madd8_512, "avx512bw", zmm, ZMM_STEPS, MADD8)
VECTOR_ROUNDS(rounds_dot16_512, "avx512f", zmm, ZMM_STEPS, "vpdpwssd %2, %3, %0")
VECTOR_ROUNDS(rounds_dot8_512, "avx512f", zmm, ZMM_STEPS, "vpdpbusd %2, %3, %0")
VECTOR_ROUNDS(rounds_dotbf16_512, "avx512f", zmm, ZMM_STEPS, "vdpbf16ps %2, %3, %0")

/* ---- tiles ---- */

#define TILE_STEPS 6			/* of 8 tiles, two are factors */

typedef struct tile_config
{
	uint8_t		palette;
	uint8_t		start_row;
	uint8_t		reserved[14];
	uint16_t	row_bytes[16];
	uint8_t		rows[16];
} tile_config;

/* Whole tiles, 16 rows of 64 bytes, all zero */
static void
configure_tiles(void)
{
	tile_config config = {.palette = 1};

	for (int i = 0; i < 8; i++)
	{
		config.row_bytes[i] = 64;
		config.rows[i] = 16;
	}
	__asm__ volatile("ldtilecfg %0" : : "m"(config));
}

#define TILE_ROUNDS(name, instruction) \
	static void \
	name(int64_t n) \
	{ \
		configure_tiles(); \
		for (; n > 0; n--) \
			__asm__ volatile( \
				instruction " %%tmm7, %%tmm6, %%tmm0\n\t" \
				instruction " %%tmm7, %%tmm6, %%tmm1\n\t" \
				instruction " %%tmm7, %%tmm6, %%tmm2\n\t" \
				instruction " %%tmm7, %%tmm6, %%tmm3\n\t" \
				instruction " %%tmm7, %%tmm6, %%tmm4\n\t" \
				instruction " %%tmm7, %%tmm6, %%tmm5" : :); \
		__asm__ volatile("tilerelease"); \
	}

TILE_ROUNDS(rounds_tile_bf16, "tdpbf16ps")
TILE_ROUNDS(rounds_tile_int8, "tdpbssd")

/* ---- what the processor has ---- */

typedef enum feature
{
	AVX2 = 1 << 0,				/* with FMA */
	AVX_VNNI = 1 << 1,
	AVX512 = 1 << 2,			/* F, BW */
	AVX512_VNNI = 1 << 3,
	AVX512_BF16 = 1 << 4,
	AMX_BF16 = 1 << 5,
	AMX_INT8 = 1 << 6,
} feature;

/* Registers that the operating system saves, in XCR0 */
#define STATE_AVX 0x06u
#define STATE_AVX512 0xe6u
#define STATE_AMX 0x60000u

/* Leaf 7, subleaf 1, EAX, and leaf 7, EDX: names that older <cpuid.h> do not know */
#define BIT_AVX_VNNI (1u << 4)
#define BIT_AVX512_BF16 (1u << 5)
#define BIT_AMX_BF16 (1u << 22)
#define BIT_AMX_TILE (1u << 24)
#define BIT_AMX_INT8 (1u << 25)

/* Linux gives a process the tiles when it asks for them. */
static bool
tiles_allowed(void)
{
#ifdef SYS_arch_prctl
	const int	request = 0x1023;	/* ARCH_REQ_XCOMP_PERM */
	const int	tile_data = 18;

	return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
	return false;
#endif
}

static unsigned
detect(void)
{
	const unsigned base = bit_OSXSAVE | bit_AVX | bit_FMA;
	const unsigned base512 = bit_AVX512F | bit_AVX512BW;
	unsigned	a,
				b,
				c,
				d,
				a1 = 0,
				unused,
				state,
				found;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & base) != base)
		return 0;
	__asm__ volatile("xgetbv" : "=a"(state), "=d"(unused) : "c"(0));
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (state & STATE_AVX) != STATE_AVX)
		return 0;
	if (a >= 1)
		__get_cpuid_count(7, 1, &a1, &unused, &unused, &unused);
	found = AVX2 | (a1 & BIT_AVX_VNNI ? AVX_VNNI : 0);
	if ((b & base512) == base512 && (state & STATE_AVX512) == STATE_AVX512)
		found |= AVX512 | (c & bit_AVX512VNNI ? AVX512_VNNI : 0) | (a1 & BIT_AVX512_BF16 ? AVX512_BF16 : 0);
	if ((d & BIT_AMX_TILE) && (state & STATE_AMX) == STATE_AMX && tiles_allowed())
		found |= (d & BIT_AMX_BF16 ? AMX_BF16 : 0) | (d & BIT_AMX_INT8 ? AMX_INT8 : 0);
	return found;
}

#else

static unsigned
detect(void)
{
	return 0;
}

#endif

/* ---- the table ---- */

static const limits_instruction instructions[] = {
	{"plain_128", "multiply, add", 4 * 2, 0, PLAIN_STEPS, rounds_plain},
#if defined(__x86_64__)
	{"fma_256", "vfmadd231ps", 8 * 2, AVX2, YMM_STEPS, rounds_fma_256},
	{"madd16_256", "vpmaddwd, vpaddd", 16 * 2, AVX2, YMM_STEPS, rounds_madd16_256},
	{"madd8_256", "vpmaddubsw, vpmaddwd, vpaddd", 32 * 2, AVX2, YMM_STEPS, rounds_madd8_256},
	{"dot16_256", "vpdpwssd", 16 * 2, AVX_VNNI, YMM_STEPS, rounds_dot16_256},
	{"dot8_256", "vpdpbusd", 32 * 2, AVX_VNNI, YMM_STEPS, rounds_dot8_256},
	{"fma_512", "vfmadd231ps", 16 * 2, AVX512, ZMM_STEPS, rounds_fma_512},
	{"madd16_512", "vpmaddwd, vpaddd", 32 * 2, AVX512, ZMM_STEPS, rounds_madd16_512},
	{"madd8_512", "vpmaddubsw, vpmaddwd, vpaddd", 64 * 2, AVX512, ZMM_STEPS, rounds_madd8_512},
	{"dot16_512", "vpdpwssd", 32 * 2, AVX512_VNNI, ZMM_STEPS, rounds_dot16_512},
	{"dot8_512", "vpdpbusd", 64 * 2, AVX512_VNNI, ZMM_STEPS, rounds_dot8_512},
	{"dotbf16_512", "vdpbf16ps", 32 * 2, AVX512_BF16, ZMM_STEPS, rounds_dotbf16_512},
	{"tile_bf16", "tdpbf16ps", 16 * 16 * 32 * 2, AMX_BF16, TILE_STEPS, rounds_tile_bf16},
	{"tile_int8", "tdpbssd", 16 * 16 * 64 * 2, AMX_INT8, TILE_STEPS, rounds_tile_int8},
#endif
};

#define NINSTRUCTIONS ((int) (sizeof(instructions) / sizeof(instructions[0])))

const limits_instruction *
limits_instruction_at(int i)
{
	return i >= 0 && i < NINSTRUCTIONS ? &instructions[i] : NULL;
}

const limits_instruction *
limits_instruction_named(const char *name)
{
	for (int i = 0; i < NINSTRUCTIONS; i++)
		if (strcmp(instructions[i].name, name) == 0)
			return &instructions[i];
	return NULL;
}

bool
limits_have(const limits_instruction *instruction)
{
	static unsigned found;
	static bool asked;

	if (!asked)
		found = detect();
	asked = true;
	return (instruction->needs & ~found) == 0;
}
