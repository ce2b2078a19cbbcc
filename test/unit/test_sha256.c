/*
 * test_sha256.c
 *		SHA-256 against FIPS 180-4's examples, in pieces of every size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dsv.h"
#include "sha256.h"

static void
test_examples(void **state)
{
	static const struct
	{
		const char *text;
		const char *hex;
	}			rows[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		"cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		char		hex[65];

		dsv_sha256_hex(rows[i].text, strlen(rows[i].text), hex);
		assert_string_equal(hex, rows[i].hex);
	}
}

static void
test_pieces(void **state)
{
	uint8_t		data[1000];
	uint8_t		whole[32];
	dsv_sha256	s;

	for (int i = 0; i < 1000; i++)
		data[i] = (uint8_t) (i * 7);
	dsv_sha256_init(&s);
	dsv_sha256_add(&s, data, sizeof(data));
	dsv_sha256_end(&s, whole);
	for (size_t piece = 1; piece < 200; piece++)
	{
		uint8_t		parts[32];

		dsv_sha256_init(&s);
		for (size_t at = 0; at < sizeof(data); at += piece)
			dsv_sha256_add(&s, data + at, at + piece < sizeof(data) ? piece : sizeof(data) - at);
		dsv_sha256_end(&s, parts);
		assert_memory_equal(parts, whole, 32);
	}
}

/* Whatever the processor has gives the plain form's state. */
static void
test_blocks(void **state)
{
	uint8_t		data[64 * 9];
	uint32_t	x = 1;

	for (size_t i = 0; i < sizeof(data); i++)
	{
		x = x * 1664525u + 1013904223u;
		data[i] = (uint8_t) (x >> 24);
	}
	for (size_t n = 0; n <= 9; n++)
	{
		uint32_t	a[8];
		uint32_t	b[8];

		for (uint32_t i = 0; i < 8; i++)
			a[i] = b[i] = x * (i + 1);
		dsv_sha256_blocks(a, data, n);
		dsv_sha256_blocks_plain(b, data, n);
		assert_memory_equal(a, b, sizeof(a));
		assert_true((a[0] == x) == (n == 0));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_blocks),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("sha256", tests, NULL, NULL);
}
