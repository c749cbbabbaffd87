/* The first process of the reaper: starts engine, Kafka process and lane, passes SIGTERM on to the engine, and when
 * any of them fails ends all and starts all anew, because nothing lives in them. It reads no byte from outside. */
#pragma once

#include "reaper/settings.h"

/* Runs until SIGTERM or SIGINT; answers the process's exit status. */
int supervise(const struct reaper_settings *settings);
