/*
 * standalone_main.c
 *		Runs a fuzz target on the files named as arguments, for compilers without libFuzzer
 *		and for looking at one input in a debugger.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int
run_file(const char *path)
{
	FILE	   *f = fopen(path, "rb");
	uint8_t    *data = NULL;
	size_t		len = 0;
	size_t		got;

	if (f == NULL)
	{
		perror(path);
		return 1;
	}
	do
	{
		uint8_t    *grown = realloc(data, len + 65536);

		if (grown == NULL)
			abort();
		data = grown;
		got = fread(data + len, 1, 65536, f);
		len += got;
	} while (got > 0);
	fclose(f);

	/* exactly as long as the file, so that a sanitizer sees a byte too far */
	data = realloc(data, len > 0 ? len : 1);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 0;
}

int
main(int argc, char **argv)
{
	int			failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= run_file(argv[i]);
	return failed;
}
