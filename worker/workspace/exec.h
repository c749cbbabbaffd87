/* An exec: one program in a workspace, from its input files to its exit and the files that it leaves.
 *
 * LAUNCHING its files, argv and stdin are on their way. Next: RUNNING (user code runs), OVER (nothing ran: on_failed).
 * RUNNING   its output comes, and is acknowledged as fast as it is taken: kept for the result, streamed, or both; the agent stops
 *           reading its pipes when FRAME_WINDOW_BYTES are not. Next: EXITED.
 * EXITED    every process of it is gone; all output that is kept was seen. Next: COLLECTING, when asked; OVER.
 * COLLECTING the files that it left come. Next: OVER.
 * OVER      nothing of it is heard any more. Chunks of output may still be on their way to Kafka: it is freed when none is.
 *
 * Every step has a deadline of the engine's own, a little behind the agent's. It does not pass while the engine holds the guest back
 * because Kafka takes no output: what the guest says next, `exit` perhaps, waits behind that. The guard's deadline does pass.
 *
 * An exec never ends by itself: its owner hears the events, decides, and calls exec_end(). Whatever its agent does out of order is
 * a fault of the workspace. How a program is reached is its transport's: the guest channel, or, for the null backend, nowhere. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/result.h"
#include "wire/task.h"
#include "worker/workspace/workspace.h"

struct exec;
struct streamer;

enum exec_state { EXEC_LAUNCHING, EXEC_RUNNING, EXEC_EXITED, EXEC_COLLECTING, EXEC_OVER, EXEC_STATE_COUNT };

/* From the loop, or from inside exec_start() where the transport is no guest's. None after exec_end() but on_drained. */
struct exec_events {
	bool (*is_wanted)(void *ctx); /* false: its owner has decided, and nothing of it is to be heard any more */
	void (*on_started)(void *ctx); /* user code runs */
	/* It could not be started: nothing ran. `missing`: the program that its image lacks, or "". */
	void (*on_failed)(void *ctx, const char *why, const char *missing);
	void (*on_exited)(void *ctx);	 /* its outcome is filled */
	void (*on_collected)(void *ctx); /* after exec_collect() */
	/* A deadline of the engine's own passed in the state it is in. */
	void (*on_late)(void *ctx);
	void (*on_drained)(void *ctx); /* after exec_end(): no chunk is on its way any more */
};

/* Where chunks of its output go. All borrowed. */
struct exec_stream {
	struct streamer *streamer;
	const char *topic;
	uint32_t attempt; /* said in each chunk */
};

/* What became of it, beside what `result` has of that. The first two are valid from exec_start() on, the rest from EXITED on. */
struct exec_outcome {
	bool may_run; /* it was asked for: user code may run from now on; in the null backend nothing ever does */
	bool has_run; /* the agent said so */
	bool is_timed_out, is_oom; /* as the agent said */
	uint64_t oom_kills;
	uint64_t memory_kib;  /* what it could have had */
	char oom_process[40]; /* "'NAME' (process PID)" of the first that lack of memory ended, "" when nobody knows */
};

struct exec_config {
	struct workspace *workspace; /* READY; outlives the exec's end */
	const struct task *program;  /* argv, env, stdin, files, limits; lent */
	struct result *result;	     /* lent: its streams, files, exit code, usage and timings are filled in */
	struct exec_stream stream;
	const struct exec_events *events;
	void *ctx;
};

struct exec *exec_new(const struct exec_config *config); /* NULL: out of memory */
void exec_start(struct exec *exec);
void exec_collect(struct exec *exec); /* once, when it has exited: the files of program->collect */
void exec_tick(struct exec *exec, uint64_t now_mono_ms);
void exec_end(struct exec *exec); /* hear nothing more; idempotent, before its workspace is ended */
void exec_free(struct exec *exec); /* accepts NULL; when it is over and drained */

enum exec_state exec_state(const struct exec *exec);
const struct exec_outcome *exec_outcome(const struct exec *exec);
bool exec_is_drained(const struct exec *exec);
bool exec_is_held_back(const struct exec *exec); /* it waits for us to take its output, not we for it */
uint64_t exec_chunk_failures(const struct exec *exec); /* pieces of output that could not be streamed */

/* From READY on: all its deadlines together. */
uint64_t exec_longest_ms(const struct task *program);

/* The streamer's answer to one chunk (bus/streamer.h); `opaque` is an exec's own, or NULL. */
void exec_on_delivered(void *ctx, void *opaque, bool is_delivered);
