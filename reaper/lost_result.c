#include "reaper/lost_result.h"

#include <stdio.h>
#include <string.h>

#include "wire/result.h"

/* An owner is <worker>.<its process start>. */
static int worker_len(const char *owner)
{
	const char *dot = strrchr(owner, '.');
	size_t len = dot ? (size_t)(dot - owner) : strlen(owner);

	return len > IDENT_ID_MAX ? IDENT_ID_MAX : (int)len;
}

static void fill_message(struct result *result, const struct kafka_item *item)
{
	(void)snprintf(
		result->message, sizeof(result->message),
		item->is_expired
			? "ttl_ms: its workspace's life ended in attempt %u, and its worker did not tell the result%s"
			: "its worker died, in attempt %u, and no other took it in time%s",
		item->lease.attempt,
		item->lease.is_key_destroyed ? ""
					     : "; nobody saw whether the key of its disk is destroyed"); /* it fits */
}

static void fill(struct result *result, const struct kafka_item *item)
{
	const struct reap_lease *lease = &item->lease;

	result->event = RESULT_EVENT_FINISHED;
	result->kind = TASK_KIND_RUN;
	result->outcome = item->is_expired ? RESULT_OUTCOME_EXPIRED : RESULT_OUTCOME_LOST;
	result->ran = RESULT_RAN_UNKNOWN;
	result->is_key_destroyed = lease->is_key_destroyed;
	result->attempt = lease->attempt;
	result->token = lease->token;
	result->partition = lease->partition;
	result->offset = lease->offset;
	memcpy(result->id, lease->id, sizeof(result->id));
	(void)snprintf(result->host, sizeof(result->host), "%s", lease->host); /* both are bounded by their type */
	(void)snprintf(result->worker, sizeof(result->worker), "%.*s", worker_len(lease->victim), lease->victim);
	(void)snprintf(result->topic, sizeof(result->topic), "%.127s", lease->topic);
	(void)snprintf(result->field, sizeof(result->field), "%s", item->is_expired ? "ttl_ms" : "");
	fill_message(result, item);
}

int lost_result_encode(const struct kafka_item *item, uint64_t finished_ms, struct buf *out)
{
	struct result result;
	int r;

	result_init(&result);
	fill(&result, item);
	result.finished_ms = finished_ms;
	r = result_encode(&result, out);
	result_clear(&result);
	return r;
}
