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

/* NULL: there is no room for it. */
static struct healer_find *find_or_add(struct healer *healer, const char *id)
{
	struct healer_find *known = find(healer, id);

	if (!known && healer->n < HEALER_MAX) {
		known = &healer->finds[healer->n++];
		*known = (struct healer_find){ .suspect_since_ms = 0 };
		memcpy(known->id, id, strnlen(id, IDENT_ID_MAX));
	}
	return known;
}

void healer_list_add(struct healer *healer, const char *id)
{
	struct healer_find *known = find_or_add(healer, id);

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

		out[n++] = (struct reap_find){ .id = one->id, .may_take = is_old && now_mono_ms >= one->not_before_ms };
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

static uint64_t pause_ms(const struct healer *healer, unsigned n_failures)
{
	uint64_t pause = healer->grace_ms;

	while (--n_failures && pause < HEALER_PAUSE_MAX_MS)
		pause *= 2;
	return pause <= HEALER_PAUSE_MAX_MS ? pause :
	       healer->grace_ms > HEALER_PAUSE_MAX_MS ? healer->grace_ms : HEALER_PAUSE_MAX_MS;
}

uint64_t healer_failed(struct healer *healer, const char *id, uint64_t now_mono_ms, unsigned *ret_n_failures)
{
	struct healer_find *one = find_or_add(healer, id);
	unsigned n_failures = one ? ++one->n_failures : 1;
	uint64_t pause = pause_ms(healer, n_failures);

	if (one)
		one->not_before_ms = now_mono_ms + pause;
	*ret_n_failures = n_failures;
	return pause;
}
