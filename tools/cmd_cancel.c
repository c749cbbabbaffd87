/* `mayfly cancel`: asks whoever holds a task to end it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/client.h"
#include "tools/command.h"
#include "wire/result.h"

static void on_delivered(void *ctx, const struct client_delivery *delivery)
{
	size_t *n_failed = ctx;

	if (!delivery->why)
		return;
	(*n_failed)++;
	(void)fprintf(stderr, "mayfly cancel: task %s: Kafka did not take the message: %s\n", (const char *)delivery->opaque,
		      delivery->why);
}

static int send_all(struct client *client, int n, char **ids, struct err *err)
{
	int r = 0;

	for (int i = 0; i < n && r == 0; i++)
		r = client_cancel(client, ids[i], ids[i], err);
	client_flush(client, 2 * CLIENT_DELIVERY_MS);
	return r;
}

static int read_options(struct target *target, int argc, char **argv)
{
	struct command_options options;
	int code;

	command_options_init(&options, &cmd_cancel, target, argc, argv, NULL, 0);
	code = command_options_next(&options);
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	if (optind == argc)
		return command_complain(&cmd_cancel, "which task? Give its id");
	for (int i = optind; i < argc; i++)
		if (!command_is_id(&cmd_cancel, argv[i]))
			return EXIT_USAGE;
	return -1;
}

static int main_cancel(struct target *target, int argc, char **argv)
{
	const struct client_events events = { .on_delivered = on_delivered };
	cleanup_(client_freep) struct client *client = NULL;
	size_t n_failed = 0;
	struct err err;
	int status = read_options(target, argc, argv);

	if (status >= 0)
		return status;
	if (client_new(target, &events, &n_failed, &client, &err) < 0 ||
	    send_all(client, argc - optind, argv + optind, &err) < 0)
		return command_fail(&cmd_cancel, &err, 1);
	return n_failed ? 1 : 0;
}

const struct command cmd_cancel = {
	.name = "cancel",
	.summary = "end tasks that run or wait",
	.usage =
		"usage: mayfly cancel ID...\n\n"
		"Asks all workers to end these tasks. One that runs ends now, one that waits in the queue when a worker comes to it\n"
		"(the word is kept for a week); both are answered `cancelled`, and an id is free again for tasks made later.\n"
		"A task that has its result already keeps it, and an id that nobody knows is not an error: `mayfly result ID` says\n"
		"what became of it. Prints nothing.\n\n"
		"Exit status: 0 when Kafka has every message; 1 when not; 2 the command line is wrong.\n",
	.is_silent = true,
	.run = main_cancel,
};
