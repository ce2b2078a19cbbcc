/*
 * reuse.c
 *		What a request need not compute: pages and tiles that earlier ones have left.
 *
 * Both are looked up at admission, and once more before the first step: of requests that
 * are admitted together and show the same picture, the first computes it for all.
 */
#include <string.h>

#include "engine.h"
#include "sha256.h"

/* ---- names of pages ---- */

/* The image that position p shows, or -1 */
static int
image_at(const dsv_sequence *seq, int p)
{
	for (int i = 0; i < seq->nimages; i++)
		if (p >= seq->images[i].at && p < seq->images[i].at + seq->images[i].len)
			return i;
	return -1;
}

/* What else decides the bits of a page or a tile's rows: number format and kernels */
static void
name_arithmetic(const dsv_sequence *seq, dsv_kv_name *out)
{
	const dsv_compute *compute = &seq->engine->compute;
	char		text[64] = {0};

	text[0] = compute->bf16;
	text[1] = seq->blas;
	text[2] = (char) compute->mla;
	strncpy(text + 3, seq->kernels->name, sizeof(text) - 4);
	dsv_sha256_of(text, sizeof(text), out->hash);
}

/*
 * name[i] = SHA-256(name[i - 1], for each position of page i its token, or for a position of an
 * image the image's digest and the offset in it).
 */
static void
name_pages(dsv_sequence *seq)
{
	dsv_kv_name previous;

	name_arithmetic(seq, &previous);
	for (int page = 0; page < seq->nprompt / DSV_KV_PAGE; page++)
	{
		dsv_sha256	s;
		int			shown = -1;

		dsv_sha256_init(&s);
		dsv_sha256_add(&s, &previous, sizeof(previous));
		for (int p = page * DSV_KV_PAGE; p < (page + 1) * DSV_KV_PAGE; p++)
		{
			int			i = image_at(seq, p);
			int32_t		entry[2] = {seq->prompt[p], i >= 0 ? p - seq->images[i].at : -1};

			if (i >= 0 && i != shown)
			{
				const dsv_sequence_image *image = &seq->images[i];

				dsv_sha256_add(&s, &image->grid, sizeof(image->grid));
				dsv_sha256_add(&s, &seq->tile_hash[image->first_tile],
							   (1 + image->grid.cols * image->grid.rows) * sizeof(dsv_kv_name));
				shown = i;
			}
			dsv_sha256_add(&s, entry, sizeof(entry));
		}
		dsv_sha256_end(&s, seq->names[page].hash);
		previous = seq->names[page];
	}
}

/* Cached pages from where the sequence has none yet; the last token is always computed.  A page
 * that stands there already is given back. */
static void
find_pages(dsv_sequence *seq)
{
	dsv_kv	   *kv = &seq->engine->kv;
	int			n = seq->cached / DSV_KV_PAGE;

	for (; n < (seq->nprompt - 1) / DSV_KV_PAGE; n++)
	{
		int			page = dsv_kv_acquire(kv, &seq->names[n]);

		if (page < 0)
			break;
		if (seq->pages[n] >= 0)
			dsv_kv_release(kv, seq->pages[n]);
		seq->pages[n] = page;
	}
	seq->cached = seq->chunk_first = seq->usage.cached_tokens = n * DSV_KV_PAGE;
}

/* Cached pages in front, fresh ones behind */
static dsv_code
take_pages(dsv_sequence *seq, dsv_error *err)
{
	int			n;
	dsv_code	code;

	if (seq->cacheable)
	{
		name_pages(seq);
		find_pages(seq);
	}
	n = seq->cached / DSV_KV_PAGE;
	code = dsv_kv_take(&seq->engine->kv, seq->npages - n, seq->pages + n, err);
	if (code != DSV_OK)
		for (int i = n; i < seq->npages; i++)
			seq->pages[i] = -1;
	if (code == DSV_BUDGET)
		dsv_hint(err, "Lower max_tokens, or raise the memory for keys and values.");
	return code;
}

/* ---- what the tower must run ---- */

/* View (0 = global) and row inside its [grid, grid] tokens at an offset of an image; -1: a
 * newline, -2: the separator. */
static int
view_at(const dsv_config *config, dsv_grid grid, int offset, int *row)
{
	int			h = config->projector.grid;
	int			y;
	int			x;

	if (offset < h * (h + 1))
	{
		y = offset / (h + 1);
		x = offset % (h + 1);
		*row = y * h + x;
		return x == h ? -1 : 0;
	}
	offset -= h * (h + 1);
	if (offset-- == 0)
		return -2;
	y = offset / (h * grid.cols + 1);
	x = offset % (h * grid.cols + 1);
	*row = y % h * h + x % h;
	return x == h * grid.cols ? -1 : 1 + y / h * grid.cols + x / h;
}

const float *
dsv_sequence_image_row(const dsv_sequence *seq, int position)
{
	const dsv_model *model = seq->engine->model;
	const dsv_config *config = &model->config;
	const dsv_sequence_image *image;
	int			i = image_at(seq, position);
	int			row = 0;
	int			view;

	if (i < 0)
		return NULL;
	image = &seq->images[i];
	view = view_at(config, image->grid, position - image->at, &row);
	if (view == -1)
		return model->weights.image_newline;
	if (view == -2)
		return model->weights.view_separator;
	return seq->tile_rows + ((size_t) seq->tile_row[image->first_tile + view] * config->projector.grid *
							 config->projector.grid + row) * config->language.hidden;
}

static void
name_tile(const dsv_sequence *seq, int u, dsv_kv_name *out)
{
	dsv_kv_name part[2];

	name_arithmetic(seq, &part[0]);
	part[1] = seq->tile_hash[seq->first_of[u]];
	dsv_sha256_of(part, sizeof(part), out->hash);
}

/* Takes over the rows of tiles that an earlier request left in the cache. */
static void
find_tiles(dsv_sequence *seq)
{
	dsv_tile_cache *cache = &seq->engine->tiles;

	for (int u = 0; u < seq->nunique; u++)
		if (seq->needed[u])
		{
			const float *rows;
			dsv_kv_name name;

			name_tile(seq, u, &name);
			rows = dsv_tile_cache_find(cache, &name);
			if (rows == NULL)
				continue;
			memcpy(seq->tile_rows + u * cache->count, rows, cache->count * sizeof(float));
			seq->needed[u] = false;
		}
}

/* Slots for the tiles that the tower will run, after find_tiles: a claim may evict a tile of this
 * very picture. */
static void
claim_tiles(dsv_sequence *seq)
{
	for (int u = 0; u < seq->nunique; u++)
		if (seq->needed[u])
		{
			dsv_kv_name name;

			name_tile(seq, u, &name);
			seq->tile_slot[u] = dsv_tile_cache_claim(&seq->engine->tiles, &name);
		}
}

static void
free_tiles(dsv_sequence *seq)
{
	for (int i = 0; i < seq->nimages; i++)
		dsv_tiles_free(&seq->images[i].tiles, &seq->engine->mem);
}

static void
give_slot_back(dsv_sequence *seq, int u)
{
	if (seq->tile_slot[u] >= 0)
		dsv_tile_cache_fill(&seq->engine->tiles, seq->tile_slot[u], NULL);
	seq->tile_slot[u] = -1;
}

static void
find_shown(dsv_sequence *seq)
{
	const dsv_config *config = &seq->engine->model->config;

	memset(seq->shown, 0, seq->nunique * sizeof(bool));
	for (int i = 0; i < seq->nimages; i++)
	{
		const dsv_sequence_image *image = &seq->images[i];

		for (int p = dsv_max(image->at, seq->cached); p < image->at + image->len; p++)
		{
			int			row;
			int			view = view_at(config, image->grid, p - image->at, &row);

			if (view >= 0)
				seq->shown[seq->tile_row[image->first_tile + view]] = true;
		}
	}
}

/* Of the tiles that were needed so far, those still are that are shown and in no cache. */
static void
plan_tower(dsv_sequence *seq)
{
	const dsv_config *config = &seq->engine->model->config;

	find_shown(seq);
	for (int u = 0; u < seq->nunique; u++)
		seq->needed[u] &= seq->shown[u];
	if (seq->cacheable)
		find_tiles(seq);
	seq->vision_total = seq->usage.tiles = 0;
	for (int u = 0; u < seq->nunique; u++)
		if (seq->needed[u])
		{
			seq->vision_total += dsv_vision_steps(config);
			seq->usage.tiles++;
		}
	seq->usage.cached_tiles = seq->nunique - seq->usage.tiles;
	if (seq->vision_total == 0)
		free_tiles(seq);
}

dsv_code
dsv_sequence_take_pages(dsv_sequence *seq, dsv_error *err)
{
	dsv_code	code = take_pages(seq, err);

	if (code != DSV_OK)
		return code;
	plan_tower(seq);
	if (seq->cacheable)
		claim_tiles(seq);
	return DSV_OK;
}

/* Nothing is claimed here, since that may take memory. */
void
dsv_sequence_find_cached(dsv_sequence *seq)
{
	if (!seq->cacheable)
		return;
	find_pages(seq);
	plan_tower(seq);
	for (int u = 0; u < seq->nunique; u++)
		if (!seq->needed[u])
			give_slot_back(seq, u);
}

void
dsv_sequence_drop_tiles(dsv_sequence *seq)
{
	free_tiles(seq);
	for (int u = 0; u < seq->nunique; u++)
		give_slot_back(seq, u);
}
