#include "worker/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "worker/workspace/backend.h"

static void copy_text(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from); /* cut at its size */
}

void answer_fill_origin(const struct settings *settings, const struct record_place *place, struct result *result)
{
	/* settings_load() checked that these are idents */
	(void)snprintf(result->host, sizeof(result->host), "%.*s", IDENT_ID_MAX, settings->host);
	(void)snprintf(result->worker, sizeof(result->worker), "%.*s", IDENT_ID_MAX, settings->worker);
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
