/* Turns of a test's loop. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

/* Until `is_done`, which is asked after every turn, and every 20 ms although nothing happens in the loop; the test fails after 20 s. */
void turn_until(struct event_base *base, bool (*is_done)(const void *ctx), const void *ctx);
