/*
 * tokenizer_load.c
 *		tokenizer.json to tables.
 *
 * Whatever the file asks for and this engine does not do is refused by name here, so
 * that no checkpoint is ever read with tokens that are almost right.
 */
#include "tokenizer_private.h"

#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "json.h"

#define MAX_FILE_BYTES ((size_t) 256 << 20)
#define WHERE "tokenizer.json"

static dsv_code
refuse(dsv_error *err, const char *what, const char *value)
{
	return dsv_fail(err, DSV_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not implemented", what,
					value);
}

/* ---- the file ---- */

/* The file with null for the members that are read apart */
static dsv_code
parse_rest(const dsv_mem *mem, const dsv_text *file, dsv_slice vocab, dsv_slice merges,
		   json_t **out, dsv_error *err)
{
	dsv_slice	first = vocab.s < merges.s ? vocab : merges;
	dsv_slice	second = vocab.s < merges.s ? merges : vocab;
	const char *end = file->s + file->len;
	dsv_text	rest = {NULL, 0, 0};
	dsv_code	code;

	if (!dsv_text_add(mem, &rest, file->s, (size_t) (first.s - file->s)) ||
		!dsv_text_add(mem, &rest, "null", 4) ||
		!dsv_text_add(mem, &rest, first.end, (size_t) (second.s - first.end)) ||
		!dsv_text_add(mem, &rest, "null", 4) ||
		!dsv_text_add(mem, &rest, second.end, (size_t) (end - second.end)))
		code = dsv_fail_nomem(err, file->len);
	else
		code = dsv_json_load_bytes(WHERE, rest.s, rest.len, out, err);
	dsv_free(mem, rest.s);

	/* the message has to tell the place in the file as it is */
	if (code == DSV_FORMAT)
		code = dsv_json_load_bytes(WHERE, file->s, file->len, out, err);
	return code;
}

/* ---- what must hold ---- */

static bool
is_nothing(const json_t *value)
{
	return value == NULL || json_is_null(value);
}

static const char *
type_of(const json_t *value)
{
	const json_t *type = json_object_get(value, "type");
	const char *s = json_string_value(type);

	return s != NULL && strlen(s) == json_string_length(type) ? s : "";
}

/* A flag that has to be off */
static dsv_code
require_off(const json_t *obj, const char *where, const char *key, bool missing, dsv_error *err)
{
	bool		on = missing;
	dsv_code	code = dsv_json_bool(obj, where, key, &on, err);

	if (code == DSV_OK && on)
		code = dsv_fail(err, DSV_UNSUPPORTED, "%s: \"%s\" is not implemented", where, key);
	return code;
}

static dsv_code
check_surroundings(const json_t *root, dsv_error *err)
{
	const json_t *normalizer = json_object_get(root, "normalizer");
	const json_t *decoder = json_object_get(root, "decoder");

	if (!is_nothing(normalizer) &&
		(strcmp(type_of(normalizer), "Sequence") != 0 ||
		 json_array_size(json_object_get(normalizer, "normalizers")) > 0))
	{
		const json_t *inner = json_array_get(json_object_get(normalizer, "normalizers"), 0);

		return refuse(err, "normalizer", type_of(inner != NULL ? inner : normalizer));
	}
	if (!is_nothing(decoder) && strcmp(type_of(decoder), "ByteLevel") != 0)
		return refuse(err, "decoder", type_of(decoder));
	return DSV_OK;
}

static dsv_code
check_model(const json_t *model, dsv_error *err)
{
	static const char where[] = WHERE ": model";
	static const char *const empty[] = {"dropout", "unk_token", "continuing_subword_prefix",
	"end_of_word_suffix"};
	static const char *const off[] = {"byte_fallback", "ignore_merges"};
	dsv_code	code;

	if (strcmp(type_of(model), "BPE") != 0)
		return refuse(err, "model", type_of(model));
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
	{
		const json_t *value = json_object_get(model, empty[i]);
		const char *s = json_string_value(value);

		if (!is_nothing(value) && (s == NULL || s[0] != '\0'))
			return dsv_fail(err, DSV_UNSUPPORTED, "%s: \"%s\" is not implemented", where,
							empty[i]);
	}
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
	{
		code = require_off(model, where, off[i], false, err);
		if (code != DSV_OK)
			return code;
	}
	return DSV_OK;
}

/* ---- pre_tokenizer ---- */

static dsv_code
add_split(dsv_tokenizer *tok, const json_t *step, dsv_error *err)
{
	static const char where[] = WHERE ": Split";
	const json_t *pattern = json_object_get(step, "pattern");
	const char *regex = NULL;
	const char *behavior = NULL;
	dsv_code	code;

	if (json_object_get(pattern, "String") != NULL)
		return refuse(err, "Split pattern", "String");
	if ((code = dsv_json_string(pattern, where, "Regex", &regex, err)) != DSV_OK ||
		(code = dsv_json_string(step, where, "behavior", &behavior, err)) != DSV_OK)
		return code;
	if (regex == NULL || behavior == NULL)
		return dsv_fail(err, DSV_FORMAT, "%s lacks a pattern or a behavior", where);
	if (strcmp(behavior, "Isolated") != 0)
		return refuse(err, "Split behavior", behavior);
	code = require_off(step, where, "invert", false, err);
	return code == DSV_OK ? dsv_split_add(tok, regex, err) : code;
}

static dsv_code
add_digits(dsv_tokenizer *tok, const json_t *step, dsv_error *err)
{
	bool		individual = false;
	dsv_code	code = dsv_json_bool(step, WHERE ": Digits", "individual_digits", &individual, err);

	if (code != DSV_OK)
		return code;
	if (!individual)
		return refuse(err, "Digits", "individual_digits: false");
	return dsv_split_add(tok, "\\p{N}", err);
}

/* ByteLevel is how every token is written here; it only must not change the text first. */
static dsv_code
check_byte_level(const json_t *step, dsv_error *err)
{
	static const char where[] = WHERE ": ByteLevel";
	dsv_code	code = require_off(step, where, "add_prefix_space", true, err);

	return code == DSV_OK ? require_off(step, where, "use_regex", true, err) : code;
}

static dsv_code
add_step(dsv_tokenizer *tok, const json_t *step, bool last, dsv_error *err)
{
	const char *type = type_of(step);

	if ((strcmp(type, "ByteLevel") == 0) != last)
	{
		if (last)
			return dsv_fail(err, DSV_UNSUPPORTED, WHERE
							": a pre_tokenizer that does not end in ByteLevel is not implemented");
		return refuse(err, "pre_tokenizer step behind", type);
	}
	if (last)
		return check_byte_level(step, err);
	if (strcmp(type, "Split") == 0)
		return add_split(tok, step, err);
	if (strcmp(type, "Digits") == 0)
		return add_digits(tok, step, err);
	return refuse(err, "pre_tokenizer", type);
}

static dsv_code
load_steps(dsv_tokenizer *tok, const json_t *pre, dsv_error *err)
{
	const json_t *steps = json_object_get(pre, "pretokenizers");
	size_t		n = json_array_size(steps);
	dsv_code	code = DSV_OK;

	if (strcmp(type_of(pre), "Sequence") != 0)
		return add_step(tok, pre, true, err);
	if (n == 0)
		return dsv_fail(err, DSV_FORMAT, WHERE ": pre_tokenizer has no steps");
	for (size_t i = 0; i < n && code == DSV_OK; i++)
		code = add_step(tok, json_array_get(steps, i), i == n - 1, err);
	return code;
}

/* ---- added tokens ---- */

typedef struct added_entry
{
	dsv_added	added;			/* in dsv_vocab.bytes, as are: */
	uint32_t	bytes_at;
	uint32_t	bytes_len;
	bool		special;
	const char *content;		/* for the sort */
} added_entry;

static dsv_code
load_added_token(dsv_vocab *vocab, const json_t *item, added_entry *out, dsv_error *err)
{
	static const char where[] = WHERE ": added_tokens";
	static const char *const off[] = {"single_word", "lstrip", "rstrip"};
	const json_t *content = json_object_get(item, "content");
	size_t		len = json_string_length(content);
	int64_t		id = -1;
	bool		is_bytes;
	dsv_code	code;

	if (len == 0)
		return dsv_fail(err, DSV_FORMAT, "%s: a token has no content", where);
	code = dsv_json_int(item, where, "id", 0, DSV_TOKENIZER_MAX_ID, &id, err);
	if (code != DSV_OK)
		return code;
	if (id < 0)
		return dsv_fail(err, DSV_FORMAT, "%s: a token has no id", where);
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
	{
		code = require_off(item, where, off[i], false, err);
		if (code != DSV_OK)
			return code;
	}
	out->content = json_string_value(content);
	out->added.at = (uint32_t) vocab->bytes.len;
	out->added.len = (uint32_t) len;
	out->added.id = (int32_t) id;
	if (!dsv_text_add(vocab->mem, &vocab->bytes, out->content, len))
		return dsv_fail_nomem(err, len);
	code = dsv_json_bool(item, where, "special", &out->special, err);
	return code != DSV_OK ? code :
		dsv_vocab_add_bytes(vocab, out->content, len, &out->bytes_at, &out->bytes_len, &is_bytes,
							err);
}

static int
compare_added(const void *a, const void *b)
{
	const added_entry *x = a;
	const added_entry *y = b;
	uint32_t	len = x->added.len < y->added.len ? x->added.len : y->added.len;
	int			order = memcmp(x->content, y->content, len);

	return order != 0 ? order : (x->added.len > y->added.len) - (x->added.len < y->added.len);
}

static dsv_code
load_added(dsv_vocab *vocab, const json_t *list, added_entry *added, size_t n, dsv_error *err)
{
	dsv_code	code;

	for (size_t i = 0; i < n; i++)
	{
		code = load_added_token(vocab, json_array_get(list, i), &added[i], err);
		if (code != DSV_OK)
			return code;
	}
	qsort(added, n, sizeof(added_entry), compare_added);
	for (size_t i = 1; i < n; i++)
		if (compare_added(&added[i - 1], &added[i]) == 0)
			return dsv_fail(err, DSV_FORMAT, WHERE ": added token \"%s\" is there twice",
							added[i].content);
	return DSV_OK;
}

/* ---- tables ---- */

/* A layout in one block: measured without a base, then taken with one */
static void
lay_out(dsv_tokenizer *tok, dsv_arena *arena, size_t nbytes)
{
	tok->tokens = dsv_arena_take(arena, (size_t) tok->size, sizeof(dsv_token));
	tok->pairs = dsv_arena_take(arena, (size_t) 1 << tok->pair_bits, sizeof(dsv_pair));
	tok->added = dsv_arena_take(arena, (size_t) tok->nadded, sizeof(dsv_added));
	tok->bytes = dsv_arena_take(arena, nbytes, 1);
}

static dsv_code
take_block(dsv_tokenizer *tok, const dsv_vocab *vocab, const added_entry *added, size_t nadded,
		   dsv_error *err)
{
	dsv_arena	arena = {NULL, 0};

	for (size_t i = 0; i < vocab->nentries; i++)
		if (tok->size <= vocab->entries[i].id)
			tok->size = vocab->entries[i].id + 1;
	for (size_t i = 0; i < nadded; i++)
		if (tok->size <= added[i].added.id)
			tok->size = added[i].added.id + 1;
	if (tok->size == 0)
		return dsv_fail(err, DSV_FORMAT, WHERE " has no tokens");
	tok->nadded = (int) nadded;
	tok->pair_bits = 4;
	while ((size_t) 1 << tok->pair_bits < vocab->nmerges * 2)
		tok->pair_bits++;
	lay_out(tok, &arena, vocab->bytes.len + 1);
	arena.base = dsv_alloc_aligned(&tok->mem, arena.used, &tok->block);
	if (arena.base == NULL)
		return dsv_fail_nomem(err, arena.used);
	memset(arena.base, 0, arena.used);
	arena.used = 0;
	lay_out(tok, &arena, vocab->bytes.len + 1);
	return DSV_OK;
}

static void
set_token(dsv_tokenizer *tok, int32_t id, dsv_token token)
{
	tok->tokens[id] = token;
	if (tok->max_len < token.len)
		tok->max_len = token.len;
}

static dsv_code
fill_tokens(dsv_tokenizer *tok, const dsv_vocab *vocab, const added_entry *added, dsv_error *err)
{
	memset(tok->byte_id, -1, sizeof(tok->byte_id));
	for (size_t i = 0; i < vocab->nentries; i++)
	{
		const dsv_vocab_entry *e = &vocab->entries[i];

		if (tok->tokens[e->id].known)
			return dsv_fail(err, DSV_FORMAT, WHERE ": two tokens have the id %d", (int) e->id);
		set_token(tok, e->id, (dsv_token) {e->at, e->len, .known = true});
		if (e->is_bytes && e->len == 1)
			tok->byte_id[(uint8_t) vocab->bytes.s[e->at]] = e->id;
	}
	/* an added token may have a vocabulary entry too: its own content counts */
	for (int i = 0; i < tok->nadded; i++)
	{
		const added_entry *a = &added[i];

		if (tok->tokens[a->added.id].added)
			return dsv_fail(err, DSV_FORMAT, WHERE ": two added tokens have the id %d",
							(int) a->added.id);
		tok->added[i] = a->added;
		set_token(tok, a->added.id,
				  (dsv_token) {a->bytes_at, a->bytes_len, true, true, a->special});
	}
	return DSV_OK;
}

static void
fill_pairs(dsv_tokenizer *tok, const dsv_vocab *vocab)
{
	size_t		mask = ((size_t) 1 << tok->pair_bits) - 1;

	for (size_t i = 0; i <= mask; i++)
		tok->pairs[i].left = -1;
	for (size_t rank = 0; rank < vocab->nmerges; rank++)
	{
		const dsv_merge *m = &vocab->merges[rank];
		size_t		slot = dsv_pair_slot(m->left, m->right, tok->pair_bits);

		/* a merge that is listed twice has its last rank */
		while (tok->pairs[slot].left >= 0 &&
			   !(tok->pairs[slot].left == m->left && tok->pairs[slot].right == m->right))
			slot = (slot + 1) & mask;
		tok->pairs[slot] = (dsv_pair) {m->left, m->right, (uint32_t) rank, m->id};
	}
}

static dsv_code
build_tables(dsv_tokenizer *tok, dsv_vocab *vocab, const json_t *list, dsv_error *err)
{
	size_t		n = json_array_size(list);
	added_entry *added = dsv_alloc_zero(&tok->mem, n, sizeof(added_entry));
	dsv_code	code;

	if (added == NULL)
		return dsv_fail_nomem(err, n * sizeof(added_entry));
	code = load_added(vocab, list, added, n, err);
	if (code == DSV_OK)
		code = take_block(tok, vocab, added, n, err);
	if (code == DSV_OK)
		code = fill_tokens(tok, vocab, added, err);
	if (code == DSV_OK)
	{
		fill_pairs(tok, vocab);
		memcpy(tok->bytes, vocab->bytes.s, vocab->bytes.len);
	}
	dsv_free(&tok->mem, added);
	return code;
}

static dsv_code
load_checked(dsv_tokenizer *tok, const json_t *root, dsv_slice vocab_slice,
			 dsv_slice merges_slice, dsv_error *err)
{
	const json_t *pre = json_object_get(root, "pre_tokenizer");
	const json_t *added = json_object_get(root, "added_tokens");
	dsv_vocab	vocab;
	dsv_code	code = check_surroundings(root, err);

	if (code == DSV_OK)
		code = check_model(json_object_get(root, "model"), err);
	if (code == DSV_OK && !json_is_object(pre))
		code = dsv_fail(err, DSV_FORMAT, WHERE ": \"pre_tokenizer\" is not an object");
	if (code == DSV_OK && !is_nothing(added) && !json_is_array(added))
		code = dsv_fail(err, DSV_FORMAT, WHERE ": \"added_tokens\" is not a list");
	if (code == DSV_OK)
		code = load_steps(tok, pre, err);
	if (code != DSV_OK)
		return code;
	dsv_vocab_init(&vocab, &tok->mem);
	code = dsv_vocab_read(&vocab, vocab_slice, err);
	if (code == DSV_OK)
		code = dsv_vocab_read_merges(&vocab, merges_slice, err);
	if (code == DSV_OK)
		code = build_tables(tok, &vocab, added, err);
	dsv_vocab_free(&vocab);
	return code;
}

static dsv_code
load(dsv_tokenizer *tok, const char *path, dsv_error *err)
{
	dsv_text	file = {NULL, 0, 0};
	dsv_slice	vocab,
				merges;
	json_t	   *root = NULL;
	dsv_code	code = dsv_file_read(path, MAX_FILE_BYTES, &tok->mem, &file, err);

	if (code == DSV_OK)
		code = dsv_scan_model(file.s, file.len, &vocab, &merges, err);
	if (code == DSV_OK && (vocab.s == NULL || merges.s == NULL))
		code = dsv_fail(err, DSV_FORMAT, WHERE " lacks model.vocab or model.merges");
	if (code == DSV_OK)
		code = parse_rest(&tok->mem, &file, vocab, merges, &root, err);
	if (code == DSV_OK)
		code = load_checked(tok, root, vocab, merges, err);
	json_decref(root);
	dsv_free(&tok->mem, file.s);
	return code;
}

dsv_code
dsv_tokenizer_open(const char *path, const dsv_mem *mem, dsv_tokenizer **out, dsv_error *err)
{
	dsv_tokenizer *tok = dsv_alloc_zero(mem, 1, sizeof(dsv_tokenizer));
	dsv_code	code;

	*out = NULL;
	if (tok == NULL)
		return dsv_fail_nomem(err, sizeof(dsv_tokenizer));
	tok->mem = mem != NULL ? *mem : dsv_mem_libc;
	code = dsv_split_create(tok, err);
	if (code == DSV_OK)
		code = load(tok, path, err);
	if (code != DSV_OK)
	{
		dsv_tokenizer_close(tok);
		return code;
	}
	*out = tok;
	return DSV_OK;
}

void
dsv_tokenizer_close(dsv_tokenizer *tok)
{
	dsv_mem		mem;

	if (tok == NULL)
		return;
	mem = tok->mem;
	dsv_split_destroy(tok);
	dsv_free(&mem, tok->block);
	dsv_free(&mem, tok);
}
