/* A workspace whose stages are scripted: the order in which they start and stop, whatever happens in between. */
#include "tests/unit/unit.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
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

static const char *const names[WORKSPACE_STAGE_COUNT] = { "vmm", "disk", "boot", "key", "guest" };

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

static struct stage stages[WORKSPACE_STAGE_COUNT]; /* the worker's own order, with these instead of what it calls */
static struct backend backend = { .name = "scripted", .disk = "none", .starts[WORKSPACE_START_COLD].stages = stages };

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
static const struct workspace_plan plan = { .image = "base", .cpus = 1, .memory_mib = 128, .disk_mib = 64, .ttl_ms = 60000,
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

	static const struct stage calls[] = { { .start = start_vmm, .stop = stop_vmm }, { .start = start_disk, .stop = stop_disk },
					      { .start = start_boot, .stop = stop_boot }, { .start = start_key, .stop = stop_key },
					      { .start = start_guest, .stop = stop_guest } };
	struct err err;

	assert_non_null(fixture);
	for (size_t i = 0; i < WORKSPACE_STAGE_COUNT; i++) {
		stages[i] = workspace_stages_cold[i];
		stages[i].start = calls[i].start;
		stages[i].stop = calls[i].stop;
		stages[i].tick = NULL;
	}
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

	workspace_begin(fixture->workspace);
	assert_string_equal(fixture->log, ""); /* nothing from inside the call */
	turn(fixture);
	assert_string_equal(fixture->log, "+vmm +disk +boot +key +guest ready");
	assert_int_equal(fixture->workspace->state, WORKSPACE_READY);
	fixture->log[0] = '\0';
	workspace_end(fixture->workspace);
	workspace_end(fixture->workspace);
	turn(fixture);
	assert_string_equal(fixture->log, "-guest -boot -vmm -key -disk key! gone");
	check_slot(fixture);
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

/* Whatever stage it had come to when it was ended, every stage is stopped once, and nothing starts any more. */
static void test_end_at_every_stage(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < WORKSPACE_STAGE_COUNT; i++) {
		if (!fixture->workspace)
			make_workspace(fixture);
		memset(fixture->start, 0, sizeof(fixture->start));
		fixture->start[i] = LATER;
		workspace_begin(fixture->workspace);
		turn(fixture);
		assert_int_equal(fixture->workspace->state, WORKSPACE_MAKING);
		fixture->log[0] = '\0';
		workspace_end(fixture->workspace);
		workspace_stage_is_ready(fixture->workspace, (enum workspace_stage)i); /* too late */
		turn(fixture);
		assert_string_equal(fixture->log, "-guest -boot -vmm -key -disk key! gone");
		check_slot(fixture);
	}
}

static void test_fault_at_every_stage(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < WORKSPACE_STAGE_COUNT; i++) {
		if (!fixture->workspace)
			make_workspace(fixture);
		memset(fixture->start, 0, sizeof(fixture->start));
		fixture->start[i] = FAULTY;
		fixture->log[0] = '\0';
		workspace_begin(fixture->workspace);
		turn(fixture);
		assert_non_null(strstr(fixture->log, " fault -guest -boot -vmm -key -disk key! gone"));
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
		cmocka_unit_test_setup_teardown(test_key_before_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_at_every_stage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fault_at_every_stage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_never_begun, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ttl, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_own_id, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
