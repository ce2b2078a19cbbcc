/*
 * fn_metric.c
 *		How near an answer is to the truth: vl_anls, vl_cer.
 *
 * Characters are code points.  The edit distance is the server's own; it hears no cancel, so
 * what it would spend is bounded instead.
 */
#include "compat.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/formatting.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(vl_anls);
PG_FUNCTION_INFO_V1(vl_cer);

/* Product of two lengths that the edit distance takes on, half a second of work.  A page that fills
 * the published models' context has less than 16000 characters. */
#define MAX_CELLS INT64CONST(256000000)

static int
edits(const char *a, int a_len, const char *b, int b_len)
{
	int64		cells;

	CHECK_FOR_INTERRUPTS();
	cells = (int64) pg_mbstrlen_with_len(a, a_len) * pg_mbstrlen_with_len(b, b_len);
	if (cells > MAX_CELLS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("texts are too long to be compared"),
				 errdetail("The product of their lengths is " INT64_FORMAT " characters, and the limit is "
						   INT64_FORMAT ".", cells, MAX_CELLS)));
	return varstr_levenshtein(a, a_len, b, b_len, 1, 1, 1, true);
}

/* vl_cer(answer, truth): edits a character of the truth.  Where the truth is empty there is nothing
 * to divide by: 0 for an empty answer, else 1. */
Datum
vl_cer(PG_FUNCTION_ARGS)
{
	text	   *answer = PG_GETARG_TEXT_PP(0);
	text	   *truth = PG_GETARG_TEXT_PP(1);
	int			length = pg_mbstrlen_with_len(VARDATA_ANY(truth), VARSIZE_ANY_EXHDR(truth));

	if (length == 0)
		PG_RETURN_FLOAT4(VARSIZE_ANY_EXHDR(answer) == 0 ? 0 : 1);
	PG_RETURN_FLOAT4((float4) edits(VARDATA_ANY(answer), VARSIZE_ANY_EXHDR(answer),
									VARDATA_ANY(truth), VARSIZE_ANY_EXHDR(truth)) / length);
}

/* Bytes of the white space that s begins with, 0 for anything else: what Unicode has as such, and
 * the separators below the space, as the published scripts take it */
static int
space_length(const char *s, int len)
{
	static const pg_wchar spaces[] = {0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000};
	unsigned char c = *s;
	pg_wchar	point;

	if (c <= 0x7F)
		return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
	if (GetDatabaseEncoding() != PG_UTF8)
		return 0;
	point = utf8_to_unicode((const unsigned char *) s);
	for (int i = 0; i < lengthof(spaces); i++)
		if (point == spaces[i])
			return len;
	return point >= 0x2000 && point <= 0x200A ? len : 0;
}

/* In lower case, white space as single spaces and none around */
static char *
normalize(const text *t, Oid collation)
{
	char	   *s = str_tolower(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), collation);
	char	   *to = s;
	bool		space = false;

	for (const char *from = s; *from != '\0';)
	{
		int			len = pg_mblen(from);

		if (space_length(from, len) > 0)
			space = to > s;
		else
		{
			if (space)
				*to++ = ' ';
			space = false;
			memmove(to, from, len);
			to += len;
		}
		from += len;
	}
	*to = '\0';
	return s;
}

/*
 * vl_anls(answer, truths): 1 - edits / length for the nearest of the truths, and 0 below one half.
 *
 * Biten and others, "Scene Text Visual Question Answering" (ICCV 2019), equation 1, as the script
 * of the DocVQA challenge and VLMEvalKit compute it: the edits between the normalized texts, the
 * length of the longer of the texts as they are, and one half itself counts.
 */
Datum
vl_anls(PG_FUNCTION_ARGS)
{
	text	   *answer = PG_GETARG_TEXT_PP(0);
	char	   *normal = normalize(answer, PG_GET_COLLATION());
	int			length = pg_mbstrlen_with_len(VARDATA_ANY(answer), VARSIZE_ANY_EXHDR(answer));
	double		best = -1;
	Datum	   *truths;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &truths, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *truth;
		char	   *s;
		int			longer;

		if (nulls[i])
			continue;
		truth = DatumGetTextPP(truths[i]);
		s = normalize(truth, PG_GET_COLLATION());
		longer = Max(length, pg_mbstrlen_with_len(VARDATA_ANY(truth), VARSIZE_ANY_EXHDR(truth)));
		best = Max(best, 1 - (double) edits(normal, strlen(normal), s, strlen(s)) / Max(longer, 1));
		pfree(s);
	}
	if (best < 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT4((float4) (best >= 0.5 ? best : 0));
}
