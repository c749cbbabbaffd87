/* A job: one attempt to answer one task record, from admission until nothing of it is left.
 *
 * Its stages are in worker/stages.c, with the order in which they start and stop. A stage starts when those it needs are
 * ready; when the job ends, for whatever reason, every stage stops, in the order of stop_after, and each stop is idempotent
 * and safe on a stage that never started or is only half made. All of it runs from the job's own turn of the loop, never
 * from inside a callback, so a callback may end a job without pulling the ground from under its caller. */
#pragma once

#include <event2/event.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/secret.h"
#include "bus/lease.h"
#include "bus/lease_keys.h"
#include "wire/result.h"
#include "wire/task.h"
#include "worker/admission.h"
#include "worker/dead_letter.h"
#include "worker/vmm/driver.h"

struct engine;
struct channel;

LIST_HEAD(job_bucket, job);

enum job_state {
	JOB_HELD,       /* owns the task; waits for room, or until not_before_mono_ms. Nothing exists outside this process */
	JOB_LEASING,    /* holds a reservation; a claim is on its way */
	JOB_PREPARING,  /* holds the lease; disk and VMM are being made */
	JOB_BOOTING,    /* disk and VMM exist, the key was handed over; the guest boots and sets itself up */
	JOB_RUNNING,    /* user code runs */
	JOB_COLLECTING, /* user code ended; files come back */
	JOB_ERASING,    /* the end is decided: the guest is not heard any more, the VM is killed, then the key destroyed */
	JOB_TELLING,    /* VM and key are gone; result in a transaction, meanwhile the files are removed */
	JOB_RELEASING,  /* told, or not to be told; nothing is left on the host; the lease is being given up */
	JOB_DONE,       /* free it */
	JOB_STATE_COUNT
};

enum job_stage { STAGE_LEASE, STAGE_REPORT, STAGE_DISK, STAGE_VMM, STAGE_KEY, STAGE_GUEST, STAGE_COUNT };

enum stage_status { STAGE_IDLE, STAGE_STARTING, STAGE_READY, STAGE_STOPPING, STAGE_STOPPED };

enum job_end {
	JOB_END_NONE,
	JOB_END_TELL,    /* `result` is decided: publish it */
	JOB_END_SKIP,    /* somebody else answers for this record: mark it done, tell nothing */
	JOB_END_REQUEUE, /* not this time: back to JOB_HELD, the record is still ours */
	JOB_END_DROP     /* the record is not ours any more (lost partition, drain): hand back, tell nothing */
};

/* What a record is to an earlier one of the same id, if that is known without Redis: it was sent while the other's task lived. */
enum job_twin {
	JOB_TWIN_NONE,
	JOB_TWIN_DUPLICATE, /* the same task again: it shares the one result, and is only marked done */
	JOB_TWIN_CONFLICT   /* another task under the same id: refused */
};

enum guest_step { GUEST_SILENT, GUEST_SETUP, GUEST_LAUNCH, GUEST_RUNNING, GUEST_COLLECT, GUEST_DONE };

struct job {
	TAILQ_ENTRY(job) link; /* in engine->held in JOB_HELD, else in engine->active */
	bool is_listed;
	LIST_ENTRY(job) same_bucket; /* in engine->index */
	bool is_indexed;
	struct engine *engine;
	struct event *turn;
	enum job_state state;
	enum job_end end;
	enum stage_status stages[STAGE_COUNT];

	struct task *task;
	struct dead_letter *record; /* for the dead-letter topic, should the job be rejected */
	struct record_place place;
	uint64_t epoch; /* of the partition when the record came: see worker/partitions.h */
	char content[LEASE_CONTENT_MAX + 1]; /* worker/content.h */
	uint64_t arrival; /* its number among all records that came */
	enum job_twin twin;
	bool is_shared; /* JOB_END_SKIP: another record's result answers it, and this is told: */
	struct record_place twin_of; /* the other record, with `twin` or is_shared */
	uint64_t created_wall_ms; /* when its record was made: the zero of queue_ms, and what a cancellation is compared with */
	uint64_t queue_ends_mono_ms; /* 0: never. Until then a workspace may be begun */
	uint64_t ttl_ends_mono_ms;   /* of the workspace: valid while STAGE_LEASE is ready */
	uint64_t not_before_mono_ms;
	unsigned n_requeues; /* for what happened when user code may have run */
	unsigned n_faults;   /* before that could be */
	uint64_t n_proofs;   /* that this host is fit, when the first of them happened: see worker/fitness.h */
	bool is_cancelled;
	bool is_impossible; /* asks for more than this worker ever has */

	struct reservation reservation;
	bool has_reservation;
	struct result result;
	uint64_t born_mono_ns; /* intake: the zero of the timings */
	uint64_t stage_mono_ns[STAGE_COUNT];
	uint64_t end_mono_ns; /* when the end was decided */

	/* STAGE_LEASE */
	uint64_t token;
	uint32_t attempt;
	uint64_t lease_deadline_mono_ms;
	bool has_lease;
	bool is_claiming;
	bool is_renewing;
	bool is_in_doubt;	/* somebody else may have answered the record, and Redis may have forgotten: ask Kafka */
	bool waits_for_lease;	/* somebody else's lease on its record or id has to end first: it takes no place in the hold */
	uint64_t redis_epoch;	/* number of connections to Redis when the record came */
	bool had_lease;		/* in this try: what it tells must be told before that lease ends, or not at all */
	bool is_holder_answered; /* the record twin_of, which has the id, was answered: its orphan may be taken over */
	bool is_holders_twin;	/* while Kafka is asked about the record that has its id, twin_of: it has the same content */

	/* STAGE_DISK */
	int disk_fd;
	struct secret *disk_key;
	bool has_disk; /* a format was asked for: something may exist */
	bool is_disk_pending;
	unsigned n_erase_tries;

	/* STAGE_VMM */
	struct vmm *vmm;
	struct channel *channel;
	int guard_fd;
	struct event *guard_event;
	struct event *guard_deadline;
	bool is_guarded_by_ttl; /* the guard's deadline is that of the time-to-live, not of the steps together */
	bool has_vm; /* a start was asked for: something may exist */
	bool is_vm_pending;
	unsigned n_destroy_tries;
	bool is_vm_left; /* it could not be killed: it may still hold what its disk was opened with */
	unsigned n_restarts; /* of the guest's kernel, in this boot */

	/* STAGE_GUEST */
	enum guest_step guest;
	bool has_hello;
	bool has_run_before; /* in a try that was given up */
	uint64_t guest_deadline_mono_ms; /* of the current step, from the start of the VMM on; the agent's own timer comes first */
	EVP_MD_CTX *digests[2];
	uint64_t next_seq;
	uint64_t chunk_failures;
	size_t chunks_in_flight, chunk_bytes_in_flight; /* handed to the streamer, not acknowledged */
	uint64_t guest_tick_mono_ms; /* the last stage_guest_tick() */
	bool is_timed_out, is_oom; /* as the agent said in `exit` */
	uint64_t oom_kills;
	uint64_t memory_kib; /* what the program could have had */
	char oom_process[40]; /* "'NAME' (process PID)" of the first one that lack of memory ended, "" when nobody knows */

	/* STAGE_REPORT */
	bool is_reporting;
	bool is_told; /* committed */
};

TAILQ_HEAD(job_list, job);

/* Takes the task. NULL: out of memory, and the task is still the caller's. */
struct job *job_new(struct engine *engine, struct task *task, const struct consumer_record *record);
void job_free(struct job *job); /* only in JOB_HELD and JOB_DONE */

/* Leave JOB_HELD: the reservation is the job's now. NULL: its end is certain, it only claims its lease to tell it. */
void job_start(struct job *job, const struct reservation *reservation);

/* Back to JOB_HELD after JOB_END_REQUEUE, when every stage has stopped. */
void job_hold_again(struct job *job);

void job_wake(struct job *job); /* give it a turn */

void job_set_state(struct job *job, enum job_state state);

/* From the stages. Ready and stopped are remembered; the job goes on in its next turn. */
void job_stage_ready(struct job *job, enum job_stage stage);
void job_stage_stopped(struct job *job, enum job_stage stage);

/* Decide the end. The first decision stands; later ones are ignored. `message` is printf for one sentence. */
void job_tell(struct job *job, enum result_outcome outcome, enum result_ran ran, const char *message, ...)
	__attribute__((format(printf, 4, 5)));
void job_reject(struct job *job, const char *field, const char *message);
/* One of the task's three times is over. */
void job_tell_queue_over(struct job *job);
void job_tell_ttl_over(struct job *job);
void job_tell_timeout_over(struct job *job);
/* Its id is that of another record, which was answered after this one was sent. */
void job_set_twin(struct job *job, const char *content, const struct record_place *twin_of);
void job_share(struct job *job); /* it is twin_of's task, sent again: marked done, and told so */
void job_refuse(struct job *job); /* its id is another living task's: answered, but not as that task's result */
void job_requeue(struct job *job, unsigned delay_ms, const char *why);
void job_drop(struct job *job, const char *why);
void job_skip(struct job *job, const char *why);

/* A stage failed. INPUT: reject `field`. User code has run: failed. It may have: once more from the start, some times, then failed. It
 * cannot have: once more, as long as nobody knows whether this host or the task is at fault; see worker/fitness.h. */
void job_fault(struct job *job, const char *field, const struct err *err);

bool job_has_run(const struct job *job);	/* user code was started */
bool job_may_have_run(const struct job *job); /* or it was asked for, here or in an earlier try, and nothing was heard */
void job_mark_timing(struct job *job, enum result_timing stage, uint64_t since_mono_ns);
const char *job_state_name(enum job_state state);
