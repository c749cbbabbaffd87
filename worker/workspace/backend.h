/* What workspaces are made of: a row per way of making one, chosen by the setting `vmm`. A row joins the stages that a workspace of
 * it goes through, the control half of its VMM (worker/vmm/), what the lanes are asked for (the launcher half, lane/), and the way in
 * which its programs are run. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "host/disk/disk.h"
#include "lane/protocol.h"

struct exec_transport;
struct stage;
struct vmm_control;

struct backend {
	const char *name; /* as in the configuration and in results */
	const char *disk; /* isolation.disk of what runs on it */
	const struct stage *stages;
	size_t n_stages; /* the null backend has none: nothing is made, and nothing has to be ended */
	const struct vmm_control *control; /* NULL without a VMM stage, as are the next two */
	enum launcher_kind launcher;
	enum disk_form disk_form;
	const struct exec_transport *transport;
	size_t secrets_per_slot; /* that the engine holds at a time: the disk's key, and for a moment the command that carries it */
};
