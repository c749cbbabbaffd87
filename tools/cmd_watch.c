/* `mayfly watch`: what happens to tasks, as it happens. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ident.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/result_json.h"
#include "tools/result_line.h"
#include "tools/screen.h"

#define IDS_MAX 1000

enum { OPTION_JSON = 1, OPTION_FROM, OPTION_ID };

struct watch {
	bool is_json, has_from;
	enum client_from from;
	const char *ids[IDS_MAX];
	bool is_over[IDS_MAX];
	size_t n_ids, n_over;
	bool is_broken;
};

/* The position of the id among those asked for, n_ids when it is none of them. */
static size_t find_id(const struct watch *watch, const char *id)
{
	size_t i = 0;

	while (i < watch->n_ids && strcmp(watch->ids[i], id) != 0)
		i++;
	return i;
}

static void show(struct watch *watch, const struct result *result)
{
	struct err err;

	if (watch->is_json)
		watch->is_broken |= result_json_print(result, stdout, &err) < 0;
	else
		result_line_print(result, stdout);
	watch->is_broken |= !command_flush("mayfly watch");
}

static void on_record(void *ctx, const struct client_record *record)
{
	struct watch *watch = ctx;
	struct result result;
	char why[160];
	size_t i;

	if (watch->is_broken)
		return;
	if (result_decode(record->data, record->len, &result, why) < 0) {
		(void)fprintf(stderr, "mayfly watch: a record on the results topic is no result: %s\n", why);
		return;
	}
	i = find_id(watch, result.id);
	if (!watch->n_ids || i < watch->n_ids)
		show(watch, &result);
	if (i < watch->n_ids && result.event == RESULT_EVENT_FINISHED && !watch->is_over[i]) {
		watch->is_over[i] = true;
		watch->n_over++;
	}
	result_clear(&result);
}

static int take_option(struct watch *watch, int code)
{
	if (code == OPTION_JSON) {
		watch->is_json = true;
	} else if (code == OPTION_FROM) {
		if (strcmp(optarg, "now") != 0 && strcmp(optarg, "beginning") != 0)
			return command_complain(&cmd_watch, "--from '%s' must be now or beginning", optarg);
		watch->from = optarg[0] == 'b' ? CLIENT_FROM_BEGINNING : CLIENT_FROM_NOW;
		watch->has_from = true;
	} else {
		if (watch->n_ids == IDS_MAX)
			return command_complain(&cmd_watch, "--id can be given %d times", IDS_MAX);
		if (!command_is_id(&cmd_watch, optarg))
			return EXIT_USAGE;
		watch->ids[watch->n_ids++] = optarg;
	}
	return 0;
}

static int read_options(struct watch *watch, struct target *target, int argc, char **argv)
{
	static const struct option own[] = { { "json", no_argument, NULL, OPTION_JSON },
					     { "from", required_argument, NULL, OPTION_FROM },
					     { "id", required_argument, NULL, OPTION_ID } };
	struct command_options options;
	int code, status;

	command_options_init(&options, &cmd_watch, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0) {
		status = take_option(watch, code);
		if (status)
			return status;
	}
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	return optind == argc ? -1 : command_complain(&cmd_watch, "'%s' is too much; ids go with --id", argv[optind]);
}

static int follow(struct watch *watch, struct target *target)
{
	static const enum client_topic topics[] = { CLIENT_TOPIC_RESULTS };
	const struct client_events events = { .on_record = on_record };
	cleanup_(client_freep) struct client *client = NULL;
	struct err err;
	int r = client_new(target, &events, watch, &client, &err);

	if (r == 0)
		r = client_follow(client, topics, ARRAY_SIZE(topics), watch->from, &err);
	if (r < 0)
		return command_fail(&cmd_watch, &err, 1);
	if (!watch->is_json)
		result_line_head(stdout);
	while (!watch->is_broken && (!watch->n_ids || watch->n_over < watch->n_ids) && !client_refusal(client))
		client_turn(client, NULL, 0, 1000);
	if (client_refusal(client)) {
		(void)fprintf(stderr, "mayfly watch: %s\n", client_refusal(client));
		return 1;
	}
	return watch->is_broken ? 1 : 0;
}

static int main_watch(struct target *target, int argc, char **argv)
{
	struct watch watch = { .from = CLIENT_FROM_NOW };
	int status = read_options(&watch, target, argc, argv);

	if (watch.n_ids && !watch.has_from)
		watch.from = CLIENT_FROM_BEGINNING; /* who has an id may come after the end */
	return status >= 0 ? status : follow(&watch, target);
}

const struct command cmd_watch = {
	.name = "watch",
	.summary = "follow what happens to tasks",
	.usage =
		"usage: mayfly watch [OPTIONS]\n\n"
		"Prints a line when a task's program starts and when the task ends; until Ctrl-C, or with --id until all of them\n"
		"have ended. Of an id that was used more than once any result ends it, an earlier one, too: --from now waits for the\n"
		"next.\n\n"
		"  --json                 one JSON object a line (schemas/result.md; output as text, or as base64 where it is no\n"
		"                         UTF-8: stdout_encoding says which)\n"
		"  --from now|beginning   of the topic (default: now; with --id: beginning, so an old result is found, too)\n"
		"  --id ID                only this task; repeat\n",
	.run = main_watch,
};
