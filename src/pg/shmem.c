/*
 * shmem.c
 *		Asks for shared memory and hands it out.
 */
#include "shmem.h"

#include "progress.h"
#include "rates.h"
#include "stat.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static shmem_request_hook_type next_request_hook;
static shmem_startup_hook_type next_startup_hook;
static LWLockPadded *locks;

static void
request(void)
{
	if (next_request_hook)
		next_request_hook();
	RequestAddinShmemSpace(add_size(ProgressMemorySize(), add_size(StatMemorySize(), RatesMemorySize())));
	RequestNamedLWLockTranche("dsvl2", SHARED_LOCKS);
}

static void
startup(void)
{
	if (next_startup_hook)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche("dsvl2");
	AttachProgressMemory();
	AttachStatMemory();
	AttachRatesMemory();
	LWLockRelease(AddinShmemInitLock);
}

void
RequestSharedMemory(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup;
}

LWLock *
GetSharedLock(SharedLock lock)
{
	return &locks[lock].lock;
}

void
SayNotPreloaded(void)
{
	static bool said = false;

	if (!said)
		ereport(NOTICE,
				(errmsg("calls are not recorded, so that nothing can be shown"),
				 errhint("Add dsvl2 to shared_preload_libraries and restart the server.")));
	said = true;
}
