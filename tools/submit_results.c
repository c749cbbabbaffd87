/* What `mayfly submit --wait` gets: results of its records, Ctrl-C, and a word in a long silence (tools/submit.h). */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/command.h"
#include "tools/history.h"
#include "tools/result_json.h"
#include "tools/result_line.h"
#include "tools/submit.h"

#define TURN_MS 500

static volatile sig_atomic_t is_interrupted; /* Ctrl-C while it waits */

static void on_interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* The first one ends the waiting in order, the second one this process. */
void submit_catch_interrupts(void)
{
	const struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
	struct sigaction before;

	if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
		(void)sigaction(SIGINT, &action, NULL); /* cannot fail for a valid signal */
}

static void show(struct submit *submit, const struct result *result)
{
	struct err err;

	submit->heard_mono_ms = clock_mono_ms();
	submit->is_hinted = false;
	if (!submit->is_json)
		result_line_print(result, stdout);
	else if (result_json_print(result, stdout, &err) < 0)
		submit_complain(submit, err.msg);
	submit->is_broken |= !command_flush("mayfly submit");
}

/* A result may name a record of which Kafka's acknowledgement is still on its way to us. */
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

/* A record of ours was the same task as another record, and the other one's result answers it. That result may be there
 * already. */
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
		submit_complain(submit, err.msg);
	else if (history_answer(submit->target, submit_deadline_mono_ms(submit), duplicate->id, partition, offset, &result, &is_found,
				&err) < 0 &&
		 !submit_is_late(submit)) /* else it is one of those that have no result yet */
		submit_complain(submit, err.msg);
	if (!is_found)
		return;
	take_finished(submit, &result);
	result_clear(&result);
}

void submit_on_record(void *ctx, const struct client_record *record)
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

static void note_refusal(struct submit *submit)
{
	if (!submit->is_broken && client_refusal(submit->client))
		submit_complain(submit, client_refusal(submit->client));
}

/* A word, once in every silence. */
static void hint(struct submit *submit)
{
	uint64_t now = clock_mono_ms();

	if (!submit->waiting || !waiting_left(submit->waiting)) {
		submit->heard_mono_ms = now;
		return;
	}
	if (submit->is_hinted || now - submit->heard_mono_ms < COMMAND_SILENCE_MS)
		return;
	submit->is_hinted = true;
	if (waiting_started(submit->waiting))
		(void)fprintf(stderr, "mayfly submit: no result for %d s, %zu to come, of which %zu have started\n",
			      COMMAND_SILENCE_MS / 1000, waiting_left(submit->waiting), waiting_started(submit->waiting));
	else
		(void)fprintf(stderr,
			      "mayfly submit: no result for %d s, %zu to come; is a worker running and not full? None of them "
			      "has started; see `mayfly dev status`, `mayfly ps`\n",
			      COMMAND_SILENCE_MS / 1000, waiting_left(submit->waiting));
}

/* To wait in one turn. */
static int turn_ms(const struct submit *submit)
{
	uint64_t passed = clock_mono_ms() - submit->start_mono_ms;

	if (!submit->has_within || passed + TURN_MS <= submit->within_ms)
		return TURN_MS;
	return passed >= submit->within_ms ? 0 : (int)(submit->within_ms - passed);
}

bool submit_goes_on(const struct submit *submit)
{
	return !submit->is_broken && !submit_is_late(submit) && !is_interrupted;
}

void submit_turn(struct submit *submit, struct pollfd *others, size_t n)
{
	client_turn(submit->client, others, n, turn_ms(submit));
	note_refusal(submit);
	hint(submit);
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

int submit_wait_for_results(struct submit *submit)
{
	while (waiting_left(submit->waiting) && submit_goes_on(submit))
		submit_turn(submit, NULL, 0);
	if (is_interrupted)
		return leave(submit);
	if (waiting_left(submit->waiting) && !submit->is_broken)
		(void)fprintf(stderr, "mayfly submit: %zu tasks have no terminal result yet; gave up (--within)\n",
			      waiting_left(submit->waiting));
	return waiting_left(submit->waiting) != 0;
}
