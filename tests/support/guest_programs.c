/* Runs programs in one VM of its own as it is told on stdin, for a suite that compares what they do.
 *
 * usage: guest_programs IMAGE cold|LIBRARY
 *   cold     as a VM that boots
 *   LIBRARY  as a template that becomes a VM: with the image's interpreter waiting, by this library
 *
 * Every field is "LENGTH\n" and so many bytes. A program is: number of arguments, arguments, number of variables, name and
 * value of each, number of input files, path and contents of each, stdin. Its answer is a line "EXIT FIRST END OUT ERR" and
 * OUT bytes of stdout, ERR of stderr; EXIT is the exit code, the negated signal, or 999 when it could not be started; FIRST
 * and END are milliseconds from the request to the first byte of output and to the end. Before the first of them a line says
 * what the VM is: "warm", "cold", or why it is not warm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "tests/support/guest_vm.h"

#define FIELDS_MAX 256 /* arguments, variables, files of one program */
#define NOT_STARTED 999

struct field {
	char *bytes;
	size_t len;
};

struct stream {
	char *bytes;
	size_t len;
};

static struct guest_vm vm;
static uint32_t exec;

/* Nothing is freed: this runs for a minute. */
static struct field read_field(void)
{
	char line[32];
	struct field field = { 0 };

	if (!fgets(line, sizeof(line), stdin))
		_exit(0); /* nothing was freed */
	field.len = strtoul(line, NULL, 10);
	field.bytes = calloc(1, field.len + 1);
	assert_non_null(field.bytes);
	assert_int_equal(fread(field.bytes, 1, field.len, stdin), field.len);
	return field;
}

static size_t read_number(void)
{
	size_t n = strtoul(read_field().bytes, NULL, 10);

	assert_true(n <= FIELDS_MAX);
	return n;
}

static struct frame_text read_text(void)
{
	struct field field = read_field();

	return (struct frame_text){ .text = field.bytes, .len = field.len };
}

static void send_file(void)
{
	struct frame_text path = read_text();
	struct field contents = read_field();

	guest_vm_send(&vm, &(struct frame){ .type = FRAME_PUT,
					    .exec = exec,
					    .path = path,
					    .mode = 0755,
					    .data = (const uint8_t *)contents.bytes,
					    .len = contents.len,
					    .is_last = true });
}

static void send_stdin(const struct field *input)
{
	size_t sent = 0;

	do {
		struct frame piece = { .type = FRAME_STDIN,
				       .exec = exec,
				       .offset = sent,
				       .data = (const uint8_t *)input->bytes + sent,
				       .len = input->len - sent < FRAME_DATA_MAX ? input->len - sent : FRAME_DATA_MAX };

		piece.is_last = sent + piece.len == input->len;
		guest_vm_send(&vm, &piece);
		sent += piece.len;
	} while (sent < input->len);
}

static void send_program(void)
{
	struct frame_text argv[FIELDS_MAX];
	struct frame_pair env[FIELDS_MAX];
	struct frame run = { .type = FRAME_RUN,
			     .exec = ++exec,
			     .argv = argv,
			     .env = env,
			     .timeout_ms = 120000,
			     .output_limit_bytes = 1 << 24,
			     .window = FRAME_WINDOW_BYTES };
	struct field input;
	size_t n;

	run.n_argv = read_number();
	for (size_t i = 0; i < run.n_argv; i++)
		argv[i] = read_text();
	run.n_env = read_number();
	for (size_t i = 0; i < run.n_env; i++) {
		env[i].key = read_text();
		env[i].value = read_text();
	}
	n = read_number();
	for (size_t i = 0; i < n; i++)
		send_file();
	input = read_field();
	guest_vm_send(&vm, &run);
	send_stdin(&input);
}

static void keep(struct stream *stream, const struct frame *frame)
{
	stream->bytes = realloc(stream->bytes, stream->len + frame->len + 1);
	assert_non_null(stream->bytes);
	memcpy(stream->bytes + stream->len, frame->data, frame->len);
	stream->len += frame->len;
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_ACK, .exec = exec, .stream = frame->stream,
					    .offset = stream->len });
}

static void answer(void)
{
	struct stream streams[2] = { 0 };
	uint64_t started_ms = clock_mono_ms(), first_ms = 0;
	const struct frame *frame;
	int status = NOT_STARTED;

	for (;;) {
		frame = guest_vm_next(&vm);
		assert_non_null(frame);
		assert_int_equal(frame->exec, exec); /* else it is about the whole guest */
		if (frame->type == FRAME_OUT)
			keep(&streams[frame->stream - 1], frame);
		if (frame->type == FRAME_OUT && !first_ms)
			first_ms = clock_mono_ms();
		if (frame->type == FRAME_FAIL)
			keep(&streams[1], &(struct frame){ .data = (const uint8_t *)frame->error.text,
							   .len = frame->error.len,
							   .stream = 2 });
		if (frame->type == FRAME_EXIT)
			status = frame->has_exit_code ? (int)frame->exit_code : -(int)frame->signal;
		if (frame->type == FRAME_EXIT || frame->type == FRAME_FAIL)
			break;
	}
	guest_vm_send(&vm, &(struct frame){ .type = FRAME_END, .exec = exec });
	(void)printf("%d %lu %lu %zu %zu\n", status, first_ms ? (unsigned long)(first_ms - started_ms) : 0,
		     (unsigned long)(clock_mono_ms() - started_ms), streams[0].len, streams[1].len);
	for (unsigned i = 0; i < 2; i++)
		if (streams[i].len)
			(void)fwrite(streams[i].bytes, 1, streams[i].len, stdout);
	(void)fflush(stdout);
}

static void warm(void)
{
	const struct frame *warmed;

	guest_vm_send(&vm, &(struct frame){ .type = FRAME_WARM, .version = FRAME_VERSION });
	warmed = guest_vm_expect(&vm, FRAME_WARMED);
	if (warmed->is_warm)
		(void)printf("warm %lu\n", (unsigned long)warmed->elapsed_ms);
	else
		(void)printf("not warm: %.*s\n", (int)warmed->error.len, warmed->error.text);
}

int main(int argc, char **argv)
{
	bool is_warm = argc == 3 && strcmp(argv[2], "cold") != 0;

	if (argc != 3 || guest_vm_missing(argv[1])) {
		(void)fprintf(stderr, "%s\n",
			      argc == 3 ? guest_vm_missing(argv[1]) : "usage: guest_programs IMAGE cold|LIBRARY");
		return 77;
	}
	guest_vm_warm = is_warm ? argv[2] : NULL;
	guest_vm_start(&vm, argv[1], 256, 64);
	if (is_warm)
		warm();
	else
		(void)printf("cold\n");
	(void)fflush(stdout);
	guest_vm_setup(&vm);
	for (;;) {
		send_program();
		answer();
	}
}
