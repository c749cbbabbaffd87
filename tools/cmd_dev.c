/* `mayfly dev`: a private stack on this machine, for trying out and for development. */
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "tools/command.h"
#include "tools/keeper.h"
#include "tools/quantity.h"
#include "tools/screen.h"
#include "tools/stack.h"

enum { OPTION_PORT_BASE = 1, OPTION_SLOTS, OPTION_ALL };

#define PORT_BASE_MAX 65000

struct dev {
	uint64_t port_base, slots;
	bool is_all;
};

static int need_root(void)
{
	if (geteuid() == 0)
		return 0;
	(void)fprintf(stderr, "mayfly dev: microVMs and their disks are made by root; run it as root, or with sudo in front\n");
	return 1;
}

static void print_how(const struct stack *stack)
{
	const struct target *target = &stack->target;
	bool is_usual = stack->kafka_port == STACK_KAFKA_PORT && stack->redis_port == STACK_REDIS_PORT;

	(void)printf("Kafka %s, Redis %s:%u, state %s\n", target->fleet.brokers, target->fleet.redis.host, (unsigned)target->fleet.redis.port,
		     target->state_dir);
	if (!is_usual)
		(void)printf("export MAYFLY_BROKERS=%s MAYFLY_REDIS=%s:%u\n", target->fleet.brokers, target->fleet.redis.host,
			     (unsigned)target->fleet.redis.port);
	(void)printf("try: mayfly run -- echo hello\n");
}

static int start(struct stack *stack, const struct dev *dev)
{
	struct err err;

	if (need_root())
		return 1;
	if (dev->port_base && dev->port_base != stack->kafka_port) {
		(void)fprintf(
			stderr,
			"mayfly dev start: a stack runs here already, on ports %u, %u and %u; `mayfly dev stop` first, or choose "
			"another --state\n",
			stack->kafka_port, stack->controller_port, stack->redis_port);
		return 1;
	}
	if (stack_start(stack, &err) < 0) {
		(void)fprintf(stderr, "mayfly dev start: %s\nmayfly dev start: `mayfly dev stop` ends what did start\n",
			      err.msg);
		return 1;
	}
	print_how(stack);
	return 0;
}

static int stop(struct stack *stack, bool is_all)
{
	if (need_root() || !stack_stop(stack, is_all))
		return 1;
	(void)fprintf(
		stderr,
		is_all ? "nothing is left of it\n"
		       : "nothing is left but what builds made: images, kernel, jail, jars (--all removes these too)\n");
	return 0;
}

/* Answers whether it is running. */
static bool print_daemon(const struct daemon *daemon)
{
	pid_t pid = daemon_find(daemon, NULL);
	uint64_t seconds = daemon_age_ms(daemon) / 1000;

	(void)printf("%-8s %s%-8s%s", daemon->name, screen_code(stdout, pid ? SCREEN_GOOD : SCREEN_BAD),
		     pid ? "running" : "stopped", screen_code(stdout, SCREEN_PLAIN));
	if (pid)
		(void)printf(" pid %d, %llu:%02llu:%02llu", pid, (unsigned long long)seconds / 3600,
			     (unsigned long long)seconds / 60 % 60, (unsigned long long)seconds % 60);
	(void)printf("\n");
	return pid != 0;
}

static int status(const struct stack *stack)
{
	int n_missing = 0;

	for (int i = 0; i < STACK_PART_COUNT; i++)
		n_missing += !print_daemon(&stack->parts[i]);
	n_missing += !print_daemon(&stack->keeper);
	(void)printf("Kafka %s, Redis %s:%u, state %s\n", stack->target.fleet.brokers, stack->target.fleet.redis.host,
		     (unsigned)stack->target.fleet.redis.port, stack->target.state_dir);
	if (n_missing)
		(void)printf("start it with `mayfly dev start`\n");
	return n_missing ? 1 : 0;
}

static int take_option(struct dev *dev, int code, struct err *err)
{
	if (code == OPTION_PORT_BASE)
		return quantity_number("port-base", optarg, 1024, PORT_BASE_MAX, &dev->port_base, err);
	if (code == OPTION_SLOTS)
		return quantity_number("slots", optarg, 1, 1000, &dev->slots, err);
	dev->is_all = true;
	return 0;
}

/* Options may stand before and after the word. */
static int read_options(struct dev *dev, struct target *target, int argc, char **argv, const char **ret_word)
{
	static const struct option own[] = { { "port-base", required_argument, NULL, OPTION_PORT_BASE },
					     { "slots", required_argument, NULL, OPTION_SLOTS },
					     { "all", no_argument, NULL, OPTION_ALL } };
	struct command_options options;
	struct err err;
	int code;

	command_options_init(&options, &cmd_dev, target, argc, argv, own, ARRAY_SIZE(own));
	for (;;) {
		code = command_options_next(&options);
		if (code == COMMAND_OPTION_EXIT)
			return options.status;
		if (code >= 0 && take_option(dev, code, &err) < 0)
			return command_complain(&cmd_dev, "%s", err.msg);
		if (code >= 0)
			continue;
		if (optind >= argc)
			return *ret_word ? -1 : command_complain(&cmd_dev, "start, stop or status?");
		if (*ret_word)
			return command_complain(&cmd_dev, "'%s' is too much", argv[optind]);
		*ret_word = argv[optind++];
	}
}

static int main_dev(struct target *target, int argc, char **argv)
{
	struct dev dev = { 0 };
	const char *word = NULL;
	struct stack stack;
	int status_code = read_options(&dev, target, argc, argv, &word);

	if (status_code >= 0)
		return status_code;
	stack_init(&stack, target, (unsigned)dev.port_base);
	stack.slots = (unsigned)dev.slots;
	if (strcmp(word, "start") == 0)
		return start(&stack, &dev);
	if (strcmp(word, "stop") == 0)
		return stop(&stack, dev.is_all);
	if (strcmp(word, "status") == 0)
		return status(&stack);
	if (strcmp(word, "keep") == 0)
		return need_root() ? 1 : keeper_run(&stack);
	return command_complain(&cmd_dev, "'%s' is none of start, stop, status", word);
}

const struct command cmd_dev = {
	.name = "dev",
	.summary = "a private stack on this machine: start, stop, status",
	.usage =
		"usage: mayfly dev start [--port-base N] [--slots N]\n"
		"       mayfly dev stop [--all]\n"
		"       mayfly dev status\n\n"
		"Kafka, Redis, a worker and a reaper on loopback ports; everything they write is in the state directory. Needs\n"
		"root, because microVMs and their disks are made by root. A keeper (`mayfly dev keep`) stays with them and starts\n"
		"again what ends by itself; it says so in log/keeper.log. `stop` lets running tasks end, then removes everything\n"
		"but what builds made, and looks whether anything is left.\n\n"
		"  --port-base N        Kafka on N, its controller on N+1, Redis on N+2 (29092, 29093, 26379)\n"
		"  --slots N            tasks at a time (default: what the host's processors, memory and disk allow)\n"
		"  --all                also remove images, kernel, jail and Kafka's jars\n",
	.run = main_dev,
};
