/* Theory of operation
 *
 *	none --(rebalance: these are yours)--> looking up --(positions, owner asked)--> assigned
 *	  ^                                      ^   |                                   |   |
 *	  |                                      |   `--(Kafka does not say: again)      |   |
 *	  |                                      `----------(a partition is unreadable)--'   |
 *	  `-------------------(rebalance: nothing is yours; the handle goes)-----------------'
 *
 * none: nothing of librdkafka's is ours to start.
 *
 * looking up: `assigned` says what is ours, but nothing is started: where to start is what the group committed, and
 * that is being asked of Kafka. Each look-up has a number; an answer to an earlier one is about an assignment that is
 * over, and asks again. One question is out at a time. Nothing may be paused, resumed or sought in librdkafka: it is
 * only remembered.
 *
 * assigned: the owner was told the positions and chose each start, rd_kafka_assign() has started them. The group
 * rebalances eagerly (range): a new assignment always follows a revocation of all.
 *
 * An unreadable partition is one whose offset is not there any more. librdkafka has stopped reading it, and only a
 * whole new assignment moves it; so all of `assigned` is looked up anew, and the others go on where they are, because
 * the owner says so. */
#include "bus/assignment.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define LOOKUP_AGAIN_MS 100 /* a dead member's open transaction holds the offsets until it is fenced or times out */
#define LOOKUPS_TO_WARN 10  /* refused in a row: longer than any transaction takes to time out */

static_assert(CONSUMER_BEGINNING == RD_KAFKA_OFFSET_BEGINNING, "librdkafka's word for it");

struct assignment {
	struct assignment_config config;
	const struct consumer_events *events;
	void *ctx;
	struct event *lookup_again;
	rd_kafka_t *kafka; /* NULL: not open */
	rd_kafka_queue_t *records;
	rd_kafka_topic_partition_list_t *assigned; /* NULL: none */
	bool lacks_positions; /* looking up */
	bool is_looking_up; /* a look-up is on its way: the one with this number */
	uint64_t lookup;
	bool is_asking; /* Kafka is being asked, for the look-up with this number: */
	uint64_t asked;
	unsigned n_refused; /* look-ups in a row */
	rd_kafka_topic_partition_list_t *unreadable; /* of `assigned`, with the offset that is not there */
	rd_kafka_topic_partition_list_t *paused; /* assigned or not */
};

const char *assignment_topic(const struct assignment *assignment, const char *name)
{
	const struct assignment_config *config = &assignment->config;
	size_t i = 0;

	if (config->n_topics == 1)
		return config->topics[0]; /* for every record: no byte is looked at */
	while (i < config->n_topics && strcmp(config->topics[i], name) != 0)
		i++;
	assert(i < config->n_topics); /* nothing else was subscribed to */
	return config->topics[i];
}

static void clear(rd_kafka_topic_partition_list_t *list)
{
	while (list->cnt > 0)
		(void)rd_kafka_topic_partition_list_del_by_idx(list, 0);
}

static void drop_assigned(struct assignment *assignment)
{
	if (assignment->assigned)
		rd_kafka_topic_partition_list_destroy(TAKE_PTR(assignment->assigned));
	clear(assignment->unreadable);
	assignment->is_looking_up = assignment->lacks_positions = false;
}

static void on_positions(void *ctx, const struct position *positions, size_t n, const char *why);

static void ask(struct assignment *assignment)
{
	size_t n = (size_t)assignment->assigned->cnt;
	cleanup_free struct topic_partition *partitions = calloc(n, sizeof(*partitions));

	assert(partitions); /* a few bytes a partition */
	for (size_t i = 0; i < n; i++) {
		const rd_kafka_topic_partition_t *one = &assignment->assigned->elems[i];

		partitions[i] = (struct topic_partition){ assignment_topic(assignment, one->topic), one->partition };
	}
	assignment->is_asking = true;
	assignment->asked = assignment->lookup;
	committed_read(assignment->config.committed, assignment->config.group, partitions, n, on_positions, assignment);
}

/* One question at a time: the answer to an earlier one asks again. */
static void look_up(struct assignment *assignment)
{
	assignment->is_looking_up = true;
	assignment->lookup++;
	if (!assignment->is_asking)
		ask(assignment);
}

static void pause_what_was(struct assignment *assignment)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(assignment->assigned->cnt);

	for (int i = 0; i < assignment->assigned->cnt; i++) {
		const rd_kafka_topic_partition_t *one = &assignment->assigned->elems[i];

		if (rd_kafka_topic_partition_list_find(assignment->paused, one->topic, one->partition))
			rd_kafka_topic_partition_list_add(list, one->topic, one->partition);
	}
	if (list->cnt)
		(void)rd_kafka_pause_partitions(assignment->kafka, list); /* errors are per partition, of lost ones */
	rd_kafka_topic_partition_list_destroy(list);
}

/* Before their fetching starts, or their first records would come on the group's queue, after later ones. */
static void forward_records(struct assignment *assignment)
{
	for (int i = 0; i < assignment->assigned->cnt; i++) {
		const rd_kafka_topic_partition_t *one = &assignment->assigned->elems[i];
		rd_kafka_queue_t *queue = rd_kafka_queue_get_partition(assignment->kafka, one->topic, one->partition);

		rd_kafka_queue_forward(queue, assignment->records);
		rd_kafka_queue_destroy(queue); /* the reference */
	}
}

static int64_t unreadable_at(const struct assignment *assignment, const struct position *found)
{
	const rd_kafka_topic_partition_t *one =
		rd_kafka_topic_partition_list_find(assignment->unreadable, found->topic, found->partition);

	return one ? one->offset : -1;
}

/* The owner chooses where each starts. */
static void choose_starts(struct assignment *assignment, const struct position *found, size_t n)
{
	cleanup_free struct consumer_position *positions = calloc(n + 1, sizeof(*positions));

	assert(positions); /* a few bytes a partition */
	for (size_t i = 0; i < n; i++)
		positions[i] = (struct consumer_position){ .topic = found[i].topic,
							   .partition = found[i].partition,
							   .committed = found[i].next,
							   .metadata = found[i].metadata,
							   .start = found[i].next >= 0 ? found[i].next : CONSUMER_BEGINNING,
							   .unreadable = unreadable_at(assignment, &found[i]) };
	clear(assignment->unreadable);
	assignment->events->on_assigned(assignment->ctx, positions, n);
	for (size_t i = 0; i < n; i++) {
		rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_find(assignment->assigned, positions[i].topic,
										     positions[i].partition);

		if (one)
			one->offset = positions[i].start;
	}
}

static void start_partitions(struct assignment *assignment, const struct position *found, size_t n)
{
	rd_kafka_resp_err_t code;

	assignment->lacks_positions = false;
	choose_starts(assignment, found, n);
	forward_records(assignment);
	code = rd_kafka_assign(assignment->kafka, assignment->assigned);
	if (code)
		log_error("consumer.assign", "message=\"%s\"", rd_kafka_err2str(code));
	pause_what_was(assignment);
}

static void take_away(struct assignment *assignment)
{
	rd_kafka_resp_err_t code = rd_kafka_assign(assignment->kafka, NULL);

	if (code)
		log_warn("consumer.assign", "message=\"%s\"", rd_kafka_err2str(code));
	drop_assigned(assignment);
	assignment->events->on_revoked(assignment->ctx);
}

void assignment_rebalance(struct assignment *assignment, rd_kafka_event_t *event)
{
	const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		take_away(assignment);
		return;
	}
	drop_assigned(assignment);
	assignment->assigned = rd_kafka_topic_partition_list_copy(list);
	assignment->n_refused = 0;
	assignment->lacks_positions = list->cnt > 0;
	if (assignment->lacks_positions)
		look_up(assignment);
	else /* more members than partitions; Kafka does not look up the offsets of nothing */
		start_partitions(assignment, NULL, 0);
}

static void on_positions(void *ctx, const struct position *positions, size_t n, const char *why)
{
	const struct timeval again = { .tv_usec = LOOKUP_AGAIN_MS * 1000 };
	struct assignment *assignment = ctx;

	assignment->is_asking = false;
	if (!assignment->is_looking_up)
		return; /* what it was about is over */
	if (assignment->asked != assignment->lookup) {
		ask(assignment);
		return;
	}
	assignment->is_looking_up = false;
	if (positions) {
		start_partitions(assignment, positions, n);
		return;
	}
	if (++assignment->n_refused % LOOKUPS_TO_WARN == 0)
		log_warn("consumer.lookup", "tries=%u message=\"the group's committed offsets cannot be read: %s\"",
			 assignment->n_refused, why);
	(void)event_add(assignment->lookup_again, &again); /* a timer that exists needs no memory */
}

static void on_lookup_again(evutil_socket_t fd, short what, void *arg)
{
	struct assignment *assignment = arg;

	(void)fd;
	(void)what;
	if (assignment->lacks_positions && !assignment->is_looking_up)
		look_up(assignment);
}

void assignment_is_unreadable(struct assignment *assignment, const rd_kafka_topic_partition_t *where, const char *why)
{
	if (!assignment->assigned ||
	    !rd_kafka_topic_partition_list_find(assignment->assigned, where->topic, where->partition))
		return;
	log_warn("consumer.unreadable", "topic=%s partition=%d offset=%lld message=\"%s\"", where->topic, where->partition,
		 (long long)where->offset, why);
	if (!rd_kafka_topic_partition_list_find(assignment->unreadable, where->topic, where->partition))
		rd_kafka_topic_partition_list_add(assignment->unreadable, where->topic, where->partition)->offset = where->offset;
	if (assignment->lacks_positions)
		return;
	assignment->lacks_positions = true;
	/* First nothing is assigned, as in a rebalance: what ends takes its queue's forward with it, and forward_records()
	 * has to come after that. */
	(void)rd_kafka_assign(assignment->kafka, NULL); /* the next one says what is wrong */
	look_up(assignment);
}

typedef rd_kafka_resp_err_t (*list_fn)(rd_kafka_t *kafka, rd_kafka_topic_partition_list_t *list);

/* If it is started. */
static void call_for(const struct assignment *assignment, list_fn fn, const char *topic, int32_t partition)
{
	rd_kafka_topic_partition_list_t *list;

	if (!assignment->assigned || assignment->lacks_positions ||
	    !rd_kafka_topic_partition_list_find(assignment->assigned, topic, partition))
		return;
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, topic, partition);
	(void)fn(assignment->kafka, list); /* errors are per partition, of lost ones */
	rd_kafka_topic_partition_list_destroy(list);
}

void assignment_pause(struct assignment *assignment, const char *topic, int32_t partition)
{
	if (!rd_kafka_topic_partition_list_find(assignment->paused, topic, partition))
		rd_kafka_topic_partition_list_add(assignment->paused, topic, partition);
	call_for(assignment, rd_kafka_pause_partitions, topic, partition);
}

void assignment_resume(struct assignment *assignment, const char *topic, int32_t partition)
{
	(void)rd_kafka_topic_partition_list_del(assignment->paused, topic, partition); /* fine when it is not there */
	call_for(assignment, rd_kafka_resume_partitions, topic, partition);
}

void assignment_open(struct assignment *assignment, rd_kafka_t *kafka, rd_kafka_queue_t *records)
{
	assignment->kafka = kafka;
	assignment->records = records;
}

void assignment_close(struct assignment *assignment)
{
	drop_assigned(assignment);
	assignment->kafka = NULL;
	assignment->records = NULL;
}

int assignment_new(struct event_base *base, const struct assignment_config *config,
		   const struct consumer_events *events, void *ctx, struct assignment **ret, struct err *err)
{
	cleanup_(assignment_freep) struct assignment *assignment = calloc(1, sizeof(*assignment));

	if (!assignment)
		return err_set(err, ERR_HOST, ENOMEM, "a consumer's assignment");
	assignment->config = *config;
	assignment->events = events;
	assignment->ctx = ctx;
	assignment->unreadable = rd_kafka_topic_partition_list_new(1);
	assignment->paused = rd_kafka_topic_partition_list_new(1);
	assignment->lookup_again = evtimer_new(base, on_lookup_again, assignment);
	if (!assignment->lookup_again)
		return err_set(err, ERR_HOST, ENOMEM, "a consumer's assignment");
	*ret = TAKE_PTR(assignment);
	return 0;
}

void assignment_free(struct assignment *assignment)
{
	if (!assignment)
		return;
	drop_assigned(assignment);
	rd_kafka_topic_partition_list_destroy(assignment->unreadable);
	rd_kafka_topic_partition_list_destroy(assignment->paused);
	if (assignment->lookup_again)
		event_free(assignment->lookup_again);
	free(assignment);
}
