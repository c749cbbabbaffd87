#include "bus/access.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "bus/kafka_conf.h"

#define SLICE_MS   200  /* of a question that is asked again while there is no answer */
#define REGISTER_MS 150 /* for a topic to be made part of a transaction, and that to be answered */
#define SECOND_MS  1000 /* after a refusal, for another broker of the list to let us in */
#define TRANSACTION_MS "10000" /* of a check whose process died: readers wait for its end */
#define SCRAM_VERSION 0x020601ff /* librdkafka's first that answers with the server's nonce as it is; Kafka 4 takes no other */
#define NEVER_SENT "9000"      /* linger.ms, which must be less: longer than a check takes; and if not, the record is aborted */

/* A handle, its queue or a topic that could not be made is NULL, which librdkafka does not take. */
static void handle_destroyp(rd_kafka_t **kafka)
{
	if (*kafka)
		rd_kafka_destroy(*kafka);
}

static void queue_destroyp(rd_kafka_queue_t **queue)
{
	if (*queue)
		rd_kafka_queue_destroy(*queue);
}

DEFINE_FREEP(rd_kafka_topic_t, rd_kafka_topic_destroy)
DEFINE_FREEP(rd_kafka_topic_partition_list_t, rd_kafka_topic_partition_list_destroy)

bool access_is_refusal(rd_kafka_resp_err_t code)
{
	static const rd_kafka_resp_err_t refusals[] = {
		RD_KAFKA_RESP_ERR__AUTHENTICATION,
		RD_KAFKA_RESP_ERR__SSL,
		RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
		RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM,
		RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
	};

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (refusals[i] == code)
			return true;
	return false;
}

struct asking {
	bool is_refused, is_scram, is_our_certificate;
	uint64_t refused_mono_ms;
	char why[200]; /* the last error that says something */
};

/* With TLS 1.3 it comes after the handshake, and librdkafka calls it a lost connection. */
static bool is_our_certificate(const char *text)
{
	const char *alert = strstr(text, " alert ");

	return alert && (strstr(alert, "certificate") || strstr(alert, "unknown ca"));
}

static void hear(struct asking *asking, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(event);
	const char *text = rd_kafka_event_error_string(event);

	if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_ERROR || asking->is_refused ||
	    (asking->why[0] && code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN))
		return;
	(void)snprintf(asking->why, sizeof(asking->why), "%.199s", text);
	asking->why[strcspn(asking->why, "\n")] = '\0';
	asking->is_our_certificate = is_our_certificate(text);
	if (!access_is_refusal(code) && !asking->is_our_certificate)
		return;
	asking->is_refused = true;
	asking->is_scram = strstr(text, "SCRAM");
	asking->refused_mono_ms = clock_mono_ms();
}

/* What librdkafka and OpenSSL say is for those who know their sources. "": as they say it. */
static const char *explain(const struct asking *asking)
{
	if (strstr(asking->why, "certificate verify failed"))
		return "the broker's certificate is not one we trust: it expired, is for another name, or of an authority that "
		       "ssl.ca.location does not have";
	if (asking->is_our_certificate)
		return "the broker does not trust our certificate: it expired, or is of an authority that is not known there";
	return "";
}

static int refuse_entry(const struct asking *asking, struct err *err)
{
	const char *meaning = explain(asking);
	int broker_len = (int)strcspn(asking->why, " ");

	if (*meaning)
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us in: %.*s %s", broker_len < 70 ? broker_len : 70,
			       asking->why, meaning);
	if (!asking->is_scram || rd_kafka_version() >= SCRAM_VERSION)
		return err_set(err, ERR_INPUT, 0, "Kafka does not let us in: %s", asking->why);
	return err_set(err, ERR_INPUT, 0,
		       "Kafka does not let us in: %.*s SCRAM fails. The user or the password is wrong, or it is Kafka 4, with which "
		       "librdkafka %.12s cannot do SCRAM (2.6.1 can)",
		       broker_len < 70 ? broker_len : 70, asking->why, rd_kafka_version_str());
}

static void listen_once(struct asking *asking, rd_kafka_queue_t *queue)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(queue, 0))) {
		hear(asking, event);
		rd_kafka_event_destroy(event);
	}
}

int access_ask(rd_kafka_t *kafka, rd_kafka_queue_t *queue, rd_kafka_topic_t *topic, unsigned timeout_ms,
	       const struct rd_kafka_metadata **ret, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	struct asking asking = { 0 };
	rd_kafka_resp_err_t code;

	while ((code = rd_kafka_metadata(kafka, 0, topic, ret, SLICE_MS))) {
		uint64_t now = clock_mono_ms();

		listen_once(&asking, queue);
		if (asking.is_refused && now - asking.refused_mono_ms >= SECOND_MS)
			return refuse_entry(&asking, err);
		if (now >= deadline)
			return err_set(err, ERR_HOST, 0, "%s", asking.why[0] ? asking.why : rd_kafka_err2str(code));
	}
	return 0;
}

static int open_handle(rd_kafka_type_t type, const struct kafka_pair *pairs, size_t n_pairs, rd_kafka_t **ret,
		       rd_kafka_queue_t **ret_queue, struct err *err)
{
	int r = kafka_new(type, pairs, n_pairs, RD_KAFKA_EVENT_ERROR, NULL, ret, err);

	if (r < 0)
		return r;
	*ret_queue = rd_kafka_queue_get_main(*ret);
	return 0;
}

int access_reach(const char *brokers, unsigned patience_ms, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", brokers }, { "log_level", "0" } };
	cleanup_(handle_destroyp) rd_kafka_t *kafka = NULL;
	cleanup_(queue_destroyp) rd_kafka_queue_t *queue = NULL;
	const struct rd_kafka_metadata *metadata;
	int r = open_handle(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), &kafka, &queue, err);

	if (r == 0)
		r = access_ask(kafka, queue, NULL, patience_ms, &metadata, err);
	if (r == 0)
		rd_kafka_metadata_destroy(metadata);
	return r;
}

static int refuse(rd_kafka_resp_err_t code, const char *verb, const char *object, struct err *err)
{
	return err_set(err, access_is_refusal(code) ? ERR_INPUT : ERR_HOST, 0,
		       "Kafka does not let us %s '%.90s': %.60s (docs/operations.md has the list)", verb, object, rd_kafka_err2str(code));
}

/* 1: it is there. 0: it is not, or not yet; then there is nothing to try. */
static int check_topic(rd_kafka_t *kafka, rd_kafka_queue_t *queue, const char *name, unsigned timeout_ms, struct err *err)
{
	cleanup_(rd_kafka_topic_destroyp) rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, name, NULL);
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code;
	int r = access_ask(kafka, queue, topic, timeout_ms, &metadata, err);

	if (r < 0)
		return r;
	code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	rd_kafka_metadata_destroy(metadata);
	return access_is_refusal(code) ? refuse(code, "see topic", name, err) : code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Of `names` those that are there; the array holds them all. */
static int check_topics(rd_kafka_t *kafka, rd_kafka_queue_t *queue, const char *const *names, size_t n, unsigned timeout_ms,
			const char **there, size_t *ret_there, struct err *err)
{
	int r = 0;

	*ret_there = 0;
	for (size_t i = 0; i < n && r >= 0; i++) {
		r = check_topic(kafka, queue, names[i], timeout_ms, err);
		if (r == 1)
			there[(*ret_there)++] = names[i];
	}
	return r < 0 ? r : 0;
}

/* Takes `error`. Only refusals count: whatever else goes wrong here is told by those who do it in earnest. */
static int judge(rd_kafka_error_t *error, const char *verb, const char *object, struct err *err)
{
	rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
	int r = access_is_refusal(code) ? refuse(code, verb, object, err) : 0;

	if (error)
		rd_kafka_error_destroy(error);
	return r;
}

/* `written`: the topic that was made part of the transaction just before, if any. */
static int send_offset(rd_kafka_t *kafka, const struct access_needs *needs, const char *written, unsigned timeout_ms,
		       struct err *err)
{
	cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(1);
	const char *group = needs->groups[needs->n_groups - 1];
	rd_kafka_consumer_group_metadata_t *membership = rd_kafka_consumer_group_metadata_new(group);
	rd_kafka_error_t *error;

	rd_kafka_topic_partition_list_add(list, needs->reads[0], 0)->offset = 0;
	error = rd_kafka_send_offsets_to_transaction(kafka, list, membership, (int)timeout_ms);
	rd_kafka_consumer_group_metadata_destroy(membership);
	return judge(error, written ? "write to topic" : "commit offsets as group", written ? written : group, err);
}

/* A producer that does not know the topic yet would register nothing. */
static int try_write(rd_kafka_t *kafka, rd_kafka_queue_t *queue, const struct access_needs *needs, const char *name,
		     unsigned timeout_ms, struct err *err)
{
	cleanup_(rd_kafka_topic_destroyp) rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, name, NULL);
	const struct rd_kafka_metadata *metadata;
	int r = access_ask(kafka, queue, topic, timeout_ms, &metadata, err);

	if (r < 0)
		return r;
	rd_kafka_metadata_destroy(metadata);
	if (rd_kafka_produce(topic, 0, 0, NULL, 0, NULL, 0, NULL) < 0)
		return 0; /* told by who writes in earnest */
	for (uint64_t until = clock_mono_ms() + REGISTER_MS; r == 0 && clock_mono_ms() < until;)
		r = send_offset(kafka, needs, name, timeout_ms, err);
	return r;
}

/* Writing to a topic and for a group begins with making it part of the transaction, which is refused without its ACL; the record
 * itself lingers and is dropped by the abort. A topic is registered by a timer of a millisecond; that it was refused is
 * the answer of a request about offsets after that. */
static int try_writes(rd_kafka_t *kafka, rd_kafka_queue_t *queue, const struct access_needs *needs, unsigned timeout_ms,
		      struct err *err)
{
	int r = judge(rd_kafka_begin_transaction(kafka), "begin a transaction as", needs->transactional_id, err);

	if (r == 0)
		r = send_offset(kafka, needs, NULL, timeout_ms, err);
	for (size_t i = 0; i < needs->n_writes && r == 0; i++)
		r = try_write(kafka, queue, needs, needs->writes[i], timeout_ms, err);
	return r;
}

static int check_transaction(const struct access_needs *needs, unsigned timeout_ms, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", needs->brokers },
					    { "transactional.id", needs->transactional_id },
					    { "transaction.timeout.ms", TRANSACTION_MS },
					    { "linger.ms", NEVER_SENT },
					    { "message.timeout.ms", TRANSACTION_MS },
					    { "retry.backoff.ms", "5" },
					    { "log_level", "0" } };
	cleanup_(handle_destroyp) rd_kafka_t *kafka = NULL;
	cleanup_(queue_destroyp) rd_kafka_queue_t *queue = NULL;
	rd_kafka_error_t *error;
	int r = open_handle(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), &kafka, &queue, err);

	if (r < 0)
		return r;
	r = judge(rd_kafka_init_transactions(kafka, (int)timeout_ms), "use the transactional id", needs->transactional_id, err);
	if (r == 0)
		r = try_writes(kafka, queue, needs, timeout_ms, err);
	error = rd_kafka_abort_transaction(kafka, (int)timeout_ms);
	if (error) /* the broker does it, after TRANSACTION_MS or when the id is used again */
		rd_kafka_error_destroy(error);
	return r;
}

/* That the group's coordinator may not be asked for is said in the queue alone, and asked again. */
static rd_kafka_resp_err_t heard_refusal(rd_kafka_t *kafka)
{
	rd_kafka_resp_err_t found = RD_KAFKA_RESP_ERR_NO_ERROR;
	rd_kafka_message_t *message;

	while ((message = rd_kafka_consumer_poll(kafka, 0))) {
		if (access_is_refusal(message->err))
			found = message->err;
		rd_kafka_message_destroy(message);
	}
	return found;
}

/* A handle looks at its own group's. */
static int check_group(const struct access_needs *needs, const char *group, rd_kafka_t *kafka, unsigned timeout_ms,
		       struct err *err)
{
	cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(1);
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	rd_kafka_resp_err_t code;

	(void)rd_kafka_poll_set_consumer(kafka);
	rd_kafka_topic_partition_list_add(list, needs->reads[0], 0);
	while ((code = rd_kafka_committed(kafka, list, SLICE_MS)) && !access_is_refusal(code)) {
		code = heard_refusal(kafka);
		if (code || clock_mono_ms() >= deadline)
			break;
	}
	return access_is_refusal(code) ? refuse(code, "see offsets of group", group, err) : 0;
}

/* Until every topic has shown its end or a record, or was refused. */
static int try_reads(rd_kafka_t *kafka, const struct access_needs *needs, unsigned timeout_ms, struct err *err)
{
	cleanup_(rd_kafka_topic_partition_list_destroyp) rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)needs->n_reads);
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	int r = 0;

	for (size_t i = 0; i < needs->n_reads; i++)
		rd_kafka_topic_partition_list_add(list, needs->reads[i], 0)->offset = RD_KAFKA_OFFSET_END;
	(void)rd_kafka_assign(kafka, list); /* fails only without a group */
	while (list->cnt && r == 0 && clock_mono_ms() < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka, SLICE_MS);
		const char *name = message && message->rkt ? rd_kafka_topic_name(message->rkt) : NULL;

		if (name && access_is_refusal(message->err))
			r = refuse(message->err, "read topic", name, err);
		else if (name && (!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF))
			(void)rd_kafka_topic_partition_list_del(list, name, 0); /* it may be gone already */
		if (message)
			rd_kafka_message_destroy(message);
	}
	return r;
}

static int check_as_group(const struct access_needs *needs, size_t which, unsigned timeout_ms, struct err *err)
{
	const char *group = needs->groups[which];
	const struct kafka_pair pairs[] = { { "bootstrap.servers", needs->brokers },
					    { "group.id", group }, /* nothing joins it */
					    { "enable.auto.commit", "false" },
					    { "enable.partition.eof", "true" },
					    { "fetch.wait.max.ms", "10" },
					    { "log_level", "0" } };
	cleanup_(handle_destroyp) rd_kafka_t *kafka = NULL;
	int r = kafka_new(RD_KAFKA_CONSUMER, pairs, ARRAY_SIZE(pairs), 0, NULL, &kafka, err);

	if (r == 0)
		r = check_group(needs, group, kafka, timeout_ms, err);
	return r == 0 && which == 0 ? try_reads(kafka, needs, timeout_ms, err) : r;
}

static int check_reads(const struct access_needs *needs, unsigned timeout_ms, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < needs->n_groups && r == 0; i++)
		r = check_as_group(needs, i, timeout_ms, err);
	return r;
}

static int check_there(const struct access_needs *needs, struct access_needs *ret, const char **reads, const char **writes,
		       unsigned timeout_ms, struct err *err)
{
	const struct kafka_pair pairs[] = { { "bootstrap.servers", needs->brokers }, { "log_level", "0" } };
	cleanup_(handle_destroyp) rd_kafka_t *kafka = NULL;
	cleanup_(queue_destroyp) rd_kafka_queue_t *queue = NULL;
	int r = open_handle(RD_KAFKA_PRODUCER, pairs, ARRAY_SIZE(pairs), &kafka, &queue, err);

	*ret = *needs;
	ret->reads = reads;
	ret->writes = writes;
	if (r == 0)
		r = check_topics(kafka, queue, needs->reads, needs->n_reads, timeout_ms, reads, &ret->n_reads, err);
	return r < 0 ? r : check_topics(kafka, queue, needs->writes, needs->n_writes, timeout_ms, writes, &ret->n_writes, err);
}

int access_check(const struct access_needs *needs, unsigned timeout_ms, struct err *err)
{
	const char *reads[ACCESS_TOPICS_MAX], *writes[ACCESS_TOPICS_MAX];
	struct access_needs there;
	int r;

	assert(needs->n_reads <= ACCESS_TOPICS_MAX && needs->n_writes <= ACCESS_TOPICS_MAX && needs->n_groups);
	r = check_there(needs, &there, reads, writes, timeout_ms, err);
	if (r < 0 || !there.n_reads)
		return r;
	r = check_reads(&there, timeout_ms, err);
	return r == 0 ? check_transaction(&there, timeout_ms, err) : r;
}
