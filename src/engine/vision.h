/*
 * vision.h
 *		The SigLIP tower and the projector: pixels of a tile to rows of the language model.
 */
#ifndef DSV_VISION_H
#define DSV_VISION_H

#include "compute.h"
#include "config.h"

/* Scratch of one tile: [patches, ...] buffers, taken from the engine's arena. */
typedef struct dsv_vision_scratch
{
	float	   *x;				/* [patches, width] residual stream */
	float	   *h;				/* [patches, width] norm output, attention output */
	float	   *wide;			/* [patches, max(3 width, mlp, 3 patch^2)] */
	float	   *block;			/* [tokens, in] 2 x 2 blocks for the projector */
	float	   *inner;			/* [tokens, inner] x 2 */
} dsv_vision_scratch;

void		dsv_vision_layout(const dsv_config *config, dsv_arena *arena, dsv_vision_scratch *out);
size_t		dsv_vision_worker_floats(const dsv_config *config);
size_t		dsv_vision_packed_bytes(const dsv_config *config);

/* Steps of dsv_vision_run for the progress: tower layers + 1. */
static inline int
dsv_vision_steps(const dsv_config *config)
{
	return config->vision.layers + 1;
}

/*
 * One tile: rgb [size, size, 3] -> out [tokens, hidden], tokens = projector.grid^2.
 * *done counts steps for the progress.  tile is for the trace only.
 * Errors: CANCELED (polled before each layer).
 */
dsv_code	dsv_vision_run(const dsv_compute *ctx, const dsv_config *config, const dsv_weights *weights,
						   const dsv_vision_scratch *scratch, const uint8_t *rgb, int tile,
						   int64_t *done, float *out, dsv_error *err);

#endif
