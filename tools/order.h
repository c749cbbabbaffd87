/* A task from command line options: what `mayfly run` and `mayfly submit` share. */
#pragma once

#include <getopt.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "tools/wording.h"
#include "wire/task.h"

enum order_option {
	ORDER_OPTION_FIRST = 500,
	ORDER_OPTION_IMAGE = ORDER_OPTION_FIRST,
	ORDER_OPTION_FILE,
	ORDER_OPTION_COLLECT,
	ORDER_OPTION_QUEUE,
	ORDER_OPTION_TTL,
	ORDER_OPTION_TIMEOUT,
	ORDER_OPTION_MEMORY,
	ORDER_OPTION_DISK,
	ORDER_OPTION_CPUS,
	ORDER_OPTION_ENV,
	ORDER_OPTION_STDIN,
	ORDER_OPTION_LABEL,
	ORDER_OPTION_ID,
	ORDER_OPTION_OUTPUT_LIMIT,
	ORDER_OPTION_OOM,
	ORDER_OPTION_START,
	ORDER_OPTION_LAST = ORDER_OPTION_START
};

#define ORDER_OPTIONS                                                              \
	{ "image", required_argument, NULL, ORDER_OPTION_IMAGE },                  \
		{ "file", required_argument, NULL, ORDER_OPTION_FILE },            \
		{ "collect", required_argument, NULL, ORDER_OPTION_COLLECT },      \
		{ "queue", required_argument, NULL, ORDER_OPTION_QUEUE },          \
		{ "ttl", required_argument, NULL, ORDER_OPTION_TTL },              \
		{ "timeout", required_argument, NULL, ORDER_OPTION_TIMEOUT },      \
		{ "memory", required_argument, NULL, ORDER_OPTION_MEMORY },        \
		{ "disk", required_argument, NULL, ORDER_OPTION_DISK },            \
		{ "cpus", required_argument, NULL, ORDER_OPTION_CPUS },            \
		{ "env", required_argument, NULL, ORDER_OPTION_ENV },              \
		{ "stdin", no_argument, NULL, ORDER_OPTION_STDIN },                \
		{ "label", required_argument, NULL, ORDER_OPTION_LABEL },          \
		{ "id", required_argument, NULL, ORDER_OPTION_ID },                \
		{ "oom", required_argument, NULL, ORDER_OPTION_OOM },              \
		{ "start", required_argument, NULL, ORDER_OPTION_START },          \
	{                                                                          \
		"output-limit", required_argument, NULL, ORDER_OPTION_OUTPUT_LIMIT \
	}

#define ORDER_USAGE                                                                          \
	"  --image NAME         root file system (default: base); see `mayfly image list`\n" \
	"  --file F[:PATH]      copy a file to /work/PATH (default: its name); repeat\n"     \
	"  --collect PATH       bring the file /work/PATH back at the end; repeat (no folders,\n" \
	"                       no patterns: pack what is many, with tar for example)\n"    \
	"  --stdin              this command's standard input becomes the program's\n"       \
	"  --env NAME=VALUE     of the program; repeat\n"                                    \
	"  --queue T            how long it may wait before it starts (0: as long as it\n"   \
	"                       takes, the default)\n"                                       \
	"  --ttl T              life of its workspace, from when that is begun (10m, or\n"   \
	"                       that much beyond a --timeout that is longer)\n"              \
	"  --timeout T          of the program, from its start (60s)\n"                      \
	"  --memory SIZE        of the whole guest (256M)\n"                                 \
	"  --oom WHAT           ends when memory runs out: program, or one process (program)\n" \
	"  --disk SIZE          encrypted, wiped at the end (256M)\n"                        \
	"  --cpus N             (1)\n"                                                       \
	"  --start HOW          any, or cold: its microVM boots a kernel of its own (any)\n" \
	"  --output-limit SIZE  of stdout and stderr together; the rest is dropped (16M)\n"  \
	"  --label NAME=VALUE   copied into the result; repeat\n"                            \
	"  --id ID              (default: a random one)\n"

#define ORDER_UNITS                                                                                                \
	"Durations: 250ms 30s 5m 1h 1d; a bare number is seconds. Sizes: 64K 256M 1G, of 1024 each; a bare number is MiB,\n" \
	"for --output-limit bytes.\n"

struct order {
	struct task *task;
	bool takes_stdin;
	bool has_ttl;
	const char *files[TASK_MAX_FILES];     /* as typed after --file, for messages; borrowed from the command line */
	const char *collects[TASK_MAX_COLLECT]; /* the same for --collect */
	uint64_t stdin_until_mono_ms;	       /* --stdin has ended until then; 0: whenever */
};

int order_init(struct order *order, struct err *err);

/* One of the options above. ERR_INPUT says what is wrong with it. */
int order_take(struct order *order, int option, const char *value, struct err *err);

/* The program and its arguments; then the id, the time and, with --stdin, standard input. Encodes the task into `out` and
 * checks it as a worker would. */
int order_finish(struct order *order, int argc, char **argv, struct buf *out, struct err *err);

/* For messages about it; lives as long as `order`. */
struct wording_typed order_typed(const struct order *order);

void order_clear(struct order *order);
