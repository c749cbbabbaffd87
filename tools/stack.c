#include "tools/stack.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/ident.h"
#include "base/own.h"
#include "tools/client.h"
#include "tools/leases_now.h"
#include "tools/screen.h"

#define KAFKA_READY_MS	 90000
#define ASK_MS		 300
#define MIB		 (1024ull * 1024)
#define DISK_MAX_MIB	 (1024ull * 1024)
#define KAFKA_CLUSTER_ID "bWF5Zmx5LWRldi1zdGFjaw" /* any 16 bytes, base64: these say mayfly-dev-stack */

static const char *const part_names[] = { "kafka", "redis", "worker", "reaper" };
static_assert(ARRAY_SIZE(part_names) == STACK_PART_COUNT, "a name for every stack_part");

void stack_path(const struct stack *stack, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%s/%s", stack->place.state_dir, name);
}

/* Names of control groups must differ between stacks on one machine. */
static void name_host(struct host_place *place)
{
	(void)snprintf(place->host, sizeof(place->host), "dev-%08x", (uint32_t)ident_hash(place->state_dir, 0));
}

static bool read_ports(struct stack *stack)
{
	char path[PATH_MAX];
	cleanup_file FILE *file = NULL;

	stack_path(stack, "run/ports", path);
	file = fopen(path, "re");
	return file && fscanf(file, "%u %u %u", &stack->kafka_port, &stack->controller_port, &stack->redis_port) == 3;
}

static bool is_any_running(const struct stack *stack)
{
	for (int i = 0; i < STACK_PART_COUNT; i++)
		if (daemon_find(&stack->parts[i], NULL))
			return true;
	return false;
}

void stack_init(struct stack *stack, const struct target *target, unsigned port_base)
{
	struct fleet_settings *fleet = &stack->target.fleet;

	*stack = (struct stack){ .target = *target };
	memcpy(stack->place.state_dir, target->state_dir, sizeof(target->state_dir));
	name_host(&stack->place);
	for (int i = 0; i < STACK_PART_COUNT; i++)
		stack->parts[i] = (struct daemon){ .name = part_names[i], .state_dir = stack->place.state_dir };
	stack->keeper = (struct daemon){ .name = "keeper", .state_dir = stack->place.state_dir };
	if (!read_ports(stack) || (port_base && !is_any_running(stack))) {
		stack->kafka_port = port_base ? port_base : STACK_KAFKA_PORT;
		stack->controller_port = stack->kafka_port + 1;
		stack->redis_port = port_base ? port_base + 2 : STACK_REDIS_PORT;
	}
	(void)snprintf(fleet->brokers, sizeof(fleet->brokers), "127.0.0.1:%u", stack->kafka_port);
	fleet->redis = (struct redis_settings){ .host = "127.0.0.1", .port = stack->redis_port }; /* its own have no password */
	fleet->kafka.n = 0;
	fleet->kafka_config_file[0] = '\0';
}

static int write_ports(const struct stack *stack, struct err *err)
{
	char path[PATH_MAX];
	cleanup_file FILE *file = NULL;

	stack_path(stack, "run/ports", path);
	file = fopen(path, "we");
	if (!file || fprintf(file, "%u %u %u\n", stack->kafka_port, stack->controller_port, stack->redis_port) < 0 ||
	    fflush(file) != 0)
		return err_set(err, ERR_HOST, errno, "write '%s'", path);
	return 0;
}

static int make_folders(const struct stack *stack, struct err *err)
{
	static const char *const names[] = { "", "run", "log", "scratch", "images", "kafka", "kafka/tmp", "redis" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[PATH_MAX];

		stack_path(stack, names[i], path);
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_set(err, ERR_HOST, errno, "make '%s'; choose another place with --state", path);
	}
	return 0;
}

static int check_port(unsigned port, const char *whose, struct err *err)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons((uint16_t)port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
		return err_set(err, ERR_HOST, errno, "a socket");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	return err_set(err, ERR_HOST, errno,
		       "port %u for %s is taken by another program; end it, or choose ports with --port-base N", port,
		       whose);
}

/* All ports of what does not run yet, before anything of it is started or written. */
static int check_ports(const struct stack *stack, struct err *err)
{
	int r = 0;

	if (!daemon_find(&stack->parts[STACK_PART_KAFKA], NULL)) {
		r = check_port(stack->kafka_port, "Kafka", err);
		if (r == 0)
			r = check_port(stack->controller_port, "Kafka's controller", err);
	}
	if (r == 0 && !daemon_find(&stack->parts[STACK_PART_REDIS], NULL))
		r = check_port(stack->redis_port, "Redis", err);
	return r;
}

typedef int (*check_fn)(struct stack *stack, struct err *err);

/* A check that looks until it is content; the part must stay alive meanwhile. */
static int await(struct stack *stack, enum stack_part part, unsigned timeout_ms, check_fn check,
		 struct screen_step *step, struct err *err)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	const struct daemon *daemon = &stack->parts[part];
	struct err why = { 0 };

	while (check(stack, &why) < 0) {
		screen_step_tick(step);
		if (!daemon_find(daemon, NULL)) {
			daemon_show_log(daemon);
			return err_set(err, ERR_HOST, 0, "%s ended at once; its log is above", daemon->name);
		}
		if (clock_mono_ms() >= deadline) {
			daemon_show_log(daemon);
			return err_set(err, ERR_HOST, 0, "%s was not ready in %u s: %.100s", daemon->name,
				       timeout_ms / 1000, why.msg);
		}
		(void)usleep(50 * 1000);
	}
	return 0;
}

static int write_file(const char *path, const char *text, struct err *err)
{
	cleanup_file FILE *file = fopen(path, "we");

	if (!file || fputs(text, file) < 0 || fflush(file) != 0)
		return err_set(err, ERR_HOST, errno, "write '%s'", path);
	return 0;
}

static int write_kafka_properties(const struct stack *stack, struct err *err)
{
	char path[PATH_MAX], text[4 * PATH_MAX];

	stack_path(stack, "kafka/server.properties", path);
	(void)snprintf(
		text, sizeof(text),
		"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:%u\n"
		"listeners=PLAINTEXT://127.0.0.1:%u,CONTROLLER://127.0.0.1:%u\n"
		"advertised.listeners=PLAINTEXT://127.0.0.1:%u\ncontroller.listener.names=CONTROLLER\n"
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\nlog.dirs=%s/kafka/data\n"
		"num.partitions=4\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n"
		"transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
		"transaction.state.log.num.partitions=4\ngroup.initial.rebalance.delay.ms=0\n"
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n",
		stack->controller_port, stack->kafka_port, stack->controller_port, stack->kafka_port,
		stack->place.state_dir);
	return write_file(path, text, err);
}

#define JAVA_ARGS 16

/* java, with what every run of Kafka's classes needs; `rest` is the class and its arguments. No file outside the state
 * directory: neither performance data nor unpacked libraries in /tmp. */
static int run_kafka(struct stack *stack, char *const rest[], struct err *err)
{
	char classes[PATH_MAX + 32], temporary[PATH_MAX + 32], folder[PATH_MAX];
	char *argv[JAVA_ARGS + 8] = { (char *)(uintptr_t) "java",
				      (char *)(uintptr_t) "-Xmx512m",
				      (char *)(uintptr_t) "-XX:+UseSerialGC",
				      (char *)(uintptr_t) "-XX:-UsePerfData",
				      (char *)(uintptr_t) "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
				      temporary,
				      (char *)(uintptr_t) "-cp",
				      classes };
	size_t n = 8;

	stack_path(stack, "kafka", folder);
	(void)snprintf(classes, sizeof(classes), "%s/libs/*", folder);
	(void)snprintf(temporary, sizeof(temporary), "-Djava.io.tmpdir=%s/tmp", folder);
	for (; *rest && n < JAVA_ARGS; rest++)
		argv[n++] = *rest;
	return daemon_start(&stack->parts[STACK_PART_KAFKA], argv, folder, err);
}

static int check_kafka_parts(const struct stack *stack, struct err *err)
{
	char libs[PATH_MAX];

	stack_path(stack, "kafka/libs", libs);
	if (access(libs, R_OK) < 0)
		return err_set(err, ERR_HOST, errno, "Kafka's jars are not in '%s'; bring them with tools/kafka/fetch",
			       libs);
	return 0;
}

static int is_formatted(struct stack *stack, struct err *err)
{
	if (!daemon_find(&stack->parts[STACK_PART_KAFKA], NULL))
		return 0;
	return err_set(err, ERR_HOST, EBUSY, "Kafka's storage is being formatted");
}

static int format_kafka(struct stack *stack, struct screen_step *step, struct err *err)
{
	char meta[PATH_MAX], properties[PATH_MAX];
	char *const rest[] = { (char *)(uintptr_t) "kafka.tools.StorageTool",
			       (char *)(uintptr_t) "format",
			       (char *)(uintptr_t) "-t",
			       (char *)(uintptr_t)KAFKA_CLUSTER_ID,
			       (char *)(uintptr_t) "-c",
			       properties,
			       NULL };
	int r;

	stack_path(stack, "kafka/server.properties", properties);
	stack_path(stack, "kafka/data/meta.properties", meta);
	if (access(meta, F_OK) == 0)
		return 0;
	r = run_kafka(stack, rest, err);
	if (r == 0)
		r = await(stack, STACK_PART_KAFKA, KAFKA_READY_MS, is_formatted, step, err);
	if (r == 0 && access(meta, F_OK) < 0) {
		daemon_show_log(&stack->parts[STACK_PART_KAFKA]);
		return err_set(err, ERR_HOST, 0, "Kafka's storage could not be formatted; its log is above");
	}
	return r;
}

static int is_kafka_ready(struct stack *stack, struct err *err)
{
	cleanup_(client_freep) struct client *client = NULL;
	int r = client_new(&stack->target, NULL, NULL, &client, err);

	return r < 0 ? r : client_probe(client, ASK_MS, err);
}

static int spawn_kafka(struct stack *stack, struct screen_step *step, struct err *err)
{
	char properties[PATH_MAX];
	char *const rest[] = { (char *)(uintptr_t) "kafka.Kafka", properties, NULL };
	int r = check_kafka_parts(stack, err);

	stack_path(stack, "kafka/server.properties", properties);
	if (r == 0)
		r = write_kafka_properties(stack, err);
	if (r == 0)
		r = format_kafka(stack, step, err);
	return r < 0 ? r : run_kafka(stack, rest, err);
}

static int is_redis_ready(struct stack *stack, struct err *err)
{
	bool is_evicting;

	return leases_now_probe(&stack->target, &is_evicting, err);
}

static int spawn_redis(struct stack *stack, struct screen_step *step, struct err *err)
{
	char folder[PATH_MAX], port[16];
	const char *const argv[] = {
		"redis-server", "--bind", "127.0.0.1", "--port", port,		"--save", "",
		"--appendonly", "no",	  "--dir",     folder,	 "--daemonize", "no",	  "--maxmemory-policy",
		"noeviction",	NULL
	};

	(void)step; /* it is there at once */
	stack_path(stack, "redis", folder);
	(void)snprintf(port, sizeof(port), "%u", stack->redis_port);
	return daemon_start(&stack->parts[STACK_PART_REDIS], (char *const *)(uintptr_t)argv, folder, err);
}

/* What both daemons are told alike. */
static int write_common(const struct stack *stack, char *out, size_t size, struct err *err)
{
	char libexec[PATH_MAX];
	int r = target_libexec(libexec, err);

	if (r == 0)
		(void)snprintf(
			out, size,
			"# written by mayfly dev start\nbrokers = %s\ntopic_prefix = %s\ngroup = %s\nredis_host = 127.0.0.1\n"
			"redis_port = %u\nhost = %s\nstate_dir = %s\nlibexec_dir = %s\n",
			stack->target.fleet.brokers, stack->target.fleet.topic_prefix, stack->target.fleet.topic_prefix, stack->redis_port,
			stack->place.host, stack->place.state_dir, libexec);
	return r;
}

static uint64_t usable_memory_mib(void)
{
	struct sysinfo info;

	/* Three quarters: Kafka, the page cache and the host itself want some. */
	return sysinfo(&info) < 0 ? 1024 : (uint64_t)info.totalram * info.mem_unit / MIB / 4 * 3;
}

static uint64_t usable_disk_mib(const struct stack *stack)
{
	struct statvfs st;
	uint64_t mib =
		statvfs(stack->place.state_dir, &st) < 0 ? 1024 : (uint64_t)st.f_bavail * st.f_frsize / MIB / 4 * 3;

	return mib < DISK_MAX_MIB ? mib : DISK_MAX_MIB;
}

static int write_worker_conf(const struct stack *stack, struct err *err)
{
	char path[PATH_MAX], common[4 * PATH_MAX], text[5 * PATH_MAX];
	unsigned cpus = (unsigned)get_nprocs();
	int r = write_common(stack, common, sizeof(common), err);

	if (r < 0)
		return r;
	stack_path(stack, "worker.conf", path);
	(void)snprintf(
		text, sizeof(text),
		"%sworker = %s\nslots = %u\nmemory_mib = %llu\ndisk_mib = %llu\npartitions = 4\nallow_emulation = yes\n",
		common, stack->place.host,
		stack->slots ? stack->slots
		: cpus < 2   ? 2
			     : cpus,
		(unsigned long long)usable_memory_mib(), (unsigned long long)usable_disk_mib(stack));
	return write_file(path, text, err);
}

static int write_reaper_conf(const struct stack *stack, struct err *err)
{
	char path[PATH_MAX], common[4 * PATH_MAX];
	int r = write_common(stack, common, sizeof(common), err);

	stack_path(stack, "reaper.conf", path);
	return r < 0 ? r : write_file(path, common, err);
}

/* Does the log hold the word, after what earlier runs wrote? */
static int log_has(const struct stack *stack, enum stack_part part, const char *word, struct err *err)
{
	char path[PATH_MAX], line[2048];
	cleanup_file FILE *file = NULL;

	daemon_log_path(&stack->parts[part], path);
	file = fopen(path, "re");
	if (file && fseek(file, stack->log_starts[part], SEEK_SET) == 0)
		while (fgets(line, sizeof(line), file))
			if (strstr(line, word))
				return 0;
	return err_set(err, ERR_HOST, 0, "'%s' does not say '%s' yet", path, word);
}

static int is_worker_ready(struct stack *stack, struct err *err)
{
	return log_has(stack, STACK_PART_WORKER, " intake.assigned ", err);
}

static int is_reaper_ready(struct stack *stack, struct err *err)
{
	return log_has(stack, STACK_PART_REAPER, " reaper.start ", err);
}

static int start_daemon(struct stack *stack, enum stack_part part, struct err *err)
{
	char program[PATH_MAX], name[32], conf[PATH_MAX], conf_name[32], log[PATH_MAX];
	char *const argv[] = { program, (char *)(uintptr_t) "--config", conf, NULL };
	struct stat st;
	int r;

	(void)snprintf(name, sizeof(name), "mayfly-%s", part_names[part]);
	(void)snprintf(conf_name, sizeof(conf_name), "%s.conf", part_names[part]);
	stack_path(stack, conf_name, conf);
	daemon_log_path(&stack->parts[part], log);
	stack->log_starts[part] = stat(log, &st) < 0 ? 0 : st.st_size;
	r = target_program(part_names[part], name, program, err);
	return r < 0 ? r : daemon_start(&stack->parts[part], argv, stack->place.state_dir, err);
}

static int check_guest(const struct stack *stack, struct err *err)
{
	static const char *const parts[] = { "kernel/vmlinux", "kernel/initrd.cpio", "jail/manifest.json" };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		char path[PATH_MAX];

		stack_path(stack, parts[i], path);
		if (access(path, R_OK) < 0)
			return err_set(
				err, ERR_HOST, errno,
				"'%s': build the guest with tools/image/build-kernel, build-image and build-jail-root, or run "
				"tools/quickstart",
				path);
	}
	return 0;
}

static int spawn_worker(struct stack *stack, struct screen_step *step, struct err *err)
{
	int r = check_guest(stack, err);

	(void)step; /* it is there at once */
	if (r == 0)
		r = write_worker_conf(stack, err);
	return r < 0 ? r : start_daemon(stack, STACK_PART_WORKER, err);
}

static int spawn_reaper(struct stack *stack, struct screen_step *step, struct err *err)
{
	int r = write_reaper_conf(stack, err);

	(void)step;
	return r < 0 ? r : start_daemon(stack, STACK_PART_REAPER, err);
}

static const struct {
	int (*spawn)(struct stack *stack, struct screen_step *step, struct err *err);
	check_fn is_ready;
	unsigned ready_ms;
} starts[] = {
	[STACK_PART_KAFKA] = { spawn_kafka, is_kafka_ready, KAFKA_READY_MS },
	[STACK_PART_REDIS] = { spawn_redis, is_redis_ready, 15000 },
	[STACK_PART_WORKER] = { spawn_worker, is_worker_ready, 90000 }, /* it may probe KVM and make blank disks first */
	[STACK_PART_REAPER] = { spawn_reaper, is_reaper_ready, 30000 },
};
static_assert(ARRAY_SIZE(starts) == STACK_PART_COUNT, "a start for every stack_part");

int stack_spawn(struct stack *stack, enum stack_part part, struct err *err)
{
	struct screen_step step;

	screen_step_begin(&step, part_names[part]);
	return starts[part].spawn(stack, &step, err);
}

static int start_part(struct stack *stack, enum stack_part part, struct err *err)
{
	struct screen_step step;
	char what[64];
	int r;

	if (daemon_find(&stack->parts[part], NULL)) {
		(void)fprintf(stderr, "· %s is running already%s\n", part_names[part],
			      part == STACK_PART_WORKER && stack->slots ? "; --slots counts when it starts: `mayfly dev stop` first" :
									  "");
		return 0;
	}
	(void)snprintf(what, sizeof(what), "starting %s", part_names[part]);
	screen_step_begin(&step, what);
	r = starts[part].spawn(stack, &step, err);
	if (r == 0)
		r = await(stack, part, starts[part].ready_ms, starts[part].is_ready, &step, err);
	(void)snprintf(what, sizeof(what), "%s %s", part_names[part], r < 0 ? "did not start" : "is ready");
	screen_step_end(&step, what, r == 0);
	return r;
}

static int start_keeper(const struct stack *stack, struct err *err)
{
	char program[PATH_MAX], state[PATH_MAX], slots[16];
	char *argv[] = { program, (char *)(uintptr_t) "dev",	 (char *)(uintptr_t) "keep",
			 (char *)(uintptr_t) "--state", state, (char *)(uintptr_t) "--slots",
			 slots,	  NULL };
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

	if (daemon_find(&stack->keeper, NULL))
		return 0;
	if (n <= 0)
		return err_set(err, ERR_HOST, errno, "find this program, to leave a keeper of the stack");
	program[n] = '\0';
	(void)snprintf(state, sizeof(state), "%s", stack->place.state_dir);
	(void)snprintf(slots, sizeof(slots), "%u", stack->slots);
	if (stack->slots == 0)
		argv[5] = NULL; /* the usual number of slots needs no words */
	return daemon_start(&stack->keeper, argv, stack->place.state_dir, err);
}

int stack_lock(const struct stack *stack, bool may_wait, struct err *err)
{
	char path[PATH_MAX];
	cleanup_fd int fd = -1;

	stack_path(stack, "run/lock", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | (may_wait ? 0 : LOCK_NB)) < 0)
		return err_set(err, ERR_HOST, errno, "lock '%s'", path);
	return take_fd(&fd);
}

int stack_start(struct stack *stack, struct err *err)
{
	cleanup_fd int lock = -1;
	int r = make_folders(stack, err);

	if (r == 0)
		r = lock = stack_lock(stack, true, err);
	if (r >= 0)
		r = check_ports(stack, err);
	if (r == 0)
		r = write_ports(stack, err);
	for (int i = 0; i < STACK_PART_COUNT && r == 0; i++)
		r = start_part(stack, (enum stack_part)i, err);
	return r < 0 ? r : start_keeper(stack, err);
}
