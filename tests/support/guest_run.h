/* Programs in a booted guest_vm, and what came of them: what the tests of the agent share.
 *
 * A test has one VM at a time, `vm`, and any number of programs in it. They are numbered as they are begun, `exec` is
 * the last one's number and `result` what came of it so far. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/guest_vm.h"

#define GUEST_RUN_KEPT_BYTES 65536 /* of each stream, for a test to look at */
#define GUEST_RUN_RESULTS    32	   /* the last ones are kept */
#define TEXT(literal)                                     \
	{                                                 \
		.text = (literal), .len = strlen(literal) \
	}

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
	bool is_started, is_over;
	bool is_unacknowledged; /* by the plan: its output is taken, but not acknowledged */
	const char *expected;	/* its stdout, compared as it comes; NULL: anything */
	uint64_t stdin_bytes;	/* sent */
	char failure[256], missing[64];
};

/* How one program is run. */
struct plan {
	const char *script;   /* of /bin/sh */
	const char *argument; /* its $1, may be NULL */
	const char *program;  /* instead */
	const char *path;     /* its PATH; NULL: the usual one */
	const char *input;
	uint64_t timeout_ms, output_limit_bytes; /* 0: two minutes, 16 MiB */
	bool oom_ends_one;
	bool has_more_input; /* `input` is not all: stdin stays open, until send_input() */
	bool is_unacknowledged;
};

extern struct guest_vm vm;
extern uint32_t exec;
extern struct guest_result *result;

/* Boot `vm` until the agent is ready for a program. */
void boot(const char *image, unsigned memory_mib, unsigned disk_mib);

/* The same as a test's fixture, of the size that guest_tests() was told; and its end. */
int boot_for_test(void **state);
int end_after_test(void **state);
#define BOOTED(test) cmocka_unit_test_setup_teardown(test, boot_for_test, end_after_test)

/* The main() of a file of tests: [PATTERN], only the tests of this name. */
int guest_tests(const struct CMUnitTest *tests, size_t n_tests, unsigned memory_mib, unsigned disk_mib, int argc,
		char **argv);

/* Ask for a program, and no more. Its number. */
uint32_t send_run(const struct plan *plan);
void send_input(uint32_t id, const char *input, bool is_last);

struct guest_result *result_of(uint32_t id);

/* Take one frame of any program. */
void take(const struct frame *frame);

/* Take what comes until this program is over; or until it started, or has said as much. */
void finish(uint32_t id);
void await_start(uint32_t id);
void await_output(uint32_t id, const char *text); /* the whole of its stdout so far */

/* Run one to its end; the one before it is forgotten when it has ended. */
void run_plan(struct plan plan);
void run_script(const char *script);

/* What came of `exec`. */
void assert_exit(uint32_t code);
void assert_out(const char *text);
