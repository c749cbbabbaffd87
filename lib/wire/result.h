/* A result: what a subscriber reads on the results topic (schemas/result.md). Also the encoder of output chunks and the
 * codec of control messages, which share its small vocabulary. No I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ident.h"
#include "base/own.h"
#include "wire/task.h"

#define RESULT_SCHEMA_VERSION 1
#define RESULT_HEAD_BYTES (32 * 1024) /* of each stream, inline */
#define RESULT_TAIL_BYTES (32 * 1024) /* of each stream, inline, when it is longer than the head */
#define RESULT_MAX_BYTES (1000 * 1000) /* a whole one, as TASK_MAX_BYTES */
#define RESULT_MAX_DEPTH 8
#define RESULT_MAX_FILES 256
#define RESULT_MAX_NODES 4096          /* msgpack values in one result */
#define RESULT_FILES_BYTES (512 * 1024) /* collected files, inline, together: keeps a result below 1 MB */

enum result_event {
	RESULT_EVENT_STARTED,
	RESULT_EVENT_FINISHED,
	RESULT_EVENT_REFUSED, /* of a record whose id is another living task's: not that task's result */
	RESULT_EVENT_DUPLICATE, /* of a record that is a living task sent again: the one result answers both */
	RESULT_EVENT_COUNT
};

enum result_outcome {
	RESULT_OUTCOME_SUCCEEDED, /* exit code 0 */
	RESULT_OUTCOME_FAILED,    /* another exit code, a signal, or a VM that broke */
	RESULT_OUTCOME_TIMED_OUT, /* ran past timeout_ms */
	RESULT_OUTCOME_CANCELLED,
	RESULT_OUTCOME_EXPIRED,   /* its queue_ms or its workspace's ttl_ms ended first: `field` says which */
	RESULT_OUTCOME_REJECTED,  /* never admitted: `field` and `message` say why */
	RESULT_OUTCOME_LOST,      /* workers died under it as often as is allowed */
	RESULT_OUTCOME_COUNT
};

enum result_ran { RESULT_RAN_NOT_STARTED, RESULT_RAN_RAN, RESULT_RAN_UNKNOWN, RESULT_RAN_COUNT };

enum result_timing { /* index of timings_ms; the key in the message is the lower-case name */
	RESULT_TIMING_QUEUED, /* record's time to intake */
	RESULT_TIMING_LEASE,
	RESULT_TIMING_DISK,
	RESULT_TIMING_VMM,    /* spawn to QMP ready */
	RESULT_TIMING_BOOT,   /* spawn to the agent's hello */
	RESULT_TIMING_KEY,    /* disk handed to the VMM */
	RESULT_TIMING_SETUP,  /* RNG, clock, mounts */
	RESULT_TIMING_LAUNCH, /* input files, exec */
	RESULT_TIMING_START,  /* intake to the start of user code */
	RESULT_TIMING_RUN,    /* user code */
	RESULT_TIMING_COLLECT,
	RESULT_TIMING_ERASE,  /* key destroyed and verified */
	RESULT_TIMING_TOTAL,  /* intake to the production of this result */
	RESULT_TIMING_COUNT
};

struct result_stream {
	/* The first and the last bytes kept, without overlap: the tail is empty while everything fits in the head. While
	 * it grows the tail may hold more than RESULT_TAIL_BYTES; its last ones are sent. */
	struct buf head, tail;
	uint64_t bytes;        /* written by the task, dropped ones too */
	uint64_t bytes_kept;   /* within output_limit_bytes; what sha256 covers and what is streamed */
	uint8_t sha256[32];
};

struct result_file {
	char *path;
	uint8_t *data; /* NULL when not inline */
	size_t len;
	uint64_t size;
	uint32_t mode;
	uint8_t sha256[32];
	char error[96]; /* "" or why it is not here, e.g. "no such file" */
};

struct result {
	enum result_event event;
	char id[IDENT_ID_MAX + 1]; /* "" when a rejected record had none */
	enum task_kind kind;
	/* From here to is_key_destroyed: only RESULT_EVENT_FINISHED and REFUSED have these. The rest is of every event. */
	enum result_outcome outcome;
	enum result_ran ran;
	bool has_exit_code, has_signal;
	uint32_t exit_code;
	uint32_t signal;
	char message[256]; /* one sentence, "" when there is nothing to say */
	char field[64];    /* of a rejected task; of one that a time ended, which of the three */
	struct result_stream out, err_out;
	struct result_file *files;
	size_t n_files;
	int64_t timings_ms[RESULT_TIMING_COUNT]; /* -1: not reached */
	uint64_t cpu_ms, max_rss_kib;
	char vmm[16], accel[16], disk[24], net[16]; /* isolation actually used: "qemu" "tcg" "luks1" "none" */
	char start[16];				    /* and how its microVM was started: "cold" "clone" "pool" */
	bool is_key_destroyed;                      /* there was a key, and what held it was seen to be overwritten */
	char host[65], worker[65];
	uint32_t attempt;
	uint64_t token; /* fencing token */
	struct task_pair *labels;
	size_t n_labels;
	uint64_t finished_ms; /* wall clock of the worker; of the start in RESULT_EVENT_STARTED */
	char topic[128];      /* the record this answers */
	int32_t partition;
	int64_t offset;
	struct {
		char topic[128];
		int32_t partition;
		int64_t offset;
	} same_as; /* of RESULT_EVENT_DUPLICATE: the record whose result answers this one, too */
};

/* All timings -1, everything else zero. */
void result_init(struct result *result);
void result_clear(struct result *result); /* frees what it owns */

/* 0 or -ENOMEM. */
int result_encode(const struct result *result, struct buf *out);

/* For the tool and the tests: 0, -EBADMSG with `why` filled, or -ENOMEM. Unknown fields are skipped, so that an old
 * tool reads a newer worker. */
int result_decode(const uint8_t *data, size_t len, struct result *ret, char why[160]);

/* A topic may refuse a result for its size. */
enum result_form {
	RESULT_FORM_WHOLE,
	RESULT_FORM_SHORT,    /* no head, no tail, no data of files */
	RESULT_FORM_SHORTEST, /* no files and no labels either */
	RESULT_FORM_COUNT
};

/* Encode again what result_encode() made, in a shorter form; `message` says so, and that `refused_bytes` were too many. 0, -ENOMEM
 * or -EBADMSG. */
int result_shorten(const struct buf *whole, enum result_form form, size_t refused_bytes, struct buf *ret);

/* Add stream bytes: fills head and tail, counts bytes_kept (not bytes). sha256 is the caller's. 0 or -ENOMEM. */
int result_stream_add(struct result_stream *stream, const uint8_t *data, size_t len);

/* Does it have an outcome? */
bool result_is_answer(const struct result *result);

const char *result_event_name(enum result_event event);
const char *result_outcome_name(enum result_outcome outcome);
const char *result_ran_name(enum result_ran ran);
const char *result_timing_name(enum result_timing timing);

#define OUTPUT_MAX_DATA_BYTES (256 * 1024) /* of one chunk */
#define CONTROL_MAX_BYTES 1024

/* One chunk of output on the output topic. */
enum output_stream { OUTPUT_STREAM_STDOUT = 1, OUTPUT_STREAM_STDERR = 2 };

struct output_chunk {
	char id[IDENT_ID_MAX + 1];
	enum output_stream stream;
	uint64_t seq;    /* of this attempt, both streams together, from 0 */
	uint64_t offset; /* of the first byte in its stream */
	uint32_t attempt;
	const uint8_t *data; /* borrowed: from the caller when encoding, from the input when decoding */
	size_t len;
};

int output_encode(const struct output_chunk *chunk, struct buf *out);
int output_decode(const uint8_t *data, size_t len, struct output_chunk *ret, char why[160]);

/* A control message, read by every worker: cancel the task with this id. */
struct control {
	char cancel_id[IDENT_ID_MAX + 1];
	uint64_t created_ms;
};

int control_encode(const struct control *control, struct buf *out);
int control_decode(const uint8_t *data, size_t len, struct control *ret, char why[160]);
