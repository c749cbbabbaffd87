#include "guest/agent/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "guest/agent/cgroup.h"
#include "guest/agent/kernel_file.h"

#define RESERVE_MIN_KIB	 (16 * 1024) /* of memory that is free when the program starts: stays with kernel and agent */
#define RESERVE_SHARE	 16	     /* or this fraction, when it is more */
#define PAGE_KIB	 4
#define WATCH_MS	 2000 /* after the limit was met last */
#define SAMPLE_MS	 250
#define LOG_RECORD_BYTES 2048

/* Standing still, as measured: 50 to 260 KiB of files are left, each page of them is read again some hundred times a
 * second, 33 to a page fault. A program that holds all but 4 MiB and works on them reads nothing again; one that
 * reads large files beside it reads as much again, but at 3 MiB left, and with next to no page fault. */
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

static int set_limit(struct memory *memory, struct err *err)
{
	uint64_t free_kib = free_memory_kib(), reserve_kib = free_kib / RESERVE_SHARE;
	char text[32];
	int r;

	if (reserve_kib < RESERVE_MIN_KIB)
		reserve_kib = RESERVE_MIN_KIB;
	if (free_kib <= reserve_kib)
		return err_set(err, ERR_INPUT, ENOMEM,
			       "the VM has %llu KiB of free memory, which is too little to run anything",
			       (unsigned long long)free_kib);
	(void)snprintf(text, sizeof(text), "%lluK", (unsigned long long)(free_kib - reserve_kib));
	r = cgroup_write(&memory->programs, "memory.max", text);
	if (r < 0)
		return err_set(err, ERR_HOST, -r, "limit the programs' memory");
	memory->limit_kib = free_kib - reserve_kib;
	return 0;
}

int memory_open(struct memory *memory, struct err *err)
{
	int r = memory->limit_kib ? 0 : cgroup_prepare(&memory->programs, err);

	if (r < 0 || memory->limit_kib)
		return r;
	r = set_limit(memory, err);
	if (r < 0)
		return r;
	(void)write_file("/proc/sys/vm/oom_dump_tasks", "0"); /* hundreds of lines in the log that is read below */
	memory->events_fd = cgroup_open(&memory->programs, "memory.events"); /* without it, nobody sees that a program stands still */
	return 0;
}

static uint64_t files_bytes(const struct memory *memory)
{
	return cgroup_number(&memory->programs, "memory.stat", "inactive_file") +
	       cgroup_number(&memory->programs, "memory.stat", "active_file");
}

/* Not counting what can be freed. */
static uint64_t left_kib(const struct memory *memory)
{
	uint64_t bytes = cgroup_number(&memory->programs, "memory.current", NULL), free_bytes = files_bytes(memory);
	uint64_t used_kib = bytes > free_bytes ? (bytes - free_bytes) / 1024 : 0;

	return used_kib < memory->limit_kib ? memory->limit_kib - used_kib : 0;
}

int memory_join(struct memory *memory, struct memory_share *share, uint32_t exec, const struct cgroup *cgroup,
		bool is_ending_all, struct err *err)
{
	int r = cgroup_write(cgroup, "memory.oom.group", is_ending_all ? "1" : "0");

	if (r < 0)
		return err_set(err, ERR_HOST, -r, "say what ends for lack of memory");
	*share = (struct memory_share){ .exec = exec, .cgroup = cgroup, .is_ending_all = is_ending_all, .limit_kib = left_kib(memory) };
	share->log_fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* without it, nobody says who was killed */
	if (share->log_fd >= 0)
		(void)lseek(share->log_fd, 0, SEEK_END);
	return 0;
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

static struct memory_sample take_sample(const struct memory *memory)
{
	return (struct memory_sample){ .at_ms = clock_mono_ms(),
				       .files_kib = files_bytes(memory) / 1024,
				       .refaults = cgroup_number(&memory->programs, "memory.stat",
								 "workingset_refault_file"),
				       .faults = cgroup_number(&memory->programs, "memory.stat", "pgmajfault") };
}

/* So little that nobody is working on it. */
static uint64_t few_files_kib(const struct memory *memory)
{
	uint64_t tasks = cgroup_number(&memory->programs, "pids.current", NULL); /* threads counted one by one */
	uint64_t few_kib = FILES_LEFT_KIB + FILES_LEFT_TASK_KIB * tasks,
		most_kib = memory->limit_kib / FILES_LEFT_SHARE;

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

static void kill_process(struct memory_share *share, const struct cgroup_process *victim)
{
	if (!share->victim.pid)
		share->victim = *victim;
	share->kills++;
	if (share->is_ending_all)
		cgroup_kill(share->cgroup);
	else
		/* read just now: its parent may have reaped it, but numbers come round late */
		(void)kill(victim->pid, SIGKILL);
}

/* As the kernel would: the largest process of all, and everything with it where that is its program's rule. */
static void kill_for_memory(struct memory_share *const *shares, unsigned n_shares)
{
	struct cgroup_process victim = { .pid = 0 };
	struct memory_share *whose = NULL;

	for (unsigned i = 0; i < n_shares; i++) {
		struct cgroup_process largest = cgroup_largest(shares[i]->cgroup);

		if (!largest.pid || (whose && largest.score <= victim.score))
			continue;
		victim = largest;
		whose = shares[i];
	}
	if (whose)
		kill_process(whose, &victim);
}

/* Is it time for a look? */
static bool is_due(struct memory *memory)
{
	uint64_t now_ms = clock_mono_ms();

	if (has_event(memory))
		memory->watch_until_ms = now_ms + WATCH_MS;
	if (now_ms >= memory->watch_until_ms) {
		memory->last.at_ms = memory->starved_ms = 0;
		return false;
	}
	return !memory->last.at_ms || now_ms >= memory->last.at_ms + SAMPLE_MS;
}

void memory_step(struct memory *memory, struct memory_share *const *shares, unsigned n_shares)
{
	struct memory_sample now;

	if (!is_due(memory))
		return;
	now = take_sample(memory);
	if (memory->last.at_ms && is_starved(memory, &now))
		memory->starved_ms += now.at_ms - memory->last.at_ms;
	else
		memory->starved_ms = 0;
	memory->last = now;
	if (memory->starved_ms < STARVED_MS)
		return;
	memory->starved_ms = 0;
	kill_for_memory(shares, n_shares);
}

/* "oom-kill:constraint=CONSTRAINT_MEMCG,...,task_memcg=/programs/3,task=perl,pid=70,uid=1000", where the task's name
 * may hold anything, but what is before it and what follows it is the kernel's. */
static bool read_victim(const char *record, struct memory_share *share)
{
	char mine[64];
	const char *name, *end = NULL, *at;

	(void)snprintf(mine, sizeof(mine), ",task_memcg=" CGROUP_PROGRAMS "/%u,task=", share->exec);
	name = strstr(record, "oom-kill:") ? strstr(record, mine) : NULL;
	if (!name)
		return false;
	name += strlen(mine);
	for (at = name; (at = strstr(at, ",pid=")); at++)
		end = at;
	if (!end || sscanf(end, ",pid=%d", &share->victim.pid) != 1)
		return false;
	(void)snprintf(share->victim.name, sizeof(share->victim.name), "%.*s", (int)(end - name), name);
	return true;
}

/* Of the kernel's own kills the first. A record is one read; EPIPE: some were overwritten. */
static void read_log(struct memory_share *share)
{
	char record[LOG_RECORD_BYTES];
	ssize_t n = 0;

	while (share->log_fd >= 0 && !share->victim.pid) {
		n = read(share->log_fd, record, sizeof(record) - 1);
		if (n < 0 && errno != EPIPE && errno != EINTR)
			return;
		record[n > 0 ? n : 0] = '\0';
		(void)read_victim(record, share);
	}
}

void memory_leave(struct memory_share *share)
{
	uint64_t kills = share->cgroup ? cgroup_number(share->cgroup, "memory.events", "oom_kill") : 0;

	if (kills)
		read_log(share);
	share->kills += kills;
	share->cgroup = NULL;
	close_fd(&share->log_fd);
}
