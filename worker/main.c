#include "base/daemon_main.h"
#include "worker/settings.h"
#include "worker/supervisor.h"

static struct settings settings;

static int load(const char *path, struct err *err)
{
	return settings_load(path, &settings, err);
}

static int run(void)
{
	return supervise(&settings);
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "mayfly-worker",
		.purpose = "Takes tasks from Kafka and runs each in a microVM of its own. Start it as root; see deploy/worker.conf.\n",
		.log_name = "supervisor",
		.log_level = &settings.log_level,
		.load = load,
		.run = run,
	};

	return daemon_main(&program, argc, argv);
}
