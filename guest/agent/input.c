#include "guest/agent/input.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/own.h"

void input_open(struct input *input, int fd)
{
	*input = (struct input){ .fd = fd, .bytes.max = INPUT_MAX_BYTES };
}

int input_take(struct input *input, const struct frame *frame, struct err *err)
{
	uint64_t skip = input->received - frame->offset;
	int r = 0;

	if (frame->offset > input->received || (input->is_complete && skip < frame->len))
		return err_set(err, ERR_BUG, 0,
			       "stdin at %" PRIu64 " does not continue the %" PRIu64 " bytes before it", frame->offset,
			       input->received);
	if (skip < frame->len && input->fd >= 0) /* else nobody wants it */
		r = buf_append(&input->bytes, frame->data + skip, frame->len - (size_t)skip);
	if (r < 0)
		return err_set(err, ERR_INPUT, -r, "hold more than %d bytes of the program's input", INPUT_MAX_BYTES);
	input->received += skip < frame->len ? frame->len - skip : 0;
	input->is_complete |= frame->is_last;
	return 0;
}

void input_write(struct input *input)
{
	while (input->fd >= 0 && input->bytes.len) {
		ssize_t n = write(input->fd, input->bytes.data, input->bytes.len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno != EINTR)
			input_close(input); /* EPIPE: the program closed it */
		else if (n > 0)
			buf_consume(&input->bytes, (size_t)n);
	}
	if (input->is_complete)
		input_close(input);
}

bool input_is_waiting(const struct input *input)
{
	return input->fd >= 0 && input->bytes.len;
}

void input_close(struct input *input)
{
	close_fd(&input->fd);
	buf_free(&input->bytes);
}
