/* Reading what Kafka keeps, against librdkafka's mock cluster: ranges end where they should, and the latest event of an id is found
 * however much lies after it. With a real Kafka and its transactions in tests/e2e/cli_queue.py. */
#include "tools/history.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/unit.h"
#include "wire/task.h"

#define PARTITIONS 4
#define FLUSH_MS   30000

struct fixture {
	rd_kafka_t *producer; /* the mock cluster lives in it */
	rd_kafka_mock_cluster_t *cluster;
	struct target target;
	struct client *client;
	size_t n_read;
	char why[200]; /* of the last delivery */
};

static void on_record(void *ctx, const struct client_record *record)
{
	struct fixture *fixture = ctx;

	assert_true(record->key_len > 0);
	fixture->n_read++;
}

static void on_delivered(void *ctx, const struct client_delivery *delivery)
{
	struct fixture *fixture = ctx;

	(void)snprintf(fixture->why, sizeof(fixture->why), "%s", delivery->why ? delivery->why : "");
}

static int set_up(void **state)
{
	static const char *const topics[] = { "t.tasks", "t.results", "t.output", "t.control" };
	const struct client_events events = { .on_delivered = on_delivered, .on_record = on_record };
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];
	struct err err;

	assert_non_null(fixture);
	assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", why, sizeof(why)), RD_KAFKA_CONF_OK);
	assert_int_equal(rd_kafka_conf_set(conf, "linger.ms", "0", why, sizeof(why)), RD_KAFKA_CONF_OK);
	fixture->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	assert_non_null(fixture->producer);
	fixture->cluster = rd_kafka_handle_mock_cluster(fixture->producer);
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		assert_int_equal(rd_kafka_mock_topic_create(fixture->cluster, topics[i], PARTITIONS, 1), 0);
	(void)snprintf(fixture->target.fleet.brokers, sizeof(fixture->target.fleet.brokers), "%s",
		       rd_kafka_mock_cluster_bootstraps(fixture->cluster));
	(void)snprintf(fixture->target.fleet.topic_prefix, sizeof(fixture->target.fleet.topic_prefix), "t");
	assert_int_equal(client_new(&fixture->target, &events, fixture, &fixture->client, &err), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	client_free(fixture->client);
	rd_kafka_destroy(fixture->producer);
	free(fixture);
	return 0;
}

static void send_bytes(struct fixture *fixture, const char *topic, const char *key, const void *data, size_t len)
{
	assert_int_equal(rd_kafka_producev(fixture->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)),
					   RD_KAFKA_V_VALUE((void *)(uintptr_t)data, len),
					   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
			 RD_KAFKA_RESP_ERR_NO_ERROR);
	(void)rd_kafka_poll(fixture->producer, 0);
}

static void flush_all(struct fixture *fixture)
{
	assert_int_equal(rd_kafka_flush(fixture->producer, FLUSH_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void send_event(struct fixture *fixture, const char *id, enum result_event event, int64_t source, uint32_t attempt)
{
	struct buf bytes = { 0 };
	struct result result;

	result_init(&result);
	(void)snprintf(result.id, sizeof(result.id), "%s", id);
	result.event = event;
	result.offset = source;
	result.attempt = attempt;
	assert_int_equal(result_encode(&result, &bytes), 0);
	send_bytes(fixture, "t.results", id, bytes.data, bytes.len);
	buf_free(&bytes);
}

static void test_a_range_ends_at_its_end_and_at_the_partitions(void **state)
{
	struct fixture *fixture = *state;
	struct client_range range;
	struct err err;
	int n = 0;

	for (int i = 0; i < 100; i++)
		send_bytes(fixture, "t.results", "same", "x", 1);
	flush_all(fixture);
	assert_int_equal(client_partitions(fixture->client, CLIENT_TOPIC_RESULTS, &n, &err), 0);
	assert_int_equal(n, PARTITIONS);
	assert_int_equal(client_range(fixture->client, CLIENT_TOPIC_RESULTS, client_partition_of("same", n), &range, &err), 0);
	assert_int_equal(range.to - range.from, 100);
	assert_int_equal(client_read(fixture->client, &range, on_record, fixture, &err), 0);
	assert_int_equal(fixture->n_read, 100);
	range.from += 40;
	range.to -= 50;
	assert_int_equal(client_read(fixture->client, &range, on_record, fixture, &err), 0);
	assert_int_equal(fixture->n_read, 110);
	range.from = 90;
	range.to = 1000; /* as where the last offsets are those of transactions: only the partition's end says that it is over */
	assert_int_equal(client_read(fixture->client, &range, on_record, fixture, &err), 0);
	assert_int_equal(fixture->n_read, 120);
	range.to = range.from;
	assert_int_equal(client_read(fixture->client, &range, on_record, fixture, &err), 0);
	assert_int_equal(fixture->n_read, 120);
}

static void read_history(struct fixture *fixture, const char *id, struct history *history)
{
	struct err err = { 0 };

	history_init(history);
	if (history_read(fixture->client, id, 0, false, history, &err) < 0)
		fail_msg("%s", err.msg);
}

static void test_the_latest_of_an_id_is_found(void **state)
{
	struct fixture *fixture = *state;
	struct history history;

	send_event(fixture, "old", RESULT_EVENT_FINISHED, 1, 1);
	send_event(fixture, "old", RESULT_EVENT_FINISHED, 2, 7);
	send_event(fixture, "again", RESULT_EVENT_FINISHED, 3, 1);
	send_event(fixture, "again", RESULT_EVENT_STARTED, 4, 1);
	send_event(fixture, "over", RESULT_EVENT_FINISHED, 5, 2);
	send_event(fixture, "over", RESULT_EVENT_STARTED, 5, 2); /* it is told by another producer, and may come late */
	for (int i = 0; i < 12000; i++)
		send_bytes(fixture, "t.results", i % 2 ? "old-not" : "other", "x", 1);
	flush_all(fixture);

	read_history(fixture, "old", &history);
	assert_true(history.has_finished && !history.has_started);
	assert_int_equal(history.finished.attempt, 7);
	assert_false(history_is_running(&history));
	history_clear(&history);

	read_history(fixture, "again", &history);
	assert_true(history.has_finished && history_is_running(&history));
	history_clear(&history);

	read_history(fixture, "over", &history);
	assert_true(history.has_finished && history.has_started && !history_is_running(&history));
	history_clear(&history);

	read_history(fixture, "nobody", &history);
	assert_false(history.has_finished || history.has_started);
	history_clear(&history);
}

static void test_a_record_that_waits_is_known(void **state)
{
	struct fixture *fixture = *state;
	int64_t when = 0;
	struct err err;

	send_bytes(fixture, "t.tasks", "waits", "x", 1);
	flush_all(fixture);
	assert_int_equal(history_submitted(fixture->client, "waits", 0, &when, &err), 0);
	assert_true(when > 0);
	assert_int_equal(history_submitted(fixture->client, "nobody", 0, &when, &err), 0);
	assert_int_equal(when, 0);
}

/* Answers where it is; partition 0 whatever its id says. */
static int64_t send_task(struct fixture *fixture, const char *key, const char *id, int64_t offset)
{
	char program[] = "true";
	struct task_text argv = { .text = program };
	struct task task = task_defaults;
	struct buf bytes = { 0 };

	(void)snprintf(task.id, sizeof(task.id), "%s", id);
	(void)snprintf(task.image, sizeof(task.image), "base");
	task.argv = &argv;
	task.n_argv = 1;
	assert_int_equal(task_encode(&task, &bytes), 0);
	assert_int_equal(rd_kafka_producev(fixture->producer, RD_KAFKA_V_TOPIC("t.tasks"), RD_KAFKA_V_PARTITION(0),
					   RD_KAFKA_V_KEY((void *)(uintptr_t)key, strlen(key)), RD_KAFKA_V_VALUE(bytes.data, bytes.len),
					   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
			 RD_KAFKA_RESP_ERR_NO_ERROR);
	buf_free(&bytes);
	return offset;
}

static bool waits(struct fixture *fixture, const char *id)
{
	struct history history;
	struct err err = { 0 };
	bool is_waiting;

	read_history(fixture, id, &history);
	assert_true(history.has_finished);
	if (history_read_waiting(&fixture->target, id, &history, "test", &err) < 0)
		fail_msg("%s", err.msg);
	is_waiting = history.waiting_ms != 0;
	history_clear(&history);
	return is_waiting;
}

static void test_an_id_that_waits_again(void **state)
{
	struct fixture *fixture = *state;

	send_event(fixture, "once", RESULT_EVENT_FINISHED, send_task(fixture, "once", "once", 0), 1);
	send_event(fixture, "again", RESULT_EVENT_FINISHED, send_task(fixture, "again", "again", 1), 1);
	(void)send_task(fixture, "again", "again", 2);
	send_event(fixture, "key", RESULT_EVENT_FINISHED, send_task(fixture, "key", "key", 3), 1);
	(void)send_task(fixture, "key", "key-not", 4); /* another's, under our key */
	flush_all(fixture);

	assert_false(waits(fixture, "once"));
	assert_true(waits(fixture, "again"));
	assert_false(waits(fixture, "key"));

	send_event(fixture, "again", RESULT_EVENT_STARTED, 2, 1);
	flush_all(fixture);
	assert_false(waits(fixture, "again")); /* it runs */
	send_event(fixture, "again", RESULT_EVENT_FINISHED, 2, 1);
	flush_all(fixture);
	assert_false(waits(fixture, "again"));
}

static void test_nothing_waits_beyond_its_time(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t large[1000000];
	struct client_range range = { .topic = CLIENT_TOPIC_RESULTS, .to = 1 };
	struct err err = { 0 };
	int r = client_know(fixture->client, CLIENT_TOPIC_TASKS, &err);

	assert_int_equal(r, 0);
	assert_int_equal(client_partitions(fixture->client, CLIENT_TOPIC_RESULTS, &r, &err), 0);
	assert_int_equal(rd_kafka_mock_broker_set_down(fixture->cluster, 1), 0);
	client_until(fixture->client, clock_mono_ms() + 500);
	for (r = 0; r == 0;) /* until the producer's queue is full */
		r = client_send(fixture->client, CLIENT_TOPIC_TASKS, "k", 1, large, sizeof(large), NULL, &err);
	assert_non_null(strstr(err.msg, "gave up (--within)"));
	assert_true(client_read(fixture->client, &range, on_record, fixture, &err) < 0);
	assert_true(client_range(fixture->client, CLIENT_TOPIC_RESULTS, 0, &range, &err) < 0);
}

static void send_one(struct fixture *fixture)
{
	struct err err;

	assert_int_equal(client_send(fixture->client, CLIENT_TOPIC_TASKS, "k", 1, "x", 1, NULL, &err), 0);
	client_flush(fixture->client, FLUSH_MS);
	assert_int_equal(client_in_flight(fixture->client), 0);
}

static void test_a_right_that_goes_after_the_look_is_told_with_its_topic(void **state)
{
	struct fixture *fixture = *state;

	send_one(fixture);
	assert_string_equal(fixture->why, "");
	rd_kafka_mock_push_request_errors(fixture->cluster, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	send_one(fixture);
	assert_string_equal(fixture->why, "Kafka does not let us write topic 't.tasks': Broker: Topic authorization failed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_range_ends_at_its_end_and_at_the_partitions),
		TEST(the_latest_of_an_id_is_found),
		TEST(a_record_that_waits_is_known),
		TEST(an_id_that_waits_again),
		TEST(nothing_waits_beyond_its_time),
		TEST(a_right_that_goes_after_the_look_is_told_with_its_topic),
	};

	log_init("history_test", LOG_LEVEL_COUNT); /* as the command does */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
