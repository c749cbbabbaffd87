/* What the mayfly command reads from people and writes for scripts: amounts, base64, tasks and results as JSON. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "tools/base64.h"
#include "tools/order.h"
#include "tools/quantity.h"
#include "tools/result_json.h"
#include "tools/task_json.h"
#include "wire/task.h"

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = { { "250ms", 250 }, { "30s", 30000 },  { "30", 30000 },
		     { "5m", 300000 }, { "1h", 3600000 }, { "1d", 86400000 } };
	static const char *const bad[] = {
		"", "s", "-1s", " 1s", "1.5s", "1w", "1s ", "99999999999999999999s", "18446744073709551615h"
	};
	struct err err;
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(quantity_ms("ttl", good[i].text, &ms, &err), 0);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(quantity_ms("ttl", bad[i], &ms, &err) < 0);
		assert_non_null(strstr(err.msg, "--ttl"));
	}
}

static void test_sizes(void **state)
{
	struct err err;
	uint64_t bytes;
	uint32_t mib;

	(void)state;
	assert_int_equal(quantity_mib("memory", "256M", &mib, &err), 0);
	assert_int_equal(mib, 256);
	assert_int_equal(quantity_mib("memory", "2G", &mib, &err), 0);
	assert_int_equal(mib, 2048);
	assert_int_equal(quantity_mib("memory", "512", &mib, &err), 0);
	assert_int_equal(mib, 512);
	assert_int_equal(quantity_mib("memory", "1K", &mib, &err), 0);
	assert_int_equal(mib, 1);
	assert_int_equal(quantity_bytes("output-limit", "100", &bytes, &err), 0);
	assert_int_equal(bytes, 100);
	assert_true(quantity_mib("memory", "9999999999G", &mib, &err) < 0);
	assert_true(quantity_mib("memory", "256MB", &mib, &err) < 0);
}

static void test_base64_both_ways(void **state)
{
	(void)state;
	for (size_t len = 0; len < 70; len++) {
		struct buf text = { 0 }, back = { 0 };
		uint8_t data[70];

		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)(i * 37 + len);
		assert_int_equal(base64_encode(data, len, &text), 0);
		assert_int_equal(text.len, (len + 2) / 3 * 4);
		assert_int_equal(base64_decode((const char *)text.data, text.len, &back), 0);
		assert_int_equal(back.len, len);
		assert_memory_equal(len ? back.data : data, data, len);
		buf_free(&text);
		buf_free(&back);
	}
}

/* As base64(1) and MIME write it. */
static void test_wrapped_base64(void **state)
{
	static const char wrapped[] = "aGVs\nbG8g\r\nd29y\nbG\nQ=\n";
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(base64_decode(wrapped, strlen(wrapped), &out), 0);
	assert_int_equal(out.len, 11);
	assert_memory_equal(out.data, "hello world", 11);
	buf_free(&out);
}

static void test_base64_refuses(void **state)
{
	static const char *const bad[] = { "A",	   "AA",   "AAA",      "A===", "====", "AA=A",
					   "AB==", "AAB=", "AA==AAAA", "AA A", "AA-_", "AA\n", "AA==\nAAAA",
					   "    ", " AAA", "AAA ", "    AAAA", "AAAA    ", "AAAA----", "A=AA", "AAAA====", "\tAAA" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf out = { 0 };

		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &out), -EBADMSG);
		buf_free(&out);
	}
}

static int read_task(const char *json, struct task **ret, char id[IDENT_ID_MAX + 1], struct err *err)
{
	struct buf bytes = { 0 };
	struct task_flaw flaw;
	char hint[TASK_JSON_HINT_BYTES];
	int r = task_json_read(json, strlen(json), &bytes, id, hint, err);

	if (r == 0)
		assert_int_equal(task_decode(bytes.data, bytes.len, ret, &flaw), TASK_VERDICT_OK);
	buf_free(&bytes);
	return r;
}

static void test_a_task_is_completed(void **state)
{
	char id[IDENT_ID_MAX + 1];
	struct task *task = NULL;
	struct err err;

	(void)state;
	assert_int_equal(
		read_task(
			"{\"image\":\"base\",\"argv\":[\"cat\"],\"stdin\":\"aGk=\",\"files\":[{\"path\":\"a\",\"data\":\"\"}]}",
			&task, id, &err),
		0);
	assert_string_equal(task->id, id);
	assert_int_equal(strlen(id), 36);
	assert_true(task->created_ms > 1700000000000);
	assert_int_equal(task->stdin_len, 2);
	assert_memory_equal(task->stdin_data, "hi", 2);
	assert_int_equal(task->n_files, 1);
	task_free(task);
}

static void test_seconds_are_noticed(void **state)
{
	static const struct {
		const char *created_ms;
		bool is_noticed;
	} times[] = { { "1764313000", true }, { "1", true }, { "0", false }, { "1764313000000", false }, { "-1764313000", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		char json[160], id[IDENT_ID_MAX + 1], hint[TASK_JSON_HINT_BYTES];
		struct buf bytes = { 0 };
		struct err err;

		(void)snprintf(json, sizeof(json), "{\"image\":\"base\",\"argv\":[\"x\"],\"created_ms\":%s}",
			       times[i].created_ms);
		(void)task_json_read(json, strlen(json), &bytes, id, hint, &err);
		assert_true((strstr(hint, "is it in seconds") != NULL) == times[i].is_noticed);
		buf_free(&bytes);
	}
}

static void test_what_is_given_stays(void **state)
{
	char id[IDENT_ID_MAX + 1];
	struct task *task = NULL;
	struct err err;

	(void)state;
	assert_int_equal(
		read_task(
			"{\"v\":1,\"kind\":\"run\",\"id\":\"mine\",\"created_ms\":0,\"image\":\"base\",\"argv\":[\"x\"]}",
			&task, id, &err),
		0);
	assert_string_equal(id, "mine");
	assert_int_equal(task->created_ms, 0);
	task_free(task);
}

/* The three times of a task, from the command line and back from its bytes; a limit is told in the option's name. */
static void test_three_times_on_a_command_line(void **state)
{
	static char *program[] = { (char *)"true" };
	struct order order;
	struct buf bytes = { 0 };
	struct task *task = NULL;
	struct task_flaw flaw;
	struct err err;

	(void)state;
	assert_int_equal(order_init(&order, &err), 0);
	assert_int_equal(order.task->queue_ms, 0);
	assert_int_equal(order_take(&order, ORDER_OPTION_QUEUE, "2d", &err), 0);
	assert_int_equal(order_take(&order, ORDER_OPTION_TTL, "3m", &err), 0);
	assert_int_equal(order_take(&order, ORDER_OPTION_TIMEOUT, "4", &err), 0);
	assert_int_equal(order_finish(&order, 1, program, &bytes, &err), 0);
	assert_int_equal(task_decode(bytes.data, bytes.len, &task, &flaw), TASK_VERDICT_OK);
	assert_int_equal(task->queue_ms, 2 * 86400000);
	assert_int_equal(task->ttl_ms, 180000);
	assert_int_equal(task->timeout_ms, 4000);
	task_free(task);
	order_clear(&order);
	buf_free(&bytes);
	bytes = (struct buf){ 0 };
	assert_int_equal(order_init(&order, &err), 0);
	assert_int_equal(order_take(&order, ORDER_OPTION_QUEUE, "31d", &err), 0);
	assert_true(order_finish(&order, 1, program, &bytes, &err) < 0);
	assert_non_null(strstr(err.msg, "--queue"));
	assert_non_null(strstr(err.msg, "2592000000"));
	order_clear(&order);
	buf_free(&bytes);
}

/* A long --timeout brings a --ttl that is long enough, unless one is given. */
static void test_a_long_program_has_a_long_workspace(void **state)
{
	static const struct {
		const char *timeout, *ttl;
		uint64_t ttl_ms;
	} good[] = { { "10m", NULL, 600000 }, { "11m", NULL, 1260000 }, { "24h", NULL, 86400000 }, { "11m", "5s", 5000 } };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		static char *program[] = { (char *)"true" };
		struct buf bytes = { 0 };
		struct order order;
		struct err err;

		assert_int_equal(order_init(&order, &err), 0);
		assert_int_equal(order_take(&order, ORDER_OPTION_TIMEOUT, good[i].timeout, &err), 0);
		if (good[i].ttl)
			assert_int_equal(order_take(&order, ORDER_OPTION_TTL, good[i].ttl, &err), 0);
		assert_int_equal(order_finish(&order, 1, program, &bytes, &err), 0);
		assert_int_equal(order.task->ttl_ms, good[i].ttl_ms);
		order_clear(&order);
		buf_free(&bytes);
	}
}

static void test_flaws_name_their_field(void **state)
{
	static const struct {
		const char *json, *says;
	} bad[] = {
		{ "nonsense", "is not JSON" },
		{ "[]", "must be a JSON object" },
		{ "{\"image\":\"base\"}", "argv" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"colour\":1}", "colour" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"argv\":[\"y\"]}", "duplicate" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"cpus\":1.0}", "cpus" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"stdin\":\"?\"}", "stdin: is not base64" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"stdin\":7}", "stdin" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"files\":{}}", "files" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"files\":[{\"path\":\"../x\",\"data\":\"\"}]}",
		  "files[0].path" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"files\":[{\"path\":\"x\",\"data\":\"?\"}]}",
		  "files[0].data: is not base64" },
		{ "{\"image\":\"base\",\"argv\":[\"a\\u0000b\"]}", "argv[0]" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"id\":null}", "id" },
		{ "{\"image\":\"base\",\"argv\":[\"x\"],\"ttl_ms\":null}", "ttl_ms" },
		{ "{\"image\":\"base\",\"argv\":[[[[[[[[[[[[\"x\"]]]]]]]]]]]]}", "deep" },
	};
	char id[IDENT_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct task *task = NULL;
		struct err err = { 0 };

		assert_true(read_task(bad[i].json, &task, id, &err) < 0);
		assert_int_equal(err.kind, ERR_INPUT);
		if (!strstr(err.msg, bad[i].says))
			fail_msg("%s: '%s' does not say '%s'", bad[i].json, err.msg, bad[i].says);
	}
}

static json_t *print_and_read(const struct result *result)
{
	char *text = NULL;
	size_t len;
	FILE *stream = open_memstream(&text, &len);
	struct err err;
	json_t *json;

	assert_int_equal(result_json_print(result, stream, &err), 0);
	assert_int_equal(fclose(stream), 0);
	assert_int_equal(text[len - 1], '\n');
	assert_ptr_equal(memchr(text, '\n', len), text + len - 1); /* one line */
	json = json_loads(text, JSON_ALLOW_NUL, NULL);
	free(text);
	assert_non_null(json);
	return json;
}

static void fill(struct result_stream *stream, const void *data, size_t len, uint64_t bytes)
{
	assert_int_equal(result_stream_add(stream, data, len), 0);
	stream->bytes = bytes;
}

static void assert_member(const json_t *json, const char *key, const void *text, size_t len)
{
	const json_t *member = json_object_get(json, key);

	assert_non_null(member);
	assert_int_equal(json_string_length(member), len);
	assert_memory_equal(json_string_value(member), text, len);
}

static void test_streams_as_text(void **state)
{
	static const char text[] = "a\0\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n";
	struct result result;
	json_t *json;

	(void)state;
	result_init(&result);
	result.event = RESULT_EVENT_FINISHED;
	fill(&result.out, text, sizeof(text) - 1, sizeof(text) - 1);
	json = print_and_read(&result);
	assert_member(json, "stdout", text, sizeof(text) - 1);
	assert_member(json, "stdout_encoding", "utf-8", 5);
	assert_member(json, "stderr", "", 0);
	assert_member(json, "stderr_encoding", "utf-8", 5);
	assert_true(json_is_false(json_object_get(json, "stdout_truncated")));
	assert_null(json_object_get(json, "stdout_tail"));
	assert_true(json_is_null(json_object_get(json, "exit_code")));
	json_decref(json);
	result_clear(&result);
}

/* No byte is ever replaced: what is no UTF-8 comes as base64, also a character that the program itself left unfinished. */
static void test_streams_as_base64(void **state)
{
	static const struct {
		const char *bytes, *base64;
	} streams[] = { { "\xff\xfe", "//4=" }, { "a\xe2\x82", "YeKC" }, { "\x80", "gA==" }, { "\xed\xa0\x80", "7aCA" } };

	(void)state;
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		size_t len = strlen(streams[i].bytes);
		struct result result;
		json_t *json;

		result_init(&result);
		result.event = RESULT_EVENT_FINISHED;
		fill(&result.err_out, streams[i].bytes, len, len);
		json = print_and_read(&result);
		assert_member(json, "stderr", streams[i].base64, strlen(streams[i].base64));
		assert_member(json, "stderr_encoding", "base64", 6);
		assert_member(json, "stdout_encoding", "utf-8", 5);
		json_decref(json);
		result_clear(&result);
	}
}

/* `shift` bytes of ASCII before `n` characters of three bytes each, so that the edges go through one. */
static json_t *print_euros(size_t shift, size_t n, uint64_t dropped, const char *end)
{
	size_t len = shift + 3 * n + strlen(end);
	char *text = malloc(len + 1);
	struct result result;
	json_t *json;

	assert_non_null(text);
	memset(text, 'x', shift);
	for (size_t i = 0; i < n; i++)
		memcpy(text + shift + 3 * i, "\xe2\x82\xac", 3);
	memcpy(text + shift + 3 * n, end, strlen(end) + 1);
	result_init(&result);
	result.event = RESULT_EVENT_FINISHED;
	fill(&result.out, text, len, len + dropped);
	json = print_and_read(&result);
	result_clear(&result);
	free(text);
	return json;
}

static void test_a_character_at_an_edge(void **state)
{
	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		json_t *json = print_euros(shift, 60000, 0, ""); /* a gap */
		size_t whole = (RESULT_HEAD_BYTES - shift) / 3 * 3 + shift;

		assert_member(json, "stdout_encoding", "utf-8", 5);
		assert_int_equal(json_string_length(json_object_get(json, "stdout")), whole);
		assert_int_equal(json_string_length(json_object_get(json, "stdout_tail")) % 3, 0);
		assert_memory_equal(json_string_value(json_object_get(json, "stdout_tail")), "\xe2\x82\xac", 3);
		assert_true(json_string_length(json_object_get(json, "stdout_tail")) > RESULT_TAIL_BYTES - 3);
		json_decref(json);

		json = print_euros(shift, 15000, 0, ""); /* no gap: head and tail meet inside a character */
		assert_int_equal(json_string_length(json_object_get(json, "stdout")), shift + 45000);
		assert_true(json_is_false(json_object_get(json, "stdout_truncated")));
		json_decref(json);
	}
}

static void test_a_character_at_the_output_limit(void **state)
{
	json_t *json = print_euros(0, 10, 7, "\xe2\x82"); /* the limit cut it: nobody can know its last byte */

	(void)state;
	assert_member(json, "stdout_encoding", "utf-8", 5);
	assert_int_equal(json_string_length(json_object_get(json, "stdout")), 30);
	assert_true(json_is_true(json_object_get(json, "stdout_truncated")));
	assert_member(json, "stdout_tail", "", 0);
	json_decref(json);
	json = print_euros(0, 60000, 7, "\xff\xe2\x82"); /* no text before the cut either */
	assert_member(json, "stdout_encoding", "base64", 6);
	assert_int_equal(json_string_length(json_object_get(json, "stdout")), (RESULT_HEAD_BYTES + 2) / 3 * 4);
	json_decref(json);
}

static void test_long_streams_have_head_and_tail(void **state)
{
	struct result result;
	json_t *json;

	(void)state;
	result_init(&result);
	result.event = RESULT_EVENT_FINISHED;
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(result_stream_add(&result.out, (const uint8_t *)"0123456789", 10), 0);
	result.out.bytes = 200000;
	result.err_out.bytes = 5; /* beyond an output limit of 0: nothing kept */
	json = print_and_read(&result);
	assert_true(json_is_true(json_object_get(json, "stdout_truncated")));
	assert_int_equal(json_string_length(json_object_get(json, "stdout")), RESULT_HEAD_BYTES);
	assert_true(json_string_length(json_object_get(json, "stdout_tail")) >= RESULT_TAIL_BYTES);
	assert_true(json_is_true(json_object_get(json, "stderr_truncated")));
	json_decref(json);
	result_clear(&result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_base64_both_ways),
		cmocka_unit_test(test_wrapped_base64),
		cmocka_unit_test(test_base64_refuses),
		cmocka_unit_test(test_a_task_is_completed),
		cmocka_unit_test(test_what_is_given_stays),
		cmocka_unit_test(test_three_times_on_a_command_line),
		cmocka_unit_test(test_a_long_program_has_a_long_workspace),
		cmocka_unit_test(test_seconds_are_noticed),
		cmocka_unit_test(test_flaws_name_their_field),
		cmocka_unit_test(test_streams_as_text),
		cmocka_unit_test(test_streams_as_base64),
		cmocka_unit_test(test_a_character_at_an_edge),
		cmocka_unit_test(test_a_character_at_the_output_limit),
		cmocka_unit_test(test_long_streams_have_head_and_tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
