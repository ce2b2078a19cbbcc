/*
 * test_tile.c
 *		Tile choice, geometry, resize and tiles against Pillow and the reference, byte by byte.
 */
#include "image_util.h"

#include "sha256.h"
#include "tile.h"

#define GOLDEN "test/golden/"

/* ---- geometry ---- */

static void
test_geometry(void **state)
{
	const dsv_config *config = &dsv_config_published;
	FILE	   *f = fopen(GOLDEN "preprocess/geometry.csv", "r");
	char		line[256];
	int			rows = 0;

	(void) state;
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	while (fgets(line, sizeof(line), f) != NULL)
	{
		int			v[12];
		dsv_grid	grid;
		dsv_rect	global;
		dsv_rect	local;

		assert_int_equal(sscanf(line, "%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d", v, v + 1, v + 2,
								v + 3, v + 4, v + 5, v + 6, v + 7, v + 8, v + 9, v + 10, v + 11),
						 12);
		grid = dsv_tile_choose(config, v[0], v[1], 0, true);
		assert_int_equal(grid.cols * 384, v[2]);
		assert_int_equal(grid.rows * 384, v[3]);
		global = dsv_tile_contain(v[0], v[1], 384, 384);
		local = dsv_tile_contain(v[0], v[1], v[2], v[3]);
		if (v[4] == 0)			/* a side rounds to nothing, where the reference stops */
			assert_true(global.w == 0 || global.h == 0);
		else
			assert_memory_equal(((int[]) {global.w, global.h, global.x, global.y}), v + 4,
								4 * sizeof(int));
		if (v[8] == 0)
			assert_true(local.w == 0 || local.h == 0);
		else
			assert_memory_equal(((int[]) {local.w, local.h, local.x, local.y}), v + 8,
								4 * sizeof(int));
		rows++;
	}
	fclose(f);
	assert_int_equal(rows, 400);
}

static void
test_layout(void **state)
{
	dsv_config	config = dsv_config_published;
	int			cols;
	int			rows;
	int			tokens;

	(void) state;
	dsv_image_layout(NULL, 2480, 3508, 0, true, &cols, &rows, &tokens);
	assert_int_equal(cols, 3);
	assert_int_equal(rows, 3);
	assert_int_equal(tokens, 14 * 15 + 1 + 14 * 3 * (14 * 3 + 1));
	dsv_image_layout(NULL, 2480, 3508, 0, false, &cols, &rows, &tokens);
	assert_int_equal(cols * rows, 1);
	assert_int_equal(tokens, 421);

	/* fewer tiles: the best among those allowed */
	dsv_image_layout(NULL, 2480, 3508, 4, true, &cols, &rows, &tokens);
	assert_int_equal(cols, 2);
	assert_int_equal(rows, 2);
	dsv_image_layout(NULL, 2480, 3508, 1, true, &cols, &rows, &tokens);
	assert_int_equal(cols * rows, 1);
	dsv_image_layout(NULL, 0, 0, 0, true, &cols, &rows, &tokens);
	assert_int_equal(cols * rows, 1);

	/* between equals the first of the file wins */
	config.ncandidates = 2;
	config.candidates[0] = (dsv_size) {768, 384};
	config.candidates[1] = (dsv_size) {384, 768};
	assert_int_equal(dsv_tile_choose(&config, 100, 100, 0, true).cols, 2);
	config.candidates[0] = (dsv_size) {384, 768};
	config.candidates[1] = (dsv_size) {768, 384};
	assert_int_equal(dsv_tile_choose(&config, 100, 100, 0, true).cols, 1);

	/* no candidate is small enough */
	config.candidates[0] = (dsv_size) {768, 768};
	config.ncandidates = 1;
	assert_int_equal(dsv_tile_choose(&config, 1000, 1000, 0, true).cols, 2);
	assert_int_equal(dsv_tile_choose(&config, 1000, 1000, 3, true).cols, 1);
}

/* ---- resize ---- */

static void
test_resize(void **state)
{
	json_t	   *index = load_index(GOLDEN "preprocess/resize/index.json");
	json_t	   *row;
	size_t		i;

	(void) state;
	json_array_foreach(index, i, row)
	{
		char		path[256];
		dsv_pixels	in;
		dsv_pixels	want;
		uint8_t    *got;
		size_t		stride;
		dsv_error	err;

		snprintf(path, sizeof(path), GOLDEN "preprocess/resize/%02zu.in.png", i);
		in = load_picture(path, NULL);
		snprintf(path, sizeof(path), GOLDEN "preprocess/resize/%02zu.out.png", i);
		want = load_picture(path, NULL);
		stride = (size_t) want.width * 3 + 5;
		got = malloc(stride * want.height);
		memset(got, 0xA5, stride * want.height);
		assert_int_equal(dsv_resize_bicubic(&in, want.width, want.height, got, stride, NULL, NULL,
											&err), DSV_OK);
		for (int y = 0; y < want.height; y++)
		{
			assert_memory_equal(got + y * stride, want.rgb + (size_t) y * want.width * 3,
								(size_t) want.width * 3);
			for (int k = 0; k < 5; k++)
				assert_int_equal(got[(y + 1) * stride - 5 + k], 0xA5);
		}
		free(got);
		dsv_pixels_free(&in, NULL);
		dsv_pixels_free(&want, NULL);
	}
	assert_int_equal(i, 30);
	json_decref(index);
}

/* The widest windows there are: sums must neither overflow nor drift. */
static void
test_resize_extremes(void **state)
{
	static const int sizes[][4] = {
		{65500, 3, 1, 1}, {3, 65500, 1, 1}, {65500, 2, 384, 1}, {1, 1, 900, 700}, {2, 1, 1, 900}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		size_t		in_bytes = (size_t) sizes[i][0] * sizes[i][1] * 3;
		size_t		out_bytes = (size_t) sizes[i][2] * sizes[i][3] * 3;
		uint8_t    *out = malloc(out_bytes);

		for (int value = 0; value <= 255; value += 51)
		{
			dsv_pixels	in = {malloc(in_bytes), sizes[i][0], sizes[i][1]};
			dsv_error	err;

			memset(in.rgb, value, in_bytes);
			assert_int_equal(dsv_resize_bicubic(&in, sizes[i][2], sizes[i][3], out,
												(size_t) sizes[i][2] * 3, NULL, NULL, &err),
							 DSV_OK);
			for (size_t k = 0; k < out_bytes; k++)
				assert_int_equal(out[k], value);
			free(in.rgb);
		}
		free(out);
	}
}

/* ---- tiles ---- */

static void
check_tiles(const char *name, json_t *entry)
{
	json_t	   *hashes = json_object_get(entry, "sha256");
	json_t	   *crop = json_object_get(entry, "images_spatial_crop");
	json_t	   *size = json_object_get(entry, "size");
	bool		cut = strstr(name, ".untiled.") == NULL;
	char		path[256];
	dsv_pixels	picture;
	dsv_pixels	strip;
	dsv_tiles	tiles;
	dsv_error	err;
	size_t		count = json_array_size(hashes);
	size_t		bytes = 384 * 384 * 3;

	snprintf(path, sizeof(path), GOLDEN "cases/images/%s",
			 json_string_value(json_object_get(entry, "image")));
	picture = load_picture(path, &as_reference);
	assert_int_equal(picture.width, json_integer_value(json_array_get(size, 0)));
	assert_int_equal(picture.height, json_integer_value(json_array_get(size, 1)));
	assert_int_equal(dsv_tiles_make(&dsv_config_published, &picture, 0, cut, true, NULL, NULL,
									&tiles, &err), DSV_OK);
	assert_int_equal(tiles.size, 384);
	assert_int_equal(tiles.grid.cols, json_integer_value(json_array_get(crop, 0)));
	assert_int_equal(tiles.grid.rows, json_integer_value(json_array_get(crop, 1)));
	assert_int_equal(1 + tiles.grid.cols * tiles.grid.rows, count);
	for (size_t i = 0; i < count; i++)
	{
		char		hex[65];

		dsv_sha256_hex(tiles.rgb + i * bytes, bytes, hex);
		if (strcmp(hex, json_string_value(json_array_get(hashes, i))) != 0)
			fail_msg("%s: tile %zu differs", name, i);
	}

	/* the strip shows the tiles side by side, or one below the other */
	snprintf(path, sizeof(path), GOLDEN "cases/tiles/%s", name);
	strip = load_picture(path, NULL);
	assert_int_equal((size_t) strip.width * strip.height * 3, count * bytes);
	for (size_t i = 0; i < count; i++)
	{
		bool		across = strip.height == 384;
		size_t		at = across ? i * 384 * 3 : i * bytes;

		for (size_t y = 0; y < 384; y++)
			assert_memory_equal(tiles.rgb + i * bytes + y * 384 * 3,
								strip.rgb + at + y * strip.width * 3, 384 * 3);
	}
	dsv_pixels_free(&strip, NULL);
	dsv_pixels_free(&picture, NULL);
	dsv_tiles_free(&tiles, NULL);
}

static void
test_tiles(void **state)
{
	json_t	   *index = load_index(GOLDEN "cases/tiles/index.json");
	const char *name;
	json_t	   *entry;

	(void) state;
	json_object_foreach(index, name, entry)
		check_tiles(name, entry);
	assert_int_equal(json_object_size(index), 20);
	json_decref(index);
}

/* Sizes and colour are the configuration's. */
static void
test_other_geometry(void **state)
{
	dsv_config	config = dsv_config_published;
	uint8_t		pixels[40 * 10 * 3];
	dsv_pixels	picture = {pixels, 40, 10};
	dsv_tiles	tiles;
	dsv_error	err;

	(void) state;
	memset(pixels, 200, sizeof(pixels));
	config.vision.image_size = 20;
	config.vision.mean[0] = 0.1f;
	config.vision.mean[1] = 0.2f;
	config.vision.mean[2] = 0.99f;
	config.ncandidates = 2;
	config.candidates[0] = (dsv_size) {20, 20};
	config.candidates[1] = (dsv_size) {40, 20};
	assert_int_equal(dsv_tiles_make(&config, &picture, 0, true, false, NULL, NULL, &tiles, &err),
					 DSV_OK);
	assert_int_equal(tiles.grid.cols, 2);
	assert_int_equal(tiles.grid.rows, 1);
	/* global view: 20 x 5 from line round(7.5) = 8 on; local: 40 x 10 from line 5 on */
	assert_memory_equal(tiles.rgb + 7 * 60, "\x19\x33\xFC", 3);
	assert_memory_equal(tiles.rgb + 8 * 60, "\xC8\xC8\xC8", 3);
	assert_memory_equal(tiles.rgb + 1200 + 4 * 60 + 57, "\x19\x33\xFC", 3);
	assert_memory_equal(tiles.rgb + 1200 + 5 * 60 + 57, "\xC8\xC8\xC8", 3);
	assert_memory_equal(tiles.rgb + 2400 + 14 * 60, "\xC8\xC8\xC8", 3);
	assert_memory_equal(tiles.rgb + 2400 + 15 * 60, "\x19\x33\xFC", 3);
	dsv_tiles_free(&tiles, NULL);
}

static void
test_vanishing_side(void **state)
{
	dsv_pixels	picture = {calloc(10000, 3), 1, 10000};
	dsv_tiles	tiles;
	dsv_error	err;

	(void) state;
	assert_int_equal(dsv_tiles_make(&dsv_config_published, &picture, 0, true, true, NULL, NULL,
									&tiles, &err), DSV_IMAGE);
	assert_string_equal(err.msg, "image of 1 x 10000 pixels is too narrow");
	assert_null(tiles.rgb);
	assert_int_equal(dsv_tiles_make(&dsv_config_published, &picture, 0, true, false, NULL, NULL,
									&tiles, &err), DSV_OK);
	for (size_t i = 0; i < 2 * 384 * 384 * 3; i++)
		assert_int_equal(tiles.rgb[i], 127);
	dsv_tiles_free(&tiles, NULL);
	free(picture.rgb);
}

/* ---- failure ---- */

static void
test_every_allocation_failed(void **state)
{
	dsv_pixels	picture = load_picture(GOLDEN "cases/images/two_tiles.png", NULL);
	dsv_code	code = DSV_NOMEM;

	(void) state;
	for (int n = 1; code != DSV_OK; n++)
	{
		counting_mem c;
		dsv_tiles	tiles;
		dsv_error	err;

		counting_start(&c, n);
		code = dsv_tiles_make(&dsv_config_published, &picture, 0, true, false, NULL, &c.mem,
							  &tiles, &err);
		if (code == DSV_OK)
		{
			assert_true(n > 10);
			dsv_tiles_free(&tiles, &c.mem);
		}
		else
		{
			assert_int_equal(code, DSV_NOMEM);
			assert_null(tiles.rgb);
		}
		assert_int_equal(c.live, 0);
	}
	dsv_pixels_free(&picture, NULL);
}

static void
test_canceled(void **state)
{
	dsv_pixels	picture = load_picture(GOLDEN "cases/images/page.png", NULL);
	dsv_code	code = DSV_CANCELED;
	int			n;

	(void) state;
	for (n = 1; code != DSV_OK; n++)
	{
		counting_mem c;
		counting_poll p;
		dsv_tiles	tiles;
		dsv_error	err;

		counting_start(&c, 0);
		counting_poll_start(&p, n);
		code = dsv_tiles_make(&dsv_config_published, &picture, 0, true, false, &p.poll, &c.mem,
							  &tiles, &err);
		if (code == DSV_OK)
			dsv_tiles_free(&tiles, &c.mem);
		else
		{
			assert_int_equal(code, DSV_CANCELED);
			assert_int_equal(p.calls, n);
		}
		assert_int_equal(c.live, 0);
	}
	assert_true(n > 1149 / 64);
	dsv_pixels_free(&picture, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_geometry),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_resize_extremes),
		cmocka_unit_test(test_tiles),
		cmocka_unit_test(test_other_geometry),
		cmocka_unit_test(test_vanishing_side),
		cmocka_unit_test(test_every_allocation_failed),
		cmocka_unit_test(test_canceled),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("tile", tests, NULL, NULL);
}
