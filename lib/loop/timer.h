/* A one-shot timer in milliseconds, and the same at once ("soon"): after the callback that set it has returned,
 * before the loop waits again. Setting a timer that runs already moves it. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/own.h"

struct timer;

int timer_new(struct event_base *base, void (*fn)(void *ctx), void *ctx, struct timer **ret, struct err *err);
void timer_set_ms(struct timer *timer, uint64_t ms);
void timer_set_soon(struct timer *timer);
void timer_stop(struct timer *timer);
bool timer_is_set(const struct timer *timer);
void timer_free(struct timer *timer); /* accepts NULL */

DEFINE_FREEP(struct timer, timer_free)
