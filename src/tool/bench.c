/*
 * bench.c
 *		dsvl2 bench: what a model costs on this machine, beside what the machine allows.
 */
#include "../engine/engine.h"
#include "bench.h"

typedef struct bench_options
{
	tool_setup	setup;
	int			side;			/* of the synthetic picture; 0 = of a tile */
	bool		growth;
	const char *csv;
} bench_options;

static void
check_options(const tool_command *command, const bench *b, const bench_options *o)
{
	if (b->runs < 1 || b->runs > BENCH_MAX_RUNS)
		tool_usage_error(command, "--runs must be 1 to %d", BENCH_MAX_RUNS);
	if (b->together < 1 || b->together > DSV_MAX_SEQUENCES)
		tool_usage_error(command, "--together must be 1 to %d", DSV_MAX_SEQUENCES);
	if (b->tokens < 1 || b->tokens > 10000 || o->side > 16384)
		tool_usage_error(command, "--tokens must be 1 to 10000, --side at most 16384");
}

static void
print_head(const bench *b, const bench_run *run, const bench_options *o)
{
	printf("model    %s, %s, %s activations\n", run->model, run->quant, tool_precisions[o->setup.precision]);
	printf("machine  %s, %s, %d threads, blas %s\n", run->cpu, run->level, run->threads,
		   o->setup.no_blas ? "off" : dsv_blas_version());
	printf("median of %d runs, limits the best that this machine was seen to do\n\n", b->runs);
}

int
tool_bench(const tool_command *command, int argc, char **argv)
{
	bench_options o = {0};
	bench		b = {.tokens = 64, .runs = 3, .together = 8};
	bench_run	run;
	tool_option options[] = {
		{"tokens", TOOL_INT, &b.tokens, "to decode (64)"},
		{"runs", TOOL_INT, &b.runs, "after one that is not counted (3)"},
		{"together", TOOL_INT, &b.together, "sequences that decode together (8)"},
		{"side", TOOL_INT, &o.side, "pixels of the synthetic picture's side (those of a tile)"},
		{"growth", TOOL_FLAG, &o.growth, "also how cost grows"},
		{"csv", TOOL_STRING, &o.csv, "append the rows to this file"},
		{"name", TOOL_STRING, &run.model, "of the model in the rows (its own)"},
		TOOL_SETUP_OPTIONS(o.setup),
		{NULL}
	};
	dsv_engine_options engine_options;
	const dsv_model_info *info;
	FILE	   *csv = NULL;
	int			n;

	run.model = NULL;
	n = tool_parse(command, options, argc, argv, 1, 2);
	check_options(command, &b, &o);
	bench_check_levels();
	if (o.csv != NULL)
		csv = bench_open_csv(o.csv);
	engine_options = tool_engine_options(&o.setup);
	b.model = tool_open_model(argv[0]);
	b.engine = tool_create_engine(b.model, &engine_options);
	b.threads = b.engine->options.threads;
	info = dsv_model_get_info(b.model);
	if (o.side == 0)
		o.side = info->image_size;
	b.image = n > 1 ? tool_read_file(argv[1]) : bench_picture(o.side, o.side, DSV_IMAGE_PNG);

	run = (bench_run) {run.model != NULL ? run.model : info->name, info->dtype, b.threads,
		dsv_cpu_level_name(dsv_cpu_current())};
	bench_cpu_name(run.cpu, sizeof(run.cpu));
	print_head(&b, &run, &o);
	bench_figures(&b);
	if (o.growth)
		bench_growth(&b);
	if (csv != NULL)
		bench_write_csv(csv, &b.rows, &run);
	free((void *) b.image.data);
	dsv_engine_destroy(b.engine);
	dsv_model_close(b.model);
	return 0;
}
