/* The words of a request to Redis. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Some words of one request. A failed addition is remembered: the request is then not sent and answers NULL.
 * Zero-initialise; redis_eval() and redis_command() take what is inside. */
struct redis_args {
	struct buf text; /* of all words, one behind the other */
	struct buf lens; /* of each, a size_t */
	size_t ended;	 /* bytes of the text that are of whole words */
	unsigned n;
	bool is_broken;
};

void redis_args_add(struct redis_args *args, const char *text);
void redis_args_add_number(struct redis_args *args, uint64_t number);
/* A word in pieces, and its end. */
void redis_args_put(struct redis_args *args, const char *text);
void redis_args_put_number(struct redis_args *args, uint64_t number);
void redis_args_end(struct redis_args *args);
struct redis_args redis_args_copy(const struct redis_args *args);
void redis_args_free(struct redis_args *args);
