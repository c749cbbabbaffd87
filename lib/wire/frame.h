/* The guest protocol: frames between an engine and the agent in its microVM, over one byte stream (a virtio-serial
 * port).
 *
 * A frame is a 4-byte big-endian length (1..FRAME_MAX_BYTES) and a msgpack map whose key "t", the last one, is the
 * type's name; every other key is a field of struct frame. Both directions use one codec; each side checks that a
 * type may come from its peer. Neither side trusts the other: the agent because tasks share its kernel, the engine
 * because a task may have taken the agent over.
 *
 * Conversation (engine: E, agent: A). The VM first, once:
 *   A hello        the agent is up
 *   E setup        entropy, wall clock, host name: what makes it a VM of its own. The disk need not be there yet
 *   E mount        the disk is attached
 *   A ready        RNG seeded, clock set, disk mounted
 *   E clock        from here on, as often as the engine likes: the wall clock, which ran by itself in a VM that waited for its task. Programs
 *                  that come behind it begin with that
 *
 * A VM that is to become a template, whose memory others begin with, hears something else first, and then nothing more:
 *   A hello
 *   E warm         do what needs neither a disk nor an identity: the image is mounted, what it wants to have running waits.
 *                  `has_disk`: the disk is there, and the same as each clone's will be: it is mounted, too, and not written
 *   A warmed       `is_warm`: something waits; `error`: why not, though the image names something. The VM may be saved now
 * A clone begins here: nothing tells its agent that it is one but the setup, which comes next, and then mount.
 *
 * So nothing of a task comes into a VM whose random numbers another one has, too: before `setup` the agent refuses mount
 * and every frame about a program; after it, `warm`. Each of the three comes once.
 *
 * Then programs, up to FRAME_EXECS_MAX at once. Each has a number, `exec`, that every frame about it carries. The engine chooses it:
 * 1 or more, each higher than all before it, never used again in this VM. For one program, in this order:
 *   E put...       input files in pieces, `is_last` on the last piece of each
 *   E run          argv and limits
 *   E stdin...     pieces; `is_last` closes it. Also before `started`
 *   A started      exec(2) succeeded: user code runs
 *   A out...       output. At most `window` bytes of it are unacknowledged; then the agent leaves the program's pipes alone
 *   E ack          `stream` was taken up to `offset`
 *   E kill         `signal` to the program's first process; SIGKILL to all of its processes. Before `started` only SIGKILL counts
 *   A exit         every process of the program is gone, and every kept byte of output was sent
 *   E collect      paths to send back, `limit_bytes` together. After `exit`, any number of times, one after the other
 *   A file...      in pieces; `error` set and no data when a path cannot be read
 *   A collected
 *   E end          the engine is done with it: what still runs is killed, the agent forgets it and says nothing more about it
 *   A fail         instead of any answer: why. `missing` names the program that the image lacks, if that is it
 *
 * An exec lives, and takes one of the FRAME_EXECS_MAX places, from its first put or run until `end` or `fail`, also
 * while its program has ended. After the `end` of a program that runs, the place is free once that is gone; who needs
 * it for sure kills first, and ends after `exit`. Frames about an exec that is over are ignored: they crossed its
 * `fail`. A frame that is out of order, or about a number that was never used, is answered by `fail` for that exec
 * alone, whose program is killed; the others go on. `fail` with exec 0 is about the whole guest: warm, setup or mount
 * failed, the versions differ, bytes that are no frame, a frame that is too early, or too late. Then the agent hears nothing more but an attach;
 * programs go on. The engine ends the VM at any time.
 *
 * Versions: `hello`, `warm`, `setup` and `attach` carry one. Of a frame with another version than FRAME_VERSION only type and
 * version are decoded, so that both sides can name them. The engine refuses another agent's hello, the agent another
 * engine's warm, setup and attach (the latter after its hello).
 *
 * Another peer: programs do not need the engine. When the port has no peer, they go on until their window is full; timeouts pass, but
 * not while a program waits for the window. A new engine, which may not know what the one before it said, or how far, attaches:
 *   E (FRAME_SYNC) attach
 *   A (FRAME_SYNC) hello      `is_set_up`, `is_mounted`, and `n_execs` that live; the first one, at boot, comes by itself and without FRAME_SYNC
 *   A status...               one for each: how far it is. The agent says nothing more about an exec until
 *   E resume                  with what the engine has of stdout and stderr: output goes on from there; `exit` or `fail` come (again).
 *                             Both offsets lie between `status`'s and what was sent. stdin goes on from status's `stdin_bytes`
 * A `status` with neither is_started nor is_running: its `run` has not come, or it could not be run, as `resume` will tell. A put, or
 * a collect, that was under way when the peer changed begins again. Execs that the engine does not resume stay; it may also `end` them.
 *
 * FRAME_SYNC makes the stream readable again, in both directions, wherever the peer before broke off. It is
 * FRAME_SYNC_BYTES times 0xff, more than what can be missing of any frame. A length never begins with 0xff (it is at
 * most FRAME_MAX_BYTES), and a frame never ends with it (its type's name is last). So a reader that meets 0xff in one
 * of these places knows: the peer begins anew. It drops the frame that was cut off, and every 0xff up to the first
 * other byte. A reader that does not know where frames begin, because it is itself new to the stream, waits for more
 * than FRAME_DATA_MAX times 0xff; no frame has as many in a row. wire/frame_reader.h does it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/task.h"

#define FRAME_VERSION 4
#define FRAME_MAX_BYTES (256 * 1024)  /* run: argv + env up to 128 KiB, with room */
#define FRAME_DATA_MAX (32 * 1024)    /* data of one put, stdin, out or file frame */
#define FRAME_WINDOW_BYTES (256 * 1024) /* unacknowledged output of one program, at most: the agent keeps it */
#define FRAME_EXECS_MAX 16		/* programs of one VM at once, each with a cgroup, three pipes and a window of output */
#define FRAME_SYNC 0xff
#define FRAME_SYNC_BYTES (FRAME_MAX_BYTES + 4)
#define FRAME_MAX_NODES 1024
#define FRAME_ENTROPY_BYTES 64
#define FRAME_MODE_MAX 07777            /* of a collected file */
#define FRAME_MISSING_MAX 63            /* bytes of the name of a missing program */

enum frame_type {
	/* engine to agent */
	FRAME_WARM,
	FRAME_SETUP,
	FRAME_MOUNT,
	FRAME_CLOCK,
	FRAME_ATTACH,
	FRAME_PUT,
	FRAME_RUN,
	FRAME_STDIN,
	FRAME_ACK,
	FRAME_KILL,
	FRAME_COLLECT,
	FRAME_RESUME,
	FRAME_END,
	/* agent to engine */
	FRAME_HELLO,
	FRAME_WARMED,
	FRAME_READY,
	FRAME_STATUS,
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
	uint32_t version;         /* hello warm setup attach */
	uint32_t exec;            /* all but those, warmed mount clock ready; 0 only in fail: the whole guest */
	const uint8_t *data;      /* put stdin out file: payload; setup: entropy */
	size_t len;
	/* put stdin out file: of the payload in its file or stream; ack: the stream up to here */
	uint64_t offset;
	bool is_last;             /* put stdin file */
	struct frame_text path;   /* put file */
	uint32_t mode;            /* put: permissions; file: set-id bits and sticky bit too */
	uint64_t size;            /* file: of the whole file */
	uint64_t realtime_ns;     /* setup clock */
	struct frame_text hostname; /* setup */
	struct frame_text *argv;  /* run; the array is the caller's (encode) or frame_clear()'s (decode) */
	size_t n_argv;
	struct frame_pair *env;   /* run */
	size_t n_env;
	uint64_t timeout_ms;      /* run */
	uint64_t output_limit_bytes; /* run */
	uint64_t window;          /* run: bytes of unacknowledged output allowed, FRAME_DATA_MAX..FRAME_WINDOW_BYTES */
	bool oom_ends_one;        /* run: lack of memory ends one process, not the whole program */
	struct frame_text *paths; /* collect */
	size_t n_paths;
	uint64_t limit_bytes;     /* collect */
	uint32_t stream;          /* out ack: 1 stdout, 2 stderr */
	bool is_set_up;           /* hello: a setup was done */
	bool is_mounted;          /* hello: so was a mount; put and run may come at once */
	bool has_disk;            /* warm */
	bool is_warm;             /* warmed */
	uint32_t n_execs;         /* hello: as many `status` follow */
	bool is_running;          /* status: has a program that was not seen to end */
	bool is_started;          /* status: its user code ran; `started` is not said again */
	bool has_exit_code;       /* exit: else `signal` */
	uint32_t exit_code;
	uint32_t signal;          /* exit kill */
	bool is_timed_out;        /* exit: the agent ended it at timeout_ms */
	bool is_oom;              /* exit: lack of memory ended it */
	uint64_t oom_kills;       /* exit: processes that lack of memory ended */
	uint32_t oom_pid;         /* exit: the first of them, 0 when nobody knows */
	struct frame_text oom_process; /* exit: its name */
	uint64_t memory_kib;      /* exit: what the program could have had */
	uint64_t stdin_bytes;     /* status: of the program's input the agent has these */
	/* exit: written, dropped ones too; status: acknowledged; resume: the engine has these */
	uint64_t stdout_bytes, stderr_bytes;
	uint64_t cpu_ms, max_rss_kib, run_ms; /* exit */
	uint64_t elapsed_ms;      /* hello: since the kernel started; warmed ready: for warm, for mount */
	struct frame_text error;  /* fail file warmed: a sentence; "" in file and warmed when all is well */
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
