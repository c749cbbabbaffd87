/* A workspace whose stages are scripted: the order in which they start and stop, whatever happens in between. */
#include "tests/unit/unit.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "worker/vmm/control.h"
#include "worker/workspace/admission.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/stages.h"
#include "worker/workspace/workspace.h"

enum manner {
	AT_ONCE, /* it is ready, or has stopped, inside the call */
	LATER,	 /* when the test says so */
	FAULTY	 /* it cannot be made */
};

struct fixture {
	struct event_base *base;
	struct turns *turns;
	struct admission *admission;
	struct workspace_host host;
	struct workspace *workspace;
	char log[256]; /* "+vmm -vmm ready key gone": what was called, in order */
	enum manner start[WORKSPACE_STAGE_COUNT], stop[WORKSPACE_STAGE_COUNT];
};

static struct fixture *now; /* stages have no context of their own */

static void note(const char *prefix, const char *what)
{
	size_t used = strlen(now->log);

	(void)snprintf(now->log + used, sizeof(now->log) - used, "%s%s%s", used ? " " : "", prefix, what);
}

static const char *const names[WORKSPACE_STAGE_COUNT] = { "vmm", "disk", "boot", "key", "guest", "warm", "save" };

static void start(struct workspace *workspace, enum workspace_stage stage)
{
	struct err err;

	note("+", names[stage]);
	(void)err_set(&err, ERR_BUSY, 0, "it cannot be made");
	if (now->start[stage] == AT_ONCE)
		workspace_stage_is_ready(workspace, stage);
	if (now->start[stage] == FAULTY)
		workspace_fault(workspace, "", &err);
}

static void stop(struct workspace *workspace, enum workspace_stage stage)
{
	note("-", names[stage]);
	if (now->stop[stage] == AT_ONCE)
		workspace_stage_has_stopped(workspace, stage);
}

#define SCRIPTED(name, stage)                                     \
	static void start_##name(struct workspace *workspace)     \
	{                                                         \
		start(workspace, WORKSPACE_STAGE_##stage);        \
	}                                                         \
	static void stop_##name(struct workspace *workspace)      \
	{                                                         \
		stop(workspace, WORKSPACE_STAGE_##stage);         \
	}
SCRIPTED(vmm, VMM)
SCRIPTED(disk, DISK)
SCRIPTED(boot, BOOT)
SCRIPTED(key, KEY)
SCRIPTED(guest, GUEST)
SCRIPTED(warm, WARM)
SCRIPTED(save, SAVE)

/* The worker's own order, with these instead of what it calls. */
static const struct stage calls[WORKSPACE_STAGE_COUNT] = {
	{ .start = start_vmm, .stop = stop_vmm },     { .start = start_disk, .stop = stop_disk }, { .start = start_boot, .stop = stop_boot },
	{ .start = start_key, .stop = stop_key },     { .start = start_guest, .stop = stop_guest }, { .start = start_warm, .stop = stop_warm },
	{ .start = start_save, .stop = stop_save },
};
static struct stage stages[WORKSPACE_START_COUNT][WORKSPACE_STAGE_COUNT];
static bool is_saved;

static int save(struct vmm *vmm, int state_fd, struct err *err)
{
	(void)vmm, (void)state_fd, (void)err;
	is_saved = true;
	return 0;
}

static const struct vmm_control control = { .save = save };
static struct backend backend = { .name = "scripted",
				  .disk = "none",
				  .starts = { { .stages = stages[WORKSPACE_START_COLD] },
					      { .stages = stages[WORKSPACE_START_CLONE] },
					      { .stages = stages[WORKSPACE_START_TEMPLATE] } },
				  .control = &control };

/* Of each way to start: what it goes through, and back. */
static const struct {
	const struct stage *stages;
	const char *forward, *backward;
	unsigned bits;
} ways[WORKSPACE_START_COUNT] = {
	[WORKSPACE_START_COLD] = { workspace_stages_cold, "+vmm +disk +boot +key +guest ready", "-guest -boot -vmm -key -disk key! gone", 0x1f },
	[WORKSPACE_START_CLONE] = { workspace_stages_clone, "+vmm +disk +boot +key +guest ready", "-guest -boot -vmm -key -disk key! gone",
				    0x1f },
	[WORKSPACE_START_TEMPLATE] = { workspace_stages_template, "+vmm +boot +warm +save ready", "-save -warm -boot -vmm key! gone", 0x65 },
};

static void on_ready(void *ctx)
{
	(void)ctx;
	note("", "ready");
}

static void on_fault(void *ctx, const char *field, const struct err *err)
{
	struct fixture *fixture = ctx;

	(void)field, (void)err;
	note("", "fault");
	workspace_end(fixture->workspace);
}

static void on_over(void *ctx, enum workspace_over over)
{
	struct fixture *fixture = ctx;

	note("", over == WORKSPACE_OVER_TTL ? "ttl" : "guard");
	workspace_end(fixture->workspace);
}

static void on_key_destroyed(void *ctx)
{
	(void)ctx;
	note("", "key!");
}

static void on_gone(void *ctx)
{
	struct fixture *fixture = ctx;

	note("", "gone");
	workspace_free(TAKE_PTR(fixture->workspace));
}

static const struct workspace_events events = { on_ready, on_fault, on_over, on_key_destroyed, on_gone };
static struct workspace_plan plan = { .image = "base", .cpus = 1, .memory_mib = 128, .disk_mib = 64, .ttl_ms = 60000,
					    .use_ms = 1000, .owner_id = "t" };

static void turn(struct fixture *fixture)
{
	for (int i = 0; i < 8; i++)
		(void)event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

static void make_workspace(struct fixture *fixture)
{
	const struct shape shape = { plan.image, plan.cpus, plan.memory_mib, plan.disk_mib };
	struct reservation reservation;
	struct task_flaw flaw;

	assert_int_equal(admission_ask(fixture->admission, &shape, &reservation, &flaw), ADMISSION_VERDICT_ADMITTED);
	fixture->workspace = workspace_new(&fixture->host, &plan, &reservation, &events, fixture);
	assert_non_null(fixture->workspace);
}

static int set_up(void **state)
{
	const struct admission_limits limits = { .slots = 1, .memory_mib = 1024, .disk_mib = 1024, .cpus = 4, .largest_disk_mib = 8192 };
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	struct err err;

	assert_non_null(fixture);
	for (size_t way = 0; way < WORKSPACE_START_COUNT; way++) {
		for (size_t i = 0; i < WORKSPACE_STAGE_COUNT; i++) {
			stages[way][i] = ways[way].stages[i];
			stages[way][i].start = ways[way].stages[i].start ? calls[i].start : NULL;
			stages[way][i].stop = calls[i].stop;
			stages[way][i].tick = NULL;
		}
	}
	plan.start = WORKSPACE_START_COLD;
	fixture->base = event_base_new();
	assert_int_equal(turns_new(fixture->base, &fixture->turns, &err), 0);
	fixture->admission = admission_new(&limits);
	fixture->host = (struct workspace_host){ .base = fixture->base, .turns = fixture->turns, .backend = &backend, .admission = fixture->admission };
	now = fixture;
	make_workspace(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	admission_free(fixture->admission);
	turns_free(fixture->turns);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

/* Its slot is free again: the only one. */
static void check_slot(struct fixture *fixture)
{
	assert_null(fixture->workspace);
	make_workspace(fixture);
	workspace_free(TAKE_PTR(fixture->workspace));
}

static void test_forward_and_back(void **state)
{
	struct fixture *fixture = *state;

	for (int way = 0; way < WORKSPACE_START_COUNT; way++) {
		plan.start = (enum workspace_start)way;
		if (!fixture->workspace)
			make_workspace(fixture);
		fixture->log[0] = '\0';
		workspace_begin(fixture->workspace);
		assert_string_equal(fixture->log, ""); /* nothing from inside the call */
		turn(fixture);
		assert_string_equal(fixture->log, ways[way].forward);
		assert_int_equal(fixture->workspace->state, WORKSPACE_READY);
		fixture->log[0] = '\0';
		workspace_end(fixture->workspace);
		workspace_end(fixture->workspace);
		turn(fixture);
		assert_string_equal(fixture->log, ways[way].backward);
		check_slot(fixture);
	}
}

/* A clone is there sooner than its disk is made: both begin at once. */
static void test_a_clones_disk_begins_at_once(void **state)
{
	struct fixture *fixture = *state;

	fixture->start[WORKSPACE_STAGE_VMM] = LATER;
	workspace_begin(fixture->workspace);
	turn(fixture);
	assert_string_equal(fixture->log, "+vmm");
	workspace_end(fixture->workspace);
	turn(fixture);
	plan.start = WORKSPACE_START_CLONE;
	make_workspace(fixture);
	fixture->log[0] = '\0';
	workspace_begin(fixture->workspace);
	turn(fixture);
	assert_string_equal(fixture->log, "+vmm +disk");
	workspace_stage_is_ready(fixture->workspace, WORKSPACE_STAGE_VMM);
	turn(fixture);
	assert_string_equal(fixture->log, "+vmm +disk +boot +key +guest ready");
	workspace_end(fixture->workspace);
	turn(fixture);
}

static void save_now(struct fixture *fixture)
{
	is_saved = false;
	fixture->log[0] = '\0';
	stage_save_start(fixture->workspace);
}

/* What others begin with is nobody's. The control is the last one, which nothing was done to. */
static void test_what_is_somebodys_is_not_saved(void **state)
{
	struct fixture *fixture = *state;
	struct workspace *workspace = fixture->workspace;

	workspace->guest.is_set_up = true;
	save_now(fixture);
	assert_false(is_saved);
	assert_string_equal(fixture->log, "fault");
	turn(fixture);
	make_workspace(fixture);
	fixture->workspace->n_programs = 1;
	save_now(fixture);
	assert_false(is_saved);
	turn(fixture);
	make_workspace(fixture);
	fixture->workspace->disk.may_exist = true;
	save_now(fixture);
	assert_false(is_saved);
	turn(fixture);
	make_workspace(fixture);
	save_now(fixture);
	assert_true(is_saved);
	assert_string_equal(fixture->log, "");
	workspace_free(TAKE_PTR(fixture->workspace));
}

/* The result may be told while the files are still being removed; and neither while the VMM may live. */
static void test_key_before_files(void **state)
{
	struct fixture *fixture = *state;

	fixture->stop[WORKSPACE_STAGE_VMM] = fixture->stop[WORKSPACE_STAGE_DISK] = LATER;
	workspace_begin(fixture->workspace);
	turn(fixture);
	fixture->log[0] = '\0';
	workspace_end(fixture->workspace);
	turn(fixture);
	assert_string_equal(fixture->log, "-guest -boot -vmm");
	workspace_stage_has_stopped(fixture->workspace, WORKSPACE_STAGE_VMM);
	turn(fixture);
	assert_string_equal(fixture->log, "-guest -boot -vmm -key -disk key!");
	workspace_stage_has_stopped(fixture->workspace, WORKSPACE_STAGE_DISK);
	turn(fixture);
	assert_string_equal(fixture->log, "-guest -boot -vmm -key -disk key! gone");
}

/* Begin another one that is started so, until its stage `i` behaves in that manner. False: it has no such stage. */
static bool begin_with(struct fixture *fixture, int way, int i, enum manner manner)
{
	if (!(ways[way].bits & (1u << i)))
		return false;
	plan.start = (enum workspace_start)way;
	if (!fixture->workspace)
		make_workspace(fixture);
	memset(fixture->start, 0, sizeof(fixture->start));
	fixture->start[i] = manner;
	fixture->log[0] = '\0';
	workspace_begin(fixture->workspace);
	turn(fixture);
	return true;
}

/* Whatever stage it had come to when it was ended, every stage is stopped once, and nothing starts any more. */
static void test_end_at_every_stage(void **state)
{
	struct fixture *fixture = *state;

	for (int n = 0; n < WORKSPACE_START_COUNT * WORKSPACE_STAGE_COUNT; n++) {
		int way = n / WORKSPACE_STAGE_COUNT, i = n % WORKSPACE_STAGE_COUNT;

		if (!begin_with(fixture, way, i, LATER))
			continue;
		assert_int_equal(fixture->workspace->state, WORKSPACE_MAKING);
		fixture->log[0] = '\0';
		workspace_end(fixture->workspace);
		workspace_stage_is_ready(fixture->workspace, (enum workspace_stage)i); /* too late */
		turn(fixture);
		assert_string_equal(fixture->log, ways[way].backward);
		check_slot(fixture);
	}
}

static void test_fault_at_every_stage(void **state)
{
	struct fixture *fixture = *state;

	for (int n = 0; n < WORKSPACE_START_COUNT * WORKSPACE_STAGE_COUNT; n++) {
		int way = n / WORKSPACE_STAGE_COUNT;
		char end[64];

		if (!begin_with(fixture, way, n % WORKSPACE_STAGE_COUNT, FAULTY))
			continue;
		(void)snprintf(end, sizeof(end), " fault %s", ways[way].backward);
		assert_non_null(strstr(fixture->log, end));
		assert_null(strstr(fixture->log, "ready"));
		check_slot(fixture);
	}
}

static void test_never_begun(void **state)
{
	struct fixture *fixture = *state;

	workspace_end(fixture->workspace);
	turn(fixture);
	assert_string_equal(fixture->log, "-guest -boot -vmm -key -disk key! gone");
	check_slot(fixture);
}

static void test_ttl(void **state)
{
	struct fixture *fixture = *state;

	workspace_begin(fixture->workspace);
	turn(fixture);
	fixture->log[0] = '\0';
	workspace_tick(fixture->workspace, clock_mono_ms() + plan.ttl_ms / 2);
	assert_string_equal(fixture->log, "");
	workspace_tick(fixture->workspace, clock_mono_ms() + plan.ttl_ms + 1);
	turn(fixture);
	assert_string_equal(fixture->log, "ttl -guest -boot -vmm -key -disk key! gone");
}

static void test_own_id(void **state)
{
	struct fixture *fixture = *state;
	char first[IDENT_ID_MAX + 1];

	memcpy(first, fixture->workspace->vm_id, sizeof(first));
	workspace_free(TAKE_PTR(fixture->workspace));
	make_workspace(fixture);
	assert_true(ident_is_id(first, strlen(first)));
	assert_string_not_equal(first, fixture->workspace->vm_id);
	workspace_free(TAKE_PTR(fixture->workspace));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forward_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_clones_disk_begins_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_somebodys_is_not_saved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_key_before_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_at_every_stage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fault_at_every_stage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_never_begun, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ttl, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_own_id, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
