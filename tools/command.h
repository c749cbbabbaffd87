/* A subcommand of `mayfly`: its table entry, and how its options are read. Every subcommand takes the options that say where
 * the fleet is (tools/target.h) and --help, besides its own. */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "tools/target.h"

/* Exit statuses beside 0 and 1. */
#define EXIT_USAGE	 2
#define EXIT_NOT_YET	 3   /* of a task that has no result yet */
#define EXIT_UNKNOWN	 4   /* nothing is known of the task */
#define EXIT_TIMED_OUT	 124 /* as timeout(1) */
#define EXIT_NO_RUN	 125 /* as docker run: it was not the program that failed */
#define EXIT_INTERRUPTED 130 /* as a shell says it of SIGINT */
#define EXIT_BROKEN_PIPE 141 /* 128 + SIGPIPE */

#define COMMAND_SILENCE_MS 15000 /* without news, until it is worth saying what may be amiss */

struct command {
	const char *name;
	const char *summary; /* a line of `mayfly --help` */
	const char *usage;   /* what `mayfly help NAME` says, before the common options */
	const char *shorts; /* options of one letter, as getopt(3) wants them; may be NULL */
	bool is_silent; /* it prints nothing, and a closed standard output is fine */
	int (*run)(struct target *target, int argc, char **argv); /* argv[0] is the name; answers the exit status */
};

extern const struct command cmd_run, cmd_submit, cmd_watch, cmd_result, cmd_logs, cmd_cancel, cmd_ps, cmd_dev, cmd_image,
	cmd_doctor;

#define COMMAND_OPTIONS_MAX 64

struct command_options {
	const struct command *command;
	struct target *target;
	int argc;
	char **argv;
	int status; /* of the process, after COMMAND_OPTION_EXIT */
	struct option all[COMMAND_OPTIONS_MAX];
};

enum { COMMAND_OPTION_END = -1, COMMAND_OPTION_EXIT = -2 };

/* `own`: the subcommand's options, with `val` from 1 to 999. Options end at the first word that is none. */
void command_options_init(struct command_options *options, const struct command *command, struct target *target,
			  int argc, char **argv, const struct option *own, size_t n_own);

/* What getopt_long() did not like, after it answered '?' or ':': names the option that the user typed. */
#define COMMAND_FLAW_BYTES 200
void command_option_flaw(int code, const struct option *options, char *const *argv, char out[COMMAND_FLAW_BYTES]);

/* The next of its own options (value in optarg); COMMAND_OPTION_END (words from optind on); or COMMAND_OPTION_EXIT when help or
 * a complaint was printed. */
int command_options_next(struct command_options *options);

/* "mayfly NAME: ..." and where help is, on stderr. Answers EXIT_USAGE. */
int command_complain(const struct command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Is it a task's id? Complains when not. */
bool command_is_id(const struct command *command, const char *word);

/* Exactly one word must be left, an id: *ret_id. Answers -1 to go on, else the exit status. */
int command_one_id(const struct command *command, int argc, char **argv, const char **ret_id);

/* "mayfly NAME: message" on stderr. Answers `status`. */
int command_fail(const struct command *command, const struct err *err, int status);

/* Flushes standard output. False when that fails; the user has been told why, unless it was EPIPE: then nobody reads it
 * any more. */
bool command_flush(const char *who);

void command_help(const struct command *command);
