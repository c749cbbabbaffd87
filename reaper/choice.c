#include "reaper/choice.h"

#include <stdbool.h>
#include <string.h>

#define FOREIGN_LEASES 2 /* of waiting for a host's own reaper: its restart, and two scans */

static bool was_seen(const struct choice *choice, const struct reap_lease *lease)
{
	for (size_t i = 0; i < choice->n_seen; i++)
		if (choice->seen[i].token == lease->token && strcmp(choice->seen[i].id, lease->id) == 0)
			return true;
	return false;
}

static void remember(struct choice *choice, const struct reap_scan *scan)
{
	for (size_t i = 0; i < scan->n; i++) {
		memcpy(choice->seen[i].id, scan->leases[i].id, sizeof(choice->seen[i].id));
		choice->seen[i].token = scan->leases[i].token;
	}
	choice->n_seen = scan->n;
}

static bool is_ready(const struct choice *choice, const struct reap_scan *scan, const struct reap_lease *lease)
{
	uint64_t late_ms = scan->now_ms > lease->due_ms ? scan->now_ms - lease->due_ms : 0;
	bool has_objects = lease->state == REAP_STATE_RUNNING || lease->state == REAP_STATE_REAPING;

	if (has_objects && strcmp(lease->host, choice->host) != 0 &&
	    late_ms < choice->grace_ms + FOREIGN_LEASES * choice->lease_ms)
		return false;
	return was_seen(choice, lease);
}

/* What the scan had no room for is taken to be running. */
static bool is_mass(const struct reap_scan *scan)
{
	uint64_t n_running = scan->n_due > scan->n ? scan->n_due - scan->n : 0;

	for (size_t i = 0; i < scan->n; i++)
		n_running += scan->leases[i].state == REAP_STATE_RUNNING;
	return n_running > CHOICE_BRAKE_MIN && n_running * 2 > scan->n_all;
}

static enum choice_verdict brake(struct choice *choice, const struct reap_scan *scan, uint64_t now_mono_ms)
{
	if (!is_mass(scan)) {
		choice->braked_since_mono_ms = 0;
		return CHOICE_VERDICT_ACT;
	}
	if (!choice->braked_since_mono_ms) {
		choice->braked_since_mono_ms = now_mono_ms;
		return CHOICE_VERDICT_BRAKED;
	}
	return now_mono_ms - choice->braked_since_mono_ms < choice->lease_ms ? CHOICE_VERDICT_WAIT : CHOICE_VERDICT_ACT;
}

enum choice_verdict choice_make(struct choice *choice, const struct reap_scan *scan, uint64_t now_mono_ms,
				struct reap_lease out[REAP_BATCH_MAX], size_t *ret_n)
{
	enum choice_verdict verdict = brake(choice, scan, now_mono_ms);

	*ret_n = 0;
	for (size_t i = 0; verdict == CHOICE_VERDICT_ACT && i < scan->n && *ret_n < REAP_BATCH_MAX; i++)
		if (is_ready(choice, scan, &scan->leases[i]))
			out[(*ret_n)++] = scan->leases[i];
	remember(choice, scan);
	return verdict == CHOICE_VERDICT_ACT && *ret_n == 0 ? CHOICE_VERDICT_NONE : verdict;
}

void choice_reset(struct choice *choice)
{
	choice->n_seen = 0;
	choice->braked_since_mono_ms = 0;
}
