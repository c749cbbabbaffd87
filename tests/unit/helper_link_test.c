/* A helper that answers, dies, hangs or is replaced, played by the other end of a socket. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reaper/helper_link.h"
#include "tests/support/turn.h"

#define PATIENT_MS 3600000
#define HASTY_MS   50

struct fixture {
	struct event_base *base;
	struct helper_link *link;
	int helper_fd;
	unsigned n_lost, n_replies, n_unanswered;
	char reply[16];
};

static void on_lost(void *ctx, const char *why)
{
	struct fixture *fixture = ctx;

	(void)why;
	assert_int_equal(fixture->n_unanswered + fixture->n_replies, 0); /* it comes first */
	fixture->n_lost++;
}

static void on_reply(void *ctx, const void *data, size_t len)
{
	struct fixture *fixture = ctx;

	fixture->n_replies += data != NULL;
	fixture->n_unanswered += data == NULL;
	if (data)
		(void)snprintf(fixture->reply, sizeof(fixture->reply), "%.*s", (int)len, (const char *)data);
}

static int new_helper(struct fixture *fixture)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	fixture->helper_fd = pair[1];
	return pair[0];
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct err err;

	assert_non_null(fixture);
	fixture->base = event_base_new();
	assert_int_equal(helper_link_new(fixture->base, new_helper(fixture), 8, on_lost, fixture, &fixture->link, &err), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	helper_link_free(fixture->link);
	if (fixture->helper_fd >= 0)
		(void)close(fixture->helper_fd);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

static bool is_answered(const void *ctx)
{
	const struct fixture *fixture = ctx;

	return fixture->n_replies + fixture->n_unanswered > 0;
}

static void assert_answer(struct fixture *fixture, unsigned n_replies, unsigned n_unanswered, unsigned n_lost)
{
	turn_until(fixture->base, is_answered, fixture);
	assert_int_equal(fixture->n_replies, n_replies);
	assert_int_equal(fixture->n_unanswered, n_unanswered);
	assert_int_equal(fixture->n_lost, n_lost);
	fixture->n_replies = fixture->n_unanswered = 0;
}

static void serve(const struct fixture *fixture, const char *request, const char *reply)
{
	char got[16] = "";

	assert_int_equal(recv(fixture->helper_fd, got, sizeof(got) - 1, 0), strlen(request));
	assert_string_equal(got, request);
	assert_int_equal(send(fixture->helper_fd, reply, strlen(reply), 0), strlen(reply));
}

static void test_an_answer(void **state)
{
	struct fixture *fixture = *state;

	helper_link_call(fixture->link, "one", 3, PATIENT_MS, on_reply, fixture);
	serve(fixture, "one", "eins");
	assert_answer(fixture, 1, 0, 0);
	assert_string_equal(fixture->reply, "eins");
}

static void test_one_that_dies_answers_nothing(void **state)
{
	struct fixture *fixture = *state;

	helper_link_call(fixture->link, "one", 3, PATIENT_MS, on_reply, fixture);
	(void)close(fixture->helper_fd);
	fixture->helper_fd = -1;
	assert_answer(fixture, 0, 1, 1);
}

static void test_one_that_hangs_answers_nothing_either(void **state)
{
	struct fixture *fixture = *state;

	helper_link_call(fixture->link, "one", 3, HASTY_MS, on_reply, fixture);
	assert_answer(fixture, 0, 1, 1);
	helper_link_call(fixture->link, "two", 3, HASTY_MS, on_reply, fixture); /* nobody is there: that is no other loss */
	assert_answer(fixture, 0, 1, 1);
}

static void test_what_nobody_asked_for_is_the_end_of_it(void **state)
{
	struct fixture *fixture = *state;

	helper_link_call(fixture->link, "one", 3, PATIENT_MS, on_reply, fixture);
	serve(fixture, "one", "far too long");
	assert_answer(fixture, 0, 1, 1);
}

static void test_its_successor_gets_what_waits(void **state)
{
	struct fixture *fixture = *state;
	int first;

	helper_link_call(fixture->link, "one", 3, HASTY_MS, on_reply, fixture);
	assert_answer(fixture, 0, 1, 1);
	helper_link_call(fixture->link, "two", 3, PATIENT_MS, on_reply, fixture);
	first = fixture->helper_fd;
	(void)send(first, "late", 4, MSG_NOSIGNAL); /* is heard by nobody */
	helper_link_attach(fixture->link, new_helper(fixture));
	serve(fixture, "two", "zwei");
	assert_answer(fixture, 1, 0, 1);
	assert_string_equal(fixture->reply, "zwei");
	(void)close(first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer),
		TEST(one_that_dies_answers_nothing),
		TEST(one_that_hangs_answers_nothing_either),
		TEST(what_nobody_asked_for_is_the_end_of_it),
		TEST(its_successor_gets_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
