/* /init of the by-hand boot that `tools/bench start` measures: load the modules in the order of /mods, mount image and disk, run
 * Python, and say just before it that user code runs. What somebody would write who just wants a VM to print a line. Static. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void load_modules(void)
{
	FILE *list = fopen("/mods", "re");
	char path[256];

	while (list && fgets(path, sizeof(path), list)) {
		int fd;

		path[strcspn(path, "\n")] = '\0';
		fd = open(path, O_RDONLY | O_CLOEXEC);
		(void)syscall(SYS_finit_module, fd, "", 0);
		(void)close(fd);
	}
}

/* Which of the two disks comes first is the machine's to say. */
static void mount_one(const char *target, const char *type, unsigned long flags)
{
	for (int i = 0; i < 500; i++) {
		if (mount("/dev/vda", target, type, flags, NULL) == 0 || mount("/dev/vdb", target, type, flags, NULL) == 0)
			return;
		(void)usleep(10000);
	}
}

int main(void)
{
	(void)mkdir("/dev", 0755);
	(void)mkdir("/image", 0755);
	(void)mkdir("/disk", 0755);
	(void)mount("dev", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	mount_one("/image", "erofs", MS_RDONLY);
	mount_one("/disk", "ext4", 0);
	if (fork() == 0) {
		int console = open("/dev/hvc0", O_RDWR); /* there is one where no serial port is */

		if (console < 0)
			console = open("/dev/console", O_RDWR);
		(void)dup2(console, 0);
		(void)dup2(console, 1);
		(void)dup2(console, 2);
		(void)dprintf(1, "USER-CODE\n");
		if (chroot("/image") == 0 && chdir("/") == 0)
			(void)execl("/usr/bin/python3", "python3", "-c", "print('BY-HAND', 6 * 7)", NULL);
		_exit(127);
	}
	(void)wait(NULL);
	(void)reboot(RB_AUTOBOOT);
	return 0;
}
