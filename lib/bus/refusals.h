/* What topics refuse for its size (their max.message.bytes). Kafka refuses what is sent at once, not a message: who is to blame shows
 * only when it goes alone. So after a refusal messages go in small groups, in smaller ones when such a group is refused, and at last
 * one by one; what is refused alone is known to be too large for its topic. All of it is forgotten after some seconds, because a
 * limit may be changed while we run. Pure data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REFUSALS_TOPICS 8     /* that refused something lately */
#define REFUSALS_KEPT_MS 5000 /* then the whole is tried again: it costs one aborted transaction */

struct refusals {
	uint64_t careful_until_ms;
	size_t group_bytes; /* while careful */
	struct {
		char topic[256]; /* Kafka's names have at most 249 characters */
		size_t bytes;    /* the least that was refused */
		uint64_t until_ms;
	} known[REFUSALS_TOPICS];
};

/* How many bytes may go at once; SIZE_MAX while nothing was refused lately. A message that is larger goes alone. */
size_t refusals_group_bytes(const struct refusals *refusals, uint64_t now_ms);

/* Something was refused among what went together. */
void refusals_note_group(struct refusals *refusals, uint64_t now_ms);

/* A message was refused that went alone. */
void refusals_note_alone(struct refusals *refusals, const char *topic, size_t bytes, uint64_t now_ms);

/* Would its topic refuse a message of this size? */
bool refusals_has(const struct refusals *refusals, const char *topic, size_t bytes, uint64_t now_ms);
