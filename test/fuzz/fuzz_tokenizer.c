/*
 * fuzz_tokenizer.c
 *		A tokenizer.json; what is accepted must encode any text and give tokens that it
 *		knows.
 */
#include <string.h>

#include "fuzz.h"
#include "tokenizer.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] = "Total: 12.50 \xe2\x82\xac\n<image>\t\xff na\xc3\xafve <|User|>";
	const dsv_span spans[2] = {{text, sizeof(text) - 1, false}, {text, sizeof(text) - 1, true}};
	dsv_tokenizer *tok = NULL;
	dsv_tokens	tokens;
	dsv_error	err;
	dsv_code	code;

	code = dsv_tokenizer_open(fuzz_file(data, size), &fuzz_mem, &tok, &err);
	fuzz_check(code, &err);
	if (code != DSV_OK)
		return 0;
	memset(&tokens, 0, sizeof(tokens));
	code = dsv_tokenizer_encode(tok, spans, 2, NULL, &fuzz_mem, &tokens, &err);
	fuzz_check(code, &err);
	for (size_t i = 0; code == DSV_OK && i < tokens.n; i++)
	{
		size_t		len;

		if (tokens.ids[i] < 0 || dsv_tokenizer_bytes(tok, tokens.ids[i], &len) == NULL)
			abort();
	}
	dsv_free(&fuzz_mem, tokens.ids);
	dsv_tokenizer_close(tok);
	return 0;
}
