/* main() of a daemon: descriptors 0 to 2, its one option, its settings, its log; then it runs. */
#pragma once

#include "base/err.h"
#include "base/log.h"

struct daemon_program {
	const char *name;     /* "mayfly-worker" */
	const char *purpose;  /* whole lines, below "usage: NAME --config FILE" */
	const char *log_name; /* of its first process, in lines of the log */
	const enum log_level *log_level; /* there once the settings are loaded */
	int (*load)(const char *path, struct err *err); /* the settings of this file */
	int (*run)(void); /* answers the exit status */
};

/* Answers the exit status: 2 for a command line or settings that are wrong, which stderr says. */
int daemon_main(const struct daemon_program *program, int argc, char **argv);
