/* What `mayfly submit` sends: tasks from options, from lines of JSON, or raw records (tools/submit.h). */
#include <stdio.h>
#include <string.h>

#include "tools/command.h"
#include "tools/submit.h"
#include "tools/task_json.h"

#define LINE_MAX_BYTES (4 * TASK_MAX_BYTES) /* base64 and escapes make JSON longer than the record */
#define READ_BYTES     (256 * 1024)
#define RAW_NAME_MAX   256

/* A record on its way, in the order of submission, until its id is printed. */
struct sent {
	struct sent *next;
	bool is_acknowledged;
	char name[RAW_NAME_MAX];
};

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

void submit_on_delivered(void *ctx, const struct client_delivery *delivery)
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
		submit_complain(submit, err.msg);
	}
	print_acknowledged(submit);
}

void submit_forget_sent(struct submit *submit)
{
	while (submit->first) {
		struct sent *sent = submit->first;

		submit->first = sent->next;
		free(sent);
	}
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
		submit_complain(submit, "no memory for the input");
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

void submit_lines(struct submit *submit)
{
	struct pollfd others[] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	bool is_open = true;

	while (is_open && !submit->is_flawed && submit_goes_on(submit)) {
		submit_turn(submit, others, ARRAY_SIZE(others));
		if (others[0].revents)
			is_open = read_some(submit);
		submit->is_broken |= !submit->first && !command_flush("mayfly submit");
	}
	submit->is_cut = is_open && submit_is_late(submit);
}

int submit_raw(struct submit *submit, int n, char **paths, struct err *err)
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

int submit_order(struct submit *submit, int argc, char **argv, struct err *err)
{
	cleanup_(buf_free) struct buf bytes = { 0 };
	int r = order_finish(&submit->order, argc, argv, &bytes, err);

	return r < 0 ? r : send_record(submit, submit->order.task->id, submit->order.task->id, &bytes, err);
}
