#include "worker/outbox_item.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/own.h"
#include "wire/result.h"

void outbox_message_clear(struct outbox_message *message)
{
	buf_free(&message->data);
	free(TAKE_PTR(message->headers));
}

static size_t size_of(const struct outbox_message *message)
{
	return message->key_len + message->data.len;
}

static size_t bytes_of_keys(const struct outbox_message *messages, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += messages[i].key_len;
	return bytes;
}

static const void *copy_key(uint8_t **keys, const struct outbox_message *message)
{
	uint8_t *copy = *keys;

	if (!message->key)
		return NULL;
	memcpy(copy, message->key, message->key_len);
	*keys += message->key_len;
	return copy;
}

static void take(struct outbox_item *item, struct outbox_message *messages)
{
	uint8_t *keys = (uint8_t *)&item->letters[item->n];

	for (size_t i = 0; i < item->n; i++) {
		struct outbox_message *message = &item->letters[i].message;

		*message = messages[i];
		message->key = copy_key(&keys, &messages[i]);
		messages[i].data = (struct buf){ 0 };
		messages[i].headers = NULL;
		item->bytes += size_of(message);
	}
}

struct outbox_item *outbox_item_new(const struct outbox_source *source, struct outbox_message *messages, size_t n)
{
	struct outbox_item *item;

	assert(n <= OUTBOX_MESSAGES_MAX);
	item = calloc(1, sizeof(*item) + n * sizeof(item->letters[0]) + bytes_of_keys(messages, n));
	if (!item)
		return NULL;
	item->source = *source;
	item->n = n;
	take(item, messages);
	return item;
}

static void log_refusal(const struct outbox_item *item, const struct outbox_message *message, const char *what)
{
	const struct record_place *place = &item->source.place;
	bool has_id = message->on_refusal == OUTBOX_REFUSAL_SHORTEN; /* the key of a result */

	log_error("outbox.refused",
		  "topic=%s partition=%d offset=%lld id=%.*s bytes=%zu message=\"topic '%s' refuses this message for its size; "
		  "%s; raise max.message.bytes of '%s'\"",
		  place->topic, place->partition, (long long)place->offset, has_id ? (int)message->key_len : 1,
		  has_id ? (const char *)message->key : "-", size_of(message), message->topic, what, message->topic);
}

/* false: no form of it is shorter (the note takes room, too), or there is no memory for one. */
static bool shorten(struct outbox_item *item, struct outbox_message *message)
{
	for (int form = RESULT_FORM_SHORT; form < RESULT_FORM_COUNT; form++) {
		struct buf shorter = { 0 };

		if (result_shorten(&message->data, (enum result_form)form, message->data.len, &shorter) < 0 ||
		    shorter.len >= message->data.len) {
			buf_free(&shorter);
			continue;
		}
		log_refusal(item, message, "it is told in a shorter form");
		item->bytes -= message->data.len - shorter.len;
		buf_free(&message->data);
		message->data = shorter;
		return true;
	}
	log_refusal(item, message, "it is the shortest form; the task stays untold, and is tried again");
	return false;
}

/* false: not now. */
static bool take_refusal(struct outbox_item *item, struct outbox_letter *letter)
{
	letter->is_refused = false;
	switch (letter->message.on_refusal) {
	case OUTBOX_REFUSAL_SHORTEN:
		return shorten(item, &letter->message);
	case OUTBOX_REFUSAL_LEAVE_OUT:
		log_refusal(item, &letter->message, "it is left out, and what it is about stays only where it came from");
		letter->is_left_out = true;
		item->bytes -= size_of(&letter->message);
		return true;
	}
	assert(false);
	return false;
}

bool outbox_item_take_refusals(struct outbox_item *item)
{
	bool result = true;

	for (size_t i = 0; i < item->n; i++)
		if (item->letters[i].is_refused)
			result &= take_refusal(item, &item->letters[i]);
	return result;
}

void outbox_item_free(struct outbox_item *item)
{
	for (size_t i = 0; i < item->n; i++)
		outbox_message_clear(&item->letters[i].message);
	free(item);
}
