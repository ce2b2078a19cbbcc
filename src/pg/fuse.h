/*
 * fuse.h
 *		dsvl2.max_calls_per_statement: a statement that would compute more is ended.
 */
#ifndef DSVL2_FUSE_H
#define DSVL2_FUSE_H

/* Before a call is computed; raises 53400 when it is one too many for the statement. */
void		CountForFuse(void);

#endif
