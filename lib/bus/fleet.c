#include "bus/fleet.h"

#include "base/log.h"

#define KAFKA_MS 10000
#define REDIS_MS 2000

static struct kafka_properties properties_of(const struct fleet_settings *fleet)
{
	return (struct kafka_properties){ .pairs = &fleet->kafka, .file = fleet->kafka_config_file, .source = fleet->path };
}

int fleet_settings_check(const struct fleet_settings *fleet, struct err *err)
{
	const struct kafka_properties properties = properties_of(fleet);
	int r = redis_settings_check(&fleet->redis, fleet->path, err);

	return r < 0 ? r : kafka_properties_check(&properties, err);
}

int fleet_use_kafka(const struct fleet_settings *fleet, enum kafka_files files, struct err *err)
{
	const struct kafka_properties properties = properties_of(fleet);

	return kafka_properties_use(&properties, files, err);
}

int fleet_credentials_load(const struct fleet_settings *fleet, struct redis_endpoint **ret_redis, struct err *err)
{
	int r = fleet_use_kafka(fleet, KAFKA_FILES_HELD, err);

	return r < 0 ? r : redis_endpoint_new(&fleet->redis, ret_redis, err);
}

/* Makes nothing of what is no refusal but a line of the log. */
static int pass_refusal(int r, const char *of, const struct err *err)
{
	if (r == 0 || err->kind == ERR_INPUT)
		return r;
	log_warn("credentials.wait", "of=%s message=\"%s; waiting for it\"", of, err->msg);
	return 0;
}

int fleet_credentials_check(const struct fleet_settings *fleet, const struct access_needs *needs, unsigned patience_ms,
			    const struct redis_endpoint *redis, struct err *err)
{
	int r = patience_ms ? access_reach(fleet->brokers, patience_ms, err) : 0;

	if (r == 0)
		r = access_check(needs, KAFKA_MS, err);
	r = pass_refusal(r, "kafka", err);
	if (r == 0)
		r = pass_refusal(redis_endpoint_check(redis, fleet->topic_prefix, REDIS_MS, err), "redis", err);
	return r;
}
