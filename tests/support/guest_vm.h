/* A real microVM for a test: QEMU with the worker's own command line, but outside the jail and with a plain ext4 file
 * as its work disk; and the engine's side of the guest channel, blocking and with a deadline.
 *
 * Its peer can be replaced, as a real engine's would be: QEMU is given another socket (QMP's chardev-change) while
 * the VM runs.
 *
 * The agent is the one that was just built: the bundle's initrd with a second archive behind it that replaces /init. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "wire/frame.h"
#include "wire/frame_reader.h"

struct guest_vm {
	pid_t pid;
	int channel_fd, qmp_fd;
	int work_fd; /* a clone's disk, for who looks at it after its end; the caller's to close */
	bool is_qmp_ready;
	struct frame_reader reader;
	struct buf in;
	size_t frame_bytes; /* of `frame`, at the front of `in` */
	struct frame frame;
};

/* The program that becomes /init: the agent, unless a test says otherwise. */
extern const char *guest_vm_agent;

/* What makes the Python interpreter of an image wait (guest/warm/python); NULL: that of the bundle. */
extern const char *guest_vm_warm;

/* NULL, or why no VM can be started here. */
const char *guest_vm_missing(const char *image);

/* Start it; the agent's hello has been read, and nothing was sent yet. Failures fail the test. */
void guest_vm_start(struct guest_vm *vm, const char *image, unsigned memory_mib, unsigned disk_mib);

/* A VM whose memory others begin with. Its disk is a copy of the one that theirs are copies of. */
struct guest_template {
	const char *image; /* these three are the test's to say */
	unsigned memory_mib, disk_mib;
	int memory_fd, state_fd, blank_fd;
};

/* As guest_vm_start(); then, once it is warm, save it and end it. */
void guest_template_start(struct guest_template *template, struct guest_vm *vm);
void guest_template_save(struct guest_template *template, struct guest_vm *vm);
void guest_template_free(struct guest_template *template);

/* It runs where the template was saved; nothing was sent yet. */
void guest_vm_start_clone(struct guest_vm *vm, const struct guest_template *template);

/* End it and reap it; fine twice. */
void guest_vm_end(struct guest_vm *vm);

void guest_vm_send(struct guest_vm *vm, const struct frame *frame);
void guest_vm_send_bytes(struct guest_vm *vm, const void *bytes, size_t len);

/* The next frame, valid until the next call; NULL when the VM ended. Fails the test after a long wait. */
const struct frame *guest_vm_next(struct guest_vm *vm);

/* The same, and it must be of this type. */
const struct frame *guest_vm_expect(struct guest_vm *vm, enum frame_type type);

/* The channel ends: nothing that was sent or said is still heard by anybody. */
void guest_vm_hang_up(struct guest_vm *vm);

/* Another channel, in place of one that has ended or has not; this end knows nothing of the conversation. Nothing was
 * sent yet. */
void guest_vm_connect_again(struct guest_vm *vm);

/* FRAME_SYNC and attach; the hello that answers it. */
const struct frame *guest_vm_attach(struct guest_vm *vm);

#define GUEST_VM_AHEAD_S 86400 /* of this host: what guest_vm_set_up() says the time is */

void guest_vm_set_up(struct guest_vm *vm); /* nothing answers */
void guest_vm_mount(struct guest_vm *vm);  /* until `ready` */

/* Both: the whole conversation of a cold boot. */
void guest_vm_setup(struct guest_vm *vm);
