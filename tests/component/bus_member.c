/* A worker that does nothing with its records but answer each once: the bus, the partitions and the outbox of the real one,
 * without leases, disks and VMs. bus_test.py kills it.
 *
 * usage: bus-member BROKERS PREFIX INSTANCE TRANSACTIONAL_ID [WORD...]
 *   hold=N    every Nth record is never done         slow=MS   a record is done after up to MS ms (20)
 *   timeout=MS of a transaction (10000)              juggle    pause, resume and rewind at random
 *   urgent    also the records of PREFIX.urgent, which are called "urgent:PARTITION/OFFSET"
 *   copy      a second message with each answer, on the output topic
 *   fence=TRANSACTIONAL_ID before anything else      exit, after the words before it
 *   or a fault of bus_fault.h
 * Says on stdout what happens, a line for each event. SIGTERM ends it in order. */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "bus/producer.h"
#include "bus/topics.h"
#include "tests/component/bus_fault.h"
#include "worker/outbox.h"

#define PARTITION_COUNT 4
#define TICK_MS         20
#define SESSION_MS      6000
#define PER_TURN        200
#define FENCE_MS        20000

LIST_HEAD(work_list, work);

struct member {
	struct event_base *base;
	struct committed *committed;
	struct consumer *consumer;
	struct partitions *partitions;
	struct outbox *outbox;
	struct topics topics;
	const char *name;
	long hold, slow_ms, timeout_ms;
	bool is_juggling, is_copying;
	char urgent[128];
	const char *sources[2];
	size_t n_sources;
	struct work_list works;
};

struct work {
	LIST_ENTRY(work) link;
	struct member *member;
	struct outbox_source source;
	struct event *due;
};

/* What records are called in what is said and told. */
static const char *name_of(const struct record_place *place, char name[64])
{
	const char *prefix = strcmp(strrchr(place->topic, '.'), ".urgent") == 0 ? "urgent:" : "";

	(void)snprintf(name, 64, "%s%d/%lld", prefix, place->partition, (long long)place->offset);
	return name;
}

static void work_free(struct work *work)
{
	LIST_REMOVE(work, link);
	if (work->due)
		event_free(work->due);
	free(work);
}

static void on_told(void *ctx, bool is_told)
{
	struct work *work = ctx;
	char name[64];

	(void)printf("%s %s\n", is_told ? "told" : "dropped", name_of(&work->source.place, name));
	work_free(work);
}

static void fill_message(struct outbox_message *message, const struct member *member, const char *topic, const char *key)
{
	*message = (struct outbox_message){ .topic = topic, .key = key, .key_len = strlen(key), .on_refusal = OUTBOX_REFUSAL_LEAVE_OUT };
	if (buf_append(&message->data, member->name, strlen(member->name)) < 0)
		abort();
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct work *work = arg;
	struct member *member = work->member;
	struct outbox_message messages[2];
	char key[64];

	(void)fd;
	(void)what;
	event_free(TAKE_PTR(work->due));
	(void)name_of(&work->source.place, key);
	fill_message(&messages[0], member, member->topics.results, key);
	fill_message(&messages[1], member, member->topics.output, key);
	if (outbox_add(member->outbox, &work->source, messages, member->is_copying ? 2 : 1, NULL, on_told, work) < 0)
		abort();
	outbox_message_clear(&messages[1]); /* if it was not taken */
}

static void begin_work(struct member *member, const struct partition *partition, int64_t offset)
{
	const struct timeval delay = { .tv_usec = random() % (member->slow_ms * 1000 + 1) };
	struct work *work = calloc(1, sizeof(*work));

	if (!work)
		abort();
	LIST_INSERT_HEAD(&member->works, work, link);
	work->member = member;
	work->source =
		(struct outbox_source){ { partition->topic, partition->id, offset }, partition->epoch };
	work->due = evtimer_new(member->base, on_due, work);
	(void)event_add(work->due, &delay);
}

static void on_record(void *ctx, const struct consumer_record *record)
{
	struct member *member = ctx;
	const struct record_place *place = &record->place;
	struct partition *partition = partitions_find(member->partitions, place->topic, place->partition);
	char name[64];

	if (!partition)
		return;
	if (member->is_juggling && random() % 50 == 0) {
		consumer_rewind(member->consumer, place);
		return;
	}
	bus_fault_seen(place->partition, place->offset);
	if (partition_receive(partition, place->offset) != PARTITION_RECEIPT_NEW) {
		(void)printf("skip %s\n", name_of(place, name));
		return;
	}
	(void)printf("record %s %lld\n", name_of(place, name), (long long)clock_wall_ms() - (long long)record->time_ms);
	if (!member->hold || place->offset % member->hold)
		begin_work(member, partition, place->offset);
}

static void on_assigned(void *ctx, struct consumer_position *positions, size_t n)
{
	struct member *member = ctx;

	partitions_begin(member->partitions);
	(void)printf("assigned");
	for (size_t i = 0; i < n; i++) {
		positions[i].start =
			partitions_assign(member->partitions, positions[i].topic, positions[i].partition, positions[i].committed,
					  positions[i].metadata, positions[i].start);
		if (topic_is_same(positions[i].topic, member->topics.tasks))
			(void)printf(" %d@%lld", positions[i].partition, (long long)positions[i].committed);
	}
	(void)printf("\n");
	partitions_end_assignment(member->partitions);
	outbox_pump(member->outbox);
}

static void on_end(void *ctx, const struct record_place *end)
{
	(void)ctx;
	(void)end;
}

static void on_revoked(void *ctx)
{
	struct member *member = ctx;

	(void)printf("revoked\n");
	partitions_suspend(member->partitions);
}

static void on_fault(void *ctx, const struct err *err)
{
	(void)ctx;
	(void)printf("fault %s\n", err->msg);
	exit(3);
}

static void on_fenced(void *ctx, const char *why)
{
	(void)ctx;
	(void)printf("fenced %s\n", why);
	_exit(4); /* as the worker: nothing more is to be said to anybody */
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct member *member = arg;
	const char *topic = member->sources[(size_t)random() % member->n_sources];

	(void)fd;
	(void)what;
	if (!member->is_juggling)
		return;
	if (random() % 2)
		consumer_pause(member->consumer, topic, (int32_t)(random() % PARTITION_COUNT));
	for (int32_t i = 0; i < PARTITION_COUNT && random() % 2; i++)
		consumer_resume(member->consumer, topic, i);
	if (random() % 2)
		consumer_pause_all(member->consumer);
	else
		consumer_resume_all(member->consumer);
}

static void on_terminate(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)event_base_loopbreak(arg);
}

static void take_word(struct member *member, const char *brokers, const char *word)
{
	struct err err;

	if (bus_fault_add(word) || sscanf(word, "hold=%ld", &member->hold) == 1 ||
	    sscanf(word, "slow=%ld", &member->slow_ms) == 1 || sscanf(word, "timeout=%ld", &member->timeout_ms) == 1)
		return;
	if (strcmp(word, "juggle") == 0) {
		member->is_juggling = true;
	} else if (strcmp(word, "copy") == 0) {
		member->is_copying = true;
	} else if (strcmp(word, "urgent") == 0) {
		member->sources[member->n_sources++] = member->urgent;
	} else if (strcmp(word, "exit") == 0) {
		exit(0);
	} else if (strncmp(word, "fence=", 6) == 0) {
		if (producer_fence(brokers, word + 6, FENCE_MS, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.msg);
			exit(5);
		}
		(void)printf("fenced %s\n", word + 6);
	} else {
		(void)fprintf(stderr, "bus-member: '%s' is no word of its\n", word);
		exit(2);
	}
}

static void on_plan(void *ctx)
{
	(void)ctx; /* what was sent before a result could be seen is nothing to this member */
}

static int open_member(struct member *member, char **argv, struct err *err)
{
	static const struct consumer_events events = { on_record, on_assigned, on_revoked, on_end, on_fault };
	struct consumer_config consumer = { .brokers = argv[1],
						  .group = argv[2],
						  .instance_id = argv[3],
						  .topics = member->sources,
						  .n_topics = member->n_sources,
						  .session_timeout_ms = SESSION_MS,
						  .per_turn = PER_TURN };
	const struct outbox_config outbox = { .on_plan = on_plan,
					      .publisher = { .brokers = argv[1],
							     .transactional_id = argv[4],
							     .group = argv[2],
							     .transaction_timeout_ms = (unsigned)member->timeout_ms } };
	int r = committed_new(member->base, argv[1], &member->committed, err);

	consumer.committed = member->committed;
	if (r == 0)
		r = consumer_new(member->base, &consumer, &events, member, &member->consumer, err);
	if (r == 0)
		r = outbox_new(member->base, &outbox, member->consumer, member->partitions, on_fenced, member,
			       &member->outbox, err);
	return r;
}

int main(int argc, char **argv)
{
	struct member member = { .slow_ms = 20, .timeout_ms = 10000 };
	const struct timeval step = { .tv_usec = TICK_MS * 1000 };
	struct event *tick, *terminate;
	struct err err;

	if (argc < 5)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init("bus-member", LOG_LEVEL_DEBUG);
	srandom((unsigned)clock_mono_ns());
	member.name = argv[4];
	topics_name(argv[2], &member.topics);
	(void)snprintf(member.urgent, sizeof(member.urgent), "%s.urgent", argv[2]);
	member.sources[member.n_sources++] = member.topics.tasks;
	for (int i = 5; i < argc; i++)
		take_word(&member, argv[1], argv[i]);
	member.base = event_base_new();
	member.partitions = partitions_new();
	tick = event_new(member.base, -1, EV_PERSIST, on_tick, &member);
	terminate = evsignal_new(member.base, SIGTERM, on_terminate, member.base);
	(void)event_add(tick, &step);
	(void)event_add(terminate, NULL);
	if (topics_ensure(argv[1], &member.topics, PARTITION_COUNT, 30000, &err) < 0 ||
	    open_member(&member, argv, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	(void)event_base_dispatch(member.base);
	outbox_free(member.outbox);
	committed_free(member.committed);
	consumer_free(member.consumer);
	partitions_free(member.partitions);
	while (!LIST_EMPTY(&member.works))
		work_free(LIST_FIRST(&member.works));
	event_free(tick);
	event_free(terminate);
	event_base_free(member.base);
	return 0;
}
