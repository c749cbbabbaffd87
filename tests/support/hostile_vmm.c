/* In place of QEMU, in the real jail under the real guard: a VMM and a guest that were taken over. Its descriptors are QEMU's: 3 the
 * guest channel, 4 the control socket. What it does is in the file /evil of its root, a word:
 *
 *   errors    answers every command with an error
 *   io        the guest runs; then BLOCK_IO_ERROR again and again
 *   resets    the guest runs; then RESET without end
 *   garbage   the guest runs; then bytes that are not QMP
 *   again     the guest runs; then it is ready once more
 *   unasked   the guest runs; then it hands over a file
 *   offset    the guest runs; then its output begins behind its beginning
 *   limit     the guest runs; then it says more than its task may
 *   noise     the guest runs; then bytes that are no frame
 *   other     the guest ends; then it hands over another file than it was asked for
 *   gap       the guest ends; then a file of which a piece is missing
 *   version   its agent speaks another version
 *   silent    says nothing at all
 *   dies      ends at once
 *
 * A probe (docs/decisions/2026-11-28-a-host-judges-itself.md) has no image: descriptors 6, the initrd, and 7, the image, are then one
 * file, and it gets what a healthy VMM says, unless the word ends in '!'. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "wire/frame.h"

#define CHANNEL_FD 3
#define CONTROL_FD 4
#define INITRD_FD  6
#define IMAGE_FD   7
#define STORM	   1000 /* events, or until nobody reads them any more */
#define HEARD_US   200000 /* for that to be heard before what goes over the other socket; mostly */
#define COMMANDS   16	/* more than a job sends */

static char word[32];

static void send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			_exit(0); /* nobody listens any more */
		at += n;
		len -= (size_t)n;
	}
}

static void say(const char *line)
{
	send_all(CONTROL_FD, line, strlen(line));
}

static void send_frame(const struct frame *frame)
{
	struct buf buf = { 0 };

	if (frame_encode(frame, &buf) < 0)
		_exit(1);
	send_all(CHANNEL_FD, buf.data, buf.len);
	buf_free(&buf);
}

static bool is_evil(const char *what)
{
	return strncmp(word, what, strlen(what)) == 0;
}

static bool is_probe(void)
{
	struct stat initrd, image;

	return fstat(INITRD_FD, &initrd) == 0 && fstat(IMAGE_FD, &image) == 0 && initrd.st_ino == image.st_ino &&
	       initrd.st_dev == image.st_dev;
}

/* Up to the last command that attaches the disk; then as many answers as there could be commands, each by its number. */
static void answer_commands(const char *what)
{
	static char heard[65536];
	char line[160];
	size_t len = 0;

	while (!memmem(heard, len, "blockdev-reopen", strlen("blockdev-reopen"))) {
		ssize_t n = len < sizeof(heard) ? recv(CONTROL_FD, heard + len, sizeof(heard) - len, 0) : 0;

		if (n <= 0)
			_exit(0);
		len += (size_t)n;
	}
	for (int id = 1; id <= COMMANDS; id++) {
		(void)snprintf(line, sizeof(line), "{%s,\"id\":%d}\r\n", what, id);
		say(line);
	}
}

static void take_frame(void)
{
	uint8_t data[FRAME_MAX_BYTES];
	ssize_t n = recv(CHANNEL_FD, data, 4, MSG_WAITALL);
	int64_t extent = n == 4 ? frame_extent(data, 4) : 0;

	if (extent <= 4 || recv(CHANNEL_FD, data + 4, (size_t)extent - 4, MSG_WAITALL) != extent - 4)
		_exit(0);
}

static void take_bytes(void)
{
	char data[65536];

	if (recv(CHANNEL_FD, data, sizeof(data), 0) <= 0)
		_exit(0);
}

static void run_guest(void)
{
	const struct frame hello = { .type = FRAME_HELLO, .version = FRAME_VERSION + (is_evil("version") ? 1u : 0u) };
	const struct frame ready = { .type = FRAME_READY }, started = { .type = FRAME_STARTED, .exec = 1 };

	if (is_evil("silent"))
		for (;;)
			(void)pause();
	if (is_evil("dies"))
		_exit(7);
	send_frame(&hello);
	if (is_evil("version") || is_evil("well"))
		return;
	answer_commands(is_evil("errors") ? "\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}" : "\"return\":{}");
	if (is_evil("errors"))
		return;
	take_frame(); /* setup */
	take_frame(); /* mount */
	send_frame(&ready);
	take_bytes(); /* run */
	send_frame(&started);
	(void)usleep(HEARD_US);
}

static void send_output(uint64_t offset, size_t times)
{
	static const uint8_t data[FRAME_DATA_MAX];
	struct frame frame = { .type = FRAME_OUT, .exec = 1, .stream = 1, .offset = offset, .data = data, .len = sizeof(data) };

	for (; times; times--) {
		send_frame(&frame);
		frame.offset += frame.len;
	}
}

static void send_piece(const char *path, uint64_t offset)
{
	send_frame(&(struct frame){ .type = FRAME_FILE,
				    .exec = 1,
				    .path = { .text = path, .len = strlen(path) },
				    .size = 100,
				    .mode = 0644,
				    .offset = offset,
				    .data = (const uint8_t *)"0123456789",
				    .len = 10 });
}

static void end_program(void)
{
	send_frame(&(struct frame){ .type = FRAME_EXIT, .exec = 1, .has_exit_code = true });
	take_bytes(); /* what is to be collected */
}

static void be_an_evil_guest(void)
{
	if (is_evil("again"))
		send_frame(&(struct frame){ .type = FRAME_READY });
	if (is_evil("unasked"))
		send_piece("a", 0);
	if (is_evil("offset"))
		send_output(1, 1);
	if (is_evil("limit"))
		send_output(0, 4096);
	if (is_evil("noise"))
		send_all(CHANNEL_FD, "\xff\xff\xff\xff noise", 10);
	if (is_evil("other") || is_evil("gap"))
		end_program();
	if (is_evil("other"))
		send_piece("../../etc/passwd", 0);
	if (is_evil("gap")) {
		send_piece("a", 0);
		send_piece("a", 50);
	}
}

static void be_evil(void)
{
	be_an_evil_guest();
	for (int i = 0; i < STORM; i++)
		if (is_evil("io"))
			say("{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"BLOCK_IO_ERROR\",\"data\":{}}\r\n");
		else if (is_evil("resets"))
			say("{\"timestamp\":{\"seconds\":1,\"microseconds\":1},\"event\":\"RESET\",\"data\":{}}\r\n");
		else if (is_evil("garbage"))
			say("\\\x01\x02}{ no\r\n");
}

int main(void)
{
	int fd = open("/evil", O_RDONLY);

	if (fd < 0 || read(fd, word, sizeof(word) - 1) <= 0)
		return 1;
	if (is_probe() && !strchr(word, '!'))
		(void)snprintf(word, sizeof(word), "well");
	say("{\"QMP\":{\"version\":{},\"capabilities\":[]}}\r\n");
	run_guest();
	be_evil();
	for (;;)
		take_bytes();
}
