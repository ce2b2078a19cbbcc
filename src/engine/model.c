/*
 * model.c
 *		Opening a model, a folder or a packed file: everything that is read, checked against
 *		each other.
 *
 * dsvl2.json is this project's own file and optional.  It names the model, may carry a
 * notice for users, and holds the prompts of the tasks that the model was trained for and
 * the words it answers with.  Without it, or without its "tasks" or "answers", those are the
 * published family's.
 *
 * The digest names a model in caches and catalogs.  Hashing every weight would take longer
 * than answering, so it covers config.json, processor_config.json, tokenizer.json and
 * dsvl2.json whole, and of each weight file its size, its header, and 64 blocks of
 * 4 KiB spread evenly over the data (all of the data when there is no more than that).  A
 * packed file's header holds the texts and the checksums of all data.
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "file.h"
#include "packed.h"
#include "sha256.h"

#define OWN_FILE "dsvl2.json"
#define MAX_OWN_BYTES ((size_t) 64 << 10)
#define DIGEST_BLOCKS 64
#define DIGEST_BLOCK 4096
#define PREWARM_PIECE ((size_t) 64 << 20)

static const struct
{
	const char *key;			/* in dsvl2.json */
	const char *prompt;			/* of the published family */
	bool		takes_text;		/* must contain "{}" */
}			tasks[DSV_TASK_COUNT] = {
	[DSV_TASK_OCR] = {"ocr", "Read all the text in the image.", false},
	[DSV_TASK_OCR_MARKDOWN] = {"markdown", "Extract all information from this image and convert "
	"them into markdown format.", false},
	[DSV_TASK_DESCRIBE] = {"describe", "Describe this image in detail.", false},
	[DSV_TASK_ASK] = {"ask", "{}", true},
	[DSV_TASK_GROUND] = {"ground", "<|ref|>{}<|/ref|>.", true},
	[DSV_TASK_GROUND_ANSWER] = {"ground_answer", "<|grounding|>{}", true},
	[DSV_TASK_EXTRACT] = {"extract", "Extract information from this image as JSON, null for what it does "
	"not show. The JSON follows this JSON Schema:\n{}", true},
	[DSV_TASK_IS] = {"is", "{}\nIs this true of the image? Answer yes or no.", true},
	[DSV_TASK_CLASSIFY] = {"classify", "Which of these fits the image best: {}?", true},
	[DSV_TASK_TABLE] = {"table", "Extract the table in this image as JSON: the names of its columns, then its "
	"rows.", false},
	[DSV_TASK_CHART] = {"chart", "Extract the data of the chart in this image as JSON: its title, then its "
	"series with their points.", false},
};

/* Keys of "answers" in dsvl2.json, and how the published family answers */
static const struct
{
	const char *key;
	const char *word;
}			answer_words[DSV_ANSWER_WORDS] = {
	[DSV_ANSWER_PREFIX] = {"prefix", " "},
	[DSV_ANSWER_YES] = {"yes", "Yes"},
	[DSV_ANSWER_NO] = {"no", "No"},
};

/* ---- dsvl2.json ---- */

const char *
dsv_task_name(dsv_task task)
{
	return tasks[task].key;
}

static dsv_code
copy_string(const dsv_model *model, char **out, const char *s, dsv_error *err)
{
	*out = dsv_strdup(&model->mem, s);
	return *out != NULL ? DSV_OK : dsv_fail_nomem(err, strlen(s) + 1);
}

static dsv_code
check_own_keys(json_t *obj, const char *where, const char *const *known, int n, dsv_error *err)
{
	const char *key;
	json_t	   *value;

	json_object_foreach(obj, key, value)
	{
		int			i = 0;

		while (i < n && strcmp(known[i], key) != 0)
			i++;
		if (i == n)
			return dsv_fail(err, DSV_UNSUPPORTED, "%s: key \"%s\" is not supported", where, key);
	}
	return DSV_OK;
}

static dsv_code
set_builtin_tasks(dsv_model *model, dsv_error *err)
{
	dsv_code	code = DSV_OK;

	for (int i = 0; code == DSV_OK && i < DSV_TASK_COUNT; i++)
		code = copy_string(model, &model->task_prompt[i], tasks[i].prompt, err);
	return code;
}

static dsv_code
read_tasks(dsv_model *model, json_t *obj, dsv_error *err)
{
	static const char *const where = OWN_FILE ": tasks";
	const char *keys[DSV_TASK_COUNT];
	dsv_code	code;

	if (!json_is_object(obj))
		return dsv_fail(err, DSV_FORMAT, "%s: \"tasks\" must be an object", OWN_FILE);
	for (int i = 0; i < DSV_TASK_COUNT; i++)
		keys[i] = tasks[i].key;
	code = check_own_keys(obj, where, keys, DSV_TASK_COUNT, err);
	for (int i = 0; code == DSV_OK && i < DSV_TASK_COUNT; i++)
	{
		const char *prompt = NULL;

		if (json_is_null(json_object_get(obj, keys[i])))
			continue;
		code = dsv_json_string(obj, where, keys[i], &prompt, err);
		if (code != DSV_OK || prompt == NULL)
			continue;
		if ((strstr(prompt, "{}") != NULL) != tasks[i].takes_text)
			code = dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must %scontain {}", where, keys[i],
							tasks[i].takes_text ? "" : "not ");
		else
			code = copy_string(model, &model->task_prompt[i], prompt, err);
	}
	return code;
}

static dsv_code
set_builtin_answers(dsv_model *model, dsv_error *err)
{
	dsv_code	code = DSV_OK;

	model->info.answers.extract_by_schema = true;
	for (int i = 0; code == DSV_OK && i < DSV_ANSWER_WORDS; i++)
		if (model->answer_word[i] == NULL)
			code = copy_string(model, &model->answer_word[i], answer_words[i].word, err);
	return code;
}

static dsv_code
read_answers(dsv_model *model, json_t *obj, dsv_error *err)
{
	static const char *const where = OWN_FILE ": answers";
	static const char *const extract_by = "extract_by";
	const char *keys[DSV_ANSWER_WORDS + 1] = {[DSV_ANSWER_WORDS] = extract_by};
	const char *by = "schema";
	dsv_code	code;

	if (!json_is_object(obj))
		return dsv_fail(err, DSV_FORMAT, "%s: \"answers\" must be an object", OWN_FILE);
	for (int i = 0; i < DSV_ANSWER_WORDS; i++)
		keys[i] = answer_words[i].key;
	code = check_own_keys(obj, where, keys, DSV_ANSWER_WORDS + 1, err);
	for (int i = 0; code == DSV_OK && i < DSV_ANSWER_WORDS; i++)
	{
		const char *word = NULL;

		code = dsv_json_string(obj, where, keys[i], &word, err);
		if (code == DSV_OK && word != NULL && word[0] == '\0' && i != DSV_ANSWER_PREFIX)
			code = dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must not be empty", where, keys[i]);
		if (code == DSV_OK && word != NULL)
			code = copy_string(model, &model->answer_word[i], word, err);
	}
	if (code == DSV_OK)
		code = dsv_json_string(obj, where, extract_by, &by, err);
	if (code == DSV_OK && strcmp(by, "schema") != 0 && strcmp(by, "names") != 0)
		code = dsv_fail(err, DSV_FORMAT, "%s: \"%s\" must be \"schema\" or \"names\"", where, extract_by);
	if (code == DSV_OK)
		code = set_builtin_answers(model, err);
	model->info.answers.extract_by_schema = strcmp(by, "schema") == 0;
	return code;
}

static dsv_code
read_own(dsv_model *model, json_t *root, dsv_error *err)
{
	static const char *const keys[] = {"name", "notice", "tasks", "answers"};
	json_t	   *answers = json_object_get(root, "answers");
	json_t	   *task_list = json_object_get(root, "tasks");
	const char *name = NULL;
	const char *notice = NULL;
	dsv_code	code;

	if (!json_is_object(root))
		return dsv_fail(err, DSV_FORMAT, "%s is not a JSON object", OWN_FILE);
	if ((code = check_own_keys(root, OWN_FILE, keys, 4, err)) != DSV_OK ||
		(code = dsv_json_string(root, OWN_FILE, "name", &name, err)) != DSV_OK ||
		(code = dsv_json_string(root, OWN_FILE, "notice", &notice, err)) != DSV_OK ||
		(name != NULL && (code = copy_string(model, &model->name, name, err)) != DSV_OK) ||
		(notice != NULL && (code = copy_string(model, &model->notice, notice, err)) != DSV_OK) ||
		(code = answers != NULL ? read_answers(model, answers, err) : set_builtin_answers(model, err)) != DSV_OK)
		return code;
	return task_list != NULL ? read_tasks(model, task_list, err) : set_builtin_tasks(model, err);
}

/* Last part of the path, for a model that does not name itself. */
static dsv_code
name_of_folder(dsv_model *model, dsv_error *err)
{
	size_t		end = strlen(model->dir);
	size_t		begin;

	while (end > 1 && model->dir[end - 1] == '/')
		end--;
	begin = end;
	while (begin > 0 && model->dir[begin - 1] != '/')
		begin--;
	if (begin == end)
		begin = 0;
	model->name = dsv_alloc_zero(&model->mem, end - begin + 1, 1);
	if (model->name == NULL)
		return dsv_fail_nomem(err, end - begin + 1);
	memcpy(model->name, model->dir + begin, end - begin);
	return DSV_OK;
}

/* root NULL: there is no dsvl2.json. */
static dsv_code
read_own_or_builtin(dsv_model *model, json_t *root, dsv_error *err)
{
	dsv_code	code;

	if (root != NULL)
		return read_own(model, root, err);
	code = set_builtin_tasks(model, err);
	return code == DSV_OK ? set_builtin_answers(model, err) : code;
}

static dsv_code
open_own(dsv_model *model, dsv_error *err)
{
	char		path[DSV_PATH_MAX];
	json_t	   *root = NULL;
	dsv_code	code = dsv_path_join(path, model->dir, OWN_FILE, err);

	if (code != DSV_OK)
		return code;
	code = dsv_json_load_file(path, MAX_OWN_BYTES, &root, err);
	if (code == DSV_OK || (code == DSV_IO && err->sys_errno == ENOENT))
		code = read_own_or_builtin(model, root, err);
	json_decref(root);
	if (code == DSV_OK && model->name == NULL)
		code = name_of_folder(model, err);
	return code;
}

/* ---- tokenizer against configuration ---- */

static dsv_code
open_tokenizer(dsv_model *model, dsv_error *err)
{
	char		path[DSV_PATH_MAX];
	dsv_code	code = dsv_path_join(path, model->dir, "tokenizer.json", err);

	return code == DSV_OK ? dsv_tokenizer_open(path, &model->mem, &model->tokenizer, err) : code;
}

static dsv_code
open_packed_tokenizer(dsv_model *model, dsv_error *err)
{
	const dsv_tensor *t = dsv_safetensors_find(model->files, DSV_PACKED_TOKENIZER);

	if (t == NULL)
		return dsv_fail(err, DSV_FORMAT, "tensor \"%s\" is missing", DSV_PACKED_TOKENIZER);
	return dsv_tokenizer_open_packed(t->data, dsv_tensor_bytes(t), &model->mem, &model->tokenizer, err);
}

static dsv_code
check_tokenizer(dsv_model *model, dsv_error *err)
{
	const dsv_language_config *c = &model->config.language;
	size_t		len;
	int			size;

	size = dsv_tokenizer_size(model->tokenizer);
	if (size > c->vocab)
	{
		dsv_fail(err, DSV_FORMAT, "tokenizer.json does not suit config.json");
		dsv_detail(err, "It has tokens up to %d, \"vocab_size\" is %d.", size - 1, c->vocab);
		return DSV_FORMAT;
	}
	model->special.image = dsv_tokenizer_added(model->tokenizer, "<image>");
	model->special.bos = c->bos;
	model->special.eos = c->eos;
	if (model->special.image < 0)
		return dsv_fail(err, DSV_FORMAT, "tokenizer.json has no token \"<image>\"");
	if (dsv_tokenizer_bytes(model->tokenizer, c->bos, &len) == NULL ||
		dsv_tokenizer_bytes(model->tokenizer, c->eos, &len) == NULL)
	{
		dsv_fail(err, DSV_FORMAT, "tokenizer.json lacks the start or end token of config.json");
		dsv_detail(err, "They are %d and %d.", c->bos, c->eos);
		return DSV_FORMAT;
	}
	return DSV_OK;
}

/* ---- digest ---- */

static void
add_number(dsv_sha256 *sha, uint64_t n)
{
	uint8_t		bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t) (n >> (8 * i));
	dsv_sha256_add(sha, bytes, sizeof(bytes));
}

/* A file's bytes, then their number; an absent file counts as an empty one. */
static dsv_code
add_file(dsv_sha256 *sha, const char *dir, const char *name, dsv_error *err)
{
	char		path[DSV_PATH_MAX];
	char		buf[16384];
	uint64_t	total = 0;
	ssize_t		n;
	int			fd;
	dsv_code	code = dsv_path_join(path, dir, name, err);

	if (code != DSV_OK)
		return code;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno != ENOENT)
		return dsv_fail_errno(err, errno, "could not open file \"%s\"", path);
	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) != 0)
	{
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			code = dsv_fail_errno(err, errno, "could not read \"%s\"", path);
			break;
		}
		dsv_sha256_add(sha, buf, (size_t) n);
		total += (uint64_t) n;
	}
	if (fd >= 0)
		close(fd);
	add_number(sha, total);
	return code;
}

static void
add_weights(dsv_sha256 *sha, const uint8_t *base, size_t len)
{
	uint64_t	header = 8;
	const uint8_t *data;
	size_t		size;

	for (int i = 0; i < 8; i++)
		header += (uint64_t) base[i] << (8 * i);
	data = base + header;
	size = len - header;
	add_number(sha, len);
	dsv_sha256_add(sha, base, header);
	if (size <= DIGEST_BLOCKS * DIGEST_BLOCK)
		dsv_sha256_add(sha, data, size);
	else
		for (size_t i = 0; i < DIGEST_BLOCKS; i++)
			dsv_sha256_add(sha, data + (size - DIGEST_BLOCK) * i / (DIGEST_BLOCKS - 1),
						   DIGEST_BLOCK);
}

static dsv_code
make_digest(dsv_model *model, bool packed, dsv_error *err)
{
	static const char *const files[] = {
		"config.json", "processor_config.json", "tokenizer.json", OWN_FILE
	};
	static const char hex[] = "0123456789abcdef";
	uint8_t		out[32];
	const void *base;
	size_t		len;
	dsv_sha256	sha;

	dsv_sha256_init(&sha);
	for (int i = 0; !packed && i < 4; i++)
	{
		dsv_code	code = add_file(&sha, model->dir, files[i], err);

		if (code != DSV_OK)
			return code;
	}
	for (int i = 0; dsv_safetensors_mapping(model->files, i, &base, &len); i++)
		add_weights(&sha, base, len);
	dsv_sha256_end(&sha, out);
	for (int i = 0; i < 32; i++)
	{
		model->info.digest[2 * i] = hex[out[i] >> 4];
		model->info.digest[2 * i + 1] = hex[out[i] & 15];
	}
	model->info.digest[64] = '\0';
	return DSV_OK;
}

/* ---- open and close ---- */

static void
advise(const dsv_model *model, int advice)
{
	const void *base;
	size_t		len;

	for (int i = 0; dsv_safetensors_mapping(model->files, i, &base, &len); i++)
		(void) madvise((void *) base, len, advice);
}

/* Opening reads a page here and there */
static void
advise_opening(const dsv_model *model)
{
	advise(model, MADV_RANDOM);
}

/*
 * Computing reads on and on.  Files that are read as huge pages are mapped as such, too, where
 * the file system can: a process that maps 4 GB then takes 2 thousand faults and not 60.
 */
static void
advise_use(const dsv_model *model)
{
	advise(model, MADV_NORMAL);
#ifdef MADV_HUGEPAGE
	advise(model, MADV_HUGEPAGE);
#endif
}

static void
fill_info(dsv_model *model)
{
	const dsv_config *c = &model->config;
	dsv_model_info *info = &model->info;
	const void *base;
	size_t		len;

	info->name = model->name;
	info->notice = model->notice;
	info->parameters = model->weights.parameters;
	info->dtype = model->weights.dtype;
	for (int i = 0; dsv_safetensors_mapping(model->files, i, &base, &len); i++)
		info->bytes += (int64_t) len;
	info->image_size = c->vision.image_size;
	info->max_tiles = c->max_tiles;
	info->context = c->language.context;
	info->vocab = c->language.vocab;
	info->hidden = c->language.hidden;
	info->layers = c->language.layers;
	info->vision_layers = c->vision.layers;
	info->experts = c->language.experts;
	info->mla = c->language.mla;
	info->answers.prefix = model->answer_word[DSV_ANSWER_PREFIX];
	info->answers.yes = model->answer_word[DSV_ANSWER_YES];
	info->answers.no = model->answer_word[DSV_ANSWER_NO];
}

static dsv_code
bind_weights(dsv_model *model, dsv_error *err)
{
	advise_opening(model);
	return dsv_weights_bind(model->files, &model->config, &model->mem, &model->weights, err);
}

static dsv_code
open_folder(dsv_model *model, dsv_error *err)
{
	dsv_code	code;

	if ((code = dsv_config_load(model->dir, &model->config, err)) != DSV_OK ||
		(code = dsv_safetensors_open_dir(model->dir, &model->mem, &model->files, err)) != DSV_OK ||
		(code = bind_weights(model, err)) != DSV_OK ||
		(code = open_tokenizer(model, err)) != DSV_OK)
		return code;
	return open_own(model, err);
}

static dsv_code
read_packed(dsv_model *model, const dsv_packed *packed, dsv_error *err)
{
	json_t	   *own = NULL;
	dsv_code	code = dsv_config_parse(packed->config, packed->processor, &model->config, err);

	if (code == DSV_OK)
		code = bind_weights(model, err);
	if (code == DSV_OK)
		code = open_packed_tokenizer(model, err);
	if (code == DSV_OK && packed->own != NULL)
		code = dsv_json_load_bytes(OWN_FILE, packed->own, strlen(packed->own), &own, err);
	if (code == DSV_OK)
		code = read_own_or_builtin(model, own, err);
	if (code == DSV_OK && model->name == NULL)
		code = copy_string(model, &model->name, packed->name, err);
	json_decref(own);
	model->info.packed = true;
	model->info.quant = packed->quant;
	memcpy(model->info.source, packed->source, sizeof(model->info.source));
	return code;
}

static dsv_code
open_packed(dsv_model *model, dsv_error *err)
{
	dsv_packed	packed;
	dsv_code	code = dsv_packed_open(model->dir, &model->mem, &model->files, &packed, err);

	if (code != DSV_OK)
		return code;
	code = read_packed(model, &packed, err);
	dsv_packed_close(&packed);
	return code;
}

static dsv_code
open_parts(dsv_model *model, const char *path, dsv_error *err)
{
	struct stat st;
	bool		packed = stat(path, &st) == 0 && S_ISREG(st.st_mode);
	dsv_code	code = copy_string(model, &model->dir, path, err);

	if (code == DSV_OK)
		code = packed ? open_packed(model, err) : open_folder(model, err);
	if (code == DSV_OK)
		code = check_tokenizer(model, err);
	if (code != DSV_OK)
		return code;
	fill_info(model);
	code = make_digest(model, packed, err);
	if (!packed)
		memcpy(model->info.source, model->info.digest, sizeof(model->info.source));
	advise_use(model);
	return code;
}

dsv_code
dsv_model_open(const char *path, const dsv_mem *mem, dsv_model **out, dsv_error *err)
{
	dsv_error	local;
	dsv_model  *model;
	dsv_code	code;

	if (err == NULL)
		err = &local;
	*out = NULL;
	model = dsv_alloc_zero(mem, 1, sizeof(*model));
	if (model == NULL)
		return dsv_fail_nomem(err, sizeof(*model));
	model->mem = mem != NULL ? *mem : dsv_mem_libc;
	code = open_parts(model, path, err);
	if (code == DSV_OK)
		*out = model;
	else
		dsv_model_close(model);
	return code;
}

void
dsv_model_close(dsv_model *model)
{
	dsv_mem		mem;

	if (model == NULL)
		return;
	mem = model->mem;
	for (int i = 0; i < DSV_TASK_COUNT; i++)
		dsv_free(&mem, model->task_prompt[i]);
	for (int i = 0; i < DSV_ANSWER_WORDS; i++)
		dsv_free(&mem, model->answer_word[i]);
	dsv_free(&mem, model->name);
	dsv_free(&mem, model->notice);
	dsv_free(&mem, model->dir);
	if (model->tokenizer != NULL)
		dsv_tokenizer_close(model->tokenizer);
	dsv_weights_free(&model->weights, &mem);
	dsv_safetensors_close(model->files);
	dsv_free(&mem, model);
}

/* ---- questions to an open model ---- */

const dsv_model_info *
dsv_model_get_info(const dsv_model *model)
{
	return &model->info;
}

const char *
dsv_model_task_prompt(const dsv_model *model, dsv_task task)
{
	return (unsigned) task < DSV_TASK_COUNT ? model->task_prompt[task] : NULL;
}

/*
 * Reads pages and maps them.  MADV_WILLNEED would be no faster and fill the page cache with
 * small pages, whatever advise_use() asked for.
 */
static dsv_code
touch_pages(const char *base, size_t len, dsv_error *err)
{
	size_t		page = (size_t) sysconf(_SC_PAGESIZE);

#ifdef MADV_POPULATE_READ
	if (madvise((void *) (uintptr_t) base, len, MADV_POPULATE_READ) == 0)
		return DSV_OK;
	if (errno != EINVAL)
		return dsv_fail_errno(err, errno, "could not read the weights");
#endif
	for (size_t i = 0; i < len; i += page)
		(void) *(const volatile char *) (base + i);
	return DSV_OK;
}

static dsv_code
touch_file(const char *base, size_t len, const dsv_poll *poll, int64_t *touched, dsv_error *err)
{
	dsv_code	code = DSV_OK;

	for (size_t at = 0; code == DSV_OK && at < len; at += PREWARM_PIECE)
	{
		size_t		piece = len - at < PREWARM_PIECE ? len - at : PREWARM_PIECE;

		if (dsv_poll_canceled(poll))
			return dsv_fail_canceled(err);
		code = touch_pages(base + at, piece, err);
		*touched += (int64_t) piece;
	}
	return code;
}

dsv_code
dsv_model_prewarm(const dsv_model *model, const dsv_poll *poll, int64_t *resident, dsv_error *err)
{
	int64_t		touched = 0;
	const void *base;
	size_t		len;
	dsv_code	code = DSV_OK;

	for (int i = 0; code == DSV_OK && dsv_safetensors_mapping(model->files, i, &base, &len); i++)
		code = touch_file(base, len, poll, &touched, err);
	if (resident != NULL)
		*resident = touched;
	return code;
}
