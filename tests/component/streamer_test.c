/* The streamer against librdkafka's mock cluster: who is acknowledged, and that an error that ends a producer does not end it. */
#include "tests/unit/unit.h"

#include <event2/event.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

#include "base/log.h"
#include "bus/streamer.h"
#include "tests/support/turn.h"

#define TOPIC       "output"
#define BROKER_ID   1
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

static bool all_are_answered(const void *ctx)
{
	const struct fixture *fixture = ctx;

	for (size_t i = 0; i < fixture->n_chunks; i++)
		if (!fixture->chunks[i].n_answers)
			return false;
	return true;
}

static void turn_until_answered(struct fixture *fixture)
{
	turn_until(fixture->base, all_are_answered, fixture);
	for (size_t i = 0; i < fixture->n_chunks; i++)
		assert_int_equal(fixture->chunks[i].n_answers, 1);
}

static void turn_for(struct fixture *fixture, const struct timeval *time)
{
	assert_int_equal(event_base_loopexit(fixture->base, time), 0);
	assert_int_equal(event_base_dispatch(fixture->base), 0);
}

/* Until one is delivered. How many were refused or lost before? */
static unsigned send_until_delivered(struct fixture *fixture)
{
	const struct timeval pause = { .tv_usec = 200000 };

	for (unsigned n_lost = 0;; n_lost++) {
		struct chunk *chunk = send_chunk(fixture);

		turn_until_answered(fixture);
		if (chunk && chunk->is_delivered)
			return n_lost;
		assert_true(n_lost < CHUNKS_MAX);
		turn_for(fixture, &pause);
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

static bool is_replaced(const void *ctx)
{
	(void)ctx;
	return n_handles == 2;
}

static void test_what_it_had_in_hand_is_lost_and_the_next_is_not(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(rd_kafka_mock_broker_set_down(fixture->cluster, BROKER_ID), RD_KAFKA_RESP_ERR_NO_ERROR);
	for (int i = 0; i < 20; i++)
		assert_non_null(send_chunk(fixture));
	fixture->must_send = true;
	end_producer();
	turn_until(fixture->base, is_replaced, NULL);
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
