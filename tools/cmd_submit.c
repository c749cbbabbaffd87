/* `mayfly submit`: tasks into the queue, one from options or many as JSON lines; with --wait their results out of it.
 *
 * Nothing waits for a single record: lines are read, sent, acknowledged and answered side by side in one loop, so that a
 * generator may feed it slowly and read results meanwhile, and 100,000 lines go in one stream. A record that Kafka
 * acknowledged is answered by the result that names its partition and offset. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/std_fds.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/order.h"
#include "tools/quantity.h"
#include "tools/history.h"
#include "tools/result_json.h"
#include "tools/result_line.h"
#include "tools/screen.h"
#include "tools/task_json.h"
#include "tools/waiting.h"

#define LINE_MAX_BYTES (4 * TASK_MAX_BYTES) /* base64 and escapes make JSON longer than the record */
#define READ_BYTES     (256 * 1024)
#define TURN_MS	       500
#define NO_WORKER_MS   15000
#define RAW_NAME_MAX   256
#define EXIT_INTERRUPTED 130 /* as a shell says it of SIGINT */

enum { OPTION_WAIT = 1, OPTION_JSON, OPTION_WITHIN, OPTION_RAW, OPTION_STREAM };

/* A record on its way, in the order of submission, until its id is printed. */
struct sent {
	struct sent *next;
	bool is_acknowledged;
	char name[RAW_NAME_MAX];
};

struct submit {
	const struct target *target;
	struct client *client;
	struct order order;
	struct waiting *waiting; /* NULL without --wait */
	struct sent *first, *last;
	size_t n_sent, n_failed;
	bool does_wait, is_json, is_raw, reads_lines, has_order_options;
	bool is_cut;		/* --within ended before standard input did */
	bool is_flawed;		/* a line that is no task was met: nothing after it is sent */
	bool is_hinted;		/* since the last result */
	bool is_broken;		/* Kafka does not take records, our own output cannot be written, or memory ran out */
	bool has_within;
	uint64_t start_mono_ms, within_ms; /* of the command; without --within it waits for ever */
	uint64_t heard_mono_ms; /* the last result, or the last time that none was waited for */
	struct buf input;
	size_t line;
};

static volatile sig_atomic_t is_interrupted; /* Ctrl-C while it waits */

static void on_interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* The first one ends the waiting in order, the second one this process. */
static void catch_interrupts(void)
{
	const struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
	struct sigaction before;

	if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
		(void)sigaction(SIGINT, &action, NULL); /* cannot fail for a valid signal */
}

static void complain(struct submit *submit, const char *text)
{
	(void)fprintf(stderr, "mayfly submit: %s\n", text);
	submit->is_broken = true;
}

/* Ids appear in the order of submission, each once Kafka has it. */
static void print_acknowledged(struct submit *submit)
{
	while (submit->first && submit->first->is_acknowledged) {
		struct sent *sent = submit->first;

		submit->first = sent->next;
		if (sent->name[0] && !submit->does_wait)
			submit->is_broken |= puts(sent->name) < 0;
		free(sent);
	}
	if (!submit->first)
		submit->last = NULL;
}

static void on_delivered(void *ctx, const struct client_delivery *delivery)
{
	struct submit *submit = ctx;
	struct sent *sent = delivery->opaque;
	struct err err;

	sent->is_acknowledged = true;
	if (delivery->why) {
		(void)fprintf(stderr, "mayfly submit: task %s was not submitted: %s\n", sent->name, delivery->why);
		submit->n_failed++;
		sent->name[0] = '\0';
	} else if (submit->waiting && waiting_add(submit->waiting, delivery->partition, delivery->offset, &err) < 0) {
		complain(submit, err.msg);
	}
	print_acknowledged(submit);
}

static void show(struct submit *submit, const struct result *result)
{
	struct err err;

	submit->heard_mono_ms = clock_mono_ms();
	submit->is_hinted = false;
	if (!submit->is_json)
		result_line_print(result, stdout);
	else if (result_json_print(result, stdout, &err) < 0)
		complain(submit, err.msg);
	submit->is_broken |= !command_flush("mayfly submit");
}

static void note_refusal(struct submit *submit)
{
	if (!submit->is_broken && client_refusal(submit->client))
		complain(submit, client_refusal(submit->client));
}

/* Kafka's word for a record that is spoken of may still be on its way to us. */
static void await_word(struct submit *submit, const struct result *result)
{
	if (client_in_flight(submit->client) && result->offset > waiting_highest(submit->waiting, result->partition))
		client_flush(submit->client, 2 * CLIENT_DELIVERY_MS);
}

static void take_finished(struct submit *submit, const struct result *result)
{
	switch (waiting_answer(submit->waiting, result->partition, result->offset)) {
	case WAITING_VERDICT_FIRST:
		show(submit, result);
		return;
	case WAITING_VERDICT_AGAIN:
		(void)fprintf(stderr,
			      "mayfly submit: task %s got a second terminal result (ignored); please report this\n",
			      result->id);
		return;
	case WAITING_VERDICT_FOREIGN:
	case WAITING_VERDICT_COUNT:
		return;
	}
}

/* Is the time of --within over? */
static bool is_late(const struct submit *submit)
{
	return submit->has_within && clock_mono_ms() - submit->start_mono_ms >= submit->within_ms;
}

/* Of client_until(). */
static uint64_t deadline_mono_ms(const struct submit *submit)
{
	return submit->has_within ? submit->start_mono_ms + submit->within_ms : 0;
}

/* A record of ours was the same task as another record: that one's result answers it, which may be there already. */
static void take_duplicate(struct submit *submit, const struct result *duplicate)
{
	int32_t partition = duplicate->same_as.partition;
	int64_t offset = duplicate->same_as.offset;
	struct result result;
	bool is_found = false;
	struct err err;

	if (waiting_answer(submit->waiting, duplicate->partition, duplicate->offset) != WAITING_VERDICT_FIRST ||
	    waiting_has(submit->waiting, partition, offset))
		return; /* with both records ours, the one result is shown once */
	if (waiting_add(submit->waiting, partition, offset, &err) < 0)
		complain(submit, err.msg);
	else if (history_answer(submit->target, deadline_mono_ms(submit), duplicate->id, partition, offset, &result, &is_found,
				&err) < 0 &&
		 !is_late(submit)) /* else it is one of those that have no result yet */
		complain(submit, err.msg);
	if (!is_found)
		return;
	take_finished(submit, &result);
	result_clear(&result);
}

static void on_record(void *ctx, const struct client_record *record)
{
	struct submit *submit = ctx;
	struct result result;
	char why[160];

	if (submit->is_broken || result_decode(record->data, record->len, &result, why) < 0)
		return; /* bytes that are no result answer nothing */
	await_word(submit, &result);
	if (result.event == RESULT_EVENT_STARTED)
		waiting_start(submit->waiting, result.partition, result.offset);
	else if (result.event == RESULT_EVENT_DUPLICATE)
		take_duplicate(submit, &result);
	else
		take_finished(submit, &result);
	result_clear(&result);
}

static int send_record(struct submit *submit, const char *name, const char *key, const struct buf *bytes,
		       struct err *err)
{
	struct sent *sent = calloc(1, sizeof(*sent));

	if (!sent)
		return err_set(err, ERR_HOST, ENOMEM, "submit %s", name);
	(void)snprintf(sent->name, sizeof(sent->name), "%s", name);
	if (submit->last)
		submit->last->next = sent;
	else
		submit->first = sent;
	submit->last = sent;
	if (client_send(submit->client, CLIENT_TOPIC_TASKS, key, strlen(key), bytes->data, bytes->len, sent, err) < 0) {
		sent->is_acknowledged = true; /* leaves the list without a word of its own */
		sent->name[0] = '\0';
		print_acknowledged(submit);
		return err_wrap(err, "task %s was not submitted", name);
	}
	submit->n_sent++;
	return 0;
}

static void take_line(struct submit *submit, const char *text, size_t len)
{
	cleanup_(buf_free) struct buf bytes = { 0 };
	char id[IDENT_ID_MAX + 1], hint[TASK_JSON_HINT_BYTES] = "";
	struct err err;
	int r;

	if (submit->line++ == 0 && len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3; /* a byte order mark says nothing in UTF-8, and some editors write one */
		len -= 3;
	}
	if (strspn(text, " \t\r\n") >= len)
		return;
	r = task_json_read(text, len, &bytes, id, hint, &err);
	if (hint[0])
		(void)fprintf(stderr, "mayfly submit: line %zu: %s\n", submit->line, hint);
	if (r == 0 && send_record(submit, id, id, &bytes, &err) == 0)
		return;
	(void)fprintf(
		stderr,
		"mayfly submit: line %zu: %s\nmayfly submit: %zu task(s) before it were submitted, nothing after it was\n",
		submit->line, err.msg, submit->n_sent);
	if (err.kind == ERR_INPUT)
		submit->is_flawed = true;
	else
		submit->is_broken = true;
}

/* Whole lines in the buffer; at the end of the input the last one needs no newline. */
static void take_lines(struct submit *submit, bool is_end)
{
	size_t used = 0;

	while (!submit->is_flawed && !submit->is_broken && used < submit->input.len) {
		char *text = (char *)submit->input.data + used;
		char *newline = memchr(text, '\n', submit->input.len - used);
		size_t len = newline ? (size_t)(newline - text) : submit->input.len - used;

		if (!newline && !is_end)
			break;
		text[len] = '\0'; /* there is always a byte of room: read_some() */
		take_line(submit, text, len);
		used += len + (newline ? 1 : 0);
	}
	buf_consume(&submit->input, used);
	if (submit->input.len > LINE_MAX_BYTES) {
		(void)fprintf(stderr, "mayfly submit: line %zu is longer than %d bytes; is the input JSON lines?\n",
			      submit->line + 1, LINE_MAX_BYTES);
		submit->is_flawed = true;
	}
}

/* Answers whether more may come. */
static bool read_some(struct submit *submit)
{
	ssize_t n;

	if (buf_reserve(&submit->input, READ_BYTES + 1) < 0) {
		complain(submit, "no memory for the input");
		return false;
	}
	n = read(STDIN_FILENO, submit->input.data + submit->input.len, READ_BYTES);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n < 0) {
		(void)fprintf(stderr, "mayfly submit: read standard input: %s\n", strerror(errno));
		submit->is_flawed = true;
	}
	submit->input.len += n > 0 ? (size_t)n : 0;
	take_lines(submit, n <= 0);
	return n > 0;
}

/* A word, once in every silence. */
static void hint(struct submit *submit)
{
	uint64_t now = clock_mono_ms();

	if (!submit->waiting || !waiting_left(submit->waiting)) {
		submit->heard_mono_ms = now;
		return;
	}
	if (submit->is_hinted || now - submit->heard_mono_ms < NO_WORKER_MS)
		return;
	submit->is_hinted = true;
	if (waiting_started(submit->waiting))
		(void)fprintf(stderr, "mayfly submit: no result for %d s, %zu to come, of which %zu have started\n",
			      NO_WORKER_MS / 1000, waiting_left(submit->waiting), waiting_started(submit->waiting));
	else
		(void)fprintf(stderr,
			      "mayfly submit: no result for %d s, %zu to come; is a worker running and not full? None of them "
			      "has started; see `mayfly dev status`, `mayfly ps`\n",
			      NO_WORKER_MS / 1000, waiting_left(submit->waiting));
}

/* To wait in one turn. */
static int turn_ms(const struct submit *submit)
{
	uint64_t passed = clock_mono_ms() - submit->start_mono_ms;

	if (!submit->has_within || passed + TURN_MS <= submit->within_ms)
		return TURN_MS;
	return passed >= submit->within_ms ? 0 : (int)(submit->within_ms - passed);
}

static void submit_lines(struct submit *submit)
{
	struct pollfd others[] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	bool is_open = true;

	while (is_open && !submit->is_flawed && !submit->is_broken && !is_late(submit) && !is_interrupted) {
		client_turn(submit->client, others, ARRAY_SIZE(others), turn_ms(submit));
		note_refusal(submit);
		if (others[0].revents)
			is_open = read_some(submit);
		hint(submit);
		submit->is_broken |= !submit->first && !command_flush("mayfly submit");
	}
	submit->is_cut = is_open && is_late(submit);
}

static int submit_raw(struct submit *submit, int n, char **paths, struct err *err)
{
	for (int i = 0; i < n; i++) {
		cleanup_(buf_free) struct buf bytes = { .max = 2 * TASK_MAX_BYTES };
		cleanup_file FILE *file = fopen(paths[i], "re");
		size_t got;

		if (!file)
			return err_set(err, ERR_INPUT, errno, "open '%s'", paths[i]);
		do {
			if (buf_reserve(&bytes, 4096) < 0)
				return err_set(err, ERR_INPUT, 0, "'%s' is larger than any record may be", paths[i]);
			got = fread(bytes.data + bytes.len, 1, 4096, file);
			bytes.len += got;
		} while (got);
		if (ferror(file))
			return err_set(err, ERR_INPUT, errno, "read '%s'", paths[i]);
		if (send_record(submit, paths[i], "", &bytes, err) < 0)
			return -EIO;
	}
	return 0;
}

static int submit_order(struct submit *submit, int argc, char **argv, struct err *err)
{
	cleanup_(buf_free) struct buf bytes = { 0 };
	int r = order_finish(&submit->order, argc, argv, &bytes, err);

	return r < 0 ? r : send_record(submit, submit->order.task->id, submit->order.task->id, &bytes, err);
}

/* After Ctrl-C. */
static int leave(const struct submit *submit)
{
	const char *id = submit->order.task->id;

	(void)fprintf(stderr, "mayfly submit: left; %zu tasks have no result yet and go on\n", waiting_left(submit->waiting));
	if (!submit->reads_lines && !submit->is_raw)
		(void)fprintf(stderr, "mayfly submit: `mayfly result %s` says how it ended, `mayfly cancel %s` ends it\n", id, id);
	return EXIT_INTERRUPTED;
}

/* 0 when every task has its terminal result. */
static int wait_for_results(struct submit *submit)
{
	while (waiting_left(submit->waiting) && !submit->is_broken && !is_late(submit) && !is_interrupted) {
		client_turn(submit->client, NULL, 0, turn_ms(submit));
		note_refusal(submit);
		hint(submit);
	}
	if (is_interrupted)
		return leave(submit);
	if (waiting_left(submit->waiting) && !submit->is_broken)
		(void)fprintf(stderr, "mayfly submit: %zu tasks have no terminal result yet; gave up (--within)\n",
			      waiting_left(submit->waiting));
	return waiting_left(submit->waiting) != 0;
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
	const struct client_events events = { .on_delivered = on_delivered, .on_record = on_record };
	int r = client_new(target, &events, submit, &submit->client, err);

	submit->target = target;
	if (r < 0 || !submit->does_wait)
		return r;
	catch_interrupts();
	client_until(submit->client, deadline_mono_ms(submit));
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
		waited = wait_for_results(submit);
	if (submit->is_cut)
		status = 1;
	status = waited ? waited : status;
	if (!submit->is_broken)
		submit->is_broken = !command_flush("mayfly submit");
	if (submit->is_flawed)
		return EXIT_USAGE;
	return submit->is_broken || submit->n_failed ? 1 : status;
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
	struct submit submit = { .heard_mono_ms = clock_mono_ms(), .start_mono_ms = clock_mono_ms() };
	int status = run_submit(&submit, target, argc, argv);

	while (submit.first) {
		struct sent *sent = submit.first;

		submit.first = sent->next;
		free(sent);
	}
	client_free(submit.client);
	waiting_free(submit.waiting);
	order_clear(&submit.order);
	buf_free(&submit.input);
	return status;
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
