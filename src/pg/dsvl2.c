/*
 * dsvl2.c
 *		Loading of the library.  Nothing starts here: no thread, no file, no other library.
 */
#include "compat.h"

#include "../engine/dsv.h"
#include "guc.h"
#include "memo.h"
#include "shmem.h"

DSVL2_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineSettings();
	RequestSharedMemory();
	RegisterMemoCallbacks();
}
