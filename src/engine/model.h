/*
 * model.h
 *		What a dsv_model holds.
 */
#ifndef DSV_MODEL_H
#define DSV_MODEL_H

#include "config.h"
#include "tokenizer.h"
#include "weights.h"

/* Special tokens of the conversation layout, found by content in the tokenizer. */
typedef struct dsv_special
{
	int32_t		image;			/* <image> */
	int32_t		bos;			/* from config.json */
	int32_t		eos;
} dsv_special;

enum
{
	DSV_ANSWER_PREFIX,
	DSV_ANSWER_YES,
	DSV_ANSWER_NO,
	DSV_ANSWER_WORDS
};

struct dsv_model
{
	dsv_mem		mem;
	char	   *dir;				/* or a packed file */
	dsv_config	config;
	dsv_safetensors *files;
	dsv_weights weights;
	dsv_tokenizer *tokenizer;
	dsv_special special;
	dsv_model_info info;
	char	   *name;
	char	   *notice;			/* or NULL */
	char	   *task_prompt[DSV_TASK_COUNT];	/* NULL: not trained for it */
	char	   *answer_word[DSV_ANSWER_WORDS];	/* behind info.answers */
};

#endif
