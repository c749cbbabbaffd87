/* The leases of a fleet as Redis has them at this moment, for `mayfly ps` and for a stack that is being ended. Read only;
 * blocking, with a time limit. */
#pragma once

#include "bus/reap.h"
#include "tools/target.h"

struct leases_now {
	struct reap_lease *leases; /* due_ms: Redis's wall clock */
	size_t n;
	size_t n_bad;	 /* lines that are no lease */
	uint64_t now_ms; /* Redis's wall clock */
};

int leases_now_read(const struct target *target, struct leases_now *ret, struct err *err);
void leases_now_clear(struct leases_now *leases);

/* Does Redis answer? ERR_HOST says what to do. *ret_is_evicting: its policy may drop leases. */
int leases_now_probe(const struct target *target, bool *ret_is_evicting, struct err *err);
