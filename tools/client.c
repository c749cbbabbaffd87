#include "tools/client_parts.h"

#include <assert.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "bus/access.h"

#define EVENTS_PER_TURN 256
#define UUID_CHARS	36

const char *client_topic_name(const struct client *client, enum client_topic topic)
{
	const char *const names[] = { client->topics.tasks, client->topics.control, client->topics.results,
				      client->topics.output };
	static_assert(ARRAY_SIZE(names) == CLIENT_TOPIC_COUNT, "a name for every client_topic");

	return names[topic];
}

/* CLIENT_TOPIC_COUNT when it is none of ours. */
enum client_topic client_topic_of(const struct client *client, const char *name)
{
	unsigned topic = 0;

	while (topic < CLIENT_TOPIC_COUNT && strcmp(name, client_topic_name(client, (enum client_topic)topic)) != 0)
		topic++;
	return (enum client_topic)topic;
}

void client_wake_by(struct client *client, rd_kafka_queue_t *queue)
{
	static const uint64_t one = 1;

	rd_kafka_queue_io_event_enable(queue, client->wake_fd, &one, sizeof(one));
	client->has_more = true; /* what came before this line woke nobody */
}

int client_new(const struct target *target, const struct client_events *events, void *ctx, struct client **ret,
	       struct err *err)
{
	cleanup_(client_freep) struct client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return err_set(err, ERR_HOST, ENOMEM, "a Kafka client");
	if (events)
		client->events = *events;
	client->ctx = ctx;
	memcpy(client->brokers, target->fleet.brokers, sizeof(client->brokers));
	topics_name(target->fleet.topic_prefix, &client->topics);
	client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (client->wake_fd < 0)
		return err_set(err, ERR_HOST, errno, "an eventfd for Kafka");
	r = fleet_use_kafka(&target->fleet, KAFKA_FILES_BY_PATH, err);
	if (r == 0)
		r = client_make_producer(client, err);
	if (r == 0)
		*ret = TAKE_PTR(client);
	return r;
}

void client_until(struct client *client, uint64_t deadline_mono_ms)
{
	client->deadline_mono_ms = deadline_mono_ms;
}

/* What is left of `most_ms`. */
uint64_t client_time_left(const struct client *client, uint64_t most_ms)
{
	uint64_t now = clock_mono_ms();
	uint64_t left = client->deadline_mono_ms > now ? client->deadline_mono_ms - now : 0;

	return client->deadline_mono_ms && left < most_ms ? left : most_ms;
}

bool client_is_late(const struct client *client)
{
	return client->deadline_mono_ms && clock_mono_ms() >= client->deadline_mono_ms;
}

int client_no_answer(const struct client *client, const char *why, struct err *err)
{
	return err_set(
		err, ERR_HOST, 0,
		"Kafka at %.60s does not answer (%.70s). Start a private stack with `mayfly dev start`, or name yours with "
		"--brokers",
		client->brokers, why);
}

/* Once, before anything is sent. */
static int get_in(struct client *client, unsigned timeout_ms, struct err *err)
{
	const struct rd_kafka_metadata *metadata;
	char why[sizeof(err->msg)];
	int r;

	if (client->is_in)
		return 0;
	r = access_ask(client->producer, client->producer_queue, NULL, timeout_ms, &metadata, err);
	if (r < 0 && err->kind == ERR_INPUT)
		return r;
	memcpy(why, err->msg, sizeof(why));
	if (r < 0)
		return client_no_answer(client, why, err);
	rd_kafka_metadata_destroy(metadata);
	client->is_in = true;
	return 0;
}

int client_probe(struct client *client, unsigned timeout_ms, struct err *err)
{
	return get_in(client, timeout_ms, err);
}

/* Kafka makes a static member's id of its instance's name, a '-' and a UUID. */
static bool has_member(const struct rd_kafka_group_info *group, const char *instance)
{
	for (int i = 0; i < group->member_cnt; i++) {
		const char *id = group->members[i].member_id;

		if (!instance || (strlen(id) == strlen(instance) + 1 + UUID_CHARS && id[strlen(instance)] == '-' &&
				  strncmp(id, instance, strlen(instance)) == 0))
			return true;
	}
	return false;
}

bool client_group_is_ready(struct client *client, const char *group, const char *instance, unsigned timeout_ms,
			   const char **ret_refusal)
{
	const struct rd_kafka_group_list *list;
	bool is_ready = false;

	*ret_refusal = NULL;
	if (rd_kafka_list_groups(client->producer, group, &list, (int)timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	for (int i = 0; i < list->group_cnt; i++)
		if (access_is_refusal(list->groups[i].err))
			*ret_refusal = rd_kafka_err2str(list->groups[i].err);
	for (int i = 0; i < list->group_cnt; i++)
		is_ready |= strcmp(list->groups[i].state, "Stable") == 0 && has_member(&list->groups[i], instance);
	rd_kafka_group_list_destroy(list);
	return is_ready;
}

/* The number of partitions, 0 when there is no such topic, or an error. */
static int count_partitions(struct client *client, rd_kafka_t *kafka, const char *topic, struct err *err)
{
	rd_kafka_topic_t *handle;
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code;
	int n = get_in(client, (unsigned)client_time_left(client, CLIENT_ANSWER_MS), err);

	if (n < 0)
		return n;
	handle = rd_kafka_topic_new(kafka, topic, NULL);
	if (!handle)
		return err_set(err, ERR_HOST, 0, "topic '%s': %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
	code = rd_kafka_metadata(kafka, 0, handle, &metadata, (int)client_time_left(client, CLIENT_ANSWER_MS));
	rd_kafka_topic_destroy(handle);
	if (code)
		return client_no_answer(client, rd_kafka_err2str(code), err);
	code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		n = metadata->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	if (access_is_refusal(code))
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us see topic '%s': %s", topic, rd_kafka_err2str(code));
	return n;
}

int client_await_partitions(struct client *client, rd_kafka_t *kafka, const char *topic, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + client_time_left(client, CLIENT_APPEAR_MS);
	int n;

	while ((n = count_partitions(client, kafka, topic, err)) == 0 && clock_mono_ms() < deadline)
		(void)usleep(CLIENT_RETRY_MS * 1000);
	return n ? n
		 : err_set(err, ERR_HOST, 0,
			   "topic '%s' does not exist: no worker has ever run with this prefix. Start one (`mayfly dev start`), "
			   "or name another fleet with --prefix",
			   topic);
}

/* Answers whether more may be left. */
bool client_drain(struct client *client, rd_kafka_queue_t *queue)
{
	for (int i = 0; queue && i < EVENTS_PER_TURN; i++) {
		rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 0);

		if (!event)
			return false;
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
			client_take_deliveries(client, event);
		else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH)
			client_take_records(client, event);
		else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR && queue == client->consumer_queue)
			client_note_refusal(client, rd_kafka_event_error(event), NULL, rd_kafka_event_error_string(event));
		rd_kafka_event_destroy(event);
	}
	return queue != NULL;
}

static void wait_for(struct client *client, struct pollfd *others, size_t n, int timeout_ms)
{
	struct pollfd fds[4] = { { .fd = client->wake_fd, .events = POLLIN } };
	uint64_t ticks;

	assert(n < ARRAY_SIZE(fds));
	for (size_t i = 0; i < n; i++)
		fds[1 + i] = others[i];
	if (poll(fds, 1 + n, client->has_more ? 0 : timeout_ms) < 0)
		memset(fds, 0, sizeof(fds)); /* a signal: nothing is ready */
	for (size_t i = 0; i < n; i++)
		others[i].revents = fds[1 + i].revents;
	if (fds[0].revents)
		(void)!read(client->wake_fd, &ticks, sizeof(ticks)); /* only to empty it */
}

void client_turn(struct client *client, struct pollfd *others, size_t n, int timeout_ms)
{
	bool has_more;

	wait_for(client, others, n, timeout_ms);
	has_more = client_drain(client, client->producer_queue); /* first: a delivery comes before the result of its task */
	client->has_more = client_drain(client, client->consumer_queue) || has_more;
}

static void free_handle(rd_kafka_t *kafka, rd_kafka_queue_t *queue)
{
	if (queue) {
		rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
		rd_kafka_queue_destroy(queue);
	}
	if (kafka)
		rd_kafka_destroy_flags(kafka, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is in no group */
}

void client_free(struct client *client)
{
	if (!client)
		return;
	free_handle(client->consumer, client->consumer_queue);
	free_handle(client->producer, client->producer_queue);
	close_fd(&client->wake_fd);
	free(client);
}
