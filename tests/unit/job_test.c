/* Jobs of the null backend in a queue of their own, with the test as Redis (leases), as Kafka's answers (answered) and as the outbox:
 * what is asked, in which order, and that each record is answered once. */
#include "tests/unit/unit.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/own.h"
#include "bus/consumer.h"
#include "bus/topics.h"
#include "worker/answered.h"
#include "worker/fitness.h"
#include "worker/outbox.h"
#include "worker/queue.h"
#include "worker/settings.h"
#include "worker/workspace/backends.h"

struct fixture {
	struct event_base *base;
	struct turns *turns;
	struct settings settings;
	struct topics topics;
	struct job_services services;
	struct queue *queue;
	char log[256]; /* what was asked: "claim finish ..." */
	bool is_full, is_ours;

	/* Questions that wait for the test's answer. */
	struct {
		lease_fn fn;
		void *ctx;
	} lease[8];
	size_t n_lease;
	const struct answered_question *question;
	answered_fn answered_fn;
	void *answered_ctx;
	int64_t answered_offset;
	outbox_fn outbox_fn;
	void *outbox_ctx;
	size_t n_messages;
	struct result told; /* the last one */
	const uint64_t *lease_ends;
};

static struct fixture *now; /* what is wrapped has no context of ours */

static void note(const char *what)
{
	size_t used = strlen(now->log);

	(void)snprintf(now->log + used, sizeof(now->log) - used, "%s%s", used ? " " : "", what);
}

static void keep_lease(const char *what, lease_fn fn, void *ctx)
{
	note(what);
	assert_true(now->n_lease < ARRAY_SIZE(now->lease));
	now->lease[now->n_lease].fn = fn;
	now->lease[now->n_lease++].ctx = ctx;
}

void __wrap_lease_claim(struct leases *leases, const char *id, const struct lease_source *source,
			const struct lease_workspace *workspace, lease_fn fn, void *ctx);
void __wrap_lease_claim(struct leases *leases, const char *id, const struct lease_source *source,
			const struct lease_workspace *workspace, lease_fn fn, void *ctx)
{
	(void)leases, (void)id, (void)source;
	assert_true(!workspace->vm_id || ident_is_id(workspace->vm_id, strlen(workspace->vm_id)));
	keep_lease("claim", fn, ctx);
}

#define WRAP_LEASE(verb, ...)                                                                                          \
	void __wrap_lease_##verb(struct leases *leases, const char *id, uint64_t token, ##__VA_ARGS__, lease_fn fn, void *ctx); \
	void __wrap_lease_##verb(struct leases *leases, const char *id, uint64_t token, ##__VA_ARGS__, lease_fn fn, void *ctx)
WRAP_LEASE(finish)
{
	(void)leases, (void)id, (void)token;
	keep_lease("finish", fn, ctx);
}
WRAP_LEASE(renew)
{
	(void)leases, (void)id, (void)token;
	keep_lease("renew", fn, ctx);
}
WRAP_LEASE(release, bool is_key_destroyed)
{
	(void)leases, (void)id, (void)token, (void)is_key_destroyed;
	keep_lease("release", fn, ctx);
}
WRAP_LEASE(abandon, bool is_key_destroyed)
{
	(void)leases, (void)id, (void)token, (void)is_key_destroyed;
	keep_lease("abandon", fn, ctx);
}

void __wrap_lease_forget(struct leases *leases, const void *ctx);
void __wrap_lease_forget(struct leases *leases, const void *ctx)
{
	(void)leases, (void)ctx;
}

uint64_t __wrap_leases_connections(const struct leases *leases);
uint64_t __wrap_leases_connections(const struct leases *leases)
{
	(void)leases;
	return 0;
}

void __wrap_answered_ask(struct answered *answered, struct answered_question *question, const struct record_place *place, answered_fn fn,
			 void *ctx);
void __wrap_answered_ask(struct answered *answered, struct answered_question *question, const struct record_place *place, answered_fn fn,
			 void *ctx)
{
	(void)answered;
	now->question = question;
	note("ask");
	now->answered_fn = fn;
	now->answered_ctx = ctx;
	now->answered_offset = place->offset;
}

void __wrap_answered_forget(struct answered_question *question);
void __wrap_answered_forget(struct answered_question *question)
{
	if (now->question == question)
		now->answered_fn = NULL;
}

int __wrap_outbox_add(struct outbox *outbox, const struct outbox_source *source, struct outbox_message *messages, size_t n,
		      const uint64_t *lease_ends_mono_ms, outbox_fn fn, void *ctx);
int __wrap_outbox_add(struct outbox *outbox, const struct outbox_source *source, struct outbox_message *messages, size_t n,
		      const uint64_t *lease_ends_mono_ms, outbox_fn fn, void *ctx)
{
	char why[160];

	(void)outbox, (void)source;
	note("tell");
	now->n_messages = n;
	now->lease_ends = lease_ends_mono_ms;
	now->outbox_fn = fn;
	now->outbox_ctx = ctx;
	if (n)
		assert_int_equal(result_decode(messages[0].data.data, messages[0].data.len, &now->told, why), 0);
	return 0;
}

static void turn(void)
{
	for (int i = 0; i < 8; i++)
		(void)event_base_loop(now->base, EVLOOP_NONBLOCK);
}

/* The question that was asked first. */
static void answer_lease(enum lease_verdict verdict, uint32_t attempt)
{
	const struct lease_grant grant = { .verdict = verdict, .token = 7, .attempt = attempt,
					   .deadline_mono_ms = clock_mono_ms() + 60000, .holder = { "t", 0, 1 } };
	lease_fn fn = now->lease[0].fn;
	void *ctx = now->lease[0].ctx;

	assert_true(now->n_lease > 0);
	memmove(&now->lease[0], &now->lease[1], --now->n_lease * sizeof(now->lease[0]));
	fn(ctx, &grant);
	turn();
}

static void answer_kafka(enum answered_verdict verdict)
{
	answered_fn fn = now->answered_fn;

	assert_non_null(fn);
	now->answered_fn = NULL;
	fn(now->answered_ctx, verdict);
	turn();
}

static void answer_outbox(bool is_told)
{
	outbox_fn fn = now->outbox_fn;

	assert_non_null(fn);
	now->outbox_fn = NULL;
	fn(now->outbox_ctx, is_told);
	turn();
}

static void on_told(void *ctx, const struct job *job)
{
	(void)ctx, (void)job;
	note("told");
}

static void on_over(void *ctx, struct job *job)
{
	struct fixture *fixture = ctx;

	queue_job_is_over(fixture->queue, job);
}

static bool is_ours(void *ctx, const struct job *job)
{
	const struct fixture *fixture = ctx;

	(void)job;
	return fixture->is_ours;
}

static void on_full(void *ctx, bool is_full)
{
	struct fixture *fixture = ctx;

	fixture->is_full = is_full;
}

/* One that is not in doubt, of offset 5. */
static struct job *add_job(struct fixture *fixture)
{
	const struct consumer_record record = { .place = { "t", 0, 5 }, .data = (const uint8_t *)"x", .len = 1 };
	struct task *task = malloc(sizeof(*task));
	struct job *job;

	assert_non_null(task);
	*task = task_defaults;
	(void)snprintf(task->id, sizeof(task->id), "one");
	job = job_new(&fixture->services, task, &record);
	assert_non_null(job);
	queue_add(fixture->queue, job);
	turn();
	return job;
}

static int set_up(void **state)
{
	const struct admission_limits limits = { .slots = 2, .memory_mib = 4096, .disk_mib = 4096, .cpus = 4, .largest_disk_mib = 8192 };
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct queue_config queue = { .held_max = 4, .lease_ms = 30000, .on_full = on_full, .is_ours = is_ours,
				      .ctx = fixture };
	struct err err;

	assert_non_null(fixture);
	now = fixture;
	fixture->is_ours = true;
	fixture->settings.max_attempts = 3;
	topics_name("t", &fixture->topics);
	queue.base = fixture->base = event_base_new();
	queue.admission = admission_new(&limits);
	assert_int_equal(turns_new(fixture->base, &fixture->turns, &err), 0);
	fixture->services = (struct job_services){ .settings = &fixture->settings, .topics = &fixture->topics, .accel = "none",
						   .turns = fixture->turns, .admission = queue.admission, .on_told = on_told,
						   .on_over = on_over, .ctx = fixture };
	fixture->services.workspaces = (struct workspace_host){ .base = fixture->base, .turns = fixture->turns, .backend = backend_find("null"),
								.admission = queue.admission };
	fixture->queue = queue_new(&queue);
	assert_non_null(fixture->queue);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	queue_free(fixture->queue); /* asserts that no job is left */
	admission_free(fixture->services.admission);
	turns_free(fixture->turns);
	event_base_free(fixture->base);
	result_clear(&fixture->told);
	free(fixture);
	return 0;
}

static void check_none_left(const struct fixture *fixture)
{
	struct queue_count count = queue_count(fixture->queue);

	assert_int_equal(count.held + count.waiting + count.running, 0);
}

static void test_told_once(void **state)
{
	struct fixture *fixture = *state;

	(void)add_job(fixture);
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	assert_string_equal(fixture->log, "claim tell");
	assert_int_equal(fixture->n_messages, 1);
	assert_int_equal(fixture->told.outcome, RESULT_OUTCOME_SUCCEEDED);
	assert_int_equal(fixture->told.ran, RESULT_RAN_NOT_STARTED);
	assert_int_equal(fixture->told.offset, 5);
	assert_true(*fixture->lease_ends > clock_mono_ms()); /* it is told within its lease */
	answer_outbox(true);
	assert_string_equal(fixture->log, "claim tell told finish");
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	check_none_left(fixture);
}

/* Dropped by the outbox: another try, whose claim says who answers; the attempt is given back as it was not run. */
static void test_untold(void **state)
{
	struct fixture *fixture = *state;

	(void)add_job(fixture);
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	answer_outbox(false);
	assert_string_equal(fixture->log, "claim tell release");
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	assert_int_equal(queue_count(fixture->queue).held, 1);
	queue_drop_all(fixture->queue, "the test is over");
	turn();
	check_none_left(fixture);
}

static void test_in_doubt(void **state)
{
	struct fixture *fixture = *state;

	(void)add_job(fixture);
	answer_lease(LEASE_VERDICT_UNKNOWN, 0); /* from here on somebody else may have had it */
	fixture->log[0] = '\0';
	queue_next_of_id(fixture->queue, "one", NULL)->wait.not_before_mono_ms = 0;
	queue_ask_admission(fixture->queue);
	turn();
	answer_lease(LEASE_VERDICT_CLAIMED, 2);
	assert_string_equal(fixture->log, "claim ask");
	assert_int_equal(fixture->answered_offset, 5);
	answer_kafka(ANSWERED_VERDICT_DONE);
	assert_string_equal(fixture->log, "claim ask tell");
	assert_int_equal(fixture->n_messages, 0); /* marked done, and nothing said */
	answer_outbox(true);
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	check_none_left(fixture);
}

static void meet_other_record(struct fixture *fixture, enum lease_verdict verdict)
{
	(void)add_job(fixture);
	answer_lease(verdict, 0);
	assert_int_equal(fixture->answered_offset, 5); /* its own first */
	answer_kafka(ANSWERED_VERDICT_OPEN);
	assert_int_equal(fixture->answered_offset, 1);
	answer_kafka(ANSWERED_VERDICT_OPEN);
	assert_string_equal(fixture->log, "claim ask ask tell");
}

static void test_duplicate(void **state)
{
	struct fixture *fixture = *state;

	meet_other_record(fixture, LEASE_VERDICT_DUPLICATE);
	assert_int_equal(fixture->n_messages, 1);
	assert_int_equal(fixture->told.event, RESULT_EVENT_DUPLICATE);
	assert_int_equal(fixture->told.same_as.offset, 1);
	assert_null(fixture->lease_ends);
	answer_outbox(true);
	assert_string_equal(fixture->log, "claim ask ask tell told"); /* there is no lease to give up */
	check_none_left(fixture);
}

static void test_conflict(void **state)
{
	struct fixture *fixture = *state;

	meet_other_record(fixture, LEASE_VERDICT_CONFLICT);
	assert_int_equal(fixture->n_messages, 2); /* the refusal, and the record for the dead letters */
	assert_int_equal(fixture->told.event, RESULT_EVENT_REFUSED);
	answer_outbox(true);
	check_none_left(fixture);
}

/* What waits for a lease is in nobody's way, and goes on as soon as the id is free. */
static void test_waiting(void **state)
{
	struct fixture *fixture = *state;

	(void)add_job(fixture);
	answer_lease(LEASE_VERDICT_RUNNING, 0);
	assert_int_equal(queue_count(fixture->queue).waiting, 1);
	assert_int_equal(queue_count(fixture->queue).held, 0);
	queue_drop_held(fixture->queue, "the test is over");
	turn();
	assert_string_equal(fixture->log, "claim");
	check_none_left(fixture);
}

/* A grant that comes when the end was decided is given up. */
static void test_dropped_while_claiming(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_ours = false;
	job_drop(add_job(fixture), "its partition went");
	turn();
	assert_string_equal(fixture->log, "claim");
	assert_int_equal(queue_count(fixture->queue).running, 1);
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	assert_string_equal(fixture->log, "claim release");
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	check_none_left(fixture);
}

static void test_cancelled(void **state)
{
	struct fixture *fixture = *state;

	job_cancel(add_job(fixture)); /* while its claim is on its way */
	turn();
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	assert_int_equal(fixture->told.outcome, RESULT_OUTCOME_CANCELLED);
	answer_outbox(true);
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	check_none_left(fixture);
}

static void test_exhausted(void **state)
{
	struct fixture *fixture = *state;

	(void)add_job(fixture);
	answer_lease(LEASE_VERDICT_EXHAUSTED, 4);
	assert_int_equal(fixture->told.outcome, RESULT_OUTCOME_LOST);
	answer_outbox(true);
	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	check_none_left(fixture);
}

/* The lease is taken away while the result waits to be told: then it is not told any more. */
static void test_lease_lost(void **state)
{
	struct fixture *fixture = *state;
	struct job *job = add_job(fixture);

	answer_lease(LEASE_VERDICT_CLAIMED, 1);
	job_lease_renew(job);
	answer_lease(LEASE_VERDICT_GONE, 0);
	assert_true(*fixture->lease_ends == 0);
	fixture->is_ours = false;
	answer_outbox(false);
	assert_string_equal(fixture->log, "claim tell renew");
	check_none_left(fixture);
}

/* No more than there are slots begin; the hold presses back when it is full. */
static void test_admission(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_ours = false;
	for (int i = 0; i < 6; i++)
		(void)add_job(fixture);
	assert_int_equal(queue_count(fixture->queue).running, 2);
	assert_int_equal(queue_count(fixture->queue).held, 4);
	assert_true(fixture->is_full);
	queue_drop_held(fixture->queue, "the test is over");
	turn();
	queue_ask_admission(fixture->queue);
	turn();
	assert_false(fixture->is_full);
	queue_drop_all(fixture->queue, "the test is over");
	turn();
	answer_lease(LEASE_VERDICT_UNKNOWN, 0);
	answer_lease(LEASE_VERDICT_UNKNOWN, 0);
	check_none_left(fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_told_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_untold, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_doubt, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_duplicate, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_conflict, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dropped_while_claiming, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_exhausted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lease_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_admission, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
