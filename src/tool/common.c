/*
 * common.c
 *		Options, files, errors and requests for the commands of dsvl2.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "tool.h"

const char *const tool_precisions[] = {"fp32", "bf16", "auto", NULL};
const char *const tool_activations[] = {"auto", "int16", "int8", NULL};
const char *const tool_cpu_levels[] = {"auto", "generic", "avx2", "avx2-vnni", "avx512", "avx512-vnni",
	"avx512-bf16", "amx", NULL};
const char *const tool_mla_modes[] = {"auto", "expanded", "absorbed", NULL};

/* ---- errors ---- */

void
tool_usage_error(const tool_command *command, const char *fmt,...)
{
	va_list		args;

	fprintf(stderr, "dsvl2 %s: ", command->name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\nusage: dsvl2 %s [OPTION...] %s (--help tells more)\n", command->name,
			command->arguments);
	exit(2);
}

void
tool_fail(const char *fmt,...)
{
	va_list		args;

	fflush(stdout);
	fprintf(stderr, "dsvl2: ");
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void
tool_fail_error(const dsv_error *err)
{
	tool_fail("%s%s%s%s%s", err->msg, err->detail[0] != '\0' ? "\ndetail: " : "", err->detail,
			  err->hint[0] != '\0' ? "\nhint: " : "", err->hint);
}

void *
tool_alloc(size_t count, size_t size)
{
	void	   *p = calloc(count > 0 ? count : 1, size);

	if (p == NULL)
		tool_fail("out of memory");
	return p;
}

/* ---- options ---- */

static void
help(const tool_command *command, const tool_option *options)
{
	printf("usage: dsvl2 %s [OPTION...] %s\n%s\n\n", command->name, command->arguments,
		   command->about);
	for (const tool_option *o = options; o->name != NULL; o++)
	{
		char		left[80];
		int			n = snprintf(left, sizeof(left), "--%s", o->name);

		if (o->kind == TOOL_CHOICE)
			for (int i = 0; o->choices[i] != NULL; i++)
				n += snprintf(left + n, sizeof(left) - n, "%s%s", i == 0 ? " " : "|",
							  o->choices[i]);
		else if (o->kind == TOOL_STRING || o->kind == TOOL_LIST)
			snprintf(left + n, sizeof(left) - n, " TEXT");
		else if (o->kind != TOOL_FLAG)
			snprintf(left + n, sizeof(left) - n, " N");
		printf("  %-34s %s\n", left, o->help);
	}
}

static void
set_option(const tool_command *command, const tool_option *o, const char *text)
{
	char	   *end = NULL;
	int			i;

	errno = 0;
	switch (o->kind)
	{
		case TOOL_FLAG:
			*(bool *) o->value = true;
			return;
		case TOOL_STRING:
			*(const char **) o->value = text;
			return;
		case TOOL_LIST:
			{
				tool_list  *list = o->value;

				if (list->n == TOOL_MAX_STOPS)
					tool_usage_error(command, "more than %d times --%s", TOOL_MAX_STOPS, o->name);
				list->items[list->n++] = (dsv_bytes) {text, strlen(text)};
				return;
			}
		case TOOL_INT:
			{
				long		v = strtol(text, &end, 10);

				if (v < 0 || v > INT_MAX)
					errno = ERANGE;
				*(int *) o->value = (int) v;
				break;
			}
		case TOOL_UINT64:
			*(uint64_t *) o->value = strtoull(text, &end, 10);
			break;
		case TOOL_FLOAT:
			*(float *) o->value = strtof(text, &end);
			break;
		case TOOL_CHOICE:
			for (i = 0; o->choices[i] != NULL; i++)
				if (strcmp(text, o->choices[i]) == 0)
				{
					*(int *) o->value = i;
					return;
				}
			tool_usage_error(command, "\"%s\" is no value of --%s", text, o->name);
	}
	if (errno != 0 || end == text || *end != '\0')
		tool_usage_error(command, "\"%s\" is no value of --%s", text, o->name);
}

/* The option that an argument names, and its value behind '=' if there is one */
static const tool_option *
find_option(const tool_command *command, const tool_option *options, const char *arg,
			const char **value)
{
	const char *equals = strchr(arg, '=');
	size_t		len = equals != NULL ? (size_t) (equals - arg) : strlen(arg);

	*value = equals != NULL ? equals + 1 : NULL;
	for (const tool_option *o = options; o->name != NULL; o++)
		if (strlen(o->name) == len - 2 && memcmp(o->name, arg + 2, len - 2) == 0)
			return o;
	tool_usage_error(command, "unknown option \"%s\"", arg);
}

int
tool_parse(const tool_command *command, const tool_option *options, int argc, char **argv, int min,
		   int max)
{
	int			n = 0;
	bool		only_arguments = false;

	for (int i = 0; i < argc; i++)
	{
		const char *arg = argv[i];
		const char *value;
		const tool_option *o;

		if (only_arguments || strncmp(arg, "-", 1) != 0 || strcmp(arg, "-") == 0)
		{
			argv[n++] = argv[i];
			continue;
		}
		if (strcmp(arg, "--help") == 0)
		{
			help(command, options);
			exit(0);
		}
		if (strcmp(arg, "--") == 0)
		{
			only_arguments = true;
			continue;
		}
		if (strncmp(arg, "--", 2) != 0)
			tool_usage_error(command, "unknown option \"%s\"", arg);
		o = find_option(command, options, arg, &value);
		if (o->kind == TOOL_FLAG && value != NULL)
			tool_usage_error(command, "--%s takes no value", o->name);
		if (o->kind != TOOL_FLAG && value == NULL)
		{
			if (++i == argc)
				tool_usage_error(command, "--%s needs a value", o->name);
			value = argv[i];
		}
		set_option(command, o, value);
	}
	if (n < min || n > max)
		tool_usage_error(command, n < min ? "too few arguments" : "too many arguments");
	return n;
}

/* ---- files ---- */

dsv_bytes
tool_read_file(const char *path)
{
	FILE	   *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	size_t		len = 0;
	size_t		cap = 1 << 16;
	char	   *data = tool_alloc(cap, 1);
	size_t		n;

	if (f == NULL)
		tool_fail("could not open \"%s\": %s", path, strerror(errno));
	while ((n = fread(data + len, 1, cap - len - 1, f)) > 0)
	{
		len += n;
		if (cap - len > 1)
			continue;
		cap *= 2;
		data = realloc(data, cap);
		if (data == NULL)
			tool_fail("out of memory");
	}
	if (ferror(f))
		tool_fail("could not read \"%s\": %s", path, strerror(errno));
	if (f != stdin)
		fclose(f);
	data[len] = '\0';
	return (dsv_bytes) {data, len};
}

void
tool_free_files(dsv_bytes *files, int n)
{
	for (int i = 0; i < n; i++)
		free((void *) files[i].data);
}

json_t *
tool_read_json(const char *path)
{
	json_error_t why;
	json_t	   *value = json_load_file(path, JSON_ALLOW_NUL, &why);

	/* jansson's own text names the file when it cannot be opened */
	if (value == NULL && why.line < 0)
		tool_fail("%s", why.text);
	if (value == NULL)
		tool_fail("could not read JSON: %s:%d: %s", path, why.line, why.text);
	return value;
}

void
tool_write_json(const char *path, const json_t *value)
{
	FILE	   *f = fopen(path, "w");

	if (f == NULL)
		tool_fail("could not open \"%s\": %s", path, strerror(errno));
	if (json_dumpf(value, f, JSON_INDENT(1) | JSON_SORT_KEYS) != 0 || fputc('\n', f) == EOF ||
		fclose(f) != 0)
		tool_fail("could not write \"%s\": %s", path, strerror(errno));
}

const char *
tool_path(char *buf, size_t size, const char *dir, const char *name)
{
	if (snprintf(buf, size, "%s/%s", dir, name) >= (int) size)
		tool_fail("path too long: \"%s/%s\"", dir, name);
	return buf;
}

const char *
tool_base(char *buf, size_t size, const char *path, const char *ending)
{
	size_t		end = strlen(path);
	size_t		start;
	size_t		cut = strlen(ending);

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/'; start--)
		;
	if (end - start > cut && strncmp(path + end - cut, ending, cut) == 0)
		end -= cut;
	snprintf(buf, size, "%.*s", (int) (end - start), path + start);
	return buf;
}

/* ---- running ---- */

dsv_engine_options
tool_engine_options(const tool_setup *setup)
{
	dsv_engine_options options = {.threads = setup->threads,
		.precision = (dsv_precision) setup->precision, .mla = (dsv_mla_mode) setup->mla,
		.activations = (dsv_activations) setup->activations, .no_blas = setup->no_blas};

	dsv_cpu_set((dsv_cpu_level) setup->cpu);
	if (setup->cpu != DSV_CPU_AUTO && dsv_cpu_current() != (dsv_cpu_level) setup->cpu)
		tool_fail("this machine has no %s", tool_cpu_levels[setup->cpu]);
	return options;
}

dsv_model *
tool_open_model(const char *dir)
{
	dsv_error	err;
	dsv_model  *model;

	if (dsv_model_open(dir, NULL, &model, &err) != DSV_OK)
		tool_fail_error(&err);
	return model;
}

dsv_engine *
tool_create_engine(dsv_model *model, const dsv_engine_options *options)
{
	dsv_error	err;
	dsv_engine *engine;

	if (dsv_engine_create(model, options, &engine, &err) != DSV_OK)
		tool_fail_error(&err);
	return engine;
}

void
tool_finish(dsv_engine *engine, dsv_sequence *seq)
{
	dsv_error	err;

	while (dsv_sequence_state(seq) < DSV_STATE_DONE)
		if (dsv_engine_step(engine, &err) != DSV_OK)
			tool_fail_error(&err);
}

void
tool_ask(tool_question *q, int nimages, const char *task_prompt, const char *user,
		 dsv_part_kind user_kind)
{
	int			n = 0;
	int			task;

	for (; n < nimages; n++)
		q->parts[n] = (dsv_part) {DSV_PART_IMAGE, NULL, 0};
	if (nimages > 0)
		q->parts[n++] = (dsv_part) {DSV_PART_SPECIAL, "\n", 1};
	task = n;
	n += dsv_task_parts(task_prompt, user, strlen(user), q->parts + n);
	for (int i = task; i < n; i++)
		if (q->parts[i].kind == DSV_PART_TEXT)
			q->parts[i].kind = user_kind;
	q->turn = (dsv_turn) {DSV_ROLE_USER, q->parts, n};
}

double
tool_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

double
tool_median(double *values, int n)
{
	qsort(values, (size_t) n, sizeof(*values), compare_doubles);
	return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- test results ---- */

bool
tool_ok(tool_tap *tap, bool good, const char *fmt,...)
{
	va_list		args;

	tap->n++;
	tap->failed += !good;
	printf("%sok %d - ", good ? "" : "not ", tap->n);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	return good;
}

int
tool_tap_end(const tool_tap *tap)
{
	printf("1..%d\n", tap->n);
	if (tap->failed > 0)
		printf("# %d of %d failed\n", tap->failed, tap->n);
	return tap->failed > 0 ? 1 : 0;
}
