#include "tests/component/scripted/fake_agent.h"

#include <assert.h>
#include <event2/buffer.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "tests/component/scripted/fake_stream.h"
#include "wire/frame.h"

#define STREAMS 3 /* by number: 1 stdout, 2 stderr */

struct fake_agent {
	struct fake_stream stream; /* first: see fake_stream.h */
	void (*on_frame)(void *ctx, const char *type);
	void *ctx;
	uint32_t exec; /* that the next frame is about: the one that the engine spoke about last, or what the script says */
	uint64_t out_bytes[STREAMS];
	char path[TASK_MAX_PATH_BYTES + 1]; /* the first that is to be collected */
};

typedef void (*say_fn)(struct fake_agent *agent, unsigned long number);

static void send_frame(struct fake_agent *agent, const struct frame *frame)
{
	cleanup_(buf_free) struct buf out = { 0 };
	struct frame about = *frame;

	about.exec = agent->exec;
	assert(frame_encode(&about, &out) == 0);
	fake_stream_send(&agent->stream, out.data, out.len);
}

static void send_plain(struct fake_agent *agent, enum frame_type type)
{
	send_frame(agent, &(struct frame){ .type = type });
}

static void say_hello(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_frame(agent, &(struct frame){ .type = FRAME_HELLO, .version = FRAME_VERSION });
}

static void say_version(struct fake_agent *agent, unsigned long number)
{
	send_frame(agent, &(struct frame){ .type = FRAME_HELLO, .version = (uint32_t)number });
}

/* As an agent that another engine made ready. */
static void say_attached(struct fake_agent *agent, unsigned long number)
{
	send_frame(agent, &(struct frame){
				  .type = FRAME_HELLO, .version = FRAME_VERSION, .is_set_up = true, .is_mounted = true, .n_execs = (uint32_t)number });
}

static void say_status(struct fake_agent *agent, unsigned long number)
{
	send_frame(agent, &(struct frame){ .type = FRAME_STATUS, .is_started = number & 1, .is_running = number & 2 });
}

/* Says nothing: what follows is about that program. */
static void say_exec(struct fake_agent *agent, unsigned long number)
{
	agent->exec = (uint32_t)number;
}

static void say_warmed(struct fake_agent *agent, unsigned long number)
{
	send_frame(agent, &(struct frame){ .type = FRAME_WARMED, .is_warm = number });
}

static void say_ready(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_plain(agent, FRAME_READY);
}

static void say_started(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_plain(agent, FRAME_STARTED);
}

static void send_output(struct fake_agent *agent, uint32_t stream, uint64_t offset, size_t len)
{
	static const uint8_t data[FRAME_DATA_MAX];

	send_frame(agent, &(struct frame){
				  .type = FRAME_OUT, .stream = stream, .offset = offset, .data = data, .len = len });
}

static void say_more(struct fake_agent *agent, uint32_t stream, unsigned long number)
{
	size_t len = number ? number : 10;

	send_output(agent, stream, agent->out_bytes[stream], len);
	agent->out_bytes[stream] += len;
}

static void say_out(struct fake_agent *agent, unsigned long number)
{
	say_more(agent, 1, number);
}

static void say_err(struct fake_agent *agent, unsigned long number)
{
	say_more(agent, 2, number);
}

static void say_gap(struct fake_agent *agent, unsigned long number)
{
	send_output(agent, 1, agent->out_bytes[1] + 1 + number, 10);
}

static void say_again(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_output(agent, 1, 0, 10);
}

static void say_stream(struct fake_agent *agent, unsigned long number)
{
	send_output(agent, (uint32_t)number, 0, 10);
}

static void say_exit(struct fake_agent *agent, unsigned long number)
{
	send_frame(agent, &(struct frame){ .type = FRAME_EXIT,
					   .has_exit_code = true,
					   .exit_code = (uint32_t)number,
					   .stdout_bytes = agent->out_bytes[1],
					   .stderr_bytes = agent->out_bytes[2] });
}

static void say_signal(struct fake_agent *agent, unsigned long number)
{
	send_frame(agent, &(struct frame){ .type = FRAME_EXIT, .signal = (uint32_t)number });
}

static void say_late(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_frame(agent, &(struct frame){ .type = FRAME_EXIT, .signal = SIGKILL, .is_timed_out = true });
}

static void say_hungry(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_frame(agent, &(struct frame){ .type = FRAME_EXIT, .signal = SIGKILL, .is_oom = true, .oom_kills = 1 });
}

/* What it claims to have written is not what it sent. */
static void say_boast(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_frame(agent, &(struct frame){ .type = FRAME_EXIT,
					   .has_exit_code = true,
					   .stdout_bytes = UINT64_MAX,
					   .stderr_bytes = UINT64_MAX,
					   .oom_kills = UINT64_MAX,
					   .cpu_ms = UINT64_MAX,
					   .max_rss_kib = UINT64_MAX,
					   .run_ms = UINT64_MAX });
}

static void send_file(struct fake_agent *agent, const char *path, struct frame frame)
{
	frame.type = FRAME_FILE;
	frame.mode = 0644;
	frame.path = (struct frame_text){ .text = path, .len = strlen(path) };
	frame.data = (const uint8_t *)"0123456789";
	frame.len = frame.error.len ? 0 : 10;
	send_frame(agent, &frame);
}

static void say_file(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_file(agent, agent->path, (struct frame){ .size = 10, .is_last = true });
}

static void say_piece(struct fake_agent *agent, unsigned long number)
{
	send_file(agent, agent->path, (struct frame){ .size = 100, .offset = number });
}

static void say_nofile(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_file(agent, agent->path, (struct frame){ .is_last = true, .error = { .text = "no such file", .len = 12 } });
}

static void say_other(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_file(agent, "../../etc/passwd", (struct frame){ .size = 10, .is_last = true });
}

static void say_large(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_file(agent, agent->path, (struct frame){ .size = UINT64_MAX, .is_last = true });
}

static void say_collected(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_plain(agent, FRAME_COLLECTED);
}

static void say_fail(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_frame(agent, &(struct frame){ .type = FRAME_FAIL, .error = { .text = "it says so", .len = 10 } });
}

static void say_missing(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	send_frame(agent, &(struct frame){ .type = FRAME_FAIL,
					   .error = { .text = "not there", .len = 9 },
					   .missing = { .text = "python9", .len = 7 } });
}

/* What only an engine says. */
static void say_engines(struct fake_agent *agent, unsigned long number)
{
	static const uint8_t data[FRAME_ENTROPY_BYTES];
	struct frame_text text = { .text = "true", .len = 4 };
	struct frame frame = { .type = (enum frame_type)number, .argv = &text, .n_argv = 1, .paths = &text, .n_paths = 1, .path = text };

	if (frame.type == FRAME_SETUP) {
		frame.data = data;
		frame.len = sizeof(data);
		frame.hostname = text;
	}
	send_frame(agent, &frame);
}

static void say_noise(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	fake_stream_send(&agent->stream, "\xff\xff\xff\xff noise", 10);
}

static void say_map(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	fake_stream_send(&agent->stream, "\0\0\0\x08\x81\xa1t\xa4what", 12);
}

static void say_empty(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	fake_stream_send(&agent->stream, "\0\0\0\0", 4);
}

/* Of a frame as long as there may be one, as much as that; then it waits. */
static void say_half(struct fake_agent *agent, unsigned long number)
{
	static const uint8_t data[FRAME_MAX_BYTES] = { 0, 4, 0, 0 };

	fake_stream_send(&agent->stream, data, number ? number : 3);
}

static void say_sync(struct fake_agent *agent, unsigned long number)
{
	static uint8_t data[FRAME_SYNC_BYTES];

	(void)number;
	memset(data, FRAME_SYNC, sizeof(data));
	fake_stream_send(&agent->stream, data, sizeof(data));
}

static void say_close(struct fake_agent *agent, unsigned long number)
{
	(void)number;
	fake_stream_close(&agent->stream);
}

static const struct {
	const char *verb;
	say_fn say;
} verbs[] = {
	{ "hello", say_hello },	    { "version", say_version }, { "ready", say_ready },	  { "started", say_started },
	{ "exec", say_exec },	    { "attached", say_attached }, { "status", say_status }, { "sync", say_sync },
	{ "out", say_out },	    { "err", say_err },		{ "gap", say_gap },	  { "again", say_again },
	{ "stream", say_stream },   { "exit", say_exit },	{ "signal", say_signal }, { "late", say_late },
	{ "hungry", say_hungry },   { "boast", say_boast },	{ "file", say_file },	  { "piece", say_piece },
	{ "nofile", say_nofile },   { "other", say_other },	{ "large", say_large },	  { "collected", say_collected },
	{ "fail", say_fail },	    { "missing", say_missing }, { "engines", say_engines }, { "noise", say_noise },
	{ "map", say_map },	    { "empty", say_empty },	{ "half", say_half },	  { "close", say_close },
	{ "warmed", say_warmed },
};

bool fake_agent_say(struct fake_agent *agent, const struct script_word *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].verb, word->verb) == 0) {
			verbs[i].say(agent, word->number);
			return true;
		}
	return false;
}

static void take_frame(struct fake_agent *agent, const uint8_t *data, size_t len)
{
	struct frame frame;
	char type[SCRIPT_NAME_MAX], why[160];

	assert(frame_decode(data, len, &frame, why) == 0); /* it is the engine's */
	assert(frame.type != FRAME_WARM || frame.has_disk); /* its launcher gave it one */
	if (frame.type == FRAME_COLLECT && frame.n_paths)
		(void)snprintf(agent->path, sizeof(agent->path), "%.*s", (int)frame.paths[0].len, frame.paths[0].text);
	if (frame.exec)
		agent->exec = frame.exec;
	(void)snprintf(type, sizeof(type), "%s", frame_type_name(frame.type));
	frame_clear(&frame);
	agent->on_frame(agent->ctx, type);
}

static void on_input(struct bufferevent *bufferevent, void *ctx)
{
	struct fake_agent *agent = ctx;
	struct evbuffer *input = bufferevent_get_input(bufferevent);

	while (agent->stream.bufferevent) {
		size_t len = evbuffer_get_length(input);
		const uint8_t *data = len ? evbuffer_pullup(input, -1) : NULL;
		int64_t extent = len ? frame_extent(data, len) : 0;
		cleanup_free uint8_t *whole = NULL;

		if (extent == 0 || (size_t)extent > len)
			return;
		assert(extent > 0);
		whole = malloc((size_t)extent);
		assert(whole && evbuffer_remove(input, whole, (size_t)extent) == extent);
		take_frame(agent, whole, (size_t)extent);
	}
}

struct fake_agent *fake_agent_new(struct event_base *base, int fd, void (*on_frame)(void *ctx, const char *type), void *ctx)
{
	struct fake_agent *agent = calloc(1, sizeof(*agent));

	assert(agent);
	agent->exec = 1;
	agent->on_frame = on_frame;
	agent->ctx = ctx;
	(void)snprintf(agent->path, sizeof(agent->path), "a");
	fake_stream_open(&agent->stream, base, fd, on_input);
	return agent;
}

void fake_agent_free(struct fake_agent *agent)
{
	fake_stream_close(&agent->stream);
	free(agent);
}

bool fake_agent_is_left(const struct fake_agent *agent)
{
	return !agent->stream.bufferevent || agent->stream.is_left;
}
