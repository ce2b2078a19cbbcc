/*
 * fn_decide.c
 *		vl_is, vl_prob, vl_classify, vl_classify_scores: the probability of each answer that is
 *		possible, after one reading of image and question.  The model writes nothing.
 */
#include "decide.h"

#include <math.h>

#include "backend_engine.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(vl_is);
PG_FUNCTION_INFO_V1(vl_prob);
PG_FUNCTION_INFO_V1(vl_classify);
PG_FUNCTION_INFO_V1(vl_classify_scores);

/* ---- candidates ---- */

void
SetStatement(InferCall *call, char *utf8)
{
	const dsv_answers *answers = &dsv_model_get_info(GetBackendModel(OpenBackendModel(call->model)))->answers;

	call->prompt = utf8;
	call->ncandidates = 2;
	call->candidates = palloc(2 * sizeof(char *));
	call->candidates[0] = pstrdup(answers->yes);
	call->candidates[1] = pstrdup(answers->no);
}

/* The part of s without white space around it, in UTF-8 */
static char *
trimmed(const char *s, int len)
{
	while (len > 0 && IsAnswerSpace(*s))
		s++, len--;
	while (len > 0 && IsAnswerSpace(s[len - 1]))
		len--;
	return ToUtf8(s, len);
}

/* Where "name: description" has its colon; its length when it has none */
static int
name_length(const char *s, int len)
{
	for (int i = 0; i + 1 < len; i++)
		if (s[i] == ':' && IsAnswerSpace(s[i + 1]))
			return i;
	return len;
}

static void
start_labels(InferCall *call, int n)
{
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at least one label")));
	if (n > DSV_SCORE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many labels: %d", n),
				 errdetail("The limit is %d.", DSV_SCORE_MAX)));
	call->candidates = palloc(n * sizeof(char *));
	call->ncandidates = 0;
}

static void
null_label(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("labels must not be null")));
}

/* Its name becomes a candidate; the prompt's list gets "name" or "name (description)". */
static void
add_label(InferCall *call, StringInfo list, const char *s, int len)
{
	int			end = name_length(s, len);
	char	   *name = trimmed(s, end);
	char	   *description = trimmed(s + Min(end + 1, len), len - Min(end + 1, len));

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("labels must not be empty")));
	for (int i = 0; i < call->ncandidates; i++)
		if (strcmp(call->candidates[i], name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("label \"%s\" is given twice",
							text_to_cstring(CandidateName(call, i)))));
	call->candidates[call->ncandidates++] = name;
	appendStringInfo(list, list->len > 0 ? ", %s" : "%s", name);
	if (description[0] != '\0')
		appendStringInfo(list, " (%s)", description);
}

/* labels, each "name" or "name: description" */
static void
set_labels(InferCall *call, ArrayType *labels)
{
	StringInfoData list;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(labels, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	start_labels(call, n);
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
	{
		text	   *label;

		if (nulls[i])
			null_label();
		label = DatumGetTextPP(elements[i]);
		add_label(call, &list, VARDATA_ANY(label), VARSIZE_ANY_EXHDR(label));
	}
	call->prompt = list.data;
}

void
SetJsonLabels(InferCall *call, Jsonb *labels)
{
	StringInfoData list;

	if (!JB_ROOT_IS_ARRAY(labels) || JB_ROOT_IS_SCALAR(labels))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("labels must be a JSON array of strings")));
	start_labels(call, JB_ROOT_COUNT(labels));
	initStringInfo(&list);
	for (int i = 0; i < JB_ROOT_COUNT(labels); i++)
	{
		const JsonbValue *v = getIthJsonbValueFromContainer(&labels->root, i);

		if (v->type == jbvNull)
			null_label();
		if (v->type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("labels must be a JSON array of strings")));
		add_label(call, &list, v->val.string.val, v->val.string.len);
	}
	call->prompt = list.data;
}

text *
CandidateName(const InferCall *call, int candidate)
{
	if (call->task == DSV_TASK_IS)
		return cstring_to_text(candidate == 0 ? "yes" : "no");
	return AnswerText(call->candidates[candidate], strlen(call->candidates[candidate]));
}

/* ---- scores ---- */

/* A label of many tokens must not lose against a short one for its length alone; yes and no are what
 * a model was taught to answer, with whatever it takes to write them. */
static double
weight(const InferCall *call, const dsv_candidate *candidate)
{
	return call->task == DSV_TASK_IS ? candidate->logprob : candidate->logprob / candidate->ntokens;
}

float4 *
CandidateScores(const InferCall *call, const InferResult *result)
{
	float4	   *scores = palloc(call->ncandidates * sizeof(float4));
	double		most = -INFINITY;
	double		sum = 0;

	for (int i = 0; i < call->ncandidates; i++)
		most = fmax(most, weight(call, &result->candidates[i]));
	for (int i = 0; i < call->ncandidates; i++)
		sum += exp(weight(call, &result->candidates[i]) - most);
	for (int i = 0; i < call->ncandidates; i++)
		scores[i] = (float4) (exp(weight(call, &result->candidates[i]) - most) / sum);
	return scores;
}

int
BestCandidate(const InferCall *call, const float4 *scores, bool *abstains)
{
	int			best = 0;
	float4		second = 0;

	for (int i = 1; i < call->ncandidates; i++)
		if (scores[i] > scores[best])
		{
			second = scores[best];
			best = i;
		}
		else if (scores[i] > second)
			second = scores[i];
	*abstains = scores[best] - second < call->options.abstain;
	return best;
}

/* NULL after a row error that on_error forgives */
static float4 *
run_scored(InferCall *call, bytea *image)
{
	InferResult *result;

	SetImage(call, image);
	result = InferOrReport(call);
	return result != NULL ? CandidateScores(call, result) : NULL;
}

/* ---- functions ---- */

/* Scores of yes and no for (image, statement, model, options), or NULL */
static float4 *
score_statement(FunctionCallInfo fcinfo, InferCall *call)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return NULL;
	ReadCall(fcinfo, DSV_TASK_IS, 2, call);
	SetStatement(call, Utf8Argument(fcinfo, 1));
	return run_scored(call, PG_GETARG_BYTEA_PP(0));
}

/* Scores of the labels for (image, labels, model, options), or NULL */
static float4 *
score_labels(FunctionCallInfo fcinfo, InferCall *call)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return NULL;
	ReadCall(fcinfo, DSV_TASK_CLASSIFY, 2, call);
	set_labels(call, PG_GETARG_ARRAYTYPE_P(1));
	return run_scored(call, PG_GETARG_BYTEA_PP(0));
}

Datum
vl_is(PG_FUNCTION_ARGS)
{
	InferCall	call;
	float4	   *scores = score_statement(fcinfo, &call);
	bool		abstains = true;
	int			best = scores != NULL ? BestCandidate(&call, scores, &abstains) : 0;

	if (abstains)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(best == 0);
}

Datum
vl_prob(PG_FUNCTION_ARGS)
{
	InferCall	call;
	float4	   *scores = score_statement(fcinfo, &call);

	if (scores == NULL)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT4(scores[0]);
}

Datum
vl_classify(PG_FUNCTION_ARGS)
{
	InferCall	call;
	float4	   *scores = score_labels(fcinfo, &call);
	bool		abstains = true;
	int			best = scores != NULL ? BestCandidate(&call, scores, &abstains) : 0;

	if (abstains)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(CandidateName(&call, best));
}

typedef struct RankedLabel
{
	float4		score;
	int			at;				/* in the order given */
} RankedLabel;

static int
compare_ranked(const void *a, const void *b)
{
	const RankedLabel *x = a;
	const RankedLabel *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->at - y->at;
}

Datum
vl_classify_scores(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	InferCall	call;
	RankedLabel *ranked;
	float4	   *scores;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	scores = score_labels(fcinfo, &call);
	if (scores == NULL)
		return (Datum) 0;
	ranked = palloc(call.ncandidates * sizeof(*ranked));
	for (int i = 0; i < call.ncandidates; i++)
		ranked[i] = (RankedLabel) {scores[i], i};
	qsort(ranked, call.ncandidates, sizeof(*ranked), compare_ranked);
	for (int i = 0; i < call.ncandidates; i++)
	{
		Datum		values[3] = {PointerGetDatum(CandidateName(&call, ranked[i].at)),
		Float4GetDatum(ranked[i].score), Int32GetDatum(i + 1)};
		bool		nulls[3] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
