/* What is made on this host ahead of any task, so that tasks start sooner, and how it is held meanwhile: the one place that opens, ticks,
 * drains and closes it. Everything works without, only slower. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct job_services;
struct settings;

/* Fills held_vms, templates and pool of the services; what workspaces stand on is there already. `on_room`: what was reserved was given back. */
int ahead_open(struct job_services *services, const struct settings *settings, void (*on_room)(void *ctx), void *ctx, struct err *err);
void ahead_join(struct job_services *services); /* there are leases from here on: it may begin */
void ahead_tick(struct job_services *services, uint64_t now_mono_ms); /* every 100 ms or so */
void ahead_drain(struct job_services *services);
bool ahead_is_idle(const struct job_services *services); /* nothing of it is on this host, and none is being made */
void ahead_close(struct job_services *services); /* when it is idle, or was never opened */
