/*
 * fuzz_config.c
 *		A config.json, with or without a processor_config.json (the same bytes: each
 *		reader then meets the other's keys).  What is accepted must make sense as sizes.
 */
#include "config.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char dir[256];
	static int	config = -1;
	static dsv_config out;
	dsv_error	err;
	dsv_code	code;

	if (config < 0)
	{
		const char *tmp = getenv("TMPDIR");
		char		path[300];

		snprintf(dir, sizeof(dir), "%s/config-XXXXXX", tmp ? tmp : "/tmp");
		if (mkdtemp(dir) == NULL)
			abort();
		snprintf(path, sizeof(path), "%s/config.json", dir);
		config = open(path, O_RDWR | O_CREAT, 0600);
		if (config < 0)
			abort();
	}
	fuzz_write(config, data, size);
	code = dsv_config_load(dir, &out, &err);
	fuzz_check(code, &err);
	if (code != DSV_OK)
		return 0;
	if (out.language.hidden < 1 || out.language.vocab < 1 || out.language.layers < 1 ||
		out.language.top_k > out.language.experts || out.vision.grid < 1 ||
		out.projector.grid < 1 || out.ncandidates < 0 || out.ncandidates > DSV_MAX_CANDIDATES)
		abort();
	return 0;
}
