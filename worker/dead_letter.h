/* What a rejected record becomes in the dead-letter topic: its key and its value, as they were sent. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/consumer.h"

#define DEAD_LETTER_KEY_MAX 4096 /* bytes; a longer key is left out: values have a limit of their own, keys have none */

struct dead_letter {
	bool has_key, has_value; /* else null, as Kafka says it: a tombstone stays one */
	size_t key_len, len;
	uint8_t bytes[]; /* the key, then the value */
};

/* A copy; NULL: out of memory. free() frees it. */
struct dead_letter *dead_letter_new(const struct consumer_record *record);
struct dead_letter *dead_letter_copy(const struct dead_letter *letter);

const void *dead_letter_key(const struct dead_letter *letter);
const void *dead_letter_value(const struct dead_letter *letter);

/* Bytes of both. */
size_t dead_letter_size(const struct dead_letter *letter);
