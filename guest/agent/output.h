/* A program's stdout and stderr: pipes into frames, with flow control.
 *
 * What is kept of a stream is a run of bytes with offsets:
 *
 * 	0 ... acknowledged ... sent ... kept
 *
 * Up to `acknowledged` the engine has it and the agent has forgotten it. From there to `kept` it lies in the stream's
 * ring, of which what is before `sent` was queued for the peer. A new peer says where it wants to go on, and `sent`
 * goes back to there. At most `window` bytes of both streams lie in the rings; then the pipes are left alone, and the
 * program that writes waits. Beyond the output limit everything is still read, counted and dropped, so that a program
 * never waits for a reader that wants no more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/agent/connection.h"

struct output_stream {
	int fd;		/* nonblocking read end of the pipe; -1 after its end */
	uint8_t *ring;	/* of `window` bytes; the byte with offset n lies at n % window */
	uint64_t bytes; /* read from the pipe, dropped ones too */
	uint64_t last;	/* `bytes` at which the pipe ends for us, whoever still holds it open */
	uint64_t acknowledged, sent, kept;
};

struct output {
	uint32_t exec;
	struct output_stream streams[2]; /* stdout, stderr */
	uint64_t limit_bytes;		 /* of both together */
	uint64_t window;
};

/* With the read ends of the pipes, which become the output's. `run` is a FRAME_RUN. 0 or -ENOMEM; then it is closed
 * again. */
int output_open(struct output *output, const struct frame *run, int stdout_fd, int stderr_fd);

/* Is there a reason to read from the pipes now? */
bool output_is_wanted(const struct output *output);

/* The whole window is unacknowledged: the program that writes waits for the engine. */
bool output_is_stalled(const struct output *output);

/* Read some of what is in the pipes: a bounded number of pieces. */
void output_read(struct output *output);

/* Queue some of what is kept: a bounded number of frames, and no more than the connection should hold. 0, or -ENOMEM. */
int output_send(struct output *output, struct connection *connection);

/* Nobody is left to write: what lies in the pipes now is all that is still read. */
void output_finish(struct output *output);

bool output_is_read(const struct output *output); /* the pipes have ended */
bool output_is_sent(const struct output *output); /* every kept byte was queued */
bool output_is_acknowledged(const struct output *output); /* and the engine has it */

/* `frame` is a FRAME_ACK. What was not sent cannot be acknowledged; what was is only once. */
void output_acknowledge(struct output *output, const struct frame *frame);

/* `frame` is a FRAME_RESUME: go on from its offsets. False when one of them is not between `acknowledged` and `sent`. */
bool output_resume(struct output *output, const struct frame *frame);

/* Nobody wants it any more: the pipes and rings go, the numbers stay. Fine twice, and of an output that was never
 * opened (all zero, descriptors -1). */
void output_close(struct output *output);
