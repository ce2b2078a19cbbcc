/*
 * infer_rows.c
 *		A ring of rows: started at its end, returned from its front.
 */
#include "infer_rows.h"

#include "decide.h"
#include "funcapi.h"
#include "memo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define DEFAULT_IN_FLIGHT 8

/* Rows in the ring for each call in flight: one long answer in front shall not keep the others
 * from going on */
#define RING_FACTOR 4

struct InferRows
{
	MemoryContext context;
	InferRowSource next;
	void	   *source;
	bool		ended;			/* the source has no more */
	int			limit;			/* of calls in flight */
	int			in_flight;
	InferJob  **jobs;			/* [in_flight] in order */
	InferRow   *ring;			/* [size] */
	int			size;
	int			front;
	int			count;
	bool		waiting;		/* the last row of the ring found no room */
	InferRow	returned;		/* the last one */
};

InferRows *
StartInferRows(int in_flight, InferRowSource next, void *source)
{
	InferRows  *rows = palloc0(sizeof(*rows));

	rows->context = CurrentMemoryContext;
	rows->next = next;
	rows->source = source;
	rows->limit = in_flight > 0 ? in_flight : DEFAULT_IN_FLIGHT;
	rows->size = rows->limit * RING_FACTOR;
	rows->ring = palloc0(rows->size * sizeof(InferRow));
	rows->jobs = palloc0(rows->limit * sizeof(InferJob *));
	return rows;
}

/* i = 0: the front */
static InferRow *
row_at(InferRows *rows, int i)
{
	return &rows->ring[(rows->front + i) % rows->size];
}

/* ---- into the ring ---- */

/* Reads a row from the source to the end of the ring. */
static void
read_row(InferRows *rows)
{
	InferRow   *row = row_at(rows, rows->count);
	MemoryContext caller;

	/* it may take its time */
	RestInfer();
	memset(row, 0, sizeof(*row));
	row->context = AllocSetContextCreate(rows->context, "dsvl2 row", ALLOCSET_SMALL_SIZES);
	row->input = AllocSetContextCreate(row->context, "dsvl2 input", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(row->context);
	rows->ended = !rows->next(rows->source, row);
	MemoryContextSwitchTo(caller);
	if (rows->ended)
		MemoryContextDelete(row->context);
	else
		rows->count++;
}

/* False when it has to wait for room */
static bool
start_row(InferRows *rows, InferRow *row)
{
	MemoryContext caller;

	if (row->asked)
	{
		caller = MemoryContextSwitchTo(row->context);
		row->job = StartInfer(&row->call, rows->in_flight > 0);
		MemoryContextSwitchTo(caller);
		if (row->job == NULL)
			return false;
		rows->jobs[rows->in_flight++] = row->job;
	}
	row->call.images = NULL;
	MemoryContextDelete(row->input);
	return true;
}

static void
start_rows(InferRows *rows)
{
	while (rows->in_flight < rows->limit)
	{
		if (!rows->waiting)
		{
			if (rows->ended || rows->count == rows->size)
				return;
			read_row(rows);
			if (rows->ended)
				return;
		}
		rows->waiting = !start_row(rows, row_at(rows, rows->count - 1));
		/* to try again and again would decode the image each time */
		if (rows->waiting)
			rows->limit = rows->in_flight;
	}
}

/* ---- out of it ---- */

/* Turns jobs that are done into results, so that they give back what they hold. */
static void
finish_rows(InferRows *rows)
{
	MemoryContext caller = CurrentMemoryContext;

	rows->in_flight = 0;
	for (int i = 0; i < rows->count; i++)
	{
		InferRow   *row = row_at(rows, i);

		if (row->job == NULL)
			continue;
		if (!InferIsDone(row->job))
		{
			rows->jobs[rows->in_flight++] = row->job;
			continue;
		}
		MemoryContextSwitchTo(row->context);
		row->result = FinishInfer(row->job);
		row->job = NULL;
	}
	MemoryContextSwitchTo(caller);
}

static InferRow *
take_front(InferRows *rows)
{
	rows->returned = *row_at(rows, 0);
	rows->front = (rows->front + 1) % rows->size;
	rows->count--;
	return &rows->returned;
}

InferRow *
NextInferRow(InferRows *rows)
{
	InferRow   *front;

	if (rows->returned.context != NULL)
		MemoryContextDelete(rows->returned.context);
	rows->returned.context = NULL;
	CHECK_FOR_INTERRUPTS();
	for (;;)
	{
		start_rows(rows);
		finish_rows(rows);
		if (rows->count == 0)
			return NULL;
		front = row_at(rows, 0);
		if (front->job == NULL && !(rows->waiting && rows->count == 1))
			break;
		if (rows->in_flight > 0)
			StepInfer(rows->jobs, rows->in_flight);
	}
	RestInfer();
	return take_front(rows);
}

/* NULL where the call abstains from deciding */
static text *
row_value(const InferRow *row)
{
	int			best;
	bool		abstains;

	if (row->call.ncandidates == 0)
		return TrimmedAnswer(row->result);
	best = BestCandidate(&row->call, CandidateScores(&row->call, row->result), &abstains);
	return abstains ? NULL : CandidateName(&row->call, best);
}

/* Values and nulls of the columns behind the key */
static void
fill_columns(const InferRow *row, Datum *values, bool *nulls)
{
	const InferResult *r = row->result;
	text	   *value = NULL;
	VlError		error;

	nulls[1] = nulls[2] = !FindRowError(&row->call, r, &error);
	/* what was cut off is there beside its error */
	if (nulls[1] || (r->error.sqlerrcode == 0 && row->call.ncandidates == 0))
		value = row_value(row);
	nulls[0] = value == NULL;
	values[0] = PointerGetDatum(value);
	if (!nulls[1])
	{
		Counters.row_errors++;
		values[1] = CStringGetTextDatum(unpack_sql_state(error.sqlerrcode));
		values[2] = CStringGetTextDatum(error.message);
	}
	values[3] = Int32GetDatum(r->usage.output_tokens);
	values[4] = BoolGetDatum(r->finish == DSV_FINISH_LENGTH);
	nulls[3] = nulls[4] = false;
}

Datum
InferRowTuple(const InferRow *row, TupleDesc desc, Datum key, bool key_is_null)
{
	Datum		values[6] = {key};
	bool		nulls[6] = {key_is_null, true, true, true, true, true};

	if (row->asked)
		fill_columns(row, values + 1, nulls + 1);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
