/* `mayfly submit`: tasks into the queue, one from options or many as JSON lines; with --wait their results out of it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/std_fds.h"
#include "tools/command.h"
#include "tools/order.h"
#include "tools/quantity.h"
#include "tools/result_line.h"
#include "tools/submit.h"

enum { OPTION_WAIT = 1, OPTION_JSON, OPTION_WITHIN, OPTION_RAW, OPTION_STREAM };

void submit_complain(struct submit *submit, const char *text)
{
	(void)fprintf(stderr, "mayfly submit: %s\n", text);
	submit->is_broken = true;
}

/* Is the time of --within over? */
bool submit_is_late(const struct submit *submit)
{
	return submit->has_within && clock_mono_ms() - submit->start_mono_ms >= submit->within_ms;
}

/* Of client_until(). */
uint64_t submit_deadline_mono_ms(const struct submit *submit)
{
	return submit->has_within ? submit->start_mono_ms + submit->within_ms : 0;
}

static int take_within(struct submit *submit, struct err *err)
{
	int r = quantity_ms("within", optarg, &submit->within_ms, err);

	if (r < 0)
		return r;
	submit->has_within = true;
	submit->order.stdin_until_mono_ms = submit->start_mono_ms + submit->within_ms;
	return 0;
}

static int take_option(struct submit *submit, int code)
{
	struct err err;
	int r = 0;

	if (code == OPTION_WAIT)
		submit->does_wait = true;
	else if (code == OPTION_JSON)
		submit->is_json = true;
	else if (code == OPTION_RAW)
		submit->is_raw = true;
	else if (code == OPTION_WITHIN)
		r = take_within(submit, &err);
	else if (code != OPTION_STREAM)
		r = order_take(&submit->order, code, optarg, &err);
	submit->order.task->is_streaming |= code == OPTION_STREAM;
	submit->has_order_options |= code >= ORDER_OPTION_FIRST || code == OPTION_STREAM;
	return r < 0 ? command_complain(&cmd_submit, "%s", err.msg) : 0;
}

static int check_words(struct submit *submit, int n_words)
{
	if (submit->is_raw)
		return n_words ? -1 : command_complain(&cmd_submit, "--raw wants the files with the records");
	if (!n_words && !submit->reads_lines)
		submit->reads_lines = !submit->has_order_options && !isatty(STDIN_FILENO);
	if (submit->reads_lines && std_fds_was_closed(STDIN_FILENO))
		return command_complain(&cmd_submit, "standard input is closed: no task can be read from it; give a program "
						     "after --, or a file with < FILE");
	if (submit->reads_lines && (n_words || submit->has_order_options))
		return command_complain(
			&cmd_submit, "a task's options go into its line of JSON when tasks come from standard input");
	if (!submit->reads_lines && !n_words)
		return command_complain(&cmd_submit,
					"what shall be submitted? A program after --, or - for JSON lines");
	if (submit->is_json && !submit->does_wait)
		return command_complain(&cmd_submit, "--json says how results are printed: it goes with --wait");
	if (submit->has_within && !submit->does_wait)
		return command_complain(&cmd_submit, "--within says how long to wait for results: it goes with --wait");
	return -1;
}

static int read_options(struct submit *submit, struct target *target, int argc, char **argv)
{
	static const struct option own[] = { ORDER_OPTIONS,
					     { "wait", no_argument, NULL, OPTION_WAIT },
					     { "json", no_argument, NULL, OPTION_JSON },
					     { "within", required_argument, NULL, OPTION_WITHIN },
					     { "raw", no_argument, NULL, OPTION_RAW },
					     { "stream", no_argument, NULL, OPTION_STREAM } };
	struct command_options options;
	int code, status;

	command_options_init(&options, &cmd_submit, target, argc, argv, own, ARRAY_SIZE(own));
	for (;;) {
		code = command_options_next(&options);
		if (code == COMMAND_OPTION_EXIT)
			return options.status;
		if (code >= 0) {
			status = take_option(submit, code);
			if (status)
				return status;
		} else if (optind < argc && strcmp(argv[optind], "-") == 0 && !submit->reads_lines) {
			submit->reads_lines = true; /* more options may follow the dash */
			optind++;
		} else {
			return check_words(submit, argc - optind);
		}
	}
}

static int connect_to(struct submit *submit, struct target *target, struct err *err)
{
	static const enum client_topic topics[] = { CLIENT_TOPIC_RESULTS };
	const struct client_events events = { .on_delivered = submit_on_delivered, .on_record = submit_on_record };
	int r = client_new(target, &events, submit, &submit->client, err);

	submit->target = target;
	if (r < 0 || !submit->does_wait)
		return r;
	submit_catch_interrupts();
	client_until(submit->client, submit_deadline_mono_ms(submit));
	r = waiting_new(&submit->waiting, err);
	if (r == 0)
		r = client_follow(submit->client, topics, ARRAY_SIZE(topics), CLIENT_FROM_NOW, err);
	return r;
}

static int conclude(struct submit *submit)
{
	int status = 0, waited = 0;

	client_flush(submit->client, 2 * CLIENT_DELIVERY_MS);
	if (client_in_flight(submit->client)) {
		(void)fprintf(stderr, "mayfly submit: Kafka has not said yet that it has %zu of the tasks; gave up\n",
			      client_in_flight(submit->client));
		status = 1;
	}
	if (submit->is_cut)
		(void)fprintf(stderr, "mayfly submit: standard input did not end in time; gave up (--within) after %zu tasks\n",
			      submit->n_sent);
	if (submit->waiting)
		waited = submit_wait_for_results(submit);
	if (submit->is_cut)
		status = 1;
	status = waited ? waited : status;
	if (!submit->is_broken)
		submit->is_broken = !command_flush("mayfly submit");
	if (submit->is_flawed)
		return EXIT_USAGE;
	return submit->is_broken || submit->n_failed ? 1 : status;
}

static void submit_clear(struct submit *submit)
{
	submit_forget_sent(submit);
	client_free(submit->client);
	waiting_free(submit->waiting);
	order_clear(&submit->order);
	buf_free(&submit->input);
}

static int run_submit(struct submit *submit, struct target *target, int argc, char **argv)
{
	struct err err;
	int status, r = order_init(&submit->order, &err);

	if (r < 0)
		return command_fail(&cmd_submit, &err, 1);
	status = read_options(submit, target, argc, argv);
	if (status >= 0)
		return status;
	if (connect_to(submit, target, &err) < 0)
		return command_fail(&cmd_submit, &err, 1);
	if (submit->does_wait && !submit->is_json)
		result_line_head(stdout);
	if (submit->reads_lines)
		submit_lines(submit);
	else if (submit->is_raw)
		r = submit_raw(submit, argc - optind, argv + optind, &err);
	else
		r = submit_order(submit, argc - optind, argv + optind, &err);
	if (r < 0)
		status = command_fail(&cmd_submit, &err, err.kind == ERR_INPUT ? EXIT_USAGE : 1);
	r = conclude(submit);
	return status > 0 ? status : r;
}

static int main_submit(struct target *target, int argc, char **argv)
{
	cleanup_(submit_clear) struct submit submit = { .heard_mono_ms = clock_mono_ms(), .start_mono_ms = clock_mono_ms() };

	return run_submit(&submit, target, argc, argv);
}

const struct command cmd_submit = {
	.name = "submit",
	.summary = "put tasks into the queue, and wait for their results if asked to",
	.usage =
		"usage: mayfly submit [OPTIONS] -- PROGRAM [ARGUMENT]...\n"
		"       mayfly submit [--wait [--json]] -           JSON lines on standard input\n"
		"       mayfly submit [--wait [--json]] --raw FILE...\n\n"
		"Prints the id of every task, in order, each once Kafka has it.\n\n"
		"A line is a task as in schemas/task.md (bytes as base64, which may be wrapped); v, kind, id and created_ms are filled in\n"
		"where they are missing. A line that is no task ends the submission with exit status 2.\n\n"
		"  --wait               print terminal results instead, as they come, until every task has one\n"
		"  --json               one JSON object a line (schemas/result.md; output as text, or as base64 where it is no UTF-8:\n"
		"                       stdout_encoding says which)\n"
		"  --within T           with --wait: give up T after the start of the command (exit status 1)\n"
		"  --raw                send each FILE as it is, unchecked: to see what a worker says to bad records\n" ORDER_USAGE
		"  --stream             every chunk of output goes to the output topic as it comes: for `mayfly logs`\n"
		"\n" ORDER_UNITS
		"\nCtrl-C of --wait ends the waiting only: the tasks go on, and `mayfly cancel ID` ends one.\n"
		"\nExit status: 0 when all were submitted (with --wait: when every task has a terminal result, whatever it says);\n"
		"1 when not; 2 when the input is wrong; 130 after Ctrl-C.\n\n"
		"  echo '{\"image\":\"base\",\"argv\":[\"uname\",\"-a\"]}' | mayfly submit --wait --json -\n",
	.run = main_submit,
};
