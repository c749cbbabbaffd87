#include "guest/agent/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/ident.h"
#include "base/own.h"
#include "guest/agent/mounts.h"

#define OWN_BOOT_ID	  "/boot_id"
#define OWN_HOSTS	  OWN_ROOT "/etc/hosts"
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

/* A file of the VM's own, which is not there yet. */
static int make_file(const char *path, int *ret_fd, struct err *err)
{
	*ret_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return *ret_fd < 0 ? err_set(err, ERR_HOST, errno, "make %s", path) : 0;
}

static int make_text_file(const char *path, const char *text, struct err *err)
{
	cleanup_fd int fd = -1;
	int r = make_file(path, &fd, err);

	if (r == 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		r = err_set(err, ERR_HOST, errno, "write %s", path);
	return r;
}

/* machine-id(5): a UUID without its dashes, a line. */
static int make_machine_id(struct err *err)
{
	char uuid[37], text[sizeof(uuid) + 1];
	size_t n = 0;

	ident_uuid(uuid);
	for (const char *p = uuid; *p; p++)
		if (*p != '-')
			text[n++] = *p;
	text[n++] = '\n';
	text[n] = '\0';
	return make_text_file(OWN_ROOT "/etc/machine-id", text, err);
}

/* The kernel draws its own when it is asked for the first time. Whether somebody asked before the clones of a template
 * parted, and which of its programs did, nobody knows. */
static int make_boot_id(struct err *err)
{
	char text[39];
	int r;

	ident_uuid(text);
	strcat(text, "\n");
	r = make_text_file(OWN_BOOT_ID, text, err);
	if (r == 0 && mount(OWN_BOOT_ID, PARTS "/proc/sys/kernel/random/boot_id", NULL, MS_BIND, NULL) < 0)
		r = err_set(err, ERR_HOST, errno, "mount the boot id");
	return r;
}

/* The image's own lines stay. One whose file is a link, or no file, wants it to be as it is. */
static int copy_hosts(struct err *err)
{
	cleanup_fd int image_fd = open(IMAGE_ROOT "/etc/hosts", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool is_none = image_fd < 0 && errno == ENOENT;
	cleanup_fd int fd = -1;
	struct stat stat;
	ssize_t n = 0;
	int r;

	if (!is_none && (image_fd < 0 || fstat(image_fd, &stat) < 0 || !S_ISREG(stat.st_mode)))
		return 0;
	r = make_file(OWN_HOSTS, &fd, err);
	while (r == 0 && !is_none && (n = sendfile(fd, image_fd, NULL, HOSTS_PIECE_BYTES)) > 0)
		;
	return n < 0 ? err_set(err, ERR_HOST, errno, "copy /etc/hosts of the image") : r;
}

int setup_prepare(struct err *err)
{
	int r = raise_loopback(err);

	if (r == 0 && access(OWN_ROOT "/etc", F_OK) == 0)
		r = copy_hosts(err);
	return r;
}

/* The host name stands for the loopback addresses, as programs expect of their own. */
static int add_to_hosts(const struct frame *frame, struct err *err)
{
	cleanup_fd int fd = open(OWN_HOSTS, O_WRONLY | O_APPEND | O_CLOEXEC);
	int len = (int)frame->hostname.len;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || dprintf(fd, "127.0.0.1 %.*s\n::1 %.*s\n", len, frame->hostname.text, len, frame->hostname.text) < 0)
		return err_set(err, ERR_HOST, errno, "write /etc/hosts");
	return 0;
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
	int r = make_boot_id(err);

	if (r < 0 || access(OWN_ROOT "/etc", F_OK) < 0)
		return r;
	r = make_machine_id(err);
	if (r == 0)
		r = add_to_hosts(frame, err);
	return r;
}
