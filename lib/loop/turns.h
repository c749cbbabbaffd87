/* Turns: what an object does in a turn of its own, when the callback that asked for it has returned and before the loop waits again.
 * In the order of asking; what is asked for meanwhile comes behind the loop's other events.
 *
 * All of a loop share one event: with an event each, thousands of short-lived objects would cost more than what they do in it. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/err.h"

struct turns;

/* Part of the object. */
struct turn {
	TAILQ_ENTRY(turn) link; /* while it is asked for */
	struct turns *turns;
	bool is_asked;
	void (*fn)(void *ctx);
	void *ctx;
};

int turns_new(struct event_base *base, struct turns **ret, struct err *err);
void turns_free(struct turns *turns); /* accepts NULL; outlives all its turns */

void turn_init(struct turn *turn, struct turns *turns, void (*fn)(void *ctx), void *ctx);
void turn_ask(struct turn *turn); /* once, however often */
void turn_cancel(struct turn *turn); /* before the object is freed */
