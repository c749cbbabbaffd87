#include "guest/agent/boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/clock.h"
#include "base/own.h"
#include "guest/agent/cgroup.h"
#include "guest/agent/kernel_file.h"
#include "guest/agent/timer.h"

#define PORT_NAME	 "agent"
#define PORT_PATIENCE_MS 20000 /* it takes milliseconds; a host whose processors are all taken stretches them */
#define PORTS		 "/sys/class/virtio-ports"

static const struct {
	const char *source, *target, *type;
	unsigned long flags;
	const char *data;
} mounts[] = {
	{ "dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=755" },
	{ "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "cgroup", CGROUP_ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
};

/* An unprivileged task needs none of these; each has been a way to attack a kernel. A kernel that lacks one is fine. */
static const struct {
	const char *path, *value;
} settings[] = {
	{ "/proc/sys/kernel/dmesg_restrict", "1" },	  { "/proc/sys/kernel/kptr_restrict", "2" },
	{ "/proc/sys/kernel/perf_event_paranoid", "3" },  { "/proc/sys/kernel/unprivileged_bpf_disabled", "1" },
	{ "/proc/sys/kernel/modules_disabled", "1" },	  { "/proc/sys/kernel/sysrq", "0" },
	{ "/proc/sys/kernel/panic_on_oops", "1" },	  { "/proc/sys/user/max_user_namespaces", "0" },
	{ "/proc/sys/vm/unprivileged_userfaultfd", "0" },
};

static int mount_all(struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		(void)mkdir(mounts[i].target, 0755); /* there already, or mount() says that it is not */
		if (mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].data) < 0)
			return err_set(err, ERR_HOST, errno, "mount %s", mounts[i].target);
	}
	return 0;
}

/* A VM without a console starts us without standard streams; a pipe must not become one by accident. */
static int open_stdio(struct err *err)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return err_set(err, ERR_HOST, errno, "open /dev/null");
	close_fd(&fd);
	return 0;
}

static int load_module(const char *name, struct err *err)
{
	cleanup_fd int fd = -1;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, ERR_HOST, errno, "open kernel module '%s'", name);
	/* ENODEV: a speed-up for a processor feature that this one does not have */
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST && errno != ENODEV)
		return err_set(err, ERR_HOST, errno, "load kernel module '%s'", name);
	return 0;
}

static int load_modules(struct err *err)
{
	cleanup_file FILE *order = fopen("/modules/order", "re");
	char name[NAME_MAX + 1];
	int r = 0;

	if (!order)
		return err_set(err, ERR_HOST, errno, "open the initrd's list of modules");
	while (r == 0 && fgets(name, sizeof(name), order)) {
		name[strcspn(name, "\n")] = '\0';
		r = load_module(name, err);
	}
	return r;
}

int boot_prepare(struct err *err)
{
	int r = mount_all(err);

	if (r == 0)
		r = open_stdio(err);
	if (r == 0)
		r = timer_check(err);
	if (r == 0)
		r = load_modules(err);
	for (size_t i = 0; r == 0 && !AGENT_WEAK && i < ARRAY_SIZE(settings); i++)
		(void)write_file(settings[i].path, settings[i].value);
	return r;
}

/* The device name of the port, e.g. "vport0p1". */
static bool find_port(char name[NAME_MAX + 1])
{
	DIR *dir = opendir(PORTS);
	struct dirent *entry;
	bool is_found = false;

	while (dir && !is_found && (entry = readdir(dir))) {
		char path[PATH_MAX], text[64] = "";

		(void)snprintf(path, sizeof(path), PORTS "/%s/name", entry->d_name);
		is_found = read_file(path, text, sizeof(text)) == 0 && strcmp(text, PORT_NAME) == 0;
		if (is_found)
			(void)snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
	}
	if (dir)
		(void)closedir(dir);
	return is_found;
}

int boot_open_port(int *ret_fd, struct err *err)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t deadline_ms = clock_mono_ms() + PORT_PATIENCE_MS;
	char name[NAME_MAX + 1], path[PATH_MAX];

	while (!find_port(name)) {
		if (clock_mono_ms() > deadline_ms)
			return err_set(err, ERR_HOST, ENODEV, "wait for the virtio-serial port '" PORT_NAME "'");
		(void)nanosleep(&pause, NULL);
	}
	(void)snprintf(path, sizeof(path), "/dev/%s", name);
	*ret_fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return *ret_fd < 0 ? err_set(err, ERR_HOST, errno, "open %s", path) : 0;
}
