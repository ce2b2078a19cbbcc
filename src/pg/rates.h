/*
 * rates.h
 *		What calls cost lately, for the planner and vl_estimate.
 *
 * Means over the last calls of a model and task, the older the lighter; of all sessions when
 * dsvl2 is in shared_preload_libraries, else of this one.  They are of this machine and of
 * the settings that those calls had.
 */
#ifndef DSVL2_RATES_H
#define DSVL2_RATES_H

#include "compat.h"

#include "infer.h"

/* A mean is sum / weight; nothing is known while weight is 0. */
typedef struct RateMean
{
	double		sum;
	double		weight;
} RateMean;

typedef struct Rates
{
	RateMean	call_ms;
	RateMean	image_ms;		/* decoding, an image */
	RateMean	tile_ms;		/* a tile that was computed */
	RateMean	prompt_ms;		/* a token of the prompt that was not cached */
	RateMean	answer_ms;		/* a token of the answer */
	RateMean	image_tiles;	/* an image, computed or cached */
	RateMean	image_tokens;	/* an image */
	RateMean	text_tokens;	/* a call's prompt, images apart */
	RateMean	answer_tokens;	/* a call */
} Rates;

Size		RatesMemorySize(void);
void		AttachRatesMemory(void);

/* A call that was computed and has no error */
void		RatesRecord(const InferCall *call, const dsv_usage *usage);

/* digest: of the model as registered.  False when nothing is known. */
bool		RatesFind(const char *digest, dsv_task task, Rates *out);

/* 0 when nothing is known */
static inline double
RateOf(RateMean mean)
{
	return mean.weight > 0 ? mean.sum / mean.weight : 0;
}

#endif
