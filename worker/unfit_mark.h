/* A file that is there from an engine's end because the host was not fit until a later engine's look finds that it
 * is. Until then no engine of this worker joins the group, however often they end in between. */
#pragma once

#include <stdbool.h>

#include "worker/settings.h"

/* One that cannot be written costs what it would have saved: the records that the next engine takes before it sees
 * the same again. */
void unfit_mark_make(const struct settings *settings);
bool unfit_mark_exists(const struct settings *settings);
void unfit_mark_remove(const struct settings *settings);
