/* The launcher half of a VMM: how one is started. It runs in the vmm lane, as root; the control half (worker/vmm/) talks to
 * what came of it, without privileges. A request names a launcher, and everything else follows from its row here: the
 * program and its descriptors (plan), the jail that it is locked into, and what the two sockets speak that the engine gets.
 *
 * A launcher plans and opens; it starts nothing, makes no control group and ends nothing: that is the same for all of them
 * (host/vm.h, jail/guard.c). To add one: a value of enum launcher_kind, a file launch_<name>.c with its row, and the row's
 * place in launcher.c; lane/protocol.c says which descriptors come and go with it. */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "host/disk/drive.h"
#include "host/jail_profile.h"
#include "host/names.h"
#include "host/vm.h"
#include "lane/accel.h"

#define LAUNCHER_MAX_ARGS 64
#define LAUNCH_STATE_MAX_MIB 4 /* of a template's devices; measured: 64 KiB */

enum launcher_kind {
	LAUNCHER_NONE, /* never asked for: what was not filled in is no launcher */
	LAUNCHER_QEMU,
	LAUNCHER_QEMU_TEMPLATE, /* to be saved, and then cloned */
	LAUNCHER_QEMU_CLONE,	/* goes on where a template was saved */
	LAUNCHER_COUNT
};

/* What the control socket speaks: the control half of the same VMM knows it. */
enum launcher_control { LAUNCHER_CONTROL_QMP };

/* What the guest's agent is reached over. */
enum launcher_guest {
	LAUNCHER_GUEST_SERIAL /* a stream that is open from the start; what is sent before the agent listens waits */
};

/* What is to be cloned, as the engine has it: a template's memory and the state of its devices. */
struct launch_template {
	int memory_fd, state_fd;
	uint64_t build_id; /* as it was when the template was started */
};

/* What is to be started. All of it is borrowed. */
struct launch {
	const char *vm_id;
	uint32_t uid;	   /* of the VMM: its slot's */
	const char *image; /* NULL: a microVM that only says hello, without image and disk */
	enum accel accel;
	uint32_t memory_mib, cpus, disk_mib;
	uint32_t tsc_khz;	   /* launcher_tsc_khz() */
	uint64_t deadline_boot_ms, limit_boot_ms; /* of its guard (host/guard.h) */
	const struct drive *drive; /* NULL: the VMM is given its disk over its control socket, once it is made */
	const struct launch_template *from; /* of a clone */
};

/* What a launcher makes of it. */
struct launch_plan {
	const char *argv[LAUNCHER_MAX_ARGS]; /* of the VMM, path inside its jail; NULL-terminated */
	char text[8][256];		     /* for what in argv is no constant */
	int fds[VM_MAX_FDS];		     /* the first n_fds become 3, 4, ... of the VMM; the rest is the launcher's own */
	unsigned n_fds;
	int control_fd, guest_fd; /* the engine's ends */
	int memory_fd, state_fd;  /* of a template, for the engine */
	uint64_t build_id;	  /* a digest of what is on this host now that a template of it depends on; not 0 */
	uint32_t file_mib;	  /* the largest file that the VMM may write */
	uint32_t shared_mib;	  /* what it may have to pay for, of memory that others use as well */
};

struct launcher {
	const char *name; /* as in the configuration */
	const struct jail_profile *jail;
	enum launcher_control control;
	enum launcher_guest guest;
	/* ERR_INPUT when the image is not on this host, ERR_HOST when the host's bundle is not. On failure `ret` may be half
	 * filled: launch_plan_clear(). */
	int (*plan)(const struct host_place *place, const struct launch *launch, struct launch_plan *ret, struct err *err);
	/* Once the VMM was started: connect what it makes itself, within moments. On failure it is killed. NULL: all sockets are
	 * there from the start. */
	int (*connect)(struct launch_plan *plan, struct err *err);
};

/* NULL: there is none of that kind. */
const struct launcher *launcher_of(enum launcher_kind kind);

/* The host's TSC frequency, measured over 20 ms: given to the guest, whose own calibration hangs on a busy host. */
uint32_t launcher_tsc_khz(void);

/* What the engine gets: its ends of the sockets, and of a template what is to be cloned. */
struct launch_ends {
	int control_fd, guest_fd, guard_fd;
	int memory_fd, state_fd; /* -1: it is no template */
	uint64_t build_id;
};

/* Plan it, and start it in its jail under its guard. */
int launcher_start(const struct host_place *place, const char *libexec_dir, enum launcher_kind kind, const struct launch *launch,
		   struct launch_ends *ret, struct err *err);

/* A microVM that is only to say hello: no image, no disk, the uid UID_PROBE, a name that is no workspace's (names_probe()), which
 * goes to `name` unless that is NULL. ERR_HOST also when the images folder cannot be looked into. */
int launcher_probe(const struct host_place *place, const char *libexec_dir, enum launcher_kind kind, enum accel accel,
		   uint64_t guard_deadline_boot_ms, char name[NAMES_PROBE_MAX], struct launch_ends *ret, struct err *err);

void launch_plan_init(struct launch_plan *plan);
void launch_plan_clear(struct launch_plan *plan); /* closes what it still has */

extern const struct launcher launcher_qemu, launcher_qemu_template, launcher_qemu_clone;
