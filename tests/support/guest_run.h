/* One program in a booted guest_vm, and what came of it: what the tests of the agent share. */
#pragma once

#include "tests/support/guest_vm.h"

#define GUEST_RUN_KEPT_BYTES 65536 /* of each stream, for a test to look at */

struct guest_stream {
	char text[GUEST_RUN_KEPT_BYTES];
	size_t len;
	uint64_t total;
};

/* What one program did. */
struct guest_result {
	struct guest_stream streams[2];
	struct frame exit; /* numbers only */
	char oom_process[16];
	bool is_started;
	char failure[256], missing[64];
};

/* How one program is run. */
struct plan {
	const char *script;   /* of /bin/sh */
	const char *argument; /* its $1, may be NULL */
	const char *program;  /* instead */
	const char *input;
	uint64_t timeout_ms, output_limit_bytes; /* 0: two minutes, 16 MiB */
	bool oom_ends_one;
};

/* A test has one VM at a time, and one program. */
extern struct guest_vm vm;
extern struct guest_result result;
extern uint32_t exec; /* the last program's number; send_run() takes the next */

/* Boot `vm` until the agent is ready for a program. */
void boot(const char *image, unsigned memory_mib, unsigned disk_mib);

/* Ask for the program, and no more. */
void send_run(const struct plan *plan);

/* Take one frame of a run into `result`; false when it was the last one. */
bool take(const struct frame *frame);

/* Run it to its end. */
void run_plan(struct plan plan);
void run_script(const char *script);

void assert_exit(uint32_t code);
void assert_out(const char *text);
