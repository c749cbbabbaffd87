/* One item of the outbox: a list of messages, the source that they answer, and what becomes of messages that are too
 * large. Pure data: outbox.c says when. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "bus/publish.h"
#include "wire/record_place.h"

struct outbox_source {
	struct record_place place;
	uint64_t epoch; /* of its partition: worker/partitions.h */
};

/* What is done with a message that its topic refuses for its size, even alone. It holds up nobody else's. */
enum outbox_refusal {
	OUTBOX_REFUSAL_SHORTEN,  /* a result, keyed by its task's id: in a shorter form; the shortest, every few seconds */
	OUTBOX_REFUSAL_LEAVE_OUT /* the rest of its item goes without it */
};

#define OUTBOX_MESSAGES_MAX 16 /* of one item */

struct outbox_message {
	const char *topic; /* borrowed for as long as the outbox lives */
	const void *key;   /* copied; NULL: none */
	size_t key_len;
	struct buf data;		 /* taken; without memory (data.data is NULL): a tombstone */
	struct publish_headers *headers; /* taken, by free(); NULL: none */
	enum outbox_refusal on_refusal;
};

/* Free what was not taken; fine after it was. */
void outbox_message_clear(struct outbox_message *message);

/* told: it is committed; else it was dropped, because its record is not ours any more and will be delivered again.
 * From the loop, never from inside outbox_add(). */
typedef void (*outbox_fn)(void *ctx, bool is_told);

struct outbox_letter {
	struct outbox_message message;
	bool is_refused;  /* by the last batch, for its size */
	bool is_left_out; /* for good */
};

struct outbox_item {
	STAILQ_ENTRY(outbox_item) link;
	struct outbox_source source;
	bool is_range; /* of offsets from source.place.offset on, instead of an answer to that one: */
	int64_t to;    /* valid with is_range: where it ends */
	const uint64_t *lease_ends_mono_ms; /* NULL: it has none */
	outbox_fn fn;
	void *ctx;
	size_t bytes; /* of keys and data */
	size_t n;
	struct outbox_letter letters[]; /* then the bytes of their keys */
};

STAILQ_HEAD(outbox_item_list, outbox_item);

/* Takes the messages; at most OUTBOX_MESSAGES_MAX. NULL: out of memory, and nothing was taken. */
struct outbox_item *outbox_item_new(const struct outbox_source *source, struct outbox_message *messages, size_t n);

/* After a batch was refused: do with each refused message what it says. false: one of them could not be made
 * shorter; the item is to be tried again later. */
bool outbox_item_take_refusals(struct outbox_item *item);

void outbox_item_free(struct outbox_item *item);
