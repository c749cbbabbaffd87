/* A QMP session, for the files that are QEMU's control half. */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "wire/qmp.h"
#include "worker/vmm/control.h"

enum qemu_command {
	COMMAND_CAPABILITIES = 1, /* ids start at 1: 0 means "no id" */
	COMMAND_ADD_FD,
	COMMAND_SECRET_ADD,
	COMMAND_BLOCKDEV_ADD,
	COMMAND_SECRET_DEL,
	COMMAND_REOPEN,
	COMMAND_SET_ACTION,
	COMMAND_IGNORE_SHARED, /* of a snapshot, from here on */
	COMMAND_GET_FD,
	COMMAND_MIGRATE,
	COMMAND_INCOMING
};

/* Saving, or restoring: both are a command that returns at once, and an event that says that it is done. */
enum qemu_move { MOVE_NONE, MOVE_SAVE, MOVE_RESTORE };

struct vmm {
	int fd;
	struct event *event;
	const struct vmm_events *events;
	void *ctx;
	struct buf in;
	enum qemu_move move;
	bool has_returned, is_done; /* of `move` */
	bool is_attaching;
	bool has_io_error;
	bool is_broken;
};

/* All of it at once, and `passed_fd` with its first byte; -1: none. */
int qemu_send(struct vmm *vmm, const uint8_t *data, size_t len, int passed_fd, struct err *err);

/* worker/vmm/qemu_snapshot.c */
int qemu_save(struct vmm *vmm, int state_fd, struct err *err);
int qemu_restore(struct vmm *vmm, struct err *err);

/* What it says about that; all messages go through here. */
void qemu_snapshot_take(struct vmm *vmm, const struct qmp_message *message);
