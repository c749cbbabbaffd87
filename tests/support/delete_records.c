/* delete_records BROKERS TOPIC PARTITION BEFORE: what retention does, at once: the partition begins at BEFORE (-1: at its end). (Debian's
 * Python client cannot.) */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

static rd_kafka_resp_err_t outcome(rd_kafka_event_t *event)
{
	if (!event)
		return RD_KAFKA_RESP_ERR__TIMED_OUT;
	if (rd_kafka_event_error(event))
		return rd_kafka_event_error(event);
	return rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event))->elems[0].err;
}

static rd_kafka_resp_err_t delete_before(rd_kafka_t *kafka, const char *topic, int partition, int64_t before)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
	rd_kafka_DeleteRecords_t *request;
	rd_kafka_event_t *event;
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before;
	request = rd_kafka_DeleteRecords_new(list);
	rd_kafka_DeleteRecords(kafka, &request, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, 30000);
	code = outcome(event);
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_DeleteRecords_destroy(request);
	rd_kafka_topic_partition_list_destroy(list);
	return code;
}

int main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_resp_err_t code;
	char why[200];
	rd_kafka_t *kafka;

	if (argc < 5 || rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof(why)))
		return 2;
	kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (!kafka)
		return 2;
	code = delete_before(kafka, argv[2], atoi(argv[3]), atoll(argv[4]));
	if (code)
		(void)fprintf(stderr, "delete: %s\n", rd_kafka_err2str(code));
	rd_kafka_destroy(kafka);
	return code ? 1 : 0;
}
