/* Theory of operation
 *
 *	committed_read() --> asked --(the thread takes it)--> in the thread's hands --> answered --(the loop)--> fn, gone
 *
 * asked, answered: lists that loop and thread share; the mutex is theirs. A request in them is nobody's to change.
 *
 * In the thread's hands: it is in neither list, and only the thread touches it. One at a time, because the calls
 * block; each is over in ANSWER_MS. So an answer is never older than its question, and answers come in the order of
 * the questions.
 *
 * committed_free() waits for the one that the thread has, and answers nobody any more. */
#include "bus/committed.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/log.h"
#include "base/own.h"
#include "base/thread.h"

#define ANSWER_MS  3000 /* of one request: longer than a healthy transaction, shorter than anybody's patience */
#define GROUPS_MAX 4	/* that are asked about: each has a client of its own */

struct request {
	TAILQ_ENTRY(request) link;
	char *group;
	committed_fn fn;
	void *ctx;
	struct err err;
	bool is_known;
	size_t n;
	struct position positions[];
};

TAILQ_HEAD(requests, request);

struct client {
	char *group;
	struct positions *positions;
};

struct committed {
	char *brokers;
	struct client clients[GROUPS_MAX]; /* the thread's */
	pthread_t thread;
	bool has_thread;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t cond;
	struct requests asked, answered;
	bool is_closing;
	int wake_fd; /* an eventfd: something was answered */
	struct event *wake;
};

static void request_free(struct request *request)
{
	free(request->group);
	free(request);
}

static int client_of(struct committed *committed, const char *group, struct positions **ret, struct err *err)
{
	struct client *client = committed->clients;
	size_t i = 0;

	while (i < GROUPS_MAX && client[i].group && strcmp(client[i].group, group) != 0)
		i++;
	assert(i < GROUPS_MAX); /* our own code names the groups */
	if (!client[i].group) {
		int r = positions_new(committed->brokers, group, &client[i].positions, err);

		if (r < 0)
			return r;
		client[i].group = strdup(group);
		assert(client[i].group);
	}
	*ret = client[i].positions;
	return 0;
}

static void ask(struct committed *committed, struct request *request)
{
	struct positions *positions;
	int r = client_of(committed, request->group, &positions, &request->err);

	if (r == 0)
		r = positions_read(positions, request->positions, request->n, ANSWER_MS, &request->err);
	request->is_known = r == 0;
}

static struct request *next_request(struct committed *committed)
{
	struct request *request;

	while (!(request = TAILQ_FIRST(&committed->asked)) && !committed->is_closing)
		(void)pthread_cond_wait(&committed->cond, &committed->mutex); /* cannot fail with a valid mutex */
	if (committed->is_closing)
		return NULL;
	TAILQ_REMOVE(&committed->asked, request, link);
	return request;
}

static void *run(void *arg)
{
	struct committed *committed = arg;
	const uint64_t one = 1;
	struct request *request;

	(void)pthread_mutex_lock(&committed->mutex);
	while ((request = next_request(committed))) {
		(void)pthread_mutex_unlock(&committed->mutex);
		ask(committed, request);
		(void)pthread_mutex_lock(&committed->mutex);
		TAILQ_INSERT_TAIL(&committed->answered, request, link);
		if (write(committed->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			log_error("committed.wake", "errno=%d", errno); /* a counter that is full wakes as well */
	}
	(void)pthread_mutex_unlock(&committed->mutex);
	return NULL;
}

static void answer(const struct request *request)
{
	if (request->is_known)
		request->fn(request->ctx, request->positions, request->n, "");
	else
		request->fn(request->ctx, NULL, 0, request->err.msg);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct requests answered = TAILQ_HEAD_INITIALIZER(answered);
	struct committed *committed = arg;
	struct request *request;
	uint64_t count;

	(void)what;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("committed.wake", "errno=%d", errno); /* an eventfd of ours: the lists say what there is */
	(void)pthread_mutex_lock(&committed->mutex);
	TAILQ_CONCAT(&answered, &committed->answered, link);
	(void)pthread_mutex_unlock(&committed->mutex);
	while ((request = TAILQ_FIRST(&answered))) {
		TAILQ_REMOVE(&answered, request, link);
		answer(request);
		request_free(request);
	}
}

void committed_read(struct committed *committed, const char *group, const struct topic_partition *partitions, size_t n,
		    committed_fn fn, void *ctx)
{
	struct request *request = calloc(1, sizeof(*request) + n * sizeof(request->positions[0]));

	assert(request && n > 0);
	request->group = strdup(group);
	assert(request->group);
	request->fn = fn;
	request->ctx = ctx;
	request->n = n;
	for (size_t i = 0; i < n; i++) {
		request->positions[i].topic = partitions[i].topic;
		request->positions[i].partition = partitions[i].partition;
	}
	(void)pthread_mutex_lock(&committed->mutex);
	TAILQ_INSERT_TAIL(&committed->asked, request, link);
	(void)pthread_cond_signal(&committed->cond);
	(void)pthread_mutex_unlock(&committed->mutex);
}

static int start_thread(struct committed *committed, struct err *err)
{
	int r = thread_start(run, committed, &committed->thread);

	committed->has_thread = r == 0;
	return r < 0 ? err_set(err, ERR_HOST, -r, "start a thread that asks for committed offsets") : 0;
}

DEFINE_FREEP(struct committed, committed_free)

int committed_new(struct event_base *base, const char *brokers, struct committed **ret, struct err *err)
{
	cleanup_(committed_freep) struct committed *committed = calloc(1, sizeof(*committed));
	int r;

	if (!committed)
		return err_set(err, ERR_HOST, ENOMEM, "ask for committed offsets");
	TAILQ_INIT(&committed->asked);
	TAILQ_INIT(&committed->answered);
	(void)pthread_mutex_init(&committed->mutex, NULL); /* default attributes: cannot fail on Linux */
	(void)pthread_cond_init(&committed->cond, NULL);
	committed->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (committed->wake_fd < 0)
		return err_set(err, ERR_HOST, errno, "an eventfd");
	committed->brokers = strdup(brokers);
	committed->wake = event_new(base, committed->wake_fd, EV_READ | EV_PERSIST, on_wake, committed);
	if (!committed->brokers || !committed->wake || event_add(committed->wake, NULL) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "ask for committed offsets");
	r = start_thread(committed, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(committed);
	return 0;
}

static void end_thread(struct committed *committed)
{
	if (!committed->has_thread)
		return;
	(void)pthread_mutex_lock(&committed->mutex);
	committed->is_closing = true;
	(void)pthread_cond_signal(&committed->cond);
	(void)pthread_mutex_unlock(&committed->mutex);
	(void)pthread_join(committed->thread, NULL); /* joinable, and not us */
}

static void free_all(struct requests *list)
{
	struct request *request;

	while ((request = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, request, link);
		request_free(request);
	}
}

void committed_free(struct committed *committed)
{
	if (!committed)
		return;
	end_thread(committed);
	free_all(&committed->asked);
	free_all(&committed->answered);
	for (size_t i = 0; i < GROUPS_MAX; i++) {
		free(committed->clients[i].group);
		positions_free(committed->clients[i].positions);
	}
	if (committed->wake)
		event_free(committed->wake);
	close_fd(&committed->wake_fd);
	(void)pthread_cond_destroy(&committed->cond);
	(void)pthread_mutex_destroy(&committed->mutex);
	free(committed->brokers);
	free(committed);
}
