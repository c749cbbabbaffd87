/* A worker that does nothing with its records but answer each once: the bus, the partitions and the outbox of the real one,
 * without leases, disks and VMs. bus_test.py kills it.
 *
 * usage: bus-member BROKERS PREFIX INSTANCE TRANSACTIONAL_ID [WORD...]
 *   hold=N    every Nth record is never done         slow=MS   a record is done after up to MS ms (20)
 *   timeout=MS of a transaction (10000)              juggle    pause, resume and rewind at random
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
	bool is_juggling;
	struct work_list works;
};

struct work {
	LIST_ENTRY(work) link;
	struct member *member;
	struct outbox_source source;
	struct event *due;
};

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

	(void)printf("%s %d/%lld\n", is_told ? "told" : "dropped", work->source.place.partition,
		     (long long)work->source.place.offset);
	work_free(work);
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct work *work = arg;
	struct outbox_message message = { .topic = work->member->topics.results, .on_refusal = OUTBOX_REFUSAL_LEAVE_OUT };
	char key[40];

	(void)fd;
	(void)what;
	event_free(TAKE_PTR(work->due));
	message.key = key;
	message.key_len = (size_t)snprintf(key, sizeof(key), "%d/%lld", work->source.place.partition, (long long)work->source.place.offset);
	if (buf_append(&message.data, work->member->name, strlen(work->member->name)) < 0 ||
	    outbox_add(work->member->outbox, &work->source, &message, 1, NULL, on_told, work) < 0)
		abort();
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
	struct partition *partition = partitions_find(member->partitions, member->topics.tasks, record->partition);

	if (!partition)
		return;
	if (member->is_juggling && random() % 50 == 0) {
		consumer_rewind(member->consumer, record->partition, record->offset);
		return;
	}
	bus_fault_seen(record->partition, record->offset);
	if (partition_receive(partition, record->offset) != PARTITION_RECEIPT_NEW) {
		(void)printf("skip %d/%lld\n", record->partition, (long long)record->offset);
		return;
	}
	(void)printf("record %d/%lld %lld\n", record->partition, (long long)record->offset,
		     (long long)clock_wall_ms() - (long long)record->time_ms);
	if (!member->hold || record->offset % member->hold)
		begin_work(member, partition, record->offset);
}

static void on_assigned(void *ctx, struct consumer_position *positions, size_t n)
{
	struct member *member = ctx;

	partitions_begin(member->partitions);
	(void)printf("assigned");
	for (size_t i = 0; i < n; i++) {
		positions[i].start =
			partitions_assign(member->partitions, member->topics.tasks, positions[i].partition, positions[i].committed,
					  positions[i].metadata, positions[i].start);
		(void)printf(" %d@%lld", positions[i].partition, (long long)positions[i].committed);
	}
	(void)printf("\n");
	partitions_end_assignment(member->partitions);
	outbox_pump(member->outbox);
}

static void on_end(void *ctx, int32_t partition, int64_t offset)
{
	(void)ctx;
	(void)partition;
	(void)offset;
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
	(void)fd;
	(void)what;
	if (!member->is_juggling)
		return;
	if (random() % 2)
		consumer_pause(member->consumer, (int32_t)(random() % PARTITION_COUNT));
	for (int32_t i = 0; i < PARTITION_COUNT && random() % 2; i++)
		consumer_resume(member->consumer, i);
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
	} else if (strcmp(word, "exit") == 0) {
		exit(0);
	} else if (strncmp(word, "fence=", 6) == 0) {
		if (publisher_fence(brokers, word + 6, FENCE_MS, &err) < 0) {
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
						  .topic = member->topics.tasks,
						  .session_timeout_ms = SESSION_MS,
						  .per_turn = PER_TURN };
	const struct outbox_config outbox = { .on_plan = on_plan,
					      .publisher = { .brokers = argv[1],
							     .transactional_id = argv[4],
							     .group = argv[2],
							     .transaction_timeout_ms = (unsigned)member->timeout_ms } };
	int r = committed_new(member->base, argv[1], member->topics.tasks, &member->committed, err);

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
	for (int i = 5; i < argc; i++)
		take_word(&member, argv[1], argv[i]);
	topics_name(argv[2], &member.topics);
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
