/* The guard protocol: what is said over the socket (SOCK_SEQPACKET) between a microVM's guard and who owns the microVM.
 *
 * Theory of operation. The guard waits for the first of these, kills everything in the microVM's control group, removes the
 * group, says ENDED, and exits:
 * - the VMM ended by itself;
 * - the deadline came. It is a time on CLOCK_BOOTTIME: root fixed the first one at the start, SET_DEADLINE moves it, earlier or
 *   later, as often as the owner likes, but never beyond the limit that root fixed at the start as well. One that has passed
 *   already ends the microVM at once;
 * - KILL, or the owner's end of the socket is closed: no microVM outlives its owner;
 * - a message that is none of these, has another size, or asks for more than the limit: the owner is not what it should be. The
 *   guard says so in its log first.
 * Who gets nothing but the end of the socket knows only that the guard is gone: its VMM died with it (PDEATHSIG), but the
 * group is still there, and must be destroyed by who may (vm_destroy()). After ENDED nothing is left to destroy.
 *
 * Each message is one datagram, and each type has its own exact size. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define GUARD_MAGIC 0x4d464744u /* "MFGD" */

enum guard_message_type {
	GUARD_NONE,	    /* never sent */
	GUARD_SET_DEADLINE, /* to the guard */
	GUARD_KILL,	    /* to the guard */
	GUARD_ENDED,	    /* from the guard; the last word */
	GUARD_MESSAGE_TYPE_COUNT
};

/* How a microVM ended. */
struct vm_exit {
	int32_t wait_status;	   /* waitpid's */
	uint32_t is_deadline;	   /* killed at the deadline */
	uint32_t is_out_of_memory; /* the kernel killed something in its control group for memory */
	uint32_t reserved;
	uint64_t max_rss_kib;
	uint64_t cpu_ms;
};

struct guard_message {
	uint32_t magic;
	uint32_t type;
	union {
		uint64_t deadline_boot_ms; /* SET_DEADLINE */
		struct vm_exit ended;	   /* ENDED */
	} of;
};

/* The owner's side; none blocks. A fault is ERR_BUSY: the guard has ended, and guard_receive() may still say how. */
int guard_set_deadline(int fd, uint64_t deadline_boot_ms, struct err *err);
int guard_kill(int fd, struct err *err);

/* 0: it ended so. -EAGAIN: nothing was said yet. A fault: the guard died, or said nonsense. */
int guard_receive(int fd, struct vm_exit *ret, struct err *err);

/* The guard's side. Receive: 0; -EAGAIN; -EPIPE: the owner is gone; -EBADMSG: no message of the protocol to a guard. */
int guard_hear(int fd, struct guard_message *ret);
void guard_tell_end(int fd, const struct vm_exit *vm_exit); /* nobody may be listening */
