#include "reaper/leftovers.h"

#include <string.h>

static struct leftover *find(struct leftovers *leftovers, const char *vm_id)
{
	for (size_t i = 0; i < leftovers->n; i++)
		if (strcmp(leftovers->finds[i].vm_id, vm_id) == 0)
			return &leftovers->finds[i];
	return NULL;
}

void leftovers_list_begin(struct leftovers *leftovers)
{
	for (size_t i = 0; i < leftovers->n; i++)
		leftovers->finds[i].is_listed = false;
}

/* NULL: there is no room for it. */
static struct leftover *find_or_add(struct leftovers *leftovers, const char *vm_id)
{
	struct leftover *known = find(leftovers, vm_id);

	if (!known && leftovers->n < LEFTOVERS_MAX) {
		known = &leftovers->finds[leftovers->n++];
		*known = (struct leftover){ .suspect_since_ms = 0 };
		memcpy(known->vm_id, vm_id, strnlen(vm_id, IDENT_ID_MAX));
	}
	return known;
}

void leftovers_list_add(struct leftovers *leftovers, const char *vm_id)
{
	struct leftover *known = find_or_add(leftovers, vm_id);

	if (known)
		known->is_listed = true;
}

void leftovers_list_end(struct leftovers *leftovers)
{
	size_t kept = 0;

	for (size_t i = 0; i < leftovers->n; i++)
		if (leftovers->finds[i].is_listed)
			leftovers->finds[kept++] = leftovers->finds[i];
	leftovers->n = kept;
}

size_t leftovers_next(const struct leftovers *leftovers, size_t *cursor, uint64_t now_mono_ms,
		      struct leftover_find out[REAP_BATCH_MAX])
{
	size_t n = 0;

	for (; *cursor < leftovers->n && n < REAP_BATCH_MAX; (*cursor)++) {
		const struct leftover *one = &leftovers->finds[*cursor];
		bool is_old = one->suspect_since_ms && now_mono_ms - one->suspect_since_ms >= leftovers->suspect_ms;
		bool is_paused = now_mono_ms < one->not_before_ms;

		out[n++] = (struct leftover_find){ .vm_id = one->vm_id,
						   .may_erase = is_old && !is_paused,
						   .may_erase_over = (is_old || one->is_over) && !is_paused };
	}
	return n;
}

void leftovers_judge(struct leftovers *leftovers, const char *vm_id, enum reap_hold hold, uint64_t now_mono_ms)
{
	struct leftover *one = find(leftovers, vm_id);

	if (!one)
		return;
	one->is_over = hold == REAP_HOLD_OVER;
	if (hold == REAP_HOLD_HELD)
		one->suspect_since_ms = 0;
	else if (!one->suspect_since_ms)
		one->suspect_since_ms = now_mono_ms;
}

void leftovers_trust_all(struct leftovers *leftovers)
{
	for (size_t i = 0; i < leftovers->n; i++) {
		leftovers->finds[i].suspect_since_ms = 0;
		leftovers->finds[i].is_over = false;
	}
}

static uint64_t pause_ms(const struct leftovers *leftovers, unsigned n_failures)
{
	uint64_t pause = leftovers->grace_ms;

	while (--n_failures && pause < LEFTOVERS_PAUSE_MAX_MS)
		pause *= 2;
	return pause <= LEFTOVERS_PAUSE_MAX_MS		      ? pause
	       : leftovers->grace_ms > LEFTOVERS_PAUSE_MAX_MS ? leftovers->grace_ms
							      : LEFTOVERS_PAUSE_MAX_MS;
}

uint64_t leftovers_failed(struct leftovers *leftovers, const char *vm_id, uint64_t now_mono_ms,
			  unsigned *ret_n_failures)
{
	struct leftover *one = find_or_add(leftovers, vm_id);
	unsigned n_failures = one ? ++one->n_failures : 1;
	uint64_t pause = pause_ms(leftovers, n_failures);

	if (one)
		one->not_before_ms = now_mono_ms + pause;
	*ret_n_failures = n_failures;
	return pause;
}
