/* Each part is looked at twice a second. It is alive; or it has ended, and is due to be started at a time. That time is a delay
 * away: the first one is a second, each further end doubles it, and a part that has lived for a minute begins again with the
 * first. A part is started under the stack's lock only: while `mayfly dev start` has that, nothing is due. The keeper itself ends
 * by SIGTERM, before `mayfly dev stop` ends the parts. */
#include "tools/keeper.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"

#define LOOK_MS	       500
#define DELAY_FIRST_MS 1000
#define DELAY_MAX_MS   30000
#define STEADY_MS      60000 /* who lived that long is started again without a longer delay */

struct care {
	uint64_t delay_ms;
	uint64_t due_mono_ms; /* of the next start; 0: it was alive when it was looked at last */
};

static void start_again(struct stack *stack, enum stack_part part, struct care *care)
{
	cleanup_fd int lock = -1;
	struct err err;

	lock = stack_lock(stack, false, &err);
	if (lock < 0)
		return; /* `mayfly dev start` is at it */
	if (daemon_find(&stack->parts[part], NULL))
		return;
	if (stack_spawn(stack, part, &err) < 0)
		log_error("keeper.start", "part=%s message=\"%s\"", stack->parts[part].name, err.msg);
	else
		log_warn("keeper.start", "part=%s message=\"it had ended, and is started again\"",
			 stack->parts[part].name);
	care->due_mono_ms = 0;
}

static void look_after(struct stack *stack, enum stack_part part, struct care *care)
{
	uint64_t now = clock_mono_ms(), age_ms = daemon_age_ms(&stack->parts[part]);

	if (age_ms >= STEADY_MS)
		care->delay_ms = 0;
	if (daemon_find(&stack->parts[part], NULL)) {
		care->due_mono_ms = 0;
		return;
	}
	if (care->due_mono_ms == 0) {
		care->delay_ms = care->delay_ms == 0 ? DELAY_FIRST_MS : care->delay_ms * 2;
		if (care->delay_ms > DELAY_MAX_MS)
			care->delay_ms = DELAY_MAX_MS;
		care->due_mono_ms = now + care->delay_ms;
		log_warn("keeper.ended", "part=%s again_in_ms=%llu", stack->parts[part].name,
			 (unsigned long long)care->delay_ms);
	}
	if (now >= care->due_mono_ms)
		start_again(stack, part, care);
}

int keeper_run(struct stack *stack)
{
	static const struct timespec look = { .tv_nsec = LOOK_MS * 1000000L };
	struct care cares[STACK_PART_COUNT] = { 0 };
	sigset_t ends;

	log_init("keeper", LOG_LEVEL_INFO);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &ends, NULL); /* cannot fail for a valid set */
	while (sigtimedwait(&ends, NULL, &look) < 0)
		for (int i = 0; i < STACK_PART_COUNT; i++)
			look_after(stack, (enum stack_part)i, &cares[i]);
	return 0;
}
