/* A record is copied when it comes, because it may be rejected long after librdkafka has let go of it. The message is
 * a second copy: the outbox owns that one, and may drop it, and then the record comes back to be rejected again. */
#include "worker/dead_letter.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_key(const struct consumer_record *record)
{
	return record->key && record->key_len <= DEAD_LETTER_KEY_MAX;
}

size_t dead_letter_bytes(const struct consumer_record *record)
{
	return sizeof(struct dead_letter) + (has_key(record) ? record->key_len : 0) + record->len;
}

struct dead_letter *dead_letter_write(void *memory, const struct consumer_record *record)
{
	struct dead_letter *letter = memory;
	size_t key_len = has_key(record) ? record->key_len : 0;

	*letter = (struct dead_letter){
		.has_key = has_key(record), .has_value = record->data, .key_len = key_len, .len = record->len
	};
	if (key_len)
		memcpy(letter->bytes, record->key, key_len);
	if (record->len)
		memcpy(letter->bytes + key_len, record->data, record->len);
	return letter;
}

struct dead_letter *dead_letter_new(const struct consumer_record *record)
{
	void *memory = malloc(dead_letter_bytes(record));

	return memory ? dead_letter_write(memory, record) : NULL;
}

static struct publish_header *add_header(struct publish_headers *headers, const char *name)
{
	struct publish_header *header = &headers->headers[headers->n++];

	assert(headers->n <= PUBLISH_HEADERS_MAX);
	header->name = name;
	return header;
}

static void add_text(struct publish_headers *headers, const char *name, const char *text)
{
	/* Names of topics and groups fit. */
	(void)snprintf(add_header(headers, name)->value, PUBLISH_HEADER_MAX + 1, "%s", text);
}

static void add_number(struct publish_headers *headers, const char *name, int64_t number)
{
	(void)snprintf(add_header(headers, name)->value, PUBLISH_HEADER_MAX + 1, "%" PRId64, number); /* it fits */
}

/* NULL: out of memory. */
static struct publish_headers *make_headers(const struct record_place *from)
{
	struct publish_headers *headers = calloc(1, sizeof(*headers));

	if (!headers)
		return NULL;
	add_text(headers, "mayfly.source.topic", from->topic);
	add_number(headers, "mayfly.source.partition", from->partition);
	add_number(headers, "mayfly.source.offset", from->offset);
	return headers;
}

int dead_letter_message(const struct dead_letter *letter, const char *topic, const struct record_place *from,
			struct outbox_message *ret)
{
	struct outbox_message message = { .topic = topic,
					  .key = letter->has_key ? letter->bytes : NULL,
					  .key_len = letter->key_len,
					  .headers = make_headers(from),
					  .on_refusal = OUTBOX_REFUSAL_LEAVE_OUT };

	if (!message.headers || (letter->has_value && buf_reserve(&message.data, letter->len + 1) < 0) ||
	    buf_append(&message.data, letter->bytes + letter->key_len, letter->len) < 0) {
		outbox_message_clear(&message);
		return -ENOMEM;
	}
	*ret = message;
	return 0;
}

int dead_letter_loss(const struct partition *partition, const struct partition_loss *loss, const char *topic,
		     const char *group, struct outbox_message *ret)
{
	const struct record_place first = { partition->topic, partition->id, loss->first };
	struct publish_headers *headers = make_headers(&first);

	if (!headers)
		return -ENOMEM;
	add_number(headers, "mayfly.lost.last", loss->last);
	add_number(headers, "mayfly.lost.records", (int64_t)loss->records); /* offsets at most, which are int64_t */
	add_text(headers, "mayfly.lost.group", group);
	*ret = (struct outbox_message){ .topic = topic, .headers = headers, .on_refusal = OUTBOX_REFUSAL_LEAVE_OUT };
	return 0;
}
