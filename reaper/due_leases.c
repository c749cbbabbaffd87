#include "reaper/due_leases.h"

#include <string.h>

#define FOREIGN_LEASES 2 /* of waiting for a host's own reaper: its restart, and two scans */

static bool was_seen(const struct due_leases *due, const struct reap_lease *lease)
{
	for (size_t i = 0; i < due->n_seen; i++)
		if (due->seen[i].token == lease->token && strcmp(due->seen[i].id, lease->id) == 0)
			return true;
	return false;
}

static void remember(struct due_leases *due, const struct reap_scan *scan)
{
	for (size_t i = 0; i < scan->n; i++) {
		memcpy(due->seen[i].id, scan->leases[i].id, sizeof(due->seen[i].id));
		due->seen[i].token = scan->leases[i].token;
	}
	due->n_seen = scan->n;
}

static bool is_ready(const struct due_leases *due, const struct reap_scan *scan, const struct reap_lease *lease)
{
	uint64_t late_ms = scan->now_ms > lease->due_ms ? scan->now_ms - lease->due_ms : 0;
	bool has_objects = lease->state == REAP_STATE_RUNNING || lease->state == REAP_STATE_REAPING;

	if (has_objects && strcmp(lease->host, due->host) != 0 &&
	    late_ms < due->grace_ms + FOREIGN_LEASES * due->lease_ms)
		return false;
	return was_seen(due, lease);
}

/* What the scan had no room for is taken to be running. */
static bool is_mass(const struct reap_scan *scan)
{
	uint64_t n_running = scan->n_due > scan->n ? scan->n_due - scan->n : 0;

	for (size_t i = 0; i < scan->n; i++)
		n_running += scan->leases[i].state == REAP_STATE_RUNNING;
	return n_running > DUE_BRAKE_MIN && n_running * 2 > scan->n_all;
}

static enum due_verdict brake(struct due_leases *due, const struct reap_scan *scan, uint64_t now_mono_ms)
{
	if (!is_mass(scan)) {
		due->braked_since_mono_ms = 0;
		return DUE_VERDICT_ACT;
	}
	if (!due->braked_since_mono_ms) {
		due->braked_since_mono_ms = now_mono_ms;
		return DUE_VERDICT_BRAKED;
	}
	return now_mono_ms - due->braked_since_mono_ms < due->lease_ms ? DUE_VERDICT_WAIT : DUE_VERDICT_ACT;
}

enum due_verdict due_leases_select(struct due_leases *due, const struct reap_scan *scan, uint64_t now_mono_ms,
				   struct reap_lease out[REAP_BATCH_MAX], size_t *ret_n)
{
	enum due_verdict verdict = brake(due, scan, now_mono_ms);

	*ret_n = 0;
	for (size_t i = 0; verdict == DUE_VERDICT_ACT && i < scan->n && *ret_n < REAP_BATCH_MAX; i++)
		if (is_ready(due, scan, &scan->leases[i]))
			out[(*ret_n)++] = scan->leases[i];
	remember(due, scan);
	return verdict == DUE_VERDICT_ACT && *ret_n == 0 ? DUE_VERDICT_NONE : verdict;
}

uint64_t due_leases_quiet_ms(const struct due_leases *due, uint64_t uptime_ms, bool was_here)
{
	uint64_t quiet_ms = due->lease_ms + due->grace_ms;
	uint64_t wait_ms = uptime_ms < quiet_ms ? quiet_ms - uptime_ms : 0;

	return was_here && wait_ms < due->lease_ms ? due->lease_ms : wait_ms;
}

void due_leases_reset(struct due_leases *due)
{
	due->n_seen = 0;
	due->braked_since_mono_ms = 0;
}
