/*
 * golden_compare.c
 *		The engine's numbers against a golden case, one TAP line a stage.
 *
 * Tolerances are those of test/golden/README.md: 1e-4 for vision and embeddings (and router
 * weights), 1e-3 for hidden states and logits, absolute, in fp32.  A sum or norm of n
 * numbers may differ by sqrt(n) times as much.  In bf16 only tokens, tiles, logits and the
 * greedy answer count, the answer up to the first step that is too close to call.
 */
#include <math.h>
#include <string.h>

#include "golden.h"

#define VISION_BOUND 1e-4
#define ROUTER_BOUND 1e-4
#define LANGUAGE_BOUND 1e-3
#define BF16_LOGITS_BOUND 0.5

/* Rows of the first routed layer whose last chosen and first rejected expert are equal to
 * within 1e-4 (test/golden/README.md): another order of summation may choose the other, and
 * what attends to such a row moves by some 1e-3. */
static const struct
{
	const char *label;
	int			rows;
}			near_ties[] = {
	{"tiny-like/two_images", 1},
	{"base-like/grounding", 1},
	{"base-like/one_image", 3},
	{"base-like/three_images", 2},
};

#define NEAR_TIE_FACTOR 5

typedef struct comparison
{
	const golden_case *c;
	const golden_trace *t;
	golden_measure *m;
	tool_tap   *tap;
	const int32_t *prompt;
	int			nprompt;
} comparison;

/* ---- helpers ---- */

static const dsv_tensor *
expected(const comparison *x, const char *name)
{
	return dsv_safetensors_find(x->c->expected, name);
}

/* A NaN is as far away as can be. */
static double
farther(double most, double d)
{
	d = fabs(d);
	return d <= most ? most : isnan(d) ? INFINITY : d;
}

static double
distance(const float *a, const float *b, size_t n)
{
	double		most = 0;

	for (size_t i = 0; i < n; i++)
		most = farther(most, (double) a[i] - b[i]);
	return most;
}

/* Distance of a float tensor from numbers of the same shape; -1 with a failed line when the
 * tensor is not there or of another size. */
static double
tensor_distance(const comparison *x, const char *name, const float *got, size_t count)
{
	const dsv_tensor *t = expected(x, name);

	if (t == NULL || t->dtype != DSV_DTYPE_F32 || (size_t) t->count != count)
	{
		tool_ok(x->tap, false, "%s %s: expected tensor is missing or of another size", x->c->label,
				name);
		return -1;
	}
	return distance(got, t->data, count);
}

/* In bf16 a stage is shown, not judged. */
static void
judge(const comparison *x, const char *stage, double got, double bound)
{
	if (got < 0)
		return;
	if (x->c->bf16)
		printf("# %s %s %.1e\n", x->c->label, stage, got);
	else
		tool_ok(x->tap, got <= bound, "%s %s %.1e <= %.0e", x->c->label, stage, got, bound);
}

/* ---- stages ---- */

static void
compare_prompt(const comparison *x)
{
	const dsv_tensor *ids = expected(x, "input_ids");
	bool		same = ids != NULL && ids->dtype == DSV_DTYPE_I32 && ids->count == x->nprompt &&
		memcmp(ids->data, x->prompt, (size_t) x->nprompt * sizeof(int32_t)) == 0;

	tool_ok(x->tap, same, "%s input_ids, %d tokens", x->c->label, x->nprompt);
}

static const char *
expected_sha(const comparison *x, int tile)
{
	return json_string_value(json_array_get(json_object_get(x->c->json, "tiles"), tile));
}

/* The first tile with the same pixels */
static int
first_equal_tile(const comparison *x, int tile)
{
	int			first = 0;

	while (strcmp(expected_sha(x, first), expected_sha(x, tile)) != 0)
		first++;
	return first;
}

static void
compare_tiles(const comparison *x)
{
	int			wrong = 0;

	for (int i = 0; i < x->t->ntiles; i++)
	{
		int			first = first_equal_tile(x, i);

		if (!x->t->tile_seen[first] || strcmp(x->t->tile_sha[first], expected_sha(x, i)) != 0)
			wrong++;
	}
	tool_ok(x->tap, wrong == 0, "%s tiles, %d of %d differ", x->c->label, wrong, x->t->ntiles);
}

static double
projector_sums_distance(const comparison *x)
{
	const dsv_tensor *sums = expected(x, "projector_tiles");
	double		root = sqrt((double) x->t->config->projector.grid * x->t->config->projector.grid *
							x->t->config->language.hidden);
	double		most = 0;

	if (sums == NULL || sums->count != 2 * x->t->ntiles)
		return INFINITY;
	for (int i = 0; i < x->t->ntiles; i++)
	{
		const double *got = x->t->tile_sums[first_equal_tile(x, i)];
		const float *want = (const float *) sums->data + 2 * i;

		most = farther(most, (got[0] - want[0]) / root);
		most = farther(most, (got[1] - want[1]) / root);
	}
	return most;
}

static void
compare_vision(const comparison *x)
{
	const dsv_config *config = x->t->config;
	size_t		width = config->vision.width;
	size_t		tokens = (size_t) config->projector.grid * config->projector.grid;

	judge(x, "vit stages", tensor_distance(x, "vit_stages_tile0", x->t->vit_stages,
										   (config->vision.layers + 2) * GOLDEN_STAGE_ROWS * width),
		  VISION_BOUND);
	x->m->vit = tensor_distance(x, "vit_tile0", x->t->vit,
								(size_t) config->vision.grid * config->vision.grid * width);
	judge(x, "vit", x->m->vit, VISION_BOUND);
	x->m->projector = tensor_distance(x, "projector_tile0", x->t->projector,
									  tokens * config->language.hidden);
	judge(x, "projector", x->m->projector, VISION_BOUND);
	judge(x, "projector of all tiles", projector_sums_distance(x), VISION_BOUND);
}

static void
compare_embeds(const comparison *x)
{
	size_t		hidden = x->t->config->language.hidden;
	const dsv_tensor *at = expected(x, "inputs_embeds_at");
	const dsv_tensor *chosen = expected(x, "inputs_embeds");
	const dsv_tensor *rows = expected(x, "inputs_embeds_rows");
	double		most = 0;

	if (at == NULL || chosen == NULL || rows == NULL || rows->count != 2 * x->t->n ||
		chosen->count != at->count * (int64_t) hidden)
	{
		tool_ok(x->tap, false, "%s embeds: expected tensors are missing or of another size",
				x->c->label);
		return;
	}
	for (int i = 0; i < (int) at->count; i++)
		most = farther(most, distance(x->t->embeds + ((const int32_t *) at->data)[i] * hidden,
									  (const float *) chosen->data + i * hidden, hidden));
	x->m->embeds = most;
	judge(x, "embeds", most, VISION_BOUND);
	most = 0;
	for (int i = 0; i < x->t->n; i++)
	{
		const float *row = x->t->embeds + i * hidden;
		const float *want = (const float *) rows->data + 2 * i;
		double		sum = 0;
		double		squares = 0;

		for (size_t k = 0; k < hidden; k++)
		{
			sum += row[k];
			squares += (double) row[k] * row[k];
		}
		most = farther(most, (sum - want[0]) / sqrt((double) hidden));
		most = farther(most, (sqrt(squares) - want[1]) / sqrt((double) hidden));
	}
	judge(x, "embeds of all rows", most, VISION_BOUND);
}

static int
allowed_near_ties(const char *label)
{
	for (size_t i = 0; i < sizeof(near_ties) / sizeof(near_ties[0]); i++)
		if (strcmp(near_ties[i].label, label) == 0)
			return near_ties[i].rows;
	return 0;
}

static void
compare_router(const comparison *x)
{
	const dsv_tensor *experts = expected(x, "router_experts");
	const dsv_tensor *weights = expected(x, "router_weights");
	size_t		k = x->t->config->language.top_k;
	int			allowed = allowed_near_ties(x->c->label);
	double		most = 0;

	if (experts == NULL || weights == NULL || (size_t) experts->count != k * x->t->n ||
		weights->count != experts->count)
	{
		tool_ok(x->tap, false, "%s router: expected tensors are missing or of another size",
				x->c->label);
		return;
	}
	for (int i = 0; i < x->t->n; i++)
	{
		if (memcmp((const int32_t *) experts->data + i * k, x->t->experts + i * k,
				   k * sizeof(int32_t)) == 0)
		{
			most = farther(most, distance((const float *) weights->data + i * k,
										  x->t->weights + i * k, k));
			continue;
		}
		x->m->router_changed++;
		if (!x->c->bf16)
			printf("# %s router row %d has other experts\n", x->c->label, i);
	}
	if (x->c->bf16)
		printf("# %s router rows changed %d of %d\n", x->c->label, x->m->router_changed, x->t->n);
	else
		tool_ok(x->tap, x->m->router_changed <= allowed,
				"%s router experts, %d of %d rows differ (near ties: %d)", x->c->label,
				x->m->router_changed, x->t->n, allowed);
	judge(x, "router weights", most, ROUTER_BOUND);
}

/* Every routed layer's choice for the last token */
static void
compare_router_last(const comparison *x)
{
	size_t		k = x->t->config->language.top_k;
	json_t	   *layers = json_object_get(x->c->json, "router_last");
	const char *key;
	json_t	   *layer;
	int			wrong = 0;
	double		most = 0;

	json_object_foreach(layers, key, layer)
	{
		const json_t *experts = json_object_get(layer, "experts");
		const json_t *weights = json_object_get(layer, "weights");
		int			l = atoi(key);

		if (l < 0 || l >= x->t->config->language.layers)
		{
			wrong++;
			continue;
		}
		for (size_t i = 0; i < k; i++)
		{
			json_int_t	id = json_integer_value(json_array_get(experts, i));
			double		w = json_number_value(json_array_get(weights, i));
			size_t		j = 0;

			/* stored with the largest weight first, which a bias need not have chosen first */
			while (j < k && x->t->last_experts[l * k + j] != id)
				j++;
			wrong += j == k;
			most = farther(most, j < k ? x->t->last_weights[l * k + j] - w : w);
		}
	}
	if (x->c->bf16)
		return;
	tool_ok(x->tap, wrong == 0, "%s experts of the last token in %zu layers", x->c->label,
			json_object_size(layers));
	judge(x, "router weights of the last token", most, ROUTER_BOUND);
}

static void
compare_language(const comparison *x)
{
	const dsv_language_config *l = &x->t->config->language;
	double		bound = LANGUAGE_BOUND * (x->m->router_changed > 0 ? NEAR_TIE_FACTOR : 1);

	x->m->hidden = tensor_distance(x, "hidden_last", x->t->hidden,
								   (size_t) (l->layers + 2) * l->hidden);
	judge(x, "hidden", x->m->hidden, bound);
	x->m->logits = tensor_distance(x, "logits_last", x->t->logits, l->vocab);
	if (x->c->bf16)
		tool_ok(x->tap, x->m->logits >= 0 && x->m->logits <= BF16_LOGITS_BOUND,
				"%s logits %.2f <= %.1f", x->c->label, x->m->logits, BF16_LOGITS_BOUND);
	else
		judge(x, "logits", x->m->logits, bound);
}

/* ---- the answer ---- */

/* The five best logits of every step of the answer */
static void
compare_steps(const comparison *x, const json_t *top5)
{
	double		bound = LANGUAGE_BOUND * (x->m->router_changed > 0 ? NEAR_TIE_FACTOR : 1);
	int			vocab = x->t->config->language.vocab;
	double		most = 0;

	if (x->t->nlogits < (int) json_array_size(top5))
		most = INFINITY;
	for (int step = 0; step < x->t->nlogits; step++)
		for (int i = 0; i < 5; i++)
		{
			const json_t *pair = json_array_get(json_array_get(top5, step), i);
			json_int_t	id = json_integer_value(json_array_get(pair, 0));
			double		logit = json_number_value(json_array_get(pair, 1));

			most = farther(most, id < vocab ? x->t->logits[(size_t) step * vocab + id] - logit :
						   INFINITY);
		}
	judge(x, "logits of every step", most, bound);
}

/* First step that cannot be called: the two best are closer than twice the difference allowed.  What the
 * prompt's logits differ by is no measure: a row whose experts are nearly tied may differ more later. */
static int
first_close_step(const json_t *margins, double difference)
{
	int			i = 0;

	while (i < (int) json_array_size(margins) &&
		   json_number_value(json_array_get(margins, i)) > 2 * difference)
		i++;
	return i;
}

static void
compare_text(const comparison *x, const json_t *greedy, const dsv_tokenizer *tokenizer,
			 const dsv_result *r)
{
	const json_t *text = json_object_get(greedy, "text");
	const json_t *plain = json_object_get(greedy, "text_without_special");
	size_t		len = json_string_length(text);
	dsv_text	decoded = {0};
	dsv_decoder decoder = {0};
	size_t		eos_len = 0;

	/* the stored text ends with the end token, the engine's result does not */
	if (r->finish == DSV_FINISH_STOP &&
		dsv_tokenizer_bytes(tokenizer, x->t->config->language.eos, &eos_len) != NULL &&
			eos_len <= len)
		len -= eos_len;
	tool_ok(x->tap, r->len == len && memcmp(r->text, json_string_value(text), len) == 0, "%s text",
			x->c->label);
	for (int i = 0; i < r->ntokens; i++)
		if (!dsv_decoder_add(&decoder, tokenizer, r->tokens[i], true, NULL, &decoded))
			tool_fail("out of memory");
	if (!dsv_decoder_end(&decoder, NULL, &decoded))
		tool_fail("out of memory");
	tool_ok(x->tap, decoded.len == json_string_length(plain) &&
			(decoded.len == 0 || memcmp(decoded.s, json_string_value(plain), decoded.len) == 0),
			"%s text without special tokens", x->c->label);
	free(decoded.s);
}

static void
compare_greedy(const comparison *x, const dsv_tokenizer *tokenizer, const dsv_result *r)
{
	const json_t *greedy = json_object_get(x->c->json, "greedy");
	const json_t *tokens = json_object_get(greedy, "tokens");
	golden_measure *m = x->m;
	int			needed;

	m->greedy = (int) json_array_size(tokens);
	while (m->greedy_same < m->greedy)
	{
		int			i = m->greedy_same;
		int32_t		got = i < r->ntokens ? r->tokens[i] :
			i == r->ntokens && r->finish == DSV_FINISH_STOP ? x->t->config->language.eos : -1;

		if (got != json_integer_value(json_array_get(tokens, i)))
			break;
		m->greedy_same++;
	}
	needed = x->c->bf16 ? first_close_step(json_object_get(greedy, "margins"), BF16_LOGITS_BOUND) :
		m->greedy;
	tool_ok(x->tap, m->greedy_same >= needed, "%s greedy tokens, %d of %d equal, %d must be",
			x->c->label, m->greedy_same, m->greedy, needed);
	if (x->c->bf16)
		return;
	compare_steps(x, json_object_get(greedy, "top5"));
	compare_text(x, greedy, tokenizer, r);
}

void
golden_compare(const golden_case *c, const golden_trace *t, const dsv_tokenizer *tokenizer,
			   dsv_sequence *seq, golden_measure *m, tool_tap *tap)
{
	comparison	x = {c, t, m, tap, NULL, 0};

	x.prompt = dsv_sequence_prompt(seq, &x.nprompt);
	*m = (golden_measure) {.tokens = x.nprompt, .tiles = t->ntiles, .vit = -1, .projector = -1,
		.embeds = -1, .hidden = -1, .logits = -1, .scored = -1};
	compare_prompt(&x);
	if (t->ntiles > 0)
	{
		compare_tiles(&x);
		compare_vision(&x);
	}
	compare_embeds(&x);
	if (t->config->language.experts > 0)
	{
		compare_router(&x);
		compare_router_last(&x);
	}
	compare_language(&x);
	compare_greedy(&x, tokenizer, dsv_sequence_result(seq));
}

/* The sum over a candidate's tokens, each of which may be off by a difference of two logits */
void
golden_compare_scored(const golden_case *c, const json_t *candidates, const dsv_result *result,
					  golden_measure *m, tool_tap *tap)
{
	comparison	x = {.c = c, .m = m, .tap = tap};
	double		bound = LANGUAGE_BOUND * (m->router_changed > 0 ? NEAR_TIE_FACTOR : 1);
	bool		same = result->ncandidates == (int) json_array_size(candidates);

	m->scored = 0;
	for (int i = 0; i < result->ncandidates; i++)
	{
		const json_t *want = json_array_get(candidates, i);
		const dsv_candidate *got = &result->candidates[i];
		double		logprob = json_number_value(json_object_get(want, "logprob"));

		same = same && got->ntokens == (int) json_array_size(json_object_get(want, "tokens")) + 1;
		m->scored = farther(m->scored, (got->logprob - logprob) / got->ntokens);
	}
	tool_ok(tap, same, "%s scores %d candidates with their tokens", c->label, result->ncandidates);
	judge(&x, "log-probabilities of candidates, per token", m->scored, bound);
}
