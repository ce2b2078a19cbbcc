/*
 * dsvl2.c
 *		The engine from a shell, without a server: `dsvl2 COMMAND ...`.
 */
#include <string.h>

#include "tool.h"

static const tool_command commands[] = {
	{"inspect", "MODEL", "what a model holds, and the memory it takes", tool_inspect},
	{"run", "MODEL [IMAGE...] [PROMPT]", "one request, the answer to standard output", tool_run},
	{"tokens", "MODEL TEXT|-", "the tokens of a text", tool_tokens},
	{"bench", "MODEL [IMAGE]", "what a model costs, beside the limits of this machine", tool_bench},
	{"pack", "DIR FILE", "makes one file of a model's folder", tool_pack},
	{"verify", "FILE", "reads a packed model and compares its checksums", tool_verify},
	{"compare", "MODEL MODEL INPUT...", "how far the answers of two models' weights are apart",
		tool_compare},
	{"masks", "MODEL", "measures how long a grammar's token masks take", tool_masks},
	{"golden", "MODEL CASE.json...", "compares with vectors of the reference implementation",
		tool_golden},
	{"nano-check", "MODEL SAMPLES_DIR", "compares answers with predictions and the truth",
		tool_nano_check},
};

#define NCOMMANDS ((int) (sizeof(commands) / sizeof(commands[0])))

static void
usage(FILE *to)
{
	fprintf(to, "usage: dsvl2 COMMAND ...\n\n");
	for (int i = 0; i < NCOMMANDS; i++)
		fprintf(to, "  %-10s %-24s %s\n", commands[i].name, commands[i].arguments,
				commands[i].about);
	fprintf(to, "\nMODEL is a folder as published, or a packed file.\n"
			"dsvl2 COMMAND --help tells a command's options.\n");
}

int
main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int			status;

	if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0)
	{
		usage(stdout);
		return 0;
	}
	if (strcmp(name, "--version") == 0)
	{
		printf("dsvl2 %s\n", DSV_VERSION);
		return 0;
	}
	for (int i = 0; i < NCOMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
		{
			status = commands[i].run(&commands[i], argc - 2, argv + 2);
			dsv_shutdown();
			if (fflush(stdout) != 0 || ferror(stdout))
				tool_fail("could not write to standard output");
			return status;
		}
	if (argc > 1)
		fprintf(stderr, "dsvl2: unknown command \"%s\"\n", name);
	usage(stderr);
	return 2;
}
