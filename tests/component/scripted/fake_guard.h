/* The guard of a microVM that is none (jail/guard.c is the real one): it says how its VM ended when it was not asked, or does not say it
 * when it was. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "tests/component/scripted/script.h"

struct fake_guard;

/* Takes `fd`. on_message: the engine said that. */
struct fake_guard *fake_guard_new(struct event_base *base, int fd, void (*on_message)(void *ctx, const char *name), void *ctx);
void fake_guard_free(struct fake_guard *guard);

/* False: there is no such word; fake_guard.c has them. */
bool fake_guard_say(struct fake_guard *guard, const struct script_word *word);

bool fake_guard_is_left(const struct fake_guard *guard);
