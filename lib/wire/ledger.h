/* The reapers' ledger of one partition: the offsets of records that a reaper answers for, until a worker has marked them done.
 * It is the commit metadata of the reapers' own group, and so is written by the same transaction as the results. Reapers
 * write it, workers read it. The commit says which topic and partition it is of. Pure data.
 *
 * An offset is announced before its result is told, so that a worker that claims the record meanwhile (Redis may have forgotten
 * everything) sees that a reaper is at it: docs/decisions/2026-11-28-kafka-says-who-answers.md.
 *
 * Text: "t1:" and the offsets in ascending order, each but the first as the distance to the one before, with commas; "!" behind
 * one that is only announced. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"

#define LEDGER_GROUP_MAX (CONF_TEXT_MAX + 16) /* bytes of a group's name with its NUL */
#define LEDGER_TEXT_MAX 4096 /* bytes, Kafka's default offset.metadata.max.bytes */
#define LEDGER_EMPTY "t1:"
#define LEDGER_MAX	2048 /* offsets: two bytes of text each at least */

enum ledger_entry { LEDGER_ENTRY_NONE, LEDGER_ENTRY_ANNOUNCED, LEDGER_ENTRY_TOLD };

struct ledger {
	int64_t offsets[LEDGER_MAX]; /* ascending */
	bool is_told[LEDGER_MAX];    /* else announced */
	size_t n;
};

/* The group in whose commits it is, by the workers' group, which is a setting's text. */
void ledger_group_name(const char *workers, char out[LEDGER_GROUP_MAX]);

/* "" is an empty ledger. 0 or -EBADMSG: somebody else's text. */
int ledger_decode(const char *text, struct ledger *ret);

/* 0, or -ENOSPC when it does not fit: tell no more of this partition until workers marked some done. */
int ledger_encode(const struct ledger *ledger, char out[LEDGER_TEXT_MAX + 1]);

enum ledger_entry ledger_find(const struct ledger *ledger, int64_t offset);

/* Adds it or changes what it is; `entry` is not NONE. 0 or -ENOSPC. */
int ledger_put(struct ledger *ledger, int64_t offset, enum ledger_entry entry);
void ledger_remove(struct ledger *ledger, int64_t offset); /* fine when it is not there */

/* Drop every offset of which is_done() says that a worker has marked it. */
void ledger_prune(struct ledger *ledger, bool (*is_done)(void *ctx, int64_t offset), void *ctx);

/* Drop every offset that is only announced. Answers how many there were. */
size_t ledger_withdraw(struct ledger *ledger);
