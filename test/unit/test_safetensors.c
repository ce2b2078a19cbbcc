/*
 * test_safetensors.c
 *		Weight files, good and hostile: what is accepted is whole, what is refused is named.
 */
#include "files_util.h"
#include "safetensors.h"

#define INDEX "model.safetensors.index.json"

static dsv_code
open_text(const char *header, size_t data, dsv_error *err)
{
	temp_dir	t = temp_make();
	dsv_safetensors *st = NULL;
	dsv_code	code;

	memset(err, 0, sizeof(*err));
	temp_put_safetensors(&t, "x.safetensors", header, data);
	code = dsv_safetensors_open_file(temp_file(&t, "x.safetensors"), NULL, &st, err);
	if (code == DSV_OK)
		dsv_safetensors_close(st);
	else
		assert_null(st);
	temp_remove(&t);
	return code;
}

static void
test_reads_every_type(void **state)
{
	static const char text[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"f\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
		"\"l\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
		"\"i\":{\"dtype\":\"I32\",\"shape\":[1,1,1,1],\"data_offsets\":[16,20]},"
		"\"h\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[20,22]},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[22,26]},"
		"\"e\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[16,16]},"
		"\"u\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[26,29]}}";
	static const char *const names[] = {"b", "e", "f", "h", "i", "l", "u"};
	char		header[sizeof(text) + 8];
	temp_dir	t = temp_make();
	dsv_error	err = {0};
	dsv_safetensors *st;
	const dsv_tensor *f;
	const void *base;
	size_t		len;

	/* spaces behind it, as writers add them to align the data */
	snprintf(header, sizeof(header), "%-*s", (int) (strlen(text) + 7) / 8 * 8, text);
	temp_put_safetensors(&t, "x.safetensors", header, 29);
	check_ok(dsv_safetensors_open_dir(t.path, NULL, &st, &err), &err);
	assert_int_equal(dsv_safetensors_count(st), 7);
	for (int i = 0; i < 7; i++)
	{
		assert_string_equal(dsv_safetensors_at(st, i)->name, names[i]);
		assert_ptr_equal(dsv_safetensors_find(st, names[i]), dsv_safetensors_at(st, i));
	}
	f = dsv_safetensors_find(st, "f");
	assert_int_equal(f->dtype, DSV_DTYPE_F32);
	assert_int_equal(f->ndim, 2);
	assert_int_equal(f->shape[0], 2);
	assert_int_equal(f->shape[1], 1);
	assert_int_equal(f->count, 2);
	assert_true(dsv_safetensors_mapping(st, 0, &base, &len));
	assert_int_equal(len, 8 + strlen(header) + 29);
	assert_ptr_equal(f->data, (const char *) base + 8 + strlen(header) + 8);
	assert_false(dsv_safetensors_mapping(st, 1, &base, &len));
	assert_int_equal(dsv_safetensors_find(st, "l")->count, 1);
	assert_int_equal(dsv_safetensors_find(st, "e")->count, 0);
	assert_null(dsv_safetensors_find(st, "g"));
	assert_null(dsv_safetensors_find(st, "__metadata__"));
	assert_string_equal(dsv_dtype_name(DSV_DTYPE_BF16), "BF16");
	dsv_safetensors_close(st);
	temp_remove(&t);
}

#define T(name, dtype, shape, offsets) \
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void
test_hostile_headers(void **state)
{
	static const struct
	{
		const char *header;
		size_t		data;
		dsv_code	code;
		const char *piece;
	}			cases[] = {
		{"{}", 0, DSV_OK, NULL},
		{"{}", 1, DSV_FORMAT, "1 bytes at the end belong to no tensor"},
		{"[]", 0, DSV_FORMAT, "not a JSON object"},
		{"{\"a\":", 0, DSV_FORMAT, "not valid JSON"},
		{"{\"a\":3}", 0, DSV_FORMAT, "tensor \"a\" must have"},
		{"{\"a\":{}}", 0, DSV_FORMAT, "tensor \"a\" must have"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, DSV_FORMAT,
		"must have"},
		{"{" T("a", "U8", "[1]", "[0,1]") "," T("a", "U8", "[1]", "[0,1]") "}", 1, DSV_FORMAT,
		"duplicate object key"},
		{"{\"\\u0000\":1}", 0, DSV_FORMAT, "not valid JSON"},
		/* dtype */
		{"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, DSV_FORMAT, "no \"dtype\""},
		{"{" T("a", "F8_E4M3", "[1]", "[0,1]") "}", 1, DSV_UNSUPPORTED, "\"F8_E4M3\""},
		{"{" T("a", "", "[1]", "[0,1]") "}", 1, DSV_UNSUPPORTED, "type \"\""},
		{"{" T("a", "bf16", "[1]", "[0,2]") "}", 2, DSV_UNSUPPORTED, "\"bf16\""},
		/* shape */
		{"{" T("a", "U8", "1", "[0,1]") "}", 1, DSV_FORMAT, "no \"shape\""},
		{"{" T("a", "U8", "{}", "[0,1]") "}", 1, DSV_FORMAT, "no \"shape\""},
		{"{" T("a", "U8", "[-1]", "[0,1]") "}", 1, DSV_FORMAT, "whole numbers"},
		{"{" T("a", "U8", "[-1,-1]", "[0,1]") "}", 1, DSV_FORMAT, "whole numbers"},
		{"{" T("a", "U8", "[1.0]", "[0,1]") "}", 1, DSV_FORMAT, "whole numbers"},
		{"{" T("a", "U8", "[\"1\"]", "[0,1]") "}", 1, DSV_FORMAT, "whole numbers"},
		{"{" T("a", "U8", "[null]", "[0,1]") "}", 1, DSV_FORMAT, "whole numbers"},
		{"{" T("a", "U8", "[1,1,1,1,1]", "[0,1]") "}", 1, DSV_LIMIT, "5 dimensions"},
		{"{" T("a", "U8", "[4294967296,4294967296]", "[0,1]") "}", 1, DSV_FORMAT, "overflows"},
		{"{" T("a", "I64", "[2305843009213693953]", "[0,8]") "}", 8, DSV_FORMAT, "contradict"},
		{"{" T("a", "U8", "[9223372036854775808]", "[0,1]") "}", 1, DSV_FORMAT, "not valid JSON"},
		{"{" T("a", "U8", "[2]", "[0,1]") "}", 1, DSV_FORMAT, "contradict its shape"},
		{"{" T("a", "F32", "[1]", "[0,2]") "}", 2, DSV_FORMAT, "contradict its shape"},
		/* offsets */
		{"{" T("a", "U8", "[1]", "0") "}", 1, DSV_FORMAT, "no \"data_offsets\""},
		{"{" T("a", "U8", "[1]", "[0]") "}", 1, DSV_FORMAT, "no \"data_offsets\""},
		{"{" T("a", "U8", "[1]", "[0,1,2]") "}", 1, DSV_FORMAT, "no \"data_offsets\""},
		{"{" T("a", "U8", "[1]", "[0.0,1.0]") "}", 1, DSV_FORMAT, "no \"data_offsets\""},
		{"{" T("a", "U8", "[1]", "[\"0\",\"1\"]") "}", 1, DSV_FORMAT, "no \"data_offsets\""},
		{"{" T("a", "U8", "[1]", "[-1,0]") "}", 1, DSV_FORMAT, "inside the file"},
		{"{" T("a", "U8", "[1]", "[1,0]") "}", 1, DSV_FORMAT, "inside the file"},
		{"{" T("a", "U8", "[2]", "[0,2]") "}", 1, DSV_FORMAT, "inside the file"},
		{"{" T("a", "U8", "[1]", "[9223372036854775806,9223372036854775807]") "}", 1, DSV_FORMAT,
		"inside the file"},
		/* places */
		{"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}", 3, DSV_FORMAT,
		"overlaps"},
		{"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, DSV_FORMAT,
		"overlaps"},
		{"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[1]", "[3,4]") "}", 4, DSV_FORMAT,
		"hole"},
		{"{" T("a", "U8", "[1]", "[1,2]") "}", 2, DSV_FORMAT, "hole"},
		{"{" T("a", "U8", "[1]", "[0,1]") "}", 2, DSV_FORMAT, "belong to no tensor"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dsv_error	err;
		dsv_code	code = open_text(cases[i].header, cases[i].data, &err);

		if (cases[i].code == DSV_OK)
			check_ok(code, &err);
		else
			check_error(cases[i].header, code, &err, cases[i].code, cases[i].piece);
	}
}

/* The header's length shifts the data: 8 + length must suit the element. */
static void
test_misaligned(void **state)
{
	char		header[] = "{" T("a", "F32", "[1]", "[0,4]") "}   ";
	size_t		len = strlen(header) - 3;
	int			accepted = 0;

	for (size_t spaces = 0; spaces < 4; spaces++)
	{
		dsv_error	err;
		dsv_code	code;

		header[len] = header[len + 1] = header[len + 2] = ' ';
		if (spaces < 3)
			header[len + spaces] = '\0';
		code = open_text(header, 4, &err);
		if (code == DSV_OK)
		{
			accepted++;
			assert_int_equal((len + spaces) % 4, 0);
		}
		else
		{
			check_error("misaligned", code, &err, DSV_FORMAT, "misaligned");
			assert_string_not_equal(err.hint, "");
		}
	}
	assert_int_equal(accepted, 1);
}

static void
test_header_lengths(void **state)
{
	static const uint64_t lengths[] = {
		0, 1, 3, 9, 100, 1u << 20, UINT32_MAX, 1ull << 40, INT64_MAX, 1ull << 63, UINT64_MAX - 7,
		UINT64_MAX
	};
	temp_dir	t = temp_make();
	unsigned char bytes[10];
	dsv_safetensors *st;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		dsv_error	err = {0};

		for (int j = 0; j < 8; j++)
			bytes[j] = (unsigned char) (lengths[i] >> (8 * j));
		memcpy(bytes + 8, "{}", 2);
		temp_put(&t, "x.safetensors", bytes, sizeof(bytes));
		check_error("length", dsv_safetensors_open_file(temp_file(&t, "x.safetensors"), NULL, &st, &err),
					&err, DSV_FORMAT, "header length is wrong");
	}
	temp_remove(&t);
}

/* A file that is as long as its header says, but whose header is too long */
static void
test_huge_header(void **state)
{
	temp_dir	t = temp_make();
	unsigned char bytes[8] = {0, 0, 0, 16};	/* 256 MB */
	dsv_error	err = {0};
	dsv_safetensors *st;

	temp_put(&t, "x.safetensors", bytes, sizeof(bytes));
	assert_int_equal(truncate(temp_file(&t, "x.safetensors"), (256 << 20) + 8), 0);
	check_error("huge", dsv_safetensors_open_file(temp_file(&t, "x.safetensors"), NULL, &st, &err),
				&err, DSV_LIMIT, "too large");
	temp_remove(&t);
}

static void
test_truncated(void **state)
{
	temp_dir	t = temp_make();
	size_t		len;
	char	   *data = slurp("test/golden/base-like/model.safetensors", &len);
	const size_t cuts[] = {0, 1, 7, 8, 9, 100, 5000, len / 2, len - 2, len - 1};

	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
	{
		dsv_error	err = {0};
		dsv_safetensors *st;
		dsv_code	code;

		temp_put(&t, "model.safetensors", data, cuts[i]);
		code = dsv_safetensors_open_dir(t.path, NULL, &st, &err);
		check_error("truncated", code, &err, DSV_FORMAT, "model.safetensors");
		assert_null(st);
	}
	free(data);
	temp_remove(&t);
}

/* Any byte of a header may be anything: no crash, and what is accepted can be read. */
static void
test_flipped_bytes(void **state)
{
	static const char header[] =
		"{" T("a", "U8", "[1,2]", "[0,2]") "," T("bc", "BF16", "[3]", "[2,8]") "}";
	static const unsigned char flips[] = {0x01, 0x02, 0x04, 0x10, 0x20, 0x40, 0x80, 0xff};
	temp_dir	t = temp_make();
	size_t		len;
	char	   *data;

	temp_put_safetensors(&t, "x.safetensors", header, 8);
	data = slurp(temp_file(&t, "x.safetensors"), &len);
	for (size_t i = 0; i < len - 8; i++)
	{
		for (size_t j = 0; j < sizeof(flips); j++)
		{
			dsv_error	err = {0};
			dsv_safetensors *st;
			dsv_code	code;

			data[i] ^= (char) flips[j];
			temp_put(&t, "x.safetensors", data, len);
			code = dsv_safetensors_open_file(temp_file(&t, "x.safetensors"), NULL, &st, &err);
			data[i] ^= (char) flips[j];
			if (code != DSV_OK)
			{
				assert_string_not_equal(err.msg, "");
				continue;
			}
			for (int k = 0; k < dsv_safetensors_count(st); k++)
			{
				const dsv_tensor *tensor = dsv_safetensors_at(st, k);

				assert_true(tensor->dtype == DSV_DTYPE_U8 || tensor->dtype == DSV_DTYPE_BF16 ||
							tensor->dtype == DSV_DTYPE_F16);
				assert_in_range(tensor->count, 2, 3);
			}
			dsv_safetensors_close(st);
		}
	}
	free(data);
	temp_remove(&t);
}

/* ---- folders ---- */

static dsv_code
open_folder(const temp_dir *t, dsv_error *err)
{
	dsv_safetensors *st = NULL;
	dsv_code	code = dsv_safetensors_open_dir(t->path, NULL, &st, err);

	if (code == DSV_OK)
		dsv_safetensors_close(st);
	else
		assert_null(st);
	return code;
}

static void
test_index(void **state)
{
	static const struct
	{
		const char *index;
		dsv_code	code;
		const char *piece;
	}			cases[] = {
		{"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}", DSV_OK, NULL},
		{"{\"weight_map\":{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\"},\"metadata\":{}}",
		DSV_OK, NULL},
		{"{}", DSV_FORMAT, "no \"weight_map\""},
		{"[]", DSV_FORMAT, "no \"weight_map\""},
		{"{\"weight_map\":[]}", DSV_FORMAT, "no \"weight_map\""},
		{"{\"weight_map\":{}}", DSV_FORMAT, "no \"weight_map\""},
		{"{\"weight_map\":", DSV_FORMAT, "not valid JSON"},
		{"{\"weight_map\":{\"a\":1}}", DSV_FORMAT, "\"a\" has no file name"},
		{"{\"weight_map\":{\"a\":\"\"}}", DSV_FORMAT, "\"a\" has no file name"},
		{"{\"weight_map\":{\"a\":\"..\"}}", DSV_FORMAT, "\"a\" has no file name"},
		{"{\"weight_map\":{\"a\":\"../1.safetensors\"}}", DSV_FORMAT, "\"a\" has no file name"},
		{"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", DSV_FORMAT, "\"a\" has no file name"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\\u0000\"}}", DSV_FORMAT, "\"a\" has no file name"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}}", DSV_IO,
		"3.safetensors"},
		{"{\"weight_map\":{\"b\":\"1.safetensors\",\"a\":\"2.safetensors\"}}", DSV_FORMAT,
		"tensor \"a\" belongs to \"2.safetensors\""},
		{"{\"weight_map\":{\"b\":\"1.safetensors\"}}", DSV_FORMAT, "tensor \"a\" is not in"},
		{"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\","
		"\"c\":\"2.safetensors\"}}", DSV_FORMAT, "tensor \"c\" is not in \"2.safetensors\""},
	};
	temp_dir	t = temp_make();
	dsv_error	err = {0};

	temp_put_safetensors(&t, "1.safetensors", "{" T("a", "U8", "[1]", "[0,1]") "}", 1);
	temp_put_safetensors(&t, "2.safetensors", "{" T("b", "U8", "[1]", "[0,1]") "}", 1);
	check_error("no index", open_folder(&t, &err), &err, DSV_FORMAT, "no index");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		dsv_code	code;

		temp_put_text(&t, INDEX, cases[i].index);
		code = open_folder(&t, &err);
		if (cases[i].code == DSV_OK)
			check_ok(code, &err);
		else
			check_error(cases[i].index, code, &err, cases[i].code, cases[i].piece);
	}
	temp_remove(&t);
}

static void
test_not_there(void **state)
{
	temp_dir	t = temp_make();
	dsv_error	err = {0};
	dsv_safetensors *st;

	check_error("empty", open_folder(&t, &err), &err, DSV_IO, "no weights");
	assert_int_equal(mkdir(temp_file(&t, "model.safetensors"), 0700), 0);
	check_error("directory", open_folder(&t, &err), &err, DSV_IO, "not a regular file");
	assert_int_equal(rmdir(temp_file(&t, "model.safetensors")), 0);
	assert_int_equal(mkfifo(temp_file(&t, "model.safetensors"), 0600), 0);
	check_error("fifo", open_folder(&t, &err), &err, DSV_IO, "not a regular file");
	temp_remove(&t);
	check_error("gone", open_folder(&t, &err), &err, DSV_IO, t.path);
	check_error("no file", dsv_safetensors_open_file(temp_file(&t, "x"), NULL, &st, &err), &err,
				DSV_IO, "could not open");
	assert_int_not_equal(err.sys_errno, 0);
}

static void
test_every_allocation_fails_once(void **state)
{
	for (int n = 1;; n++)
	{
		books		b = {.fail_at = n};
		dsv_mem		mem = {books_alloc, books_free, &b};
		dsv_error	err = {0};
		dsv_safetensors *st;
		dsv_code	code = dsv_safetensors_open_dir("test/golden/small-like", &mem, &st, &err);

		if (code == DSV_OK)
		{
			dsv_safetensors_close(st);
			assert_int_equal(b.held, 0);
			assert_true(n > 5);
			break;
		}
		assert_int_equal(code, DSV_NOMEM);
		assert_null(st);
		assert_int_equal(b.held, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_every_type),
		cmocka_unit_test(test_hostile_headers),
		cmocka_unit_test(test_misaligned),
		cmocka_unit_test(test_header_lengths),
		cmocka_unit_test(test_huge_header),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_flipped_bytes),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_every_allocation_fails_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
