/* What workspaces are made of: a row per VMM, chosen by the setting `vmm`. A row joins the ways in which a workspace of it may be started,
 * each with its stages and with what the vmm lane is asked for (the launcher half, lane/), the control half of its VMM (worker/vmm/), and
 * the way in which its programs are run. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "host/disk/disk.h"
#include "lane/protocol.h"
#include "worker/workspace/stage.h"

struct exec_transport;
struct vmm_control;

struct backend {
	const char *name; /* as in the configuration and in results */
	const char *disk; /* isolation.disk of what runs on it */
	struct {
		const struct stage *stages; /* a row for each enum workspace_stage; NULL: no workspace of it is started so */
		enum launcher_kind launcher;
	} starts[WORKSPACE_START_COUNT];
	/* NULL, as is the next one: it has no VMM. Nothing is made for its workspaces, and nothing has to be ended. */
	const struct vmm_control *control;
	enum disk_form disk_form;
	const struct exec_transport *transport;
	size_t secrets_per_slot; /* that the engine holds at a time: the disk's key, and for a moment the command that carries it */
};
