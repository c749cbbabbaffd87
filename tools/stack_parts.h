/* What the files of the private stack share: stack.c (the order of things), stack_services.c (Kafka, Redis), stack_daemons.c
 * (worker, reaper) and stack_stop.c.
 *
 * A part is spawned, which does not wait, and then asked until it is ready. Under the lock only: `mayfly dev start` and the keeper
 * would start a part twice. */
#pragma once

#include "tools/screen.h"
#include "tools/stack.h"

typedef int (*stack_check_fn)(struct stack *stack, struct err *err); /* 0: it is so; else `err` says what is amiss */

struct stack_start {
	int (*spawn)(struct stack *stack, struct screen_step *step, struct err *err);
	stack_check_fn is_ready;
	unsigned ready_ms; /* longest that it may take */
};

extern const struct stack_start stack_start_kafka, stack_start_redis, stack_start_worker, stack_start_reaper;
extern const char *const stack_part_names[];

/* Looks until the check is content; the part must stay alive meanwhile. */
int stack_await(struct stack *stack, enum stack_part part, unsigned timeout_ms, stack_check_fn check, struct screen_step *step,
		struct err *err);

int stack_write_file(const char *path, const char *text, struct err *err);
