#include <time.h>
#include <sys/reboot.h>
#include <unistd.h>
#include "guest/agent/boot.h"
#include "guest/agent/channel.h"
#include <poll.h>

int main(void)
{
	struct err err;
	int fd;
	struct channel channel;
	struct timespec now;
	if (boot_prepare(&err) == 0 && boot_open_port(&fd, &err) == 0) {
		channel_open(&channel, fd);
		clock_gettime(CLOCK_BOOTTIME, &now);
		channel_send(&channel, &(struct frame){ .type = FRAME_HELLO, .version = FRAME_VERSION, .elapsed_ms = now.tv_sec * 1000 + now.tv_nsec / 1000000 });
		channel_flush(&channel);
		for (;;) {
			struct pollfd p = { .fd = fd, .events = POLLIN };
			poll(&p, 1, -1);
			if (channel_read(&channel, &err) < 0)
				break;
		}
	}
	reboot(RB_AUTOBOOT);
	return 0;
}
