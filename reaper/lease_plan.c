#include "reaper/lease_plan.h"

#include "bus/lease_keys.h"

enum lease_plan lease_plan_of(enum reap_state state)
{
	switch (state) {
	case REAP_STATE_RUNNING:
	case REAP_STATE_REAPING:
		return LEASE_PLAN_REAP;
	case REAP_STATE_ORPHAN:
	case REAP_STATE_ENDED:
		return LEASE_PLAN_TELL;
	case REAP_STATE_TOLD:
		return LEASE_PLAN_WATCH;
	case REAP_STATE_COUNT:
		break;
	}
	return LEASE_PLAN_LEAVE;
}

bool lease_plan_is_expired(struct reap_lease *lease, uint64_t lease_ms, uint64_t now_ms)
{
	if (lease->state == REAP_STATE_RUNNING && lease->expires_ms + lease_ms > lease->due_ms)
		lease->expires_ms = LEASE_NEVER_MS;
	return lease->expires_ms <= now_ms;
}

enum reap_verb lease_plan_after_fence(bool is_expired, uint32_t attempt, uint32_t max_attempts)
{
	return is_expired || attempt >= max_attempts ? REAP_VERB_ENDED : REAP_VERB_ORPHAN;
}
