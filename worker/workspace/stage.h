/* A stage of a workspace: one part of it, that can be made and unmade. workspace.c runs them in the order that their table says. */
#pragma once

#include <stdint.h>

struct workspace;

/* How a workspace is started. */
enum workspace_start {
	WORKSPACE_START_COLD,	  /* its guest boots a kernel of its own */
	WORKSPACE_START_CLONE,	  /* it goes on where a template (template.h) was saved */
	WORKSPACE_START_TEMPLATE, /* it becomes one: READY means saved, and nothing runs in it any more */
	WORKSPACE_START_COUNT
};

enum stage_status { STAGE_IDLE, STAGE_STARTING, STAGE_READY, STAGE_STOPPING, STAGE_STOPPED };

struct stage {
	const char *name;
	unsigned start_after; /* bits of stages that must be ready */
	unsigned stop_after;  /* bits of stages that must have stopped */
	/* NULL: a workspace that is started so has no such part. Ends in workspace_stage_is_ready(), now or later, or in a fault. */
	void (*start)(struct workspace *workspace);
	void (*stop)(struct workspace *workspace);  /* ends in workspace_stage_has_stopped(), now or later; fine on one never started */
	void (*tick)(struct workspace *workspace, uint64_t now_mono_ms); /* NULL: it has no deadline of its own */
};
