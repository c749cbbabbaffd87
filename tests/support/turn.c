#include "tests/support/turn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loop/timer.h"

#define PATIENCE_MS 20000 /* for anything that must happen: a loaded machine under sanitizers */
#define TICK_MS     20

static void on_tick(void *ctx)
{
	(void)ctx;
}

static void on_late(void *ctx)
{
	(void)ctx;
	fail_msg("what the test waits for did not happen");
}

void turn_until(struct event_base *base, bool (*is_done)(const void *ctx), const void *ctx)
{
	struct timer *late, *tick;
	struct err err;

	assert_int_equal(timer_new(base, on_late, NULL, &late, &err), 0);
	assert_int_equal(timer_new(base, on_tick, NULL, &tick, &err), 0);
	timer_set_ms(late, PATIENCE_MS);
	while (!is_done(ctx)) {
		timer_set_ms(tick, TICK_MS);
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	}
	timer_free(tick);
	timer_free(late);
}
