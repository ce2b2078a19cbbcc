/*
 * engine.c
 *		Engines: creation, memory, destruction.
 */
#include "engine.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_KV_MEMORY ((size_t) 512 << 20)

/* Of the memory for keys and values, the part for rows of tiles */
#define TILE_SHARE 8
#define DEFAULT_THREADS 16

double
dsv_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

void
dsv_engine_set_threads(dsv_engine *engine, int threads)
{
	if (threads <= 0)
		threads = dsv_min(dsv_pool_processors(), DEFAULT_THREADS);
	engine->options.threads = dsv_min(threads, DSV_POOL_MAX);
}

static dsv_code
create_tables(dsv_engine *engine, dsv_error *err)
{
	const dsv_language_config *c = &engine->model->config.language;
	size_t		n = (size_t) c->context * (c->rope / 2);

	engine->cosine = dsv_alloc_aligned(&engine->mem, 2 * n * sizeof(float), &engine->tables_to_free);
	if (engine->cosine == NULL)
		return dsv_fail_nomem(err, 2 * n * sizeof(float));
	engine->sine = engine->cosine + n;
	dsv_rope_table(c, c->context, engine->cosine, engine->sine);
	return DSV_OK;
}

static dsv_code
create_caches(dsv_engine *engine, dsv_error *err)
{
	const dsv_config *config = &engine->model->config;
	size_t		budget = engine->options.kv_memory > 0 ? engine->options.kv_memory : DEFAULT_KV_MEMORY;
	size_t		tile = (size_t) config->projector.grid * config->projector.grid * config->language.hidden;
	dsv_code	code = dsv_kv_init(&engine->kv, &config->language,
								   engine->compute.bf16 ? KERN_BF16 : KERN_F32,
								   budget - budget / TILE_SHARE, &engine->mem, err);

	if (code != DSV_OK)
		return code;
	return dsv_tile_cache_init(&engine->tiles, tile, budget / TILE_SHARE, &engine->mem, err);
}

static void
choose_activations(dsv_compute *compute, dsv_activations activations)
{
	bool		automatic = activations == DSV_ACTIVATIONS_AUTO;

	compute->act_q8 = activations == DSV_ACTIVATIONS_INT8 || (automatic && kern->int8_dot) ?
		KERN_ACT_I8 : KERN_ACT_I16;
	compute->act_q4 = activations == DSV_ACTIVATIONS_INT8 || automatic ? KERN_ACT_I8 : KERN_ACT_I16;
}

dsv_code
dsv_engine_create(dsv_model *model, const dsv_engine_options *options, dsv_engine **out, dsv_error *err)
{
	static const dsv_engine_options defaults;
	dsv_engine *engine;
	dsv_code	code;

	if (options == NULL)
		options = &defaults;
	*out = NULL;
	engine = dsv_alloc_zero(options->mem, 1, sizeof(*engine));
	if (engine == NULL)
		return dsv_fail_nomem(err, sizeof(*engine));
	engine->model = model;
	engine->options = *options;
	engine->mem = options->mem != NULL ? *options->mem : dsv_mem_libc;
	engine->options.mem = &engine->mem;
	dsv_engine_set_threads(engine, options->threads);
	engine->compute.bf16 = options->precision == DSV_PRECISION_BF16 ||
		(options->precision == DSV_PRECISION_AUTO && kern->gemm_bf16 != NULL);
	engine->compute.mla = options->mla;
	choose_activations(&engine->compute, options->activations);
	engine->compute.poll = &engine->options.poll;
	engine->compute.trace = options->trace;
	engine->compute.trace_ud = options->trace_ud;
	code = create_tables(engine, err);
	if (code == DSV_OK)
		code = create_caches(engine, err);
	if (code != DSV_OK)
	{
		dsv_engine_destroy(engine);
		return code;
	}
	*out = engine;
	return DSV_OK;
}

void
dsv_engine_destroy(dsv_engine *engine)
{
	dsv_mem		mem;

	if (engine == NULL)
		return;
	while (engine->sequences != NULL)
		dsv_sequence_release(engine->sequences);
	mem = engine->mem;
	dsv_kv_free(&engine->kv);
	dsv_tile_cache_free(&engine->tiles);
	dsv_vocab_trie_free(&engine->trie, &mem);
	dsv_free(&mem, engine->scratch_to_free);
	dsv_free(&mem, engine->tables_to_free);
	dsv_free(&mem, engine);
}

/* ---- scratch ---- */

typedef struct scratch_layout
{
	dsv_vision_scratch vision;
	dsv_language_scratch language;
	float	   *decode_x;
	float	   *decode_logits;
	float	   *worker;
	size_t		worker_floats;
	char	   *packed[2];
} scratch_layout;

/* Bytes of the largest x[m, in] that a linear layer packs */
static size_t
packed_bytes(const dsv_config *config, int rows)
{
	const dsv_language_config *c = &config->language;
	size_t		vision = dsv_vision_packed_bytes(config);
	int			k = dsv_max(dsv_max(c->hidden, c->heads * c->v_dim), c->q_rank);
	size_t		language = dsv_max(rows, DSV_LOGIT_ROWS) * kern_act_bytes(KERN_ACT_I16, (size_t) k);

	return vision > language ? vision : language;
}

static void
lay_out_scratch(const dsv_engine *engine, int rows, int positions, int threads, dsv_arena *arena,
				scratch_layout *out)
{
	const dsv_config *config = &engine->model->config;
	size_t		vision = dsv_vision_worker_floats(config);
	size_t		language = dsv_language_worker_floats(config, positions);
	size_t		vision_end;

	/* no step runs both the tower and the language model */
	dsv_vision_layout(config, arena, &out->vision);
	vision_end = arena->used;
	arena->used = 0;
	dsv_language_layout(config, rows, arena, &out->language);
	out->decode_x = dsv_arena_take(arena, (size_t) DSV_DECODE_ROWS * config->language.hidden, sizeof(float));
	out->decode_logits = dsv_arena_take(arena, (size_t) DSV_LOGIT_ROWS * config->language.vocab, sizeof(float));
	if (arena->used < vision_end)
		arena->used = vision_end;
	out->worker_floats = (vision > language ? vision : language) + 63;
	out->worker_floats -= out->worker_floats % 64;
	out->worker = dsv_arena_take(arena, out->worker_floats * threads, sizeof(float));
	for (int i = 0; i < 2; i++)
		out->packed[i] = dsv_arena_take(arena, packed_bytes(config, rows), 1);
}

size_t
dsv_engine_scratch_bytes(const dsv_engine *engine, int rows, int positions, int threads)
{
	dsv_arena	arena = {NULL, 0};
	scratch_layout layout;

	lay_out_scratch(engine, rows, positions, threads, &arena, &layout);
	return arena.used;
}

dsv_code
dsv_engine_reserve(dsv_engine *engine, int rows, int positions, dsv_error *err)
{
	int			threads = engine->options.threads;
	dsv_arena	arena = {NULL, 0};
	scratch_layout layout;
	void	   *to_free;
	size_t		bytes;

	rows = dsv_max(rows, engine->scratch_rows);
	positions = dsv_max(positions, engine->scratch_positions);
	if (rows == engine->scratch_rows && positions == engine->scratch_positions &&
		threads == engine->scratch_threads)
		return DSV_OK;
	bytes = dsv_engine_scratch_bytes(engine, rows, positions, threads);
	arena.base = dsv_alloc_aligned(&engine->mem, bytes, &to_free);
	if (arena.base == NULL)
		return dsv_fail_nomem(err, bytes);
	lay_out_scratch(engine, rows, positions, threads, &arena, &layout);
	dsv_free(&engine->mem, engine->scratch_to_free);
	engine->scratch_to_free = to_free;
	engine->scratch_bytes = bytes;
	engine->scratch_rows = rows;
	engine->scratch_positions = positions;
	engine->scratch_threads = threads;
	engine->vision = layout.vision;
	engine->language = layout.language;
	engine->decode_x = layout.decode_x;
	engine->decode_logits = layout.decode_logits;
	engine->compute.worker = layout.worker;
	engine->compute.worker_floats = layout.worker_floats;
	for (int i = 0; i < 2; i++)
		engine->compute.packed[i] = layout.packed[i];
	engine->compute.threads = threads;
	return DSV_OK;
}

void
dsv_engine_drop_scratch(dsv_engine *engine)
{
	dsv_free(&engine->mem, engine->scratch_to_free);
	engine->scratch_to_free = NULL;
	engine->scratch_bytes = 0;
	engine->scratch_rows = engine->scratch_positions = engine->scratch_threads = 0;
}

/* The addresses stay, so that nothing has to be taken, and can fail, when work goes on. */
void
dsv_engine_rest(dsv_engine *engine, size_t keep)
{
	uintptr_t	page = (uintptr_t) sysconf(_SC_PAGESIZE);
	uintptr_t	begin = (uintptr_t) engine->scratch_to_free;
	uintptr_t	end = begin + engine->scratch_bytes;

	if (engine->scratch_bytes <= keep)
		return;
	begin += keep + page - 1;
	begin -= begin % page;
	end -= end % page;
	if (begin < end)
		(void) madvise((void *) begin, end - begin, MADV_DONTNEED);
}

/* ---- what it takes and holds ---- */

int
dsv_engine_chunk(const dsv_engine *engine, int prompt_tokens)
{
	int			most = engine->options.prefill_rows;

	return most > 0 ? dsv_min(most, prompt_tokens) : prompt_tokens;
}

void
dsv_engine_memory(const dsv_engine *engine, int prompt_tokens, int max_tokens, int tiles, dsv_memory *out)
{
	dsv_request request = {0};
	dsv_sequence seq = {.nprompt = prompt_tokens, .max_tokens = max_tokens,
	.chunk_max = dsv_engine_chunk(engine, prompt_tokens)};
	dsv_arena	arena = {NULL, 0};

	seq.npages = dsv_ceil_div(prompt_tokens + max_tokens, DSV_KV_PAGE);
	dsv_sequence_layout((dsv_engine *) engine, &seq, &request, tiles, &arena);
	out->scratch = dsv_engine_scratch_bytes(engine, dsv_max(seq.chunk_max, DSV_DECODE_ROWS),
											seq.npages * DSV_KV_PAGE, engine->options.threads);
	out->sequence = arena.used;
	out->kv = seq.npages * engine->kv.page_bytes;
}

void
dsv_engine_memory_held(const dsv_engine *engine, dsv_memory *out)
{
	out->scratch = engine->scratch_bytes + engine->trie.bytes;
	out->sequence = 0;
	for (const dsv_sequence *s = engine->sequences; s != NULL; s = s->next)
		out->sequence += s->bytes;
	out->kv = engine->kv.npages * engine->kv.page_bytes + dsv_tile_cache_bytes(&engine->tiles);
}
