#include "loop/timer.h"

#include <assert.h>

struct timer {
	struct event *event;
	void (*fn)(void *ctx);
	void *ctx;
};

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct timer *timer = ctx;

	(void)fd;
	(void)what;
	timer->fn(timer->ctx);
}

int timer_new(struct event_base *base, void (*fn)(void *ctx), void *ctx, struct timer **ret, struct err *err)
{
	cleanup_(timer_freep) struct timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return err_set(err, ERR_HOST, ENOMEM, "make a timer");
	timer->fn = fn;
	timer->ctx = ctx;
	timer->event = event_new(base, -1, 0, on_timer, timer);
	if (!timer->event)
		return err_set(err, ERR_HOST, ENOMEM, "make a timer");
	*ret = TAKE_PTR(timer);
	return 0;
}

void timer_set_ms(struct timer *timer, uint64_t ms)
{
	struct timeval wait = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
	int r = event_add(timer->event, &wait);

	assert(r == 0); /* fails only for want of memory in the loop's own heap, which leaves nothing to go on with */
}

void timer_set_soon(struct timer *timer)
{
	event_active(timer->event, EV_TIMEOUT, 0);
}

void timer_stop(struct timer *timer)
{
	(void)event_del(timer->event); /* fails only for an event that was never made */
}

bool timer_is_set(const struct timer *timer)
{
	return event_pending(timer->event, EV_TIMEOUT, NULL);
}

void timer_free(struct timer *timer)
{
	if (!timer)
		return;
	if (timer->event)
		event_free(timer->event);
	free(timer);
}
