/*
 * test_pack.c
 *		Packed models: the same answers as the folder, nearly those of the same weights stored as
 *		floats; every way in which a file can be damaged; what is left behind when packing fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "files_util.h"
#include "kernels.h"
#include "model.h"
#include "packed.h"

#define TINY "test/golden/tiny-like"
#define SMALL "test/golden/small-like"
#define BASE "test/golden/base-like"
#define NANO "models/nano"
#define FILE_NAME "packed.safetensors"
#define ANSWER 12

static const dsv_quant quants[] = {DSV_QUANT_BF16, DSV_QUANT_Q8, DSV_QUANT_Q4};

static dsv_model *
open_model(const char *path)
{
	dsv_error	err = {0};
	dsv_model  *model;

	check_ok(dsv_model_open(path, NULL, &model, &err), &err);
	return model;
}

/* In a buffer of its own, as temp_file's is used again */
static const char *
packed_path(const temp_dir *t)
{
	static char path[600];

	snprintf(path, sizeof(path), "%s/%s", t->path, FILE_NAME);
	return path;
}

static void
pack(const temp_dir *t, const char *dir, dsv_quant quant)
{
	dsv_pack_options options = {.quant = quant, .replace = true};
	dsv_error	err = {0};

	check_ok(dsv_model_pack(dir, packed_path(t), &options, &err), &err);
}

static int
count_files(const temp_dir *t)
{
	DIR		   *d = opendir(t->path);
	struct dirent *entry;
	int			n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

/* ---- answers ---- */

typedef struct answer
{
	int32_t		tokens[ANSWER];
	float		logprobs[ANSWER];
	int			n;
} answer;

static answer
ask(const char *path, int threads, int prefill_rows, dsv_precision precision)
{
	dsv_model  *model = open_model(path);
	dsv_engine_options options = {.threads = threads, .prefill_rows = prefill_rows,
		.precision = precision, .activations = DSV_ACTIVATIONS_INT16};
	dsv_request request = {.max_tokens = ANSWER};
	int32_t		prompt[50];
	dsv_engine *engine;
	dsv_sequence *seq;
	const dsv_result *r;
	answer		a = {{0}};
	dsv_error	err = {0};

	for (int i = 0; i < 50; i++)
		prompt[i] = i == 0 ? model->special.bos : 5 + (i * 37) % 200;
	check_ok(dsv_engine_create(model, &options, &engine, &err), &err);
	check_ok(dsv_engine_submit_tokens(engine, prompt, 50, &request, &seq, &err), &err);
	while (dsv_engine_runnable(engine))
		check_ok(dsv_engine_step(engine, &err), &err);
	r = dsv_sequence_result(seq);
	a.n = r->ntokens;
	memcpy(a.tokens, r->tokens, a.n * sizeof(int32_t));
	memcpy(a.logprobs, r->logprobs, a.n * sizeof(float));
	assert_true(a.n > 0);
	dsv_engine_destroy(engine);
	dsv_model_close(model);
	return a;
}

static void
check_same(const answer *a, const answer *b)
{
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->tokens, b->tokens, sizeof(a->tokens));
	assert_memory_equal(a->logprobs, b->logprobs, sizeof(a->logprobs));
}

/* ---- a folder with the same weights ---- */

/* Writes a packed file's weights as a published folder has them, quantised ones as F32, but for the
 * one of the name `keep`. */
static void
put_unpacked(const temp_dir *t, const char *packed, const char *keep)
{
	dsv_model  *model = open_model(packed);
	const dsv_safetensors *files = model->files;
	json_t	   *header = json_object();
	char	   *data = malloc(64 << 20);
	size_t		used = 0;
	char	   *text;

	for (int i = 0; i < dsv_safetensors_count(files); i++)
	{
		const dsv_tensor *x = dsv_safetensors_at(files, i);
		bool		bytes = x->dtype == DSV_DTYPE_U8 && (keep == NULL || strcmp(x->name, keep) != 0);
		json_t	   *shape = json_array();
		size_t		size = dsv_tensor_bytes(x);

		if (strcmp(x->name, DSV_PACKED_TOKENIZER) == 0)
			continue;
		for (int d = 0; d < x->ndim; d++)
			json_array_append_new(shape, json_integer(x->shape[d]));
		if (bytes)
		{
			size_t		rows = 0;
			size_t		cols = 0;
			kern_dtype	type = KERN_Q8;

			/* whichever matrix it is: the binding knows its columns */
			for (int layer = 0; layer <= model->config.language.layers && cols == 0; layer++)
			{
				const dsv_layer *l = &model->weights.layers[layer % model->config.language.layers];
				const dsv_matrix *all[] = {&l->q.w, &l->k.w, &l->v.w, &l->q_a.w, &l->q_b.w, &l->kv_a.w,
					&l->o.w, &l->mlp.gate, &l->mlp.up, &l->mlp.down, &model->weights.embed,
				&model->weights.lm_head};

				for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
					if (all[k]->data == x->data)
					{
						rows = (size_t) all[k]->rows;
						cols = (size_t) all[k]->cols;
						type = all[k]->dtype;
					}
				for (int e = 0; l->moe && e < model->config.language.experts; e++)
				{
					const dsv_mlp *m = &l->experts[e];
					const dsv_matrix *parts[] = {&m->gate, &m->up, &m->down};

					for (int k = 0; k < 3; k++)
						if (parts[k]->data == x->data)
						{
							rows = (size_t) parts[k]->rows;
							cols = (size_t) parts[k]->cols;
							type = parts[k]->dtype;
						}
				}
			}
			assert_true(cols > 0);
			for (size_t row = 0; row < rows; row++)
				kern_get_row(x->data, type, cols, row, (float *) (data + used) + row * cols);
			json_array_set_new(shape, 0, json_integer((json_int_t) rows));
			json_array_set_new(shape, 1, json_integer((json_int_t) cols));
			size = rows * cols * sizeof(float);
		}
		else
			memcpy(data + used, x->data, size);
		json_object_set_new(header, x->name,
							json_pack("{s:s, s:o, s:[I, I]}", "dtype",
									  bytes ? "F32" : dsv_dtype_name(x->dtype), "shape", shape,
									  "data_offsets", (json_int_t) used, (json_int_t) (used + size)));
		used += size;
		assert_int_equal(used % 2, 0);
		if (used % 4 != 0)
			fail_msg("tensor %s ends at %zu", x->name, used);
	}
	text = json_dumps(header, JSON_COMPACT);
	{
		size_t		len = (strlen(text) + 7) / 8 * 8;
		char	   *whole = malloc(8 + len + used);

		memset(whole, ' ', 8 + len);
		for (int i = 0; i < 8; i++)
			whole[i] = (char) ((uint64_t) len >> (8 * i));
		memcpy(whole + 8, text, strlen(text));
		memcpy(whole + 8 + len, data, used);
		temp_put(t, "model.safetensors", whole, 8 + len + used);
		free(whole);
	}
	free(text);
	free(data);
	json_decref(header);
	dsv_model_close(model);
}

/* The distribution of the first token hardly differs: what does is the rounding of activations. */
static void
check_near(const answer *a, const answer *b)
{
	assert_int_equal(a->tokens[0], b->tokens[0]);
	if (!(fabsf(a->logprobs[0] - b->logprobs[0]) < 2e-3f))
		fail_msg("%g and %g", a->logprobs[0], b->logprobs[0]);
}

static void
check_floats(const char *dir, dsv_quant quant)
{
	temp_dir	t = temp_make();
	temp_dir	folder = temp_make();
	answer		packed;
	answer		floats;

	pack(&t, dir, quant);
	temp_copy(&folder, dir, "config.json");
	temp_copy(&folder, dir, "processor_config.json");
	temp_copy(&folder, dir, "tokenizer.json");
	put_unpacked(&folder, packed_path(&t), NULL);
	packed = ask(packed_path(&t), 2, 0, DSV_PRECISION_FP32);
	floats = ask(folder.path, 2, 0, DSV_PRECISION_FP32);
	check_near(&packed, &floats);
	/* neither threads nor the rows of a pass show */
	floats = ask(packed_path(&t), 1, 7, DSV_PRECISION_FP32);
	check_same(&packed, &floats);
	temp_remove(&t);
	temp_remove(&folder);
}

static void
test_quantised_is_near_floats(void **state)
{
	static const char *const dirs[] = {TINY, SMALL, BASE, NANO};

	for (int i = 0; i < 4; i++)
		for (int q = 1; q < 3; q++)
			check_floats(dirs[i], quants[q]);
}

/* Rows are packed once for all experts of a layer. */
static void
test_mixed_experts(void **state)
{
	static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};

	for (int i = 0; i < 3; i++)
	{
		temp_dir	t = temp_make();
		temp_dir	folder = temp_make();
		char		name[100];
		dsv_model  *model;
		dsv_error	err = {0};

		pack(&t, TINY, DSV_QUANT_Q8);
		temp_copy(&folder, TINY, "config.json");
		temp_copy(&folder, TINY, "processor_config.json");
		temp_copy(&folder, TINY, "tokenizer.json");
		snprintf(name, sizeof(name), "language.model.layers.1.mlp.experts.2.%s.weight", parts[i]);
		put_unpacked(&folder, packed_path(&t), name);
		check_error(name, dsv_model_open(folder.path, NULL, &model, &err), &err, DSV_FORMAT,
					"quantised in different ways");
		temp_remove(&t);
		temp_remove(&folder);
	}
}

static void
test_bf16_is_the_folder(void **state)
{
	static const char *const dirs[] = {TINY, SMALL, BASE, NANO};

	for (int i = 0; i < 4; i++)
	{
		temp_dir	t = temp_make();
		answer		packed;
		answer		folder = ask(dirs[i], 2, 0, DSV_PRECISION_FP32);

		pack(&t, dirs[i], DSV_QUANT_BF16);
		packed = ask(packed_path(&t), 2, 0, DSV_PRECISION_FP32);
		check_same(&packed, &folder);
		temp_remove(&t);
	}
}

/* ---- what a packed file says ---- */

static void
test_info(void **state)
{
	static const char *const dirs[] = {TINY, SMALL, BASE, NANO};
	static const char *const types[] = {"bf16", "q8", "q4"};

	for (int i = 0; i < 4; i++)
	{
		dsv_model  *folder = open_model(dirs[i]);
		const dsv_model_info *want = dsv_model_get_info(folder);
		temp_dir	t = temp_make();
		char		before[65] = "";

		assert_false(want->packed);
		assert_string_equal(want->source, want->digest);
		for (int q = 0; q < 3; q++)
		{
			dsv_model  *model;
			const dsv_model_info *info;
			dsv_error	err = {0};

			pack(&t, dirs[i], quants[q]);
			check_ok(dsv_model_verify(packed_path(&t), NULL, NULL, &err), &err);
			model = open_model(packed_path(&t));
			info = dsv_model_get_info(model);
			assert_string_equal(info->name, want->name);
			assert_true((info->notice == NULL) == (want->notice == NULL));
			assert_true(info->packed);
			assert_int_equal(info->quant, quants[q]);
			assert_string_equal(info->dtype, types[q]);
			assert_string_equal(info->source, want->digest);
			assert_string_not_equal(info->digest, want->digest);
			assert_string_not_equal(info->digest, before);
			memcpy(before, info->digest, sizeof(before));
			assert_int_equal(info->parameters, want->parameters);
			assert_int_equal(info->context, want->context);
			assert_int_equal(info->max_tiles, want->max_tiles);
			assert_string_equal(info->answers.prefix, want->answers.prefix);
			for (int task = 0; task < DSV_TASK_COUNT; task++)
			{
				const char *a = dsv_model_task_prompt(model, (dsv_task) task);
				const char *b = dsv_model_task_prompt(folder, (dsv_task) task);

				assert_true((a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0));
			}
			/* each matrix where its elements can be read from, the first at a whole line */
			assert_int_equal((uintptr_t) model->weights.blocks[0].qkv.w.data % 2, 0);
			assert_int_equal((uintptr_t) model->weights.final_norm % 4, 0);
			dsv_model_close(model);
		}
		dsv_model_close(folder);
		temp_remove(&t);
	}
}

/* The same bytes, whatever the number of threads and the instruction set */
static void
test_repeats(void **state)
{
	temp_dir	t = temp_make();
	char	   *first = NULL;
	size_t		len = 0;

	for (int i = 0; i < 4; i++)
	{
		dsv_pack_options options = {.quant = DSV_QUANT_Q4, .threads = i < 2 ? 1 : 3, .replace = true};
		dsv_error	err = {0};
		size_t		n;
		char	   *data;

		dsv_cpu_set(i == 1 ? DSV_CPU_GENERIC : DSV_CPU_AUTO);
		check_ok(dsv_model_pack(SMALL, packed_path(&t), &options, &err), &err);
		data = slurp(packed_path(&t), &n);
		if (first == NULL)
		{
			first = data;
			len = n;
			continue;
		}
		assert_int_equal(n, len);
		assert_memory_equal(data, first, len);
		free(data);
	}
	dsv_cpu_set(DSV_CPU_AUTO);
	free(first);
	temp_remove(&t);
}

/* ---- the tokenizer's tables ---- */

static void
check_same_tokens(const dsv_tokenizer *a, const dsv_tokenizer *b, const char *text)
{
	dsv_span	spans[] = {{text, strlen(text), true}, {"<image>1 234 \xc3\xa4\xe4\xbd\xa0", 17, false}};
	dsv_tokens	x = {0};
	dsv_tokens	y = {0};
	dsv_error	err = {0};

	check_ok(dsv_tokenizer_encode(a, spans, 2, NULL, NULL, &x, &err), &err);
	check_ok(dsv_tokenizer_encode(b, spans, 2, NULL, NULL, &y, &err), &err);
	assert_int_equal(x.n, y.n);
	assert_memory_equal(x.ids, y.ids, x.n * sizeof(int32_t));
	free(x.ids);
	free(y.ids);
}

static void *
aligned_copy(const dsv_text *text)
{
	void	   *copy = aligned_alloc(64, (text->len + 63) / 64 * 64);

	memcpy(copy, text->s, text->len);
	return copy;
}

static void
test_tokenizer(void **state)
{
	static const char *const dirs[] = {TINY, BASE, NANO};

	for (int i = 0; i < 3; i++)
	{
		dsv_model  *model = open_model(dirs[i]);
		const dsv_tokenizer *tok = model->tokenizer;
		dsv_tokenizer *packed;
		dsv_text	bytes = {0};
		dsv_text	again = {0};
		dsv_error	err = {0};
		void	   *data;

		check_ok(dsv_tokenizer_pack(tok, NULL, &bytes, &err), &err);
		assert_int_equal(bytes.len % 64, 0);
		data = aligned_copy(&bytes);
		check_ok(dsv_tokenizer_open_packed(data, bytes.len, NULL, &packed, &err), &err);
		check_same_tokens(tok, packed, "<image>\nRead all the text: Total 12.50 EUR\n\n  <|User|> x");
		check_same_tokens(tok, packed, "\xe6\x96\x87\xe5\xad\x97 caf\xc3\xa9 \xff\xfe naive 007");
		assert_int_equal(dsv_tokenizer_size(tok), dsv_tokenizer_size(packed));
		assert_int_equal(dsv_tokenizer_max_piece(tok), dsv_tokenizer_max_piece(packed));
		for (int32_t id = 0; id < dsv_tokenizer_size(tok); id++)
		{
			size_t		a_len;
			size_t		b_len;
			const char *a = dsv_tokenizer_bytes(tok, id, &a_len);
			const char *b = dsv_tokenizer_bytes(packed, id, &b_len);

			assert_true((a == NULL) == (b == NULL) && a_len == b_len);
			if (a != NULL)
				assert_memory_equal(a, b, a_len);
			assert_int_equal(dsv_tokenizer_is_special(tok, id), dsv_tokenizer_is_special(packed, id));
		}
		check_ok(dsv_tokenizer_pack(packed, NULL, &again, &err), &err);
		assert_int_equal(again.len, bytes.len);
		assert_memory_equal(again.s, bytes.s, bytes.len);
		dsv_tokenizer_close(packed);
		free(data);
		free(bytes.s);
		free(again.s);
		dsv_model_close(model);
	}
}

/* Whatever is flipped, opening says so or what was opened can be used: no id and no offset leads
 * out of the tables, no search goes on for ever. */
static void
test_hostile_tokenizer(void **state)
{
	dsv_model  *model = open_model(NANO);
	dsv_text	bytes = {0};
	dsv_error	err = {0};
	unsigned char *data;
	int			refused = 0;

	check_ok(dsv_tokenizer_pack(model->tokenizer, NULL, &bytes, &err), &err);
	dsv_model_close(model);
	data = aligned_copy(&bytes);
	for (size_t at = 0; at < bytes.len; at++)
		for (int bit = 0; bit < 8; bit += 7)
		{
			dsv_span	span = {"<image>Total 12.50 <|User|>abc\n", 31, true};
			dsv_tokenizer *tok;
			dsv_tokens	tokens = {0};
			dsv_decoder decoder = {{0}, 0};
			dsv_text	text = {0};
			dsv_code	code;

			data[at] ^= (unsigned char) (1 << bit);
			code = dsv_tokenizer_open_packed(data, bytes.len, NULL, &tok, &err);
			if (code == DSV_OK)
			{
				code = dsv_tokenizer_encode(tok, &span, 1, NULL, NULL, &tokens, &err);
				assert_true(code == DSV_OK || code == DSV_INPUT);
				for (size_t i = 0; i < tokens.n; i++)
					assert_true(dsv_decoder_add(&decoder, tok, tokens.ids[i], false, NULL, &text));
				free(tokens.ids);
				free(text.s);
				dsv_tokenizer_close(tok);
			}
			else
			{
				assert_true(code == DSV_FORMAT || code == DSV_UNSUPPORTED);
				assert_null(tok);
				refused++;
			}
			data[at] ^= (unsigned char) (1 << bit);
		}
	assert_true(refused > 1000);
	for (size_t len = 0; len < bytes.len; len += len < 2000 ? 1 : 997)
	{
		dsv_tokenizer *tok;

		check_error("short", dsv_tokenizer_open_packed(data, len, NULL, &tok, &err), &err, DSV_FORMAT,
					"packed tokenizer");
	}
	{
		dsv_tokenizer *tok;

		check_error("misaligned", dsv_tokenizer_open_packed(data + 1, bytes.len - 64, NULL, &tok, &err),
					&err, DSV_FORMAT, "misaligned");
	}
	/* a table without a free slot: a search would not end */
	{
		int32_t		pair_bits;
		int32_t		size;
		dsv_tokenizer *tok;
		size_t		pairs;

		memcpy(&size, data + 4, 4);
		memcpy(&pair_bits, data + 8, 4);
		pairs = 32 + 1024 + (size_t) size * 12;
		for (size_t i = 0; i < (size_t) 1 << pair_bits; i++)
			memset(data + pairs + i * 16, 0, 4);
		check_error("full table", dsv_tokenizer_open_packed(data, bytes.len, NULL, &tok, &err), &err,
					DSV_FORMAT, "merge");
	}
	free(data);
	free(bytes.s);
}

/* ---- damaged files ---- */

static void
flip(int fd, off_t at)
{
	char		c;

	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 1;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

static uint64_t
header_length(int fd)
{
	unsigned char bytes[8];
	uint64_t	len = 0;

	assert_int_equal(pread(fd, bytes, 8, 0), 8);
	for (int i = 7; i >= 0; i--)
		len = len << 8 | bytes[i];
	return len;
}

static void
test_every_header_byte_counts(void **state)
{
	temp_dir	t = temp_make();
	dsv_model  *model;
	dsv_error	err = {0};
	uint64_t	len;
	int			fd;

	pack(&t, NANO, DSV_QUANT_Q8);
	fd = open(packed_path(&t), O_RDWR);
	assert_true(fd >= 0);
	len = header_length(fd);
	for (uint64_t at = 0; at < 8 + len; at++)
	{
		dsv_code	code;

		flip(fd, (off_t) at);
		code = dsv_model_open(packed_path(&t), NULL, &model, &err);
		if (code != DSV_FORMAT && code != DSV_LIMIT && code != DSV_UNSUPPORTED)
			fail_msg("byte %llu of the header: code %d %s", (unsigned long long) at, code, err.msg);
		assert_null(model);
		flip(fd, (off_t) at);
	}
	dsv_model_close(open_model(packed_path(&t)));
	close(fd);
	temp_remove(&t);
}

/* Data is not read at opening; verifying finds what is wrong and where. */
static void
test_damaged_data(void **state)
{
	static const char *const names[] = {"language.lm_head.weight", DSV_PACKED_TOKENIZER,
		"language.model.layers.1.mlp.experts.7.up_proj.weight", "vision.norm.bias",
	"vision.patch_embed.proj.weight"};
	temp_dir	t = temp_make();
	dsv_error	err = {0};
	int			fd;

	pack(&t, NANO, DSV_QUANT_Q4);
	fd = open(packed_path(&t), O_RDWR);
	assert_true(fd >= 0);
	for (int i = 0; i < 5; i++)
		for (int end = 0; end < 2; end++)
		{
			dsv_safetensors *files;
			const dsv_tensor *x;
			const void *base;
			size_t		len;
			off_t		at;

			check_ok(dsv_safetensors_open_file(packed_path(&t), NULL, &files, &err), &err);
			x = dsv_safetensors_find(files, names[i]);
			assert_non_null(x);
			dsv_safetensors_mapping(files, 0, &base, &len);
			at = (const char *) x->data - (const char *) base;
			at += end ? (off_t) dsv_tensor_bytes(x) - 1 : 0;
			dsv_safetensors_close(files);
			flip(fd, at);
			check_error(names[i], dsv_model_verify(packed_path(&t), NULL, NULL, &err), &err, DSV_FORMAT,
						names[i]);
			flip(fd, at);
		}
	check_ok(dsv_model_verify(packed_path(&t), NULL, NULL, &err), &err);
	close(fd);
	temp_remove(&t);
}

static void
test_truncated(void **state)
{
	temp_dir	t = temp_make();
	dsv_error	err = {0};
	dsv_model  *model;
	struct stat st;

	pack(&t, NANO, DSV_QUANT_Q8);
	assert_int_equal(stat(packed_path(&t), &st), 0);
	for (off_t len = st.st_size - 1; len > 0; len = len > 200000 ? len - 100003 : len * 2 / 3)
	{
		dsv_code	code;

		assert_int_equal(truncate(packed_path(&t), len), 0);
		code = dsv_model_open(packed_path(&t), NULL, &model, &err);
		if (code != DSV_FORMAT)
			fail_msg("%lld bytes: code %d %s", (long long) len, code, err.msg);
		code = dsv_model_verify(packed_path(&t), NULL, NULL, &err);
		assert_int_equal(code, DSV_FORMAT);
	}
	temp_remove(&t);
}

static void
test_other_files(void **state)
{
	dsv_error	err = {0};
	dsv_model  *model;

	check_error("weights alone", dsv_model_open(NANO "/model.safetensors", NULL, &model, &err), &err,
				DSV_FORMAT, "is not a packed model");
	check_error("text", dsv_model_open(NANO "/config.json", NULL, &model, &err), &err, DSV_FORMAT,
				"header");
	check_error("folder", dsv_model_verify(NANO, NULL, NULL, &err), &err, DSV_IO, "regular file");
	check_error("nothing", dsv_model_verify("/nonexistent", NULL, NULL, &err), &err, DSV_IO, "open");
}

/* What multiplies from both sides, or in the tower, has to be of a float type. */
static void
test_quantised_where_it_may_not_be(void **state)
{
	static const char *const names[] = {"language.model.layers.0.self_attn.kv_b_proj.weight",
	"language.model.layers.1.mlp.gate.weight", "vision.blocks.0.attn.qkv.weight"};

	for (int i = 0; i < 3; i++)
	{
		temp_dir	t = temp_make();
		char	   *data;
		char	   *at;
		char		dims[64];
		char		changed[64];
		size_t		len;
		long long	rows;
		long long	cols;
		dsv_model  *model = open_model(BASE);
		dsv_error	err = {0};
		const dsv_tensor *x = dsv_safetensors_find(model->files, names[i]);

		assert_non_null(x);
		rows = x->shape[0];
		cols = x->shape[1];
		dsv_model_close(model);
		temp_copy(&t, BASE, "config.json");
		temp_copy(&t, BASE, "processor_config.json");
		temp_copy(&t, BASE, "tokenizer.json");
		/* its bytes as bytes: the shape is not that of a quantised matrix, the type is */
		data = slurp(BASE "/model.safetensors", &len);
		at = memmem(data, len, names[i], strlen(names[i]));
		assert_non_null(at);
		snprintf(dims, sizeof(dims), "\"BF16\",\"shape\":[%lld,%lld]", rows, cols);
		at = memmem(at, 300, dims, strlen(dims));
		assert_non_null(at);
		snprintf(changed, sizeof(changed), "\"U8\",\"shape\":[%lld,%lld]", rows, 2 * cols);
		if (strlen(changed) > strlen(dims))
			fail_msg("%s does not fit", changed);
		memset(at, ' ', strlen(dims));
		memcpy(at, changed, strlen(changed));
		temp_put(&t, "model.safetensors", data, len);
		free(data);
		check_error(names[i], dsv_model_open(t.path, NULL, &model, &err), &err, DSV_FORMAT,
					"not of a float type");
		temp_remove(&t);
	}
}

/* ---- what is left behind ---- */

static void
test_never_overwrites(void **state)
{
	temp_dir	t = temp_make();
	dsv_pack_options options = {.quant = DSV_QUANT_Q8};
	dsv_error	err = {0};

	temp_put_text(&t, FILE_NAME, "mine");
	assert_int_equal(dsv_model_pack(NANO, packed_path(&t), &options, &err), DSV_IO);
	assert_int_equal(err.sys_errno, EEXIST);
	assert_int_equal(count_files(&t), 1);
	options.replace = true;
	check_ok(dsv_model_pack(NANO, packed_path(&t), &options, &err), &err);
	dsv_model_close(open_model(packed_path(&t)));
	check_error("packed", dsv_model_pack(packed_path(&t), packed_path(&t), &options, &err), &err,
				DSV_INPUT, "is a packed model");
	assert_int_equal(count_files(&t), 1);
	check_error("no folder", dsv_model_pack(NANO, "/nonexistent/x", &options, &err), &err, DSV_IO,
				"could not create");
	check_error("no model", dsv_model_pack("/nonexistent", packed_path(&t), &options, &err), &err, DSV_IO,
				"config.json");
	temp_remove(&t);
}

/* What a process has left that was killed in the middle */
static void
test_takes_over(void **state)
{
	temp_dir	t = temp_make();
	dsv_error	err = {0};
	char	   *junk = calloc(1, 20 << 20);

	temp_put(&t, FILE_NAME ".tmp", junk, 20 << 20);
	free(junk);
	pack(&t, NANO, DSV_QUANT_Q8);
	assert_int_equal(count_files(&t), 1);
	check_ok(dsv_model_verify(packed_path(&t), NULL, NULL, &err), &err);
	temp_remove(&t);
}

typedef struct stopper
{
	int			calls;
	int			stop_at;
	int64_t		done;
	int64_t		total;
} stopper;

static bool
stop(void *ud, int64_t done, int64_t total)
{
	stopper    *s = ud;

	assert_true(done >= s->done && done <= total);
	s->done = done;
	s->total = total;
	return ++s->calls == s->stop_at;
}

static void
test_cancel(void **state)
{
	temp_dir	t = temp_make();
	int			n = 1;

	for (;; n++)
	{
		stopper		s = {.stop_at = n};
		dsv_pack_options options = {.quant = DSV_QUANT_Q8, .progress = {stop, &s}};
		dsv_error	err = {0};
		dsv_code	code = dsv_model_pack(NANO, packed_path(&t), &options, &err);

		if (code == DSV_OK)
		{
			assert_int_equal(s.done, s.total);
			break;
		}
		assert_int_equal(code, DSV_CANCELED);
		assert_int_equal(count_files(&t), 0);
	}
	assert_true(n > 3);
	for (n = 1;; n++)
	{
		stopper		s = {.stop_at = n};
		dsv_pack_progress progress = {stop, &s};
		dsv_error	err = {0};
		dsv_code	code = dsv_model_verify(packed_path(&t), NULL, &progress, &err);

		if (code == DSV_OK)
			break;
		assert_int_equal(code, DSV_CANCELED);
	}
	assert_true(n > 100);
	temp_remove(&t);
}

static bool
give_up(void *ud, int64_t done, int64_t total)
{
	return ++*(int *) ud == 3;
}

/* Another process is at it: we wait, and can be stopped. */
static void
test_waits(void **state)
{
	temp_dir	t = temp_make();
	int			calls = 0;
	dsv_pack_options options = {.quant = DSV_QUANT_Q8, .progress = {give_up, &calls}};
	dsv_error	err = {0};
	int			fd;

	temp_put_text(&t, FILE_NAME ".tmp", "theirs");
	fd = open(temp_file(&t, FILE_NAME ".tmp"), O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(dsv_model_pack(NANO, packed_path(&t), &options, &err), DSV_CANCELED);
	assert_int_equal(calls, 3);
	assert_int_equal(count_files(&t), 1);
	close(fd);
	pack(&t, NANO, DSV_QUANT_Q8);
	assert_int_equal(count_files(&t), 1);
	temp_remove(&t);
}

static void
test_disk_full(void **state)
{
	static const rlim_t limits[] = {0, 1000, 100000, 6000000};
	temp_dir	t = temp_make();
	struct rlimit before;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	for (int i = 0; i < 4; i++)
	{
		struct rlimit limit = {limits[i], before.rlim_max};
		dsv_pack_options options = {.quant = DSV_QUANT_Q8};
		dsv_error	err = {0};
		dsv_code	code;

		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		code = dsv_model_pack(NANO, packed_path(&t), &options, &err);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		check_error("limit", code, &err, DSV_IO, "could not write file");
		assert_int_equal(err.sys_errno, EFBIG);
		assert_int_equal(count_files(&t), 0);
	}
	signal(SIGXFSZ, SIG_DFL);
	temp_remove(&t);
}

static void
test_every_allocation_fails_once(void **state)
{
	temp_dir	t = temp_make();
	int			refused = 0;

	for (int n = 1;; n++)
	{
		books		b = {.fail_at = n};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_pack_options options = {.quant = DSV_QUANT_Q8, .replace = true, .mem = &mem};
		dsv_error	err = {0};
		dsv_code	code = dsv_model_pack(BASE, packed_path(&t), &options, &err);

		assert_int_equal(b.held, 0);
		if (code == DSV_OK && b.calls < n)
			break;
		if (code == DSV_OK)
			continue;			/* a regular expression that is interpreted */
		assert_int_equal(code, DSV_NOMEM);
		refused++;
	}
	assert_true(refused > 20);
	refused = 0;
	for (int n = 1;; n++)
	{
		books		b = {.fail_at = n};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_error	err = {0};
		dsv_model  *model;
		dsv_code	code = dsv_model_open(packed_path(&t), &mem, &model, &err);

		dsv_model_close(model);
		assert_int_equal(b.held, 0);
		if (code == DSV_OK && b.calls < n)
			break;
		if (code == DSV_OK)
			continue;
		assert_int_equal(code, DSV_NOMEM);
		refused++;
	}
	assert_true(refused > 10);
	for (int n = 1;; n++)
	{
		books		b = {.fail_at = n};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_error	err = {0};
		dsv_code	code = dsv_model_verify(packed_path(&t), &mem, NULL, &err);

		assert_int_equal(b.held, 0);
		if (code == DSV_OK)
			break;
		assert_int_equal(code, DSV_NOMEM);
	}
	temp_remove(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantised_is_near_floats),
		cmocka_unit_test(test_mixed_experts),
		cmocka_unit_test(test_bf16_is_the_folder),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_tokenizer),
		cmocka_unit_test(test_hostile_tokenizer),
		cmocka_unit_test(test_every_header_byte_counts),
		cmocka_unit_test(test_damaged_data),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_other_files),
		cmocka_unit_test(test_quantised_where_it_may_not_be),
		cmocka_unit_test(test_never_overwrites),
		cmocka_unit_test(test_takes_over),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_disk_full),
		cmocka_unit_test(test_every_allocation_fails_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
