/* Files of the task's /work back to the host: regular files only, opened with the task's own rights, bounded together. */
#pragma once

#include "guest/agent/channel.h"
#include "wire/frame.h"

/* Send what the FRAME_COLLECT `frame` asks for, then FRAME_COLLECTED. Waits for the host to take it; no program of the
 * task runs meanwhile. 0, or a negative errno: the host is gone, or no memory. */
int collect_files(struct channel *channel, const struct frame *frame);
