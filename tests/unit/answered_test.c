/* Whether a record was answered, where Kafka's word is given by the test: records of the same numbers in two topics. */
#include "tests/unit/unit.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "wire/ledger.h"
#include "worker/answered.h"

#define QUESTIONS 3

void __wrap_committed_read(struct committed *committed, const char *group, const struct topic_partition *partitions,
			   size_t n, committed_fn fn, void *ctx);

/* What a group has committed in partition 3 of a topic. */
static const struct {
	const char *group, *topic;
	int64_t next;
	const char *metadata;
} commits[] = {
	{ "g", "m.tasks", 10, "" },
	{ "g", "m.urgent", 5, "" },
	{ "g.reaper", "m.tasks", -1, "" },
	{ "g.reaper", "m.urgent", 8, "t1:7" },
};

static size_t n_asked; /* partitions, of both groups */

static void fill(struct position *position, const char *group, const struct topic_partition *of)
{
	*position = (struct position){ .topic = of->topic, .partition = of->partition, .next = -1 };
	for (size_t i = 0; i < sizeof(commits) / sizeof(commits[0]); i++)
		if (of->partition == 3 && strcmp(commits[i].group, group) == 0 && strcmp(commits[i].topic, of->topic) == 0) {
			position->next = commits[i].next;
			(void)snprintf(position->metadata, sizeof(position->metadata), "%s", commits[i].metadata);
		}
}

void __wrap_committed_read(struct committed *committed, const char *group, const struct topic_partition *partitions,
			   size_t n, committed_fn fn, void *ctx)
{
	static struct position positions[QUESTIONS];

	(void)committed;
	assert_in_range(n, 1, QUESTIONS);
	n_asked += n;
	for (size_t i = 0; i < n; i++)
		fill(&positions[i], group, &partitions[i]);
	fn(ctx, positions, n, "");
}

static void on_verdict(void *ctx, enum answered_verdict verdict)
{
	*(enum answered_verdict *)ctx = verdict;
}

static void ask(const struct record_place *places, size_t n, struct partitions *partitions, enum answered_verdict *ret)
{
	const struct answered_config config = { .group = "g", .partitions = partitions };
	struct event_base *base = event_base_new();
	struct answered_question questions[QUESTIONS] = { 0 };
	struct answered *answered;
	struct err err;

	assert_int_equal(answered_new(base, &config, &answered, &err), 0);
	n_asked = 0;
	for (size_t i = 0; i < n; i++) {
		ret[i] = ANSWERED_VERDICT_COUNT;
		answered_ask(answered, &questions[i], &places[i], on_verdict, &ret[i]);
	}
	assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0); /* 1: nothing is left to wait for */
	answered_free(answered);
	event_base_free(base);
}

static void test_each_topic_has_its_own_answer(void **state)
{
	const struct record_place places[QUESTIONS] = { { "m.tasks", 3, 7 }, { "m.urgent", 3, 7 }, { "m.urgent", 3, 6 } };
	struct partitions *partitions = partitions_new();
	enum answered_verdict verdicts[QUESTIONS];

	(void)state;
	ask(places, QUESTIONS, partitions, verdicts);
	assert_int_equal(verdicts[0], ANSWERED_VERDICT_DONE);
	assert_int_equal(verdicts[1], ANSWERED_VERDICT_TOLD);
	assert_int_equal(verdicts[2], ANSWERED_VERDICT_OPEN);
	assert_int_equal(n_asked, 4); /* two partitions of two groups, each once */
	partitions_free(partitions);
}

/* To own the partition of one topic says nothing of the other's. */
static void test_what_is_known_here_is_of_one_topic(void **state)
{
	const struct record_place places[2] = { { "m.tasks", 3, 7 }, { "m.urgent", 3, 6 } };
	struct partitions *partitions = partitions_new();
	enum answered_verdict verdicts[2];

	(void)state;
	partitions_begin(partitions);
	assert_int_equal(partitions_assign(partitions, "m.urgent", 3, 7, "", 7), 7); /* 6 is done */
	partitions_end_assignment(partitions);
	ask(places, 2, partitions, verdicts);
	assert_int_equal(verdicts[0], ANSWERED_VERDICT_DONE);
	assert_int_equal(verdicts[1], ANSWERED_VERDICT_DONE);
	assert_int_equal(n_asked, 2); /* of the topic that is not ours: the ledger, then the workers */
	partitions_free(partitions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_topic_has_its_own_answer),
		cmocka_unit_test(test_what_is_known_here_is_of_one_topic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
