/* The templates of this worker (workspace/template.h), by shape.
 *
 * Theory of operation. Who makes a workspace asks here first. Is there a template of its shape, it is lent, and the workspace will be a
 * clone; if not, the answer is NULL, the workspace boots by itself, and a template is made in the background: by a workspace of its own,
 * whose stages are another kind of start (workspace/stages.c). It has a guard and a deadline as all have, no lease (held_vms.h), and no task:
 * a workspace that was set up refuses to be saved, so that what is in a template is never anybody's.
 *
 * WANTED    was asked for. Next: BUILDING, when its moment has come, no other one is being built, it fits into the budget and admission
 *           has room for it beside all tasks.
 * BUILDING  owns a workspace. Next: READY; WANTED again, some time later and longer each time, when that failed.
 * READY     owns a template, which is lent as long as it is here. Next: gone, when it is the one that was asked for least recently and
 *           another one needs its place; WANTED, when a clone of it failed: as when what it was made from has changed.
 *
 * The budget counts all of a template's memory, also of one that was given up and is still lent: a clone that looks at a page which the
 * template never touched makes the kernel fill it for all. Where there is no room left a shape displaces another one only when it is asked
 * for again.
 * Nobody waits for a template, and nothing here decides a task's end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "worker/workspace/shape.h"

struct template;
struct templates;
struct workspace_host;

struct templates_config {
	const struct workspace_host *workspaces; /* lent; its backend can start clones */
	uint64_t memory_mib;			 /* the budget */
};

struct templates_count {
	size_t ready, building;
	uint64_t lent, missing; /* answers to templates_take() so far */
	uint64_t built, failed, evicted, stale;
	uint64_t fallbacks; /* clones that failed before they were ready, and booted by themselves instead */
	uint64_t kept_mib;
};

struct templates *templates_new(const struct templates_config *config); /* NULL: out of memory */

/* Only when nothing is lent or being built. Accepts NULL. */
void templates_free(struct templates *templates);

/* One that is ready, lent until templates_put(). NULL: there is none, or `templates` is NULL. */
struct template *templates_take(struct templates *templates, const struct shape *shape);
void templates_put(struct templates *templates, struct template *template);

/* The one that is ready now, only to be looked at. NULL: there is none, or `templates` is NULL. */
const struct template *templates_ready(struct templates *templates, const struct shape *shape);

/* It is likely to be asked for: build it, if nothing has to go for it. */
void templates_expect(struct templates *templates, const struct shape *shape);

/* A clone of it failed before it was ready, by its fault as far as anybody knows: no more of it. It is still lent. */
void templates_failed(struct templates *templates, struct template *template, const struct err *err);

/* A task of that shape finds no room: what is being built ends, if that is enough for it, and is built later. Accepts NULL. */
void templates_give_way(struct templates *templates, const struct shape *shape);

void templates_tick(struct templates *templates, uint64_t now_mono_ms); /* every 100 ms or so */
void templates_drain(struct templates *templates); /* build no more, and give up what is ready; accepts NULL */
struct templates_count templates_count(const struct templates *templates);
