/* A client for one group, which it never joins: it asks the group's coordinator. It reads committed data only, and
 * with that librdkafka asks for positions that are final: while a transaction that has offsets of the group is open,
 * the answer is that it is not known yet. That is what makes an answer safe to act on. */
#include "bus/positions.h"

#include <string.h>

#include "bus/kafka_conf.h"

struct positions {
	rd_kafka_t *kafka;
	char *group;
};

DEFINE_FREEP(rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy)

int positions_new(const char *brokers, const char *group, struct positions **ret, struct err *err)
{
	const struct kafka_pair pairs[] = {
		{ "bootstrap.servers", brokers },
		{ "group.id", group },
		{ "isolation.level", "read_committed" }, /* makes the look-up wait for transactions in flight */
		{ "enable.auto.commit", "false" },
		{ "log_level", "3" }, /* a broker that is away is told by the failing call */
	};
	cleanup_(positions_freep) struct positions *positions = calloc(1, sizeof(*positions));
	int r;

	if (!positions)
		return err_set(err, ERR_HOST, ENOMEM, "ask for offsets of group %s", group);
	positions->group = strdup(group);
	if (!positions->group)
		return err_set(err, ERR_HOST, ENOMEM, "ask for offsets of group %s", group);
	r = kafka_new(RD_KAFKA_CONSUMER, pairs, ARRAY_SIZE(pairs), 0, NULL, &positions->kafka, err);
	if (r < 0)
		return err_wrap(err, "ask for offsets of group %s", group);
	*ret = TAKE_PTR(positions);
	return 0;
}

static int copy_position(const rd_kafka_topic_partition_t *from, struct position *to, struct err *err)
{
	if (from->err)
		return err_set(err, ERR_BUSY, EAGAIN, "committed offset of partition %d of '%s': %s", from->partition, from->topic,
			       rd_kafka_err2str(from->err));
	if (from->metadata_size > POSITION_METADATA_MAX)
		return err_set(err, ERR_HOST, EMSGSIZE, "commit metadata of partition %d of '%s' has %zu bytes",
			       from->partition, from->topic, from->metadata_size);
	to->next = from->offset >= 0 ? from->offset : -1;
	if (from->metadata_size)
		memcpy(to->metadata, from->metadata, from->metadata_size);
	to->metadata[from->metadata_size] = '\0';
	return 0;
}

int positions_read(struct positions *positions, struct position *list, size_t n, unsigned timeout_ms, struct err *err)
{
	cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *asked =
		rd_kafka_topic_partition_list_new((int)n);
	rd_kafka_resp_err_t code;
	int r = 0;

	for (size_t i = 0; i < n; i++)
		(void)rd_kafka_topic_partition_list_add(asked, list[i].topic, list[i].partition); /* answers the new element */
	code = rd_kafka_committed(positions->kafka, asked, (int)timeout_ms);
	if (code)
		return err_set(err, ERR_BUSY, EAGAIN, "committed offsets of group %s: %s", positions->group, rd_kafka_err2str(code));
	for (size_t i = 0; i < n && r == 0; i++) /* librdkafka keeps the order of the list */
		r = copy_position(&asked->elems[i], &list[i], err);
	return r;
}

/* A group that does not exist has none. Not by the admin client: bus/committed.h says why. */
int positions_has_members(struct positions *positions, unsigned timeout_ms, bool *ret, struct err *err)
{
	const struct rd_kafka_group_list *groups = NULL;
	rd_kafka_resp_err_t code = rd_kafka_list_groups(positions->kafka, positions->group, &groups, (int)timeout_ms);

	if (!code && groups->group_cnt == 1)
		code = groups->groups[0].err;
	if (!code)
		*ret = groups->group_cnt == 1 && groups->groups[0].member_cnt > 0;
	if (groups)
		rd_kafka_group_list_destroy(groups);
	return code ? err_set(err, ERR_BUSY, EAGAIN, "members of group %s: %s", positions->group, rd_kafka_err2str(code)) : 0;
}

int positions_count(struct positions *positions, const char *topic, unsigned timeout_ms, int32_t *ret, struct err *err)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(positions->kafka, topic, NULL);
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t code;

	if (!handle)
		return err_set(err, ERR_HOST, 0, "partitions of %s: %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
	code = rd_kafka_metadata(positions->kafka, 0, handle, &metadata, (int)timeout_ms);
	rd_kafka_topic_destroy(handle);
	if (code)
		return err_set(err, ERR_BUSY, EAGAIN, "partitions of %s: %s", topic, rd_kafka_err2str(code));
	*ret = metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
	rd_kafka_metadata_destroy(metadata);
	return 0;
}

void positions_free(struct positions *positions)
{
	if (!positions)
		return;
	if (positions->kafka)
		rd_kafka_destroy(positions->kafka);
	free(positions->group);
	free(positions);
}
