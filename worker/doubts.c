/* Theory of operation
 *
 *	waiting --(no look-up is out)--> asked: ledgers --> asked: workers' positions --> answered, gone
 *
 * waiting: the question came while a look-up was out. What that one finds may be older than the question, so it is not for it.
 *
 * asked: one look-up is out for all of these together. It has two steps, and their order matters: first the reapers' ledgers, then
 * what workers marked done. A told record leaves the ledger only after it was marked done, so it is seen in one of the two. What our
 * own partitions know needs no asking: that comes first, and for them the workers' positions are not asked for.
 *
 * A question that is forgotten stays where it is, and answers nobody. */
#include "worker/doubts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/own.h"
#include "wire/ledger.h"

struct question {
	TAILQ_ENTRY(question) link;
	struct record_place place;
	doubt_fn fn; /* NULL: forgotten */
	void *ctx;
	enum doubt_answer answer; /* as far as it is known */
};

TAILQ_HEAD(questions, question);

typedef bool (*wants_fn)(const struct doubts *doubts, const struct question *question);

struct doubts {
	struct committed *committed;
	struct partitions *partitions;
	char *workers, *reapers; /* groups */
	struct event *begin;
	struct questions waiting, asked;
};

static bool is_ours(const struct doubts *doubts, const struct question *question)
{
	return partitions_find(doubts->partitions, question->place.topic, question->place.partition);
}

static void answer_all(struct doubts *doubts)
{
	struct questions answered = TAILQ_HEAD_INITIALIZER(answered);
	struct question *question;

	TAILQ_CONCAT(&answered, &doubts->asked, link);
	while ((question = TAILQ_FIRST(&answered))) {
		TAILQ_REMOVE(&answered, question, link);
		if (question->fn)
			question->fn(question->ctx, question->answer);
		free(question);
	}
	if (!TAILQ_EMPTY(&doubts->waiting))
		event_active(doubts->begin, EV_TIMEOUT, 0);
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
static size_t gather(struct doubts *doubts, wants_fn wants, struct topic_partition partitions[PARTITIONS_MAX])
{
	const struct question *question;
	size_t n = 0;

	TAILQ_FOREACH(question, &doubts->asked, link) {
		const struct record_place *place = &question->place;

		if (wants(doubts, question) && !has(partitions, n, place) && n < PARTITIONS_MAX)
			partitions[n++] = (struct topic_partition){ place->topic, place->partition };
	}
	return n;
}

static bool wants_ledger(const struct doubts *doubts, const struct question *question)
{
	(void)doubts;
	return question->answer == DOUBT_ANSWER_OPEN;
}

static bool wants_workers(const struct doubts *doubts, const struct question *question)
{
	bool is_told = question->answer == DOUBT_ANSWER_TOLD || question->answer == DOUBT_ANSWER_UNKNOWN;

	return !is_told && !is_ours(doubts, question);
}

static enum doubt_answer look_into_workers(const struct position *position, const struct question *question)
{
	struct offsets *offsets = offsets_new(position->next < 0 ? 0 : position->next, position->metadata);
	bool is_done = offsets && offsets_is_done(offsets, question->place.offset);

	if (!offsets)
		return DOUBT_ANSWER_UNKNOWN;
	offsets_free(offsets);
	return is_done ? DOUBT_ANSWER_DONE : question->answer;
}

static enum doubt_answer look_into_ledger(const struct position *position, const struct question *question)
{
	struct ledger ledger;

	if (ledger_decode(position->metadata, &ledger) < 0) {
		log_error("doubts.ledger", "topic=%s partition=%d message=\"what the reapers' group committed there is no ledger: another "
			  "client uses that group; give the fleet another one\"", question->place.topic, question->place.partition);
		return DOUBT_ANSWER_UNKNOWN;
	}
	switch (ledger_find(&ledger, question->place.offset)) {
	case LEDGER_ENTRY_NONE:
		return DOUBT_ANSWER_OPEN;
	case LEDGER_ENTRY_ANNOUNCED:
		return DOUBT_ANSWER_ANNOUNCED;
	case LEDGER_ENTRY_TOLD:
		return DOUBT_ANSWER_TOLD;
	}
	return DOUBT_ANSWER_UNKNOWN;
}

/* What one group's positions say to those questions that `wants`; no positions, or none of that partition: Kafka does not say. */
static void take_positions(struct doubts *doubts, const struct position *positions, size_t n, const char *why, wants_fn wants,
			   enum doubt_answer (*look)(const struct position *position, const struct question *question))
{
	struct question *question;

	if (!positions)
		log_debug("doubts.kafka", "message=\"%s\"", why);
	TAILQ_FOREACH(question, &doubts->asked, link) {
		const struct position *position = find(positions, n, &question->place);

		if (wants(doubts, question))
			question->answer = position ? look(position, question) : DOUBT_ANSWER_UNKNOWN;
	}
}

static void on_workers(void *ctx, const struct position *positions, size_t n, const char *why)
{
	struct doubts *doubts = ctx;

	take_positions(doubts, positions, n, why, wants_workers, look_into_workers);
	answer_all(doubts);
}

static void ask_workers(struct doubts *doubts)
{
	struct topic_partition partitions[PARTITIONS_MAX];
	size_t n = gather(doubts, wants_workers, partitions);

	if (n)
		committed_read(doubts->committed, doubts->workers, partitions, n, on_workers, doubts);
	else
		answer_all(doubts);
}

static void on_ledgers(void *ctx, const struct position *positions, size_t n, const char *why)
{
	struct doubts *doubts = ctx;

	take_positions(doubts, positions, n, why, wants_ledger, look_into_ledger);
	ask_workers(doubts);
}

static enum doubt_answer look_here(const struct doubts *doubts, const struct question *question)
{
	const struct partition *partition = partitions_find(doubts->partitions, question->place.topic, question->place.partition);

	if (partition && offsets_is_done(partition->offsets, question->place.offset))
		return DOUBT_ANSWER_DONE;
	if (partition && partition->has_plan && offsets_is_done(partition->plan, question->place.offset))
		return DOUBT_ANSWER_UNKNOWN; /* committed or not: the next moment says */
	return DOUBT_ANSWER_OPEN;
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct doubts *doubts = arg;
	struct topic_partition partitions[PARTITIONS_MAX];
	struct question *question;
	size_t n;

	(void)fd;
	(void)what;
	if (!TAILQ_EMPTY(&doubts->asked) || TAILQ_EMPTY(&doubts->waiting))
		return;
	TAILQ_CONCAT(&doubts->asked, &doubts->waiting, link);
	TAILQ_FOREACH(question, &doubts->asked, link)
		question->answer = look_here(doubts, question);
	n = gather(doubts, wants_ledger, partitions);
	if (n)
		committed_read(doubts->committed, doubts->reapers, partitions, n, on_ledgers, doubts);
	else
		answer_all(doubts);
}

void doubts_ask(struct doubts *doubts, const struct record_place *place, doubt_fn fn, void *ctx)
{
	struct question *question = malloc(sizeof(*question));

	assert(question); /* a few bytes a job */
	*question = (struct question){ .place = *place, .fn = fn, .ctx = ctx };
	TAILQ_INSERT_TAIL(&doubts->waiting, question, link);
	event_active(doubts->begin, EV_TIMEOUT, 0);
}

static void forget_in(struct questions *list, const void *ctx)
{
	struct question *question;

	TAILQ_FOREACH(question, list, link)
		if (question->ctx == ctx)
			question->fn = NULL;
}

void doubts_forget(struct doubts *doubts, const void *ctx)
{
	forget_in(&doubts->waiting, ctx);
	forget_in(&doubts->asked, ctx);
}

DEFINE_FREEP(struct doubts, doubts_free)

int doubts_new(struct event_base *base, const struct doubts_config *config, struct doubts **ret, struct err *err)
{
	cleanup_(doubts_freep) struct doubts *doubts = calloc(1, sizeof(*doubts));

	if (!doubts)
		return err_set(err, ERR_HOST, ENOMEM, "ask Kafka what was answered");
	TAILQ_INIT(&doubts->waiting);
	TAILQ_INIT(&doubts->asked);
	doubts->committed = config->committed;
	doubts->partitions = config->partitions;
	doubts->workers = strdup(config->group);
	doubts->begin = event_new(base, -1, 0, on_begin, doubts);
	if (!doubts->workers || !doubts->begin || asprintf(&doubts->reapers, LEDGER_GROUP_FORMAT, config->group) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "ask Kafka what was answered");
	*ret = TAKE_PTR(doubts);
	return 0;
}

static void free_all(struct questions *list)
{
	struct question *question;

	while ((question = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, question, link);
		free(question);
	}
}

void doubts_free(struct doubts *doubts)
{
	if (!doubts)
		return;
	free_all(&doubts->waiting);
	free_all(&doubts->asked);
	if (doubts->begin)
		event_free(doubts->begin);
	free(doubts->workers);
	free(doubts->reapers);
	free(doubts);
}
