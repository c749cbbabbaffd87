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

#define COMMANDS 8 /* more than there are */
#define STORM    100000

struct seen {
	struct event_base *base;
	struct vmm *vmm;
	int peer_fd;
	struct err disk, broken;
	unsigned n_disks, n_broken, n_restarts, n_io_errors;
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

static const struct vmm_events events = {
	.on_disk = on_disk, .on_restart = on_restart, .on_io_error = on_io_error, .on_broken = on_broken
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
		cmocka_unit_test_setup_teardown(test_garbage, start, end),
		cmocka_unit_test_setup_teardown(test_a_line_without_end, start, end),
		cmocka_unit_test_setup_teardown(test_the_end_of_it, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
