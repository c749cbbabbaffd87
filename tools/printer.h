/* Prints a task's output on our own standard output and error, each byte once: from chunks as they come, and at the end
 * from the result's head and tail. */
#pragma once

#include <stdbool.h>

#include "tools/gather.h"
#include "wire/result.h"

struct printer {
	struct gather gather;
	void (*warn)(void *ctx, const char *text); /* something is missing, or comes again */
	void (*before)(void *ctx);		   /* bytes are about to be written; may be NULL */
	void *ctx;
	bool is_broken; /* our own output cannot be written any more, because of: */
	int broken_errno;
};

void printer_take(struct printer *printer, const struct output_chunk *chunk);

/* Has every byte that was kept come? */
bool printer_has_all(const struct printer *printer, const struct result *result);

/* Prints what did not come as chunks, as far as the result has it. Says how much neither has, and what the output limit
 * dropped. */
void printer_fill(struct printer *printer, const struct result *result);
