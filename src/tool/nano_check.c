/*
 * nano_check.c
 *		dsvl2 nano-check: every question of a samples folder, against the predictions that
 *		the training code made with the same weights, and against the truth.
 *
 * An fp32 answer must be the prediction's, byte for byte, except from a near tie on: a step
 * whose two best logits are so close that another order of summation may choose the other.
 * Such answers are listed; for the accuracy they count as the prediction does, so that a
 * measure does not hang on the last bit of a sum.
 *
 * Questions of the task "extract" are asked once more under the schema of their fields; those
 * answers are measured against the truth only.  Questions of the tasks "yesno" and "classify" are
 * asked once more by scoring the answers that are possible, as vl_is and vl_classify do.
 */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "../engine/model.h"
#include "tool.h"

#define MAX_MEASURES 128
#define MAX_TOKENS 440			/* as the predictions were made */
#define NEAR_TIE 0.01			/* of logits; fp32 sums differ by some 1e-4 */

/* Share of right answers, or of wrong characters */
typedef struct measure
{
	char		name[64];
	bool		edits;			/* less is better */
	int			count;
	int			of;
} measure;

typedef struct check
{
	const char *samples_dir;
	dsv_model  *model;
	dsv_engine *engine;
	bool		judge;			/* predictions are there, and for these weights and precision */
	tool_tap	tap;

	measure		measures[MAX_MEASURES];
	int			nmeasures;
	float		margins[MAX_TOKENS + 1];	/* per step of the running answer */
	int			nmargins;
	int			answers;
	int			equal;
	int			near_ties;
	double		read_ms;		/* of receipts, first question */
	double		slowest_ms;
	int			reads;
} check;

static void
trace(void *ud, const dsv_trace_event *event)
{
	check	   *c = ud;
	float		best = -INFINITY;
	float		second = -INFINITY;

	if (event->stage != DSV_TRACE_LOGITS || c->nmargins > MAX_TOKENS)
		return;
	for (int i = 0; i < event->cols; i++)
	{
		float		x = event->data[i];

		second = x > best ? best : x > second ? x : second;
		best = x > best ? x : best;
	}
	c->margins[c->nmargins++] = best - second;
}

/* ---- measures ---- */

static void
count(check *c, const char *name, bool edits, int n, int of)
{
	measure    *m = c->measures;

	while (m < c->measures + c->nmeasures && strcmp(m->name, name) != 0)
		m++;
	if (m == c->measures + c->nmeasures)
	{
		if (c->nmeasures == MAX_MEASURES)
			tool_fail("more than %d measures", MAX_MEASURES);
		c->nmeasures++;
		snprintf(m->name, sizeof(m->name), "%s", name);
		m->edits = edits;
	}
	m->count += n;
	m->of += of;
}

/* Characters of a UTF-8 text; the caller frees them. */
static uint32_t *
characters(const char *text, size_t len, int *n)
{
	uint32_t   *c = tool_alloc(len, sizeof(*c));

	*n = 0;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char b = (unsigned char) text[i];

		if ((b & 0xC0) == 0x80 && *n > 0)
			c[*n - 1] = c[*n - 1] << 8 | b;
		else
			c[(*n)++] = b;
	}
	return c;
}

/* Levenshtein distance of two texts in characters; *length = characters of the truth */
static int
edit_distance(const char *truth, size_t truth_len, const char *got, size_t got_len, int *length)
{
	int			n;
	int			m;
	uint32_t   *a = characters(truth, truth_len, &n);
	uint32_t   *b = characters(got, got_len, &m);
	int		   *row = tool_alloc((size_t) m + 1, sizeof(*row));
	int			result;

	for (int j = 0; j <= m; j++)
		row[j] = j;
	for (int i = 1; i <= n; i++)
	{
		int			diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= m; j++)
		{
			int			best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	result = row[m];
	*length = n;
	free(a);
	free(b);
	free(row);
	return result;
}

static void
count_extract(check *c, const char *what, const char *truth, const char *got, size_t got_len)
{
	json_t	   *want = json_loads(truth, 0, NULL);
	json_t	   *have = json_loadb(got, got_len, 0, NULL);
	const char *key;
	json_t	   *value;
	char		name[64];

	snprintf(name, sizeof(name), "%s.valid", what);
	count(c, name, false, json_is_object(have), 1);
	snprintf(name, sizeof(name), "%s.fields", what);
	json_object_foreach(want, key, value)
		count(c, name, false, json_equal(json_object_get(have, key), value), 1);
	json_decref(want);
	json_decref(have);
}

static void
count_answer(check *c, const json_t *sample, const json_t *question, const char *got,
			 size_t got_len)
{
	const char *task = json_string_value(json_object_get(question, "task"));
	const json_t *truth = json_object_get(question, "answer");
	const char *text = json_string_value(truth);
	size_t		len = json_string_length(truth);
	char		name[64];

	if (strcmp(task, "ocr") == 0)
	{
		int			length;
		int			edits = edit_distance(text, len, got, got_len, &length);

		snprintf(name, sizeof(name), "ocr.%s.cer",
				 json_string_value(json_object_get(sample, "kind")));
		count(c, name, true, edits, length);
	}
	else if (strcmp(task, "extract") == 0)
		count_extract(c, task, text, got, got_len);
	else
		count(c, task, false, got_len == len && memcmp(got, text, len) == 0, 1);
}

/* ---- answers ---- */

/* Step of the answer that wrote the byte at `at` of its text; its number of tokens when the
 * text ends before. */
static int
step_of_byte(const check *c, const dsv_result *r, size_t at)
{
	size_t		end = 0;

	for (int i = 0; i < r->ntokens; i++)
	{
		size_t		len = 0;

		if (!dsv_tokenizer_is_special(c->model->tokenizer, r->tokens[i]))
			dsv_tokenizer_bytes(c->model->tokenizer, r->tokens[i], &len);
		end += len;
		if (at < end)
			return i;
	}
	return r->ntokens;
}

/* True when the answer counts as the prediction. */
static bool
compare_answer(check *c, const char *file, const char *prompt, const json_t *prediction,
			   const dsv_result *r)
{
	const char *want = json_string_value(prediction);
	size_t		len = json_string_length(prediction);
	size_t		at = 0;
	float		margin;
	int			step;

	c->answers++;
	if (r->len == len && memcmp(r->text, want, len) == 0)
	{
		c->equal++;
		return true;
	}
	while (at < len && at < r->len && r->text[at] == want[at])
		at++;
	step = step_of_byte(c, r, at);
	margin = step < c->nmargins ? c->margins[step] : INFINITY;
	if (margin < NEAR_TIE)
		c->near_ties++;
	tool_ok(&c->tap, margin < NEAR_TIE, "%s \"%s\": another answer from byte %zu on, margin %.1e%s",
			file, prompt, at, margin, margin < NEAR_TIE ? " (near tie)" : "");
	return margin < NEAR_TIE;
}

/* The schema of the fields that an extraction's prompt names, as vl_extract makes it for labels
 * without types */
static char *
schema_of_prompt(const check *c, const char *prompt)
{
	const char *task = dsv_model_task_prompt(c->model, DSV_TASK_EXTRACT);
	const char *names = task != NULL ? strstr(task, "{}") : NULL;
	json_t	   *properties = json_object();
	json_t	   *required = json_array();
	json_t	   *schema;
	char	   *text;

	if (names == NULL || strncmp(prompt, task, (size_t) (names - task)) != 0)
		tool_fail("\"%s\" is not how the model was taught to extract", prompt);
	for (names = prompt + (names - task); *names != '\0';)
	{
		size_t		len = strcspn(names, ",");
		json_t	   *name = json_stringn(names, len);

		json_object_set_new(properties, json_string_value(name),
							json_pack("{s:[s,s,s]}", "type", "string", "number", "null"));
		json_array_append_new(required, name);
		names += len;
		names += strspn(names, ", ");
	}
	schema = json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties,
					   "required", required, "additionalProperties", 0);
	text = json_dumps(schema, JSON_COMPACT);
	json_decref(schema);
	return text;
}

/* The same question once more, with an answer that has to be JSON */
static void
run_under_schema(check *c, const json_t *question, dsv_request *request)
{
	char	   *schema = schema_of_prompt(c, json_string_value(json_object_get(question, "prompt")));
	dsv_grammar *grammar;
	dsv_sequence *seq;
	const dsv_result *r;
	dsv_error	err;

	if (dsv_grammar_from_schema(schema, strlen(schema), NULL, &grammar, &err) != DSV_OK)
		tool_fail_error(&err);
	request->grammar = grammar;
	if (dsv_engine_submit(c->engine, request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	tool_finish(c->engine, seq);
	r = dsv_sequence_result(seq);
	count_extract(c, "extract.schema", json_string_value(json_object_get(question, "answer")),
				  r->text, r->len);
	dsv_sequence_release(seq);
	dsv_grammar_free(grammar);
	free(schema);
}

static void
run_question(check *c, const json_t *sample, const json_t *question, const json_t *prediction,
			 const dsv_bytes *image)
{
	const char *prompt = json_string_value(json_object_get(question, "prompt"));
	const char *file = json_string_value(json_object_get(sample, "file"));
	const char *ask = dsv_model_task_prompt(c->model, DSV_TASK_ASK);
	dsv_request request = {.images = image, .nimages = 1, .image.reference_decode = true,
	.max_tokens = MAX_TOKENS};
	tool_question q;
	dsv_sequence *seq;
	dsv_error	err;
	const dsv_result *r;
	double		start = tool_now_ms();
	bool		counts_as_predicted = false;

	tool_ask(&q, 1, ask != NULL ? ask : "{}", prompt, DSV_PART_TEXT);
	request.turns = &q.turn;
	request.nturns = 1;
	c->nmargins = 0;
	if (dsv_engine_submit(c->engine, &request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	tool_finish(c->engine, seq);
	r = dsv_sequence_result(seq);
	if (strcmp(json_string_value(json_object_get(question, "task")), "ocr") == 0 &&
		strcmp(json_string_value(json_object_get(sample, "kind")), "receipt") == 0)
	{
		double		ms = tool_now_ms() - start;

		c->read_ms += ms;
		c->slowest_ms = fmax(c->slowest_ms, ms);
		c->reads++;
	}
	if (c->judge)
		counts_as_predicted = compare_answer(c, file, prompt, prediction, r);
	if (counts_as_predicted)
		count_answer(c, sample, question, json_string_value(prediction),
					 json_string_length(prediction));
	else
		count_answer(c, sample, question, r->text, r->len);
	dsv_sequence_release(seq);
	if (strcmp(json_string_value(json_object_get(question, "task")), "extract") == 0)
		run_under_schema(c, question, &request);
}

/* ---- the same questions, scored ---- */

#define MAX_LABELS 16

/* The text that stands for {} in a prompt of the task, or NULL */
static char *
text_in_prompt(const check *c, dsv_task task, const char *prompt)
{
	const char *form = dsv_model_task_prompt(c->model, task);
	const char *hole = form != NULL ? strstr(form, "{}") : NULL;
	size_t		before = hole != NULL ? (size_t) (hole - form) : 0;
	size_t		after = hole != NULL ? strlen(hole + 2) : 0;
	size_t		len = strlen(prompt);

	if (hole == NULL || len < before + after || strncmp(prompt, form, before) != 0 ||
		strcmp(prompt + len - after, hole + 2) != 0)
		return NULL;
	return strndup(prompt + before, len - before - after);
}

/* Cuts a comma-separated list in place. */
static int
cut_list(char *list, const char *words[MAX_LABELS])
{
	int			n = 0;

	for (char *at = list; at != NULL && n < MAX_LABELS;)
	{
		char	   *comma = strstr(at, ", ");

		words[n++] = at;
		if (comma != NULL)
			*comma = '\0';
		at = comma != NULL ? comma + 2 : NULL;
	}
	return n;
}

/* The most probable of the words as an answer; per_token: of the means over their tokens */
static int
best_word(check *c, dsv_request *request, const char *const *words, int n, bool per_token)
{
	const char *prefix = dsv_model_get_info(c->model)->answers.prefix;
	dsv_bytes	candidates[MAX_LABELS];
	char		text[MAX_LABELS][256];
	double		most = -INFINITY;
	int			best = 0;
	dsv_sequence *seq;
	dsv_error	err;

	for (int i = 0; i < n; i++)
		candidates[i] = (dsv_bytes) {text[i], (size_t) snprintf(text[i], sizeof(text[i]), "%s%s",
																  prefix, words[i])};
	request->candidates = candidates;
	request->ncandidates = n;
	if (dsv_engine_submit(c->engine, request, &seq, &err) != DSV_OK)
		tool_fail_error(&err);
	tool_finish(c->engine, seq);
	for (int i = 0; i < n; i++)
	{
		const dsv_candidate *got = &dsv_sequence_result(seq)->candidates[i];
		double		score = per_token ? got->logprob / got->ntokens : got->logprob;

		if (score > most)
		{
			most = score;
			best = i;
		}
	}
	dsv_sequence_release(seq);
	return best;
}

/* As vl_is and vl_classify answer */
static void
run_scored(check *c, const json_t *question, const dsv_bytes *image)
{
	const dsv_answers *answers = &dsv_model_get_info(c->model)->answers;
	const char *name = json_string_value(json_object_get(question, "task"));
	const char *prompt = json_string_value(json_object_get(question, "prompt"));
	const char *truth = json_string_value(json_object_get(question, "answer"));
	const char *words[MAX_LABELS] = {answers->yes, answers->no};
	bool		yesno = strcmp(name, "yesno") == 0;
	dsv_task	task = yesno ? DSV_TASK_IS : DSV_TASK_CLASSIFY;
	dsv_request request = {.images = image, .nimages = 1, .image.reference_decode = true};
	int			n = 2;
	tool_question q;
	char		measured[64];
	char	   *text;
	char	   *list;

	if (!yesno && strcmp(name, "classify") != 0)
		return;
	text = text_in_prompt(c, task, prompt);
	if (text == NULL)
		tool_fail("\"%s\" is not how the model was taught the task \"%s\"", prompt, dsv_task_name(task));
	tool_ask(&q, 1, dsv_model_task_prompt(c->model, task), text, DSV_PART_TEXT);
	request.turns = &q.turn;
	request.nturns = 1;
	list = strdup(text);
	if (!yesno)
		n = cut_list(list, words);
	snprintf(measured, sizeof(measured), "%s.scored", name);
	count(c, measured, false, strcmp(words[best_word(c, &request, words, n, !yesno)], truth) == 0, 1);
	free(list);
	free(text);
}

static void
run_sample(check *c, const json_t *sample, const json_t *predicted)
{
	const json_t *questions = json_object_get(sample, "questions");
	const json_t *predictions = json_object_get(predicted, "predictions");
	const char *file = json_string_value(json_object_get(sample, "file"));
	char		path[PATH_MAX];
	dsv_bytes	image;
	size_t		i;
	json_t	   *question;

	if (file == NULL || json_string_value(json_object_get(sample, "kind")) == NULL)
		tool_fail("samples.json: sample without \"file\" or \"kind\"");
	if (c->judge && json_array_size(predictions) != json_array_size(questions))
		tool_fail("predictions.json does not belong to samples.json: %s has other questions", file);
	image = tool_read_file(tool_path(path, sizeof(path), c->samples_dir, file));
	json_array_foreach(questions, i, question)
	{
		const json_t *prediction = json_array_get(predictions, i);

		if (c->judge && !json_equal(json_object_get(prediction, "prompt"),
									json_object_get(question, "prompt")))
			tool_fail("predictions.json does not belong to samples.json: %s, question %zu", file,
					  i);
		if (json_string_value(json_object_get(question, "prompt")) == NULL ||
			json_string_value(json_object_get(question, "task")) == NULL ||
			json_string_value(json_object_get(question, "answer")) == NULL)
			tool_fail("samples.json: %s, question %zu lacks \"prompt\", \"task\" or \"answer\"",
					  file, i);
		if (c->judge && json_string_value(json_object_get(prediction, "fp32")) == NULL)
			tool_fail("predictions.json: %s, question %zu lacks \"fp32\"", file, i);
		run_question(c, sample, question, json_object_get(prediction, "fp32"), &image);
		run_scored(c, question, &image);
	}
	tool_free_files(&image, 1);
}

/* ---- the accuracy that is to be kept ---- */

static void
write_accuracy(const check *c, const char *path)
{
	json_t	   *all = json_object();

	for (int i = 0; i < c->nmeasures; i++)
	{
		const measure *m = &c->measures[i];

		json_object_set_new(all, m->name, json_pack("{s:i, s:i}", m->edits ? "edits" : "right",
													m->count, "of", m->of));
	}
	tool_write_json(path, all);
	json_decref(all);
}

static void
check_accuracy(check *c, const char *path)
{
	json_t	   *all = tool_read_json(path);
	const char *name;
	json_t	   *want;

	json_object_foreach(all, name, want)
	{
		json_int_t	of = json_integer_value(json_object_get(want, "of"));
		bool		edits = json_object_get(want, "edits") != NULL;
		json_int_t	bound = json_integer_value(json_object_get(want, edits ? "edits" : "right"));
		const measure *m = c->measures;

		while (m < c->measures + c->nmeasures && strcmp(m->name, name) != 0)
			m++;
		if (m == c->measures + c->nmeasures || m->of != of)
			tool_ok(&c->tap, false, "%s: %s is for other samples", name, path);
		else
			tool_ok(&c->tap, edits ? m->count <= bound : m->count >= bound, "%s %d %s %lld, of %d",
					name, m->count, edits ? "<=" : ">=", (long long) bound, m->of);
	}
	json_decref(all);
}

static void
print_summary(check *c)
{
	if (c->judge)
		tool_ok(&c->tap, c->equal + c->near_ties == c->answers,
				"%d of %d answers equal the predictions, %d near ties", c->equal, c->answers,
				c->near_ties);
	for (int i = 0; i < c->nmeasures; i++)
		printf("# %-24s %.3f  (%d of %d)\n", c->measures[i].name,
			   (double) c->measures[i].count / (c->measures[i].of > 0 ? c->measures[i].of : 1),
			   c->measures[i].count, c->measures[i].of);
	if (c->reads > 0)
		printf("# a receipt is read in %.0f ms on the average, %.0f ms at most\n",
			   c->read_ms / c->reads, c->slowest_ms);
}

/* ---- */

static bool
file_exists(const char *path)
{
	FILE	   *f = fopen(path, "rb");

	if (f != NULL)
		fclose(f);
	return f != NULL;
}

static void
open_all(check *c, const tool_setup *setup, const char *dir)
{
	dsv_engine_options options = tool_engine_options(setup);

	options.trace = trace;
	options.trace_ud = c;
	c->model = tool_open_model(dir);
	c->engine = tool_create_engine(c->model, &options);
}

int
tool_nano_check(const tool_command *command, int argc, char **argv)
{
	tool_setup	setup = {0};
	const char *accuracy = NULL;
	const char *write = NULL;
	tool_option options[] = {
		{"accuracy", TOOL_STRING, &accuracy, "file with the least accuracy; fails below"},
		{"write-accuracy", TOOL_STRING, &write, "file to write such a file to"},
		TOOL_SETUP_OPTIONS(setup),
		{NULL}
	};
	check	   *c = tool_alloc(1, sizeof(*c));
	char		path[PATH_MAX];
	json_t	   *samples;
	json_t	   *predictions = NULL;
	size_t		i;
	json_t	   *sample;
	int			status;

	tool_parse(command, options, argc, argv, 2, 2);
	c->samples_dir = argv[1];
	samples = tool_read_json(tool_path(path, sizeof(path), argv[1], "samples.json"));
	if (file_exists(tool_path(path, sizeof(path), argv[1], "predictions.json")))
		predictions = tool_read_json(path);
	open_all(c, &setup, argv[0]);
	c->judge = predictions != NULL && setup.precision == DSV_PRECISION_FP32 &&
		dsv_model_get_info(c->model)->quant == DSV_QUANT_BF16;
	if (c->judge && json_array_size(predictions) != json_array_size(samples))
		tool_fail("predictions.json does not belong to samples.json: another number of files");
	if (!c->judge)
		tool_ok(&c->tap, true, "answers equal the predictions # SKIP %s",
				predictions == NULL ? "no predictions.json" : "they are for fp32, not quantised");
	json_array_foreach(samples, i, sample)
		run_sample(c, sample, json_array_get(predictions, i));
	print_summary(c);
	if (accuracy != NULL)
		check_accuracy(c, accuracy);
	if (write != NULL)
		write_accuracy(c, write);
	json_decref(samples);
	json_decref(predictions);
	dsv_engine_destroy(c->engine);
	dsv_model_close(c->model);
	status = tool_tap_end(&c->tap);
	free(c);
	return status;
}
