/*
 * masks.c
 *		dsvl2 masks: what it costs to find the tokens that a grammar allows.
 *
 * At some points of an answer under a schema, three times are measured: of the first mask there
 * (the automaton is new and has to find its states), of a mask made again (the states are
 * known), and of one that is remembered.  A folder needs to hold no more than a tokenizer.json.
 */
#include <limits.h>
#include <string.h>

#include <sys/stat.h>

#include "../engine/constraint.h"
#include "../engine/model.h"
#include "tool.h"

#define MAX_RUNS 1000

/* The end token does not matter here; the published families have it first or second */
#define END_TOKEN 1

static const char default_schema[] =
	"{\"type\": \"object\", \"required\": [\"merchant\", \"code\", \"name\", \"date\", \"paid\", \"currency\","
	" \"total\"],"
	" \"additionalProperties\": false, \"properties\": {"
	"\"merchant\": {\"type\": \"string\"},"
	"\"code\": {\"type\": \"string\", \"maxLength\": 200},"
	"\"name\": {\"type\": \"string\", \"pattern\": \"^[^0-9]*$\"},"
	"\"date\": {\"type\": \"string\", \"format\": \"date\"},"
	"\"paid\": {\"type\": \"boolean\"},"
	"\"currency\": {\"enum\": [\"EUR\", \"GBP\", \"USD\"]},"
	"\"total\": {\"type\": \"number\"}}}";

#define BEHIND_CODE "{\"merchant\": \"Acme\", \"code\": \"A7\", "
#define BEHIND_DATE BEHIND_CODE "\"name\": \"Acme\", \"date\": \"2024-05-01\", "

typedef struct point
{
	const char *name;
	const char *text;			/* of the answer so far */
} point;

static const point points[] = {
	{"start", ""},
	{"key", "{\"mer"},
	{"string", "{\"merchant\": \"Acme"},
	{"string, 200 characters at most", "{\"merchant\": \"Acme\", \"code\": \"A7"},
	{"string with a pattern", BEHIND_CODE "\"name\": \"Ac"},
	{"date", BEHIND_CODE "\"name\": \"Acme\", \"date\": \"202"},
	{"boolean", BEHIND_DATE "\"paid\": "},
	{"choice", BEHIND_DATE "\"paid\": true, \"currency\": \""},
	{"number", BEHIND_DATE "\"paid\": true, \"currency\": \"EUR\", \"total\": 1"},
};

#define NPOINTS ((int) (sizeof(points) / sizeof(points[0])))

typedef struct bench
{
	dsv_tokenizer *tokenizer;
	dsv_vocab_trie trie;
	dsv_grammar *grammar;
	dsv_constraint constraint;
	int			runs;
	double		times[MAX_RUNS];
} bench;

/* Of a folder or a packed file */
static void
open_tokenizer(bench *b, const char *model_path)
{
	char		path[PATH_MAX];
	struct stat st;
	dsv_model  *model;
	dsv_error	err;
	dsv_code	code;

	if (stat(model_path, &st) == 0 && S_ISREG(st.st_mode))
	{
		code = dsv_model_open(model_path, NULL, &model, &err);
		if (code == DSV_OK)
			b->tokenizer = model->tokenizer;
	}
	else
		code = dsv_tokenizer_open(tool_path(path, sizeof(path), model_path, "tokenizer.json"), NULL,
								  &b->tokenizer, &err);
	if (code != DSV_OK)
		tool_fail_error(&err);
}

static void
make_trie(bench *b)
{
	dsv_error	err;
	double		start = tool_now_ms();

	if (dsv_vocab_trie_init(&b->trie, b->tokenizer, dsv_tokenizer_size(b->tokenizer), END_TOKEN, NULL,
							&err) != DSV_OK)
		tool_fail_error(&err);
	printf("vocabulary      %d tokens; trie of %d nodes, %.1f MB, made in %.0f ms\n",
		   dsv_tokenizer_size(b->tokenizer), b->trie.nnodes, (double) b->trie.bytes / 1e6,
		   tool_now_ms() - start);
}

static void
make_constraint(bench *b)
{
	dsv_arena	arena = {NULL, 0};

	b->constraint = (dsv_constraint) {.tok = b->tokenizer, .trie = &b->trie, .prefix = "", .end = END_TOKEN};
	dsv_constraint_layout(&b->constraint, &arena);
	arena.base = tool_alloc(arena.used + 64, 1);
	arena.used = 0;
	dsv_constraint_layout(&b->constraint, &arena);
}

static void
new_automaton(bench *b)
{
	dsv_error	err;

	dsv_automaton_destroy(b->constraint.automaton);
	if (dsv_automaton_create(b->grammar, DSV_AUTOMATON_MEMORY, NULL, &b->constraint.automaton, &err) != DSV_OK)
		tool_fail_error(&err);
}

/* From the beginning to behind the text; no mask is remembered then. */
static void
go_to(bench *b, const char *text)
{
	dsv_span	span = {text, strlen(text), false};
	dsv_tokens	tokens = {0};
	dsv_error	err;

	dsv_constraint_reset(&b->constraint);
	if (dsv_tokenizer_encode(b->tokenizer, &span, 1, NULL, NULL, &tokens, &err) != DSV_OK)
		tool_fail_error(&err);
	for (size_t i = 0; i < tokens.n; i++)
		if (!dsv_constraint_take(&b->constraint, tokens.ids[i]))
			tool_fail("the schema does not allow \"%s\"", text);
	free(tokens.ids);
}

static int
count_tokens(const uint32_t *mask, int words)
{
	int			n = 0;

	for (int i = 0; mask != NULL && i < words; i++)
		n += __builtin_popcount(mask[i]);
	return n;
}

static double
time_mask(bench *b, int *tokens)
{
	double		start = tool_now_ms();
	const uint32_t *mask = dsv_constraint_mask(&b->constraint, b->trie.vocab);
	double		took = tool_now_ms() - start;

	*tokens = count_tokens(mask, b->trie.words);
	return took;
}

static void
print_times(bench *b)
{
	double		sum = 0;

	for (int i = 0; i < b->runs; i++)
		sum += b->times[i];
	printf("  %7.1f %7.1f", sum / b->runs * 1e3, tool_median(b->times, b->runs) * 1e3);
	printf(" %7.1f", b->times[b->runs - 1] * 1e3);	/* sorted by now */
}

static void
measure(bench *b, const point *p)
{
	int			tokens;

	for (int i = 0; i < b->runs; i++)
	{
		new_automaton(b);
		go_to(b, p->text);
		b->times[i] = time_mask(b, &tokens);
	}
	printf("%-31s %7d", p->name, tokens);
	print_times(b);
	for (int i = 0; i < b->runs; i++)
	{
		go_to(b, p->text);
		b->times[i] = time_mask(b, &tokens);
	}
	print_times(b);
	for (int i = 0; i < b->runs; i++)
		b->times[i] = time_mask(b, &tokens);
	print_times(b);
	printf("\n");
}

int
tool_masks(const tool_command *command, int argc, char **argv)
{
	bench	   *b = tool_alloc(1, sizeof(*b));
	dsv_bytes	schema = {default_schema, sizeof(default_schema) - 1};
	tool_option options[] = {
		{"runs", TOOL_INT, &b->runs, "of each measurement (100)"},
		{NULL}
	};
	double		start;
	dsv_error	err;

	b->runs = 100;
	tool_parse(command, options, argc, argv, 1, 1);
	if (b->runs < 1 || b->runs > MAX_RUNS)
		tool_usage_error(command, "--runs must be 1 to %d", MAX_RUNS);
	open_tokenizer(b, argv[0]);
	make_trie(b);
	start = tool_now_ms();
	if (dsv_grammar_from_schema(schema.data, schema.len, NULL, &b->grammar, &err) != DSV_OK)
		tool_fail_error(&err);
	printf("schema          %zu bytes, compiled in %.2f ms\n\n", schema.len, tool_now_ms() - start);
	make_constraint(b);
	printf("microseconds: mean, median and maximum of %d\n\n", b->runs);
	printf("%-31s %7s  %-24s %-24s %s\n", "where", "tokens", "new automaton", "known states", "remembered");
	for (int i = 0; i < NPOINTS; i++)
		measure(b, &points[i]);
	return 0;
}
