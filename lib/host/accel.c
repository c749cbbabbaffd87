#include "host/accel.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "host/qemu.h"
#include "wire/frame.h"

#define PROBE_MEMORY_MIB 256
#define LINE_BYTES 256

static const char *const names[] = { "tcg", "kvm" };
static_assert(ARRAY_SIZE(names) == ACCEL_COUNT, "a name for every accel");

const char *accel_name(enum accel accel)
{
	return names[accel];
}

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
	frame_clear(&frame);
	return frame.type == FRAME_HELLO;
}

static int boot_on_kvm(const struct host_place *place, const char *libexec_dir, enum accel *ret, struct err *err)
{
	char id[32]; /* another worker may be at it, too */
	const struct qemu_request request = { .id = id,
					      .uid = ACCEL_PROBE_UID,
					      .shape = { .accel = ACCEL_KVM,
							 .memory_mib = PROBE_MEMORY_MIB,
							 .cpus = 1,
							 .disk_mib = 64,
							 .tsc_khz = qemu_tsc_khz() },
					      .deadline_boot_ms = clock_boot_ms() + 2 * ACCEL_PROBE_MS };
	struct qemu_ends ends;
	int r;

	/* No workspace's name: the reaper has no business with it, and its guard dies with us. */
	(void)snprintf(id, sizeof(id), "_accel-probe-%d", (int)getpid());
	r = qemu_start(place, libexec_dir, &request, &ends, err);
	if (r < 0)
		return r;
	*ret = says_hello(ends.channel_fd) ? ACCEL_KVM : ACCEL_TCG;
	close_fd(&ends.channel_fd);
	close_fd(&ends.qmp_fd);
	close_fd(&ends.guard_fd);
	return vm_destroy(place, id, err);
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
