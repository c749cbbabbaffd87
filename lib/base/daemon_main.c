#include "base/daemon_main.h"

#include <getopt.h>
#include <stdio.h>

#include "base/std_fds.h"

static int usage(const struct daemon_program *program, FILE *to, int status)
{
	(void)fprintf(to, "usage: %s --config FILE\n%s", program->name, program->purpose);
	return status;
}

/* -1 to go on, else the exit status. */
static int read_options(const struct daemon_program *program, int argc, char **argv, const char **ret_path)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	int c;

	*ret_path = NULL;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h')
			return usage(program, stdout, 0);
		if (c != 'c')
			return usage(program, stderr, 2);
		*ret_path = optarg;
	}
	return !*ret_path || optind != argc ? usage(program, stderr, 2) : -1;
}

int daemon_main(const struct daemon_program *program, int argc, char **argv)
{
	const char *path;
	struct err err;
	int status;

	if (std_fds_fill() < 0)
		return 1;
	status = read_options(program, argc, argv, &path);
	if (status >= 0)
		return status;
	if (program->load(path, &err) < 0) {
		(void)fprintf(stderr, "%s: %s\n", program->name, err.msg);
		return 2;
	}
	log_init(program->log_name, *program->log_level);
	return program->run();
}
