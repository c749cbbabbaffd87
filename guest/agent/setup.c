#include "guest/agent/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/ident.h"
#include "base/own.h"
#include "guest/agent/mounts.h"

#define OWN_BOOT_ID	  "/boot_id"
#define HOSTS_PIECE_BYTES 65536

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

int setup_clock(uint64_t realtime_ns, struct err *err)
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

/* Empty files of the VM's own, open from the template on: what setup does in a clone, it does with code that this processor never ran
 * before, so it writes, and does no more. -1: the image has no place for it. */
static struct {
	int boot_id_fd, machine_id_fd, hosts_fd;
} own = { -1, -1, -1 };

static int make_file(const char *path, int *ret_fd, struct err *err)
{
	*ret_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return *ret_fd < 0 ? err_set(err, ERR_HOST, errno, "make %s", path) : 0;
}

/* The kernel draws its own when it is asked for the first time. Whether somebody asked before the clones of a template
 * parted, and which of its programs did, nobody knows. */
static int place_boot_id(struct err *err)
{
	int r = make_file(OWN_BOOT_ID, &own.boot_id_fd, err);

	if (r == 0 && mount(OWN_BOOT_ID, PARTS "/proc/sys/kernel/random/boot_id", NULL, MS_BIND, NULL) < 0)
		r = err_set(err, ERR_HOST, errno, "mount the boot id");
	return r;
}

/* The image's own lines stay. One whose file is a link, or no file, wants it to be as it is. */
static int copy_hosts(struct err *err)
{
	cleanup_fd int image_fd = open(IMAGE_ROOT "/etc/hosts", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool is_none = image_fd < 0 && errno == ENOENT;
	struct stat stat;
	ssize_t n = 0;
	int r;

	if (!is_none && (image_fd < 0 || fstat(image_fd, &stat) < 0 || !S_ISREG(stat.st_mode)))
		return 0;
	r = make_file(OWN_ROOT "/etc/hosts", &own.hosts_fd, err);
	while (r == 0 && !is_none && (n = sendfile(own.hosts_fd, image_fd, NULL, HOSTS_PIECE_BYTES)) > 0)
		;
	return n < 0 ? err_set(err, ERR_HOST, errno, "copy /etc/hosts of the image") : r;
}

int setup_prepare(struct err *err)
{
	bool has_etc = access(OWN_ROOT "/etc", F_OK) == 0;
	int r = raise_loopback(err);

	if (r == 0)
		r = place_boot_id(err);
	if (r == 0 && has_etc)
		r = make_file(OWN_ROOT "/etc/machine-id", &own.machine_id_fd, err);
	if (r == 0 && has_etc)
		r = copy_hosts(err);
	return r;
}

static int fill(int *fd, const struct iovec *pieces, int n, const char *what, struct err *err)
{
	ssize_t len = 0;
	int r = 0;

	for (int i = 0; i < n; i++)
		len += (ssize_t)pieces[i].iov_len;
	if (*fd >= 0 && writev(*fd, pieces, n) != len)
		r = err_set(err, ERR_HOST, errno, "write the %s", what);
	close_fd(fd);
	return r;
}

#define PIECE(data, len) { .iov_base = (void *)(uintptr_t)(data), .iov_len = (len) }

static int fill_boot_id(struct err *err)
{
	char uuid[37];
	const struct iovec line[] = { PIECE(uuid, 36), PIECE("\n", 1) };

	ident_uuid(uuid);
	return fill(&own.boot_id_fd, line, ARRAY_SIZE(line), "boot id", err);
}

/* machine-id(5): a UUID without its dashes, a line. */
static int fill_machine_id(struct err *err)
{
	char uuid[37];
	const struct iovec line[] = { PIECE(uuid, 8), PIECE(uuid + 9, 4), PIECE(uuid + 14, 4), PIECE(uuid + 19, 4), PIECE(uuid + 24, 12),
				      PIECE("\n", 1) };

	ident_uuid(uuid);
	return fill(&own.machine_id_fd, line, ARRAY_SIZE(line), "machine id", err);
}

/* The host name stands for the loopback addresses, as programs expect of their own. */
static int fill_hosts(const struct frame_text *name, struct err *err)
{
	const struct iovec lines[] = { PIECE("127.0.0.1 ", 10), PIECE(name->text, name->len), PIECE("\n::1 ", 5),
				       PIECE(name->text, name->len), PIECE("\n", 1) };

	return fill(&own.hosts_fd, lines, ARRAY_SIZE(lines), "hosts file", err);
}

int setup_identity(const struct frame *frame, struct err *err)
{
	int r = setup_clock(frame->realtime_ns, err); /* first: it stands still in the frame */

	if (r == 0)
		r = seed(frame->data, frame->len, err);
	if (r == 0 && sethostname(frame->hostname.text, frame->hostname.len) < 0)
		r = err_set(err, ERR_HOST, errno, "set the host name");
	return r;
}

int setup_files(const struct frame *frame, struct err *err)
{
	int r = fill_boot_id(err);

	if (r == 0)
		r = fill_machine_id(err);
	if (r == 0)
		r = fill_hosts(&frame->hostname, err);
	return r;
}
