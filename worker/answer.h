/* What results say of where they come from. */
#pragma once

#include "wire/record_place.h"
#include "wire/result.h"
#include "worker/settings.h"

struct backend;

/* Who says it, of which record, now. */
void answer_fill_origin(const struct settings *settings, const struct record_place *place, struct result *result);

/* What it ran on, and how that was started ("" : never). */
void answer_set_isolation(struct result *result, const struct backend *backend, const char *accel, const char *start);
void answer_note(struct result *result, const char *what); /* one more remark in its message */
