/* `mayfly doctor`: what this host has and lacks for running tasks, and which mode results. It changes nothing, except that a
 * root user's doctor boots a probe guest to see whether KVM really works. */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/own.h"
#include "host/cgroup.h"
#include "lane/accel_probe.h"
#include "tools/client.h"
#include "tools/command.h"
#include "tools/doctor_host.h"
#include "tools/leases_now.h"
#include "tools/screen.h"
#include "tools/stack.h"

#define KAFKA_MS 2000

enum { OPTION_READY = 1, OPTION_GROUP, OPTION_WORKER };

struct doctor {
	const struct target *target;
	struct stack stack; /* for its place */
	const char *group, *worker; /* the workers' consumer group; NULL: any worker of it */
	unsigned n_bad;
	bool has_worker; /* it takes tasks */
};

static void say(struct doctor *doctor, enum doctor_mark mark, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void say(struct doctor *doctor, enum doctor_mark mark, const char *what, const char *fmt, ...)
{
	static const char *const signs[] = { "ok", "--", "NO" };
	static const enum screen_paint paints[] = { SCREEN_GOOD, SCREEN_WARN, SCREEN_BAD };
	va_list ap;

	doctor->n_bad += mark == DOCTOR_BAD;
	(void)printf("%s%s%s  %-16s ", screen_code(stdout, paints[mark]), signs[mark],
		     screen_code(stdout, SCREEN_PLAIN), what);
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)printf("\n");
	(void)fflush(stdout); /* some checks take seconds */
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void check_root(struct doctor *doctor)
{
	if (geteuid() == 0)
		say(doctor, DOCTOR_GOOD, "root",
		    "yes: workers start as root and give it up in the parts that read what comes in");
	else
		say(doctor, DOCTOR_WARN, "root", "no: a worker cannot be started by this user (tasks can be submitted)");
}

static void check_kvm(struct doctor *doctor)
{
	char libexec[PATH_MAX], kernel[PATH_MAX];
	enum accel accel = ACCEL_TCG;
	struct err err = { 0 };

	names_kernel(&doctor->stack.place, kernel);
	if (!exists("/dev/kvm")) {
		say(doctor, DOCTOR_WARN, "KVM", "no /dev/kvm: EMULATION, which proves function, not isolation");
	} else if (geteuid() != 0 || !exists(kernel)) {
		say(doctor, DOCTOR_WARN, "KVM",
		    "/dev/kvm is there; whether a guest really runs is probed by root with a kernel bundle");
	} else if (target_libexec(libexec, &err) < 0 || accel_probe(&doctor->stack.place, libexec, true, &accel, &err) < 0) {
		say(doctor, DOCTOR_WARN, "KVM", "the probe guest could not be started: %s", err.msg);
	} else if (accel == ACCEL_KVM) {
		say(doctor, DOCTOR_GOOD, "KVM", "a probe guest ran on it");
	} else {
		say(doctor, DOCTOR_WARN, "KVM",
		    "/dev/kvm is there, but a guest did not start on it: EMULATION, which proves function, not isolation");
	}
}

static void check_cgroup(struct doctor *doctor)
{
	int version = cgroup_version();

	if (version)
		say(doctor, DOCTOR_GOOD, "control groups", "version %d with memory and pids", version);
	else
		say(doctor, DOCTOR_BAD, "control groups",
		    "neither version has memory and pids: nothing limits a VMM here");
}

/* 1: /proc/devices knows the driver. */
static bool has_driver(const char *name)
{
	cleanup_file FILE *file = fopen("/proc/devices", "re");
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (strstr(line, name))
			return true;
	return false;
}

static void check_devices(struct doctor *doctor)
{
	if (has_driver("device-mapper"))
		say(doctor, DOCTOR_GOOD, "dm-crypt",
		    "device-mapper is there (this version lets QEMU open the LUKS volume itself)");
	else
		say(doctor, DOCTOR_GOOD, "dm-crypt", "no device-mapper; not needed: QEMU opens the LUKS volume itself");
	say(doctor, DOCTOR_GOOD, "vhost-vsock", "%s; not needed: the guest's channel is virtio-serial",
	    exists("/dev/vhost-vsock") ? "there" : "not there");
}

/* Whether a user namespace can be made, tried in a child. */
static void check_namespaces(struct doctor *doctor)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(unshare(geteuid() == 0 ? CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
					     : CLONE_NEWUSER) < 0);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		say(doctor, DOCTOR_GOOD, "namespaces", "%s can be made",
		    geteuid() == 0 ? "mount, pid, net, ipc and uts" : "user namespaces");
	else
		say(doctor, geteuid() == 0 ? DOCTOR_BAD : DOCTOR_WARN, "namespaces",
		    "cannot be made: the jail of a VMM needs them");
}

static void check_program(struct doctor *doctor, const char *what, const char *command, const char *why)
{
	FILE *stream = popen(command, "re"); /* fixed commands of ours */
	char line[160] = "";

	if (stream && fgets(line, sizeof(line), stream))
		line[strcspn(line, "\n")] = '\0';
	if (stream && pclose(stream) == 0 && line[0])
		say(doctor, DOCTOR_GOOD, what, "%s", line);
	else
		say(doctor, DOCTOR_BAD, what, "is missing: %s; tools/install-deps brings it", why);
}

static void check_manifest(struct doctor *doctor, const char *what, const char *path, const char *keys[2],
			   const char *remedy)
{
	json_auto_t *manifest = json_load_file(path, 0, NULL);
	const char *first = json_string_value(json_object_get(manifest, keys[0]));
	const char *second = json_string_value(json_object_get(manifest, keys[1]));

	if (manifest)
		say(doctor, DOCTOR_GOOD, what, "%s%s%.60s", first ? first : "", second ? " " : "", second ? second : "");
	else
		say(doctor, DOCTOR_BAD, what, "is not built; %s", remedy);
}

static void check_images(struct doctor *doctor)
{
	char folder[PATH_MAX], path[PATH_MAX + 300];
	struct dirent *entry;
	cleanup_dir DIR *dir = NULL;
	unsigned n = 0;

	names_images_dir(&doctor->stack.place, folder);
	dir = opendir(folder);
	while (dir && (entry = readdir(dir))) {
		const char *keys[2] = { "name", "date" };

		(void)snprintf(path, sizeof(path), "%s/%s/manifest.json", folder, entry->d_name);
		if (entry->d_name[0] == '.' || !exists(path))
			continue;
		check_manifest(doctor, "image", path, keys, "");
		n++;
	}
	if (!n)
		say(doctor, DOCTOR_BAD, "images",
		    "there is none in '%s'; build one: mayfly image build guest/images/base.image", folder);
}

static void check_guest(struct doctor *doctor)
{
	static const char *const build =
		"build it: tools/image/build-kernel, tools/image/build-jail-root (tools/quickstart does it)";
	const char *kernel_keys[2] = { "kernel", "date" }, *jail_keys[2] = { "qemu", "date" };
	char path[PATH_MAX];

	stack_path(&doctor->stack, "kernel/manifest.json", path);
	check_manifest(doctor, "kernel bundle", path, kernel_keys, build);
	stack_path(&doctor->stack, "jail/manifest.json", path);
	check_manifest(doctor, "jail root", path, jail_keys, build);
	check_images(doctor);
}

static void check_kafka(struct doctor *doctor)
{
	cleanup_(client_freep) struct client *client = NULL;
	const char *refusal = NULL;
	struct err err;

	if (client_new(doctor->target, NULL, NULL, &client, &err) < 0 || client_probe(client, KAFKA_MS, &err) < 0)
		say(doctor, DOCTOR_BAD, "Kafka", "%s", err.msg);
	else if ((doctor->has_worker = client_group_is_ready(client, doctor->group, doctor->worker, KAFKA_MS, &refusal)))
		say(doctor, DOCTOR_GOOD, "Kafka", "%s answers, and %s takes tasks", doctor->target->fleet.brokers,
		    doctor->worker ? doctor->worker : "a worker");
	else if (refusal)
		say(doctor, DOCTOR_BAD, "Kafka", "%s answers, but does not let us see group '%s': %s", doctor->target->fleet.brokers,
		    doctor->group, refusal);
	else
		say(doctor, DOCTOR_WARN, "Kafka", "%s answers, but %s of group '%s' takes tasks",
		    doctor->target->fleet.brokers, doctor->worker ? "not this worker" : "no worker", doctor->group);
}

static void check_redis(struct doctor *doctor)
{
	bool is_evicting = false;
	struct err err;

	if (leases_now_probe(doctor->target, &is_evicting, &err) < 0)
		say(doctor, DOCTOR_BAD, "Redis", "%s", err.msg);
	else if (is_evicting)
		say(doctor, DOCTOR_BAD, "Redis", "may drop keys, and leases with them: set maxmemory-policy noeviction");
	else if (doctor->target->fleet.redis.socket[0])
		say(doctor, DOCTOR_GOOD, "Redis", "%s answers", doctor->target->fleet.redis.socket);
	else
		say(doctor, DOCTOR_GOOD, "Redis", "%s:%u answers", doctor->target->fleet.redis.host,
		    (unsigned)doctor->target->fleet.redis.port);
}

static void check_host(struct doctor *doctor)
{
	const char *state_dir = doctor->stack.place.state_dir;
	struct doctor_line lines[DOCTOR_HOST_LINES];
	struct host_limits limits;

	host_limits_read("", state_dir, &limits);
	doctor_host(&limits, state_dir, lines);
	for (size_t i = 0; i < DOCTOR_HOST_LINES; i++)
		say(doctor, lines[i].mark, lines[i].what, "%s", lines[i].text);
}

static int examine(struct doctor *doctor)
{
	check_root(doctor);
	check_host(doctor);
	check_kvm(doctor);
	check_cgroup(doctor);
	check_namespaces(doctor);
	check_devices(doctor);
	check_program(doctor, "QEMU", "qemu-system-x86_64 --version 2>/dev/null", "it is the VMM");
	check_guest(doctor);
	check_kafka(doctor);
	check_redis(doctor);
	(void)printf("\n%s\n", doctor->n_bad ? "Something is missing: see NO above." : "Tasks can run here.");
	return doctor->n_bad ? 1 : 0;
}

/* For health checks: does a worker take tasks? */
static int check_ready(struct doctor *doctor)
{
	check_kafka(doctor);
	check_redis(doctor);
	return doctor->n_bad || !doctor->has_worker;
}

static int main_doctor(struct target *target, int argc, char **argv)
{
	static const struct option own[] = { { "ready", no_argument, NULL, OPTION_READY },
					     { "group", required_argument, NULL, OPTION_GROUP },
					     { "worker", required_argument, NULL, OPTION_WORKER } };
	struct doctor doctor = { .target = target, .group = target->fleet.topic_prefix };
	struct command_options options;
	bool is_short = false;
	int code;

	command_options_init(&options, &cmd_doctor, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0) {
		is_short |= code == OPTION_READY;
		if (code == OPTION_GROUP)
			doctor.group = optarg;
		if (code == OPTION_WORKER)
			doctor.worker = optarg;
	}
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	if (optind < argc)
		return command_complain(&cmd_doctor, "'%s' is too much", argv[optind]);
	stack_init(&doctor.stack, target, 0);
	return is_short ? check_ready(&doctor) : examine(&doctor);
}

const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "what this host has and lacks, and what mode results",
	.usage =
		"usage: mayfly doctor [--ready] [--group NAME] [--worker NAME]\n\n"
		"Looks at memory, disk and limits, and says what a worker makes of them; at KVM (root boots a probe guest once per boot of\n"
		"the host), control groups, namespaces, QEMU, the guest's parts, Kafka and Redis. Exit status 1 when something is missing that tasks need.\n\n"
		"  --ready              only ask whether a worker takes tasks (exit status 0), for health checks\n"
		"  --group NAME         the workers' `group` (default: the prefix)\n"
		"  --worker NAME        this one, by its `worker` setting (default: any of the group)\n\n"
		"Without working KVM microVMs are emulated (TCG): that proves function, not isolation.\n",
	.run = main_doctor,
};
