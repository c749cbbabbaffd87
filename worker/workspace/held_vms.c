#include "worker/workspace/held_vms.h"

#include <assert.h>
#include <stdlib.h>

#include "bus/lease.h"

#define KILL_BUDGET_MS 1000 /* as of a lease: before it ends for others, it has ended here */

LIST_HEAD(held_vm_list, held_vm);

struct held_vms {
	struct leases *leases; /* NULL until there are some */
	uint64_t lease_ms, renewed_mono_ms;
	struct held_vm_list all;
};

static void on_held(void *ctx, const struct lease_grant *grant)
{
	struct held_vm *held = ctx;

	held->is_asking = false;
	if (grant->verdict == LEASE_VERDICT_DONE)
		held->sure_until_mono_ms = grant->deadline_mono_ms;
}

static void renew(struct held_vms *held_vms, struct held_vm *held)
{
	if (!held_vms->leases || held->is_asking)
		return;
	held->is_asking = true;
	lease_hold(held_vms->leases, held->vm_id, on_held, held);
}

static void renew_all(struct held_vms *held_vms)
{
	struct held_vm *held;

	LIST_FOREACH(held, &held_vms->all, link)
		renew(held_vms, held);
}

void held_vms_add(struct held_vms *held_vms, struct held_vm *held, const char *vm_id)
{
	assert(!held->of);
	*held = (struct held_vm){ .of = held_vms, .vm_id = vm_id };
	LIST_INSERT_HEAD(&held_vms->all, held, link);
	renew(held_vms, held);
}

void held_vms_remove(struct held_vm *held)
{
	struct held_vms *held_vms = held->of;

	if (!held_vms)
		return;
	LIST_REMOVE(held, link);
	held->of = NULL;
	held->sure_until_mono_ms = 0;
	if (!held_vms->leases)
		return;
	lease_forget(held_vms->leases, held);
	lease_let_go(held_vms->leases, held->vm_id);
}

bool held_vm_is_sure(const struct held_vm *held, uint64_t now_mono_ms)
{
	return now_mono_ms + KILL_BUDGET_MS < held->sure_until_mono_ms;
}

void held_vms_tick(struct held_vms *held_vms, uint64_t now_mono_ms)
{
	if (now_mono_ms - held_vms->renewed_mono_ms < held_vms->lease_ms / 3)
		return;
	held_vms->renewed_mono_ms = now_mono_ms;
	renew_all(held_vms);
}

void held_vms_set_leases(struct held_vms *held_vms, struct leases *leases)
{
	held_vms->leases = leases;
	renew_all(held_vms);
}

struct held_vms *held_vms_new(uint64_t lease_ms)
{
	struct held_vms *held_vms = calloc(1, sizeof(*held_vms));

	if (!held_vms)
		return NULL;
	held_vms->lease_ms = lease_ms;
	LIST_INIT(&held_vms->all);
	return held_vms;
}

void held_vms_free(struct held_vms *held_vms)
{
	if (!held_vms)
		return;
	assert(LIST_EMPTY(&held_vms->all));
	free(held_vms);
}
