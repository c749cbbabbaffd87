/* `mayfly logs`: what a task has printed, and with -f what it prints. Its chunks on the output topic if it streamed them,
 * else the head and tail in its result. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/history.h"
#include "tools/printer.h"
#include "tools/quantity.h"
#include "tools/screen.h"

#define LATE_OUTPUT_MS 5000 /* chunks travel beside the result, on another topic */
#define TURN_MS	       500

enum { OPTION_SINCE = 1, OPTION_FOLLOW = 'f' };

struct logs {
	const struct target *target;
	struct client *client;
	const char *id;
	bool does_follow;
	uint64_t since_ms; /* wall clock; 0: whatever Kafka has */
	struct history history;
	struct client_range output; /* where its chunks are */
	uint32_t attempt;	    /* whose output it is: what earlier ones printed is forgotten; 0: none is known yet */
	int64_t start_ms;	    /* Kafka's time of its first chunk, or earlier; 0 while there is no attempt */
	bool is_over;		    /* `history.finished` is of this task */
	struct printer printer;
};

static void warn(void *ctx, const char *text)
{
	(void)ctx; /* stdio has its own buffers */
	(void)fprintf(stderr, "mayfly logs: %s\n", text);
}

static void take_chunk(struct logs *logs, const struct client_record *record)
{
	struct output_chunk chunk;
	char why[160];

	if (!client_record_has_key(record, logs->id) || record->time_ms < logs->start_ms || logs->printer.is_broken)
		return;
	if (output_decode(record->data, record->len, &chunk, why) == 0 && strcmp(chunk.id, logs->id) == 0 &&
	    chunk.attempt >= logs->attempt)
		printer_take(&logs->printer, &chunk);
}

static void take_result(struct logs *logs, const struct client_record *record)
{
	struct result result;
	char why[160];

	if (!client_record_has_key(record, logs->id) || result_decode(record->data, record->len, &result, why) < 0)
		return;
	if (logs->is_over || result.event != RESULT_EVENT_FINISHED || strcmp(result.id, logs->id) != 0) {
		result_clear(&result);
		return;
	}
	result_clear(&logs->history.finished);
	logs->history.finished = result; /* moved */
	logs->is_over = true;
}

static void on_record(void *ctx, const struct client_record *record)
{
	if (record->topic == CLIENT_TOPIC_OUTPUT)
		take_chunk(ctx, record);
	else if (record->topic == CLIENT_TOPIC_RESULTS)
		take_result(ctx, record);
}

/* When its program began. Chunks are stamped by the worker's clock or by Kafka's: the earlier of the two times, so that
 * none is missed. */
static int64_t start_of(const struct history *history, bool is_running)
{
	const struct result *started = &history->started, *finished = &history->finished;
	bool is_same = started->partition == finished->partition && started->offset == finished->offset;
	int64_t started_ms = (int64_t)started->finished_ms;

	if (is_running || (history->has_started && is_same))
		return started_ms < history->started_time_ms ? started_ms : history->started_time_ms;
	return (int64_t)finished->finished_ms - finished->timings_ms[RESULT_TIMING_TOTAL]; /* -1 when there is none: as late */
}

/* What is known of the task: which attempt's output is wanted, and from where on. */
static int find(struct logs *logs, struct err *err)
{
	bool is_running;
	int n = 0, r = history_read(logs->client, logs->id, logs->since_ms, true, &logs->history, err);

	if (r == 0)
		r = client_partitions(logs->client, CLIENT_TOPIC_OUTPUT, &n, err);
	if (r == 0)
		r = client_range(logs->client, CLIENT_TOPIC_OUTPUT, client_partition_of(logs->id, n), &logs->output, err);
	if (r < 0)
		return r;
	/* After it is known where its output would begin. */
	r = history_read_waiting(logs->target, logs->id, &logs->history, "logs", err);
	if (r < 0)
		return r;
	is_running = history_is_running(&logs->history);
	logs->is_over = logs->history.has_finished && !is_running && !logs->history.waiting_ms;
	if (!is_running && !logs->is_over)
		return 0;
	logs->attempt = is_running ? logs->history.started.attempt : logs->history.finished.attempt;
	logs->start_ms = start_of(&logs->history, is_running);
	return 0;
}

/* The chunks that are there. */
static int print_past(struct logs *logs, struct err *err)
{
	int64_t end = -1;
	int r = client_offset_at(logs->client, &logs->output, logs->start_ms, &logs->output.from, err);

	if (r == 0 && logs->is_over)
		r = client_offset_at(logs->client, &logs->output,
				     (int64_t)logs->history.finished.finished_ms + LATE_OUTPUT_MS, &end, err);
	if (r < 0 || logs->output.from < 0)
		return r;
	if (end >= 0)
		logs->output.to = end;
	return client_read(logs->client, &logs->output, on_record, logs, err);
}

static int print_future(struct logs *logs, struct err *err)
{
	struct client_range ranges[] = { logs->history.after, logs->output };
	uint64_t late_mono_ms = 0;
	int r;

	ranges[1].from = logs->output.to;
	r = client_follow_ranges(logs->client, ranges, 2, err);
	while (r == 0 && !logs->printer.is_broken &&
	       (!logs->is_over || !printer_has_all(&logs->printer, &logs->history.finished))) {
		client_turn(logs->client, NULL, 0, TURN_MS);
		if (client_refusal(logs->client))
			return err_set(err, ERR_INPUT, 0, "%s", client_refusal(logs->client));
		if (!late_mono_ms && logs->is_over)
			late_mono_ms = clock_mono_ms() + LATE_OUTPUT_MS;
		if (late_mono_ms && clock_mono_ms() > late_mono_ms)
			break;
	}
	return r;
}

static int explain_nothing(const struct logs *logs, struct err *err)
{
	int64_t submitted_ms = logs->history.waiting_ms;

	if (!submitted_ms && history_submitted(logs->client, logs->id, logs->since_ms, &submitted_ms, err) < 0)
		return command_fail(&cmd_logs, err, 1);
	if (submitted_ms)
		(void)fprintf(stderr, "mayfly logs: task %s has not started yet; -f waits for it\n", logs->id);
	else
		(void)fprintf(stderr, "mayfly logs: nothing is known of a task %s%s; -f waits for one\n", logs->id,
			      logs->since_ms ? " since then" : " in what Kafka keeps");
	return submitted_ms ? EXIT_NOT_YET : EXIT_UNKNOWN;
}

/* The rest, from its result. */
static void finish(struct logs *logs)
{
	const struct result *result = &logs->history.finished;
	char message[sizeof(result->message)];

	printer_fill(&logs->printer, result);
	screen_plain(result->message, message, sizeof(message));
	if (result->ran == RESULT_RAN_NOT_STARTED)
		(void)fprintf(stderr, "mayfly logs: task %s did not run: %s%s%s\n", logs->id, result_outcome_name(result->outcome),
			      message[0] ? ": " : "", message);
}

static int print(struct logs *logs)
{
	struct err err;
	int r = find(logs, &err);
	bool is_known = r == 0 && logs->attempt;

	if (r == 0 && !logs->is_over && !logs->attempt && !logs->does_follow)
		return explain_nothing(logs, &err);
	if (is_known)
		r = print_past(logs, &err);
	if (r == 0 && logs->does_follow && !logs->is_over)
		r = print_future(logs, &err);
	if (r < 0)
		return command_fail(&cmd_logs, &err, 1);
	if (logs->is_over && !logs->printer.is_broken)
		finish(logs);
	if (!logs->printer.is_broken)
		return 0;
	if (logs->printer.broken_errno != EPIPE)
		(void)fprintf(stderr, "mayfly logs: it cannot be written here: %s\n", strerror(logs->printer.broken_errno));
	return 1;
}

static int read_options(struct logs *logs, struct target *target, int argc, char **argv)
{
	static const struct option own[] = { { "follow", no_argument, NULL, OPTION_FOLLOW },
					     { "since", required_argument, NULL, OPTION_SINCE } };
	struct command_options options;
	struct err err;
	int code;

	command_options_init(&options, &cmd_logs, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0) {
		if (code == OPTION_FOLLOW)
			logs->does_follow = true;
		else if (quantity_since(optarg, &logs->since_ms, &err) < 0)
			return command_complain(&cmd_logs, "%s", err.msg);
	}
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	return command_one_id(&cmd_logs, argc, argv, &logs->id);
}

static void logs_clear(struct logs *logs)
{
	client_free(logs->client);
	history_clear(&logs->history);
}

static int main_logs(struct target *target, int argc, char **argv)
{
	const struct client_events events = { .on_record = on_record };
	cleanup_(logs_clear) struct logs logs = { .target = target, .printer = { .warn = warn } };
	struct err err;
	int status;

	history_init(&logs.history);
	status = read_options(&logs, target, argc, argv);
	if (status >= 0)
		return status;
	if (client_new(target, &events, &logs, &logs.client, &err) < 0)
		return command_fail(&cmd_logs, &err, 1);
	return print(&logs);
}

const struct command cmd_logs = {
	.name = "logs",
	.summary = "what a task printed, or prints",
	.usage =
		"usage: mayfly logs [-f] [--since T] ID\n\n"
		"Prints the task's standard output and error on this command's own, each byte once and as it was written: all that was\n"
		"kept when the task streams (`mayfly run`, `mayfly submit --stream`, \"stream\": true); else, once the task has ended,\n"
		"what its result holds: the first and the last 32 KiB of each. Of a task that ran more than once it is the last\n"
		"attempt, and of an id that was used more than once the latest task.\n\n"
		"  -f, --follow   go on until the task has ended; wait for it when there is none yet. Ctrl-C leaves, and the task goes on\n"
		"  --since T      look no further back than T ago, as 30s 5m 1h 1d (a bare number is seconds)\n\n"
		"Exit status: 0 when it was printed, whatever became of the task; 3 when the task has not started yet; 4 when nothing\n"
		"is known of it; 1 when Kafka cannot be read or the output not be written; 2 the command line is wrong.\n",
	.shorts = "f",
	.run = main_logs,
};
