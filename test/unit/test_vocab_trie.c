/*
 * test_vocab_trie.c
 *		Every token is in its trie once, under its bytes, and skipping passes over just the
 *		subtree.
 */
#include "files_util.h"
#include "tokenizer_util.h"
#include "utf8.h"
#include "vocab_trie.h"

static bool
has(const uint32_t *set, int32_t id)
{
	return (set[id / 32] >> (id % 32) & 1) != 0;
}

/* Walks the whole array and checks each token that it meets; seen [vocab] counts them. */
static void
check_nodes(const dsv_vocab_trie *t, const dsv_tokenizer *tok, uint8_t *seen)
{
	char		path[DSV_TRIE_DEPTH];
	int			end_of[DSV_TRIE_DEPTH + 1] = {t->nnodes};
	int			depth = 0;

	for (int i = 0; i < t->nnodes; i++)
	{
		dsv_trie_node node = t->nodes[i];
		size_t		len;
		const char *bytes;

		if (i == t->plain_end || i == t->other_end)
			assert_int_equal(node.depth, 1);
		assert_in_range(node.depth, 1, depth + 1);
		/* the subtrees that ended here say so, and those that go on do not */
		for (int d = depth; d >= (int) node.depth; d--)
			assert_int_equal(end_of[d], i);
		depth = (int) node.depth;
		assert_in_range(node.skip, i + 1, end_of[depth - 1]);
		end_of[depth] = (int) node.skip;
		path[depth - 1] = (char) node.byte;
		if ((int) node.token == t->vocab)
			continue;
		bytes = dsv_tokenizer_bytes(tok, (int32_t) node.token, &len);
		assert_int_equal(len, depth);
		assert_memory_equal(bytes, path, len);
		assert_int_equal(dsv_tokenizer_is_special(tok, (int32_t) node.token), i >= t->other_end);
		assert_int_equal(has(t->plain, (int32_t) node.token), i < t->plain_end);
		seen[node.token]++;
	}
	for (int d = depth; d > 0; d--)
		assert_int_equal(end_of[d], t->nnodes);
}

/* What the header says of plain tokens, said another way */
static bool
should_be_plain(const dsv_tokenizer *tok, int32_t id)
{
	size_t		len;
	const char *s = dsv_tokenizer_bytes(tok, id, &len);
	size_t		chars = 0;
	int			size;

	for (size_t i = 0; i < len; i++)
	{
		chars += ((uint8_t) s[i] & 0xC0) != 0x80;
		if ((uint8_t) s[i] < 0x20 || strchr("\"\\<\x7F", s[i]) != NULL)
			return false;
	}
	for (size_t i = 0; i < len; i += (size_t) size)
		if (dsv_utf8_next(s + i, len - i, &size) != DSV_UTF8_CHAR)
			return false;
	return chars <= DSV_PLAIN_CHARS;
}

static void
check_trie(const char *path, bool packed)
{
	dsv_tokenizer *tok = packed ? open_packed(path) : open_tokenizer(path);
	int			vocab = dsv_tokenizer_size(tok) + 10;
	int32_t		end = dsv_tokenizer_added(tok, "<｜end▁of▁sentence｜>");
	uint8_t    *seen = calloc((size_t) vocab + 1, 1);
	int			plain = 0;
	dsv_vocab_trie trie;
	dsv_error	err = {0};

	assert_true(end >= 0);
	check_ok(dsv_vocab_trie_init(&trie, tok, vocab, end, NULL, &err), &err);
	assert_true(trie.special_first['<'] && !trie.special_first['a']);
	check_nodes(&trie, tok, seen);
	for (int32_t id = 0; id < vocab; id++)
	{
		dsv_token_kind kind = dsv_token_kind_of(tok, vocab, id);

		assert_int_equal(seen[id], kind != DSV_TOKEN_NONE && id != end);
		if (kind == DSV_TOKEN_ORDINARY)
			assert_int_equal(has(trie.plain, id), should_be_plain(tok, id));
		plain += has(trie.plain, id);
	}
	assert_true(plain > 50);
	assert_int_equal(dsv_token_kind_of(tok, vocab, -1), DSV_TOKEN_NONE);
	assert_int_equal(dsv_token_kind_of(tok, 5, 5), DSV_TOKEN_NONE);
	dsv_vocab_trie_free(&trie, NULL);
	free(seen);
	dsv_tokenizer_close(tok);
}

static void
test_nodes(void **state)
{
	check_trie("models/nano/tokenizer.json", false);
	check_trie("test/golden/tiny-like/tokenizer.json", false);
	check_trie("test/golden/small-like/tokenizer.json", false);
	check_trie("test/golden/base-like/tokenizer.json", false);
	check_trie(FULL_SIZE, true);
}

/* An output matrix with fewer rows than the tokenizer has tokens */
static void
test_few_rows(void **state)
{
	dsv_tokenizer *tok = open_tokenizer("test/golden/tiny-like/tokenizer.json");
	dsv_vocab_trie trie;
	dsv_error	err = {0};
	int			tokens = 0;

	for (int vocab = 1; vocab < 200; vocab += 31)
	{
		check_ok(dsv_vocab_trie_init(&trie, tok, vocab, 0, NULL, &err), &err);
		for (int i = 0; i < trie.nnodes; i++)
		{
			assert_in_range(trie.nodes[i].token, 0, vocab);
			tokens += (int) trie.nodes[i].token < vocab;
		}
		assert_in_range(trie.nnodes, 0, vocab * 3);
		dsv_vocab_trie_free(&trie, NULL);
	}
	assert_true(tokens > 200);
	dsv_tokenizer_close(tok);
}

static void
test_memory(void **state)
{
	dsv_tokenizer *tok = open_tokenizer("test/golden/tiny-like/tokenizer.json");
	dsv_vocab_trie trie;
	dsv_error	err = {0};
	books		b = {0};
	dsv_mem		mem = {books_alloc, books_free, &b};
	dsv_code	code = DSV_NOMEM;

	for (int n = 1; code == DSV_NOMEM; n++)
	{
		b = (books) {.fail_at = n};
		code = dsv_vocab_trie_init(&trie, tok, 1100, 1, &mem, &err);
		assert_true(code == DSV_OK || code == DSV_NOMEM);
		assert_int_equal(b.held, code == DSV_OK);
		assert_true(code == DSV_NOMEM || n > 2);
	}
	dsv_vocab_trie_free(&trie, &mem);
	assert_int_equal(b.held, 0);
	dsv_tokenizer_close(tok);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_few_rows),
		cmocka_unit_test(test_memory),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
