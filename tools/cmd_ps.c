/* `mayfly ps`: who holds which task now. Leases only: what waits in Kafka has none. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/own.h"
#include "bus/lease_keys.h"
#include "tools/command.h"
#include "tools/leases_now.h"
#include "tools/screen.h"

#define LINE_FORMAT "%-36s  %s%-8s%s %7s %9s %9s  %-36s  %-20s %s\n"

enum { OPTION_JSON = 1 };

/* "-": never. */
static void seconds_text(uint64_t then_ms, uint64_t now_ms, char out[24])
{
	int64_t ms = (int64_t)(then_ms - now_ms);

	if (then_ms == LEASE_NEVER_MS)
		(void)snprintf(out, 24, "-");
	else
		(void)snprintf(out, 24, "%s%lld.%lld s", ms < 0 ? "-" : "", llabs(ms) / 1000, llabs(ms) % 1000 / 100);
}

static void print_line(const struct reap_lease *lease, uint64_t now_ms)
{
	char due[24], ttl[24], attempt[16];

	seconds_text(lease->due_ms, now_ms, due);
	seconds_text(lease->expires_ms, now_ms, ttl);
	(void)snprintf(attempt, sizeof(attempt), "%u", lease->attempt);
	(void)printf(LINE_FORMAT, lease->id,
		     screen_code(stdout, lease->state == REAP_STATE_RUNNING ? SCREEN_GOOD : SCREEN_WARN),
		     reap_state_name(lease->state), screen_code(stdout, SCREEN_PLAIN), attempt, due, ttl, lease->vm_id,
		     lease->host, lease->owner);
}

static void print_table(const struct leases_now *now)
{
	(void)printf(LINE_FORMAT, "TASK", screen_code(stdout, SCREEN_BOLD), "STATE", screen_code(stdout, SCREEN_PLAIN),
		     "ATTEMPT", "LEASE", "TTL", "VM", "HOST", "HELD BY");
	for (size_t i = 0; i < now->n; i++)
		print_line(&now->leases[i], now->now_ms);
	if (!now->n)
		(void)printf("%s(no task is running)%s\n", screen_code(stdout, SCREEN_FAINT),
			     screen_code(stdout, SCREEN_PLAIN));
}

/* null: never. */
static json_t *left_json(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms == LEASE_NEVER_MS ? json_null() : json_integer((json_int_t)(then_ms - now_ms));
}

static int print_json(const struct leases_now *now)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct reap_lease *lease = &now->leases[i];
		json_auto_t *object = json_pack("{ss ss ss sI si ss so so ss si sI ss ss}", "id", lease->id, "state",
					   reap_state_name(lease->state), "owner", lease->owner, "token",
					   (json_int_t)lease->token, "attempt", (int)lease->attempt, "host",
					   lease->host, "lease_ms", left_json(lease->due_ms, now->now_ms), "ttl_ms",
					   left_json(lease->expires_ms, now->now_ms), "topic", lease->topic,
					   "partition", (int)lease->partition, "offset", (json_int_t)lease->offset, "vm_id",
					   lease->vm_id, "tenant", lease->tenant);
		cleanup_free char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;

		if (!line || puts(line) < 0)
			return 1;
	}
	return 0;
}

static int read_options(struct target *target, int argc, char **argv, bool *ret_is_json)
{
	static const struct option own[] = { { "json", no_argument, NULL, OPTION_JSON } };
	struct command_options options;
	int code;

	command_options_init(&options, &cmd_ps, target, argc, argv, own, ARRAY_SIZE(own));
	while ((code = command_options_next(&options)) >= 0)
		*ret_is_json = true;
	if (code == COMMAND_OPTION_EXIT)
		return options.status;
	return optind == argc ? -1 : command_complain(&cmd_ps, "'%s' is too much", argv[optind]);
}

static int main_ps(struct target *target, int argc, char **argv)
{
	cleanup_(leases_now_clear) struct leases_now now = { .n = 0 };
	bool is_json = false;
	struct err err;
	int status = read_options(target, argc, argv, &is_json);

	if (status >= 0)
		return status;
	if (leases_now_read(target, &now, &err) < 0)
		return command_fail(&cmd_ps, &err, 1);
	if (is_json)
		status = print_json(&now);
	else
		print_table(&now);
	if (now.n_bad)
		(void)fprintf(stderr,
			      "mayfly ps: %zu of the leases in Redis are none of ours and not shown: look at members of "
			      "%s:{mayfly}:deadlines\n",
			      now.n_bad, target->fleet.topic_prefix);
	return status > 0 || !command_flush("mayfly ps");
}

const struct command cmd_ps = {
	.name = "ps",
	.summary = "tasks that run now, and those whose worker was lost",
	.usage =
		"usage: mayfly ps [--json]\n\n"
		"One line per lease in Redis: state (running; reaping, orphan, ended, told: its worker was lost, see\n"
		"schemas/lease.md), attempt, time until the lease ends if it is not renewed, what is left of the life of its\n"
		"workspace (--ttl), the name of its VM on the host, host, holder; \"-\" where there is none, or no\n"
		"such time runs: an orphan waits in the queue, and its VM is gone.\n"
		"Tasks that still wait in Kafka have no lease and are not listed.\n",
	.run = main_ps,
};
