#include "guest/agent/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "guest/agent/boot.h"
#include "guest/agent/cgroup.h"

#define RESERVE_MIN_KIB	 (16 * 1024) /* of memory that is free when the program starts: stays with kernel and agent */
#define RESERVE_SHARE	 16	     /* or this fraction, when it is more */
#define PAGE_KIB	 4
#define WATCH_MS	 2000 /* after the limit was met last */
#define SAMPLE_MS	 250
#define LOG_RECORD_BYTES 2048

/* Standing still, as measured: 50 to 260 KiB of files are left, each page of them is read again some hundred times a second, 33 to
 * a page fault. A program that holds all but 4 MiB and works on them reads nothing again; one that reads large files beside it reads
 * as much again, but at 3 MiB left, and with next to no page fault. */
#define FILES_LEFT_KIB	    1024
#define FILES_LEFT_TASK_KIB 128 /* and for each process: what it is reading just now */
#define FILES_LEFT_SHARE    16	/* but never more than this fraction of the limit */
#define TURNOVERS_MIN	    2	/* in one sample: how often the pages that are left were read again */
#define PAGES_PER_FAULT_MAX 64	/* read for one page fault: twice the kernel's read-ahead */
#define STARVED_MS	    3000

static uint64_t free_memory_kib(void)
{
	char text[1024];
	const char *line;
	unsigned long long kib = 0;

	if (read_file("/proc/meminfo", text, sizeof(text)) < 0)
		return 0;
	line = strstr(text, "MemAvailable:");
	return line && sscanf(line, "MemAvailable: %llu kB", &kib) == 1 ? kib : 0;
}

static int set_limit(const struct memory *memory, struct err *err)
{
	char text[32];
	int r;

	(void)snprintf(text, sizeof(text), "%lluK", (unsigned long long)memory->limit_kib);
	r = write_file(CGROUP_TASK "/memory.max", text);
	if (r == 0)
		r = write_file(CGROUP_TASK "/memory.oom.group", memory->is_ending_all ? "1" : "0");
	return r < 0 ? err_set(err, ERR_HOST, -r, "limit the program's memory") : 0;
}

/* Without them the kernel still kills; the agent then cannot say who it was, or that the program stands still. */
static void open_files(struct memory *memory)
{
	(void)write_file("/proc/sys/vm/oom_dump_tasks", "0"); /* hundreds of lines in the log that is read below */
	memory->events_fd = open(CGROUP_TASK "/memory.events", O_RDONLY | O_CLOEXEC);
	memory->log_fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (memory->log_fd >= 0)
		(void)lseek(memory->log_fd, 0, SEEK_END);
}

int memory_limit(struct memory *memory, bool is_ending_all, struct err *err)
{
	uint64_t free_kib = free_memory_kib(), reserve_kib = free_kib / RESERVE_SHARE;
	int r;

	if (reserve_kib < RESERVE_MIN_KIB)
		reserve_kib = RESERVE_MIN_KIB;
	if (free_kib <= reserve_kib)
		return err_set(err, ERR_INPUT, ENOMEM,
			       "the VM has %llu KiB of free memory, which is too little to run anything",
			       (unsigned long long)free_kib);
	memory->limit_kib = free_kib - reserve_kib;
	memory->is_ending_all = is_ending_all;
	r = set_limit(memory, err);
	if (r == 0)
		open_files(memory);
	return r;
}

void memory_poll(const struct memory *memory, struct pollfd *fd, int *ret_ms)
{
	bool is_watching = clock_mono_ms() < memory->watch_until_ms;

	/* While it is watched, the samples are taken by the clock: the event would come at every reclaim. */
	*fd = (struct pollfd){ .fd = is_watching ? -1 : memory->events_fd, .events = POLLPRI };
	*ret_ms = is_watching ? SAMPLE_MS : -1;
}

/* Has the limit been met since the last time? Reading is what makes the kernel tell of the next time (cgroups(7)). */
static bool has_event(struct memory *memory)
{
	struct pollfd fd = { .fd = memory->events_fd, .events = POLLPRI };
	char text[256];

	if (memory->events_fd < 0 || poll(&fd, 1, 0) != 1 || !(fd.revents & POLLPRI))
		return false;
	return pread(memory->events_fd, text, sizeof(text), 0) > 0;
}

static struct memory_sample take_sample(void)
{
	return (struct memory_sample){ .at_ms = clock_mono_ms(),
				       .files_kib = (cgroup_number("memory.stat", "inactive_file") +
						     cgroup_number("memory.stat", "active_file")) / 1024,
				       .refaults = cgroup_number("memory.stat", "workingset_refault_file"),
				       .faults = cgroup_number("memory.stat", "pgmajfault") };
}

/* So little that a program is not working on it. */
static uint64_t few_files_kib(const struct memory *memory)
{
	uint64_t few_kib = FILES_LEFT_KIB + FILES_LEFT_TASK_KIB * cgroup_tasks(), most_kib = memory->limit_kib / FILES_LEFT_SHARE;

	return few_kib < most_kib ? few_kib : most_kib;
}

static bool is_starved(const struct memory *memory, const struct memory_sample *now)
{
	const struct memory_sample *last = &memory->last;
	uint64_t few_kib = few_files_kib(memory);

	return now->files_kib < few_kib && last->files_kib < few_kib &&
	       (now->refaults - last->refaults) * PAGE_KIB > TURNOVERS_MIN * now->files_kib &&
	       (now->faults - last->faults) * PAGES_PER_FAULT_MAX > now->refaults - last->refaults;
}

/* As the kernel would: everything, or the process that it would have chosen. */
static void kill_for_memory(struct memory *memory)
{
	struct memory_victim victim = { .name = "" };

	victim.pid = cgroup_largest(victim.name);
	if (!victim.pid)
		return;
	if (!memory->victim.pid)
		memory->victim = victim;
	memory->kills++;
	if (memory->is_ending_all)
		cgroup_kill();
	else
		(void)kill(victim.pid, SIGKILL); /* read just now: its parent may have reaped it, but numbers come round late */
}

bool memory_step(struct memory *memory)
{
	struct memory_sample now;
	bool is_over;

	if (has_event(memory))
		memory->watch_until_ms = clock_mono_ms() + WATCH_MS;
	if (clock_mono_ms() >= memory->watch_until_ms) {
		memory->last.at_ms = memory->starved_ms = 0;
		return false;
	}
	if (memory->last.at_ms && clock_mono_ms() < memory->last.at_ms + SAMPLE_MS)
		return false;
	now = take_sample();
	if (memory->last.at_ms && is_starved(memory, &now))
		memory->starved_ms += now.at_ms - memory->last.at_ms;
	else
		memory->starved_ms = 0;
	memory->last = now;
	is_over = memory->starved_ms >= STARVED_MS;
	if (is_over) {
		memory->starved_ms = 0;
		kill_for_memory(memory);
	}
	return is_over;
}

/* "...: Killed process 70 (perl) total-vm:...", where the name is the task's and may hold anything. */
static bool read_victim(const char *record, struct memory_victim *victim)
{
	static const char killed[] = "emory cgroup out of memory: Killed process ", after[] = ") total-vm:";
	const char *from = strstr(record, killed), *name, *end = NULL, *at;
	int pid;

	if (!from || sscanf(from + strlen(killed), "%d (", &pid) != 1)
		return false;
	name = strchr(from, '(');
	for (at = name; at && (at = strstr(at, after)); at++)
		end = at; /* the last one: the name may hold these words, what follows it is the kernel's */
	if (!end)
		return false;
	victim->pid = pid;
	(void)snprintf(victim->name, sizeof(victim->name), "%.*s", (int)(end - name - 1), name + 1);
	return true;
}

/* Of the kernel's own kills the first. A record is one read; EPIPE: some were overwritten. */
static void read_log(struct memory *memory)
{
	char record[LOG_RECORD_BYTES];
	ssize_t n = 0;

	while (memory->log_fd >= 0 && !memory->victim.pid) {
		n = read(memory->log_fd, record, sizeof(record) - 1);
		if (n < 0 && errno != EPIPE && errno != EINTR)
			return;
		record[n > 0 ? n : 0] = '\0';
		(void)read_victim(record, &memory->victim);
	}
}

uint64_t memory_kills(struct memory *memory)
{
	uint64_t kills = cgroup_number("memory.events", "oom_kill");

	if (kills)
		read_log(memory);
	return kills + memory->kills;
}

void memory_close(struct memory *memory)
{
	close_fd(&memory->events_fd);
	close_fd(&memory->log_fd);
}
