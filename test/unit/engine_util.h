/*
 * engine_util.h
 *		What the engine's tests share: models, files, running a sequence to its end.
 */
#ifndef ENGINE_UTIL_H
#define ENGINE_UTIL_H

#include "files_util.h"

#define TINY "test/golden/tiny-like"
#define SMALL "test/golden/small-like"
#define BASE "test/golden/base-like"
#define NANO "models/nano"

static inline dsv_model *
open_model(const char *dir)
{
	dsv_error	err = {0};
	dsv_model  *model;

	check_ok(dsv_model_open(dir, NULL, &model, &err), &err);
	return model;
}

static inline dsv_engine *
make_engine(dsv_model *model, const dsv_engine_options *options)
{
	dsv_error	err = {0};
	dsv_engine *engine;

	check_ok(dsv_engine_create(model, options, &engine, &err), &err);
	return engine;
}

/* Whole file; the caller frees .data */
static inline dsv_bytes
read_file(const char *path)
{
	FILE	   *f = fopen(path, "rb");
	char	   *data;
	long		n;

	if (f == NULL)
		fail_msg("cannot open %s", path);
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	data = malloc(n + 1);
	assert_int_equal(fread(data, 1, n, f), n);
	fclose(f);
	return (dsv_bytes) {data, n};
}

static inline dsv_code
run_to_end(dsv_engine *engine, dsv_error *err)
{
	while (dsv_engine_runnable(engine))
	{
		dsv_code	code = dsv_engine_step(engine, err);

		if (code != DSV_OK)
			return code;
	}
	return DSV_OK;
}

/* One user turn: the images, then the question */
typedef struct ask
{
	dsv_part	parts[8];
	dsv_turn	turn;
	dsv_request request;
} ask;

static inline void
make_ask(ask *a, const dsv_bytes *images, int nimages, const char *question, int max_tokens)
{
	memset(a, 0, sizeof(*a));
	for (int i = 0; i < nimages; i++)
		a->parts[i].kind = DSV_PART_IMAGE;
	a->parts[nimages] = (dsv_part) {DSV_PART_SPECIAL, "\n", 1};
	a->parts[nimages + 1] = (dsv_part) {DSV_PART_TEXT, question, strlen(question)};
	a->turn = (dsv_turn) {DSV_ROLE_USER, a->parts, nimages + 2};
	a->request.turns = &a->turn;
	a->request.nturns = 1;
	a->request.images = images;
	a->request.nimages = nimages;
	a->request.max_tokens = max_tokens;
}

static inline dsv_sequence *
submit(dsv_engine *engine, const dsv_request *request)
{
	dsv_error	err = {0};
	dsv_sequence *seq;

	check_ok(dsv_engine_submit(engine, request, &seq, &err), &err);
	return seq;
}

/* ---- what happens inside ---- */

/* Logits of every step, as the trace reports them */
typedef struct logits
{
	float	   *v;
	int			vocab;
	int			n;
} logits;

static inline void
keep_logits(void *ud, const dsv_trace_event *event)
{
	logits	   *l = ud;

	if (event->stage != DSV_TRACE_LOGITS)
		return;
	l->vocab = event->cols;
	l->v = realloc(l->v, (size_t) (l->n + 1) * l->vocab * sizeof(float));
	memcpy(l->v + (size_t) l->n++ * l->vocab, event->data, l->vocab * sizeof(float));
}

static inline void
make_prompt(int32_t *prompt, int n, uint32_t seed)
{
	for (int i = 0; i < n; i++)
	{
		seed = seed * 1664525u + 1013904223u;
		prompt[i] = 3 + (int32_t) (seed >> 8) % 900;
	}
}

/* A poll callback that cancels once */
typedef struct countdown
{
	int			left;
} countdown;

static inline bool
count_down(void *ud)
{
	return ((countdown *) ud)->left-- == 0;
}

/* Allocator that counts bytes, and fails the Nth call */
typedef struct counter
{
	size_t		held;
	int			calls;
	int			fail_at;
} counter;

static inline void *
count_alloc(void *ud, size_t size)
{
	counter    *c = ud;
	size_t	   *p;

	if (++c->calls == c->fail_at)
		return NULL;
	p = malloc(size + 16);
	*p = size;
	c->held += size;
	return (char *) p + 16;
}

static inline void
count_free(void *ud, void *ptr)
{
	size_t	   *p = (size_t *) ((char *) ptr - 16);

	((counter *) ud)->held -= *p;
	free(p);
}

#endif
