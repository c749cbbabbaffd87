/* What a sweep finds on a host, and what it removes itself: probes that nobody ends any more. */
#include "lane/workspaces.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/cgroup.h"
#include "host/disk/disk.h"
#include "host/vm.h"
#include "tests/unit/unit.h"

#define ID "workspaces-test"
#define SOON_MS 600000

static struct host_place place;

static const struct cgroup_limits limits = { .memory_bytes = 64ul << 20, .pids = 8, .cpus = 1 };

static int set_up(void **state)
{
	char path[] = "/tmp/mayfly-workspaces.XXXXXX", scratch[PATH_MAX];

	(void)state;
	if (!mkdtemp(path))
		return -1;
	(void)snprintf(place.state_dir, sizeof(place.state_dir), "%s", path);
	(void)snprintf(place.host, sizeof(place.host), "workspaces-test-%d", (int)getpid());
	names_scratch_dir(&place, scratch);
	return mkdir(scratch, 0700);
}

static int tear_down(void **state)
{
	char path[PATH_MAX];
	struct err err;

	(void)state;
	names_scratch_dir(&place, path);
	(void)rmdir(path);
	(void)rmdir(place.state_dir);
	names_cgroup_parent(&place, path);
	return cgroup_destroy(path, 1000, &err);
}

static void make_group(const char *id)
{
	char group[PATH_MAX];
	struct err err = { 0 };

	names_cgroup(&place, id, group);
	if (cgroup_make(group, &limits, &err) < 0)
		fail_msg("%s", err.msg);
}

static bool has_group(const char *id)
{
	char group[PATH_MAX];

	names_cgroup(&place, id, group);
	return cgroup_exists(group);
}

static int collect(void *ctx, const char *vm_id)
{
	unsigned *found = ctx;

	assert_string_equal(vm_id, ID);
	(*found)++;
	return 0;
}

static unsigned count(void)
{
	unsigned found = 0;
	struct err err;

	assert_int_equal(workspaces_each(&place, collect, &found, &err), 0);
	return found;
}

static void test_disks_and_groups_are_found_by_their_names(void **state)
{
	char path[PATH_MAX];
	struct err err;
	int fd;

	(void)state;
	assert_int_equal(count(), 0);
	names_disk(&place, ID, path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 4096), 0);
	(void)close(fd);
	assert_int_equal(count(), 1);
	make_group(ID);
	assert_int_equal(count(), 2);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
	assert_int_equal(vm_destroy(&place, ID, &err), 0);
	assert_int_equal(count(), 0);
	assert_int_equal(vm_destroy(&place, ID, &err), 0); /* nothing there: fine */
}

/* A folder that cannot be listed hides no control group; the failure is told all the same. */
static void test_one_kind_does_not_hide_the_other(void **state)
{
	char scratch[PATH_MAX];
	unsigned found = 0;
	struct err err;
	int fd;

	(void)state;
	names_scratch_dir(&place, scratch);
	assert_int_equal(rmdir(scratch), 0);
	fd = open(scratch, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* no folder */
	assert_true(fd >= 0);
	make_group(ID);
	assert_true(workspaces_each(&place, collect, &found, &err) < 0);
	assert_int_equal(found, 1);
	assert_int_equal(vm_destroy(&place, ID, &err), 0);
	(void)close(fd);
	assert_int_equal(unlink(scratch), 0);
	assert_int_equal(mkdir(scratch, 0700), 0);
}

static void test_a_name_is_used_once(void **state)
{
	char group[PATH_MAX];
	struct err err;

	(void)state;
	make_group(ID);
	names_cgroup(&place, ID, group);
	assert_int_equal(cgroup_make(group, &limits, &err), -EEXIST);
	assert_int_equal(err.kind, ERR_BUG);
	assert_true(has_group(ID));
	assert_int_equal(vm_destroy(&place, ID, &err), 0);
}

/* Its guard was killed before it could remove its group, and its lane is gone as well. */
static void test_a_probe_that_nobody_ends_is_removed_in_time(void **state)
{
	char over[NAMES_PROBE_MAX], going_on[NAMES_PROBE_MAX];
	struct err err;
	uint64_t at;

	(void)state;
	names_probe(1, 4711, over);
	names_probe(clock_boot_ms() + SOON_MS, 4711, going_on);
	assert_true(names_is_probe(over, &at));
	assert_int_equal(at, 1);
	assert_false(names_is_probe(ID, &at));
	assert_false(names_is_probe("_probe-1-", &at));
	assert_false(names_is_probe("_probe-1-2x", &at));
	make_group(over);
	make_group(going_on);
	assert_int_equal(count(), 0); /* no workspaces */
	workspaces_remove_old_probes(&place);
	assert_false(has_group(over));
	assert_true(has_group(going_on));
	assert_int_equal(vm_destroy(&place, going_on, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disks_and_groups_are_found_by_their_names),
		cmocka_unit_test(test_one_kind_does_not_hide_the_other),
		cmocka_unit_test(test_a_name_is_used_once),
		cmocka_unit_test(test_a_probe_that_nobody_ends_is_removed_in_time),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
