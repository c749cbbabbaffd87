/* What `mayfly doctor` says of a host's numbers. */
#include "tests/unit/unit.h"

#include <string.h>

#include "tools/doctor_host.h"

static const struct host_limits good = { .cpus = 8,
					 .memory_mib = 16384,
					 .machine_mib = 16384,
					 .available_mib = 12000,
					 .disk_free_mib = 100000,
					 .open_files = HOST_NO_LIMIT,
					 .locked_bytes = 8u << 20,
					 .processes = 32768,
					 .uids = 4294967295u };

static const struct doctor_line *find(const struct host_limits *limits, const char *what)
{
	static struct doctor_line lines[DOCTOR_HOST_LINES];

	doctor_host(limits, "/var/lib/mayfly", lines);
	for (size_t i = 0; i < DOCTOR_HOST_LINES; i++)
		if (strcmp(lines[i].what, what) == 0)
			return &lines[i];
	fail_msg("no line about %s", what);
	return NULL;
}

static void says(const struct host_limits *limits, const char *what, enum doctor_mark mark, const char *part)
{
	const struct doctor_line *line = find(limits, what);

	if (line->mark != mark || !strstr(line->text, part))
		fail_msg("%s: %d '%s', not '%s'", what, (int)line->mark, line->text, part);
}

static void a_good_host(void **state)
{
	(void)state;
	says(&good, "memory", DOCTOR_GOOD, "16384 MiB, 12000 available");
	says(&good, "disk", DOCTOR_GOOD, "100000 MiB free for '/var/lib/mayfly'");
	says(&good, "limits", DOCTOR_GOOD, "open files no limit, processes 32768: microVMs at a time: 508; locked memory for the keys of 1024");
	says(&good, "user ids", DOCTOR_GOOD, "");
	says(&good, "a worker takes", DOCTOR_GOOD, "8 processors: slots = 16, memory_mib = 12288, disk_mib = 75000");
}

static void what_is_missing_is_marked(void **state)
{
	struct host_limits poor = good;

	(void)state;
	poor.memory_mib = 200;
	says(&poor, "memory", DOCTOR_BAD, "200 MiB by the control group that this is in, of the machine's 16384");
	poor.disk_free_mib = 10;
	says(&poor, "disk", DOCTOR_BAD, "10 MiB free");
	poor.open_files = 100;
	says(&poor, "limits", DOCTOR_BAD, "microVMs at a time: 0");
	poor.uids = 65533;
	says(&poor, "user ids", DOCTOR_BAD, "only 0 to 65532 exist here");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_good_host), cmocka_unit_test(what_is_missing_is_marked) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
