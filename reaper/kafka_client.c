#include "reaper/kafka_client.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "loop/timer.h"

struct kafka_client {
	int fd; /* -1: lost */
	struct event *readable;
	struct timer *late;
	unsigned patience_ms;
	void (*on_lost)(void *ctx, const char *why);
	void *lost_ctx;
	kafka_client_fn fn; /* NULL: nothing is asked */
	void *ctx;
	struct kafka_request request; /* the last one */
	struct kafka_reply reply;
};

static void let_go(struct kafka_client *client)
{
	if (client->readable)
		event_free(client->readable);
	client->readable = NULL;
	close_fd(&client->fd);
}

static void lose(struct kafka_client *client, const char *why)
{
	let_go(client);
	timer_stop(client->late);
	client->on_lost(client->lost_ctx, why);
}

static bool is_reply(const struct kafka_client *client, size_t len)
{
	const struct kafka_reply *reply = &client->reply;

	if (!client->fn || len != sizeof(*reply) || reply->magic != KAFKA_REQUEST_MAGIC ||
	    reply->op != client->request.op || reply->n != client->request.n ||
	    !memchr(reply->error, '\0', sizeof(reply->error)))
		return false;
	for (uint32_t i = 0; i < reply->n; i++)
		if (reply->verdicts[i] >= KAFKA_VERDICT_COUNT)
			return false;
	return true;
}

static void answer(struct kafka_client *client)
{
	kafka_client_fn fn = client->fn;

	timer_stop(client->late);
	client->fn = NULL; /* it may call again */
	fn(client->ctx, &client->reply);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct kafka_client *client = ctx;
	ssize_t n = recv(fd, &client->reply, sizeof(client->reply), MSG_DONTWAIT | MSG_TRUNC);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		lose(client, n < 0 ? strerror(errno) : "the Kafka process ended");
	else if (!is_reply(client, (size_t)n))
		lose(client, "the Kafka process answered something else than it was asked");
	else
		answer(client);
}

static void on_late(void *ctx)
{
	lose(ctx, "the Kafka process did not answer in time");
}

static int watch(struct kafka_client *client, struct event_base *base)
{
	client->readable = event_new(base, client->fd, EV_READ | EV_PERSIST, on_readable, client);
	return client->readable && event_add(client->readable, NULL) == 0 ? 0 : -ENOMEM;
}

int kafka_client_new(struct event_base *base, int fd, unsigned patience_ms, void (*on_lost)(void *ctx, const char *why),
		     void *ctx, struct kafka_client **ret, struct err *err)
{
	cleanup_(kafka_client_freep) struct kafka_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client) {
		(void)close(fd); /* ours now; nothing was written */
		return err_set(err, ERR_HOST, ENOMEM, "talk to the Kafka process");
	}
	client->fd = fd;
	client->patience_ms = patience_ms;
	client->on_lost = on_lost;
	client->lost_ctx = ctx;
	r = timer_new(base, on_late, client, &client->late, err);
	if (r < 0)
		return r;
	if (watch(client, base) < 0)
		return err_set(err, ERR_HOST, ENOMEM, "talk to the Kafka process");
	*ret = TAKE_PTR(client);
	return 0;
}

/* A process that is gone shows as the end of the socket, one that is stuck as the missing reply. */
void kafka_client_call(struct kafka_client *client, enum kafka_op op, const struct kafka_item *items, size_t n,
		       kafka_client_fn fn, void *ctx)
{
	struct kafka_request *request = &client->request;

	assert(!client->fn && n <= REAP_BATCH_MAX);
	client->fn = fn;
	client->ctx = ctx;
	request->magic = KAFKA_REQUEST_MAGIC;
	request->op = op;
	request->n = (uint32_t)n;
	if (n)
		memcpy(request->items, items, n * sizeof(*items));
	(void)send(client->fd, request, kafka_request_len(request->n), MSG_DONTWAIT | MSG_NOSIGNAL);
	timer_set_ms(client->late, client->patience_ms);
}

void kafka_client_free(struct kafka_client *client)
{
	if (!client)
		return;
	let_go(client);
	timer_free(client->late);
	free(client);
}
