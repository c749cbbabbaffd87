/* Output of a program: counted against its limit, digested, its head and tail kept for the result, and, when asked, streamed in
 * chunks. The agent gets its acknowledgement when a byte is taken: at once, or when Kafka has the chunk. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "bus/streamer.h"
#include "worker/workspace/exec_private.h"

#define CHUNKS_MAX 64 /* on their way, of one program: the producer's queue is everybody's, and a guest may write byte by byte */

struct chunk {
	struct exec *exec;
	uint32_t stream;
	uint64_t end; /* where it ends in its stream */
	size_t len;
};

int exec_output_begin(struct exec *exec)
{
	for (int i = 0; i < 2; i++) {
		exec->digests[i] = EVP_MD_CTX_new();
		if (!exec->digests[i] || EVP_DigestInit_ex(exec->digests[i], EVP_sha256(), NULL) != 1)
			return -ENOMEM;
	}
	return 0;
}

void exec_output_end(struct exec *exec)
{
	struct result *result = exec->config.result;

	for (int i = 0; i < 2; i++) {
		struct result_stream *stream = i == 0 ? &result->out : &result->err_out;

		if (exec->digests[i])
			(void)EVP_DigestFinal_ex(exec->digests[i], stream->sha256, NULL); /* was initialised: cannot fail */
		EVP_MD_CTX_free(TAKE_PTR(exec->digests[i]));
		if (stream->bytes < stream->bytes_kept)
			stream->bytes = stream->bytes_kept; /* the agent never said how much was written */
	}
}

/* `stream` was taken up to `end`. */
static void send_ack(struct exec *exec, uint32_t stream, uint64_t end)
{
	const struct frame frame = { .type = FRAME_ACK, .exec = exec->program.exec, .stream = stream, .offset = end };

	if (exec->state != EXEC_OVER)
		workspace_send(exec->config.workspace, &frame);
}

void exec_on_delivered(void *ctx, void *opaque, bool is_delivered)
{
	cleanup_free struct chunk *chunk = opaque;
	struct exec *exec;

	(void)ctx;
	if (!chunk)
		return; /* a lifecycle event */
	exec = chunk->exec;
	exec->flow.chunks--;
	exec->flow.bytes -= chunk->len;
	exec->flow.failures += !is_delivered;
	send_ack(exec, chunk->stream, chunk->end);
	if (exec->state != EXEC_OVER)
		workspace_resume(exec->config.workspace);
	else if (exec_is_drained(exec))
		exec->config.events->on_drained(exec->config.ctx);
}

static int hand_over(struct exec *exec, const struct frame *frame)
{
	const struct exec_stream *stream = &exec->config.stream;
	const char *id = exec->config.program->id;
	struct output_chunk output = { .stream = (enum output_stream)frame->stream, .seq = exec->flow.next_seq,
				       .offset = frame->offset, .attempt = stream->attempt, .data = frame->data, .len = frame->len };
	cleanup_free struct chunk *chunk = malloc(sizeof(*chunk));
	cleanup_(buf_free) struct buf message = { 0 };
	struct err err;
	int r;

	if (!chunk)
		return -ENOMEM;
	*chunk = (struct chunk){ .exec = exec, .stream = frame->stream, .end = frame->offset + frame->len, .len = frame->len };
	memcpy(output.id, id, sizeof(output.id));
	r = output_encode(&output, &message);
	if (r == 0)
		r = streamer_send(stream->streamer, stream->topic, id, strlen(id), message.data, message.len, chunk, &err);
	if (r == 0)
		(void)TAKE_PTR(chunk); /* exec_on_delivered() frees it */
	return r;
}

/* 0, or -ENOBUFS: not now, come again. */
static int stream_chunk(struct exec *exec, const struct frame *frame)
{
	int r = exec->flow.chunks < CHUNKS_MAX ? hand_over(exec, frame) : -ENOBUFS;

	if (r == -ENOBUFS && exec->flow.chunks > 0)
		return r;
	if (r < 0) {
		exec->flow.failures++;
		send_ack(exec, frame->stream, frame->offset + frame->len);
		return 0;
	}
	exec->flow.next_seq++;
	exec->flow.chunks++;
	exec->flow.bytes += frame->len;
	return 0;
}

bool exec_output_take(struct exec *exec, const struct frame *frame)
{
	bool is_stdout = frame->stream == OUTPUT_STREAM_STDOUT, is_streaming = exec->config.program->is_streaming;
	struct result *result = exec->config.result;
	struct result_stream *stream = is_stdout ? &result->out : &result->err_out;
	uint64_t kept = result->out.bytes_kept + result->err_out.bytes_kept;

	if (frame->offset != stream->bytes_kept || kept + frame->len > exec->config.program->output_limit_bytes) {
		workspace_guest_fault(exec->config.workspace, "its agent sent output that was not asked for");
		return true;
	}
	if (is_streaming && stream_chunk(exec, frame) < 0)
		return false;
	if (result_stream_add(stream, frame->data, frame->len) < 0 ||
	    EVP_DigestUpdate(exec->digests[is_stdout ? 0 : 1], frame->data, frame->len) != 1)
		workspace_guest_fault(exec->config.workspace, "no memory for its output");
	else if (!is_streaming)
		send_ack(exec, frame->stream, frame->offset + frame->len);
	return true;
}
