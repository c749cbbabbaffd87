#include "loop/signals.h"

#include <signal.h>

static const int stop_signals[] = { SIGTERM, SIGINT };

struct signals {
	struct event *events[ARRAY_SIZE(stop_signals)];
	void (*on_stop)(void *ctx);
	void *ctx;
};

static void on_signal(evutil_socket_t number, short what, void *ctx)
{
	struct signals *signals = ctx;

	(void)number;
	(void)what;
	signals->on_stop(signals->ctx);
}

int signals_new(struct event_base *base, void (*on_stop)(void *ctx), void *ctx, struct signals **ret, struct err *err)
{
	cleanup_(signals_freep) struct signals *signals = calloc(1, sizeof(*signals));

	if (!signals)
		return err_set(err, ERR_HOST, ENOMEM, "watch signals");
	signals->on_stop = on_stop;
	signals->ctx = ctx;
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++) {
		signals->events[i] = evsignal_new(base, stop_signals[i], on_signal, signals);
		if (!signals->events[i] || event_add(signals->events[i], NULL) < 0)
			return err_set(err, ERR_HOST, ENOMEM, "watch signal %d", stop_signals[i]);
	}
	*ret = TAKE_PTR(signals);
	return 0;
}

void signals_free(struct signals *signals)
{
	if (!signals)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		if (signals->events[i])
			event_free(signals->events[i]);
	free(signals);
}

void signals_ignore_stop(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaddset(&set, stop_signals[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL); /* cannot fail with a valid set */
}
