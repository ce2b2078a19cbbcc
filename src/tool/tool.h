/*
 * tool.h
 *		What the commands of dsvl2 share: options, files, errors, running a request, TAP.
 *
 * A command is one function that gets its own arguments and returns the exit status.  The
 * tool is a short-lived program, so the helpers here print and exit on an error (2 = wrong
 * usage, 1 = anything else) where the engine would return it.
 */
#ifndef TOOL_H
#define TOOL_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "../engine/dsv.h"

#define TOOL_MAX_IMAGES 64
#define TOOL_MAX_STOPS 16

/* ---- commands ---- */

typedef struct tool_command
{
	const char *name;
	const char *arguments;		/* "DIR [IMAGE...] PROMPT" */
	const char *about;			/* one line */
	int			(*run) (const struct tool_command *command, int argc, char **argv);
} tool_command;

int			tool_inspect(const tool_command *command, int argc, char **argv);
int			tool_tokens(const tool_command *command, int argc, char **argv);
int			tool_run(const tool_command *command, int argc, char **argv);
int			tool_bench(const tool_command *command, int argc, char **argv);
int			tool_masks(const tool_command *command, int argc, char **argv);
int			tool_golden(const tool_command *command, int argc, char **argv);
int			tool_pack(const tool_command *command, int argc, char **argv);
int			tool_verify(const tool_command *command, int argc, char **argv);
int			tool_compare(const tool_command *command, int argc, char **argv);
int			tool_nano_check(const tool_command *command, int argc, char **argv);

/* ---- options ---- */

typedef enum tool_kind
{
	TOOL_FLAG,					/* bool; no argument */
	TOOL_INT,					/* int */
	TOOL_UINT64,
	TOOL_FLOAT,
	TOOL_STRING,				/* const char * */
	TOOL_LIST,					/* tool_list; may be given more than once */
	TOOL_CHOICE,				/* int, an index into choices */
} tool_kind;

typedef struct tool_list
{
	dsv_bytes	items[TOOL_MAX_STOPS];
	int			n;
} tool_list;

typedef struct tool_option
{
	const char *name;			/* without the dashes; NULL ends a table */
	tool_kind	kind;
	void	   *value;
	const char *help;
	const char *const *choices; /* NULL-terminated */
} tool_option;

/* Options of everything that runs a model */
typedef struct tool_setup
{
	int			threads;
	int			precision;
	int			activations;
	int			cpu;
	int			mla;
	bool		no_blas;
} tool_setup;

extern const char *const tool_precisions[];
extern const char *const tool_activations[];
extern const char *const tool_cpu_levels[];
extern const char *const tool_mla_modes[];

#define TOOL_SETUP_OPTIONS(s) \
	{"threads", TOOL_INT, &(s).threads, "worker threads, 0 = one a processor (default)", NULL}, \
	{"precision", TOOL_CHOICE, &(s).precision, "of activations, keys, values", tool_precisions}, \
	{"activations", TOOL_CHOICE, &(s).activations, "that meet quantised weights", tool_activations}, \
	{"cpu", TOOL_CHOICE, &(s).cpu, "instruction set at most", tool_cpu_levels}, \
	{"mla", TOOL_CHOICE, &(s).mla, "form of latent attention", tool_mla_modes}, \
	{"no-blas", TOOL_FLAG, &(s).no_blas, "own kernels only", NULL}

/*
 * Reads the options out of argv and moves the other arguments to its front; returns their
 * number, which must be min..max.  --help prints and exits.  Strings stay in argv.
 */
int			tool_parse(const tool_command *command, const tool_option *options, int argc,
					   char **argv, int min, int max);

/* ---- errors and files ---- */

void		tool_usage_error(const tool_command *command, const char *fmt,...)
			__attribute__((format(printf, 2, 3), noreturn));
void		tool_fail(const char *fmt,...) __attribute__((format(printf, 1, 2), noreturn));
void		tool_fail_error(const dsv_error *err) __attribute__((noreturn));

/* Zeroed; never NULL. */
void	   *tool_alloc(size_t count, size_t size);

/* The whole file (standard input for "-"), and a zero byte behind it; freed with free(). */
dsv_bytes	tool_read_file(const char *path);
void		tool_free_files(dsv_bytes *files, int n);
json_t	   *tool_read_json(const char *path);
void		tool_write_json(const char *path, const json_t *value);

/* "DIR/NAME", in buf */
const char *tool_path(char *buf, size_t size, const char *dir, const char *name);

/* Last part of a path, trailing slashes and the ending cut off, in buf */
const char *tool_base(char *buf, size_t size, const char *path, const char *ending);

/* ---- running ---- */

/* Options for dsv_engine_create; sets the processor level. */
dsv_engine_options tool_engine_options(const tool_setup *setup);
dsv_model  *tool_open_model(const char *dir);
dsv_engine *tool_create_engine(dsv_model *model, const dsv_engine_options *options);

/* Steps until the sequence is done. */
void		tool_finish(dsv_engine *engine, dsv_sequence *seq);

/* One user turn: the images, a line break, then the task's prompt with the user's text. */
typedef struct tool_question
{
	dsv_part	parts[TOOL_MAX_IMAGES + 4];
	dsv_turn	turn;
} tool_question;
void		tool_ask(tool_question *q, int nimages, const char *task_prompt, const char *user,
					 dsv_part_kind user_kind);

double		tool_now_ms(void);

/* Sorts its values. */
double		tool_median(double *values, int n);

/* ---- test results ---- */

typedef struct tool_tap
{
	int			n;
	int			failed;
} tool_tap;

/* One TAP line; returns good. */
bool		tool_ok(tool_tap *tap, bool good, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));

/* The plan; returns the exit status. */
int			tool_tap_end(const tool_tap *tap);

#endif
