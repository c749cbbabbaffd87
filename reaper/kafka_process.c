#include "reaper/kafka_process.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "reaper/kafka_process_parts.h"
#include "wire/ledger.h"

/* After Kafka did not answer, every request fails at once for so long: erasing must not wait for it. */
#define AWAY_MS 5000

static int answer(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		  struct err *err)
{
	if (clock_mono_ms() < kafka->away_until_mono_ms)
		return err_set(err, ERR_BUSY, EAGAIN, "Kafka did not answer a moment ago");
	switch ((enum kafka_op)request->op) {
	case KAFKA_OP_LOOKUP:
		return kafka_lookup(kafka, request, reply, err);
	case KAFKA_OP_FENCE:
		return kafka_fence(kafka, request, reply, err);
	case KAFKA_OP_ANNOUNCE:
		return kafka_announce(kafka, request, reply, err);
	case KAFKA_OP_TELL:
		return kafka_tell(kafka, request, reply, err);
	case KAFKA_OP_TIDY:
		return kafka_tidy(kafka, err);
	case KAFKA_OP_COUNT:
		break;
	}
	return err_set(err, ERR_BUG, EINVAL, "request %u to the Kafka process", request->op);
}

static void serve(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply)
{
	struct err err = { 0 };
	uint64_t before_ms = clock_mono_ms();
	int r;

	*reply = (struct kafka_reply){ .magic = KAFKA_REQUEST_MAGIC, .op = request->op, .n = request->n };
	r = answer(kafka, request, reply, &err);
	if (r == 0)
		return;
	if (err.kind == ERR_BUSY && clock_mono_ms() - before_ms >= KAFKA_TIMEOUT_MS)
		kafka->away_until_mono_ms = clock_mono_ms() + AWAY_MS;
	memcpy(reply->error, err.msg, sizeof(reply->error));
	for (uint32_t i = 0; i < request->n; i++)
		if (reply->verdicts[i] == KAFKA_VERDICT_NOT_TOLD) /* what is told stays told */
			reply->verdicts[i] = KAFKA_VERDICT_FAILED;
}

static void kafka_process_close(struct kafka_process *kafka)
{
	blocking_publisher_free(kafka->publisher);
	positions_free(kafka->workers);
	positions_free(kafka->ledger);
}

static int kafka_process_open(struct kafka_process *kafka, struct err *err)
{
	int r;

	topics_name(kafka->settings->fleet.topic_prefix, &kafka->topics);
	ledger_group_name(kafka->settings->fleet.group, kafka->ledger_group);
	r = positions_new(kafka->settings->fleet.brokers, kafka->settings->fleet.group, &kafka->workers, err);
	return r < 0 ? r : positions_new(kafka->settings->fleet.brokers, kafka->ledger_group, &kafka->ledger, err);
}

/* The engine is our own code, or was taken over: a request that is not one ends the process. */
static bool is_request(const struct kafka_request *request, ssize_t len)
{
	if (len < (ssize_t)offsetof(struct kafka_request, items) || request->magic != KAFKA_REQUEST_MAGIC ||
	    request->op >= KAFKA_OP_COUNT || (request->n == 0) != (request->op == KAFKA_OP_TIDY) ||
	    request->n > REAP_BATCH_MAX || (size_t)len != kafka_request_len(request->n))
		return false;
	for (uint32_t i = 0; i < request->n; i++) {
		const struct reap_lease *lease = &request->items[i].lease;

		if (!ident_is_id(lease->id, strnlen(lease->id, sizeof(lease->id))) || lease->partition < 0 ||
		    lease->offset < 0 || !memchr(lease->victim, '\0', sizeof(lease->victim)) ||
		    !memchr(lease->host, '\0', sizeof(lease->host)) ||
		    !memchr(lease->topic, '\0', sizeof(lease->topic)))
			return false;
	}
	return true;
}

int kafka_process_main(int fd, const struct reaper_settings *settings)
{
	cleanup_(kafka_process_close) struct kafka_process kafka = { .settings = settings };
	static struct kafka_request request;
	static struct kafka_reply reply;
	struct err err;
	ssize_t n;

	if (kafka_process_open(&kafka, &err) < 0) {
		log_error("kafka.start", "message=\"%s\"", err.msg);
		return 1;
	}
	while ((n = recv(fd, &request, sizeof(request), 0)) > 0) {
		if (!is_request(&request, n)) {
			log_error("kafka.request", "message=\"%zd bytes that are no request\"", n);
			return 1;
		}
		serve(&kafka, &request, &reply);
		if (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
			return 1;
	}
	return 0;
}
