/* A stage of a workspace: one part of it, that can be made and unmade. workspace.c runs them in the order that their table says. */
#pragma once

#include <stdint.h>

struct workspace;

enum stage_status { STAGE_IDLE, STAGE_STARTING, STAGE_READY, STAGE_STOPPING, STAGE_STOPPED };

struct stage {
	const char *name;
	unsigned start_after; /* bits of stages that must be ready */
	unsigned stop_after;  /* bits of stages that must have stopped */
	void (*start)(struct workspace *workspace); /* ends in workspace_stage_is_ready(), now or later, or in a fault */
	void (*stop)(struct workspace *workspace);  /* ends in workspace_stage_has_stopped(), now or later; fine on one never started */
	void (*tick)(struct workspace *workspace, uint64_t now_mono_ms); /* NULL: it has no deadline of its own */
};
