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
	long log_starts[STACK_PART_COUNT]; /* bytes of the log that earlier runs wrote */
	struct daemon keeper;		   /* starts again what ends by itself: tools/keeper.h */
};

#define STACK_KAFKA_PORT 29092
#define STACK_REDIS_PORT 26379

/* The stack of target->state_dir. Its ports are those with which it was started. A new one gets `port_base` and the two
 * after it, or the usual ones where that is 0. */
void stack_init(struct stack *stack, const struct target *target, unsigned port_base);

/* Start what is not running, wait until it is ready, and leave a keeper. Shows progress. After an error the parts that
 * did start go on: stopping them is the caller's. */
int stack_start(struct stack *stack, struct err *err);

/* Start one part that is not running, without waiting until it is ready. The caller has the lock. */
int stack_spawn(struct stack *stack, enum stack_part part, struct err *err);

/* A descriptor that keeps others from starting parts until the caller closes it, or ERR_HOST; with !may_wait EWOULDBLOCK when
 * another has it. */
int stack_lock(const struct stack *stack, bool may_wait, struct err *err);

/* End everything, in order; then look whether anything of it is left. `is_all`: also remove what builds made. Complaints go to
 * stderr; answers whether nothing is left. */
bool stack_stop(struct stack *stack, bool is_all);

/* The folder below the state directory. */
void stack_path(const struct stack *stack, const char *name, char out[PATH_MAX]);
