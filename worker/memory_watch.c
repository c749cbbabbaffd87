#include "worker/memory_watch.h"

#include "base/log.h"

#define LOOK_MS 500 /* the kernel computes its averages every two seconds; what is available changes faster */

static void tell(struct memory_watch *watch, uint64_t now_mono_ms)
{
	const struct pressure *pressure = &watch->pressure;
	const struct pressure_sample *last = &pressure->last;
	struct admission_count count = admission_count(watch->admission);

	if (pressure->is_high) {
		watch->high_mono_ms = now_mono_ms;
		log_warn("memory.high", "stalled_percent=%u available_mib=%llu floor_mib=%llu active=%u idle=%u times=%llu "
			 "message=\"memory is short on this host: no task is started beside others until it is not\"",
			 last->stalled_centi / 100, (unsigned long long)last->available_mib,
			 (unsigned long long)pressure->limits.floor_mib, count.active, count.idle,
			 (unsigned long long)pressure->n_highs);
	} else {
		log_info("memory.low", "stalled_percent=%u available_mib=%llu after_ms=%llu", last->stalled_centi / 100,
			 (unsigned long long)last->available_mib, (unsigned long long)(now_mono_ms - watch->high_mono_ms));
	}
}

void memory_watch_start(struct memory_watch *watch, const struct settings *settings, struct admission *admission)
{
	struct pressure_sample now;

	*watch = (struct memory_watch){ .admission = admission,
					.pressure.limits = { .file = settings->pressure_file,
							     .meminfo = PRESSURE_MEMINFO,
							     .max_percent = (uint32_t)settings->pressure_max,
							     .floor_mib = settings->memory_floor_mib } };
	pressure_sample(&watch->pressure.limits, &now);
	if (!now.has_stalled)
		log_warn("memory.blind", "file=%s message=\"it does not say how long processes waited for memory: only what is "
			 "available is looked at (a kernel without PSI wants psi=1)\"", settings->pressure_file);
}

void memory_watch_tick(struct memory_watch *watch, uint64_t now_mono_ms)
{
	struct pressure_sample now;

	if (!watch->admission || now_mono_ms < watch->due_mono_ms)
		return;
	watch->due_mono_ms = now_mono_ms + LOOK_MS;
	pressure_sample(&watch->pressure.limits, &now);
	if (!pressure_take(&watch->pressure, &now))
		return;
	admission_set_pressed(watch->admission, watch->pressure.is_high);
	tell(watch, now_mono_ms);
}
