/*
 * tokenizer_split.c
 *		The pre-tokenizer: where a text is cut into words before any merge.
 *
 * Every step of the pipeline cuts the pieces that the steps before it have left, before
 * and after each match of its regular expression.  A piece is all that an expression
 * sees: anchors and assertions stop at its ends.
 *
 * The published expressions were written for Oniguruma and are run by PCRE2.  In what
 * they use, the two differ in \s alone (PCRE2 counts U+180E in), which is therefore
 * written out; what else differs, or is there only to build something hostile, is
 * refused by name.
 *
 * X+REST, X being one class, takes quadratic time on a long run of X where REST fails, as
 * it is tried from each place of the run (compiled expressions see this themselves,
 * interpreted ones do not).  But a match can begin behind another X only
 * where the search began; otherwise it would have begun one earlier.  So such an
 * expression is run as (?:\G|(?<!X))X+REST, with the same matches.
 */
#include "tokenizer_private.h"

#include <string.h>

#define SPACES "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}" \
	"\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define NOT_SPACES "\\x{0}-\\x{8}\\x{E}-\\x{1F}\\x{21}-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}" \
	"\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}" \
	"\\x{2060}-\\x{2FFF}\\x{3001}-\\x{D7FF}\\x{E000}-\\x{10FFFF}"

#define MAX_REGEX 16384
#define MAX_TEXT ((size_t) INT32_MAX / 2)
#define MAX_HEAP_KIB (256 * 1024)

/* ---- memory ---- */

static void *
pcre_alloc(size_t size, void *mem)
{
	return dsv_alloc(mem, size, 1);
}

static void
pcre_free(void *ptr, void *mem)
{
	dsv_free(mem, ptr);
}

static pcre2_general_context *
create_general(const dsv_mem *mem)
{
	return pcre2_general_context_create(pcre_alloc, pcre_free, (void *) (uintptr_t) mem);
}

dsv_code
dsv_split_create(dsv_tokenizer *tok, dsv_error *err)
{
	tok->pcre = create_general(&tok->mem);
	return tok->pcre != NULL ? DSV_OK : dsv_fail_nomem(err, 0);
}

void
dsv_split_destroy(dsv_tokenizer *tok)
{
	for (int i = 0; i < tok->nsteps; i++)
	{
		pcre2_code_free(tok->steps[i]);
		dsv_free(&tok->mem, tok->regex[i]);
	}
	pcre2_general_context_free(tok->pcre);
}

/* ---- translating an expression ---- */

typedef struct translation
{
	const dsv_mem *mem;
	const char *s;				/* what is left of the expression, zero-terminated */
	const char *start;
	dsv_text	out;
	bool		in_class;
	bool		alternatives;	/* has a | */
	size_t		repeated;		/* the expression is X+REST: length of X in out, else 0 */
	dsv_error  *err;
} translation;

static dsv_code
put(translation *t, const char *s, size_t len)
{
	return dsv_text_add(t->mem, &t->out, s, len) ? DSV_OK : dsv_fail_nomem(t->err, len);
}

/* Copies what stands there. */
static dsv_code
copy(translation *t, size_t len)
{
	const char *from = t->s;

	t->s += len;
	return put(t, from, len);
}

static dsv_code
refuse_syntax(translation *t, size_t len)
{
	return dsv_fail(t->err, DSV_UNSUPPORTED,
					"tokenizer.json: \"%.*s\" in a regular expression is not implemented",
					(int) strnlen(t->s, len), t->s);
}

/* \p{L}, \P{Lu}: general categories, which both libraries know by the same names */
static dsv_code
translate_property(translation *t)
{
	const char *name = t->s + 3;
	size_t		len;

	if (t->s[2] != '{')
		return refuse_syntax(t, 3);
	len = strcspn(name, "}");
	if (len < 1 || len > 2 || name[len] != '}' || strchr("CLMNPSZ", name[0]) == NULL)
		return refuse_syntax(t, 3 + len + 1);
	return copy(t, 3 + len + 1);
}

static dsv_code
translate_escape(translation *t)
{
	char		c = t->s[1];

	if (c == 's' || c == 'S')
	{
		const char *text = t->in_class ? (c == 's' ? SPACES : NOT_SPACES) :
			(c == 's' ? "[" SPACES "]" : "[^" SPACES "]");

		t->s += 2;
		return put(t, text, strlen(text));
	}
	if (c == 'p' || c == 'P')
		return translate_property(t);
	if (c == '\0' || (unsigned char) c >= 0x80)
		return refuse_syntax(t, 2);
	if (strchr("rntfdD", c) != NULL)
		return copy(t, 2);
	if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
		return refuse_syntax(t, 2);
	return copy(t, 2);
}

static dsv_code
translate_group(translation *t)
{
	static const char *const known[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};

	if (t->s[1] == '*')
		return refuse_syntax(t, 2);
	if (t->s[1] != '?')
		return copy(t, 1);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strncmp(t->s, known[i], strlen(known[i])) == 0)
			return copy(t, strlen(known[i]));
	return refuse_syntax(t, 3);
}

/* A whole class, from its [ to its ] */
static dsv_code
translate_class(translation *t)
{
	dsv_code	code = copy(t, t->s[1] == '^' ? 2 : 1);

	if (code == DSV_OK && *t->s == ']')
		return refuse_syntax(t, 1);
	t->in_class = true;
	while (code == DSV_OK && *t->s != ']')
	{
		if (*t->s == '\0')
			return dsv_fail(t->err, DSV_FORMAT,
							"tokenizer.json: a regular expression lacks a \"]\"");
		if (*t->s == '[' || strncmp(t->s, "&&", 2) == 0)
			return refuse_syntax(t, 2);
		code = *t->s == '\\' ? translate_escape(t) : copy(t, 1);
	}
	t->in_class = false;
	return code == DSV_OK ? copy(t, 1) : code;
}

static dsv_code
translate_one(translation *t)
{
	bool		first = t->s == t->start;
	bool		is_class = *t->s == '[' || *t->s == '\\';
	dsv_code	code;

	switch (*t->s)
	{
		case '\\':
			code = translate_escape(t);
			break;
		case '[':
			code = translate_class(t);
			break;
		case '(':
			code = translate_group(t);
			break;
		case '{':
			code = t->s[1] == ',' ? refuse_syntax(t, 2) : copy(t, 1);
			break;
		case '}':
			code = t->s[1] == '+' ? refuse_syntax(t, 2) : copy(t, 1);
			break;
		default:
			t->alternatives = t->alternatives || *t->s == '|';
			code = copy(t, 1);
			break;
	}
	if (code == DSV_OK && first && is_class && t->s[0] == '+' && t->s[1] != '\0')
		t->repeated = t->out.len;
	return code;
}

static dsv_code
translate(translation *t)
{
	dsv_text	body;
	dsv_code	code = DSV_OK;

	while (code == DSV_OK && *t->s != '\0')
		code = translate_one(t);
	if (code != DSV_OK || t->repeated == 0 || t->alternatives)
		return code;
	body = t->out;
	t->out = (dsv_text) {NULL, 0, 0};
	if ((code = put(t, "(?:\\G|(?<!", 10)) == DSV_OK &&
		(code = put(t, body.s, t->repeated)) == DSV_OK &&
		(code = put(t, "))", 2)) == DSV_OK)
		code = put(t, body.s, body.len);
	dsv_free(t->mem, body.s);
	return code;
}

/* ---- compiling ---- */

static dsv_code
compile(dsv_tokenizer *tok, const dsv_text *regex, dsv_error *err)
{
	const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE |
		PCRE2_NEVER_BACKSLASH_C;
	pcre2_compile_context *context = pcre2_compile_context_create(tok->pcre);
	pcre2_code *compiled;
	PCRE2_UCHAR message[120];
	PCRE2_SIZE	offset;
	int			error;

	if (context == NULL)
		return dsv_fail_nomem(err, 0);
	pcre2_set_newline(context, PCRE2_NEWLINE_LF);
	compiled = pcre2_compile((PCRE2_SPTR) regex->s, regex->len, options, &error, &offset,
							 context);
	pcre2_compile_context_free(context);
	if (compiled == NULL)
	{
		if (error == PCRE2_ERROR_HEAP_FAILED)
			return dsv_fail_nomem(err, 0);
		pcre2_get_error_message(error, message, sizeof(message));
		return dsv_fail(err, DSV_FORMAT, "tokenizer.json: a regular expression is not valid: %s",
						(const char *) message);
	}

	/* where the system allows no code to be made at run time, PCRE2 interprets */
	pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
	tok->steps[tok->nsteps++] = compiled;
	return DSV_OK;
}

dsv_code
dsv_split_add(dsv_tokenizer *tok, const char *regex, dsv_error *err)
{
	translation t = {.mem = &tok->mem, .s = regex, .start = regex, .err = err};
	char	   *kept;
	dsv_code	code;

	if (tok->nsteps == DSV_TOKENIZER_MAX_STEPS)
		return dsv_fail(err, DSV_UNSUPPORTED,
						"tokenizer.json: more than %d pre_tokenizer steps are not implemented",
						DSV_TOKENIZER_MAX_STEPS);
	if (regex[0] == '\0' || strlen(regex) > MAX_REGEX)
		return dsv_fail(err, DSV_FORMAT,
						"tokenizer.json: a regular expression is empty or longer than %d bytes",
						MAX_REGEX);
	kept = dsv_strdup(&tok->mem, regex);
	if (kept == NULL)
		return dsv_fail_nomem(err, strlen(regex) + 1);
	code = translate(&t);
	if (code == DSV_OK)
		code = compile(tok, &t.out, err);
	if (code == DSV_OK)
		tok->regex[tok->nsteps - 1] = kept;
	else
		dsv_free(&tok->mem, kept);
	dsv_free(&tok->mem, t.out.s);
	return code;
}

/* ---- running ---- */

dsv_code
dsv_splitter_open(dsv_splitter *splitter, dsv_watch *watch, const dsv_mem *mem, dsv_error *err)
{
	*splitter = (dsv_splitter) {.watch = watch, .general = create_general(mem)};
	if (splitter->general != NULL)
	{
		splitter->context = pcre2_match_context_create(splitter->general);
		splitter->match = pcre2_match_data_create(1, splitter->general);
	}
	return splitter->context != NULL && splitter->match != NULL ? DSV_OK :
		dsv_fail_nomem(err, 0);
}

void
dsv_splitter_close(dsv_splitter *splitter)
{
	pcre2_match_data_free(splitter->match);
	pcre2_match_context_free(splitter->context);
	pcre2_general_context_free(splitter->general);
}

static int
match_at(const pcre2_code *step, dsv_splitter *sp, const char *piece, size_t len, size_t at)
{
	PCRE2_SPTR	subject = (PCRE2_SPTR) piece;
	int			rc;

	rc = pcre2_match(step, subject, len, at, PCRE2_NO_UTF_CHECK, sp->match, sp->context);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(step, subject, len, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, sp->match,
						 sp->context);
	return rc;
}

static dsv_code
fail_match(int rc, dsv_error *err)
{
	if (rc == PCRE2_ERROR_NOMEMORY)
		return dsv_fail_nomem(err, 0);
	return dsv_fail(err, DSV_INPUT,
					"text takes the tokenizer's regular expressions too many steps");
}

static dsv_code
cut_piece(const pcre2_code *step, dsv_splitter *sp, const char *piece, size_t len, uint8_t *cut,
		  dsv_error *err)
{
	const PCRE2_SIZE *found = pcre2_get_ovector_pointer(sp->match);
	size_t		at = 0;
	size_t		last_end = SIZE_MAX;

	while (at < len)
	{
		int			rc;

		if (dsv_watch_canceled(sp->watch))
			return dsv_fail_canceled(err);
		rc = match_at(step, sp, piece, len, at);
		if (rc == PCRE2_ERROR_NOMATCH)
			return DSV_OK;
		if (rc < 0)
			return fail_match(rc, err);
		if (found[0] == found[1] && found[1] == last_end)
		{
			/* nothing, right behind the match before: look on one character later */
			do
				at++;
			while (at < len && ((uint8_t) piece[at] & 0xC0) == 0x80);
			continue;
		}
		at = last_end = found[1];
		if (found[0] < len)
			cut[found[0]] = 1;
		if (found[1] < len)
			cut[found[1]] = 1;
	}
	return DSV_OK;
}

dsv_code
dsv_split_run(const dsv_tokenizer *tok, dsv_splitter *splitter, const char *text, size_t len,
			  uint8_t *cut, dsv_error *err)
{
	dsv_code	code = DSV_OK;

	if (len > MAX_TEXT)
		return dsv_fail(err, DSV_INPUT, "text of %zu bytes is too long to tokenize", len);

	/* no search may go back more often than a few times a byte: what backtracks
	 * exponentially ends here */
	pcre2_set_match_limit(splitter->context, (uint32_t) (100000 + 3 * len));
	pcre2_set_heap_limit(splitter->context, MAX_HEAP_KIB);
	for (int i = 0; i < tok->nsteps; i++)
	{
		size_t		at = 0;

		/* the step cuts only within the piece it was given, so in place will do */
		while (at < len && code == DSV_OK)
		{
			const uint8_t *next = at + 1 < len ? memchr(cut + at + 1, 1, len - at - 1) : NULL;
			size_t		end = next != NULL ? (size_t) (next - cut) : len;

			code = cut_piece(tok->steps[i], splitter, text + at, end - at, cut + at, err);
			at = end;
		}
	}
	return code;
}
