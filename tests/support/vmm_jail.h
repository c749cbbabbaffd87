/* What holds a VMM that runs, as /proc shows it. Failures fail the test. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "host/names.h"

/* The process in a microVM's control group. */
pid_t vmm_jail_pid(const struct host_place *place, const char *vm_id);

/* User, capabilities, filters, limits, mounts, namespaces. Nothing in it names the one that is held, so that two can be compared. */
void vmm_jail_describe(pid_t pid, char *out, size_t size);

/* Its descriptors of files are all among these (parts of names): what it was given, and what it opened of that again. */
void vmm_jail_expect_files(pid_t pid, const char *const *allowed);
