/*
 * dsv.h
 *		The only public header of the engine "dsv": DeepSeek-VL2 in plain C11.
 *
 * A dsv_model is a folder of published weights or a file packed from one, mapped
 * read-only and shared by every process that opens it; it never changes after
 * dsv_model_open().  A
 * dsv_engine is one model plus key/value pages, scratch memory and the right to
 * use the process's worker threads.  A dsv_sequence is one request to an engine:
 * images, a conversation, how to decode.  Nothing happens behind the caller's
 * back: dsv_engine_submit() decodes the images, lays out the prompt and takes all
 * memory the request will ever need; each dsv_engine_step() then does one bounded
 * piece of work for whatever sequence is runnable, until dsv_sequence_state()
 * says DSV_STATE_DONE or DSV_STATE_FAILED.
 *
 *		dsv_model_open(dir, NULL, &model, &err);
 *		dsv_engine_create(model, &options, &engine, &err);
 *		dsv_engine_submit(engine, &request, &seq, &err);
 *		while (dsv_sequence_state(seq) < DSV_STATE_DONE)
 *			dsv_engine_step(engine, &err);
 *		result = dsv_sequence_result(seq);
 *		dsv_sequence_release(seq);
 *
 * Every fallible function returns a dsv_code and fills *err (which may be NULL);
 * none of them jumps, exits or prints.  Callbacks given to the engine must return
 * normally and are called on the caller's thread only.  An engine and its
 * sequences belong to one thread at a time; a model may be shared.
 */
#ifndef DSV_H
#define DSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DSV_VERSION "0.1.0"

/* ---- errors ---- */

typedef enum dsv_code
{
	DSV_OK = 0,
	/* system and request errors: the call cannot be answered */
	DSV_NOMEM,					/* the allocator returned NULL */
	DSV_IO,						/* a file cannot be read; sys_errno is set */
	DSV_FORMAT,					/* a model file contradicts itself or its format */
	DSV_UNSUPPORTED,			/* well-formed, but not implemented: named in msg */
	DSV_LIMIT,					/* a fixed limit of the engine */
	DSV_BUDGET,					/* a limit that the caller set (memory) */
	DSV_INPUT,					/* the request contradicts itself */
	DSV_CANCELED,				/* the poll callback said so */
	DSV_INTERNAL,				/* a bug in the engine */
	/* row errors: this image or this answer, nothing else */
	DSV_IMAGE,					/* not an image, or a damaged one */
	DSV_IMAGE_SIZE,				/* more bytes, pixels or scans than allowed */
	DSV_CONTEXT,				/* prompt longer than the model's context */
	DSV_TRUNCATED,				/* max_tokens reached before the end */
	DSV_SCHEMA,					/* output constraint not satisfiable */
} dsv_code;

/* Texts are in PostgreSQL's message style: msg lower case without a period,
 * detail and hint whole sentences; both may be empty. */
typedef struct dsv_error
{
	dsv_code	code;
	int			sys_errno;
	char		msg[256];
	char		detail[256];
	char		hint[128];
} dsv_error;

/* ---- memory and polling ---- */

/* alloc returns at least 8-byte aligned memory or NULL; it must not jump. */
typedef struct dsv_mem
{
	void	   *(*alloc) (void *ud, size_t size);
	void		(*free) (void *ud, void *ptr);
	void	   *ud;
} dsv_mem;

/* malloc and free; used wherever a dsv_mem pointer is NULL */
extern const dsv_mem dsv_mem_libc;

/* Called every few milliseconds to every layer of work: true cancels. */
typedef struct dsv_poll
{
	bool		(*poll) (void *ud);
	void	   *ud;
} dsv_poll;

/* ---- processor ---- */

typedef enum dsv_cpu_level
{
	DSV_CPU_AUTO = 0,			/* the best this machine has */
	DSV_CPU_GENERIC,
	DSV_CPU_AVX2,				/* AVX2 + FMA + F16C */
	DSV_CPU_AVX2_VNNI,			/* and AVX-VNNI; processors with AVX-512 may lack it */
	DSV_CPU_AVX512,				/* AVX-512 F, BW, DQ, VL */
	DSV_CPU_AVX512_VNNI,
	DSV_CPU_AVX512_BF16,
	DSV_CPU_AMX,				/* tiles of bf16 and int8 */
} dsv_cpu_level;

/* The level in use: never above what the machine has.  Setting chooses the best level up to the
 * given one, from the next step on; DSV_CPU_AUTO restores the default.  Process-wide. */
dsv_cpu_level dsv_cpu_detect(void);
dsv_cpu_level dsv_cpu_current(void);
void		dsv_cpu_set(dsv_cpu_level level);
const char *dsv_cpu_level_name(dsv_cpu_level level);

/* Joins the process's worker threads; the next step starts new ones.  To be
 * called before the process unloads the library or forks. */
void		dsv_shutdown(void);

/* Number of worker threads alive, the caller's own not counted. */
int			dsv_pool_workers(void);

/* "openblas 0.3.21" or "none": opens the library when that was not tried yet. */
const char *dsv_blas_version(void);

/* Name and version of the i-th library the engine was built with, or NULL. */
const char *dsv_library(int i, const char **version);

/* ---- models ---- */

typedef struct dsv_model dsv_model;

typedef enum dsv_task
{
	DSV_TASK_OCR,				/* plain text */
	DSV_TASK_OCR_MARKDOWN,
	DSV_TASK_DESCRIBE,
	DSV_TASK_ASK,				/* {} = the question */
	DSV_TASK_GROUND,			/* {} = the phrase */
	DSV_TASK_GROUND_ANSWER,		/* {} = the question */
	DSV_TASK_EXTRACT,			/* {} = names of fields or a schema: dsv_answers.extract_by_schema */
	DSV_TASK_IS,				/* {} = the statement; scored by the words of dsv_answers */
	DSV_TASK_CLASSIFY,			/* {} = the labels, comma-separated, descriptions in parentheses; scored */
	DSV_TASK_TABLE,				/* answers by a schema: columns, rows */
	DSV_TASK_CHART,				/* answers by a schema: title, series */
	DSV_TASK_COUNT
} dsv_task;

/* How a model was taught to answer: dsvl2.json "answers", else the published family's way. */
typedef struct dsv_answers
{
	const char *prefix;			/* in front of every answer: " " or "" */
	const char *yes;			/* without the prefix */
	const char *no;
	bool		extract_by_schema;	/* the prompt of DSV_TASK_EXTRACT takes a JSON Schema, else the
									 * names of the fields, comma-separated */
} dsv_answers;

/* How a packed file holds the weights */
typedef enum dsv_quant
{
	DSV_QUANT_BF16 = 0,			/* as published */
	DSV_QUANT_Q8,				/* the language model's matrices in 8 bits */
	DSV_QUANT_Q4,				/* the same, routed experts in 4 bits */
	DSV_QUANT_COUNT
} dsv_quant;

/* "bf16", "q8", "q4" */
const char *dsv_quant_name(dsv_quant quant);
bool		dsv_quant_parse(const char *name, dsv_quant *out);

typedef struct dsv_model_info
{
	const char *name;			/* dsvl2.json "name", else the folder's name */
	const char *notice;			/* dsvl2.json "notice": shown at first use; or NULL */
	char		digest[65];		/* SHA-256 over config, tokenizer, task prompts and
								 * tensor directory and sampled data, hex */
	int64_t		parameters;		/* numbers in all tensors that are used */
	int64_t		bytes;			/* of the weight files */
	const char *dtype;			/* of the matrices: "bf16", "f16", "f32", "mixed", "q8", "q4" */
	bool		packed;			/* a file, not a folder */
	dsv_quant	quant;			/* of a packed file; DSV_QUANT_BF16 of a folder */
	char		source[65];		/* digest of the folder it was packed from; its own of a folder */
	int			image_size;		/* pixels of a tile's side */
	int			max_tiles;		/* local tiles at most */
	int			context;		/* tokens: prompt and answer together */
	int			vocab;			/* rows of the output matrix */
	int			hidden;
	int			layers;
	int			vision_layers;
	int			experts;		/* routed experts a layer, 0 = dense */
	bool		mla;
	dsv_answers answers;
} dsv_model_info;

/*
 * Opens a folder exactly as published: config.json (a diff against the class
 * defaults), one or many safetensors with an index, tokenizer.json,
 * processor_config.json, and dsvl2.json if there is one (name, notice, task
 * prompts).  Every tensor is checked for name, type, shape and place in the file.
 * Or a file that dsv_model_pack made of such a folder: then its header is checked
 * against its checksum, its data is not (dsv_model_verify does).
 * Errors: IO, FORMAT, UNSUPPORTED, LIMIT, NOMEM.
 */
dsv_code	dsv_model_open(const char *path, const dsv_mem *mem, dsv_model **out, dsv_error *err);
void		dsv_model_close(dsv_model *model);
const dsv_model_info *dsv_model_get_info(const dsv_model *model);

/* Reads and maps the weights, polling between pieces.  *resident (may be NULL) gets the
 * number of bytes touched.  Errors: CANCELED, IO. */
dsv_code	dsv_model_prewarm(const dsv_model *model, const dsv_poll *poll,
							  int64_t *resident, dsv_error *err);

/* Called between pieces of work on a file, and when it is done; true cancels. */
typedef struct dsv_pack_progress
{
	bool		(*report) (void *ud, int64_t done, int64_t total);	/* bytes */
	void	   *ud;
} dsv_pack_progress;

/* Zeroed = defaults. */
typedef struct dsv_pack_options
{
	dsv_quant	quant;
	int			threads;		/* 0 = one a processor, at most 16 */
	bool		replace;		/* a file of that name may be there */
	dsv_pack_progress progress;
	const dsv_mem *mem;
} dsv_pack_options;

/*
 * Packs a folder into one file: weights in the given quantisation, configuration,
 * tables of the tokenizer, checksums.  Takes some 70 MB of memory whatever the
 * model's size.  The file is written as "PATH.tmp", made durable and only then
 * given its name; after an error neither is left.  Who packs to the same path
 * meanwhile waits, and finds the file there: IO with sys_errno EEXIST.
 * Errors: those of dsv_model_open, INPUT (a packed file), CANCELED.
 */
dsv_code	dsv_model_pack(const char *dir, const char *path, const dsv_pack_options *options,
						   dsv_error *err);

/* Reads a packed file and compares every checksum; progress and mem may be NULL.
 * Errors: IO, FORMAT (the damaged tensor is named), UNSUPPORTED, CANCELED, NOMEM. */
dsv_code	dsv_model_verify(const char *path, const dsv_mem *mem,
							 const dsv_pack_progress *progress, dsv_error *err);

/* The model's prompt for a task: special tokens are written out, "{}" stands for
 * the caller's text.  NULL when the model was not trained for the task. */
const char *dsv_model_task_prompt(const dsv_model *model, dsv_task task);

/* "ocr", "markdown", "describe", "ask", "ground", "ground_answer", "extract", "is", "classify",
 * "table", "chart": also the keys of dsvl2.json. */
const char *dsv_task_name(dsv_task task);

/* Tokens of a text with special tokens off; or -1 (NOMEM, INPUT, CANCELED). */
int			dsv_model_count_tokens(const dsv_model *model, const char *text, size_t len,
								   const dsv_poll *poll, dsv_error *err);

/* ---- images ---- */

typedef enum dsv_image_format
{
	DSV_IMAGE_UNKNOWN = 0,
	DSV_IMAGE_JPEG,
	DSV_IMAGE_PNG,
	DSV_IMAGE_TIFF,
	DSV_IMAGE_WEBP,
	DSV_IMAGE_PDF,				/* of scanned pages: one image a page */
} dsv_image_format;

typedef struct dsv_image_info
{
	dsv_image_format format;
	int			width;			/* pixels as stored, before any orientation */
	int			height;
	int			orientation;	/* EXIF 1..8; 1 when absent */
	int			pages;			/* of TIFF and PDF files; width, height and orientation are
								 * those of the page asked for, else of the first */
} dsv_image_info;

/* Zeroed = defaults. */
typedef struct dsv_image_options
{
	bool		ignore_exif;	/* leave the picture as stored */
	bool		reference_decode;	/* as the reference implementation decodes: no
									 * orientation, alpha dropped, 16-bit grey clipped */
	int			max_tiles;		/* local tiles at most; 0 = the model's own limit */
	size_t		max_bytes;		/* of the file; 0 = no limit */
	int64_t		max_pixels;		/* width x height; 0 = the engine's limit, 2^28 */
	int			page;			/* from 1; 0 = the only one, and a file of several is an error */
} dsv_image_options;

/* Reads the headers only; of a file of several pages, without options->page, those of the first.
 * Errors: IMAGE, IMAGE_SIZE; TIFF and PDF LIMIT (pages); PDF UNSUPPORTED, IO, NOMEM, CANCELED. */
dsv_code	dsv_image_probe(const void *data, size_t len, const dsv_image_options *options,
							const dsv_poll *poll, dsv_image_info *info, dsv_error *err);
const char *dsv_image_format_name(dsv_image_format format);

/* Whether a page (0 = not given) can be meant in an image of so many.  Errors: IMAGE. */
dsv_code	dsv_image_check_pages(int pages, int page, dsv_error *err);

/* Tiles that a picture of this size (after orientation) is cut into, and the
 * positions it takes in a prompt.  model NULL: the published models' geometry.
 * crop false: as one of three or more images. */
void		dsv_image_layout(const dsv_model *model, int width, int height, int max_tiles,
							 bool crop, int *cols, int *rows, int *tokens);

/* ---- pictures: cut, turned, drawn on, written ---- */

typedef struct dsv_picture dsv_picture;

typedef struct dsv_bytes
{
	const void *data;
	size_t		len;
} dsv_bytes;

/* What a function wrote, in memory of the dsv_mem that it was given */
typedef struct dsv_blob
{
	void	   *data;
	size_t		len;
} dsv_blob;

/*
 * Decodes an image (one page of it) as it is stored; the orientation is kept in mind.  mem and
 * poll must outlive the picture.  options: limits, page, reference_decode.
 * Errors: IMAGE, IMAGE_SIZE, NOMEM, CANCELED, LIMIT, UNSUPPORTED, IO.
 */
dsv_code	dsv_picture_open(const dsv_bytes *file, const dsv_image_options *options, const dsv_poll *poll,
							 const dsv_mem *mem, dsv_picture **out, dsv_error *err);
void		dsv_picture_close(dsv_picture *picture);
const dsv_image_info *dsv_picture_info(const dsv_picture *picture);

/*
 * Keeps what is in box (x1 y1 x2 y2, pixels of the stored picture, whole pixels around it),
 * widened by margin times its own sides on each side.  Errors: INPUT (nothing is left).
 */
dsv_code	dsv_picture_crop(dsv_picture *picture, const double box[4], double margin, dsv_error *err);

/* Turns the picture upright and from there by quarter turns, clockwise.  Errors: NOMEM, CANCELED. */
dsv_code	dsv_picture_turn(dsv_picture *picture, int quarter_turns, dsv_error *err);

typedef struct dsv_mark
{
	const char *label;			/* UTF-8 */
	size_t		label_len;
	double		px[4];			/* x1 y1 x2 y2, pixels of the stored picture; a point: x1 = x2, y1 = y2 */
	double		score;			/* shown behind the label; negative = none */
} dsv_mark;

#define DSV_MAX_MARKS 1000

/*
 * Turns the picture upright and draws the marks: outlines, points, labels on plates, in sizes
 * that follow the picture's.  font: path of a TrueType file.
 * Errors: LIMIT (marks), IO and FORMAT (font), NOMEM, CANCELED.
 */
dsv_code	dsv_picture_annotate(dsv_picture *picture, const dsv_mark *marks, int nmarks, const char *font,
								 dsv_error *err);

/* Writes the picture as it stands: PNG (the smallest kind that loses nothing) or JPEG (quality 90).
 * No orientation is written.  Errors: NOMEM, CANCELED. */
dsv_code	dsv_picture_encode(const dsv_picture *picture, dsv_image_format format, dsv_blob *out,
							   dsv_error *err);

/*
 * One page of a document as a file of its own: PNG, upright; the JPEG of a PDF page as it is,
 * with an EXIF orientation put in where the page needs one.  Files that have no pages come back
 * as they are.  options->page: from 1.  Errors: as dsv_picture_open.
 */
dsv_code	dsv_image_page(const dsv_bytes *file, const dsv_image_options *options, const dsv_poll *poll,
						   const dsv_mem *mem, dsv_blob *out, dsv_error *err);

/* SHA-256, lower-case hexadecimal with the final zero byte. */
void		dsv_sha256_hex(const void *data, size_t len, char out[65]);

/* ---- requests ---- */

typedef enum dsv_role
{
	DSV_ROLE_SYSTEM,			/* first turn only */
	DSV_ROLE_USER,
	DSV_ROLE_ASSISTANT,			/* an earlier answer; as the last turn, a prefix to go on from */
} dsv_role;

typedef enum dsv_part_kind
{
	DSV_PART_TEXT,				/* data: never parsed for special tokens */
	DSV_PART_SPECIAL,			/* written by the program: special tokens count */
	DSV_PART_IMAGE,				/* the next image of the request */
} dsv_part_kind;

typedef struct dsv_part
{
	dsv_part_kind kind;
	const char *text;			/* UTF-8, not terminated */
	size_t		len;
} dsv_part;

typedef struct dsv_turn
{
	dsv_role	role;
	const dsv_part *parts;
	int			nparts;
} dsv_turn;

/*
 * Cuts a task prompt at "{}" into SPECIAL, TEXT (user), SPECIAL.  Returns the
 * number of parts written, at most 3; a template without "{}" is one part.
 */
int			dsv_task_parts(const char *prompt, const char *user, size_t user_len,
						   dsv_part parts[3]);

/* ---- grammars: what an answer may look like ---- */

typedef struct dsv_grammar dsv_grammar;

/*
 * A grammar over bytes from a JSON Schema (a subset; what is outside is refused by name).  An
 * answer under it is one JSON text of fixed layout: ", " and ": " between, keys in the schema's
 * order.  Errors: INPUT (malformed), UNSUPPORTED (keyword named), SCHEMA (not satisfiable),
 * LIMIT (too deep or too large), NOMEM.
 */
dsv_code	dsv_grammar_from_schema(const char *schema, size_t len, const dsv_mem *mem,
									dsv_grammar **out, dsv_error *err);

/*
 * The same for a schema of single values (nothing but strings, numbers, true, false and null): the
 * answer is the value itself, so a string stands without quotes and escapes.
 */
dsv_code	dsv_grammar_from_value_schema(const char *schema, size_t len, const dsv_mem *mem,
										  dsv_grammar **out, dsv_error *err);

/* Exactly one of n texts.  Errors: INPUT (none, or an empty one), LIMIT, NOMEM. */
dsv_code	dsv_grammar_from_choices(const dsv_bytes *texts, int n, const dsv_mem *mem,
									 dsv_grammar **out, dsv_error *err);

/*
 * "<|ref|>LABEL<|/ref|><|det|>[[x1, y1, x2, y2], ...]<|/det|>" with whole numbers from 0 to 999
 * and one to max_boxes boxes (0 = no limit).  label NULL: any text that holds no "<".  Errors: INPUT
 * (the label is empty, not UTF-8 or holds "<|"), LIMIT, NOMEM.
 */
dsv_code	dsv_grammar_for_boxes(const dsv_bytes *label, int max_boxes, const dsv_mem *mem,
								  dsv_grammar **out, dsv_error *err);

/* Immutable; it may be shared by sequences and must outlive them. */
void		dsv_grammar_free(dsv_grammar *grammar);

/* Zeroed = greedy. */
typedef struct dsv_sampling
{
	float		temperature;	/* 0 = greedy */
	float		top_p;			/* 0 or 1 = off */
	uint64_t	seed;
	float		repetition_penalty; /* 0 or 1 = off; over the answer's own tokens */
	int			no_repeat_ngram;	/* 0 = off */
} dsv_sampling;

typedef struct dsv_request
{
	const dsv_turn *turns;		/* an empty assistant turn is added at the end
								 * unless the last one is an assistant's */
	int			nturns;
	const dsv_bytes *images;	/* in the order of the DSV_PART_IMAGE parts */
	int			nimages;
	dsv_image_options image;
	dsv_sampling sampling;
	const dsv_bytes *stop;		/* strings that end the answer, cut off it */
	int			nstop;
	int			max_tokens;		/* of the answer; 0 = as many as the context holds */
	bool		keep_special;	/* leave special tokens in the text (grounding) */
	bool		no_prefix_cache;	/* neither use nor leave cached pages */
	bool		no_logprobs;	/* dsv_result.logprobs stays NULL, which saves time: under a grammar
								 * most of what the output matrix costs */

	/* The answer is the model's dsv_answers.prefix (unless an assistant's turn goes before) and a
	 * text of the grammar, or the beginning of one when it finishes with DSV_FINISH_LENGTH; or
	 * NULL.  It must outlive the sequence.  With keep_special, where the grammar has the text of a
	 * special token, the answer has that token; otherwise there are none in the answer.  Not
	 * together with stop. */
	const dsv_grammar *grammar;

	/* Continuations of the prompt to be scored instead of generating an answer, each text as
	 * it would be written, prefix included; or none.  Not together with grammar or stop; sampling
	 * and max_tokens count for nothing. */
	const dsv_bytes *candidates;
	int			ncandidates;
} dsv_request;

/* Candidates of a request at most */
#define DSV_SCORE_MAX 1024

typedef enum dsv_state
{
	DSV_STATE_WAITING,
	DSV_STATE_VISION,
	DSV_STATE_PREFILL,
	DSV_STATE_DECODE,
	DSV_STATE_DONE,
	DSV_STATE_FAILED,			/* canceled, or an error of the step */
} dsv_state;

typedef enum dsv_finish
{
	DSV_FINISH_NONE,
	DSV_FINISH_STOP,			/* end token */
	DSV_FINISH_STOP_STRING,
	DSV_FINISH_LENGTH,			/* max_tokens or the context's end */
	DSV_FINISH_CANCELED,
} dsv_finish;

/* "none", "stop", "stop_string", "length", "canceled" */
const char *dsv_finish_name(dsv_finish finish);

typedef struct dsv_progress
{
	dsv_state	state;
	int64_t		done;			/* tile-layers, layers or tokens, by state; tokens of candidates */
	int64_t		total;
	int			output_tokens;
} dsv_progress;

typedef struct dsv_usage
{
	int			prompt_tokens;
	int			image_tokens;	/* of the prompt's */
	int			cached_tokens;	/* of the prompt's, taken from cached pages */
	int			output_tokens;	/* end token not counted */
	int			tiles;			/* different ones that went through the tower */
	int			cached_tiles;	/* different ones that did not: rows or pages of them were cached */
	double		decode_image_ms;
	double		vision_ms;
	double		prefill_ms;
	double		decode_ms;
} dsv_usage;

/* A continuation under the model: ln P(its tokens and the end token | prompt). */
typedef struct dsv_candidate
{
	double		logprob;		/* sum over ntokens */
	int			ntokens;		/* end token included */
} dsv_candidate;

typedef struct dsv_result
{
	const char *text;			/* UTF-8, whole characters, zero-terminated (it may
								 * contain zero bytes: use len) */
	size_t		len;
	const int32_t *tokens;		/* the end token not included */
	const float *logprobs;		/* natural log of each token's probability under the model,
								 * before grammar, penalties and temperature; 0 where forced */
	const bool *forced;			/* the grammar or dsv_sequence_rewind left the model no choice of
								 * the token: not to be counted in scores */
	const int32_t *ends;		/* bytes of text after each token */
	int			ntokens;
	dsv_finish	finish;
	dsv_usage	usage;
	int			nimages;
	const dsv_image_info *images;	/* as stored */
	const dsv_candidate *candidates;	/* in the request's order */
	int			ncandidates;	/* 0 unless the sequence is done */
} dsv_result;

/* ---- engines ---- */

typedef struct dsv_engine dsv_engine;
typedef struct dsv_sequence dsv_sequence;

typedef enum dsv_precision
{
	DSV_PRECISION_FP32 = 0,		/* fp32 activations and key/value pages */
	DSV_PRECISION_BF16,			/* activations rounded to bf16 before every product */
	DSV_PRECISION_AUTO,			/* bf16 where the instruction set in use when the engine is created
								 * multiplies bf16, else fp32 */
} dsv_precision;

/* What activations are made when they meet quantised weights: integers with a scale for each 32.
 * AUTO is int8 with q4, whose own error is far larger, and with q8 where the machine has dot products
 * of bytes; else int16. */
typedef enum dsv_activations
{
	DSV_ACTIVATIONS_AUTO = 0,
	DSV_ACTIVATIONS_INT16,
	DSV_ACTIVATIONS_INT8,
} dsv_activations;

typedef enum dsv_mla_mode
{
	DSV_MLA_AUTO = 0,			/* expanded for prefill, absorbed for decode */
	DSV_MLA_EXPANDED,
	DSV_MLA_ABSORBED,
} dsv_mla_mode;

typedef enum dsv_trace_stage
{
	DSV_TRACE_TOKENS,			/* ids [1, n]: the prompt */
	DSV_TRACE_PIXELS,			/* bytes [size * size, 3], tile = running number */
	DSV_TRACE_VIT,				/* data [patches, width], layer = 0: embedding, 1..L: after
								 * each block, L + 1: after the final norm */
	DSV_TRACE_PROJECTOR,		/* data [tokens, hidden] of a tile */
	DSV_TRACE_EMBEDS,			/* data [n, hidden] */
	DSV_TRACE_ROUTER,			/* ids and data [n, top_k]: experts and weights, best choice first */
	DSV_TRACE_HIDDEN,			/* data [n, hidden], layer = 0: embedding, 1..L: after each layer */
	DSV_TRACE_FINAL,			/* data [1, hidden]: last row after the final norm */
	DSV_TRACE_LOGITS,			/* data [1, vocab] of the last row */
} dsv_trace_stage;

typedef struct dsv_trace_event
{
	dsv_trace_stage stage;
	int			layer;
	int			tile;
	int			first_row;		/* position in the sequence of row 0 */
	int			rows;
	int			cols;
	const float *data;
	const int32_t *ids;
	const uint8_t *bytes;
} dsv_trace_event;

/* Zeroed = defaults. */
typedef struct dsv_engine_options
{
	const dsv_mem *mem;
	dsv_poll	poll;
	int			threads;		/* 0 = one a processor, at most 16 */
	dsv_precision precision;
	dsv_activations activations;
	dsv_mla_mode mla;
	size_t		kv_memory;		/* bytes of key/value pages; 0 = 512 MiB */
	size_t		memory_limit;	/* bytes of everything else an admission takes; 0 = none */
	int			prefill_rows;	/* rows a prefill pass at most; 0 = the whole prompt */
	bool		no_blas;		/* own kernels only; with AVX-512 they are used anyway */
	void		(*trace) (void *ud, const dsv_trace_event *event);
	void	   *trace_ud;
	bool		trace_all_rows; /* have the last layer compute rows that nobody but the trace needs */
} dsv_engine_options;

/* Errors: NOMEM, INPUT. */
dsv_code	dsv_engine_create(dsv_model *model, const dsv_engine_options *options,
							  dsv_engine **out, dsv_error *err);
void		dsv_engine_destroy(dsv_engine *engine);		/* releases its sequences too */
void		dsv_engine_set_threads(dsv_engine *engine, int threads);

/* Gives the memory of its scratch beyond keep bytes back to the system until work goes on.  No
 * sequence may be left.  For an engine that may have nothing to do for long. */
void		dsv_engine_rest(dsv_engine *engine, size_t keep);

/* Bytes for scratch and the sequence itself, and for key/value pages.  Exactly what admission
 * takes for a greedy request without stop strings, grammar or candidates; `tiles` views of
 * pictures add their rows, but not the few hundred bytes of bookkeeping of each picture nor its
 * pixels. */
typedef struct dsv_memory
{
	size_t		scratch;
	size_t		sequence;
	size_t		kv;
} dsv_memory;
void		dsv_engine_memory(const dsv_engine *engine, int prompt_tokens, int max_tokens,
							  int tiles, dsv_memory *out);

/* Bytes held now: scratch, all sequences, pages in use and cached with the cached rows of tiles. */
void		dsv_engine_memory_held(const dsv_engine *engine, dsv_memory *out);

/*
 * Decodes the images, lays out the prompt, takes all memory.  On error nothing is
 * left behind.  Errors: IMAGE, IMAGE_SIZE, CONTEXT, INPUT, NOMEM, BUDGET, CANCELED,
 * LIMIT.  The request and what it points to are not needed afterwards.
 */
dsv_code	dsv_engine_submit(dsv_engine *engine, const dsv_request *request,
							  dsv_sequence **out, dsv_error *err);

/* Tokens as they stand instead of a conversation; no images.  For measurements and tests. */
dsv_code	dsv_engine_submit_tokens(dsv_engine *engine, const int32_t *tokens, int ntokens,
									 const dsv_request *request, dsv_sequence **out,
									 dsv_error *err);

/*
 * One bounded piece of work: a tile, a layer of a prefill, or a pass over the tokens that
 * decoding sequences which are not paused have not fed yet: the last one of an answer, more after a
 * rewind or where a grammar forced them, those of candidates.  DSV_OK with nothing to do.
 * CANCELED: the poll callback stopped the piece, and every sequence in it has failed; the engine
 * goes on.  SCHEMA: no token can spell what a sequence's grammar asks for; LIMIT: the grammar's states do
 * not fit into memory: that sequence has
 * failed, the others go on.
 */
dsv_code	dsv_engine_step(dsv_engine *engine, dsv_error *err);
bool		dsv_engine_runnable(const dsv_engine *engine);

dsv_state	dsv_sequence_state(const dsv_sequence *seq);

/* A paused sequence keeps all it holds, and no step works for it. */
void		dsv_sequence_pause(dsv_sequence *seq, bool paused);
void		dsv_sequence_progress(const dsv_sequence *seq, dsv_progress *out);

/* The answer so far; valid until the next step, rewind or release. */
const dsv_result *dsv_sequence_result(dsv_sequence *seq);
const int32_t *dsv_sequence_prompt(const dsv_sequence *seq, int *ntokens);

/* Back to the first `keep` tokens of the answer, to decode on from there (greedily the same,
 * unless a forced run is cut inside a character; or after force, which appends tokens that a
 * grammar must allow).  Errors: INPUT, and those of a step. */
dsv_code	dsv_sequence_rewind(dsv_sequence *seq, int keep, const int32_t *force, int nforce,
								dsv_error *err);
void		dsv_sequence_release(dsv_sequence *seq);

/* ---- grounding ---- */

typedef struct dsv_box
{
	int			label_at;		/* byte offset and length of the label in the text */
	int			label_len;
	int			ref_at;			/* byte offset of <|ref|>, or of <|det|> without one */
	int			ref_end;		/* just behind <|/det|> (or <|/ref|>) */
	double		norm[4];		/* x1 y1 x2 y2, 0..999 of the stored picture; a point: x1 = x2 */
	int			px[4];			/* int(v / 999 * side) */
	bool		point;			/* two numbers only */
} dsv_box;

typedef struct dsv_ground
{
	dsv_box    *boxes;
	int			nboxes;
	bool		malformed;		/* parts were skipped or cut off */
} dsv_ground;

/*
 * Reads <|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], ...]<|/det|> out of a text.
 * width and height are the picture's as stored; orientation is the EXIF orientation
 * that was applied before the model saw it (1 = none): boxes are turned back, so that
 * norm and px are always in the stored picture's frame.
 * The tolerant way keeps every well-formed box and says `malformed`; reference =
 * true gives what parse_ref_bbox of the reference draws: on any fault nothing, with
 * nboxes = -1.  Errors: NOMEM, LIMIT.  Free with dsv_ground_free.
 */
dsv_code	dsv_ground_parse(const char *text, size_t len, int width, int height,
							 int orientation, bool reference, const dsv_mem *mem, dsv_ground *out,
							 dsv_error *err);
void		dsv_ground_free(dsv_ground *ground, const dsv_mem *mem);

/* ---- strips: pages too long for one reading ---- */

/* Equal pieces of an upright picture from top to bottom, each as wide as the picture; neighbours
 * share rows of pixels. */
typedef struct dsv_strips
{
	int			count;
	int			height;			/* of each, in pixels */
	int			page_height;
} dsv_strips;

/* Strips that the model reads as large as its tiles allow, but not larger than stored; one where the whole
 * picture is read nearly as large.  overlap: the part of a strip that the next one shows again, 0 .. 0.5.
 * model and max_tiles as in dsv_image_layout. */
void		dsv_strips_plan(const dsv_model *model, int width, int height, int max_tiles, double overlap,
							dsv_strips *out);
int			dsv_strips_top(const dsv_strips *strips, int i);

/* Strip i in the stored picture: x1 y1 x2 y2.  orientation: that the plan's picture was turned by,
 * 1 = none. */
void		dsv_strips_region(const dsv_strips *strips, int i, const dsv_image_info *picture, int orientation,
							  double box[4]);

/* Where two readings meet: of the upper one bytes [0, above_to) stay, of the lower one all but
 * [below_from, below_to). */
typedef struct dsv_seam
{
	int			shared;			/* lines found in both; 0 = nothing goes */
	size_t		above_to;
	size_t		below_from;
	size_t		below_to;
} dsv_seam;

/*
 * Finds the lines at the end of `above` that are the first of `below`, the next strip: equal but for one
 * letter in six, white space and blank lines; digits are equal.  The first and the last of them may have been
 * cut by a strip's edge: of a line that was read twice the whole reading stays, and both stay when they are
 * nothing like each other.  Where lines repeat and more than one seam is possible, none is taken.
 */
void		dsv_strips_join(const dsv_bytes *above, const dsv_bytes *below, double overlap, dsv_seam *out);

#endif							/* DSV_H */
