/* A lease's line as Redis holds it (schemas/lease.md), into a struct. Pure and strict: an operator or another program may have put
 * anything there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ident.h"

#define REAP_OWNER_MAX 128
#define REAP_TOPIC_MAX 249 /* Kafka's longest topic name */

enum reap_state {
	REAP_STATE_RUNNING, /* a worker has it */
	REAP_STATE_REAPING, /* a reaper removes its objects and asks Kafka whether it was told */
	REAP_STATE_ORPHAN,  /* gone and not told: any worker may claim it */
	REAP_STATE_ENDED,   /* nobody may run it any more; the reaper tells its result */
	REAP_STATE_TOLD,    /* told; stays until the record is marked done, so that it does not run again */
	REAP_STATE_COUNT
};

struct reap_lease {
	char id[IDENT_ID_MAX + 1];
	enum reap_state state;
	char owner[REAP_OWNER_MAX + 1];	 /* worker or reaper; "-": nobody */
	char victim[REAP_OWNER_MAX + 1]; /* the worker that lost it; "-": none */
	char host[IDENT_ID_MAX + 1];	 /* where its objects are */
	uint64_t token;
	uint32_t attempt;
	uint64_t expires_ms;		/* Redis's wall clock: end of the workspace's ttl_ms, or LEASE_NEVER_MS; of TOLD: when it was told */
	char topic[REAP_TOPIC_MAX + 1];
	int32_t partition;
	int64_t offset;
	char vm_id[IDENT_ID_MAX + 1];  /* the last attempt's workspace; "-": none */
	char tenant[IDENT_ID_MAX + 1]; /* "-": none */
	bool is_key_destroyed; /* the reaper saw that of the last attempt's disk */
	uint64_t due_ms; /* Redis's wall clock; of a scan only */
};

const char *reap_state_name(enum reap_state state);

/* `len` bytes. 0 or -EBADMSG, with a message that begins with the field ("owner: ") if it is one's fault; `ret->id` and `ret->due_ms`
 * are not touched. */
int lease_line_parse(const char *line, size_t len, struct reap_lease *ret, struct err *err);
