/* Requests from the unprivileged engine to a root lane process: fixed size, an enum of operations, ids and numbers only.
 * Never a path. One request per SOCK_SEQPACKET datagram, one reply per request, in order; descriptors ride on the reply
 * as SCM_RIGHTS. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ident.h"

#define LANE_MAGIC 0x4d46314cu /* "MF1L" */
#define LANE_MAX_FDS 4
#define LANE_MAX_SLOTS 10000
#define LANE_KEY_BYTES 64 /* hex text of a 256-bit keyslot secret */

enum lane_op {
	LANE_OP_NONE,             /* never sent: what was not filled in is not an operation */
	LANE_OP_DISK_FORMAT,      /* id, disk_mib -> key, fd 0: the backing file, read-write */
	LANE_OP_DISK_DESTROY_KEY, /* id -> verified: 1 when what held it was read back as overwritten */
	LANE_OP_DISK_ERASE,       /* id: destroy the key if it is there, remove the file; fine when nothing is there */
	LANE_OP_VM_START,         /* id, slot, image, memory_mib, cpus, deadline_boot_ms -> fds: QMP, guest channel, guard */
	LANE_OP_VM_DESTROY,       /* id: kill and remove the cgroup; fine when nothing is there */
	LANE_OP_DISK_LOOK,        /* -> ERR_HOST: no disk can be made or written on this host now */
	LANE_OP_VM_PROBE,         /* deadline_boot_ms -> fds as of VM_START: a microVM without image and disk, to see if a guest starts here */
	LANE_OP_SWEEP,            /* reaper: one name per reply, see `cursor`; id "" and rc 0 at the end */
	LANE_OP_COUNT
};

struct lane_request {
	uint32_t magic;
	uint32_t op;
	uint64_t seq;
	char id[IDENT_ID_MAX + 1];
	char image[IDENT_IMAGE_MAX + 1];
	uint32_t slot;        /* VM_START: which uid */
	uint32_t cpus;
	uint32_t memory_mib;
	uint32_t disk_mib;
	uint64_t deadline_boot_ms; /* VM_START, VM_PROBE: on CLOCK_BOOTTIME; the guard kills then, and nothing is started afterwards */
	uint64_t cursor;      /* SWEEP: 0, then what the last reply said */
};

struct lane_reply {
	uint32_t magic;
	uint32_t op;
	uint64_t seq;
	int32_t rc; /* 0 or a negative errno; then kind and msg are filled */
	uint32_t err_kind;
	char msg[240];
	uint32_t n_fds;
	uint32_t verified;
	uint64_t cursor;
	char id[IDENT_ID_MAX + 1]; /* SWEEP */
	char key[LANE_KEY_BYTES];  /* DISK_FORMAT; wipe the reply after use */
};

/* Check a datagram of `len` bytes: exact size, magic, a known op, NUL-terminated and well-formed id and image where the
 * op takes them, numbers within the limits of wire/task.h. 0, or ERR_BUG: the peer is our own code, or was taken over. */
int lane_request_check(const void *data, size_t len, struct lane_request *ret, struct err *err);

/* The same for the engine's side; `n_fds` is what arrived with it. */
int lane_reply_check(const void *data, size_t len, size_t n_fds, struct lane_reply *ret, struct err *err);

const char *lane_op_name(enum lane_op op);
