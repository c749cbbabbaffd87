/* `mayfly watch`: what happens to tasks, as it happens. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ident.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/history.h"
#include "tools/result_json.h"
#include "tools/result_line.h"
#include "tools/screen.h"

#define IDS_MAX 1000

enum { OPTION_JSON = 1, OPTION_FROM, OPTION_ID };

/* A task that was asked for. An id may be used again after a result, so a result that is read may be an earlier task's.
 * Before watching ends with it, Kafka is asked whether a later task of this id runs or waits. */
struct watched {
	const char *id;
	bool is_over;	 /* it has a result */
	bool is_checked; /* and that is the latest thing known of the id */
	int64_t offset;	 /* of that result */
};

struct watch {
	const struct target *target;
	bool is_json, has_from;
	enum client_from from;
	struct watched watched[IDS_MAX];
	size_t n_ids;
	bool is_broken;
};

/* NULL when it is none of those that were asked for. */
static struct watched *find_id(struct watch *watch, const char *id)
{
	for (size_t i = 0; i < watch->n_ids; i++)
		if (strcmp(watch->watched[i].id, id) == 0)
			return &watch->watched[i];
	return NULL;
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
	struct watched *watched;

	if (watch->is_broken)
		return;
	if (result_decode(record->data, record->len, &result, why) < 0) {
		(void)fprintf(stderr, "mayfly watch: a record on the results topic is no result: %s\n", why);
		return;
	}
	watched = find_id(watch, result.id);
	if (!watch->n_ids || watched)
		show(watch, &result);
	if (watched && result.event == RESULT_EVENT_FINISHED)
		*watched = (struct watched){ .id = watched->id, .is_over = true, .offset = record->offset };
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
		watch->watched[watch->n_ids++].id = optarg;
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

static bool has_ended(const struct watch *watch)
{
	for (size_t i = 0; i < watch->n_ids; i++)
		if (!watch->watched[i].is_over)
			return false;
	return watch->n_ids > 0;
}

static int check_one(struct watch *watch, struct client *client, struct watched *watched, struct err *err)
{
	cleanup_(history_clear) struct history history;
	int r;

	history_init(&history);
	r = history_read(client, watched->id, 0, false, &history, err);
	if (r == 0)
		r = history_read_waiting(watch->target, watched->id, &history, "watch", err);
	watched->is_checked = true;
	watched->is_over = !history_is_running(&history) && !history.waiting_ms && history.finished_offset <= watched->offset;
	return r;
}

/* With --from now the next result is asked for, whichever that is. */
static int check_ended(struct watch *watch, struct err *err)
{
	cleanup_(client_freep) struct client *client = NULL;
	int r = watch->from == CLIENT_FROM_NOW ? 0 : client_new(watch->target, NULL, NULL, &client, err);

	for (size_t i = 0; client && i < watch->n_ids && r == 0; i++)
		if (!watch->watched[i].is_checked)
			r = check_one(watch, client, &watch->watched[i], err);
	return r;
}

static int follow_to_end(struct watch *watch, struct client *client, struct err *err)
{
	int r = 0;

	while (r == 0 && !watch->is_broken && !has_ended(watch)) {
		client_turn(client, NULL, 0, 1000);
		if (client_refusal(client))
			r = err_set(err, ERR_INPUT, 0, "%s", client_refusal(client));
		else if (has_ended(watch))
			r = check_ended(watch, err);
	}
	return r;
}

static int follow(struct watch *watch)
{
	static const enum client_topic topics[] = { CLIENT_TOPIC_RESULTS };
	const struct client_events events = { .on_record = on_record };
	cleanup_(client_freep) struct client *client = NULL;
	struct err err;
	int r = client_new(watch->target, &events, watch, &client, &err);

	if (r == 0)
		r = client_follow(client, topics, ARRAY_SIZE(topics), watch->from, &err);
	if (r < 0)
		return command_fail(&cmd_watch, &err, 1);
	if (!watch->is_json)
		result_line_head(stdout);
	if (follow_to_end(watch, client, &err) < 0)
		return command_fail(&cmd_watch, &err, 1);
	return watch->is_broken ? 1 : 0;
}

static int main_watch(struct target *target, int argc, char **argv)
{
	struct watch watch = { .target = target, .from = CLIENT_FROM_NOW };
	int status = read_options(&watch, target, argc, argv);

	if (watch.n_ids && !watch.has_from)
		watch.from = CLIENT_FROM_BEGINNING; /* who has an id may come after the end */
	return status >= 0 ? status : follow(&watch);
}

const struct command cmd_watch = {
	.name = "watch",
	.summary = "follow what happens to tasks",
	.usage =
		"usage: mayfly watch [OPTIONS]\n\n"
		"Prints a line when a task's program starts and when the task ends; until Ctrl-C, or with --id until all of them\n"
		"have ended. Of an id that was used more than once the latest task counts, also while it runs or waits; with --from\n"
		"now the next result ends it.\n\n"
		"  --json                 one JSON object a line (schemas/result.md; output as text, or as base64 where it is no\n"
		"                         UTF-8: stdout_encoding says which)\n"
		"  --from now|beginning   of the topic (default: now; with --id: beginning, so an old result is found, too)\n"
		"  --id ID                only this task; repeat\n",
	.run = main_watch,
};
