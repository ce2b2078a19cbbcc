/*
 * sandbox.h
 *		Runs a piece of work in a child process: what it does with its memory, its time and
 *		its stack, or a crash, is not the caller's end.
 *
 * For libraries that can neither be bounded nor interrupted from outside.  The child is a copy
 * of the caller, so work reads the caller's memory as it was; all that comes back is what it
 * puts into the sink.  It may not use the engine's threads.
 */
#ifndef DSV_SANDBOX_H
#define DSV_SANDBOX_H

#include "mem.h"

#define DSV_SANDBOX_SECONDS 10	/* of processor time */

/* Takes bytes; false: nobody wants more. */
typedef struct dsv_sink
{
	bool		(*put) (void *ud, const void *data, size_t len);
	void	   *ud;
} dsv_sink;

typedef struct dsv_sandbox
{
	void		(*work) (void *ud, const dsv_sink *sink);
	void	   *ud;
	size_t		memory;			/* that the child may take beyond what the caller has */
	size_t		max_output;
} dsv_sandbox;

/*
 * Adds what work put into its sink to *out (to be freed by the caller, after errors too).  The
 * caller cannot tell an output that is cut off from a whole one: work must end it with a mark.
 * Errors: IO (no process), NOMEM, CANCELED, IMAGE_SIZE (more output than allowed).
 */
dsv_code	dsv_sandbox_run(const dsv_sandbox *s, const dsv_poll *poll, const dsv_mem *mem,
							dsv_text *out, dsv_error *err);

#endif
