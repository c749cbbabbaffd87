#include "tools/history.h"

#include <stdio.h>
#include <string.h>

#include "wire/task.h"

/* Reads backwards, in windows of offsets that grow: what is new is found at once, and what is old in few steps. */
#define WINDOW_FIRST  1000
#define WINDOW_GROWTH 8
#define CLOCKS_APART_MS (10 * 60 * 1000) /* at most: the clocks of who sent a record and who answered it */

struct search {
	const char *id;
	uint64_t since_ms; /* wall clock; 0: whatever Kafka has */
	bool wants_start;
	struct history *history;
	int64_t submitted_ms;
	struct {
		int32_t partition;
		int64_t offset;
	} record; /* of the id that was submitted last */
	bool is_answered; /* `record` is */
};

/* Is the record of our id, and not too old? Times need not rise with offsets. */
static bool is_wanted(const struct search *search, const struct client_record *record)
{
	return client_record_has_key(record, search->id) &&
	       (!search->since_ms || record->time_ms >= (int64_t)search->since_ms);
}

static void keep(struct result *kept, bool *has, int64_t *kept_offset, struct result *result, int64_t offset)
{
	if (*has && *kept_offset > offset) {
		result_clear(result);
		return;
	}
	result_clear(kept);
	*kept = *result; /* moved */
	*kept_offset = offset;
	*has = true;
}

static void take_event(void *ctx, const struct client_record *record)
{
	struct search *search = ctx;
	struct history *history = search->history;
	struct result result;
	char why[160];

	if (!is_wanted(search, record) || result_decode(record->data, record->len, &result, why) < 0)
		return;
	if (strcmp(result.id, search->id) != 0) {
		result_clear(&result);
	} else if (result.event == RESULT_EVENT_FINISHED) {
		keep(&history->finished, &history->has_finished, &history->finished_offset, &result, record->offset);
	} else if (result.event == RESULT_EVENT_STARTED) {
		keep(&history->started, &history->has_started, &history->started_offset, &result, record->offset);
		history->started_time_ms = history->started_offset == record->offset ? record->time_ms : history->started_time_ms;
	} else {
		result_clear(&result);
	}
}

static void take_submission(void *ctx, const struct client_record *record)
{
	struct search *search = ctx;

	if (is_wanted(search, record))
		search->submitted_ms = record->time_ms;
}

static bool is_task(const char *id, const struct client_record *record)
{
	cleanup_(task_freep) struct task *task = NULL;
	struct task_flaw flaw;

	return task_decode(record->data, record->len, &task, &flaw) == TASK_VERDICT_OK && strcmp(task->id, id) == 0;
}

/* Only a task waits: bytes that are none get a refusal, which may name no id. */
static void take_later(void *ctx, const struct client_record *record)
{
	struct search *search = ctx;

	if (!is_wanted(search, record) || !is_task(search->id, record))
		return;
	search->submitted_ms = record->time_ms > 0 ? record->time_ms : 1;
	search->record.partition = record->partition;
	search->record.offset = record->offset;
}

static void take_answer(void *ctx, const struct client_record *record)
{
	struct search *search = ctx;
	struct result result;
	char why[160];

	if (!is_wanted(search, record) || result_decode(record->data, record->len, &result, why) < 0)
		return;
	search->is_answered |= result.event != RESULT_EVENT_STARTED && result.partition == search->record.partition &&
			       result.offset == search->record.offset;
	result_clear(&result);
}

/* No start is looked for where there is none (it never ran), or where the result says when it was (how long the task
 * took). */
static bool is_found(const struct search *search)
{
	const struct history *history = search->history;

	if (search->submitted_ms || search->is_answered)
		return true;
	return history->has_finished && (!search->wants_start || history->has_started ||
					 history->finished.ran == RESULT_RAN_NOT_STARTED ||
					 history->finished.timings_ms[RESULT_TIMING_TOTAL] >= 0);
}

/* No further back than `lowest`. */
static int search_back(struct client *client, const struct client_range *all, int64_t lowest,
		       void (*on_record)(void *ctx, const struct client_record *record), struct search *search,
		       struct err *err)
{
	struct client_range window = *all;
	int64_t size = WINDOW_FIRST;
	int r = 0;

	while (r == 0 && window.to > lowest && !is_found(search)) {
		window.from = window.to - lowest > size ? window.to - size : lowest;
		r = client_read(client, &window, on_record, search, err);
		window.to = window.from;
		size *= WINDOW_GROWTH;
	}
	return r;
}

static int search_partition(struct client *client, const struct client_range *all,
			    void (*on_record)(void *ctx, const struct client_record *record), struct search *search,
			    struct err *err)
{
	int64_t lowest = all->from;
	int r = search->since_ms ? client_offset_at(client, all, (int64_t)search->since_ms, &lowest, err) : 0;

	if (r < 0 || lowest < 0)
		return r;
	return search_back(client, all, lowest, on_record, search, err);
}

/* The partition of the id first; `ret_after` (may be NULL) gets what comes after it. */
static int search_topic(struct client *client, enum client_topic topic,
			void (*on_record)(void *ctx, const struct client_record *record), struct search *search,
			struct client_range *ret_after, struct err *err)
{
	int n = 0, r = client_partitions(client, topic, &n, err);
	int32_t own = r == 0 ? client_partition_of(search->id, n) : 0;

	for (int32_t i = 0; r == 0 && i < n && !is_found(search); i++) {
		struct client_range all;

		r = client_range(client, topic, (own + i) % n, &all, err);
		if (r == 0 && i == 0 && ret_after)
			*ret_after = (struct client_range){ .topic = topic, .partition = own, .from = all.to, .to = all.to };
		if (r == 0)
			r = search_partition(client, &all, on_record, search, err);
		if (search->history->has_started)
			break; /* it is here, and has no result yet */
	}
	return r;
}

int history_read(struct client *client, const char *id, uint64_t since_ms, bool wants_start, struct history *history,
		 struct err *err)
{
	struct search search = { .id = id, .since_ms = since_ms, .wants_start = wants_start, .history = history };

	return search_topic(client, CLIENT_TOPIC_RESULTS, take_event, &search, &history->after, err);
}

int history_submitted(struct client *client, const char *id, uint64_t since_ms, int64_t *ret_time_ms, struct err *err)
{
	struct history none;
	struct search search = { .id = id, .since_ms = since_ms, .history = &none };
	int r;

	history_init(&none);
	r = search_topic(client, CLIENT_TOPIC_TASKS, take_submission, &search, NULL, err);
	*ret_time_ms = search.submitted_ms;
	return r;
}

/* Any event that names the record which `later` found answers it, a duplicate or a refusal, too. It cannot be older
 * than the record. */
static int search_answer(struct client *client, const struct search *later, bool *ret_found, struct err *err)
{
	struct history none = { .has_started = false };
	struct search search = { .id = later->id, .history = &none, .record = later->record };
	int64_t since_ms = later->submitted_ms > CLOCKS_APART_MS ? later->submitted_ms - CLOCKS_APART_MS : 0, lowest = -1;
	struct client_range all;
	int n = 0, r = client_partitions(client, CLIENT_TOPIC_RESULTS, &n, err);

	if (r == 0)
		r = client_range(client, CLIENT_TOPIC_RESULTS, client_partition_of(later->id, n), &all, err);
	if (r == 0)
		r = client_offset_at(client, &all, since_ms, &lowest, err);
	if (r == 0 && lowest >= 0)
		r = search_back(client, &all, lowest, take_answer, &search, err);
	*ret_found = search.is_answered;
	return r;
}

static int search_later(struct client *client, const char *id, struct history *history, struct err *err)
{
	struct history none = { .has_started = false };
	struct search later = { .id = id, .history = &none };
	struct client_range all;
	bool is_answered = false;
	int n = 0, r = client_partitions(client, CLIENT_TOPIC_TASKS, &n, err);

	if (r < 0 || history->finished.partition >= n)
		return r;
	r = client_range(client, CLIENT_TOPIC_TASKS, history->finished.partition, &all, err);
	if (r == 0)
		r = search_back(client, &all, history->finished.offset + 1, take_later, &later, err);
	if (r == 0 && later.submitted_ms)
		r = search_answer(client, &later, &is_answered, err);
	if (r == 0 && !is_answered)
		history->waiting_ms = later.submitted_ms;
	return r;
}

int history_answer(const struct target *target, uint64_t deadline_mono_ms, const char *id, int32_t partition, int64_t offset,
		   struct result *ret, bool *ret_found, struct err *err)
{
	cleanup_(history_clear) struct history history;
	cleanup_(client_freep) struct client *client = NULL;
	int r;

	history_init(&history);
	r = client_new(target, NULL, NULL, &client, err);
	if (r < 0)
		return r;
	client_until(client, deadline_mono_ms);
	r = history_read(client, id, 0, false, &history, err);
	if (r < 0)
		return r;
	*ret_found = history.has_finished && history.finished.partition == partition && history.finished.offset == offset;
	if (*ret_found) {
		*ret = history.finished; /* moved */
		result_init(&history.finished);
	}
	return 0;
}

int history_read_waiting(const struct target *target, const char *id, struct history *history, const char *command,
			 struct err *err)
{
	cleanup_(client_freep) struct client *client = NULL;
	int r;

	history->waiting_ms = 0;
	if (!history->has_finished || history_is_running(history))
		return 0;
	r = client_new(target, NULL, NULL, &client, err);
	if (r == 0)
		r = search_later(client, id, history, err);
	if (r == 0 || err->kind != ERR_INPUT)
		return r;
	(void)fprintf(stderr, "mayfly %s: whether the id was used again is not known: %s\n", command, err->msg);
	return 0;
}

bool history_is_running(const struct history *history)
{
	const struct result *started = &history->started, *finished = &history->finished;
	bool is_same = started->partition == finished->partition && started->offset == finished->offset;

	return history->has_started &&
	       (!history->has_finished || (!is_same && history->started_offset > history->finished_offset));
}

void history_init(struct history *history)
{
	*history = (struct history){ .has_started = false };
	result_init(&history->started);
	result_init(&history->finished);
}

void history_clear(struct history *history)
{
	result_clear(&history->started);
	result_clear(&history->finished);
}
