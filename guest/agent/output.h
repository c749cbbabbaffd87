/* The task's stdout and stderr: pipes into frames, with flow control.
 *
 * At most `window` bytes are on their way to the host unacknowledged; then the pipes are left alone, and the program that
 * writes waits. Beyond the output limit everything is still read, counted and dropped, so that a program never waits
 * for a reader that is gone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/agent/channel.h"

struct output_pipe {
	int fd; /* nonblocking read end, or -1 after its end */
	uint64_t kept_bytes, bytes;
	uint64_t acknowledged; /* bytes that the engine has */
};

struct output {
	uint32_t exec;
	struct output_pipe pipes[2]; /* stdout, stderr */
	uint64_t limit_bytes;	     /* of both together */
	uint64_t window;
};

/* Is there a reason to read from the pipes now? */
bool output_is_wanted(const struct output *output, const struct channel *channel);

/* The whole window is on its way, or what frames make of less of it fills the channel: the program that writes waits for the host. */
bool output_is_stalled(const struct output *output, const struct channel *channel);

/* Read one pipe once and queue what is kept. 1: there may be more, 0: there is nothing more now; or a negative errno. */
int output_pump(struct output *output, unsigned which, struct channel *channel);

/* `frame` is a FRAME_ACK. What was not sent cannot be acknowledged. */
void output_acknowledge(struct output *output, const struct frame *frame);
/* Bytes on their way to the engine. */
uint64_t output_unacknowledged(const struct output *output);
void output_close(struct output *output);
