/* The test's end of a stream socket to the engine: takes what it is given to say without ever blocking the test. */
#pragma once

#include <event2/bufferevent.h>
#include <stdbool.h>
#include <stddef.h>

struct fake_stream {
	struct bufferevent *bufferevent; /* NULL: closed, by this end */
	bool is_left;			 /* by the other end */
};

/* Takes `fd`. `on_input` is called for what came, with the stream, and has to take it from the input buffer. Fails the test itself. */
void fake_stream_open(struct fake_stream *stream, struct event_base *base, int fd, bufferevent_data_cb on_input);
void fake_stream_send(struct fake_stream *stream, const void *data, size_t len);
void fake_stream_close(struct fake_stream *stream); /* says first what the socket takes at once */
