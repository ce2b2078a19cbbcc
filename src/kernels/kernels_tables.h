/*
 * kernels_tables.h
 *		The tables that the compiled instruction sets offer to cpu.c.
 */
#ifndef KERNELS_TABLES_H
#define KERNELS_TABLES_H

#include "kernels.h"

extern const kern_table kern_table_generic;

#if defined(__x86_64__)
extern const kern_table kern_table_avx2;
extern const kern_table kern_table_avx512;

/* Products only: the rest is NULL, and as at a lower level */
extern const kern_table kern_table_avx2_vnni;
extern const kern_table kern_table_avx512_vnni;
extern const kern_table kern_table_avx512_bf16;
extern const kern_table kern_table_amx;
#endif

#endif
