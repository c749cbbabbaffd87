#include "worker/workspace/exec_private.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "worker/workspace/backend.h"

struct exec *exec_new(const struct exec_config *config)
{
	struct exec *exec = calloc(1, sizeof(*exec));

	if (exec)
		exec->config = *config;
	return exec;
}

void exec_free(struct exec *exec)
{
	if (!exec)
		return;
	exec_end(exec);
	assert(exec_is_drained(exec));
	free(exec);
}

static const struct exec_transport *transport(const struct exec *exec)
{
	return exec->config.workspace->host->backend->transport;
}

static const char *const state_names[] = { [EXEC_LAUNCHING] = "launching", [EXEC_RUNNING] = "running", [EXEC_EXITED] = "exited",
					  [EXEC_COLLECTING] = "collecting", [EXEC_OVER] = "over" };
static_assert(ARRAY_SIZE(state_names) == EXEC_STATE_COUNT, "every state has its name");

void exec_enter(struct exec *exec, enum exec_state state, uint64_t patience_ms)
{
	exec->state = state;
	log_debug("exec.state", "id=%s state=%s exec=%u", exec->config.program->id, state_names[state], exec->program.exec);
	exec->since_mono_ns = clock_mono_ns();
	exec->deadline_mono_ms = clock_mono_ms() + patience_ms;
}

void exec_mark_timing(struct exec *exec, enum result_timing timing)
{
	exec->config.result->timings_ms[timing] = clock_ms_since(exec->since_mono_ns);
}

void exec_start(struct exec *exec)
{
	transport(exec)->start(exec);
}

void exec_collect(struct exec *exec)
{
	assert(exec->state == EXEC_EXITED);
	transport(exec)->collect(exec);
}

/* What waits for us to take its output is not late. */
static void mind_hold(struct exec *exec, uint64_t now_mono_ms)
{
	if (exec->tick_mono_ms && exec_is_held_back(exec))
		exec->deadline_mono_ms += now_mono_ms - exec->tick_mono_ms;
	exec->tick_mono_ms = now_mono_ms;
}

void exec_tick(struct exec *exec, uint64_t now_mono_ms)
{
	mind_hold(exec, now_mono_ms);
	if (exec->state != EXEC_EXITED && exec->state != EXEC_OVER && now_mono_ms >= exec->deadline_mono_ms)
		transport(exec)->late(exec);
}

void exec_end(struct exec *exec)
{
	if (exec->state == EXEC_OVER)
		return;
	transport(exec)->end(exec);
	exec->state = EXEC_OVER;
}

enum exec_state exec_state(const struct exec *exec)
{
	return exec->state;
}

const struct exec_outcome *exec_outcome(const struct exec *exec)
{
	return &exec->outcome;
}

bool exec_is_drained(const struct exec *exec)
{
	return exec->flow.chunks == 0;
}

bool exec_is_held_back(const struct exec *exec)
{
	return exec->state == EXEC_RUNNING &&
	       (workspace_is_held_back(exec->config.workspace) || exec->flow.bytes >= FRAME_WINDOW_BYTES);
}

uint64_t exec_chunk_failures(const struct exec *exec)
{
	return exec->flow.failures;
}
