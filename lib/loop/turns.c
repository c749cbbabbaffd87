#include "loop/turns.h"

#include <stdlib.h>

#include "base/own.h"

TAILQ_HEAD(turn_list, turn);

struct turns {
	struct event *event;
	size_t n;
	struct turn_list asked;
};

static void on_turns(evutil_socket_t fd, short what, void *arg)
{
	struct turns *turns = arg;
	struct turn *turn;

	(void)fd, (void)what;
	for (size_t left = turns->n; left && (turn = TAILQ_FIRST(&turns->asked)); left--) {
		turn_cancel(turn);
		turn->fn(turn->ctx); /* it may be freed in here */
	}
	if (turns->n)
		event_active(turns->event, EV_TIMEOUT, 0);
}

void turn_init(struct turn *turn, struct turns *turns, void (*fn)(void *ctx), void *ctx)
{
	*turn = (struct turn){ .turns = turns, .fn = fn, .ctx = ctx };
}

void turn_ask(struct turn *turn)
{
	struct turns *turns = turn->turns;

	if (turn->is_asked)
		return;
	turn->is_asked = true;
	TAILQ_INSERT_TAIL(&turns->asked, turn, link);
	if (turns->n++ == 0)
		event_active(turns->event, EV_TIMEOUT, 0);
}

void turn_cancel(struct turn *turn)
{
	if (!turn->is_asked)
		return;
	turn->is_asked = false;
	TAILQ_REMOVE(&turn->turns->asked, turn, link);
	turn->turns->n--;
}

DEFINE_FREEP(struct turns, turns_free)

int turns_new(struct event_base *base, struct turns **ret, struct err *err)
{
	cleanup_(turns_freep) struct turns *turns = calloc(1, sizeof(*turns));

	if (!turns)
		return err_set(err, ERR_HOST, ENOMEM, "turns of a loop");
	TAILQ_INIT(&turns->asked);
	turns->event = event_new(base, -1, 0, on_turns, turns);
	if (!turns->event)
		return err_set(err, ERR_HOST, ENOMEM, "turns of a loop");
	*ret = TAKE_PTR(turns);
	return 0;
}

void turns_free(struct turns *turns)
{
	if (!turns)
		return;
	if (turns->event)
		event_free(turns->event);
	free(turns);
}
