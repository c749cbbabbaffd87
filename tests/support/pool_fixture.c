#include "tests/support/pool_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/guard.h"
#include "loop/turns.h"
#include "worker/workspace/backend.h"

static const struct host_place nowhere = { .host = "nowhere", .state_dir = "/nowhere" };
static struct fixture *now; /* stages have no context of their own */

static void start_one(struct workspace *workspace)
{
	struct machine *machine = &now->machines[now->n_machines++];
	struct err err;
	int ends[2];

	assert_true(now->n_machines <= MACHINES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	machine->workspace = workspace;
	workspace->vm.guard_fd = ends[0];
	machine->guard_fd = ends[1];
	workspace->held.sure_until_mono_ms = clock_mono_ms() + AGE_MS; /* as if Redis had answered */
	(void)err_set(&err, ERR_BUSY, 0, "it cannot be made");
	if (now->is_faulty)
		workspace_fault(workspace, "", &err);
	else if (!now->is_slow)
		workspace_stage_is_ready(workspace, WORKSPACE_STAGE_VMM);
}

static void stop_one(struct workspace *workspace)
{
	for (size_t i = 0; i < now->n_machines; i++)
		if (now->machines[i].workspace == workspace) {
			now->machines[i].workspace = NULL;
			close_fd(&now->machines[i].guard_fd);
		}
	close_fd(&workspace->vm.guard_fd);
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_VMM);
}

static const struct stage stages[WORKSPACE_STAGE_COUNT] = { [WORKSPACE_STAGE_VMM] = { .name = "vmm", .start = start_one, .stop = stop_one } };
static const struct backend backend = { .name = "scripted", .disk = "none", .starts = { [WORKSPACE_START_COLD] = { .stages = stages } } };

static void on_room(void *ctx)
{
	((struct fixture *)ctx)->n_rooms++;
}

void turn(struct fixture *fixture)
{
	for (int i = 0; i < 8; i++)
		(void)event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

void tick_at(struct fixture *fixture, uint64_t now_mono_ms)
{
	pool_tick(fixture->pool, now_mono_ms);
	turn(fixture);
}

void tick(struct fixture *fixture)
{
	tick_at(fixture, clock_mono_ms());
}

struct shape shape_of(const char *image, uint32_t memory_mib)
{
	return (struct shape){ .image = image, .cpus = 1, .memory_mib = memory_mib, .disk_mib = 64 };
}

struct fixture *fixture_new(uint32_t max, uint64_t memory_mib)
{
	const struct admission_limits limits = { .slots = 4, .idle_slots = 8, .memory_mib = 4096, .disk_mib = 4096, .overhead_mib = 100,
						 .cpus = 4, .largest_disk_mib = 8192 };
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err;

	assert_non_null(fixture);
	now = fixture;
	fixture->base = event_base_new();
	assert_int_equal(turns_new(fixture->base, &fixture->turns, &err), 0);
	fixture->admission = admission_new(&limits);
	fixture->host = (struct workspace_host){ .base = fixture->base,
						 .turns = fixture->turns,
						 .backend = &backend,
						 .place = &nowhere,
						 .admission = fixture->admission,
						 .held_vms = held_vms_new(3000) };
	fixture->pool = pool_new(&(struct pool_config){ .workspaces = &fixture->host,
							.max = max,
							.memory_mib = memory_mib,
							.age_ms = AGE_MS,
							.on_room = on_room,
							.ctx = fixture });
	return fixture;
}

int set_up(void **state)
{
	*state = fixture_new(8, 4096);
	return 0;
}

void end_mine(struct fixture *fixture)
{
	if (fixture->mine)
		workspace_end(fixture->mine);
	turn(fixture);
}

/* Whatever happened: all that was reserved is given back, and nothing is held. */
int tear_down(void **state)
{
	struct fixture *fixture = *state;
	struct admission_count count;

	end_mine(fixture);
	pool_drain(fixture->pool);
	turn(fixture);
	count = admission_count(fixture->admission);
	assert_int_equal(count.active + count.idle + count.memory_mib, 0);
	for (size_t i = 0; i < fixture->n_machines; i++)
		assert_null(fixture->machines[i].workspace);
	pool_free(fixture->pool);
	held_vms_free(fixture->host.held_vms);
	admission_free(fixture->admission);
	turns_free(fixture->turns);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

void fill(struct fixture *fixture, const struct shape *shape, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		pool_miss(fixture->pool, shape);
	for (unsigned i = 0; i < n; i++)
		tick(fixture);
}

/* --- what a job does --- */

static void on_ready(void *ctx)
{
	((struct fixture *)ctx)->n_ready++;
}

static void on_fault(void *ctx, const char *field, const struct err *err)
{
	(void)ctx, (void)field, (void)err;
	fail_msg("nothing breaks here");
}

static void on_over(void *ctx, enum workspace_over over)
{
	(void)ctx, (void)over;
	fail_msg("nothing is over here");
}

static void on_key_destroyed(void *ctx)
{
	(void)ctx;
}

static void on_gone(void *ctx)
{
	struct fixture *fixture = ctx;

	fixture->n_gone++;
	workspace_free(TAKE_PTR(fixture->mine));
}

static const struct workspace_events events = { on_ready, on_fault, on_over, on_key_destroyed, on_gone };

static struct workspace_plan plan = { .image = "base", .ttl_ms = TTL_MS, .use_ms = 3600000, .owner_id = "t" };

struct workspace *hand_over(struct fixture *fixture, struct pooled *pooled)
{
	struct template *template = NULL;

	plan.ttl_ms = TTL_MS;
	fixture->mine = pool_hand_over(fixture->pool, pooled, &plan, &template, &events, fixture);
	assert_null(template); /* it booted */
	return fixture->mine;
}

uint64_t told_deadline(const struct fixture *fixture, const struct workspace *workspace)
{
	struct guard_message message = { 0 };

	for (size_t i = 0; i < fixture->n_machines; i++)
		if (fixture->machines[i].workspace == workspace && guard_hear(fixture->machines[i].guard_fd, &message) == 0 &&
		    message.type == GUARD_SET_DEADLINE)
			return message.of.deadline_boot_ms;
	return 0;
}
