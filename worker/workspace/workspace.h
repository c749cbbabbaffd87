/* A workspace: what exists on this host for one tenant's work: a microVM, its encrypted disk, the key of that, its guest.
 *
 * It has an id of its own, `vm_id`, which is never used again: what is made for it carries that name (host/names.h), guards and
 * lanes know it by that, and its lease says it. It knows no task and no record. Its owner is a job, or whoever else keeps one; the
 * owner lends the plan and hears the events.
 *
 * MAKING  its stages start, in the order of stages.c for the way in which it is started (or none, backend.h). Each owns what it has made so far.
 *         Next: READY when all are ready; ENDING.
 * READY   programs may run in it (exec.h), or it waits for a new owner (adopt.h). Next: PAUSED, ENDING.
 * PAUSED  as READY, but its processors stand still. Nobody pauses one yet. Next: READY, ENDING.
 * ENDING  its stages stop, backwards: the guest is not heard any more, the VM is killed, then its key destroyed, then its files
 *         removed. Nothing starts any more. Next: GONE.
 * GONE    nothing of it is left on the host, or what is left is the reaper's (`is_vm_left`, and the log). Free it.
 *
 * The end is its owner's decision, except that the guard may be first: everything that happens to a workspace is an event, and the
 * owner answers with workspace_end(). All stages start and stop in the workspace's own turn of the loop, never from inside a
 * callback: so a callback may end it without pulling the ground from under its caller. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/ident.h"
#include "host/disk/drive.h"
#include "host/names.h"
#include "lane/client.h"
#include "loop/turns.h"
#include "wire/frame.h"
#include "worker/workspace/admission.h"
#include "worker/workspace/held_vms.h"
#include "worker/workspace/stage.h"
#include "worker/workspace/template.h"

struct backend;
struct channel;
struct vmm;
struct workspace;

enum workspace_state {
	WORKSPACE_MAKING,
	WORKSPACE_READY,
	WORKSPACE_PAUSED,
	WORKSPACE_ENDING,
	WORKSPACE_GONE,
	WORKSPACE_STATE_COUNT
};

/* What is the same for all workspaces of a worker. Lent by the engine, outlives them. */
struct workspace_host {
	struct event_base *base;
	struct turns *turns;
	struct lane_client *disk_lane, *vmm_lane;
	const struct backend *backend;
	struct admission *admission; /* reservations go back there */
	struct held_vms *held_vms; /* for what no lease names; NULL: there is no such thing */
	const struct host_place *place; /* NULL: nothing of an idle one is measured */
	uint64_t boot_ms;	     /* from the start of a VMM to its agent's hello */
	uint64_t null_run_ms;	     /* what a program of the null backend takes */
	void (*on_works)(void *ctx);	 /* a microVM became ready for user code: this host is fit */
	void (*on_slot_lost)(void *ctx); /* a microVM could not be ended: its slot is not used again */
	void *ctx;
};

/* What it is to be. Lent by its owner until it is gone. */
struct workspace_plan {
	const char *image;
	uint32_t cpus, memory_mib, disk_mib;
	uint64_t ttl_ms; /* from workspace_begin() on */
	uint64_t use_ms; /* from READY on, the longest that its owner means to use it: the guard ends it soon after */
	enum workspace_start start;
	const struct template *template; /* of a clone */
	const char *owner_id; /* in log lines: whose it is */
	bool has_no_lease; /* made ahead of any task: it is held (held_vms.h) */
};

enum workspace_over {
	WORKSPACE_OVER_TTL,   /* its time-to-live ended; the guard may have been the one to see it */
	WORKSPACE_OVER_GUARD, /* the guard ended it at the end of everything that it was planned for */
	WORKSPACE_OVER_COUNT
};

/* From the loop, never from inside a call. After workspace_end() only the last two come. */
struct workspace_events {
	void (*on_ready)(void *ctx);
	/* It cannot be made, or it broke. ERR_INPUT: of the plan, `field` names what; ERR_HOST: a lane saw that this host is at fault. */
	void (*on_fault)(void *ctx, const char *field, const struct err *err);
	void (*on_over)(void *ctx, enum workspace_over over);
	/* The VM is dead, and its key was destroyed as far as is_key_destroyed says. Also when there was neither. */
	void (*on_key_destroyed)(void *ctx);
	void (*on_gone)(void *ctx); /* it may be freed in here */
};

/* How long its parts took, in ms; -1: not reached. */
struct workspace_took {
	int64_t vmm_ms;	  /* from asking the lane to its sockets */
	int64_t disk_ms;
	int64_t key_ms;	  /* handing over the disk */
	int64_t boot_ms;  /* from asking the lane to the agent's hello, or to the restored clone */
	int64_t setup_ms; /* mounts, in the guest */
	int64_t erase_ms; /* from the decision to end it to the destroyed key */
};

/* STAGE_VMM, from its start to its stop. */
struct workspace_vm {
	struct vmm *control;
	int guard_fd;
	struct event *guard_readable, *guard_patience;
	bool may_exist; /* a start was asked for */
	bool is_pending; /* and not answered */
	bool is_guarded_by_ttl; /* the guard's deadline is that of the time-to-live */
	unsigned n_destroy_tries;
	unsigned n_restarts; /* of the guest's kernel */
};

/* STAGE_DISK and STAGE_KEY. */
struct workspace_disk {
	struct drive drive; /* until the VMM has it */
	bool may_exist; /* a format was asked for */
	bool is_pending; /* that, or a look at the file system, is not answered */
	unsigned n_tries; /* of destroying the key, then of removing the files */
};

/* STAGE_BOOT and STAGE_GUEST. */
struct workspace_guest {
	int fd; /* of the channel, between the VMM stage and the boot stage */
	bool is_set_up; /* it was told who it is: from here on it is somebody's */
	struct channel *channel; /* while STAGE_BOOT is not idle or stopped */
	uint64_t deadline_mono_ms; /* of hello, then of ready; the guard's comes later */
};

/* STAGE_SAVE: what is to become a template. */
struct workspace_saved {
	int memory_fd, state_fd;
	uint64_t build_id;
};

/* A program's place in a workspace, part of struct exec: whoever runs one hears its frames. */
struct workspace_program {
	LIST_ENTRY(workspace_program) link;
	uint32_t exec; /* from 1; 0: in no workspace */
	bool (*on_frame)(void *ctx, const struct frame *frame); /* as of struct channel_events */
	void *ctx;
};

LIST_HEAD(workspace_programs, workspace_program);

enum workspace_stage {
	WORKSPACE_STAGE_VMM,   /* a VMM in its jail, under its guard */
	WORKSPACE_STAGE_DISK,  /* the encrypted volume */
	WORKSPACE_STAGE_BOOT,  /* the guest's kernel, up to the agent's hello; its setup is sent */
	WORKSPACE_STAGE_KEY,   /* the volume and its key, in the VMM's hands */
	WORKSPACE_STAGE_GUEST, /* the guest mounts its disk */
	WORKSPACE_STAGE_WARM,  /* a template: the guest does what needs neither a disk nor an identity */
	WORKSPACE_STAGE_SAVE,  /* and is saved */
	WORKSPACE_STAGE_COUNT
};

struct workspace {
	char vm_id[IDENT_ID_MAX + 1];
	enum workspace_state state;
	const struct workspace_host *host;
	const struct workspace_plan *plan;
	const struct workspace_events *events;
	void *ctx; /* of the events */
	struct reservation reservation;
	bool has_reservation;
	uint64_t measure_mono_ms; /* when the memory of an idle one is looked at next */
	uint64_t ttl_ends_mono_ms;
	uint64_t end_mono_ns; /* when its end was decided */

	struct turn turn;
	enum stage_status stages[WORKSPACE_STAGE_COUNT];
	uint64_t stage_mono_ns[WORKSPACE_STAGE_COUNT]; /* when each was started */
	struct workspace_vm vm;
	struct workspace_disk disk;
	struct workspace_guest guest;
	struct held_vm held; /* while no lease names it */
	struct workspace_saved saved;
	struct workspace_programs programs;
	uint32_t n_programs; /* so far: the last exec id */

	struct workspace_took took;
	bool is_ready_due; /* its new owner has to be told */
	bool is_key_destroyed; /* there was a key, and what held it was seen to be overwritten, with its VM dead */
	bool is_key_told;      /* on_key_destroyed was called */
	bool is_vm_left;       /* its VM could not be killed: it may still hold what its disk was opened with */
};

/* Takes the reservation. NULL: out of memory; then the reservation is still the caller's. */
struct workspace *workspace_new(const struct workspace_host *host, const struct workspace_plan *plan,
				const struct reservation *reservation, const struct workspace_events *events, void *ctx);
void workspace_begin(struct workspace *workspace);

/* Once or more often, in any state. */
void workspace_end(struct workspace *workspace);
void workspace_tick(struct workspace *workspace, uint64_t now_mono_ms); /* its deadlines; every 100 ms or so */
/* Gives its reservation back: a slot is free when its owner has nothing more to do with what was in it, such as output that Kafka has
 * not taken yet. Accepts NULL; only one that was not begun, or is gone. */
void workspace_free(struct workspace *workspace);

/* For programs (exec.c): join before the first frame, leave before freeing. */
void workspace_join(struct workspace *workspace, struct workspace_program *program);
void workspace_leave(struct workspace_program *program);

/* To the guest, if it still is to be spoken to. Failing is a fault of the workspace's. */
void workspace_send(struct workspace *workspace, const struct frame *frame);
void workspace_resume(struct workspace *workspace); /* a program takes frames again */
bool workspace_is_held_back(const struct workspace *workspace); /* a frame of its guest waits to be taken */

/* It broke. Ignored once it is to end. */
void workspace_fault(struct workspace *workspace, const char *field, const struct err *err);
void workspace_guest_fault(struct workspace *workspace, const char *why); /* its guest does not behave */

/* For the stages: remembered; the workspace goes on in its next turn. */
void workspace_stage_is_ready(struct workspace *workspace, enum workspace_stage stage);
void workspace_stage_has_stopped(struct workspace *workspace, enum workspace_stage stage);
int64_t workspace_stage_took_ms(const struct workspace *workspace, enum workspace_stage since); /* since its start */
