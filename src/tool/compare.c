/*
 * compare.c
 *		dsvl2 compare: how far the next-token distributions of two models' weights are apart.
 *
 * The first model answers greedily.  The second is made to write the same answer token by token,
 * and at each place the Kullback-Leibler divergence of its distribution from the first one's is
 * taken: sum p (ln p - ln q), in nats.  An input is a folder with samples.json (nano's questions) or
 * a golden case.
 */
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "golden.h"

#define ANSWER_TOKENS 440		/* of a sample's answer at most */

/* What one engine's steps showed */
typedef struct witness
{
	dsv_model  *model;
	dsv_engine *engine;
	int			vocab;
	float	   *logits;			/* [nsteps, vocab] */
	int			nsteps;
	int			steps_cap;
} witness;

typedef struct comparison
{
	witness		a;
	witness		b;
	/* over all inputs, and of the one that runs */
	double		kl;
	double		most;
	long		places;
	long		same;			/* best tokens */
	long		answers;
} comparison;

static void
trace(void *ud, const dsv_trace_event *event)
{
	witness    *w = ud;

	if (event->stage != DSV_TRACE_LOGITS)
		return;
	if (w->nsteps == w->steps_cap)
	{
		w->steps_cap = w->steps_cap * 2 + 16;
		w->logits = realloc(w->logits, (size_t) w->steps_cap * w->vocab * sizeof(float));
		if (w->logits == NULL)
			tool_fail("out of memory");
	}
	memcpy(w->logits + (size_t) w->nsteps * w->vocab, event->data, (size_t) w->vocab * sizeof(float));
	w->nsteps++;
}

static void
open_witness(witness *w, const char *path, const tool_setup *setup)
{
	dsv_engine_options options = tool_engine_options(setup);

	options.trace = trace;
	options.trace_ud = w;
	w->model = tool_open_model(path);
	w->vocab = dsv_model_get_info(w->model)->vocab;
	w->engine = tool_create_engine(w->model, &options);
}

static void
close_witness(witness *w)
{
	dsv_engine_destroy(w->engine);
	dsv_model_close(w->model);
	free(w->logits);
}

/* ln sum exp, and the place of the largest */
static double
log_sum(const float *x, int n, int *best)
{
	double		sum = 0;

	*best = 0;
	for (int i = 1; i < n; i++)
		if (x[i] > x[*best])
			*best = i;
	for (int i = 0; i < n; i++)
		sum += exp((double) x[i] - x[*best]);
	return log(sum) + x[*best];
}

static void
count_place(comparison *c, const float *p, const float *q)
{
	int			best_p;
	int			best_q;
	double		norm_p = log_sum(p, c->a.vocab, &best_p);
	double		norm_q = log_sum(q, c->a.vocab, &best_q);
	double		kl = 0;

	for (int i = 0; i < c->a.vocab; i++)
		kl += exp(p[i] - norm_p) * ((p[i] - norm_p) - (q[i] - norm_q));
	c->kl += kl;
	c->most = fmax(c->most, kl);
	c->same += best_p == best_q;
	c->places++;
}

static dsv_sequence *
submit(witness *w, const dsv_request *request)
{
	dsv_sequence *seq;
	dsv_error	err;

	w->nsteps = 0;
	if (dsv_engine_submit(w->engine, request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	return seq;
}

/* Runs the second model to the distribution behind i tokens of the answer. */
static const float *
step_to(witness *w, int i)
{
	dsv_error	err;

	while (w->nsteps <= i)
		if (dsv_engine_step(w->engine, &err) != DSV_OK)
			tool_fail_error(&err);
	return w->logits + (size_t) i * w->vocab;
}

static void
compare_answer(comparison *c, dsv_request *request)
{
	dsv_sequence *first = submit(&c->a, request);
	dsv_sequence *second;
	const dsv_result *want;

	tool_finish(c->a.engine, first);
	want = dsv_sequence_result(first);
	request->max_tokens = want->ntokens + 2;
	second = submit(&c->b, request);
	/* an end token was chosen by a distribution too */
	for (int i = 0; i < c->a.nsteps; i++)
	{
		const dsv_result *have;
		dsv_error	err;

		count_place(c, c->a.logits + (size_t) i * c->a.vocab, step_to(&c->b, i));
		have = dsv_sequence_result(second);
		if (i < want->ntokens && (have->ntokens <= i || have->tokens[i] != want->tokens[i]) &&
			dsv_sequence_rewind(second, i, &want->tokens[i], 1, &err) != DSV_OK)
			tool_fail_error(&err);
	}
	c->answers++;
	dsv_sequence_release(second);
	dsv_sequence_release(first);
}

/* ---- inputs ---- */

static void
compare_samples(comparison *c, const char *dir)
{
	const char *ask = dsv_model_task_prompt(c->a.model, DSV_TASK_ASK);
	char		path[PATH_MAX];
	json_t	   *samples = tool_read_json(tool_path(path, sizeof(path), dir, "samples.json"));
	json_t	   *sample;
	json_t	   *question;
	size_t		i;
	size_t		j;

	json_array_foreach(samples, i, sample)
	{
		const char *file = json_string_value(json_object_get(sample, "file"));
		dsv_bytes	image;

		if (file == NULL)
			tool_fail("samples.json: sample without \"file\"");
		image = tool_read_file(tool_path(path, sizeof(path), dir, file));
		json_array_foreach(json_object_get(sample, "questions"), j, question)
		{
			const char *prompt = json_string_value(json_object_get(question, "prompt"));
			dsv_request request = {.images = &image, .nimages = 1, .image.reference_decode = true,
			.max_tokens = ANSWER_TOKENS, .nturns = 1};
			tool_question q;

			if (prompt == NULL)
				tool_fail("samples.json: %s, question %zu lacks \"prompt\"", file, j);
			tool_ask(&q, 1, ask != NULL ? ask : "{}", prompt, DSV_PART_TEXT);
			request.turns = &q.turn;
			compare_answer(c, &request);
		}
		tool_free_files(&image, 1);
	}
	json_decref(samples);
}

static void
compare_case(comparison *c, const char *path)
{
	json_t	   *json = tool_read_json(path);
	const json_t *tokens = json_object_get(json_object_get(json, "greedy"), "tokens");
	const char *slash = strrchr(path, '/');
	char		dir[PATH_MAX] = ".";
	golden_conversation talk;
	dsv_request request = {.image.reference_decode = true, .keep_special = true};

	if (json_array_size(tokens) == 0)
		tool_fail("\"%s\" is no golden case", path);
	if (slash != NULL)
		snprintf(dir, sizeof(dir), "%.*s", (int) (slash - path), path);
	golden_build_conversation(&talk, json_object_get(json, "conversation"), dir);
	request.turns = talk.turns;
	request.nturns = talk.nturns;
	request.images = talk.images;
	request.nimages = talk.nimages;
	request.max_tokens = (int) json_array_size(tokens);
	compare_answer(c, &request);
	tool_free_files(talk.images, talk.nimages);
	json_decref(json);
}

int
tool_compare(const tool_command *command, int argc, char **argv)
{
	tool_setup	setup = {0};
	float		most = 0;
	tool_option options[] = {
		{"most", TOOL_FLOAT, &most, "mean divergence at most; fails above"},
		TOOL_SETUP_OPTIONS(setup),
		{NULL}
	};
	int			n = tool_parse(command, options, argc, argv, 3, INT_MAX);
	comparison	c = {0};
	double		mean;

	open_witness(&c.a, argv[0], &setup);
	open_witness(&c.b, argv[1], &setup);
	if (c.a.vocab != c.b.vocab)
		tool_fail("the models have %d and %d tokens", c.a.vocab, c.b.vocab);
	for (int i = 2; i < n; i++)
	{
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			compare_samples(&c, argv[i]);
		else
			compare_case(&c, argv[i]);
	}
	mean = c.kl / (c.places > 0 ? c.places : 1);
	printf("answers       %ld, %ld tokens\n", c.answers, c.places);
	printf("divergence    %.6f nats on the average, %.4f at most\n", mean, c.most);
	printf("best token    the same at %.2f %% of the places\n", 100.0 * c.same / (c.places > 0 ? c.places : 1));
	close_witness(&c.a);
	close_witness(&c.b);
	if (most > 0 && !(mean <= most))
	{
		fprintf(stderr, "dsvl2: the divergence is above %g\n", most);
		return 1;
	}
	return 0;
}
