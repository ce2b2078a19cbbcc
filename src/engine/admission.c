/*
 * admission.c
 *		dsv_engine_submit: from a request to a sequence that holds all it will ever need.
 *
 *	headers of the images -> grids -> tokens of prompt and candidates -> memory (checked, then taken)
 *	-> pixels -> tiles, equal ones found -> names of the prompt's pages -> cached pages
 */
#include <string.h>

#include "blas.h"
#include "engine.h"
#include "sha256.h"

/* What submit holds until the sequence owns it */
typedef struct admission
{
	dsv_engine *engine;
	const dsv_request *request;
	dsv_image_info *infos;		/* [nimages] */
	dsv_grid   *grids;			/* [nimages] */
	dsv_prompt	prompt;
	dsv_candidate_plan candidates;
	int			views;			/* global and local tiles of all images */
	int			tower_tiles;	/* of which the tower runs at most: the one tile of a 1 x 1 grid is
								 * its global view */
} admission;

/* Every array of a sequence; called to measure and to take. */
void
dsv_sequence_layout(dsv_engine *engine, dsv_sequence *seq, const dsv_request *request, int tower_tiles,
					dsv_arena *arena)
{
	const dsv_config *config = &engine->model->config;
	size_t		tokens = (size_t) config->projector.grid * config->projector.grid;
	size_t		hidden = config->language.hidden;
	size_t		vocab = config->language.vocab;
	size_t		pieces = (size_t) seq->max_tokens + 1;
	char	   *stop_bytes;
	size_t		stop_len = 0;

	seq->prompt = dsv_arena_take(arena, seq->nprompt, sizeof(int32_t));
	seq->images = dsv_arena_take(arena, seq->nimages, sizeof(*seq->images));
	seq->image_infos = dsv_arena_take(arena, seq->nimages, sizeof(dsv_image_info));
	seq->tile_hash = dsv_arena_take(arena, seq->ntiles, sizeof(dsv_kv_name));
	seq->tile_row = dsv_arena_take(arena, seq->ntiles, sizeof(int));
	seq->first_of = dsv_arena_take(arena, tower_tiles, sizeof(int));
	seq->shown = dsv_arena_take(arena, tower_tiles, sizeof(bool));
	seq->needed = dsv_arena_take(arena, tower_tiles, sizeof(bool));
	seq->tile_slot = dsv_arena_take(arena, tower_tiles, sizeof(int));
	seq->tile_rows = dsv_arena_take(arena, tower_tiles * tokens * hidden, sizeof(float));
	seq->pages = dsv_arena_take(arena, seq->npages, sizeof(int));
	seq->names = dsv_arena_take(arena, seq->nprompt / DSV_KV_PAGE, sizeof(dsv_kv_name));
	seq->x = dsv_arena_take(arena, seq->chunk_max * hidden, sizeof(float));
	seq->logits = dsv_arena_take(arena, vocab, sizeof(float));
	seq->prompt_logits = dsv_arena_take(arena, vocab, sizeof(float));
	dsv_sampler_init(&seq->sampler, &request->sampling, (int) vocab, seq->max_tokens, arena);
	seq->answer = dsv_arena_take(arena, seq->max_tokens, sizeof(int32_t));
	seq->logprobs = dsv_arena_take(arena, seq->max_tokens, sizeof(float));
	seq->forced = dsv_arena_take(arena, seq->max_tokens, sizeof(bool));
	seq->ends = dsv_arena_take(arena, seq->max_tokens, sizeof(int32_t));
	seq->text.cap = pieces * dsv_tokenizer_max_piece(engine->model->tokenizer) + 1;
	seq->text.s = dsv_arena_take(arena, seq->text.cap, 1);
	dsv_score_layout(&seq->score, arena);

	if (request->grammar != NULL)
		dsv_constraint_layout(&seq->constraint, arena);
	seq->nstop = request->nstop;
	seq->stop = dsv_arena_take(arena, request->nstop, sizeof(dsv_bytes));
	for (int i = 0; i < request->nstop; i++)
		stop_len += request->stop[i].len;
	stop_bytes = dsv_arena_take(arena, stop_len, 1);
	if (arena->base == NULL)
		return;
	for (int i = 0; i < request->nstop; i++)
	{
		if (request->stop[i].len > 0)
			memcpy(stop_bytes, request->stop[i].data, request->stop[i].len);
		seq->stop[i] = (dsv_bytes) {stop_bytes, request->stop[i].len};
		stop_bytes += request->stop[i].len;
	}
}

/* ---- headers and prompt ---- */

static dsv_code
probe_images(admission *a, dsv_error *err)
{
	const dsv_request *r = a->request;
	const dsv_config *config = &a->engine->model->config;

	for (int i = 0; i < r->nimages; i++)
	{
		dsv_image_info *info = &a->infos[i];
		dsv_code	code = dsv_image_probe(r->images[i].data, r->images[i].len, &r->image,
										   &a->engine->options.poll, info, err);
		bool		turned;

		if (code == DSV_OK)
			code = dsv_image_check_pages(info->pages, r->image.page, err);
		if (code != DSV_OK)
			return code;
		turned = info->orientation >= 5 && !r->image.ignore_exif && !r->image.reference_decode;
		a->grids[i] = dsv_tile_choose(config, turned ? info->height : info->width,
									  turned ? info->width : info->height, r->image.max_tiles,
									  r->nimages <= 2);
		a->views += 1 + a->grids[i].cols * a->grids[i].rows;
		a->tower_tiles += a->grids[i].cols * a->grids[i].rows == 1 ? 1 :
			1 + a->grids[i].cols * a->grids[i].rows;
	}
	return DSV_OK;
}

static dsv_code
fail_context(const admission *a, const char *what, size_t n, const char *unit, dsv_error *err)
{
	dsv_fail(err, DSV_CONTEXT, "%s of %zu %s does not fit into the model's context of %d tokens", what, n, unit,
			 a->engine->model->config.language.context);
	dsv_hint(err, "Use fewer images, fewer tiles (option \"tiles\"), or a shorter prompt.");
	return DSV_CONTEXT;
}

/* A text that cannot fit whatever its tokens are is not worth a second of tokenizing. */
static bool
hopeless(const admission *a, size_t bytes)
{
	const dsv_model *model = a->engine->model;

	return bytes / dsv_tokenizer_max_piece(model->tokenizer) >= (size_t) model->config.language.context;
}

static dsv_code
check_length(const admission *a, dsv_error *err)
{
	size_t		bytes = 0;

	for (int i = 0; i < a->request->nturns; i++)
		for (int k = 0; k < a->request->turns[i].nparts; k++)
			bytes += a->request->turns[i].parts[k].len;
	if (hopeless(a, bytes))
		return fail_context(a, "prompt", bytes, "bytes", err);
	return DSV_OK;
}

static dsv_code
plan_candidates(admission *a, dsv_error *err)
{
	const dsv_request *r = a->request;
	const dsv_engine *engine = a->engine;

	for (int i = 0; i < r->ncandidates; i++)
		if (hopeless(a, r->candidates[i].len))
			return fail_context(a, "candidate", r->candidates[i].len, "bytes", err);
	return dsv_candidate_plan_make(engine->model->tokenizer, r->candidates, r->ncandidates,
								   &engine->options.poll, &engine->mem, &a->candidates, err);
}

/* Number of <image> positions is checked by the prompt; here that the answer fits behind it, or
 * that every candidate does.  *max_tokens: of the answer or the longest candidate. */
static dsv_code
check_context(admission *a, int *max_tokens, dsv_error *err)
{
	int			context = a->engine->model->config.language.context;
	int			n = (int) a->prompt.tokens.n;
	dsv_code	code;

	if (a->prompt.tokens.n >= (size_t) context)
		return fail_context(a, "prompt", a->prompt.tokens.n, "tokens", err);
	*max_tokens = a->request->max_tokens > 0 ? dsv_min(a->request->max_tokens, context - n) : context - n;
	if (a->request->ncandidates == 0)
		return DSV_OK;
	code = plan_candidates(a, err);
	if (code != DSV_OK)
		return code;
	*max_tokens = a->candidates.longest;
	return *max_tokens <= context - n ? DSV_OK :
		fail_context(a, "prompt with its longest candidate", (size_t) n + *max_tokens, "tokens", err);
}

/* ---- memory ---- */

static void
free_sequence(dsv_sequence *seq)
{
	dsv_engine *engine = seq->engine;

	dsv_sequence_drop_tiles(seq);
	/* backwards: the first to be evicted is then the last of the prompt, while a page whose
	 * predecessor is gone could never be found again */
	for (int i = seq->npages - 1; i >= 0; i--)
		if (seq->pages[i] >= 0)
			dsv_kv_release(&engine->kv, seq->pages[i]);
	dsv_automaton_destroy(seq->constraint.automaton);
	dsv_free(&engine->mem, seq->to_free);
	dsv_free(&engine->mem, seq);
}

/* The prefix of the model's answers; what an assistant's turn has begun goes on without it. */
static const char *
answer_prefix(const admission *a)
{
	const dsv_request *r = a->request;
	const dsv_turn *last = r->nturns > 0 ? &r->turns[r->nturns - 1] : NULL;

	for (int i = 0; last != NULL && last->role == DSV_ROLE_ASSISTANT && i < last->nparts; i++)
		if (last->parts[i].len > 0)
			return "";
	return a->engine->model->info.answers.prefix;
}

/* What a sequence with a grammar shares with others, and what it starts from. */
static dsv_code
prepare_constraint(admission *a, dsv_constraint *c, dsv_error *err)
{
	dsv_engine *engine = a->engine;
	const dsv_model *model = engine->model;
	dsv_code	code = DSV_OK;

	if (a->request->grammar == NULL)
		return DSV_OK;
	if (engine->trie.nodes == NULL)
		code = dsv_vocab_trie_init(&engine->trie, model->tokenizer, model->config.language.vocab,
								   model->special.eos, &engine->mem, err);
	c->tok = model->tokenizer;
	c->trie = &engine->trie;
	c->end = model->special.eos;
	c->specials = a->request->keep_special;
	c->prefix = answer_prefix(a);
	c->nprefix = (int) strlen(c->prefix);
	return code;
}

static dsv_code
start_constraint(const admission *a, dsv_sequence *seq, dsv_error *err)
{
	dsv_code	code;

	if (a->request->grammar == NULL)
		return DSV_OK;
	code = dsv_automaton_create(a->request->grammar, DSV_AUTOMATON_MEMORY, &a->engine->mem,
								&seq->constraint.automaton, err);
	if (code == DSV_OK)
		dsv_constraint_reset(&seq->constraint);
	return code;
}

/* Scratch for a pass of that shape and for all that came before. */
static size_t
grown_scratch(const dsv_engine *engine, int rows, int positions)
{
	return dsv_engine_scratch_bytes(engine, dsv_max(rows, engine->scratch_rows),
									dsv_max(positions, engine->scratch_positions),
									engine->options.threads);
}

/* The sequence with its arena, and scratch that is large enough.  Nothing is listed yet. */
static dsv_code
take_memory(admission *a, int max_tokens, dsv_sequence **out, dsv_error *err)
{
	dsv_engine *engine = a->engine;
	dsv_arena	arena = {NULL, 0};
	dsv_sequence *seq;
	dsv_sequence shape = {.engine = engine, .nprompt = (int) a->prompt.tokens.n, .max_tokens = max_tokens,
	.nimages = a->request->nimages, .ntiles = a->views,
	.score = {.nnodes = a->candidates.nnodes, .ncandidates = a->candidates.ncandidates}};
	size_t		need;
	size_t		limit = engine->options.memory_limit;
	size_t		automaton = a->request->grammar != NULL ? DSV_AUTOMATON_MEMORY : 0;
	int			rows;
	int			positions;
	dsv_code	code = prepare_constraint(a, &shape.constraint, err);

	if (code != DSV_OK)
		return code;
	shape.chunk_max = dsv_engine_chunk(engine, shape.nprompt);
	shape.npages = dsv_ceil_div(shape.nprompt + max_tokens, DSV_KV_PAGE);
	dsv_sequence_layout(engine, &shape, a->request, a->tower_tiles, &arena);
	rows = dsv_max(shape.chunk_max, DSV_DECODE_ROWS);
	positions = shape.npages * DSV_KV_PAGE;
	need = arena.used + automaton + engine->trie.bytes + grown_scratch(engine, rows, positions);
	if (limit > 0 && need > limit && engine->sequences == NULL)
	{
		/* what a request of another shape left behind must not keep this one out */
		dsv_engine_drop_scratch(engine);
		need = arena.used + automaton + engine->trie.bytes + grown_scratch(engine, rows, positions);
	}
	if (limit > 0 && need > limit)
	{
		dsv_fail(err, DSV_BUDGET, "request needs more working memory than allowed");
		dsv_detail(err, "It needs %zu kB, the limit is %zu kB.", need / 1024, limit / 1024);
		return DSV_BUDGET;
	}
	code = dsv_engine_reserve(engine, rows, positions, err);
	if (code != DSV_OK)
		return code;
	seq = dsv_alloc_zero(&engine->mem, 1, sizeof(*seq));
	if (seq == NULL)
		return dsv_fail_nomem(err, sizeof(*seq));
	shape.bytes = arena.used + automaton;
	arena.base = dsv_alloc_aligned(&engine->mem, arena.used, &shape.to_free);
	if (arena.base == NULL)
	{
		dsv_free(&engine->mem, seq);
		return dsv_fail_nomem(err, arena.used);
	}
	*seq = shape;
	arena.used = 0;
	dsv_sequence_layout(engine, seq, a->request, a->tower_tiles, &arena);
	memset(seq->images, 0, seq->nimages * sizeof(*seq->images));
	for (int i = 0; i < seq->npages; i++)
		seq->pages[i] = -1;
	*out = seq;
	return DSV_OK;
}

/* ---- pixels ---- */

/* Decodes and tiles the images; equal views get one row block. */
static dsv_code
make_tiles(admission *a, dsv_sequence *seq, dsv_error *err)
{
	dsv_kv_name *hash = seq->tile_hash;
	dsv_engine *engine = a->engine;
	const dsv_config *config = &engine->model->config;
	const dsv_image_options *options = &a->request->image;
	int			tile = 0;

	for (int i = 0; i < seq->nimages; i++)
	{
		dsv_sequence_image *image = &seq->images[i];
		size_t		bytes = 3 * (size_t) config->vision.image_size * config->vision.image_size;
		dsv_pixels	pixels;
		dsv_code	code;

		code = dsv_image_decode(a->request->images[i].data, a->request->images[i].len, options,
								&engine->options.poll, &engine->mem, &pixels, &image->info, err);
		if (code != DSV_OK)
			return code;
		code = dsv_tiles_make(config, &pixels, options->max_tiles, seq->nimages <= 2,
							  options->reference_decode, &engine->options.poll, &engine->mem,
							  &image->tiles, err);
		dsv_pixels_free(&pixels, &engine->mem);
		if (code != DSV_OK)
			return code;
		image->grid = image->tiles.grid;
		if (image->grid.cols != a->grids[i].cols || image->grid.rows != a->grids[i].rows)
			return dsv_fail(err, DSV_INTERNAL, "image %d was tiled otherwise than planned", i + 1);
		image->at = a->prompt.image_at[i];
		image->len = a->prompt.image_len[i];
		image->first_tile = tile;
		seq->image_infos[i] = image->info;
		for (int v = 0; v <= image->grid.cols * image->grid.rows; v++, tile++)
		{
			int			u = 0;

			dsv_sha256_of(image->tiles.rgb + v * bytes, bytes, hash[tile].hash);
			while (u < seq->nunique && memcmp(&hash[seq->first_of[u]], &hash[tile], sizeof(*hash)) != 0)
				u++;
			if (u == seq->nunique)
			{
				seq->tile_slot[u] = -1;
				seq->needed[u] = true;
				seq->first_of[seq->nunique++] = tile;
			}
			seq->tile_row[tile] = u;
		}
	}
	return DSV_OK;
}

/* ---- submit ---- */

static dsv_code
admit(admission *a, dsv_sequence **out, dsv_error *err)
{
	dsv_engine *engine = a->engine;
	const dsv_request *r = a->request;
	dsv_sequence *seq;
	int			max_tokens;
	dsv_code	code;

	code = check_context(a, &max_tokens, err);
	if (code == DSV_OK)
		code = take_memory(a, max_tokens, &seq, err);
	if (code != DSV_OK)
		return code;
	memcpy(seq->prompt, a->prompt.tokens.ids, seq->nprompt * sizeof(int32_t));
	if (seq->score.nnodes > 0)
		dsv_score_fill(&seq->score, &a->candidates);
	seq->keep_special = r->keep_special;
	seq->no_logprobs = r->no_logprobs;
	seq->cacheable = !r->no_prefix_cache;
	seq->kernels = kern;
	seq->blas = engine->compute.blas;
	seq->usage.prompt_tokens = seq->nprompt;
	code = start_constraint(a, seq, err);
	if (code == DSV_OK)
		code = make_tiles(a, seq, err);
	if (code == DSV_OK)
		code = dsv_sequence_take_pages(seq, err);
	if (code != DSV_OK)
	{
		free_sequence(seq);
		return code;
	}
	for (int i = 0; i < seq->nimages; i++)
		seq->usage.image_tokens += seq->images[i].len;
	*out = seq;
	return DSV_OK;
}

static void
list_sequence(dsv_engine *engine, dsv_sequence *seq)
{
	dsv_sequence **at = &engine->sequences;

	while (*at != NULL)
		at = &(*at)->next;
	*at = seq;
	engine->nsequences++;
}

static dsv_code
check_request(const dsv_engine *engine, const dsv_request *r, dsv_error *err)
{
	if (engine->nsequences >= DSV_MAX_SEQUENCES)
		return dsv_fail(err, DSV_LIMIT, "more than %d requests at once", DSV_MAX_SEQUENCES);
	if (r->nimages < 0 || r->nstop < 0 || r->max_tokens < 0 || r->ncandidates < 0)
		return dsv_fail(err, DSV_INPUT, "negative count in a request");
	if (r->grammar != NULL && r->nstop > 0)
		return dsv_fail(err, DSV_INPUT, "stop strings cannot end an answer that obeys a grammar");
	if (r->ncandidates > 0 && (r->grammar != NULL || r->nstop > 0))
		return dsv_fail(err, DSV_INPUT, "candidates are scored as they are, without grammar or stop strings");
	if (r->ncandidates > DSV_SCORE_MAX)
		return dsv_fail(err, DSV_LIMIT, "more than %d candidates", DSV_SCORE_MAX);
	return DSV_OK;
}

dsv_code
dsv_engine_submit(dsv_engine *engine, const dsv_request *request, dsv_sequence **out, dsv_error *err)
{
	admission	a = {.engine = engine, .request = request};
	double		start = dsv_now_ms();
	dsv_code	code = check_request(engine, request, err);

	*out = NULL;
	if (code != DSV_OK)
		return code;
	/* our own AVX-512 body reads bf16 weights as they are and is faster than widening them for BLAS */
	engine->compute.blas = !engine->options.no_blas && !engine->compute.bf16 &&
		dsv_cpu_current() < DSV_CPU_AVX512 && dsv_blas_open();
	a.infos = dsv_alloc_zero(&engine->mem, request->nimages, sizeof(*a.infos));
	a.grids = dsv_alloc_zero(&engine->mem, request->nimages, sizeof(*a.grids));
	code = a.infos != NULL && a.grids != NULL ? DSV_OK : dsv_fail_nomem(err, sizeof(*a.infos));
	if (code == DSV_OK)
		code = check_length(&a, err);
	if (code == DSV_OK)
		code = probe_images(&a, err);
	if (code == DSV_OK)
		code = dsv_prompt_build(engine->model, request->turns, request->nturns, a.grids, request->nimages,
								&engine->mem, &a.prompt, err);
	if (code == DSV_OK)
		code = admit(&a, out, err);
	dsv_prompt_free(&a.prompt, &engine->mem);
	dsv_candidate_plan_free(&a.candidates, &engine->mem);
	dsv_free(&engine->mem, a.infos);
	dsv_free(&engine->mem, a.grids);
	if (code == DSV_OK)
	{
		(*out)->usage.decode_image_ms = dsv_now_ms() - start;
		list_sequence(engine, *out);
	}
	return code;
}

dsv_code
dsv_engine_submit_tokens(dsv_engine *engine, const int32_t *tokens, int ntokens, const dsv_request *request,
						 dsv_sequence **out, dsv_error *err)
{
	admission	a = {.engine = engine, .request = request};
	int			vocab = engine->model->config.language.vocab;
	dsv_code	code = check_request(engine, request, err);

	*out = NULL;
	if (code != DSV_OK)
		return code;
	if (ntokens < 1 || request->nimages != 0)
		return dsv_fail(err, DSV_INPUT, "a prompt of tokens has at least one token and no image");
	for (int i = 0; i < ntokens; i++)
		if (tokens[i] < 0 || tokens[i] >= vocab)
			return dsv_fail(err, DSV_INPUT, "token %d is outside the vocabulary of %d", tokens[i], vocab);
	a.prompt.tokens = (dsv_tokens) {(int32_t *) tokens, ntokens, ntokens};
	code = admit(&a, out, err);
	dsv_candidate_plan_free(&a.candidates, &engine->mem);
	if (code == DSV_OK)
		list_sequence(engine, *out);
	return code;
}

void
dsv_sequence_release(dsv_sequence *seq)
{
	dsv_sequence **at;

	if (seq == NULL)
		return;
	for (at = &seq->engine->sequences; *at != seq; at = &(*at)->next)
		;
	*at = seq->next;
	seq->engine->nsequences--;
	free_sequence(seq);
}
