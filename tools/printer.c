#include "tools/printer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static void print_piece(struct printer *printer, enum output_stream stream, const struct gather_piece *piece)
{
	FILE *to = stream == OUTPUT_STREAM_STDOUT ? stdout : stderr;

	if (printer->before)
		printer->before(printer->ctx);
	if (!piece->len || (fwrite(piece->data, 1, piece->len, to) == piece->len && fflush(to) == 0))
		return;
	printer->broken_errno = errno;
	printer->is_broken = true;
}

static void warn_missing(struct printer *printer, uint64_t n)
{
	char text[128];

	if (!n)
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64 " bytes of its output did not arrive", n);
	printer->warn(printer->ctx, text);
}

void printer_take(struct printer *printer, const struct output_chunk *chunk)
{
	struct gather_piece piece = gather_take(&printer->gather, chunk);
	char text[160];

	if (piece.is_repeat) {
		(void)snprintf(
			text, sizeof(text),
			"its worker was lost; attempt %u starts over, and what it prints again is not shown twice",
			chunk->attempt);
		printer->warn(printer->ctx, text);
	}
	warn_missing(printer, piece.gap);
	print_piece(printer, chunk->stream, &piece);
}

bool printer_has_all(const struct printer *printer, const struct result *result)
{
	return printer->gather.out.next >= result->out.bytes_kept && printer->gather.err_out.next >= result->err_out.bytes_kept;
}

static void fill_pieces(struct printer *printer, enum output_stream stream, const struct result_stream *whole)
{
	struct gather_stream *gathered = gather_stream_of(&printer->gather, stream);
	struct gather_piece piece;

	while ((piece = gather_fill(gathered, whole)).len)
		print_piece(printer, stream, &piece);
}

/* Where the result does not continue what was printed: a line about the gap, then the tail. */
static void fill_stream(struct printer *printer, enum output_stream stream, const struct result_stream *whole)
{
	struct gather_stream *gathered = gather_stream_of(&printer->gather, stream);
	uint64_t tail_start = whole->bytes_kept - whole->tail.len;
	char text[128];

	fill_pieces(printer, stream, whole);
	if (gathered->next < tail_start && whole->tail.len) {
		warn_missing(printer, tail_start - gathered->next);
		gathered->next = tail_start;
		fill_pieces(printer, stream, whole);
	}
	if (gathered->next < whole->bytes_kept)
		warn_missing(printer, whole->bytes_kept - gathered->next);
	if (whole->bytes <= whole->bytes_kept)
		return;
	(void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " bytes of its %s were dropped (--output-limit)",
		       whole->bytes - whole->bytes_kept, whole->bytes,
		       stream == OUTPUT_STREAM_STDOUT ? "stdout" : "stderr");
	printer->warn(printer->ctx, text);
}

void printer_fill(struct printer *printer, const struct result *result)
{
	fill_stream(printer, OUTPUT_STREAM_STDOUT, &result->out);
	fill_stream(printer, OUTPUT_STREAM_STDERR, &result->err_out);
}
