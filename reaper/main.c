#include <getopt.h>
#include <stdio.h>

#include "base/log.h"
#include "base/std_fds.h"
#include "reaper/settings.h"
#include "reaper/supervisor.h"

static int usage(FILE *to, int status)
{
	(void)fputs("usage: mayfly-reaper --config FILE\n"
		    "Removes what dead workers left and answers for what they cannot. Start it as root on every host\n"
		    "that runs workers; see deploy/reaper.conf.\n",
		    to);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	static struct reaper_settings settings;
	const char *path = NULL;
	struct err err;
	int c;

	if (std_fds_fill() < 0)
		return 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h')
			return usage(stdout, 0);
		if (c != 'c')
			return usage(stderr, 2);
		path = optarg;
	}
	if (!path || optind != argc)
		return usage(stderr, 2);
	if (reaper_settings_load(path, &settings, &err) < 0) {
		(void)fprintf(stderr, "mayfly-reaper: %s\n", err.msg);
		return 2;
	}
	log_init("reaper", (enum log_level)log_level_parse(settings.log_level));
	return supervise(&settings);
}
