/* What Kafka still has of a task: its events on the results topic, read from the end backwards, and whether its record is on the
 * tasks topic. A reader in no group; nothing is written.
 *
 * What we write has the task's id for its key, and with it one partition. Only a topic that got more partitions since has
 * events elsewhere, so the others are searched when that one has nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tools/client.h"
#include "wire/result.h"

struct history {
	bool has_started, has_finished;
	struct result started, finished; /* the latest of each, where has_started, has_finished; so with what follows of them */
	int64_t started_offset, finished_offset;
	int64_t started_time_ms; /* Kafka's, of `started` */
	struct client_range after; /* in the results: what comes after all that was read */
	int64_t waiting_ms; /* Kafka's time of a later record of the id that has no answer yet; 0: none is known */
};

/* Does a task of the id run? An id may be used again after a result: then the latest event is another task's start. */
bool history_is_running(const struct history *history);

/* The result that answers this record, unless a later task of the id was answered since. Reads with a client of its
 * own: the caller's may be following topics. `deadline_mono_ms` as of client_until(). */
int history_answer(const struct target *target, uint64_t deadline_mono_ms, const char *id, int32_t partition, int64_t offset,
		   struct result *ret, bool *ret_found, struct err *err);

/* Reads events of the id since then (wall clock, ms; 0: all that Kafka has), and stops at the latest result; with
 * `wants_start`, when its start is known, too. The caller history_clear()s the history, also after an error. */
int history_read(struct client *client, const char *id, uint64_t since_ms, bool wants_start, struct history *history,
		 struct err *err);

/* Fills in `waiting_ms`: does a record wait that came after the one whose result is known? Asks nothing where there is
 * no result, or a task of the id runs. Who may not read the tasks is told so on stderr, in the name of `command`, and
 * goes on without. Reads with a client of its own, so that such a refusal does not end the caller's. */
int history_read_waiting(const struct target *target, const char *id, struct history *history, const char *command,
			 struct err *err);

/* The time of the latest record on the tasks topic with this id for its key, 0 when there is none. */
int history_submitted(struct client *client, const char *id, uint64_t since_ms, int64_t *ret_time_ms, struct err *err);

void history_init(struct history *history);
void history_clear(struct history *history);
