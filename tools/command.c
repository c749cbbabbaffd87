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

/* "--name" of "--name=value": does `word` begin the option's name? */
static bool begins(const char *word, const struct option *option)
{
	size_t len = strcspn(word + 2, "=");

	return strncmp(word, "--", 2) == 0 && strncmp(word + 2, option->name, len) == 0;
}

static void name_short(char option, char out[COMMAND_FLAW_BYTES])
{
	bool is_terminal = option == 'i' || option == 't';

	(void)snprintf(out, COMMAND_FLAW_BYTES, "unknown option '-%c': %s", option,
		       is_terminal ? "there is no interactive mode and no terminal yet; --stdin passes standard input on"
				   : "options are whole words, as --help");
}

/* An unknown word, or the beginning of several options. */
static void name_long(const char *word, const struct option *options, char out[COMMAND_FLAW_BYTES])
{
	const char *first = NULL, *second = NULL;

	for (const struct option *option = options; option->name; option++) {
		if (!begins(word, option))
			continue;
		second = first ? option->name : NULL;
		first = first ? first : option->name;
		if (second)
			break;
	}
	if (second)
		(void)snprintf(out, COMMAND_FLAW_BYTES, "'%.60s' could be --%s or --%s", word, first, second);
	else
		(void)snprintf(out, COMMAND_FLAW_BYTES, "unknown option '%.100s'", word);
}

/* After a letter that it does not know, getopt_long() may still be inside that word ("-xyz"): optind has not moved on,
 * and the letter is in optopt. */
void command_option_flaw(int code, const struct option *options, char *const *argv, char out[COMMAND_FLAW_BYTES])
{
	const char *word = argv[optind - 1];
	const struct option *option = options;

	while (option->name && (optopt == 0 || option->val != optopt || !begins(word, option)))
		option++;
	if (code == ':')
		(void)snprintf(out, COMMAND_FLAW_BYTES, "'%.100s' wants a value", word);
	else if (option->name)
		(void)snprintf(out, COMMAND_FLAW_BYTES, "--%s takes no value", option->name);
	else if (optopt)
		name_short((char)optopt, out);
	else
		name_long(word, options, out);
}

static int refuse(struct command_options *options, int code)
{
	char flaw[COMMAND_FLAW_BYTES];

	command_option_flaw(code, options->all, options->argv, flaw);
	return leave(options, command_complain(options->command, "%s", flaw));
}

int command_options_next(struct command_options *options)
{
	char shorts[16];
	int code;
	struct err err;

	(void)snprintf(shorts, sizeof(shorts), "+:" TARGET_LETTERS "%s", options->command->shorts ? options->command->shorts : "");
	code = getopt_long(options->argc, options->argv, shorts, options->all, NULL);
	if (code == -1)
		return COMMAND_OPTION_END;
	if (code == '?' || code == ':')
		return refuse(options, code);
	if (code == OPTION_HELP) {
		command_help(options->command);
		return leave(options, 0);
	}
	if (target_letter(code))
		code = target_letter(code);
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

bool command_is_id(const struct command *command, const char *word)
{
	if (ident_is_id(word, strlen(word)))
		return true;
	(void)command_complain(command, "'%s' is no task id: those are 1 to %d letters, digits, '.', '_' or '-', starting with a "
					"letter or digit",
			       word, IDENT_ID_MAX);
	return false;
}

int command_one_id(const struct command *command, int argc, char **argv, const char **ret_id)
{
	if (optind == argc)
		return command_complain(command, "which task? Give its id");
	if (optind + 1 < argc)
		return command_complain(command, "'%s' is too much: one id at a time", argv[optind + 1]);
	*ret_id = argv[optind];
	return command_is_id(command, *ret_id) ? -1 : EXIT_USAGE;
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
