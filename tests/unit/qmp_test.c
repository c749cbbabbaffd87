/* QMP commands are one line of JSON each, whatever is in them. */
#include "wire/qmp.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/unit.h"

static void assert_line(struct buf *out, const char *expected)
{
	assert_int_equal(out->len, strlen(expected));
	assert_memory_equal(out->data, expected, out->len);
	buf_free(out);
	*out = (struct buf){ 0 };
}

static void test_commands_with_and_without_arguments(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(qmp_encode(&out, "qmp_capabilities", 1, NULL), 0);
	assert_line(&out, "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	assert_int_equal(qmp_encode(&out, "add-fd", 2, "{s:i, s:[{s:b}]}", "fdset-id", 1, "list", "is", 1), 0);
	assert_line(&out, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":1,\"list\":[{\"is\":true}]},\"id\":2}\n");
}

static void test_no_text_ends_its_line(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(qmp_encode(&out, "x", 3, "{s:s}", "path", "a\"\n{b"), 0);
	assert_line(&out, "{\"execute\":\"x\",\"arguments\":{\"path\":\"a\\\"\\n{b\"},\"id\":3}\n");
}

static void test_what_does_not_fit_leaves_nothing(void **state)
{
	struct buf out = { .max = 30 };

	(void)state;
	assert_int_equal(qmp_encode(&out, "qmp_capabilities", 1, NULL), -ENOMEM);
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

static struct qmp_message decoded(const char *line)
{
	struct qmp_message message;

	assert_int_equal(qmp_decode(line, strlen(line), &message), 0);
	return message;
}

/* A status is a text in an event's data, cut where it is too long; whatever else is there is none. */
static void test_the_status_of_an_event(void **state)
{
	struct qmp_message message = decoded("{\"event\":\"MIGRATION\",\"data\":{\"status\":\"completed\"}}");

	(void)state;
	assert_string_equal(message.text, "MIGRATION");
	assert_string_equal(message.status, "completed");
	assert_string_equal(decoded("{\"event\":\"MIGRATION\",\"data\":{\"status\":7}}").status, "");
	assert_string_equal(decoded("{\"event\":\"MIGRATION\",\"data\":[\"status\"]}").status, "");
	assert_string_equal(decoded("{\"event\":\"STOP\"}").status, "");
	assert_string_equal(decoded("{\"return\":{\"status\":\"completed\"},\"id\":1}").status, "");
	message = decoded("{\"event\":\"X\",\"data\":{\"status\":\"abcdefghijklmnopqrstuvwxyz\"}}");
	assert_int_equal(strlen(message.status), sizeof(message.status) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands_with_and_without_arguments),
		cmocka_unit_test(test_no_text_ends_its_line),
		cmocka_unit_test(test_what_does_not_fit_leaves_nothing),
		cmocka_unit_test(test_the_status_of_an_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
