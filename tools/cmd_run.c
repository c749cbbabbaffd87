/* `mayfly run`: one task, seen from start to end as if it ran here.
 *
 * It reads results and output from before it submits, so nothing of the task can be missed; it prints each byte once; and it
 * leaves only with the terminal result in hand, or at the second Ctrl-C. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "tools/client.h"
#include "tools/collected.h"
#include "tools/command.h"
#include "tools/history.h"
#include "tools/order.h"
#include "tools/printer.h"
#include "tools/screen.h"
#include "tools/wording.h"

#define LATE_OUTPUT_MS	 5000 /* chunks travel beside the result, on another topic */
#define TURN_MS		 200
#define CANCEL_MS	 1000  /* for the cancel message to reach Kafka when the user does not wait */

enum { OPTION_INTO = 1, OPTION_QUIET };

struct run {
	const struct target *target;
	struct client *client;
	struct order order;
	const char *into;
	bool is_quiet;
	int signal_fd;
	unsigned n_signals;
	bool is_delivered, is_started, is_finished, is_hinted;
	char undelivered[160]; /* why it could not be submitted, "" */
	bool is_shared;	       /* another record is the same task: now the result of that one is waited for */
	int32_t partition;     /* this and offset: the place of the task's record, once is_delivered */
	int64_t offset;
	struct result result; /* once is_finished */
	struct printer printer;
	struct screen_step step;
};

static void say(struct run *run, enum screen_paint paint, const char *text)
{
	screen_step_vanish(&run->step);
	if (!run->is_quiet || paint == SCREEN_BAD)
		(void)fprintf(stderr, "%smayfly: %s%s\n", screen_code(stderr, paint), text,
			      screen_code(stderr, SCREEN_PLAIN));
}

static void on_delivered(void *ctx, const struct client_delivery *delivery)
{
	struct run *run = ctx;

	if (delivery->opaque != run)
		return; /* the cancel message: if it is lost, the task ends by its limits */
	run->is_delivered = true;
	run->partition = delivery->partition;
	run->offset = delivery->offset;
	if (delivery->why)
		(void)snprintf(run->undelivered, sizeof(run->undelivered), "%s", delivery->why);
}

static void warn(void *ctx, const char *text)
{
	say(ctx, SCREEN_WARN, text);
}

static void vanish(void *ctx)
{
	struct run *run = ctx;

	screen_step_vanish(&run->step);
}

static void take_output(struct run *run, const struct client_record *record)
{
	struct output_chunk chunk;
	char why[160];

	if (output_decode(record->data, record->len, &chunk, why) == 0 && strcmp(chunk.id, run->order.task->id) == 0)
		printer_take(&run->printer, &chunk);
}

static bool is_ours(const struct run *run, const struct result *result)
{
	if (run->is_delivered && result->event != RESULT_EVENT_STARTED)
		return result->partition == run->partition && result->offset == run->offset;
	return strcmp(result->id, run->order.task->id) == 0;
}

/* The result of another record answers this one, too. It may be there already. */
static void share(struct run *run, const struct result *duplicate)
{
	run->is_shared = true;
	run->partition = duplicate->same_as.partition;
	run->offset = duplicate->same_as.offset;
	say(run, SCREEN_WARN, "the same task was sent before; this is its output from now on, and its result");
}

static void look_for_shared(struct run *run)
{
	struct err err;

	run->is_shared = false;
	if (!run->is_finished && history_answer(run->target, 0, run->order.task->id, run->partition, run->offset, &run->result,
						&run->is_finished, &err) < 0)
		say(run, SCREEN_BAD, err.msg);
}

static void take_result(struct run *run, const struct client_record *record)
{
	struct result result;
	char why[160];

	if (result_decode(record->data, record->len, &result, why) < 0)
		return;
	if (run->is_finished || !is_ours(run, &result)) {
		result_clear(&result);
		return;
	}
	run->is_started = true;
	if (result.event == RESULT_EVENT_DUPLICATE)
		share(run, &result);
	run->is_finished = result_is_answer(&result);
	if (run->is_finished)
		run->result = result; /* moved */
	else
		result_clear(&result);
}

static void on_record(void *ctx, const struct client_record *record)
{
	struct run *run = ctx;

	if (record->topic == CLIENT_TOPIC_OUTPUT)
		take_output(run, record);
	else if (record->topic == CLIENT_TOPIC_RESULTS)
		take_result(run, record);
}

/* Answers whether the cancellation is on its way. */
static bool send_cancel(struct run *run)
{
	struct err err;

	return client_cancel(run->client, run->order.task->id, NULL, &err) == 0;
}

static void cancel(struct run *run)
{
	if (send_cancel(run))
		say(run, SCREEN_WARN, "cancelling; Ctrl-C again leaves without waiting for the result");
	else
		say(run, SCREEN_BAD,
		    "could not ask for the cancellation; Ctrl-C again leaves, and the task ends by its limits");
}

static void take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (run->n_signals++ == 0)
		cancel(run);
}

static bool should_leave(const struct run *run)
{
	return run->n_signals > 1 || run->printer.is_broken;
}

static void turn(struct run *run)
{
	struct pollfd others[] = { { .fd = run->signal_fd, .events = POLLIN } };

	client_turn(run->client, others, ARRAY_SIZE(others), TURN_MS);
	if (others[0].revents)
		take_signal(run);
	if (run->is_shared)
		look_for_shared(run);
}

static void show_waiting(struct run *run)
{
	if (run->is_started || run->is_quiet) {
		screen_step_vanish(&run->step);
		return;
	}
	screen_step_tick(&run->step);
	if (!run->is_hinted && clock_mono_ms() - run->step.start_mono_ms > COMMAND_SILENCE_MS) {
		run->is_hinted = true;
		say(run, SCREEN_WARN,
		    "nobody has started it yet; is a worker running and not full? `mayfly dev status`, `mayfly ps`");
	}
}

/* The result is there; its last chunks may be a moment behind. */
static void finish_output(struct run *run)
{
	uint64_t deadline = clock_mono_ms() + LATE_OUTPUT_MS;

	while (!printer_has_all(&run->printer, &run->result) && clock_mono_ms() < deadline && !should_leave(run))
		turn(run);
	printer_fill(&run->printer, &run->result);
}

/* A message may begin with the name of its field. Here the field is called by its option, where it has one. */
static void explain(struct run *run, const char *what)
{
	const char *field = run->result.field, *message = run->result.message;
	struct wording_typed typed = order_typed(&run->order);
	size_t len = strlen(field);
	char name[128], text[600], plain[600];

	if (len && strncmp(message, field, len) == 0 && strncmp(message + len, ": ", 2) == 0)
		message += len + 2;
	wording_option(&typed, field, name, sizeof(name));
	(void)snprintf(text, sizeof(text), "%s%s%s%s%s%s", what, len ? " (" : "", name[0] ? name : field, len ? ")" : "",
		       message[0] ? ": " : "", message);
	screen_plain(text, plain, sizeof(plain));
	say(run, SCREEN_BAD, plain);
}

/* The exit status; where it is not the program's own, a line says why. */
static int conclude(struct run *run)
{
	const struct result *result = &run->result;

	switch (result->outcome) {
	case RESULT_OUTCOME_SUCCEEDED:
		if (strncmp(result->message, "out of memory", 13) == 0)
			explain(run, "it went on");
		return 0;
	case RESULT_OUTCOME_FAILED:
		if (result->has_exit_code && strncmp(result->message, "exit code", 9) == 0)
			return (int)result->exit_code; /* the program spoke for itself */
		explain(run, "failed");
		if (result->has_exit_code)
			return (int)result->exit_code;
		return result->has_signal ? 128 + (int)result->signal : EXIT_NO_RUN;
	case RESULT_OUTCOME_TIMED_OUT:
		explain(run, "timed out");
		return EXIT_TIMED_OUT;
	case RESULT_OUTCOME_CANCELLED:
		explain(run, "cancelled");
		return EXIT_INTERRUPTED;
	case RESULT_OUTCOME_EXPIRED:
		explain(run, "expired");
		return EXIT_NO_RUN;
	case RESULT_OUTCOME_REJECTED:
	case RESULT_OUTCOME_LOST:
	case RESULT_OUTCOME_COUNT:
		break;
	}
	explain(run, result_outcome_name(result->outcome));
	return EXIT_NO_RUN;
}

static void on_not_collected(void *ctx, const char *message)
{
	say(ctx, SCREEN_BAD, message);
}

static int write_collected(struct run *run, int status)
{
	const struct task *task = run->order.task;

	if (collected_write(&run->result, task->collect, task->n_collect, run->into, on_not_collected, run))
		return status;
	return status ? status : EXIT_NO_RUN;
}

/* Leaves without the result: at the second Ctrl-C, or when nobody reads the output any more (`mayfly run ... | head`).
 * Both would end a program that runs here, too. */
static int leave(struct run *run)
{
	if (run->printer.is_broken && !run->is_finished)
		(void)send_cancel(run); /* else the task ends by its limits */
	client_flush(run->client, CANCEL_MS);
	if (run->printer.is_broken && run->printer.broken_errno == EPIPE)
		return EXIT_BROKEN_PIPE;
	if (run->printer.is_broken) {
		(void)fprintf(stderr, "mayfly run: its output cannot be written here: %s%s\n", strerror(run->printer.broken_errno),
			      run->is_finished ? "" : "; the task is being cancelled");
		return EXIT_NO_RUN;
	}
	(void)fprintf(stderr, "mayfly run: left task %s; `mayfly watch --id %s` shows how it ended\n",
		      run->order.task->id, run->order.task->id);
	return EXIT_INTERRUPTED;
}

static int follow_task(struct run *run)
{
	int status;

	while (!run->is_finished && !run->undelivered[0] && !should_leave(run) && !client_refusal(run->client)) {
		turn(run);
		show_waiting(run);
	}
	screen_step_vanish(&run->step);
	if (!run->is_finished && client_refusal(run->client)) {
		(void)fprintf(stderr, "mayfly run: %s; task %s goes on\n", client_refusal(run->client), run->order.task->id);
		return EXIT_NO_RUN;
	}
	if (run->undelivered[0]) {
		(void)fprintf(stderr, "mayfly run: could not submit the task: %s; see `mayfly doctor`\n",
			      run->undelivered);
		return EXIT_NO_RUN;
	}
	if (!run->is_finished)
		return leave(run);
	finish_output(run);
	status = write_collected(run, conclude(run));
	return run->printer.is_broken ? leave(run) : status;
}

/* The signals that end a program that runs here. Under nohup(1) SIGHUP is none of them. */
static int catch_signals(struct run *run, struct err *err)
{
	struct sigaction on_hangup;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigaction(SIGHUP, NULL, &on_hangup) == 0 && on_hangup.sa_handler != SIG_IGN)
		sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
		run->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signal_fd < 0 ? err_set(err, ERR_HOST, errno, "catch Ctrl-C") : 0;
}

static int submit(struct run *run, struct target *target, const struct buf *bytes, struct err *err)
{
	static const enum client_topic topics[] = { CLIENT_TOPIC_RESULTS, CLIENT_TOPIC_OUTPUT };
	const struct client_events events = { .on_delivered = on_delivered, .on_record = on_record };
	const char *id = run->order.task->id;
	int r = client_new(target, &events, run, &run->client, err);

	run->target = target;
	if (r == 0)
		r = client_follow(run->client, topics, ARRAY_SIZE(topics), CLIENT_FROM_NOW, err);
	if (r == 0)
		r = client_know(run->client, CLIENT_TOPIC_TASKS, err);
	if (r == 0)
		r = client_know(run->client, CLIENT_TOPIC_CONTROL, err); /* Ctrl-C waits for nothing */
	if (r == 0)
		r = catch_signals(run, err);
	if (r == 0)
		r = client_send(run->client, CLIENT_TOPIC_TASKS, id, strlen(id), bytes->data, bytes->len, run, err);
	screen_step_begin(&run->step, "waiting for its start");
	return r;
}

static int read_options(struct run *run, struct target *target, int argc, char **argv)
{
	static const struct option own[] = { ORDER_OPTIONS,
					     { "into", required_argument, NULL, OPTION_INTO },
					     { "quiet", no_argument, NULL, OPTION_QUIET } };
	struct command_options options;
	struct err err;
	int code;

	command_options_init(&options, &cmd_run, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0) {
		if (code == OPTION_INTO)
			run->into = optarg;
		else if (code == OPTION_QUIET)
			run->is_quiet = true;
		else if (order_take(&run->order, code, optarg, &err) < 0)
			return command_complain(&cmd_run, "%s", err.msg);
	}
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	return optind < argc ? -1 : command_complain(&cmd_run, "what shall it run? mayfly run -- echo hello");
}

static void run_clear(struct run *run)
{
	client_free(run->client);
	result_clear(&run->result);
	order_clear(&run->order);
	close_fd(&run->signal_fd);
}

static int run_task(struct run *run, struct target *target, int argc, char **argv)
{
	cleanup_(buf_free) struct buf bytes = { 0 };
	struct err err;
	int status = order_init(&run->order, &err);

	if (status < 0)
		return command_fail(&cmd_run, &err, EXIT_NO_RUN);
	status = read_options(run, target, argc, argv);
	if (status >= 0)
		return status;
	run->order.task->is_streaming = true;
	if (order_finish(&run->order, argc - optind, argv + optind, &bytes, &err) < 0)
		return command_complain(&cmd_run, "%s", err.msg);
	if (run->order.task->n_collect && collected_prepare(run->into, &err) < 0)
		return command_complain(&cmd_run, "--into: %s", err.msg);
	if (submit(run, target, &bytes, &err) < 0)
		return command_fail(&cmd_run, &err, EXIT_NO_RUN);
	return follow_task(run);
}

static int main_run(struct target *target, int argc, char **argv)
{
	cleanup_(run_clear) struct run run = { .into = ".", .signal_fd = -1 };

	run.printer = (struct printer){ .warn = warn, .before = vanish, .ctx = &run };
	result_init(&run.result);
	return run_task(&run, target, argc, argv);
}

const struct command cmd_run = {
	.name = "run",
	.summary = "run a program in a microVM of its own, as if it ran here",
	.usage =
		"usage: mayfly run [OPTIONS] -- PROGRAM [ARGUMENT]...\n\n"
		"Runs PROGRAM in a new microVM with an encrypted disk, no network and nothing of yours but what you give it. Its\n"
		"output appears here as it comes. Ctrl-C (or SIGTERM, SIGHUP) cancels it; again leaves at once.\n\n" ORDER_USAGE
		"  --into DIR           where collected files go (the current directory); set-id bits and\n"
		"                       write access of others stay behind\n"
		"  --quiet              say nothing but errors\n\n"
		ORDER_UNITS
		"Exit status: the program's; 128+N when signal N ended it; 124 timed out; 125 it did not run, expired, is lost, its\n"
		"output cannot be written here, or it ended well without a file to collect; 130 cancelled; 2 the command line is wrong.\n\n"
		"  mayfly run -- echo hello\n"
		"  mayfly run --image python --file sum.py --file data.csv --collect out.csv -- python3 sum.py data.csv\n",
	.run = main_run,
};
