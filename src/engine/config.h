/*
 * config.h
 *		The resolved configuration of a checkpoint: config.json as a diff against the class
 *		defaults of the reference, and processor_config.json.
 *
 * Every key the reference reads is either taken over here or checked to hold the one
 * value that is implemented; anything else is refused by name (UNSUPPORTED).
 */
#ifndef DSV_CONFIG_H
#define DSV_CONFIG_H

#include "error.h"

#define DSV_MAX_CANDIDATES 256
#define DSV_MAX_EXPERTS 1024	/* routed ones of a layer */

typedef struct dsv_size
{
	int			w;
	int			h;
} dsv_size;

typedef struct dsv_vision_config
{
	int			image_size;		/* pixels of a tile's side */
	int			patch;
	int			grid;			/* image_size / patch: patches a side */
	int			width;
	int			layers;
	int			heads;			/* head_dim = width / heads */
	int			mlp;			/* int(width * mlp_ratio) */
	float		mean[3];
	float		std[3];
} dsv_vision_config;

typedef struct dsv_projector_config
{
	int			ratio;			/* downsample_ratio: side of a block of patches */
	int			grid;			/* ceil(vision.grid / ratio): tokens a side */
	int			in;				/* width * ratio^2 */
	int			out;			/* n_embed = hidden */
	int			depth;			/* linear layers, GELU between */
	int			inner;			/* n_embed * mlp_ratio */
} dsv_projector_config;

typedef enum dsv_scoring
{
	DSV_SCORING_SOFTMAX,
	DSV_SCORING_SIGMOID,
} dsv_scoring;

typedef enum dsv_topk
{
	DSV_TOPK_GREEDY,			/* groups ignored, as the reference does */
	DSV_TOPK_NOAUX,				/* bias for the choice, groups by their two best */
} dsv_topk;

typedef struct dsv_language_config
{
	int			vocab;
	int			hidden;
	int			layers;
	int			heads;
	int			kv_heads;		/* MHA only; divides heads */
	bool		mla;
	int			head_dim;		/* MHA: hidden / heads */
	int			kv_rank;		/* MLA latent */
	int			q_rank;			/* 0: q_proj, else q_a_proj, q_a_layernorm, q_b_proj */
	int			nope;			/* MLA: query/key dims without position */
	int			rope;			/* MLA: with position; MHA: head_dim */
	int			v_dim;			/* MLA: value dims; MHA: head_dim */
	int			dense_mlp;		/* intermediate_size */
	int			experts;		/* routed; 0 = no MoE layer */
	int			shared;			/* shared experts; 0 = none */
	int			moe_mlp;		/* width of a routed expert; the shared one is shared * moe_mlp */
	int			top_k;
	int			first_dense;	/* first_k_dense_replace */
	int			moe_freq;
	dsv_scoring scoring;
	dsv_topk	topk;
	bool		norm_topk;
	float		routed_scale;
	int			groups;
	int			topk_groups;
	float		rms_eps;
	float		latent_eps;		/* of kv_a_layernorm (and q_a_layernorm): 1e-6 always */
	double		rope_theta;
	int			context;		/* max_position_embeddings */
	int			bos;
	int			eos;
	bool		attention_bias;
} dsv_language_config;

typedef struct dsv_config
{
	dsv_vision_config vision;
	dsv_projector_config projector;
	dsv_language_config language;
	int			ncandidates;	/* candidate_resolutions in the file's order */
	dsv_size	candidates[DSV_MAX_CANDIDATES];
	int			max_tiles;		/* largest (w / S) * (h / S) of them */
} dsv_config;

/* Reads DIR/config.json and DIR/processor_config.json (which may be absent: its values
 * then come from config.json and the class defaults).  Errors: IO, FORMAT, UNSUPPORTED. */
dsv_code	dsv_config_load(const char *dir, dsv_config *out, dsv_error *err);

/* The same from the texts of the files; processor may be NULL. */
dsv_code	dsv_config_parse(const char *config, const char *processor, dsv_config *out,
							 dsv_error *err);

/* Layer i has routed experts. */
static inline bool
dsv_config_is_moe(const dsv_language_config *c, int layer)
{
	return c->experts > 0 && layer >= c->first_dense && layer % c->moe_freq == 0;
}

/* Candidates and sizes of the published models, for geometry without a model. */
extern const dsv_config dsv_config_published;

#endif
