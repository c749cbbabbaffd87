/* The guest channel's codec: every type survives the way there and back, and nothing else is a frame. */
#include "wire/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "tests/unit/unit.h"
#include "wire/pack.h"

#define TEXT(literal)                                         \
	{                                                     \
		.text = (literal), .len = sizeof(literal) - 1 \
	}

static const uint8_t entropy[FRAME_ENTROPY_BYTES] = "entropy";
static struct frame_text argv[] = { TEXT("python3"), TEXT("-c"), TEXT("print('h\xc3\xa9')"), TEXT("") };
static struct frame_pair env[] = { { TEXT("A"), TEXT("1") }, { TEXT("EMPTY"), TEXT("") } };
static struct frame_text paths[] = { TEXT("out/a.txt"), TEXT("b") };

static const struct frame samples[] = {
	[FRAME_SETUP] = { .type = FRAME_SETUP,
			  .version = FRAME_VERSION,
			  .data = entropy,
			  .len = sizeof(entropy),
			  .realtime_ns = 1700000000000000001,
			  .hostname = TEXT("t-1") },
	[FRAME_WARM] = { .type = FRAME_WARM, .version = FRAME_VERSION, .has_disk = true },
	[FRAME_MOUNT] = { .type = FRAME_MOUNT },
	[FRAME_CLOCK] = { .type = FRAME_CLOCK, .realtime_ns = 1795453799364000000 },
	[FRAME_ATTACH] = { .type = FRAME_ATTACH, .version = FRAME_VERSION },
	[FRAME_PUT] = { .type = FRAME_PUT,
			.exec = 1,
			.data = entropy,
			.len = 3,
			.offset = 70000,
			.is_last = true,
			.path = TEXT("in/a.txt"),
			.mode = 0755 },
	[FRAME_RUN] = { .type = FRAME_RUN,
			.exec = UINT32_MAX,
			.argv = argv,
			.n_argv = ARRAY_SIZE(argv),
			.env = env,
			.n_env = ARRAY_SIZE(env),
			.timeout_ms = 60000,
			.output_limit_bytes = 1 << 20,
			.window = FRAME_WINDOW_BYTES,
			.oom_ends_one = true },
	[FRAME_STDIN] = { .type = FRAME_STDIN, .exec = 2, .offset = 9, .data = entropy, .len = 5, .is_last = true },
	[FRAME_ACK] = { .type = FRAME_ACK, .exec = 3, .stream = 2, .offset = 32768 },
	[FRAME_KILL] = { .type = FRAME_KILL, .exec = 4, .signal = 15 },
	[FRAME_COLLECT] = { .type = FRAME_COLLECT, .exec = 5, .paths = paths, .n_paths = ARRAY_SIZE(paths), .limit_bytes = 9 },
	[FRAME_RESUME] = { .type = FRAME_RESUME, .exec = 6, .stdout_bytes = 1ull << 40, .stderr_bytes = 7 },
	[FRAME_END] = { .type = FRAME_END, .exec = 7 },
	[FRAME_HELLO] = { .type = FRAME_HELLO, .version = FRAME_VERSION, .elapsed_ms = 300, .is_set_up = true, .is_mounted = true,
			  .n_execs = FRAME_EXECS_MAX },
	[FRAME_WARMED] = { .type = FRAME_WARMED, .is_warm = true, .elapsed_ms = 200, .error = TEXT("its command ended") },
	[FRAME_READY] = { .type = FRAME_READY, .elapsed_ms = 40 },
	[FRAME_STATUS] = { .type = FRAME_STATUS, .exec = 8, .is_running = true, .is_started = true,
			   .stdin_bytes = 1, .stdout_bytes = 2, .stderr_bytes = 3 },
	[FRAME_STARTED] = { .type = FRAME_STARTED, .exec = 9 },
	[FRAME_OUT] = { .type = FRAME_OUT, .exec = 10, .stream = 2, .offset = 1ull << 40, .data = entropy, .len = 7 },
	[FRAME_EXIT] = { .type = FRAME_EXIT,
			 .exec = 11,
			 .has_exit_code = true,
			 .exit_code = 255,
			 .signal = 9,
			 .is_timed_out = true,
			 .is_oom = true,
			 .oom_kills = 3,
			 .oom_pid = 71,
			 .oom_process = TEXT("perl"),
			 .memory_kib = 172032,
			 .stdout_bytes = 10,
			 .stderr_bytes = 11,
			 .cpu_ms = 12,
			 .max_rss_kib = 13,
			 .run_ms = 14 },
	[FRAME_FILE] = { .type = FRAME_FILE,
			 .exec = 12,
			 .data = entropy,
			 .len = 4,
			 .offset = 1,
			 .is_last = true,
			 .path = TEXT("b"),
			 .mode = 06644,
			 .size = 5,
			 .error = TEXT("no such file") },
	[FRAME_COLLECTED] = { .type = FRAME_COLLECTED, .exec = 13 },
	[FRAME_FAIL] = { .type = FRAME_FAIL, .error = TEXT("cannot run 'x': there is no such file"), .missing = TEXT("x") },
};

static bool is_same_text(const struct frame_text *a, const struct frame_text *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->text, b->text, a->len) == 0);
}

static bool are_same_texts(const struct frame_text *a, const struct frame_text *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_same_text(&a[i], &b[i]))
			return false;
	return true;
}

static bool are_same_pairs(const struct frame_pair *a, const struct frame_pair *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_same_text(&a[i].key, &b[i].key) || !is_same_text(&a[i].value, &b[i].value))
			return false;
	return true;
}

static void assert_same_numbers(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->exec, b->exec);
	assert_int_equal(a->is_set_up, b->is_set_up);
	assert_int_equal(a->is_mounted, b->is_mounted);
	assert_int_equal(a->has_disk, b->has_disk);
	assert_int_equal(a->is_warm, b->is_warm);
	assert_int_equal(a->n_execs, b->n_execs);
	assert_int_equal(a->is_running, b->is_running);
	assert_int_equal(a->is_started, b->is_started);
	assert_int_equal(a->stdin_bytes, b->stdin_bytes);
	assert_int_equal(a->offset, b->offset);
	assert_int_equal(a->is_last, b->is_last);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->realtime_ns, b->realtime_ns);
	assert_int_equal(a->timeout_ms, b->timeout_ms);
	assert_int_equal(a->output_limit_bytes, b->output_limit_bytes);
	assert_int_equal(a->window, b->window);
	assert_int_equal(a->oom_ends_one, b->oom_ends_one);
	assert_int_equal(a->limit_bytes, b->limit_bytes);
	assert_int_equal(a->stream, b->stream);
	assert_int_equal(a->elapsed_ms, b->elapsed_ms);
}

static void assert_same_exit(const struct frame *a, const struct frame *b)
{
	assert_int_equal(a->has_exit_code, b->has_exit_code);
	assert_int_equal(a->exit_code, b->exit_code);
	assert_int_equal(a->signal, b->signal);
	assert_int_equal(a->is_timed_out, b->is_timed_out);
	assert_int_equal(a->is_oom, b->is_oom);
	assert_int_equal(a->oom_kills, b->oom_kills);
	assert_int_equal(a->oom_pid, b->oom_pid);
	assert_true(is_same_text(&a->oom_process, &b->oom_process));
	assert_int_equal(a->memory_kib, b->memory_kib);
	assert_int_equal(a->stdout_bytes, b->stdout_bytes);
	assert_int_equal(a->stderr_bytes, b->stderr_bytes);
	assert_int_equal(a->cpu_ms, b->cpu_ms);
	assert_int_equal(a->max_rss_kib, b->max_rss_kib);
	assert_int_equal(a->run_ms, b->run_ms);
}

static void assert_same(const struct frame *a, const struct frame *b)
{
	assert_same_numbers(a, b);
	assert_same_exit(a, b);
	assert_int_equal(a->len, b->len);
	if (a->len)
		assert_memory_equal(a->data, b->data, a->len);
	assert_true(is_same_text(&a->path, &b->path));
	assert_true(is_same_text(&a->hostname, &b->hostname));
	assert_true(is_same_text(&a->error, &b->error));
	assert_true(is_same_text(&a->missing, &b->missing));
	assert_int_equal(a->n_argv, b->n_argv);
	assert_true(are_same_texts(a->argv, b->argv, a->n_argv));
	assert_int_equal(a->n_paths, b->n_paths);
	assert_true(are_same_texts(a->paths, b->paths, a->n_paths));
	assert_int_equal(a->n_env, b->n_env);
	assert_true(are_same_pairs(a->env, b->env, a->n_env));
}

static void test_every_type_comes_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct buf buf = { 0 };
		struct frame frame;
		char why[160] = "";

		assert_int_equal(samples[i].type, i);
		assert_int_equal(frame_encode(&samples[i], &buf), 0);
		assert_int_equal(frame_extent(buf.data, buf.len), buf.len);
		assert_int_equal(frame_decode(buf.data, buf.len, &frame, why), 0);
		assert_same(&samples[i], &frame);
		frame_clear(&frame);
		buf_free(&buf);
	}
}

/* The copy is exactly as long as the bytes, so that the sanitizer sees a read beyond them. */
static int decode_copy(const uint8_t *data, size_t len, char why[160])
{
	cleanup_free uint8_t *copy = malloc(len ? len : 1);
	struct frame frame = { 0 };
	int r;

	assert_non_null(copy);
	if (len)
		memcpy(copy, data, len);
	r = frame_decode(copy, len, &frame, why);
	frame_clear(&frame);
	return r;
}

static void cut_everywhere(const struct buf *whole)
{
	for (size_t len = 0; len < whole->len; len++) {
		char why[160] = "";
		uint8_t *mended = malloc(whole->len);

		assert_non_null(mended);
		assert_int_equal(frame_extent(whole->data, len), len < 4 ? 0 : whole->len);
		assert_int_equal(decode_copy(whole->data, len, why), -EBADMSG);
		assert_true(why[0] != '\0');
		memcpy(mended, whole->data, len); /* and with a prefix that tells of the cut */
		if (len > 4) {
			mended[2] = (uint8_t)((len - 4) >> 8);
			mended[3] = (uint8_t)(len - 4);
			assert_int_equal(decode_copy(mended, len, why), -EBADMSG);
		}
		free(mended);
	}
}

static void test_a_cut_frame_is_none(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct buf buf = { 0 };

		assert_int_equal(frame_encode(&samples[i], &buf), 0);
		cut_everywhere(&buf);
		buf_free(&buf);
	}
}

static void test_garbage_never_hurts(void **state)
{
	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		const struct frame *sample = &samples[(size_t)rand() % ARRAY_SIZE(samples)];
		struct buf buf = { 0 };
		char why[160] = "";
		int r;

		assert_int_equal(frame_encode(sample, &buf), 0);
		for (int n = 1 + rand() % 4; n; n--)
			buf.data[4 + (size_t)rand() % (buf.len - 4)] = (uint8_t)rand();
		r = decode_copy(buf.data, buf.len, why);
		assert_true(r == 0 || (r == -EBADMSG && why[0]));
		buf_free(&buf);
	}
}

static void test_extent(void **state)
{
	static const uint8_t zero[] = { 0, 0, 0, 0 }, most[] = { 0, 4, 0, 0 }, more[] = { 0, 4, 0, 1 },
			     huge[] = { 0xff, 0xff, 0xff, 0xff };

	(void)state;
	assert_int_equal(frame_extent(zero, 3), 0);
	assert_int_equal(frame_extent(zero, 4), -EBADMSG);
	assert_int_equal(frame_extent(most, 4), FRAME_MAX_BYTES + 4);
	assert_int_equal(frame_extent(more, 4), -EBADMSG);
	assert_int_equal(frame_extent(huge, 4), -EBADMSG);
}

/* Encode `frame`, whose fields break a rule, and expect the peer to refuse it, naming `field`. */
static void expect_refused(const struct frame *frame, const char *field)
{
	struct buf buf = { 0 };
	char why[160] = "";

	assert_int_equal(frame_encode(frame, &buf), 0);
	assert_int_equal(decode_copy(buf.data, buf.len, why), -EBADMSG);
	assert_non_null(strstr(why, field));
	buf_free(&buf);
}

static void test_bounds_are_kept(void **state)
{
	static const uint8_t data[FRAME_DATA_MAX + 1];
	struct frame frame;

	(void)state;
	frame = samples[FRAME_SETUP];
	frame.len = 31;
	expect_refused(&frame, "data");
	frame = samples[FRAME_PUT];
	frame.mode = 04755;
	expect_refused(&frame, "mode");
	frame = samples[FRAME_OUT];
	frame.stream = 3;
	expect_refused(&frame, "stream");
	frame = samples[FRAME_OUT];
	frame.data = data;
	frame.len = sizeof(data);
	expect_refused(&frame, "data");
	frame = samples[FRAME_RUN];
	frame.n_argv = 0;
	expect_refused(&frame, "argv");
	frame = samples[FRAME_RUN];
	frame.window = FRAME_DATA_MAX - 1;
	expect_refused(&frame, "window");
	frame.window = FRAME_WINDOW_BYTES + 1;
	expect_refused(&frame, "window");
	frame = samples[FRAME_RUN];
	frame.exec = 0;
	expect_refused(&frame, "exec");
}

static void test_a_frame_has_a_ceiling(void **state)
{
	static char text[FRAME_MAX_BYTES];
	struct frame_text too_much[] = { { .text = text, .len = sizeof(text) } };
	struct frame frame = samples[FRAME_RUN];
	struct buf buf = { 0 };

	(void)state;
	memset(text, 'x', sizeof(text));
	frame.argv = too_much;
	frame.n_argv = 1;
	assert_int_equal(buf_append(&buf, "before", 6), 0);
	assert_int_equal(frame_encode(&frame, &buf), -E2BIG);
	assert_int_equal(buf.len, 6);
	buf_free(&buf);
}

/* The largest run that a task may ask for fits. */
static void test_the_largest_task_fits(void **state)
{
	static char text[TASK_MAX_ARG_BYTES];
	struct frame_text many[TASK_MAX_ARGS];
	struct frame_pair pairs[TASK_MAX_ENV];
	char keys[TASK_MAX_ENV][8];
	struct frame frame = samples[FRAME_RUN], decoded;
	struct buf buf = { 0 };
	char why[160] = "";

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < TASK_MAX_ARGS; i++)
		many[i] = (struct frame_text){ .text = text, .len = i ? 1 : TASK_MAX_ARG_BYTES - 4096 };
	for (size_t i = 0; i < TASK_MAX_ENV; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "K%zu", i);
		pairs[i] =
			(struct frame_pair){ { .text = keys[i], .len = strlen(keys[i]) }, { .text = text, .len = 2 } };
	}
	frame.argv = many;
	frame.n_argv = TASK_MAX_ARGS;
	frame.env = pairs;
	frame.n_env = TASK_MAX_ENV;
	assert_int_equal(frame_encode(&frame, &buf), 0);
	assert_int_equal(frame_decode(buf.data, buf.len, &decoded, why), 0);
	assert_same(&frame, &decoded);
	frame_clear(&decoded);
	buf_free(&buf);
}

/* An error comes from anywhere: it is cut and mended, never a reason to send nothing. */
static void test_an_error_is_always_sent(void **state)
{
	char text[400];
	struct frame frame = { .type = FRAME_FAIL, .error = { .text = text, .len = sizeof(text) } }, decoded;
	struct buf buf = { 0 };
	char why[160] = "";

	(void)state;
	memset(text, 0xff, sizeof(text));
	assert_int_equal(frame_encode(&frame, &buf), 0);
	assert_int_equal(frame_decode(buf.data, buf.len, &decoded, why), 0);
	assert_int_equal(decoded.error.len, 255);
	assert_int_equal(decoded.error.text[0], '?');
	frame_clear(&decoded);
	buf_free(&buf);
}

static void prefix(struct buf *buf)
{
	buf->data[2] = (uint8_t)((buf->len - 4) >> 8);
	buf->data[3] = (uint8_t)(buf->len - 4);
}

/* A frame of our own making: its type, then one more key. */
static void expect_foreign_refused(const char *type, const char *key)
{
	struct buf buf = { 0 };
	struct pack_map map;
	struct pack pack;
	char why[160] = "";

	assert_int_equal(buf_append(&buf, "\0\0\0\0", 4), 0);
	pack_init(&pack, &buf);
	map = pack_map_begin(&pack);
	if (type)
		pack_string_field(&pack, &map, "t", type);
	if (key)
		pack_uint_field(&pack, &map, key, 1);
	pack_map_end(&pack, &map);
	assert_int_equal(pack_finish(&pack), 0);
	prefix(&buf);
	assert_int_equal(decode_copy(buf.data, buf.len, why), -EBADMSG);
	assert_true(why[0] != '\0');
	buf_free(&buf);
}

static void test_foreign_frames(void **state)
{
	(void)state;
	expect_foreign_refused(NULL, NULL);
	expect_foreign_refused("shout", NULL);
	expect_foreign_refused("collected", "stream"); /* another type's field */
	expect_foreign_refused("ack", NULL);	 /* a field is missing */
	expect_foreign_refused("ack", "byte");
	expect_foreign_refused(NULL, "exec");
}

/* Whatever else a frame of another version holds: which one it is can be said. */
static void test_another_version(void **state)
{
	static const uint8_t hello[] = "\0\0\0\x15\x83\xa1t\xa5hello\xa7version\x63\xa1z\xff";
	struct frame frame;
	char why[160] = "";

	(void)state;
	assert_int_equal(frame_decode(hello, sizeof(hello) - 1, &frame, why), 0);
	assert_int_equal(frame.type, FRAME_HELLO);
	assert_int_equal(frame.version, 0x63);
	frame_clear(&frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_comes_back), cmocka_unit_test(test_a_cut_frame_is_none),
		cmocka_unit_test(test_garbage_never_hurts),   cmocka_unit_test(test_extent),
		cmocka_unit_test(test_bounds_are_kept),	      cmocka_unit_test(test_a_frame_has_a_ceiling),
		cmocka_unit_test(test_the_largest_task_fits), cmocka_unit_test(test_an_error_is_always_sent),
		cmocka_unit_test(test_foreign_frames),	      cmocka_unit_test(test_another_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
