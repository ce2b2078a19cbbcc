/*
 * infer_rows.h
 *		Many calls, some of them in flight at once, results in the order of the calls.
 *
 * What is in flight decodes together.  A call that finds no room in the engine's memory
 * waits until others have ended, and fails only when it is alone.  A call that ends before
 * its turn waits, as a result, in a window of a fixed number of rows: memory stays
 * bounded however many rows there are.  As with a job, everything is given back when
 * the memory context that was current at the start is reset or deleted.
 */
#ifndef DSVL2_INFER_ROWS_H
#define DSVL2_INFER_ROWS_H

#include "compat.h"

#include "access/tupdesc.h"
#include "infer_job.h"

typedef struct InferRow
{
	MemoryContext context;		/* the row's own, for what its call points to */
	MemoryContext input;		/* its images; deleted when the call has started */
	bool		asked;			/* false: something is NULL, and so is the answer */
	InferCall	call;
	char	   *key;			/* the source's own */
	InferJob   *job;			/* while it is in flight */
	InferResult *result;		/* then */
} InferRow;

typedef struct InferRows InferRows;

/* Gives the next row, all of whose other fields are zeroed, its key and call; the row's own context
 * is current.  False when there are no more. */
typedef bool (*InferRowSource) (void *source, InferRow *row);

/* in_flight 0 = the default */
InferRows  *StartInferRows(int in_flight, InferRowSource next, void *source);

/* The next row, with its result if it asked; NULL at the end.  Valid until the next call. */
InferRow   *NextInferRow(InferRows *rows);

/* A row of SQL: key, value, error_code, error, output_tokens, truncated.  Row errors are values here
 * whatever on_error says; as in vl_run, a truncated value stands beside its error. */
Datum		InferRowTuple(const InferRow *row, TupleDesc desc, Datum key, bool key_is_null);

#endif
