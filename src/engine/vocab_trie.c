/*
 * vocab_trie.c
 *		The vocabulary sorted by (trie, bytes), then written out node by node: what a token
 *		shares with the one before it is there already.
 */
#include "vocab_trie.h"

#include <string.h>

#include "utf8.h"

#define MAX_NODES ((1 << 24) - 1)

typedef enum part
{
	PLAIN,
	OTHER,
	SPECIAL,
} part;

typedef struct entry
{
	const char *bytes;
	uint32_t	len;
	int32_t		token;
	part		part;
} entry;

/* ---- kinds ---- */

/* Whole characters that stand for themselves in a JSON string and begin no special token's text */
static bool
is_plain(const dsv_vocab_trie *trie, const char *bytes, size_t len)
{
	int			chars = 0;
	int			size;

	for (size_t at = 0; at < len; at += (size_t) size, chars++)
	{
		uint8_t		c = (uint8_t) bytes[at];

		if (dsv_utf8_next(bytes + at, len - at, &size) != DSV_UTF8_CHAR || c < 0x20 || c == 0x7F ||
			c == '"' || c == '\\' || trie->special_first[c])
			return false;
	}
	return chars <= DSV_PLAIN_CHARS;
}

dsv_token_kind
dsv_token_kind_of(const dsv_tokenizer *tok, int vocab, int32_t token)
{
	size_t		len;
	const char *bytes = dsv_tokenizer_bytes(tok, token, &len);

	if (bytes == NULL || token >= vocab || len == 0 || len > DSV_TRIE_DEPTH)
		return DSV_TOKEN_NONE;
	if (dsv_tokenizer_is_added(tok, token))
		return dsv_tokenizer_is_special(tok, token) ? DSV_TOKEN_SPECIAL : DSV_TOKEN_NONE;
	return DSV_TOKEN_ORDINARY;
}

/* ---- sorting ---- */

static int
compare(const entry *a, const entry *b)
{
	int			order;

	if (a->part != b->part)
		return a->part < b->part ? -1 : 1;
	order = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);
	if (order != 0)
		return order;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return a->token < b->token ? -1 : a->token > b->token;
}

/* Merges runs of growing length from one array to the other; returns the one that is sorted.
 * Not qsort(), which takes memory of its own. */
static entry *
sort(entry *from, entry *to, int n)
{
	for (int run = 1; run < n; run *= 2)
	{
		entry	   *swap = from;

		for (int start = 0; start < n; start += 2 * run)
		{
			int			middle = start + run < n ? start + run : n;
			int			end = middle + run < n ? middle + run : n;
			int			a = start;
			int			b = middle;

			for (int i = start; i < end; i++)
				to[i] = b == end || (a < middle && compare(&from[a], &from[b]) <= 0) ? from[a++] : from[b++];
		}
		from = to;
		to = swap;
	}
	return from;
}

/* ---- nodes ---- */

/* Leading bytes of sorted[i] whose nodes are there when it is written: those it shares with the
 * token before, in the same trie.  Two tokens of the same bytes get a last node each. */
static uint32_t
shared(const entry *sorted, int i)
{
	const entry *before = &sorted[i - 1];
	uint32_t	n = 0;

	if (i == 0 || before->part != sorted[i].part)
		return 0;
	while (n < before->len && n + 1 < sorted[i].len && before->bytes[n] == sorted[i].bytes[n])
		n++;
	return n;
}

static void
close_nodes(dsv_vocab_trie *trie, const int *open, uint32_t depth, uint32_t to, int n)
{
	for (uint32_t d = depth; d > to; d--)
		trie->nodes[open[d]].skip = (uint32_t) n;
}

static void
write_nodes(dsv_vocab_trie *trie, const entry *sorted, int nsorted)
{
	int			open[DSV_TRIE_DEPTH + 1];	/* the node at each depth of the token before */
	uint32_t	depth = 0;
	int			n = 0;

	for (int i = 0; i < nsorted; i++)
	{
		const entry *e = &sorted[i];
		uint32_t	have = shared(sorted, i);

		close_nodes(trie, open, depth, have, n);
		for (depth = have; depth < e->len; n++)
		{
			uint8_t		byte = (uint8_t) e->bytes[depth++];

			trie->nodes[n] = (dsv_trie_node) {.depth = depth, .byte = byte, .token = (uint32_t) trie->vocab};
			open[depth] = n;
		}
		trie->nodes[n - 1].token = (uint32_t) e->token;
		if (e->part == PLAIN)
		{
			trie->plain[e->token / 32] |= 1u << (e->token % 32);
			trie->plain_end = n;
		}
		if (e->part != SPECIAL)
			trie->other_end = n;
		if (trie->depth < (int) e->len)
			trie->depth = (int) e->len;
	}
	close_nodes(trie, open, depth, 0, n);
	trie->nnodes = n;
}

static dsv_code
build(dsv_vocab_trie *trie, const entry *sorted, int nsorted, const dsv_mem *mem, dsv_error *err)
{
	size_t		nodes = 0;
	dsv_arena	arena = {NULL, 0};

	for (int i = 0; i < nsorted; i++)
		nodes += sorted[i].len - shared(sorted, i);
	if (nodes > MAX_NODES || trie->vocab > MAX_NODES)
		return dsv_fail(err, DSV_LIMIT, "vocabulary of %zu nodes is too large for constrained answers", nodes);
	trie->words = (trie->vocab + 32) / 32;
	for (int pass = 0; pass < 2; pass++)
	{
		arena.used = 0;
		trie->plain = dsv_arena_take(&arena, (size_t) trie->words, sizeof(uint32_t));
		trie->nodes = dsv_arena_take(&arena, nodes, sizeof(dsv_trie_node));
		if (pass == 0)
			arena.base = dsv_alloc_aligned(mem, arena.used, &trie->to_free);
		if (arena.base == NULL)
			return dsv_fail_nomem(err, arena.used);
	}
	trie->bytes = arena.used;
	memset(trie->plain, 0, (size_t) trie->words * sizeof(uint32_t));
	write_nodes(trie, sorted, nsorted);
	return DSV_OK;
}

/* Ordinary and special tokens, in the order of ids; which bytes special ones begin with is known
 * first, as plain tokens have none of them. */
static int
collect(dsv_vocab_trie *trie, const dsv_tokenizer *tok, int32_t end, entry *entries)
{
	int			n = 0;

	for (int32_t t = 0; t < dsv_tokenizer_size(tok); t++)
	{
		dsv_token_kind kind = dsv_token_kind_of(tok, trie->vocab, t);
		size_t		len;
		const char *bytes = dsv_tokenizer_bytes(tok, t, &len);

		if (kind == DSV_TOKEN_NONE || t == end)
			continue;
		entries[n++] = (entry) {bytes, (uint32_t) len, t, kind == DSV_TOKEN_SPECIAL ? SPECIAL : OTHER};
		if (kind == DSV_TOKEN_SPECIAL)
			trie->special_first[(uint8_t) bytes[0]] = true;
	}
	for (int i = 0; i < n; i++)
		if (entries[i].part == OTHER && is_plain(trie, entries[i].bytes, entries[i].len))
			entries[i].part = PLAIN;
	return n;
}

dsv_code
dsv_vocab_trie_init(dsv_vocab_trie *trie, const dsv_tokenizer *tok, int vocab, int32_t end,
					const dsv_mem *mem, dsv_error *err)
{
	size_t		size = (size_t) dsv_tokenizer_size(tok);
	entry	   *entries = dsv_alloc(mem, 2 * size, sizeof(*entries));
	int			n;
	dsv_code	code;

	*trie = (dsv_vocab_trie) {.vocab = vocab};
	if (entries == NULL)
		return dsv_fail_nomem(err, 2 * size * sizeof(*entries));
	n = collect(trie, tok, end, entries);
	code = build(trie, sort(entries, entries + size, n), n, mem, err);
	dsv_free(mem, entries);
	return code;
}

void
dsv_vocab_trie_free(dsv_vocab_trie *trie, const dsv_mem *mem)
{
	dsv_free(mem, trie->to_free);
	*trie = (dsv_vocab_trie) {0};
}
