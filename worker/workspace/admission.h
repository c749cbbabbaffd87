/* Admission: may this workspace be made here, now?
 *
 * A reservation is of one of two kinds:
 * ACTIVE  a task runs in its workspace, or will: it may take at any moment all that was promised to it, its memory and
 *         its VMM's. So promises are counted, not use, and those of all active ones together never exceed what there is.
 * IDLE    its workspace waits for a task, and nothing of one has been in it. It takes what it costs and no more: what was
 *         measured of it, before that what others of its shape cost (footprint.h), before that its promise; never less
 *         than a floor. So the promises of idle ones may exceed the memory there is: this is the only over-commitment. It
 *         ends in admission_activate(), where a promise must find its place before there is a task; who keeps idle ones
 *         gives up others until it does.
 * Disks are counted in full for both. What a reservation holds is given back when the last resource of its workspace is
 * gone, so one that is still being torn down keeps its share.
 *
 * Under memory pressure (host/pressure.h; the engine looks and says so) nothing idle is made, and nothing is started beside
 * a task that runs: promises are no help against what else is on this host. One task always may, so that a host never
 * stands still. Nothing here does I/O. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/task.h"
#include "worker/workspace/footprint.h"

#define ADMISSION_IDLE_FLOOR_MIB 16 /* below it nothing was ever measured: a VMM's own heap and tables, and some of its guest */

struct admission;

struct admission_limits {
	uint32_t slots;	     /* of active ones */
	uint32_t idle_slots; /* of idle ones, beside them */
	uint64_t memory_mib;
	uint64_t disk_mib;
	uint32_t overhead_mib; /* added to each one's memory: the VMM's own */
	uint32_t cpus;         /* of this host: the most one may ask for */
	uint32_t largest_disk_mib;
};

struct reservation {
	uint32_t slot; /* 0 .. slots + idle_slots - 1; stays the same when it becomes active */
	bool is_idle;
	uint64_t memory_mib;   /* that it counts with */
	uint64_t promised_mib; /* that its workspace may take */
	uint64_t disk_mib;
};

enum admission_verdict {
	ADMISSION_VERDICT_ADMITTED,
	ADMISSION_VERDICT_WAIT,       /* fits this host, not at this moment */
	ADMISSION_VERDICT_IMPOSSIBLE, /* can never fit: `field` and `message` say what */
	ADMISSION_VERDICT_COUNT
};

struct admission *admission_new(const struct admission_limits *limits); /* NULL: out of memory */

/* An active one. On ADMITTED `ret` is reserved until admission_return(). On IMPOSSIBLE the flaw is filled. */
enum admission_verdict admission_ask(struct admission *admission, const struct shape *shape, struct reservation *ret,
				     struct task_flaw *flaw);
struct shape admission_shape_of(const struct task *task);

/* Only the question of IMPOSSIBLE; reserves nothing. */
bool admission_is_possible(const struct admission *admission, const struct shape *shape, struct task_flaw *flaw);

/* An idle one; WAIT also for what is impossible. */
enum admission_verdict admission_ask_idle(struct admission *admission, const struct shape *shape,
					  struct reservation *ret);

/* An idle one becomes active: from now on its whole promise counts. WAIT: there is no room, or pressure; it stays
 * idle. */
enum admission_verdict admission_activate(struct admission *admission, struct reservation *reservation);

/* The other way round, when no task was in it after all. false: there is no place for an idle one more; it stays active. */
bool admission_deactivate(struct admission *admission, const struct shape *shape, struct reservation *reservation);

/* Would an active one be admitted, if so much were given back by idle ones? */
bool admission_would_fit(const struct admission *admission, const struct shape *shape, uint64_t memory_mib, uint64_t disk_mib);

/* What the workspace of an idle one takes now, without what the kernel can have back. Of an active one it is ignored. */
void admission_measured(struct admission *admission, const struct shape *shape, struct reservation *reservation,
			uint64_t bytes);

void admission_return(struct admission *admission, const struct reservation *reservation);

/* Memory that stays when its workspace is gone: of a template. Keep: false: there is no room. */
bool admission_keep(struct admission *admission, uint64_t memory_mib);
void admission_drop(struct admission *admission, uint64_t memory_mib);

void admission_set_pressed(struct admission *admission, bool is_pressed);
bool admission_is_pressed(const struct admission *admission); /* then whoever keeps idle ones gives some up */

struct admission_count {
	uint32_t active, idle;
	uint64_t memory_mib;   /* counted: all of it */
	uint64_t promised_mib; /* to all of them */
};
struct admission_count admission_count(const struct admission *admission);

void admission_free(struct admission *admission);
