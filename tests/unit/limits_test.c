/* What a host has, read from folders that look like its proc and sys; and what follows from it. */
#include "tests/unit/unit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/limits.h"

#define MEMINFO "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n"

struct host {
	char root[32];
	struct host_limits limits;
};

static void make_folders(char *path, size_t from)
{
	for (char *slash = strchr(path + from, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0755);
		*slash = '/';
	}
}

static void put(struct host *host, const char *name, const char *text)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", host->root, name);
	make_folders(path, strlen(host->root) + 1);
	unit_write(path, text);
}

static int set_up(void **state)
{
	struct host *host = calloc(1, sizeof(*host));

	assert_non_null(host);
	(void)snprintf(host->root, sizeof(host->root), "/tmp/mayfly-limits.XXXXXX");
	assert_non_null(mkdtemp(host->root));
	put(host, "proc/meminfo", MEMINFO);
	put(host, "proc/sys/kernel/pid_max", "32768\n");
	put(host, "proc/self/uid_map", "         0          0 4294967295\n");
	*state = host;
	return 0;
}

static int tear_down(void **state)
{
	struct host *host = *state;
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -r %s", host->root);
	assert_int_equal(system(command), 0);
	free(host);
	return 0;
}

static const struct host_limits *read_limits(struct host *host)
{
	host_limits_read(host->root, host->root, &host->limits);
	return &host->limits;
}

static void a_host_without_limits(void **state)
{
	const struct host_limits *limits = read_limits(*state);

	assert_int_equal(limits->machine_mib, 16384);
	assert_int_equal(limits->memory_mib, 16384);
	assert_int_equal(limits->available_mib, 8192);
	assert_int_equal(limits->processes, 32768);
	assert_int_equal(limits->uids, 4294967295u);
	assert_true(limits->cpus >= 1);
	assert_true(limits->disk_free_mib > 0);
}

static void groups_of_version_2_limit_from_any_level(void **state)
{
	struct host *host = *state;
	const struct host_limits *limits;

	put(host, "proc/self/cgroup", "0::/a.slice/worker.service\n");
	put(host, "sys/fs/cgroup/a.slice/worker.service/memory.max", "max\n");
	put(host, "sys/fs/cgroup/a.slice/worker.service/pids.max", "1000\n");
	put(host, "sys/fs/cgroup/a.slice/worker.service/cpu.max", "max 100000\n");
	put(host, "sys/fs/cgroup/a.slice/memory.max", "4294967296\n");
	put(host, "sys/fs/cgroup/a.slice/pids.max", "max\n");
	put(host, "sys/fs/cgroup/a.slice/cpu.max", "50000 100000\n");
	limits = read_limits(host);
	assert_int_equal(limits->memory_mib, 4096);
	assert_int_equal(limits->machine_mib, 16384);
	assert_int_equal(limits->processes, 1000);
	assert_int_equal(limits->cpus, 1);
}

/* In a container the root is the container's, and the path that it is told may not be there. */
static void a_containers_root_limits(void **state)
{
	struct host *host = *state;
	const struct host_limits *limits;

	put(host, "proc/self/cgroup", "0::/docker/0123456789abcdef\n");
	put(host, "sys/fs/cgroup/memory.max", "2147483648\n");
	put(host, "sys/fs/cgroup/pids.max", "500\n");
	limits = read_limits(host);
	assert_int_equal(limits->memory_mib, 2048);
	assert_int_equal(limits->processes, 500);
}

static void groups_of_version_1_limit(void **state)
{
	struct host *host = *state;
	const struct host_limits *limits;

	put(host, "proc/self/cgroup", "9:name=systemd:/\n8:pids:/w\n4:memory:/w\n2:cpu,cpuacct:/w\n0::/\n");
	put(host, "sys/fs/cgroup/memory/w/memory.limit_in_bytes", "9223372036854771712\n");
	put(host, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
	put(host, "sys/fs/cgroup/pids/w/pids.max", "77\n");
	put(host, "sys/fs/cgroup/cpu/w/cpu.cfs_quota_us", "-1\n");
	put(host, "sys/fs/cgroup/cpu/w/cpu.cfs_period_us", "100000\n");
	put(host, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
	put(host, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	limits = read_limits(host);
	assert_int_equal(limits->memory_mib, 1024);
	assert_int_equal(limits->processes, 77);
	assert_int_equal(limits->cpus, 1);
}

static void nonsense_limits_nothing(void **state)
{
	struct host *host = *state;
	const struct host_limits *limits;

	put(host, "proc/self/cgroup", "\nx\n0\n::\n1:memory\n0::\n5:,,memory,:/../..\n");
	put(host, "sys/fs/cgroup/memory.max", "");
	put(host, "sys/fs/cgroup/pids.max", "-5\n");
	put(host, "sys/fs/cgroup/cpu.max", "0 0\n");
	put(host, "proc/self/uid_map", "x\n");
	limits = read_limits(host);
	assert_int_equal(limits->memory_mib, 16384);
	assert_int_equal(limits->processes, 32768);
	assert_true(limits->uids == HOST_NO_LIMIT);
	put(host, "proc/meminfo", "nothing\n");
	limits = read_limits(host);
	assert_int_equal(limits->memory_mib, 0);
	assert_int_equal(host_limits_slots(limits, 0, 0, 192), 1);
}

static void a_folder_that_is_to_come_has_the_room_of_its_place(void **state)
{
	struct host_limits limits;

	(void)state;
	host_limits_read("", "/nowhere-yet/at/all", &limits);
	assert_true(limits.disk_free_mib > 0);
	assert_true(limits.machine_mib > 0 && limits.cpus >= 1);
}

static void slots_follow_what_is_narrowest(void **state)
{
	struct host_limits limits = { .cpus = 8, .memory_mib = 16384, .disk_free_mib = 100000,
				      .open_files = HOST_NO_LIMIT, .processes = HOST_NO_LIMIT };

	(void)state;
	assert_int_equal(host_limits_memory_mib(&limits), 12288);
	assert_int_equal(host_limits_disk_mib(&limits), 75000);
	assert_int_equal(host_limits_slots(&limits, 12288, 75000, 192), 16); /* two a processor */
	assert_int_equal(host_limits_slots(&limits, 4480, 75000, 192), 10);  /* 448 MiB each */
	assert_int_equal(host_limits_slots(&limits, 12288, 2048, 192), 8);   /* 256 MiB each */
	limits.open_files = 256 + 5 * 8;
	assert_int_equal(host_limits_slots(&limits, 12288, 75000, 192), 5);
	limits.processes = 256 + 3 * 64;
	assert_int_equal(host_limits_slots(&limits, 12288, 75000, 192), 3);
	limits.processes = 10;
	assert_int_equal(host_limits_most_vms(&limits), 0);
	assert_int_equal(host_limits_slots(&limits, 12288, 75000, 192), 1); /* never none */
}

static void the_floor_is_a_part_of_the_memory(void **state)
{
	struct host_limits limits = { .memory_mib = 1000 };

	(void)state;
	assert_int_equal(host_limits_floor_mib(&limits), 128);
	limits.memory_mib = 16384;
	assert_int_equal(host_limits_floor_mib(&limits), 512);
	limits.memory_mib = 1 << 20;
	assert_int_equal(host_limits_floor_mib(&limits), 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_host_without_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(groups_of_version_2_limit_from_any_level, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_containers_root_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(groups_of_version_1_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nonsense_limits_nothing, set_up, tear_down),
		cmocka_unit_test(a_folder_that_is_to_come_has_the_room_of_its_place),
		cmocka_unit_test(slots_follow_what_is_narrowest),
		cmocka_unit_test(the_floor_is_a_part_of_the_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
