/* Workspaces that no lease names, held in a real redis-server: for how long their worker may be sure of them, and what others see. */
#include "tests/support/lease_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker/workspace/held_vms.h"

static bool is_held(const void *ctx)
{
	return held_vm_is_sure(ctx, clock_mono_ms());
}

static bool is_let_go(const void *ctx)
{
	struct fixture *fixture = (struct fixture *)(uintptr_t)ctx;

	return strcmp(redis_server_ask(&fixture->server, "HLEN t:{mayfly}:vms:h1"), "0") == 0;
}

static uint64_t until_ms(struct fixture *fixture, const char *vm_id)
{
	return strtoull(redis_server_ask(&fixture->server, "HGET t:{mayfly}:vms:h1 %s", vm_id), NULL, 10);
}

static void test_life(void **state)
{
	struct fixture *fixture = *state;
	struct held_vms *held_vms = held_vms_new(LEASE_MS);
	uint64_t began_mono_ms = clock_mono_ms(), began_ms = clock_wall_ms(), first_ms;
	struct held_vm held = { 0 };

	held_vms_add(held_vms, &held, "vm-a"); /* before there is anybody to tell */
	assert_false(is_held(&held));
	held_vms_set_leases(held_vms, fixture->leases);
	turn_until(fixture->base, is_held, &held);
	assert_in_range(held.sure_until_mono_ms, began_mono_ms + LEASE_MS, clock_mono_ms() + LEASE_MS);
	assert_false(held_vm_is_sure(&held, held.sure_until_mono_ms)); /* the control: it has an end, and not the last moment */
	assert_false(held_vm_is_sure(&held, held.sure_until_mono_ms - 1000));
	first_ms = until_ms(fixture, "vm-a");
	assert_in_range(first_ms, began_ms + LEASE_MS, clock_wall_ms() + LEASE_MS);
	assert_non_null(strstr(redis_server_ask(&fixture->server, "HGET t:{mayfly}:vms:h1 vm-a"), " w1"));
	while (until_ms(fixture, "vm-a") == first_ms) { /* it is renewed */
		held_vms_tick(held_vms, clock_mono_ms());
		(void)event_base_loop(fixture->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	held_vms_remove(&held);
	held_vms_remove(&held);
	assert_false(is_held(&held));
	turn_until(fixture->base, is_let_go, fixture);
	held_vms_free(held_vms);
}

static void test_redis_away(void **state)
{
	struct fixture *fixture = *state;
	struct held_vms *held_vms = held_vms_new(LEASE_MS);
	struct held_vm held = { 0 }, late = { 0 };

	held_vms_set_leases(held_vms, fixture->leases);
	held_vms_add(held_vms, &held, "vm-a");
	turn_until(fixture->base, is_held, &held);
	redis_server_kill(&fixture->server);
	turn_until(fixture->base, is_lost, fixture->leases);
	held_vms_add(held_vms, &late, "vm-b");
	for (int i = 0; i < 50; i++)
		(void)event_base_loop(fixture->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_true(held_vm_is_sure(&held, held.sure_until_mono_ms - 1001)); /* what was said stands */
	assert_false(is_held(&late));
	held_vms_remove(&held);
	held_vms_remove(&late);
	held_vms_free(held_vms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_redis_away, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
