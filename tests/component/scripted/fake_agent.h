/* The agent of a microVM that is none, at the other end of the guest channel: frames of wire/frame.h, and bytes that are none. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "tests/component/scripted/script.h"

struct fake_agent;

/* Takes `fd`. on_frame: the engine said a frame of that type. */
struct fake_agent *fake_agent_new(struct event_base *base, int fd, void (*on_frame)(void *ctx, const char *type), void *ctx);
void fake_agent_free(struct fake_agent *agent);

/* False: there is no such word; fake_agent.c has them. */
bool fake_agent_say(struct fake_agent *agent, const struct script_word *word);

bool fake_agent_is_left(const struct fake_agent *agent);
