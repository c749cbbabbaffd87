/* Items of the outbox own what they tell, and messages that are too large do what they say. */
#include "tests/unit/unit.h"

#include "base/ident.h"
#include "wire/result.h"
#include "worker/dead_letter.h"
#include "worker/outbox_item.h"

static const struct outbox_source source = { { "tasks", 3, 7 }, 1 };

static struct outbox_message text_message(const char *topic, const char *key, const char *text)
{
	struct outbox_message message = { .topic = topic, .key = key, .key_len = strlen(key), .on_refusal = OUTBOX_REFUSAL_LEAVE_OUT };

	assert_int_equal(buf_append(&message.data, text, strlen(text)), 0);
	return message;
}

static struct outbox_message result_message(size_t output)
{
	struct outbox_message message = { .topic = "results", .key = "a", .key_len = 1, .on_refusal = OUTBOX_REFUSAL_SHORTEN };
	struct result result, decoded;
	uint8_t bytes[1000];
	char why[160];

	memset(bytes, 'x', sizeof(bytes));
	result_init(&result);
	(void)snprintf(result.id, sizeof(result.id), "a");
	(void)snprintf(result.topic, sizeof(result.topic), "tasks");
	(void)snprintf(result.host, sizeof(result.host), "h");
	(void)snprintf(result.worker, sizeof(result.worker), "w");
	result.event = RESULT_EVENT_FINISHED;
	result.kind = TASK_KIND_RUN;
	result.outcome = RESULT_OUTCOME_FAILED;
	result.ran = RESULT_RAN_RAN;
	result.attempt = 1;
	result.token = 1;
	for (size_t i = 0; i < output; i++)
		assert_int_equal(result_stream_add(&result.out, bytes, sizeof(bytes)), 0);
	result.out.bytes = result.out.bytes_kept;
	assert_int_equal(result_encode(&result, &message.data), 0);
	assert_int_equal(result_decode(message.data.data, message.data.len, &decoded, why), 0);
	result_clear(&decoded);
	result_clear(&result);
	return message;
}

static void test_takes_what_it_tells(void **state)
{
	char key[] = "one";
	struct outbox_message messages[3] = { text_message("results", key, "first"), { .topic = "parked", .key = "two", .key_len = 3 },
					      text_message("receipts", "three", "third") };
	struct outbox_item *item;

	(void)state;
	messages[2].headers = calloc(1, sizeof(*messages[2].headers));
	item = outbox_item_new(&source, messages, 3);
	assert_non_null(item);
	memset(key, '-', sizeof(key));
	for (int i = 0; i < 3; i++) {
		assert_null(messages[i].data.data);
		assert_null(messages[i].headers);
		outbox_message_clear(&messages[i]); /* fine after it was taken */
	}
	assert_memory_equal(item->letters[0].message.key, "one", 3);
	assert_memory_equal(item->letters[1].message.key, "two", 3);
	assert_memory_equal(item->letters[2].message.key, "three", 5);
	assert_null(item->letters[1].message.data.data); /* a tombstone stays one */
	assert_int_equal(item->bytes, 3 + 5 + 3 + 5 + 5);
	outbox_item_free(item);
}

static void test_without_messages(void **state)
{
	struct outbox_item *item = outbox_item_new(&source, NULL, 0);

	(void)state;
	assert_non_null(item);
	assert_int_equal(item->bytes, 0);
	assert_true(outbox_item_take_refusals(item));
	outbox_item_free(item);
}

static void test_what_is_refused_is_left_out(void **state)
{
	struct outbox_message messages[2] = { text_message("results", "a", "first"), text_message("dead", "b", "second") };
	struct outbox_item *item = outbox_item_new(&source, messages, 2);

	(void)state;
	item->letters[1].is_refused = true;
	assert_true(outbox_item_take_refusals(item));
	assert_false(item->letters[0].is_left_out);
	assert_true(item->letters[1].is_left_out);
	assert_false(item->letters[1].is_refused);
	assert_int_equal(item->bytes, 1 + 5);
	outbox_item_free(item);
}

static void test_a_result_is_shortened_until_it_cannot_be(void **state)
{
	struct outbox_message message = result_message(50);
	struct outbox_item *item = outbox_item_new(&source, &message, 1);
	const struct outbox_message *taken = &item->letters[0].message;
	size_t before = item->bytes;

	(void)state;
	item->letters[0].is_refused = true;
	assert_true(outbox_item_take_refusals(item));
	assert_true(item->bytes < before);
	assert_int_equal(item->bytes, 1 + taken->data.len);
	for (int i = 0; i < RESULT_FORM_COUNT && outbox_item_take_refusals(item); i++) {
		item->letters[0].is_refused = true;
		before = item->bytes;
	}
	item->letters[0].is_refused = true;
	assert_false(outbox_item_take_refusals(item)); /* it is the shortest */
	assert_int_equal(item->bytes, before);
	assert_false(item->letters[0].is_left_out);
	outbox_item_free(item);
}

static void assert_header(const struct publish_headers *headers, size_t i, const char *name, const char *value)
{
	assert_true(i < headers->n);
	assert_string_equal(headers->headers[i].name, name);
	assert_string_equal(headers->headers[i].value, value);
}

static void test_dead_letter_is_the_record(void **state)
{
	const struct consumer_record record = { .key = "k", .key_len = 1, .data = (const uint8_t *)"", .len = 0 };
	struct dead_letter *letter = dead_letter_new(&record);
	struct outbox_message message;

	(void)state;
	assert_int_equal(dead_letter_message(letter, "dead", &source.place, &message), 0);
	assert_memory_equal(message.key, "k", 1);
	assert_non_null(message.data.data); /* empty, and no tombstone */
	assert_int_equal(message.data.len, 0);
	assert_int_equal(message.headers->n, 3);
	assert_header(message.headers, 0, "mayfly.source.topic", "tasks");
	assert_header(message.headers, 1, "mayfly.source.partition", "3");
	assert_header(message.headers, 2, "mayfly.source.offset", "7");
	outbox_message_clear(&message);
	free(letter);
}

static void test_dead_letter_of_a_tombstone(void **state)
{
	const struct consumer_record record = { .data = NULL };
	struct dead_letter *letter = dead_letter_new(&record);
	struct outbox_message message;

	(void)state;
	assert_int_equal(dead_letter_message(letter, "dead", &source.place, &message), 0);
	assert_null(message.key);
	assert_null(message.data.data);
	outbox_message_clear(&message);
	free(letter);
}

static void test_lost_records(void **state)
{
	const struct partition partition = { .topic = "urgent", .id = 2 };
	const struct partition_loss loss = { .from = 4, .to = 20, .first = 5, .last = 19, .records = 12 };
	struct outbox_message message;

	(void)state;
	assert_int_equal(dead_letter_loss(&partition, &loss, "dead", "workers", &message), 0);
	assert_null(message.key);
	assert_null(message.data.data);
	assert_int_equal(message.headers->n, 6);
	assert_header(message.headers, 0, "mayfly.source.topic", "urgent");
	assert_header(message.headers, 2, "mayfly.source.offset", "5");
	assert_header(message.headers, 3, "mayfly.lost.last", "19");
	assert_header(message.headers, 4, "mayfly.lost.records", "12");
	assert_header(message.headers, 5, "mayfly.lost.group", "workers");
	outbox_message_clear(&message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_what_it_tells),
		cmocka_unit_test(test_without_messages),
		cmocka_unit_test(test_what_is_refused_is_left_out),
		cmocka_unit_test(test_a_result_is_shortened_until_it_cannot_be),
		cmocka_unit_test(test_dead_letter_is_the_record),
		cmocka_unit_test(test_dead_letter_of_a_tombstone),
		cmocka_unit_test(test_lost_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
