/*
 * model_catalog.h
 *		The registered models: tables vl_model and vl_model_alias in the extension's schema.
 *
 * Rows are read by scanning the tables (a handful of rows), which needs no privilege and
 * no search_path; they are written as the tables' owner, after the caller's own privileges
 * were checked.
 */
#ifndef DSVL2_MODEL_CATALOG_H
#define DSVL2_MODEL_CATALOG_H

#include "compat.h"

#include "../engine/dsv.h"

typedef struct ModelEntry
{
	char	   *name;
	char	   *path;			/* as stored; $sharedir stands for the server's share directory */
	char	   *quant;
	char	   *digest;
	char	   *source;			/* digest of the folder that it was packed from; NULL: path is opened */
	bool		builtin;		/* comes with dsvl2: the digest may follow an upgrade */
} ModelEntry;

/* The model that a call means: name, else dsvl2.default_model; aliases are followed.  schema is the
 * extension's.  Unknown: 42704. */
ModelEntry *ResolveModel(Oid schema, const char *name);

/* The same, but NULL when unknown */
ModelEntry *FindModel(Oid schema, const char *name);

/* The folder as a path of this server (palloc'd). */
char	   *ModelFolder(const char *stored_path);

/* Schema of the SQL function that is running: the extension's. */
Oid			ExtensionSchema(FunctionCallInfo fcinfo);

/* Runs a statement with text parameters ($1 ...) as the owner of vl_model; NULL values are
 * NULL parameters.  Returns the number of rows.  %s in the format is the quoted schema. */
uint64		WriteCatalog(Oid schema, const char *format, int nargs, const char *const *args);

#endif
