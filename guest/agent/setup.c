#include "guest/agent/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/own.h"
#include "guest/agent/mounts.h"

/* Credit the host's entropy and make the kernel draw from it at once (random(4)). A clone of a snapshot has the random
 * state of all its siblings until then. */
static int seed(const uint8_t *entropy, size_t len, struct err *err)
{
	struct {
		int entropy_count, buf_size; /* struct rand_pool_info, whose bytes have no size */
		uint8_t bytes[FRAME_ENTROPY_BYTES];
	} pool = { .entropy_count = (int)(8 * len), .buf_size = (int)len };
	cleanup_fd int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_set(err, ERR_HOST, errno, "open /dev/urandom");
	memcpy(pool.bytes, entropy, len); /* the codec saw to it that they fit */
	r = ioctl(fd, RNDADDENTROPY, &pool);
	explicit_bzero(&pool, sizeof(pool));
	if (r < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return err_set(err, ERR_HOST, errno, "seed the random number generator");
	return 0;
}

static int set_clock(uint64_t realtime_ns, struct err *err)
{
	const struct timespec time = { .tv_sec = (time_t)(realtime_ns / 1000000000),
				       .tv_nsec = (long)(realtime_ns % 1000000000) };

	if (clock_settime(CLOCK_REALTIME, &time) < 0)
		return err_set(err, ERR_HOST, errno, "set the clock");
	return 0;
}

/* Loopback is the only interface of an air-gapped VM; programs that talk to themselves expect it. */
static int raise_loopback(struct err *err)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return err_set(err, ERR_HOST, errno, "bring the loopback interface up");
	return 0;
}

int setup_identity(const struct frame *frame, struct err *err)
{
	int r = seed(frame->data, frame->len, err);

	if (r == 0)
		r = set_clock(frame->realtime_ns, err);
	if (r == 0 && sethostname(frame->hostname.text, frame->hostname.len) < 0)
		r = err_set(err, ERR_HOST, errno, "set the host name");
	if (r == 0)
		r = raise_loopback(err);
	return r;
}

/* The image's own lines stay. It is the upper layer of the overlay that is written, before the task has one process. */
int setup_hosts(struct err *err)
{
	static const char path[] = DISK_ROOT "/etc/hosts";
	cleanup_fd int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	char name[HOST_NAME_MAX + 1] = "";

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0; /* an image that has no such place for it */
	if (fd < 0 || gethostname(name, sizeof(name)) < 0 || dprintf(fd, "127.0.0.1 %s\n::1 %s\n", name, name) < 0)
		return err_set(err, ERR_HOST, errno, "write /etc/hosts of the image");
	return 0;
}
