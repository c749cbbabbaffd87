/* Files of a program: those that come with it go to the guest, those that it was asked for come back. */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/workspace/exec_private.h"

static void send_file(struct exec *exec, const struct task_file *file)
{
	struct frame frame = { .type = FRAME_PUT, .exec = exec->program.exec, .mode = file->mode,
			       .path = { .text = file->path, .len = strlen(file->path) } };

	do {
		size_t left = file->len - frame.offset;

		frame.len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX;
		frame.data = left ? file->data + frame.offset : NULL;
		frame.is_last = frame.len == left;
		workspace_send(exec->config.workspace, &frame);
		frame.offset += frame.len;
	} while (frame.offset < file->len);
}

void exec_files_send(struct exec *exec)
{
	for (size_t i = 0; i < exec->config.program->n_files; i++)
		send_file(exec, &exec->config.program->files[i]);
}

void exec_files_ask(struct exec *exec)
{
	const struct task *program = exec->config.program;
	struct frame_text paths[TASK_MAX_COLLECT];
	struct frame frame = { .type = FRAME_COLLECT, .exec = exec->program.exec, .paths = paths, .n_paths = program->n_collect,
			       .limit_bytes = RESULT_FILES_BYTES };

	for (size_t i = 0; i < program->n_collect; i++)
		paths[i] = (struct frame_text){ .text = program->collect[i].text, .len = strlen(program->collect[i].text) };
	exec_enter(exec, EXEC_COLLECTING, EXEC_COLLECT_MS);
	workspace_send(exec->config.workspace, &frame);
}

static bool is_asked_for(const struct task *program, struct frame_text path)
{
	for (size_t i = 0; i < program->n_collect; i++)
		if (strlen(program->collect[i].text) == path.len && memcmp(program->collect[i].text, path.text, path.len) == 0)
			return true;
	return false;
}

static struct result_file *add_file(struct exec *exec, const struct frame *frame)
{
	const struct task *program = exec->config.program;
	struct result *result = exec->config.result;
	struct result_file *file;

	if (result->n_files == program->n_collect || !is_asked_for(program, frame->path))
		return NULL;
	if (!result->files)
		result->files = calloc(program->n_collect, sizeof(*result->files));
	if (!result->files)
		return NULL;
	file = &result->files[result->n_files];
	file->path = strndup(frame->path.text, frame->path.len);
	if (!file->path)
		return NULL;
	file->size = frame->size;
	file->mode = frame->mode;
	result->n_files++;
	return file;
}

static bool append(struct result *result, struct result_file *file, const struct frame *frame)
{
	size_t total = 0;
	uint8_t *grown;

	for (size_t i = 0; i < result->n_files; i++)
		total += result->files[i].len;
	if (frame->offset != file->len || total + frame->len > RESULT_FILES_BYTES)
		return false;
	grown = realloc(file->data, file->len + frame->len + 1);
	if (!grown)
		return false;
	file->data = grown;
	if (frame->len)
		memcpy(file->data + file->len, frame->data, frame->len);
	file->len += frame->len;
	return true;
}

void exec_files_take(struct exec *exec, const struct frame *frame)
{
	struct result *result = exec->config.result;
	struct result_file *file = NULL;

	if (frame->offset == 0)
		file = add_file(exec, frame);
	else if (result->n_files)
		file = &result->files[result->n_files - 1];
	if (!file)
		workspace_guest_fault(exec->config.workspace, "its agent sent a file that was not asked for");
	else if (frame->error.len)
		(void)snprintf(file->error, sizeof(file->error), "%.*s", (int)frame->error.len, frame->error.text); /* cut at its size */
	else if (!append(result, file, frame))
		workspace_guest_fault(exec->config.workspace, "its agent sent a file in a wrong way");
	else if (frame->is_last)
		(void)SHA256(file->data, file->len, file->sha256);
}
