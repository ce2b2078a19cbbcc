/*
 * pack.c
 *		dsvl2 pack and dsvl2 verify: packed models made and checked.
 *
 * Progress goes to standard error: a bar on a terminal, else a line for each tenth.
 */
#include <signal.h>
#include <unistd.h>

#include "tool.h"

#define BAR 30

typedef struct meter
{
	const char *what;			/* "packing" */
	bool		terminal;
	bool		quiet;
	double		start_ms;
	double		shown_ms;		/* when the bar was drawn last */
	int			tenths;			/* said so far */
	int64_t		total;
} meter;

static volatile sig_atomic_t interrupted;

static void
interrupt(int number)
{
	interrupted = 1;
}

static void
draw_bar(const meter *m, double part, double gb, double rate)
{
	char		bar[BAR + 1];

	for (int i = 0; i < BAR; i++)
		bar[i] = i < part * BAR ? '#' : '.';
	bar[BAR] = '\0';
	fprintf(stderr, "\r%s [%s] %3.0f %%  %.2f of %.2f GB, %.2f GB/s ", m->what, bar, part * 100,
			gb, m->total / 1e9, rate);
}

static bool
report(void *ud, int64_t done, int64_t total)
{
	meter	   *m = ud;
	double		now = tool_now_ms();
	double		part = total > 0 ? (double) done / total : 1;
	double		rate = now > m->start_ms ? done / 1e6 / (now - m->start_ms) : 0;

	m->total = total;
	if (m->quiet)
		return interrupted;
	if (m->terminal && (now - m->shown_ms > 100 || done == total))
	{
		m->shown_ms = now;
		draw_bar(m, part, done / 1e9, rate);
	}
	else if (!m->terminal && (int) (part * 10) > m->tenths)
	{
		m->tenths = (int) (part * 10);
		fprintf(stderr, "%s: %d %%, %.2f of %.2f GB, %.2f GB/s\n", m->what, m->tenths * 10, done / 1e9,
				total / 1e9, rate);
	}
	return interrupted;
}

static dsv_pack_progress
start_meter(meter *m, const char *what, bool quiet)
{
	struct sigaction action = {.sa_handler = interrupt};

	*m = (meter) {.what = what, .terminal = isatty(STDERR_FILENO), .quiet = quiet,
		.start_ms = tool_now_ms()};
	/* so that a temporary file is removed */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return (dsv_pack_progress) {report, m};
}

static void
end_meter(const meter *m, dsv_code code, const dsv_error *err)
{
	if (m->terminal && !m->quiet && m->shown_ms > 0)
		fputc('\n', stderr);
	if (code != DSV_OK)
		tool_fail_error(err);
}

int
tool_pack(const tool_command *command, int argc, char **argv)
{
	static const char *const quants[] = {"bf16", "q8", "q4", NULL};
	dsv_pack_options pack = {0};
	int			quant = DSV_QUANT_Q8;
	bool		quiet = false;
	tool_option options[] = {
		{"quant", TOOL_CHOICE, &quant, "number format of the language model (q8)", quants},
		{"threads", TOOL_INT, &pack.threads, "worker threads, 0 = one a processor (default)"},
		{"force", TOOL_FLAG, &pack.replace, "replace a file of that name"},
		{"quiet", TOOL_FLAG, &quiet, "show no progress"},
		{NULL}
	};
	meter		m;
	dsv_error	err;
	dsv_code	code;
	double		seconds;

	tool_parse(command, options, argc, argv, 2, 2);
	pack.quant = (dsv_quant) quant;
	pack.progress = start_meter(&m, "packing", quiet);
	code = dsv_model_pack(argv[0], argv[1], &pack, &err);
	end_meter(&m, code, &err);
	seconds = (tool_now_ms() - m.start_ms) / 1e3;
	printf("%s: %s, %.3f GB in %.1f s\n", argv[1], quants[quant], m.total / 1e9, seconds);
	return 0;
}

int
tool_verify(const tool_command *command, int argc, char **argv)
{
	bool		quiet = false;
	tool_option options[] = {{"quiet", TOOL_FLAG, &quiet, "show no progress"}, {NULL}};
	dsv_pack_progress progress;
	meter		m;
	dsv_error	err;
	dsv_code	code;

	tool_parse(command, options, argc, argv, 1, 1);
	progress = start_meter(&m, "verifying", quiet);
	code = dsv_model_verify(argv[0], NULL, &progress, &err);
	end_meter(&m, code, &err);
	printf("%s: all checksums are right\n", argv[0]);
	return 0;
}
