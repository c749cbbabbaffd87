/* The worker's configuration file, checked. docs: deploy/worker.conf has every key with its meaning. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/log.h"
#include "bus/fleet.h"
#include "host/limits.h"

struct settings {
	struct fleet_settings fleet;
	char host[CONF_TEXT_MAX];   /* this machine; with `state_dir` it says where objects live */
	char worker[CONF_TEXT_MAX]; /* unique in the fleet and stable over restarts: the static group membership */
	char state_dir[CONF_TEXT_MAX];
	char libexec_dir[CONF_TEXT_MAX];
	uint64_t partitions;  /* of topics that the worker has to make */
	uint64_t slots;       /* tasks at a time, each in a microVM; of it and the next two: CONF_AUTO until settings_fit() */
	uint64_t memory_mib;  /* guests and their VMMs together */
	uint64_t disk_mib;    /* scratch disks together */
	char pressure_file[CONF_TEXT_MAX]; /* host/pressure.h */
	uint64_t pressure_max;	   /* percent */
	uint64_t memory_floor_mib; /* CONF_AUTO until settings_fit() */
	uint32_t cpus; /* of this host, from settings_fit() on */
	uint64_t pool_max;	  /* workspaces made ahead of tasks, at a time; 0: none */
	uint64_t pool_memory_mib; /* that they may cost together while they wait */
	uint64_t pool_age_ms;	  /* one that waited for so long is not used any more */
	uint64_t lease_ms;
	uint64_t max_attempts;
	uint64_t boot_ms;     /* spawn to the agent's hello, then the boot is given up */
	uint64_t drain_ms;    /* after SIGTERM: jobs that have not finished are handed back */
	bool allow_emulation; /* run without KVM: proves function, not isolation */
	char vmm[CONF_TEXT_MAX]; /* qemu; null with allow_null_vmm */
	bool allow_null_vmm;
	bool clones;		     /* microVMs are cloned from templates where that can be */
	uint64_t template_memory_mib; /* of templates together, beside memory_mib; CONF_AUTO until settings_fit() */
	uint64_t null_run_ms; /* how long a null task "runs" */
	uint64_t engine_uid;
	uint64_t slot_uid_base; /* slot n runs its VMM as slot_uid_base + n */
	enum log_level log_level;
};

/* ERR_INPUT names file, line and key. */
int settings_load(const char *path, struct settings *ret, struct err *err);

/* Then: what was left to this host is set, and what does not go together, or not with this host, is refused (ERR_INPUT). */
int settings_fit(struct settings *settings, const struct host_limits *limits, struct err *err);

/* MicroVMs at a time, whatever they are for: each has a slot, and a uid, of its own. */
uint64_t settings_vm_slots(const struct settings *settings);
