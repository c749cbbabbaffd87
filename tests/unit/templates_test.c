/* The store of templates, with scripted stages instead of microVMs: what is built when, what is lent, and what goes for what. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "host/sealed.h"
#include "worker/templates.h"
#include "worker/workspace/backend.h"
#include "worker/workspace/workspace.h"

#define BUDGET_MIB 512

struct fixture {
	struct event_base *base;
	struct turns *turns;
	struct admission *admission;
	struct workspace_host host;
	struct templates *templates;
	struct workspace *building; /* the one whose save stage was started last */
	unsigned n_builds;
	bool is_held_back; /* its save is not over before the test says so */
	bool is_faulty;
	bool is_mapped; /* somebody still could write to its memory */
	void *map;
};

static struct fixture *now; /* stages have no context of their own */

static void start_vmm(struct workspace *workspace)
{
	struct err err;

	assert_int_equal(workspace->plan->start, WORKSPACE_START_TEMPLATE);
	assert_int_equal(sealed_memory_new("memory", 4096, &workspace->saved.memory_fd, &err), 0);
	assert_int_equal(sealed_memory_new("state", 0, &workspace->saved.state_fd, &err), 0);
	assert_int_equal(write(workspace->saved.memory_fd, "nobody's", 8), 8);
	workspace->saved.build_id = 7;
	workspace->took.boot_ms = 1234;
	if (now->is_mapped)
		now->map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, workspace->saved.memory_fd, 0);
	now->building = workspace;
	now->n_builds++;
	if (now->is_faulty) {
		(void)err_set(&err, ERR_BUSY, 0, "it cannot be made");
		workspace_fault(workspace, "", &err);
	} else if (!now->is_held_back) {
		workspace_stage_is_ready(workspace, WORKSPACE_STAGE_VMM);
	}
}

static void stop_vmm(struct workspace *workspace)
{
	now->building = NULL;
	workspace_stage_has_stopped(workspace, WORKSPACE_STAGE_VMM);
}

static const struct stage stages[WORKSPACE_STAGE_COUNT] = { [WORKSPACE_STAGE_VMM] = { .name = "vmm", .start = start_vmm, .stop = stop_vmm } };
static const struct backend backend = { .name = "scripted", .disk = "none", .starts[WORKSPACE_START_TEMPLATE].stages = stages };

static const struct shape shape_a = { "a", 1, 256, 256 }, shape_b = { "b", 1, 256, 256 }, shape_c = { "c", 1, 256, 256 };

static int set_up(void **state)
{
	const struct admission_limits limits = {
		.slots = 1, .idle_slots = 1, .memory_mib = 4096, .disk_mib = 4096, .cpus = 4, .largest_disk_mib = 8192
	};
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct templates_config config = { .memory_mib = BUDGET_MIB };
	struct err err;

	assert_non_null(fixture);
	fixture->base = event_base_new();
	fixture->admission = admission_new(&limits);
	assert_int_equal(turns_new(fixture->base, &fixture->turns, &err), 0);
	fixture->host = (struct workspace_host){ .base = fixture->base, .turns = fixture->turns,
						 .backend = &backend, .admission = fixture->admission,
						 .held_vms = held_vms_new(4000), .boot_ms = 100000 };
	config.workspaces = &fixture->host;
	fixture->templates = templates_new(&config);
	now = *state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	templates_free(fixture->templates);
	held_vms_free(fixture->host.held_vms);
	turns_free(fixture->turns);
	admission_free(fixture->admission);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

/* A tick some time from now, and all that follows from it. */
static void tick_in(struct fixture *fixture, uint64_t ms)
{
	templates_tick(fixture->templates, clock_mono_ms() + ms);
	for (int i = 0; i < 8; i++)
		(void)event_base_loop(fixture->base, EVLOOP_NONBLOCK);
}

static struct template *build(struct fixture *fixture, const struct shape *shape)
{
	assert_null(templates_take(fixture->templates, shape));
	tick_in(fixture, 0);
	return templates_take(fixture->templates, shape);
}

static void test_the_first_one_builds_it(void **state)
{
	struct fixture *fixture = *state;
	struct template *template;
	struct templates_count count;

	assert_null(templates_take(fixture->templates, &shape_a));
	assert_int_equal(fixture->n_builds, 0); /* not from inside the call */
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 1);
	template = templates_take(fixture->templates, &shape_a);
	assert_non_null(template);
	assert_int_equal(template->build_id, 7);
	assert_int_equal(template->boot_ms, 1234);
	assert_null(templates_take(fixture->templates, &shape_b)); /* another shape's is none */
	count = templates_count(fixture->templates);
	assert_int_equal(count.built, 1);
	assert_int_equal(count.lent, 1);
	assert_int_equal(count.missing, 2);
	assert_int_equal(count.kept_mib, 256);
	templates_put(fixture->templates, template);
}

/* Whoever has its descriptors. The control is what was written before. */
static void test_it_is_sealed(void **state)
{
	struct fixture *fixture = *state;
	struct template *template = build(fixture, &shape_a);
	char text[9] = "";

	assert_int_equal(pread(template->memory_fd, text, 8, 0), 8);
	assert_string_equal(text, "nobody's");
	assert_int_equal(pwrite(template->memory_fd, "mine", 4, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(pwrite(template->state_fd, "mine", 4, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, template->memory_fd, 0), MAP_FAILED);
	templates_put(fixture->templates, template);
}

/* What cannot be sealed is no template: whoever wrote it still lives. */
static void test_who_can_still_write(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_mapped = true;
	assert_null(build(fixture, &shape_a));
	assert_int_equal(templates_count(fixture->templates).failed, 1);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 0);
	(void)munmap(fixture->map, 4096);
}

static void test_one_at_a_time(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_held_back = true;
	assert_null(templates_take(fixture->templates, &shape_a));
	tick_in(fixture, 0);
	assert_null(templates_take(fixture->templates, &shape_a)); /* nobody waits for it */
	assert_null(templates_take(fixture->templates, &shape_b));
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 1);
	fixture->is_held_back = false;
	workspace_stage_is_ready(fixture->building, WORKSPACE_STAGE_VMM);
	tick_in(fixture, 0);
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 2);
	assert_int_equal(templates_count(fixture->templates).ready, 2);
}

/* The one that was asked for least recently goes, when the new one is asked for again. */
static void test_budget(void **state)
{
	struct fixture *fixture = *state;
	struct template *a = build(fixture, &shape_a), *b = build(fixture, &shape_b);

	templates_put(fixture->templates, a);
	templates_put(fixture->templates, b);
	assert_null(build(fixture, &shape_c)); /* this asks twice */
	assert_int_equal(templates_count(fixture->templates).evicted, 0);
	tick_in(fixture, 0);
	assert_int_equal(templates_count(fixture->templates).evicted, 1);
	assert_int_equal(templates_count(fixture->templates).kept_mib, BUDGET_MIB);
	assert_non_null(b = templates_take(fixture->templates, &shape_b));
	assert_null(templates_take(fixture->templates, &shape_a));
	templates_put(fixture->templates, b);
}

static void test_what_is_lent_stays(void **state)
{
	struct fixture *fixture = *state;
	struct template *a = build(fixture, &shape_a), *b = build(fixture, &shape_b);

	assert_null(build(fixture, &shape_c));
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 2);
	templates_put(fixture->templates, a);
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 3);
	templates_put(fixture->templates, b);
}

/* What is lent stays, and nothing is built, as long as memory is short. */
static void test_pressure(void **state)
{
	struct fixture *fixture = *state;
	struct template *a = build(fixture, &shape_a), *b = build(fixture, &shape_b);

	templates_put(fixture->templates, b);
	admission_set_pressed(fixture->admission, true);
	tick_in(fixture, 0);
	tick_in(fixture, 0);
	assert_int_equal(templates_count(fixture->templates).evicted, 1);
	assert_null(build(fixture, &shape_b));
	admission_set_pressed(fixture->admission, false);
	templates_put(fixture->templates, a);
	tick_in(fixture, 0);
	assert_int_equal(templates_count(fixture->templates).ready, 2);
}

static void test_larger_than_the_budget(void **state)
{
	struct fixture *fixture = *state;
	const struct shape large = { "a", 1, BUDGET_MIB * 2, 256 };

	assert_null(build(fixture, &large));
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 0);
}

/* Tries go on, less and less often; and not for what nobody asks for any more. */
static void test_failures(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_faulty = true;
	assert_null(build(fixture, &shape_a));
	assert_int_equal(templates_count(fixture->templates).failed, 1);
	tick_in(fixture, 1000);
	assert_int_equal(fixture->n_builds, 1);
	tick_in(fixture, 6000);
	assert_int_equal(fixture->n_builds, 2);
	tick_in(fixture, 6000);
	assert_int_equal(fixture->n_builds, 2);
	tick_in(fixture, 11000);
	assert_int_equal(fixture->n_builds, 3);
	tick_in(fixture, 600000);
	assert_int_equal(fixture->n_builds, 3);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 0);
}

/* What it was made from has changed: no more of it, and another one at once. Who has it goes on with it. */
static void test_stale(void **state)
{
	struct fixture *fixture = *state;
	struct template *old = build(fixture, &shape_a), *new;
	struct err err;

	(void)err_set(&err, ERR_BUSY, ESTALE, "the template is older than the image");
	templates_failed(fixture->templates, old, &err);
	assert_int_equal(templates_count(fixture->templates).stale, 1);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 256);
	new = build(fixture, &shape_a);
	assert_non_null(new);
	assert_ptr_not_equal(new, old);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 512);
	templates_put(fixture->templates, old);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 256);
	templates_put(fixture->templates, new);
}

static void test_a_clone_failed(void **state)
{
	struct fixture *fixture = *state;
	struct template *template = build(fixture, &shape_a);
	struct err err;

	(void)err_set(&err, ERR_BUSY, 0, "it did not go on from its template in time");
	templates_failed(fixture->templates, template, &err);
	templates_put(fixture->templates, template);
	assert_int_equal(templates_count(fixture->templates).fallbacks, 1);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 0);
	assert_null(build(fixture, &shape_a)); /* not at once */
	tick_in(fixture, 6000);
	assert_int_equal(fixture->n_builds, 2);
}

/* Also in the middle of a build. */
static void test_drain(void **state)
{
	struct fixture *fixture = *state;
	struct template *template = build(fixture, &shape_a);

	fixture->is_held_back = true;
	assert_null(build(fixture, &shape_b));
	assert_int_equal(templates_count(fixture->templates).building, 1);
	templates_drain(fixture->templates);
	tick_in(fixture, 0);
	assert_int_equal(templates_count(fixture->templates).building, 0);
	assert_null(templates_take(fixture->templates, &shape_a));
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 2);
	templates_put(fixture->templates, template);
	assert_int_equal(templates_count(fixture->templates).kept_mib, 0);
}

/* For what is only expected nothing has to go, and no task has to share its processors with it. */
static void test_expected(void **state)
{
	struct fixture *fixture = *state;
	struct reservation reservation;
	struct task_flaw flaw;
	struct template *template;

	assert_int_equal(admission_ask(fixture->admission, &shape_b, &reservation, &flaw), ADMISSION_VERDICT_ADMITTED);
	templates_expect(fixture->templates, &shape_a);
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 0);
	admission_return(fixture->admission, &reservation);
	tick_in(fixture, 61000);
	assert_int_equal(fixture->n_builds, 1);
	template = templates_take(fixture->templates, &shape_a);
	assert_non_null(template);
	templates_put(fixture->templates, template);
	template = build(fixture, &shape_b);
	templates_put(fixture->templates, template);
	templates_expect(fixture->templates, &shape_c);
	tick_in(fixture, 0);
	tick_in(fixture, 0);
	assert_int_equal(fixture->n_builds, 2);
}

static void test_a_task_needs_its_room(void **state)
{
	const struct shape large = { "b", 1, 4096, 256 };
	struct fixture *fixture = *state;
	struct reservation reservation;
	struct task_flaw flaw;

	templates_give_way(fixture->templates, &shape_b);
	fixture->is_held_back = true;
	assert_null(build(fixture, &shape_a));
	assert_int_equal(admission_ask(fixture->admission, &shape_b, &reservation, &flaw), ADMISSION_VERDICT_ADMITTED);
	templates_give_way(fixture->templates, &shape_b); /* it is a slot that is lacking */
	tick_in(fixture, 0);
	assert_int_equal(admission_count(fixture->admission).idle, 1);
	admission_return(fixture->admission, &reservation);
	templates_give_way(fixture->templates, &large);
	tick_in(fixture, 0);
	assert_int_equal(admission_count(fixture->admission).idle, 0);
	fixture->is_held_back = false;
	tick_in(fixture, 6000);
	assert_int_equal(templates_count(fixture->templates).ready, 1);
}

/* A sender chooses shapes: they are few all the same. */
static void test_many_shapes(void **state)
{
	struct fixture *fixture = *state;
	struct shape shape = shape_a;
	struct template *template;

	for (uint32_t i = 1; i <= 1000; i++) {
		shape.cpus = i;
		assert_null(templates_take(fixture->templates, &shape));
	}
	template = build(fixture, &shape_b);
	assert_non_null(template);
	templates_put(fixture->templates, template);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_first_one_builds_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_it_is_sealed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_can_still_write, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_budget, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_lent_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pressure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_larger_than_the_budget, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_failures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stale, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_clone_failed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_task_needs_its_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_expected, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_shapes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
