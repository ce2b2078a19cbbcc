/*
 * plan_calls.c
 *		Walks a plan and counts.
 *
 * How often an expression is evaluated follows from the planner's numbers of rows.  What is
 * counted is less: a call whose arguments come from some tables cannot be computed more often
 * than these have rows, however often a join or a rescan evaluates it, since the memo knows
 * the answers.  To see which tables those are, and that two calls in different nodes are the
 * same, the references of a call to the nodes below it are first turned back into
 * references to tables.
 */
#include "plan_calls.h"

#include "call_shape.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/syscache.h"

/* What the planner takes for the share of rows for which a condition IS NOT UNKNOWN */
#define HOLDS_SELECTIVITY 0.995

/* ---- conditions ---- */

/* EXISTS and IN are left as they are, so that the planner can make joins of them. */
static bool
has_call(Node *node, void *schema)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) && ((SubLink *) node)->subLinkType != EXISTS_SUBLINK &&
		((SubLink *) node)->subLinkType != ANY_SUBLINK &&
		query_tree_walker((Query *) ((SubLink *) node)->subselect, has_call, schema, 0))
		return true;
	/* in a plan, what a subquery was has been looked into before */
	return IsA(node, SubPlan) || IsInferenceCall(node, *(Oid *) schema) ||
		expression_tree_walker(node, has_call, schema);
}

static Node *
let_hold(Node *quals, Oid *schema)
{
	BooleanTest *test;

	if (is_andclause(quals))
	{
		ListCell   *lc;

		foreach(lc, ((BoolExpr *) quals)->args)
			lfirst(lc) = let_hold(lfirst(lc), schema);
		return quals;
	}
	if (!has_call(quals, schema))
		return quals;
	test = makeNode(BooleanTest);
	test->arg = (Expr *) quals;
	test->booltesttype = IS_NOT_UNKNOWN;
	test->location = -1;
	return (Node *) test;
}

static bool
let_hold_walker(Node *node, void *schema)
{
	if (node == NULL)
		return false;
	if (IsA(node, FromExpr))
		((FromExpr *) node)->quals = let_hold(((FromExpr *) node)->quals, schema);
	else if (IsA(node, JoinExpr))
		((JoinExpr *) node)->quals = let_hold(((JoinExpr *) node)->quals, schema);
	else if (IsA(node, Query))
	{
		((Query *) node)->havingQual = let_hold(((Query *) node)->havingQual, schema);
		return query_tree_walker((Query *) node, let_hold_walker, schema, 0);
	}
	return expression_tree_walker(node, let_hold_walker, schema);
}

void
LetConditionsHold(Query *query, Oid schema)
{
	let_hold_walker((Node *) query, &schema);
}

static int
count_held(List *quals, Oid schema)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, quals)
	{
		BooleanTest *test = lfirst(lc);

		n += IsA(test, BooleanTest) && test->booltesttype == IS_NOT_UNKNOWN && has_call(lfirst(lc), &schema);
	}
	return n;
}

/* ---- the walk ---- */

typedef struct Walk
{
	PlannedStmt *stmt;
	Oid			schema;
	List	   *calls;
	Node	  **params;			/* what each PARAM_EXEC stands for, or NULL */
	double	   *scanned;		/* rows that a scan gives of each relation of the range table, 0 = no scan */
	double		evaluations;	/* of the expression that is looked at */
	double		inputs;			/* of the aggregates in it */
} Walk;

/* What a node makes in all its executions */
typedef struct Made
{
	double		rows;
	int			held;			/* conditions below it that were made to hold */
} Made;

static Made walk_plan(Plan *plan, double loops, double fraction, Walk *walk);

static Plan *
subplan_of(SubPlan *sub, Walk *walk)
{
	return list_nth(walk->stmt->subplans, sub->plan_id - 1);
}

/* The one value that a subplan gives; an array is left as what it is made by. */
static Node *
subplan_value(SubPlan *sub, Walk *walk)
{
	Plan	   *plan = subplan_of(sub, walk);

	if (sub->subLinkType == ARRAY_SUBLINK)
		return (Node *) sub;
	if (sub->subLinkType != EXPR_SUBLINK || plan->targetlist == NIL)
		return NULL;
	return (Node *) ((TargetEntry *) linitial(plan->targetlist))->expr;
}

/* Turns references to nodes and parameters back into references to tables, where it can */
static Node *
resolve(Node *node, void *context)
{
	Walk	   *walk = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if (var->varnosyn > 0)
		{
			var->varno = var->varnosyn;
			var->varattno = var->varattnosyn;
		}
		ForgetNullingRels(var);
		return (Node *) var;
	}
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		Node	   *value = walk->params[((Param *) node)->paramid];

		if (value != NULL)
			return resolve(value, walk);
	}
	if (IsA(node, SubPlan))
	{
		Node	   *value = subplan_value((SubPlan *) node, walk);

		if (value != NULL && value != node)
			return resolve(value, walk);
	}
	return expression_tree_mutator(node, resolve, walk);
}

static void
add_call(FuncExpr *call, Walk *walk)
{
	FuncExpr   *resolved = (FuncExpr *) resolve((Node *) call, walk);
	PlannedCall *planned;
	ListCell   *lc;

	foreach(lc, walk->calls)
	{
		planned = lfirst(lc);
		if (equal(planned->call, resolved))
		{
			planned->times = Max(planned->times, walk->evaluations);
			return;
		}
	}
	planned = palloc(sizeof(*planned));
	planned->call = resolved;
	planned->times = walk->evaluations;
	walk->calls = lappend(walk->calls, planned);
}

static void
walk_subplan(SubPlan *sub, double loops, Walk *walk)
{
	double		evaluations = walk->evaluations;
	double		inputs = walk->inputs;
	ListCell   *param;
	ListCell   *arg;

	forboth(param, sub->parParam, arg, sub->args)
		walk->params[lfirst_int(param)] = lfirst(arg);
	walk_plan(subplan_of(sub, walk), sub->useHashTable || sub->parParam == NIL ? 1 : loops, 1, walk);
	walk->evaluations = evaluations;
	walk->inputs = inputs;
}

static bool
look(Node *node, void *context)
{
	Walk	   *walk = context;
	double		evaluations = walk->evaluations;
	bool		aggregates;

	if (node == NULL)
		return false;
	aggregates = IsA(node, Aggref) || IsA(node, WindowFunc);
	if (IsA(node, SubPlan))
		walk_subplan((SubPlan *) node, evaluations, walk);
	if (aggregates)
		walk->evaluations = walk->inputs;
	if (IsInferenceCall(node, walk->schema))
		add_call((FuncExpr *) node, walk);
	expression_tree_walker(node, look, context);
	walk->evaluations = evaluations;
	return false;
}

static void
look_at(void *expression, double evaluations, Walk *walk)
{
	walk->evaluations = evaluations;
	look(expression, walk);
}

/* Initplans run once, and what they give is known to the whole plan below. */
static void
walk_initplans(Plan *plan, Walk *walk)
{
	ListCell   *lc;

	foreach(lc, plan->initPlan)
	{
		SubPlan    *sub = lfirst(lc);

		walk_subplan(sub, 1, walk);
		if (list_length(sub->setParam) == 1)
			walk->params[linitial_int(sub->setParam)] = subplan_value(sub, walk);
	}
}

/* The children that are no left or right one */
static List *
other_children(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
			return ((Append *) plan)->appendplans;
		case T_MergeAppend:
			return ((MergeAppend *) plan)->mergeplans;
		case T_SubqueryScan:
			return list_make1(((SubqueryScan *) plan)->subplan);
		case T_CustomScan:
			return ((CustomScan *) plan)->custom_plans;
		default:
			return NIL;
	}
}

/* Whether it takes no more rows from its child than it is asked for */
static bool
is_lazy(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Result:
		case T_ProjectSet:
		case T_Append:
		case T_MergeAppend:
		case T_SubqueryScan:
		case T_LockRows:
		case T_NestLoop:
		case T_HashJoin:
		case T_MergeJoin:
		case T_Unique:
		case T_Limit:
			return true;
		default:
			return false;
	}
}

/* Whether a rescan gives again what it has kept */
static bool
keeps_rows(const Plan *plan)
{
	return (IsA(plan, Material) || IsA(plan, Sort) || IsA(plan, Hash)) && bms_is_empty(plan->extParam);
}

/* What a Limit lets through of its child's rows */
static double
limited(const Limit *limit)
{
	Plan	   *child = outerPlan(limit);
	Const	   *offset = (Const *) limit->limitOffset;
	double		wanted = limit->plan.plan_rows;

	if (offset != NULL && IsA(offset, Const) && !offset->constisnull)
		wanted += DatumGetInt64(offset->constvalue);
	return Min(1, wanted / Max(child->plan_rows, 1));
}

/* 0 for what scans no relation of the range table */
static Index
scanned_relation(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_ValuesScan:
		case T_TableFuncScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
		case T_ForeignScan:
		case T_CustomScan:
			return ((const Scan *) plan)->scanrelid;
		default:
			return 0;
	}
}

/* What a scan gives that runs once or each time the same, or what all its different runs do: no more
 * than the relation has */
static double
rows_of_scan(const Plan *plan, double rows, double loops, const Walk *walk)
{
	RangeTblEntry *rte = rt_fetch(scanned_relation(plan), walk->stmt->rtable);
	double		all = -1;
	HeapTuple	tuple;

	if (bms_is_empty(plan->extParam))
		return rows;
	if (rte->rtekind == RTE_RELATION)
	{
		tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(rte->relid));
		if (HeapTupleIsValid(tuple))
		{
			all = ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
			ReleaseSysCache(tuple);
		}
	}
	return all > 0 ? Min(rows * loops, Max(rows, all)) : rows * loops;
}

/* Expressions that only this kind of node has; left and right are the rows of the children. */
static void
look_at_own_expressions(Plan *plan, double loops, Made left, Made right, Walk *walk)
{
	switch (nodeTag(plan))
	{
		case T_MergeJoin:
			look_at(((MergeJoin *) plan)->mergeclauses, Max(left.rows, right.rows), walk);
			break;
		case T_HashJoin:
			look_at(((HashJoin *) plan)->hashclauses, Max(left.rows, right.rows), walk);
			break;
		case T_Memoize:
			look_at(((Memoize *) plan)->param_exprs, loops, walk);
			break;
		case T_Result:
			look_at(((Result *) plan)->resconstantqual, loops, walk);
			break;
		case T_Limit:
			look_at(((Limit *) plan)->limitOffset, loops, walk);
			look_at(((Limit *) plan)->limitCount, loops, walk);
			break;
		case T_IndexScan:
			look_at(((IndexScan *) plan)->indexqualorig, loops, walk);
			look_at(((IndexScan *) plan)->indexorderbyorig, loops, walk);
			break;
		case T_IndexOnlyScan:
			look_at(((IndexOnlyScan *) plan)->indexqual, loops, walk);
			break;
		case T_BitmapIndexScan:
			look_at(((BitmapIndexScan *) plan)->indexqualorig, loops, walk);
			break;
		case T_TidScan:
			look_at(((TidScan *) plan)->tidquals, loops, walk);
			break;
		case T_TidRangeScan:
			look_at(((TidRangeScan *) plan)->tidrangequals, loops, walk);
			break;
		case T_FunctionScan:
			look_at(((FunctionScan *) plan)->functions, loops, walk);
			break;
		case T_TableFuncScan:
			look_at(((TableFuncScan *) plan)->tablefunc, loops, walk);
			break;
		case T_ValuesScan:
			look_at(((ValuesScan *) plan)->values_lists, loops, walk);
			break;
		case T_ModifyTable:
			look_at(((ModifyTable *) plan)->returningLists, left.rows, walk);
			look_at(((ModifyTable *) plan)->onConflictSet, left.rows, walk);
			look_at(((ModifyTable *) plan)->onConflictWhere, left.rows, walk);
			look_at(((ModifyTable *) plan)->mergeActionLists, left.rows, walk);
			break;
		default:
			break;
	}
}

static List *
join_quals(Plan *plan)
{
	if (IsA(plan, NestLoop) || IsA(plan, HashJoin) || IsA(plan, MergeJoin))
		return ((Join *) plan)->joinqual;
	return NIL;
}

/*
 * loops: how often the node is executed; fraction: how much of its rows is asked for.  Whoever asks
 * for ten pictures that answer well may have to look at all of them, so that conditions count
 * as if all rows were asked for.
 */
static Made
walk_plan(Plan *plan, double loops, double fraction, Walk *walk)
{
	int			held = count_held(plan->qual, walk->schema) + count_held(join_quals(plan), walk->schema);
	double		below = is_lazy(plan) && held == 0 ? fraction : 1;
	Made		left = {0};
	Made		right = {0};
	Made		made = {.held = held};
	Index		scanned = scanned_relation(plan);
	double		runs = keeps_rows(plan) ? 1 : loops;	/* of the children */
	double		all;
	ListCell   *lc;

	check_stack_depth();
	walk_initplans(plan, walk);
	if (IsA(plan, Limit))
		below *= limited((Limit *) plan);
	if (IsA(plan, NestLoop))
		foreach(lc, ((NestLoop *) plan)->nestParams)
		{
			NestLoopParam *param = lfirst(lc);

			walk->params[param->paramno] = (Node *) param->paramval;
		}
	if (outerPlan(plan) != NULL)
		left = walk_plan(outerPlan(plan), runs, below, walk);
	if (innerPlan(plan) != NULL)
		right = walk_plan(innerPlan(plan), IsA(plan, NestLoop) ? left.rows : runs, 1, walk);
	made.held += left.held + right.held;
	foreach(lc, other_children(plan))
		made.held += walk_plan(lfirst(lc), runs, below, walk).held;
	/* their numbers of rows are not those of the conditions below */
	if (IsA(plan, Limit) || IsA(plan, Agg))
		made.held = held;
	/* the planner has rounded, too: what is just above a half was a whole number */
	all = floor(plan->plan_rows / pow(HOLDS_SELECTIVITY, made.held) + 0.49);
	if (scanned > 0)
		walk->scanned[scanned] = Max(walk->scanned[scanned], rows_of_scan(plan, all, loops, walk));
	made.rows = ceil(all * loops * fraction);
	walk->inputs = left.rows;
	look_at(plan->targetlist, IsA(plan, ProjectSet) ? left.rows : made.rows, walk);
	/* conditions without pictures come first, and those with some let all rows pass */
	look_at(plan->qual, all * loops, walk);
	look_at(join_quals(plan), all * loops, walk);
	look_at_own_expressions(plan, loops, left, right, walk);
	return made;
}

/* ---- what the memo leaves ---- */

typedef struct Limits
{
	const Walk *walk;
	Bitmapset  *relations;
	bool		known;
} Limits;

static bool
find_limits(Node *node, void *context)
{
	Limits	   *limits = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		int			varno = ((Var *) node)->varno;

		if (((Var *) node)->varlevelsup > 0 || varno < 1 ||
			varno > list_length(limits->walk->stmt->rtable) || limits->walk->scanned[varno] == 0)
			limits->known = false;
		else
			limits->relations = bms_add_member(limits->relations, varno);
	}
	else if (IsA(node, Param) || IsA(node, SubPlan) || IsA(node, Aggref) || IsA(node, WindowFunc))
		limits->known = false;
	return expression_tree_walker(node, find_limits, context);
}

static void
limit_call(PlannedCall *planned, const Walk *walk)
{
	Limits		limits = {walk, NULL, true};
	double		most = 1;
	int			varno = -1;

	find_limits((Node *) planned->call, &limits);
	if (!limits.known || contain_volatile_functions((Node *) planned->call))
		return;
	while ((varno = bms_next_member(limits.relations, varno)) >= 0)
		most *= walk->scanned[varno];
	planned->times = Min(planned->times, most);
}

List *
FindPlannedCalls(PlannedStmt *stmt, Oid schema)
{
	Walk		walk = {
		.stmt = stmt,
		.schema = schema,
		.params = palloc0((list_length(stmt->paramExecTypes) + 1) * sizeof(Node *)),
		.scanned = palloc0((list_length(stmt->rtable) + 1) * sizeof(double)),
	};
	ListCell   *lc;

	walk_plan(stmt->planTree, 1, 1, &walk);
	foreach(lc, walk.calls)
		limit_call(lfirst(lc), &walk);
	return walk.calls;
}
