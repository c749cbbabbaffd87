/* The control topic, read by every worker from its start, outside any group: a broadcast. It has one partition and
 * keeps its records for ten minutes. */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct control_reader;

int control_reader_new(struct event_base *base, const char *brokers, const char *topic,
		       void (*on_message)(void *ctx, const uint8_t *data, size_t len), void *ctx,
		       struct control_reader **ret, struct err *err);
void control_reader_free(struct control_reader *reader); /* accepts NULL */
