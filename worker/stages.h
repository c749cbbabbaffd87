/* The stages of a job and their order: the one place that knows it. */
#pragma once

#include "worker/channel.h"
#include "worker/job.h"

struct stage {
	const char *name;
	unsigned start_after; /* bits of stages that must be ready */
	unsigned stop_after;  /* bits of stages that must have stopped */
	void (*start)(struct job *job);
	void (*stop)(struct job *job); /* ends in job_stage_stopped(), now or later */
};

extern const struct stage stages[STAGE_COUNT];

void stage_lease_start(struct job *job);
void stage_lease_stop(struct job *job);
void stage_report_start(struct job *job);
void stage_report_stop(struct job *job);
void stage_disk_start(struct job *job);
void stage_disk_stop(struct job *job);
void stage_disk_look(struct job *job); /* its VMM says that its disk cannot be written: ends the job, and says whose fault it is */
void stage_vmm_start(struct job *job);
void stage_vmm_stop(struct job *job);
void stage_key_start(struct job *job);
void stage_key_stop(struct job *job);
extern const struct channel_events stage_guest_events;
bool stage_guest_is_held_back(const struct job *job); /* it waits for us to take its output, not we for it */
uint64_t stage_guest_longest_ms(const struct job *job); /* from the start of the VMM: all its deadlines together */
void stage_guest_start(struct job *job);
void stage_guest_stop(struct job *job);

/* The streamer's answer to one chunk (bus/streamer.h); `opaque` is the guest stage's own. */
void stage_guest_delivered(void *ctx, void *opaque, bool is_delivered);
void stage_report_go_on(struct job *job); /* a chunk was acknowledged */

/* Deadlines of the stages, looked at by the engine's tick. */
void stage_lease_renew(struct job *job);
void stage_lease_tick(struct job *job, uint64_t now_mono_ms);
void stage_guest_tick(struct job *job, uint64_t now_mono_ms);
