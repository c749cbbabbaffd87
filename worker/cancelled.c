#include "worker/cancelled.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	char id[IDENT_ID_MAX + 1];
	uint64_t created_ms;
};

struct cancelled {
	struct entry ring[CANCELLED_MAX];
	size_t next;
	size_t n;
};

struct cancelled *cancelled_new(void)
{
	return calloc(1, sizeof(struct cancelled));
}

void cancelled_add(struct cancelled *cancelled, const char *id, uint64_t created_ms)
{
	struct entry *entry = &cancelled->ring[cancelled->next];

	memset(entry, 0, sizeof(*entry));
	memcpy(entry->id, id, strnlen(id, IDENT_ID_MAX));
	entry->created_ms = created_ms;
	cancelled->next = (cancelled->next + 1) % CANCELLED_MAX;
	if (cancelled->n < CANCELLED_MAX)
		cancelled->n++;
}

bool cancelled_has(const struct cancelled *cancelled, const char *id, uint64_t task_created_ms, uint64_t now_ms)
{
	for (size_t i = 0; i < cancelled->n; i++) {
		const struct entry *entry = &cancelled->ring[i];

		if (entry->created_ms >= task_created_ms && entry->created_ms + CANCELLED_KEEP_MS > now_ms &&
		    strcmp(entry->id, id) == 0)
			return true;
	}
	return false;
}

void cancelled_free(struct cancelled *cancelled)
{
	free(cancelled);
}
