/* struct exec, for the files exec*.c of this folder. */
#pragma once

#include <openssl/types.h>

#include "worker/workspace/exec.h"

#define EXEC_COLLECT_MS 60000 /* for the files that a program leaves */

/* How a program is reached. */
struct exec_transport {
	void (*start)(struct exec *exec);
	void (*collect)(struct exec *exec);
	void (*late)(struct exec *exec); /* the deadline of its state has passed */
	void (*end)(struct exec *exec);	 /* hear nothing more; also when it was not started */
};

extern const struct exec_transport exec_in_guest, exec_nowhere;

/* Output on its way to the streams' topic. */
struct exec_flow {
	uint64_t next_seq;
	uint64_t failures;
	size_t chunks, bytes; /* handed to the streamer, not acknowledged */
};

struct exec {
	struct workspace_program program; /* its place in the workspace; exec_in_guest only, until OVER */
	struct exec_config config;
	enum exec_state state;
	uint64_t deadline_mono_ms; /* of the state */
	uint64_t tick_mono_ms;	   /* the last one */
	uint64_t since_mono_ns;	   /* the state's beginning, for the timings */
	EVP_MD_CTX *digests[2];	   /* of stdout and stderr, until OVER; exec_in_guest only */
	struct exec_outcome outcome;
	struct exec_flow flow;
};

void exec_enter(struct exec *exec, enum exec_state state, uint64_t patience_ms);
void exec_mark_timing(struct exec *exec, enum result_timing timing); /* since the state's beginning */

/* exec_output.c */
int exec_output_begin(struct exec *exec); /* 0 or -ENOMEM */
bool exec_output_take(struct exec *exec, const struct frame *frame); /* as on_frame */
void exec_output_end(struct exec *exec);

/* exec_files.c */
void exec_files_send(struct exec *exec);
void exec_files_ask(struct exec *exec);
void exec_files_take(struct exec *exec, const struct frame *frame);
