/* The guest stage: the conversation of wire/frame.h, seen from the engine.
 *
 * The agent answers in order; anything out of order, and any frame an agent may not send, ends the job as a broken guest.
 * Every step has a deadline of the engine's own, a little behind the agent's. It does not pass while the engine holds the guest
 * back, because Kafka takes no output: what the guest says next, `exit` perhaps, waits behind that. The guard's deadline does. */
#include "worker/stages.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/images.h"
#include "worker/engine.h"

#define SETUP_MS 30000   /* seeding and mounting: ~200 ms on an idle host under TCG */
#define LAUNCH_MS 60000  /* input files and exec: up to 1 MB through virtio-serial */
#define RUN_SLACK_MS 10000 /* the agent kills at timeout_ms; then the engine */
#define COLLECT_MS 60000
#define OOM_TEXT_BYTES 208 /* of a sentence that others may follow */
#define CHUNKS_IN_FLIGHT_MAX 64 /* of one job: the producer's queue is everybody's, and a guest may write byte by byte */

uint64_t stage_guest_longest_ms(const struct job *job)
{
	return job->engine->settings->boot_ms + SETUP_MS + LAUNCH_MS + job->task->timeout_ms + RUN_SLACK_MS + COLLECT_MS;
}

#define EXEC 1 /* a task is one program */

struct chunk {
	struct job *job;
	uint32_t stream;
	uint64_t end; /* its offset in the stream, and its bytes */
	size_t len;
};

static void set_step(struct job *job, enum guest_step step, uint64_t patience_ms)
{
	job->guest = step;
	job->guest_deadline_mono_ms = clock_mono_ms() + patience_ms;
}

static void guest_fault(struct job *job, const char *why)
{
	struct err err;

	(void)err_set(&err, ERR_BUSY, 0, "the guest: %s", why);
	job_fault(job, "", &err);
}

static void send_frame(struct job *job, const struct frame *frame)
{
	struct err err;

	if (job->channel && channel_send(job->channel, frame, &err) < 0)
		job_fault(job, "", &err);
}

static void send_setup(struct job *job)
{
	uint8_t entropy[FRAME_ENTROPY_BYTES];
	struct frame frame = { .type = FRAME_SETUP, .version = FRAME_VERSION, .data = entropy, .len = sizeof(entropy) };
	ssize_t n = getrandom(entropy, sizeof(entropy), 0); /* up to 256 bytes are never short */

	if (n != (ssize_t)sizeof(entropy)) {
		guest_fault(job, "no entropy to seed it with");
		return;
	}
	frame.realtime_ns = clock_wall_ns();
	frame.hostname = (struct frame_text){ .text = "mayfly", .len = 6 };
	set_step(job, GUEST_SETUP, SETUP_MS);
	job->stage_mono_ns[STAGE_GUEST] = clock_mono_ns(); /* what came before is boot */
	send_frame(job, &frame);
	explicit_bzero(entropy, sizeof(entropy));
}

static void finish_null(struct job *job)
{
	job_tell(job, RESULT_OUTCOME_SUCCEEDED, RESULT_RAN_NOT_STARTED, "the null VMM runs nothing");
}

void stage_guest_start(struct job *job)
{
	uint64_t null_run_ms = job->engine->settings->null_run_ms;

	job_set_state(job, JOB_BOOTING);
	if (!job->engine->driver->is_real) {
		job_set_state(job, JOB_RUNNING);
		job->guest_deadline_mono_ms = clock_mono_ms() + null_run_ms;
		if (null_run_ms == 0)
			finish_null(job);
		return;
	}
	for (int i = 0; i < 2; i++) {
		job->digests[i] = EVP_MD_CTX_new();
		if (!job->digests[i] || EVP_DigestInit_ex(job->digests[i], EVP_sha256(), NULL) != 1) {
			guest_fault(job, "no memory for its output's digests");
			return;
		}
	}
	if (job->has_hello)
		send_setup(job);
}

static void take_hello(struct job *job, const struct frame *frame)
{
	const struct vmm_driver *driver = job->engine->driver;
	struct err err;

	if (job->has_hello || frame->version != FRAME_VERSION) {
		guest_fault(job, "its agent speaks another version; rebuild the kernel bundle with 'mayfly image build'");
		return;
	}
	job->has_hello = true;
	if (driver->agent_listens && driver->agent_listens(job->vmm, &err) < 0) {
		job_fault(job, "", &err);
		return;
	}
	job_mark_timing(job, RESULT_TIMING_BOOT, job->stage_mono_ns[STAGE_VMM]);
	if (job->stages[STAGE_GUEST] == STAGE_STARTING)
		send_setup(job);
}

static void send_file(struct job *job, const struct task_file *file)
{
	struct frame frame = { .type = FRAME_PUT, .exec = EXEC, .mode = file->mode,
			       .path = { .text = file->path, .len = strlen(file->path) } };

	do {
		size_t left = file->len - frame.offset;

		frame.len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX;
		frame.data = left ? file->data + frame.offset : NULL;
		frame.is_last = frame.len == left;
		send_frame(job, &frame);
		frame.offset += frame.len;
	} while (frame.offset < file->len);
}

static void send_stdin(struct job *job)
{
	const struct task *task = job->task;
	size_t sent = 0;

	do {
		size_t left = task->stdin_len - sent;
		struct frame frame = { .type = FRAME_STDIN, .exec = EXEC, .offset = sent };

		frame.len = left < FRAME_DATA_MAX ? left : FRAME_DATA_MAX;
		frame.data = left ? task->stdin_data + sent : NULL;
		frame.is_last = frame.len == left;
		send_frame(job, &frame);
		sent += frame.len;
	} while (sent < task->stdin_len);
}

static void send_run(struct job *job)
{
	const struct task *task = job->task;
	struct frame_text argv[TASK_MAX_ARGS];
	struct frame_pair env[TASK_MAX_ENV];
	struct frame frame = { .type = FRAME_RUN,
			       .exec = EXEC,
			       .argv = argv,
			       .n_argv = task->n_argv,
			       .env = env,
			       .n_env = task->n_env,
			       .timeout_ms = task->timeout_ms,
			       .output_limit_bytes = task->output_limit_bytes,
			       .window = FRAME_WINDOW_BYTES,
			       .oom_ends_one = task->oom == TASK_OOM_PROCESS };

	for (size_t i = 0; i < task->n_argv; i++)
		argv[i] = (struct frame_text){ .text = task->argv[i].text, .len = strlen(task->argv[i].text) };
	for (size_t i = 0; i < task->n_env; i++) {
		env[i].key = (struct frame_text){ .text = task->env[i].key, .len = strlen(task->env[i].key) };
		env[i].value = (struct frame_text){ .text = task->env[i].value, .len = strlen(task->env[i].value) };
	}
	send_frame(job, &frame);
}

static void take_ready(struct job *job)
{
	fitness_works(job->engine->fitness);
	job_mark_timing(job, RESULT_TIMING_SETUP, job->stage_mono_ns[STAGE_GUEST]);
	job->stage_mono_ns[STAGE_GUEST] = clock_mono_ns();
	for (size_t i = 0; i < job->task->n_files; i++)
		send_file(job, &job->task->files[i]);
	send_run(job);
	send_stdin(job);
	set_step(job, GUEST_LAUNCH, LAUNCH_MS);
}

static void take_started(struct job *job)
{
	job_mark_timing(job, RESULT_TIMING_LAUNCH, job->stage_mono_ns[STAGE_GUEST]);
	job_mark_timing(job, RESULT_TIMING_START, job->born_mono_ns);
	set_step(job, GUEST_RUNNING, job->task->timeout_ms + RUN_SLACK_MS);
	job->stage_mono_ns[STAGE_GUEST] = clock_mono_ns();
	job_set_state(job, JOB_RUNNING);
	engine_stream_event(job->engine, job);
}

static void send_ack(struct job *job, uint32_t stream, uint64_t end)
{
	const struct frame frame = { .type = FRAME_ACK, .exec = EXEC, .stream = stream, .offset = end };

	if (job->end == JOB_END_NONE)
		send_frame(job, &frame);
}

void stage_guest_delivered(void *ctx, void *opaque, bool is_delivered)
{
	struct chunk *chunk = opaque;
	struct job *job;

	(void)ctx;
	if (!chunk)
		return; /* a lifecycle event */
	job = chunk->job;
	job->chunks_in_flight--;
	job->chunk_bytes_in_flight -= chunk->len;
	if (!is_delivered)
		job->chunk_failures++;
	send_ack(job, chunk->stream, chunk->end);
	free(chunk);
	if (job->channel)
		channel_resume(job->channel);
	if (job->end != JOB_END_NONE)
		stage_report_go_on(job);
}

/* 0, or -ENOBUFS: the producer is full, come again. */
static int stream_chunk(struct job *job, const struct frame *frame)
{
	struct engine *engine = job->engine;
	struct output_chunk output = { .stream = (enum output_stream)frame->stream, .seq = job->next_seq,
				       .offset = frame->offset, .attempt = job->attempt, .data = frame->data,
				       .len = frame->len };
	cleanup_free struct chunk *chunk = NULL;
	struct buf message = { 0 };
	struct err err;
	int r;

	if (job->chunks_in_flight >= CHUNKS_IN_FLIGHT_MAX)
		return -ENOBUFS;
	chunk = malloc(sizeof(*chunk));
	memcpy(output.id, job->task->id, sizeof(output.id));
	r = chunk ? output_encode(&output, &message) : -ENOMEM;
	if (r == 0) {
		*chunk = (struct chunk){ .job = job, .stream = frame->stream, .end = frame->offset + frame->len, .len = frame->len };
		r = streamer_send(engine->streamer, engine->topics.output, job->task->id, strlen(job->task->id),
				  message.data, message.len, chunk, &err);
	}
	buf_free(&message);
	if (r == -ENOBUFS && job->chunks_in_flight > 0)
		return r;
	if (r < 0) {
		job->chunk_failures++;
		send_ack(job, frame->stream, frame->offset + frame->len);
		return 0;
	}
	(void)TAKE_PTR(chunk); /* stage_guest_delivered() frees it */
	job->next_seq++;
	job->chunks_in_flight++;
	job->chunk_bytes_in_flight += frame->len;
	return 0;
}

static bool take_out(struct job *job, const struct frame *frame)
{
	bool is_stdout = frame->stream == OUTPUT_STREAM_STDOUT;
	struct result_stream *stream = is_stdout ? &job->result.out : &job->result.err_out;

	if (frame->offset != stream->bytes_kept ||
	    job->result.out.bytes_kept + job->result.err_out.bytes_kept + frame->len > job->task->output_limit_bytes) {
		guest_fault(job, "its agent sent output that was not asked for");
		return true;
	}
	if (job->task->is_streaming && stream_chunk(job, frame) < 0)
		return false;
	if (result_stream_add(stream, frame->data, frame->len) < 0 ||
	    EVP_DigestUpdate(job->digests[is_stdout ? 0 : 1], frame->data, frame->len) != 1)
		guest_fault(job, "no memory for its output");
	else if (!job->task->is_streaming)
		send_ack(job, frame->stream, frame->offset + frame->len);
	return true;
}

static size_t count_uncollected(const struct result *result)
{
	size_t n = 0;

	for (size_t i = 0; i < result->n_files; i++)
		n += result->files[i].error[0] ? 1 : 0;
	return n;
}

static const char *also_killed(const struct job *job)
{
	if (job->task->oom == TASK_OOM_PROGRAM && job->is_oom)
		return ", and the program with it,";
	return job->oom_kills > 1 ? ", the first of several," : "";
}

/* Who died of it, what there was, and what to do; "" when nobody did. */
static void describe_oom(const struct job *job, char text[OOM_TEXT_BYTES])
{
	text[0] = '\0';
	if (job->oom_kills || job->is_oom)
		(void)snprintf(text, OOM_TEXT_BYTES,
			       "out of memory: %s%s was killed; of the VM's %u MiB the program had %llu (memory_mib)",
			       job->oom_process[0] ? job->oom_process : "a process", also_killed(job),
			       job->task->memory_mib, (unsigned long long)job->memory_kib / 1024);
}

static void decide(struct job *job)
{
	const struct result *result = &job->result;
	size_t n_uncollected = count_uncollected(result);
	char oom[OOM_TEXT_BYTES], so[OOM_TEXT_BYTES + 2];

	describe_oom(job, oom);
	(void)snprintf(so, sizeof(so), "%s%s", oom, oom[0] ? "; " : "");

	if (job->is_timed_out)
		job_tell_timeout_over(job);
	else if (job->is_oom)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%s", oom);
	else if (result->has_signal)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%skilled by signal %u", so, result->signal);
	else if (result->exit_code != 0)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "%sexit code %u", so, result->exit_code);
	else if (n_uncollected)
		job_tell(job, RESULT_OUTCOME_SUCCEEDED, RESULT_RAN_RAN,
			 "%s%zu of %zu files could not be collected; 'files' says why", so, n_uncollected, job->task->n_collect);
	else
		job_tell(job, RESULT_OUTCOME_SUCCEEDED, RESULT_RAN_RAN, "%s", oom);
}

static void ask_files(struct job *job)
{
	struct frame_text paths[TASK_MAX_COLLECT];
	struct frame frame = { .type = FRAME_COLLECT, .exec = EXEC, .paths = paths, .n_paths = job->task->n_collect,
			       .limit_bytes = RESULT_FILES_BYTES };

	for (size_t i = 0; i < job->task->n_collect; i++)
		paths[i] = (struct frame_text){ .text = job->task->collect[i].text,
						.len = strlen(job->task->collect[i].text) };
	set_step(job, GUEST_COLLECT, COLLECT_MS);
	job_set_state(job, JOB_COLLECTING);
	job->stage_mono_ns[STAGE_GUEST] = clock_mono_ns();
	send_frame(job, &frame);
}

static void take_oom(struct job *job, const struct frame *frame)
{
	job->oom_kills = frame->oom_kills;
	job->memory_kib = frame->memory_kib;
	job->oom_process[0] = '\0';
	if (frame->oom_pid)
		(void)snprintf(job->oom_process, sizeof(job->oom_process), "'%.*s' (process %u)", (int)frame->oom_process.len,
			       frame->oom_process.text, frame->oom_pid);
}

static void take_exit(struct job *job, const struct frame *frame)
{
	struct result *result = &job->result;

	job_mark_timing(job, RESULT_TIMING_RUN, job->stage_mono_ns[STAGE_GUEST]);
	result->has_exit_code = frame->has_exit_code;
	result->exit_code = frame->exit_code;
	result->has_signal = !frame->has_exit_code;
	result->signal = frame->signal;
	result->out.bytes = frame->stdout_bytes;
	result->err_out.bytes = frame->stderr_bytes;
	result->cpu_ms = frame->cpu_ms;
	result->max_rss_kib = frame->max_rss_kib;
	job->is_timed_out = frame->is_timed_out;
	job->is_oom = frame->is_oom;
	take_oom(job, frame);
	if (job->task->n_collect)
		ask_files(job);
	else
		decide(job);
}

static bool is_asked_for(const struct job *job, struct frame_text path)
{
	for (size_t i = 0; i < job->task->n_collect; i++)
		if (strlen(job->task->collect[i].text) == path.len &&
		    memcmp(job->task->collect[i].text, path.text, path.len) == 0)
			return true;
	return false;
}

static struct result_file *add_file(struct job *job, const struct frame *frame)
{
	struct result *result = &job->result;
	struct result_file *file;

	if (result->n_files == job->task->n_collect || !is_asked_for(job, frame->path))
		return NULL;
	if (!result->files)
		result->files = calloc(job->task->n_collect, sizeof(*result->files));
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

static bool append_file(struct job *job, struct result_file *file, const struct frame *frame)
{
	size_t total = 0;
	uint8_t *grown;

	for (size_t i = 0; i < job->result.n_files; i++)
		total += job->result.files[i].len;
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

static void take_file(struct job *job, const struct frame *frame)
{
	struct result *result = &job->result;
	struct result_file *file = NULL;

	if (frame->offset == 0)
		file = add_file(job, frame);
	else if (result->n_files)
		file = &result->files[result->n_files - 1];
	if (!file) {
		guest_fault(job, "its agent sent a file that was not asked for");
		return;
	}
	if (frame->error.len) {
		(void)snprintf(file->error, sizeof(file->error), "%.*s", (int)frame->error.len, frame->error.text);
		return;
	}
	if (!append_file(job, file, frame))
		guest_fault(job, "its agent sent a file in a wrong way");
	else if (frame->is_last)
		(void)SHA256(file->data, file->len, file->sha256);
}

static void take_collected(struct job *job)
{
	job_mark_timing(job, RESULT_TIMING_COLLECT, job->stage_mono_ns[STAGE_GUEST]);
	decide(job);
}

/* Which images of this host have the program that this one lacks; "" when none is known. */
static void hint_at_images(const struct job *job, const struct frame *frame, char *text, size_t size)
{
	char program[FRAME_MISSING_MAX + 1], images[128] = "";
	struct host_place place = { .host = "" };

	(void)snprintf(program, sizeof(program), "%.*s", (int)frame->missing.len, frame->missing.text);
	(void)snprintf(place.state_dir, sizeof(place.state_dir), "%s", job->engine->settings->state_dir);
	images_with(&place, program, images, sizeof(images));
	text[0] = '\0';
	if (images[0])
		(void)snprintf(text, size, "; it is in these images: %s", images);
}

static void take_fail(struct job *job, const struct frame *frame)
{
	char why[256], hint[160];

	(void)snprintf(why, sizeof(why), "%.*s", (int)frame->error.len, frame->error.text);
	if (job->guest != GUEST_LAUNCH) {
		guest_fault(job, why);
		return;
	}
	job->guest = GUEST_SETUP; /* what was asked for did not happen */
	hint_at_images(job, frame, hint, sizeof(hint));
	job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_NOT_STARTED, "%s%s", why, hint);
}

static bool take_frame(struct job *job, const struct frame *frame)
{
	if (frame->exec > EXEC)
		guest_fault(job, "its agent spoke of a program that was not asked for");
	else if (frame->type == FRAME_HELLO && job->guest == GUEST_SILENT)
		take_hello(job, frame);
	else if (frame->type == FRAME_FAIL)
		take_fail(job, frame);
	else if (frame->type == FRAME_READY && job->guest == GUEST_SETUP)
		take_ready(job);
	else if (frame->type == FRAME_STARTED && job->guest == GUEST_LAUNCH)
		take_started(job);
	else if (frame->type == FRAME_OUT && job->guest == GUEST_RUNNING)
		return take_out(job, frame);
	else if (frame->type == FRAME_EXIT && job->guest == GUEST_RUNNING)
		take_exit(job, frame);
	else if (frame->type == FRAME_FILE && job->guest == GUEST_COLLECT)
		take_file(job, frame);
	else if (frame->type == FRAME_COLLECTED && job->guest == GUEST_COLLECT)
		take_collected(job);
	else
		guest_fault(job, "its agent spoke out of turn");
	return true;
}

static bool on_frame(void *ctx, const struct frame *frame)
{
	struct job *job = ctx;

	return job->end != JOB_END_NONE || take_frame(job, frame); /* a decided end hears nothing any more */
}

static void on_broken(void *ctx, const struct err *err)
{
	bool is_garbage = err->errnum == EBADMSG || err->errnum == E2BIG;
	struct job *job = ctx;

	if (is_garbage || job->guard_fd < 0) /* else it ended, and the guard is about to say why */
		job_fault(job, "", err);
}

const struct channel_events stage_guest_events = { .on_frame = on_frame, .on_broken = on_broken };

/* It boots while its disk is made; who has no VMM of its own yet waits for a lane, which has its own patience. */
static bool is_waited_for(const struct job *job)
{
	bool is_real = job->engine->driver->is_real;

	return job->stages[STAGE_GUEST] == STAGE_STARTING ||
	       (is_real && job->stages[STAGE_GUEST] == STAGE_IDLE && job->stages[STAGE_VMM] == STAGE_READY);
}

bool stage_guest_is_held_back(const struct job *job)
{
	return job->guest == GUEST_RUNNING && job->channel &&
	       (channel_is_held(job->channel) || job->chunk_bytes_in_flight >= FRAME_WINDOW_BYTES);
}

static void mind_hold(struct job *job, uint64_t now_mono_ms)
{
	if (stage_guest_is_held_back(job))
		job->guest_deadline_mono_ms += now_mono_ms - job->guest_tick_mono_ms;
	job->guest_tick_mono_ms = now_mono_ms;
}

void stage_guest_tick(struct job *job, uint64_t now_mono_ms)
{
	mind_hold(job, now_mono_ms);
	if (job->end != JOB_END_NONE || !is_waited_for(job) || now_mono_ms < job->guest_deadline_mono_ms)
		return;
	if (!job->engine->driver->is_real)
		finish_null(job);
	else if (job->guest == GUEST_RUNNING)
		job_tell_timeout_over(job);
	else if (job->guest == GUEST_COLLECT)
		job_tell(job, RESULT_OUTCOME_FAILED, RESULT_RAN_RAN, "the guest did not hand over its files in time");
	else if (job->stages[STAGE_GUEST] == STAGE_IDLE)
		guest_fault(job, "its VMM did not open its disk in time");
	else
		guest_fault(job, job->has_hello ? "it did not set itself up in time" : "it did not boot in time");
}

/* Nothing to wait for: from here on the guest is not heard, and stage_vmm_stop() closes its channel. */
void stage_guest_stop(struct job *job)
{
	for (int i = 0; i < 2; i++) {
		struct result_stream *stream = i == 0 ? &job->result.out : &job->result.err_out;

		if (job->digests[i])
			(void)EVP_DigestFinal_ex(job->digests[i], stream->sha256, NULL); /* was initialised: cannot fail */
		EVP_MD_CTX_free(TAKE_PTR(job->digests[i])); /* another try begins another */
		if (stream->bytes < stream->bytes_kept)
			stream->bytes = stream->bytes_kept; /* the agent never said how much was written */
	}
	job_stage_stopped(job, STAGE_GUEST);
}
