#include "base/daemon_main.h"
#include "worker/settings.h"
#include "worker/supervisor.h"

static struct settings settings;

static int load(const char *path, struct err *err)
{
	struct host_limits limits;
	int r = settings_load(path, &settings, err);

	if (r < 0)
		return r;
	host_limits_read("", settings.state_dir, &limits);
	return settings_fit(&settings, &limits, err);
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
