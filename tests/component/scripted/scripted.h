/* The engine of a worker among parties that say what a script says (script.h): the real engine, in a process of its own under its real
 * confinement, with a real redis-server and librdkafka's mock cluster (bus_stand.h). The test is its supervisor, its lanes, and the
 * guard, the VMM and the guest of every microVM that it asks for.
 *
 * Which script a microVM plays is in the name of its image: "script-N" is scripts[N], any other is well-behaved. So is the look of a
 * host at itself, which has no image. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "tests/component/scripted/bus_stand.h"
#include "tests/component/scripted/engine_process.h"
#include "tests/component/scripted/fake_lane.h"
#include "tests/component/scripted/fake_vm.h"

#define SCRIPTED_LANES 2

struct scripted_disk; /* one that was asked for */
struct scripted_wait; /* words that a script puts off */

TAILQ_HEAD(scripted_disks, scripted_disk);
LIST_HEAD(scripted_waits, scripted_wait);

struct scripted {
	struct bus_stand bus;
	struct event_base *base;
	bool is_flawed; /* then the engine's log is shown in the end, and stays */
	struct engine_process engine;
	int supervisor_fd;
	struct event *supervisor, *pulse;
	size_t n_sockets; /* of an engine that has nothing to do */
	struct fake_lane lanes[SCRIPTED_LANES];
	struct fake_vm_list vms;
	struct scripted_disks disks;
	struct scripted_waits waits;
	const char *const *scripts;
	unsigned *n_vms; /* that played each of them */
	size_t n_scripts;
};

/* The number of every microVM of a task's image that is to become a template, and of every clone of one; others are counted from 1. */
#define SCRIPTED_TEMPLATE 10
#define SCRIPTED_CLONE	  20

/* Start it all, and see a well-behaved task through. `slots` microVMs at a time. */
void scripted_open(struct scripted *scripted, const char *const *scripts, size_t n_scripts, unsigned slots, bool has_clones);

/* A microVM that was to become a template of scripts[number] has come to its end. False: it has not, after `patience_ms`. */
bool scripted_await_template(struct scripted *scripted, size_t number, unsigned patience_ms);

/* A task with a file, input and something to collect, for bus_stand_send(). One with a script lives for TTL_MS of scripted.c at most. */
void scripted_task(const char *id, const char *image, struct task *ret);

/* Until a terminal result of `id` was told, and NULL after `patience_ms` without one. */
const struct result *scripted_await(struct scripted *scripted, const char *id, unsigned patience_ms);

/* What no script may bring about, when every task was told. Answers NULL, or what is wrong: the engine has ended, or does not let go of a
 * microVM or a disk. */
const char *scripted_flaw(struct scripted *scripted);

/* End the engine in order. Answers NULL, or what is wrong: a leak, a drained host, a lease that is left. */
const char *scripted_end(struct scripted *scripted);

void scripted_close(struct scripted *scripted);
