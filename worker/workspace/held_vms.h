/* The workspaces that no lease names, because they are made ahead of any task: the pool's and templates. A reaper finds on its host what
 * is left of a worker that died; that these are not left is said by a hold in Redis, an entry in the host's VM table (schemas/lease.md).
 *
 * A workspace whose plan says so is held from workspace_begin() until it is gone, or until workspace_adopt() gives it to who has a lease
 * that names it. The hold is written at once and renewed three times a lease. While it is `sure` no reaper takes the workspace for an
 * orphan; a worker that was not heard for a lease must not give it to anybody any more, and ends it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct held_vms;
struct leases;

/* Part of who owns the workspace; zero-initialise. */
struct held_vm {
	LIST_ENTRY(held_vm) link;
	struct held_vms *of; /* NULL: it is not held */
	const char *vm_id;
	uint64_t sure_until_mono_ms; /* 0: never yet */
	bool is_asking;
};

struct held_vms *held_vms_new(uint64_t lease_ms); /* NULL: out of memory */
void held_vms_set_leases(struct held_vms *held_vms, struct leases *leases); /* borrowed. From here on they are told */

/* `vm_id` is borrowed until it is removed. */
void held_vms_add(struct held_vms *held_vms, struct held_vm *held, const char *vm_id);
void held_vms_remove(struct held_vm *held); /* fine on one that is not held */
bool held_vm_is_sure(const struct held_vm *held, uint64_t now_mono_ms);

void held_vms_tick(struct held_vms *held_vms, uint64_t now_mono_ms); /* every 100 ms or so */
void held_vms_free(struct held_vms *held_vms); /* accepts NULL; only an empty one */
