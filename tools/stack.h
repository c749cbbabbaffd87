/* The private stack: Kafka, Redis, worker and reaper on loopback ports, everything below one state directory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tools/daemon.h"
#include "tools/target.h"

enum stack_part { STACK_PART_KAFKA, STACK_PART_REDIS, STACK_PART_WORKER, STACK_PART_REAPER, STACK_PART_COUNT };

struct stack {
	struct target target; /* brokers and Redis are the stack's own */
	struct host_place place;
	unsigned kafka_port, controller_port, redis_port;
	unsigned slots; /* 0: as many as there are processors, at least 2 */
	struct daemon parts[STACK_PART_COUNT];
};

#define STACK_KAFKA_PORT 29092
#define STACK_REDIS_PORT 26379

/* The stack of target->state_dir. Ports: as it was started, else `port_base` and the two after it, or with 0 the usual ones. */
void stack_init(struct stack *stack, const struct target *target, unsigned port_base);

/* Start what is not running and wait until it is ready, showing progress. Leaves what did start; the caller stops it. */
int stack_start(struct stack *stack, struct err *err);

/* End everything, in order; then look whether anything of it is left. `is_all`: also remove what builds made. Complaints go to
 * stderr; answers whether nothing is left. */
bool stack_stop(struct stack *stack, bool is_all);

/* The folder below the state directory. */
void stack_path(const struct stack *stack, const char *name, char out[PATH_MAX]);
