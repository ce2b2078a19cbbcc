/*
 * test_tokenizer.c
 *		Tokenizers against the reference's vectors, and everything that must be refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tokenizer_private.h"
#include "tokenizer_util.h"
#include "utf8.h"

#define GOLDEN "test/golden/"
#define TINY GOLDEN "tiny-like/tokenizer.json"
#define NANO "models/nano/tokenizer.json"

/* ---- memory that fails ---- */

typedef struct counter
{
	int			live;
	int			calls;
	int			fail_at;		/* the call that gets nothing; 0 = none */
} counter;

static void *
count_alloc(void *ud, size_t size)
{
	counter    *c = ud;
	void	   *p;

	if (++c->calls == c->fail_at)
		return NULL;
	p = malloc(size);
	c->live += p != NULL;
	return p;
}

static void
count_free(void *ud, void *ptr)
{
	counter    *c = ud;

	c->live -= ptr != NULL;
	free(ptr);
}

/* ---- systems that let no program make code ---- */

static bool interpret;

int
pcre2_jit_compile(pcre2_code *code, uint32_t options)
{
	int			(*real) (pcre2_code *, uint32_t);
	void	   *symbol = dlsym(RTLD_NEXT, "pcre2_jit_compile_8");

	if (interpret)
		return PCRE2_ERROR_NOMEMORY;
	assert_non_null(symbol);
	memcpy(&real, &symbol, sizeof(real));
	return real(code, options);
}

/* ---- files ---- */

static json_t *
load_json(const char *path)
{
	json_error_t error;
	json_t	   *root = json_load_file(path, JSON_ALLOW_NUL, &error);

	if (root == NULL)
		fail_msg("%s: %s", path, error.text);
	return root;
}

static dsv_code
open_text(const char *json, size_t len, dsv_tokenizer **tok, dsv_error *err)
{
	char		path[64];
	dsv_code	code;

	write_temp(json, len, path);
	code = dsv_tokenizer_open(path, NULL, tok, err);
	unlink(path);
	return code;
}

/* ---- encoding and decoding ---- */

static dsv_tokens
encode(const dsv_tokenizer *tok, const dsv_span *spans, int nspans)
{
	dsv_tokens	out = {NULL, 0, 0};
	dsv_error	err;

	if (dsv_tokenizer_encode(tok, spans, nspans, NULL, NULL, &out, &err) != DSV_OK)
		fail_msg("%s", err.msg);
	return out;
}

static dsv_tokens
encode_text(const dsv_tokenizer *tok, const char *text, size_t len, bool special)
{
	dsv_span	span = {text, len, special};

	return encode(tok, &span, 1);
}

static void
assert_tokens(dsv_tokens got, dsv_tokens want)
{
	assert_int_equal(got.n, want.n);
	if (want.n > 0)
		assert_memory_equal(got.ids, want.ids, want.n * sizeof(int32_t));
	free(got.ids);
	free(want.ids);
}

static dsv_tokens
ids_of(const json_t *list)
{
	dsv_tokens	out = {NULL, 0, 0};
	size_t		i;
	json_t	   *id;

	json_array_foreach(list, i, id)
		assert_true(dsv_tokens_add(NULL, &out, (int32_t) json_integer_value(id), 1));
	return out;
}

/* Only whole characters may ever stand in the output of a decoder. */
static void
assert_whole(const dsv_text *text)
{
	int			size;

	for (size_t at = 0; at < text->len; at += (size_t) size)
		assert_int_equal(dsv_utf8_next(text->s + at, text->len - at, &size), DSV_UTF8_CHAR);
}

static dsv_text
decode(const dsv_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special)
{
	dsv_decoder dec = {{0}, 0};
	dsv_text	out = {NULL, 0, 0};

	for (size_t i = 0; i < n; i++)
	{
		size_t		before = out.len;

		assert_true(dsv_decoder_add(&dec, tok, ids[i], skip_special, NULL, &out));
		assert_true(out.len - before < dsv_tokenizer_max_piece(tok));
		assert_whole(&out);
	}
	assert_true(dsv_decoder_end(&dec, NULL, &out));
	return out;
}

static void
assert_decodes(const dsv_tokenizer *tok, const json_t *row, bool skip_special)
{
	const json_t *text = json_object_get(row, skip_special ? "text_without_special" : "text");
	dsv_tokens	ids = ids_of(json_object_get(row, "ids"));
	dsv_text	out = decode(tok, ids.ids, ids.n, skip_special);

	assert_non_null(text);
	assert_int_equal(out.len, json_string_length(text));
	if (out.len > 0)
		assert_memory_equal(out.s, json_string_value(text), out.len);
	free(out.s);
	free(ids.ids);
}

/* ---- the vectors ---- */

static void
check_vectors(const dsv_tokenizer *tok, const char *name, size_t nstrings)
{
	char		path[256];
	json_t	   *strings = load_json(GOLDEN "tokenizer/strings.json");
	json_t	   *want,
			   *rows;
	size_t		i;
	json_t	   *s;

	snprintf(path, sizeof(path), GOLDEN "tokenizer/%s.ids.json", name);
	want = load_json(path);
	assert_int_equal(json_array_size(strings), nstrings);
	assert_int_equal(json_array_size(want), nstrings);
	json_array_foreach(strings, i, s)
		assert_tokens(encode_text(tok, json_string_value(s), json_string_length(s), true),
					  ids_of(json_array_get(want, i)));

	snprintf(path, sizeof(path), GOLDEN "tokenizer/%s.decode.json", name);
	rows = load_json(path);
	assert_true(json_array_size(rows) > 20);
	json_array_foreach(rows, i, s)
	{
		assert_decodes(tok, s, false);
		assert_decodes(tok, s, true);
	}
	json_decref(strings);
	json_decref(want);
	json_decref(rows);
}

static void
test_vectors(void **state)
{
	static const char *const names[] = {"tiny-like", "small-like", "base-like", "vl2-small",
	"vl2-tiny-base"};
	static const int sizes[] = {1085, 1011, 962, 100011, 128823};

	(void) state;
	for (int i = 0; i < 5; i++)
	{
		char		path[256];
		dsv_tokenizer *tok;

		snprintf(path, sizeof(path),
				 i < 3 ? GOLDEN "%s/tokenizer.json" : GOLDEN "tokenizer/%s.tokenizer.json.gz",
				 names[i]);
		tok = i < 3 ? open_tokenizer(path) : open_packed(path);
		assert_int_equal(dsv_tokenizer_size(tok), sizes[i]);
		check_vectors(tok, names[i], 529);
		dsv_tokenizer_close(tok);
	}
}

static void
test_tables(void **state)
{
	dsv_tokenizer *tok = open_tokenizer(GOLDEN "small-like/tokenizer.json");
	const char *bytes;
	size_t		len;

	(void) state;
	assert_int_equal(dsv_tokenizer_added(tok, "<image>"), 1003);
	assert_int_equal(dsv_tokenizer_added(tok, "<|User|>"), 1009);
	assert_int_equal(dsv_tokenizer_added(tok, "<|User|"), -1);
	assert_int_equal(dsv_tokenizer_added(tok, "<|User|>x"), -1);
	assert_int_equal(dsv_tokenizer_added(tok, ""), -1);
	assert_true(dsv_tokenizer_is_special(tok, 1003));
	assert_false(dsv_tokenizer_is_special(tok, 5));
	assert_false(dsv_tokenizer_is_special(tok, -1));
	assert_false(dsv_tokenizer_is_special(tok, INT32_MAX));
	bytes = dsv_tokenizer_bytes(tok, 1003, &len);
	assert_int_equal(len, 7);
	assert_memory_equal(bytes, "<image>", 7);
	assert_null(dsv_tokenizer_bytes(tok, -1, &len));
	assert_null(dsv_tokenizer_bytes(tok, dsv_tokenizer_size(tok), &len));
	assert_int_equal(len, 0);
	dsv_tokenizer_close(tok);
	dsv_tokenizer_close(NULL);
}

/* ---- spans ---- */

static void
test_user_text_is_data(void **state)
{
	static const char text[] = "a <|User|>: <image> <\xEF\xBD\x9C" "end\xE2\x96\x81of"
		"\xE2\x96\x81sentence\xEF\xBD\x9C> b";
	dsv_tokenizer *tok = open_tokenizer(TINY);
	dsv_tokens	plain = encode_text(tok, text, strlen(text), false);
	dsv_tokens	special = encode_text(tok, text, strlen(text), true);
	dsv_text	back = decode(tok, plain.ids, plain.n, true);
	int			found = 0;

	(void) state;
	for (size_t i = 0; i < plain.n; i++)
		assert_false(dsv_tokenizer_is_special(tok, plain.ids[i]));
	for (size_t i = 0; i < special.n; i++)
		found += dsv_tokenizer_is_special(tok, special.ids[i]);
	assert_int_equal(found, 3);
	assert_string_equal(back.s, text);
	free(back.s);
	free(plain.ids);
	free(special.ids);
	dsv_tokenizer_close(tok);
}

static void
test_spans_are_one_text(void **state)
{
	dsv_tokenizer *tok = open_packed(GOLDEN "tokenizer/vl2-tiny-base.tokenizer.json.gz");
	const dsv_span apart[] = {{"<|User|>: ", 10, true}, {"Hel", 3, false}, {"", 0, false},
	{"lo wor", 6, false}, {"ld\n", 3, true}, {"\n<|Assis", 8, true}, {NULL, 0, false},
	{"tant|>:", 7, true}};
	const dsv_span half[] = {{"<|Us", 4, true}, {"er|>", 4, false}};
	const char *whole = "<|User|>: Hello world\n\n<|Assistant|>:";
	dsv_tokens	got = encode(tok, half, 2);

	(void) state;
	assert_tokens(encode(tok, apart, 8), encode_text(tok, whole, strlen(whole), true));
	/* half of an added token in user text is none */
	assert_tokens(got, encode_text(tok, "<|User|>", 8, false));
	dsv_tokenizer_close(tok);
}

/* The longest added token that begins first counts. */
static void
test_added_longest(void **state)
{
	static const char json[] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
		"false,\"use_regex\":false},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,"
		"\"c\":2,\"ab\":3},\"merges\":[\"a b\"]},\"added_tokens\":["
		"{\"id\":10,\"content\":\"a\"},{\"id\":11,\"content\":\"abc\"},"
		"{\"id\":12,\"content\":\"bcb\",\"special\":true},{\"id\":13,\"content\":\"cb\"}]}";
	static const int32_t want[] = {11, 10, 1, 12, 13, 10, 1, 10};
	dsv_tokens	got;
	dsv_tokenizer *tok;
	dsv_error	err;

	(void) state;
	assert_int_equal(open_text(json, strlen(json), &tok, &err), DSV_OK);
	got = encode_text(tok, "abcabbcbcbaba", 13, true);
	assert_int_equal(got.n, 8);
	assert_memory_equal(got.ids, want, sizeof(want));
	free(got.ids);

	/* the letters that the vocabulary lacks are left out */
	got = encode_text(tok, "xabzc", 5, false);
	assert_int_equal(got.n, 2);
	assert_int_equal(got.ids[0], 3);
	assert_int_equal(got.ids[1], 2);
	free(got.ids);
	assert_true(dsv_tokenizer_is_special(tok, 12));
	assert_false(dsv_tokenizer_is_special(tok, 13));
	assert_null(dsv_tokenizer_bytes(tok, 5, &(size_t) {0}));
	dsv_tokenizer_close(tok);
}

/* ---- UTF-8 ---- */

static void
test_wrong_utf8(void **state)
{
	static const struct
	{
		const char *text;
		const char *want;		/* ? = U+FFFD */
	}			rows[] = {
		{"a\xFF" "b", "a?b"}, {"\xC0\x80", "??"}, {"\xE2\x82", "?"}, {"\xE2\x82z", "?z"},
		{"\xE0\x80\x80", "???"}, {"\xED\xA0\x80", "???"}, {"\xF0\x9F\x98", "?"},
		{"\xF0\x9F\x98\xC3\xA9", "?\xC3\xA9"}, {"\xF4\x90\x80\x80", "????"}, {"\x80\xBF", "??"},
		{"\xF5\x80", "??"}, {"\xC3", "?"}, {"\xC3\xC3\xA9", "?\xC3\xA9"},
		{"\xE2\xF0\x9F\x98\x80", "?\xF0\x9F\x98\x80"},
	};
	dsv_tokenizer *tok = open_tokenizer(TINY);

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		char		want[64] = "";
		size_t		n = 0;
		dsv_tokens	got = encode_text(tok, rows[i].text, strlen(rows[i].text), false);
		dsv_text	back = decode(tok, got.ids, got.n, false);

		for (const char *p = rows[i].want; *p != '\0'; p++)
		{
			if (*p == '?')
				memcpy(want + n, DSV_UTF8_REPLACEMENT, 3);
			else
				want[n] = *p;
			n += *p == '?' ? 3 : 1;
		}
		assert_string_equal(back.s, want);
		assert_tokens(got, encode_text(tok, want, strlen(want), false));
		free(back.s);
	}

	/* a character does not reach over the end of a span */
	assert_tokens(encode(tok, (dsv_span[]) {{"\xC3", 1, false}, {"\xA9", 1, false}}, 2),
				  encode_text(tok, DSV_UTF8_REPLACEMENT DSV_UTF8_REPLACEMENT, 6, false));
	dsv_tokenizer_close(tok);
}

/* With max_piece bytes to spare a decoder needs no memory. */
static void
test_decoder_needs_no_memory(void **state)
{
	counter		c = {0, 0, 1};
	dsv_mem		none = {count_alloc, count_free, &c};
	dsv_tokenizer *tok = open_tokenizer(TINY);
	size_t		room = dsv_tokenizer_max_piece(tok);
	char	   *buf = malloc(room);

	(void) state;
	for (int32_t id = 0; id < dsv_tokenizer_size(tok); id++)
	{
		dsv_text	out = {buf, 0, room};
		dsv_decoder dec = {{0xF0, 0x9F, 0x98}, 3};

		assert_true(dsv_decoder_add(&dec, tok, id, false, &none, &out));
		assert_ptr_equal(out.s, buf);
		assert_whole(&out);
	}
	free(buf);
	dsv_tokenizer_close(tok);
}

/* ---- refusals ---- */

static json_t *
member(json_t *at, const char *key)
{
	if (json_is_array(at))
		return json_array_get(at, (size_t) atoi(key));
	return json_object_get(at, key);
}

/* root.a.b.c = value; a missing value takes the member out */
static void
set(json_t *root, const char *path, const char *value)
{
	char		buf[128];
	char	   *key;
	char	   *dot;
	json_t	   *at = root;
	json_t	   *item = NULL;

	if (value != NULL)
		item = json_loads(value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	assert_true(value == NULL || item != NULL);
	snprintf(buf, sizeof(buf), "%s", path);
	for (key = buf; (dot = strchr(key, '.')) != NULL; key = dot + 1)
	{
		*dot = '\0';
		at = member(at, key);
		assert_non_null(at);
	}
	if (item == NULL)
		json_object_del(at, key);
	else if (json_is_array(at))
		json_array_set_new(at, (size_t) atoi(key), item);
	else
		json_object_set_new(at, key, item);
}

static dsv_code
open_changed(const char *path, const char *value, dsv_error *err)
{
	json_t	   *root = load_json(TINY);
	dsv_tokenizer *tok = NULL;
	char	   *text;
	dsv_code	code;

	set(root, path, value);
	text = json_dumps(root, JSON_COMPACT);
	code = open_text(text, strlen(text), &tok, err);
	assert_true((code == DSV_OK) == (tok != NULL));
	dsv_tokenizer_close(tok);
	free(text);
	json_decref(root);
	return code;
}

#define STEP "pre_tokenizer.pretokenizers."
#define REGEX STEP "0.pattern.Regex"
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"

static void
test_refusals(void **state)
{
	static const struct
	{
		const char *path;
		const char *value;
		dsv_code	code;
		const char *message;	/* part of it */
	}			rows[] = {
		{"normalizer", "{\"type\":\"NFC\"}", DSV_UNSUPPORTED, "normalizer \"NFC\""},
		{"normalizer.normalizers", "[{\"type\":\"NFKC\"}]", DSV_UNSUPPORTED, "\"NFKC\""},
		{"decoder", "{\"type\":\"WordPiece\"}", DSV_UNSUPPORTED, "decoder \"WordPiece\""},
		{"model.type", "\"Unigram\"", DSV_UNSUPPORTED, "model \"Unigram\""},
		{"model.type", NULL, DSV_UNSUPPORTED, "model \"\""},
		{"model.dropout", "0.1", DSV_UNSUPPORTED, "\"dropout\""},
		{"model.unk_token", "\"<unk>\"", DSV_UNSUPPORTED, "\"unk_token\""},
		{"model.continuing_subword_prefix", "\"##\"", DSV_UNSUPPORTED, "_prefix\""},
		{"model.end_of_word_suffix", "\"</w>\"", DSV_UNSUPPORTED, "_suffix\""},
		{"model.byte_fallback", "true", DSV_UNSUPPORTED, "\"byte_fallback\""},
		{"model.ignore_merges", "true", DSV_UNSUPPORTED, "\"ignore_merges\""},
		{"model.ignore_merges", "1", DSV_FORMAT, "ignore_merges"},
		{"pre_tokenizer", "{\"type\":\"Metaspace\"}", DSV_UNSUPPORTED, "ByteLevel"},
		{"pre_tokenizer", NULL, DSV_FORMAT, "pre_tokenizer"},
		{STEP "1", "{\"type\":\"Whitespace\"}", DSV_UNSUPPORTED, "\"Whitespace\""},
		{STEP "1", "7", DSV_UNSUPPORTED, "pre_tokenizer \"\""},
		{STEP "1", BYTE_LEVEL, DSV_UNSUPPORTED, "step behind \"ByteLevel\""},
		{STEP "3", "{\"type\":\"Digits\",\"individual_digits\":true}", DSV_UNSUPPORTED,
		"does not end in ByteLevel"},
		{STEP "2", "{\"type\":\"Digits\",\"individual_digits\":false}", DSV_UNSUPPORTED, "Digits"},
		{STEP "3.add_prefix_space", "true", DSV_UNSUPPORTED, "\"add_prefix_space\""},
		{STEP "3.use_regex", "true", DSV_UNSUPPORTED, "\"use_regex\""},
		{STEP "3.use_regex", NULL, DSV_UNSUPPORTED, "\"use_regex\""},
		{STEP "0.behavior", "\"Removed\"", DSV_UNSUPPORTED, "Split behavior \"Removed\""},
		{STEP "0.behavior", NULL, DSV_FORMAT, "Split"},
		{STEP "0.invert", "true", DSV_UNSUPPORTED, "\"invert\""},
		{STEP "0.pattern", "{\"String\":\" \"}", DSV_UNSUPPORTED, "Split pattern \"String\""},
		{STEP "0.pattern", "5", DSV_FORMAT, "Split"},
		{"pre_tokenizer.pretokenizers", "[]", DSV_FORMAT, "no steps"},
		{REGEX, "\"\\\\w+\"", DSV_UNSUPPORTED, "\"\\w\""},
		{REGEX, "\"a|\\\\h\"", DSV_UNSUPPORTED, "\"\\h\""},
		{REGEX, "\"(a)\\\\1\"", DSV_UNSUPPORTED, "\"\\1\""},
		{REGEX, "\"\\\\p{Han}\"", DSV_UNSUPPORTED, "\"\\p{Han}\""},
		{REGEX, "\"\\\\pL\"", DSV_UNSUPPORTED, "\"\\pL\""},
		{REGEX, "\"(*COMMIT)a\"", DSV_UNSUPPORTED, "\"(*\""},
		{REGEX, "\"(?R)\"", DSV_UNSUPPORTED, "\"(?R\""},
		{REGEX, "\"[a[b]]\"", DSV_UNSUPPORTED, "\"[b\""},
		{REGEX, "\"[a&&b]\"", DSV_UNSUPPORTED, "\"&&\""},
		{REGEX, "\"[]a]\"", DSV_UNSUPPORTED, "\"]\""},
		{REGEX, "\"a{,3}\"", DSV_UNSUPPORTED, "\"{,\""},
		{REGEX, "\"a{2}+\"", DSV_UNSUPPORTED, "\"}+\""},
		{REGEX, "\"a\\\\\"", DSV_UNSUPPORTED, "\"\\\""},
		{REGEX, "\"[a\"", DSV_FORMAT, "lacks a \"]\""},
		{REGEX, "\"(a\"", DSV_FORMAT, "not valid"},
		{REGEX, "\"\"", DSV_FORMAT, "empty"},
		{REGEX, "\"a\\u0000b\"", DSV_FORMAT, "Regex"},
		{"added_tokens.0.lstrip", "true", DSV_UNSUPPORTED, "\"lstrip\""},
		{"added_tokens.0.rstrip", "true", DSV_UNSUPPORTED, "\"rstrip\""},
		{"added_tokens.0.single_word", "true", DSV_UNSUPPORTED, "\"single_word\""},
		{"added_tokens.0.content", "\"\"", DSV_FORMAT, "no content"},
		{"added_tokens.0.content", "\"<image>\"", DSV_FORMAT, "\"<image>\" is there twice"},
		{"added_tokens.0.id", "-1", DSV_FORMAT, "id"},
		{"added_tokens.0.id", "99999999999", DSV_FORMAT, "id"},
		{"added_tokens.0.id", "1", DSV_FORMAT, "two added tokens have the id 1"},
		{"added_tokens.0.id", NULL, DSV_FORMAT, "no id"},
		{"added_tokens", "{}", DSV_FORMAT, "added_tokens"},
		{"model.vocab", NULL, DSV_FORMAT, "model.vocab"},
		{"model.vocab", "[]", DSV_FORMAT, "syntax error in model.vocab"},
		{"model.vocab", "{\"a\":-1}", DSV_FORMAT, "syntax error in model.vocab"},
		{"model.vocab", "{\"a\":1.5}", DSV_FORMAT, "syntax error in model.vocab"},
		{"model.vocab", "{\"a\":5000000}", DSV_FORMAT, "syntax error in model.vocab"},
		{"model.vocab", "{\"a\":0,\"b\":0}", DSV_FORMAT, "not in the vocabulary"},
		{"model.merges", NULL, DSV_FORMAT, "model.merges"},
		{"model.merges", "[\"ab\"]", DSV_FORMAT, "syntax error in model.merges"},
		{"model.merges", "[[\"a\"]]", DSV_FORMAT, "syntax error in model.merges"},
		{"model.merges", "[\"a \"]", DSV_FORMAT, "merge 0"},
		{"model.merges", "[\"e r\",\"a b c\"]", DSV_FORMAT, "merge 1"},
		{"model.merges", "[[\"\\u4e00\",\"b\"]]", DSV_FORMAT, "merge 0"},
		{"model", "3", DSV_FORMAT, "\"model\" is not"},
		{"model", NULL, DSV_FORMAT, "lacks model.vocab"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		dsv_error	err;
		dsv_code	code = open_changed(rows[i].path, rows[i].value, &err);

		if (code != rows[i].code || strstr(err.msg, rows[i].message) == NULL)
			fail_msg("%s = %s: code %d, \"%s\"", rows[i].path,
					 rows[i].value != NULL ? rows[i].value : "nothing", code,
					 code != DSV_OK ? err.msg : "");
	}
}

static void
test_accepted(void **state)
{
	static const struct
	{
		const char *path;
		const char *value;
	}			rows[] = {
		{"normalizer", "null"}, {"normalizer", NULL}, {"decoder", "null"},
		{"model.continuing_subword_prefix", "\"\""}, {"model.unk_token", "\"\""},
		{"model.ignore_merges", "false"}, {"pre_tokenizer", BYTE_LEVEL},
		{REGEX, "\"(?i:a|b)\\\\d{2,}(?<=\\\\S)[^\\\\S\\\\r]\""},
		{"added_tokens.0.normalized", "true"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		dsv_error	err;

		if (open_changed(rows[i].path, rows[i].value, &err) != DSV_OK)
			fail_msg("%s: %s", rows[i].path, err.msg);
	}
}

/* ---- white space ---- */

/* Unicode's White_Space */
static bool
is_space(uint32_t c)
{
	return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
		(c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
		c == 0x205F || c == 0x3000;
}

static int
put_char(char *dst, uint32_t c)
{
	int			n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};

	for (int i = n - 1; i > 0; i--, c >>= 6)
		dst[i] = (char) (0x80 | (c & 0x3F));
	dst[0] = (char) (leads[n] | c);
	return n;
}

/* \s and \S, alone and within a class, cut around the same characters as Oniguruma's. */
static void
test_white_space(void **state)
{
	static const char *const regexes[] = {"\"\\\\s\"", "\"[\\\\s]\"", "\"\\\\S\"",
	"\"[\\\\S]\"", "\"[^\\\\S]\"", "\"[^\\\\s]\""};
	static const bool finds_space[] = {true, true, false, false, true, false};

	(void) state;
	for (int i = 0; i < 6; i++)
	{
		json_t	   *root = load_json(TINY);
		dsv_watch	watch = {NULL, 0};
		dsv_splitter splitter;
		dsv_tokenizer *tok;
		dsv_error	err;
		char	   *json;

		set(root, STEP "2", BYTE_LEVEL);
		json_array_remove(json_object_get(json_object_get(root, "pre_tokenizer"),
										  "pretokenizers"), 3);
		set(root, STEP "1.pattern.Regex", "\"\\\\d{99}\"");
		set(root, REGEX, regexes[i]);
		json = json_dumps(root, 0);
		assert_int_equal(open_text(json, strlen(json), &tok, &err), DSV_OK);
		assert_int_equal(dsv_splitter_open(&splitter, &watch, NULL, &err), DSV_OK);
		for (uint32_t c = 0; c < 0x30000; c++)
		{
			char		text[16];
			uint8_t		cut[16] = {0};
			int			n = put_char(text, c);

			if (c >= 0xD800 && c < 0xE000)
				continue;

			/* two of them: are they taken one by one? */
			put_char(text + n, c);
			assert_int_equal(dsv_split_run(tok, &splitter, text, (size_t) n * 2, cut, &err),
							 DSV_OK);
			if (cut[n] != (is_space(c) == finds_space[i]))
				fail_msg("%s at U+%04X", regexes[i], (unsigned) c);
		}
		dsv_splitter_close(&splitter);
		dsv_tokenizer_close(tok);
		free(json);
		json_decref(root);
	}
}

/* ---- damaged files ---- */

static const char small_file[] =
"{\"version\":\"1.0\",\"added_tokens\":[{\"id\":6,\"content\":\"<\\u0061>\",\"special\":true}],"
"\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
"{\"Regex\":\"\\\\s+|[a-c]{1,3}\"},\"behavior\":\"Isolated\",\"invert\":false},"
"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
"\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\\u0062\" : 1,\"ab\":2,\"\\ud83d\\ude00\":3,"
"\"\xC4\xA0\":4,\"\xC4\xA0" "a\":5},\"merges\":[\"a b\",[\"\xC4\xA0\",\"a\"]]}}";

static void
test_damaged(void **state)
{
	const size_t len = sizeof(small_file) - 1;
	dsv_tokenizer *tok;
	dsv_error	err;
	dsv_tokens	got;
	int			opened = 0;

	(void) state;
	assert_int_equal(open_text(small_file, len, &tok, &err), DSV_OK);
	got = encode_text(tok, "ab <a>b ab", 10, true);
	assert_int_equal(got.n, 6);
	assert_memory_equal(got.ids, ((int32_t[]) {2, 4, 6, 1, 4, 2}), 6 * sizeof(int32_t));
	free(got.ids);
	dsv_tokenizer_close(tok);

	for (size_t cut = 0; cut < len; cut++)
	{
		assert_int_equal(open_text(small_file, cut, &tok, &err), DSV_FORMAT);
		assert_null(tok);
		assert_true(err.msg[0] != '\0');
	}
	for (size_t at = 0; at < len; at++)
	{
		static const unsigned char masks[] = {0x01, 0x20, 0x80};

		for (int m = 0; m < 3; m++)
		{
			char		copy[sizeof(small_file)];

			memcpy(copy, small_file, sizeof(copy));
			copy[at] = (char) (copy[at] ^ masks[m]);
			if (open_text(copy, len, &tok, &err) != DSV_OK)
				continue;
			opened++;
			got = (dsv_tokens) {NULL, 0, 0};
			dsv_tokenizer_encode(tok, &(dsv_span) {small_file, len, true}, 1, NULL, NULL, &got, &err);
			free(got.ids);
			dsv_tokenizer_close(tok);
		}
	}
	assert_true(opened > 0);
}

static void
test_no_file(void **state)
{
	char		dir[] = "/tmp/dsv_tokenizer_XXXXXX";
	char		fifo[64];
	dsv_tokenizer *tok;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_tokenizer_open("/no/such/file", NULL, &tok, &err), DSV_IO);
	assert_non_null(strstr(err.msg, "could not open file \"/no/such/file\""));
	assert_int_equal(dsv_tokenizer_open("/tmp", NULL, &tok, &err), DSV_IO);
	assert_non_null(strstr(err.msg, "not a regular file"));
	assert_null(tok);

	/* a pipe that nobody writes to is refused, not waited for */
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/tokenizer.json", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(dsv_tokenizer_open(fifo, NULL, &tok, &err), DSV_IO);
	assert_non_null(strstr(err.msg, "not a regular file"));
	unlink(fifo);
	rmdir(dir);
}

/* An expression that goes back exponentially ends in an error. */
static void
test_hostile_regex(void **state)
{
	json_t	   *root = load_json(TINY);
	char		text[4096];
	dsv_span	span = {text, sizeof(text), false};
	dsv_tokens	out = {NULL, 0, 0};
	dsv_tokenizer *tok;
	dsv_error	err;
	char	   *json;

	(void) state;
	set(root, REGEX, "\"(?:a|aa|aaa)+[bc]\"");
	json = json_dumps(root, 0);
	assert_int_equal(open_text(json, strlen(json), &tok, &err), DSV_OK);
	memset(text, 'a', sizeof(text));
	assert_int_equal(dsv_tokenizer_encode(tok, &span, 1, NULL, NULL, &out, &err), DSV_INPUT);
	assert_non_null(strstr(err.msg, "too many steps"));
	assert_int_equal(out.n, 0);
	free(out.ids);
	free(json);
	dsv_tokenizer_close(tok);
	json_decref(root);
}

/* ---- time ---- */

static double
seconds_to_encode(const dsv_tokenizer *tok, const char *unit, const char *tail, size_t size)
{
	size_t		unit_len = strlen(unit);
	size_t		len = size / unit_len * unit_len;
	char	   *text = malloc(len + strlen(tail) + 1);
	struct timespec a,
				b;

	for (size_t i = 0; i < len; i++)
		text[i] = unit[i % unit_len];
	strcpy(text + len, tail);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	free(encode_text(tok, text, len + strlen(tail), false).ids);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	free(text);
	return (double) (b.tv_sec - a.tv_sec) + 1e-9 * (double) (b.tv_nsec - a.tv_nsec);
}

/* Four times the text may take eight times the time, not sixteen. */
static void
test_linear_time(void **state)
{
	static const struct
	{
		const char *unit;
		const char *tail;
	}			rows[] = {
		{"a", ""}, {" ", ""}, {" ", "1"}, {" ", "x"}, {"\n", "1"}, {" \n", "\x01"}, {"1", ""},
		{"!", "1"}, {"\xE6\xB1\x89", ""}, {"\xFF", ""}, {"ab1 ", ""},
		{"The quick brown fox, 42 years old, jumps over the lazy dog's back.\n", ""},
	};
	static const char *const files[] = {GOLDEN "tokenizer/vl2-small.tokenizer.json.gz",
	GOLDEN "tokenizer/vl2-tiny-base.tokenizer.json.gz"};

	(void) state;
	for (int f = 0; f < 4; f++)
	{
		dsv_tokenizer *tok;
		size_t		size = f < 2 ? 1 << 20 : 1 << 18;

		/* the second time without compiled expressions */
		interpret = f >= 2;
		tok = open_packed(files[f % 2]);
		interpret = false;
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		{
			double		ratio = 1e9;

			/* another process may disturb a measurement, not three in a row */
			for (int again = 0; again < 3 && ratio >= 8.0; again++)
			{
				double		quarter = seconds_to_encode(tok, rows[i].unit, rows[i].tail, size / 4);

				ratio = seconds_to_encode(tok, rows[i].unit, rows[i].tail, size) / quarter;
			}
			if (ratio >= 8.0)
				fail_msg("\"%s\" takes %.1f times the time at four times the length",
						 rows[i].unit, ratio);
		}
		dsv_tokenizer_close(tok);
	}
}

/* ---- every allocation fails once ---- */

static void
test_open_out_of_memory(void **state)
{
	counter		c = {0, 0, 0};
	dsv_mem		mem = {count_alloc, count_free, &c};
	int			failures = 0;

	(void) state;
	for (;;)
	{
		dsv_tokenizer *tok;
		dsv_error	err;
		dsv_code	code;

		c.calls = 0;
		c.fail_at++;
		code = dsv_tokenizer_open(NANO, &mem, &tok, &err);
		if (code == DSV_OK)
			dsv_tokenizer_close(tok);
		else
		{
			failures++;
			assert_int_equal(code, DSV_NOMEM);
			assert_null(tok);
		}
		assert_int_equal(c.live, 0);
		if (c.calls < c.fail_at)
		{
			assert_int_equal(code, DSV_OK);
			break;
		}
	}
	assert_true(failures > 20);
}

static void
test_encode_out_of_memory(void **state)
{
	static const dsv_span spans[] = {{"<|User|>: ", 10, true},
		{"receipt \xFF total 12.50", 21, false},
	{"\n\n<|Assistant|>:", 16, true}};
	counter		c = {0, 0, 0};
	dsv_mem		mem = {count_alloc, count_free, &c};
	dsv_tokenizer *tok = open_tokenizer(NANO);
	int			failures = 0;

	(void) state;
	for (;;)
	{
		dsv_tokens	out = {NULL, 0, 0};
		dsv_error	err;
		dsv_code	code;

		c.calls = 0;
		c.fail_at++;
		code = dsv_tokenizer_encode(tok, spans, 3, NULL, &mem, &out, &err);
		if (code != DSV_OK)
		{
			failures++;
			assert_int_equal(code, DSV_NOMEM);
			assert_int_equal(out.n, 0);
		}
		else
			assert_true(out.n > 10);
		dsv_free(&mem, out.ids);
		assert_int_equal(c.live, 0);
		if (c.calls < c.fail_at)
		{
			assert_int_equal(code, DSV_OK);
			break;
		}
	}
	assert_true(failures > 5);
	dsv_tokenizer_close(tok);
}

static bool
poll_after(void *ud)
{
	int		   *left = ud;

	return (*left)-- == 0;
}

/* Whatever a long text is made of, it can be canceled wherever it is. */
static void
test_canceled(void **state)
{
	enum {LEN = 1 << 18};
	static const char *const made_of[] = {"a", "a 1,", "\n"};
	dsv_tokenizer *tok = open_tokenizer(NANO);
	char	   *text = malloc(LEN);

	(void) state;
	for (int k = 0; k < 3; k++)
	{
		dsv_span	span = {text, LEN, false};
		int			canceled = 0;

		for (int i = 0; i < LEN; i++)
			text[i] = made_of[k][i % strlen(made_of[k])];
		for (;;)
		{
			dsv_tokens	out = {NULL, 0, 0};
			int			left = canceled;
			dsv_poll	poll = {poll_after, &left};
			dsv_error	err;
			dsv_code	code = dsv_tokenizer_encode(tok, &span, 1, &poll, NULL, &out, &err);

			assert_int_equal(out.n > 0, code == DSV_OK);
			free(out.ids);
			if (code == DSV_OK)
				break;
			assert_int_equal(code, DSV_CANCELED);
			canceled = canceled * 2 + 1;
		}
		assert_true(canceled > 30);
	}
	free(text);
	dsv_tokenizer_close(tok);
}

static void
test_decode_out_of_memory(void **state)
{
	counter		c = {0, 0, 1};
	dsv_mem		mem = {count_alloc, count_free, &c};
	dsv_tokenizer *tok = open_tokenizer(NANO);
	int32_t		image = dsv_tokenizer_added(tok, "<image>");
	dsv_decoder dec = {{0xC3}, 1};
	dsv_text	out = {NULL, 0, 0};

	(void) state;
	assert_false(dsv_decoder_add(&dec, tok, image, false, &mem, &out));
	dec = (dsv_decoder) {{0xC3}, 1};
	c.calls = 0;
	assert_false(dsv_decoder_end(&dec, &mem, &out));
	assert_null(out.s);
	dsv_tokenizer_close(tok);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_user_text_is_data),
		cmocka_unit_test(test_spans_are_one_text),
		cmocka_unit_test(test_added_longest),
		cmocka_unit_test(test_wrong_utf8),
		cmocka_unit_test(test_decoder_needs_no_memory),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_white_space),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_hostile_regex),
		cmocka_unit_test(test_linear_time),
		cmocka_unit_test(test_open_out_of_memory),
		cmocka_unit_test(test_encode_out_of_memory),
		cmocka_unit_test(test_decode_out_of_memory),
		cmocka_unit_test(test_canceled),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
