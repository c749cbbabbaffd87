#include "bus/refusals.h"

#include <stdio.h>
#include <string.h>

#define GROUP_BYTES (16 * 1024) /* the first try after a refusal: most results are smaller than a tenth of it */
#define GROUP_SHRINK 4

size_t refusals_group_bytes(const struct refusals *refusals, uint64_t now_ms)
{
	return now_ms < refusals->careful_until_ms ? refusals->group_bytes : SIZE_MAX;
}

void refusals_note_group(struct refusals *refusals, uint64_t now_ms)
{
	if (now_ms >= refusals->careful_until_ms)
		refusals->group_bytes = GROUP_BYTES;
	else
		refusals->group_bytes /= GROUP_SHRINK; /* 0: one by one */
	refusals->careful_until_ms = now_ms + REFUSALS_KEPT_MS;
}

void refusals_note_alone(struct refusals *refusals, const char *topic, size_t bytes, uint64_t now_ms)
{
	size_t at = 0;

	for (size_t i = 0; i < REFUSALS_TOPICS; i++) {
		if (now_ms < refusals->known[i].until_ms && strcmp(refusals->known[i].topic, topic) == 0) {
			if (bytes < refusals->known[i].bytes)
				refusals->known[i].bytes = bytes;
			return;
		}
		if (refusals->known[i].until_ms < refusals->known[at].until_ms)
			at = i;
	}
	(void)snprintf(refusals->known[at].topic, sizeof(refusals->known[at].topic), "%s", topic); /* fits */
	refusals->known[at].bytes = bytes;
	refusals->known[at].until_ms = now_ms + REFUSALS_KEPT_MS;
}

bool refusals_has(const struct refusals *refusals, const char *topic, size_t bytes, uint64_t now_ms)
{
	for (size_t i = 0; i < REFUSALS_TOPICS; i++)
		if (now_ms < refusals->known[i].until_ms && strcmp(refusals->known[i].topic, topic) == 0)
			return bytes >= refusals->known[i].bytes;
	return false;
}
