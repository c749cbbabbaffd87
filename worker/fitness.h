/* Is this host fit? It decides between two explanations of a task that does not start: this host, or the task.
 *
 * A fault before user code is answered by another try. After a few in a row without any microVM that became ready, the host looks at
 * itself: can a disk be written, and does a microVM of its own, without image and disk, say hello in the version of this worker? When
 * not, the worker drains and ends with status 1: leaving the group is what hands its records to other workers. When it does, the
 * tasks are at fault, and are told so after their tries. So no task drains a host, and none that cannot start goes round the fleet;
 * nothing that a guest or a VMM says counts (docs/decisions/2026-11-28-a-host-judges-itself.md). */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/err.h"
#include "lane/protocol.h"

struct fitness;
struct lane_client;

struct fitness_config {
	struct event_base *base;
	struct lane_client *disk_lane, *vmm_lane; /* lent */
	enum launcher_kind launcher; /* of the microVM of its own */
	uint64_t boot_ms;
	void (*on_fit)(void *ctx); /* its own look succeeded */
	void (*on_unfit)(void *ctx, const char *why);
	void *ctx;
};

struct fitness *fitness_new(const struct fitness_config *config); /* NULL: out of memory */
void fitness_free(struct fitness *fitness);

/* A task did not start, or a lane saw a fault of this host (ERR_HOST) under one that runs. Three in a row that a lane saw, of more than
 * one task, drain without a look. */
void fitness_fault(struct fitness *fitness, const char *task_id, const struct err *err);

/* Look now, whatever happened; on_fit() or on_unfit() follows. */
void fitness_prove(struct fitness *fitness);

void fitness_works(struct fitness *fitness); /* a microVM with its disk is ready for user code */

/* How often it was seen to be fit, by a microVM that became ready or by its own look: a task that used up its tries with a proof among
 * them is itself at fault. */
uint64_t fitness_proofs(const struct fitness *fitness);
