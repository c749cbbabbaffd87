#include "tests/unit/unit.h"

#include <stdio.h>

#include "worker/finished.h"

#define CONTENT "0123456789abcdef0123456789abcdef"

static void test_sent_before_its_end(void **state)
{
	struct finished *finished = finished_new();
	const struct finished_task *task;

	(void)state;
	finished_add(finished, "a", CONTENT, &(struct record_place){ "tasks", 3, 5 }, 100);
	task = finished_find(finished, "a", &(struct record_place){ "tasks", 3, 99 });
	assert_non_null(task);
	assert_string_equal(task->content, CONTENT);
	assert_int_equal(task->place.offset, 5);
	assert_null(finished_find(finished, "a", &(struct record_place){ "tasks", 3, 100 })); /* its sender may have seen the result */
	assert_null(finished_find(finished, "a", &(struct record_place){ "tasks", 4, 99 }));
	assert_null(finished_find(finished, "a", &(struct record_place){ "urgent", 3, 99 }));
	assert_null(finished_find(finished, "b", &(struct record_place){ "tasks", 3, 99 }));
	finished_free(finished);
}

/* An id may be used again and again; the latest end counts. */
static void test_again(void **state)
{
	struct finished *finished = finished_new();

	(void)state;
	finished_add(finished, "a", CONTENT, &(struct record_place){ "tasks", 0, 5 }, 100);
	finished_add(finished, "a", CONTENT, &(struct record_place){ "tasks", 0, 110 }, 200);
	assert_int_equal(finished_find(finished, "a", &(struct record_place){ "tasks", 0, 150 })->place.offset, 110);
	finished_free(finished);
}

static void test_the_oldest_are_forgotten(void **state)
{
	struct finished *finished = finished_new();
	char id[32];

	(void)state;
	for (int i = 0; i <= FINISHED_MAX; i++) {
		(void)snprintf(id, sizeof(id), "t-%d", i);
		finished_add(finished, id, CONTENT, &(struct record_place){ "tasks", 0, i }, INT64_MAX);
	}
	assert_null(finished_find(finished, "t-0", &(struct record_place){ "tasks", 0, 1 }));
	assert_non_null(finished_find(finished, "t-1", &(struct record_place){ "tasks", 0, 1 }));
	assert_non_null(finished_find(finished, id, &(struct record_place){ "tasks", 0, 1 }));
	finished_free(finished);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sent_before_its_end),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_the_oldest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
