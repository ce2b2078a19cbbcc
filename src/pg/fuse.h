/*
 * fuse.h
 *		dsvl2.max_calls_per_statement: a statement that would compute more is ended.
 */
#ifndef DSVL2_FUSE_H
#define DSVL2_FUSE_H

/* Before a call is computed: raises 53400 when the statement may compute no more. */
void		CheckFuse(void);

/* The engine has taken the call. */
void		CountForFuse(void);

#endif
