/* The engine's half of the QEMU driver against a peer that says what a VMM that was taken over could say. None of it is a fault of the
 * host's: ERR_HOST is what a lane or the engine saw itself. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "base/secret.h"
#include "tests/support/turn.h"
#include "tests/unit/unit.h"
#include "worker/vmm/control.h"

#define COMMANDS 20 /* more than there are */
#define MIGRATE	 10 /* enum qemu_command: what is answered when a template is saved, and a clone starts */
#define INCOMING 11
#define STORM    100000

struct seen {
	struct event_base *base;
	struct vmm *vmm;
	int peer_fd;
	struct err disk, broken, moved; /* saved or restored */
	unsigned n_disks, n_broken, n_restarts, n_io_errors, n_saved, n_restored;
};

static void on_disk(void *ctx, const struct err *err)
{
	struct seen *seen = ctx;

	seen->n_disks++;
	if (err)
		seen->disk = *err;
}

static void on_broken(void *ctx, const struct err *err)
{
	struct seen *seen = ctx;

	seen->n_broken++;
	seen->broken = *err;
}

static void on_restart(void *ctx)
{
	((struct seen *)ctx)->n_restarts++;
}

static void on_io_error(void *ctx)
{
	((struct seen *)ctx)->n_io_errors++;
}

static void on_saved(void *ctx, const struct err *err)
{
	struct seen *seen = ctx;

	seen->n_saved++;
	if (err)
		seen->moved = *err;
}

static void on_restored(void *ctx, const struct err *err)
{
	struct seen *seen = ctx;

	seen->n_restored++;
	if (err)
		seen->moved = *err;
}

static const struct vmm_events events = {
	.on_saved = on_saved, .on_restored = on_restored, .on_disk = on_disk, .on_restart = on_restart, .on_io_error = on_io_error, .on_broken = on_broken
};

static int start(void **state)
{
	static struct seen seen;
	struct err err;
	int pair[2];

	seen = (struct seen){ .base = event_base_new() };
	assert_non_null(seen.base);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vmm_control_qemu.open(seen.base, pair[0], &events, &seen, &seen.vmm, &err), 0);
	seen.peer_fd = pair[1];
	*state = &seen;
	return 0;
}

static int end(void **state)
{
	struct seen *seen = *state;

	vmm_control_qemu.close(seen->vmm);
	close_fd(&seen->peer_fd);
	event_base_free(seen->base);
	return 0;
}

static void attach(struct seen *seen)
{
	struct drive drive;
	struct secret *key;
	struct err err;
	int fds[2];

	assert_int_equal(secret_new(64, &key, &err), 0);
	memset(secret_data(key), 'a', 64);
	assert_int_equal(pipe(fds), 0);
	drive = (struct drive){ .kind = DRIVE_FILE, .fd = fds[0], .of.file.key = key };
	assert_int_equal(vmm_control_qemu.attach_drive(seen->vmm, &drive, &err), 0);
	secret_free(key);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void say(struct seen *seen, const char *line)
{
	assert_int_equal(send(seen->peer_fd, line, strlen(line), MSG_NOSIGNAL), strlen(line));
}

static bool has_disk(const void *ctx)
{
	return ((const struct seen *)ctx)->n_disks > 0;
}

static bool is_broken(const void *ctx)
{
	return ((const struct seen *)ctx)->n_broken > 0;
}

static void test_errors_to_every_command(void **state)
{
	struct seen *seen = *state;
	char line[160];

	attach(seen);
	for (int id = 1; id <= COMMANDS; id++) {
		(void)snprintf(line, sizeof(line), "{\"error\":{\"class\":\"GenericError\",\"desc\":\"disk full\"},\"id\":%d}\n", id);
		say(seen, line);
	}
	turn_until(seen->base, has_disk, seen);
	turn_until(seen->base, is_broken, seen); /* the one about restarts */
	assert_int_equal(seen->disk.kind, ERR_BUSY);
	assert_int_equal(seen->broken.kind, ERR_BUSY);
	assert_int_equal(seen->n_disks, 1);
}

static bool has_io_error_and_end(const void *ctx)
{
	return ((const struct seen *)ctx)->n_io_errors && is_broken(ctx);
}

/* It may say so as often as it likes: it is looked at once. */
static void test_disk_errors(void **state)
{
	struct seen *seen = *state;

	for (int i = 0; i < 100; i++)
		say(seen, "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"nospace\":true}}\n");
	(void)shutdown(seen->peer_fd, SHUT_WR);
	turn_until(seen->base, has_io_error_and_end, seen);
	assert_int_equal(seen->n_io_errors, 1);
	assert_int_equal(seen->broken.kind, ERR_BUSY);
}

static bool has_reset(const void *ctx)
{
	return ((const struct seen *)ctx)->n_restarts > 0;
}

static void test_resets(void **state)
{
	struct seen *seen = *state;

	say(seen, "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"RESET\",\"data\":{}}\n");
	turn_until(seen->base, has_reset, seen);
	assert_int_equal(seen->n_broken, 0);
}

static void save(struct seen *seen)
{
	struct err err;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(vmm_control_qemu.save(seen->vmm, fds[1], &err), 0);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void restore(struct seen *seen)
{
	struct err err;

	assert_int_equal(vmm_control_qemu.restore(seen->vmm, &err), 0);
}

static void say_migration(struct seen *seen, const char *status)
{
	char line[160];

	(void)snprintf(line, sizeof(line), "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"MIGRATION\",\"data\":{\"status\":%s}}\n", status);
	say(seen, line);
}

static void say_done(struct seen *seen, int id)
{
	char line[64];

	(void)snprintf(line, sizeof(line), "{\"return\":{},\"id\":%d}\n", id);
	say(seen, line);
}

static void say_resume(struct seen *seen)
{
	say(seen, "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"RESUME\"}\n");
}

static bool has_moved(const void *ctx)
{
	const struct seen *seen = ctx;

	return seen->n_saved || seen->n_restored;
}

/* What was said before this is taken. */
static void take_all(struct seen *seen)
{
	unsigned n = seen->n_restarts;

	say(seen, "{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"RESET\",\"data\":{}}\n");
	while (seen->n_restarts == n)
		assert_int_equal(event_base_loop(seen->base, EVLOOP_ONCE), 0);
}

/* It is over when the command was accepted and what it was for has happened: in any order, once, and not before. */
static void test_a_template_is_saved_once(void **state)
{
	struct seen *seen = *state;

	say_migration(seen, "\"completed\""); /* of nothing */
	take_all(seen);
	save(seen);
	say_done(seen, MIGRATE - 1);
	say_done(seen, INCOMING); /* not what was asked */
	say_migration(seen, "\"active\"");
	take_all(seen);
	assert_int_equal(seen->n_saved, 0);
	say_migration(seen, "\"completed\"");
	say_done(seen, MIGRATE);
	turn_until(seen->base, has_moved, seen);
	for (int i = 0; i < 100; i++) {
		say_migration(seen, i % 2 ? "\"completed\"" : "\"failed\"");
		say_done(seen, MIGRATE);
	}
	take_all(seen);
	assert_int_equal(seen->n_saved, 1);
	assert_int_equal(seen->moved.kind, ERR_NONE);
	assert_int_equal(seen->n_restored + seen->n_broken + seen->n_disks, 0);
}

static void test_saving_fails_once(void **state)
{
	static const char *const ends[] = { "\"failed\"", "\"cancelled\"" };
	struct seen *seen = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		save(seen);
		for (int said = 0; said < 3; said++)
			say_migration(seen, ends[i]);
		take_all(seen);
		assert_int_equal(seen->n_saved, i + 1);
		assert_int_equal(seen->moved.kind, ERR_BUSY);
	}
}

/* Statuses of a wrong type, a very long one, none at all; nothing is done, and nothing is over. */
static void test_a_migration_that_never_ends(void **state)
{
	struct seen *seen = *state;
	char status[2048];

	save(seen);
	say_done(seen, MIGRATE);
	memset(status, 'x', sizeof(status));
	status[0] = status[sizeof(status) - 2] = '"';
	status[sizeof(status) - 1] = '\0';
	say(seen, "{\"event\":\"MIGRATION\"}\n{\"event\":\"MIGRATION\",\"data\":[]}\n{\"event\":\"MIGRATION\",\"data\":{\"status\":");
	say(seen, status);
	say(seen, "}}\n");
	for (int i = 0; i < 100; i++)
		say_migration(seen, i % 3 ? "7" : "{\"completed\":true}");
	say_resume(seen);
	take_all(seen);
	assert_int_equal(seen->n_saved + seen->n_restored + seen->n_broken, 0);
}

static void test_a_clone_starts_once(void **state)
{
	struct seen *seen = *state;

	restore(seen);
	say_resume(seen);
	say_migration(seen, "\"completed\"");
	say_done(seen, MIGRATE);
	take_all(seen);
	assert_int_equal(seen->n_restored, 0); /* nobody has accepted to */
	say_done(seen, INCOMING);
	say_resume(seen);
	say_done(seen, INCOMING);
	take_all(seen);
	assert_int_equal(seen->n_restored, 1);
	assert_int_equal(seen->moved.kind, ERR_NONE);
	assert_int_equal(seen->n_saved + seen->n_broken, 0);
}

/* An error to each command of a restore, and then the end of it, as of a QEMU that cannot use the state: one fault, then one end. */
static void test_a_clone_that_does_not_start(void **state)
{
	struct seen *seen = *state;
	char line[160];

	restore(seen);
	for (int id = MIGRATE - 2; id <= INCOMING; id++) {
		(void)snprintf(line, sizeof(line), "{\"error\":{\"class\":\"GenericError\",\"desc\":\"bad state\"},\"id\":%d}\n", id);
		say(seen, line);
	}
	say_resume(seen);
	close_fd(&seen->peer_fd);
	turn_until(seen->base, is_broken, seen);
	assert_int_equal(seen->n_restored, 1);
	assert_int_equal(seen->moved.kind, ERR_BUSY);
	assert_non_null(strstr(seen->moved.msg, "bad state"));
	assert_int_equal(seen->n_broken, 1);
}

static void test_garbage(void **state)
{
	struct seen *seen = *state;

	say(seen, "\x01\x02}{ \"event\": [[[[\n");
	turn_until(seen->base, is_broken, seen);
	assert_int_equal(seen->broken.kind, ERR_BUSY);
}

static void test_a_line_without_end(void **state)
{
	struct seen *seen = *state;
	char chunk[4096];

	memset(chunk, 'x', sizeof(chunk));
	for (size_t sent = 0; sent < STORM && !seen->n_broken; sent += sizeof(chunk)) {
		(void)send(seen->peer_fd, chunk, sizeof(chunk), MSG_NOSIGNAL | MSG_DONTWAIT);
		assert_true(event_base_loop(seen->base, EVLOOP_NONBLOCK) >= 0); /* 1: nothing left to watch */
	}
	turn_until(seen->base, is_broken, seen);
	assert_int_equal(seen->broken.kind, ERR_BUSY);
}

static void test_the_end_of_it(void **state)
{
	struct seen *seen = *state;

	close_fd(&seen->peer_fd);
	turn_until(seen->base, is_broken, seen);
	assert_int_equal(seen->broken.kind, ERR_BUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_errors_to_every_command, start, end),
		cmocka_unit_test_setup_teardown(test_disk_errors, start, end),
		cmocka_unit_test_setup_teardown(test_resets, start, end),
		cmocka_unit_test_setup_teardown(test_a_template_is_saved_once, start, end),
		cmocka_unit_test_setup_teardown(test_saving_fails_once, start, end),
		cmocka_unit_test_setup_teardown(test_a_migration_that_never_ends, start, end),
		cmocka_unit_test_setup_teardown(test_a_clone_starts_once, start, end),
		cmocka_unit_test_setup_teardown(test_a_clone_that_does_not_start, start, end),
		cmocka_unit_test_setup_teardown(test_garbage, start, end),
		cmocka_unit_test_setup_teardown(test_a_line_without_end, start, end),
		cmocka_unit_test_setup_teardown(test_the_end_of_it, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
