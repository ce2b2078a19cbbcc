/*
 * test_together.c
 *		Sequences that live in an engine at the same time: what one may take from another,
 *		and that none answers otherwise than alone.
 */
#include "engine_util.h"

#define TOKENS 12

static dsv_bytes picture;
static dsv_bytes other_picture;

static dsv_sequence *
submit_ask(dsv_engine *engine, const dsv_bytes *image, const char *question)
{
	ask			a;

	make_ask(&a, image, 1, question, TOKENS);
	return submit(engine, &a.request);
}

static void
finish(dsv_engine *engine, dsv_sequence *seq)
{
	dsv_error	err = {0};

	while (dsv_sequence_state(seq) < DSV_STATE_DONE)
		check_ok(dsv_engine_step(engine, &err), &err);
}

static void
check_equal(dsv_sequence *seq, dsv_sequence *expected)
{
	const dsv_result *a = dsv_sequence_result(seq);
	const dsv_result *b = dsv_sequence_result(expected);

	assert_int_equal(dsv_sequence_state(seq), DSV_STATE_DONE);
	assert_int_equal(a->ntokens, b->ntokens);
	assert_memory_equal(a->tokens, b->tokens, b->ntokens * sizeof(int32_t));
	assert_memory_equal(a->logprobs, b->logprobs, b->ntokens * sizeof(float));
}

static bool
same_progress(const dsv_progress *a, const dsv_progress *b)
{
	return a->state == b->state && a->done == b->done && a->output_tokens == b->output_tokens;
}

/* Paused after every number of steps, while another sequence runs from its start to its end */
static void
test_paused_anywhere(void **state)
{
	dsv_model  *model = open_model(SMALL);
	dsv_engine *alone = make_engine(model, NULL);
	dsv_sequence *expected = submit_ask(alone, &picture, "What is it?");
	dsv_sequence *expected_other = submit_ask(alone, &other_picture, "Read it.");
	bool		ended = false;
	unsigned	seen = 0;

	finish(alone, expected);
	finish(alone, expected_other);
	for (int steps = 0; !ended; steps++)
	{
		dsv_engine *engine = make_engine(model, NULL);
		dsv_sequence *seq = submit_ask(engine, &picture, "What is it?");
		dsv_sequence *other;
		dsv_progress before;
		dsv_progress after;
		dsv_error	err = {0};

		for (int i = 0; i < steps; i++)
			check_ok(dsv_engine_step(engine, &err), &err);
		ended = dsv_sequence_state(seq) == DSV_STATE_DONE;
		seen |= 1u << dsv_sequence_state(seq);
		dsv_sequence_progress(seq, &before);
		dsv_sequence_pause(seq, true);
		assert_false(dsv_engine_runnable(engine));
		check_ok(dsv_engine_step(engine, &err), &err);
		other = submit_ask(engine, &other_picture, "Read it.");
		finish(engine, other);
		check_equal(other, expected_other);
		dsv_sequence_progress(seq, &after);
		assert_true(same_progress(&before, &after));
		dsv_sequence_release(other);

		dsv_sequence_pause(seq, false);
		assert_int_equal(dsv_engine_runnable(engine), !ended);
		finish(engine, seq);
		check_equal(seq, expected);
		dsv_engine_destroy(engine);
	}
	assert_int_equal(seen, 1u << DSV_STATE_WAITING | 1u << DSV_STATE_VISION | 1u << DSV_STATE_PREFILL |
					 1u << DSV_STATE_DECODE | 1u << DSV_STATE_DONE);
	dsv_engine_destroy(alone);
	dsv_model_close(model);
}

/* Admitted together, the first computes the picture for all. */
static void
test_same_picture(void **state)
{
	static const char *const questions[] = {"What is it?", "Read it.", "What is it?", "Is there a dog?"};
	dsv_model  *model = open_model(SMALL);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_sequence *seq[4];
	dsv_error	err = {0};

	for (int i = 0; i < 4; i++)
		seq[i] = submit_ask(engine, &picture, questions[i]);
	check_ok(run_to_end(engine, &err), &err);
	for (int i = 0; i < 4; i++)
	{
		dsv_engine *alone = make_engine(model, NULL);
		dsv_sequence *expected = submit_ask(alone, &picture, questions[i]);
		const dsv_usage *usage = &dsv_sequence_result(seq[i])->usage;

		finish(alone, expected);
		check_equal(seq[i], expected);
		if (i == 0)
		{
			assert_int_equal(usage->tiles, dsv_sequence_result(expected)->usage.tiles);
			assert_true(usage->tiles > 0);
			assert_int_equal(usage->cached_tokens, 0);
		}
		else
		{
			assert_int_equal(usage->tiles, 0);
			assert_true(usage->cached_tokens > 0);
		}
		dsv_engine_destroy(alone);
	}
	dsv_engine_destroy(engine);
	dsv_model_close(model);
}

/* The first is gone before it has computed anything: the second does it. */
static void
test_first_is_gone(void **state)
{
	dsv_model  *model = open_model(SMALL);
	dsv_engine *engine = make_engine(model, NULL);
	dsv_sequence *expected = submit_ask(engine, &picture, "Read it.");
	dsv_engine *other = make_engine(model, NULL);
	dsv_sequence *first = submit_ask(other, &picture, "What is it?");
	dsv_sequence *second = submit_ask(other, &picture, "Read it.");

	finish(engine, expected);
	dsv_sequence_release(first);
	finish(other, second);
	check_equal(second, expected);
	assert_int_equal(dsv_sequence_result(second)->usage.tiles, dsv_sequence_result(expected)->usage.tiles);
	dsv_engine_destroy(engine);
	dsv_engine_destroy(other);
	dsv_model_close(model);
}

static int
load_pictures(void **state)
{
	picture = read_file(NANO "/samples/01-receipt.png");
	other_picture = read_file(NANO "/samples/11-scene.jpg");
	return 0;
}

static int
free_pictures(void **state)
{
	free((void *) picture.data);
	free((void *) other_picture.data);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paused_anywhere),
		cmocka_unit_test(test_same_picture),
		cmocka_unit_test(test_first_is_gone),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("together", tests, load_pictures, free_pictures);
}
