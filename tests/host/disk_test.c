/* Volumes: what the key opens, and that nothing that ever existed opens it afterwards. */
#include "host/disk/disk.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <libcryptsetup.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <cmocka.h>

#define ID "disk-test"
#define KIB 1024l
#define LUKS2_KEYSLOTS_BYTES (512 * KIB)

static struct host_place place = { .host = "disk-test" };
static unsigned n_loads;                                  /* of headers, by anybody in this process */
static void (*between_write_and_look)(int fd); /* what a VMM does that still has the file */

/* In front of the libraries' own, which they call. */
int crypt_load(struct crypt_device *device, const char *type, void *params)
{
	int (*real)(struct crypt_device *, const char *, void *) = NULL;

	*(void **)&real = dlsym(RTLD_NEXT, "crypt_load");
	n_loads++;
	return real(device, type, params);
}

int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
	(void)offset, (void)len, (void)advice;
	if (between_write_and_look)
		between_write_and_look(fd);
	return 0;
}

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
		r = crypt_activate_by_passphrase(device, NULL, CRYPT_ANY_SLOT, key, DISK_KEY_BYTES, 0);
	crypt_free(device);
	return r;
}

static void copy(const char *from, const char *to)
{
	char command[3 * PATH_MAX];

	(void)snprintf(command, sizeof(command), "cp --sparse=always '%s' '%s'", from, to);
	assert_int_equal(run(command), 0);
}

static void format(char path[PATH_MAX], char key[DISK_KEY_BYTES + 1], int *ret_fd)
{
	struct drive drive = { 0 };
	struct err err;

	names_disk(&place, ID, path);
	assert_int_equal(disk_format(&place, DISK_FORM_LUKS1, ID, 16, &drive, &err), 0);
	assert_int_equal(drive.kind, DRIVE_FILE);
	assert_int_equal(secret_len(drive.of.file.key), DISK_KEY_BYTES);
	memcpy(key, secret_peek(drive.of.file.key), DISK_KEY_BYTES);
	key[DISK_KEY_BYTES] = '\0';
	*ret_fd = take_fd(&drive.fd);
	drive_clear(&drive);
}

static void the_key_opens_an_ext4(void **state)
{
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1], command[4 * PATH_MAX];
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

/* The same bytes, in less memory than the blank's file has of data: the zeros that are written there are none here. */
static void a_copy_of_a_blank_is_one(void **state)
{
	char path[PATH_MAX], command[2 * PATH_MAX];
	struct stat blank, st;
	struct err err;
	int fd;

	(void)state;
	names_blank(&place, 64, path);
	assert_int_equal(stat(path, &blank), 0);
	assert_int_equal(disk_copy_blank(&place, 64, &fd, &err), 0);
	(void)snprintf(command, sizeof(command), "cmp '%s' /proc/%d/fd/%d", path, (int)getpid(), fd);
	assert_int_equal(run(command), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks < blank.st_blocks / 4);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(pwrite(fd, "other", 5, 4096), 5);
	assert_int_not_equal(run(command), 0); /* control, and the copy is its owner's alone: */
	(void)close(fd);
	assert_int_equal(disk_copy_blank(&place, 64, &fd, &err), 0);
	(void)snprintf(command, sizeof(command), "cmp '%s' /proc/%d/fd/%d", path, (int)getpid(), fd);
	assert_int_equal(run(command), 0);
	(void)close(fd);
	assert_int_equal(disk_copy_blank(&place, 65, &fd, &err), -ENOENT);
	assert_int_equal(err.kind, ERR_HOST);
}

static void nothing_opens_it_after_the_key_is_gone(void **state)
{
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1], before[PATH_MAX + 16];
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
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1];
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
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1];
	struct drive second = { 0 };
	struct err err;
	int fd;

	(void)state;
	format(path, key, &fd);
	assert_int_equal(disk_format(&place, DISK_FORM_LUKS1, ID, 16, &second, &err), -EEXIST);
	assert_int_equal(err.kind, ERR_BUG);
	assert_int_equal(second.kind, DRIVE_NONE);
	assert_true(open_with(path, key) >= 0); /* and the first is unharmed */
	(void)close(fd);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
}

static void half_made_disks_are_erased(void **state)
{
	const off_t sizes[] = { 0, 100, 4096, 1 << 20, 2 << 20 };
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1];
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

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Whether libcryptsetup takes a copy of the file for a volume of any kind: loading repairs what it finds. */
static bool is_taken_for_a_volume(const char *path)
{
	struct crypt_device *device = NULL;
	char other[PATH_MAX + 16];
	int r;

	(void)snprintf(other, sizeof(other), "%.4000s.other", path);
	copy(path, other);
	r = crypt_init(&device, other);
	if (r == 0)
		r = crypt_load(device, NULL, NULL);
	crypt_free(device);
	assert_int_equal(unlink(other), 0);
	return r == 0;
}

/* As a hostile VMM leaves it: a valid second header of a LUKS2 volume, whose place is where its size says. */
static void plant_second_header(int fd, uint64_t header_bytes)
{
	struct crypt_device *device = NULL;
	char path[PATH_MAX];
	uint8_t *header = malloc(header_bytes);
	int donor;

	assert_non_null(header);
	(void)snprintf(path, sizeof(path), "%.4000s/donor", place.state_dir);
	donor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(donor, 64 * KIB * KIB), 0);
	assert_int_equal(crypt_init(&device, path), 0);
	assert_int_equal(crypt_set_metadata_size(device, header_bytes, LUKS2_KEYSLOTS_BYTES), 0);
	assert_int_equal(crypt_format(device, CRYPT_LUKS2, "aes", "xts-plain64", NULL, NULL, 64, NULL), 0);
	crypt_free(device);
	assert_int_equal(pread(donor, header, header_bytes, (off_t)header_bytes), header_bytes);
	assert_int_equal(pwrite(fd, header, header_bytes, (off_t)header_bytes), header_bytes);
	(void)close(donor);
	free(header);
}

/* libcryptsetup looks for a second header at each of these places. */
static void planted_headers_are_not_looked_at(void **state)
{
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1];
	bool is_gone;
	struct err err;
	unsigned before;
	int fd;

	(void)state;
	for (uint64_t bytes = 16 * KIB; bytes <= 4096 * KIB; bytes *= 2) {
		format(path, key, &fd);
		plant_second_header(fd, bytes);
		before = n_loads;
		assert_int_equal(disk_destroy_key(&place, ID, &is_gone, &err), 0);
		assert_int_equal(n_loads, before);
		assert_true(is_gone);
		/* The plant is one: what is beyond the key area can be loaded, and our key opens nothing. */
		assert_int_equal(is_taken_for_a_volume(path), bytes >= 256 * KIB);
		assert_true(open_with(path, key) < 0);
		before = n_loads;
		assert_int_equal(disk_erase(&place, ID, &err), 0);
		assert_false(is_there(path));
		assert_int_equal(n_loads, before);
		(void)close(fd);
	}
	assert_true(n_loads > 0); /* they are counted */
	format(path, key, &fd);
	plant_second_header(fd, 2048 * KIB);
	before = n_loads;
	assert_int_equal(disk_erase(&place, ID, &err), 0); /* in one step, too */
	assert_false(is_there(path));
	assert_int_equal(n_loads, before);
	(void)close(fd);
}

/* What its VMM did to the file that it had open, and whether the key can be said to be destroyed afterwards. */
static const struct mischief {
	off_t size;	       /* -1: as it is */
	off_t hole, hole_bytes;
	bool is_gone;
} mischiefs[] = {
	{ .size = -1, .is_gone = true },
	{ .size = 0 },
	{ .size = 100 },
	{ .size = 4 * KIB },
	{ .size = 256 * KIB, .is_gone = true },
	{ .size = 8l * KIB * KIB * KIB, .is_gone = true }, /* far longer than it was */
	{ .size = -1, .hole_bytes = 4 * KIB },
	{ .size = -1, .hole = 128 * KIB, .hole_bytes = 4 * KIB },
	{ .size = -1, .hole = 1024 * KIB, .hole_bytes = 1024 * KIB, .is_gone = true },
	{ .size = -1, .hole_bytes = 1024 * KIB * KIB },
};

static void whatever_its_vmm_did_it_is_erased(void **state)
{
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1];
	bool is_gone;
	struct err err;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(mischiefs) / sizeof(mischiefs[0]); i++) {
		const struct mischief *mischief = &mischiefs[i];

		format(path, key, &fd);
		if (mischief->size >= 0)
			assert_int_equal(ftruncate(fd, mischief->size), 0);
		if (mischief->hole_bytes)
			assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, mischief->hole,
						   mischief->hole_bytes),
					 0);
		assert_int_equal(disk_destroy_key(&place, ID, &is_gone, &err), 0);
		assert_int_equal(is_gone, mischief->is_gone);
		assert_true(open_with(path, key) < 0);
		assert_int_equal(disk_erase(&place, ID, &err), 0);
		assert_false(is_there(path));
		(void)close(fd);
	}
}

static uint8_t old_header[4096];

static void put_the_header_back(int fd)
{
	assert_int_equal(pwrite(fd, old_header, sizeof(old_header), 0), sizeof(old_header));
}

static void a_vmm_that_still_writes_is_noticed(void **state)
{
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1];
	bool is_gone = true;
	struct err err;
	int fd;

	(void)state;
	format(path, key, &fd);
	assert_int_equal(pread(fd, old_header, sizeof(old_header), 0), sizeof(old_header));
	between_write_and_look = put_the_header_back;
	assert_true(disk_destroy_key(&place, ID, &is_gone, &err) < 0);
	assert_false(is_gone);
	assert_int_equal(disk_erase(&place, ID, &err), 0); /* the name goes all the same */
	between_write_and_look = NULL;
	assert_false(is_there(path));
	(void)close(fd);
}

static void make_symlink(const char *path)
{
	assert_int_equal(symlink("victim", path), 0);
}

static void make_dangling(const char *path)
{
	assert_int_equal(symlink("nowhere", path), 0);
}

static void make_fifo(const char *path)
{
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void make_folder(const char *path)
{
	assert_int_equal(mkdir(path, 0700), 0);
}

static void make_device(const char *path)
{
	assert_int_equal(mknod(path, S_IFCHR | 0600, makedev(1, 7)), 0); /* /dev/full */
}

static void what_is_no_file_is_removed_and_not_written_to(void **state)
{
	void (*const kinds[])(const char *path) = { make_symlink, make_dangling, make_fifo, make_folder, make_device };
	char path[PATH_MAX], victim[PATH_MAX], text[16] = "";
	bool is_gone;
	struct err err;
	int fd;

	(void)state;
	(void)snprintf(victim, sizeof(victim), "%.4000s/scratch/victim", place.state_dir);
	fd = open(victim, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "unharmed", 8), 8);
	names_disk(&place, ID, path);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		kinds[i](path);
		assert_true(disk_destroy_key(&place, ID, &is_gone, &err) < 0);
		assert_false(is_gone);
		assert_true(is_there(path));
		assert_int_equal(disk_erase(&place, ID, &err), 0);
		assert_false(is_there(path));
	}
	assert_int_equal(pread(fd, text, sizeof(text), 0), 8);
	assert_string_equal(text, "unharmed");
	(void)close(fd);
	assert_int_equal(unlink(victim), 0);
}

/* What cannot be removed is said to be there, and goes as soon as it can. */
static void what_holds_fast_is_reported(void **state)
{
	char path[PATH_MAX], key[DISK_KEY_BYTES + 1], command[PATH_MAX + 16];
	bool is_gone = true;
	struct err err;
	int fd;

	(void)state;
	format(path, key, &fd);
	(void)close(fd);
	(void)snprintf(command, sizeof(command), "chattr +i '%s'", path);
	if (run(command) != 0) {
		assert_int_equal(disk_erase(&place, ID, &err), 0);
		skip(); /* no such file system */
	}
	assert_true(disk_destroy_key(&place, ID, &is_gone, &err) < 0);
	assert_false(is_gone);
	assert_true(disk_erase(&place, ID, &err) < 0);
	assert_non_null(strstr(err.msg, path));
	assert_true(is_there(path));
	(void)snprintf(command, sizeof(command), "chattr -i '%s'", path);
	assert_int_equal(run(command), 0);
	assert_int_equal(disk_erase(&place, ID, &err), 0);
	assert_false(is_there(path));
}

static void sizes_are_classes(void **state)
{
	(void)state;
	assert_int_equal(disk_size_class_mib(1), 64);
	assert_int_equal(disk_size_class_mib(65), 128);
	assert_int_equal(disk_size_class_mib(DISK_LARGEST_MIB), DISK_LARGEST_MIB);
	assert_int_equal(disk_size_class_mib(DISK_LARGEST_MIB + 1), 0);
	assert_int_equal(disk_file_mib(DISK_FORM_LUKS1, 65), 130); /* with its header */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_opens_an_ext4),
		cmocka_unit_test(a_copy_of_a_blank_is_one),
		cmocka_unit_test(nothing_opens_it_after_the_key_is_gone),
		cmocka_unit_test(an_old_header_does_not_help),
		cmocka_unit_test(two_disks_of_one_name_are_refused),
		cmocka_unit_test(half_made_disks_are_erased),
		cmocka_unit_test(planted_headers_are_not_looked_at),
		cmocka_unit_test(whatever_its_vmm_did_it_is_erased),
		cmocka_unit_test(a_vmm_that_still_writes_is_noticed),
		cmocka_unit_test(what_is_no_file_is_removed_and_not_written_to),
		cmocka_unit_test(what_holds_fast_is_reported),
		cmocka_unit_test(sizes_are_classes),
	};

	(void)crypt_metadata_locking(NULL, 0); /* of LUKS2: no folder in /run for a test */
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
