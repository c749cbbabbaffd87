/* A program's stdin: frames into a pipe. The agent holds what the pipe does not take. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/frame.h"

#define INPUT_MAX_BYTES TASK_MAX_BYTES /* held for one program: a whole task's; stdin has no other flow control */

struct input {
	int fd; /* nonblocking write end of the pipe; -1 once nobody reads or everything was written */
	struct buf bytes;
	uint64_t received; /* how much came, written or not */
	bool is_complete;
};

void input_open(struct input *input, int fd); /* takes the descriptor */

/* `frame` is a FRAME_STDIN. What came before is not taken again. ERR_BUG: it does not continue what came; ERR_INPUT:
 * too much. */
int input_take(struct input *input, const struct frame *frame, struct err *err);

void input_write(struct input *input); /* what the pipe takes */

bool input_is_waiting(const struct input *input); /* for room in the pipe */

void input_close(struct input *input); /* fine twice, and when it was never opened (descriptor -1) */
