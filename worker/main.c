#include <getopt.h>
#include <stdio.h>

#include "base/log.h"
#include "base/std_fds.h"
#include "worker/settings.h"
#include "worker/supervisor.h"

static int usage(FILE *to, int status)
{
	(void)fputs("usage: mayfly-worker --config FILE\n"
		    "Takes tasks from Kafka and runs each in a microVM of its own. Start it as root; see deploy/worker.conf.\n",
		    to);
	return status;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	static struct settings settings;
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
	if (settings_load(path, &settings, &err) < 0) {
		(void)fprintf(stderr, "mayfly-worker: %s\n", err.msg);
		return 2;
	}
	log_init("supervisor", (enum log_level)log_level_parse(settings.log_level));
	return supervise(&settings);
}
