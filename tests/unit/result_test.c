#include "wire/result.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)(i * 7 + i / 256);
}

static void add_stream(struct result_stream *stream, size_t total, size_t piece)
{
	uint8_t data[100000];

	for (size_t done = 0; done < total; done += piece) {
		if (piece > total - done)
			piece = total - done;
		for (size_t i = 0; i < piece; i++)
			data[i] = byte_at(done + i);
		assert_int_equal(result_stream_add(stream, data, piece), 0);
	}
}

/* Head and tail of `total` bytes, as a reader gets them, whatever pieces they came in. */
static void check_stream(size_t total, size_t piece)
{
	struct result result, again;
	struct buf buf = { 0 };
	char why[160] = "";

	result_init(&result);
	result.event = RESULT_EVENT_FINISHED;
	add_stream(&result.out, total, piece);
	assert_int_equal(result.out.bytes_kept, total);
	assert_int_equal(result_encode(&result, &buf), 0);
	assert_int_equal(result_decode(buf.data, buf.len, &again, why), 0);
	assert_int_equal(again.out.head.len, total < RESULT_HEAD_BYTES ? total : RESULT_HEAD_BYTES);
	total -= again.out.head.len;
	assert_int_equal(again.out.tail.len, total < RESULT_TAIL_BYTES ? total : RESULT_TAIL_BYTES);
	for (size_t i = 0; i < again.out.head.len; i++)
		assert_int_equal(again.out.head.data[i], byte_at(i));
	for (size_t i = 0; i < again.out.tail.len; i++)
		assert_int_equal(again.out.tail.data[again.out.tail.len - 1 - i],
				 byte_at(again.out.bytes_kept - 1 - i));
	result_clear(&result);
	result_clear(&again);
	buf_free(&buf);
}

static void test_head_and_tail(void **state)
{
	static const size_t totals[] = { 0,
					 1,
					 RESULT_HEAD_BYTES - 1,
					 RESULT_HEAD_BYTES,
					 RESULT_HEAD_BYTES + 1,
					 RESULT_HEAD_BYTES + RESULT_TAIL_BYTES,
					 RESULT_HEAD_BYTES + RESULT_TAIL_BYTES + 1,
					 300000 };
	static const size_t pieces[] = { 7, 4096, RESULT_TAIL_BYTES, RESULT_TAIL_BYTES + 1, 100000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(totals); i++)
		for (size_t j = 0; j < ARRAY_SIZE(pieces); j++)
			check_stream(totals[i], pieces[j]);
}

static void fill(struct result *result)
{
	result_init(result);
	result->event = RESULT_EVENT_FINISHED;
	result->outcome = RESULT_OUTCOME_FAILED;
	result->ran = RESULT_RAN_RAN;
	result->has_signal = true;
	result->signal = 9;
	result->timings_ms[RESULT_TIMING_DISK] = 0;
	result->timings_ms[RESULT_TIMING_TOTAL] = INT64_MAX;
	result->is_key_destroyed = true;
	result->attempt = 2;
	result->token = (1ull << 53) - 1;
	result->partition = INT32_MAX;
	result->offset = INT64_MAX;
	memset(result->out.sha256, 0xa5, sizeof(result->out.sha256));
	(void)snprintf(result->id, sizeof(result->id), "t-1");
	(void)snprintf(result->message, sizeof(result->message), "killed\nby \xff");
	(void)snprintf(result->vmm, sizeof(result->vmm), "qemu");
	(void)snprintf(result->host, sizeof(result->host), "h1");
	(void)snprintf(result->topic, sizeof(result->topic), "mayfly.tasks");
}

static void test_round_trip(void **state)
{
	struct result result, again;
	struct buf buf = { 0 };
	char why[160] = "";

	(void)state;
	fill(&result);
	assert_int_equal(result_encode(&result, &buf), 0);
	assert_int_equal(result_decode(buf.data, buf.len, &again, why), 0);
	assert_int_equal(again.outcome, RESULT_OUTCOME_FAILED);
	assert_int_equal(again.ran, RESULT_RAN_RAN);
	assert_false(again.has_exit_code);
	assert_true(again.has_signal);
	assert_int_equal(again.signal, 9);
	assert_string_equal(again.message, "killed?by ?");
	assert_true(again.timings_ms[RESULT_TIMING_DISK] == 0);
	assert_true(again.timings_ms[RESULT_TIMING_TOTAL] == INT64_MAX);
	assert_true(again.timings_ms[RESULT_TIMING_BOOT] == -1);
	assert_true(again.token == (1ull << 53) - 1);
	assert_true(again.offset == INT64_MAX);
	assert_int_equal(again.partition, INT32_MAX);
	assert_memory_equal(again.out.sha256, result.out.sha256, 32);
	assert_true(again.is_key_destroyed);
	result_clear(&result);
	result_clear(&again);
	buf_free(&buf);
}

static void make_files(struct result *result)
{
	static const struct result_file files[] = {
		{ .size = 0 },
		{ .size = 3, .len = 3 },
		{ .size = 1 << 20, .error = "larger than what a result may hold" },
	};

	result->files = calloc(ARRAY_SIZE(files), sizeof(*result->files));
	assert_non_null(result->files);
	for (; result->n_files < ARRAY_SIZE(files); result->n_files++) {
		struct result_file *file = &result->files[result->n_files];

		*file = files[result->n_files];
		file->path = strdup("p");
		file->data = file->len ? (uint8_t *)strdup("abc") : NULL;
	}
}

static void test_files(void **state)
{
	struct result result, again;
	struct buf buf = { 0 };
	char why[160] = "";

	(void)state;
	fill(&result);
	make_files(&result);
	assert_int_equal(result_encode(&result, &buf), 0);
	assert_int_equal(result_decode(buf.data, buf.len, &again, why), 0);
	assert_int_equal(again.n_files, 3);
	assert_non_null(again.files[0].data); /* empty, but here */
	assert_int_equal(again.files[0].len, 0);
	assert_memory_equal(again.files[1].data, "abc", 3);
	assert_null(again.files[2].data);
	assert_int_equal(again.files[2].size, 1 << 20);
	assert_string_equal(again.files[2].error, "larger than what a result may hold");
	result_clear(&result);
	result_clear(&again);
	buf_free(&buf);
}

/* The largest result that the limits allow must fit into one Kafka message. */
static void test_largest_fits(void **state)
{
	struct result result;
	struct buf buf = { 0 };

	(void)state;
	fill(&result);
	add_stream(&result.out, 200000, 4096);
	add_stream(&result.err_out, 200000, 4096);
	result.files = calloc(1, sizeof(*result.files));
	assert_non_null(result.files);
	result.n_files = 1;
	result.files[0].path = strdup("p");
	result.files[0].size = result.files[0].len = RESULT_FILES_BYTES;
	result.files[0].data = calloc(1, RESULT_FILES_BYTES);
	assert_int_equal(result_encode(&result, &buf), 0);
	assert_true(buf.len + TASK_MAX_COLLECT * 512 + TASK_MAX_LABELS * 300 < RESULT_MAX_BYTES);
	result_clear(&result);
	buf_free(&buf);
}

static void encode_shorter(struct buf *from, enum result_form form, struct result *ret)
{
	struct buf shorter = { 0 };
	char why[160];

	assert_int_equal(result_shorten(from, form, 60000, &shorter), 0);
	assert_true(shorter.len < from->len);
	assert_int_equal(result_decode(shorter.data, shorter.len, ret, why), 0);
	buf_free(from);
	*from = shorter;
}

static void test_shorter_forms(void **state)
{
	static uint8_t output[100000];
	struct result result, shorter;
	struct buf message = { 0 };

	(void)state;
	fill(&result);
	assert_int_equal(result_stream_add(&result.out, output, sizeof(output)), 0);
	result.files = calloc(1, sizeof(*result.files));
	result.files[0] = (struct result_file){ .path = strdup("a"), .data = (uint8_t *)strdup("data"), .len = 4, .size = 4 };
	result.labels = calloc(1, sizeof(*result.labels));
	result.labels[0] = (struct task_pair){ .key = strdup("team"), .value = strdup("blue") };
	result.n_files = result.n_labels = 1;
	memset(result.message, 'm', sizeof(result.message) - 1); /* no room for what has to be added */
	assert_int_equal(result_encode(&result, &message), 0);
	encode_shorter(&message, RESULT_FORM_SHORT, &shorter);
	assert_int_equal(shorter.out.head.len + shorter.out.tail.len + shorter.err_out.head.len, 0);
	assert_int_equal(shorter.out.bytes_kept, result.out.bytes_kept);
	assert_memory_equal(shorter.out.sha256, result.out.sha256, sizeof(result.out.sha256));
	assert_int_equal(shorter.n_files, result.n_files);
	for (size_t i = 0; i < shorter.n_files; i++) {
		assert_null(shorter.files[i].data);
		assert_true(shorter.files[i].error[0]);
		assert_int_equal(shorter.files[i].size, result.files[i].size);
	}
	assert_int_equal(shorter.n_labels, result.n_labels);
	assert_int_equal(shorter.outcome, result.outcome);
	assert_memory_equal(shorter.message, "mmm", 3);
	assert_non_null(strstr(shorter.message, "; told without inline output and files: the results topic refuses 60000 bytes"));
	result_clear(&shorter);
	encode_shorter(&message, RESULT_FORM_SHORTEST, &shorter);
	assert_int_equal(shorter.n_files + shorter.n_labels, 0);
	assert_string_equal(shorter.id, result.id);
	assert_int_equal(shorter.offset, result.offset);
	assert_true(message.len < 1500); /* every topic that is of any use takes it */
	result_clear(&shorter);
	result_clear(&result);
	buf_free(&message);
}

static void test_small_things_get_no_larger(void **state)
{
	struct buf message = { 0 }, shorter = { 0 };
	struct result result;

	(void)state;
	result_init(&result);
	result.event = RESULT_EVENT_FINISHED;
	assert_int_equal(result_encode(&result, &message), 0);
	assert_int_equal(result_shorten(&message, RESULT_FORM_SHORT, 1, &shorter), 0);
	assert_int_equal(result_shorten(&(struct buf){ .data = (uint8_t *)"x", .len = 1 }, RESULT_FORM_SHORT, 1, &shorter), -EBADMSG);
	buf_free(&message);
	buf_free(&shorter);
}

static void test_started(void **state)
{
	struct result result, again;
	struct buf buf = { 0 };
	char why[160] = "";

	(void)state;
	fill(&result);
	result.event = RESULT_EVENT_STARTED;
	assert_int_equal(result_encode(&result, &buf), 0);
	assert_int_equal(result_decode(buf.data, buf.len, &again, why), 0);
	assert_int_equal(again.event, RESULT_EVENT_STARTED);
	assert_string_equal(again.host, "h1");
	assert_int_equal(again.signal, 0); /* not told before the end */
	result_clear(&result);
	result_clear(&again);
	buf_free(&buf);
}

static void test_output_and_control(void **state)
{
	struct output_chunk chunk = { .id = "t-1",
				      .stream = OUTPUT_STREAM_STDERR,
				      .seq = 5,
				      .offset = INT64_MAX,
				      .attempt = 1,
				      .data = (const uint8_t *)"\0x",
				      .len = 2 },
			    chunk_again;
	struct control control = { .cancel_id = "t-1", .created_ms = 7 }, control_again;
	struct buf buf = { 0 };
	char why[160] = "";

	(void)state;
	assert_int_equal(output_encode(&chunk, &buf), 0);
	assert_int_equal(output_decode(buf.data, buf.len, &chunk_again, why), 0);
	assert_int_equal(chunk_again.stream, OUTPUT_STREAM_STDERR);
	assert_true(chunk_again.offset == INT64_MAX);
	assert_int_equal(chunk_again.len, 2);
	assert_memory_equal(chunk_again.data, "\0x", 2);
	assert_int_equal(control_decode(buf.data, buf.len, &control_again, why), -EBADMSG);
	buf_clear(&buf);
	assert_int_equal(control_encode(&control, &buf), 0);
	assert_int_equal(control_decode(buf.data, buf.len, &control_again, why), 0);
	assert_string_equal(control_again.cancel_id, "t-1");
	assert_int_equal(control_again.created_ms, 7);
	buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_head_and_tail), cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_files),	      cmocka_unit_test(test_largest_fits),
		cmocka_unit_test(test_shorter_forms), cmocka_unit_test(test_small_things_get_no_larger),
		cmocka_unit_test(test_started),	      cmocka_unit_test(test_output_and_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
