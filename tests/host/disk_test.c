/* Volumes: what the key opens, and that nothing that ever existed opens it afterwards. */
#include "host/disk.h"

#include <fcntl.h>
#include <libcryptsetup.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "host/vm.h"
#include "wire/lane.h"

#define ID "disk-test"

static struct host_place place = { .host = "disk-test" };

static int run(const char *command)
{
	int status = system(command); /* a test's own, constant command */

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int set_up(void **state)
{
	char path[] = "/tmp/mayfly-disk.XXXXXX";
	struct err err;

	(void)state;
	if (!mkdtemp(path))
		return -1;
	(void)snprintf(place.state_dir, sizeof(place.state_dir), "%s", path);
	return disk_prepare_blanks(&place, &err);
}

static int tear_down(void **state)
{
	char command[PATH_MAX + 16];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", place.state_dir);
	return run(command);
}

/* Can the volume at `path` be opened with this keyslot secret? 0 or negative. */
static int open_with(const char *path, const char *key)
{
	struct crypt_device *device = NULL;
	int r = crypt_init(&device, path);

	if (r == 0)
		r = crypt_load(device, CRYPT_LUKS1, NULL);
	if (r == 0)
		r = crypt_activate_by_passphrase(device, NULL, CRYPT_ANY_SLOT, key, LANE_KEY_BYTES, 0);
	crypt_free(device);
	return r;
}

static void copy(const char *from, const char *to)
{
	char command[3 * PATH_MAX];

	(void)snprintf(command, sizeof(command), "cp --sparse=always '%s' '%s'", from, to);
	assert_int_equal(run(command), 0);
}

static void format(char path[PATH_MAX], char key[LANE_KEY_BYTES + 1], int *ret_fd)
{
	struct secret *secret;
	struct err err;

	names_disk(&place, ID, path);
	assert_int_equal(disk_format(&place, ID, 16, &secret, ret_fd, &err), 0);
	assert_int_equal(secret_len(secret), LANE_KEY_BYTES);
	memcpy(key, secret_peek(secret), LANE_KEY_BYTES);
	key[LANE_KEY_BYTES] = '\0';
	secret_free(secret);
}

static void the_key_opens_an_ext4(void **state)
{
	char path[PATH_MAX], key[LANE_KEY_BYTES + 1], command[4 * PATH_MAX];
	struct err err;
	struct stat st;
	int fd;

	(void)state;
	format(path, key, &fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(open_with(path, key) >= 0);
	/* QEMU's own opinion: byte 1080 holds ext4's magic, 0xef53. */
	(void)snprintf(command, sizeof(command),
		       "printf %%s '%s' > '%s/key' && qemu-io --object secret,id=s,file='%s/key' -c 'read -v 1080 2' "
		       "--image-opts driver=luks,key-secret=s,file.filename='%s' | grep -q '53 ef'",
		       key, place.state_dir, place.state_dir, path);
	assert_int_equal(run(command), 0);
	(void)close(fd);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(disk_erase(&place, ID, &err), 0); /* once more is fine */
}

static void nothing_opens_it_after_the_key_is_gone(void **state)
{
	char path[PATH_MAX], key[LANE_KEY_BYTES + 1], before[PATH_MAX + 16];
	bool is_gone = false;
	struct err err;
	int fd;

	(void)state;
	format(path, key, &fd);
	(void)snprintf(before, sizeof(before), "%.4000s.before", path);
	copy(path, before);
	assert_int_equal(disk_destroy_key(&place, ID, &is_gone, &err), 0);
	assert_true(is_gone);
	assert_true(open_with(path, key) < 0);
	assert_true(open_with(before, key) >= 0); /* the check can fail: it opens where nothing was destroyed */
	(void)close(fd);
	assert_int_equal(unlink(before), 0);
	is_gone = true;
	assert_int_equal(disk_erase(&place, ID, &err), 0);
	assert_int_equal(disk_destroy_key(&place, ID, &is_gone, &err), 0);
	assert_false(is_gone); /* there was none to destroy: nothing is claimed */
}

/* The header alone is not the key: with an old header, the keyslots' material must be gone as well. */
static void an_old_header_does_not_help(void **state)
{
	char path[PATH_MAX], key[LANE_KEY_BYTES + 1];
	uint8_t header[1024];
	bool is_gone;
	struct err err;
	int fd;

	(void)state;
	format(path, key, &fd);
	assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
	assert_int_equal(disk_destroy_key(&place, ID, &is_gone, &err), 0);
	assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
	assert_true(open_with(path, key) < 0);
	(void)close(fd);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
}

static void two_disks_of_one_name_are_refused(void **state)
{
	char path[PATH_MAX], key[LANE_KEY_BYTES + 1];
	struct secret *secret;
	struct err err;
	int fd, second;

	(void)state;
	format(path, key, &fd);
	assert_true(disk_format(&place, ID, 16, &secret, &second, &err) < 0);
	assert_int_equal(err.kind, ERR_BUSY);
	assert_true(open_with(path, key) >= 0); /* and the first is unharmed */
	(void)close(fd);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
}

static void half_made_disks_are_erased(void **state)
{
	const off_t sizes[] = { 0, 100, 4096, 1 << 20, 2 << 20 };
	char path[PATH_MAX], key[LANE_KEY_BYTES + 1];
	struct err err;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		format(path, key, &fd);
		assert_int_equal(ftruncate(fd, sizes[i]), 0);
		(void)close(fd);
		assert_int_equal(disk_erase(&place, ID, &err), 0);
		assert_int_equal(access(path, F_OK), -1);
	}
}

static int collect(void *ctx, const char *id)
{
	unsigned *found = ctx;

	assert_string_equal(id, ID);
	(*found)++;
	return 0;
}

static void the_sweep_finds_it(void **state)
{
	char path[PATH_MAX], key[LANE_KEY_BYTES + 1];
	unsigned found = 0;
	struct err err;
	int fd;

	(void)state;
	format(path, key, &fd);
	(void)close(fd);
	assert_int_equal(host_each_workspace(&place, collect, &found, &err), 0);
	assert_int_equal(found, 1);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
	found = 0;
	assert_int_equal(host_each_workspace(&place, collect, &found, &err), 0);
	assert_int_equal(found, 0);
	assert_int_equal(vm_destroy(&place, ID, &err), 0); /* nothing there: fine */
}

static void sizes_are_classes(void **state)
{
	(void)state;
	assert_int_equal(disk_size_class_mib(1), 64);
	assert_int_equal(disk_size_class_mib(65), 128);
	assert_int_equal(disk_size_class_mib(DISK_LARGEST_MIB), DISK_LARGEST_MIB);
	assert_int_equal(disk_size_class_mib(DISK_LARGEST_MIB + 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_opens_an_ext4),
		cmocka_unit_test(nothing_opens_it_after_the_key_is_gone),
		cmocka_unit_test(an_old_header_does_not_help),
		cmocka_unit_test(two_disks_of_one_name_are_refused),
		cmocka_unit_test(half_made_disks_are_erased),
		cmocka_unit_test(the_sweep_finds_it),
		cmocka_unit_test(sizes_are_classes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
