#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/result.h"

static void drop_stream(struct result_stream *stream)
{
	buf_free(&stream->head);
	buf_free(&stream->tail);
}

static void drop_file_data(struct result_file *file)
{
	free(TAKE_PTR(file->data));
	file->len = 0;
	if (!file->error[0])
		(void)snprintf(file->error, sizeof(file->error), "left out: the results topic refuses a result of this size");
}

static void drop_files(struct result *result)
{
	for (size_t i = 0; i < result->n_files; i++) {
		free(result->files[i].path);
		free(result->files[i].data);
	}
	free(TAKE_PTR(result->files));
	result->n_files = 0;
}

static void drop_labels(struct result *result)
{
	for (size_t i = 0; i < result->n_labels; i++) {
		free(result->labels[i].key);
		free(result->labels[i].value);
	}
	free(TAKE_PTR(result->labels));
	result->n_labels = 0;
}

/* Behind what the message says already, which is cut where there is no room for both. */
static void note_in_message(struct result *result, enum result_form form, size_t refused_bytes)
{
	char note[128];
	int len = snprintf(note, sizeof(note), "told without %s: the results topic refuses %zu bytes",
			   form == RESULT_FORM_SHORT ? "inline output and files" : "output, files and labels", refused_bytes);
	size_t room = sizeof(result->message) - 1 - (size_t)len - 2;
	size_t kept = strnlen(result->message, room);

	(void)snprintf(result->message + kept, sizeof(result->message) - kept, "%s%s", kept ? "; " : "", note); /* fits */
}

static void shorten(struct result *result, enum result_form form)
{
	drop_stream(&result->out);
	drop_stream(&result->err_out);
	for (size_t i = 0; i < result->n_files; i++)
		drop_file_data(&result->files[i]);
	if (form < RESULT_FORM_SHORTEST)
		return;
	drop_files(result);
	drop_labels(result);
}

int result_shorten(const struct buf *whole, enum result_form form, size_t refused_bytes, struct buf *ret)
{
	struct result result;
	char why[160];
	int r = result_decode(whole->data, whole->len, &result, why);

	if (r < 0)
		return r;
	shorten(&result, form);
	note_in_message(&result, form, refused_bytes);
	r = result_encode(&result, ret);
	result_clear(&result);
	return r;
}
