/* What the parts of `mayfly submit` share: cmd_submit.c (the command line, and what comes after what), submit_records.c (what is
 * sent) and submit_results.c (what comes back).
 *
 * Nothing waits for a single record: lines are read, sent, acknowledged and answered side by side in one loop, so that a
 * generator may feed it slowly and read results meanwhile, and 100,000 lines go in one stream.
 *
 * A record is on the list of sent ones until its id is printed: in the order of submission, each once Kafka has it. From Kafka's
 * word on it is in `waiting`, by partition and offset, until the result that names this place. A result may come before Kafka's
 * word: then that word is waited for first. */
#pragma once

#include "tools/client.h"
#include "tools/order.h"
#include "tools/waiting.h"

struct submit {
	const struct target *target;
	struct client *client;
	struct order order;
	struct waiting *waiting; /* NULL without --wait */
	struct sent *first, *last;
	size_t n_sent, n_failed;
	bool does_wait, is_json, is_raw, reads_lines, has_order_options;
	bool is_cut;		/* --within ended before standard input did */
	bool is_flawed;		/* a line that is no task was met: nothing after it is sent */
	bool is_hinted;		/* since the last result */
	bool is_broken;		/* Kafka does not take records, our own output cannot be written, or memory ran out */
	bool has_within;
	uint64_t start_mono_ms, within_ms; /* of the command; without --within it waits for ever */
	uint64_t heard_mono_ms; /* the last result, or the last time that none was waited for */
	struct buf input;
	size_t line;
};

/* Says it, and ends the command. */
void submit_complain(struct submit *submit, const char *text);

/* Is the time of --within over; and that time as client_until() wants it. */
bool submit_is_late(const struct submit *submit);
uint64_t submit_deadline_mono_ms(const struct submit *submit);

/* submit_records.c. The first three answer for everything that they send in submit_on_delivered(). */
void submit_lines(struct submit *submit);
int submit_raw(struct submit *submit, int n, char **paths, struct err *err);
int submit_order(struct submit *submit, int argc, char **argv, struct err *err);
void submit_on_delivered(void *ctx, const struct client_delivery *delivery);
void submit_forget_sent(struct submit *submit);

/* submit_results.c */
void submit_on_record(void *ctx, const struct client_record *record);

/* The first Ctrl-C ends the waiting in order, the second one this process. */
void submit_catch_interrupts(void);

/* No Ctrl-C, no end of --within, nothing broken. */
bool submit_goes_on(const struct submit *submit);

/* client_turn(), and a word to the user where one is due. */
void submit_turn(struct submit *submit, struct pollfd *others, size_t n);

/* Answers the exit status: 0 when every task has its terminal result. */
int submit_wait_for_results(struct submit *submit);
