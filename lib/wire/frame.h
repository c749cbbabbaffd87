/* The guest channel: frames between the engine and the agent in the microVM, over one virtio-serial port.
 *
 * A frame is a 4-byte big-endian length (1..FRAME_MAX_BYTES) and a msgpack map whose key "t" is the type's name; every
 * other key is the field's name in struct frame. Both directions use one codec; each side checks that a type may come
 * from its peer. Neither side trusts the other: the agent because tasks share its kernel, the engine because a task may
 * have taken the agent over.
 *
 * Conversation (engine: E, agent: A):
 *   A hello                     the agent is up
 *   E setup                     entropy, wall clock, host name; sent once the disk is attached
 *   A ready                     RNG seeded, clock set, disk mounted, overlay up
 *   E put...                    input files, in FRAME_DATA_MAX pieces, `is_last` on each file's last piece
 *   E run, stdin...             argv and limits; then stdin pieces, `is_last` closes it
 *   A started                   exec succeeded: user code runs
 *   A out...                    output; the agent stops reading the task's pipes when `window` bytes are unacknowledged
 *   E ack                       `bytes` of output were taken
 *   A exit                      every process of the task is gone, every kept byte of output was sent
 *   E collect                   paths to send back, `limit_bytes` together
 *   A file...                   in pieces; `error` set and no data when a path cannot be read
 *   A collected
 * `missing` in a fail names the program that the image lacks, for the engine to say which image has it.
 * The agent may say `fail` instead of any of its answers; the engine ends the VM at any time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/task.h"

#define FRAME_VERSION 2
#define FRAME_MAX_BYTES (256 * 1024)  /* run: argv + env up to 128 KiB, with room */
#define FRAME_DATA_MAX (32 * 1024)    /* data of one put, stdin, out or file frame */
#define FRAME_WINDOW_BYTES (256 * 1024) /* unacknowledged output */
#define FRAME_MAX_NODES 1024
#define FRAME_ENTROPY_BYTES 64
#define FRAME_MODE_MAX 07777            /* of a collected file */
#define FRAME_MISSING_MAX 63            /* bytes of the name of a missing program */

enum frame_type {
	/* engine to agent */
	FRAME_SETUP,
	FRAME_PUT,
	FRAME_RUN,
	FRAME_STDIN,
	FRAME_ACK,
	FRAME_COLLECT,
	/* agent to engine */
	FRAME_HELLO,
	FRAME_READY,
	FRAME_STARTED,
	FRAME_OUT,
	FRAME_EXIT,
	FRAME_FILE,
	FRAME_COLLECTED,
	FRAME_FAIL,
	FRAME_TYPE_COUNT
};

struct frame_text {
	const char *text; /* borrowed, not NUL-terminated */
	size_t len;
};

struct frame_pair {
	struct frame_text key, value;
};

/* One frame of any type; fields that a type does not carry are zero. Borrowed pointers point into the decoded bytes. */
struct frame {
	enum frame_type type;
	uint32_t version;         /* hello */
	const uint8_t *data;      /* put stdin out file: payload; setup: entropy */
	size_t len;
	uint64_t offset;          /* put out file: of the payload in its file or stream */
	bool is_last;             /* put stdin file */
	struct frame_text path;   /* put file */
	uint32_t mode;            /* put: permissions; file: set-id bits and sticky bit too */
	uint64_t size;            /* file: of the whole file */
	uint64_t realtime_ns;     /* setup */
	struct frame_text hostname; /* setup */
	struct frame_text *argv;  /* run; the array is the caller's (encode) or frame_clear()'s (decode) */
	size_t n_argv;
	struct frame_pair *env;   /* run */
	size_t n_env;
	uint64_t timeout_ms;      /* run */
	uint64_t output_limit_bytes; /* run */
	uint64_t window;          /* run: bytes of unacknowledged output allowed */
	bool oom_ends_one;        /* run: lack of memory ends one process, not the whole program */
	struct frame_text *paths; /* collect */
	size_t n_paths;
	uint64_t limit_bytes;     /* collect */
	uint64_t bytes;           /* ack */
	uint32_t stream;          /* out: 1 stdout, 2 stderr */
	bool has_exit_code;       /* exit: else `signal` */
	uint32_t exit_code;
	uint32_t signal;
	bool is_timed_out;        /* exit: the agent ended it at timeout_ms */
	bool is_oom;              /* exit: lack of memory ended it */
	uint64_t oom_kills;       /* exit: processes that lack of memory ended */
	uint32_t oom_pid;         /* exit: the first of them, 0 when nobody knows */
	struct frame_text oom_process; /* exit: its name */
	uint64_t memory_kib;      /* exit: what the program could have had */
	uint64_t stdout_bytes, stderr_bytes; /* exit: written, dropped ones too */
	uint64_t cpu_ms, max_rss_kib, run_ms; /* exit */
	uint64_t elapsed_ms;      /* hello: since the kernel started; ready: mounts and seeding */
	struct frame_text error;  /* fail file: a sentence; "" in file when all is well */
	struct frame_text missing; /* fail: a program that the image lacks, "" when that is not the reason */
};

/* Append one whole frame, length prefix included. 0, -ENOMEM, or -E2BIG when it would exceed FRAME_MAX_BYTES. */
int frame_encode(const struct frame *frame, struct buf *out);

/* How many bytes the first frame in `data` takes, prefix included: > 0, 0 when the prefix is not whole yet, or -EBADMSG
 * when the length is zero or beyond FRAME_MAX_BYTES. */
int64_t frame_extent(const uint8_t *data, size_t len);

/* Decode one whole frame (as delimited by frame_extent()). 0, -EBADMSG with `why` filled, or -ENOMEM. */
int frame_decode(const uint8_t *data, size_t len, struct frame *ret, char why[160]);

/* Frees the arrays that frame_decode() made. */
void frame_clear(struct frame *frame);

const char *frame_type_name(enum frame_type type);
