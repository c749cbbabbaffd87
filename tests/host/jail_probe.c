/* What a VMM that was taken over could try. One attempt a run: exits 0 when it got through, 1 when it was held, 2 when the
 * attempt itself is unknown or broken. Static: the jail has no libraries for it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define GREEDY_BYTES (600ull << 20) /* above every limit that the suite gives, below the machine's memory */
#define MANY_PROCESSES 200
#define LARGE_FILE_BYTES (17ll << 20) /* the suite gives 16 MiB */

static bool can_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;
	bool got = fd >= 0 && read(fd, &byte, 1) == 1;

	if (fd >= 0)
		(void)close(fd);
	return got;
}

static bool read_host_files(void)
{
	return can_read("/etc/passwd") || can_read("/proc/1/root/etc/passwd");
}

static bool read_host_state(void)
{
	return can_read("/proc/meminfo") || can_read("/proc/kallsyms");
}

/* kill(2) with signal 0 tells whether a process exists, whoever owns it. */
static bool see_processes(void)
{
	for (pid_t pid = 1; pid < 40000; pid++)
		if (pid != getpid() && (kill(pid, 0) == 0 || errno == EPERM))
			return true;
	return false;
}

static bool send_packets(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return fd >= 0 && sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1;
}

static bool become_root(void)
{
	return geteuid() == 0 || setuid(0) == 0;
}

static bool make_namespace(void)
{
	return unshare(CLONE_NEWUSER) == 0;
}

static bool use_memory(void)
{
	char *memory = mmap(NULL, GREEDY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return false;
	for (size_t i = 0; i < GREEDY_BYTES; i += 4096)
		memory[i] = 1;
	return true;
}

static bool make_device(void)
{
	return mknod("/dev/made", S_IFCHR | 0600, makedev(1, 1)) == 0;
}

static bool write_root(void)
{
	return open("/written", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0;
}

static bool read_other_slot(void)
{
	return can_read("/other-slot");
}

static bool mount_something(void)
{
	return mount("none", "/dev", "tmpfs", 0, NULL) == 0;
}

static bool open_kvm(void)
{
	return open("/dev/kvm", O_RDWR | O_CLOEXEC) >= 0;
}

static bool trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool fork_many(void)
{
	int n = 0;

	(void)setpgid(0, 0); /* the signal below is for its own children only */
	for (; n < MANY_PROCESSES; n++) {
		pid_t pid = fork();

		if (pid == 0) {
			(void)pause();
			_exit(0);
		}
		if (pid < 0)
			break;
	}
	(void)signal(SIGTERM, SIG_IGN);
	(void)kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
	return n == MANY_PROCESSES;
}

static bool find_descriptors(void)
{
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return true;
	return false;
}

static bool dump_core(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max > 0;
}

static bool outgrow_its_file(void)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	(void)signal(SIGXFSZ, SIG_IGN);
	return fd >= 0 && pwrite(fd, "x", 1, LARGE_FILE_BYTES) == 1;
}

/* Descriptor 3 is memory that other clones read, too. Every way to change it; a private mapping, which all of them have, changes a copy. */
static bool change_shared_memory(void)
{
	int again_fd = open("/proc/self/fd/3", O_RDWR | O_CLOEXEC); /* as QEMU does */
	int fds[] = { 3, again_fd };
	bool got = false;

	if (again_fd < 0)
		exit(2); /* no attempt was made */
	for (int i = 0; i < 2; i++) {
		char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);

		got |= memory != MAP_FAILED;
		got |= pwrite(fds[i], "x", 1, 0) == 1;
		got |= ftruncate(fds[i], 0) == 0 || ftruncate(fds[i], 1 << 20) == 0;
		got |= fallocate(fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
		got |= fcntl(fds[i], F_ADD_SEALS, F_SEAL_WRITE) == 0;
	}
	return got;
}

/* No attempt: what has to be ended by somebody else. */
static bool stay(void)
{
	return pause() < 0;
}

static const struct {
	const char *name;
	bool (*attempt)(void);
} attempts[] = { { "read_host_files", read_host_files }, { "read_host_state", read_host_state },
		 { "see_processes", see_processes },	 { "send_packets", send_packets },
		 { "become_root", become_root },	 { "make_namespace", make_namespace },
		 { "use_memory", use_memory },		 { "make_device", make_device },
		 { "write_root", write_root },		 { "read_other_slot", read_other_slot },
		 { "mount_something", mount_something }, { "trace", trace },
		 { "fork_many", fork_many },		 { "find_descriptors", find_descriptors },
		 { "dump_core", dump_core },		 { "open_kvm", open_kvm },
		 { "outgrow_its_file", outgrow_its_file }, { "change_shared_memory", change_shared_memory }, { "stay", stay } };

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(attempts) / sizeof(attempts[0]); i++)
		if (strcmp(attempts[i].name, argv[1]) == 0)
			return attempts[i].attempt() ? 0 : 1;
	return 2;
}
