/* What a reaper says in a worker's stead, as its reader gets it. */
#include "tests/unit/unit.h"

#include <string.h>

#include "reaper/lost_result.h"
#include "wire/result.h"

static void make(const struct kafka_item *item, struct result *ret)
{
	struct buf buf = { 0 };
	char why[160] = "";

	assert_int_equal(lost_result_encode(item, 1234567890123, &buf), 0);
	assert_int_equal(result_decode(buf.data, buf.len, ret, why), 0);
	buf_free(&buf);
}

static struct kafka_item an_item(void)
{
	return (struct kafka_item){ .lease = { .id = "one",
					       .victim = "worker.with.dots.0f0f",
					       .host = "here",
					       .token = 42,
					       .attempt = 3,
					       .topic = "mayfly.tasks",
					       .partition = 5,
					       .offset = 99 } };
}

static void test_lost(void **state)
{
	struct kafka_item item = an_item();
	struct result result;

	(void)state;
	make(&item, &result);
	assert_int_equal(result.event, RESULT_EVENT_FINISHED);
	assert_int_equal(result.outcome, RESULT_OUTCOME_LOST);
	assert_int_equal(result.ran, RESULT_RAN_UNKNOWN);
	assert_string_equal(result.id, "one");
	assert_string_equal(result.worker, "worker.with.dots"); /* without its process start */
	assert_string_equal(result.host, "here");
	assert_string_equal(result.topic, "mayfly.tasks");
	assert_int_equal(result.partition, 5);
	assert_int_equal(result.offset, 99);
	assert_int_equal(result.attempt, 3);
	assert_int_equal(result.token, 42);
	assert_true(result.finished_ms == 1234567890123);
	assert_false(result.is_key_destroyed);
	assert_non_null(strstr(result.message, "nobody saw whether the key of its disk is destroyed"));
	result_clear(&result);
}

static void test_expired(void **state)
{
	struct kafka_item item = an_item();
	struct result result;

	(void)state;
	item.is_expired = true;
	item.lease.is_key_destroyed = true;
	make(&item, &result);
	assert_int_equal(result.outcome, RESULT_OUTCOME_EXPIRED);
	assert_string_equal(result.field, "ttl_ms");
	assert_true(result.is_key_destroyed);
	assert_null(strstr(result.message, "nobody saw"));
	result_clear(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lost), cmocka_unit_test(test_expired) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
