/* A microVM that is none: agent, VMM and guard of one workspace. They say what a script makes them say, in the real protocols' words and
 * in words that are none.
 *
 * Points (script.h): a:start and a:TYPE for each frame of the engine's, q:start and q:COMMAND, g:start, g:kill and g:deadline. What a party that
 * was told to close, or was left, would say goes nowhere. */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "base/ident.h"
#include "tests/component/scripted/script.h"

struct fake_vm {
	TAILQ_ENTRY(fake_vm) link;
	char id[IDENT_ID_MAX + 1];
	struct script_play play;
	int engine_fds[3]; /* the engine's ends until it has them: control socket, guest channel, guard */
	bool is_handed_over;
	bool is_clone; /* its agent goes on: there is no a:start */
	struct fake_agent *agent;
	struct fake_qmp *qmp;
	struct fake_guard *guard;
	void (*on_point)(void *ctx, struct fake_vm *vm, const char *point);
	void *ctx;
};

TAILQ_HEAD(fake_vm_list, fake_vm);

/* on_point comes from the loop only, after fake_vm_start(). */
struct fake_vm *fake_vm_new(struct event_base *base, void (*on_point)(void *ctx, struct fake_vm *vm, const char *point), void *ctx);
void fake_vm_free(struct fake_vm *vm);

/* The engine's ends are the caller's, who hands them over. */
void fake_vm_start(struct fake_vm *vm, int ret_fds[3]);

/* Of the parties a, q and g. False: there is no such word. */
bool fake_vm_say(struct fake_vm *vm, const struct script_word *word);

bool fake_vm_is_left(const struct fake_vm *vm); /* the engine has let go of all three, or never had them */
