/*
 * guc.c
 *		Definition of the settings.
 */
#include "compat.h"

#include <limits.h>

#include "utils/guc.h"

#include "guc.h"

char	   *SettingDefaultModel;
int			SettingThreads = 0;
int			SettingCpuLevel = DSV_CPU_AUTO;
int			SettingPrecision = DSV_PRECISION_FP32;
int			SettingActivations;
int			SettingMaxTokens = 1024;
int			SettingOnError = ON_ERROR_ERROR;
int			SettingMemoSize = 4096;
int			SettingKvMemory = 512;
int			SettingMaxImagePixels = 100 * 1000 * 1000;
int			SettingMaxImageBytes = 64 * 1024 * 1024;
char	   *SettingModelDir;
char	   *SettingPackDir;
bool		SettingExifOrientation = true;
bool		SettingLogUsage = false;
int			SettingMaxCallsPerStatement = 0;
int			SettingStatMax = 1000;

static const struct config_enum_entry cpu_levels[] = {
	{"auto", DSV_CPU_AUTO, false},
	{"generic", DSV_CPU_GENERIC, false},
	{"avx2", DSV_CPU_AVX2, false},
	{"avx2-vnni", DSV_CPU_AVX2_VNNI, false},
	{"avx512", DSV_CPU_AVX512, false},
	{"avx512-vnni", DSV_CPU_AVX512_VNNI, false},
	{"avx512-bf16", DSV_CPU_AVX512_BF16, false},
	{"amx", DSV_CPU_AMX, false},
	{NULL, 0, false}
};

static const struct config_enum_entry precisions[] = {
	{"fp32", DSV_PRECISION_FP32, false},
	{"bf16", DSV_PRECISION_BF16, false},
	{"auto", DSV_PRECISION_AUTO, false},
	{NULL, 0, false}
};

static const struct config_enum_entry activations[] = {
	{"auto", DSV_ACTIVATIONS_AUTO, false},
	{"int16", DSV_ACTIVATIONS_INT16, false},
	{"int8", DSV_ACTIVATIONS_INT8, false},
	{NULL, 0, false}
};

static const struct config_enum_entry on_errors[] = {
	{"error", ON_ERROR_ERROR, false},
	{"null", ON_ERROR_NULL, false},
	{"warning", ON_ERROR_WARNING, false},
	{NULL, 0, false}
};

bool
ParseOnError(const char *word, int *value)
{
	for (const struct config_enum_entry *e = on_errors; e->name != NULL; e++)
		if (strcmp(word, e->name) == 0)
		{
			*value = e->val;
			return true;
		}
	return false;
}

static void
define_model_settings(void)
{
	DefineCustomStringVariable("dsvl2.default_model",
							   "Model that answers when a call names none.", NULL,
							   &SettingDefaultModel, "nano", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dsvl2.model_dir",
							   "Folder that relative paths of models start from.", NULL,
							   &SettingModelDir, "", PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dsvl2.pack_dir",
							   "Folder that models are packed into.",
							   "A relative path, or the folder dsvl2 when it is empty, lies in the data directory.",
							   &SettingPackDir, "", PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("dsvl2.precision",
							 "Number format of activations.",
							 "bf16 rounds them before every product, as the reference does in bf16; auto does so where "
							 "the processor multiplies bf16.",
							 &SettingPrecision, DSV_PRECISION_AUTO, precisions, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomEnumVariable("dsvl2.activations",
							 "Number format of activations that meet quantised weights.",
							 "auto is int8 with q4, and with q8 where the machine is faster with it; else int16.",
							 &SettingActivations, DSV_ACTIVATIONS_AUTO, activations, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("dsvl2.threads",
							"Threads of a backend that compute.", "0 means one a processor, at most 16.",
							&SettingThreads, 0, 0, 64, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("dsvl2.cpu_level",
							 "Instruction set to use at most.", NULL,
							 &SettingCpuLevel, DSV_CPU_AUTO, cpu_levels, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("dsvl2.kv_memory",
							"Memory of a backend's engine for keys and values.",
							"Pages of earlier prompts stay in it until their room is needed.",
							&SettingKvMemory, 512, 1, 1024 * 1024, PGC_SUSET, GUC_UNIT_MB,
							NULL, NULL, NULL);
}

static void
define_observation_settings(void)
{
	DefineCustomBoolVariable("dsvl2.log_usage",
							 "Writes tokens and times of every inference to the server log.", NULL,
							 &SettingLogUsage, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dsvl2.max_calls_per_statement",
							"Inferences of a statement at most.", "0 turns the limit off.",
							&SettingMaxCallsPerStatement, 0, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	/* shared memory has a size from the start */
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("dsvl2.stat_max",
								"Entries of vl_stat at most.",
								"The one used least recently is added to the row of the rest.",
								&SettingStatMax, 1000, 10, 100000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

void
DefineSettings(void)
{
	define_model_settings();
	DefineCustomIntVariable("dsvl2.max_tokens",
							"Tokens of an answer at most.", "0 means as many as the model's context holds.",
							&SettingMaxTokens, 1024, 0, 1024 * 1024, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("dsvl2.on_error",
							 "What an image or answer that fails does to the statement.",
							 "error raises, null gives NULL, warning gives NULL and a WARNING.",
							 &SettingOnError, ON_ERROR_ERROR, on_errors, PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("dsvl2.memo_size",
							"Memory for results that a transaction remembers.", "0 turns remembering off.",
							&SettingMemoSize, 4096, 0, 1024 * 1024, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("dsvl2.max_image_pixels",
							"Pixels of an image at most.", NULL,
							&SettingMaxImagePixels, 100 * 1000 * 1000, 1, 1 << 28, PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("dsvl2.max_image_bytes",
							"Size of an image at most, as stored.", NULL,
							&SettingMaxImageBytes, 64 * 1024 * 1024, 1, 1 << 30, PGC_SUSET, GUC_UNIT_BYTE,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("dsvl2.exif_orientation",
							 "Turns images as their EXIF orientation says.", NULL,
							 &SettingExifOrientation, true, PGC_USERSET, 0, NULL, NULL, NULL);
	define_observation_settings();
	MarkGUCPrefixReserved("dsvl2");
}
