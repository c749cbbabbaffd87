/* The stack's Kafka and Redis: their settings, their start, and when they answer (tools/stack_parts.h). */
#include <stdio.h>

#include "base/own.h"
#include "tools/client.h"
#include "tools/leases_now.h"
#include "tools/stack_parts.h"

#define KAFKA_READY_MS	 90000
#define REDIS_READY_MS	 15000
#define ASK_MS		 300
#define JAVA_ARGS	 16
#define KAFKA_CLUSTER_ID "bWF5Zmx5LWRldi1zdGFjaw" /* any 16 bytes, base64: these say mayfly-dev-stack */

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
	return stack_write_file(path, text, err);
}

/* java, with what every run of Kafka's classes needs; `rest` is the class and its arguments. No file outside the state
 * directory: neither performance data nor unpacked libraries in /tmp. */
static int run_kafka(struct stack *stack, const char *const rest[], struct err *err)
{
	char classes[PATH_MAX + 32], temporary[PATH_MAX + 32], folder[PATH_MAX];
	const char *argv[JAVA_ARGS + 8] = { "java",
					    "-Xmx512m",
					    "-XX:+UseSerialGC",
					    "-XX:-UsePerfData",
					    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
					    temporary,
					    "-cp",
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
	const char *const rest[] = { "kafka.tools.StorageTool", "format", "-t", KAFKA_CLUSTER_ID, "-c", properties, NULL };
	int r;

	stack_path(stack, "kafka/server.properties", properties);
	stack_path(stack, "kafka/data/meta.properties", meta);
	if (access(meta, F_OK) == 0)
		return 0;
	r = run_kafka(stack, rest, err);
	if (r == 0)
		r = stack_await(stack, STACK_PART_KAFKA, KAFKA_READY_MS, is_formatted, step, err);
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
	const char *const rest[] = { "kafka.Kafka", properties, NULL };
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
	const char *const argv[] = { "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
				     "--dir", folder, "--daemonize", "no", "--maxmemory-policy", "noeviction", NULL };

	(void)step; /* it is there at once */
	stack_path(stack, "redis", folder);
	(void)snprintf(port, sizeof(port), "%u", stack->redis_port);
	return daemon_start(&stack->parts[STACK_PART_REDIS], argv, folder, err);
}

const struct stack_start stack_start_kafka = { spawn_kafka, is_kafka_ready, KAFKA_READY_MS };
const struct stack_start stack_start_redis = { spawn_redis, is_redis_ready, REDIS_READY_MS };
