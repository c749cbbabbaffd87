/* What goes to the dead-letter topic (schemas/dead.md): a rejected record as it was sent, or word of records that
 * were lost. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/consumer.h"
#include "worker/outbox_item.h"
#include "worker/partitions.h"

#define DEAD_LETTER_KEY_MAX 4096 /* bytes; a longer key is left out: values have a limit of their own, keys have none */

/* A record's key and value, kept in case it is rejected. */
struct dead_letter {
	bool has_key, has_value; /* else null, as Kafka says it: a tombstone stays one */
	size_t key_len, len;
	uint8_t bytes[]; /* the key, then the value */
};

/* A copy; NULL: out of memory. free() frees it. */
struct dead_letter *dead_letter_new(const struct consumer_record *record);
/* The same, in memory of the caller's: as many bytes, aligned as malloc() does. */
size_t dead_letter_bytes(const struct consumer_record *record);
struct dead_letter *dead_letter_write(void *memory, const struct consumer_record *record);

/* The message for `topic` that is made of it; the record's place goes into headers. The letter stays as it is:
 * whether the message is told or not, its record may be rejected again. The message borrows the letter's key. 0 or
 * -ENOMEM. */
int dead_letter_message(const struct dead_letter *letter, const char *topic, const struct record_place *from,
			struct outbox_message *ret);

/* The message for `topic` that says that records of `partition` were deleted before `group` had done them. It has
 * neither key nor value: what a sender wrote cannot look like it, for no header of a sender's is copied. 0 or
 * -ENOMEM. */
int dead_letter_loss(const struct partition *partition, const struct partition_loss *loss, const char *topic,
		     const char *group, struct outbox_message *ret);
