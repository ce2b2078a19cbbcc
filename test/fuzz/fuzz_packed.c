/*
 * fuzz_packed.c
 *		A packed model: header, metadata, tables of the tokenizer, tensors.  What is accepted
 *		must encode any text, and compute an answer, whatever its numbers are.
 *
 * The header's checksum is set right first: what is behind it would never be reached otherwise.
 */
#include <string.h>

#include "fuzz.h"
#include "model.h"
#include "packed.h"

#define MAX_CONTEXT 4096		/* what an engine takes grows with it */

static const char *
file_with_checksum(const uint8_t *data, size_t size)
{
	size_t		prefix = strlen(DSV_PACKED_PREFIX);
	uint64_t	len = 0;
	uint8_t    *copy;
	const char *path;

	if (size < 8 + prefix + DSV_CHECKSUM_DIGITS)
		return fuzz_file(data, size);
	for (int i = 7; i >= 0; i--)
		len = len << 8 | data[i];
	if (len < prefix + DSV_CHECKSUM_DIGITS || len > size - 8)
		return fuzz_file(data, size);
	copy = malloc(size);
	memcpy(copy, data, size);
	dsv_packed_header_checksum(copy + 8, len, (char *) copy + 8 + prefix);
	path = fuzz_file(copy, size);
	free(copy);
	return path;
}

static void
encode(const dsv_model *model)
{
	static const char text[] = "Total: 12.50 \xe2\x82\xac\n<image>\t\xff na\xc3\xafve <|User|>";
	const dsv_span spans[2] = {{text, sizeof(text) - 1, false}, {text, sizeof(text) - 1, true}};
	dsv_tokens	tokens = {0};
	dsv_error	err;

	fuzz_check(dsv_tokenizer_encode(model->tokenizer, spans, 2, NULL, &fuzz_mem, &tokens, &err), &err);
	for (size_t i = 0; i < tokens.n; i++)
	{
		size_t		len;

		if (tokens.ids[i] < 0 || dsv_tokenizer_bytes(model->tokenizer, tokens.ids[i], &len) == NULL)
			abort();
	}
	dsv_free(&fuzz_mem, tokens.ids);
}

static void
answer(dsv_model *model)
{
	dsv_engine_options options = {.mem = &fuzz_mem, .threads = 1, .kv_memory = (size_t) 4 << 20};
	const int32_t prompt[2] = {0, 1};
	dsv_request request = {.max_tokens = 2};
	dsv_engine *engine = NULL;
	dsv_sequence *seq = NULL;
	dsv_error	err;
	dsv_code	code = dsv_engine_create(model, &options, &engine, &err);

	fuzz_check(code, &err);
	if (code == DSV_OK)
	{
		code = dsv_engine_submit_tokens(engine, prompt, 2, &request, &seq, &err);
		fuzz_check(code, &err);
	}
	while (code == DSV_OK && dsv_sequence_state(seq) < DSV_STATE_DONE)
	{
		code = dsv_engine_step(engine, &err);
		fuzz_check(code, &err);
	}
	dsv_engine_destroy(engine);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = file_with_checksum(data, size);
	dsv_model  *model = NULL;
	dsv_error	err;
	dsv_code	code = dsv_model_open(path, &fuzz_mem, &model, &err);

	fuzz_check(code, &err);
	if (code != DSV_OK)
		return 0;
	fuzz_check(dsv_model_verify(path, &fuzz_mem, NULL, &err), &err);
	encode(model);
	if (dsv_model_get_info(model)->context <= MAX_CONTEXT)
		answer(model);
	dsv_model_close(model);
	return 0;
}
