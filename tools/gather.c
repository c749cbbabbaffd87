#include "tools/gather.h"

struct gather_stream *gather_stream_of(struct gather *gather, enum output_stream stream)
{
	return stream == OUTPUT_STREAM_STDOUT ? &gather->out : &gather->err_out;
}

struct gather_piece gather_take(struct gather *gather, const struct output_chunk *chunk)
{
	struct gather_stream *stream = gather_stream_of(gather, chunk->stream);
	struct gather_piece piece = { .is_repeat = gather->attempt && chunk->attempt > gather->attempt };
	uint64_t skip = chunk->offset < stream->next ? stream->next - chunk->offset : 0;

	if (chunk->attempt < gather->attempt)
		return (struct gather_piece){ 0 }; /* a late word of an attempt that is over */
	gather->attempt = chunk->attempt;
	if (skip >= chunk->len)
		return piece;
	piece.gap = chunk->offset > stream->next ? chunk->offset - stream->next : 0;
	piece.data = chunk->data + skip;
	piece.len = chunk->len - (size_t)skip;
	stream->lost += piece.gap;
	stream->next += piece.gap + piece.len;
	return piece;
}

struct gather_piece gather_fill(struct gather_stream *stream, const struct result_stream *whole)
{
	uint64_t tail_start = whole->bytes_kept - whole->tail.len;
	struct gather_piece piece = { 0 };

	if (stream->next < whole->head.len) {
		piece.data = whole->head.data + stream->next;
		piece.len = whole->head.len - (size_t)stream->next;
	} else if (whole->tail.len && stream->next >= tail_start && stream->next < whole->bytes_kept) {
		piece.data = whole->tail.data + (stream->next - tail_start);
		piece.len = (size_t)(whole->bytes_kept - stream->next);
	}
	stream->next += piece.len;
	return piece;
}
