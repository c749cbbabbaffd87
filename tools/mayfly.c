/* The mayfly command: a table of subcommands, one file each. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "base/std_fds.h"
#include "tools/command.h"

static const struct command *const commands[] = { &cmd_run,  &cmd_submit, &cmd_watch, &cmd_result, &cmd_logs,
						  &cmd_cancel, &cmd_ps,	   &cmd_dev,   &cmd_image,  &cmd_doctor };

enum { OPTION_HELP = 1, OPTION_VERSION };

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int usage(FILE *to, int status)
{
	(void)fputs("usage: mayfly [OPTIONS] COMMAND ...\n\n"
		    "Runs untrusted programs, each in a microVM of its own that leaves nothing behind.\n\n"
		    "Commands:\n",
		    to);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(to, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	(void)fprintf(to, "  %-8s what a command does and takes\n\n%s\nTry: mayfly run -- echo hello\n", "help",
		      target_usage);
	return status;
}

static int unknown(const char *name)
{
	(void)fprintf(stderr, "mayfly: there is no command '%s'; see `mayfly --help`\n", name);
	return EXIT_USAGE;
}

static int help(int argc, char **argv)
{
	const struct command *command = argc > 1 ? find(argv[1]) : NULL;

	if (argc < 2)
		return usage(stdout, 0);
	if (!command)
		return unknown(argv[1]);
	command_help(command);
	return 0;
}

static int dispatch(struct target *target, int argc, char **argv)
{
	const struct command *command;

	if (argc < 1)
		return usage(stderr, EXIT_USAGE);
	if (strcmp(argv[0], "help") == 0)
		return help(argc, argv);
	command = find(argv[0]);
	if (!command)
		return unknown(argv[0]);
	if (std_fds_was_closed(STDOUT_FILENO) && !command->is_silent)
		return command_complain(command, "standard output is closed, and this command prints there; send what nobody "
						 "shall read to /dev/null: >/dev/null");
	return command->run(target, argc, argv);
}

/* Options before the command. Answers -1 to go on, else the exit status. */
static int read_options(struct target *target, int argc, char **argv, struct err *err)
{
	static const struct option options[] = { TARGET_OPTIONS,
						 { "help", no_argument, NULL, OPTION_HELP },
						 { "version", no_argument, NULL, OPTION_VERSION },
						 { 0 } };
	char flaw[COMMAND_FLAW_BYTES];
	int code;

	opterr = 0;
	while ((code = getopt_long(argc, argv, "+:" TARGET_LETTERS, options, NULL)) != -1) {
		if (code == OPTION_HELP)
			return usage(stdout, 0);
		if (code == OPTION_VERSION)
			return printf("mayfly %s\n", MAYFLY_VERSION) < 0;
		if (code == '?' || code == ':') {
			command_option_flaw(code, options, argv, flaw);
			(void)err_set(err, ERR_INPUT, 0, "%s; see `mayfly --help`", flaw);
		}
		if (code == '?' || code == ':' || target_take(target, target_letter(code) ? target_letter(code) : code, optarg, err) < 0) {
			(void)fprintf(stderr, "mayfly: %s\n", err->msg);
			return EXIT_USAGE;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct target target;
	struct err err;
	int status;

	if (std_fds_fill() < 0)
		return 1;
	log_init("mayfly", LOG_LEVEL_COUNT); /* nothing is logged: commands say what went wrong */
	(void)signal(SIGPIPE, SIG_IGN);	     /* a reader that goes away is an error of write(2) */
	if (target_init(&target, &err) < 0) {
		(void)fprintf(stderr, "mayfly: %s\n", err.msg);
		return EXIT_USAGE;
	}
	status = read_options(&target, argc, argv, &err);
	if (status < 0)
		status = dispatch(&target, argc - optind, argv + optind);
	return status == 0 && !command_flush("mayfly") ? 1 : status;
}
