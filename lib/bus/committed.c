#include "bus/committed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/own.h"
#include "bus/kafka_conf.h"

#define ANSWER_MS 5000 /* of one request */

struct request {
	LIST_ENTRY(request) link;
	committed_fn fn;
	void *ctx;
};

struct committed {
	rd_kafka_t *kafka;
	rd_kafka_queue_t *answers; /* the wake's reference keeps it */
	struct kafka_wake *wake;
	char *topic;
	LIST_HEAD(requests, request) in_flight;
};

/* NULL when anything of the answer is missing or wrong. */
static const rd_kafka_topic_partition_list_t *list_of(rd_kafka_event_t *event, const char **why)
{
	const rd_kafka_group_result_t **groups;
	const rd_kafka_topic_partition_list_t *list;
	size_t n = 0;

	*why = rd_kafka_event_error_string(event);
	if (rd_kafka_event_error(event))
		return NULL;
	groups = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &n);
	if (n != 1 || rd_kafka_group_result_error(groups[0])) {
		*why = n == 1 ? rd_kafka_error_string(rd_kafka_group_result_error(groups[0])) : "no group in the answer";
		return NULL;
	}
	list = rd_kafka_group_result_partitions(groups[0]);
	for (int i = 0; list && i < list->cnt; i++) {
		if (!list->elems[i].err)
			continue;
		*why = rd_kafka_err2str(list->elems[i].err);
		return NULL;
	}
	return list;
}

static void answer(const struct request *request, const rd_kafka_topic_partition_list_t *list)
{
	size_t n = (size_t)list->cnt;
	struct committed_position *positions = calloc(n + 1, sizeof(*positions));
	char **metadata = calloc(n + 1, sizeof(*metadata));

	assert(positions && metadata); /* a few bytes a partition */
	for (size_t i = 0; i < n; i++) {
		const rd_kafka_topic_partition_t *one = &list->elems[i];

		metadata[i] = strndup(one->metadata ? one->metadata : "", one->metadata_size); /* theirs has no end */
		assert(metadata[i]);
		positions[i] = (struct committed_position){ .partition = one->partition,
							    .next = one->offset >= 0 ? one->offset : -1,
							    .metadata = metadata[i] };
	}
	request->fn(request->ctx, positions, n);
	for (size_t i = 0; i < n; i++)
		free(metadata[i]);
	free(metadata);
	free(positions);
}

static void on_wake(void *ctx)
{
	struct committed *committed = ctx;
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(committed->answers, 0))) {
		struct request *request = rd_kafka_event_opaque(event);
		const char *why = "";
		const rd_kafka_topic_partition_list_t *list = list_of(event, &why);

		if (list) {
			answer(request, list);
		} else {
			log_debug("committed.read", "topic=%s message=\"%s\"", committed->topic, why);
			request->fn(request->ctx, NULL, 0);
		}
		LIST_REMOVE(request, link);
		free(request);
		rd_kafka_event_destroy(event);
	}
}

void committed_read(struct committed *committed, const char *group, const int32_t *partitions, size_t n, committed_fn fn,
		    void *ctx)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(committed->kafka, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
	struct request *request = malloc(sizeof(*request));
	rd_kafka_ListConsumerGroupOffsets_t *ask;
	char why[200];

	assert(request && n > 0);
	*request = (struct request){ .fn = fn, .ctx = ctx };
	LIST_INSERT_HEAD(&committed->in_flight, request, link);
	for (size_t i = 0; i < n; i++)
		(void)rd_kafka_topic_partition_list_add(list, committed->topic, partitions[i]); /* answers the new element */
	rd_kafka_error_destroy(rd_kafka_AdminOptions_set_require_stable_offsets(options, 1));
	(void)rd_kafka_AdminOptions_set_request_timeout(options, ANSWER_MS, why, sizeof(why)); /* in range */
	rd_kafka_AdminOptions_set_opaque(options, request);
	ask = rd_kafka_ListConsumerGroupOffsets_new(group, list);
	rd_kafka_ListConsumerGroupOffsets(committed->kafka, &ask, 1, options, committed->answers);
	rd_kafka_ListConsumerGroupOffsets_destroy(ask);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_topic_partition_list_destroy(list);
}

DEFINE_FREEP(struct committed, committed_free)

int committed_new(struct event_base *base, const char *brokers, const char *topic, struct committed **ret, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers }, { "log_level", "3" } };
	cleanup_(committed_freep) struct committed *committed = calloc(1, sizeof(*committed));
	int r;

	if (committed)
		committed->topic = strdup(topic);
	if (!committed || !committed->topic)
		return err_set(err, ERR_HOST, ENOMEM, "ask for committed offsets");
	r = kafka_new(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), 0, NULL, &committed->kafka, err);
	if (r < 0)
		return err_wrap(err, "ask for committed offsets");
	committed->answers = rd_kafka_queue_new(committed->kafka);
	r = kafka_wake_new(base, committed->answers, on_wake, committed, &committed->wake, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(committed);
	return 0;
}

void committed_free(struct committed *committed)
{
	struct request *request;

	if (!committed)
		return;
	kafka_wake_free(committed->wake);
	if (committed->kafka)
		rd_kafka_destroy(committed->kafka);
	while ((request = LIST_FIRST(&committed->in_flight))) {
		LIST_REMOVE(request, link);
		free(request);
	}
	free(committed->topic);
	free(committed);
}
