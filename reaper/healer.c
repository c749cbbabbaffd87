#include "reaper/healer.h"

#include <string.h>

static struct healer_find *find(struct healer *healer, const char *id)
{
	for (size_t i = 0; i < healer->n; i++)
		if (strcmp(healer->finds[i].id, id) == 0)
			return &healer->finds[i];
	return NULL;
}

void healer_list_begin(struct healer *healer)
{
	for (size_t i = 0; i < healer->n; i++)
		healer->finds[i].is_listed = false;
}

void healer_list_add(struct healer *healer, const char *id)
{
	struct healer_find *known = find(healer, id);

	if (!known && healer->n < HEALER_MAX) {
		known = &healer->finds[healer->n++];
		*known = (struct healer_find){ .suspect_since_ms = 0 };
		memcpy(known->id, id, strnlen(id, IDENT_ID_MAX));
	}
	if (known)
		known->is_listed = true;
}

void healer_list_end(struct healer *healer)
{
	size_t kept = 0;

	for (size_t i = 0; i < healer->n; i++)
		if (healer->finds[i].is_listed)
			healer->finds[kept++] = healer->finds[i];
	healer->n = kept;
}

size_t healer_next(const struct healer *healer, size_t *cursor, uint64_t now_mono_ms,
		   struct reap_find out[REAP_BATCH_MAX])
{
	size_t n = 0;

	for (; *cursor < healer->n && n < REAP_BATCH_MAX; (*cursor)++) {
		const struct healer_find *one = &healer->finds[*cursor];
		bool is_old = one->suspect_since_ms && now_mono_ms - one->suspect_since_ms >= healer->grace_ms;

		out[n++] = (struct reap_find){ .id = one->id, .may_take = is_old };
	}
	return n;
}

void healer_judge(struct healer *healer, const char *id, int64_t number, uint64_t now_mono_ms)
{
	struct healer_find *one = find(healer, id);

	if (!one)
		return;
	if (number == 0)
		one->suspect_since_ms = 0;
	else if (!one->suspect_since_ms)
		one->suspect_since_ms = now_mono_ms;
}
