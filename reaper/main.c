#include "base/daemon_main.h"
#include "reaper/settings.h"
#include "reaper/supervisor.h"

static struct reaper_settings settings;

static int load(const char *path, struct err *err)
{
	return reaper_settings_load(path, &settings, err);
}

static int run(void)
{
	return supervise(&settings);
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "mayfly-reaper",
		.purpose =
			"Removes what dead workers left and answers for what they cannot. Start it as root on every host\n"
			"that runs workers; see deploy/reaper.conf.\n",
		.log_name = "reaper",
		.log_level = &settings.log_level,
		.load = load,
		.run = run,
	};

	return daemon_main(&program, argc, argv);
}
