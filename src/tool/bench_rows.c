/*
 * bench_rows.c
 *		Rows as they are printed and written.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bench.h"

void
bench_add(bench_rows *rows, bench_row row)
{
	if (rows->n == BENCH_MAX_ROWS)
		tool_fail("more than %d rows", BENCH_MAX_ROWS);
	rows->row[rows->n++] = row;
	printf("%-18s %8" PRId64 "  %10.4g %-9s", row.figure, row.at, row.value, row.unit);
	if (row.limit > 0)
		printf(" limit %10.4g  ratio %.3f", row.limit, row.value / row.limit);
	putchar('\n');
	fflush(stdout);
}

static void
write_field(FILE *f, const char *text)
{
	if (strpbrk(text, ",\"\n") == NULL)
	{
		fputs(text, f);
		return;
	}
	putc('"', f);
	for (; *text != '\0'; text++)
	{
		if (*text == '"')
			putc('"', f);
		putc(*text, f);
	}
	putc('"', f);
}

static void
write_row(FILE *f, const bench_row *row, const bench_run *run)
{
	fprintf(f, "%s,%" PRId64 ",%s,%.6g,", row->figure, row->at, row->unit, row->value);
	if (row->limit > 0)
		fprintf(f, "%.6g,%.6g,", row->limit, row->value / row->limit);
	else
		fputs(",,", f);
	write_field(f, run->model);
	fprintf(f, ",%s,%d,%s,", run->quant, run->threads, run->level);
	write_field(f, run->cpu);
	fputs(",dsvl2\n", f);
}

FILE *
bench_open_csv(const char *path)
{
	FILE	   *f = fopen(path, "a");

	if (f == NULL)
		tool_fail("could not open \"%s\": %s", path, strerror(errno));
	if (ftell(f) == 0)
		fputs("figure,at,unit,value,limit,ratio,model,quant,threads,level,cpu,engine\n", f);
	return f;
}

void
bench_write_csv(FILE *f, const bench_rows *rows, const bench_run *run)
{
	for (int i = 0; i < rows->n; i++)
		write_row(f, &rows->row[i], run);
	if (ferror(f) || fclose(f) != 0)
		tool_fail("could not write the rows: %s", strerror(errno));
}

void
bench_cpu_name(char *buf, size_t size)
{
	FILE	   *f = fopen("/proc/cpuinfo", "r");
	char		line[256];

	snprintf(buf, size, "unknown");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL)
		{
			snprintf(buf, size, "%s", strchr(line, ':') + 2);
			buf[strcspn(buf, "\n")] = '\0';
			break;
		}
	if (f != NULL)
		fclose(f);
}
