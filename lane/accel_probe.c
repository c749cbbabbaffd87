#include "lane/accel_probe.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/confine.h"
#include "host/uids.h"
#include "lane/launcher.h"
#include "wire/frame.h"

#define LINE_BYTES 256

enum reader_answer { READER_HEARD, READER_HEARD_NOT, READER_FAILED };

/* What the answer depends on: this boot of the host, and this kernel bundle. */
static void key_of(const struct host_place *place, char out[LINE_BYTES])
{
	cleanup_file FILE *stream = fopen("/proc/sys/kernel/random/boot_id", "re");
	char boot_id[64] = "", kernel[PATH_MAX];
	struct stat st = { 0 };

	if (stream && fgets(boot_id, sizeof(boot_id), stream))
		boot_id[strcspn(boot_id, "\n")] = '\0';
	names_kernel(place, kernel);
	(void)stat(kernel, &st); /* without a bundle all zero, and the probe will say so */
	(void)snprintf(out, LINE_BYTES, "%s %" PRIu64 " %" PRIu64, boot_id, (uint64_t)st.st_size, (uint64_t)st.st_mtime);
}

static void cache_path(const struct host_place *place, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/accel", place->state_dir);
}

static bool is_old(FILE *stream)
{
	struct stat st;

	return fstat(fileno(stream), &st) < 0 || time(NULL) - st.st_mtime > ACCEL_NO_KEPT_S;
}

static bool read_cache(const struct host_place *place, bool trusts_no, enum accel *ret)
{
	char path[PATH_MAX], line[LINE_BYTES], key[LINE_BYTES];
	cleanup_file FILE *stream = NULL;
	bool is_yes;

	cache_path(place, path);
	key_of(place, key);
	stream = fopen(path, "re");
	if (!stream || !fgets(line, sizeof(line), stream) || strncmp(line, key, strlen(key)) != 0)
		return false;
	is_yes = strstr(line, " kvm");
	if (!is_yes && (!trusts_no || is_old(stream)))
		return false;
	*ret = is_yes ? ACCEL_KVM : ACCEL_TCG;
	return true;
}

/* A cache that cannot be written costs the next start some seconds, nothing else. */
static void write_cache(const struct host_place *place, enum accel accel)
{
	char path[PATH_MAX], key[LINE_BYTES];
	cleanup_file FILE *stream = NULL;

	cache_path(place, path);
	key_of(place, key);
	stream = fopen(path, "we");
	if (stream)
		(void)fprintf(stream, "%s %s\n", key, accel_name(accel));
}

static bool says_hello(int channel_fd)
{
	uint64_t deadline = clock_mono_ms() + ACCEL_PROBE_MS;
	struct pollfd pollfd = { .fd = channel_fd, .events = POLLIN };
	uint8_t data[512];
	struct frame frame;
	char why[160];
	int64_t extent = 0;
	size_t len = 0;
	bool is_hello;

	while (extent == 0 && clock_mono_ms() < deadline) {
		ssize_t n;

		if (poll(&pollfd, 1, (int)(deadline - clock_mono_ms())) <= 0)
			continue; /* a signal, or the end of our patience */
		n = recv(channel_fd, data + len, sizeof(data) - len, MSG_DONTWAIT);
		if (n <= 0)
			return false; /* the VM ended */
		len += (size_t)n;
		extent = frame_extent(data, len);
		extent = extent > (int64_t)len ? 0 : extent;
	}
	if (extent <= 0 || frame_decode(data, (size_t)extent, &frame, why) < 0)
		return false;
	is_hello = frame.type == FRAME_HELLO;
	frame_clear(&frame); /* of its type, too */
	return is_hello;
}

/* Who reads what the guest says has no privileges: not our uid, no capabilities, no other descriptors, and few system calls. Its exit
 * status is its answer. */
static void become_reader(int channel_fd)
{
	struct err err;
	int fd;

	if (dup2(channel_fd, STDERR_FILENO + 1) < 0 || close_range(STDERR_FILENO + 2, ~0u, 0) < 0)
		_exit(READER_FAILED);
	fd = STDERR_FILENO + 1;
	if (confine_process(UID_READER, "", &err) < 0)
		_exit(READER_FAILED);
	_exit(says_hello(fd) ? READER_HEARD : READER_HEARD_NOT);
}

/* One that was taken over may do what it likes but answer: it is killed in time, and heard nothing. */
static int await_reader(pid_t pid)
{
	cleanup_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };
	int status = 0;

	if (pidfd < 0 || poll(&pollfd, 1, 2 * ACCEL_PROBE_MS) != 1)
		(void)kill(pid, SIGKILL); /* ours, not yet waited for */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : READER_HEARD_NOT;
}

int accel_hear(int channel_fd, enum accel *ret, struct err *err)
{
	pid_t pid = fork();
	int answer;

	if (pid == 0)
		become_reader(channel_fd);
	if (pid < 0)
		return err_set(err, ERR_HOST, errno, "fork a process that hears the guest");
	answer = await_reader(pid);
	if (answer == READER_FAILED)
		return err_set(err, ERR_HOST, 0, "the process that was to hear the guest could not give up its privileges");
	*ret = answer == READER_HEARD ? ACCEL_KVM : ACCEL_TCG;
	return 0;
}

static int boot_on_kvm(const struct host_place *place, const char *libexec_dir, enum accel *ret, struct err *err)
{
	char id[NAMES_PROBE_MAX];
	struct launch_ends ends;
	int r, heard;

	r = launcher_probe(place, libexec_dir, LAUNCHER_QEMU, ACCEL_KVM, clock_boot_ms() + 2 * ACCEL_PROBE_MS, id, &ends, err);
	if (r < 0)
		return r;
	heard = accel_hear(ends.guest_fd, ret, err);
	close_fd(&ends.guest_fd);
	close_fd(&ends.control_fd);
	close_fd(&ends.guard_fd);
	if (heard < 0)
		(void)vm_destroy(place, id, NULL); /* the guard does it, too */
	return heard < 0 ? heard : vm_destroy(place, id, err);
}

int accel_probe(const struct host_place *place, const char *libexec_dir, bool trusts_no, enum accel *ret, struct err *err)
{
	cleanup_fd int kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int r;

	*ret = ACCEL_TCG;
	if (kvm_fd < 0 || read_cache(place, trusts_no, ret))
		return 0;
	close_fd(&kvm_fd);
	r = boot_on_kvm(place, libexec_dir, ret, err);
	if (r < 0)
		return err_wrap(err, "see whether a guest runs on KVM");
	write_cache(place, *ret);
	return 0;
}
