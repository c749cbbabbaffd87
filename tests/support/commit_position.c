/* commit_position BROKERS GROUP TOPIC PARTITION NEXT [METADATA]: what a worker's transaction commits, for tests of
 * who reads it. (Debian's Python client cannot commit metadata.) */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	char why[200];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *position;
	rd_kafka_resp_err_t code;
	rd_kafka_t *kafka;

	if (argc < 6 || rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof(why)) ||
	    rd_kafka_conf_set(conf, "group.id", argv[2], why, sizeof(why)))
		return 2;
	kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	if (!kafka)
		return 2;
	position = rd_kafka_topic_partition_list_add(list, argv[3], atoi(argv[4]));
	position->offset = atoll(argv[5]);
	if (argc > 6) {
		position->metadata = strdup(argv[6]); /* the list frees it */
		position->metadata_size = strlen(argv[6]);
	}
	code = rd_kafka_commit(kafka, list, 0);
	if (code)
		(void)fprintf(stderr, "commit: %s\n", rd_kafka_err2str(code));
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(kafka);
	return code ? 1 : 0;
}
