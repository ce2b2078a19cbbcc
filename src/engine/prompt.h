/*
 * prompt.h
 *		A conversation to token ids: exactly the reference's layout.
 *
 *	BOS enc(system) { enc("<|User|>: " text "\n\n<|Assistant|>:") enc(answer) EOS } ...
 *
 * Turn texts are stripped of Unicode white space; an empty user turn is
 * "<|User|>:<|Assistant|>:".  The text is cut at images and each piece encoded alone; an
 * image is its number of <image> positions.  The last turn is an assistant's (added empty
 * when it is not), whose EOS is left away: the model goes on from there.
 */
#ifndef DSV_PROMPT_H
#define DSV_PROMPT_H

#include "model.h"
#include "tile.h"

typedef struct dsv_prompt
{
	dsv_tokens	tokens;
	int		   *image_at;		/* [nimages] first position of each image */
	int		   *image_len;		/* [nimages] */
	int			nimages;
} dsv_prompt;

/* grids[i] belongs to the i-th image part; the number of image parts must be nimages.
 * Errors: INPUT, NOMEM. */
dsv_code	dsv_prompt_build(const dsv_model *model, const dsv_turn *turns, int nturns,
							 const dsv_grid *grids, int nimages, const dsv_mem *mem,
							 dsv_prompt *out, dsv_error *err);
void		dsv_prompt_free(dsv_prompt *prompt, const dsv_mem *mem);

#endif
