#include "reaper/host_sweep.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define EVERY_SCANS 5
#define PAUSE_MAX   6	  /* doublings of it, after listings over which the lane was lost */
#define LIST_MS	    10000 /* of one name */

struct host_sweep {
	struct host_sweep_config config;
	struct leftovers leftovers;
	unsigned scans_to_go; /* until it is due */
	unsigned n_lost;      /* listings over which the lane was lost, one after the other */
	size_t cursor;	      /* of leftovers_next(), after a listing */
	uint64_t lane_cursor; /* of the listing */
};

static void list_next(struct host_sweep *sweep);

static void begin_looking(struct host_sweep *sweep)
{
	sweep->cursor = 0;
	sweep->config.on_listed(sweep->config.ctx);
}

static void on_lane_lost(struct host_sweep *sweep)
{
	if (sweep->n_lost < PAUSE_MAX)
		sweep->n_lost++;
	sweep->scans_to_go = EVERY_SCANS << sweep->n_lost;
	begin_looking(sweep); /* at what is known already */
}

static void take_name(struct host_sweep *sweep, const struct lane_swept *swept, const struct err *err)
{
	bool has_name = !err && swept->vm_id[0] != '\0';

	if (err)
		log_error("reaper.sweep", "error=\"%s\"", err->msg);
	if (has_name && !sweep->config.is_stopping(sweep->config.ctx)) {
		leftovers_list_add(&sweep->leftovers, swept->vm_id);
		sweep->lane_cursor = swept->cursor;
		list_next(sweep);
		return;
	}
	if (!err && !has_name)
		leftovers_list_end(&sweep->leftovers);
	sweep->n_lost = 0;
	begin_looking(sweep);
}

static void on_listed(void *ctx, struct lane_reply *reply, const struct err *err)
{
	struct host_sweep *sweep = ctx;

	if (reply)
		take_name(sweep, &reply->of.sweep, err);
	else
		on_lane_lost(sweep);
}

static void list_next(struct host_sweep *sweep)
{
	const struct lane_request request = { .op = LANE_OP_SWEEP,
					      .deadline_boot_ms = clock_boot_ms() + LIST_MS,
					      .of.sweep.cursor = sweep->lane_cursor };

	if (lane_client_call(sweep->config.lane, &request, on_listed, sweep) < 0)
		sweep->config.on_fault(sweep->config.ctx, "out of memory");
}

bool host_sweep_is_due(struct host_sweep *sweep)
{
	if (sweep->scans_to_go > 1)
		sweep->scans_to_go--;
	else
		sweep->scans_to_go = 0;
	return sweep->scans_to_go == 0;
}

void host_sweep_list(struct host_sweep *sweep)
{
	sweep->scans_to_go = EVERY_SCANS;
	sweep->lane_cursor = 0;
	leftovers_list_begin(&sweep->leftovers);
	list_next(sweep);
}

size_t host_sweep_next(struct host_sweep *sweep, struct leftover_find out[REAP_BATCH_MAX])
{
	return leftovers_next(&sweep->leftovers, &sweep->cursor, clock_mono_ms(), out);
}

void host_sweep_judge(struct host_sweep *sweep, const char *vm_id, enum reap_hold hold)
{
	leftovers_judge(&sweep->leftovers, vm_id, hold, clock_mono_ms());
}

void host_sweep_trust_all(struct host_sweep *sweep)
{
	leftovers_trust_all(&sweep->leftovers);
}

void host_sweep_note_left(struct host_sweep *sweep, const char *vm_id, const char *id, const char *why)
{
	unsigned n_failures;
	uint64_t pause_ms = leftovers_failed(&sweep->leftovers, vm_id, clock_mono_ms(), &n_failures);

	log_error("reaper.left", "id=%s vm_id=%s tries=%u again_in_ms=%llu message=\"%s\"", id, vm_id, n_failures,
		  (unsigned long long)pause_ms, why);
}

int host_sweep_new(const struct host_sweep_config *config, struct host_sweep **ret, struct err *err)
{
	struct host_sweep *sweep = calloc(1, sizeof(*sweep));

	if (!sweep)
		return err_set(err, ERR_HOST, ENOMEM, "set up the sweep of this host");
	sweep->config = *config;
	sweep->leftovers.suspect_ms = config->lease_ms + config->grace_ms;
	sweep->leftovers.grace_ms = config->grace_ms;
	sweep->scans_to_go = EVERY_SCANS;
	*ret = sweep;
	return 0;
}

void host_sweep_free(struct host_sweep *sweep)
{
	free(sweep);
}
