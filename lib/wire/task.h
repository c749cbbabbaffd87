/* A task: what a sender asks for (schemas/task.md). Bytes in, a checked struct out; no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ident.h"
#include "base/own.h"

#define TASK_SCHEMA_VERSION 1

/* What a sender controls, bounded before anything is allocated. */
#define TASK_MAX_BYTES (1000 * 1000)        /* one record: below Kafka's default message.max.bytes of 1048588 */
#define TASK_MAX_DEPTH 8                    /* the schema nests 3 deep */
#define TASK_MAX_NODES 4096                 /* msgpack values in one record */
#define TASK_MAX_ARGS 256                   /* argv entries */
#define TASK_MAX_ARG_BYTES (128 * 1024)     /* argv + env together, each string with its NUL: Linux's MAX_ARG_STRLEN */
#define TASK_MAX_ENV 128
#define TASK_MAX_FILES 64
#define TASK_MAX_COLLECT 64
#define TASK_MAX_PATH_BYTES 255
#define TASK_MAX_FILE_MODE 0777
#define TASK_MAX_LABELS 16
#define TASK_MAX_LABEL_BYTES 128            /* each key and each value */
#define TASK_MAX_CPUS 64
#define TASK_MIN_MEMORY_MIB 96              /* below this the stock guest kernel does not start the agent */
#define TASK_MAX_MEMORY_MIB (1024 * 1024)
#define TASK_MIN_DISK_MIB 16
#define TASK_MAX_DISK_MIB (1024 * 1024)
#define TASK_MAX_QUEUE_MS (30ull * 24 * 3600 * 1000) /* beyond a topic's usual retention; 0 for "as long as it takes" */
#define TASK_MAX_TTL_MS (24ull * 3600 * 1000)
#define TASK_MAX_OUTPUT_BYTES (1ull << 30)
#define TASK_MAX_CREATED_MS ((1ull << 53) - 1) /* what a JavaScript number holds exactly; leaves room to add a queue_ms */
#define TASK_SECONDS_BELOW 100000000000ull /* a created_ms below (March 1973) is most likely one in seconds */

#define TASK_DEFAULT_CPUS 1
#define TASK_DEFAULT_MEMORY_MIB 256
#define TASK_DEFAULT_DISK_MIB 256
#define TASK_DEFAULT_TTL_MS (600ull * 1000)
#define TASK_DEFAULT_TIMEOUT_MS (60ull * 1000)
#define TASK_DEFAULT_OUTPUT_BYTES (16ull << 20)
#define TASK_DEFAULT_FILE_MODE 0644

enum task_kind { TASK_KIND_RUN, TASK_KIND_COUNT };

/* What the end of a process for lack of memory means. */
enum task_oom {
	TASK_OOM_PROGRAM, /* the end of the whole program: half of one is worse than none */
	TASK_OOM_PROCESS, /* the end of that process; what its parent makes of it is the program's affair */
	TASK_OOM_COUNT
};

/* How its workspace may be started. */
enum task_start {
	TASK_START_ANY,	 /* in the quickest way that there is */
	TASK_START_COLD, /* its own kernel boots: it shares no address layout and no page with another microVM's memory */
	TASK_START_COUNT
};

struct task_text {
	char *text; /* NUL-terminated; never NULL in a decoded task */
};

struct task_pair {
	char *key;
	char *value;
};

struct task_file {
	char *path;    /* relative to /work, no empty, "." or ".." component */
	uint8_t *data;
	size_t len;
	uint32_t mode; /* permission bits, 0644 unless given; at most 0777 */
};

struct task {
	enum task_kind kind;
	char id[IDENT_ID_MAX + 1];
	char image[IDENT_IMAGE_MAX + 1];
	struct task_text *argv;
	size_t n_argv; /* at least 1 */
	struct task_pair *env;
	size_t n_env;
	uint8_t *stdin_data;
	size_t stdin_len;
	struct task_file *files;
	size_t n_files;
	struct task_text *collect; /* paths below /work, same rule as files */
	size_t n_collect;
	struct task_pair *labels;
	size_t n_labels;
	uint64_t created_ms; /* wall clock of the sender; 0: not given, the record's own time counts */
	uint64_t queue_ms;   /* from created_ms to the start of its workspace; 0: it waits as long as it takes */
	uint64_t ttl_ms;     /* of its workspace, from when that is begun; afterwards nothing of it may exist */
	uint64_t timeout_ms; /* of the program, from its start */
	uint64_t output_limit_bytes; /* stdout + stderr kept and streamed; the rest is counted and dropped */
	uint32_t cpus;
	uint32_t memory_mib;
	uint32_t disk_mib;
	enum task_oom oom;
	enum task_start start;
	bool is_streaming; /* send every chunk of output to the output topic */
};

extern const struct task task_defaults; /* every optional field at its default */

/* Why bytes are not a task. `field` is the path of the offending field ("files[2].path"; "" when the bytes are not
 * even a map); `message` is a sentence for the sender. */
struct task_flaw {
	char field[64];
	char message[160];
	char id[IDENT_ID_MAX + 1]; /* the id when it could be read and is well-formed, else "" */
};

enum task_verdict { TASK_VERDICT_OK, TASK_VERDICT_FLAWED, TASK_VERDICT_NO_MEMORY, TASK_VERDICT_COUNT };

/* Prescan, decode and validate. On TASK_VERDICT_OK `*ret` is the caller's to task_free(); on TASK_VERDICT_FLAWED
 * `flaw` is filled. Unknown fields, duplicate keys and other versions are flaws. */
enum task_verdict task_decode(const uint8_t *data, size_t len, struct task **ret, struct task_flaw *flaw);

/* The msgpack form, for the tool and the tests; fields at their default are left out. 0 or -ENOMEM. */
int task_encode(const struct task *task, struct buf *out);

void task_free(struct task *task);

DEFINE_FREEP(struct task, task_free)

const char *task_kind_name(enum task_kind kind);
const char *task_oom_name(enum task_oom oom);
const char *task_start_name(enum task_start start);
