/*
 * guc.h
 *		The settings of dsvl2.  What bounds memory or opens files is superuser-only.
 */
#ifndef DSVL2_GUC_H
#define DSVL2_GUC_H

#include "../engine/dsv.h"

typedef enum OnError
{
	ON_ERROR_ERROR,
	ON_ERROR_NULL,
	ON_ERROR_WARNING,
} OnError;

extern char *SettingDefaultModel;
extern int	SettingThreads;		/* 0 = one a processor */
extern int	SettingCpuLevel;	/* dsv_cpu_level */
extern int	SettingPrecision;	/* dsv_precision */
extern int	SettingActivations; /* dsv_activations */
extern int	SettingMaxTokens;	/* 0 = what the context holds */
extern int	SettingOnError;		/* OnError */
extern int	SettingMemoSize;	/* kB, 0 = off */
extern int	SettingKvMemory;	/* MB */
extern int	SettingMaxImagePixels;
extern int	SettingMaxImageBytes;
extern char *SettingModelDir;
extern char *SettingPackDir;	/* "" = the folder dsvl2 of the data directory */
extern bool SettingExifOrientation;
extern bool SettingLogUsage;
extern int	SettingMaxCallsPerStatement;	/* 0 = no limit */
extern int	SettingStatMax;

void		DefineSettings(void);

/* The words of dsvl2.on_error, for the option of the same name; false for others. */
bool		ParseOnError(const char *word, int *value);

#endif
