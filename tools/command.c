#include "tools/command.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "base/std_fds.h"

#define OPTION_HELP 2000

void command_options_init(struct command_options *options, const struct command *command, struct target *target,
			  int argc, char **argv, const struct option *own, size_t n_own)
{
	static const struct option common[] = { TARGET_OPTIONS, { "help", no_argument, NULL, OPTION_HELP } };
	const size_t n_common = sizeof(common) / sizeof(common[0]);

	assert(n_own + n_common < COMMAND_OPTIONS_MAX);
	*options = (struct command_options){ .command = command, .target = target, .argc = argc, .argv = argv };
	for (size_t i = 0; i < n_own; i++)
		options->all[i] = own[i];
	for (size_t i = 0; i < n_common; i++)
		options->all[n_own + i] = common[i];
	optind = 0; /* glibc: start over, main() has read options before */
	opterr = 0;
}

static int leave(struct command_options *options, int status)
{
	options->status = status;
	return COMMAND_OPTION_EXIT;
}

static int refuse(struct command_options *options, int code)
{
	const char *word = options->argv[optind - 1];

	if (code == ':')
		return leave(options, command_complain(options->command, "'%s' wants a value", word));
	return leave(options, command_complain(options->command, "unknown option '%s'", word));
}

int command_options_next(struct command_options *options)
{
	int code = getopt_long(options->argc, options->argv, "+:", options->all, NULL);
	struct err err;

	if (code == -1)
		return COMMAND_OPTION_END;
	if (code == '?' || code == ':')
		return refuse(options, code);
	if (code == OPTION_HELP) {
		command_help(options->command);
		return leave(options, 0);
	}
	if (code < TARGET_OPTION_FIRST)
		return code;
	if (target_take(options->target, code, optarg, &err) < 0)
		return leave(options, command_complain(options->command, "%s", err.msg));
	return command_options_next(options);
}

int command_complain(const struct command *command, const char *fmt, ...)
{
	va_list ap;

	(void)fprintf(stderr, "mayfly %s: ", command->name);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "; see `mayfly help %s`\n", command->name);
	return EXIT_USAGE;
}

int command_fail(const struct command *command, const struct err *err, int status)
{
	(void)fprintf(stderr, "mayfly %s: %s\n", command->name, err->msg);
	return status;
}

bool command_flush(const char *who)
{
	bool has_failed = ferror(stdout) != 0;

	if (std_fds_was_closed(STDOUT_FILENO) && __fpending(stdout)) { /* /dev/null would take it */
		(void)fprintf(stderr, "%s: standard output is closed\n", who);
		return false;
	}
	errno = 0;
	if (fflush(stdout) == 0 && !has_failed)
		return true;
	if (errno != EPIPE)
		(void)fprintf(stderr, "%s: standard output cannot be written: %s\n", who,
			      errno ? strerror(errno) : "an earlier write failed");
	return false;
}

void command_help(const struct command *command)
{
	(void)printf("%s\n%s", command->usage, target_usage);
}
