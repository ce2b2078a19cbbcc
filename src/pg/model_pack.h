/*
 * model_pack.h
 *		Packed files of registered models: where they are, made, verified.
 *
 * A model that is registered from a folder in another quantisation than "bf16" is packed into
 * dsvl2.pack_dir, under a name made of the folder's digest and the quantisation; so all
 * databases of a server share it, and registering it again finds it.
 */
#ifndef DSVL2_MODEL_PACK_H
#define DSVL2_MODEL_PACK_H

#include "compat.h"

#include "../engine/dsv.h"
#include "model_catalog.h"

/* Folder or file to open a registered model from (palloc'd).  Raises 58P01 when it was packed and
 * the packed file is not there. */
char	   *ModelFile(const ModelEntry *entry);

/* The packed file of a folder whose digest is source; it is made unless it is there.  name is for
 * vl_stat_activity. */
char	   *PackModel(const char *name, const char *folder, const char *source, dsv_quant quant);

/* Reads a packed file and compares its checksums; raises what is wrong. */
void		VerifyPackedFile(const char *name, const char *file);

#endif
