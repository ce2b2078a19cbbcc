/*
 * fuzz_safetensors.c
 *		A weight file: header length, JSON header, offsets.  What is accepted must be
 *		readable from the first to the last byte of each tensor.
 */
#include "fuzz.h"
#include "safetensors.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int element[] = {4, 2, 2, 4, 1, 8};	/* by dsv_dtype */
	dsv_safetensors *st = NULL;
	dsv_error	err;
	dsv_code	code;
	long		sum = 0;

	code = dsv_safetensors_open_file(fuzz_file(data, size), &fuzz_mem, &st, &err);
	fuzz_check(code, &err);
	if (code != DSV_OK)
		return 0;
	for (int i = 0; i < dsv_safetensors_count(st); i++)
	{
		const dsv_tensor *t = dsv_safetensors_at(st, i);
		const uint8_t *bytes = t->data;

		if (dsv_safetensors_find(st, t->name) != t)
			abort();
		for (int64_t j = 0; j < t->count * element[t->dtype]; j++)
			sum += bytes[j];
	}
	dsv_safetensors_close(st);
	return sum < 0;
}
