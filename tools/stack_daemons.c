/* The stack's worker and reaper: their settings, their start, and when their logs say that they work (tools/stack_parts.h). */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/own.h"
#include "tools/stack_parts.h"

#define WORKER_READY_MS 90000 /* it may probe KVM and make blank disks first */
#define REAPER_READY_MS 30000

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

/* Slots, memory and disk are the worker's to choose, unless somebody said how many. */
static int write_worker_conf(const struct stack *stack, struct err *err)
{
	char path[PATH_MAX], common[4 * PATH_MAX], text[5 * PATH_MAX], slots[32] = "auto";
	int r = write_common(stack, common, sizeof(common), err);

	if (r < 0)
		return r;
	stack_path(stack, "worker.conf", path);
	if (stack->slots)
		(void)snprintf(slots, sizeof(slots), "%u", stack->slots);
	(void)snprintf(text, sizeof(text), "%sworker = %s\nslots = %s\npartitions = 4\nallow_emulation = yes\n", common,
		       stack->place.host, slots);
	return stack_write_file(path, text, err);
}

static int write_reaper_conf(const struct stack *stack, struct err *err)
{
	char path[PATH_MAX], common[4 * PATH_MAX];
	int r = write_common(stack, common, sizeof(common), err);

	stack_path(stack, "reaper.conf", path);
	return r < 0 ? r : stack_write_file(path, common, err);
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
	const char *const argv[] = { program, "--config", conf, NULL };
	struct stat st;
	int r;

	(void)snprintf(name, sizeof(name), "mayfly-%s", stack_part_names[part]);
	(void)snprintf(conf_name, sizeof(conf_name), "%s.conf", stack_part_names[part]);
	stack_path(stack, conf_name, conf);
	daemon_log_path(&stack->parts[part], log);
	stack->log_starts[part] = stat(log, &st) < 0 ? 0 : st.st_size;
	r = target_program(stack_part_names[part], name, program, err);
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

const struct stack_start stack_start_worker = { spawn_worker, is_worker_ready, WORKER_READY_MS };
const struct stack_start stack_start_reaper = { spawn_reaper, is_reaper_ready, REAPER_READY_MS };
