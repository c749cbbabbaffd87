/* Theory of operation
 *
 *	waiting --(no look-up is out)--> asked: ledgers --> asked: workers' positions --> answered, gone
 *
 * waiting: the question came while a look-up was out, or REST_MS after one. What that one finds may be older than the
 * question, so it is not for it.
 *
 * asked: one look-up is out for all of these together. It has two steps, and their order matters: first the reapers'
 * ledgers, then what workers marked done. A told record leaves the ledger only after it was marked done, so it is
 * seen in one of the two. What our own partitions know needs no asking: that comes first, and for them the workers'
 * positions are not asked for.
 *
 * A question that is forgotten leaves its list; a look-up that nobody waits for any more ends as any other. */
#include "worker/answered.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "wire/ledger.h"

#define REST_MS 5 /* between two look-ups: a backlog's questions go together, and the first of a quiet time goes at once */

TAILQ_HEAD(answered_questions, answered_question);

typedef bool (*wants_fn)(const struct answered *answered, const struct answered_question *question);

struct answered {
	struct committed *committed;
	struct partitions *partitions;
	char *workers, reapers[LEDGER_GROUP_MAX]; /* groups */
	struct event *begin;
	struct answered_questions waiting, asked;
	bool is_looking; /* a look-up is out, though nobody may wait for it any more */
	uint64_t looked_mono_ms; /* when the last one was over */
};

static bool is_ours(const struct answered *answered, const struct answered_question *question)
{
	return partitions_find(answered->partitions, question->place.topic, question->place.partition);
}

static enum answered_verdict look_here(const struct answered *answered, const struct answered_question *question)
{
	const struct partition *partition = partitions_find(answered->partitions, question->place.topic, question->place.partition);

	if (partition && offsets_is_done(partition->offsets, question->place.offset))
		return ANSWERED_VERDICT_DONE;
	if (partition && partition->has_plan && offsets_is_done(partition->plan, question->place.offset))
		return ANSWERED_VERDICT_UNKNOWN; /* committed or not: the next moment says */
	return ANSWERED_VERDICT_OPEN;
}

static void move(struct answered_question *question, struct answered_questions *list)
{
	if (question->list)
		TAILQ_REMOVE(question->list, question, link);
	question->list = list;
	if (list)
		TAILQ_INSERT_TAIL(list, question, link);
}

static void begin_soon(struct answered *answered)
{
	uint64_t now = clock_mono_ms(), rested = answered->looked_mono_ms + REST_MS;
	const struct timeval wait = { .tv_usec = (suseconds_t)(rested > now ? rested - now : 0) * 1000 };

	if (answered->is_looking || event_pending(answered->begin, EV_TIMEOUT, NULL))
		return;
	if (wait.tv_usec == 0)
		event_active(answered->begin, EV_TIMEOUT, 0);
	else
		(void)event_add(answered->begin, &wait); /* a timer that exists needs no memory */
}

/* A partition that came to this worker in the meantime is known here now, and Kafka's answer about it is older. */
static void answer_all(struct answered *answered)
{
	struct answered_question *question;

	while ((question = TAILQ_FIRST(&answered->asked))) {
		move(question, NULL);
		if (question->verdict == ANSWERED_VERDICT_OPEN)
			question->verdict = look_here(answered, question);
		question->fn(question->ctx, question->verdict); /* it may ask again, or be freed */
	}
	answered->is_looking = false;
	answered->looked_mono_ms = clock_mono_ms();
	if (!TAILQ_EMPTY(&answered->waiting))
		begin_soon(answered);
}

static const struct position *find(const struct position *positions, size_t n, const struct record_place *place)
{
	for (size_t i = 0; i < n; i++)
		if (positions[i].partition == place->partition && topic_is_same(positions[i].topic, place->topic))
			return &positions[i];
	return NULL;
}

static bool has(const struct topic_partition *partitions, size_t n, const struct record_place *place)
{
	for (size_t i = 0; i < n; i++)
		if (partitions[i].partition == place->partition && topic_is_same(partitions[i].topic, place->topic))
			return true;
	return false;
}

/* The partitions of those questions that `wants`, each once. */
static size_t gather(struct answered *answered, wants_fn wants, struct topic_partition partitions[PARTITIONS_MAX])
{
	const struct answered_question *question;
	size_t n = 0;

	TAILQ_FOREACH(question, &answered->asked, link) {
		const struct record_place *place = &question->place;

		if (wants(answered, question) && !has(partitions, n, place) && n < PARTITIONS_MAX)
			partitions[n++] = (struct topic_partition){ place->topic, place->partition };
	}
	return n;
}

static bool wants_ledger(const struct answered *answered, const struct answered_question *question)
{
	(void)answered;
	return question->verdict == ANSWERED_VERDICT_OPEN;
}

static bool wants_workers(const struct answered *answered, const struct answered_question *question)
{
	bool is_told = question->verdict == ANSWERED_VERDICT_TOLD || question->verdict == ANSWERED_VERDICT_UNKNOWN;

	return !is_told && !is_ours(answered, question);
}

static enum answered_verdict look_into_workers(const struct position *position, const struct answered_question *question)
{
	struct offsets *offsets = offsets_new(position->next < 0 ? 0 : position->next, position->metadata);
	bool is_done = offsets && offsets_is_done(offsets, question->place.offset);

	if (!offsets)
		return ANSWERED_VERDICT_UNKNOWN;
	offsets_free(offsets);
	return is_done ? ANSWERED_VERDICT_DONE : question->verdict;
}

static enum answered_verdict look_into_ledger(const struct position *position, const struct answered_question *question)
{
	struct ledger ledger;

	if (ledger_decode(position->metadata, &ledger) < 0) {
		log_error("answered.ledger", "topic=%s partition=%d message=\"what the reapers' group committed there is no ledger: another "
			  "client uses that group; give the fleet another one\"", question->place.topic, question->place.partition);
		return ANSWERED_VERDICT_UNKNOWN;
	}
	switch (ledger_find(&ledger, question->place.offset)) {
	case LEDGER_ENTRY_NONE:
		return ANSWERED_VERDICT_OPEN;
	case LEDGER_ENTRY_ANNOUNCED:
		return ANSWERED_VERDICT_ANNOUNCED;
	case LEDGER_ENTRY_TOLD:
		return ANSWERED_VERDICT_TOLD;
	}
	return ANSWERED_VERDICT_UNKNOWN;
}

/* What one group's positions say to those questions that `wants`; no positions, or none of that partition: Kafka
 * does not say. */
static void take_positions(struct answered *answered, const struct position *positions, size_t n, const char *why, wants_fn wants,
			   enum answered_verdict (*look)(const struct position *position, const struct answered_question *question))
{
	struct answered_question *question;

	if (!positions)
		log_debug("answered.kafka", "message=\"%s\"", why);
	TAILQ_FOREACH(question, &answered->asked, link) {
		const struct position *position = find(positions, n, &question->place);

		if (wants(answered, question))
			question->verdict = position ? look(position, question) : ANSWERED_VERDICT_UNKNOWN;
	}
}

static void on_workers(void *ctx, const struct position *positions, size_t n, const char *why)
{
	struct answered *answered = ctx;

	take_positions(answered, positions, n, why, wants_workers, look_into_workers);
	answer_all(answered);
}

static void ask_workers(struct answered *answered)
{
	struct topic_partition partitions[PARTITIONS_MAX];
	size_t n = gather(answered, wants_workers, partitions);

	if (n)
		committed_read(answered->committed, answered->workers, partitions, n, on_workers, answered);
	else
		answer_all(answered);
}

static void on_ledgers(void *ctx, const struct position *positions, size_t n, const char *why)
{
	struct answered *answered = ctx;

	take_positions(answered, positions, n, why, wants_ledger, look_into_ledger);
	ask_workers(answered);
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct answered *answered = arg;
	struct topic_partition partitions[PARTITIONS_MAX];
	struct answered_question *question;
	size_t n;

	(void)fd;
	(void)what;
	if (answered->is_looking || TAILQ_EMPTY(&answered->waiting))
		return;
	answered->is_looking = true;
	while ((question = TAILQ_FIRST(&answered->waiting))) {
		move(question, &answered->asked);
		question->verdict = look_here(answered, question);
	}
	n = gather(answered, wants_ledger, partitions);
	if (n)
		committed_read(answered->committed, answered->reapers, partitions, n, on_ledgers, answered);
	else
		answer_all(answered);
}

void answered_ask(struct answered *answered, struct answered_question *question, const struct record_place *place, answered_fn fn,
		  void *ctx)
{
	assert(!question->list);
	question->place = *place;
	question->fn = fn;
	question->ctx = ctx;
	move(question, &answered->waiting);
	begin_soon(answered);
}

void answered_forget(struct answered_question *question)
{
	move(question, NULL);
}

DEFINE_FREEP(struct answered, answered_free)

int answered_new(struct event_base *base, const struct answered_config *config, struct answered **ret, struct err *err)
{
	cleanup_(answered_freep) struct answered *answered = calloc(1, sizeof(*answered));

	if (!answered)
		return err_set(err, ERR_HOST, ENOMEM, "ask Kafka what was answered");
	TAILQ_INIT(&answered->waiting);
	TAILQ_INIT(&answered->asked);
	answered->committed = config->committed;
	answered->partitions = config->partitions;
	answered->workers = strdup(config->group);
	answered->begin = event_new(base, -1, 0, on_begin, answered);
	ledger_group_name(config->group, answered->reapers);
	if (!answered->workers || !answered->begin)
		return err_set(err, ERR_HOST, ENOMEM, "ask Kafka what was answered");
	*ret = TAKE_PTR(answered);
	return 0;
}

void answered_free(struct answered *answered)
{
	if (!answered)
		return;
	if (answered->begin)
		event_free(answered->begin);
	free(answered->workers);
	free(answered);
}
