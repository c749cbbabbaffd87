#include "tests/component/scripted/fake_vm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/own.h"
#include "tests/component/scripted/fake_agent.h"
#include "tests/component/scripted/fake_guard.h"
#include "tests/component/scripted/fake_qmp.h"

static void reach(struct fake_vm *vm, char party, const char *what)
{
	char point[SCRIPT_NAME_MAX + 2];

	(void)snprintf(point, sizeof(point), "%c:%s", party, what);
	vm->on_point(vm->ctx, vm, point);
}

static void on_frame(void *ctx, const char *type)
{
	reach(ctx, 'a', type);
}

static void on_command(void *ctx, const char *name)
{
	reach(ctx, 'q', name);
}

static void on_message(void *ctx, const char *name)
{
	reach(ctx, 'g', name);
}

struct fake_vm *fake_vm_new(struct event_base *base, void (*on_point)(void *ctx, struct fake_vm *vm, const char *point), void *ctx)
{
	struct fake_vm *vm = calloc(1, sizeof(*vm));
	int control[2], channel[2], guard[2];

	assert(vm);
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0);
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) == 0);
	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guard) == 0);
	*vm = (struct fake_vm){ .play = { .script = "" }, .on_point = on_point, .ctx = ctx, .engine_fds = { control[0], channel[0], guard[0] } };
	vm->qmp = fake_qmp_new(base, control[1], on_command, vm);
	vm->agent = fake_agent_new(base, channel[1], on_frame, vm);
	vm->guard = fake_guard_new(base, guard[1], on_message, vm);
	return vm;
}

void fake_vm_start(struct fake_vm *vm, int ret_fds[3])
{
	vm->is_handed_over = true;
	for (size_t i = 0; i < ARRAY_SIZE(vm->engine_fds); i++)
		ret_fds[i] = take_fd(&vm->engine_fds[i]);
	reach(vm, 'q', "start");
	reach(vm, 'g', "start");
	if (!vm->is_clone)
		reach(vm, 'a', "start");
}

void fake_vm_free(struct fake_vm *vm)
{
	for (size_t i = 0; i < ARRAY_SIZE(vm->engine_fds); i++)
		close_fd(&vm->engine_fds[i]);
	fake_qmp_free(vm->qmp);
	fake_agent_free(vm->agent);
	fake_guard_free(vm->guard);
	free(vm);
}

bool fake_vm_say(struct fake_vm *vm, const struct script_word *word)
{
	switch (word->party) {
	case 'a':
		return fake_agent_say(vm->agent, word);
	case 'q':
		return fake_qmp_say(vm->qmp, word);
	case 'g':
		return fake_guard_say(vm->guard, word);
	default:
		return false;
	}
}

bool fake_vm_is_left(const struct fake_vm *vm)
{
	if (!vm->is_handed_over)
		return true;
	return fake_agent_is_left(vm->agent) && fake_qmp_is_left(vm->qmp) && fake_guard_is_left(vm->guard);
}
