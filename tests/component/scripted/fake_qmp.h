/* The VMM of a microVM that is none, at the other end of its control socket: lines of QMP (lib/wire/qmp.h), and bytes that are none. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "tests/component/scripted/script.h"

struct fake_qmp;

/* Takes `fd`. on_command: the engine asked for that. Descriptors that come with it are dropped. */
struct fake_qmp *fake_qmp_new(struct event_base *base, int fd, void (*on_command)(void *ctx, const char *name), void *ctx);
void fake_qmp_free(struct fake_qmp *qmp);

/* False: there is no such word; fake_qmp.c has them. */
bool fake_qmp_say(struct fake_qmp *qmp, const struct script_word *word);

bool fake_qmp_is_left(const struct fake_qmp *qmp);
