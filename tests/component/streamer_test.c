/* The streamer against librdkafka's mock cluster: who is acknowledged, and that an error that ends a producer does not end it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/streamer.h"
#include "loop/timer.h"

#define TOPIC       "output"
#define BROKER_ID   1
#define PATIENCE_MS 20000 /* for anything that must happen: a loaded machine under sanitizers */
#define CHUNKS_MAX  64
#define HANDLES_MAX 10 /* that a machine which stands still now and then may make in a row */

rd_kafka_t *__real_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *why, size_t size);
rd_kafka_t *__wrap_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *why, size_t size);

struct chunk {
	struct fixture *fixture;
	unsigned n_answers;
	bool is_delivered;
};

struct fixture {
	rd_kafka_t *bystander; /* the mock cluster lives in it */
	rd_kafka_mock_cluster_t *cluster;
	struct event_base *base;
	struct streamer *streamer;
	struct chunk chunks[CHUNKS_MAX];
	size_t n_chunks;
	bool must_send; /* another chunk, as soon as one is answered */
};

static rd_kafka_t *newest; /* handle that was made */
static unsigned n_handles;

rd_kafka_t *__wrap_rd_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *why, size_t size)
{
	n_handles++;
	return newest = __real_rd_kafka_new(type, conf, why, size);
}

static struct chunk *send_chunk(struct fixture *fixture)
{
	struct chunk *chunk = &fixture->chunks[fixture->n_chunks];
	struct err err;

	assert_true(fixture->n_chunks < CHUNKS_MAX);
	chunk->fixture = fixture;
	if (streamer_send(fixture->streamer, TOPIC, "k", 1, "output", 6, chunk, &err) < 0)
		return NULL;
	fixture->n_chunks++;
	return chunk;
}

static void on_delivered(void *ctx, void *opaque, bool is_delivered)
{
	struct chunk *chunk = opaque;

	(void)ctx;
	chunk->n_answers++;
	chunk->is_delivered = is_delivered;
	if (chunk->fixture->must_send) {
		chunk->fixture->must_send = false;
		assert_non_null(send_chunk(chunk->fixture));
	}
}

static void on_late(void *ctx)
{
	(void)ctx;
	fail_msg("what the test waits for did not happen");
}

static bool all_are_answered(const struct fixture *fixture)
{
	for (size_t i = 0; i < fixture->n_chunks; i++)
		if (!fixture->chunks[i].n_answers)
			return false;
	return true;
}

static void turn_until_answered(struct fixture *fixture)
{
	struct timer *late;
	struct err err;

	assert_int_equal(timer_new(fixture->base, on_late, NULL, &late, &err), 0);
	timer_set_ms(late, PATIENCE_MS);
	while (!all_are_answered(fixture))
		assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
	timer_free(late);
	for (size_t i = 0; i < fixture->n_chunks; i++)
		assert_int_equal(fixture->chunks[i].n_answers, 1);
}

static void on_due(void *ctx)
{
	*(bool *)ctx = true;
}

static void turn_for(struct fixture *fixture, unsigned ms)
{
	bool is_over = false;
	struct timer *timer;
	struct err err;

	assert_int_equal(timer_new(fixture->base, on_due, &is_over, &timer, &err), 0);
	timer_set_ms(timer, ms);
	while (!is_over)
		assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
	timer_free(timer);
}

/* Until one is delivered. How many were refused or lost before? */
static unsigned send_until_delivered(struct fixture *fixture)
{
	for (unsigned n_lost = 0;; n_lost++) {
		struct chunk *chunk = send_chunk(fixture);

		turn_until_answered(fixture);
		if (chunk && chunk->is_delivered)
			return n_lost;
		assert_true(n_lost < CHUNKS_MAX);
		turn_for(fixture, 200);
	}
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err;

	fixture->bystander = __real_rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
	fixture->cluster = rd_kafka_mock_cluster_new(fixture->bystander, 1);
	assert_int_equal(rd_kafka_mock_topic_create(fixture->cluster, TOPIC, 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
	fixture->base = event_base_new();
	n_handles = 0;
	assert_int_equal(streamer_new(fixture->base, rd_kafka_mock_cluster_bootstraps(fixture->cluster), on_delivered,
				      fixture, &fixture->streamer, &err),
			 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	streamer_free(fixture->streamer);
	event_base_free(fixture->base);
	rd_kafka_mock_cluster_destroy(fixture->cluster);
	rd_kafka_destroy(fixture->bystander);
	free(fixture);
	return 0;
}

static void test_every_chunk_is_answered_once(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 20; i++)
		assert_non_null(send_chunk(fixture));
	turn_until_answered(fixture);
	for (size_t i = 0; i < fixture->n_chunks; i++)
		assert_true(fixture->chunks[i].is_delivered);
	assert_int_equal(n_handles, 1);
}

static void end_producer(void)
{
	assert_int_equal(rd_kafka_test_fatal_error(newest, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, "the test says so"),
			 RD_KAFKA_RESP_ERR_NO_ERROR);
	assert_int_equal(rd_kafka_producev(newest, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_END), RD_KAFKA_RESP_ERR__FATAL);
}

static void test_an_error_that_ends_the_producer_costs_nothing_that_comes_after(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(send_until_delivered(fixture), 0);
	end_producer();
	assert_int_equal(send_until_delivered(fixture), 0);
	assert_int_equal(n_handles, 2);
}

static void test_a_producer_that_ends_at_once_is_not_replaced_at_once(void **state)
{
	struct fixture *fixture = *state;

	do
		end_producer();
	while (send_chunk(fixture) && n_handles < HANDLES_MAX);
	assert_in_range(n_handles, 2, HANDLES_MAX - 1);
	assert_true(send_until_delivered(fixture) > 0);
}

static void test_what_it_had_in_hand_is_lost_and_the_next_is_not(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(rd_kafka_mock_broker_set_down(fixture->cluster, BROKER_ID), RD_KAFKA_RESP_ERR_NO_ERROR);
	for (int i = 0; i < 20; i++)
		assert_non_null(send_chunk(fixture));
	fixture->must_send = true;
	end_producer();
	while (n_handles < 2)
		turn_for(fixture, 10);
	assert_int_equal(rd_kafka_mock_broker_set_up(fixture->cluster, BROKER_ID), RD_KAFKA_RESP_ERR_NO_ERROR);
	turn_until_answered(fixture);
	assert_int_equal(fixture->n_chunks, 21);
	for (size_t i = 0; i < 20; i++)
		assert_false(fixture->chunks[i].is_delivered);
	assert_true(fixture->chunks[20].is_delivered);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_chunk_is_answered_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_an_error_that_ends_the_producer_costs_nothing_that_comes_after,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_producer_that_ends_at_once_is_not_replaced_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_it_had_in_hand_is_lost_and_the_next_is_not, set_up, tear_down),
	};

	log_init("streamer-test", LOG_LEVEL_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
