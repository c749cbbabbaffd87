/* A vmm lane in a process of its own, asked as the engine asks. Failures fail the test. */
#pragma once

#include <sys/types.h>

#include "lane/datagram.h"
#include "lane/lane.h"

#define VMM_LANE_PATIENCE_MS 60000
#define VMM_LANE_LONG_MS     600000 /* a deadline that is not to come */
#define VMM_LANE_UID_BASE    64900

struct vmm_lane {
	struct lane_setup setup;
	pid_t pid;
	int fd;
	struct secret *buffer;
	struct lane_reply reply; /* the last one */
	struct err fault;	 /* and how it says that the operation failed */
	uint64_t seq;
};

/* Its microVMs are of a host of their own. */
void vmm_lane_start(struct vmm_lane *lane, uint32_t n_slots);

/* The lane has ended, and the host's control groups are gone; those of its microVMs must be. */
void vmm_lane_end(struct vmm_lane *lane);

/* To start one from the image "base", with 128 MiB. */
struct lane_request vmm_lane_request(const char *vm_id, uint64_t guard_deadline_boot_ms);

void vmm_lane_ask(struct vmm_lane *lane, const struct lane_request *request);

/* 0, or the errno of its failure. */
int vmm_lane_answer(struct vmm_lane *lane);
