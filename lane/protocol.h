/* The lane protocol, version 3: requests from an unprivileged engine to a root lane process, and its replies. This file
 * turns structs into datagrams and back, and checks everything; it does no I/O.
 *
 * Theory of operation. One request is one SOCK_SEQPACKET datagram, one reply follows for each, in order, with the number
 * (`seq`) that the request had. A request names an operation, and its body is exactly that operation's struct: numbers,
 * ids and names of a fixed form, never a path, never a command. Descriptors ride on the datagram (SCM_RIGHTS), a secret at
 * its end, in both directions; each operation's row says whether it has any.
 *
 * Who owns what: the sender lends its structs for the call; what is received is the receiver's, to be taken with
 * TAKE_PTR(x->secret) and take_fd(&x->fds[i]), and the rest goes with lane_request_clear() or lane_reply_clear(). A
 * datagram is built and read in locked memory and wiped at both ends (lane/datagram.h).
 *
 * Time: a deadline is a time on CLOCK_BOOTTIME, so that nothing that waits, hangs or sleeps moves it. The lane begins
 * nothing after it, and the engine does not wait much longer (lane/client.h).
 *
 * Trust: the engine may have been taken over. What breaks these rules ends the lane: there is nothing to say to such a
 * peer. The lane is root, and still the engine checks what it says: a lane that was replaced by a fault says nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ident.h"
#include "base/secret.h"
#include "host/disk/disk.h"
#include "host/disk/drive.h"
#include "lane/launcher.h"

#define LANE_MAGIC 0x4d464c4eu /* "MFLN" */
#define LANE_VERSION 3
#define LANE_MAX_FDS 6
#define LANE_MAX_SLOTS 10000
#define LANE_SECRET_MAX 128 /* bytes: a disk's key, twice as long as today's */

enum lane_op {
	LANE_OP_NONE,             /* never sent: what was not filled in is not an operation */
	LANE_OP_DISK_FORMAT,      /* makes a disk; reply: fd 0, and its key where the VMM decrypts it */
	LANE_OP_DISK_DESTROY_KEY, /* fine when nothing is there */
	LANE_OP_DISK_ERASE,       /* destroys the key if it is there, removes the disk; fine when nothing is there */
	LANE_OP_DISK_LOOK,        /* ERR_HOST: no disk can be made or written on this host now */
	LANE_OP_VM_START,         /* reply: fds [0] control, [1] guest channel, [2] guard; of a template also [3] memory, [4] room for its state */
	LANE_OP_VM_DESTROY,       /* kills and removes the control group; fine when nothing is there */
	LANE_OP_VM_PROBE,         /* a microVM without image and disk, to see if a guest starts here; reply as of VM_START */
	LANE_OP_SWEEP,            /* one workspace of which something is on this host; vm_id "": that was all */
	LANE_OP_COUNT
};

struct lane_disk_format {
	char vm_id[IDENT_ID_MAX + 1];
	enum disk_form form;
	uint32_t disk_mib;
};

/* May come with a drive, for a launcher that wants it at the start: fd 0, and its key as the secret. A clone comes with its template:
 * fds [0] memory, [1] state, both sealed (host/sealed.h). */
struct lane_vm_start {
	char vm_id[IDENT_ID_MAX + 1];
	char image[IDENT_IMAGE_MAX + 1];
	enum launcher_kind launcher;
	enum drive_kind drive;
	uint32_t slot; /* which uid */
	uint32_t cpus, memory_mib, disk_mib;
	uint64_t guard_deadline_boot_ms; /* the guard kills then, until it is told another time (host/guard.h) */
	uint64_t build_id; /* of a clone: what its template was started with; else 0 */
};

struct lane_vm_probe {
	enum launcher_kind launcher;
	uint64_t guard_deadline_boot_ms;
};

struct lane_vm_id {
	char vm_id[IDENT_ID_MAX + 1];
};

struct lane_sweep {
	uint64_t cursor; /* 0, then what the last reply said */
};

struct lane_request {
	enum lane_op op;
	uint64_t deadline_boot_ms;
	union {
		struct lane_disk_format disk_format;
		struct lane_vm_start vm_start;
		struct lane_vm_probe vm_probe;
		struct lane_vm_id vm; /* DISK_DESTROY_KEY, DISK_ERASE, VM_DESTROY */
		struct lane_sweep sweep;
	} of;
	struct secret *secret; /* NULL: none */
	int fds[LANE_MAX_FDS];
	size_t n_fds;
};

struct lane_disk_made {
	enum drive_kind drive;
	uint32_t major, minor; /* of a DRIVE_NODE */
};

struct lane_vm_started {
	uint64_t build_id; /* a template of it is good as long as this is the same; not 0 */
};

struct lane_key_destroyed {
	bool is_key_destroyed; /* what held it was read back as overwritten */
};

struct lane_swept {
	char vm_id[IDENT_ID_MAX + 1];
	uint64_t cursor;
};

struct lane_reply {
	enum lane_op op;
	union {
		struct lane_disk_made disk_format;
		struct lane_vm_started vm_start;
		struct lane_key_destroyed destroy_key;
		struct lane_swept sweep;
	} of;
	struct secret *secret;
	int fds[LANE_MAX_FDS];
	size_t n_fds;
};

#define LANE_DATAGRAM_MAX 1024 /* bytes of the longest, asserted in protocol.c */

/* Write the datagram of a request; `request` obeys the rules below. Answers its length. */
size_t lane_request_encode(const struct lane_request *request, uint64_t seq, uint8_t out[LANE_DATAGRAM_MAX]);

/* Check a datagram with which `n_fds` descriptors came: magic, version, a known operation, exact size, terminated and
 * well-formed ids and names, numbers within the limits of wire/task.h, as many descriptors and as long a secret as the
 * operation takes. 0: `ret` has everything but the descriptors, which the caller puts into ret->fds. ERR_BUG: the peer is our
 * own code, or was taken over; ERR_HOST: no memory can be locked for its secret. */
int lane_request_decode(const void *data, size_t len, size_t n_fds, struct lane_request *ret, uint64_t *ret_seq,
			struct err *err);

/* The same for a reply. `fault`: NULL, or why the operation failed; then nothing else of `reply` but its op is sent. */
size_t lane_reply_encode(const struct lane_reply *reply, const struct err *fault, uint64_t seq,
			 uint8_t out[LANE_DATAGRAM_MAX]);
/* ret_fault->kind is ERR_NONE when the operation was done. */
int lane_reply_decode(const void *data, size_t len, size_t n_fds, struct lane_reply *ret, struct err *ret_fault,
		      uint64_t *ret_seq, struct err *err);

/* Wipe, close and forget what was received and not taken. */
void lane_request_clear(struct lane_request *request);
void lane_reply_clear(struct lane_reply *reply);

/* The disk of a good reply to DISK_FORMAT: its descriptor and key move into the reply, and out of it. */
void lane_reply_give_drive(struct lane_reply *reply, struct drive *drive);
void lane_reply_take_drive(struct lane_reply *reply, struct drive *ret);

/* Is it an answer to that request: the same operation, and as many descriptors as it brings? */
bool lane_reply_answers(const struct lane_reply *reply, const struct lane_request *request);

const char *lane_op_name(enum lane_op op);

/* The workspace that a request is about; "": none. */
const char *lane_request_vm_id(const struct lane_request *request);
