/*
 * fn_estimate.c
 *		vl_estimate: what a query would have computed, without computing it.
 *
 * The query is planned twice: as it is, for its rows, and with every condition on a picture
 * taken as one that holds, for its calls.  Sizes of pictures come from the headers of some of
 * them, times from what calls took lately.
 */
#include "compat.h"

#include <math.h>

#include "access/htup_details.h"
#include "backend_engine.h"
#include "call_shape.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "error_report.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "guc.h"
#include "infer.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "plan_calls.h"
#include "rates.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(vl_estimate);

/* Pictures of a column whose headers are read */
#define SAMPLE 100

/* Of a picture; its header is mostly in it */
#define HEADER_BYTES 65536

typedef struct Totals
{
	double		calls;
	double		image_tokens;
	double		output_tokens;
	double		ms;
	bool		unknown_calls;
	bool		unknown_images;
	bool		unknown_answers;	/* and times */
	List	   *seen;			/* of SeenImage */
} Totals;

/* Mean size of what an expression gives */
typedef struct ImageSize
{
	double		tokens;
	double		tiles;
} ImageSize;

/* Tiles of a picture are computed once, whatever it is asked. */
typedef struct SeenImage
{
	Node	   *image;
	const char *digest;			/* of the model */
} SeenImage;

/* What there is to know of a call before it runs */
typedef struct KnownCall
{
	dsv_task	task;
	ModelEntry *entry;
	CallOptions options;
	double		inferences;		/* of each call */
	List	   *images;			/* expressions */
	List	   *rtable;			/* that their Vars are of */
	int			together;		/* pictures in a prompt */
	bool		measured;
	Rates		rates;
} KnownCall;

static PlannedStmt *estimate_query(const char *sql, Oid schema, double *rows, Totals *totals);

/* ---- planning ---- */

/* Errors point into the query that is estimated, not into the one that runs. */
static void
query_error(void *query)
{
	if (!PointIntoQuery(query))
		errcontext("query \"%s\"", (char *) query);
}

static Query *
analyze(const char *sql)
{
	List	   *raw = pg_parse_query(sql);
	List	   *queries;
	Query	   *query;

	if (list_length(raw) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("vl_estimate takes one statement")));
	queries = pg_analyze_and_rewrite_fixedparams(linitial(raw), sql, NULL, 0, NULL);
	if (list_length(queries) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot estimate a statement that rules have made several")));
	query = linitial(queries);
	if (query->commandType == CMD_UTILITY)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot estimate a utility statement"),
				 errhint("SELECT, INSERT, UPDATE, DELETE, MERGE and VALUES can be estimated.")));
	return query;
}

static double
rows_of(const PlannedStmt *stmt)
{
	const Plan *plan = stmt->planTree;

	return IsA(plan, ModifyTable) && plan->plan_rows == 0 ? outerPlan(plan)->plan_rows : plan->plan_rows;
}

/* The plan with all its calls; rows is what EXPLAIN shows.  The query is not run. */
static PlannedStmt *
plan_query(const char *sql, Oid schema, double *rows)
{
	ErrorContextCallback context = {error_context_stack, query_error, (void *) sql};
	Query	   *query;
	Query	   *most;
	PlannedStmt *stmt;

	error_context_stack = &context;
	query = analyze(sql);
	most = copyObject(query);
	stmt = pg_plan_query(query, sql, 0, NULL);
	CheckPlanPermissions(stmt);
	*rows = rows_of(stmt);
	LetConditionsHold(most, schema);
	stmt = pg_plan_query(most, sql, 0, NULL);
	error_context_stack = context.previous;
	return stmt;
}

/* ---- pictures ---- */

/* Not to be kept: policies of a table whose pictures are read may close models. */
static const dsv_model *
model_of(const KnownCall *known)
{
	return GetBackendModel(OpenBackendModel(known->entry));
}

static bool
probe(const bytea *bytes, dsv_image_info *info)
{
	return dsv_image_probe(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), NULL, &InterruptPoll, info, NULL) == DSV_OK;
}

/* False for what is no picture */
static bool
size_of_image(Datum image, const KnownCall *known, ImageSize *size)
{
	const dsv_image_options *options = &known->options.image;
	bytea	   *header = (bytea *) PG_DETOAST_DATUM_SLICE(image, 0, HEADER_BYTES);
	dsv_image_info info;
	bool		turned;
	int			cols;
	int			rows;
	int			tokens;

	if (!probe(header, &info) &&
		(VARSIZE_ANY_EXHDR(header) < HEADER_BYTES || !probe(DatumGetByteaPP(image), &info)))
		return false;
	turned = !options->ignore_exif && !options->reference_decode && info.orientation >= 5;
	/* three pictures and more are not cut into tiles */
	dsv_image_layout(model_of(known), turned ? info.height : info.width, turned ? info.width : info.height,
					 options->max_tiles, known->together < 3, &cols, &rows, &tokens);
	size->tokens = tokens;
	/* the view of the whole is a lone tile's twin */
	size->tiles = cols * rows > 1 ? cols * rows + 1 : 1;
	return true;
}

/* Whether the caller may read a column of a table, and there is no one else's code in the way */
static bool
may_sample(Oid relation, AttrNumber column)
{
	char		kind = get_rel_relkind(relation);

	if (kind != RELKIND_RELATION && kind != RELKIND_MATVIEW && kind != RELKIND_PARTITIONED_TABLE)
		return false;
	return column > 0 &&
		(pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		 pg_attribute_aclcheck(relation, column, GetUserId(), ACL_SELECT) == ACLCHECK_OK);
}

/* Mean over the first pictures of a column; false when there is none */
static bool
sample_column(Oid relation, AttrNumber column, const KnownCall *known, ImageSize *mean)
{
	const char *name = quote_identifier(get_attname(relation, column, false));
	char	   *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
												   get_rel_name(relation));
	ImageSize	sum = {0};
	int			n = 0;

	SPI_connect();
	if (SPI_execute(psprintf("SELECT %s FROM %s WHERE %s IS NOT NULL", name, table, name), true,
					SAMPLE) != SPI_OK_SELECT)
		elog(ERROR, "could not read pictures");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		image = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		ImageSize	size;

		CHECK_FOR_INTERRUPTS();
		if (!size_of_image(image, known, &size))
			continue;
		sum.tokens += size.tokens;
		sum.tiles += size.tiles;
		n++;
	}
	SPI_finish();
	if (n > 0)
		*mean = (ImageSize) {sum.tokens / n, sum.tiles / n};
	return n > 0;
}

/* What is known of an expression's pictures: they themselves, else those asked about lately, else
 * that they have one tile */
static ImageSize
size_of_expression(const Node *image, const KnownCall *known)
{
	const Const *constant = (const Const *) image;
	const Var  *var = (const Var *) image;
	ImageSize	size = {.tiles = 1};
	bool		is_picture = image != NULL && exprType(image) == BYTEAOID;
	const dsv_model *model;
	int			side;
	int			cols;
	int			rows;
	int			tokens;

	if (is_picture && IsA(image, Const) && !constant->constisnull &&
		size_of_image(constant->constvalue, known, &size))
		return size;
	if (is_picture && IsA(image, Var) && var->varno >= 1 && var->varno <= list_length(known->rtable))
	{
		RangeTblEntry *rte = rt_fetch(var->varno, known->rtable);

		if (rte->rtekind == RTE_RELATION && may_sample(rte->relid, var->varattno) &&
			sample_column(rte->relid, var->varattno, known, &size))
			return size;
	}
	if (known->measured && known->rates.image_tokens.weight > 0)
		return (ImageSize) {RateOf(known->rates.image_tokens), RateOf(known->rates.image_tiles)};
	model = model_of(known);
	side = dsv_model_get_info(model)->image_size;
	dsv_image_layout(model, side, side, 0, false, &cols, &rows, &tokens);
	size.tokens = tokens;
	return size;
}

/* ---- calls ---- */

/* The first argument with pictures, or NULL */
static Node *
image_argument(const FuncExpr *call)
{
	ListCell   *lc;

	foreach(lc, call->args)
		if (exprType(lfirst(lc)) == BYTEAOID || exprType(lfirst(lc)) == BYTEAARRAYOID)
			return lfirst(lc);
	return NULL;
}

/* The expressions that give the pictures */
static List *
image_expressions(Node *argument)
{
	if (argument == NULL)
		return NIL;
	if (IsA(argument, ArrayExpr) && !((ArrayExpr *) argument)->multidims)
		return ((ArrayExpr *) argument)->elements;
	return list_make1(argument);
}

/* Elements of an array, or -1 */
static double
length_of_array(const Node *array, const PlannedStmt *stmt)
{
	if (IsA(array, ArrayExpr) && !((const ArrayExpr *) array)->multidims)
		return list_length(((const ArrayExpr *) array)->elements);
	if (IsA(array, SubPlan))
		return ((Plan *) list_nth(stmt->subplans, ((const SubPlan *) array)->plan_id - 1))->plan_rows;
	if (IsA(array, Const) && !((const Const *) array)->constisnull)
	{
		ArrayType  *value = DatumGetArrayTypeP(((const Const *) array)->constvalue);

		return ArrayGetNItems(ARR_NDIM(value), ARR_DIMS(value));
	}
	return -1;
}

/* Where the second column of a query comes from */
static Node *
picture_column(const PlannedStmt *stmt)
{
	TargetEntry *column;
	Var		   *var;

	if (list_length(stmt->planTree->targetlist) < 2)
		return NULL;
	column = lsecond(stmt->planTree->targetlist);
	if (!IsA(column->expr, Var) || ((Var *) column->expr)->varnosyn == 0)
		return (Node *) column->expr;
	var = copyObject((Var *) column->expr);
	var->varno = var->varnosyn;
	var->varattno = var->varattnosyn;
	return (Node *) var;
}

/* What a call has to do: one inference, of a batch one for each picture, of a map one for each row of
 * its query.  False when that is not known before it is called. */
static bool
find_work(const FuncExpr *call, PlannedStmt *stmt, Oid schema, KnownCall *known, Totals *totals)
{
	const char *name = get_func_name(call->funcid);
	Node	   *argument = image_argument(call);
	Const	   *query;

	known->rtable = stmt->rtable;
	known->images = image_expressions(argument);
	known->together = list_length(known->images);
	known->inferences = 1;
	if (strcmp(name, "vl_ask_batch") == 0)
	{
		known->together = 1;
		known->inferences = length_of_array(argument, stmt);
		return known->inferences >= 0;
	}
	if (strcmp(name, "vl_map") != 0)
		return true;
	query = list_nth(call->args, FindArgument(call, "query"));
	if (!IsA(query, Const) || query->constisnull)
		return false;
	stmt = estimate_query(TextDatumGetCString(query->constvalue), schema, &known->inferences, totals);
	known->rtable = stmt->rtable;
	known->images = list_make1(picture_column(stmt));
	known->together = 1;
	return true;
}

static bool
know_call(const FuncExpr *call, Oid schema, KnownCall *known)
{
	int			options = FindArgument(call, "options");
	Const	   *given = options >= 0 ? list_nth(call->args, options) : NULL;
	char	   *name;

	if (!FindTask(call, &known->task) || !FindModelName(call, &name))
		return false;
	known->entry = ResolveModel(schema, name);
	ReadOptions(given != NULL && IsA(given, Const) && !given->constisnull ?
				DatumGetJsonbP(given->constvalue) : NULL, known->task, &known->options);
	known->measured = RatesFind(known->entry->digest, known->task, &known->rates);
	return true;
}

/* Whether another call looks at the picture, too; then its tiles are there already. */
static bool
is_seen(Node *image, const KnownCall *known, Totals *totals)
{
	SeenImage  *seen;
	ListCell   *lc;

	foreach(lc, totals->seen)
	{
		seen = lfirst(lc);
		if (strcmp(seen->digest, known->entry->digest) == 0 && equal(seen->image, image))
			return true;
	}
	seen = palloc(sizeof(*seen));
	*seen = (SeenImage) {image, known->entry->digest};
	totals->seen = lappend(totals->seen, seen);
	return false;
}

/* times: inferences */
static void
add_inferences(const KnownCall *known, double times, Totals *totals)
{
	const Rates *rates = &known->rates;
	double		answer_tokens = RateOf(rates->answer_tokens);
	double		each = (double) known->together / Max(list_length(known->images), 1);
	double		image_tokens = 0;
	double		ms = 0;
	ListCell   *lc;

	foreach(lc, known->images)
	{
		ImageSize	size = size_of_expression(lfirst(lc), known);

		image_tokens += each * size.tokens;
		ms += each * RateOf(rates->image_ms);
		if (!is_seen(lfirst(lc), known, totals))
			ms += each * size.tiles * RateOf(rates->tile_ms);
	}
	if (known->options.max_tokens > 0)
		answer_tokens = Min(answer_tokens, known->options.max_tokens);
	ms += (image_tokens + RateOf(rates->text_tokens)) * RateOf(rates->prompt_ms);
	ms += answer_tokens * RateOf(rates->answer_ms);
	totals->image_tokens += times * image_tokens;
	totals->output_tokens += times * answer_tokens;
	totals->ms += times * ms;
}

static void
estimate_call(const PlannedCall *planned, PlannedStmt *stmt, Oid schema, Totals *totals)
{
	KnownCall	known = {0};
	bool		is_counted = find_work(planned->call, stmt, schema, &known, totals);
	bool		is_known = is_counted && know_call(planned->call, schema, &known);

	totals->unknown_calls |= !is_counted;
	totals->unknown_images |= !is_known;
	totals->unknown_answers |= !known.measured;
	if (is_counted)
		totals->calls += planned->times * known.inferences;
	if (is_known)
		add_inferences(&known, planned->times * known.inferences, totals);
	else
		ereport(NOTICE,
				(errmsg("what %s() will compute is unknown until it is called",
						get_func_name(planned->call->funcid))));
	if (is_known && !known.measured)
		ereport(NOTICE,
				(errmsg("the task \"%s\" of model \"%s\" has not been measured yet, "
						"so that its answers and times are unknown",
						dsv_task_name(known.task), known.entry->name),
				 errhint("Run the query on a few rows first.")));
}

static PlannedStmt *
estimate_query(const char *sql, Oid schema, double *rows, Totals *totals)
{
	PlannedStmt *stmt;
	ListCell   *lc;

	check_stack_depth();
	stmt = plan_query(sql, schema, rows);
	foreach(lc, FindPlannedCalls(stmt, schema))
		estimate_call(lfirst(lc), stmt, schema, totals);
	return stmt;
}

static Datum
bigint_datum(double x)
{
	return Int64GetDatum((int64) rint(Min(x, 9e18)));
}

/* vl_estimate(query): rows, calls, image_tokens, output_tokens, seconds; NULL is what cannot be known,
 * the last two as long as nothing was measured */
Datum
vl_estimate(PG_FUNCTION_ARGS)
{
	bool		suppressed = InferSuppressed;
	Totals		totals = {0};
	double		rows;
	Datum		values[5];
	bool		nulls[5] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "vl_estimate must return a row");
	/* neither for what the planner wants to know nor for the policies of a table that is looked into */
	InferSuppressed = true;
	PG_TRY();
	{
		estimate_query(text_to_cstring(PG_GETARG_TEXT_PP(0)), ExtensionSchema(fcinfo), &rows, &totals);
	}
	PG_FINALLY();
	{
		InferSuppressed = suppressed;
		/* functions that the planner evaluated may have kept plans with the answers that were none */
		ResetPlanCache();
	}
	PG_END_TRY();
	values[0] = bigint_datum(rows);
	values[1] = bigint_datum(totals.calls);
	values[2] = bigint_datum(totals.image_tokens);
	values[3] = bigint_datum(totals.output_tokens);
	values[4] = Float8GetDatum(totals.ms / 1000);
	nulls[1] = totals.unknown_calls;
	nulls[2] = totals.unknown_images;
	nulls[3] = nulls[4] = totals.unknown_answers;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
