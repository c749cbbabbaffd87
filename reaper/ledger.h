/* The reaper's ledger of one partition: the offsets of records whose terminal result a reaper told and that no worker
 * has marked done yet. It is the commit metadata of the reapers' own group, and so is written by the same transaction
 * as the results. Pure data.
 *
 * Text: "t1:" and the offsets in ascending order, each but the first as the distance to the one before, with commas. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_TEXT_MAX 4096 /* bytes, Kafka's default offset.metadata.max.bytes */
#define LEDGER_MAX	2048 /* offsets: two bytes of text each at least */

struct ledger {
	int64_t offsets[LEDGER_MAX]; /* ascending */
	size_t n;
};

/* "" is an empty ledger. 0 or -EBADMSG: somebody else's text. */
int ledger_decode(const char *text, struct ledger *ret);

/* 0, or -ENOSPC when it does not fit: tell no more of this partition until workers marked some done. */
int ledger_encode(const struct ledger *ledger, char out[LEDGER_TEXT_MAX + 1]);

bool ledger_has(const struct ledger *ledger, int64_t offset);

/* 0, also when it is there already, or -ENOSPC. */
int ledger_add(struct ledger *ledger, int64_t offset);
void ledger_remove(struct ledger *ledger, int64_t offset); /* fine when it is not there */

/* Drop every offset that is_done() says the workers marked. */
void ledger_prune(struct ledger *ledger, bool (*is_done)(void *ctx, int64_t offset), void *ctx);
