/* Programs of the null backend: nothing runs, for as long as null_run_ms says. For what is about the queue alone. */
#include "base/clock.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/exec_private.h"

static void finish(struct exec *exec)
{
	exec->state = EXEC_EXITED;
	exec->config.events->on_exited(exec->config.ctx);
}

static void null_start(struct exec *exec)
{
	uint64_t run_ms = exec->config.workspace->host->null_run_ms;

	exec_enter(exec, EXEC_RUNNING, run_ms);
	exec->config.events->on_started(exec->config.ctx);
	if (run_ms == 0)
		finish(exec);
}

static void null_collect(struct exec *exec)
{
	exec->config.events->on_collected(exec->config.ctx); /* it left nothing */
}

static void null_end(struct exec *exec)
{
	(void)exec; /* there is nothing to end */
}

const struct exec_transport exec_nowhere = { .start = null_start, .collect = null_collect, .late = finish, .end = null_end };
