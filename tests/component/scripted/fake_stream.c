#include "tests/component/scripted/fake_stream.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stddef.h>

#include "base/own.h"

static void on_event(struct bufferevent *bufferevent, short what, void *ctx)
{
	struct fake_stream *stream = ctx;

	(void)bufferevent;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		stream->is_left = true;
}

/* `ctx` of the callbacks is one: the stream is the first member of whatever has it. */
void fake_stream_open(struct fake_stream *stream, struct event_base *base, int fd, bufferevent_data_cb on_input)
{
	assert(evutil_make_socket_nonblocking(fd) == 0);
	*stream = (struct fake_stream){ .bufferevent = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE) };
	assert(stream->bufferevent);
	bufferevent_setcb(stream->bufferevent, on_input, NULL, on_event, stream);
	assert(bufferevent_enable(stream->bufferevent, EV_READ | EV_WRITE) == 0);
}

void fake_stream_send(struct fake_stream *stream, const void *data, size_t len)
{
	if (stream->bufferevent && !stream->is_left)
		assert(bufferevent_write(stream->bufferevent, data, len) == 0);
}

void fake_stream_close(struct fake_stream *stream)
{
	if (!stream->bufferevent)
		return;
	(void)evbuffer_write(bufferevent_get_output(stream->bufferevent), bufferevent_getfd(stream->bufferevent));
	bufferevent_free(TAKE_PTR(stream->bufferevent));
}
