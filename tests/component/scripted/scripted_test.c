/* Whatever the other parties of a workspace say to an engine, in whatever order: it goes on, its host is not drained, each task has one
 * terminal result, its slot is free again for a task that is well-behaved, and nothing is left.
 *
 * usage: scripted_test agent|qmp|guard|disk|vmm|template|clone [NAME-OF-A-SCRIPT]
 *        scripted_test say SCRIPT                 one that is in no table (script.h), and what it ends with */
#include <stdio.h>
#include <string.h>

#include "base/own.h"
#include "tests/component/scripted/scripted.h"
#include "tests/component/scripted/scripts.h"
#include "tests/unit/unit.h"

#define ROWS_MAX    100
#define PATIENCE_MS 60000 /* for a result */

static struct scripted scripted;
static struct script_row say[1] = { { "say", "", "succeeded|failed|timed_out|expired|rejected", "" } };
static struct script_table table = { "say", say, 1, false };
static bool is_open;

static int open_all(void **state)
{
	static const char *texts[ROWS_MAX];

	(void)state;
	for (size_t i = 0; i < table.n_rows; i++)
		texts[i] = table.rows[i].script;
	scripted_open(&scripted, texts, table.n_rows, 1, table.has_clones);
	is_open = true;
	return 0;
}

static const struct result *run(const char *id, const char *image)
{
	struct task task;
	const struct result *result;

	scripted_task(id, image, &task);
	bus_stand_send(&scripted.bus, &task);
	result = scripted_await(&scripted, id, PATIENCE_MS);
	if (!result)
		fail_msg("no result of '%s'", id);
	return result;
}

/* Another one, in the slot that the first one had. */
static void see_a_good_one(size_t number)
{
	char id[32];

	(void)snprintf(id, sizeof(id), "after-%zu", number);
	assert_int_equal(run(id, "well")->outcome, RESULT_OUTCOME_SUCCEEDED);
	assert_int_equal(bus_stand_count(&scripted.bus, id), 1);
}

static bool is_one_of(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
		if ((at == words || at[-1] == '|') && (at[len] == '|' || at[len] == '\0'))
			return true;
	return false;
}

/* A task whose image has no template yet, until that was built or was not. */
static void run_before(size_t number, const char *image)
{
	char id[32];

	(void)snprintf(id, sizeof(id), "before-%zu", number);
	(void)run(id, image);
	if (!scripted_await_template(&scripted, number, PATIENCE_MS))
		fail_msg("no template is built");
}

static void test_script(void **state)
{
	const struct script_row *row = *state;
	size_t number = (size_t)(row - table.rows);
	const struct result *result;
	char id[32], image[32];
	const char *flaw;
	bool is_right;

	(void)snprintf(id, sizeof(id), "task-%zu", number);
	(void)snprintf(image, sizeof(image), "script-%zu", number);
	if (table.has_clones)
		run_before(number, image);
	result = run(id, image);
	(void)printf("  %s %s: %s\n", result_outcome_name(result->outcome), result_ran_name(result->ran), result->message);
	is_right = table.has_clones ? strcmp(result->start, row->says) == 0 : strstr(result->message, row->says) != NULL;
	if (!is_one_of(row->outcomes, result_outcome_name(result->outcome)) || !is_right)
		fail_msg("%s: %s %s, '%s'", row->script, result_outcome_name(result->outcome), result->start, result->message);
	see_a_good_one(number);
	assert_int_equal(bus_stand_count(&scripted.bus, id), 1);
	flaw = scripted_flaw(&scripted);
	if (flaw)
		fail_msg("%s: %s", row->script, flaw);
}

static void test_end(void **state)
{
	const char *flaw = scripted_end(&scripted);
	size_t n_most = bus_stand_most(&scripted.bus);

	(void)state;
	scripted_close(&scripted);
	is_open = false;
	if (flaw)
		fail_msg("%s", flaw);
	assert_int_equal(n_most, 1);
}

/* When a test before it failed, too. */
static int close_all(void **state)
{
	(void)state;
	if (is_open)
		scripted_close(&scripted);
	return 0;
}

static size_t list_tests(const char *name, struct CMUnitTest *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < table.n_rows; i++)
		if (!name || strcmp(name, table.rows[i].name) == 0)
			ret[n++] = (struct CMUnitTest){ .name = table.rows[i].name,
							.test_func = test_script,
							.initial_state = (void *)(uintptr_t)&table.rows[i] };
	ret[n++] = (struct CMUnitTest){ .name = "the end", .test_func = test_end };
	return n;
}

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[ROWS_MAX + 1];
	const struct script_table *found = argc > 1 ? scripts_find(argv[1]) : NULL;
	const char *name = argc > 2 && found ? argv[2] : NULL;

	if (!found && !(argc == 3 && strcmp(argv[1], "say") == 0)) {
		(void)fprintf(stderr, "usage: scripted_test agent|qmp|guard|disk|vmm|template|clone [NAME], or say SCRIPT\n");
		return 2;
	}
	if (found)
		table = *found;
	else
		say[0].script = argv[2];
	return _cmocka_run_group_tests(table.party, tests, list_tests(name, tests), open_all, close_all);
}
