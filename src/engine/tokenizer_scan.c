/*
 * tokenizer_scan.c
 *		The vocabulary and the merges of a tokenizer.json.
 *
 * They are all but a few kilobytes of a file of several megabytes, and every new server
 * process reads it: a quarter of a million JSON objects, made only to be thrown away,
 * would be most of the time that the first answer waits for.  So these two members are
 * cut out and read here, strictly; the rest of the file is left to the JSON library.
 *
 * A vocabulary writes each byte of a token as one printable character (GPT-2's table):
 * bytes that print in Latin-1 as themselves, the others as U+0100 and on.
 */
#include "tokenizer_private.h"

#include <string.h>

#include "utf8.h"

typedef struct scanner
{
	const char *p;
	const char *end;
} scanner;

static dsv_code
fail_syntax(const scanner *in, const char *member, dsv_error *err)
{
	dsv_fail(err, DSV_FORMAT, "tokenizer.json: syntax error in %s", member);
	if (in->p < in->end)
		dsv_detail(err, "The place is %zu bytes before its end.", (size_t) (in->end - in->p));
	return DSV_FORMAT;
}

static void
skip_space(scanner *in)
{
	while (in->p < in->end &&
		   (*in->p == ' ' || *in->p == '\n' || *in->p == '\r' || *in->p == '\t'))
		in->p++;
}

/* Takes the character c, behind any white space. */
static bool
take(scanner *in, char c)
{
	skip_space(in);
	if (in->p == in->end || *in->p != c)
		return false;
	in->p++;
	return true;
}

/* ---- finding the members ---- */

/* Over a string; what is between the quotes goes to *inside. */
static bool
skip_string(scanner *in, dsv_slice *inside)
{
	if (!take(in, '"'))
		return false;
	inside->s = in->p;
	while (in->p < in->end && *in->p != '"')
		in->p += *in->p == '\\' ? 2 : 1;
	if (in->p >= in->end)
		return false;
	inside->end = in->p++;
	return true;
}

/* Over a value of any kind: brackets are counted, not matched. */
static bool
skip_value(scanner *in)
{
	int			depth = 0;
	dsv_slice	inside;

	skip_space(in);
	while (in->p < in->end)
	{
		char		c = *in->p;

		if (c == '"')
		{
			if (!skip_string(in, &inside))
				return false;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return true;
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		in->p++;
		if (depth == 0 && (c == '}' || c == ']'))
			return true;
	}
	return false;
}

static bool
is_name(dsv_slice key, const char *name)
{
	size_t		len = strlen(name);

	return (size_t) (key.end - key.s) == len && memcmp(key.s, name, len) == 0;
}

/* The member's value within the object that begins at in.p; left alone when there is none.
 * A name that stands there twice is the JSON library's to refuse. */
static bool
find_member(scanner in, const char *name, dsv_slice *value)
{
	dsv_slice	key;
	const char *start;

	if (!take(&in, '{'))
		return false;
	if (take(&in, '}'))
		return true;
	do
	{
		if (!skip_string(&in, &key) || !take(&in, ':'))
			return false;
		skip_space(&in);
		start = in.p;
		if (!skip_value(&in))
			return false;
		if (is_name(key, name))
			*value = (dsv_slice) {start, in.p};
	} while (take(&in, ','));
	return take(&in, '}');
}

dsv_code
dsv_scan_model(const char *json, size_t len, dsv_slice *vocab, dsv_slice *merges, dsv_error *err)
{
	scanner		file = {json, json + len};
	dsv_slice	model = {NULL, NULL};

	*vocab = *merges = model;
	if (!find_member(file, "model", &model))
		return dsv_fail(err, DSV_FORMAT, "tokenizer.json is not a JSON object");
	if (model.s == NULL)
		return DSV_OK;
	file = (scanner) {model.s, model.end};
	if (!find_member(file, "vocab", vocab) || !find_member(file, "merges", merges))
		return dsv_fail(err, DSV_FORMAT, "tokenizer.json: \"model\" is not a JSON object");
	return DSV_OK;
}

/* ---- strings ---- */

static bool
take_hex4(scanner *in, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, in->p++)
	{
		char		c = in->p < in->end ? *in->p : '\0';

		if (c >= '0' && c <= '9')
			*out = *out * 16 + (uint32_t) (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			*out = *out * 16 + (uint32_t) ((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	return true;
}

static size_t
put_utf8(char *dst, uint32_t c)
{
	if (c < 0x80)
	{
		dst[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		dst[0] = (char) (0xC0 | c >> 6);
		dst[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		dst[0] = (char) (0xE0 | c >> 12);
		dst[1] = (char) (0x80 | (c >> 6 & 0x3F));
		dst[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	dst[0] = (char) (0xF0 | c >> 18);
	dst[1] = (char) (0x80 | (c >> 12 & 0x3F));
	dst[2] = (char) (0x80 | (c >> 6 & 0x3F));
	dst[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/* The escape behind a backslash; at most 4 bytes, never more than it had in the file. */
static bool
take_escape(scanner *in, char *dst, size_t *len)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *which;
	uint32_t	c,
				low;

	if (in->p == in->end)
		return false;
	if (*in->p != 'u')
	{
		which = memchr(from, *in->p, sizeof(from) - 1);
		if (which == NULL)
			return false;
		in->p++;
		dst[(*len)++] = to[which - from];
		return true;
	}
	in->p++;
	if (!take_hex4(in, &c))
		return false;
	if (c >= 0xD800 && c < 0xDC00)
	{
		if (in->end - in->p < 2 || in->p[0] != '\\' || in->p[1] != 'u')
			return false;
		in->p += 2;
		if (!take_hex4(in, &low) || low < 0xDC00 || low > 0xDFFF)
			return false;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	}
	else if (c >= 0xDC00 && c < 0xE000)
		return false;
	*len += put_utf8(dst + *len, c);
	return true;
}

/* A string to UTF-8 at dst, which has room for as many bytes as are left of the file. */
static bool
take_string(scanner *in, char *dst, size_t *len)
{
	int			size;

	*len = 0;
	if (!take(in, '"'))
		return false;
	while (in->p < in->end)
	{
		unsigned char c = (unsigned char) *in->p;

		if (c == '"')
		{
			in->p++;
			return true;
		}
		if (c < 0x20)
			return false;
		if (c == '\\')
		{
			in->p++;
			if (!take_escape(in, dst, len))
				return false;
			continue;
		}
		if (dsv_utf8_next(in->p, (size_t) (in->end - in->p), &size) != DSV_UTF8_CHAR)
			return false;
		memcpy(dst + *len, in->p, (size_t) size);
		*len += (size_t) size;
		in->p += size;
	}
	return false;
}

static bool
take_id(scanner *in, int32_t *id)
{
	const char *start;

	skip_space(in);
	start = in->p;
	*id = 0;
	while (in->p < in->end && *in->p >= '0' && *in->p <= '9')
	{
		*id = *id * 10 + (*in->p++ - '0');
		if (*id > DSV_TOKENIZER_MAX_ID)
			return false;
	}
	return in->p > start;
}

/* ---- bytes ---- */

/* Valid UTF-8 to the bytes that its characters stand for; dst may be text. */
static bool
to_bytes(const dsv_vocab *vocab, const char *text, size_t len, char *dst, size_t *out_len)
{
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		uint32_t	c = (uint8_t) text[i];

		if (c >= 0x80)
		{
			/* the table ends below U+0800 */
			if (c >= 0xE0)
				return false;
			c = (c & 0x1F) << 6 | ((uint8_t) text[++i] & 0x3F);
		}
		if (c >= sizeof(vocab->byte_of) / sizeof(vocab->byte_of[0]) || vocab->byte_of[c] < 0)
			return false;
		dst[n++] = (char) vocab->byte_of[c];
	}
	*out_len = n;
	return true;
}

dsv_code
dsv_vocab_add_bytes(dsv_vocab *vocab, const char *text, size_t len, uint32_t *at,
					uint32_t *out_len, bool *is_bytes, dsv_error *err)
{
	size_t		start = vocab->bytes.len;
	size_t		n = len;

	if (!dsv_text_add(vocab->mem, &vocab->bytes, text, len))
		return dsv_fail_nomem(err, len);
	*is_bytes = to_bytes(vocab, text, len, vocab->bytes.s + start, &n);
	if (!*is_bytes)
	{
		/* what was converted before the first other character */
		memcpy(vocab->bytes.s + start, text, len);
		n = len;
	}
	vocab->bytes.len = start + n;
	*at = (uint32_t) start;
	*out_len = (uint32_t) n;
	return DSV_OK;
}

static size_t
hash_slot(const dsv_vocab *vocab, const char *bytes, size_t len)
{
	uint64_t	h = UINT64_C(0xCBF29CE484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t) bytes[i]) * UINT64_C(0x100000001B3);
	return (size_t) (h ^ h >> 32) & (vocab->index_size - 1);
}

/* The slot of the token with these bytes, or the free one where it would go */
static uint32_t *
find_slot(const dsv_vocab *vocab, const char *bytes, size_t len)
{
	size_t		slot = hash_slot(vocab, bytes, len);

	while (vocab->index[slot] != 0)
	{
		const dsv_vocab_entry *entry = &vocab->entries[vocab->index[slot] - 1];

		if (entry->len == len && memcmp(vocab->bytes.s + entry->at, bytes, len) == 0)
			break;
		slot = (slot + 1) & (vocab->index_size - 1);
	}
	return &vocab->index[slot];
}

static int32_t
find_id(const dsv_vocab *vocab, const char *bytes, size_t len)
{
	uint32_t	found = *find_slot(vocab, bytes, len);

	return found != 0 ? vocab->entries[found - 1].id : -1;
}

/* ---- the members ---- */

void
dsv_vocab_init(dsv_vocab *vocab, const dsv_mem *mem)
{
	int			other = 0x100;

	memset(vocab, 0, sizeof(*vocab));
	vocab->mem = mem;
	memset(vocab->byte_of, -1, sizeof(vocab->byte_of));
	for (int b = 0; b < 256; b++)
	{
		bool		prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;

		vocab->byte_of[prints ? b : other++] = (int16_t) b;
	}
}

void
dsv_vocab_free(dsv_vocab *vocab)
{
	dsv_free(vocab->mem, vocab->bytes.s);
	dsv_free(vocab->mem, vocab->entries);
	dsv_free(vocab->mem, vocab->index);
	dsv_free(vocab->mem, vocab->merges);
}

static dsv_code
add_entry(dsv_vocab *vocab, const char *text, size_t len, int32_t id, dsv_error *err)
{
	void	   *entries = vocab->entries;
	dsv_vocab_entry *entry;

	if (!dsv_reserve(vocab->mem, &entries, &vocab->entries_cap, vocab->nentries + 1,
					 sizeof(dsv_vocab_entry)))
		return dsv_fail_nomem(err, vocab->entries_cap * sizeof(dsv_vocab_entry));
	vocab->entries = entries;
	entry = &vocab->entries[vocab->nentries++];
	entry->id = id;
	return dsv_vocab_add_bytes(vocab, text, len, &entry->at, &entry->len, &entry->is_bytes, err);
}

/* Tokens of bytes by content.  The others are no part of any merge. */
static dsv_code
build_index(dsv_vocab *vocab, dsv_error *err)
{
	vocab->index_size = 16;
	while (vocab->index_size < vocab->nentries * 2)
		vocab->index_size *= 2;
	vocab->index = dsv_alloc_zero(vocab->mem, vocab->index_size, sizeof(uint32_t));
	if (vocab->index == NULL)
		return dsv_fail_nomem(err, vocab->index_size * sizeof(uint32_t));
	for (size_t i = 0; i < vocab->nentries; i++)
	{
		const dsv_vocab_entry *entry = &vocab->entries[i];
		uint32_t   *slot;

		if (!entry->is_bytes)
			continue;
		slot = find_slot(vocab, vocab->bytes.s + entry->at, entry->len);
		if (*slot != 0)
			return dsv_fail(err, DSV_FORMAT, "tokenizer.json: tokens %d and %d are the same",
							(int) vocab->entries[*slot - 1].id, (int) entry->id);
		*slot = (uint32_t) i + 1;
	}
	return DSV_OK;
}

static dsv_code
read_vocab(dsv_vocab *vocab, scanner *in, char *buf, dsv_error *err)
{
	size_t		len;
	int32_t		id;
	dsv_code	code;

	if (!take(in, '{'))
		return fail_syntax(in, "model.vocab", err);
	if (take(in, '}'))
		return DSV_OK;
	do
	{
		if (!take_string(in, buf, &len) || !take(in, ':') || !take_id(in, &id))
			return fail_syntax(in, "model.vocab", err);
		code = add_entry(vocab, buf, len, id, err);
		if (code != DSV_OK)
			return code;
	} while (take(in, ','));
	if (!take(in, '}'))
		return fail_syntax(in, "model.vocab", err);
	return DSV_OK;
}

dsv_code
dsv_vocab_read(dsv_vocab *vocab, dsv_slice slice, dsv_error *err)
{
	scanner		in = {slice.s, slice.end};
	size_t		size = (size_t) (slice.end - slice.s);
	char	   *buf = dsv_alloc(vocab->mem, size, 1);
	dsv_code	code;

	if (buf == NULL)
		return dsv_fail_nomem(err, size);
	code = read_vocab(vocab, &in, buf, err);
	dsv_free(vocab->mem, buf);
	return code == DSV_OK ? build_index(vocab, err) : code;
}

/* "left right" or ["left", "right"]; the two follow each other in buf. */
static bool
take_merge(scanner *in, char *buf, size_t *left, size_t *right)
{
	const char *space;
	size_t		len;

	if (take(in, '['))
		return take_string(in, buf, left) && take(in, ',') &&
			take_string(in, buf + *left, right) && take(in, ']');
	if (!take_string(in, buf, &len))
		return false;
	space = memchr(buf, ' ', len);
	if (space == NULL)
		return false;
	*left = (size_t) (space - buf);
	*right = len - *left - 1;
	memmove(buf + *left, space + 1, *right);
	return true;
}

static dsv_code
add_merge(dsv_vocab *vocab, char *buf, size_t left, size_t right, dsv_error *err)
{
	void	   *merges = vocab->merges;
	dsv_merge	merge = {-1, -1, -1};
	size_t		left_bytes,
				right_bytes;

	if (to_bytes(vocab, buf, left, buf, &left_bytes) &&
		to_bytes(vocab, buf + left, right, buf + left_bytes, &right_bytes))
	{
		merge.left = find_id(vocab, buf, left_bytes);
		merge.right = find_id(vocab, buf + left_bytes, right_bytes);
		merge.id = find_id(vocab, buf, left_bytes + right_bytes);
	}
	if (merge.left < 0 || merge.right < 0 || merge.id < 0)
		return dsv_fail(err, DSV_FORMAT,
						"tokenizer.json: merge %zu has a part that is not in the vocabulary",
						vocab->nmerges);
	if (!dsv_reserve(vocab->mem, &merges, &vocab->merges_cap, vocab->nmerges + 1,
					 sizeof(dsv_merge)))
		return dsv_fail_nomem(err, vocab->merges_cap * sizeof(dsv_merge));
	vocab->merges = merges;
	vocab->merges[vocab->nmerges++] = merge;
	return DSV_OK;
}

static dsv_code
read_merges(dsv_vocab *vocab, scanner *in, char *buf, dsv_error *err)
{
	size_t		left,
				right;
	dsv_code	code;

	if (!take(in, '['))
		return fail_syntax(in, "model.merges", err);
	if (take(in, ']'))
		return DSV_OK;
	do
	{
		if (!take_merge(in, buf, &left, &right))
			return fail_syntax(in, "model.merges", err);
		code = add_merge(vocab, buf, left, right, err);
		if (code != DSV_OK)
			return code;
	} while (take(in, ','));
	if (!take(in, ']'))
		return fail_syntax(in, "model.merges", err);
	return DSV_OK;
}

dsv_code
dsv_vocab_read_merges(dsv_vocab *vocab, dsv_slice slice, dsv_error *err)
{
	scanner		in = {slice.s, slice.end};
	size_t		size = (size_t) (slice.end - slice.s);
	char	   *buf = dsv_alloc(vocab->mem, size, 1);
	dsv_code	code;

	if (buf == NULL)
		return dsv_fail_nomem(err, size);
	code = read_merges(vocab, &in, buf, err);
	dsv_free(vocab->mem, buf);
	return code;
}
