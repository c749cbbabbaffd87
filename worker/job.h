/* A job: one record that must be answered exactly once, from intake until nothing of it is left in this process.
 *
 * HELD      owns the record and its task; waits in the queue for room, for a moment, or for somebody else's lease. Nothing of it
 *           exists elsewhere. Next: CLAIMING; ENDING, when it is handed back.
 * CLAIMING  its kind has prepared what it is to claim for; Redis is asked for the lease and, in doubt, Kafka whether the record was
 *           answered (job_lease.c). Next: MAKING, ENDING.
 * MAKING    the lease is its own; its kind's script makes what it needs (kinds.h). Next: RUNNING, ENDING.
 * RUNNING   user code runs. Next: ENDING.
 * ENDING    its end is decided, once: `end` stands, later decisions are ignored. The script undoes everything that has to be gone
 *           before anybody is told. Next: TELLING.
 * TELLING   the answer and the record's offset are being committed, in one transaction of the outbox, if there is an answer;
 *           meanwhile the script removes the rest. Next: RELEASING, when both are over.
 * RELEASING nothing of it is left on this host; the lease is being given up. Next: DONE; HELD, for another try.
 * DONE      free it.
 *
 * It moves in its own turn of the loop, never from inside a callback: so a callback may decide its end without pulling the ground
 * from under its caller. The lease goes last, when nothing carries its name any more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "bus/lease.h"
#include "bus/lease_keys.h"
#include "loop/turns.h"
#include "wire/record_place.h"
#include "wire/result.h"
#include "wire/task.h"
#include "worker/answered.h"
#include "worker/workspace/admission.h"
#include "worker/workspace/workspace.h"

struct consumer_record;
struct dead_letter;
struct exec;
struct job;
struct job_services;
struct kind;
struct pool;
struct pooled;
struct templates;

enum job_state {
	JOB_HELD,
	JOB_CLAIMING,
	JOB_MAKING,
	JOB_RUNNING,
	JOB_ENDING,
	JOB_TELLING,
	JOB_RELEASING,
	JOB_DONE,
	JOB_STATE_COUNT
};

enum job_end {
	JOB_END_NONE,
	JOB_END_TELL,    /* `result` is decided: publish it */
	JOB_END_SKIP,    /* somebody else answers for this record: mark it done */
	JOB_END_REQUEUE, /* not this time: back to JOB_HELD, the record is still ours */
	JOB_END_DROP,    /* the record is not ours any more (lost partition, drain): hand back, tell nothing */
	JOB_END_COUNT
};

/* What a record is to another one that has, or had when it was sent, the same id. */
enum job_same_id {
	JOB_SAME_ID_NONE,
	JOB_SAME_ID_DUPLICATE, /* the same task again: it shares the one result, and is only marked done */
	JOB_SAME_ID_CONFLICT   /* another task under the same id: refused */
};

/* Has its user code run, in this try? */
enum job_ran {
	JOB_RAN_NO,
	JOB_RAN_MAYBE, /* it was asked for, and nothing was heard */
	JOB_RAN_YES
};

/* Its record. */
struct job_source {
	struct record_place place;
	uint64_t epoch;		  /* of the partition when the record came: worker/partitions.h */
	uint64_t arrival;	  /* its number among all records that came */
	uint64_t created_wall_ms; /* when it was made: the zero of queue_ms, and what a cancellation is compared with */
	char content[LEASE_CONTENT_MAX + 1]; /* worker/content.h */
	struct dead_letter *letter; /* its bytes, for the dead-letter topic, should it be rejected; behind the job, in its memory */
};

/* Its place in the queue: for JOB_HELD. */
struct job_wait {
	uint64_t queue_ends_mono_ms; /* 0: never. Until then a workspace may be begun */
	uint64_t not_before_mono_ms;
	bool is_for_lease;  /* somebody else's lease on its record or id has to end first: it takes no place in the hold */
	bool is_cancelled;
	bool is_impossible; /* asks for more than this worker ever has */
};

/* The right to run, and to answer its record: kept by renewing, given up last. */
struct job_lease {
	uint64_t token;	  /* of the last grant, as is attempt */
	uint32_t attempt; /* 0: none yet */
	uint64_t deadline_mono_ms; /* while is_held: when others may think that it ended */
	uint64_t asked_mono_ns; /* when the claim was made, for its timing */
	uint64_t redis_epoch;	/* number of connections to Redis when the record came */
	bool is_held;
	bool was_held; /* in this try: what it tells must be told before that lease ends, or not at all */
	bool is_claiming;
	bool may_name_vm; /* since the last claim, which was not refused: a line in Redis may have its vm_id */
	bool is_renewing;
	bool is_in_doubt; /* somebody else may have answered the record, and Redis may have forgotten: ask Kafka */
	bool is_holder_answered; /* the record same_id_of, which has the id, was answered: its orphan may be taken over */
	bool is_holders_task; /* while Kafka is asked about the record that has its id, same_id_of: it has the same content */
};

/* What earlier tries of it came to, in this process. */
struct job_tries {
	unsigned n_requeues; /* for what happened when user code may have run */
	unsigned n_faults;   /* before that could be */
	uint64_t n_proofs;   /* that this host is fit, when the first of them happened: worker/fitness.h */
	bool may_have_run;
	bool is_to_boot; /* a clone for it failed: not another one */
	bool is_without_pool; /* one of the pool's broke under it: it makes its own */
};

TAILQ_HEAD(job_list, job);

struct job {
	TAILQ_ENTRY(job) link; /* the queue's, as the next two */
	struct job_list *list; /* the one that it is in */
	LIST_ENTRY(job) same_bucket;
	const struct job_services *services;
	struct turn turn;
	enum job_state state;
	enum job_end end;
	const struct kind *kind;
	struct task *task;
	struct job_source source;
	struct job_wait wait;
	struct job_tries tries;
	struct job_lease lease;
	struct answered_question doubt; /* while Kafka is asked */

	enum job_same_id same_id; /* known without Redis: the other record was answered after this one was sent */
	struct record_place same_id_of; /* the other record, with `same_id` or is_shared */
	bool is_shared; /* JOB_END_SKIP: the other record's result answers it, and this is told */

	struct result result;
	uint64_t born_mono_ns; /* intake: the zero of the timings */
	enum job_ran ran;
	bool may_tell;	 /* from ENDING on: the script has undone what has to be gone first */
	bool is_unwound; /* from ENDING on: all of it */
	bool is_telling; /* TELLING: handed to the outbox, not answered */
	bool is_told;	 /* committed */

	/* Of the script, from CLAIMING to RELEASING. */
	struct shape shape; /* what it was admitted as */
	bool may_be_clone;
	struct workspace_plan plan;
	struct template *template; /* lent, while its workspace is a clone */
	struct workspace *workspace;
	struct pooled *lent; /* it still is the pool's, to which its events go */
	bool is_from_pool;
	struct exec *exec;
};

/* What all jobs stand on. Lent by the engine, outlives them. */
struct job_services {
	const struct settings *settings;
	const struct topics *topics;
	const char *accel; /* "kvm", "tcg" or "none" */
	struct turns *turns;
	struct leases *leases;
	struct answered *answered;
	struct outbox *outbox;
	struct streamer *streamer;
	struct admission *admission;
	struct fitness *fitness;
	struct templates *templates; /* NULL: no workspace is a clone */
	struct pool *pool; /* NULL: no workspace is made ahead of tasks */
	struct workspace_host workspaces;

	/* To the queue. */
	void (*on_told)(void *ctx, const struct job *job); /* its result is committed */
	void (*on_over)(void *ctx, struct job *job); /* nothing of it is left: to be held again, or freed */
	void *ctx;
};

/* Takes the task. NULL: out of memory, and the task is still the caller's. */
struct job *job_new(const struct job_services *services, struct task *task, const struct consumer_record *record);
void job_free(struct job *job); /* only in JOB_HELD and JOB_DONE */

/* What it is to be admitted as: `shape`. What may be a clone has its memory in a class, where that fits this host. */
void job_choose_shape(struct job *job);

/* Then: may it be in a workspace that was made ahead of it? `lent` is one of its shape, with a reservation of its own. */
bool job_take_from_pool(struct job *job);

/* Leave JOB_HELD: the reservation is the job's now. NULL: it has one from the pool, or its end is certain, and it only claims its lease to
 * tell it. */
void job_start(struct job *job, const struct reservation *reservation);

/* Back to JOB_HELD after JOB_END_REQUEUE, when it is over. */
void job_hold_again(struct job *job);
void job_set_done(struct job *job);

/* Every 100 ms or so, when it is not held. */
void job_tick(struct job *job, uint64_t now_mono_ms);

/* Its end is certain before it has begun: expired, cancelled, impossible here, answered by another record's result. It still claims
 * its lease first, so that nobody else answers for the record. */
bool job_is_foregone(const struct job *job);
void job_tell_foregone(struct job *job);

/* Its lease (job_lease.c). After a claim, job_has_lease() when the record is this job's to answer, else its end is decided; after
 * giving it up, job_lease_is_over(). */
void job_lease_claim(struct job *job);
void job_lease_renew(struct job *job);
void job_lease_tick(struct job *job, uint64_t now_mono_ms);
void job_lease_give_up(struct job *job);
void job_has_lease(struct job *job);
void job_lease_is_over(struct job *job);

/* What is told of it (job_answer.c): its end, as decided, or that another record's result answers it, too (JOB_END_SKIP). 0 or -ENOMEM. */
int job_encode_answer(struct job *job, struct buf *out);
/* A message of a few bytes: its user code runs. Loss is tolerated, order is not promised. */
void job_stream_start(const struct job *job);

/* From the kind's script. */
void job_is_running(struct job *job);
void job_may_tell(struct job *job);   /* once, in ENDING: what has to be gone before the result is */
void job_is_unwound(struct job *job); /* once, after that: all of it is */

void job_cancel(struct job *job); /* its sender wants it no more */

/* Decide the end. The first decision stands; later ones are ignored. `message` is printf for one sentence. */
void job_tell(struct job *job, enum result_outcome outcome, enum result_ran ran, const char *message, ...)
	__attribute__((format(printf, 4, 5)));
void job_reject(struct job *job, const char *field, const char *message);
/* One of the task's three times is over. */
void job_tell_queue_over(struct job *job);
void job_tell_ttl_over(struct job *job);
void job_tell_timeout_over(struct job *job);
/* Its id is that of another record, which was answered after this one was sent. */
void job_set_same_id(struct job *job, const char *content, const struct record_place *other);
void job_share(struct job *job); /* it is same_id_of's task, sent again: marked done, and told so */
void job_refuse(struct job *job); /* its id is another living task's: answered, but not as that task's result */
void job_requeue(struct job *job, unsigned delay_ms, const char *why);
void job_wait_for_lease(struct job *job, unsigned delay_ms, const char *why); /* likewise, without a place in the hold */
void job_drop(struct job *job, const char *why);
void job_skip(struct job *job, const char *why);

/* What it stands on broke. INPUT: reject `field`. User code has run: failed. It may have: once more from the start, some times, then
 * failed. It cannot have: once more, as long as nobody knows whether this host or the task is at fault; see worker/fitness.h. */
void job_fault(struct job *job, const char *field, const struct err *err);

void job_mark_timing(struct job *job, enum result_timing timing, uint64_t since_mono_ns);
enum result_ran job_result_ran(const struct job *job); /* as far as this try knows */
bool job_may_have_run(const struct job *job); /* in this try or an earlier one of this process */
const char *job_state_name(enum job_state state);
