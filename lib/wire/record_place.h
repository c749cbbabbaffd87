/* Where a record is in Kafka. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct record_place {
	const char *topic; /* borrowed: from the settings or the names of topics, which live as long as their daemon */
	int32_t partition;
	int64_t offset;
};

struct topic_partition {
	const char *topic; /* borrowed likewise */
	int32_t partition;
};

/* Names that were borrowed from one text share its pointer: then no byte is looked at. */
static inline bool topic_is_same(const char *a, const char *b)
{
	return a == b || strcmp(a, b) == 0;
}

/* Records of one log have an order: that of their offsets. */
static inline bool record_place_is_same_log(const struct record_place *a, const struct record_place *b)
{
	return a->partition == b->partition && topic_is_same(a->topic, b->topic);
}

static inline bool record_place_is_same(const struct record_place *a, const struct record_place *b)
{
	return a->offset == b->offset && record_place_is_same_log(a, b);
}
