/* SIGTERM and SIGINT as an event of the loop. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "base/own.h"

struct signals;

/* `on_stop` runs for each SIGTERM and SIGINT. One per process: libevent keeps one signal pipe. */
int signals_new(struct event_base *base, void (*on_stop)(void *ctx), void *ctx, struct signals **ret, struct err *err);
/* At the end of a process: asking it again to stop, while it does, must not kill it. */
void signals_ignore_stop(void);

void signals_free(struct signals *signals); /* accepts NULL */

DEFINE_FREEP(struct signals, signals_free)
