/* Lanes: small root processes that do the blocking, privileged work, one request at a time (wire/lane.h). Each knows only
 * the operations that are its own; any other request ends it. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "host/names.h"
#include "wire/lane.h"

struct lane_setup {
	struct host_place place;
	char libexec_dir[PATH_MAX / 2]; /* holds mayfly-guard and mayfly-jail */
	uint32_t slot_uid_base, n_slots;
	bool allow_kvm; /* a guest ran on it */
};

/* Run in a process of their own until the peer closes the socket: 0; or until it sends something impossible: 1. */
int lane_disk_main(int socket_fd, const struct lane_setup *setup);
int lane_vmm_main(int socket_fd, const struct lane_setup *setup);
int lane_reap_main(int socket_fd, const struct lane_setup *setup); /* destroyers and the sweep, for the reaper */

/* The peer's side. Neither blocks. */
int lane_send(int fd, const struct lane_request *request, struct err *err);

/* 0, or -EAGAIN, or a fault: the lane is gone, or said something impossible. The descriptors are the caller's. Wipe the
 * reply after use: it may carry a key. */
int lane_receive(int fd, struct lane_reply *ret, int fds[LANE_MAX_FDS], size_t *ret_n_fds, struct err *err);
