/* Looks twice a second whether memory is short on this host (host/pressure.h), and tells admission; each change is a
 * line in the log. It runs where microVMs are made. */
#pragma once

#include <stdint.h>

#include "host/pressure.h"
#include "worker/settings.h"
#include "worker/workspace/admission.h"

struct memory_watch {
	struct pressure pressure;
	struct admission *admission; /* NULL: not started, nothing is looked at */
	uint64_t due_mono_ms, high_mono_ms;
};

/* Settings and admission are lent. */
void memory_watch_start(struct memory_watch *watch, const struct settings *settings, struct admission *admission);
void memory_watch_tick(struct memory_watch *watch, uint64_t now_mono_ms);
