#include "tools/doctor_host.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "host/jail_profile.h"
#include "host/pressure.h"
#include "host/uids.h"
#include "wire/task.h"

#define LOCKED_BYTES_PER_VM 8192u /* two pages: a key, and for a moment the command that hands it over */

static void write_line(struct doctor_line *line, enum doctor_mark mark, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void write_line(struct doctor_line *line, enum doctor_mark mark, const char *what, const char *fmt, ...)
{
	va_list ap;

	line->mark = mark;
	line->what = what;
	va_start(ap, fmt);
	(void)vsnprintf(line->text, sizeof(line->text), fmt, ap); /* cut at its size */
	va_end(ap);
}

struct number {
	char text[24];
};

static struct number number(uint64_t value)
{
	struct number number;

	if (value == HOST_NO_LIMIT)
		(void)snprintf(number.text, sizeof(number.text), "no limit");
	else
		(void)snprintf(number.text, sizeof(number.text), "%llu", (unsigned long long)value);
	return number;
}

static void memory(const struct host_limits *limits, struct doctor_line *line)
{
	bool is_enough = limits->memory_mib >= TASK_MIN_MEMORY_MIB + jail_profile_qemu.overhead_mib;

	if (limits->memory_mib < limits->machine_mib)
		write_line(line, is_enough ? DOCTOR_GOOD : DOCTOR_BAD, "memory",
			   "%llu MiB by the control group that this is in, of the machine's %llu; %llu available",
			   (unsigned long long)limits->memory_mib, (unsigned long long)limits->machine_mib,
			   (unsigned long long)limits->available_mib);
	else
		write_line(line, is_enough ? DOCTOR_GOOD : DOCTOR_BAD, "memory", "%llu MiB, %llu available",
			   (unsigned long long)limits->memory_mib, (unsigned long long)limits->available_mib);
}

static void pressure(const struct host_limits *limits, struct doctor_line *line)
{
	const struct pressure_limits where = { .file = PRESSURE_FILE, .meminfo = PRESSURE_MEMINFO };
	unsigned long long floor_mib = host_limits_floor_mib(limits);
	struct pressure_sample now;

	pressure_sample(&where, &now);
	if (!now.has_stalled)
		write_line(line, DOCTOR_WARN, "memory pressure",
			   "%s says nothing (psi=1 on the kernel's command line): tasks wait when less than %llu MiB are available",
			   PRESSURE_FILE, floor_mib);
	else
		write_line(line, now.available_mib < floor_mib ? DOCTOR_WARN : DOCTOR_GOOD, "memory pressure",
			   "stalls in %u %% of the last ten seconds; tasks wait when less than %llu MiB are available, or %llu with stalls",
			   now.stalled_centi / 100, floor_mib, PRESSURE_SCARCE * floor_mib);
}

static void others(const struct host_limits *limits, struct doctor_line *line)
{
	uint64_t most = host_limits_most_vms(limits);
	uint64_t locked = limits->locked_bytes == HOST_NO_LIMIT ? HOST_NO_LIMIT : limits->locked_bytes / LOCKED_BYTES_PER_VM;

	write_line(line, most ? DOCTOR_GOOD : DOCTOR_BAD, "limits",
		   "open files %s, processes %s: microVMs at a time: %s; locked memory for the keys of %s (root may raise it)",
		   number(limits->open_files).text, number(limits->processes).text, number(most).text, number(locked).text);
}

static void uids(const struct host_limits *limits, struct doctor_line *line)
{
	if (limits->uids > UID_PROBE)
		write_line(line, DOCTOR_GOOD, "user ids", "those of microVMs, guards and probes exist here");
	else
		write_line(line, DOCTOR_BAD, "user ids",
			   "only 0 to %llu exist here, and guards and probes have %u to %u; give this user namespace 65536",
			   (unsigned long long)limits->uids - 1, UID_GUARD, UID_PROBE);
}

static void worker(const struct host_limits *limits, struct doctor_line *line)
{
	uint64_t memory_mib = host_limits_memory_mib(limits), disk_mib = host_limits_disk_mib(limits);

	write_line(line, DOCTOR_GOOD, "a worker takes",
		   "%u processors: slots = %u, memory_mib = %llu, disk_mib = %llu, where worker.conf does not say otherwise",
		   limits->cpus, host_limits_slots(limits, memory_mib, disk_mib, jail_profile_qemu.overhead_mib),
		   (unsigned long long)memory_mib, (unsigned long long)disk_mib);
}

void doctor_host(const struct host_limits *limits, const char *state_dir, struct doctor_line lines[DOCTOR_HOST_LINES])
{
	memory(limits, &lines[0]);
	pressure(limits, &lines[1]);
	write_line(&lines[2], limits->disk_free_mib < TASK_DEFAULT_DISK_MIB ? DOCTOR_BAD : DOCTOR_GOOD, "disk",
		   "%llu MiB free for '%.100s'", (unsigned long long)limits->disk_free_mib, state_dir);
	others(limits, &lines[3]);
	uids(limits, &lines[4]);
	worker(limits, &lines[5]);
}
