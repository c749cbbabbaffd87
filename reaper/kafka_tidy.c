/* Keeping the ledgers of all partitions: Kafka forgets what a group without members has committed after
 * offsets.retention.minutes, so it is committed again now and then. */
#include <string.h>

#include "base/own.h"
#include "reaper/kafka_process_parts.h"
#include "reaper/ledger_pages.h"

static size_t chunk_len(int32_t first, int32_t n)
{
	return n - first < REAP_BATCH_MAX ? (size_t)(n - first) : REAP_BATCH_MAX;
}

/* What workers marked done and what is only announced leaves the ledgers; what stays is committed again. */
static int tidy_some(struct kafka_process *kafka, const char *topic, int32_t first, size_t n, struct err *err)
{
	cleanup_(blocking_batch_clear) struct blocking_batch batch = { 0 };
	cleanup_(ledger_pages_clear) struct ledger_pages pages = { 0 };
	int r = ledger_pages_of_range(kafka, topic, first, n, &pages, err);

	if (r == 0)
		r = ledger_pages_read_ledger(kafka, &pages, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < pages.n; i++) {
		size_t n_withdrawn = ledger_withdraw(&pages.list[i].ledger);

		pages.list[i].is_touched |= n_withdrawn || pages.list[i].ledger.n;
	}
	ledger_pages_commit(&pages, &batch);
	return batch.n_offsets ? blocking_publisher_publish(kafka->publisher, &batch, err) : 0;
}

static int tidy_topic(struct kafka_process *kafka, const char *topic, struct err *err)
{
	int32_t n = 0;
	int r = positions_count(kafka->workers, topic, KAFKA_TIMEOUT_MS, &n, err);

	for (int32_t first = 0; first < n && r == 0; first += REAP_BATCH_MAX)
		r = tidy_some(kafka, topic, first, chunk_len(first, n), err);
	return r;
}

static int tidy_all(struct kafka_process *kafka, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < TOPICS_SOURCES && r == 0; i++)
		r = tidy_topic(kafka, kafka->topics.sources[i], err);
	return r;
}

void kafka_close_publisher(struct kafka_process *kafka)
{
	blocking_publisher_free(kafka->publisher);
	kafka->publisher = NULL;
}

/* What others announced is of producers that are fenced now: tidying withdraws it. */
int kafka_open_publisher(struct kafka_process *kafka, struct err *err)
{
	const struct blocking_publisher_config config = { .brokers = kafka->settings->fleet.brokers,
							  .group = kafka->ledger_group,
							  .timeout_ms = KAFKA_TIMEOUT_MS };
	int r;

	if (kafka->publisher)
		return 0;
	r = blocking_publisher_new(&config, &kafka->publisher, err);
	return r < 0 ? r : tidy_all(kafka, err);
}

static int look_for_entries(struct kafka_process *kafka, const char *topic, int32_t first, size_t n, bool *ret,
			    struct err *err)
{
	cleanup_free struct position *positions = calloc(REAP_BATCH_MAX, sizeof(*positions));
	int r;

	if (!positions)
		return err_set(err, ERR_HOST, ENOMEM, "read the ledgers");
	for (size_t i = 0; i < n; i++)
		positions[i] = (struct position){ .topic = topic, .partition = first + (int32_t)i };
	r = positions_read(kafka->ledger, positions, n, KAFKA_TIMEOUT_MS, err);
	for (size_t i = 0; i < n && r == 0; i++)
		*ret |= strlen(positions[i].metadata) > strlen(LEDGER_EMPTY);
	return r;
}

static int look_through_topic(struct kafka_process *kafka, const char *topic, bool *ret, struct err *err)
{
	int32_t n = 0;
	int r = positions_count(kafka->workers, topic, KAFKA_TIMEOUT_MS, &n, err);

	for (int32_t first = 0; first < n && r == 0 && !*ret; first += REAP_BATCH_MAX)
		r = look_for_entries(kafka, topic, first, chunk_len(first, n), ret, err);
	return r;
}

/* Is anything in any ledger? */
static int has_entries(struct kafka_process *kafka, bool *ret, struct err *err)
{
	int r = 0;

	*ret = false;
	for (size_t i = 0; i < TOPICS_SOURCES && r == 0 && !*ret; i++)
		r = look_through_topic(kafka, kafka->topics.sources[i], ret, err);
	return r;
}

/* Opening a producer fences the other reapers' and is not done for nothing. */
int kafka_tidy(struct kafka_process *kafka, struct err *err)
{
	bool is_wanted = true;
	int r = kafka->publisher ? 0 : has_entries(kafka, &is_wanted, err);

	if (r < 0 || !is_wanted)
		return r;
	r = kafka->publisher ? tidy_all(kafka, err) : kafka_open_publisher(kafka, err);
	if (r < 0)
		kafka_close_publisher(kafka);
	return r;
}
