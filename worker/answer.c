#include "worker/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "worker/workspace/backend.h"

/* Cut at its size. In every result: snprintf() would take longer than all the rest. */
static void copy_text(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

void answer_fill_origin(const struct settings *settings, const struct record_place *place, struct result *result)
{
	copy_text(result->host, sizeof(result->host), settings->host);
	copy_text(result->worker, sizeof(result->worker), settings->worker);
	copy_text(result->topic, sizeof(result->topic), place->topic);
	result->partition = place->partition;
	result->offset = place->offset;
	result->finished_ms = clock_wall_ms();
}

void answer_note(struct result *result, const char *what)
{
	size_t used = strlen(result->message);

	(void)snprintf(result->message + used, sizeof(result->message) - used, "%s%s", used ? "; " : "", what); /* cut at its size */
}

void answer_set_isolation(struct result *result, const struct backend *backend, const char *accel, const char *start)
{
	copy_text(result->vmm, sizeof(result->vmm), backend->name);
	copy_text(result->accel, sizeof(result->accel), accel);
	copy_text(result->disk, sizeof(result->disk), backend->disk);
	copy_text(result->net, sizeof(result->net), "none");
	copy_text(result->start, sizeof(result->start), start);
}
