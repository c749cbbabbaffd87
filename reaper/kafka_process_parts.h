/* Inside the Kafka process: its state, and one function per operation. */
#pragma once

#include "bus/positions.h"
#include "bus/topics.h"
#include "wire/ledger.h"
#include "reaper/blocking_publisher.h"
#include "reaper/kafka_request.h"
#include "reaper/settings.h"

#define KAFKA_TIMEOUT_MS 10000 /* of one call */

struct kafka_process {
	const struct reaper_settings *settings;
	struct topics topics;
	char ledger_group[LEDGER_GROUP_MAX];
	struct positions *workers;	      /* what workers committed */
	struct positions *ledger;	      /* what reapers committed */
	struct blocking_publisher *publisher; /* NULL: no producer now */
	uint64_t away_until_mono_ms;	      /* Kafka did not answer; until then nothing is asked of it */
};

/* Each fills the verdicts of what it knows. A fault (negative, `err`) leaves the others for the caller to fail. */
int kafka_lookup(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		 struct err *err);
int kafka_fence(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		struct err *err);
int kafka_announce(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
		   struct err *err);
int kafka_tell(struct kafka_process *kafka, const struct kafka_request *request, struct kafka_reply *reply,
	       struct err *err);
int kafka_tidy(struct kafka_process *kafka, struct err *err);

/* After it, a change of the ledgers by another reaper fences this one's producer. Fine when one is there. */
int kafka_open_publisher(struct kafka_process *kafka, struct err *err);
void kafka_close_publisher(struct kafka_process *kafka);
