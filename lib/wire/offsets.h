/* What is done of one partition, where tasks finish out of order. Pure data.
 *
 * `next` is the lowest offset that is not done; the map says what is done beyond it and travels as commit metadata, so
 * that a restarted worker does not run finished tasks again. Offsets that Kafka never delivers (transaction markers,
 * compaction) count as done as soon as a later one was delivered. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OFFSETS_METADATA_MAX 4096 /* bytes, Kafka's default offset.metadata.max.bytes */
#define OFFSETS_WINDOW 24000      /* offsets beyond `next` that the map can hold: six to a character */

struct offsets;

/* From a committed position: `next` and the metadata of its commit (NULL, "" or foreign text: nothing beyond next). */
struct offsets *offsets_new(int64_t next, const char *metadata); /* NULL: out of memory */

/* Does the map reach as far as this offset? If not, deliver it again when `next` has moved. */
bool offsets_has_room(const struct offsets *offsets, int64_t offset);

/* A record was delivered. false: it is done already, skip it. Asserts that offset is within the window. */
bool offsets_receive(struct offsets *offsets, int64_t offset);

/* A received record is done. */
void offsets_done(struct offsets *offsets, int64_t offset);

/* Nothing in [from, to) will be delivered (again): all of it is done. Asserts that to - 1 is within the window. */
void offsets_skip(struct offsets *offsets, int64_t from, int64_t to);

/* How many in [from, to) are not done, and the first and the last of them. */
uint64_t offsets_open(const struct offsets *offsets, int64_t from, int64_t to, int64_t *ret_first, int64_t *ret_last);

/* Is this offset known to be done? Any offset may be asked for; nothing changes. */
bool offsets_is_done(const struct offsets *offsets, int64_t offset);

int64_t offsets_next(const struct offsets *offsets);

/* Nothing that was received is open. */
bool offsets_is_idle(const struct offsets *offsets);

/* Three quarters of the window are taken: take no new records until `next` moves. */
bool offsets_is_full(const struct offsets *offsets);

/* The commit metadata: printable, NUL-terminated, "" when nothing is done beyond next. Never longer than the maximum. */
void offsets_metadata(const struct offsets *offsets, char out[OFFSETS_METADATA_MAX + 1]);

/* `to` becomes what `from` is. */
void offsets_copy(struct offsets *to, const struct offsets *from);

void offsets_free(struct offsets *offsets);
