/*
 * bench.h
 *		What the parts of dsvl2 bench share.
 *
 * bench.c has the command, bench_rows.c prints and writes rows, bench_work.c knows what a model's
 * work comes to, bench_runs.c measures, bench_figures.c and bench_growth.c make rows of that.
 * Whatever is measured becomes a row, beside its limit where the machine sets one (limits.h).
 */
#ifndef BENCH_H
#define BENCH_H

#include "../kernels/kernels.h"
#include "limits.h"
#include "tool.h"

/* ---- rows ---- */

typedef struct bench_row
{
	char		figure[32];		/* "decode"; doc/SPEED.md says what each is */
	int64_t		at;				/* how many of what the figure counts: threads, tokens, tiles ... */
	const char *unit;
	double		value;
	double		limit;			/* in the same unit; 0 = none */
} bench_row;

/* What all rows of a run have in common */
typedef struct bench_run
{
	const char *model;
	const char *quant;			/* of the language model's weights */
	int			threads;
	const char *level;
	char		cpu[128];
} bench_run;

#define BENCH_MAX_ROWS 256
#define BENCH_MAX_RUNS 100

typedef struct bench_rows
{
	bench_row	row[BENCH_MAX_ROWS];
	int			n;
} bench_rows;

/* Keeps a row and prints it at once. */
void		bench_add(bench_rows *rows, bench_row row);

/* A file of comma-separated values to append to, with a first line of names when it is new or
 * empty; then its rows, and its end. */
FILE	   *bench_open_csv(const char *path);
void		bench_write_csv(FILE *csv, const bench_rows *rows, const bench_run *run);

/* Name of the processor */
void		bench_cpu_name(char *buf, size_t size);

/* ---- work ---- */

/* Bytes of weights that a pass over so many new rows reads; of routed experts the number that
 * uniformly chosen ones would hit.  One row: exactly those of a decoded token. */
double		bench_weight_bytes(const dsv_model *model, int rows);

/* Multiplications and additions of a prompt of so many rows, logits of its last row included */
double		bench_prefill_operations(const dsv_model *model, int rows);

/* The same of a tile in tower and projector */
double		bench_tile_operations(const dsv_model *model);

/* Fails when some processor level has no row in the table behind the next function. */
void		bench_check_levels(void);

/* What products of such activations run on, at the processor level in use */
const limits_instruction *bench_instruction(kern_act act);

/* The fastest fp32 multiply-add of the machine, which is what BLAS takes */
const limits_instruction *bench_blas_instruction(void);

/* ---- measurements, in ms ---- */

typedef struct bench_times
{
	double		first;			/* to the first token, from before the image was decoded */
	double		vision;			/* of that, in tower and projector */
	double		next;			/* the tokens after the first one */
	dsv_usage	usage;
} bench_times;

#define BENCH_QUESTION "What is written in this image?"

/* A page of dark strokes on light ground, the same on every machine: PNG or JPEG */
dsv_bytes	bench_picture(int width, int height, dsv_image_format format);

/* A question about an image, answered with a first token and `next` others, whether or not the
 * model would end before.  cached: it may use what earlier requests left, and leaves something. */
bench_times bench_ask(dsv_engine *engine, const dsv_bytes *image, const char *question, int next, bool cached);

/* The prefill of so many tokens of text */
double		bench_prefill(dsv_engine *engine, int tokens);

/* Each of `steps` passes in which n sequences decode a token each: ms[steps] */
void		bench_decode(dsv_engine *engine, int n, int steps, double *ms);

/* From an image's file to tiles in memory; one thread */
double		bench_image(dsv_engine *engine, const dsv_bytes *image);

/* ---- the command's state ---- */

/* What this machine can do with the model */
typedef struct bench_machine
{
	double		bandwidth;		/* bytes a second; 0 = the weights stay in the cache */
	const limits_instruction *tower;	/* what tower and language model compute with */
	const limits_instruction *language;
	double		tower_peak;		/* operations a second */
	double		language_peak;
} bench_machine;

typedef struct bench
{
	dsv_model  *model;
	dsv_engine *engine;
	int			threads;
	int			tokens;			/* to decode */
	int			runs;
	int			together;		/* sequences that decode together */
	dsv_bytes	image;			/* of the first question */
	bench_machine machine;
	bench_rows	rows;
} bench;

/* Rows of the machine and of the figures; fills b->machine.  Then those of how the figures grow. */
void		bench_figures(bench *b);
void		bench_growth(bench *b);

/* Milliseconds at the machine's limit: so many tiles in tower and projector; a prompt, whose weights
 * have to be read and whose operations have to be done; so many tokens decoded one by one (0 = no limit). */
double		bench_tower_limit(const bench *b, int tiles);
double		bench_prefill_limit(const bench *b, int tokens);
double		bench_decode_limit(const bench *b, int tokens);

#endif
