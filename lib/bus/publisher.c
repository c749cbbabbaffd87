/* Theory of operation
 *
 *	nowhere --(publisher_submit)--> with the thread --(published)--> done --(the loop's turn)--> on_done, nowhere
 *
 * The thread owns the producer (bus/producer.c), whose calls block; the loop's side owns everything else. The mutex
 * guards just the hand-over of a batch, which is in one of three places:
 *
 * nowhere: the loop may submit one.
 *
 * with the thread: `batch` is set, `is_done` is not. Its messages may not change. Its membership was captured when it
 * was handed over: after a rebalance the broker refuses it, so that offsets of a partition that moved are never
 * committed by its former owner.
 *
 * done: `is_done` is set, with the verdict, and the eventfd wakes the loop. The thread touches neither until the next
 * batch.
 *
 * A new producer undoes a fence. So a batch is committed only by the producer that was open when it was handed over:
 * what came before there was one goes back as aborted, and its owner looks again whether it may still tell it. */
#include "bus/publisher.h"

#include <assert.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/thread.h"
#include "bus/consumer.h"
#include "bus/producer.h"

struct publisher {
	char *group;
	struct consumer *consumer; /* borrowed; NULL: no membership */
	struct producer *producer; /* the thread's */
	pthread_t thread;
	bool has_thread;

	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t cond;
	const struct publish_batch *batch;
	rd_kafka_consumer_group_metadata_t *membership; /* of the batch */
	bool is_stopping;
	bool is_done;
	enum publish_verdict verdict; /* valid with is_done */
	char why[PRODUCER_WHY_BYTES]; /* likewise */

	bool is_busy; /* the loop's: a batch is out */
	int done_fd;
	struct event *done;
	void (*on_done)(void *ctx, enum publish_verdict verdict, const char *why);
	void *ctx;
};

static bool is_stopping(void *ctx)
{
	struct publisher *publisher = ctx;
	bool result;

	(void)pthread_mutex_lock(&publisher->mutex);
	result = publisher->is_stopping;
	(void)pthread_mutex_unlock(&publisher->mutex);
	return result;
}

/* NULL: stopping. */
static const struct publish_batch *wait_for_batch(struct publisher *publisher)
{
	const struct publish_batch *batch;

	(void)pthread_mutex_lock(&publisher->mutex);
	while ((!publisher->batch || publisher->is_done) && !publisher->is_stopping)
		(void)pthread_cond_wait(&publisher->cond, &publisher->mutex);
	batch = publisher->is_done ? NULL : publisher->batch;
	(void)pthread_mutex_unlock(&publisher->mutex);
	return batch;
}

static void hand_back(struct publisher *publisher, enum publish_verdict verdict, const char *why)
{
	const uint64_t one = 1;

	(void)pthread_mutex_lock(&publisher->mutex);
	publisher->verdict = verdict;
	(void)snprintf(publisher->why, sizeof(publisher->why), "%s", why); /* of the same size */
	publisher->is_done = true;
	(void)pthread_mutex_unlock(&publisher->mutex);
	if (write(publisher->done_fd, &one, sizeof(one)) < 0)
		log_error("publisher.wake", "errno=%d", errno); /* an eventfd counter that is 0 or 1 cannot be full */
}

static bool has_early_batch(struct publisher *publisher)
{
	const struct publish_batch *batch;

	(void)pthread_mutex_lock(&publisher->mutex);
	batch = publisher->batch;
	(void)pthread_mutex_unlock(&publisher->mutex);
	return batch && (batch->n_messages || batch->n_offsets);
}

static void serve(struct publisher *publisher)
{
	const struct publish_batch *batch;
	char why[PRODUCER_WHY_BYTES];

	if (has_early_batch(publisher))
		hand_back(publisher, PUBLISH_VERDICT_ABORTED, "handed over before the producer was there");
	while ((batch = wait_for_batch(publisher))) {
		enum publish_verdict verdict = producer_publish(publisher->producer, batch, publisher->membership, why);

		hand_back(publisher, verdict, why);
	}
}

static void *run(void *arg)
{
	struct publisher *publisher = arg;

	if (producer_open(publisher->producer))
		serve(publisher);
	producer_close(publisher->producer);
	return NULL;
}

static void on_done_fd(evutil_socket_t fd, short what, void *arg)
{
	struct publisher *publisher = arg;
	enum publish_verdict verdict;
	char why[sizeof(publisher->why)];
	uint64_t ticks;

	(void)what;
	if (read(fd, &ticks, sizeof(ticks)) < 0)
		return;
	(void)pthread_mutex_lock(&publisher->mutex);
	verdict = publisher->verdict;
	memcpy(why, publisher->why, sizeof(why));
	publisher->batch = NULL;
	publisher->is_done = false;
	(void)pthread_mutex_unlock(&publisher->mutex);
	if (publisher->membership)
		rd_kafka_consumer_group_metadata_destroy(TAKE_PTR(publisher->membership));
	publisher->is_busy = false;
	publisher->on_done(publisher->ctx, verdict, why);
}

void publisher_submit(struct publisher *publisher, const struct publish_batch *batch)
{
	assert(!publisher->is_busy);
	publisher->is_busy = true;
	publisher->membership = publisher->consumer ?
					rd_kafka_consumer_group_metadata(consumer_handle(publisher->consumer)) :
					rd_kafka_consumer_group_metadata_new(publisher->group);
	(void)pthread_mutex_lock(&publisher->mutex);
	publisher->batch = batch;
	(void)pthread_cond_signal(&publisher->cond);
	(void)pthread_mutex_unlock(&publisher->mutex);
}

static int start_thread(struct publisher *publisher, struct err *err)
{
	int r = thread_start(run, publisher, &publisher->thread);

	publisher->has_thread = r == 0;
	return r < 0 ? err_set(err, ERR_HOST, -r, "start the publisher's thread") : 0;
}

static int watch_done(struct publisher *publisher, struct event_base *base, struct err *err)
{
	publisher->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (publisher->done_fd >= 0)
		publisher->done = event_new(base, publisher->done_fd, EV_READ | EV_PERSIST, on_done_fd, publisher);
	if (!publisher->done || event_add(publisher->done, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "watch the publisher");
	return 0;
}

DEFINE_FREEP(struct publisher, publisher_free)

int publisher_new(struct event_base *base, const struct publisher_config *config, struct consumer *consumer,
		  void (*on_done)(void *ctx, enum publish_verdict verdict, const char *why), void *ctx,
		  struct publisher **ret, struct err *err)
{
	cleanup_(publisher_freep) struct publisher *publisher = calloc(1, sizeof(*publisher));
	int r;

	if (!publisher)
		return err_set(err, ERR_HOST, ENOMEM, "a publisher");
	(void)pthread_mutex_init(&publisher->mutex, NULL); /* default attributes: cannot fail on Linux */
	(void)pthread_cond_init(&publisher->cond, NULL);
	publisher->done_fd = -1;
	publisher->consumer = consumer;
	publisher->on_done = on_done;
	publisher->ctx = ctx;
	publisher->group = strdup(config->group);
	if (!publisher->group)
		return err_set(err, ERR_HOST, ENOMEM, "a publisher");
	r = producer_new(config, is_stopping, publisher, &publisher->producer, err);
	if (r == 0)
		r = watch_done(publisher, base, err);
	if (r == 0)
		r = start_thread(publisher, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(publisher);
	return 0;
}

void publisher_free(struct publisher *publisher)
{
	if (!publisher)
		return;
	if (publisher->has_thread) {
		(void)pthread_mutex_lock(&publisher->mutex);
		publisher->is_stopping = true;
		(void)pthread_cond_signal(&publisher->cond);
		(void)pthread_mutex_unlock(&publisher->mutex);
		(void)pthread_join(publisher->thread, NULL); /* joinable, and not us */
	}
	if (publisher->membership)
		rd_kafka_consumer_group_metadata_destroy(publisher->membership);
	if (publisher->done)
		event_free(publisher->done);
	close_fd(&publisher->done_fd);
	(void)pthread_cond_destroy(&publisher->cond);
	(void)pthread_mutex_destroy(&publisher->mutex);
	producer_free(publisher->producer);
	free(publisher->group);
	free(publisher);
}
