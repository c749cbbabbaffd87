#include "tools/stack_parts.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/ident.h"
#include "base/own.h"
#include "tools/screen.h"

const char *const stack_part_names[] = { "kafka", "redis", "worker", "reaper" };
static_assert(ARRAY_SIZE(stack_part_names) == STACK_PART_COUNT, "a name for every stack_part");

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
		stack->parts[i] = (struct daemon){ .name = stack_part_names[i], .state_dir = stack->place.state_dir };
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

int stack_await(struct stack *stack, enum stack_part part, unsigned timeout_ms, stack_check_fn check,
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

int stack_write_file(const char *path, const char *text, struct err *err)
{
	cleanup_file FILE *file = fopen(path, "we");

	if (!file || fputs(text, file) < 0 || fflush(file) != 0)
		return err_set(err, ERR_HOST, errno, "write '%s'", path);
	return 0;
}

static const struct stack_start *const starts[] = {
	[STACK_PART_KAFKA] = &stack_start_kafka,
	[STACK_PART_REDIS] = &stack_start_redis,
	[STACK_PART_WORKER] = &stack_start_worker,
	[STACK_PART_REAPER] = &stack_start_reaper,
};
static_assert(ARRAY_SIZE(starts) == STACK_PART_COUNT, "a start for every stack_part");

int stack_spawn(struct stack *stack, enum stack_part part, struct err *err)
{
	struct screen_step step;

	screen_step_begin(&step, stack_part_names[part]);
	return starts[part]->spawn(stack, &step, err);
}

static int start_part(struct stack *stack, enum stack_part part, struct err *err)
{
	struct screen_step step;
	char what[64];
	int r;

	if (daemon_find(&stack->parts[part], NULL)) {
		(void)fprintf(stderr, "· %s is running already%s\n", stack_part_names[part],
			      part == STACK_PART_WORKER && stack->slots ? "; --slots counts when it starts: `mayfly dev stop` first" :
									  "");
		return 0;
	}
	(void)snprintf(what, sizeof(what), "starting %s", stack_part_names[part]);
	screen_step_begin(&step, what);
	r = starts[part]->spawn(stack, &step, err);
	if (r == 0)
		r = stack_await(stack, part, starts[part]->ready_ms, starts[part]->is_ready, &step, err);
	(void)snprintf(what, sizeof(what), "%s %s", stack_part_names[part], r < 0 ? "did not start" : "is ready");
	screen_step_end(&step, what, r == 0);
	return r;
}

static int start_keeper(const struct stack *stack, struct err *err)
{
	char program[PATH_MAX], state[PATH_MAX], slots[16];
	const char *argv[] = { program, "dev", "keep", "--state", state, "--slots", slots, NULL };
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
