/*
 * error_report.h
 *		From the engine's errors to PostgreSQL's.
 *
 * A row error (VL001 to VL006) concerns one image or one answer and obeys on_error; every
 * other error ends the statement.
 */
#ifndef DSVL2_ERROR_REPORT_H
#define DSVL2_ERROR_REPORT_H

#include "compat.h"

#include "../engine/dsv.h"

#define ERRCODE_VL_IMAGE		MAKE_SQLSTATE('V', 'L', '0', '0', '1')
#define ERRCODE_VL_IMAGE_SIZE	MAKE_SQLSTATE('V', 'L', '0', '0', '2')
#define ERRCODE_VL_CONTEXT		MAKE_SQLSTATE('V', 'L', '0', '0', '3')
#define ERRCODE_VL_TRUNCATED	MAKE_SQLSTATE('V', 'L', '0', '0', '4')
#define ERRCODE_VL_SCHEMA		MAKE_SQLSTATE('V', 'L', '0', '0', '5')
#define ERRCODE_VL_EMPTY		MAKE_SQLSTATE('V', 'L', '0', '0', '6')

/* An error to be raised or kept; texts are in the server's encoding. */
typedef struct VlError
{
	int			sqlerrcode;		/* 0 = none */
	char		message[256];
	char		detail[256];
	char		hint[256];
} VlError;

void		VlErrorFromEngine(VlError *error, const dsv_error *err);

/* hint may be empty */
void		VlErrorSet(VlError *error, int sqlerrcode, const char *message, const char *hint);
bool		VlErrorIsRow(const VlError *error);

/* ereport(elevel, ...) of a kept error */
void		VlErrorReport(const VlError *error, int elevel);

/* Copies a text of the engine in the server's encoding, cut to size; never fails. */
void		CopyEngineText(char *to, size_t size, const char *from);

/* For a callback of error_context_stack around a query that a function is given: an error that has
 * a position points into that query.  False when it has none. */
bool		PointIntoQuery(const char *query);

/* Raises the engine's error; for calls that have no row to spare. */
void		ReportEngineError(const dsv_error *err) __attribute__((noreturn));

#endif
