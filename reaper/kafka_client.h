/* The engine's end of the Kafka process (reaper/kafka_process.h): one request, one reply, a deadline.
 *
 *	IDLE   --(call: sent)-->                                    CALLED
 *	CALLED --(the reply)-->                                     IDLE; the call is answered
 *	IDLE   --(the process ends, or says something)-->           LOST
 *	CALLED --(it ends, is late, or answers something else)-->   LOST; the call is never answered
 *
 * LOST is told once, and is the end: the owner ends too, and its supervisor starts both anew. */
#pragma once

#include <event2/event.h>

#include "base/err.h"
#include "base/own.h"
#include "reaper/kafka_request.h"

#define KAFKA_CLIENT_PATIENCE_MS 120000 /* some Kafka calls of 10 s each, one after the other */

struct kafka_client;

/* Takes `fd`. */
int kafka_client_new(struct event_base *base, int fd, unsigned patience_ms, void (*on_lost)(void *ctx, const char *why),
		     void *ctx, struct kafka_client **ret, struct err *err);

/* The reply is borrowed. It has a verdict for each item. */
typedef void (*kafka_client_fn)(void *ctx, const struct kafka_reply *reply);

/* One call at a time (assert). `fn` does not run inside the call; it may call again. */
void kafka_client_call(struct kafka_client *client, enum kafka_op op, const struct kafka_item *items, size_t n,
		       kafka_client_fn fn, void *ctx);

void kafka_client_free(struct kafka_client *client); /* closes: the process sees the end and exits */

DEFINE_FREEP(struct kafka_client, kafka_client_free)
