/*
 * weights.h
 *		A checkpoint's tensors bound to struct fields, shapes checked once.
 *
 * Matrices point into the mapping, in the file's own dtype: a backend has no copy.
 * Vectors (norms, biases, separators: some 10^5 numbers) are widened to float, since
 * every kernel wants them so; they live in one block owned by dsv_weights.
 */
#ifndef DSV_WEIGHTS_H
#define DSV_WEIGHTS_H

#include "../kernels/kernels.h"
#include "config.h"
#include "safetensors.h"

/* What the model does with a tensor, and so how a packed file may hold it */
typedef enum dsv_use
{
	DSV_USE_NONE,				/* left out */
	DSV_USE_VECTOR,				/* widened to float */
	DSV_USE_MATRIX,				/* tower, projector, kv_b: of a float type */
	DSV_USE_ROUTER,				/* of a float type */
	DSV_USE_LANGUAGE,			/* may be quantised */
	DSV_USE_EXPERT,				/* of a routed expert; may be quantised */
} dsv_use;

typedef struct dsv_matrix
{
	const void *data;			/* [rows, cols] row-major, or the panels of kernels.h */
	kern_dtype	dtype;
	int			rows;
	int			cols;
} dsv_matrix;

typedef struct dsv_linear
{
	dsv_matrix	w;				/* [out, in] */
	const float *bias;			/* [out] or NULL */
} dsv_linear;

typedef struct dsv_norm
{
	const float *w;
	const float *b;				/* NULL for RMS norms */
} dsv_norm;

typedef struct dsv_vision_block
{
	dsv_norm	norm1;
	dsv_linear	qkv;			/* [3 * width, width]: q | k | v */
	dsv_linear	proj;
	dsv_norm	norm2;
	dsv_linear	fc1;			/* [mlp, width] */
	dsv_linear	fc2;			/* [width, mlp] */
} dsv_vision_block;

typedef struct dsv_mlp
{
	dsv_matrix	gate;			/* [inner, hidden] */
	dsv_matrix	up;				/* [inner, hidden] */
	dsv_matrix	down;			/* [hidden, inner] */
	kern_dtype	in;				/* of gate and up; KERN_F32: of float types */
} dsv_mlp;

typedef struct dsv_layer
{
	const float *input_norm;	/* [hidden] */
	const float *post_norm;		/* [hidden] */

	/* MHA: q, k, v, o.  MLA: q (or q_a, q_a_norm, q_b), kv_a, kv_a_norm, kv_b, o */
	dsv_linear	q;				/* MHA [heads * head_dim, hidden]; MLA [heads * (nope + rope), hidden] */
	dsv_linear	k;				/* [kv_heads * head_dim, hidden] */
	dsv_linear	v;
	dsv_linear	q_a;			/* [q_rank, hidden] */
	const float *q_a_norm;		/* [q_rank] */
	dsv_linear	q_b;			/* [heads * (nope + rope), q_rank] */
	dsv_linear	kv_a;			/* [kv_rank + rope, hidden]: latent | rotary key */
	const float *kv_a_norm;		/* [kv_rank] */
	dsv_matrix	kv_b;			/* [heads * (nope + v_dim), kv_rank]: per head key | value */
	dsv_linear	o;				/* [hidden, heads * v_dim] */

	bool		moe;
	dsv_mlp		mlp;			/* dense layer, or the shared experts as one (rows 0: none) */
	dsv_matrix	router;			/* [experts, hidden] */
	const float *router_bias;	/* e_score_correction_bias [experts], or NULL */
	const dsv_mlp *experts;		/* [experts] */
	kern_dtype	experts_in;		/* of all their gates and ups, like dsv_mlp.in */
	kern_dtype	experts_down;
} dsv_layer;

typedef struct dsv_weights
{
	/* vision */
	dsv_matrix	patch;			/* [width, 3 * patch * patch]: channel, y, x */
	const float *patch_bias;	/* [width] */
	dsv_matrix	pos_embed;		/* [grid * grid, width] */
	dsv_vision_block *blocks;	/* [vision.layers] */
	dsv_norm	vision_norm;
	/* projector */
	dsv_linear *projector;		/* [depth] */
	const float *image_newline; /* [hidden] */
	const float *view_separator;	/* [hidden]; the file spells it view_seperator */
	/* language */
	dsv_matrix	embed;			/* [vocab, hidden] */
	dsv_layer  *layers;			/* [language.layers] */
	const float *final_norm;	/* [hidden] */
	dsv_matrix	lm_head;		/* [vocab, hidden] */

	int64_t		parameters;		/* numbers bound (skipped tensors not counted) */
	const char *dtype;			/* "bf16", "f16", "f32" or "mixed" over the matrices; the smaller
								 * of "q8" and "q4" when some are quantised */
	uint8_t    *uses;			/* dsv_use of each tensor */
	void	   *block;			/* owns the vectors and arrays above */
} dsv_weights;

/*
 * Binds every tensor that the configuration calls for.  A matrix [rows, cols] is of a float
 * type, or quantised where its use allows: U8 [panels, bytes of a panel].  A
 * missing tensor, a wrong shape or type, and a tensor that nothing asks for (other than
 * vision.attn_pool.* and a packed file's tokenizer) are FORMAT errors that name it.
 */
dsv_code	dsv_weights_bind(const dsv_safetensors *st, const dsv_config *config, const dsv_mem *mem,
							 dsv_weights *out, dsv_error *err);
void		dsv_weights_free(dsv_weights *weights, const dsv_mem *mem);

#endif
