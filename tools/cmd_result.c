/* `mayfly result`: how a task ended, found in what Kafka keeps. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/history.h"
#include "tools/quantity.h"
#include "tools/result_json.h"
#include "tools/result_line.h"
#include "tools/screen.h"

enum { OPTION_JSON = 1, OPTION_SINCE };

struct asked {
	const char *id;
	bool is_json;
	uint64_t since_ms; /* wall clock; 0: whatever Kafka has */
};

static void time_text(int64_t wall_ms, char out[32])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;

	localtime_r(&seconds, &tm);
	(void)strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

static int print(const struct asked *asked, const struct history *history)
{
	struct err err;

	if (!asked->is_json) {
		result_line_head(stdout);
		result_line_print(&history->finished, stdout);
	} else if (result_json_print(&history->finished, stdout, &err) < 0) {
		return command_fail(&cmd_result, &err, 1);
	}
	return command_flush("mayfly result") ? 0 : 1;
}

/* No result of the latest task: what else is known? */
static int explain(const struct asked *asked, const struct history *history, int64_t submitted_ms)
{
	char when[32], host[sizeof(history->started.host)];

	if (history->has_finished)
		(void)fprintf(stderr, "mayfly result: the result of an earlier task %s is there, and the id was used again\n",
			      asked->id);
	if (history->has_started && !submitted_ms) {
		time_text((int64_t)history->started.finished_ms, when);
		screen_plain(history->started.host, host, sizeof(host));
		(void)fprintf(stderr, "mayfly result: task %s has no result yet: it started at %s (attempt %u, host %s); `mayfly "
				      "watch --id %s` waits for it\n",
			      asked->id, when, history->started.attempt, host, asked->id);
		return EXIT_NOT_YET;
	}
	if (submitted_ms) {
		time_text(submitted_ms, when);
		(void)fprintf(stderr, "mayfly result: task %s has no result yet: it was submitted at %s and has not started; "
				      "`mayfly watch --id %s` waits for it\n",
			      asked->id, when, asked->id);
		return EXIT_NOT_YET;
	}
	(void)fprintf(stderr, "mayfly result: nothing is known of a task %s%s: neither a result nor a start nor a record with "
			      "this key\n",
		      asked->id, asked->since_ms ? " since then" : " in what Kafka keeps");
	return EXIT_UNKNOWN;
}

static int find(const struct asked *asked, struct target *target, struct history *history)
{
	cleanup_(client_freep) struct client *client = NULL;
	int64_t submitted_ms = 0;
	struct err err;
	int r = client_new(target, NULL, NULL, &client, &err);

	if (r == 0)
		r = history_read(client, asked->id, asked->since_ms, false, history, &err);
	if (r == 0 && !history->has_finished && !history->has_started)
		r = history_submitted(client, asked->id, asked->since_ms, &submitted_ms, &err);
	if (r == 0)
		r = history_read_waiting(target, asked->id, history, "result", &err);
	if (r < 0)
		return command_fail(&cmd_result, &err, 1);
	if (history->has_finished && !history->waiting_ms && !history_is_running(history))
		return print(asked, history);
	return explain(asked, history, history->waiting_ms ? history->waiting_ms : submitted_ms);
}

static int read_options(struct asked *asked, struct target *target, int argc, char **argv)
{
	static const struct option own[] = { { "json", no_argument, NULL, OPTION_JSON },
					     { "since", required_argument, NULL, OPTION_SINCE } };
	struct command_options options;
	struct err err;
	int code;

	command_options_init(&options, &cmd_result, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0) {
		if (code == OPTION_JSON)
			asked->is_json = true;
		else if (quantity_since(optarg, &asked->since_ms, &err) < 0)
			return command_complain(&cmd_result, "%s", err.msg);
	}
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	return command_one_id(&cmd_result, argc, argv, &asked->id);
}

static int main_result(struct target *target, int argc, char **argv)
{
	struct asked asked = { .since_ms = 0 };
	int status = read_options(&asked, target, argc, argv);
	cleanup_(history_clear) struct history history;

	history_init(&history);
	return status >= 0 ? status : find(&asked, target, &history);
}

const struct command cmd_result = {
	.name = "result",
	.summary = "how a task ended",
	.usage =
		"usage: mayfly result [--json] [--since T] ID\n\n"
		"Prints the terminal result of a task, that of the latest one when the id was used more than once: while that one\n"
		"waits or runs there is none yet. It is looked for in the results topic from its end backwards, so it is found as long\n"
		"as Kafka keeps it.\n\n"
		"  --json       one JSON object (schemas/result.md; output as text, or as base64 where it is no UTF-8:\n"
		"               stdout_encoding says which)\n"
		"  --since T    look no further back than T ago, as 30s 5m 1h 1d (a bare number is seconds)\n\n"
		"Exit status: 0 when it has a result, whatever that says; 3 when it has none yet: it waits or runs; 4 when nothing is\n"
		"known of it; 1 when Kafka cannot be read; 2 the command line is wrong.\n",
	.run = main_result,
};
